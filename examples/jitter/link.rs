//! One connection that can be cut: the halves that its owner holds go through here.

use emitwire::protocol::{Codec, Frame};
use emitwire::transport::{Connection, ReadError, ReadHalf, WriteHalf};
use emitwire::{Capabilities, Peer};
use std::collections::VecDeque;
use std::io;
use std::mem::replace;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// How a cable is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The socket is dropped: both ends are told that it is gone, but nobody says goodbye.
    Abrupt,
    /// The socket stays open, and carries nothing any more: nobody is told.
    Silent,
}

/// What is left of a connection that was cut silently. As long as it is kept its socket is open.
pub(crate) struct Remains {
    _read: Option<Box<dyn ReadHalf>>,
    _write: Option<Box<dyn WriteHalf>>,
}

/// What the cable and the connection's owner share.
pub(crate) struct Link {
    read: Mutex<End<dyn ReadHalf>>,
    write: Mutex<End<dyn WriteHalf>>,
}

struct End<T: ?Sized> {
    half: Half<T>,
    /// Who waits for it.
    waker: Option<Waker>,
}

enum Half<T: ?Sized> {
    Whole(Box<T>),
    Cut(Cut),
}

impl Link {
    /// Cuts both directions. Who waits for one of them hears of it, unless the cut is silent.
    pub(crate) fn cut(&self, how: Cut) -> Remains {
        // Not dropped under a lock.
        Remains { _read: lock(&self.read).cut(how), _write: lock(&self.write).cut(how) }
    }
}

impl<T: ?Sized> End<T> {
    fn new(half: Box<T>) -> Mutex<Self> {
        Mutex::new(Self { half: Half::Whole(half), waker: None })
    }

    fn cut(&mut self, how: Cut) -> Option<Box<T>> {
        if let (Cut::Abrupt, Some(waker)) = (how, self.waker.take()) {
            waker.wake();
        }
        match replace(&mut self.half, Half::Cut(how)) {
            Half::Whole(half) => Some(half),
            Half::Cut(_) => None,
        }
    }

    /// Polls the half, or else does what a cut one does: it fails, or says this.
    fn poll<R, E: From<io::Error>>(
        &mut self,
        cx: &mut Context<'_>,
        silent: Poll<Result<R, E>>,
        poll: impl FnOnce(&mut T, &mut Context<'_>) -> Poll<Result<R, E>>,
    ) -> Poll<Result<R, E>> {
        let polled = match &mut self.half {
            Half::Whole(half) => poll(half, cx),
            Half::Cut(Cut::Silent) => return silent,
            Half::Cut(Cut::Abrupt) => {
                let reset = io::Error::from(io::ErrorKind::ConnectionReset);
                return Poll::Ready(Err(reset.into()));
            }
        };
        if polled.is_pending() && !self.waker.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
        polled
    }
}

/// A connection as its owner has it, and its link.
pub(crate) fn splice(connection: Box<dyn Connection>) -> (Box<dyn Connection>, Arc<Link>) {
    let (peer, capabilities) = (connection.peer(), connection.capabilities());
    let codec = connection.codec();
    let (read, write) = connection.split();
    let link = Arc::new(Link { read: End::new(read), write: End::new(write) });
    let spliced = Spliced { peer, capabilities, codec, link: Arc::clone(&link) };
    (Box::new(spliced), link)
}

struct Spliced {
    peer: Peer,
    capabilities: Capabilities,
    codec: Arc<dyn Codec>,
    link: Arc<Link>,
}

impl Connection for Spliced {
    fn peer(&self) -> Peer {
        self.peer.clone()
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn codec(&self) -> Arc<dyn Codec> {
        Arc::clone(&self.codec)
    }

    fn split(self: Box<Self>) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>) {
        (Box::new(Reader(Arc::clone(&self.link))), Box::new(Writer(self.link)))
    }
}

struct Reader(Arc<Link>);

impl ReadHalf for Reader {
    fn set_frame_bytes_max(&mut self, frame_bytes_max: usize) {
        if let Half::Whole(half) = &mut lock(&self.0.read).half {
            half.set_frame_bytes_max(frame_bytes_max);
        }
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        frames: &mut Vec<Frame>,
    ) -> Poll<Result<usize, ReadError>> {
        lock(&self.0.read).poll(cx, Poll::Pending, |half, cx| half.poll_read(cx, frames))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let half = lock(&self.0.read).cut(Cut::Abrupt);
        drop(half); // not under the lock
    }
}

struct Writer(Arc<Link>);

impl WriteHalf for Writer {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut VecDeque<Frame>,
    ) -> Poll<io::Result<()>> {
        let mut end = lock(&self.0.write);
        if let Half::Cut(Cut::Silent) = end.half {
            batch.clear(); // into the sea
        }
        end.poll(cx, Poll::Ready(Ok(())), |half, cx| half.poll_write(cx, batch))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0.write).poll(cx, Poll::Ready(Ok(())), |half, cx| half.poll_close(cx))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let half = lock(&self.0.write).cut(Cut::Abrupt);
        drop(half); // not under the lock
    }
}

fn lock<T: ?Sized>(end: &Mutex<T>) -> MutexGuard<'_, T> {
    end.lock().unwrap_or_else(PoisonError::into_inner)
}
