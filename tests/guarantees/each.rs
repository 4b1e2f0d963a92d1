//! The layers that promise nothing by themselves, on each wire.

use crate::support::{all, all_wires, endpoint, listen, within};
use emitwire::middleware::{Next, RateLimit, RequireAck, Retry, Trace, from_fn};
use emitwire::{
    Ack, AckError, BoxError, Client, Data, Envelope, Layers, Nak, Namespace, Server, Session,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Counts what passes, each way.
#[derive(Clone, Default)]
struct Passed(Arc<[AtomicUsize; 2]>);

impl Passed {
    fn layers(&self) -> Layers {
        let (inbound, outbound) = (self.clone(), self.clone());
        let count = |passed: Passed| {
            from_fn(move |envelope: Envelope, next: Next| {
                let place = usize::from(envelope.is_outbound());
                passed.0[place].fetch_add(1, Ordering::Relaxed);
                async move { next.run(envelope).await as Result<Ack, BoxError> }
            })
        };
        Layers::new().inbound(count(inbound)).outbound(count(outbound)).and(Trace::new())
    }

    fn counts(&self) -> [usize; 2] {
        [0, 1].map(|place| self.0[place].load(Ordering::Relaxed))
    }
}

async fn stage(url: &str, far: Layers, near: &[Layers]) -> (Server, Vec<Session>) {
    let echo = Namespace::new("/").on("echo", |Data(number): Data<usize>| async move { number });
    let server = Server::new().layers(far).mount(echo).unwrap();
    let listening = listen(&server, url).await;
    let mut sessions = Vec::new();
    for layers in near {
        let client = Client::new(endpoint(listening.endpoint())).layers(layers.clone());
        sessions.push(within(client.mount(Namespace::new("/")).connect()).await.unwrap());
    }
    (server, sessions)
}

#[tokio::test]
async fn layers_of_both_ways_see_each_event_once_on_every_wire() {
    for url in all_wires() {
        let (here, there) = (Passed::default(), Passed::default());
        let (server, sessions) = stage(&url, there.layers(), &[here.layers()]).await;
        let socket = sessions[0].of("/").unwrap();
        for number in 0..20 {
            let answer: usize = within(socket.emit("echo", &number).ack()).await.unwrap();
            assert_eq!(answer, number);
        }
        within(server.of("/").emit("news", &())).await.unwrap();
        assert_eq!((here.counts(), there.counts()), ([0, 20], [20, 1]), "{url}");
    }
}

#[tokio::test]
async fn each_peer_has_its_own_limit_on_every_wire() {
    let minute = Duration::from_secs(60);
    for url in all_wires() {
        let limit = RateLimit::new(5, minute).per_session();
        let bare = [Layers::new(), Layers::new()];
        let (_server, sessions) = stage(&url, limit, &bare).await;
        for session in &sessions {
            let socket = session.of("/").unwrap();
            let numbers = [(); 8];
            let emits = numbers.iter().map(|()| socket.emit("echo", &1_usize).ack::<usize>());
            let answers = within(all(emits)).await;
            let busy = |answer: &Result<usize, AckError>| {
                matches!(answer, Err(AckError::Refused(Nak::Busy { .. })))
            };
            assert!(answers[..5].iter().all(Result::is_ok), "{url} {answers:?}");
            assert!(answers[5..].iter().all(busy), "{url} {answers:?}");
        }
    }
}

#[tokio::test]
async fn a_peer_that_is_told_to_wait_comes_again_in_time_on_every_wire() {
    for url in all_wires() {
        let limit = RateLimit::new(10, Duration::from_millis(100)).per_session();
        let retry = Retry::new().budget(10.0);
        let near = Layers::new().and(retry.clone());
        let near = near.and(RequireAck::handled(Duration::from_secs(5)));
        let (server, sessions) = stage(&url, limit, &[near]).await;
        let socket = sessions[0].of("/").unwrap();
        let numbers: Vec<usize> = (0..30).collect();
        let emits = numbers.iter().map(|number| socket.emit("echo", number));
        assert!(within(all(emits)).await.iter().all(Result::is_ok), "{url}");
        assert_eq!(server.stats().handled, 30);
        assert!(retry.stats().repeated >= 20, "{url} {:?}", retry.stats());
    }
}
