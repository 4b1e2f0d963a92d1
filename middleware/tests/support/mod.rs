//! A socket to emit to, events for it, and what stands inside a layer.

#![allow(dead_code, reason = "no suite uses all of it")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use emitwire_core::handler::Namespace;
use emitwire_core::protocol::{Event, EventId, EventName, Payload, ProducerId};
use emitwire_core::run::{Server, testing};
use emitwire_core::socket::{Ack, BoxError, Envelope, EventService, Socket, Stack, boxed};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::time::Instant;
use tower::{ServiceExt, service_fn};
use tower_layer::Layer;

/// A client's socket, with all that it needs to live.
pub(crate) struct Peer {
    pub(crate) server: Server,
    pub(crate) socket: Socket,
    _guest: testing::Guest,
}

impl Peer {
    pub(crate) async fn new() -> Self {
        let server = Server::new().mount(Namespace::new("/")).unwrap();
        let guest = testing::connect(&server, "/").await;
        let socket = (*guest).clone();
        Self { server, socket, _guest: guest }
    }

    /// An event that goes out to it.
    pub(crate) fn outbound(&self, name: &str) -> Envelope {
        Envelope::to(&self.socket, event(name, fresh_id()))
    }

    /// An event that has come by it.
    pub(crate) fn inbound(&self, name: &str) -> Envelope {
        Envelope::new(self.socket.clone(), event(name, fresh_id()))
    }
}

pub(crate) fn event(name: &str, id: EventId) -> Event {
    Event::new(id, EventName::from(name), Payload::encode(name).unwrap())
}

pub(crate) fn fresh_id() -> EventId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    EventId { producer: ProducerId(7), number: NEXT.fetch_add(1, Ordering::Relaxed) }
}

/// What was called, in order.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<Vec<(Instant, Envelope)>>>);

impl Calls {
    pub(crate) fn names(&self) -> Vec<String> {
        self.all().iter().map(|envelope| envelope.event().name.to_string()).collect()
    }

    pub(crate) fn ids(&self) -> Vec<EventId> {
        self.all().iter().map(|envelope| envelope.event().id).collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub(crate) fn all(&self) -> Vec<Envelope> {
        self.0.lock().unwrap().iter().map(|(_, envelope)| envelope.clone()).collect()
    }

    pub(crate) fn times(&self) -> Vec<Instant> {
        self.0.lock().unwrap().iter().map(|(at, _)| *at).collect()
    }
}

/// A layer around something that answers by `answer`, which is told how many calls came before.
pub(crate) fn around<L>(layer: L, answer: impl AsyncAnswer) -> (Stack, Calls)
where
    L: Layer<Stack, Service: EventService>,
{
    let calls = Calls::default();
    let seen = calls.clone();
    let answer = Arc::new(answer);
    let inner = service_fn(move |envelope: Envelope| {
        let before = {
            let mut seen = seen.0.lock().unwrap();
            seen.push((Instant::now(), envelope.clone()));
            seen.len() - 1
        };
        let answer = Arc::clone(&answer);
        async move { answer.answer(before, envelope).await }
    });
    (boxed(layer.layer(boxed(inner))), calls)
}

/// What stands inside a layer.
pub(crate) trait AsyncAnswer: Send + Sync + 'static {
    fn answer(
        &self,
        before: usize,
        envelope: Envelope,
    ) -> impl Future<Output = Result<Ack, BoxError>> + Send;
}

impl<F, Fut> AsyncAnswer for F
where
    F: Fn(usize, Envelope) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Ack, BoxError>> + Send,
{
    fn answer(
        &self,
        before: usize,
        envelope: Envelope,
    ) -> impl Future<Output = Result<Ack, BoxError>> + Send {
        self(before, envelope)
    }
}

pub(crate) async fn call(stack: &Stack, envelope: Envelope) -> Result<Ack, BoxError> {
    testing::within(stack.clone().oneshot(envelope)).await
}

/// Lets everything happen that can without time passing.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
