//! What `authorize` decides about.

use super::path::from_captures;
use crate::protocol::{Payload, PayloadError};
use crate::socket::{Refusal, Socket, States};
use crate::transport::Peer;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// A client that wants into a namespace.
#[derive(Clone)]
pub struct ConnectRequest {
    /// Not to be spoken to before it is let in.
    socket: Socket,
    peer: Peer,
    auth: Payload,
    states: Option<Arc<States>>,
}

impl ConnectRequest {
    pub(crate) fn new(
        socket: Socket,
        peer: Peer,
        auth: Payload,
        states: Option<Arc<States>>,
    ) -> Self {
        Self { socket, peer, auth, states }
    }

    /// The namespace's path, as the client asked for it.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.socket.namespace()
    }

    /// What the names in the namespace's path stand for: see [`Path`](super::Path).
    ///
    /// # Errors
    /// A [`Refusal`] when the path is no `T`.
    pub fn path<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        Ok(from_captures(&self.socket.scope().captures)?)
    }

    /// What the client sent with `Client::auth`.
    ///
    /// # Errors
    /// [`PayloadError`] when it is not a `T`, also when nothing was sent.
    pub fn auth<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        self.auth.decode()
    }

    /// Who is at the other end of the wire.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The state of this type that the namespace has: see
    /// [`Namespace::state`](super::Namespace::state).
    #[must_use]
    pub fn state<S: 'static>(&self) -> Option<&S> {
        self.states.as_deref()?.get()
    }

    /// Keeps a value with the socket that is about to begin, such as who it is: see
    /// [`Socket::set_data`].
    pub fn set_data<T: Send + Sync + 'static>(&self, value: T) {
        self.socket.set_data(value);
    }
}

impl std::fmt::Debug for ConnectRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (namespace, peer) = (self.namespace(), self.peer());
        f.debug_struct("ConnectRequest").field("namespace", &namespace).field("peer", peer).finish()
    }
}
