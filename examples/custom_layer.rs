//! A layer of one's own, in both directions: by tower's traits, and the same by a function.
//!
//! ```text
//! $ cargo run --example custom_layer
//! out said: ok
//! in  say: ok
//! in  shout: the handler failed
//! out news: ok
//! by a function: the same
//! ```

use emitwire::middleware::{Next, from_fn};
use emitwire::testing::{self, within};
use emitwire::{Ack, BoxError, Envelope, EventService, Layers, Namespace, Server, Socket};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tower::{Layer, Service};

/// An audit log: which events go which way, and what becomes of them.
#[derive(Clone, Default)]
struct Audit(Arc<Mutex<Vec<String>>>); // clones share the book

impl Audit {
    fn note(&self, envelope: &Envelope, result: &Result<Ack, BoxError>) {
        let way = if envelope.is_outbound() { "out" } else { "in " };
        let said = result.as_ref().map_or_else(ToString::to_string, |_| "ok".to_owned());
        let line = format!("{way} {}: {said}", envelope.event().name);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn book(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<S> Layer<S> for Audit {
    type Service = Audited<S>;
    fn layer(&self, inner: S) -> Audited<S> {
        Audited { inner, audit: self.clone() }
    }
}

/// Cloned for each event, with all that is inside it.
#[derive(Clone)]
struct Audited<S> {
    inner: S,
    audit: Audit,
}

impl<S: EventService> Service<Envelope> for Audited<S> {
    type Response = Ack;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Ack, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, envelope: Envelope) -> Self::Future {
        let (audit, call) = (self.audit.clone(), self.inner.call(envelope.clone()));
        Box::pin(async move {
            let result = call.await.map_err(Into::into);
            audit.note(&envelope, &result);
            result
        })
    }
}

async fn audited(audit: Audit, envelope: Envelope, next: Next) -> Result<Ack, BoxError> {
    let result = next.run(envelope.clone()).await;
    audit.note(&envelope, &result);
    result
}

/// The same conversation under any layers.
async fn talk(layers: Layers) -> Result<(), BoxError> {
    let chat = Namespace::new("/")
        .on("say", |socket: Socket| async move { socket.emit("said", "it").await })
        .on("shout", || async { Err::<(), _>(std::fmt::Error) });
    let server = Server::new().mount(chat.layers(layers))?;
    let guests = [testing::connect(&server, "/").await, testing::connect(&server, "/").await];
    within(guests[0].emit("say", &()).ack::<()>()).await?;
    assert!(within(guests[0].emit("shout", &()).ack::<()>()).await.is_err());
    server.of("/").emit("news", "for all").await?; // a broadcast passes once
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (one, other) = (Audit::default(), Audit::default());
    talk(Layers::new().inbound(one.clone()).outbound(one.clone())).await?;
    let book = one.book();
    book.iter().for_each(|line| println!("{line}"));
    assert_eq!(
        book,
        ["out said: ok", "in  say: ok", "in  shout: the handler failed", "out news: ok"]
    );

    let function = |audit: Audit| from_fn(move |event, next| audited(audit.clone(), event, next));
    talk(Layers::new().inbound(function(other.clone())).outbound(function(other.clone()))).await?;
    println!("by a function: {}", if book == other.book() { "the same" } else { "not the same" });
    assert_eq!(book, other.book());
    Ok(())
}
