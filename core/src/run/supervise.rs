//! What keeps a client's session alive: it looks for links, and for a new session when the old one
//! cannot be had any more.

use super::connector::Connect;
use super::dialer::{Dialer, Fresh, Reached, Ticket, Welcomed};
use super::dock::{Call, Dock};
use super::driver::{Ended, Standing};
use super::handshake::goodbye;
use super::probe::{self, Liking, Looking, MOVE_PATIENCE, is_ending, poll_looking};
use super::session::{Move, Supervised};
use crate::protocol::{DecodeError, DisconnectReason, Outcome, ProtocolError};
use crate::transport::{ConnectError, HandshakeError, Transport};
use std::future::{Future, pending, poll_fn};
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

/// A link that lived this long was a good one: the next attempt is the first of a row.
const GOOD_LINK: Duration = Duration::from_secs(5);

/// Keeps one session after another until it is told to stop, or the peer said so.
pub(super) async fn supervise(
    dialer: Dialer,
    session: Arc<Supervised>,
    mut fresh: Fresh,
    mut moves: mpsc::Receiver<Move>,
) {
    let _finish = Finish(Arc::clone(&session));
    let mut attempts = 0;
    loop {
        let began = Instant::now();
        let (ended, next) = keep(&dialer, fresh, &mut moves).await;
        let Ended { reason, told_to_wait } = ended;
        tracing::debug!(%reason, "session ended");
        if began.elapsed() >= GOOD_LINK {
            attempts = 0;
        }
        let stays_away = !dialer.reconnects || is_final(&reason) || session.is_closing();
        session.lost(reason);
        if stays_away {
            if let Some(Welcomed { link, trial, .. }) = next {
                // Somebody waits there in vain.
                trial.forgive();
                let close = goodbye(&DisconnectReason::Closed);
                link.refuse(close, dialer.config.close_timeout).await;
            }
            break;
        }
        let redialed = match next {
            Some(welcomed) => dialer.begin(welcomed).map_err(|error| dialer.failed(&error)).ok(),
            None => None,
        };
        fresh = match redialed {
            Some(fresh) => fresh,
            // Boxed: for most of its life a client is connected.
            None => match Box::pin(look(&dialer, &session, told_to_wait, &mut attempts)).await {
                Ok(fresh) => fresh,
                Err(Some(reason)) => break session.lost(reason),
                Err(None) => break,
            },
        };
        session.back(Arc::clone(fresh.driver.core()));
    }
}

/// Looks for a new session until there is one. Fails when there will never be one, with the
/// reason, or when the session is closed meanwhile.
async fn look(
    dialer: &Dialer,
    session: &Supervised,
    told_to_wait: Duration,
    attempts: &mut u32,
) -> Result<Fresh, Option<DisconnectReason>> {
    let mut again = pin!(redial(dialer, told_to_wait, attempts));
    let mut closing = pin!(session.closing());
    poll_fn(|cx| match closing.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(Err(None)),
        Poll::Pending => again.as_mut().poll(cx).map_err(Some),
    })
    .await
}

/// Drives a session to its end, over as many links as it takes. With its end may come the link of
/// the next, which a server has welcomed as new.
async fn keep(
    dialer: &Dialer,
    fresh: Fresh,
    moves: &mut mpsc::Receiver<Move>,
) -> (Ended, Option<Welcomed>) {
    let Fresh { driver, standing, ticket, choice } = fresh;
    let dock = Arc::clone(driver.dock());
    dialer.counters.sessions.add(1);
    let mut run = Box::pin(driver.run());
    let (liking, attached) = (choice.map(Liking::of), Instant::now());
    let (attempts, left) = (0, false);
    let keeper = Keeper { dialer, dock, standing, ticket, liking, attempts, left, attached };
    let mut keep = Some(Box::pin(keeper.keep(moves)));
    let mut next = None;
    let ended = poll_fn(|cx| {
        if let Some(Poll::Ready(welcomed)) = keep.as_mut().map(|keep| keep.as_mut().poll(cx)) {
            (keep, next) = (None, welcomed);
        }
        run.as_mut().poll(cx)
    });
    let ended = ended.await;
    dialer.counters.sessions.sub(1);
    (ended, next)
}

