//! Ports: closed ones, those that are in use, and those that outlive their listener.

use super::end::{End, within};
use super::raw;
use super::{accept, address, client_of, meet, server, server_at};
use emitwire_core::protocol::Frame;
use emitwire_core::transport::{BindError, ConnectError, Transport};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Long enough that whoever waits for it fails.
const NEVER: Duration = Duration::from_secs(3600);

async fn ping(one: &mut End, other: &mut End) {
    one.write([Frame::ordered("ping")]).await.unwrap();
    assert_eq!(other.read_frames(1).await, [Frame::ordered("ping")]);
    other.write([Frame::ordered("pong")]).await.unwrap();
    assert_eq!(one.read_frames(1).await, [Frame::ordered("pong")]);
}

async fn is_refused(address: &str) {
    let connecting = client_of(address).connect_timeout(NEVER);
    let error = within(connecting.connect()).await.err().unwrap();
    let ConnectError::Unreachable { endpoint, source } = error else { panic!("{error:?}") };
    assert_eq!(endpoint, format!("quic://{address}"));
    assert_eq!(source.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_closed_port_is_told_at_once() {
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    is_refused(&closed.to_string()).await;
    let error = client_of("no port").connect().await.err().unwrap();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_port_that_does_not_answer_is_given_up_in_time() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let after = Duration::from_millis(200);
    let error = within(client_of(&address).connect_timeout(after).connect()).await.err().unwrap();
    let ConnectError::Timeout { after: given } = error else { panic!("{error:?}") };
    assert_eq!(given, after);
}

#[tokio::test]
async fn a_port_is_in_use_while_somebody_listens() {
    let mut listener = server().bind().await.unwrap();
    let to = address(&*listener);
    for _ in 0..2 {
        let error = server_at(&to).bind().await.err().unwrap();
        let in_use =
            matches!(&error, BindError::InUse { endpoint } if *endpoint == listener.endpoint());
        assert!(in_use, "{error:?}");
        meet(&mut *listener, &client_of(&to)).await;
    }
    let foreign = UdpSocket::bind("127.0.0.1:0").unwrap();
    let error = server_at(&foreign.local_addr().unwrap().to_string()).bind().await.err().unwrap();
    assert!(matches!(error, BindError::InUse { .. }), "{error:?}");
}

#[tokio::test]
async fn a_listener_that_comes_back_takes_over_the_socket_of_living_connections() {
    let mut listener = server().bind().await.unwrap();
    let to = address(&*listener);
    let mut pairs = Vec::new();
    for _ in 0..3 {
        pairs.push(meet(&mut *listener, &client_of(&to)).await);
        drop(listener);
        // Nobody listens: who comes is told so, and those who are there go on.
        is_refused(&to).await;
        for (client, server) in &mut pairs {
            ping(client, server).await;
        }
        listener = server_at(&to).bind().await.unwrap();
        let error = server_at(&to).bind().await.err().unwrap();
        assert!(matches!(error, BindError::InUse { .. }), "{error:?}");
    }
    let (mut client, mut server) = meet(&mut *listener, &client_of(&to)).await;
    ping(&mut client, &mut server).await;
    for (client, server) in &mut pairs {
        ping(client, server).await;
    }
}

/// Until the system would give the port to another process.
async fn freed(address: &str) {
    let freed = async {
        while UdpSocket::bind(address).is_err() {
            tokio::task::yield_now().await;
        }
    };
    within(freed).await;
}

#[tokio::test]
async fn a_port_is_free_for_others_when_its_connections_are_gone() {
    let mut listener = server().bind().await.unwrap();
    let to = address(&*listener);
    let pair = meet(&mut *listener, &client_of(&to)).await;
    drop(listener);
    assert!(UdpSocket::bind(&to).is_err());
    drop(pair);
    freed(&to).await;
    // One without connections is free at once, for this process too.
    for _ in 0..100 {
        drop(server_at(&to).bind().await.unwrap());
    }
    freed(&to).await;
}

#[test]
fn a_socket_of_another_runtime_is_not_taken_over() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let (one, other) = (runtime(), runtime());
    let (to, pair) = one.block_on(async {
        let mut listener = server().bind().await.unwrap();
        let to = address(&*listener);
        (to.clone(), meet(&mut *listener, &client_of(&to)).await)
    });
    let error = other.block_on(server_at(&to).bind()).err().unwrap();
    assert!(matches!(error, BindError::InUse { .. }), "{error:?}");
    drop(one);
    drop(pair);
    // What rested went with its runtime.
    other.block_on(async {
        let mut listener = server_at(&to).bind().await.unwrap();
        meet(&mut *listener, &client_of(&to)).await;
    });
}

#[tokio::test]
async fn an_arrival_outlives_its_listener() {
    let mut listener = server().bind().await.unwrap();
    let to = address(&*listener);
    let client = client_of(&to);
    let accepting = async {
        let arrival = listener.accept().await.unwrap();
        drop(listener);
        End::new(arrival.handshake().await.unwrap())
    };
    let (client, mut server) = within(async { tokio::join!(client.connect(), accepting) }).await;
    ping(&mut End::new(client.unwrap()), &mut server).await;
}

#[tokio::test]
async fn beside_an_arrival_that_outlives_its_listener_others_are_refused_and_the_next_listens() {
    let mut listener = server().bind().await.unwrap();
    let to = address(&*listener);
    let client = client_of(&to);
    let mut connecting = client.connect();
    let arrival = tokio::select! {
        arrival = listener.accept() => arrival.unwrap(),
        _ = &mut connecting => unreachable!("nobody has answered"),
    };
    drop(listener);
    is_refused(&to).await;
    let mut listener = server_at(&to).bind().await.unwrap();
    let (mut one, mut other) = meet(&mut *listener, &client_of(&to)).await;
    ping(&mut one, &mut other).await;
    // Its count goes with the socket to whoever listens next.
    drop((listener, one, other));
    let (client, late) = within(async { tokio::join!(connecting, arrival.handshake()) }).await;
    let (mut client, mut late) = (End::new(client.unwrap()), End::new(late.unwrap()));
    ping(&mut client, &mut late).await;
    drop((client, late));
    freed(&to).await;
}

#[tokio::test]
async fn a_name_is_looked_up_and_its_addresses_are_tried_in_turn() {
    // Where it has two, nobody listens at the other.
    for at in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(mut listener) = server_at(at).bind().await else { continue };
        let port = listener.endpoint().rsplit_once(':').unwrap().1.to_owned();
        let known: Vec<SocketAddr> =
            format!("localhost:{port}").to_socket_addrs().unwrap().collect();
        if !known.iter().any(|known| address(&*listener) == known.to_string()) {
            eprintln!("skipped, {at} has no name here");
            continue;
        }
        let client = client_of(&format!("localhost:{port}")).connect_timeout(NEVER);
        let (mut client, mut server) = meet(&mut *listener, &client).await;
        ping(&mut client, &mut server).await;
    }
}

