//! The emitter: which listeners an event has.

use super::{Erased, Refusal, Reply};
use crate::protocol::{EventName, Payload};
use crate::socket::{Ack, Envelope};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;

/// The only table of handlers: event name → listeners, in order of registration.
pub(crate) struct Emitter {
    table: RwLock<Table>,
    /// Told whenever a listener is added: parked events look again.
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Table {
    named: HashMap<EventName, Arc<[Listener]>>,
    any: Arc<[Erased]>,
    fallback: Option<Erased>,
}

#[derive(Clone)]
struct Listener {
    handler: Erased,
    once: bool,
}

/// The listeners of one event.
pub(crate) struct Listeners {
    named: Arc<[Listener]>,
    fallback: Option<Erased>,
}

impl Default for Emitter {
    fn default() -> Self {
        Self { table: RwLock::default(), changed: watch::Sender::new(()) }
    }
}

impl Emitter {
    /// Adds a listener behind those that the name already has.
    pub(crate) fn on(&self, name: EventName, handler: Erased, once: bool) {
        {
            let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
            let listeners = table.named.entry(name).or_insert_with(|| Arc::new([]));
            *listeners = listeners.iter().cloned().chain([Listener { handler, once }]).collect();
        }
        self.changed.send_replace(());
    }

    /// Adds a listener that hears every event.
    pub(crate) fn on_any(&self, handler: Erased) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.any = table.any.iter().cloned().chain([handler]).collect();
    }

    /// Sets who answers what has no other listener.
    pub(crate) fn fallback(&self, handler: Erased) {
        self.table.write().unwrap_or_else(PoisonError::into_inner).fallback = Some(handler);
        self.changed.send_replace(());
    }

    /// The listeners of `name`, if it has any. Those that listen once are theirs who found them.
    pub(crate) fn find(&self, name: &str) -> Option<Listeners> {
        let named = {
            let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
            match table.named.get(name) {
                Some(named) => Arc::clone(named),
                None => {
                    let fallback = Some(table.fallback.clone()?);
                    return Some(Listeners { named: Arc::new([]), fallback });
                }
            }
        };
        if named.iter().any(|listener| listener.once) {
            return self.take(name);
        }
        Some(Listeners { named, fallback: None })
    }

    /// The listener of `name`, if it is the only one and listens always, and nobody hears
    /// everything: such an event costs nothing but its handler.
    pub(crate) fn find_only(&self, name: &str) -> Option<Erased> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        if !table.any.is_empty() {
            return None;
        }
        match table.named.get(name).map(|named| &**named) {
            Some([only]) if !only.once => Some(Arc::clone(&only.handler)),
            Some(_) => None,
            None => table.fallback.clone(),
        }
    }

    /// Whether `name` has a listener now.
    pub(crate) fn hears(&self, name: &str) -> bool {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.fallback.is_some() || table.named.contains_key(name)
    }

    /// Who hears every event, if anybody does.
    pub(crate) fn any(&self) -> Option<Arc<[Erased]>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        (!table.any.is_empty()).then(|| Arc::clone(&table.any))
    }

    /// Told whenever a listener is added.
    pub(crate) fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// As `find`, under the write lock, removing those that listen once.
    fn take(&self, name: &str) -> Option<Listeners> {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let Some(found) = table.named.get(name).cloned() else {
            let fallback = Some(table.fallback.clone()?);
            return Some(Listeners { named: Arc::new([]), fallback });
        };
        let kept: Arc<[Listener]> =
            found.iter().filter(|listener| !listener.once).cloned().collect();
        if kept.is_empty() {
            table.named.remove(name);
        } else if let Some(named) = table.named.get_mut(name) {
            *named = kept;
        }
        Some(Listeners { named: found, fallback: None })
    }
}

impl Listeners {
    /// Runs them one after another. The answer is the first reply that is not `()`, else an empty
    /// one when all have finished; a refusal of any of them is the answer at once.
    pub(crate) async fn call(self, envelope: Envelope) -> Result<Ack, Refusal> {
        let mut answer = None;
        let handlers = self.named.iter().map(|listener| &listener.handler).chain(&self.fallback);
        for handler in handlers {
            let reply: Reply = handler(envelope.clone()).await;
            let reply = reply?;
            answer = answer.or(reply);
        }
        Ok(to_ack(answer))
    }
}

/// What is answered when all have replied.
pub(crate) fn to_ack(reply: Option<Payload>) -> Ack {
    reply.map_or_else(Ack::empty, Ack::new)
}
