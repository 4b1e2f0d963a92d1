//! The client's side of the handshake: what it asks, and which answers it takes.

use super::end::{End, address, bind, meet};
use super::raw::{OURS, Ours, Raw, arrival, header, raw_server, response};
use super::within;
use emitwire_core::protocol::Frame;
use emitwire_core::transport::{ConnectError, Connection, HandshakeError, ReadError, Transport};
use emitwire_transports::{Tcp, Ws};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

/// What our client makes of an answer, and what it had asked.
async fn answered(
    answer: impl FnOnce(&str) -> Vec<u8>,
) -> (String, Raw, Result<Box<dyn Connection>, ConnectError>) {
    let (listener, client) = raw_server().await;
    answered_to(&listener, &client, answer).await
}

async fn answered_to(
    listener: &TcpListener,
    client: &Ws,
    answer: impl FnOnce(&str) -> Vec<u8>,
) -> (String, Raw, Result<Box<dyn Connection>, ConnectError>) {
    let serving = async {
        let mut raw = arrival(listener).await;
        let request = raw.head().await;
        raw.send(answer(&request)).await;
        raw.stream.shutdown().await.unwrap();
        (request, raw)
    };
    let ((request, raw), connected) = tokio::join!(serving, within(client.connect()));
    (request, raw, connected)
}

async fn failure(answer: impl FnOnce(&str) -> Vec<u8>) -> HandshakeError {
    let (_, _, connected) = answered(answer).await;
    match connected.err().expect("it is no answer") {
        ConnectError::Handshake { endpoint, source } => {
            assert!(endpoint.starts_with("ws://127.0.0.1:"), "{endpoint}");
            source
        }
        other => panic!("{other:?}"),
    }
}

/// An answer that has this instead of that.
async fn altered(old: &str, new: &str) -> HandshakeError {
    failure(|request| {
        let good = response(request);
        let bad = good.replace(old, new);
        assert_ne!(good, bad);
        bad.into_bytes()
    })
    .await
}

#[tokio::test]
async fn the_request_is_as_the_rfc_has_it() {
    let (listener, _) = raw_server().await;
    let bound = listener.local_addr().unwrap();
    for (target, line) in [
        ("", "GET / HTTP/1.1"),
        ("/", "GET / HTTP/1.1"),
        ("/chat", "GET /chat HTTP/1.1"),
        ("?room=7", "GET /?room=7 HTTP/1.1"),
        ("/chat/a?room=7&x=/?", "GET /chat/a?room=7&x=/? HTTP/1.1"),
    ] {
        let client = Ws::new(format!("{bound}{target}"));
        let (request, _, connected) =
            answered_to(&listener, &client, |request| response(request).into_bytes()).await;
        connected.unwrap();
        assert_eq!(request.lines().next(), Some(line));
        assert_eq!(header(&request, "host"), Some(&*bound.to_string()));
        assert_eq!(header(&request, "upgrade"), Some("websocket"));
        assert_eq!(header(&request, "connection"), Some("Upgrade"));
        assert_eq!(header(&request, "sec-websocket-version"), Some("13"));
        assert_eq!(header(&request, "sec-websocket-protocol"), Some("emitwire.1"));
        assert_eq!(header(&request, "sec-websocket-key").unwrap().len(), 24);
        assert_eq!(header(&request, "origin"), None);
        assert_eq!(header(&request, "sec-websocket-extensions"), None);
    }
}

#[tokio::test]
async fn each_request_has_a_key_of_its_own() {
    let mut keys = Vec::new();
    for _ in 0..4 {
        let (request, _, connected) = answered(|request| response(request).into_bytes()).await;
        connected.unwrap();
        keys.push(header(&request, "sec-websocket-key").unwrap().to_owned());
    }
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 4);
}

#[tokio::test]
async fn another_status_is_a_refusal_in_the_servers_own_words() {
    for (status, words) in
        [(200, "a page"), (301, ""), (401, "who are you?"), (404, "nothing here")]
    {
        let length = words.len();
        let answer =
            format!("HTTP/1.1 {status} So\r\nContent-Length: {length}\r\n\r\n{words}").into_bytes();
        let error = failure(|_| answer).await;
        let HandshakeError::Refused { status: heard, reason } = error else { panic!("{error:?}") };
        assert_eq!((heard, &*reason), (status, words));
    }
}

