//! What wires with a `host:port` have in common.

use emitwire_core::transport::BindError;
use std::io;

/// Why there can be no listener at this endpoint.
#[cfg(any(feature = "tcp", feature = "ws", feature = "quic"))]
pub(crate) fn bind_error(endpoint: String, source: io::Error) -> BindError {
    match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { endpoint },
        io::ErrorKind::AddrNotAvailable => BindError::NotAvailable { endpoint, source },
        _ => BindError::Io { endpoint, source },
    }
}

/// The host of a `host:port`.
#[cfg(any(feature = "tls", feature = "quic"))]
pub(crate) fn host(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}
