//! The way out through layers: what an emit enters, and what stands innermost.

use super::attempts::{Attempts, Target};
use super::core::moment_after;
use super::emit::Offer;
use super::emit_ack::Asking;
use super::emit_received::Delivering;
use super::{Accepting, Ack, AckError, BoxError, EmitError, Envelope, Level, Scope, Socket, Stack};
use crate::protocol::{Event, EventPacket, EventRef, NamespaceNumber, Packet, ProducerId};
use crate::room::{AckSet, LatestKey, Parted, Selection, Shared};
use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tower::ServiceExt;
use tower_service::Service;

type Call = Pin<Box<dyn Future<Output = Result<Ack, BoxError>> + Send>>;

/// An emit on its way through the layers. Dropped before its event was accepted, it is withdrawn.
pub(super) struct Layered {
    call: Option<Call>,
    attempts: Arc<Attempts>,
    /// When whoever emitted gives up, whatever the layers wait for.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Layered {
    pub(super) fn new(stack: &Stack, event: Event, level: Level, attempts: Attempts) -> Self {
        let attempts = Arc::new(attempts);
        let envelope = Envelope::outbound(event, level, Arc::clone(&attempts));
        let call: Call = Box::pin(stack.clone().oneshot(envelope));
        let deadline = attempts.deadline().map(|deadline| Box::pin(sleep_until(deadline)));
        Self { call: Some(call), attempts, deadline }
    }

    pub(super) fn attempts(&self) -> &Arc<Attempts> {
        &self.attempts
    }

    /// How long ago it began.
    pub(super) fn elapsed(&self) -> Duration {
        self.attempts.began().elapsed()
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Ack, BoxError>> {
        let Some(call) = &mut self.call else { panic!("polled after it was ready") };
        let result = match call.as_mut().poll(cx) {
            Poll::Ready(result) => result,
            Poll::Pending => {
                let Some(deadline) = &mut self.deadline else { return Poll::Pending };
                ready!(deadline.as_mut().poll(cx));
                Err(self.too_late().into())
            }
        };
        self.call = None;
        Poll::Ready(result)
    }

    fn too_late(&self) -> AckError {
        match self.attempts.is_kept() {
            true => AckError::Timeout { after: self.elapsed() },
            false => EmitError::Full { waited: self.elapsed() }.into(),
        }
    }

    /// Without waiting: what the layers still have to do goes on by itself, if the event has been
    /// accepted.
    pub(super) fn now(mut self) -> Result<(), EmitError> {
        match self.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result.map(|_| ()).map_err(EmitError::of_layers),
            Poll::Pending if self.attempts.is_kept() => {
                if let (Ok(runtime), Some(call)) = (Handle::try_current(), self.call.take()) {
                    runtime.spawn(call);
                }
                Ok(())
            }
            Poll::Pending => Err(EmitError::Full { waited: Duration::ZERO }),
        }
    }
}

impl Drop for Layered {
    fn drop(&mut self) {
        if self.call.take().is_some() && !self.attempts.is_kept() {
            self.attempts.scope().counters.count(1, |counters| &counters.withdrawn);
        }
    }
}

/// The innermost service on the way out: gives an event to the mailbox of a socket, or of the
/// members of a broadcast, and waits as its level says. Always ready: whose mailbox has to have
/// room, an envelope says, so that is waited for in the call.
#[derive(Clone, Copy)]
pub(crate) struct Post;

impl Service<Envelope> for Post {
    type Response = Ack;
    type Error = BoxError;
    type Future = Call;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, envelope: Envelope) -> Call {
        Box::pin(async move {
            let Some(attempts) = envelope.attempts().map(Arc::clone) else {
                // It has come in, and somebody's layer sends it out as it is.
                return Err(EmitError::Inbound.into());
            };
            let posted = match attempts.target() {
                Target::One(socket, latest) => {
                    to_one(&envelope, &attempts, socket, latest.as_deref()).await
                }
                Target::Many(scope, selection) => {
                    to_many(&envelope, &attempts, scope, selection).await
                }
            };
            posted.map_err(Into::into)
        })
    }
}

/// How long an attempt takes that begins now, unless a layer has said so no longer than this; and
/// when it ends.
fn attempt_end(envelope: &Envelope, default: Duration) -> (Duration, Instant) {
    let end = envelope.attempt_end().unwrap_or_else(|| moment_after(default));
    let end = envelope.deadline().map_or(end, |deadline| end.min(deadline));
    (end.saturating_duration_since(Instant::now()), end)
}

async fn to_one(
    envelope: &Envelope,
    attempts: &Arc<Attempts>,
    socket: &Socket,
    latest: Option<&LatestKey>,
) -> Result<Ack, AckError> {
    let session = socket.session();
    let level = envelope.level();
    let packet = packet(envelope, socket.number(), level == Level::Handled, session.producer.id);
    let (bytes, max) = (packet.bytes(), session.event_bytes_max);
    if bytes > max {
        return Err(EmitError::TooLarge { bytes, max }.into());
    }
    socket.check_open()?;
    let default = match level {
        Level::Accepted => session.emit_wait_max,
        Level::Received | Level::Handled => session.ack_timeout,
    };
    let (after, _) = attempt_end(envelope, default);
    let offer = |packet| {
        let latest = latest.map(|latest| Box::new(latest.clone()));
        Offer::new(socket.clone(), packet, after, latest).attempt_of(Arc::clone(attempts))
    };
    let (session, epoch) = (Arc::clone(session), session.mailbox.epoch());
    let waiting = match (level, attempts.resume()) {
        (Level::Accepted, _) => {
            return Accepting::of(Ok(offer(packet)))
                .await
                .map(|()| Ack::empty())
                .map_err(Into::into);
        }
        (Level::Received, Some(Waiting::Delivering(mut left))) => {
            left.renew(after);
            Waiting::Delivering(left)
        }
        (Level::Handled, Some(Waiting::Asking(mut left))) => {
            left.renew(after);
            Waiting::Asking(left)
        }
        (Level::Received, _) => Waiting::Delivering(Delivering::new(session, offer(packet), after)),
        (Level::Handled, _) => {
            // Before it is written, so that no answer is too early.
            let (id, answer) = (envelope.event().id, session.acks.expect(envelope.event().id));
            Waiting::Asking(Asking::new(session, id, offer(packet), answer, after))
        }
    };
    let mut attempt = Attempt { waiting: Some(waiting), epoch, attempts };
    poll_fn(|cx| attempt.poll(cx, max)).await
}