#[tokio::test]
async fn a_long_or_unreadable_reason_is_cut_and_replaced() {
    let body = [&b"HTTP/1.1 500 No\r\n\r\n"[..], &[0xff; 3000]].concat();
    let error = failure(|_| body).await;
    let HandshakeError::Refused { reason, .. } = error else { panic!("{error:?}") };
    assert!(reason.chars().count() <= 512 && reason.starts_with('\u{fffd}'), "{}", reason.len());
}

#[tokio::test]
async fn a_refusal_of_our_own_server_is_readable() {
    let mut listener = Ws::new("127.0.0.1:0/chat").bind().await.unwrap();
    let client = Ws::new(address(&*listener).replace("/chat", "/chess"));
    let (connected, handshake) = tokio::join!(within(client.connect()), async {
        within(listener.accept()).await.unwrap().handshake().await
    });
    let ConnectError::Handshake { source, .. } = connected.err().unwrap() else { panic!() };
    let words = "the peer refused with status 404: This is a WebSocket of emitwire. \
                 It was asked for the path /chess.";
    assert_eq!(source.to_string(), words);
    let words = "the peer asked for the path /chess, which is not offered here";
    assert_eq!(handshake.err().unwrap().to_string(), words);
}

#[tokio::test]
async fn an_answer_that_lacks_something_or_has_something_else_is_none() {
    for (old, new) in [
        ("Upgrade: websocket\r\n", ""),
        ("Upgrade: websocket", "Upgrade: h2c"),
        ("Connection: Upgrade\r\n", ""),
        ("Connection: Upgrade", "Connection: close"),
        ("Sec-WebSocket-Accept: ", "Sec-WebSocket-Accept: AAAA"),
        ("Sec-WebSocket-Accept: ", "X-Accept: "),
        (OURS, ""),
        (OURS, "Sec-WebSocket-Protocol: chat\r\n"),
        (OURS, "Sec-WebSocket-Protocol: emitwire.2\r\n"),
        (OURS, "Sec-WebSocket-Protocol: emitwire.1, chat\r\n"),
        (OURS, "Sec-WebSocket-Protocol: emitwire.1\r\nSec-WebSocket-Protocol: chat\r\n"),
        (OURS, "Sec-WebSocket-Protocol: emitwire.1\r\nSec-WebSocket-Extensions: x\r\n"),
        ("HTTP/1.1", "HTTP/1.0"),
        ("HTTP/1.1 101", "HTTP/1.1 one"),
    ] {
        let error = altered(old, new).await;
        assert!(matches!(error, HandshakeError::Malformed { .. }), "{new}: {error:?}");
    }
}

