//! Who is at the other end of a connection.

use std::sync::Arc;

/// What a wire knows of its peer. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    endpoint: Arc<str>,
}

impl Peer {
    /// A peer at `endpoint`, a URL such as `tcp://127.0.0.1:50412`.
    #[must_use]
    pub fn new(endpoint: impl Into<Arc<str>>) -> Self {
        Self { endpoint: endpoint.into() }
    }

    /// Where the peer is, as a URL.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The scheme of the wire, such as `tcp`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.endpoint.split_once("://").map_or("", |(scheme, _)| scheme)
    }
}
