//! Too many who knock and never go on: they cost little, and others get through.

use super::end::{End, within};
use super::raw::{self, OURS};
use super::{HEAP, address, client_of, meet, server};
use emitwire_core::protocol::Frame;
use emitwire_core::transport::{Incoming, Transport};
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Endpoint, EndpointConfig, TokioRuntime, UdpPoller};
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

/// A socket that keeps what it is to send, and never hears anything.
#[derive(Debug, Default)]
struct Kept(Mutex<Vec<Vec<u8>>>);

impl AsyncUdpSocket for Kept {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Ready)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.0.lock().unwrap().push(transmit.contents.to_vec());
        Ok(())
    }

    fn poll_recv(
        &self,
        _: &mut Context<'_>,
        _: &mut [IoSliceMut<'_>],
        _: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok((Ipv4Addr::LOCALHOST, 1).into())
    }
}

#[derive(Debug)]
struct Ready;

impl UdpPoller for Ready {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The first packets of so many clients.
async fn initials(to: SocketAddr, count: usize) -> Vec<Vec<u8>> {
    let socket = Arc::new(Kept::default());
    let runtime = Arc::new(TokioRuntime);
    let (ours, kept) = (EndpointConfig::default(), Arc::clone(&socket));
    let endpoint = Endpoint::new_with_abstract_socket(ours, None, kept, runtime).unwrap();
    let mut all = Vec::new();
    for _ in 0..count {
        let connecting = endpoint.connect_with(raw::client_config(OURS), to, "localhost").unwrap();
        while socket.0.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        all.append(&mut socket.0.lock().unwrap());
        drop(connecting);
        tokio::task::yield_now().await;
        socket.0.lock().unwrap().clear();
    }
    all
}

/// Answers that a source got, by their kind.
#[derive(Debug, Default)]
struct Answers {
    retries: usize,
    others: usize,
}

/// Many sources, each with an address of its own.
struct Sources(Vec<UdpSocket>);

impl Sources {
    async fn new() -> Self {
        let mut sockets = Vec::new();
        for host in 2..2 + SOURCES {
            sockets.push(UdpSocket::bind((Ipv4Addr::new(127, 0, 0, host), 0)).await.unwrap());
        }
        Self(sockets)
    }

    fn answers(&self) -> Answers {
        let mut answers = Answers::default();
        let mut datagram = [0; 2000];
        for socket in &self.0 {
            while let Ok(bytes) = socket.try_recv(&mut datagram) {
                // A long header of type 3 (RFC 9000 §17.2.5).
                if bytes > 0 && datagram[0] & 0xf0 == 0xf0 {
                    answers.retries += 1;
                } else {
                    answers.others += 1;
                }
            }
        }
        answers
    }
}

async fn ping((client, server): &mut (End, End)) {
    client.write([Frame::ordered("ping")]).await.unwrap();
    assert_eq!(server.read_frames(1).await, [Frame::ordered("ping")]);
}

/// Sends them all, with something said between that has to arrive.
async fn flood(packets: &[Vec<u8>], sources: &Sources, to: SocketAddr, pair: &mut (End, End)) {
    for (number, packet) in packets.iter().enumerate() {
        let source = &sources.0[number % sources.0.len()];
        source.send_to(packet, to).await.unwrap();
        // Fewer than the system's buffer holds.
        if number % 16 == 15 {
            ping(pair).await;
        }
    }
    ping(pair).await;
}

#[tokio::test]
async fn a_flood_of_first_packets_costs_no_memory_and_keeps_nobody_out() {
    let mut listener = server().retry_above(RETRY_ABOVE).bind().await.unwrap();
    let to: SocketAddr = address(&*listener).parse().unwrap();
    let mut pair = meet(&mut *listener, &client_of(&to.to_string())).await;
    let packets = initials(to, 2 * HALF).await;
    let sources = Sources::new().await;
    let (served, mut arrived) = mpsc::unbounded_channel();
    let accepting = tokio::spawn(async move {
        let mut count = 0;
        loop {
            let arrival: Box<dyn Incoming> = listener.accept().await.unwrap();
            count += 1;
            let served = served.clone();
            // As a server does it, but without a deadline.
            tokio::spawn(async move {
                if let Ok(connection) = arrival.handshake().await {
                    let _ = served.send((count, End::new(connection)));
                }
            });
        }
    });
    let before = HEAP.current_usage();
    flood(&packets[..HALF], &sources, to, &mut pair).await;
    let answers = sources.answers();
    let half = HEAP.current_usage().saturating_sub(before);
    assert!(half < HALF_OPEN_BYTES_MAX, "{half} bytes for {RETRY_ABOVE} handshakes");
    // As many as were let in are answered with a handshake, the others are sent back.
    assert!(answers.retries >= HALF - RETRY_ABOVE - 10, "{answers:?}");
    assert!(answers.others >= 1, "{answers:?}");
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    flood(&packets[HALF..], &sources, to, &mut pair).await;
    let more = HEAP.peak_usage().saturating_sub(before);
    assert!(more < MORE_BYTES_MAX, "{more} bytes more at the peak");
    assert!(sources.answers().retries >= HALF - 10);
    eprintln!("{half} bytes for {RETRY_ABOVE} handshakes, {more} more at the peak, {answers:?}");
    // Who comes back from where it was sent is let in.
    let mut client = End::new(within(client_of(&to.to_string()).connect()).await.unwrap());
    let (count, mut server) = within(arrived.recv()).await.unwrap();
    assert!(count <= RETRY_ABOVE + 1, "{count} were let in");
    client.write([Frame::ordered("hello")]).await.unwrap();
    assert_eq!(server.read_frames(1).await, [Frame::ordered("hello")]);
    accepting.abort();
}

#[tokio::test]
async fn above_the_second_bound_nobody_is_answered_until_there_is_room() {
    let mut listener = server().retry_above(usize::MAX).half_open_max(2).bind().await.unwrap();
    let to: SocketAddr = address(&*listener).parse().unwrap();
    let packets = initials(to, 10).await;
    let sources = Sources::new().await;
    for (packet, source) in packets.iter().zip(&sources.0) {
        source.send_to(packet, to).await.unwrap();
    }
    let held = (listener.accept().await.unwrap(), listener.accept().await.unwrap());
    let client = client_of(&to.to_string());
    let mut connecting = client.connect();
    // The others were ignored, and so is this one.
    tokio::select! {
        biased;
        _ = listener.accept() => panic!("there was no room"),
        _ = &mut connecting => panic!("nobody answered"),
        () = tokio::time::sleep(STILL) => {}
    }
    let answers = sources.answers();
    assert_eq!((answers.retries, answers.others), (0, 0));
    drop(held);
    let accepting = async {
        loop {
            // It asks again by itself; those who were refused do not.
            if let Ok(connection) = listener.accept().await.unwrap().handshake().await {
                return End::new(connection);
            }
        }
    };
    let (client, _server) = within(async { tokio::join!(connecting, accepting) }).await;
    client.unwrap();
}

/// Each source is an address.
const SOURCES: u8 = 100;

/// So many first packets, twice.
const HALF: usize = 1500;

const RETRY_ABOVE: usize = 64;

/// What so many handshakes may cost that are not finished: 64 KiB each.
const HALF_OPEN_BYTES_MAX: usize = RETRY_ABOVE * 64 * 1024;

/// What any number of further packets may cost.
const MORE_BYTES_MAX: usize = 512 * 1024;

/// That nothing happens is seen by waiting.
const STILL: std::time::Duration = std::time::Duration::from_millis(300);
