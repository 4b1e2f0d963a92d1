//! Any stream of bytes as a wire's two halves.

use super::{FrameReader, FrameWriter, Length, WriteStream};
use emitwire_core::transport::{ReadHalf, WriteHalf};
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::coop::unconstrained;

/// Length-delimited frames on any stream of bytes: for wires of your own.
///
/// A frame is the length of its body, as 32 bits in network order, and then the body; none is
/// larger than `frame_bytes_max`, which is also what its [`Capabilities`] declare: more than the
/// largest event of the sessions on it, see [`Codec::frame_bytes_max`]. That is all a
/// [`Connection`] needs for its `split`, whatever carries the bytes: a Unix socket, a serial port,
/// the pipes of a child, a TLS session. What is written is flushed, so a stream that gathers bytes
/// may be used.
///
/// The two directions have two owners. Writing may be tried with a waker that does nothing, and
/// what was pending is tried again with more behind it; so `write` is never to read, as a TLS
/// stream does that is still shaking hands: let it finish first.
///
/// ```
/// # use emitwire_core::transport::{Capabilities, Connection, Peer, ReadHalf, WriteHalf};
/// use emitwire_transports::framed;
/// use tokio::io::DuplexStream;
///
/// struct Pipe(DuplexStream);
///
/// impl Connection for Pipe {
///     fn peer(&self) -> Peer {
///         Peer::new("pipe://here")
///     }
///
///     fn capabilities(&self) -> Capabilities {
///         Capabilities::stream(FRAME_BYTES_MAX)
///     }
///
///     fn split(self: Box<Self>) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>) {
///         let (read, write) = tokio::io::split(self.0);
///         framed(read, write, FRAME_BYTES_MAX)
///     }
/// }
///
/// const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// ```
///
/// [`Capabilities`]: emitwire_core::transport::Capabilities
/// [`Codec::frame_bytes_max`]: emitwire_core::protocol::Codec::frame_bytes_max
/// [`Connection`]: emitwire_core::transport::Connection
pub fn framed(
    read: impl AsyncRead + Send + Unpin + 'static,
    write: impl AsyncWrite + Send + Unpin + 'static,
    frame_bytes_max: usize,
) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>) {
    let reader = FrameReader::new(read, frame_bytes_max.min(u32::MAX as usize));
    (Box::new(reader), Box::new(FrameWriter::<_, Length>::new(Unbudgeted::new(write))))
}

/// A writing direction that costs no budget: see [`WriteStream`].
pub(crate) struct Unbudgeted<W> {
    stream: W,
    unflushed: bool,
}

impl<W> Unbudgeted<W> {
    pub(crate) fn new(stream: W) -> Self {
        Self { stream, unflushed: false }
    }
}

impl<W: AsyncWrite + Send + Unpin + 'static> WriteStream for Unbudgeted<W> {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = &mut self.stream;
        let write = poll_fn(|cx| Pin::new(&mut *stream).poll_write_vectored(cx, slices));
        let written = ready!(pin!(unconstrained(write)).poll(cx));
        self.unflushed = true;
        Poll::Ready(written)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unflushed {
            let stream = &mut self.stream;
            let flush = poll_fn(|cx| Pin::new(&mut *stream).poll_flush(cx));
            ready!(pin!(unconstrained(flush)).poll(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
