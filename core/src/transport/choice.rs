//! What a transport of several wires has to do with a connection after it has chosen it.

use super::Transport;
use std::sync::Arc;
use std::time::Duration;

/// The choice that a connection came of, for whoever lives on it: see
/// [`Connection::choice`](super::Connection::choice).
///
/// A client tells it what became of the connection, and asks it for wires that would be better.
pub trait Choice: Send + Sync + 'static {
    /// A session lives on the connection, so this is the wire to begin with next time. Told again
    /// when the link is lost after a good life.
    fn proved(&self);

    /// The wire was there, and no session came of it, or none that lived: the others are to be
    /// tried before it.
    fn failed(&self);

    /// The wires that are preferred to this one. `None` when it is the best, or when nobody is to
    /// look for a better one.
    fn better(&self) -> Option<Better>;
}

/// Wires that a session would rather live on, and how often to look for them.
#[derive(Clone)]
#[non_exhaustive]
pub struct Better {
    /// The best first. What they connect has a [`Choice`] of its own.
    pub transports: Vec<Arc<dyn Transport>>,
    /// How long to wait before looking.
    pub every: Duration,
    /// The wait doubles up to this while looking is in vain.
    pub every_max: Duration,
}

impl Better {
    /// Looks for these, the best first, every so often, and less and less often while it is in
    /// vain.
    #[must_use]
    pub fn new(transports: Vec<Arc<dyn Transport>>, every: Duration, every_max: Duration) -> Self {
        Self { transports, every, every_max }
    }
}
