//! What a layer and an extractor see: an event, and whom it is from or for; and the answer.

use super::attempts::{Attempts, Target};
use super::core::pack;
use super::{EmitError, Socket, States, moment_after};
use crate::protocol::{
    DisconnectReason, Event, Outcome, Payload, PayloadError, SocketId, ToPayload,
};
use crate::room::{Fanout, Selection};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// An event with the socket that it came by, or with whom it is for: the request of a tower
/// service. Cheap to clone, and each clone is the same event: a second attempt has its id.
#[derive(Clone)]
pub struct Envelope {
    event: Event,
    way: Way,
}

/// Which way it goes.
#[derive(Clone)]
enum Way {
    In {
        socket: Socket,
        /// What a hook is told besides.
        moment: Option<Box<Moment>>,
        /// Not the socket's, because it may hold sockets.
        states: Option<Arc<States>>,
    },
    Out {
        /// Shared by all attempts.
        attempts: Arc<Attempts>,
        level: Level,
        attempt_end: Option<Instant>,
    },
}

/// What an emit waits for. Each level is worth more than the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It is in the session's mailbox; of a broadcast in those of its members.
    #[default]
    Accepted,
    /// The peer's session has it. A broadcast asks for answers instead.
    Received,
    /// The peer's handler has answered; of a broadcast each of its members' has.
    Handled,
}

impl Envelope {
    /// An event that came by `socket`.
    #[must_use]
    pub fn new(socket: Socket, event: Event) -> Self {
        Self { event, way: Way::In { socket, moment: None, states: None } }
    }

    /// An event for a socket, as its emit makes one: for layers that emit events of their own
    /// through what is inside them.
    ///
    /// # Errors
    /// [`EmitError`] when it could never be sent: a reserved name, a value that cannot be encoded.
    pub fn emit<T: ToPayload + ?Sized>(
        socket: &Socket,
        name: &str,
        value: &T,
    ) -> Result<Self, EmitError> {
        let session = socket.session();
        let (id, max) = (session.producer.mint(), session.event_bytes_max);
        let packet = pack(name, value, socket.number(), id, id.producer, max)?;
        Ok(Self::to(socket, packet.into_event(id.producer, false)))
    }

    /// An event that was made elsewhere, for a socket: for tests of layers.
    #[must_use]
    pub fn to(socket: &Socket, event: Event) -> Self {
        let target = Target::One(socket.clone(), None);
        let attempts = Arc::new(Attempts::new(target, event.id, None));
        Self::outbound(event, Level::Accepted, attempts)
    }

    /// An event on its way out.
    pub(super) fn outbound(event: Event, level: Level, attempts: Arc<Attempts>) -> Self {
        let mut envelope = Self { event, way: Way::Out { attempts, level, attempt_end: None } };
        envelope.event.wants_ack = envelope.wants_ack();
        envelope
    }

    /// What its hook is told besides.
    pub(crate) fn with_moment(mut self, told: Moment) -> Self {
        if let Way::In { moment, .. } = &mut self.way {
            *moment = Some(Box::new(told));
        }
        self
    }

    /// An event that came by `socket`, with what the handlers of its namespace share.
    #[inline]
    pub(crate) fn inbound(socket: Socket, event: Event, states: Option<Arc<States>>) -> Self {
        Self { event, way: Way::In { socket, moment: None, states } }
    }

    /// The event.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// The socket that the event came by, or that it is for; none when it is a broadcast.
    #[must_use]
    pub fn socket(&self) -> Option<&Socket> {
        match &self.way {
            Way::In { socket, .. } => Some(socket),
            Way::Out { attempts, .. } => match attempts.target() {
                Target::One(socket, _) => Some(socket),
                Target::Many(..) => None,
            },
        }
    }

    /// Whom a broadcast is for.
    #[must_use]
    pub fn selection(&self) -> Option<&Selection> {
        match self.attempts()?.target() {
            Target::One(..) => None,
            Target::Many(_, selection) => Some(selection),
        }
    }

