//! One live wire, as two halves with two owners.

use super::{Capabilities, Choice, Peer, ReadError};
use crate::protocol::{CloseCode, Codec, Frame, Native};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

/// One live wire to one peer.
pub trait Connection: Send + 'static {
    /// Who is at the other end.
    fn peer(&self) -> Peer;

    /// What the wire promises.
    fn capabilities(&self) -> Capabilities;

    /// What is spoken on it: the native codec, unless the wire belongs to another protocol.
    fn codec(&self) -> Arc<dyn Codec> {
        // One for all connections.
        static NATIVE: LazyLock<Arc<Native>> = LazyLock::new(|| Arc::new(Native));
        Arc::<Native>::clone(&NATIVE)
    }

    /// The choice that it came of, if its transport had several wires to choose from. Whoever
    /// wraps a connection passes this on, if what the choice's own transports connect can do
    /// without the wrapping; else one that passes on [`Choice::proved`] and [`Choice::failed`], and
    /// has nothing that is better.
    fn choice(&self) -> Option<Arc<dyn Choice>> {
        None
    }

    /// Gives each half its owner: reading belongs to the driver, writing to the mailbox.
    fn split(self: Box<Self>) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>);
}

/// The half that reads. Dropping it stops reading; it holds no memory while the wire is idle.
pub trait ReadHalf: Send + 'static {
    /// The largest frame to take from now on, in bytes of its body. A larger one is refused
    /// *before* memory is allocated for it.
    fn set_frame_bytes_max(&mut self, frame_bytes_max: usize);

    /// Reads what is there: appends whole frames and says how many bytes came, which may be more
    /// than the frames hold (a partial frame is a sign of life too). Zero bytes: the peer ended
    /// the stream between two frames.
    ///
    /// It reads a bounded amount per call and is called again until it is pending. It appends
    /// nothing to `frames` when it is pending.
    ///
    /// # Errors
    /// [`ReadError`]: the wire broke, or carries something that is no frame. Frames appended
    /// before the error are good. Afterwards the half brings no frame any more; one of a stream
    /// throws away what still comes, and says how much, so that a goodbye is not lost to a reset.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        frames: &mut Vec<Frame>,
    ) -> Poll<Result<usize, ReadError>>;

    /// Where the peer is now, if what was read has come from elsewhere than before: for wires
    /// whose connections outlive an address. Asked after each read that brought bytes. Not by the
    /// first packet alone: its source may be false until the peer has answered from there.
    fn moved(&mut self) -> Option<Peer> {
        None
    }
}

/// The half that writes. Dropping it closes this direction without ceremony.
pub trait WriteHalf: Send + 'static {
    /// Writes frames from the front of `batch` and removes each that is written whole, or that
    /// this half has taken over. Ready when everything is written; pending when the wire takes no
    /// more for now, with the waker of `cx` registered. Then the caller calls again, even if the
    /// batch is empty by now: what is left of a frame in front it passes again, as it is, and
    /// others behind it if it likes.
    ///
    /// Whoever does not want to wait calls it with a waker that does nothing, and leaves the rest
    /// to a caller who waits; so this half is never to touch the reading half's waker.
    ///
    /// # Errors
    /// What the system says. The half is of no use afterwards.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut VecDeque<Frame>,
    ) -> Poll<io::Result<()>>;

    /// How many volatile frames it has dropped since it was last asked, because its wire had no
    /// room for them: the newest, so that those that are under way arrive. Asked after each write
    /// on a wire that declares [`Capabilities::datagram_bytes_max`].
    fn take_dropped(&mut self) -> u64 {
        0
    }

    /// What ends the link, for wires whose own close says why. Called, if at all, once, before the
    /// goodbye is written and before [`poll_close`](Self::poll_close).
    fn goodbye(&mut self, _code: CloseCode) {}

    /// Ends this direction in order, so that the peer reads everything and then the end.
    ///
    /// # Errors
    /// What the system says; the direction is closed all the same.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}
