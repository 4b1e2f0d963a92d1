//! What happens to sockets when a link of their session comes and goes.

use super::opening::refuse;
use super::{Role, Sockets};
use crate::handler::{ConnectRequest, Hook};
use crate::protocol::{
    Accept, Attach, DisconnectReason, EventName, Leave, NamespaceNumber, Packet, Payload,
    ProducerId,
};
use crate::run::lane::Lane;
use crate::run::reception::Standing;
use crate::socket::Moment;
use crate::transport::Peer;
use std::future::Future;
use std::sync::Arc;
use std::task::Context;

impl Sockets {
    /// The namespaces that the session is in, or on its way into.
    pub(crate) fn numbers(&self) -> Vec<NamespaceNumber> {
        let joined = self.joined.iter().filter(|joined| !joined.lane.is_over());
        joined.map(|joined| joined.client).collect()
    }

    /// Server: asks all namespaces of the session whether its client, which has come back and shows
    /// this, may be there still: what each that has an opinion says.
    pub(crate) fn authorize_again(
        &self,
        shown: Vec<(NamespaceNumber, Payload)>,
        peer: &Peer,
    ) -> Vec<impl Future<Output = Option<(NamespaceNumber, Payload)>> + Send + use<>> {
        // Who is on its way in was asked for by somebody else, as far as anybody knows.
        let joined = self.joined.iter().filter(|joined| !joined.lane.is_over());
        let decisions = joined.filter_map(|joined| {
            let (client, lane) = (joined.client, Arc::clone(&joined.lane));
            let auth = shown.iter().find(|(number, _)| *number == client);
            let auth = auth.map_or_else(Payload::empty, |(_, auth)| auth.clone());
            let states = lane.mounted.states.clone();
            let request = ConnectRequest::new(lane.socket.clone(), peer.clone(), auth, states);
            let decision = lane.mounted.blueprint.authorize(request)?;
            Some(async move {
                let decided = lane.within_time("authorize", decision).await;
                // Who cannot be decided about is not let in.
                let decided = decided.unwrap_or_else(|| Err(Payload::empty()));
                decided.err().map(|payload| (client, payload))
            })
        });
        decisions.collect()
    }

    /// Server: these namespaces do not want their client back.
    pub(crate) fn refuse_joined(&mut self, refused: Vec<(NamespaceNumber, Payload)>) {
        for (client, payload) in refused {
            self.some_refused = true;
            if let Some(lane) = self.find(client) {
                self.forget(lane, DisconnectReason::Refused);
                refuse(&self.core, client, payload);
            }
        }
    }

    /// Server: the client is a new process, whose events are another producer's.
    pub(crate) fn restart(&mut self, producer: ProducerId) {
        self.peer_producer = producer;
    }

    /// Server: whether all that a new process may hear of the namespaces that the old one had asked
    /// for is that it is in them, or not any more.
    pub(crate) fn know(&self, attach: &Attach) -> bool {
        let is_odd = |lane: Arc<Lane>| lane.was_refused() || lane.socket.ended().is_some();
        !self.some_refused
            && attach
                .namespaces
                .iter()
                .all(|(client, _)| client.0 < self.asked && !self.find(*client).is_some_and(is_odd))
    }

    /// Server: tells a new process of its sockets, and of those that have ended.
    pub(crate) fn tell_again(&self, attach: &Attach) {
        for client in attach.namespaces.iter().map(|(client, _)| *client) {
            let packet = match self.find(client) {
                // It is about to hear of that, if it is let in.
                Some(lane) if !lane.has_begun() => continue,
                Some(lane) => {
                    let Ok(served) = lane.socket.served() else { continue };
                    let (server, socket) = (served.number, lane.socket.id());
                    Packet::Accept(Accept { client, server, socket })
                }
                None => Packet::Leave(Leave { client, words: EventName::from_static("") }),
            };
            let flush = self.core.mailbox.push_control(&packet);
            self.core.mailbox.flush_in_turn(flush);
        }
    }

    /// Client: a new process that has its old session again has asked for its namespaces before.
    pub(crate) fn have_asked(&mut self) {
        let Role::Client(reception) = &self.role else { return };
        reception.set_all(&Standing::Asked);
        self.asked = reception.mounts.len() as u32;
    }

    /// Ends a socket of which nothing more is written.
    pub(super) fn forget(&mut self, lane: Arc<Lane>, reason: DisconnectReason) {
        let (client, number) = (lane.socket.client(), lane.socket.number());
        lane.socket.end(reason.clone());
        if let Ok(served) = lane.socket.served() {
            served.adapter.silence(lane.socket.id());
        }
        self.core.mailbox.close_namespace(number);
        if let Some(lane) = self.take(client) {
            self.end_one(lane, reason);
        }
    }

    /// Has the hooks of a link run, behind those before.
    pub(crate) fn tell(&mut self, which: Hook, moment: &Moment) {
        for joined in &self.joined {
            if joined.lane.mounted.blueprint.hook(which).is_none() {
                continue;
            }
            let hooks = self.hooks.get_or_insert_default();
            // It says that the address is another now, and that is asked for when it runs. A peer
            // that moves often is not to keep out the hooks of links.
            let is_this = |(lane, waiting, _): &(Arc<Lane>, Hook, Moment)| {
                *waiting == which && Arc::ptr_eq(lane, &joined.lane)
            };
            if which == Hook::PathChange && hooks.waiting.iter().any(is_this) {
                continue;
            }
            if hooks.waiting.len() >= self.config.link_hooks_max {
                tracing::warn!(
                    hook = which.name(),
                    "the hooks of links are too slow: one is missed"
                );
                continue;
            }
            hooks.waiting.push_back((Arc::clone(&joined.lane), which, moment.clone()));
        }
    }

    /// Runs the hooks of links, one after another.
    pub(crate) fn poll_hooks(&mut self, cx: &mut Context<'_>) {
        while let Some(hooks) = &mut self.hooks {
            if hooks.running.poll_join_next(cx).is_pending() {
                return;
            }
            match hooks.waiting.pop_front() {
                Some((lane, which, moment)) => drop(hooks.running.spawn(lane.tell(which, moment))),
                None => self.hooks = None,
            }
        }
    }
}
