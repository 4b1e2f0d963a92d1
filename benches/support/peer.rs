//! One end of an encrypted wire that speaks docs/PROTOCOL.md by itself, as light as it can be.

use crate::dialer::{Dialer, Duplex};
use crate::session::{Session, connect, hello, unexpected};
use crate::tick::{EVENT, client_frame, event, finished, frame, tick_of};
use crate::wire::Wire;
use bytes::{Buf, Bytes, BytesMut};
use emitwire::protocol::{EventName, EventPacket, EventRef, NamespaceNumber, Packet, Payload};
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What is asked and answered.
pub(crate) const BODY: [u8; 64] = [b'.'; 64];

/// Room for one read.
const READ_BYTES: usize = 4 * 1024;

/// One connection to a server.
pub(crate) struct Peer {
    wire: Wire,
    stream: Box<dyn Duplex>,
    bytes: BytesMut,
    ticks: u64,
    /// None at a server that speaks no protocol.
    session: Option<Session>,
}

impl Peer {
    /// A connection to a server that speaks no protocol.
    pub(crate) async fn bare(dialer: &Dialer, wire: Wire, server: SocketAddr) -> io::Result<Self> {
        let stream = dialer.dial(wire, server).await?;
        Ok(Self { wire, stream, bytes: BytesMut::new(), ticks: 0, session: None })
    }

    /// Shakes hands with a server and joins its namespace `/`.
    pub(crate) async fn join(dialer: &Dialer, wire: Wire, server: SocketAddr) -> io::Result<Self> {
        let mut peer = Self::bare(dialer, wire, server).await?;
        let mut session = Session::new();
        peer.say(&[hello(&session)]).await?;
        match session.decode(&peer.hear().await?)? {
            Packet::Welcome(welcome) => session.heed(&welcome.limits),
            other => return Err(unexpected(&other)),
        }
        match session.decode(&peer.hear().await?)? {
            Packet::From(1) => {}
            other => return Err(unexpected(&other)),
        }
        peer.say(&[Packet::From(1), connect()]).await?;
        session.written = 1;
        match session.decode(&peer.hear().await?)? {
            Packet::Accept(_) => session.received = 1,
            other => return Err(unexpected(&other)),
        }
        peer.session = Some(session);
        Ok(peer)
    }

    /// Ticks heard so far: each once, and in order.
    pub(crate) fn ticks(&self) -> u64 {
        self.ticks
    }

    /// Has the server tell the others these ticks. All go out in one write.
    pub(crate) async fn go(&mut self, ticks: Range<u64>) -> io::Result<()> {
        let packets: Vec<Packet> = ticks.map(|tick| event("go", tick)).collect();
        match &mut self.session {
            Some(session) => {
                session.written += packets.len() as u64;
                self.say(&packets).await
            }
            // A server that speaks no protocol takes no mask off either.
            None => {
                let frames = packets.iter().flat_map(|packet| frame(self.wire, packet));
                self.write(&frames.collect::<Vec<u8>>()).await
            }
        }
    }

    /// Says what an idle peer does: a heartbeat, and a position behind it.
    pub(crate) async fn beat(&mut self) -> io::Result<()> {
        let ticks = self.ticks;
        let Some(session) = &mut self.session else { return Ok(()) };
        let heartbeat = Packet::Heartbeat { written: session.written };
        let position = session.position(finished(ticks));
        self.say(&[heartbeat, position]).await
    }

    /// Waits for news, and does with them what a peer has to.
    pub(crate) async fn listen(&mut self) -> io::Result<()> {
        let mut body = Some(self.hear().await?);
        while let Some(heard) = body {
            match heard.first() {
                Some(&EVENT) if tick_of(&heard) == Some(self.ticks) => {
                    self.ticks += 1;
                    self.session.iter_mut().for_each(|session| session.received += 1);
                }
                Some(&EVENT) => return Err(io::Error::other("a tick came out of turn")),
                _ => self.heed(&heard)?,
            }
            body = self.next_frame();
        }
        self.tell_position().await
    }

    /// Has something said back, or answered.
    pub(crate) async fn ask(&mut self) -> io::Result<()> {
        let answer = match &mut self.session {
            None => {
                let frame = self.wire.client_frame(&BODY);
                self.write(&frame).await?;
                self.hear().await?
            }
            Some(session) => {
                let event = EventRef { producer: None, number: session.written };
                session.written += 1;
                self.say(&[question(event)?]).await?;
                self.hear_answer().await?
            }
        };
        let is_whole = *answer == BODY;
        is_whole.then_some(()).ok_or_else(|| io::Error::other("another answer"))
    }

    async fn hear_answer(&mut self) -> io::Result<Bytes> {
        loop {
            let heard = self.hear().await?;
            let session = self.session.as_mut().ok_or(io::ErrorKind::NotConnected)?;
            match session.decode(&heard)? {
                Packet::Ack(ack) => {
                    session.received += 1;
                    self.tell_position().await?;
                    return ack.payload.decode().map_err(io::Error::other);
                }
                Packet::Position(position) => session.asked |= position.asks,
                Packet::Heartbeat { .. } => {}
                other => return Err(unexpected(&other)),
            }
        }
    }

    fn heed(&mut self, body: &[u8]) -> io::Result<()> {
        let session = self.session.as_mut().ok_or_else(|| io::Error::other("not a tick"))?;
        match session.decode(body)? {
            Packet::Position(position) => session.asked |= position.asks,
            Packet::Heartbeat { written } if written == session.received => {}
            other => return Err(unexpected(&other)),
        }
        Ok(())
    }

    async fn tell_position(&mut self) -> io::Result<()> {
        match &mut self.session {
            Some(session) if session.owes_position() => {
                let position = session.position(finished(self.ticks));
                self.say(&[position]).await
            }
            _ => Ok(()),
        }
    }

    async fn say(&mut self, packets: &[Packet]) -> io::Result<()> {
        let frames = packets.iter().flat_map(|packet| client_frame(self.wire, packet));
        self.write(&frames.collect::<Vec<u8>>()).await
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Waits for the body of the next frame. May be given up without a loss.
    async fn hear(&mut self) -> io::Result<Bytes> {
        loop {
            if let Some(body) = self.next_frame() {
                return Ok(body);
            }
            self.bytes.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The body of a frame that is here already.
    fn next_frame(&mut self) -> Option<Bytes> {
        let (body, rest) = self.wire.split(&self.bytes)?;
        let (header, length) = (self.bytes.len() - rest.len() - body.len(), body.len());
        self.bytes.advance(header);
        Some(self.bytes.split_to(length).freeze())
    }
}

fn question(event: EventRef) -> io::Result<Packet> {
    Ok(Packet::Event(EventPacket {
        namespace: NamespaceNumber(0),
        event,
        wants_ack: true,
        name: EventName::from_static("echo"),
        payload: Payload::encode(&Bytes::from_static(&BODY)).map_err(io::Error::other)?,
    }))
}
