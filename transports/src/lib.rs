//! Many doors, one handle: the wires of emitwire, each behind the same
//! [`Transport`](emitwire_core::transport::Transport).
//!
//! | feature | scheme | type | on the wire |
//! | --- | --- | --- | --- |
//! | `tcp` (default) | `tcp://host:port` | `Tcp` | the length of a frame, then its body |
//! | `quic` | `quic://host:port` | `Quic` | QUIC: as on TCP, and datagrams; encrypted |
//! | `ws` (default) | `ws://host:port/path` | `Ws` | WebSocket (RFC 6455): one binary frame each |
//!
//! Each file or folder holds one wire: the transport with its options, its listener, its
//! connection. `framing/` holds what all byte streams share, `net.rs` what all TCP sockets do. The
//! wire without a network is in the core: [`Memory`](emitwire_core::transport::Memory).

#[cfg(any(feature = "tcp", feature = "ws", feature = "quic"))]
mod framing;
#[cfg(any(feature = "tcp", feature = "ws"))]
mod net;
#[cfg(feature = "quic")]
mod quic;
#[cfg(feature = "tcp")]
mod tcp;
#[cfg(feature = "ws")]
mod ws;

#[cfg(feature = "tcp")]
pub use framing::framed;
#[cfg(feature = "quic")]
pub use quic::{Quic, Tls};
#[cfg(feature = "tcp")]
pub use tcp::Tcp;
#[cfg(feature = "ws")]
pub use ws::Ws;