#[tokio::test]
async fn garbage_is_no_answer() {
    for garbage in [&b"220 smtp.example.com\r\n"[..], b"\0\0\0\x0a\x01\x02\x03", &[0xff; 100]] {
        let error = failure(|_| garbage.to_vec()).await;
        assert!(matches!(error, HandshakeError::Malformed { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_in_the_middle_broke_the_connection() {
    let whole = response("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n").len();
    for cut in [0, 1, 30, whole - 1] {
        let error = failure(|request| response(request).as_bytes()[..cut].to_vec()).await;
        let HandshakeError::Io { source } = error else { panic!("{error:?}") };
        assert_eq!(source.kind(), std::io::ErrorKind::UnexpectedEof);
    }
}

#[tokio::test]
async fn an_answer_larger_than_the_limit_is_none() {
    let (listener, _) = raw_server().await;
    let client = Ws::new(listener.local_addr().unwrap().to_string()).head_bytes_max(1000);
    let padded = |request: &str, size: usize| {
        let good = response(request);
        let padding = "x".repeat(size - good.len() - "X: \r\n".len());
        good.replace(OURS, &format!("{OURS}X: {padding}\r\n")).into_bytes()
    };
    let (_, _, connected) = answered_to(&listener, &client, |request| padded(request, 1000)).await;
    connected.unwrap();
    for size in [1001, 5000] {
        let (_, _, connected) =
            answered_to(&listener, &client, |request| padded(request, size)).await;
        assert!(matches!(connected, Err(ConnectError::Handshake { .. })), "{size}");
    }
}

#[tokio::test]
async fn frames_in_the_same_segment_as_the_answer_are_read() {
    let early = [Ours::Client.binary("early"), Ours::Client.frame(0x89, b"ping")].concat();
    let last = Ours::Client.binary("and whole");
    let bytes = [early, last].concat();
    for cut in 0..=bytes.len() {
        let (listener, client) = raw_server().await;
        let serving = async {
            let mut raw = arrival(&listener).await;
            let request = raw.head().await;
            raw.send([response(&request).as_bytes(), &bytes[..cut]].concat()).await;
            raw
        };
        let (mut raw, connected) = tokio::join!(serving, within(client.connect()));
        let mut end = End::new(connected.unwrap());
        raw.send(&bytes[cut..]).await;
        let frames = end.read_frames(2).await;
        assert_eq!(frames, [Frame::ordered("early"), Frame::ordered("and whole")]);
        assert_eq!(raw.next().await, Some((0x8a, b"ping".into())));
    }
}

#[tokio::test]
async fn what_is_wrong_in_the_same_segment_as_the_answer_is_refused_when_read() {
    let (_, _raw, connected) =
        answered(|request| [response(request).as_bytes(), &Ours::Client.frame(0x83, b"")].concat())
            .await;
    let (frames, result) = End::new(connected.unwrap()).read_to_end().await;
    assert_eq!(frames, []);
    assert!(matches!(result, Err(ReadError::Malformed { .. })), "{result:?}");
}

#[tokio::test]
async fn headers_travel_as_they_were_given() {
    let mut listener = bind().await;
    let client = Ws::new(address(&*listener))
        .header("Authorization", "Bearer 123")
        .header("Cookie", "a=1")
        .header("cookie", "b=2")
        .header("X-Umlaut", "grün")
        .header("Origin", format!("http://{}", address(&*listener)));
    let (_client, server) = meet(&client, &mut *listener).await;
    assert_eq!(server.peer.header("authorization"), Some("Bearer 123"));
    assert_eq!(server.peer.header("x-umlaut"), Some("grün"));
    let cookies = server.peer.headers().filter(|(name, _)| *name == "cookie");
    assert_eq!(cookies.map(|(_, value)| value).collect::<Vec<_>>(), ["a=1", "b=2"]);
}

#[tokio::test]
async fn a_header_injects_nothing_and_replaces_none_of_the_handshakes_own() {
    let (listener, _) = raw_server().await;
    for (name, value) in [
        ("X", "a\r\nEvil: 1"),
        ("X", "a\nEvil: 1"),
        ("X", "a\0"),
        ("X\r\nEvil", "1"),
        ("X: y", "1"),
        ("", "1"),
        ("Host", "elsewhere"),
        ("upgrade", "h2c"),
        ("Connection", "close"),
        ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ("sec-websocket-version", "8"),
        ("Sec-WebSocket-Protocol", "chat"),
        ("Sec-WebSocket-Extensions", "permessage-deflate"),
    ] {
        let client = Ws::new(listener.local_addr().unwrap().to_string()).header(name, value);
        let (mut raw, connected) = tokio::join!(arrival(&listener), within(client.connect()));
        assert!(matches!(connected, Err(ConnectError::Handshake { .. })), "{name}");
        raw.stream.shutdown().await.unwrap();
        assert_eq!(raw.rest().await, [], "not a byte of it was said: {name}");
    }
    for target in ["/a b", "/a\r\nEvil: 1", "/\0"] {
        let client = Ws::new(format!("{}{target}", listener.local_addr().unwrap()));
        let (raw, connected) = tokio::join!(arrival(&listener), within(client.connect()));
        assert!(matches!(connected, Err(ConnectError::Handshake { .. })), "{target}");
        assert_eq!(raw.rest().await, []);
    }
}

#[tokio::test]
async fn a_client_of_another_wire_is_told_what_this_is() {
    let mut listener = bind().await;
    let client = Tcp::new(address(&*listener)).connect().await.unwrap();
    let mut client = End::new(client);
    // A hello is larger than this, and ends with no line either.
    client.write([Frame::ordered("\u{1}EMITWIRE\u{1}")]).await.unwrap();
    let incoming = within(listener.accept()).await.unwrap();
    let handshake = tokio::spawn(incoming.handshake());
    let (frames, result) = client.read_to_end().await;
    assert_eq!(frames, []);
    // "HTTP" as a length.
    let Err(ReadError::FrameTooLarge { bytes, .. }) = result else { panic!("{result:?}") };
    assert_eq!(bytes, u64::from(u32::from_be_bytes(*b"HTTP")));
    drop(client);
    let error = within(handshake).await.unwrap().err().unwrap();
    assert!(matches!(error, HandshakeError::Malformed { .. }), "{error:?}");
}
