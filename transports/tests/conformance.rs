//! The conformance kit on every wire: what each declares is what it keeps.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use async_trait::async_trait;
use emitwire_core::transport::conformance::Conformance;
use emitwire_core::transport::{
    BindError, Capabilities, ConnectError, Connection, HandshakeError, Incoming, Listener, Peer,
    ReadHalf, Transport, WriteHalf,
};
use emitwire_transports::{Tcp, Ws, framed};
use peak_alloc::PeakAlloc;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The most bytes on the heap since this was last called.
fn peak_bytes() -> usize {
    let peak = HEAP.peak_usage();
    HEAP.reset_peak_usage();
    peak
}

/// Runs every check on the wire that listens at `address` of this machine.
fn holds<T: Transport>(least: Capabilities, wire: fn(&str) -> T, address: &'static str) {
    let suite = Conformance::new(move || wire(address), wire).at_least(least);
    let suite = suite.live_bytes(|| HEAP.current_usage()).peak_bytes(peak_bytes);
    println!("{}", suite.run().unwrap());
}

#[cfg(feature = "unix")]
mod unix {
    use super::*;
    use emitwire_transports::Unix;

    /// Runs every check on sockets of a directory of their own.
    fn holds(least: Capabilities, wire: fn(&str) -> Unix) {
        if cfg!(not(unix)) {
            println!("skipped: there are no Unix sockets on this system");
            return;
        }
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let next = || NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("emitwire-conformance-{}-{}", std::process::id(), next());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory).unwrap();
        let sockets = directory.clone();
        let fresh = move || wire(&format!("unix://{}/{}", sockets.display(), next()));
        let suite = Conformance::new(fresh, wire).at_least(least.encrypted());
        let suite = suite.live_bytes(|| HEAP.current_usage()).peak_bytes(peak_bytes);
        let report = suite.run();
        let left = std::fs::read_dir(&directory).unwrap().count();
        std::fs::remove_dir_all(&directory).unwrap();
        println!("{}", report.unwrap());
        assert_eq!(left, 0, "no file is left");
    }

    #[test]
    fn a_unix_socket_keeps_what_it_declares() {
        holds(Capabilities::stream(FRAME_BYTES_MAX), |url| Unix::new(&url[7..]));
    }

    #[test]
    fn a_unix_socket_with_smaller_frames_keeps_what_it_declares() {
        let unix = |url: &str| Unix::new(&url[7..]).frame_bytes_max(CUT_FRAME_BYTES_MAX);
        holds(Capabilities::stream(CUT_FRAME_BYTES_MAX), unix);
    }

    /// A system takes a write of less than about half its buffer whole or not at all, so that a
    /// peer which goes is always between two frames. The suite wants to see one cut.
    const CUT_FRAME_BYTES_MAX: usize = 300_000;
}

/// The largest frame of the wires unless they are told otherwise.
const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

#[test]
fn tcp_keeps_what_it_declares() {
    holds(Capabilities::stream(FRAME_BYTES_MAX), |url| Tcp::new(&url[6..]), "tcp://127.0.0.1:0");
}

#[test]
fn tcp_with_small_frames_keeps_what_it_declares() {
    let tcp = |url: &str| Tcp::new(&url[6..]).frame_bytes_max(1000);
    holds(Capabilities::stream(1000), tcp, "tcp://127.0.0.1:0");
}

#[test]
fn websocket_keeps_what_it_declares() {
    let least = without_half_close(FRAME_BYTES_MAX);
    holds(least, |url| Ws::new(&url[5..]), "ws://127.0.0.1:0");
}

#[test]
fn websocket_with_small_frames_keeps_what_it_declares() {
    let ws = |url: &str| Ws::new(&url[5..]).frame_bytes_max(1000);
    holds(without_half_close(1000), ws, "ws://127.0.0.1:0");
}

#[cfg(feature = "tls")]
#[test]
fn tls_keeps_what_it_declares() {
    let tls = |url: &str| Tcp::new(&url[6..]).tls(TLS.clone());
    holds(Capabilities::stream(FRAME_BYTES_MAX).encrypted(), tls, "tls://127.0.0.1:0");
}

#[cfg(feature = "tls")]
#[test]
fn an_encrypted_websocket_keeps_what_it_declares() {
    let least = without_half_close(FRAME_BYTES_MAX).encrypted();
    holds(least, |url| Ws::new(&url[6..]).tls(TLS.clone()), "wss://127.0.0.1:0");
}

/// Both ends': a certificate, and trust in it alone.
#[cfg(any(feature = "quic", feature = "tls"))]
static TLS: LazyLock<emitwire_transports::Tls> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = made.signing_key.serialize_pem();
    let tls = emitwire_transports::Tls::pem(made.cert.pem(), key).unwrap();
    let fingerprint = tls.fingerprint().unwrap();
    tls.pin(fingerprint).unwrap()
});

#[cfg(feature = "quic")]
mod quic {
    use super::*;
    use emitwire_transports::Quic;