/// Cares for the links of one session.
struct Keeper<'a> {
    dialer: &'a Dialer,
    dock: Arc<Dock>,
    standing: watch::Receiver<Standing>,
    ticket: Option<Ticket>,
    /// What there is to say of its wire, if it was one of several. Boxed: it mostly was not.
    liking: Option<Box<Liking>>,
    /// How many attempts to get it back were made in a row.
    attempts: u32,
    /// It has left its link for another, which it did not get.
    left: bool,
    /// When its link came.
    attached: Instant,
}

/// What comes to a keeper first.
enum Next {
    Asked(Move),
    Better(Box<Reached>),
    Restored(Attempt),
}

/// What an attempt to get a session back came to.
enum Attempt {
    Resumed(Outcome),
    /// The server knows nothing of it any more, and has begun another.
    New(Box<Welcomed>),
    /// It cannot be had any more.
    Over(DisconnectReason),
}

impl<'a> Keeper<'a> {
    /// Ready when the session has been told to end; with the link of the next, if there is one.
    async fn keep(mut self, moves: &mut mpsc::Receiver<Move>) -> Option<Welcomed> {
        if self.ticket.is_none() {
            // It ends with its link, by itself.
            return refuse_moves(moves).await;
        }
        loop {
            let next = {
                let mut looking = self.look_for_better();
                let mut restored = pin!(self.restore());
                poll_fn(|cx| {
                    // A wish to go elsewhere does not wait for a wire that does not answer; but
                    // once it has left its link for a better one, for what becomes of that.
                    if let Poll::Ready(Some(asked)) = moves.poll_recv(cx) {
                        return Poll::Ready(Next::Asked(asked));
                    }
                    if let Poll::Ready(attempt) = restored.as_mut().poll(cx) {
                        return Poll::Ready(Next::Restored(attempt));
                    }
                    poll_looking(&mut looking, cx).map(|reached| Next::Better(Box::new(reached)))
                })
                .await
            };
            match next {
                Next::Asked(Move { transport, answer }) => {
                    // Who asked may have lost interest.
                    let _ = answer.send(Box::pin(self.follow(transport)).await);
                }
                Next::Better(reached) => Box::pin(self.go_over(*reached)).await,
                Next::Restored(Attempt::Resumed(_)) => {}
                Next::Restored(Attempt::New(welcomed)) => {
                    self.end(DisconnectReason::LinkLost);
                    return Some(*welcomed);
                }
                Next::Restored(Attempt::Over(reason)) => {
                    self.end(reason);
                    return None;
                }
            }
        }
    }

