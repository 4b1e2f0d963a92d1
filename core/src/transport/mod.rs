//! **What carries.** The port that every wire implements, the wire in memory, and [`Chaos`].
//!
//! A [`Transport`] owns its address, so connecting again is reconnecting. What it yields is a
//! [`Connection`]: two halves that move *batches* of frames by polling, so that dynamic dispatch
//! costs one call per batch, and so that whoever holds bytes can try to write them in place.

mod capabilities;
mod chaos;
mod choice;
#[cfg(feature = "conformance")]
pub mod conformance;
mod connection;
mod error;
mod memory;
mod peer;

pub use capabilities::Capabilities;
pub use chaos::{Chaos, ChaosStats, Direction, Faults};
pub use choice::{Better, Choice};
pub use connection::{Connection, ReadHalf, WriteHalf};
pub use error::{BindError, CertificateFault, ConnectError, HandshakeError, ReadError};
pub use memory::Memory;
pub use peer::{Peer, Process};

use async_trait::async_trait;
use std::io;

/// A wire with an address: it can be listened on and connected to, any number of times.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no transport",
    note = "make one of a URL: `Endpoint::new(\"tcp://127.0.0.1:7300\")?`"
)]
pub trait Transport: Send + Sync + 'static {
    /// Where it listens or connects to, as a URL such as `tcp://127.0.0.1:7300`.
    fn endpoint(&self) -> String;

    /// Starts to listen.
    ///
    /// # Errors
    /// [`BindError`]: the address is taken, not ours, or not permitted.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing bound.
    async fn bind(&self) -> Result<Box<dyn Listener>, BindError>;

    /// Connects once.
    ///
    /// # Errors
    /// [`ConnectError`]: nobody there, or the wire's own handshake failed.
    ///
    /// # Cancel safety
    /// Dropping the future leaves no connection behind.
    async fn connect(&self) -> Result<Box<dyn Connection>, ConnectError>;
}

/// A bound transport.
#[async_trait]
pub trait Listener: Send + 'static {
    /// The bound address as a URL that a client can connect to.
    fn endpoint(&self) -> String;

    /// Waits for the next peer. It does not shake hands: that is [`Incoming::handshake`], so a
    /// silent peer never delays the next.
    ///
    /// # Errors
    /// What the system says, such as too many open descriptors. The caller waits and calls again.
    ///
    /// # Cancel safety
    /// Dropping the future loses no peer.
    async fn accept(&mut self) -> io::Result<Box<dyn Incoming>>;
}

/// A peer that arrived and may still have to shake hands on its wire (TLS, WebSocket).
#[async_trait]
pub trait Incoming: Send + 'static {
    /// Finishes the wire's own handshake. The caller gives it a deadline.
    ///
    /// # Errors
    /// [`HandshakeError`]: the peer is no peer of this wire.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    async fn handshake(self: Box<Self>) -> Result<Box<dyn Connection>, HandshakeError>;
}