    #[test]
    fn quic_keeps_what_it_declares() {
        holds(FRAME_BYTES_MAX, DATAGRAM_BYTES_MAX);
    }

    #[test]
    fn quic_with_small_frames_keeps_what_it_declares() {
        holds(1000, 1000);
    }

    /// Runs every check, with the datagrams that it has on any path.
    fn holds(frame_bytes_max: usize, datagram_bytes_max: usize) {
        let mut least = Capabilities::stream(frame_bytes_max).encrypted();
        least.datagram_bytes_max = Some(datagram_bytes_max);
        let wire =
            move |url: &str| Quic::new(&url[7..]).tls(TLS.clone()).frame_bytes_max(frame_bytes_max);
        let suite = Conformance::new(move || wire("quic://127.0.0.1:0"), wire).at_least(least);
        let suite = suite.connections(CONNECTIONS).short_connections(SHORT_CONNECTIONS);
        let suite = suite.live_bytes(|| HEAP.current_usage()).peak_bytes(peak_bytes);
        println!("{}", suite.run().unwrap());
    }

    /// 1200 bytes, less the headers with the longest connection id, and the tag.
    const DATAGRAM_BYTES_MAX: usize = 1150;

    /// A connection costs both ends the cryptography of a handshake, and each close a delayed
    /// acknowledgement (25 ms, RFC 9000 §13.2.1): the default of 10,000 is for wires without.
    const SHORT_CONNECTIONS: usize = 2000;
    const CONNECTIONS: usize = 300;
}

/// What a WebSocket declares: its close is for both directions.
fn without_half_close(frame_bytes_max: usize) -> Capabilities {
    let mut least = Capabilities::stream(frame_bytes_max);
    least.half_close = false;
    least
}

#[test]
fn a_pipe_that_holds_less_than_a_frame_keeps_what_it_declares() {
    let suite = Conformance::new(Pipe::fresh, |url| Pipe(url.to_owned()));
    let suite = suite.at_least(Capabilities::stream(PIPE_FRAME_BYTES_MAX)).short_connections(1000);
    // A hundred bytes at a time are many wake-ups.
    let suite = suite.deadline(Duration::from_secs(30));
    println!("{}", suite.run().unwrap());
}

/// A wire within the process that holds a hundred bytes in each direction.
struct Pipe(String);

impl Pipe {
    fn fresh() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Self(format!("pipe://{}", NEXT.fetch_add(1, Ordering::Relaxed)))
    }
}

#[async_trait]
impl Transport for Pipe {
    fn endpoint(&self) -> String {
        self.0.clone()
    }

    async fn bind(&self) -> Result<Box<dyn Listener>, BindError> {
        let mut listening = LISTENING.lock().unwrap();
        if listening.contains_key(&self.0) {
            return Err(BindError::InUse { endpoint: self.0.clone() });
        }
        let (sender, receiver) = unbounded_channel();
        listening.insert(self.0.clone(), sender);
        Ok(Box::new(PipeListener { endpoint: self.0.clone(), receiver }))
    }

    async fn connect(&self) -> Result<Box<dyn Connection>, ConnectError> {
        let (client, server) = tokio::io::duplex(PIPE_BYTES);
        let server = PipeEnd { stream: server, endpoint: self.0.clone() };
        let sender = LISTENING.lock().unwrap().get(&self.0).cloned();
        if sender.is_some_and(|sender| sender.send(server).is_ok()) {
            return Ok(Box::new(PipeEnd { stream: client, endpoint: self.0.clone() }));
        }
        let source = io::ErrorKind::ConnectionRefused.into();
        Err(ConnectError::Unreachable { endpoint: self.0.clone(), source })
    }
}

struct PipeListener {
    endpoint: String,
    receiver: UnboundedReceiver<PipeEnd>,
}

#[async_trait]
impl Listener for PipeListener {
    fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    async fn accept(&mut self) -> io::Result<Box<dyn Incoming>> {
        Ok(Box::new(self.receiver.recv().await.unwrap()))
    }
}

impl Drop for PipeListener {
    fn drop(&mut self) {
        LISTENING.lock().unwrap().remove(&self.endpoint);
    }
}

struct PipeEnd {
    stream: DuplexStream,
    endpoint: String,
}

#[async_trait]
impl Incoming for PipeEnd {
    async fn handshake(self: Box<Self>) -> Result<Box<dyn Connection>, HandshakeError> {
        Ok(self)
    }
}

impl Connection for PipeEnd {
    fn peer(&self) -> Peer {
        Peer::new(self.endpoint.as_str())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::stream(PIPE_FRAME_BYTES_MAX)
    }

    fn split(self: Box<Self>) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>) {
        let (read, write) = tokio::io::split(self.stream);
        framed(read, write, PIPE_FRAME_BYTES_MAX)
    }
}

/// The listeners of this process, by their names.
static LISTENING: LazyLock<Mutex<HashMap<String, UnboundedSender<PipeEnd>>>> =
    LazyLock::new(Mutex::default);

const PIPE_BYTES: usize = 100;
const PIPE_FRAME_BYTES_MAX: usize = 100_000;
