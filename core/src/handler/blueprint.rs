//! What a mounted namespace and its sockets share.

use super::{ConnectRequest, MountError};
use crate::protocol::Payload;
use crate::room::{OnRoom, SlowPolicy, shielded};
use crate::socket::{Emitter, Erased, Layers, Lost, Missed, States};
use crate::transport::ConnectError;
use std::any::TypeId;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What becomes of an event that nobody hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unhandled {
    /// It waits for a listener, bounded in events and bytes by `Config`, and is answered
    /// `NoHandler` when none has come in time.
    Park {
        /// How long it waits.
        ttl: Duration,
    },
    /// It is answered `NoHandler` at once.
    Nak,
    /// It counts as handled.
    Ignore,
}

impl Default for Unhandled {
    fn default() -> Self {
        // Shorter than the usual deadline of an answer: a name that nobody listens to is to be
        // called so, not late.
        Self::Park { ttl: Duration::from_secs(5) }
    }
}

type Decision = Pin<Box<dyn Future<Output = Result<(), Payload>> + Send>>;
type Authorize = Arc<dyn Fn(ConnectRequest) -> Decision + Send + Sync>;
type OnConnectError = Arc<dyn Fn(&ConnectError) + Send + Sync>;
type OnLost = Arc<dyn Fn(&Lost) + Send + Sync>;
type OnGap = Arc<dyn Fn(&Missed) + Send + Sync>;

/// What a mounted namespace and its sockets share.
pub(crate) struct Blueprint {
    pub(super) path: Arc<str>,
    pub(crate) emitter: Emitter,
    pub(super) settings: Mutex<Settings>,
}

pub(super) struct Settings {
    pub(super) hooks: [Option<Erased>; 6],
    pub(super) on_connect_error: Option<OnConnectError>,
    pub(super) on_room: Option<OnRoom>,
    pub(super) on_lost: Option<OnLost>,
    pub(super) on_gap: Option<OnGap>,
    pub(super) authorize: Vec<Authorize>,
    pub(super) unhandled: Unhandled,
    pub(super) slow_policy: Option<SlowPolicy>,
    pub(super) concurrent: usize,
    pub(super) states: States,
    pub(super) layers: Layers,
    /// The first one.
    pub(super) mistake: Option<MountError>,
}

/// A moment in the life of a socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    Connect,
    Detach,
    Attach,
    PathChange,
    Disconnecting,
    Disconnect,
}

impl Hook {
    /// Its name in logs, and of the event that it is shown.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Detach => "detach",
            Self::Attach => "attach",
            Self::PathChange => "path change",
            Self::Disconnecting => "disconnecting",
            Self::Disconnect => "disconnect",
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hooks: Default::default(),
            on_connect_error: None,
            on_room: None,
            on_lost: None,
            on_gap: None,
            authorize: Vec::new(),
            unhandled: Unhandled::default(),
            slow_policy: None,
            concurrent: 1,
            states: States::default(),
            layers: Layers::new(),
            mistake: None,
        }
    }
}

impl Blueprint {
    pub(crate) fn path(&self) -> &Arc<str> {
        &self.path
    }

    pub(crate) fn hook(&self, hook: Hook) -> Option<Erased> {
        self.settings().hooks[hook as usize].clone()
    }

    /// Tells whoever wants to know why there is no socket.
    pub(crate) fn tell_connect_error(&self, error: &ConnectError) {
        let tell = self.settings().on_connect_error.clone();
        if let Some(tell) = tell {
            shielded("connect error", || tell(error));
        }
    }

    /// Whether somebody wants to know of losses.
    pub(crate) fn hears_losses(&self) -> bool {
        self.settings().on_lost.is_some()
    }

    pub(crate) fn tell_lost(&self, lost: impl FnOnce() -> Lost) {
        let tell = self.settings().on_lost.clone();
        if let Some(tell) = tell {
            shielded("lost", || tell(&lost()));
        }
    }

    pub(crate) fn tell_gap(&self, missed: impl FnOnce() -> Missed) {
        let tell = self.settings().on_gap.clone();
        if let Some(tell) = tell {
            shielded("gap", || tell(&missed()));
        }
    }

    pub(crate) fn on_room(&self) -> Option<OnRoom> {
        self.settings().on_room.clone()
    }

    pub(crate) fn slow_policy(&self) -> Option<SlowPolicy> {
        self.settings().slow_policy
    }

    pub(crate) fn concurrent(&self) -> usize {
        self.settings().concurrent
    }

    /// The types of what its handlers share.
    pub(crate) fn state_types(&self) -> Arc<[TypeId]> {
        self.settings().states.types()
    }

    /// What its handlers share, if anything.
    pub(crate) fn states(&self) -> Option<Arc<States>> {
        let states = self.settings().states.clone();
        (!states.is_empty()).then(|| Arc::new(states))
    }

    pub(crate) fn unhandled(&self) -> Unhandled {
        self.settings().unhandled
    }

    /// Whether a socket may begin; the refusal's data if not. `None` when nobody asks.
    pub(crate) fn authorize(
        &self,
        request: ConnectRequest,
    ) -> Option<impl Future<Output = Result<(), Payload>> + Send + use<>> {
        let authorize = self.settings().authorize.clone();
        (!authorize.is_empty()).then_some(async move {
            for decide in authorize {
                decide(request.clone()).await?;
            }
            Ok(())
        })
    }

    /// The layers around it, those of its server or client outermost.
    pub(crate) fn layers(&self, outer: &Layers) -> Layers {
        outer.clone().and(self.settings().layers.clone())
    }

    pub(super) fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
