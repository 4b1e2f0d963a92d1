//! A client whose address changes in the middle of a connection, and roads that lose.

use super::end::{End, mixed, numbered, numbers, within};
use super::relay::{Relay, Road};
use super::{accept, address, client_of, meet, server};
use emitwire_core::protocol::Frame;
use emitwire_core::transport::{Peer, Transport};

#[tokio::test]
async fn a_client_that_moves_loses_nothing_and_its_server_is_told() {
    let mut listener = server().bind().await.unwrap();
    let relay = Relay::new(&address(&*listener), Road::default()).await;
    let wire = client_of(&relay.address.to_string());
    let (client, mut server) = tokio::join!(wire.connect(), accept(&mut *listener));
    let mut client = End::new(client.unwrap());
    assert_eq!(server.peer.endpoint(), relay.seen());
    let mut frames = numbered(400);
    let mut expected = 0;
    for round in 0..4 {
        let mut moved = None;
        client.write(frames.by_ref().take(100)).await.unwrap();
        let mut read = Vec::new();
        while read.len() < 100 {
            assert_ne!(server.read(&mut read).await.unwrap(), 0);
            moved = server.reader.moved().or(moved);
        }
        assert_eq!(numbers(&read), (expected..expected + 100).collect::<Vec<_>>());
        expected += 100;
        // And back, to where it is now.
        server.write(read).await.unwrap();
        assert_eq!(client.read_frames(100).await.len(), 100);
        assert_eq!(client.reader.moved(), None, "the server is where it was");
        match (round, moved) {
            (0, moved) => assert_eq!(moved, None),
            (_, moved) => {
                // Not by its first packet from there, which anybody could have sent on.
                assert_eq!(moved, None);
                let moved = until_moved(&mut client, &mut server).await;
                assert_eq!(moved.endpoint(), relay.seen());
            }
        }
        relay.change().await;
    }
    client.close().await;
    assert!(within(server.read_to_end()).await.1.is_ok());
}

/// Reads until its address is taken for good.
async fn until_moved(client: &mut End, server: &mut End) -> Peer {
    loop {
        client.write([Frame::ordered("here")]).await.unwrap();
        server.read_frames(1).await;
        if let Some(peer) = server.reader.moved() {
            return peer;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_road_that_loses_loses_no_ordered_frame() {
    let mut listener = server().bind().await.unwrap();
    let road = Road { lost_each: Some(17), ..Road::default() };
    let relay = Relay::new(&address(&*listener), road).await;
    let (mut client, mut server) =
        meet(&mut *listener, &client_of(&relay.address.to_string())).await;
    let writing = tokio::spawn(async move {
        client.write((0..50).map(mixed)).await.unwrap();
        client.close().await;
    });
    let (read, end) = server.read_to_end().await;
    assert!(end.is_ok(), "{end:?}");
    assert_eq!(read.len(), 50);
    for (number, frame) in read.iter().enumerate() {
        assert!(*frame == mixed(number), "frame {number}");
    }
    writing.await.unwrap();
}
