//! Wires to one server, in the order in which their owner likes them.

use super::chosen::{Choosing, Chosen};
use super::memory::{Memory, Order};
use crate::run::connector::fit;
use crate::transport::{BindError, ConnectError, Connection, Listener, Transport};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// For how long a wire on which a session lived is the one to begin with.
pub(super) const REMEMBER: Duration = Duration::from_secs(300);

/// How often better wires are looked for, unless something else is said.
const PROBE_EVERY: Duration = Duration::from_secs(60);

/// The wait grows up to this while it is in vain.
const PROBE_EVERY_MAX: Duration = Duration::from_secs(600);

/// Looking costs both ends a handshake of the wire.
const PROBE_EVERY_MIN: Duration = Duration::from_secs(1);

/// A wire that is being connected.
pub(super) type Dialing<'a> =
    Pin<Box<dyn Future<Output = Result<Box<dyn Connection>, ConnectError>> + Send + 'a>>;

/// The list, with what is remembered of it. Cheap to clone; clones remember together.
#[derive(Clone)]
pub(super) struct Wires {
    list: Arc<Vec<Arc<dyn Transport>>>,
    memory: Arc<Memory>,
    /// Nothing when nobody is to look for better ones.
    probe_every: Option<Duration>,
}

impl Wires {
    pub(super) fn of<T: Transport>(transports: impl IntoIterator<Item = T>) -> Self {
        let each = |transport| Arc::new(transport) as Arc<dyn Transport>;
        Self {
            list: Arc::new(transports.into_iter().map(each).collect()),
            memory: Arc::default(),
            probe_every: Some(PROBE_EVERY),
        }
    }

    pub(super) fn push(&mut self, transport: impl Transport) {
        Arc::make_mut(&mut self.list).push(Arc::new(transport));
        // To the lists that it was cloned from, the numbers may be those of other wires.
        self.memory = Arc::default();
    }

    pub(super) fn probe(&mut self, every: Option<Duration>) {
        self.probe_every = every.map(|every| every.max(PROBE_EVERY_MIN));
    }

    /// How long to wait before looking for a better one, and up to how long while it is in vain.
    pub(super) fn pace(&self) -> Option<(Duration, Duration)> {
        self.probe_every.map(|every| (every, every.max(PROBE_EVERY_MAX)))
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Their numbers, as they are to be begun. The one that worked is remembered for so long.
    pub(super) fn order(&self, lasts: Duration) -> Order {
        self.memory.order(self.list.len(), lasts)
    }

    pub(super) fn endpoint(&self, wire: usize) -> String {
        self.list[wire].endpoint()
    }

    /// All of them, as what they are chosen by.
    pub(super) fn endpoints(&self, by: &str) -> String {
        let each: Vec<_> = self.list.iter().map(|transport| transport.endpoint()).collect();
        format!("{by}({})", each.join(", "))
    }

    /// Those that are preferred to this one, the best first; but not a suspect, which would hide
    /// those behind it if it swallowed one session after the other.
    pub(super) fn better_than(&self, wire: usize) -> Vec<Arc<dyn Transport>> {
        let better = self.memory.order(wire, Duration::ZERO).wires.into_iter();
        better.map(|wire| self.as_choice(wire, Arc::clone(&self.list[wire]))).collect()
    }

    /// What connects as this wire of the list.
    pub(super) fn as_choice(
        &self,
        wire: usize,
        transport: Arc<dyn Transport>,
    ) -> Arc<dyn Transport> {
        Arc::new(Choosing { wires: self.clone(), wire, transport })
    }

    /// Connects one of them. Nothing is begun before it is polled.
    pub(super) fn dial(&self, wire: usize) -> Dialing<'_> {
        Box::pin(async move { self.choose(wire, self.list[wire].connect().await?) })
    }

    /// A connection of this wire, if a session can live on it.
    pub(super) fn choose(
        &self,
        wire: usize,
        connection: Box<dyn Connection>,
    ) -> Result<Box<dyn Connection>, ConnectError> {
        Ok(Box::new(Chosen::new(fit(connection)?, self.clone(), wire)))
    }

    pub(super) fn all_failed(&self, mut failures: Vec<(usize, ConnectError)>) -> ConnectError {
        failures.sort_by_key(|(wire, _)| *wire);
        let named = failures.into_iter().map(|(wire, error)| (self.endpoint(wire), error));
        ConnectError::AllFailed { failures: named.collect() }
    }

    pub(super) fn no_bind(&self, by: &str) -> Result<Box<dyn Listener>, BindError> {
        Err(BindError::Several { endpoint: self.endpoints(by) })
    }
}

impl fmt::Debug for Wires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list.iter().map(|transport| transport.endpoint())).finish()
    }
}
