//! The server's side of the handshake: what it is asked for, and what it answers.

use super::end::{End, address, bind, meet};
use super::raw::{OURS, Raw, header, request};
use super::within;
use emitwire_core::protocol::Frame;
use emitwire_core::transport::{HandshakeError, Listener, Transport};
use emitwire_transports::Ws;
use tokio::io::AsyncWriteExt;

/// What our server makes of these bytes.
async fn ask(
    listener: &mut dyn Listener,
    bytes: impl AsRef<[u8]>,
) -> (Raw, Result<End, HandshakeError>) {
    let mut raw = Raw::connect(listener).await;
    raw.send(bytes).await;
    let incoming = within(listener.accept()).await.unwrap();
    let handshake = tokio::spawn(incoming.handshake());
    // A refused peer is waited for until it has ended.
    let head = raw.head().await;
    raw.read.splice(..0, head.into_bytes());
    if !raw.read.starts_with(b"HTTP/1.1 101 ") {
        let _ = raw.stream.shutdown().await;
    }
    (raw, within(handshake).await.unwrap().map(End::new))
}

/// Refuses with a status, some headers, a reason in plain words, and an orderly end.
async fn refused(bytes: impl AsRef<[u8]>, status: u16, reason: &str) -> (String, HandshakeError) {
    refused_by(&Ws::new("127.0.0.1:0"), bytes, status, reason).await
}

async fn refused_by(
    server: &Ws,
    bytes: impl AsRef<[u8]>,
    status: u16,
    reason: &str,
) -> (String, HandshakeError) {
    let mut listener = server.bind().await.unwrap();
    let (mut raw, result) = ask(&mut *listener, bytes).await;
    let head = raw.head().await;
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {head}");
    assert_eq!(header(&head, "content-type"), Some("text/plain; charset=utf-8"));
    let tokens = header(&head, "connection").unwrap().split(", ").collect::<Vec<_>>();
    assert!(tokens.contains(&"close"), "{head}");
    let length: usize = header(&head, "content-length").unwrap().parse().unwrap();
    let body = String::from_utf8(raw.rest().await).unwrap();
    assert_eq!(body.len(), length);
    assert!(body.starts_with("This is a WebSocket of emitwire. "), "{body}");
    assert!(body.contains(reason), "{body}");
    (head, result.err().expect("it is refused"))
}

async fn let_in(bytes: impl AsRef<[u8]>) -> (String, End) {
    let mut listener = bind().await;
    let (mut raw, result) = ask(&mut *listener, bytes).await;
    (raw.head().await, result.unwrap())
}

#[tokio::test]
async fn a_request_is_answered_as_the_rfc_has_it() {
    let (head, _end) = let_in(request(OURS)).await;
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
    let expected = [
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        // The key and its answer are those of RFC 6455 §1.3.
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("sec-websocket-protocol", "emitwire.1"),
    ];
    for (name, value) in expected {
        assert_eq!(header(&head, name), Some(value), "{head}");
    }
    assert_eq!(head.lines().filter(|line| line.contains(": ")).count(), expected.len());
}

#[tokio::test]
async fn what_is_written_otherwise_and_means_the_same_is_let_in() {
    let usual = request(OURS);
    for (old, new) in [
        ("Upgrade: websocket", "uPGRADE:WebSocket"),
        ("Connection: Upgrade", "connection: keep-alive, upgrade"),
        ("Host: localhost", "HOST:   localhost  "),
        ("GET / ", "GET http://localhost/ "),
        ("GET / ", "GET /?a=b "),
    ] {
        let other = usual.replace(old, new);
        assert_ne!(other, usual);
        let_in(other).await;
    }
}

#[tokio::test]
async fn an_extension_that_is_offered_is_not_taken() {
    let offer = format!("{OURS}Sec-WebSocket-Extensions: permessage-deflate\r\n");
    let (head, _end) = let_in(request(&offer)).await;
    assert_eq!(header(&head, "sec-websocket-extensions"), None);
}

