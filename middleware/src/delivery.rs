//! `Delivery`: what most applications want, in one line.

use crate::{Buffer, Dedup, RequireAck, Retry};
use emitwire_core::socket::Layers;
use std::time::Duration;

/// The usual stacks of layers. Each is for both ends, and for a whole server or client, or for one
/// namespace.
///
/// | | lost | handled twice | costs |
/// | --- | --- | --- | --- |
/// | [`at_most_once`](Self::at_most_once) | with its session | never | nothing |
/// | [`at_least_once`](Self::at_least_once) | with its process | as it happens | answers |
/// | [`effectively_once`](Self::effectively_once) | with its process | with its process | memory |
///
/// What exactly is promised, and what is not, says GUARANTEES.md.
///
/// ```no_run
/// # use emitwire_core::handler::Namespace;
/// # use emitwire_core::run::{Client, Server};
/// # use emitwire_core::transport::Memory;
/// use emitwire_middleware::Delivery;
/// use std::time::Duration;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let deadline = Duration::from_secs(5);
/// let server = Server::new()
///     .layers(Delivery::effectively_once(deadline))
///     .mount(Namespace::new("/orders"))?;
/// let session = Client::new(Memory::new("shop"))
///     .layers(Delivery::effectively_once(deadline))
///     .mount(Namespace::new("/orders"))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    _private: (),
}

impl Delivery {
    /// No layers: a session delivers once what it has accepted, and what it takes with it is told.
    #[must_use]
    pub fn at_most_once() -> Layers {
        Layers::new()
    }

    /// Every event is handled at the other end, or it is told why not: a [`Buffer`] (on clients; a
    /// server has to know who is who, by [`Buffer::for_peers`]) around a [`Retry`] around a
    /// [`RequireAck`] with this deadline for each attempt. A handler may run twice.
    ///
    /// A plain `emit(..).await` is over when the event is kept; what becomes of it then is told to
    /// `.ack()`, or to [`Buffer::on_unsent`], for which the layers are put together by hand; here
    /// it is logged.
    #[must_use]
    pub fn at_least_once(deadline: Duration) -> Layers {
        Layers::new().and(Buffer::new()).and(Retry::new()).and(RequireAck::handled(deadline))
    }

    /// As [`at_least_once`](Self::at_least_once), and a [`Dedup`] around the listeners: what was
    /// handled is not handled again while this process lives. Both ends need it.
    #[must_use]
    pub fn effectively_once(deadline: Duration) -> Layers {
        Self::at_least_once(deadline).and(Dedup::new())
    }
}
