//! Which pages are let in (RFC 6455 §10.2).

use super::end::bind;
use super::raw::{OURS, Raw, header, request};
use super::within;
use emitwire_core::transport::{HandshakeError, Listener, Transport};
use emitwire_transports::Ws;
use tokio::io::AsyncWriteExt;

/// Whether a page of this origin is let in by the host `localhost`.
async fn is_let_in(listener: &mut dyn Listener, origin: &[u8]) -> bool {
    let usual = request(OURS);
    let (line, rest) = usual.split_at(usual.find("\r\n").unwrap());
    let bytes = [line.as_bytes(), b"\r\nOrigin: ", origin, rest.as_bytes()].concat();
    let mut raw = Raw::connect(listener).await;
    raw.send(&bytes).await;
    raw.stream.shutdown().await.unwrap();
    let incoming = within(listener.accept()).await.unwrap();
    let result = within(incoming.handshake()).await;
    let head = raw.head().await;
    match result {
        Ok(_) => assert!(head.starts_with("HTTP/1.1 101 "), "{head}"),
        Err(HandshakeError::NotOffered { ref asked }) => {
            assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
            assert_eq!(header(&head, "sec-websocket-accept"), None);
            let body = String::from_utf8(raw.rest().await).unwrap();
            assert!(body.contains(asked), "{body}");
            assert_eq!(*asked, format!("the origin {}", String::from_utf8_lossy(origin)));
        }
        Err(error) => panic!("{error:?}"),
    }
    head.starts_with("HTTP/1.1 101 ")
}

const OTHERS: [&[u8]; 12] = [
    b"http://example.com",
    b"http://localhost:8080",
    b"http://localhost.example.com",
    b"http://notlocalhost",
    b"http://example.com/localhost",
    b"http://example.com@localhost.example.com",
    b"http://localhost/",
    b"http://user@localhost",
    b"null",
    b"localhost",
    b"://",
    b"http://\xff\xfe",
];

#[tokio::test]
async fn a_page_of_the_same_host_is_let_in() {
    let mut listener = bind().await;
    for origin in [&b"http://localhost"[..], b"https://localhost", b"http://LOCALHOST"] {
        assert!(is_let_in(&mut *listener, origin).await, "{}", origin.escape_ascii());
    }
}

#[tokio::test]
async fn a_page_of_another_host_is_not() {
    let mut listener = bind().await;
    for origin in OTHERS {
        assert!(!is_let_in(&mut *listener, origin).await, "{}", origin.escape_ascii());
    }
}

#[tokio::test]
async fn a_page_of_a_listed_origin_is_let_in_beside_those_of_the_same_host() {
    let server = Ws::new("127.0.0.1:0").origin("https://a.example");
    // As people write them.
    let server = server.origin("https://b.example:8443/").origin("https://c.example:443");
    let mut listener = server.bind().await.unwrap();
    let good =
        ["https://a.example", "https://B.EXAMPLE:8443", "https://c.example", "http://localhost"];
    for origin in good {
        assert!(is_let_in(&mut *listener, origin.as_bytes()).await, "{origin}");
    }
    let bad = ["http://a.example", "https://a.example:8443", "https://b.example", "null", "*"];
    for origin in bad {
        assert!(!is_let_in(&mut *listener, origin.as_bytes()).await, "{origin}");
    }
    let mut listener = Ws::new("127.0.0.1:0").origin("null").bind().await.unwrap();
    assert!(is_let_in(&mut *listener, b"null").await);
}

#[tokio::test]
async fn any_origin_is_any() {
    let mut listener = Ws::new("127.0.0.1:0").any_origin().bind().await.unwrap();
    for origin in OTHERS {
        assert!(is_let_in(&mut *listener, origin).await, "{}", origin.escape_ascii());
    }
}

#[tokio::test]
async fn a_second_origin_does_not_hide_behind_a_good_one() {
    let mut listener = bind().await;
    for origin in [
        &b"http://localhost\r\nOrigin: http://example.com"[..],
        b"http://example.com\r\nOrigin: http://localhost",
    ] {
        let usual = request(OURS);
        let lines = [b"Origin: ", origin, b"\r\n"].concat();
        let lines = String::from_utf8(lines).unwrap();
        let bytes =
            usual.replace("Upgrade: websocket\r\n", &format!("Upgrade: websocket\r\n{lines}"));
        let mut raw = Raw::connect(&*listener).await;
        raw.send(bytes).await;
        let incoming = within(listener.accept()).await.unwrap();
        let handshake = tokio::spawn(incoming.handshake());
        let head = raw.head().await;
        assert!(!head.starts_with("HTTP/1.1 101 "), "{head}");
        drop(raw);
        assert!(within(handshake).await.unwrap().is_err());
    }
}
