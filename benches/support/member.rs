//! A member of a room, as light as a peer can be: a nonblocking socket that checks what it hears.
//!
//! It speaks docs/PROTOCOL.md by itself, with the limits of a default client, and tells its
//! position as often as that one has to: what members say is part of what a delivery costs.

use crate::frames::{REQUEST, check_answer};
use crate::session::{Session, connect, hello, unexpected};
use crate::tick::{EVENT, client_frame, event, finished, frame, tick_of};
use crate::wire::Wire;
use emitwire::protocol::Packet;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::time::Duration;

/// How long a server may take to answer a handshake.
const PATIENCE: Duration = Duration::from_secs(10);

/// One connection to a server.
pub(crate) struct Member {
    wire: Wire,
    stream: TcpStream,
    /// What has arrived of a frame that is not whole.
    partial: Vec<u8>,
    ticks: u64,
    /// None at a server that speaks no protocol.
    session: Option<Session>,
}

impl Member {
    /// A connection to a server that only sends.
    pub(crate) fn bare(wire: Wire, address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { wire, stream, partial: Vec::new(), ticks: 0, session: None })
    }

    /// Shakes hands with a server and joins its namespace `/`.
    pub(crate) fn join(wire: Wire, address: SocketAddr) -> io::Result<Self> {
        let mut member = Self::bare(wire, address)?;
        member.stream.set_nonblocking(false)?;
        member.stream.set_read_timeout(Some(PATIENCE))?;
        if wire.is_websocket() {
            shake_hands(&mut member.stream)?;
        }
        let mut session = Session::new();
        member.say(&[hello(&session)])?;
        match member.hear(&mut session)? {
            Packet::Welcome(welcome) => session.heed(&welcome.limits),
            other => return Err(unexpected(&other)),
        }
        match member.hear(&mut session)? {
            Packet::From(1) => {}
            other => return Err(unexpected(&other)),
        }
        member.say(&[Packet::From(1), connect()])?;
        session.written = 1;
        match member.hear(&mut session)? {
            Packet::Accept(_) => session.received = 1,
            other => return Err(unexpected(&other)),
        }
        member.stream.set_nonblocking(true)?;
        member.session = Some(session);
        Ok(member)
    }

    /// Ticks heard so far: each once, and in order.
    pub(crate) fn ticks(&self) -> u64 {
        self.ticks
    }

    /// Has the server tell the others these ticks. All go out in one write.
    pub(crate) fn go(&mut self, ticks: Range<u64>) -> io::Result<()> {
        if let Some(session) = &mut self.session {
            // Far below the window of a default server, so nothing needs to be waited for.
            session.written += ticks.end - ticks.start;
        }
        let packets: Vec<Packet> = ticks.map(|tick| event("go", tick)).collect();
        if self.session.is_some() {
            return self.say(&packets);
        }
        // A server that speaks no protocol takes no mask off either.
        let frames = packets.iter().flat_map(|packet| frame(self.wire, packet));
        self.stream.write_all(&frames.collect::<Vec<u8>>())
    }

    /// Says what an idle peer does: a heartbeat, and a position behind it.
    pub(crate) fn beat(&mut self) -> io::Result<()> {
        match &mut self.session {
            Some(session) => {
                let packets = [
                    Packet::Heartbeat { written: session.written },
                    session.position(finished(self.ticks)),
                ];
                self.say(&packets)
            }
            None => Ok(()),
        }
    }

    /// Reads once; says whether anything was there.
    ///
    /// # Errors
    /// What the system says, the end of the stream, or anything but the tick that comes next.
    pub(crate) fn read(&mut self, scratch: &mut [u8]) -> io::Result<bool> {
        let count = match self.stream.read(scratch) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        if self.partial.is_empty() {
            let rest = self.handle_frames(&scratch[..count])?;
            self.partial.extend_from_slice(rest);
        } else {
            let mut bytes = std::mem::take(&mut self.partial);
            bytes.extend_from_slice(&scratch[..count]);
            self.partial = self.handle_frames(&bytes)?.to_vec();
        }
        Ok(true)
    }

    /// Gives back what is no whole frame.
    fn handle_frames<'a>(&mut self, mut bytes: &'a [u8]) -> io::Result<&'a [u8]> {
        while let Some((body, rest)) = self.wire.split(bytes) {
            match body.first() {
                Some(&EVENT) => self.handle_tick(body)?,
                _ => self.handle_other(body)?,
            }
            bytes = rest;
        }
        match &mut self.session {
            Some(session) if session.owes_position() => {
                let position = session.position(finished(self.ticks));
                self.say(&[position])?;
            }
            _ => {}
        }
        Ok(bytes)
    }

    fn handle_tick(&mut self, body: &[u8]) -> io::Result<()> {
        let tick = tick_of(body).ok_or_else(|| io::Error::other("an event that is no tick"))?;
        if tick != self.ticks {
            return Err(io::Error::other(format!("tick {tick} came for {}", self.ticks)));
        }
        self.ticks += 1;
        if let Some(session) = &mut self.session {
            session.received += 1;
        }
        Ok(())
    }

    fn handle_other(&mut self, body: &[u8]) -> io::Result<()> {
        let session = self.session.as_mut().ok_or_else(|| io::Error::other("not a tick"))?;
        match session.decode(body)? {
            Packet::Position(position) => session.asked |= position.asks,
            Packet::Heartbeat { written } if written == session.received => {}
            other => return Err(unexpected(&other)),
        }
        Ok(())
    }

    fn say(&mut self, packets: &[Packet]) -> io::Result<()> {
        let frames: Vec<u8> =
            packets.iter().flat_map(|packet| client_frame(self.wire, packet)).collect();
        self.stream.write_all(&frames)
    }

    /// Waits for the next packet of a handshake.
    fn hear(&mut self, session: &mut Session) -> io::Result<Packet> {
        loop {
            if let Some((body, rest)) = self.wire.split(&self.partial) {
                let packet = session.decode(body);
                self.partial = rest.to_vec();
                return packet;
            }
            let mut bytes = [0; 1024];
            let count = self.stream.read(&mut bytes)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.partial.extend_from_slice(&bytes[..count]);
        }
    }
}

/// The handshake of a WebSocket, by a client whose stream still waits for what it reads.
fn shake_hands(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(REQUEST)?;
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        answer.extend(byte);
    }
    check_answer(&answer)
}
