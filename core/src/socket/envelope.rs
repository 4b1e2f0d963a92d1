//! What a layer and an extractor see: a socket and an event; and the answer.

use super::{Socket, States};
use crate::protocol::{DisconnectReason, Event, Outcome, Payload, PayloadError};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// An event with the socket that it came by: the request of a tower service.
#[derive(Clone)]
pub struct Envelope {
    socket: Socket,
    event: Event,
    /// What a hook is told besides.
    moment: Option<Box<Moment>>,
    /// Not the socket's, because it may hold sockets.
    states: Option<Arc<States>>,
}

impl Envelope {
    /// An event that came by `socket`.
    #[must_use]
    pub fn new(socket: Socket, event: Event) -> Self {
        Self { socket, event, moment: None, states: None }
    }

    /// What its hook is told besides.
    pub(crate) fn with_moment(mut self, moment: Moment) -> Self {
        self.moment = Some(Box::new(moment));
        self
    }

    /// What the handlers of its namespace share.
    pub(crate) fn with_states(mut self, states: Option<Arc<States>>) -> Self {
        self.states = states;
        self
    }

    /// The state of this type that the handlers of its namespace share.
    #[must_use]
    pub fn state<S: 'static>(&self) -> Option<&S> {
        self.states.as_deref()?.get()
    }

    /// The socket that the event came by.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The event.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// Why the socket, or its link, ended; only in the hooks of that.
    #[must_use]
    pub fn reason(&self) -> Option<&DisconnectReason> {
        match self.moment.as_deref() {
            Some(Moment::End(reason) | Moment::Detach(reason)) => Some(reason),
            _ => None,
        }
    }

    /// What a link came to; only in `on_attach`.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        match self.moment.as_deref() {
            Some(Moment::Attach(outcome)) => Some(*outcome),
            _ => None,
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
    /// Its link has gone.
    Detach(DisconnectReason),
    /// It ends.
    End(DisconnectReason),
}

impl std::fmt::Debug for Envelope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (socket, event) = (&self.socket, &self.event);
        f.debug_struct("Envelope").field("socket", socket).field("event", event).finish()
    }
}

/// The answer to an event: the response of a tower service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ack(Payload);

impl Ack {
    /// An answer with a payload.
    #[must_use]
    pub fn new(payload: Payload) -> Self {
        Self(payload)
    }

    /// The answer that only says "done".
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// The payload as it is.
    #[must_use]
    pub fn payload(&self) -> &Payload {
        &self.0
    }

    /// The decoded payload.
    ///
    /// # Errors
    /// [`PayloadError`] when it is not a `T`.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        self.0.decode()
    }
}
