//! A client's way to the server, which can be cut: a transport around others.

use crate::link::{Cut, Link, Remains, splice};
use emitwire::transport::{Connection, Listener};
use emitwire::{BindError, ConnectError, Endpoint, Transport, async_trait};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// Wires that a client takes turns with. Clones are one: who cuts has another than who connects.
#[derive(Clone)]
pub(crate) struct Cable {
    wires: Arc<[Endpoint]>,
    state: Arc<Mutex<State>>,
}

struct State {
    /// The wire of the next connection.
    turn: usize,
    link: Weak<Link>,
    /// Until then nobody gets through.
    refused_until: Instant,
}

impl Cable {
    /// It begins with the wire of this number, counted round and round.
    pub(crate) fn new(wires: Arc<[Endpoint]>, turn: usize) -> Self {
        let state = State { turn, link: Weak::new(), refused_until: Instant::now() };
        Self { wires, state: Arc::new(Mutex::new(state)) }
    }

    /// Cuts the present link, if there is one, and refuses others for a while.
    pub(crate) fn cut(&self, how: Cut, outage: Duration) -> Option<Remains> {
        let mut state = self.lock();
        let link = state.link.upgrade()?;
        state.link = Weak::new();
        state.refused_until = Instant::now() + outage;
        drop(state);
        Some(link.cut(how))
    }

    fn wire(&self) -> &Endpoint {
        &self.wires[self.lock().turn % self.wires.len()]
    }

    fn refusal(&self) -> ConnectError {
        let source = io::ErrorKind::ConnectionRefused.into();
        ConnectError::Unreachable { endpoint: self.endpoint(), source }
    }

    fn is_refused(&self) -> bool {
        Instant::now() < self.lock().refused_until
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Transport for Cable {
    fn endpoint(&self) -> String {
        self.wire().endpoint()
    }

    async fn bind(&self) -> Result<Box<dyn Listener>, BindError> {
        self.wire().bind().await
    }

    async fn connect(&self) -> Result<Box<dyn Connection>, ConnectError> {
        if self.is_refused() {
            return Err(self.refusal());
        }
        let connection = self.wire().connect().await?;
        let (connection, link) = splice(connection);
        let mut state = self.lock();
        state.turn += 1;
        state.link = Arc::downgrade(&link);
        Ok(connection)
    }
}