    /// Looks for a better wire than the one that it is on, if there can be one.
    fn look_for_better(&self) -> Option<Looking<'a>> {
        let better = self.liking.as_ref()?.better()?;
        let standing = self.standing.clone();
        Some(probe::look(self.dialer, Arc::clone(&self.dock), standing, better))
    }

    /// Waits until there is no link, and then for what becomes of the session.
    async fn restore(&mut self) -> Attempt {
        let (lost, lost_at) = self.lost().await;
        let was_good = lost_at - self.attached >= GOOD_LINK;
        if was_good {
            self.attempts = 0;
        }
        // What it has left itself says nothing of the wire.
        if let Some(liking) = self.liking.as_mut().filter(|_| !self.left) {
            liking.lost(was_good && lost != DisconnectReason::HeartbeatTimeout);
        }
        // Boxed, as what follows a wish: for most of its life a client is connected.
        Box::pin(self.resume(lost, lost_at)).await
    }

    /// Waits until there is no link; says why, and since when.
    async fn lost(&mut self) -> (DisconnectReason, Instant) {
        let lost = self.standing.wait_for(|standing| standing.detached.is_some()).await;
        match lost.ok().and_then(|standing| standing.detached.clone()) {
            Some(lost) => lost,
            // The driver has ended, and this with it.
            None => pending().await,
        }
    }

    /// Tries until there is a link again, or there can be none any more.
    async fn resume(&mut self, lost: DisconnectReason, lost_at: Instant) -> Attempt {
        let window = self.ticket.as_ref().map_or(Duration::ZERO, |ticket| ticket.window);
        let until = lost_at + window;
        let mut at_once = self.left;
        loop {
            let mut connect = Connect::new(self.dialer.transport());
            if !mem::take(&mut at_once) {
                self.attempts = self.attempts.saturating_add(1);
                (connect.attempt, connect.since_loss) = (self.attempts, lost_at.elapsed());
            }
            let error = match self.attempt_until(until, connect).await {
                None => return Attempt::Over(lost),
                Some(Ok(attempt)) => return attempt,
                Some(Err(error)) => error,
            };
            self.dialer.failed(&error);
            if let Some(reason) = final_reason(&error) {
                return Attempt::Over(reason);
            }
            // The server does not take what this side has to show, and never will.
            if let ConnectError::Ended { reason: DisconnectReason::Accused(_) } = error {
                return Attempt::Over(lost);
            }
        }
    }

    /// Goes over to another wire, which is where it comes back to from then on. If the session
    /// cannot go on there, it does where it was.
    async fn follow(&mut self, transport: Arc<dyn Transport>) -> Result<Outcome, ConnectError> {
        let had_link = self.is_about_to_leave();
        let attempt = self.attempt(Connect::new(Arc::clone(&transport))).await;
        self.left |= attempt.is_err() && had_link && !self.has_link();
        match attempt? {
            Attempt::Resumed(outcome) => {
                self.dialer.set_transport(transport);
                Ok(outcome)
            }
            Attempt::New(welcomed) => Err(self.turn_down(*welcomed)),
            Attempt::Over(reason) => Err(ConnectError::Ended { reason }),
        }
    }

    /// Goes over to a better wire that is there. If the session cannot go on on it, it comes back
    /// to where it was, and does not try that soon again.
    async fn go_over(&mut self, reached: Reached) {
        if is_ending(&self.dock) {
            return;
        }
        // What is left of the window is for the way back.
        let window = self.ticket.as_ref().map_or(Duration::ZERO, |ticket| ticket.window);
        let after = self.dialer.config.connect_timeout.min(MOVE_PATIENCE).min(window / 2);
        let had_link = self.is_about_to_leave();
        let Some(ticket) = &self.ticket else { return };
        let dialed =
            timeout(after, self.dialer.attach(reached, &self.dock, ticket, &self.standing)).await;
        let attempt = match dialed.unwrap_or(Err(ConnectError::Timeout { after })) {
            Ok(welcomed) => Ok(self.take(welcomed).await),
            Err(error) => Err(error),
        };
        let vain = match attempt {
            Ok(Attempt::Resumed(_)) => None,
            Ok(Attempt::New(welcomed)) => Some(self.turn_down(*welcomed)),
            Ok(Attempt::Over(reason)) => Some(ConnectError::Ended { reason }),
            Err(error) => Some(error),
        };
        if let Some(liking) = &mut self.liking {
            liking.hesitates = vain.is_some();
        }
        if let Some(error) = vain {
            tracing::debug!(%error, "a better wire brings no session");
            self.left |= had_link && !self.has_link();
        }
    }

    /// Says whether there is a link to leave. If that was a good one, the next attempt to get the
    /// session back is the first of a row.
    fn is_about_to_leave(&mut self) -> bool {
        let has_link = self.has_link();
        if has_link && self.attached.elapsed() >= GOOD_LINK {
            self.attempts = 0;
        }
        has_link
    }

    fn has_link(&self) -> bool {
        self.standing.borrow().detached.is_none()
    }

    /// A session that the server has begun there is not the one that is wanted.
    fn turn_down(&self, Welcomed { link, trial, .. }: Welcomed) -> ConnectError {
        trial.blame();
        let close = goodbye(&DisconnectReason::Closed);
        tokio::spawn(link.refuse(close, self.dialer.config.close_timeout));
        ConnectError::NotResumable
    }

    /// As `attempt`; nothing when it still waits at that time.
    async fn attempt_until(
        &mut self,
        until: Instant,
        connect: Connect,
    ) -> Option<Result<Attempt, ConnectError>> {
        let begun = connect.begun();
        let (mut attempt, mut over) = (pin!(self.attempt(connect)), pin!(sleep_until(until)));
        poll_fn(|cx| {
            if !begun.has_begun() && over.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            attempt.as_mut().poll(cx).map(Some)
        })
        .await
    }

    async fn attempt(&mut self, connect: Connect) -> Result<Attempt, ConnectError> {
        let Some(ticket) = &self.ticket else { return Err(ConnectError::NotResumable) };
        // No shorter: a server to which everybody comes back at once answers late.
        let after = self.dialer.config.connect_timeout;
        let begun = connect.begun();
        let dialed = self.dialer.dial_again(connect, &self.dock, ticket, &self.standing);
        let welcomed = begun.timed(after, dialed).await?;
        Ok(self.take(welcomed).await)
    }

    /// Gives the session its link, if it is this session that the server has welcomed.
    async fn take(&mut self, welcomed: Welcomed) -> Attempt {
        let outcome = welcomed.welcome.outcome;
        if outcome == Outcome::New {
            return Attempt::New(Box::new(welcomed));
        }
        let Welcomed { link, welcome, trial, .. } = welcomed;
        self.liking = trial.proved().map(|choice| Liking::after(self.liking.take(), choice));
        if let Some(ticket) = &mut self.ticket {
            ticket.renew(&welcome);
            self.dialer.tell_token(ticket);
        }
        let links = self.standing.borrow().links;
        if self.dock.call(Call::Link(Box::new(link), Box::new(welcome))).is_ok() {
            let _ = self.standing.wait_for(|standing| standing.links > links).await;
        }
        (self.attached, self.left) = (Instant::now(), false);
        Attempt::Resumed(outcome)
    }

    fn end(&self, reason: DisconnectReason) {
        // One that is over already needs no end.
        let _ = self.dock.call(Call::End(reason));
    }
}