#[tokio::test]
async fn an_ipv6_address_stands_in_brackets() {
    if let Err(error) = UdpSocket::bind("[::1]:0") {
        eprintln!("skipped, this machine has no IPv6: {error}");
        return;
    }
    let mut listener = server_at("[::1]:0").bind().await.unwrap();
    assert!(listener.endpoint().starts_with("quic://[::1]:"), "{}", listener.endpoint());
    let client = client_of(&address(&*listener));
    let (mut client, mut server) = meet(&mut *listener, &client).await;
    ping(&mut client, &mut server).await;
    assert!(server.peer.endpoint().starts_with("quic://[::1]:"));
    assert_eq!(client.peer.endpoint(), listener.endpoint());
}

#[tokio::test]
async fn a_socket_for_both_families_names_ipv4_peers_as_such() {
    let Ok(mut listener) = server_at("[::]:0").bind().await else { return };
    let port = listener.endpoint().rsplit_once(':').unwrap().1.to_owned();
    let client = client_of(&format!("127.0.0.1:{port}"));
    let connecting = client.connect();
    let Ok(arrival) = tokio::time::timeout(Duration::from_secs(2), async {
        tokio::join!(connecting, accept(&mut *listener))
    })
    .await
    else {
        eprintln!("skipped, IPv6 sockets here are for IPv6 alone");
        return;
    };
    assert!(arrival.1.peer.endpoint().starts_with("quic://127.0.0.1:"));
}

