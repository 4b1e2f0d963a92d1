//! Who is here: a table of the guests by their names, and the guest as an argument of handlers.

use emitwire::{Envelope, FromEvent, Refusal, Socket};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A process serves one chat, so it has one such table.
static TABLE: Mutex<BTreeMap<String, Guest>> = Mutex::new(BTreeMap::new());

#[derive(Clone)]
pub(crate) struct Guest {
    pub(crate) name: String,
    pub(crate) room: String,
    pub(crate) socket: Socket,
}

impl Guest {
    /// Takes a place in the table, and gives back the one that this guest had before, if any:
    /// under the same socket, or under one of those `before` it, for which the server still waits.
    pub(crate) fn take_place(self, before: &[String]) -> Result<Option<Self>, Refusal> {
        for word in [&self.name, &self.room] {
            let fits = (1..=20).contains(&word.chars().count());
            if !fits || !word.chars().all(char::is_alphanumeric) {
                return Err(Refusal::with(&format!(
                    "`{word:.60}` is no name: 1 to 20 letters, digits"
                )));
            }
        }
        let mut table = table();
        let id = self.socket.id();
        // Only who was given an id knows it, so nobody takes the place of somebody else.
        let was_me =
            |it: &Self| it.socket.id() == id || before.contains(&it.socket.id().to_string());
        if table.get(&self.name).is_some_and(|it| !was_me(it)) {
            return Err(Refusal::with(&format!("the name {} is taken", self.name)));
        }
        let old = table.values().find(|it| was_me(it)).cloned();
        table.retain(|_, it| !was_me(it));
        table.insert(self.name.clone(), self);
        Ok(old)
    }

    /// Gives the place back.
    pub(crate) fn leave(socket: &Socket) -> Option<Self> {
        let mut table = table();
        let guest = table.values().find(|it| it.socket.id() == socket.id()).cloned()?;
        table.remove(&guest.name)
    }

    pub(crate) fn find(name: &str) -> Option<Self> {
        table().get(name).cloned()
    }

    /// Everybody, in the order of their names.
    pub(crate) fn all() -> Vec<Self> {
        table().values().cloned().collect()
    }
}

/// So that a handler just asks for the guest whose event it is.
impl FromEvent for Guest {
    fn from_event(envelope: &Envelope) -> Result<Self, Refusal> {
        let id = envelope.socket().map(Socket::id);
        let guest = table().values().find(|it| Some(it.socket.id()) == id).cloned();
        guest.ok_or_else(|| Refusal::with("say who you are first"))
    }
}

fn table() -> MutexGuard<'static, BTreeMap<String, Guest>> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}
