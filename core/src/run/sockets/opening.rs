//! How a socket begins, or does not.

use crate::handler::{ConnectRequest, Hook};
use crate::protocol::{Accept, DisconnectReason, NamespaceNumber, Packet, Payload, Refuse};
use crate::run::guard::catch_panic;
use crate::run::lane::Lane;
use crate::run::reception::Reception;
use crate::socket::{Moment, SessionCore};
use std::future::Future;
use std::sync::Arc;

/// A socket whose beginning panics has not begun, and none of its events is handled.
pub(super) async fn or_fail(
    lane: Arc<Lane>,
    open: impl Future<Output = bool> + Send + 'static,
) -> bool {
    if let Some(opened) = catch_panic(open).await {
        return opened;
    }
    lane.socket.counters().count(1, |counters| &counters.panics);
    if lane.socket.end(DisconnectReason::HookFailed) {
        let core = lane.socket.session();
        if lane.has_begun() {
            core.mailbox.ask_to_leave(lane.socket.id(), "");
        } else if lane.socket.served().is_ok() {
            refuse(core, lane.socket.client(), Payload::empty());
        }
    }
    false
}

/// Server: decides, accepts, and runs the first hook. Events of the socket wait behind it.
pub(super) async fn let_in(lane: Arc<Lane>, auth: Payload) -> bool {
    let (socket, core) = (&lane.socket, lane.socket.session());
    let mounted = &lane.mounted;
    let (peer, states) = (core.peer(), mounted.states.clone());
    let request = ConnectRequest::new(socket.clone(), peer, auth.clone(), states);
    if let Some(decision) = mounted.blueprint.authorize(request) {
        let decided = lane.within_time("authorize", decision).await;
        // Who cannot be decided about is not let in.
        if let Err(payload) = decided.unwrap_or_else(|| Err(Payload::empty())) {
            socket.end(DisconnectReason::Refused);
            lane.let_go();
            refuse(core, socket.client(), payload);
            return false;
        }
    }
    if !lane.begin() {
        return false;
    }
    if let Ok(served) = socket.served() {
        let accept = Accept { client: socket.client(), server: served.number, socket: socket.id() };
        // In this order, so that nothing said to its rooms is written before the accept.
        let flush = core.mailbox.push_control(&Packet::Accept(accept));
        served.insert(socket);
        served.adapter.add(socket.id(), Arc::clone(&core.mailbox));
        core.mailbox.flush_in_turn(flush);
        if lane.is_over() || socket.ended().is_some() {
            // Its end may have come, and removed it, just before it was added.
            lane.leave_rooms();
        }
    }
    greet(&lane, auth).await
}

/// Client: runs the first hook, then shows the socket to whoever waits for it.
pub(super) async fn come_in(lane: Arc<Lane>, reception: Arc<Reception>) -> bool {
    let is_in = lane.begin() && greet(&lane, Payload::empty()).await;
    if is_in {
        reception.join(&lane.socket);
    }
    is_in
}

/// The hook of a beginning. A socket whose hook fails ends, and none of its events is handled.
async fn greet(lane: &Arc<Lane>, auth: Payload) -> bool {
    // From here on something may be emitted to it.
    lane.mounted.layers.begin(&lane.socket);
    let Some(hook) = lane.mounted.blueprint.hook(Hook::Connect) else { return true };
    let greeted = lane.run_hook(Hook::Connect, hook, auth, Moment::Begin).await;
    let Err(words) = greeted else { return true };
    if lane.socket.end(DisconnectReason::HookFailed) {
        if let Ok(served) = lane.socket.served() {
            served.adapter.silence(lane.socket.id());
        }
        let words = words.unwrap_or_else(|| DisconnectReason::HookFailed.to_string());
        lane.socket.session().mailbox.ask_to_leave(lane.socket.id(), &words);
    }
    false
}

/// A reason in words, for the peer.
pub(super) fn words(reason: &str) -> Payload {
    Payload::encode(reason).unwrap_or_default()
}

pub(super) fn refuse(core: &SessionCore, client: NamespaceNumber, payload: Payload) {
    let fits = payload.len() <= core.event_bytes_max;
    let payload = if fits { payload } else { Payload::empty() };
    let flush = core.mailbox.push_control(&Packet::Refuse(Refuse { client, payload }));
    core.mailbox.flush_in_turn(flush);
}
