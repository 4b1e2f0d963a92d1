//! The UDP sockets that this process listens on, and what is left of them.
//!
//! A QUIC connection lives on the socket of the listener that accepted it; so when the listener is
//! gone and connections are not, the socket stays. It *rests*: whoever arrives is refused. Whoever
//! binds its address, in the same runtime, takes it over.

use super::half_open::Handshakes;
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
    pub(super) handshakes: Handshakes,
    runtime: Handle,
    /// Which one, of those that have had this address.
    socket: u64,
    /// Nothing is read from its socket any more.
    pub(super) has_failed: bool,
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
        Self::on_wrapped(TokioRuntime.wrap_udp_socket(socket)?, address, config)
    }

    pub(super) fn on_wrapped(
        socket: Arc<dyn AsyncUdpSocket>,
        address: SocketAddr,
        config: ServerConfig,
    ) -> io::Result<Self> {
        let (turn, freed) = (next(), Arc::new(Notify::new()));
        let entry = Entry { socket: turn, state: State::Listening, freed };
        // From here on the entry goes when the socket goes. One of a runtime that is gone may
        // still have to.
        let former = { lock().insert(address, entry) };
        drop(former);
        let place = Place { address, socket: turn };
        let socket = Arc::new(Socket { socket, _place: place });
        let (ours, tokio) = (EndpointConfig::default(), Arc::new(TokioRuntime));
        let endpoint = Endpoint::new_with_abstract_socket(ours, Some(config), socket, tokio)?;
        let handshakes = Handshakes::default();
        Ok(Self::with(endpoint, address, handshakes, Handle::current(), turn))
    }

    fn with(
        endpoint: Endpoint,
        address: SocketAddr,
        handshakes: Handshakes,
        runtime: Handle,
        socket: u64,
    ) -> Self {
        Self { endpoint, address, handshakes, runtime, socket, has_failed: false }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Without connections the socket goes with the endpoint's task; who has arrived may become
        // one.
        let is_in_use = self.endpoint.open_connections() > 0 || self.handshakes.count() > 0;
        let rests = is_in_use && !self.has_failed;
        let (turn, taken) = (next(), Arc::new(Notify::new()));
        let state = if rests {
            let (endpoint, runtime) = (self.endpoint.clone(), self.runtime.clone());
            let (handshakes, taken) = (self.handshakes.clone(), Arc::clone(&taken));
            State::Resting(Rest { endpoint, handshakes, runtime, turn, taken })
        } else {
            State::Closing
        };
        let mut sockets = lock();
        // Another may have the address by now, if the runtime of this one is gone.
        let entry = sockets.get_mut(&self.address).filter(|entry| entry.socket == self.socket);
        let Some(entry) = entry else {
            drop(sockets);
            // The socket may go with it, and takes the lock.
            drop(state);
            return;
        };
        entry.state = state;
        drop(sockets);
        if rests {
            let resting = Resting { address: self.address, turn };
            let (endpoint, handshakes) = (self.endpoint.clone(), self.handshakes.clone());
            self.runtime.spawn(rest(endpoint, handshakes, taken, resting));
        }
    }
}

/// Refuses whoever arrives until the last connection is gone, or somebody takes over.
async fn rest(endpoint: Endpoint, handshakes: Handshakes, taken: Arc<Notify>, _resting: Resting) {
    let refusing = async {
        while let Some(incoming) = endpoint.accept().await {
            incoming.refuse();
        }
    };
    let idle = async {
        // None begins meanwhile.
        handshakes.none().await;
        endpoint.wait_idle().await;
    };
    tokio::select! {
        biased;
        () = taken.notified() => {}
        () = idle => {}
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
    let Rest { endpoint, handshakes, runtime, taken, .. } = rest;
    taken.notify_one();
    endpoint.set_server_config(Some(config.clone()));
    Some(Bound::with(endpoint, address, handshakes, runtime, entry.socket))
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
    handshakes: Handshakes,
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
