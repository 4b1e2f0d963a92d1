//! The port as WebSocket keeps it, and every rule of RFC 6455 that a peer can break, at both ends.
//!
//! | file | holds |
//! | --- | --- |
//! | `port.rs` | framing, limits, blocked writes, ends and errors, as `tcp.rs` has them |
//! | `frames.rs` | what a frame may be, in fragments and between them, and what it may not |
//! | `closing.rs` | closes: their codes, their answers, what follows them |
//! | `cuts.rs` | the same frames however the stream is cut |
//! | `request.rs` | the server's side of the handshake |
//! | `origin.rs` | which pages are let in |
//! | `answer.rs` | the client's side of the handshake |
//! | `cancel.rs` | a handshake that is given up |
//! | `end.rs` | our end; what it shares with TCP is in `../support/end.rs` |
//! | `raw.rs` | a peer that writes what it likes |

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod answer;
mod cancel;
mod closing;
mod cuts;
mod end;
mod frames;
mod origin;
mod port;
mod raw;
mod request;
#[path = "../support/end.rs"]
mod support;

use support::within;
