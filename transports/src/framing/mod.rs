//! Frames on byte streams: what all stream wires share.
//!
//! | file | holds |
//! | --- | --- |
//! | `reader.rs` | frames that stand behind their length |
//! | `stream.rs` | [`framed`]: any stream of bytes as two halves |
//! | `writer.rs` | frames behind whatever header the wire gives them, joined into few writes |
//! | `socket.rs` | the writing direction of tokio's sockets |
//! | `scratch.rs` | the thread's buffer: an idle stream holds no memory but its halves |

#[cfg(feature = "__framed")]
mod reader;
mod scratch;
mod socket;
#[cfg(feature = "__framed")]
mod stream;
#[cfg(all(test, feature = "__framed"))]
mod tests;
mod writer;

#[cfg(feature = "__framed")]
pub(crate) use reader::FrameReader;
#[cfg(feature = "ws")]
pub(crate) use scratch::with_scratch;
#[allow(
    unused_imports,
    reason = "the wires without sockets of this system have none to write to"
)]
pub(crate) use socket::socket_writes;
#[cfg(feature = "tls")]
pub(crate) use stream::Unbudgeted;
#[cfg(feature = "__framed")]
pub use stream::framed;
#[cfg(feature = "ws")]
pub(crate) use writer::Header;
#[cfg(feature = "__framed")]
pub(crate) use writer::Length;
pub(crate) use writer::{FrameWriter, WriteStream};

use emitwire_core::transport::ReadError;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

/// One read into `room`; zero bytes are the end of the stream.
pub(crate) fn poll_stream(
    stream: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    room: &mut [u8],
) -> Poll<Result<usize, ReadError>> {
    let mut room = ReadBuf::new(room);
    ready!(Pin::new(stream).poll_read(cx, &mut room)).map_err(read_error)?;
    Poll::Ready(Ok(room.filled().len()))
}

/// A peer may refuse this side's certificate when this side has long been done (RFC 8446
/// §4.4.2.4).
fn read_error(source: io::Error) -> ReadError {
    #[cfg(feature = "tls")]
    if let Some(source) = crate::tls::alert_in(&source) {
        return ReadError::Handshake { source };
    }
    source.into()
}
