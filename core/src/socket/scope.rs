//! What all sockets of a namespace share.

use super::core::Producer;
use super::outgoing::Outgoing;
use super::{Socket, Stack, WeakSocket};
use crate::protocol::{NamespaceNumber, SocketId};
use crate::room::{AckTable, Adapter, Counters};
use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// A mounted namespace as its sockets see it, at either end. It holds none of its listeners, which
/// may hold sockets.
pub(crate) struct Scope {
    pub(crate) path: Arc<str>,
    /// What a pattern of a path caught, by name.
    pub(crate) captures: Box<[(Box<str>, Box<str>)]>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) outgoing: Arc<Outgoing>,
    /// The types of state that its handlers may ask for.
    pub(crate) states: Arc<[TypeId]>,
    /// The layers that what is emitted goes through, if there are any.
    pub(crate) outbound: Option<Stack>,
    /// On servers only.
    pub(crate) served: Option<Served>,
}

/// What only a server's namespaces have.
pub(crate) struct Served {
    pub(crate) number: NamespaceNumber,
    pub(crate) adapter: Arc<dyn Adapter>,
    pub(crate) producer: Arc<Producer>,
    pub(crate) acks: Arc<AckTable>,
    pub(crate) event_bytes_max: usize,
    pub(crate) ack_timeout: Duration,
    pub(crate) sockets: RwLock<HashMap<SocketId, WeakSocket>>,
}

impl Served {
    /// A socket of this node, if it lives.
    pub(crate) fn socket(&self, id: SocketId) -> Option<Socket> {
        let sockets = self.sockets.read().unwrap_or_else(PoisonError::into_inner);
        sockets.get(&id).and_then(WeakSocket::upgrade)
    }

    pub(crate) fn insert(&self, socket: &Socket) {
        let mut sockets = self.sockets.write().unwrap_or_else(PoisonError::into_inner);
        sockets.insert(socket.id(), socket.downgrade());
    }

    pub(crate) fn remove(&self, id: SocketId) {
        self.sockets.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

impl std::fmt::Debug for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scope").field("path", &self.path).finish_non_exhaustive()
    }
}
