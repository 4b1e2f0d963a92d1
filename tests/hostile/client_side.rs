//! Servers that are none: what a client says when it cannot have a session, and about URLs.

use super::support::raw::{LIMITS, RawPeer, encode, framed};
use super::support::{becomes, endpoint, fresh_mem, within};
use emitwire::protocol::{
    Accept, Close, CloseCode, DecodeError, Drain, NamespaceNumber, Outcome, Packet, ProducerId,
    ProtocolError, SessionId, SocketId, Welcome,
};
use emitwire::{
    BindError, Client, Config, ConnectError, DisconnectReason, Endpoint, EndpointError, Namespace,
    Server, Session,
};
use std::future::Future;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// Connects to a server that does what it likes with the one connection it gets.
async fn connect_to<F>(config: Config, server: impl FnOnce(RawPeer) -> F) -> ConnectError
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let client = Client::new(endpoint(&url)).config(config).mount(Namespace::new("/chat"));
    let connecting = tokio::spawn(client.connect());
    let (stream, _) = within(listener.accept()).await.unwrap();
    let serving = tokio::spawn(server(RawPeer::new(stream)));
    let error = within(connecting).await.unwrap().expect_err("that is no server");
    within(serving).await.unwrap();
    error
}

async fn ended_by<F>(server: impl FnOnce(RawPeer) -> F) -> DisconnectReason
where
    F: Future<Output = ()> + Send + 'static,
{
    match connect_to(Config::default(), server).await {
        ConnectError::Ended { reason } => reason,
        other => panic!("{other:?}"),
    }
}

fn welcome() -> Packet {
    Packet::Welcome(Welcome {
        session: SessionId(1),
        token: bytes::Bytes::new(),
        producer: ProducerId(2),
        limits: LIMITS,
        resume_window: Duration::ZERO,
        outcome: Outcome::New,
        position: 0,
        trimmed: 0,
    })
}

#[tokio::test]
async fn a_server_of_another_protocol_is_recognized_as_one() {
    let answers = [
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec(),
        b"220 mail.example.com ESMTP\r\n".to_vec(),
        b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
        vec![0xff; 4],
    ];
    for answer in answers {
        let reason = ended_by(|mut peer| async move {
            peer.send_bytes(&answer).await;
            peer.end().await;
        });
        let reason = reason.await;
        let error = ProtocolError::Decode(DecodeError::NotEmitwire);
        assert_eq!(reason, DisconnectReason::Protocol(error));
        let text = "protocol error: the peer does not speak emitwire";
        assert_eq!(reason.to_string(), text);
    }
}

#[tokio::test]
async fn a_server_that_closes_at_once_or_dies_is_a_lost_link() {
    let closes = ended_by(|peer| async move { drop(peer) }).await;
    assert_eq!(closes, DisconnectReason::LinkLost);
    let dies = ended_by(|peer| async move { peer.kill() }).await;
    assert_eq!(dies, DisconnectReason::LinkLost);
    let reads = ended_by(|mut peer| async move {
        assert!(matches!(peer.next().await, Some(Packet::Hello(_))));
    });
    assert_eq!(reads.await, DisconnectReason::LinkLost);
    let half = ended_by(|mut peer| async move {
        let welcome = framed(&encode(&welcome()));
        peer.send_bytes(&welcome[..welcome.len() / 2]).await;
    });
    assert_eq!(half.await, DisconnectReason::LinkLost);
}

#[tokio::test]
async fn a_welcome_of_an_unknown_version_is_named_and_the_server_is_told() {
    let reason = ended_by(|mut peer| async move {
        assert!(matches!(peer.next().await, Some(Packet::Hello(_))));
        peer.send_frame(&[0x02, 0x02, 1, 2, 3]).await;
        assert_eq!(peer.close().await.code, CloseCode::Version);
    });
    let error = ProtocolError::Decode(DecodeError::Version { version: 2 });
    let reason = reason.await;
    assert_eq!(reason, DisconnectReason::Protocol(error));
    assert_eq!(reason.to_string(), "protocol error: protocol version 2 is not supported");
}

#[tokio::test]
async fn something_other_than_a_welcome_breaks_the_protocol_and_the_server_is_told() {
    for (packet, name) in
        [(Packet::From(1), "from"), (Packet::Heartbeat { written: 0 }, "heartbeat")]
    {
        let reason = ended_by(|mut peer| async move {
            peer.send(&packet).await;
            let words = format!("a {name} packet has no place here");
            let hello = peer.next().await;
            assert!(matches!(hello, Some(Packet::Hello(_))), "{hello:?}");
            assert_eq!(super::said(&peer.close().await), (CloseCode::Protocol, &*words));
        });
        let error = ProtocolError::Unexpected { packet: name };
        assert_eq!(reason.await, DisconnectReason::Protocol(error));
    }
}

