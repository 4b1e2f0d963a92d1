//! The file: when it comes, how it is, and when it goes.

use crate::directory::{Directory, bind_error, leave_behind};
use crate::end::{End, accept};
use emitwire_core::protocol::Frame;
use emitwire_core::transport::{BindError, Transport};
use emitwire_transports::Unix;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn a_file_that_was_left_behind_is_replaced() {
    let directory = Directory::new();
    let path = directory.join("a");
    leave_behind(&path);
    let wire = Unix::new(&path);
    let mut listener = wire.bind().await.unwrap();
    let mut client = End::new(wire.connect().await.unwrap());
    let mut server = accept(&mut *listener).await;
    client.write([Frame::ordered("here")]).await.unwrap();
    assert_eq!(server.read_frames(1).await.len(), 1);
}

#[tokio::test]
async fn a_lock_that_was_left_behind_is_nobodys() {
    let directory = Directory::new();
    leave_behind(&directory.join("a"));
    fs::write(directory.join("a.lock"), "").unwrap();
    let listener = Unix::new(directory.join("a")).bind().await.unwrap();
    drop(listener);
    assert!(directory.names().is_empty());
}

#[tokio::test]
async fn a_socket_that_is_listened_at_is_in_use_and_goes_on() {
    let directory = Directory::new();
    let wire = Unix::new(directory.join("a"));
    let mut listener = wire.bind().await.unwrap();
    for _ in 0..2 {
        let error = bind_error(&wire).await;
        assert!(matches!(&error, BindError::InUse { endpoint } if *endpoint == wire.endpoint()));
    }
    let mut client = End::new(wire.connect().await.unwrap());
    client.write([Frame::ordered("still here")]).await.unwrap();
    // Whoever asked before whether anybody is there has gone again.
    loop {
        let (frames, end) = accept(&mut *listener).await.read_one_or_end().await;
        end.unwrap();
        if frames == [Frame::ordered("still here")] {
            return;
        }
    }
}

#[tokio::test]
async fn a_socket_of_another_program_is_in_use_while_it_listens() {
    let directory = Directory::new();
    let path = directory.join("a");
    let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert!(matches!(bind_error(&Unix::new(&path)).await, BindError::InUse { .. }));
    let datagrams = directory.join("b");
    let _other = std::os::unix::net::UnixDatagram::bind(&datagrams).unwrap();
    assert!(matches!(bind_error(&Unix::new(&datagrams)).await, BindError::InUse { .. }));
    assert_eq!(directory.names(), ["a", "b"]);
}

#[tokio::test]
async fn the_file_goes_with_its_listener_and_nothing_is_left() {
    let directory = Directory::new();
    let path = directory.join("a");
    for _ in 0..3 {
        let listener = Unix::new(&path).bind().await.unwrap();
        assert!(fs::metadata(&path).unwrap().file_type().is_socket());
        assert_eq!(directory.names(), ["a", "a.lock"]);
        drop(listener);
        assert!(directory.names().is_empty(), "{:?}", directory.names());
    }
}

#[tokio::test]
async fn a_file_that_took_its_place_stays() {
    let directory = Directory::new();
    let path = directory.join("a");
    let listener = Unix::new(&path).bind().await.unwrap();
    fs::remove_file(&path).unwrap();
    let other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let number = fs::metadata(&path).unwrap().ino();
    drop(listener);
    assert_eq!(fs::metadata(&path).unwrap().ino(), number);
    UnixStream::connect(&path).unwrap();
    drop(other);
    assert_eq!(directory.names(), ["a"]);
}

#[tokio::test]
async fn a_lock_with_something_in_it_was_made_by_others_and_stays() {
    let directory = Directory::new();
    fs::write(directory.join("a.lock"), "4711").unwrap();
    drop(Unix::new(directory.join("a")).bind().await.unwrap());
    assert_eq!(fs::read_to_string(directory.join("a.lock")).unwrap(), "4711");
}

#[tokio::test]
async fn a_lock_that_is_a_link_leads_nowhere() {
    let directory = Directory::new();
    std::os::unix::fs::symlink(directory.join("precious"), directory.join("a.lock")).unwrap();
    let error = bind_error(&Unix::new(directory.join("a"))).await;
    assert!(matches!(error, BindError::Io { .. }), "{error:?}");
    assert_eq!(directory.names(), ["a.lock"]);
}

#[tokio::test]
async fn only_the_same_user_may_connect_unless_the_mode_says_otherwise() {
    let directory = Directory::new();
    let wire = Unix::new(directory.join("a"));
    let listener = wire.bind().await.unwrap();
    assert_eq!(mode(&directory.join("a")), 0o600);
    drop(listener);
    for asked in [0o660, 0o666, 0o777, 0o100_660] {
        let _listener = wire.clone().mode(asked).bind().await.unwrap();
        assert_eq!(mode(&directory.join("a")), asked & 0o777);
    }
}

#[test]
fn nobody_ever_connects_under_other_permissions() {
    let directory = Directory::new();
    // Each round has a name of its own, so that what was connected to is what is looked at.
    let path = |round: usize| directory.join(&round.to_string());
    let round = AtomicUsize::new(0);
    let connected = thread::scope(|threads| {
        let watching = threads.spawn(|| {
            let mut connected = 0;
            loop {
                let path = path(match round.load(Ordering::Relaxed) {
                    ROUNDS => return connected,
                    round => round,
                });
                if UnixStream::connect(&path).is_ok() {
                    connected += 1;
                    if let Ok(file) = fs::metadata(&path) {
                        assert_eq!(file.permissions().mode() & 0o777, 0o640);
                    }
                }
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async {
            for next in 0..=ROUNDS {
                round.store(next, Ordering::Relaxed);
                // A mode that no usual umask leads to.
                drop(Unix::new(path(next)).mode(0o640).bind().await.unwrap());
            }
        });
        watching.join().unwrap()
    });
    println!("{connected} connected");
}

#[tokio::test]
async fn connections_outlive_the_listener_and_its_file() {
    let directory = Directory::new();
    let wire = Unix::new(directory.join("a"));
    let mut listener = wire.bind().await.unwrap();
    let mut client = End::new(wire.connect().await.unwrap());
    let mut server = accept(&mut *listener).await;
    drop(listener);
    client.write([Frame::ordered("on")]).await.unwrap();
    assert_eq!(server.read_frames(1).await, [Frame::ordered("on")]);
}

#[tokio::test]
async fn a_relative_path_begins_at_the_current_directory() {
    let name = format!("emitwire-relative-{}.sock", std::process::id());
    let wire = Unix::new(&name);
    let listener = wire.bind().await.unwrap();
    assert_eq!(listener.endpoint(), format!("unix://{name}"));
    assert!(Path::new(&name).exists());
    wire.connect().await.unwrap();
    drop(listener);
    assert!(!Path::new(&name).exists());
}

/// How often it is tried to catch what would be there for a moment only.
const ROUNDS: usize = 2000;
