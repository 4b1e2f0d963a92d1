//! The events that are kept for one peer.

use super::worker::{Flight, Worker};
use super::{BufferError, Overflow, Peer, Shared, Terms, Undelivered};
use crate::moment_after;
use emitwire_core::protocol::{LossReason, Nak};
use emitwire_core::room::shielded;
use emitwire_core::socket::{Ack, AckError, BoxError, Envelope, Remedy, Socket, Stack};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};
use tower::ServiceExt;

/// How long an event rests that could not go out although there is a session.
const REST: Duration = Duration::from_secs(1);

pub(super) struct Queue {
    peer: Peer,
    terms: Terms,
    shared: Arc<Shared>,
    state: Mutex<State>,
    /// Who waits for room goes in here one after another.
    door: tokio::sync::Mutex<()>,
    room: Notify,
    /// Told when the worker has something to do.
    pub(super) changed: Notify,
}

struct State {
    /// Those that wait to go out, and those that are on their way; in the order of their emits.
    waiting: BTreeMap<u64, Held>,
    out: BTreeMap<u64, Held>,
    bytes: usize,
    last: u64,
    /// No event expires before.
    next_expiry: Option<Instant>,
    is_working: bool,
    /// There is a new socket, and what the one before has taken with it may not all be back.
    has_turned: bool,
}

/// An event that is kept.
struct Held {
    envelope: Envelope,
    inner: Stack,
    ttl: Duration,
    expires: Instant,
    not_before: Option<Instant>,
    has_been_out: bool,
    /// What brings it, when it has been accepted.
    flight: Option<AbortHandle>,
    answer: Option<Answer>,
}

/// Where whoever emitted waits.
type Answer = oneshot::Sender<Result<Ack, BoxError>>;
pub(super) type Awaited = oneshot::Receiver<Result<Ack, BoxError>>;

/// There is no room.
pub(super) enum Full {
    Rejected,
    Dropped,
}

/// What the worker does next.
pub(super) enum Next {
    Send(Flight),
    /// Nothing before that, unless something changes.
    Wait(Option<Instant>),
    /// Nothing is kept any more.
    Done,
}

impl Queue {
    pub(super) fn new(peer: Peer, terms: Terms, shared: Arc<Shared>) -> Self {
        let state = Mutex::new(State {
            waiting: BTreeMap::new(),
            out: BTreeMap::new(),
            bytes: 0,
            last: 0,
            next_expiry: None,
            is_working: false,
            has_turned: false,
        });
        let (door, room, changed) = Default::default();
        Self { peer, terms, shared, state, door, room, changed }
    }

