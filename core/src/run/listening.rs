//! What a server gives for each wire that it listens on.

use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// A wire that a server listens on. Dropping it changes nothing.
#[derive(Clone, Debug)]
pub struct Listening {
    pub(super) endpoint: Arc<str>,
    pub(super) task: AbortHandle,
    /// Its sender goes when the listener has gone.
    pub(super) closed: watch::Receiver<()>,
}

impl Listening {
    /// The bound address as a URL that a client can connect to.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Stops listening, and waits until the address is free again. Connections that were accepted
    /// go on.
    ///
    /// # Cancel safety
    /// It stops listening also when the future is dropped after its first poll.
    pub async fn close(&self) {
        self.task.abort();
        let mut closed = self.closed.clone();
        // Nothing is ever sent: it ends with its sender.
        while closed.changed().await.is_ok() {}
    }
}
