//! Servers that do not keep their word when a client wants its session back.

use super::said;
use super::support::raw::{LIMITS, RawPeer};
use super::support::{endpoint, within};
use bytes::Bytes;
use emitwire::protocol::{
    Accept, Attach, Close, CloseCode, NamespaceNumber, Outcome, Packet, ProducerId, SessionId,
    SocketId, Welcome,
};
use emitwire::{Client, DisconnectReason, Namespace, Session};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

fn welcome(outcome: Outcome, position: u64) -> Welcome {
    Welcome {
        session: SessionId(1),
        token: Bytes::from_static(b"secret"),
        producer: ProducerId(2),
        limits: LIMITS,
        resume_window: Duration::from_secs(30),
        outcome,
        position,
        trimmed: 0,
    }
}

/// A server that is played by hand, its client, and why sockets of the client ended.
struct Stage {
    listener: TcpListener,
    session: Session,
    ends: mpsc::UnboundedReceiver<DisconnectReason>,
}

impl Stage {
    /// The client has a session, and a socket in `/chat`; then its link is killed.
    async fn cut() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("tcp://{}", listener.local_addr().unwrap());
        let (end, ends) = mpsc::unbounded_channel();
        let chat = Namespace::new("/chat").on_disconnect(move |reason: DisconnectReason| {
            let _ = end.send(reason);
            async {}
        });
        let connecting = tokio::spawn(Client::new(endpoint(&url)).mount(chat).connect());
        let mut peer = next_link(&listener).await;
        let Some(Packet::Hello(hello)) = peer.next().await else { panic!("no hello") };
        assert!(hello.resumable && !hello.resumes);
        peer.send(&Packet::Welcome(welcome(Outcome::New, 0))).await;
        peer.send(&Packet::From(1)).await;
        peer.send(&accept(9)).await;
        let session = within(connecting).await.unwrap().unwrap();
        assert_eq!(peer.next_said().await, Some(Packet::From(1)));
        assert!(matches!(peer.next_said().await, Some(Packet::Connect(_))));
        peer.kill();
        Self { listener, session, ends }
    }

    /// It comes and wants its session back.
    async fn comes_back(&self) -> (RawPeer, Attach) {
        let mut peer = next_link(&self.listener).await;
        let Some(Packet::Hello(hello)) = peer.next().await else { panic!("no hello") };
        assert!(hello.resumable && hello.resumes);
        match peer.next().await {
            Some(Packet::Attach(attach)) => (peer, attach),
            other => panic!("{other:?} instead of an attach"),
        }
    }

    /// It comes and begins anew.
    async fn begins_anew(&self) {
        let mut peer = next_link(&self.listener).await;
        let Some(Packet::Hello(hello)) = peer.next().await else { panic!("no hello") };
        assert!(!hello.resumes);
    }

    async fn end(&mut self) -> DisconnectReason {
        within(self.ends.recv()).await.unwrap()
    }
}

async fn next_link(listener: &TcpListener) -> RawPeer {
    RawPeer::new(within(listener.accept()).await.unwrap().0)
}

fn accept(socket: u128) -> Packet {
    let (client, server) = (NamespaceNumber(0), NamespaceNumber(0));
    Packet::Accept(Accept { client, server, socket: SocketId(socket) })
}

#[tokio::test]
async fn a_client_shows_what_it_has_and_takes_nothing_that_leaves_a_hole() {
    let mut stage = Stage::cut().await;
    let (mut peer, attach) = stage.comes_back().await;
    assert_eq!((attach.session, &*attach.token), (SessionId(1), &b"secret"[..]));
    assert_eq!((attach.position, attach.trimmed), (1, 0), "the accept");
    assert_eq!(attach.namespaces.len(), 1);
    peer.send(&Packet::Welcome(welcome(Outcome::Resumed, 1))).await;
    peer.send(&Packet::From(5)).await;
    let close = peer.close().await;
    assert_eq!(said(&close), (CloseCode::Protocol, "the link begins at 5, 2 was expected"));
    assert!(matches!(stage.end().await, DisconnectReason::Protocol(_)));
    stage.begins_anew().await;
}

#[tokio::test]
async fn a_server_that_has_more_than_was_written_ends_the_session() {
    for position in [2, 99, u64::MAX] {
        let mut stage = Stage::cut().await;
        let (mut peer, _) = stage.comes_back().await;
        peer.send(&Packet::Welcome(welcome(Outcome::Resumed, position))).await;
        peer.end().await;
        assert!(matches!(stage.end().await, DisconnectReason::Protocol(_)));
        stage.begins_anew().await;
    }
}

#[tokio::test]
async fn a_client_that_was_replaced_stays_away_and_one_that_is_refused_begins_anew() {
    let mut stage = Stage::cut().await;
    let (mut peer, _) = stage.comes_back().await;
    peer.send(&Packet::Welcome(welcome(Outcome::Resumed, 1))).await;
    peer.send(&Packet::From(2)).await;
    peer.send(&Packet::Close(Close { code: CloseCode::Replaced, detail: "".into() })).await;
    assert_eq!(stage.end().await, DisconnectReason::Replaced);
    assert_eq!(within(stage.session.ended()).await, DisconnectReason::Replaced);

    let mut stage = Stage::cut().await;
    let (mut peer, _) = stage.comes_back().await;
    peer.send(&Packet::Close(Close { code: CloseCode::Protocol, detail: "no".into() })).await;
    assert_eq!(stage.end().await, DisconnectReason::LinkLost);
    stage.begins_anew().await;
}

#[tokio::test]
async fn a_server_that_knows_nothing_of_the_session_gets_a_new_one_on_the_same_link() {
    let mut stage = Stage::cut().await;
    let (mut peer, _) = stage.comes_back().await;
    let welcome = Welcome { session: SessionId(2), ..welcome(Outcome::New, 0) };
    peer.send(&Packet::Welcome(welcome)).await;
    peer.send(&Packet::From(1)).await;
    peer.send(&accept(10)).await;
    assert_eq!(stage.end().await, DisconnectReason::LinkLost);
    assert_eq!(peer.next_said().await, Some(Packet::From(1)));
    assert!(matches!(peer.next_said().await, Some(Packet::Connect(_))));
    assert_eq!(stage.session.id(), SessionId(2));
}

#[tokio::test]
async fn a_link_that_is_slow_or_silent_is_resumed_again_and_again() {
    let stage = Stage::cut().await;
    for code in [CloseCode::Slow, CloseCode::HeartbeatTimeout, CloseCode::Slow] {
        let (mut peer, attach) = stage.comes_back().await;
        assert_eq!(attach.position, 1);
        peer.send(&Packet::Welcome(welcome(Outcome::Resumed, 1))).await;
        peer.send(&Packet::From(2)).await;
        peer.send(&Packet::Close(Close { code, detail: "".into() })).await;
        peer.end().await;
    }
    let _ = stage.comes_back().await;
    assert!(stage.session.is_connected());
    assert!(stage.session.of("/chat").unwrap().ended().is_none());
}

#[tokio::test]
async fn a_server_that_resumes_what_nobody_asked_for_breaks_the_rules() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let client = Client::new(endpoint(&url)).mount(Namespace::new("/chat")).reconnect(false);
    let connecting = tokio::spawn(client.connect());
    let mut peer = next_link(&listener).await;
    assert!(matches!(peer.next().await, Some(Packet::Hello(_))));
    peer.send(&Packet::Welcome(welcome(Outcome::Resumed, 0))).await;
    assert_eq!(peer.close().await.code, CloseCode::Protocol);
    assert!(within(connecting).await.unwrap().is_err());
}
