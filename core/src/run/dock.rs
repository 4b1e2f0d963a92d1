//! Where links come to a session: a handshake or a dialer brings them, the driver takes them.

use super::link::{Link, OpenLink};
use super::{Config, random};
use crate::protocol::{Attach, DisconnectReason, Hello, SessionId, Welcome};
use crate::socket::SessionCore;
use crate::transport::Capabilities;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// How many clients may ask for one session at once: one, and one that does not know of the other,
/// and some that should not.
const KNOCKS_MAX: usize = 8;

/// What somebody wants of a session's driver.
pub(crate) enum Call {
    /// Server: a client has shown the session's token, or the nonce of its hello.
    Knock(Box<Knock>),
    /// Client: there is a link again.
    Link(Box<Link>, Box<Welcome>),
    /// Client: gives the link up, to go on on another.
    Leave,
    /// Client: there will be no link any more.
    End(DisconnectReason),
}

/// A client at a server's door.
pub(crate) struct Arrival {
    pub(crate) link: Link,
    pub(crate) hello: Hello,
    /// What it wants to resume.
    pub(crate) attach: Option<Attach>,
    pub(crate) open: OpenLink,
}

/// A client that wants to resume a session, at the door of its driver.
pub(crate) struct Knock {
    pub(crate) arrival: Arrival,
    /// Where it goes if it is not let in.
    pub(crate) back: oneshot::Sender<Arrival>,
}

impl Knock {
    /// It is not let in.
    pub(crate) fn turn_away(self) {
        let _ = self.back.send(self.arrival);
    }
}

/// The way to one session.
pub(crate) struct Dock {
    core: Arc<SessionCore>,
    /// Whether the session's first link was encrypted.
    began_encrypted: bool,
    state: Mutex<State>,
}

struct State {
    calls: Vec<Call>,
    tokens: Tokens,
    is_over: bool,
}

/// What a client has to show. Each attach makes a new one; the one before stays good until the
/// client has shown that it got the new one.
#[derive(Default)]
struct Tokens {
    current: Option<u128>,
    previous: Option<u128>,
    /// The nonce of the hello that began the session, until the client has heard of it.
    nonce: Option<Box<Nonce>>,
}

/// The sessions of a server whose clients have not heard of them yet, by the nonces of their
/// hellos.
#[derive(Default)]
pub(crate) struct Nonces(Mutex<BTreeMap<u128, SessionId>>);

/// A session's place among them, for as long as it lives.
struct Nonce {
    nonce: u128,
    session: SessionId,
    all: Arc<Nonces>,
}

impl Nonces {
    pub(crate) fn session(&self, nonce: u128) -> Option<SessionId> {
        self.lock().get(&nonce).copied()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u128, SessionId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Nonce {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        // Whoever chose the same nonce since has it now.
        if all.get(&self.nonce) == Some(&self.session) {
            all.remove(&self.nonce);
        }
    }
}

impl Dock {
    /// The dock of a new session.
    pub(crate) fn new(core: Arc<SessionCore>, began_encrypted: bool) -> Self {
        let state = State { calls: Vec::new(), tokens: Tokens::default(), is_over: false };
        Self { core, began_encrypted, state: Mutex::new(state) }
    }

    /// Whether the session may go on on such a wire.
    pub(crate) fn may_go_on(&self, wire: Capabilities, config: &Config) -> bool {
        wire.encrypted || !self.began_encrypted || config.resume_on_plain
    }

    pub(crate) fn core(&self) -> &Arc<SessionCore> {
        &self.core
    }

    /// Server: the session can be resumed from now on, by a token, or by this nonce.
    pub(crate) fn open(&self, nonce: u128, all: &Arc<Nonces>) {
        let session = self.core.id;
        all.lock().insert(nonce, session);
        let tokens = &mut self.lock().tokens;
        tokens.current = Some(random::bits());
        tokens.nonce = Some(Box::new(Nonce { nonce, session, all: Arc::clone(all) }));
    }

    /// Whether what a client shows is this session's.
    pub(crate) fn knows(&self, arrival: &Arrival) -> bool {
        let state = self.lock();
        match &arrival.attach {
            Some(attach) => state.tokens.accept(&attach.token),
            None => {
                let nonce = state.tokens.nonce.as_ref();
                nonce.is_some_and(|own| own.nonce == arrival.hello.nonce)
            }
        }
    }

    /// The token for a client that attaches: a new one, unless it has shown the one before, which
    /// means that the answer to its last attach was lost.
    pub(crate) fn rotate(&self, shown: &Attach) -> Bytes {
        let tokens = &mut self.lock().tokens;
        if tokens.current.is_some_and(|current| is_same(current, &shown.token)) {
            tokens.previous = tokens.current;
            tokens.current = Some(random::bits());
        }
        tokens.show()
    }

    /// The token as it is; no byte when the session cannot be resumed.
    pub(crate) fn token(&self) -> Bytes {
        self.lock().tokens.show()
    }

    /// The client has heard the last welcome: what it had shown before is of no more use.
    pub(crate) fn confirm(&self) {
        let tokens = &mut self.lock().tokens;
        tokens.previous = None;
        let nonce = tokens.nonce.take();
        drop(nonce);
    }

    /// Tells the driver.
    ///
    /// # Errors
    /// With the call when the session is over; without when too many call at once: a client tries
    /// again.
    pub(crate) fn call(&self, call: Call) -> Result<(), Option<Call>> {
        let mut state = self.lock();
        if state.is_over {
            return Err(Some(call));
        }
        if state.calls.len() >= KNOCKS_MAX {
            return Err(None);
        }
        state.calls.push(call);
        drop(state);
        self.core.call_driver();
        Ok(())
    }

    /// For the driver: what it was told.
    pub(crate) fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.lock().calls)
    }

    /// The session is over: whoever knocks is turned away.
    pub(crate) fn close(&self) {
        let calls = {
            let mut state = self.lock();
            state.is_over = true;
            state.tokens = Tokens::default();
            std::mem::take(&mut state.calls)
        };
        for call in calls {
            if let Call::Knock(knock) = call {
                knock.turn_away();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tokens {
    fn accept(&self, shown: &[u8]) -> bool {
        // Both are compared, whatever the first comparison says.
        let current = self.current.is_some_and(|token| is_same(token, shown));
        let previous = self.previous.is_some_and(|token| is_same(token, shown));
        current | previous
    }

    fn show(&self) -> Bytes {
        self.current.map(|token| Bytes::copy_from_slice(&token.to_be_bytes())).unwrap_or_default()
    }
}

/// Compares in a time that does not tell where they differ.
fn is_same(token: u128, shown: &[u8]) -> bool {
    let Ok(shown) = <[u8; 16]>::try_from(shown) else { return false };
    let difference = token ^ u128::from_be_bytes(shown);
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(current: u128, previous: Option<u128>) -> Tokens {
        Tokens { current: Some(current), previous, nonce: None }
    }

    #[test]
    fn the_current_token_and_the_one_before_are_good_and_no_other() {
        let tokens = tokens(7, Some(6));
        assert!(tokens.accept(&7_u128.to_be_bytes()));
        assert!(tokens.accept(&6_u128.to_be_bytes()));
        assert!(!tokens.accept(&5_u128.to_be_bytes()));
        assert!(!tokens.accept(&7_u64.to_be_bytes()), "shorter");
        assert!(!tokens.accept(&[]));
        assert!(!Tokens::default().accept(&[0; 16]), "there is none");
    }
}
