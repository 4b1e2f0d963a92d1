//! A handshake that is given up, at whichever await: nothing of it is left.

use super::end::{address, bind};
use super::raw::{OURS, Raw, arrival, raw_server, request, response};
use super::within;
use emitwire_core::transport::Transport;
use emitwire_transports::Ws;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use tokio::net::TcpStream;

/// Polls a future so many times at most, whenever it asks for it, and gives it up.
async fn poll_times<F: Future>(future: F, times: usize) -> bool {
    let mut future = pin!(future);
    for _ in 0..times {
        let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if polled.is_ready() {
            return true;
        }
        // The runtime looks at its sockets in between.
        tokio::task::yield_now().await;
    }
    false
}

/// The other side of a socket of which nothing is left reads its end, or a reset.
async fn is_gone(stream: &TcpStream) {
    let mut bytes = [0; 4096];
    loop {
        within(stream.readable()).await.unwrap();
        match stream.try_read(&mut bytes) {
            Ok(1..) => {}
            Ok(0) => return,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

#[tokio::test]
async fn a_connect_that_is_given_up_leaves_no_socket() {
    for times in 0..20 {
        let (listener, client) = raw_server().await;
        let connected = poll_times(client.connect(), times).await;
        assert!(!connected, "nobody has answered");
        // One that had not begun to connect left nothing that could arrive.
        let sentinel = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        loop {
            let raw = arrival(&listener).await;
            if raw.stream.peer_addr().unwrap() == sentinel.local_addr().unwrap() {
                break;
            }
            is_gone(&raw.stream).await;
        }
    }
}

#[tokio::test]
async fn a_connect_that_is_given_up_with_half_an_answer_leaves_no_socket() {
    let (listener, client) = raw_server().await;
    let mut connecting = Box::pin(client.connect());
    let mut raw = tokio::select! {
        raw = arrival(&listener) => raw,
        _ = &mut connecting => unreachable!("nobody has answered"),
    };
    let request = tokio::select! {
        request = raw.head() => request,
        _ = &mut connecting => unreachable!("nobody has answered"),
    };
    raw.send(&response(&request)[..50]).await;
    let mut cx = Context::from_waker(Waker::noop());
    assert!(connecting.as_mut().poll(&mut cx).is_pending());
    drop(connecting);
    is_gone(&raw.stream).await;
}

#[tokio::test]
async fn a_handshake_that_is_given_up_leaves_no_socket() {
    let mut listener = bind().await;
    let whole = request(OURS);
    let refused = whole.replace("GET", "PUT");
    for bytes in ["", &whole[..50], &refused] {
        for times in 0..10 {
            let mut raw = Raw::connect(&*listener).await;
            raw.send(bytes).await;
            let incoming = within(listener.accept()).await.unwrap();
            assert!(!poll_times(incoming.handshake(), times).await);
            is_gone(&raw.stream).await;
        }
    }
}

#[tokio::test]
async fn a_connection_that_is_dropped_before_it_is_split_leaves_no_socket() {
    let mut listener = bind().await;
    let client = Ws::new(address(&*listener));
    let (client, server) = tokio::join!(within(client.connect()), async {
        within(listener.accept()).await.unwrap().handshake().await
    });
    drop(server.unwrap());
    let (mut read, _write) = client.unwrap().split();
    let ended = within(poll_fn(|cx| read.poll_read(cx, &mut Vec::new()))).await;
    assert!(ended.is_err());
}

#[tokio::test]
async fn a_listener_that_is_dropped_takes_its_arrivals_handshakes_not_along() {
    let mut listener = bind().await;
    let mut raw = Raw::connect(&*listener).await;
    let incoming = within(listener.accept()).await.unwrap();
    drop(listener);
    raw.send(request(OURS)).await;
    within(incoming.handshake()).await.unwrap();
    assert!(raw.head().await.starts_with("HTTP/1.1 101 "));
}