    /// The path of its namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        match &self.way {
            Way::In { socket, .. } => socket.namespace(),
            Way::Out { attempts, .. } => &attempts.scope().path,
        }
    }

    /// Whether this side emits it; if not, it has come.
    #[must_use]
    pub fn is_outbound(&self) -> bool {
        self.attempts().is_some()
    }

    /// The state of this type that the handlers of its namespace share.
    #[must_use]
    pub fn state<S: 'static>(&self) -> Option<&S> {
        match &self.way {
            Way::In { states, .. } => states.as_deref()?.get(),
            Way::Out { .. } => None,
        }
    }

    /// Why the socket, or its link, ended; only in the hooks of that.
    #[must_use]
    pub fn reason(&self) -> Option<&DisconnectReason> {
        match self.moment()? {
            Moment::End(reason) | Moment::Detach(reason) => Some(reason),
            _ => None,
        }
    }

    /// What a link came to; only in `on_attach`.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        match self.moment()? {
            Moment::Attach(outcome) => Some(*outcome),
            _ => None,
        }
    }

    fn moment(&self) -> Option<&Moment> {
        match &self.way {
            Way::In { moment, .. } => moment.as_deref(),
            Way::Out { .. } => None,
        }
    }
}

/// What only an event has that goes out. On one that has come in, none of this changes anything.
impl Envelope {
    /// What the emit waits for.
    #[must_use]
    pub fn level(&self) -> Level {
        match &self.way {
            Way::In { .. } => Level::Accepted,
            Way::Out { level, .. } => *level,
        }
    }

    /// Has the emit wait for no less than this.
    pub fn raise_level(&mut self, at_least: Level) {
        if let Way::Out { level, .. } = &mut self.way {
            *level = at_least.max(*level);
            self.event.wants_ack = self.wants_ack();
        }
    }

    /// The key of which it is the newest event, if it has one: see
    /// [`Emit::latest`](super::Emit::latest). A layer that keeps events lets go of an older one.
    #[must_use]
    pub fn latest_key(&self) -> Option<&str> {
        match self.attempts()?.target() {
            Target::One(_, Some(key)) => Some(key.text()),
            _ => None,
        }
    }

    /// When the emit gives up, if whoever emitted has said so: of an attempt that can only be
    /// later, there is no point in beginning it. `None` of one that a layer [keeps](Self::keep).
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let attempts = self.attempts().filter(|attempts| !attempts.is_own())?;
        attempts.patience().map(|(_, deadline)| deadline)
    }

    /// Has what is inside, from now on, take no longer than this. Without it an attempt takes as
    /// long as whoever emits has said, else what `Config` says from when it reaches the mailbox:
    /// for room `emit_wait_max`, for an answer `ack_timeout`. A layer that makes several attempts
    /// says it of each.
    pub fn set_attempt_max(&mut self, longest: Duration) {
        if let Way::Out { attempt_end, .. } = &mut self.way {
            *attempt_end = Some(moment_after(longest));
        }
    }

    /// How long an attempt may still take, if a layer has said so.
    #[must_use]
    pub fn attempt_max(&self) -> Option<Duration> {
        self.attempt_end().map(|end| end.saturating_duration_since(Instant::now()))
    }

    pub(super) fn attempt_end(&self) -> Option<Instant> {
        match &self.way {
            Way::In { .. } => None,
            Way::Out { attempt_end, .. } => *attempt_end,
        }
    }

    /// Whether a mailbox has taken the event, at this attempt or an earlier one. From then on
    /// dropping the future of an attempt does not withdraw it.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.attempts().is_some_and(|attempts| attempts.is_accepted())
    }

    /// Whether another attempt would send nothing, and only wait for what an earlier one has begun:
    /// its event was accepted by a session that lives, which delivers it once, and nobody has said
    /// no. So it is waited for, not repeated.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.attempts().is_some_and(|attempts| attempts.is_under_way())
    }

    /// A layer has made the event its own, and will see to it also when the future of the emit is
    /// dropped: that does not count as withdrawing it any more.
    pub fn keep(&self) {
        if let Some(attempts) = self.attempts() {
            attempts.keep();
        }
    }

    /// How long ago it was emitted.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.attempts().map_or(Duration::ZERO, |attempts| attempts.elapsed())
    }

    /// For how long its receiver knows that it has had the event: see [`Socket::dedup_horizon`]. Of
    /// a broadcast the shortest of those members of this node that are still missing.
    #[must_use]
    pub fn dedup_horizon(&self) -> Option<Duration> {
        let attempts = self.attempts()?;
        match attempts.target() {
            Target::One(socket, _) => socket.dedup_horizon(),
            Target::Many(scope, _) => {
                let served = scope.served.as_ref()?;
                let missing = attempts.missing().into_iter().filter_map(|id| served.socket(id));
                missing.filter_map(|socket| socket.dedup_horizon()).min()
            }
        }
    }

    /// The same event, with the same id, for another socket of this process, such as that of the
    /// next session of the same peer. A broadcast, and what has come in, stays as it is.
    #[must_use]
    pub fn readdressed(&self, socket: &Socket) -> Self {
        let Way::Out { attempts, level, attempt_end } = &self.way else { return self.clone() };
        let Target::One(..) = attempts.target() else { return self.clone() };
        let attempts = Arc::new(attempts.readdressed(socket));
        let (level, attempt_end) = (*level, *attempt_end);
        Self { event: self.event.clone(), way: Way::Out { attempts, level, attempt_end } }
    }

    /// Whether its peers are asked for an answer.
    pub(super) fn wants_ack(&self) -> bool {
        match self.selection() {
            Some(_) => self.level() > Level::Accepted,
            None => self.level() == Level::Handled,
        }
    }

    pub(super) fn attempts(&self) -> Option<&Arc<Attempts>> {
        match &self.way {
            Way::In { .. } => None,
            Way::Out { attempts, .. } => Some(attempts),
        }
    }
}

