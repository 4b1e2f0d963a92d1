//! A stream of bytes over TCP, in the clear or encrypted, and its two directions.

#[cfg(feature = "tls")]
use crate::framing::Unbudgeted;
use crate::framing::{WriteStream, socket_writes};
#[cfg(feature = "tls")]
use crate::tls::{self, Encrypted, EncryptedReader, EncryptedWriter};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// A connected stream.
pub(crate) enum Stream {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Encrypted(Box<Encrypted>),
}

/// What is read from it.
pub(crate) enum ReadStream {
    Plain(OwnedReadHalf),
    #[cfg(feature = "tls")]
    Encrypted(EncryptedReader),
}

/// What is written to it.
pub(crate) enum WritingStream {
    Plain(OwnedWriteHalf),
    #[cfg(feature = "tls")]
    Encrypted(Unbudgeted<EncryptedWriter>),
}

impl Stream {
    /// Whether nobody on the way can read it.
    pub(crate) fn is_encrypted(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            #[cfg(feature = "tls")]
            Self::Encrypted(_) => true,
        }
    }

    /// Gives each direction its owner.
    pub(crate) fn split(self) -> (ReadStream, WritingStream) {
        match self {
            Self::Plain(stream) => {
                let (read, write) = stream.into_split();
                (ReadStream::Plain(read), WritingStream::Plain(write))
            }
            #[cfg(feature = "tls")]
            Self::Encrypted(stream) => {
                let (read, write) = tls::split(*stream);
                let write = WritingStream::Encrypted(Unbudgeted::new(write));
                (ReadStream::Encrypted(read), write)
            }
        }
    }
}

/// Does the same with either stream.
macro_rules! either {
    ($self:expr, $stream:ident => $work:expr) => {
        match $self {
            Self::Plain($stream) => $work,
            #[cfg(feature = "tls")]
            Self::Encrypted($stream) => $work,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, room))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}

impl AsyncRead for ReadStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, room))
    }
}

impl WriteStream for WritingStream {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => WriteStream::poll_write(stream, cx, slices))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => WriteStream::poll_flush(stream, cx))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => WriteStream::poll_close(stream, cx))
    }
}

socket_writes!(OwnedWriteHalf);
