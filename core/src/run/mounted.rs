//! A namespace that is mounted.

use crate::handler::{Blueprint, Dispatch};
use crate::room::shielded;
use crate::socket::{Layers, OnSocket, PerSession, Post, Scope, Side, Socket, Stack, States};
use std::sync::Arc;

/// A mounted namespace: its blueprint, and its layers built around it once.
pub(crate) struct Mounted {
    pub(crate) blueprint: Arc<Blueprint>,
    pub(crate) layers: Built,
    pub(crate) scope: Arc<Scope>,
    /// What its handlers share.
    pub(crate) states: Option<Arc<States>>,
    /// How many handlers of one socket may run at once.
    pub(crate) concurrent: usize,
}

impl Mounted {
    /// The scope has the outbound layers.
    pub(crate) fn new(blueprint: Arc<Blueprint>, layers: Built, scope: Scope) -> Self {
        let (states, concurrent) = (blueprint.states(), blueprint.concurrent());
        Self { blueprint, layers, scope: Arc::new(scope), states, concurrent }
    }
}

/// The layers of a namespace, built.
#[derive(Clone)]
pub(crate) struct Built {
    /// Around the listeners; `None` without layers, when these are called directly.
    pub(crate) inbound: Option<Stack>,
    /// Around emitting; `None` without layers.
    pub(crate) outbound: Option<Stack>,
    /// Those that are built for each session.
    per_session: Vec<PerSession>,
    on_begin: Arc<[OnSocket]>,
    on_end: Arc<[OnSocket]>,
}

impl Built {
    pub(crate) fn new(blueprint: &Blueprint, outer: &Layers) -> Self {
        let (layers, mut per_session) = (blueprint.layers(outer), Vec::new());
        let dispatch = || Stack::new(Dispatch(blueprint.emitter.clone()));
        let inbound = layers.around(Side::Inbound, dispatch, &mut per_session);
        let outbound = layers.around(Side::Outbound, || Stack::new(Post), &mut per_session);
        let (on_begin, on_end) = layers.told();
        let (on_begin, on_end) = (on_begin.into(), on_end.into());
        Self { inbound, outbound, per_session, on_begin, on_end }
    }

    /// Builds for a socket what is built for each session.
    pub(crate) fn begin(&self, socket: &Socket) {
        for layers in &self.per_session {
            layers.of(socket);
        }
        for tell in &*self.on_begin {
            shielded("begin", || tell(socket));
        }
    }

    /// A socket has ended.
    pub(crate) fn end(&self, socket: &Socket) {
        for tell in &*self.on_end {
            shielded("end", || tell(socket));
        }
    }
}
