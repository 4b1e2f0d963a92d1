//! The way out through layers: what an emit enters, and what stands innermost.

use super::attempts::{Attempts, Early, Target};
use super::core::moment_after;
use super::emit::Offer;
use super::emit_ack::Asking;
use super::emit_received::Delivering;
use super::{Accepting, Ack, AckError, BoxError, EmitError, Envelope, Level, Scope, Socket, Stack};
use crate::protocol::{
    Event, EventPacket, EventRef, LossReason, NamespaceNumber, Packet, ProducerId,
};
use crate::room::{LatestKey, Selection, Shared};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tower::ServiceExt;
use tower_service::Service;

type Call = Pin<Box<dyn Future<Output = Result<Ack, BoxError>> + Send>>;

/// An emit on its way through the layers. Dropped before its event was accepted, it is withdrawn.
pub(super) struct Layered {
    call: Option<Call>,
    attempts: Arc<Attempts>,
    /// Only an emit that has to wait, and no longer than it says, needs a timer.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Layered {
    pub(super) fn new(stack: &Stack, event: Event, level: Level, attempts: Attempts) -> Self {
        let attempts = Arc::new(attempts);
        let envelope = Envelope::outbound(event, level, Arc::clone(&attempts));
        let call: Call = Box::pin(stack.clone().oneshot(envelope));
        Self { call: Some(call), attempts, deadline: None }
    }

    pub(super) fn attempts(&self) -> &Arc<Attempts> {
        &self.attempts
    }

    /// How long ago it began.
    pub(super) fn elapsed(&self) -> Duration {
        self.attempts.elapsed()
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Ack, BoxError>> {
        let Some(call) = &mut self.call else { panic!("polled after it was ready") };
        let polled = match (call.as_mut().poll(cx), self.attempts.patience()) {
            (Poll::Pending, Some((_, until))) => {
                // Wherever it is: a layer may make it wait, and knows nothing of its emitter.
                let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep_until(until)));
                deadline.as_mut().poll(cx).map(|()| Err(self.attempts.too_late().into()))
            }
            (polled, _) => polled,
        };
        if polled.is_ready() {
            self.call = None;
        }
        polled
    }

    /// Without waiting: what the layers still have to do goes on by itself, if the event has been
    /// accepted.
    pub(super) fn now(mut self) -> Result<(), EmitError> {
        // A task that has used up what it may do in one go is not to be told that there is no room.
        let polled = pin!(unconstrained(poll_fn(|cx| self.poll(cx))))
            .poll(&mut Context::from_waker(Waker::noop()));
        match polled {
            Poll::Ready(result) => result.map(|_| ()).map_err(EmitError::of_layers),
            Poll::Pending if self.attempts.is_accepted() => {
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
        if self.call.take().is_some() && !self.attempts.is_accepted() {
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
            let was_posted = attempts.was_posted();
            let posted = match attempts.target() {
                Target::One(socket, latest) => {
                    to_one(&envelope, &attempts, socket, latest.as_deref()).await
                }
                Target::Many(scope, selection) => {
                    to_many(&envelope, &attempts, scope, selection).await
                }
            };
            let posted = posted.map_err(|error| match was_posted {
                true => posted_before(error, attempts.elapsed()),
                false => error,
            });
            posted.map_err(Into::into)
        })
    }
}

/// When an attempt ends that begins now, and what is then said to have passed. `default` holds
/// where neither a layer nor whoever emits has said anything.
fn attempt_end(envelope: &Envelope, attempts: &Attempts, default: Duration) -> (Duration, Instant) {
    let longest = envelope.attempt_max();
    let (end, patience) = (moment_after(longest.unwrap_or(default)), attempts.patience());
    match patience.filter(|(_, until)| longest.is_none() || *until <= end) {
        Some(patience) => patience,
        None => (longest.unwrap_or(default), end),
    }
}