    /// Events and their bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        let state = self.lock();
        (state.len(), state.bytes)
    }

    /// The peer has a new socket.
    pub(super) fn begin(&self) {
        let mut state = self.lock();
        for held in state.waiting.values_mut() {
            held.not_before = None;
        }
        state.has_turned = true;
        drop(state);
        self.changed.notify_one();
    }

    /// Sees to it that somebody works.
    pub(super) fn work(self: &Arc<Self>) {
        if !self.begins_work() {
            return self.changed.notify_one();
        }
        let runtime = self.shared.runtime(&self.peer).unwrap_or_else(Handle::current);
        runtime.spawn(Worker::new(Arc::clone(self)).run());
        // One that has ended is no place to work.
        if self.begins_work() {
            tokio::spawn(Worker::new(Arc::clone(self)).run());
        }
    }

    /// Says whether somebody has to, and nobody does.
    fn begins_work(&self) -> bool {
        let mut state = self.lock();
        let begins = !state.is_working && !state.waiting.is_empty();
        state.is_working |= begins;
        begins
    }

    /// Nobody works any more, whatever has happened.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.is_working = false;
        let out = std::mem::take(&mut state.out);
        state.waiting.extend(out);
    }

    /// Takes an event in, as soon as there is room. With `is_awaited` its answer will be where the
    /// result says.
    pub(super) async fn enter(
        &self,
        inner: Stack,
        envelope: Envelope,
        is_awaited: bool,
    ) -> Result<Option<Awaited>, Full> {
        let ttl = self.terms.ttl_of.as_ref().and_then(|ttl| ttl(envelope.event()));
        let ttl = ttl.unwrap_or(self.terms.ttl);
        let expires = moment_after(ttl.saturating_sub(envelope.age()));
        let (answer, awaited) = match is_awaited {
            true => Some(oneshot::channel()).unzip(),
            false => (None, None),
        };
        let (not_before, has_been_out, flight) = (None, false, None);
        let held = Held { envelope, inner, ttl, expires, not_before, has_been_out, flight, answer };
        let mut held = Some(held);
        match self.terms.overflow {
            Overflow::Block => {
                let waits = self.wait_for_room(&mut held);
                timeout(self.terms.wait_max, waits).await.map_err(|_| Full::Rejected)?;
            }
            Overflow::DropOldest => self.make_room(&mut held),
            Overflow::Reject | Overflow::DropNewest => self.put(&mut held, false),
        }
        match held {
            None => Ok(awaited),
            Some(held) if self.terms.overflow == Overflow::DropNewest && !is_awaited => {
                self.tell(held, BufferError::full(Duration::ZERO));
                Err(Full::Dropped)
            }
            Some(_) => Err(Full::Rejected),
        }
    }

    async fn wait_for_room(&self, held: &mut Option<Held>) {
        let _turn = self.door.lock().await;
        loop {
            let mut freed = pin!(self.room.notified());
            freed.as_mut().enable();
            self.put(held, false);
            if held.is_none() {
                return;
            }
            freed.await;
        }
    }

    fn make_room(&self, held: &mut Option<Held>) {
        loop {
            self.put(held, false);
            if held.is_none() {
                return;
            }
            let Some(oldest) = self.lock().take_oldest() else { return self.put(held, true) };
            self.tell(oldest, BufferError::Evicted);
        }
    }

    /// Takes the event if there is room for it, or anyhow.
    fn put(&self, held: &mut Option<Held>, anyhow: bool) {
        let Some(new) = held.as_ref() else { return };
        let bytes = new.bytes();
        let mut state = self.lock();
        let older = state.older(new);
        let (events_left, bytes_left) = state.without(&older);
        // A single one may be as large as it is.
        let has_room = events_left < self.terms.events_max
            && (bytes_left + bytes <= self.terms.bytes_max || events_left == 0);
        let Some(held) = held.take_if(|_| has_room || anyhow) else { return };
        let older = state.take(&older);
        held.envelope.keep();
        state.put(held);
        drop(state);
        for held in older {
            self.answer(held, Err(AckError::Lost { reason: LossReason::Superseded }.into()));
        }
    }

    /// Lets go of what has expired. Says when something will, if nothing changes.
    pub(super) fn expire(&self) -> Option<Instant> {
        let now = Instant::now();
        for expired in self.lock().take_expired(now) {
            let after = expired.ttl;
            self.tell(expired, BufferError::Expired { after });
            self.room.notify_one();
        }
        self.lock().next_expiry
    }

    /// Whether an event is on its way still: it may have made way, or have expired.
    pub(super) fn is_out(&self, number: u64) -> bool {
        self.lock().out.contains_key(&number)
    }

    /// An event on its way has been accepted. When it is let go of, nobody waits for it any more.
    pub(super) fn accepted(&self, number: u64, flight: AbortHandle) {
        match self.lock().out.get_mut(&number) {
            Some(held) => held.flight = Some(flight),
            None => flight.abort(),
        }
    }

    /// What is to be done next. What has expired is let go of.
    pub(super) fn next(&self, is_idle: bool) -> Next {
        let (now, expiry) = (Instant::now(), self.expire());
        let mut state = self.lock();
        if is_idle && state.len() == 0 {
            state.is_working = false;
            return Next::Done;
        }
        let newest = self.shared.newest(&self.peer);
        match state.send(now, newest) {
            Some((flight, is_again)) => {
                if is_again {
                    Shared::count(&self.shared.resent);
                }
                Next::Send(flight)
            }
            None => Next::Wait(state.rests_until(now).into_iter().chain(expiry).min()),
        }
    }

    /// An event is back from its way.
    pub(super) fn settle(&self, number: u64, result: Result<Ack, BoxError>) {
        let has_none = self.shared.newest(&self.peer).is_none();
        let mut state = self.lock();
        // It may have made way meanwhile.
        let Some(mut held) = state.out.remove(&number) else { return };
        let refused =
            |error: &AckError| matches!(error, AckError::Refused(nak) if *nak != Nak::Closed);
        let is_received = match &result {
            Ok(_) => true,
            Err(error) => error.downcast_ref().is_some_and(refused),
        };
        let remedy = result.as_ref().err().map(|error| Remedy::of(&**error));
        let rest = match remedy {
            // It can only wait for the next socket.
            Some(Remedy::NextSession) if has_none && held.has_ended() => Some(None),
            Some(Remedy::NextSession) => Some(Some(REST)),
            Some(Remedy::Repeat { after }) if !is_received => Some(Some(after.max(REST))),
            _ => None,
        };
        if let Some(rest) = rest {
            held.not_before = rest.map(moment_after);
            state.wait(number, held);
            return;
        }
        state.bytes -= held.bytes();
        drop(state);
        self.room.notify_one();
        if is_received {
            Shared::count(&self.shared.received);
        }
        self.answer(held, result);
    }

    /// An event is let go of that was not received.
    fn tell(&self, mut held: Held, error: BufferError) {
        if let Some(flight) = held.flight.take() {
            flight.abort();
        }
        self.answer(held, Err(error.into()));
    }

    /// Tells whoever waits for the event. Of bad news that nobody waits for, or not any more,
    /// others are told.
    fn answer(&self, mut held: Held, result: Result<Ack, BoxError>) {
        let untold = match held.answer.take() {
            Some(answer) => answer.send(result),
            None => Err(result),
        };
        let Err(Err(error)) = untold else { return };
        if let Some(AckError::Lost { reason: LossReason::Superseded }) = error.downcast_ref() {
            // A newer one of its key has taken its place, as it was to.
            return;
        }
        Shared::count(&self.shared.undelivered);
        let event = held.envelope.event();
        let Some(tell) = &self.terms.on_undelivered else {
            // Somebody has to be told.
            return tracing::warn!(event = %event.name, error = %error, "an event came to nothing");
        };
        let undelivered = Undelivered { event: event.clone(), error: Arc::new(error) };
        shielded("undelivered", || tell(&undelivered));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody works, and nobody will.
impl Drop for Queue {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        for held in std::mem::take(&mut state.waiting).into_values() {
            self.tell(held, BufferError::Stopped);
        }
    }
}

