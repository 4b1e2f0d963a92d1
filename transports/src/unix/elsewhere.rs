//! A system that has no Unix sockets says so.

use super::Unix;
use emitwire_core::transport::{BindError, ConnectError, Connection, Listener, Transport};
use std::io;

#[allow(clippy::unused_async, reason = "elsewhere it waits")]
pub(super) async fn bind(unix: &Unix) -> Result<Box<dyn Listener>, BindError> {
    Err(BindError::Io { endpoint: unix.endpoint(), source: unsupported() })
}

#[allow(clippy::unused_async, reason = "elsewhere it waits")]
pub(super) async fn connect(unix: &Unix) -> Result<Box<dyn Connection>, ConnectError> {
    Err(ConnectError::Unreachable { endpoint: unix.endpoint(), source: unsupported() })
}

fn unsupported() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "there are no Unix sockets on this system")
}