async fn to_one(
    envelope: &Envelope,
    attempts: &Arc<Attempts>,
    socket: &Socket,
    latest: Option<&LatestKey>,
) -> Result<Ack, AckError> {
    let (session, level) = (socket.session(), envelope.level());
    let packet = packet(envelope, socket.number(), envelope.wants_ack(), session.producer.id);
    let (bytes, max) = (packet.bytes(), session.event_bytes_max);
    if bytes > max {
        return Err(EmitError::TooLarge { bytes, max }.into());
    }
    socket.check_open()?;
    if attempts.is_superseded() {
        return supersede(envelope, attempts, socket);
    }
    let default = match level {
        Level::Accepted => session.emit_wait_max,
        Level::Received | Level::Handled => session.ack_timeout,
    };
    let (after, until) = attempt_end(envelope, attempts, default);
    let offer = |packet| {
        let wait_max = until.saturating_duration_since(Instant::now());
        let latest = latest.map(|latest| Box::new(latest.clone()));
        Offer::new(socket.clone(), packet, wait_max, latest).attempt_of(Arc::clone(attempts))
    };
    // What still waits there will be written: a second one beside it would be one too many.
    let waiting = attempts.waiting(socket);
    match level {
        Level::Accepted if waiting.is_some() => {}
        Level::Accepted => Accepting::of(Ok(offer(packet))).await?,
        Level::Received => {
            let of_waiting =
                |encoded| Delivering::of_waiting(Arc::clone(session), encoded, (after, until));
            let delivering = waiting.and_then(of_waiting);
            let new = || Delivering::new(Arc::clone(session), offer(packet), (after, until));
            delivering.unwrap_or_else(new).await?;
        }
        Level::Handled => {
            let answer = match attempts.await_answer(socket) {
                Early::Answer(answer) => answer,
                Early::Awaited(answer) => {
                    let (session, id) = (Arc::clone(session), envelope.event().id);
                    let offer = waiting.is_none().then(|| offer(packet));
                    let asking = Asking::new(session, id, offer, answer, (after, until));
                    asking.attempt_of(attempts).await?
                }
            };
            return Ok(Ack::new(AckError::of_answer(answer, max)?));
        }
    }
    Ok(Ack::empty())
}

/// A newer event has taken its place before it could be sent, or sent again.
fn supersede(envelope: &Envelope, attempts: &Attempts, socket: &Socket) -> Result<Ack, AckError> {
    if envelope.level() > Level::Accepted {
        return Err(AckError::Lost { reason: LossReason::Superseded });
    }
    if !attempts.was_posted() {
        // As if it had been in the mailbox for a moment.
        attempts.mark_accepted();
        socket.count(|counters| &counters.events_out, |tally| &tally.events_out);
        socket.counters().count(1, |counters| &counters.superseded);
    }
    Ok(Ack::empty())
}

/// What was in a mailbox before may have been handled, whatever became of another attempt.
fn posted_before(error: AckError, elapsed: Duration) -> AckError {
    match error {
        AckError::Emit(EmitError::Closed { .. } | EmitError::Draining) => AckError::Closed,
        AckError::Emit(EmitError::Full { .. }) => AckError::Timeout { after: elapsed },
        error => error,
    }
}

async fn to_many(
    envelope: &Envelope,
    attempts: &Arc<Attempts>,
    scope: &Arc<Scope>,
    selection: &Selection,
) -> Result<Ack, AckError> {
    let Some(served) = &scope.served else { return Ok(Ack::empty()) };
    let wants_ack = envelope.wants_ack();
    let packet = packet(envelope, served.number, wants_ack, served.producer.id);
    let (bytes, max) = (packet.bytes(), served.event_bytes_max);
    if bytes > max {
        return Err(EmitError::TooLarge { bytes, max }.into());
    }
    let mut event = Shared::new(Packet::Event(packet));
    let set = wants_ack.then(|| attempts.set(served));
    // Only those that are missing are asked again.
    let missing = set.filter(|_| attempts.fanout().is_some()).map(|set| Selection {
        rooms: Some(set.missing().0.iter().map(Into::into).collect()),
        local: selection.local,
        ..Selection::default()
    });
    let opened = set.map(|set| set.hold());
    if let Some(set) = set {
        event = event.answered_to(Arc::clone(set));
    }
    if missing.is_some() {
        event = event.again();
    }
    let is_first = attempts.post(None);
    let fanout = served.adapter.broadcast(missing.as_ref().unwrap_or(selection), &mut event);
    drop(opened);
    attempts.sent(fanout);
    if is_first && !scope.outgoing.is_empty() {
        scope.outgoing.tell(envelope.event());
    }
    let fanout = attempts.fanout().unwrap_or(fanout);
    let Some(set) = set else { return Ok(Ack::of_many(fanout, Vec::new(), Duration::ZERO)) };
    let (_, end) = attempt_end(envelope, attempts, served.ack_timeout);
    // Who has not answered by then is missing.
    let _ = timeout_at(end, poll_fn(|cx| set.poll_attempt(cx))).await;
    let (missing, retry_after) = set.missing();
    Ok(Ack::of_many(fanout, missing, retry_after))
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
