//! Two ends with layers, a wire between them that can be cut, and layers to look with.

use super::support::{becomes, fresh_mem, within};
use super::*;
use emitwire::{Chaos, Direction, EventService, Memory, Stats};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::Semaphore;
use tower::layer::layer_fn;
use tower::retry::Policy;
use tower::util::{MapRequestLayer, service_fn};
use tower_layer::Layer;
use tower_service::Service;

/// A server with one client.
pub(crate) struct Duo {
    pub(crate) server: Server,
    pub(crate) session: Session,
    pub(crate) wire: Chaos<Memory>,
}

/// A server of one namespace, and a client of it.
pub(crate) async fn duo(far: Namespace, near: Namespace) -> Duo {
    Duo::with(Config::default(), (Layers::new(), far), (Layers::new(), near)).await
}

impl Duo {
    /// With layers of the server and of the client; the limits hold for both.
    pub(crate) async fn with(
        config: Config,
        (outer_far, far): (Layers, Namespace),
        (outer_near, near): (Layers, Namespace),
    ) -> Self {
        let server = Server::with_config(config.clone()).layers(outer_far).mount(far).unwrap();
        let name = fresh_mem().replace("mem://", "");
        within(server.listen(Memory::new(&*name))).await.unwrap();
        let wire = Chaos::new(Memory::new(&*name), 7);
        let client = Client::new(wire.clone()).config(config).layers(outer_near).mount(near);
        let session = within(client.connect()).await.unwrap();
        becomes(|| server.stats().sockets, 1).await;
        Self { server, session, wire }
    }

    /// The client's socket.
    pub(crate) fn near(&self) -> Socket {
        self.session.of("/").unwrap()
    }

    /// The same socket on the server.
    pub(crate) fn far(&self) -> Socket {
        self.server.socket("/", self.near().id()).unwrap()
    }

    /// One more client of the same server.
    pub(crate) async fn join(&self, near: Namespace) -> Session {
        let sockets = self.server.stats().sockets;
        let session = within(Client::new(self.wire.clone()).mount(near).connect()).await.unwrap();
        becomes(|| self.server.stats().sockets, sockets + 1).await;
        session
    }

    /// Breaks the link, lets none be made, and waits until both ends know.
    pub(crate) async fn cut(&self) {
        self.wire.sever();
        self.wire.cut(Direction::Both);
        becomes(|| self.session.is_attached(), false).await;
        becomes(|| self.server.stats().detached, self.server.stats().sessions).await;
    }

    /// Lets links be made, and waits until the client has one.
    pub(crate) async fn heal(&self) {
        self.wire.heal(Direction::Both);
        becomes(|| self.session.is_attached(), true).await;
    }
}

/// Waits until the law of conservation holds at one end: each event that was accepted is received,
/// waits, is removed, or is in doubt.
pub(crate) async fn law(stats: impl Fn() -> Stats) {
    let open = || {
        let now = stats();
        let removed = now.lost + now.overflowed + now.superseded + now.in_doubt;
        now.events_out as i64 - (now.received + now.waiting + removed) as i64
    };
    // What was written is received when a position says so, which is asked for by what is emitted.
    becomes(open, 0).await;
}

/// `[events_out, received, superseded, withdrawn]`.
pub(crate) type Stats4 = [u64; 4];

/// Lines in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn note(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// What was noted since the last time.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// A layer that notes each event that comes by, and each answer.
#[derive(Clone)]
pub(crate) struct Watch(pub(crate) &'static str, pub(crate) Log);

#[derive(Clone)]
pub(crate) struct Watched<S> {
    watch: Watch,
    inner: S,
}

impl<S> Layer<S> for Watch {
    type Service = Watched<S>;

    fn layer(&self, inner: S) -> Watched<S> {
        Watched { watch: self.clone(), inner }
    }
}

type Answer<E> = Pin<Box<dyn Future<Output = Result<Ack, E>> + Send>>;

impl<S> Service<Envelope> for Watched<S>
where
    S: Service<Envelope, Response = Ack, Future: Send + 'static>,
{
    type Response = Ack;
    type Error = S::Error;
    type Future = Answer<S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, envelope: Envelope) -> Self::Future {
        let Watch(name, log) = self.watch.clone();
        log.note(format!("{name}: {}", envelope.event().name));
        let called = self.inner.call(envelope);
        Box::pin(async move {
            let result = called.await;
            log.note(format!("{name} {}", if result.is_ok() { "done" } else { "failed" }));
            result
        })
    }
}

