//! Delivery policy for emitwire, as tower layers.
//!
//! Mechanism (numbers, positions, windows) is the core's; how long, how often, how many and what
//! on failure is decided here.
//!
//! | layer | stands around | does |
//! | --- | --- | --- |
//! | [`RequireAck`] | emitting | has every event want an answer, by a deadline |
//! | [`Retry`] | emitting | attempts again, under the same id |
//! | [`Buffer`] | emitting | keeps events until the peer has them, across sessions |
//! | [`Dedup`] | the listeners | handles an event once that comes twice |
//! | [`RateLimit`] | either | bounds how often |
//! | [`Trace`] | either | says what happens |
//! | [`from_fn`] | either | what you want |
//!
//! [`Delivery`] puts them together: what most applications want is one line.
//!
//! ```
//! # use emitwire_core::handler::Namespace;
//! use emitwire_middleware::Delivery;
//! use std::time::Duration;
//!
//! // At both ends: nothing is lost while both processes live, and nothing is handled twice.
//! let layers = Delivery::effectively_once(Duration::from_secs(5));
//! let orders = Namespace::new("/orders").layers(layers);
//! ```

mod buffer;
mod dedup;
mod delivery;
mod from_fn;
mod rate_limit;
mod require_ack;
mod retry;
mod trace;

pub use buffer::{Buffer, BufferError, BufferService, BufferStats, Overflow, Undelivered};
pub use dedup::{Dedup, DedupService, DedupStats};
pub use delivery::Delivery;
pub use from_fn::{FromFn, FromFnService, Next, from_fn};
pub use rate_limit::{RateLimit, RateLimitError, RateLimitService};
pub use require_ack::{RequireAck, RequireAckFuture, RequireAckService};
pub use retry::{Retry, RetryService, RetryStats};
pub use trace::{Trace, TraceFuture, TraceService};

/// The future of a layer that waits for more than what is inside it.
type Call = std::pin::Pin<
    Box<
        dyn Future<Output = Result<emitwire_core::socket::Ack, emitwire_core::socket::BoxError>>
            + Send,
    >,
>;

/// As good as never: what is longer no clock can hold.
const NEVER: std::time::Duration = std::time::Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// The moment so long from now.
fn moment_after(duration: std::time::Duration) -> tokio::time::Instant {
    tokio::time::Instant::now() + duration.min(NEVER)
}