#[tokio::test]
async fn an_address_of_another_machine_is_not_available() {
    // 192.0.2.0/24 belongs to nobody (RFC 5737).
    for address in ["192.0.2.1:0", "no port", "127.0.0.1:99999"] {
        let error = server_at(address).bind().await.err().unwrap();
        assert!(matches!(error, BindError::NotAvailable { .. }), "{address}: {error:?}");
    }
}

#[tokio::test]
async fn connections_may_share_an_endpoint_that_is_given() {
    let (mine, _) = raw::server(raw::OURS, quinn::TransportConfig::default());
    let local = mine.local_addr().unwrap();
    let mut listener = server().endpoint(mine.clone()).bind().await.unwrap();
    assert_eq!(listener.endpoint(), format!("quic://{local}"));
    let theirs = raw::client(raw::OURS);
    let from = format!("quic://{}", theirs.local_addr().unwrap());
    let client = client_of(&local.to_string()).endpoint(theirs);
    let (mut one, mut other) =
        (meet(&mut *listener, &client).await, meet(&mut *listener, &client).await);
    assert_eq!((one.1.peer.endpoint(), other.1.peer.endpoint()), (&*from, &*from));
    drop(listener);
    ping(&mut one.0, &mut one.1).await;
    ping(&mut other.0, &mut other.1).await;
}

/// A socket that leads elsewhere than those of the system.
#[derive(Debug)]
struct Tunnel {
    socket: Arc<dyn quinn::AsyncUdpSocket>,
    inside: SocketAddr,
    outside: SocketAddr,
}

impl quinn::AsyncUdpSocket for Tunnel {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn quinn::UdpPoller>> {
        Arc::clone(&self.socket).create_io_poller()
    }

    fn try_send(&self, transmit: &quinn::udp::Transmit<'_>) -> io::Result<()> {
        let quinn::udp::Transmit { ecn, contents, segment_size, src_ip, .. } = *transmit;
        let destination = self.outside;
        let there = quinn::udp::Transmit { destination, ecn, contents, segment_size, src_ip };
        self.socket.try_send(&there)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [io::IoSliceMut<'_>],
        meta: &mut [quinn::udp::RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let read = ready!(self.socket.poll_recv(cx, bufs, meta))?;
        meta[..read].iter_mut().for_each(|meta| meta.addr = self.inside);
        Poll::Ready(Ok(read))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

#[tokio::test]
async fn an_endpoint_that_is_given_may_reach_what_the_system_does_not() {
    let mut listener = server().bind().await.unwrap();
    let outside = address(&*listener).parse().unwrap();
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let runtime = Arc::new(quinn::TokioRuntime);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let socket = quinn::Runtime::wrap_udp_socket(&*runtime, socket).unwrap();
    let tunnel = Arc::new(Tunnel { socket, inside: closed, outside });
    let ours = quinn::EndpointConfig::default();
    let endpoint = quinn::Endpoint::new_with_abstract_socket(ours, None, tunnel, runtime).unwrap();
    let client = client_of(&closed.to_string()).connect_timeout(NEVER).endpoint(endpoint);
    let accepting = async {
        let arrival = listener.accept().await.unwrap();
        // Time enough for the system to say that nobody is at the closed port.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        End::new(arrival.handshake().await.unwrap())
    };
    let (client, mut server) = within(async { tokio::join!(client.connect(), accepting) }).await;
    ping(&mut End::new(client.unwrap()), &mut server).await;
}

#[tokio::test]
async fn configurations_of_quinn_are_taken_as_they_are() {
    let mut theirs = quinn::TransportConfig::default();
    theirs.datagram_receive_buffer_size(None);
    let mut config = raw::server_config(raw::OURS);
    config.transport_config(Arc::new(theirs));
    let quic = emitwire_transports::Quic::new("127.0.0.1:0").server_config(config);
    let mut listener = quic.bind().await.unwrap();
    let to = address(&*listener);
    let client = emitwire_transports::Quic::new(&*to).client_config(raw::client_config(raw::OURS));
    let (mut client, mut server) = meet(&mut *listener, &client).await;
    // It takes no datagrams.
    client.write([Frame::volatile("tick")]).await.unwrap();
    assert_eq!(server.read_frames(1).await, [Frame::ordered("tick")]);
}
