//! The writing half: ordered frames on the stream, volatile ones as datagrams.

use super::connection::{Link, NO_GOODBYE};
use super::share::{Seen, Share};
use crate::framing::{FrameWriter, Length, WriteStream};
use emitwire_core::protocol::{Class, CloseCode, Frame};
use emitwire_core::transport::WriteHalf;
use quinn::{SendDatagramError, StoppedError, VarInt, WriteError};
use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::time::Instant;

pub(super) struct Writer {
    stream: FrameWriter<SendStream, Length>,
    link: Arc<Link>,
    datagram_bytes_max: usize,
    /// What is free of quinn's buffer for datagrams when none waits.
    buffer_bytes: usize,
    share: Share,
    /// The stream takes no more for now.
    is_blocked: bool,
    /// Volatile frames for which there was no room since somebody last asked.
    dropped: u64,
}

impl Writer {
    pub(super) fn new(stream: SendStream, link: Arc<Link>, datagram_bytes_max: usize) -> Self {
        let buffer_bytes = link.connection.datagram_send_buffer_space();
        let (stream, share) = (FrameWriter::new(stream), Share::new(buffer_bytes));
        let (is_blocked, dropped) = (false, 0);
        Self { stream, link, datagram_bytes_max, buffer_bytes, share, is_blocked, dropped }
    }

    /// Takes the volatile frames that fit into a datagram out of the batch. The others, and the
    /// one in front of which a part is on the stream, stay.
    fn send_datagrams(&mut self, batch: &mut VecDeque<Frame>) -> io::Result<()> {
        let Some(max) = self.link.connection.max_datagram_size() else { return Ok(()) };
        // What has no room in an empty buffer never has.
        let max = max.min(self.datagram_bytes_max).min(self.buffer_bytes);
        if self.buffer_bytes == 0 {
            return Ok(());
        }
        self.look();
        let mut is_begun = !self.stream.is_between_frames();
        let mut sent = Ok(());
        batch.retain(|frame| {
            let stays = mem::take(&mut is_begun)
                || frame.class == Class::Ordered
                || frame.body.len() > max
                || sent.is_err();
            if !stays {
                sent = self.send_datagram(frame);
            }
            stays
        });
        sent
    }

    fn look(&mut self) {
        let connection = &self.link.connection;
        let stats = connection.stats();
        self.share.look(Seen {
            now: Instant::now(),
            is_written: self.stream.stream().take_written(),
            is_blocked: self.is_blocked,
            is_empty: connection.datagram_send_buffer_space() == self.buffer_bytes,
            frames: stats.frame_tx.stream,
            round_trip: stats.path.rtt,
        });
    }

    fn send_datagram(&mut self, frame: &Frame) -> io::Result<()> {
        let (connection, bytes) = (&self.link.connection, frame.body.len());
        // quinn would make room by dropping the oldest, and tell nobody.
        let has_room = connection.datagram_send_buffer_space() >= bytes.max(1);
        if !has_room || !self.share.take(bytes) {
            self.dropped += 1;
            return Ok(());
        }
        match connection.send_datagram(frame.body.clone()) {
            Ok(()) => Ok(()),
            Err(SendDatagramError::ConnectionLost(error)) => Err(error.into()),
            // The path has become narrower just now.
            Err(_) => {
                self.dropped += 1;
                Ok(())
            }
        }
    }
}

impl WriteHalf for Writer {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut VecDeque<Frame>,
    ) -> Poll<io::Result<()>> {
        if batch.iter().any(|frame| frame.class == Class::Volatile) {
            self.send_datagrams(batch)?;
        }
        if !batch.is_empty() || !self.stream.is_between_frames() {
            self.share.writes(self.link.connection.stats().frame_tx.stream);
        }
        let written = self.stream.poll_write(cx, batch);
        self.is_blocked = written.is_pending();
        written
    }

    fn take_dropped(&mut self) -> u64 {
        mem::take(&mut self.dropped)
    }

    fn goodbye(&mut self, code: CloseCode) {
        self.link.say(code.number());
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_close(cx)
    }
}

/// The stream's direction to the peer.
pub(super) struct SendStream {
    stream: quinn::SendStream,
    end: End,
    /// Something was written since somebody last asked.
    is_written: bool,
}

enum End {
    Open,
    /// Finished, and not yet acknowledged to the last byte.
    Finished(Pin<Box<dyn Future<Output = Result<Option<VarInt>, StoppedError>> + Send>>),
    Closed,
}

impl SendStream {
    pub(super) fn new(stream: quinn::SendStream) -> Self {
        Self { stream, end: End::Open, is_written: false }
    }

    fn take_written(&mut self) -> bool {
        mem::take(&mut self.is_written)
    }
}

impl WriteStream for SendStream {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut written = 0;
        for slice in slices {
            match Pin::new(&mut self.stream).poll_write(cx, slice) {
                Poll::Ready(Ok(some)) => {
                    written += some;
                    if some < slice.len() {
                        break;
                    }
                }
                // What broke breaks the next write too.
                _ if written > 0 => break,
                Poll::Ready(Err(WriteError::ConnectionLost(error))) => {
                    return Poll::Ready(Err(error.into()));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.is_written = true;
        Poll::Ready(Ok(written))
    }

    /// Is done when the peer has acknowledged everything: closing the connection earlier would
    /// throw away what it has not.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let End::Open = self.end {
            // It fails only where the stream was ended before.
            let _ = self.stream.finish();
            self.end = End::Finished(Box::pin(self.stream.stopped()));
        }
        let End::Finished(acknowledged) = &mut self.end else { return Poll::Ready(Ok(())) };
        let acknowledged = ready!(acknowledged.as_mut().poll(cx));
        self.end = End::Closed;
        Poll::Ready(match acknowledged {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(StoppedError::ConnectionLost(error)) => Err(error.into()),
            Err(error) => Err(error.into()),
        })
    }
}

impl Drop for SendStream {
    /// Left to itself quinn would end the stream in order, in the middle of a frame if need be.
    fn drop(&mut self) {
        if let End::Open = self.end {
            let _ = self.stream.reset(u32::from(NO_GOODBYE).into());
        }
    }
}
