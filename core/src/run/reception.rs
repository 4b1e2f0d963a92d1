//! What a client knows of its namespaces on the current session.

use super::ResumeToken;
use super::mounted::Mounted;
use crate::protocol::{DisconnectReason, NamespaceNumber, Payload};
use crate::socket::Socket;
use crate::transport::ConnectError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// How one namespace of a client stands.
#[derive(Clone, Debug)]
pub(crate) enum Standing {
    /// Asked for, not answered yet.
    Asked,
    /// The socket is here.
    Joined(Socket),
    /// The server said no.
    Refused(Payload),
    /// The socket has ended, or there is no session now; why, once there was one.
    Ended(Option<DisconnectReason>),
}

/// The client's namespaces, by their number, with how each stands.
pub(crate) struct Reception {
    pub(crate) mounts: Vec<Arc<Mounted>>,
    standings: Mutex<Vec<Standing>>,
    changed: watch::Sender<()>,
}

impl Reception {
    pub(crate) fn new(mounts: Vec<Arc<Mounted>>) -> Self {
        let standings = Mutex::new(vec![Standing::Ended(None); mounts.len()]);
        Self { mounts, standings, changed: watch::Sender::new(()) }
    }

    pub(crate) fn set(&self, number: NamespaceNumber, standing: Standing) {
        if let Some(place) = self.lock().get_mut(number.0 as usize) {
            *place = standing;
        }
        self.changed.send_replace(());
    }

    /// Shows a socket that has begun, unless it has ended meanwhile.
    pub(crate) fn join(&self, socket: &Socket) {
        if let Some(place) = self.lock().get_mut(socket.client().0 as usize) {
            if matches!(place, Standing::Asked) && socket.ended().is_none() {
                *place = Standing::Joined(socket.clone());
            }
        }
        self.changed.send_replace(());
    }

    /// The server said no, and whoever wants to know is told.
    pub(crate) fn refuse(&self, number: NamespaceNumber, payload: Payload) {
        if let Some(mount) = self.mounts.get(number.0 as usize) {
            let namespace = mount.blueprint.path().to_string();
            let payload = payload.clone();
            mount.blueprint.tell_connect_error(&ConnectError::Refused { namespace, payload });
        }
        self.set(number, Standing::Refused(payload));
    }

    /// There is no session, for any of them.
    pub(crate) fn tell_connect_error(&self, error: &ConnectError) {
        for mount in &self.mounts {
            mount.blueprint.tell_connect_error(error);
        }
    }

    pub(crate) fn set_all(&self, standing: &Standing) {
        self.lock().fill(standing.clone());
        self.changed.send_replace(());
    }

    pub(crate) fn has_ended(&self, number: NamespaceNumber) -> bool {
        matches!(self.lock().get(number.0 as usize), Some(Standing::Ended(Some(_))))
    }

    pub(crate) fn is_asked(&self, number: NamespaceNumber) -> bool {
        matches!(self.lock().get(number.0 as usize), Some(Standing::Asked))
    }

    /// What stands for its namespaces, in their order.
    pub(crate) fn fingerprint(&self) -> u64 {
        let paths = self.mounts.iter().map(|mount| &**mount.blueprint.path());
        ResumeToken::fingerprint(paths)
    }

    /// The namespaces that it has asked for, and that have not said no.
    pub(crate) fn asked(&self) -> Vec<NamespaceNumber> {
        let standings = self.lock();
        let is_asked =
            |standing: &Standing| matches!(standing, Standing::Asked | Standing::Joined(_));
        let asked = standings.iter().enumerate().filter(|(_, standing)| is_asked(standing));
        asked.map(|(number, _)| NamespaceNumber(number as u32)).collect()
    }

    pub(crate) fn standings(&self) -> Vec<Standing> {
        self.lock().clone()
    }

    /// How the namespace of this path stands.
    pub(crate) fn find(&self, path: &str) -> Option<Standing> {
        let number = self.mounts.iter().position(|mount| &**mount.blueprint.path() == path)?;
        self.lock().get(number).cloned()
    }

    /// Waits until every namespace has an answer.
    pub(crate) async fn answered(&self) -> Vec<Standing> {
        let mut changed = self.changed.subscribe();
        loop {
            let standings = self.standings();
            if !standings.iter().any(|standing| matches!(standing, Standing::Asked)) {
                return standings;
            }
            // The sender lives as long as `self`.
            let _ = changed.changed().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Standing>> {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
