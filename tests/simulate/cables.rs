//! A client's wire: a fresh cable for each connection, so that an old one can lie in its grave, or
//! rise from it, while the client is on another.

use emitwire::transport::{self, Listener};
use emitwire::{BindError, Chaos, ConnectError, Direction, Faults, Memory, Transport, async_trait};
use std::io;
use std::sync::{Arc, Mutex};

/// All cables of one client to one door.
#[derive(Clone)]
pub(crate) struct Cables(Arc<Shared>);

struct Shared {
    door: String,
    seed: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    laid: Vec<Cable>,
    weather: Faults,
    is_unreachable: bool,
    is_abandoned: bool,
}

/// One cable. What breaks at the client's plug need not be felt at the other end: the cable behind
/// it may be cut.
#[derive(Clone)]
pub(crate) struct Cable {
    plug: Chaos<Chaos<Memory>>,
    behind: Chaos<Memory>,
}

impl Cables {
    pub(crate) fn new(door: &str, seed: u64) -> Self {
        Self(Arc::new(Shared { door: door.to_owned(), seed, state: Mutex::default() }))
    }

    /// Those of another process.
    pub(crate) fn successor(&self) -> Self {
        Self::new(&self.0.door, self.0.seed.wrapping_add(1 << 32))
    }

    /// The name that it leads to.
    pub(crate) fn door(&self) -> &str {
        &self.0.door
    }

    /// The one that is in use, if there was ever one.
    pub(crate) fn last(&self) -> Option<Cable> {
        self.0.state.lock().unwrap().laid.last().cloned()
    }

    /// Nothing is ever connected by it again; what is on the last one arrives when that is healed.
    pub(crate) fn abandon(&self) {
        self.0.state.lock().unwrap().is_abandoned = true;
    }

    /// How the present cables and those to come carry.
    pub(crate) fn set_weather(&self, weather: Faults) {
        let mut state = self.0.state.lock().unwrap();
        state.weather = weather;
        state.laid.iter().for_each(|cable| cable.behind.set(Direction::Both, weather));
    }

    /// Whether nobody can be reached.
    pub(crate) fn set_unreachable(&self, is_unreachable: bool) {
        self.0.state.lock().unwrap().is_unreachable = is_unreachable;
    }

    /// All is well from now on.
    pub(crate) fn mend(&self) {
        self.set_unreachable(false);
        self.set_weather(Faults::new());
        let laid = self.0.state.lock().unwrap().laid.clone();
        laid.iter().for_each(Cable::mend);
    }
}

impl Cable {
    /// Silence, one way or both.
    pub(crate) fn cut(&self, direction: Direction) {
        self.behind.cut(direction);
    }

    /// What was silent speaks again; what waited arrives.
    pub(crate) fn heal(&self) {
        self.behind.heal(Direction::Both);
    }

    /// Both ends feel it at once.
    pub(crate) fn sever(&self) {
        self.behind.sever();
    }

    /// The client feels it; the server only when the cable is healed.
    pub(crate) fn sever_unnoticed(&self) {
        self.behind.cut(Direction::Both);
        self.plug.sever();
    }

    /// The client reads so much a second, or nothing.
    pub(crate) fn slow(&self, bytes_per_second: Option<u64>) {
        match bytes_per_second {
            Some(bytes) => self.plug.slow(bytes),
            None => self.plug.stall(),
        }
    }

    pub(crate) fn mend(&self) {
        self.plug.resume();
        self.heal();
    }
}

#[async_trait]
impl Transport for Cables {
    fn endpoint(&self) -> String {
        Memory::new(&*self.0.door).endpoint()
    }

    async fn bind(&self) -> Result<Box<dyn Listener>, BindError> {
        Memory::new(&*self.0.door).bind().await
    }

    async fn connect(&self) -> Result<Box<dyn transport::Connection>, ConnectError> {
        let cable = {
            let mut state = self.0.state.lock().unwrap();
            if state.is_unreachable || state.is_abandoned {
                let source = io::ErrorKind::NetworkUnreachable.into();
                return Err(ConnectError::Unreachable { endpoint: self.endpoint(), source });
            }
            let seed = self.0.seed.wrapping_add(state.laid.len() as u64);
            let behind = Chaos::new(Memory::new(&*self.0.door), seed);
            behind.set(Direction::Both, state.weather);
            let cable = Cable { plug: Chaos::new(behind.clone(), seed), behind };
            state.laid.push(cable.clone());
            cable
        };
        cable.plug.connect().await
    }
}
