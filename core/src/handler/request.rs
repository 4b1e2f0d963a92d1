//! What `authorize` decides about.

use crate::protocol::{Payload, PayloadError};
use crate::transport::Peer;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// A client that wants into a namespace.
#[derive(Clone, Debug)]
pub struct ConnectRequest {
    namespace: Arc<str>,
    auth: Payload,
    peer: Peer,
}

impl ConnectRequest {
    pub(crate) fn new(namespace: Arc<str>, auth: Payload, peer: Peer) -> Self {
        Self { namespace, auth, peer }
    }

    /// The namespace's path.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
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
}
