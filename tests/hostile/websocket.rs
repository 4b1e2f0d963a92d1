//! Peers on a WebSocket: one that speaks the session's protocol by hand, and those who do not.

use super::support::chat::{Chat, MEMBERS};
use super::support::raw::{RawPeer, connect, encode, event, hello, text};
use super::support::{all, becomes, endpoint, listen, within};
use super::{said, target};
use emitwire::protocol::{Close, CloseCode, Codec, Frame, Native, Packet};
use emitwire::{Client, Config, ConnectError, DisconnectReason, Namespace, Server};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// A client that has nothing of ours but the packets.
struct WsPeer {
    stream: TcpStream,
    read: Vec<u8>,
}

impl WsPeer {
    /// Connected, with a request that says this too; the answer's first line is read.
    async fn ask(address: SocketAddr, lines: &str) -> (Self, String) {
        let stream = within(TcpStream::connect(address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut peer = Self { stream, read: Vec::new() };
        let request = format!(
            "GET /any HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: emitwire.1\r\n{lines}\r\n"
        );
        peer.send_bytes(request.as_bytes()).await;
        loop {
            if let Some(end) = peer.read.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = peer.read.drain(..end + 4).collect();
                let head = String::from_utf8(head).unwrap();
                return (peer, head.lines().next().unwrap().to_owned());
            }
            assert!(peer.more().await, "it ended before it answered");
        }
    }

    async fn connect(address: SocketAddr) -> Self {
        let (peer, line) = Self::ask(address, "").await;
        assert_eq!(line, "HTTP/1.1 101 Switching Protocols");
        peer
    }

    async fn joined(address: SocketAddr, path: &str) -> Self {
        let mut peer = Self::connect(address).await;
        peer.send(&Packet::Hello(hello())).await;
        assert!(matches!(peer.next_said().await, Some(Packet::Welcome(_))));
        peer.send(&Packet::From(1)).await;
        peer.send(&connect(0, path)).await;
        assert_eq!(peer.next_said().await, Some(Packet::From(1)));
        assert!(matches!(peer.next_said().await, Some(Packet::Accept(_))));
        peer
    }

    async fn send(&mut self, packet: &Packet) {
        self.send_frame(BINARY, &encode(packet)).await;
    }

    async fn send_frame(&mut self, first: u8, body: &[u8]) {
        self.send_bytes(&masked(first, body)).await;
    }

    /// The other side may have closed by now; what it says is read elsewhere.
    async fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = within(self.stream.write_all(bytes)).await;
    }

