//! The listeners of one event: its namespace's, then its socket's own.

use crate::protocol::Payload;
use crate::socket::{Ack, Emitter, Envelope, Erased, Refusal, Reply, Socket};

/// Those who hear one event, in order.
pub(crate) struct Listeners(Vec<Erased>);

impl Listeners {
    /// Who hears events of this name by this socket, if anybody does. Those that listen once are
    /// theirs who found them.
    pub(crate) fn find(shared: &Emitter, socket: &Socket, name: &str) -> Option<Self> {
        let mut found = shared.find(name);
        let own = socket.own_emitter();
        if let Some(own) = own {
            found.extend(own.find(name));
        }
        if found.is_empty() {
            found.push(own.and_then(Emitter::fallback).or_else(|| shared.fallback())?);
        }
        Some(Self(found))
    }

    /// Runs them one after another. The answer is the first reply that is not `()`, else an empty
    /// one when all have finished; a refusal of any of them is the answer at once.
    pub(crate) async fn call(self, envelope: Envelope) -> Result<Ack, Refusal> {
        let mut answer = None;
        for handler in self.0 {
            let reply: Reply = handler(envelope.clone()).await;
            let reply = reply?;
            answer = answer.or(reply);
        }
        Ok(to_ack(answer))
    }
}

/// The usual case: one listener, which is the namespace's and stays.
pub(crate) fn only_listener(shared: &Emitter, socket: &Socket, name: &str) -> Option<Erased> {
    match socket.own_emitter() {
        Some(own) if !own.is_deaf_to(name) => None,
        _ => shared.find_only(name),
    }
}

/// Whether anybody hears events of this name by this socket.
pub(crate) fn hears(shared: &Emitter, socket: &Socket, name: &str) -> bool {
    let own = socket.own_emitter();
    shared.hears(name) || own.is_some_and(|own| own.hears(name))
}

/// Who hears every event of this socket.
pub(crate) fn hears_any(shared: &Emitter, socket: &Socket) -> Vec<Erased> {
    let mut any = shared.any();
    if let Some(own) = socket.own_emitter() {
        any.extend(own.any());
    }
    any
}

/// What is answered when all have replied.
pub(crate) fn to_ack(reply: Option<Payload>) -> Ack {
    reply.map_or_else(Ack::empty, Ack::new)
}
