//! The UDP sockets that this process listens on, and what is left of them.
//!
//! A QUIC connection lives on the socket of the listener that accepted it; so when the listener is
//! gone and connections are not, the socket stays. It *rests*: whoever arrives is refused. Whoever
//! binds its address, in the same runtime, takes it over.

use quinn::udp::{RecvMeta, Transmit};
use quinn::{
    AsyncUdpSocket, Endpoint, EndpointConfig, Runtime, ServerConfig, TokioRuntime, UdpPoller,
};
use std::collections::HashMap;
use std::io::{self, IoSliceMut};
use std::mem;
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::timeout;

/// An endpoint that listens. Dropping it lets its socket rest, or closes it.
pub(super) struct Bound {
    pub(super) endpoint: Endpoint,
    pub(super) address: SocketAddr,
    runtime: Handle,
}

impl Bound {
    /// Listens at an address: on a socket of its own, or on one that rests.
    pub(super) async fn new(address: SocketAddr, config: ServerConfig) -> io::Result<Self> {
        match UdpSocket::bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if let Some(bound) = take_over(address, &config) {
                    return Ok(bound);
                }
                closed(address).await;
                Self::on(UdpSocket::bind(address)?, config)
            }
            socket => Self::on(socket?, config),
        }
    }

    fn on(socket: UdpSocket, config: ServerConfig) -> io::Result<Self> {
        let address = socket.local_addr()?;
        let (turn, freed) = (next(), Arc::new(Notify::new()));
        let entry = Entry { socket: turn, state: State::Listening, freed };
        // From here on the entry goes when the socket goes. One of a runtime that is gone may
        // still have to.
        let former = { lock().insert(address, entry) };
        drop(former);
        let place = Place { address, socket: turn };
        let tokio = Arc::new(TokioRuntime);
        let socket = Arc::new(Socket { socket: tokio.wrap_udp_socket(socket)?, _place: place });
        let (ours, config) = (EndpointConfig::default(), Some(config));
        let endpoint = Endpoint::new_with_abstract_socket(ours, config, socket, tokio)?;
        Ok(Self { endpoint, address, runtime: Handle::current() })
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Without connections the socket goes with the endpoint's task.
        let rests = self.endpoint.open_connections() > 0;
        let (turn, taken) = (next(), Arc::new(Notify::new()));
        let state = if rests {
            let (endpoint, runtime) = (self.endpoint.clone(), self.runtime.clone());
            State::Resting(Rest { endpoint, runtime, turn, taken: Arc::clone(&taken) })
        } else {
            State::Closing
        };
        if let Some(entry) = lock().get_mut(&self.address) {
            entry.state = state;
        }
        if rests {
            let resting = Resting { address: self.address, turn };
            self.runtime.spawn(rest(self.endpoint.clone(), taken, resting));
        }
    }
}

/// Refuses whoever arrives until the last connection is gone, or somebody takes over.
async fn rest(endpoint: Endpoint, taken: Arc<Notify>, _resting: Resting) {
    let refusing = async {
        while let Some(incoming) = endpoint.accept().await {
            incoming.refuse();
        }
    };
    tokio::select! {
        biased;
        () = taken.notified() => {}
        () = endpoint.wait_idle() => {}
        () = refusing => {}
    }
}

/// Lets go of a socket that has rested, also when its runtime is gone.
struct Resting {
    address: SocketAddr,
    turn: u64,
}

impl Drop for Resting {
    fn drop(&mut self) {
        let mut sockets = lock();
        let Some(entry) = sockets.get_mut(&self.address) else { return };
        if matches!(&entry.state, State::Resting(rest) if rest.turn == self.turn) {
            let rested = mem::replace(&mut entry.state, State::Closing);
            drop(sockets);
            // The socket may go with it, and takes the lock.
            drop(rested);
        }
    }
}

/// Listens on the socket that rests at this address, if there is one of this runtime.
fn take_over(address: SocketAddr, config: &ServerConfig) -> Option<Bound> {
    let mut sockets = lock();
    let entry = sockets.get_mut(&address)?;
    let here = Handle::current().id();
    if !matches!(&entry.state, State::Resting(rest) if rest.runtime.id() == here) {
        return None;
    }
    let State::Resting(rest) = mem::replace(&mut entry.state, State::Listening) else {
        return None;
    };
    rest.taken.notify_one();
    rest.endpoint.set_server_config(Some(config.clone()));
    Some(Bound { endpoint: rest.endpoint, address, runtime: rest.runtime })
}

/// Waits for a socket of this process that is about to be closed, for a while.
async fn closed(address: SocketAddr) {
    let freed = match lock().get(&address) {
        Some(entry) if matches!(entry.state, State::Closing) => {
            Arc::clone(&entry.freed).notified_owned()
        }
        _ => return,
    };
    let _ = timeout(CLOSING, freed).await;
}

/// A socket of this process.
struct Entry {
    /// Which one, of those that have had this address.
    socket: u64,
    state: State,
    freed: Arc<Notify>,
}

enum State {
    Listening,
    Resting(Rest),
    Closing,
}

struct Rest {
    endpoint: Endpoint,
    runtime: Handle,
    /// Which rest of the socket this is.
    turn: u64,
    taken: Arc<Notify>,
}

/// The entry of a socket that is open.
#[derive(Debug)]
struct Place {
    address: SocketAddr,
    socket: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut sockets = lock();
        if sockets.get(&self.address).is_some_and(|entry| entry.socket == self.socket) {
            let former = sockets.remove(&self.address);
            drop(sockets);
            if let Some(entry) = former {
                entry.freed.notify_waiters();
            }
        }
    }
}

/// A socket that knows when it is closed; the fields are dropped in their order.
#[derive(Debug)]
struct Socket {
    socket: Arc<dyn AsyncUdpSocket>,
    _place: Place,
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.socket).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.socket.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_recv(cx, bufs, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

fn lock() -> MutexGuard<'static, HashMap<SocketAddr, Entry>> {
    static SOCKETS: LazyLock<Mutex<HashMap<SocketAddr, Entry>>> = LazyLock::new(Mutex::default);
    SOCKETS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number that no socket and no rest of one has had.
fn next() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// How long somebody waits for a socket that is about to be closed.
const CLOSING: Duration = Duration::from_secs(1);
