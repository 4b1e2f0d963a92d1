//! Peers that answer as they should not, and what layers make of it.

use crate::support::raw::RawPeer;
use crate::support::{becomes, listen, within};
use emitwire::middleware::{RequireAck, Retry};
use emitwire::protocol::{AckPacket, EventPacket, EventRef, NakPacket, Packet};
use emitwire::{AckError, Layers, Nak, Namespace, Payload, Server, Socket};
use std::future::IntoFuture;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How long an attempt takes, and all of them.
const ATTEMPT: Duration = Duration::from_millis(60);
const WITHIN: Duration = Duration::from_millis(600);

struct Stage {
    server: Server,
    peer: RawPeer,
    socket: Socket,
    retry: Retry,
}

impl Stage {
    async fn new() -> Self {
        let few = Duration::from_millis(5);
        let retry = Retry::new().within(WITHIN).attempts(4).backoff(few, few);
        let layers = Layers::new().and(retry.clone()).and(RequireAck::handled(ATTEMPT));
        let server = Server::new().layers(layers).mount(Namespace::new("/")).unwrap();
        let listening = listen(&server, "tcp://127.0.0.1:0").await;
        let address = listening.endpoint().trim_start_matches("tcp://").parse().unwrap();
        let peer = RawPeer::joined(address, "/").await;
        let sockets = within(server.of("/").local_sockets()).await.unwrap();
        Self { server, peer, socket: sockets[0].clone(), retry }
    }

    fn ask(&self) -> JoinHandle<Result<u8, AckError>> {
        let socket = self.socket.clone();
        tokio::spawn(async move { socket.emit("ask", &()).ack().into_future().await })
    }

    async fn event(&mut self) -> EventPacket {
        match self.peer.next_said().await {
            Some(Packet::Event(event)) => event,
            other => panic!("{other:?} instead of an event"),
        }
    }

    async fn ack(&mut self, event: EventRef, answer: u8) {
        let payload = Payload::encode(&answer).unwrap();
        self.peer.send(&Packet::Ack(AckPacket { event, payload })).await;
    }

    async fn nak(&mut self, event: EventRef, nak: Nak) {
        self.peer.send(&Packet::Nak(NakPacket { event, nak })).await;
    }
}

#[tokio::test]
async fn of_two_answers_the_first_counts_and_one_to_nothing_is_counted() {
    let mut stage = Stage::new().await;
    let asked = stage.ask();
    let event = stage.event().await.event;
    stage.ack(EventRef { number: event.number + 1000, ..event }, 9).await;
    stage.ack(event, 1).await;
    stage.ack(event, 2).await;
    assert_eq!(within(asked).await.unwrap().unwrap(), 1);
    becomes(|| stage.server.stats().unasked, 2).await;
    assert_eq!(stage.retry.stats().repeated, 0);
}

#[tokio::test]
async fn an_answer_that_is_later_than_an_attempt_answers_and_nothing_is_sent_again() {
    let mut stage = Stage::new().await;
    let asked = stage.ask();
    let event = stage.event().await.event;
    tokio::time::sleep(ATTEMPT * 3).await;
    stage.ack(event, 1).await;
    assert_eq!(within(asked).await.unwrap().unwrap(), 1);
    assert_eq!((stage.server.stats().events_out, stage.retry.stats().repeated), (1, 0));
}

#[tokio::test]
async fn who_never_answers_is_waited_for_as_long_as_there_is_time_and_asked_once() {
    let mut stage = Stage::new().await;
    let began = tokio::time::Instant::now();
    let asked = stage.ask();
    stage.event().await;
    let told = within(asked).await.unwrap();
    assert!(matches!(told, Err(AckError::Timeout { .. })), "{told:?}");
    assert!(began.elapsed() >= WITHIN - ATTEMPT, "{:?}", began.elapsed());
    assert_eq!((stage.server.stats().events_out, stage.retry.stats().late), (1, 1));
}

#[tokio::test]
async fn who_says_no_for_ever_is_asked_as_often_as_allowed_under_one_id() {
    for nak in [Nak::Failed, Nak::Busy { retry_after: Duration::from_millis(10) }] {
        let mut stage = Stage::new().await;
        let asked = stage.ask();
        let mut ids = Vec::new();
        for _ in 0..4 {
            let event = stage.event().await.event;
            ids.push(event);
            stage.nak(event, nak.clone()).await;
            // Once more, for good measure.
            stage.nak(event, nak.clone()).await;
        }
        let told = within(asked).await.unwrap();
        assert!(matches!(&told, Err(AckError::Refused(last)) if *last == nak), "{told:?}");
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert_eq!(stage.retry.stats().exhausted, 1);
        assert_eq!(stage.server.stats().events_out, 4);
    }
}
