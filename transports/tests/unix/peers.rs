//! Who is at the other end, and who may be.

use crate::directory::Directory;
use crate::end::{End, accept};
use emitwire_core::transport::{ConnectError, HandshakeError, Process, Transport};
use emitwire_transports::Unix;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// This process, as its files say.
fn this_process(directory: &Directory) -> Process {
    let file = fs::metadata(directory.path()).unwrap();
    let id = i32::try_from(std::process::id()).unwrap();
    Process::new(file.uid(), file.gid(), Some(id))
}

#[tokio::test]
async fn each_end_knows_the_process_at_the_other() {
    let directory = Directory::new();
    let wire = Unix::new(directory.join("a"));
    let mut listener = wire.bind().await.unwrap();
    let client = End::new(wire.connect().await.unwrap());
    let server = accept(&mut *listener).await;
    let expected = this_process(&directory);
    for peer in [client.peer, server.peer] {
        let process = peer.process().unwrap();
        assert_eq!((process.user, process.group), (expected.user, expected.group));
        assert!(process.id.is_none() || process.id == expected.id);
        assert_eq!(peer.endpoint(), listener.endpoint());
        assert_eq!(peer.scheme(), "unix");
    }
    assert_eq!(listener.endpoint(), format!("unix://{}", directory.join("a").display()));
}

#[tokio::test]
async fn a_peer_of_another_user_is_refused_in_its_handshake() {
    let directory = Directory::new();
    let open = Unix::new(directory.join("a"));
    let user = this_process(&directory).user;
    let mut listener = open.clone().only_user(user + 1).bind().await.unwrap();
    let mut client = End::new(open.connect().await.unwrap());
    let refused = listener.accept().await.unwrap().handshake().await.err().unwrap();
    assert_eq!(refused.to_string(), format!("user {user} may not be at the other end"));
    let HandshakeError::NotAllowed { who } = refused else { panic!("{refused:?}") };
    assert_eq!(who, format!("user {user}"));
    let (frames, end) = client.read_to_end().await;
    assert!(frames.is_empty() && end.is_ok());
}

#[tokio::test]
async fn a_listener_of_another_user_is_refused_too() {
    let directory = Directory::new();
    let open = Unix::new(directory.join("a"));
    let _listener = open.bind().await.unwrap();
    let user = this_process(&directory).user;
    let error = open.clone().only_user(user + 1).connect().await.err().unwrap();
    let ConnectError::Handshake { endpoint, source } = error else { panic!("{error:?}") };
    assert_eq!(endpoint, open.endpoint());
    assert!(matches!(source, HandshakeError::NotAllowed { .. }), "{source:?}");
}

#[tokio::test]
async fn a_peer_of_the_user_who_is_asked_for_is_let_in() {
    let directory = Directory::new();
    let user = this_process(&directory).user;
    let open = Unix::new(directory.join("a"));
    for wire in [open.clone().only_user(user), open.same_user()] {
        let mut listener = wire.bind().await.unwrap();
        wire.connect().await.unwrap();
        accept(&mut *listener).await;
    }
}
