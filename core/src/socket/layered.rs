//! The way out through layers: what an emit enters, and what stands innermost.

use super::attempts::{Attempts, Target};
use super::core::{SessionCore, moment_after};
use super::emit::Offer;
use super::emit_ack::Asking;
use super::emit_received::Delivering;
use super::{Accepting, Ack, AckError, BoxError, EmitError, Envelope, Level, Scope, Socket, Stack};
use crate::protocol::{
    Event, EventPacket, EventRef, LossReason, NamespaceNumber, Packet, ProducerId,
};
use crate::room::{AckSet, LatestKey, Parted, Selection, Shared};
use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
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
    let (now, said) = (Instant::now(), envelope.attempt_end());
    let end = said.unwrap_or_else(|| moment_after(default));
    let patience = attempts.patience().filter(|_| !attempts.is_own());
    match patience.filter(|(_, until)| said.is_none() || *until <= end) {
        Some(patience) => patience,
        None => (said.map_or(default, |end| end.saturating_duration_since(now)), end),
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
    let (default, resumed) = match level {
        Level::Accepted if attempts.is_accepted() => return Ok(Ack::empty()),
        Level::Accepted => (session.emit_wait_max, None),
        Level::Received | Level::Handled => (session.ack_timeout, attempts.resume()),
    };
    let patience = attempt_end(envelope, attempts, default);
    let epoch = session.mailbox.epoch();
    let waiting = match (level, resumed) {
        (Level::Received, Some(Waiting::Delivering(mut left))) => {
            left.renew(patience);
            Waiting::Delivering(left)
        }
        (Level::Handled, Some(Waiting::Asking(mut left))) => {
            left.renew(patience);
            Waiting::Asking(left)
        }
        _ if attempts.is_superseded() => return supersede(envelope, attempts, socket),
        _ => {
            let wait_max = patience.1.saturating_duration_since(Instant::now());
            let latest = latest.map(|latest| Box::new(latest.clone()));
            let offer = Offer::new(socket.clone(), packet, wait_max, latest);
            let offer = offer.attempt_of(Arc::clone(attempts));
            match begin(envelope, Arc::clone(session), offer, patience) {
                Ok(waiting) => waiting,
                Err(accepting) => {
                    accepting.await?;
                    return Ok(Ack::empty());
                }
            }
        }
    };
    let mut attempt = Attempt { waiting: Some(waiting), epoch, attempts };
    poll_fn(|cx| attempt.poll(cx, max)).await
}

/// Begins to wait for more than acceptance, if that is wanted; before the event is written, so that
/// nothing is too early.
fn begin(
    envelope: &Envelope,
    session: Arc<SessionCore>,
    offer: Offer,
    patience: (Duration, Instant),
) -> Result<Waiting, Accepting> {
    match envelope.level() {
        Level::Accepted => Err(Accepting::of(Ok(offer))),
        Level::Received => Ok(Waiting::Delivering(Delivering::new(session, offer, patience))),
        Level::Handled => {
            let id = envelope.event().id;
            let answer = session.acks.expect(id);
            Ok(Waiting::Asking(Asking::new(session, id, offer, answer, patience)))
        }
    }
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

/// A newer event has taken its place before it could be sent, or sent again.
fn supersede(envelope: &Envelope, attempts: &Attempts, socket: &Socket) -> Result<Ack, AckError> {
    if envelope.level() > Level::Accepted {
        return Err(AckError::Lost { reason: LossReason::Superseded });
    }
    if !attempts.was_posted() {
        // As if it had been in the mailbox for a moment.
        attempts.keep();
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
    let set = wants_ack.then(|| attempts.set(served));
    let again = set.filter(|_| attempts.fanout().is_some());
    let selection = match again {
        Some(set) => Cow::Owned(those_again(attempts, set, selection)),
        None => Cow::Borrowed(selection),
    };
    let mut event = Shared::new(Packet::Event(packet));
    let opened = set.map(|set| set.hold());
    if let Some(set) = set {
        event = event.answered_to(Arc::clone(set));
    }
    if again.is_some() {
        event = event.again();
    }
    let is_first = attempts.post();
    let fanout = served.adapter.broadcast(&selection, &mut event);
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
    let parted = set.part();
    let retry_after = parted.retry_after;
    Ok(Ack::of_many(fanout, parted.missing(), retry_after))
}

/// Whom another attempt is for: those whose answer it may better. Who has said nothing yet has the
/// event, or is going to have it, if that is known.
fn those_again(attempts: &Attempts, set: &AckSet, first: &Selection) -> Selection {
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