/// A session that cannot be resumed cannot be moved.
async fn refuse_moves(moves: &mut mpsc::Receiver<Move>) -> Option<Welcomed> {
    while let Some(Move { answer, .. }) = moves.recv().await {
        let _ = answer.send(Err(ConnectError::NotResumable));
    }
    pending().await
}

/// Whoever waits for the end of the session is told, also when its task ends in a panic.
struct Finish(Arc<Supervised>);

impl Drop for Finish {
    fn drop(&mut self) {
        self.0.finish();
    }
}

/// Whether a client does not come back by itself.
fn is_final(reason: &DisconnectReason) -> bool {
    matches!(
        reason,
        DisconnectReason::Closed
            | DisconnectReason::ClosedByPeer
            | DisconnectReason::DismissedByPeer(_)
            | DisconnectReason::Replaced
            | DisconnectReason::Refused
            | DisconnectReason::Version
            | DisconnectReason::AttemptsExhausted { .. }
            | DisconnectReason::Protocol(ProtocolError::Decode(DecodeError::Version { .. }))
    )
}

/// Why a client that could not connect tries no more, if so.
fn final_reason(error: &ConnectError) -> Option<DisconnectReason> {
    match error {
        ConnectError::Ended { reason } => is_final(reason).then(|| reason.clone()),
        ConnectError::Handshake { source, .. } => {
            is_for_good(source).then_some(DisconnectReason::Refused)
        }
        // One that may yet be had is worth coming back for.
        ConnectError::AllFailed { failures } => {
            let mut reasons = failures.iter().map(|(_, error)| final_reason(error));
            let first = reasons.next()??;
            reasons.all(|reason| reason.is_some()).then_some(first)
        }
        ConnectError::AttemptsExhausted { attempts } => {
            Some(DisconnectReason::AttemptsExhausted { attempts: *attempts })
        }
        _ => None,
    }
}

/// Whether a server that refuses says that it always will: what HTTP calls an error of the client,
/// but for those that are a matter of time (RFC 9110 §15.5).
fn is_for_good(error: &HandshakeError) -> bool {
    match error {
        HandshakeError::Refused { status: 408 | 425 | 429, .. } => false,
        HandshakeError::Refused { status, .. } => (400..500).contains(status),
        _ => false,
    }
}

/// Tries until it has a session again, or learns that it will never have one.
async fn redial(
    dialer: &Dialer,
    mut wait_at_least: Duration,
    attempts: &mut u32,
) -> Result<Fresh, DisconnectReason> {
    // What it was told to wait is no time of trouble.
    let (began, told_to_wait) = (Instant::now(), wait_at_least);
    loop {
        let mut connect = Connect::new(dialer.transport());
        *attempts = attempts.saturating_add(1);
        connect.attempt = *attempts;
        connect.since_loss = began.elapsed().saturating_sub(told_to_wait);
        connect.wait_at_least = mem::take(&mut wait_at_least);
        let begun = connect.begun();
        let after = dialer.config.connect_timeout;
        match begun.timed(after, dialer.dial_fresh(connect)).await {
            Ok(fresh) => return Ok(fresh),
            Err(error) => {
                dialer.failed(&error);
                if let Some(reason) = final_reason(&error) {
                    return Err(reason);
                }
            }
        }
    }
}
