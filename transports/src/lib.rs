//! Many doors, one handle: the wires of emitwire, each behind the same
//! [`Transport`](emitwire_core::transport::Transport).
//!
//! | feature | scheme | type | on the wire |
//! | --- | --- | --- | --- |
//! | `tcp` (default) | `tcp://host:port` | `Tcp` | the length of a frame, then its body |
//! | `tls` | `tls://host:port` | `Tcp` with a `Tls` | the same, encrypted (RFC 8446) |
//! | `unix` | `unix:///path` | `Unix` | as on TCP, within one machine |
//! | `ws` (default) | `ws://host:port/path` | `Ws` | WebSocket (RFC 6455): one binary frame each |
//! | `ws` and `tls` | `wss://host:port/path` | `Ws` with a `Tls` | the same, encrypted |
//! | `quic` | `quic://host:port` | `Quic` | QUIC (RFC 9000): a stream as on TCP, and datagrams |
//!
//! Each file or folder holds one wire: the transport with its options, its listener, its
//! connection. `framing/` holds what all byte streams share, `net/` what all TCP sockets do, `tls/`
//! what all that is encrypted does, `address.rs` what all with a `host:port` do, and `limits.rs`
//! what they hold to unless told otherwise. The wire within one process is in the core:
//! [`Memory`](emitwire_core::transport::Memory).

#[cfg(any(feature = "tcp", feature = "ws", feature = "quic"))]
mod address;
#[cfg(any(feature = "__framed", feature = "ws"))]
mod framing;
#[cfg(any(feature = "tcp", feature = "unix", feature = "ws", feature = "quic"))]
mod limits;
#[cfg(any(feature = "tcp", feature = "ws"))]
mod net;
#[cfg(feature = "quic")]
mod quic;
#[cfg(feature = "tcp")]
mod tcp;
#[cfg(feature = "__rustls")]
#[cfg_attr(
    not(any(feature = "tls", feature = "quic")),
    allow(dead_code, unused_imports, reason = "there is no wire that it would encrypt")
)]
mod tls;
#[cfg(feature = "unix")]
mod unix;
#[cfg(feature = "ws")]
mod ws;

#[cfg(feature = "__framed")]
pub use framing::framed;
#[cfg(feature = "quic")]
pub use quic::Quic;
#[cfg(feature = "tcp")]
pub use tcp::Tcp;
#[cfg(feature = "__rustls")]
pub use tls::{Tls, TlsError};
#[cfg(feature = "unix")]
pub use unix::{Unix, UnixFault};
#[cfg(feature = "ws")]
pub use ws::Ws;