impl State {
    fn len(&self) -> usize {
        self.waiting.len() + self.out.len()
    }

    fn put(&mut self, held: Held) {
        self.bytes += held.bytes();
        self.last += 1;
        self.wait(self.last, held);
    }

    fn wait(&mut self, number: u64, held: Held) {
        let expiry = self.next_expiry.map_or(held.expires, |known| known.min(held.expires));
        self.next_expiry = Some(expiry);
        self.waiting.insert(number, held);
    }

    /// Those that wait and are not wanted any more, because this one is newer and of the same key.
    fn older(&self, new: &Held) -> Vec<u64> {
        let Some(key) = new.envelope.latest_key() else { return Vec::new() };
        let socket = |held: &Held| held.envelope.socket().map(Socket::id);
        let is_older = |held: &Held| {
            let is_of_key = held.envelope.latest_key() == Some(key);
            is_of_key && (socket(held) == socket(new) || held.has_ended())
        };
        let older = self.waiting.iter().filter(|(_, held)| is_older(held));
        older.map(|(number, _)| *number).collect()
    }

    /// How many events, and bytes, there are beside these.
    fn without(&self, numbers: &[u64]) -> (usize, usize) {
        let held = numbers.iter().filter_map(|number| self.waiting.get(number));
        (self.len() - numbers.len(), self.bytes - held.map(Held::bytes).sum::<usize>())
    }

    fn take(&mut self, numbers: &[u64]) -> Vec<Held> {
        let taken: Vec<_> =
            numbers.iter().filter_map(|number| self.waiting.remove(number)).collect();
        self.bytes -= taken.iter().map(Held::bytes).sum::<usize>();
        taken
    }

    fn take_oldest(&mut self) -> Option<Held> {
        let waiting = self.waiting.first_key_value().map(|(number, _)| *number);
        let out = self.out.first_key_value().map(|(number, _)| *number);
        let is_out = out.is_some_and(|out| waiting.is_none_or(|waiting| out < waiting));
        let (_, held) = if is_out { self.out.pop_first()? } else { self.waiting.pop_first()? };
        self.bytes -= held.bytes();
        Some(held)
    }

    fn take_expired(&mut self, now: Instant) -> Vec<Held> {
        if self.next_expiry.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let mut expired = Vec::new();
        for events in [&mut self.waiting, &mut self.out] {
            let over = events.iter().filter(|(_, held)| held.expires <= now);
            let over: Vec<_> = over.map(|(number, _)| *number).collect();
            expired.extend(over.iter().filter_map(|number| events.remove(number)));
        }
        self.bytes -= expired.iter().map(Held::bytes).sum::<usize>();
        let left = self.waiting.values().chain(self.out.values());
        self.next_expiry = left.map(|held| held.expires).min();
        expired
    }

    /// Sends the first that waits, if it may go; later ones wait behind it. Says whether it has
    /// gone before.
    fn send(&mut self, now: Instant, newest: Option<Socket>) -> Option<(Flight, bool)> {
        let first = self.waiting.first_entry()?;
        let held = first.get();
        let own = held.envelope.socket().filter(|socket| socket.ended().is_none());
        let target = match own {
            Some(own) => own.clone(),
            None => newest?,
        };
        if held.not_before.is_some_and(|at| at > now) {
            return None;
        }
        // What is on its way to a socket that has ended is about to come back, and goes first.
        self.has_turned &= self.out.values().any(Held::has_ended);
        if self.has_turned {
            return None;
        }
        let (number, mut held) = first.remove_entry();
        if held.envelope.socket().map(Socket::id) != Some(target.id()) {
            held.envelope = held.envelope.readdressed(&target);
        }
        let mut envelope = held.envelope.clone();
        envelope.set_attempt_max(held.expires.saturating_duration_since(now));
        let is_again = std::mem::replace(&mut held.has_been_out, true);
        held.flight = None;
        let call = Box::pin(held.inner.clone().oneshot(envelope.clone()));
        self.out.insert(number, held);
        Some((Flight { number, envelope, call }, is_again))
    }

    /// When the first that waits may go again.
    fn rests_until(&self, now: Instant) -> Option<Instant> {
        let (_, first) = self.waiting.first_key_value()?;
        first.not_before.filter(|at| *at > now)
    }
}

impl Held {
    /// Whether the socket that it is for has.
    fn has_ended(&self) -> bool {
        self.envelope.socket().is_none_or(|socket| socket.ended().is_some())
    }

    fn bytes(&self) -> usize {
        self.envelope.event().bytes()
    }
}