#[tokio::test]
async fn a_plain_page_is_refused_and_told_what_to_upgrade_to() {
    let words = "something else than a WebSocket";
    let (head, error) = refused("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 426, words).await;
    assert!(matches!(error, HandshakeError::Malformed { .. }), "{error:?}");
    assert_eq!(header(&head, "upgrade"), Some("websocket"));
    assert_eq!(header(&head, "sec-websocket-version"), Some("13"));
    // Who sends the one has to send the other (RFC 9110 §7.8).
    assert!(header(&head, "connection").unwrap().contains("upgrade"), "{head}");
}

#[tokio::test]
async fn another_method_than_get_is_refused_and_told_which_is_taken() {
    for method in ["POST", "HEAD", "PUT", "OPTIONS", "get"] {
        let request = request(OURS).replace("GET", method);
        let (head, _) = refused(request, 405, "a method other than GET").await;
        assert_eq!(header(&head, "allow"), Some("GET"));
    }
}

#[tokio::test]
async fn an_older_http_is_refused() {
    refused(request(OURS).replace("HTTP/1.1", "HTTP/1.0"), 505, "an older HTTP than 1.1").await;
}

#[tokio::test]
async fn a_request_for_another_upgrade_is_refused() {
    let usual = request(OURS);
    for (old, new) in [
        ("Upgrade: websocket\r\n", ""),
        ("Upgrade: websocket", "Upgrade: h2c"),
        ("Upgrade: websocket", "Upgrade:"),
        ("Connection: Upgrade\r\n", ""),
        ("Connection: Upgrade", "Connection: keep-alive"),
        ("Connection: Upgrade", "Connection: NoUpgrade"),
    ] {
        let request = usual.replace(old, new);
        assert_ne!(request, usual);
        refused(request, 426, "something else than a WebSocket").await;
    }
}

#[tokio::test]
async fn another_version_is_refused_and_told_the_right_one() {
    let usual = request(OURS);
    for version in ["", "Sec-WebSocket-Version: 12\r\n", "Sec-WebSocket-Version: 13, 8\r\n"] {
        let request = usual.replace("Sec-WebSocket-Version: 13\r\n", version);
        let (head, _) = refused(request, 426, "another version than 13").await;
        assert_eq!(header(&head, "sec-websocket-version"), Some("13"));
    }
}

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    let usual = request(OURS);
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    for other in [
        "X-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Key: ",
        "Sec-WebSocket-Key: c2hvcnQ=",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSE=ZQ==",
        "Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!==",
    ] {
        refused(usual.replace(key, other), 400, "no request for a WebSocket").await;
    }
}

