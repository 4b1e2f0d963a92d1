//! Peers that speak QUIC but not this wire, and those that speak neither.

use super::end::{End, within};
use super::raw::{self, OURS, framed};
use super::{accept, address, client_of, meet, server};
use emitwire_core::protocol::Frame;
use emitwire_core::transport::{ConnectError, HandshakeError, Transport};
use quinn::{ConnectionError, TransportConfig};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use tokio::net::UdpSocket;

fn is_pending(future: impl Future) -> bool {
    pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

#[tokio::test]
async fn a_client_of_another_protocol_is_not_offered_it() {
    let mut listener = server().bind().await.unwrap();
    let to = address(&*listener).parse().unwrap();
    for alpn in [&[b"h3".as_slice()][..], &[]] {
        let endpoint = raw::client(alpn);
        let connecting = endpoint.connect(to, "localhost").unwrap();
        let handshaking = async { listener.accept().await.unwrap().handshake().await };
        let (client, ours) = within(async { tokio::join!(connecting, handshaking) }).await;
        assert!(matches!(ours, Err(HandshakeError::NotOffered { .. })), "{:?}", ours.err());
        assert!(matches!(client, Err(ConnectionError::ConnectionClosed(_))), "{client:?}");
    }
}

#[tokio::test]
async fn a_server_of_another_protocol_does_not_offer_this_one() {
    for alpn in [&[b"h3".as_slice()][..], &[]] {
        let (endpoint, to) = raw::server(alpn, TransportConfig::default());
        let accepting = async { endpoint.accept().await.unwrap().await };
        let client = client_of(&to);
        let (client, _) = within(async { tokio::join!(client.connect(), accepting) }).await;
        let Err(ConnectError::Handshake { endpoint, source }) = client else { panic!("{alpn:?}") };
        assert_eq!(endpoint, format!("quic://{to}"));
        assert!(matches!(source, HandshakeError::NotOffered { .. }), "{source:?}");
    }
}

#[tokio::test]
async fn a_stream_that_does_not_begin_as_one_of_this_wire_is_refused() {
    let mut listener = server().bind().await.unwrap();
    let endpoint = raw::client(OURS);
    for begin in [&[0][..], b"GET / HTTP/1.1", &[]] {
        let to = address(&*listener);
        let connecting = async {
            let connection = raw::connect(&endpoint, &to).await;
            let (mut send, _receive) = connection.open_bi().await.unwrap();
            send.write_all(begin).await.unwrap();
            send.finish().unwrap();
            connection.closed().await
        };
        let handshaking = async { listener.accept().await.unwrap().handshake().await };
        let (closed, ours) = within(async { tokio::join!(connecting, handshaking) }).await;
        assert!(matches!(ours, Err(HandshakeError::Malformed { .. })), "{:?}", ours.err());
        let ConnectionError::ApplicationClosed(close) = closed else { panic!("{closed:?}") };
        assert_eq!(close.error_code.into_inner(), 0x80);
    }
}

#[tokio::test]
async fn a_client_has_one_stream_and_a_server_none() {
    let mut listener = server().bind().await.unwrap();
    let to = address(&*listener);
    let endpoint = raw::client(OURS);
    let connecting = async {
        let connection = raw::connect(&endpoint, &to).await;
        let (mut send, receive) = connection.open_bi().await.unwrap();
        send.write_all(&[1]).await.unwrap();
        (connection, send, receive)
    };
    let (raw, mut ours) = tokio::join!(connecting, accept(&mut *listener));
    let (connection, mut send, _receive) = raw;
    assert!(is_pending(connection.open_bi()));
    assert!(is_pending(connection.open_uni()));
    send.write_all(&framed(b"on the one")).await.unwrap();
    assert_eq!(ours.read_frames(1).await, [Frame::ordered("on the one")]);
    let (_end, raw) = raw::end_and_raw(TransportConfig::default()).await;
    assert!(is_pending(raw.connection.open_bi()));
    assert!(is_pending(raw.connection.open_uni()));
}

#[tokio::test]
async fn noise_on_the_port_disturbs_nobody() {
    let mut listener = server().bind().await.unwrap();
    let to = address(&*listener);
    let (mut client, mut theirs) = meet(&mut *listener, &client_of(&to)).await;
    let noise = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut state = 7_u64;
    for round in 0..500_usize {
        let datagram: Vec<u8> = (0..[0, 1, 7, 30, 1200, 1500][round % 6])
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        noise.send_to(&datagram, &to).await.unwrap();
        if round % 50 == 0 {
            client.write([Frame::ordered("still here")]).await.unwrap();
            assert_eq!(theirs.read_frames(1).await, [Frame::ordered("still here")]);
        }
    }
    meet(&mut *listener, &client_of(&to)).await;
}

#[tokio::test]
async fn a_peer_that_is_silent_in_its_handshake_does_not_delay_the_next() {
    let mut listener = server().bind().await.unwrap();
    let to = address(&*listener);
    let endpoint = raw::client(OURS);
    // It finishes its handshake and never opens its stream.
    let connecting = raw::connect(&endpoint, &to);
    let arrival = async { listener.accept().await.unwrap() };
    let (arrival, silent) = {
        let mut arrival = pin!(arrival);
        let mut connecting = pin!(connecting);
        let arrival = tokio::select! {
            arrival = &mut arrival => arrival,
            _ = &mut connecting => unreachable!("nobody has answered"),
        };
        let mut handshake = arrival.handshake();
        let silent = tokio::select! {
            silent = &mut connecting => silent,
            _ = &mut handshake => unreachable!("there is no stream"),
        };
        (handshake, silent)
    };
    let (mut client, mut theirs): (End, End) = meet(&mut *listener, &client_of(&to)).await;
    client.write([Frame::ordered("hello")]).await.unwrap();
    assert_eq!(theirs.read_frames(1).await, [Frame::ordered("hello")]);
    // Giving it up closes it.
    drop(arrival);
    assert!(matches!(within(silent.closed()).await, ConnectionError::ApplicationClosed(_)));
}

#[tokio::test]
async fn a_client_that_gives_up_in_its_handshake_ends_it() {
    let mut listener = server().bind().await.unwrap();
    let to = address(&*listener);
    let client = client_of(&to);
    let mut connecting = client.connect();
    let arrival = tokio::select! {
        arrival = listener.accept() => arrival.unwrap(),
        _ = &mut connecting => unreachable!("nobody has answered"),
    };
    drop(connecting);
    let error = within(arrival.handshake()).await.err().unwrap();
    let HandshakeError::Io { source } = error else { panic!("{error:?}") };
    assert_eq!(source.kind(), std::io::ErrorKind::ConnectionAborted);
}