/// A layer made of what it does with the service inside and an event.
pub(crate) fn around<F, Fut>(
    f: F,
) -> impl Layer<Stack, Service: EventService> + Clone + Send + Sync + 'static
where
    F: Fn(Stack, Envelope) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Ack, BoxError>> + Send + 'static,
{
    layer_fn(move |inner: Stack| {
        let f = f.clone();
        service_fn(move |envelope| f(inner.clone(), envelope))
    })
}

/// A layer that lets nothing by.
pub(crate) fn refuses(
    error: impl Fn() -> BoxError + Clone + Send + Sync + 'static,
) -> impl Layer<Stack, Service: EventService> + Clone + Send + Sync + 'static {
    around(move |_, _| std::future::ready(Err(error())))
}

/// A layer that wants more than the emitter.
pub(crate) fn raises(
    level: Level,
) -> impl Layer<Stack, Service: EventService> + Clone + Send + Sync + 'static {
    MapRequestLayer::new(move |mut envelope: Envelope| {
        envelope.raise_level(level);
        envelope
    })
}

/// A layer by which an attempt takes no longer than this.
pub(crate) fn attempts_of(
    longest: Duration,
) -> impl Layer<Stack, Service: EventService> + Clone + Send + Sync + 'static {
    MapRequestLayer::new(move |mut envelope: Envelope| {
        envelope.set_attempt_max(longest);
        envelope
    })
}

/// A policy of `RetryLayer`: so many more attempts, so far apart at least.
#[derive(Clone)]
pub(crate) struct Again {
    pub(crate) left: usize,
    pub(crate) backoff: Duration,
    /// Told of each wait.
    pub(crate) log: Log,
}

impl Again {
    pub(crate) fn times(left: usize, backoff: Duration) -> Self {
        Self { left, backoff, log: Log::default() }
    }
}

impl Policy<Envelope, Ack, BoxError> for Again {
    type Future = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn retry(
        &mut self,
        _: &mut Envelope,
        result: &mut Result<Ack, BoxError>,
    ) -> Option<Self::Future> {
        let after = match result {
            Ok(ack) if ack.missing().is_empty() => return None,
            Ok(ack) => ack.retry_after(),
            Err(error) => match Remedy::of(&**error) {
                Remedy::Repeat { after } => after,
                _ => return None,
            },
        };
        self.left = self.left.checked_sub(1)?;
        self.log.note(format!("{after:?}"));
        Some(Box::pin(sleep(self.backoff.max(after))))
    }

    fn clone_request(&mut self, envelope: &Envelope) -> Option<Envelope> {
        Some(envelope.clone())
    }
}

/// What handlers, or layers, wait at.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Gate {
    pub(crate) fn shut() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets so many pass.
    pub(crate) fn open(&self, count: usize) {
        self.0.add_permits(count);
    }

    pub(crate) async fn pass(self) {
        self.0.acquire().await.unwrap().forget();
    }

    /// A layer that waits here before it goes on.
    pub(crate) fn layer(
        &self,
    ) -> impl Layer<Stack, Service: EventService> + Clone + Send + Sync + 'static {
        let gate = self.clone();
        around(move |inner, envelope| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                inner.oneshot(envelope).await
            }
        })
    }

    /// A namespace whose `slow` waits here and answers with its number, after noting it.
    pub(crate) fn slow(&self, log: &Log) -> Namespace {
        let (gate, log) = (self.clone(), log.clone());
        Namespace::new("/").concurrent(64).on("slow", move |Data(number): Data<u64>| {
            let (gate, log) = (gate.clone(), log.clone());
            async move {
                log.note(number.to_string());
                gate.pass().await;
                number
            }
        })
    }
}

/// Polls a future in a task until it has waited for something, and gives the task.
pub(crate) async fn begins<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    let task = tokio::spawn(future);
    // On one thread, whoever yields lets all others be polled.
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
    task
}