/// An attempt at one socket that waits for more than acceptance.
pub(super) enum Waiting {
    Delivering(Delivering),
    Asking(Asking),
}

/// An attempt that leaves what it has begun when it is given up.
struct Attempt<'a> {
    waiting: Option<Waiting>,
    /// Who the peer was before it was begun.
    epoch: u32,
    attempts: &'a Attempts,
}

impl Attempt<'_> {
    fn poll(&mut self, cx: &mut Context<'_>, bytes_max: usize) -> Poll<Result<Ack, AckError>> {
        let result = match &mut self.waiting {
            Some(Waiting::Delivering(delivering)) => {
                ready!(delivering.poll(cx)).map(|()| Ack::empty()).map_err(AckError::from)
            }
            Some(Waiting::Asking(asking)) => ready!(asking.poll(cx))
                .and_then(|answer| AckError::of_answer(answer, bytes_max))
                .map(Ack::new),
            None => panic!("polled after it was ready"),
        };
        if !matches!(result, Err(AckError::Timeout { .. })) {
            self.waiting = None;
        }
        Poll::Ready(result)
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let Some(waiting) = self.waiting.take() else { return };
        let is_accepted = match &waiting {
            Waiting::Delivering(delivering) => delivering.is_accepted(),
            Waiting::Asking(asking) => asking.is_accepted(),
        };
        if is_accepted {
            self.attempts.leave(waiting, self.epoch);
        }
    }
}

async fn to_many(
    envelope: &Envelope,
    attempts: &Arc<Attempts>,
    scope: &Arc<Scope>,
    selection: &Selection,
) -> Result<Ack, AckError> {
    let Some(served) = &scope.served else { return Ok(Ack::empty()) };
    let wants_ack = envelope.level() > Level::Accepted;
    let packet = packet(envelope, served.number, wants_ack, served.producer.id);
    let (bytes, max) = (packet.bytes(), served.event_bytes_max);
    if bytes > max {
        return Err(EmitError::TooLarge { bytes, max }.into());
    }
    let set = wants_ack.then(|| attempts.set(served));
    let selection = match set.filter(|_| attempts.fanout().is_some()) {
        Some(set) => Cow::Owned(again(attempts, set, selection)),
        None => Cow::Borrowed(selection),
    };
    let mut event = Shared::new(Packet::Event(packet));
    let opened = set.map(|set| set.hold());
    if let Some(set) = set {
        event = event.answered_to(Arc::clone(set));
    }
    let is_first = attempts.mark_accepted();
    let fanout = served.adapter.broadcast(&selection, &mut event);
    drop(opened);
    attempts.sent(fanout);
    if is_first && !scope.outgoing.is_empty() {
        scope.outgoing.tell(envelope.event());
    }
    let fanout = attempts.fanout().unwrap_or(fanout);
    let Some(set) = set else { return Ok(Ack::of_many(fanout, Vec::new(), Duration::ZERO)) };
    let (_, end) = attempt_end(envelope, served.ack_timeout);
    // Who has not answered by then is missing.
    let _ = timeout_at(end, poll_fn(|cx| set.poll_attempt(cx))).await;
    let parted = set.part();
    let retry_after = parted.retry_after;
    Ok(Ack::of_many(fanout, parted.missing(), retry_after))
}

/// Whom another attempt is for: those whose answer it may better. Who has said nothing yet has the
/// event, or is going to have it, if that is known.
fn again(attempts: &Attempts, set: &AckSet, first: &Selection) -> Selection {
    let Parted { mut failed, waiting, .. } = set.part();
    failed.extend(attempts.unsure(&waiting));
    let rooms = Some(failed.iter().map(Into::into).collect());
    Selection { rooms, local: first.local, ..Selection::default() }
}

fn packet(
    envelope: &Envelope,
    namespace: NamespaceNumber,
    wants_ack: bool,
    own: ProducerId,
) -> EventPacket {
    let event = envelope.event();
    EventPacket {
        namespace,
        event: EventRef::new(event.id, own),
        wants_ack,
        name: event.name.clone(),
        payload: event.payload.clone(),
    }
}

/// Polls an emit to many until it has been sent, or has come to nothing.
pub(super) async fn until_sent(layered: &mut Layered) -> Option<Result<Ack, BoxError>> {
    let attempts = Arc::clone(layered.attempts());
    let mut sent = pin!(attempts.when_sent().notified());
    sent.as_mut().enable();
    poll_fn(|cx| {
        if let Poll::Ready(result) = layered.poll(cx) {
            return Poll::Ready(Some(result));
        }
        if attempts.fanout().is_some() {
            return Poll::Ready(None);
        }
        sent.as_mut().poll(cx).map(|()| None)
    })
    .await
}
