//! A peer without manners: a TCP stream on which a test says what it likes, packet by packet or
//! byte by byte, and reads what comes back.

use super::within;
use bytes::{Buf, Bytes, BytesMut};
use emitwire::Payload;
use emitwire::protocol::{
    Accept, Attach, Close, CloseCode, Codec, Connect, Credit, Decoder, EventName, EventPacket,
    EventRef, Frame, Hello, Limits, NamespaceNumber, Native, Packet, ProducerId, Welcome,
};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

pub(crate) struct RawPeer {
    pub(crate) stream: TcpStream,
    read: BytesMut,
}

impl RawPeer {
    pub(crate) fn new(stream: TcpStream) -> Self {
        // It says one thing after the other, and nothing is gained by joining them.
        stream.set_nodelay(true).unwrap();
        Self { stream, read: BytesMut::new() }
    }

    /// Connected, and not a word yet.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::new(within(TcpStream::connect(address)).await.unwrap())
    }

    /// As [`RawPeer::connect`], with next to no room for what it does not read.
    pub(crate) async fn connect_narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        Self::new(within(socket.connect(address)).await.unwrap())
    }

    /// Behind hello and welcome; neither side's `From` was read or said.
    pub(crate) async fn greeted(address: SocketAddr) -> (Self, Welcome) {
        Self::connect(address).await.greet(hello()).await
    }

    /// In the namespace, as its number 0. The server's `From` and `Accept` are read.
    pub(crate) async fn joined(address: SocketAddr, path: &str) -> Self {
        Self::connect(address).await.join(hello(), path).await
    }

    /// In namespaces by these paths, as its numbers 0, 1 and so on, in a session that outlives its
    /// link; and what it has to show to get it back.
    pub(crate) async fn resumable(
        address: SocketAddr,
        paths: &[&str],
        auth: &Payload,
    ) -> (Self, Attach) {
        let hello = Hello { resumable: true, nonce: fresh_nonce(), ..hello() };
        let (mut peer, welcome) = Self::connect(address).await.greet(hello).await;
        peer.send(&Packet::From(1)).await;
        assert_eq!(peer.next().await, Some(Packet::From(1)));
        let mut namespaces = Vec::new();
        for (number, path) in paths.iter().enumerate() {
            let number = NamespaceNumber(number as u32);
            let connect = Connect { number, path: (*path).into(), auth: auth.clone() };
            peer.send(&Packet::Connect(connect)).await;
            peer.accepted().await;
            namespaces.push((number, auth.clone()));
        }
        let (session, token) = (welcome.session, welcome.token);
        let position = namespaces.len() as u64;
        (peer, Attach { session, token, position, trimmed: 0, namespaces })
    }

    /// Wants a session back.
    pub(crate) async fn attach(address: SocketAddr, attach: &Attach) -> Self {
        let mut peer = Self::connect(address).await;
        for packet in attaching(attach) {
            peer.send(&packet).await;
        }
        peer
    }

    pub(crate) async fn welcomed(&mut self) -> Welcome {
        match self.next().await {
            Some(Packet::Welcome(welcome)) => welcome,
            other => panic!("{other:?} instead of a welcome"),
        }
    }

    /// Ends its session in order.
    pub(crate) async fn bye(mut self) {
        self.send(&Packet::Close(Close { code: CloseCode::Normal, detail: "".into() })).await;
        self.end().await;
    }

    pub(crate) async fn greet(mut self, hello: Hello) -> (Self, Welcome) {
        self.send(&Packet::Hello(hello)).await;
        match self.next().await {
            Some(Packet::Welcome(welcome)) => (self, welcome),
            other => panic!("{other:?} instead of a welcome"),
        }
    }

    pub(crate) async fn join(self, hello: Hello, path: &str) -> Self {
        let (mut peer, _) = self.greet(hello).await;
        peer.send(&Packet::From(1)).await;
        peer.send(&connect(0, path)).await;
        assert_eq!(peer.next().await, Some(Packet::From(1)));
        peer.accepted().await;
        peer
    }

    pub(crate) async fn accepted(&mut self) -> Accept {
        match self.next().await {
            Some(Packet::Accept(accept)) => accept,
            other => panic!("{other:?} instead of an accept"),
        }
    }

    pub(crate) async fn send(&mut self, packet: &Packet) {
        self.send_frame(&encode(packet)).await;
    }

    /// A frame with whatever body.
    pub(crate) async fn send_frame(&mut self, body: &[u8]) {
        self.send_bytes(&framed(body)).await;
    }

    /// Bytes as they are. The other side may have closed by now; what it says is read elsewhere.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = within(self.stream.write_all(bytes)).await;
    }

    /// The next packet; `None` when the other side has ended.
    pub(crate) async fn next(&mut self) -> Option<Packet> {
        let body = self.next_frame().await?;
        Some(Native.decode(Frame::ordered(body)).unwrap().unwrap())
    }

    /// The next packet that is none of the session's own housekeeping.
    pub(crate) async fn next_said(&mut self) -> Option<Packet> {
        loop {
            match self.next().await? {
                Packet::Position(_) | Packet::Heartbeat { .. } => {}
                packet => return Some(packet),
            }
        }
    }

    /// The goodbye: reads up to it, and that nothing follows.
    pub(crate) async fn close(&mut self) -> Close {
        let last = loop {
            match self.next().await {
                Some(Packet::Close(close)) => break close,
                Some(_) => {}
                None => panic!("it ended without a word"),
            }
        };
        assert_eq!(self.next().await, None, "nothing comes behind a close");
        last
    }

    /// The goodbye, if it had one.
    pub(crate) async fn end(&mut self) -> Option<Close> {
        let mut goodbye = None;
        while let Some(packet) = self.next().await {
            if let Packet::Close(close) = packet {
                goodbye = Some(close);
            }
        }
        goodbye
    }

    /// It ends here and now, and says nothing before.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) -> impl Future<Output = ()> {
        let next = self.next();
        let place = std::panic::Location::caller();
        async move {
            let said = next.await;
            assert_eq!(said, None, "it was to end without a word at {place}");
        }
    }

    /// Goes away with a reset instead of an end.
    pub(crate) fn kill(self) {
        self.stream.set_zero_linger().unwrap();
    }

    async fn next_frame(&mut self) -> Option<Bytes> {
        loop {
            if let Some((header, rest)) = self.read.split_first_chunk::<4>() {
                let length = u32::from_be_bytes(*header) as usize;
                if rest.len() >= length {
                    self.read.advance(4);
                    return Some(self.read.split_to(length).freeze());
                }
            }
            // A reset is an end, too.
            match within(self.stream.read_buf(&mut self.read)).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}

/// Limits that are in nobody's way.
pub(crate) const LIMITS: Limits = Limits {
    event_bytes_max: 1024 * 1024,
    window: Credit { events: 1 << 20, bytes: 1 << 30 },
    log_packets_max: 1 << 20,
    log_bytes_max: 1 << 30,
    heartbeat_interval: Duration::from_secs(5),
    dedup_horizon: Duration::ZERO,
};

pub(crate) fn hello() -> Hello {
    Hello {
        resumes: false,
        resumable: false,
        restarted: false,
        nonce: 7,
        producer: ProducerId(0xda),
        limits: LIMITS,
    }
}

/// The first packets of whoever wants a session back.
pub(crate) fn attaching(attach: &Attach) -> [Packet; 2] {
    let hello = Hello { resumes: true, resumable: true, nonce: fresh_nonce(), ..hello() };
    [Packet::Hello(hello), Packet::Attach(attach.clone())]
}

fn fresh_nonce() -> u128 {
    static NEXT: AtomicU64 = AtomicU64::new(1000);
    NEXT.fetch_add(1, Ordering::Relaxed).into()
}

pub(crate) fn connect(number: u32, path: &str) -> Packet {
    let (number, path) = (NamespaceNumber(number), path.into());
    Packet::Connect(Connect { number, path, auth: Payload::empty() })
}

/// An event of namespace 0 that wants an answer.
pub(crate) fn event(number: u64, name: &str, payload: Payload) -> Packet {
    Packet::Event(event_packet(number, name, payload))
}

pub(crate) fn event_packet(number: u64, name: &str, payload: Payload) -> EventPacket {
    EventPacket {
        namespace: NamespaceNumber(0),
        event: EventRef { producer: None, number },
        wants_ack: true,
        name: EventName::from(name),
        payload,
    }
}

pub(crate) fn text(text: &str) -> Payload {
    Payload::encode(text).unwrap()
}

pub(crate) fn encode(packet: &Packet) -> Bytes {
    Native.encode(packet).frames()[0].body.clone()
}

pub(crate) fn framed(body: &[u8]) -> Vec<u8> {
    let mut framed = (body.len() as u32).to_be_bytes().to_vec();
    framed.extend_from_slice(body);
    framed
}