#[tokio::test]
async fn what_has_to_stand_there_once_is_refused_when_it_does_not() {
    let usual = request(OURS);
    for (old, new) in [
        ("Host: localhost\r\n", ""),
        ("Host: localhost", "Host: localhost\r\nHost: localhost"),
        ("Host: localhost", "Host: one\r\nHost: another"),
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8"),
        (
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        ),
    ] {
        let request = usual.replace(old, new);
        assert_ne!(request, usual);
        let name = old.split(':').next().unwrap().to_lowercase();
        let (_, error) = refused(request, 400, &name).await;
        assert!(matches!(error, HandshakeError::NotOffered { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn what_comes_behind_the_request_before_its_answer_is_refused() {
    let usual = request(OURS);
    refused(format!("{usual}x"), 400, "no request for a WebSocket").await;
    refused([usual.as_bytes(), &[0x82, 0x80, 0, 0, 0, 0]].concat(), 400, "no request").await;
    refused(usual.repeat(2), 400, "no request for a WebSocket").await;
}

#[tokio::test]
async fn garbage_is_refused() {
    for garbage in [
        &b"\r\n\r\n hello\r\n\r\n"[..],
        b"EHLO localhost\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon here\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        // The hello of a session over TCP.
        b"\0\0\0\x40\x01EMITWIRE\x01\r\n\r\n",
        &[0xff; 500],
    ] {
        let (_, error) = refused(garbage, 400, "no request for a WebSocket").await;
        assert!(matches!(error, HandshakeError::Malformed { .. }), "{error:?}");
    }
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n";
    let (_, error) = refused(tls, 400, "no request for a WebSocket").await;
    assert!(matches!(error, HandshakeError::Encrypted), "{error:?}");
}

#[tokio::test]
async fn a_head_of_the_limit_is_let_in_and_one_byte_more_is_not() {
    let size = 2000;
    let server = Ws::new("127.0.0.1:0").head_bytes_max(size);
    let usual = request(OURS).len();
    let padded = |size: usize| {
        let padding = "x".repeat(size - usual - "X: \r\n".len());
        request(&format!("{OURS}X: {padding}\r\n"))
    };
    assert_eq!(padded(size).len(), size);
    let mut listener = server.bind().await.unwrap();
    let (_, result) = ask(&mut *listener, padded(size)).await;
    assert_eq!(result.unwrap().peer.header("host"), Some("localhost"));
    let words = "more than a request may hold";
    for size in [size + 1, size + 4000, size + 60_000] {
        refused_by(&server, padded(size), 431, words).await;
    }
}

#[tokio::test]
async fn one_large_header_or_many_small_ones_are_refused() {
    let words = "more than a request may hold";
    refused(request(&format!("{OURS}X: {}\r\n", "x".repeat(17_000))), 431, words).await;
    // A head that never ends.
    refused(vec![b'G'; 100_000], 431, words).await;
    let headers = |count: usize| request(&format!("{OURS}{}", "X: y\r\n".repeat(count)));
    // Six of them are the handshake's, and five of those are nobody else's.
    let (_, end) = let_in(headers(118)).await;
    assert_eq!(end.peer.headers().count(), 118 + 1);
    refused(headers(119), 431, words).await;
}

#[tokio::test]
async fn a_refusal_is_the_one_for_what_is_wrong_also_at_the_limit() {
    let bytes = request(OURS).replace("GET", "PUT");
    let server = Ws::new("127.0.0.1:0").head_bytes_max(bytes.len());
    refused_by(&server, bytes, 405, "a method other than GET").await;
}

#[tokio::test]
async fn a_request_has_one_host_and_no_body() {
    let other = request(OURS).replace("GET / ", "GET http://elsewhere/ ");
    refused(other, 400, "two hosts at once").await;
    for body in ["Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n"] {
        refused(request(&format!("{OURS}{body}")), 400, "a request with a body").await;
    }
}

#[tokio::test]
async fn a_server_with_a_host_takes_requests_for_no_other() {
    let server = Ws::new("127.0.0.1:0").host("example.com").host("LOCALHOST");
    let mut listener = server.bind().await.unwrap();
    let (_, result) = ask(&mut *listener, request(OURS)).await;
    assert!(result.is_ok());
    // A page whose name leads here by a trick comes from the host that it connects to.
    let page = "Origin: http://evil.example\r\n";
    let tricked =
        request(&format!("{OURS}{page}")).replace("Host: localhost", "Host: evil.example");
    refused_by(&server, tricked, 421, "the host evil.example").await;
}

#[tokio::test]
async fn only_our_sub_protocol_is_spoken() {
    let line = |value: &str| format!("Sec-WebSocket-Protocol: {value}\r\n");
    for offer in [
        line("chat, emitwire.1"),
        line("emitwire.1,chat"),
        line("a,b , emitwire.1 ,c"),
        line("emitwire.2, emitwire.1"),
        line("chat") + &line("emitwire.1"),
        line("emitwire.1") + &line("chat"),
    ] {
        let (head, _end) = let_in(request(&offer)).await;
        assert_eq!(header(&head, "sec-websocket-protocol"), Some("emitwire.1"), "{offer}");
    }
    for (offer, said) in [
        (String::new(), "the sub-protocol none instead of emitwire.1"),
        (line("chat"), "the sub-protocol chat instead of emitwire.1"),
        (line("emitwire.10, emitwire"), "emitwire.10, emitwire instead of emitwire.1"),
        (line("EMITWIRE.1"), "EMITWIRE.1 instead"),
        (line("x-emitwire.1"), "x-emitwire.1 instead"),
    ] {
        let (_, error) = refused(request(&offer), 400, said).await;
        let HandshakeError::NotOffered { asked } = error else { panic!("{error:?}") };
        assert!(asked.contains(said), "{asked}");
    }
}

#[tokio::test]
async fn a_path_that_is_not_served_is_not_found() {
    let server = Ws::new("127.0.0.1:0/chat?ignored");
    let to = |target: &str| request(OURS).replace("GET /", &format!("GET {target}"));
    let mut listener = server.bind().await.unwrap();
    for target in ["/chat", "/chat?room=7", "http://localhost/chat?x"] {
        let (_, result) = ask(&mut *listener, to(target)).await;
        assert_eq!(result.unwrap().peer.path(), "/chat", "{target}");
    }
    for target in ["/", "/cha", "/chat/", "/Chat", "/chat/room", "/x?/chat", "*"] {
        let (_, error) = refused_by(&server, to(target), 404, "the path ").await;
        let HandshakeError::NotOffered { asked } = error else { panic!("{error:?}") };
        let path = target.split('?').next().unwrap();
        assert_eq!(asked, format!("the path {path}"));
    }
    // Without a path of its own, and with an empty one, a server takes any.
    for server in ["127.0.0.1:0", "127.0.0.1:0/"] {
        let mut listener = Ws::new(server).bind().await.unwrap();
        let (_, result) = ask(&mut *listener, to("/anywhere/else?at=all")).await;
        assert_eq!(result.unwrap().peer.path(), "/anywhere/else");
    }
}

#[tokio::test]
async fn what_was_asked_for_is_repeated_at_most_in_part() {
    let path = format!("/{}", "x".repeat(10_000));
    let server = Ws::new("127.0.0.1:0/chat");
    let request = request(OURS).replace("GET /", &format!("GET {path}"));
    let (_, error) = refused_by(&server, request, 404, "the path /xxx").await;
    let HandshakeError::NotOffered { asked } = error else { panic!("{error:?}") };
    assert!(asked.len() < 1000, "{}", asked.len());
}

#[tokio::test]
async fn a_request_may_come_in_a_few_pieces() {
    let mut listener = bind().await;
    let bytes = request(OURS);
    for cut in 1..bytes.len() {
        let mut raw = Raw::connect(&*listener).await;
        let incoming = within(listener.accept()).await.unwrap();
        let mut handshake = tokio::spawn(incoming.handshake());
        let (head, tail) = bytes.split_at(cut);
        raw.send(head).await;
        tokio::task::yield_now().await;
        assert!(!handshake.is_finished());
        raw.send(tail).await;
        within(&mut handshake).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_slow_request_delays_nobody_else() {
    let mut listener = bind().await;
    let mut slow = Raw::connect(&*listener).await;
    let incoming = within(listener.accept()).await.unwrap();
    let handshake = tokio::spawn(incoming.handshake());
    let bytes = request(OURS);
    for byte in bytes.as_bytes().iter().take(50) {
        slow.send([*byte]).await;
    }
    let (mut client, mut server) = meet(&Ws::new(address(&*listener)), &mut *listener).await;
    client.write([Frame::ordered("hello")]).await.unwrap();
    assert_eq!(server.read_frames(1).await, [Frame::ordered("hello")]);
    assert!(!handshake.is_finished(), "the caller has the deadline");
    handshake.abort();
    assert!(handshake.await.is_err_and(|error| error.is_cancelled()));
    assert_eq!(slow.rest().await, []);
}

#[tokio::test]
async fn a_peer_that_leaves_in_the_middle_of_its_request_is_an_error_without_an_answer() {
    let mut listener = bind().await;
    let bytes = request(OURS);
    for cut in [0, 1, 20, bytes.len() - 1] {
        let mut raw = Raw::connect(&*listener).await;
        raw.send(&bytes[..cut]).await;
        raw.stream.shutdown().await.unwrap();
        let incoming = within(listener.accept()).await.unwrap();
        let error = within(incoming.handshake()).await.err().unwrap();
        assert!(matches!(error, HandshakeError::Io { .. }), "{error:?}");
        assert_eq!(raw.rest().await, []);
    }
}

#[tokio::test]
async fn a_refused_peer_that_goes_on_and_on_is_not_listened_to_for_ever() {
    let mut listener = bind().await;
    let mut raw = Raw::connect(&*listener).await;
    raw.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n").await;
    let incoming = within(listener.accept()).await.unwrap();
    let handshake = tokio::spawn(incoming.handshake());
    let head = raw.head().await;
    assert!(head.starts_with("HTTP/1.1 405 "), "{head}");
    let uploading =
        tokio::spawn(async move { while raw.stream.write_all(&[b'x'; 4096]).await.is_ok() {} });
    assert!(within(handshake).await.unwrap().is_err());
    within(uploading).await.unwrap();
}

#[tokio::test]
async fn a_refused_peer_that_waits_has_its_answer_before_the_handshake_ends() {
    let mut listener = bind().await;
    let mut raw = Raw::connect(&*listener).await;
    raw.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let incoming = within(listener.accept()).await.unwrap();
    let mut handshake = incoming.handshake();
    let head = tokio::select! {
        biased; // so that even on a busy machine what is there is read first
        head = raw.head() => head,
        _ = &mut handshake => panic!("a peer that has not left is waited for"),
    };
    assert!(head.starts_with("HTTP/1.1 426 "), "{head}");
    drop(handshake); // as a caller does at its deadline
    assert!(raw.rest().await.starts_with(b"This is a WebSocket of emitwire."));
}
