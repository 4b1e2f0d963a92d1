//! What both sides listen to: whatever they hear is taken down, and answered by its kind.

use super::engine;
use super::history::{Kind, Recorder, Side, What};
use super::speech::{self, Words};
use emitwire::{DisconnectReason, Event, Namespace, Refusal, Socket};
use std::sync::Arc;
use std::time::Duration;

/// What is listened to from the beginning.
const HEARD: [Kind; 7] =
    [Kind::Say, Kind::Slow, Kind::Fail, Kind::Spot, Kind::Blink, Kind::Join, Kind::Leave];

/// What a handler replies to an event.
pub(crate) fn reply_to(event: u64) -> u64 {
    3 * event + 1
}

/// The ears of one side.
pub(crate) struct Ears {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) side: Side,
}

impl Ears {
    /// A namespace that hears everything, with as many handlers of a socket at once.
    pub(crate) fn namespace(self: &Arc<Self>, path: &'static str, concurrent: usize) -> Namespace {
        let (begins, ends, sees) = (Arc::clone(self), Arc::clone(self), Arc::clone(self));
        let mut namespace = Namespace::new(path)
            .concurrent(concurrent)
            .on_connect(move |socket: Socket| {
                begins.begin(&socket, path);
                async {}
            })
            .on_disconnect(move |socket: Socket, reason: DisconnectReason| {
                let (side, socket) = (ends.side, ends.recorder.label(socket.id()));
                let reason = reason.to_string();
                ends.recorder.note(What::Ended { side, socket, reason });
                async {}
            })
            .on_any_outgoing(move |event| sees.see(event));
        for kind in HEARD {
            let ears = Arc::clone(self);
            namespace = namespace.on(kind.name(), move |socket: Socket, event: Event| {
                Arc::clone(&ears).hear(kind, socket, event)
            });
        }
        engine::listen_to_links(namespace, &self.recorder, self.side)
    }

    fn begin(self: &Arc<Self>, socket: &Socket, path: &'static str) {
        let label = self.recorder.label(socket.id());
        self.recorder.note(What::Began { side: self.side, socket: label, path });
        let (ears, socket) = (Arc::clone(self), socket.clone());
        tokio::spawn(async move {
            let after = 200 + u64::from(label) * 613 % 3500;
            tokio::time::sleep(Duration::from_millis(after)).await;
            // Its socket may have ended meanwhile.
            let _ = socket.on(Kind::Late.name(), move |socket: Socket, event: Event| {
                Arc::clone(&ears).hear(Kind::Late, socket, event)
            });
        });
    }

    /// Something to one socket was accepted. What is said to many is taken down where it is said.
    fn see(&self, event: &Event) {
        let words: Words = event.payload.decode().unwrap();
        self.recorder.name(words.number, event.id);
        if !event.volatile && !words.to_many {
            self.recorder.note(What::Accepted { event: words.number });
        }
    }

    async fn hear(
        self: Arc<Self>,
        kind: Kind,
        socket: Socket,
        event: Event,
    ) -> Result<u64, Refusal> {
        let words: Words = event.payload.decode().unwrap();
        let (event, at, label) = (words.number, self.side, self.recorder.label(socket.id()));
        self.recorder.note(What::Started { event, at, socket: label });
        match kind {
            Kind::Slow => tokio::time::sleep(Duration::from_millis(1 + event * 7 % 60)).await,
            Kind::Join => socket.join(speech::room(words.room)).await?,
            Kind::Leave => socket.leave(speech::room(words.room)).await?,
            _ => {}
        }
        if at == Side::Server && words.is_to_be_passed_on {
            let to = socket.to(speech::room(words.room));
            speech::say_to_many(&self.recorder, &to, Kind::Say, None, words.filler.len()).await;
        }
        self.recorder.note(What::Finished { event, at, socket: label });
        if kind == Kind::Fail { Err(Refusal::with("no")) } else { Ok(reply_to(event)) }
    }
}
