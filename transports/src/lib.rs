//! Many doors, one handle: the wires of emitwire, each behind the same
//! [`Transport`](emitwire_core::transport::Transport).
//!
//! | feature | scheme | type | on the wire |
//! | --- | --- | --- | --- |
//! | `tcp` (default) | `tcp://host:port` | `Tcp` | the length of a frame, then its body |
//!
//! Each file holds one wire: the transport with its options, its listener, its connection.
//! `framing.rs` holds what all byte streams share. The wire without a network is in the core:
//! [`Memory`](emitwire_core::transport::Memory).

#[cfg(feature = "tcp")]
mod framing;
#[cfg(feature = "tcp")]
mod tcp;

#[cfg(feature = "tcp")]
pub use tcp::Tcp;