/// A moment in the life of a socket, with what there is to know of it.
#[derive(Clone, Debug)]
pub(crate) enum Moment {
    /// It begins.
    Begin,
    /// Its link has come back.
    Attach(Outcome),
    /// Its link leads elsewhere.
    PathChange,
    /// Its link has gone.
    Detach(DisconnectReason),
    /// It ends.
    End(DisconnectReason),
}

impl std::fmt::Debug for Envelope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Envelope")
            .field("namespace", &self.namespace())
            .field("socket", &self.socket().map(Socket::id))
            .field("event", &self.event)
            .finish_non_exhaustive()
    }
}

/// The answer to an event: the response of a tower service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ack {
    payload: Payload,
    many: Option<Box<Many>>,
}

/// What became of a broadcast.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Many {
    fanout: Fanout,
    missing: Vec<SocketId>,
    retry_after: Duration,
}

impl Ack {
    /// An answer with a payload.
    #[must_use]
    pub fn new(payload: Payload) -> Self {
        Self { payload, many: None }
    }

    /// The answer that only says "done".
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// What became of a broadcast.
    pub(super) fn of_many(fanout: Fanout, missing: Vec<SocketId>, retry_after: Duration) -> Self {
        let many = Some(Box::new(Many { fanout, missing, retry_after }));
        Self { payload: Payload::empty(), many }
    }

    /// The payload as it is.
    #[must_use]
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The decoded payload.
    ///
    /// # Errors
    /// [`PayloadError`] when it is not a `T`.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        self.payload.decode()
    }

    /// Of a broadcast: how many mailboxes took it.
    #[must_use]
    pub fn fanout(&self) -> Option<Fanout> {
        self.many.as_ref().map(|many| many.fanout)
    }

    /// Of a broadcast that waits for answers: members that have given none, or one that another
    /// attempt may better. That attempt, with the same envelope, is for them alone. Empty when it
    /// is complete.
    #[must_use]
    pub fn missing(&self) -> &[SocketId] {
        self.many.as_ref().map_or(&[], |many| &many.missing)
    }

    /// How long another attempt for those that are missing has to wait at least, because some of
    /// them were busy.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        self.many.as_ref().map_or(Duration::ZERO, |many| many.retry_after)
    }
}
