//! The reading half: frames whole, in fragments, and of control in between.

use super::rules::{self, CONTROL_BYTES_MAX, Head, What};
use super::writer::Output;
use crate::framing::{WriteStream, poll_stream, with_scratch};
use bytes::{Bytes, BytesMut};
use emitwire_core::protocol::{Class, Frame, FrameKind};
use emitwire_core::transport::{ReadError, ReadHalf};
use std::io;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncRead;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data};

/// Reads through the thread's buffer, as all stream wires do: what is kept here is what has
/// arrived of something that is not whole.
pub(super) struct Reader<R, W> {
    stream: R,
    /// What the peer is.
    from: Role,
    /// Read together with the end of the handshake.
    early: Vec<u8>,
    /// What the wire allows, whatever the session says.
    wire_bytes_max: usize,
    frame_bytes_max: usize,
    /// A frame that is not whole, header included.
    partial: Vec<u8>,
    /// What several fragments make, as far as they are here.
    begun: Option<(FrameKind, Vec<u8>)>,
    state: State,
    output: Arc<Output<W>>,
    /// A pong is to be written, or waits for room.
    owes_pong: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The peer said so; what follows is not looked at (RFC 6455 §5.5.1).
    Closed,
    /// The peer broke a rule. What it still sends is thrown away, so that a goodbye is not lost to
    /// a reset.
    Failed,
}

impl<R, W> Reader<R, W> {
    /// The half of a connection of this `role` that takes frames of up to `wire_bytes_max`.
    pub(super) fn new(
        stream: R,
        role: Role,
        early: Vec<u8>,
        wire_bytes_max: usize,
        output: Arc<Output<W>>,
    ) -> Self {
        let from = if role == Role::Server { Role::Client } else { Role::Server };
        Self {
            stream,
            from,
            early,
            wire_bytes_max,
            frame_bytes_max: wire_bytes_max,
            partial: Vec::new(),
            begun: None,
            state: State::Open,
            output,
            owes_pong: false,
        }
    }

    /// What is kept of something that is not whole, with the room for more of it.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.partial.capacity() + self.begun.as_ref().map_or(0, |(_, begun)| begun.capacity())
    }
}

impl<R, W: WriteStream> Reader<R, W> {
    /// Takes apart what came in one read.
    fn take(&mut self, bytes: &[u8], frames: &mut Vec<Frame>) -> Result<(), ReadError> {
        let mut rest = self.fill(bytes, frames)?;
        // The bodies of one read share one allocation.
        let mut block = BytesMut::new();
        while self.state == State::Open {
            let head = self.head(rest)?;
            let Some((head, frame)) =
                head.and_then(|head| Some((head, rest.get(..head.frame_bytes())?)))
            else {
                self.partial.extend_from_slice(rest);
                break;
            };
            let body = &frame[head.header_bytes..];
            if let (What::Begin(kind), true, None) = (head.what, head.is_final, &self.begun) {
                if block.capacity() < body.len() {
                    block.reserve(rest.len());
                }
                block.extend_from_slice(body);
                head.unmask(&mut block);
                frames.push(whole(kind, block.split().freeze())?);
            } else {
                let mut body = body.to_vec();
                head.unmask(&mut body);
                self.accept(&head, body.into(), frames)?;
            }
            rest = &rest[frame.len()..];
        }
        Ok(())
    }