    async fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let &[first, second, ref rest @ ..] = &self.read[..] {
                let (length, header) = match (second, rest) {
                    (126, &[high, low, ..]) => (usize::from(high) << 8 | usize::from(low), 4),
                    (126, _) => (usize::MAX - 4, 4),
                    (length @ 0..=125, _) => (length.into(), 2),
                    other => panic!("{other:?}: a mask, or more than it has to say"),
                };
                if self.read.len() >= header + length {
                    let body = self.read[header..header + length].to_vec();
                    self.read.drain(..header + length);
                    return Some((first, body));
                }
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// The next packet that is none of the session's own housekeeping; it is a binary frame.
    async fn next_said(&mut self) -> Option<Packet> {
        loop {
            let (first, body) = self.next_frame().await?;
            match first {
                BINARY => match Native.decoder().decode(Frame::ordered(body)).unwrap().unwrap() {
                    Packet::Position(_) | Packet::Heartbeat { .. } => {}
                    packet => return Some(packet),
                },
                PONG => {}
                other => panic!("{other:#04x} with {body:?}"),
            }
        }
    }

    /// The session's goodbye, and then that of the wire: its code, and nothing else.
    async fn goodbye(&mut self) -> (Close, u16) {
        let close = loop {
            match self.next_said().await {
                Some(Packet::Close(close)) => break close,
                Some(_) => {}
                None => panic!("it ended without a word"),
            }
        };
        let (first, body) = self.next_frame().await.expect("the wire has a goodbye too");
        assert_eq!(first, CLOSE);
        assert_eq!(self.next_frame().await, None, "nothing comes behind a close");
        (close, u16::from_be_bytes(body.try_into().unwrap()))
    }

    async fn more(&mut self) -> bool {
        matches!(within(self.stream.read_buf(&mut self.read)).await, Ok(1..))
    }
}

fn masked(first: u8, body: &[u8]) -> Vec<u8> {
    let key = [7, 77, 177, 250];
    let mut bytes = vec![first];
    match u16::try_from(body.len()).unwrap() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&length.to_be_bytes());
        }
    }
    bytes.extend_from_slice(&key);
    bytes.extend(body.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// The chat, and where its server can be reached by WebSocket too.
async fn chat(config: Config) -> (Chat, SocketAddr) {
    let chat = Chat::with(config, [target()]).await;
    let listening = listen(&chat.server, "ws://127.0.0.1:0").await;
    let address = listening.endpoint().trim_start_matches("ws://").parse().unwrap();
    (chat, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_spoken_by_hand_in_binary_frames() {
    let (chat, address) = chat(Config::default()).await;
    let mut peer = WsPeer::joined(address, "/target").await;
    peer.send(&event(1, "text", text("hello"))).await;
    match peer.next_said().await {
        Some(Packet::Ack(ack)) => assert_eq!(ack.payload.decode::<usize>().unwrap(), 5),
        other => panic!("{other:?}"),
    }
    chat.server.of("/target").emit("news", "for all").await.unwrap();
    match peer.next_said().await {
        Some(Packet::Event(event)) => assert_eq!(event.payload, text("for all")),
        other => panic!("{other:?}"),
    }
    let close = Close { code: CloseCode::Normal, detail: "bye".into() };
    peer.send(&Packet::Close(close)).await;
    peer.send_frame(CLOSE, &1000_u16.to_be_bytes()).await;
    loop {
        match peer.next_frame().await {
            Some((CLOSE, code)) => break assert_eq!(code, 1000_u16.to_be_bytes()),
            Some(_) => {}
            None => panic!("a close is answered"),
        }
    }
    drop(peer);
    assert_eq!(chat.end().await.protocol_errors, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_packet_may_come_in_fragments_with_pings_between() {
    let (chat, address) = chat(Config::default()).await;
    let mut peer = WsPeer::joined(address, "/target").await;
    let packet = encode(&event(1, "text", text("hello")));
    let (head, tail) = packet.split_at(5);
    peer.send_frame(0x02, head).await;
    peer.send_frame(PING, b"are you there?").await;
    assert!(
        matches!(peer.next_frame().await, Some((PONG, body)) if body == b"are you there?"),
        "it is answered before the packet is whole"
    );
    peer.send_frame(0x80, tail).await;
    assert!(matches!(peer.next_said().await, Some(Packet::Ack(_))));
    drop(peer);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_frame_is_refused_with_a_reason_that_can_be_read() {
    let (chat, address) = chat(Config::default()).await;
    let packet = encode(&event(1, "text", text("hello")));
    for errors in 1..=3 {
        let mut peer = WsPeer::joined(address, "/target").await;
        let body: &[u8] = if errors == 1 { b"{\"event\": \"text\"}" } else { b"" };
        peer.send_frame(TEXT, body).await;
        peer.send_frame(BINARY, &packet).await;
        let (close, code) = peer.goodbye().await;
        assert_eq!(said(&close), (CloseCode::Protocol, "a frame of the wrong kind"));
        assert_eq!(code, 1000, "it is the session that ends, in order");
        becomes(|| chat.stats().protocol_errors, errors).await;
    }
    let mut stranger = WsPeer::connect(address).await;
    stranger.send_frame(TEXT, b"hello?").await;
    let (close, _) = stranger.goodbye().await;
    assert_eq!(said(&close), (CloseCode::Protocol, "a frame of the wrong kind"));
    drop(stranger);
    becomes(|| chat.stats().handshakes_failed, 1).await;
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_breaks_the_wires_rules_is_told_so_twice() {
    let (chat, address) = chat(Config::default()).await;
    let too_large = [BINARY, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4];
    let limit = 1024 * 1024 + 512;
    let attacks: [(Vec<u8>, u16, String); 5] = [
        (vec![BINARY, 1, 0], 1002, "the wire's own rules were broken".into()),
        (masked(0xc2, b""), 1002, "the wire's own rules were broken".into()),
        (masked(0x80, b"the end of what?"), 1002, "the wire's own rules were broken".into()),
        (masked(TEXT, b"\xff"), 1007, "the wire's own rules were broken".into()),
        (
            too_large.to_vec(),
            1009,
            format!("a field of {} bytes, at most {limit} are allowed", 1_u64 << 32),
        ),
    ];
    for (errors, (attack, wanted, words)) in attacks.iter().enumerate() {
        let mut peer = WsPeer::joined(address, "/target").await;
        peer.send_bytes(attack).await;
        // What it still has to say does not reset the goodbye.
        peer.send_bytes(&[0x55; 50_000]).await;
        let (close, code) = peer.goodbye().await;
        assert_eq!(said(&close), (CloseCode::Protocol, &**words));
        assert_eq!(code, *wanted);
        becomes(|| chat.stats().protocol_errors, errors as u64 + 1).await;
    }
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_killed_inside_a_frame_is_forgotten() {
    let (chat, address) = chat(Config::default()).await;
    let frame = masked(BINARY, &encode(&event(1, "text", text("hello, hello, hello"))));
    for (failed, cut) in [1, 2, 5, 6, frame.len() - 1].into_iter().enumerate() {
        let mut joined = WsPeer::joined(address, "/target").await;
        joined.send_bytes(&frame[..cut]).await;
        joined.stream.set_zero_linger().unwrap();
        drop(joined);
        let mut stranger = WsPeer::connect(address).await;
        stranger.send_bytes(&frame[..cut]).await;
        stranger.stream.set_zero_linger().unwrap();
        drop(stranger);
        becomes(|| chat.stats().handshakes_failed, failed as u64 + 1).await;
    }
    assert_eq!(chat.end().await.protocol_errors, 0, "a lost link is nobody's fault");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_on_a_page_of_another_host_is_refused() {
    let (chat, address) = chat(Config::default()).await;
    let (_, line) = WsPeer::ask(address, "Origin: http://evil.example\r\n").await;
    assert_eq!(line, "HTTP/1.1 403 Forbidden");
    becomes(|| chat.stats().handshakes_failed, 1).await;
    let (peer, line) = WsPeer::ask(address, &format!("Origin: http://{address}\r\n")).await;
    assert_eq!(line, "HTTP/1.1 101 Switching Protocols");
    drop(peer);
    becomes(|| chat.stats().handshakes_failed, 2).await;
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_says_so_in_both_languages() {
    let mut config = Config::default();
    config.links_max = MEMBERS + 1;
    let (chat, address) = chat(config).await;
    let last = WsPeer::joined(address, "/target").await;
    for failed in 1..=3 {
        let mut peer = WsPeer::connect(address).await;
        let (close, code) = peer.goodbye().await;
        assert_eq!((close.code, code), (CloseCode::Full, 1000));
        drop(peer);
        becomes(|| chat.stats().handshakes_failed, failed).await;
    }
    let client = Client::new(endpoint(&format!("ws://{address}"))).reconnect(false);
    let error = within(client.mount(Namespace::new("/target")).connect()).await.err().unwrap();
    assert!(matches!(error, ConnectError::Ended { .. }), "{error:?}");
    drop(last);
    becomes(|| chat.stats().links, MEMBERS as u64).await;
    drop(WsPeer::joined(address, "/target").await);
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_never_end_are_given_up_at_the_deadline_while_others_come_and_go() {
    let mut config = Config::default();
    config.handshake_timeout = Duration::from_millis(300);
    let (chat, address) = chat(config).await;
    let starts: [&[u8]; 4] = [b"", b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n"];
    let mut silent = Vec::new();
    for start in starts {
        let mut stream = within(TcpStream::connect(address)).await.unwrap();
        stream.write_all(start).await.unwrap();
        silent.push(stream);
    }
    // Somebody who was refused, and does not go.
    silent.push(WsPeer::ask(address, "Origin: http://evil.example\r\n").await.0.stream);
    drop(WsPeer::joined(address, "/target").await);
    let ends = silent.iter_mut().map(|stream| {
        let mut bytes = Vec::new();
        async move { within(stream.read_to_end(&mut bytes)).await }
    });
    assert_eq!(all(ends.map(Box::pin)).await.len(), 5);
    becomes(|| chat.stats().handshakes_failed, 5).await;
    chat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_pings_by_a_peer_that_reads_nothing_is_no_burden() {
    let (chat, address) = chat(Config::default()).await;
    let mut peer = WsPeer::joined(address, "/target").await;
    let flood = masked(PING, &[7; 125]).repeat(1000);
    for _ in 0..100 {
        peer.send_bytes(&flood).await;
    }
    peer.send_frame(PING, b"the last").await;
    peer.send(&event(1, "text", text("hello"))).await;
    let mut last = None;
    loop {
        match peer.next_frame().await.expect("it goes on") {
            (PONG, body) => last = Some(body),
            (BINARY, body) if body[0] == 0x81 => break,
            _ => {}
        }
    }
    while last.as_deref() != Some(b"the last") {
        let (first, body) = peer.next_frame().await.expect("the newest ping is answered");
        last = if first == PONG { Some(body) } else { last };
    }
    drop(peer);
    assert_eq!(chat.end().await.protocol_errors, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_the_wrong_wire_are_told_so_on_both_sides() {
    let (chat, address) = chat(Config::default()).await;
    let client = |url: String| Client::new(endpoint(&url)).reconnect(false);
    let error = within(client(format!("tcp://{address}")).connect()).await.err().unwrap();
    let words = "the connection ended before the session began: protocol error: \
                 the peer does not speak emitwire";
    assert_eq!(sentence(&error), words);
    becomes(|| chat.stats().handshakes_failed, 1).await;

    let error = within(client(format!("ws://{}", chat.address)).connect()).await.err().unwrap();
    let words = format!(
        "ws://{} is no peer of this wire: the peer does not speak this wire's handshake: ",
        chat.address
    );
    assert!(sentence(&error).starts_with(&words), "{}", sentence(&error));
    becomes(|| chat.stats().handshakes_failed, 2).await;

    // And what the people at the other end of the line would see.
    let mut raw = RawPeer::connect(address).await;
    raw.send(&Packet::Hello(hello())).await;
    raw.stream.shutdown().await.unwrap();
    let mut page = String::new();
    within(raw.stream.read_to_string(&mut page)).await.unwrap();
    assert!(page.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{page}");
    assert!(page.contains("This is a WebSocket of emitwire."), "{page}");
    becomes(|| chat.stats().handshakes_failed, 3).await;
    chat.end().await;
}

/// An error with its sources.
fn sentence(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", sentence(source)),
        None => error.to_string(),
    }
}

#[tokio::test]
async fn a_server_that_never_answers_the_request_costs_a_client_its_connect_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let mut config = Config::default();
    config.connect_timeout = Duration::from_millis(200);
    let client = Client::new(endpoint(&url)).config(config).reconnect(false);
    let (error, mut silent) = tokio::join!(within(client.connect()), async {
        within(listener.accept()).await.unwrap().0
    });
    assert!(matches!(error, Err(ConnectError::Timeout { .. })));
    let mut request = String::new();
    within(silent.read_to_string(&mut request)).await.unwrap();
    assert!(request.ends_with("\r\n\r\n"), "and its socket is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_refused_for_good_does_not_come_back() {
    let first = Server::new().mount(target()).unwrap();
    let listening = listen(&first, "ws://127.0.0.1:0").await;
    let url = listening.endpoint().to_owned();
    let mut config = Config::default();
    config.drain_delay_max = Duration::ZERO;
    let client = Client::new(endpoint(&url)).config(config).mount(Namespace::new("/target"));
    let session = within(client.connect()).await.unwrap();
    // The next server there knows another path only, and says 404.
    within(listening.close()).await;
    let second = Server::new().mount(target()).unwrap();
    let _listening = listen(&second, &format!("{url}/elsewhere")).await;
    within(first.run_until(async {})).await;
    assert_eq!(within(session.ended()).await, DisconnectReason::Refused);
    // Counted when its connection has gone.
    becomes(|| second.stats().handshakes_failed, 1).await;
}
