//! `Trace` over a real namespace: what it says, and that it changes no answer.
#![allow(clippy::unwrap_used)] // a test may panic anywhere

use emitwire_core::handler::{Data, Namespace};
use emitwire_core::protocol::Nak;
use emitwire_core::run::{Client, Server};
use emitwire_core::socket::AckError;
use emitwire_core::socket::Refusal;
use emitwire_core::transport::Memory;
use emitwire_middleware::Trace;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Keeps every line and every span of this crate as text.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("emitwire_middleware")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut text = Text(format!("span {}", span.metadata().name()));
        span.record(&mut text);
        self.0.lock().unwrap().push(text.0);
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        let mut text = Text(self.0.lock().unwrap().pop().unwrap_or_default());
        values.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::from("line"));
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn a_span_names_the_event_and_a_line_says_how_it_went_without_its_payload() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let chat = Namespace::new("/chat")
        .on("say", |Data(text): Data<String>| async move { text.len() })
        .on("no", || async { Err::<(), _>(Refusal::with(&"never")) })
        .layers(Trace::new());
    let server = Server::new().mount(chat).unwrap();
    server.listen(Memory::new("trace")).await.unwrap();
    let trace = Namespace::new("/chat").layers(Trace::new());
    let client = Client::new(Memory::new("trace")).mount(trace);
    let session = client.connect().await.unwrap();
    let socket = session.of("/chat").unwrap();

    let length: usize = socket.emit("say", "secret").ack().await.unwrap();
    assert_eq!(length, 6);
    let refused = socket.emit("no", &()).ack::<()>().await;
    assert!(matches!(refused, Err(AckError::Refused(Nak::Rejected(_)))), "{refused:?}");

    let lines = lines.0.lock().unwrap();
    let [emitted, come, handled, answered, no, _, refused, told] = &lines[..] else {
        panic!("{lines:#?}")
    };
    for (said, name) in [(emitted, "span emit"), (come, "span handle")] {
        for part in [name, "namespace=\"/chat\"", "event=say", "socket=", "id="] {
            assert!(said.contains(part), "{said} has no {part}");
        }
    }
    let id = |line: &str| line.split(" id=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    assert_eq!(id(emitted), id(come), "one event has one id at both ends");
    for line in [handled, answered] {
        assert!(line.contains("done") && line.contains("elapsed_us"), "{line}");
    }
    assert!(no.contains("event=no"), "{no}");
    for line in [refused, told] {
        assert!(line.contains("failed") && line.contains("rejected"), "{line}");
    }
    assert!(!lines.iter().any(|line| line.contains("secret")), "{lines:#?}");
}