    /// Completes the frame that is not whole; gives back what follows it.
    fn fill<'a>(
        &mut self,
        mut bytes: &'a [u8],
        frames: &mut Vec<Frame>,
    ) -> Result<&'a [u8], ReadError> {
        while !self.partial.is_empty() {
            let head = self.head(&self.partial)?;
            // A header comes byte by byte: nobody knows yet how long it is.
            let missing = head.map_or(1, |head| head.frame_bytes() - self.partial.len());
            if let (Some(head), 0) = (head, missing) {
                let mut frame = mem::take(&mut self.partial);
                head.unmask(&mut frame[head.header_bytes..]);
                let body = Bytes::from(frame).slice(head.header_bytes..);
                self.accept(&head, body, frames)?;
                break;
            }
            if bytes.is_empty() {
                break;
            }
            let (these, others) = bytes.split_at(missing.min(bytes.len()));
            grow(&mut self.partial, these.len(), missing);
            self.partial.extend_from_slice(these);
            bytes = others;
        }
        Ok(bytes)
    }

    /// The header of what comes next, if that is not too large, alone or with what was begun.
    fn head(&self, bytes: &[u8]) -> Result<Option<Head>, ReadError> {
        let max = self.frame_bytes_max;
        let head = Head::parse(bytes, self.from, max)?;
        if let (Some(Head { what: What::Continue, body_bytes, .. }), Some((_, begun))) =
            (&head, &self.begun)
        {
            let bytes = begun.len().saturating_add(*body_bytes);
            if bytes > max {
                return Err(ReadError::FrameTooLarge { bytes: bytes as u64, max });
            }
        }
        Ok(head)
    }

    /// Takes a whole frame with its body, unmasked.
    fn accept(
        &mut self,
        head: &Head,
        body: Bytes,
        frames: &mut Vec<Frame>,
    ) -> Result<(), ReadError> {
        match (head.what, self.begun.take()) {
            (What::Control(control), begun) => {
                self.begun = begun;
                self.control(control, &body)
            }
            (What::Begin(kind), None) if head.is_final => {
                frames.push(whole(kind, body)?);
                Ok(())
            }
            (What::Begin(kind), None) => {
                self.begun = Some((kind, body.into()));
                Ok(())
            }
            (What::Continue, Some((kind, mut begun))) => {
                let room = self.frame_bytes_max - begun.len();
                grow(&mut begun, body.len(), room);
                begun.extend_from_slice(&body);
                if head.is_final {
                    frames.push(whole(kind, begun.into())?);
                } else {
                    self.begun = Some((kind, begun));
                }
                Ok(())
            }
            (What::Continue, None) => Err(rules::malformed(ProtocolError::UnexpectedContinueFrame)),
            (What::Begin(_), Some(_)) => {
                Err(rules::malformed(ProtocolError::ExpectedFragment(Data::Continue)))
            }
        }
    }

    fn control(&mut self, control: Control, body: &[u8]) -> Result<(), ReadError> {
        debug_assert!(body.len() <= CONTROL_BYTES_MAX);
        match control {
            Control::Ping => {
                self.output.pong(body);
                self.owes_pong = true;
            }
            Control::Close => {
                let code = rules::close_code(body)?;
                self.state = State::Closed;
                self.begun = None;
                self.output.closed_by_peer(code);
            }
            // A pong is a sign of life like any byte.
            _ => {}
        }
        Ok(())
    }

    fn fail(&mut self, error: &ReadError) {
        let code = match error {
            ReadError::FrameTooLarge { .. } => CloseCode::Size,
            ReadError::Malformed { source } if is_utf8(&**source) => CloseCode::Invalid,
            _ => CloseCode::Protocol,
        };
        self.state = State::Failed;
        (self.partial, self.begun) = Default::default();
        self.output.close_with(code);
    }

    fn end(&self) -> Result<usize, ReadError> {
        match self.state {
            State::Closed | State::Failed => Ok(0),
            State::Open if self.partial.is_empty() && self.begun.is_none() => {
                Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
            }
            State::Open => Err(ReadError::Truncated),
        }
    }
}

impl<R, W> ReadHalf for Reader<R, W>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: WriteStream,
{
    fn set_frame_bytes_max(&mut self, frame_bytes_max: usize) {
        self.frame_bytes_max = frame_bytes_max.min(self.wire_bytes_max);
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        frames: &mut Vec<Frame>,
    ) -> Poll<Result<usize, ReadError>> {
        if self.owes_pong {
            self.owes_pong = !self.output.flush(cx);
        }
        if self.state == State::Closed {
            return Poll::Ready(Ok(0));
        }
        let early = mem::take(&mut self.early);
        let taken = if early.is_empty() {
            with_scratch(|scratch| {
                let count = ready!(poll_stream(&mut self.stream, cx, scratch))?;
                Poll::Ready(self.take(&scratch[..count], frames).map(|()| count))
            })
        } else {
            Poll::Ready(self.take(&early, frames).map(|()| early.len()))
        };
        let taken = match ready!(taken) {
            Ok(0) => self.end(),
            taken => taken,
        };
        if self.owes_pong {
            // Once for all pings of a read.
            self.owes_pong = !self.output.flush(cx);
        }
        Poll::Ready(taken.inspect_err(|error| self.fail(error)))
    }
}

/// Makes room for what has come: exactly as much as is still to come, but no more than has come
/// already, because what the peer announces costs it nothing.
fn grow(partial: &mut Vec<u8>, coming: usize, missing: usize) {
    if partial.capacity() - partial.len() < coming {
        let ahead = missing.min(partial.len().max(AHEAD_BYTES_MIN));
        partial.reserve_exact(ahead.max(coming));
    }
}

/// What an application gets to see.
fn whole(kind: FrameKind, body: Bytes) -> Result<Frame, ReadError> {
    if kind == FrameKind::Text {
        std::str::from_utf8(&body).map_err(|error| rules::malformed(Error::from(error)))?;
    }
    Ok(Frame { kind, class: Class::Ordered, body })
}

fn is_utf8(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(Error::Utf8(_)))
}

/// The least room that a partial frame gets beyond what has arrived of it.
const AHEAD_BYTES_MIN: usize = 64;