#[tokio::test]
async fn what_a_server_says_instead_of_a_welcome_is_what_the_client_says() {
    let accusation = DisconnectReason::Accused("you are too old".into());
    let table = [
        (CloseCode::Full, "", DisconnectReason::Full),
        (CloseCode::Moved, "", DisconnectReason::Moved),
        (CloseCode::Version, "you are too old", DisconnectReason::Version),
        (CloseCode::Protocol, "you are too old", accusation),
        (CloseCode::HandshakeTimeout, "", DisconnectReason::HandshakeTimeout),
        (CloseCode::Normal, "", DisconnectReason::ClosedByPeer),
    ];
    for (code, detail, wanted) in table {
        let reason = ended_by(|mut peer| async move {
            peer.send(&Packet::Close(Close { code, detail: detail.into() })).await;
            peer.end().await;
        });
        assert_eq!(reason.await, wanted);
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_a_timeout_of_the_right_length() {
    let patience = Duration::from_millis(200);
    let mut config = Config::default();
    config.connect_timeout = patience;
    let silent = |mut peer: RawPeer| async move {
        peer.end().await;
    };
    let began = Instant::now();
    let error = connect_to(config.clone(), silent).await;
    assert!(matches!(error, ConnectError::Timeout { after } if after == patience), "{error:?}");
    assert_eq!(error.to_string(), "no answer within 200ms");
    assert!(began.elapsed() >= patience && began.elapsed() < Duration::from_secs(5));

    // A server that welcomes and then lets nobody in is no better.
    let error = connect_to(config, |mut peer| async move {
        peer.send(&welcome()).await;
        peer.send(&Packet::From(1)).await;
        peer.end().await;
    });
    let error = error.await;
    assert!(matches!(error, ConnectError::Timeout { after } if after == patience), "{error:?}");

    let mut config = Config::default();
    config.handshake_timeout = patience;
    let error = connect_to(config, |mut peer| async move {
        assert!(matches!(peer.next().await, Some(Packet::Hello(_))));
        assert_eq!(peer.close().await.code, CloseCode::HandshakeTimeout);
    });
    let error = error.await;
    let ConnectError::Ended { reason: DisconnectReason::HandshakeTimeout } = error else {
        panic!("{error:?}");
    };
}

#[tokio::test]
async fn a_server_that_breaks_the_rules_behind_its_welcome_is_told_which() {
    let accept_as = |client, server, socket| {
        let (client, server) = (NamespaceNumber(client), NamespaceNumber(server));
        Packet::Accept(Accept { client, server, socket: SocketId(socket) })
    };
    let accept = |client, server| accept_as(client, server, 9);
    let event = super::support::raw::event(1, "said", super::support::raw::text("a"));
    let table: [(Vec<Packet>, &str); 6] = [
        (vec![accept(0, 0)], "the link begins at 0, 1 was expected"),
        (vec![Packet::From(1), accept(1, 0)], "namespace number 1 is not the next one, or unknown"),
        (
            vec![Packet::From(1), accept(0, 0), accept_as(0, 0, 10)],
            "namespace number 0 is not the next one, or unknown",
        ),
        (vec![Packet::From(1), event], "event for a namespace never asked for: 0"),
        (vec![welcome()], "a welcome packet has no place here"),
        (vec![super::support::raw::connect(0, "/")], "a connect packet has no place here"),
    ];
    for (packets, words) in table {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("tcp://{}", listener.local_addr().unwrap());
        let client = Client::new(endpoint(&url)).mount(Namespace::new("/chat")).reconnect(false);
        let connecting = tokio::spawn(client.connect());
        let (stream, _) = within(listener.accept()).await.unwrap();
        let mut peer = RawPeer::new(stream);
        let begins = matches!(&packets[0], Packet::Connect(_));
        peer.send(&welcome()).await;
        if begins {
            peer.send(&Packet::From(1)).await;
        }
        for packet in &packets {
            peer.send(packet).await;
        }
        assert_eq!(super::said(&peer.close().await), (CloseCode::Protocol, words));
        drop(peer);
        // It may have been let in before the rule was broken.
        match within(connecting).await.unwrap() {
            Err(ConnectError::Ended { reason: DisconnectReason::Protocol(error) }) => {
                assert_eq!(error.to_string(), words);
            }
            Ok(session) => {
                let reason = within(session.ended()).await;
                assert_eq!(reason.to_string(), format!("protocol error: {words}"));
                assert_eq!(session.stats().protocol_errors, 1);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A session with a raw server in which `/chat` is joined, and the server's side of it.
async fn session_with(listener: &TcpListener, client: Client) -> (Session, RawPeer) {
    let connecting = tokio::spawn(client.mount(Namespace::new("/chat")).connect());
    let peer = welcomed(listener).await;
    (within(connecting).await.unwrap().unwrap(), peer)
}

/// The next connection, let in.
async fn welcomed(listener: &TcpListener) -> RawPeer {
    let (stream, _) = within(listener.accept()).await.unwrap();
    let mut peer = RawPeer::new(stream);
    peer.send(&welcome()).await;
    peer.send(&Packet::From(1)).await;
    let (client, server) = (NamespaceNumber(0), NamespaceNumber(0));
    while !matches!(peer.next().await.unwrap(), Packet::Connect(_)) {}
    peer.send(&Packet::Accept(Accept { client, server, socket: SocketId(9) })).await;
    peer
}

#[tokio::test]
async fn a_client_comes_back_or_stays_away_as_the_close_code_says() {
    let comes_back = [
        CloseCode::Protocol,
        CloseCode::HeartbeatTimeout,
        CloseCode::Slow,
        CloseCode::Full,
        CloseCode::Moved,
    ];
    for code in comes_back {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(endpoint(&format!("tcp://{}", listener.local_addr().unwrap())));
        let (session, mut peer) = session_with(&listener, client).await;
        peer.send(&Packet::Close(Close { code, detail: "".into() })).await;
        drop(peer);
        let _again = welcomed(&listener).await;
        becomes(|| session.of("/chat").is_ok(), true).await;
    }
    for code in [CloseCode::Normal, CloseCode::Replaced, CloseCode::Version] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(endpoint(&format!("tcp://{}", listener.local_addr().unwrap())));
        let (session, mut peer) = session_with(&listener, client).await;
        peer.send(&Packet::Close(Close { code, detail: "".into() })).await;
        drop(peer);
        tokio::select! {
            reason = within(session.ended()) => assert_ne!(reason, DisconnectReason::Closed),
            _ = listener.accept() => panic!("it came back after {code:?}"),
        }
    }
}

#[tokio::test]
async fn a_client_whose_server_no_longer_knows_its_version_does_not_ask_for_ever() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(endpoint(&format!("tcp://{}", listener.local_addr().unwrap())));
    let (session, peer) = session_with(&listener, client).await;
    drop(peer);
    let (stream, _) = within(listener.accept()).await.unwrap();
    let mut updated = RawPeer::new(stream);
    let detail = "protocol version 1 is not supported".into();
    updated.send(&Packet::Close(Close { code: CloseCode::Version, detail })).await;
    drop(updated);
    tokio::select! {
        reason = within(session.ended()) => {
            assert_eq!(reason, DisconnectReason::Version);
        }
        _ = listener.accept() => panic!("it asked again"),
    }
}

#[tokio::test]
async fn a_server_that_sends_its_client_away_for_ever_does_not_keep_it_from_closing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(endpoint(&format!("tcp://{}", listener.local_addr().unwrap())));
    let (session, mut peer) = session_with(&listener, client).await;
    let for_ever = Duration::from_millis(u64::MAX);
    peer.send(&Packet::Drain(Drain { deadline: for_ever, delay: for_ever })).await;
    peer.send(&Packet::Close(Close { code: CloseCode::Moved, detail: "".into() })).await;
    drop(peer);
    becomes(|| session.is_connected(), false).await;
    within(session.close()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_does_not_wait_for_a_server_that_does_not_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = Config::default();
    config.emit_wait_max = Duration::from_millis(100);
    config.close_timeout = Duration::from_millis(200);
    config.log_bytes_max = 256 * 1024 * 1024;
    let client = Client::new(endpoint(&format!("tcp://{}", listener.local_addr().unwrap())));
    let (session, peer) = session_with(&listener, client.config(config).reconnect(false)).await;
    let socket = session.of("/chat").unwrap();
    let large = "a".repeat(256 * 1024);
    while within(socket.emit("say", &large)).await.is_ok() {}
    let began = Instant::now();
    within(session.close()).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop(peer);
}

#[tokio::test]
async fn a_closed_port_and_an_unbound_name_are_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tcp = format!("tcp://{}", listener.local_addr().unwrap());
    drop(listener);
    for url in [tcp, fresh_mem()] {
        let client = Client::new(endpoint(&url)).mount(Namespace::new("/chat"));
        let error = within(client.connect()).await.expect_err("nobody is there");
        assert_eq!(error.to_string(), format!("cannot reach {url}"));
        let ConnectError::Unreachable { endpoint, source } = error else { panic!("{error:?}") };
        assert_eq!(endpoint, url);
        assert_eq!(source.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_in_use_and_free_again_afterwards() {
    for url in ["tcp://127.0.0.1:0".to_owned(), fresh_mem()] {
        let first = Server::new();
        let listening = within(first.listen(endpoint(&url))).await.unwrap();
        let taken = listening.endpoint().to_owned();
        let error = within(Server::new().listen(endpoint(&taken))).await.expect_err("is taken");
        assert_eq!(error.to_string(), format!("{taken} is in use"));
        let BindError::InUse { endpoint: named } = error else { panic!("{error:?}") };
        assert_eq!(named, taken);
        // The end of `run_until` is the end of listening.
        within(first.run_until(async {})).await;
        let second = within(Server::new().listen(endpoint(&taken))).await.unwrap();
        within(second.close()).await;
        becomes(|| std::net::TcpListener::bind(taken.trim_start_matches("tcp://")).is_ok(), {
            taken.starts_with("tcp")
        })
        .await;
    }
}

#[tokio::test]
async fn an_address_of_another_machine_is_not_available() {
    // TEST-NET-1 (RFC 5737): documentation, never an address of this machine.
    for url in ["tcp://192.0.2.1:0", "tcp://no-such-host.invalid:7300"] {
        let error = within(Server::new().listen(endpoint(url))).await.expect_err("is not ours");
        assert_eq!(error.to_string(), format!("{url} is not an address of this machine"));
        assert!(matches!(error, BindError::NotAvailable { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_wrong_registration_is_reported_before_anything_is_sent() {
    let url = fresh_mem();
    let client = Client::new(endpoint(&url)).mount(Namespace::new("chat"));
    let error = within(client.connect()).await.expect_err("the path has no slash");
    let ConnectError::Mount { source } = error else { panic!("{error:?}") };
    assert_eq!(source.to_string(), "the path `chat` does not begin with `/`");
    let client = Client::new(endpoint(&url)).mount(Namespace::new("/a").on("connect", || async {}));
    let error = within(client.connect()).await.expect_err("the name is reserved");
    let ConnectError::Mount { source } = error else { panic!("{error:?}") };
    assert_eq!(source.to_string(), "`connect` is a reserved name: use the hook `on_connect`");
}

#[test]
fn a_text_that_is_no_endpoint_says_what_is_wrong_with_it() {
    let known = emitwire::schemes().collect::<Vec<_>>().join(", ");
    let not_a_url = |url: &str| {
        (
            EndpointError::NotAUrl { url: url.into() },
            format!("`{url}` is no URL: expected something like tcp://127.0.0.1:7300"),
        )
    };
    for url in ["", "tcp", "tcp:", "tcp:/", "127.0.0.1:7300", "tcp:127.0.0.1:7300", "/chat"] {
        let (error, text) = not_a_url(url);
        assert_eq!(text, error.to_string());
        assert_eq!(Endpoint::new(url).unwrap_err(), error);
    }
    for scheme in ["http", "", " tcp", "tcp+tls"] {
        let url = format!("{scheme}://127.0.0.1:7300");
        let error = Endpoint::new(&url).unwrap_err();
        let (scheme, known) = (scheme.to_owned(), known.clone());
        let text = format!("no wire has the scheme `{scheme}://`; there are {known}");
        assert_eq!(error.to_string(), text);
        assert_eq!(error, EndpointError::UnknownScheme { scheme, known });
    }
    let expected = "tcp://HOST:PORT, with an IPv6 address in brackets";
    for address in [
        "",
        ":7300",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:port",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:7300/chat",
        "127.0.0.1:7300 ",
        "127.0.0.1:+7300",
        "::1:7300",
        "[::1:7300",
        "::1]:7300",
    ] {
        let url = format!("tcp://{address}");
        let error = Endpoint::new(&url).expect_err(&url);
        let text = format!("`{url}` has no address: expected {expected}");
        assert_eq!(error.to_string(), text);
        assert_eq!(error, EndpointError::Address { url, expected });
    }
    let url = "mem://".to_owned();
    let error = Endpoint::new(&url).unwrap_err();
    assert_eq!(error.to_string(), "`mem://` has no address: expected mem://NAME");
    assert_eq!(error, EndpointError::Address { url, expected: "mem://NAME" });
}

#[test]
fn a_text_that_is_an_endpoint_is_said_back_as_it_was() {
    for url in ["tcp://127.0.0.1:0", "tcp://localhost:7300", "tcp://[::1]:7300", "mem://a b/c"] {
        assert_eq!(Endpoint::new(url).unwrap().to_string(), url);
        assert_eq!(url.parse::<Endpoint>().unwrap().to_string(), url);
    }
}
