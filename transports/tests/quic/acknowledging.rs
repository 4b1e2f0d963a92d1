//! What a peer is asked about its acknowledgements.

use super::end::{accept, within};
use super::raw::{OURS, client, connect, end_and_raw};
use super::{address, server};
use emitwire_core::protocol::Frame;
use emitwire_core::transport::Transport;
use quinn::{Connection, TransportConfig};

/// How often it was asked.
fn asked(peer: &Connection) -> u64 {
    peer.stats().frame_rx.ack_frequency
}

#[tokio::test]
async fn a_server_is_asked_for_fewer() {
    let (mut end, mut raw) = end_and_raw(TransportConfig::default()).await;
    end.write([Frame::ordered("any")]).await.unwrap();
    within(raw.receive.read_exact(&mut [0; 7])).await.unwrap();
    assert!(asked(&raw.connection) > 0);
}

#[tokio::test]
async fn a_client_is_asked_for_fewer() {
    let mut listener = server().bind().await.unwrap();
    let endpoint = client(OURS);
    let there = address(&*listener);
    let connection = connect(&endpoint, &there);
    let greeting = async {
        let connection = connection.await;
        let (mut send, receive) = connection.open_bi().await.unwrap();
        send.write_all(&[0x01]).await.unwrap();
        (connection, send, receive)
    };
    let ((connection, _send, mut receive), mut end) =
        tokio::join!(greeting, accept(&mut *listener));
    end.write([Frame::ordered("any")]).await.unwrap();
    within(receive.read_exact(&mut [0; 7])).await.unwrap();
    assert!(asked(&connection) > 0);
}
