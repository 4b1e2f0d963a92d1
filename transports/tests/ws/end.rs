//! Our end of a connection, with the two owners' halves side by side.

use super::within;
use emitwire_core::protocol::Frame;
use emitwire_core::transport::{
    Capabilities, Connection, Listener, Peer, ReadError, ReadHalf, Transport, WriteHalf,
};
use emitwire_transports::Ws;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Waker};

pub(super) struct End {
    pub(super) peer: Peer,
    pub(super) capabilities: Capabilities,
    pub(super) reader: Box<dyn ReadHalf>,
    pub(super) writer: Box<dyn WriteHalf>,
}

impl End {
    pub(super) fn new(connection: Box<dyn Connection>) -> Self {
        let (peer, capabilities) = (connection.peer(), connection.capabilities());
        let (reader, writer) = connection.split();
        Self { peer, capabilities, reader, writer }
    }

    pub(super) async fn write(
        &mut self,
        frames: impl IntoIterator<Item = Frame>,
    ) -> io::Result<()> {
        let mut batch = frames.into_iter().collect();
        within(poll_fn(|cx| self.writer.poll_write(cx, &mut batch))).await
    }

    /// Writes until the system's buffers are full; the last try is by somebody who does not wait.
    /// What is left of it is the batch, and perhaps something within the writer.
    pub(super) async fn fill(&mut self, frame: &Frame) -> (usize, VecDeque<Frame>) {
        // The first write waits until the runtime knows that the socket can be written.
        self.write([frame.clone()]).await.unwrap();
        let mut count = 1;
        loop {
            let mut batch = VecDeque::from([frame.clone()]);
            count += 1;
            let mut cx = Context::from_waker(Waker::noop());
            if self.writer.poll_write(&mut cx, &mut batch).map(Result::unwrap).is_pending() {
                return (count, batch);
            }
        }
    }

    pub(super) async fn read(&mut self, frames: &mut Vec<Frame>) -> Result<usize, ReadError> {
        within(poll_fn(|cx| self.reader.poll_read(cx, frames))).await
    }

    pub(super) async fn read_frames(&mut self, count: usize) -> Vec<Frame> {
        let mut frames = Vec::new();
        while frames.len() < count {
            assert_ne!(self.read(&mut frames).await.unwrap(), 0, "ended after {}", frames.len());
        }
        frames
    }

    /// Everything up to the end of the wire.
    pub(super) async fn read_to_end(&mut self) -> (Vec<Frame>, Result<(), ReadError>) {
        let mut frames = Vec::new();
        loop {
            match self.read(&mut frames).await {
                Ok(0) => return (frames, Ok(())),
                Ok(_) => {}
                Err(error) => return (frames, Err(error)),
            }
        }
    }

    pub(super) async fn close(&mut self) {
        within(poll_fn(|cx| self.writer.poll_close(cx))).await.unwrap();
    }

    /// As a session ends: in order, and then reading until the peer has ended too.
    pub(super) async fn hang_up(mut self) {
        self.close().await;
        while let Ok(1..) = self.read(&mut Vec::new()).await {}
    }
}

/// Where a listener is, without its scheme.
pub(super) fn address(listener: &dyn Listener) -> String {
    listener.endpoint().strip_prefix("ws://").unwrap().to_owned()
}

pub(super) async fn bind() -> Box<dyn Listener> {
    Ws::new("127.0.0.1:0").bind().await.unwrap()
}

pub(super) async fn accept(listener: &mut dyn Listener) -> End {
    let incoming = within(listener.accept()).await.unwrap();
    End::new(within(incoming.handshake()).await.unwrap())
}

/// A client and a server that have met.
pub(super) async fn meet(client: &Ws, listener: &mut dyn Listener) -> (End, End) {
    let (client, server) = tokio::join!(within(client.connect()), accept(listener));
    (End::new(client.unwrap()), server)
}

pub(super) async fn ends() -> (End, End) {
    let mut listener = bind().await;
    meet(&Ws::new(address(&*listener)), &mut *listener).await
}
