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
/// use emitwire_middleware::{Buffer, Delivery};
/// use std::time::Duration;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let deadline = Duration::from_secs(5);
/// let server = Server::new()
///     .layers(Delivery::effectively_once(deadline))
///     .mount(Namespace::new("/orders"))?;
/// // Each of its layers can be another than usual.
/// let buffer = Buffer::new().on_undelivered(|it| println!("{}: {}", it.event.name, it.error));
/// let session = Client::new(Memory::new("shop"))
///     .layers(Delivery::effectively_once(deadline).buffer(buffer))
///     .mount(Namespace::new("/orders"))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "layers do nothing until they are around something"]
pub struct Delivery {
    buffer: Option<Buffer>,
    retry: Option<Retry>,
    require_ack: Option<RequireAck>,
    dedup: Option<Dedup>,
}

impl Delivery {
    /// No layers: a session delivers once what it has accepted, and what it takes with it is told.
    pub fn at_most_once() -> Self {
        Self::default()
    }

    /// Every event is handled at the other end, or that it is not is told: a [`Buffer`] around a
    /// [`Retry`] around a [`RequireAck`] with this deadline for each attempt. A handler may run
    /// twice.
    ///
    /// On a client a plain `emit(..).await` is ready when the event is kept, and what becomes of it
    /// is told by [`Buffer::on_undelivered`]: so set that, or ask by `.ack()`. On a server the
    /// buffer has to know who is who, by [`Buffer::for_peers`]; without that, and of broadcasts,
    /// the emit itself waits for the answer.
    pub fn at_least_once(deadline: Duration) -> Self {
        Self {
            buffer: Some(Buffer::new()),
            retry: Some(Retry::new()),
            require_ack: Some(RequireAck::handled(deadline)),
            dedup: None,
        }
    }

    /// As [`at_least_once`](Self::at_least_once), and a [`Dedup`] around the listeners: what was
    /// handled is not handled again while this process lives. Both ends need it.
    pub fn effectively_once(deadline: Duration) -> Self {
        Self { dedup: Some(Dedup::new()), ..Self::at_least_once(deadline) }
    }

    /// With this buffer.
    pub fn buffer(mut self, buffer: Buffer) -> Self {
        self.buffer = Some(buffer);
        self
    }

    /// With attempts made like this.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Remembering like this what was handled.
    pub fn dedup(mut self, dedup: Dedup) -> Self {
        self.dedup = Some(dedup);
        self
    }
}

/// In the order that makes sense.
impl From<Delivery> for Layers {
    fn from(delivery: Delivery) -> Self {
        let Delivery { buffer, retry, require_ack, dedup } = delivery;
        let parts = [
            buffer.map(Self::from),
            retry.map(Self::from),
            require_ack.map(Self::from),
            dedup.map(Self::from),
        ];
        parts.into_iter().flatten().fold(Self::new(), Self::and)
    }
}
