//! Several who want the same path at once.

use crate::directory::{Directory, leave_behind};
use crate::end::{End, within};
use emitwire_core::protocol::Frame;
use emitwire_core::transport::{BindError, Listener, Transport};
use emitwire_transports::Unix;
use std::fs;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// Whether who connects there comes to this listener.
async fn answers(wire: &Unix, listener: &mut dyn Listener) -> bool {
    let mut client = End::new(wire.connect().await.unwrap());
    client.write([Frame::ordered("is it you?")]).await.unwrap();
    let asked = async {
        loop {
            // Others only looked whether anybody is there.
            let incoming = listener.accept().await.unwrap().handshake().await.unwrap();
            let (frames, _) = End::new(incoming).read_one_or_end().await;
            if !frames.is_empty() {
                return true;
            }
        }
    };
    within(asked).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_that_bind_at_once_exactly_one_listens() {
    let directory = Directory::new();
    for round in 0..ROUNDS {
        let path = directory.join(&format!("{}", round % 3));
        if round % 2 == 0 {
            leave_behind(&path);
        }
        let wire = Unix::new(&path);
        let start = Arc::new(Barrier::new(BINDING));
        let mut binding = JoinSet::new();
        for _ in 0..BINDING {
            let (wire, start) = (wire.clone(), Arc::clone(&start));
            binding.spawn(async move {
                start.wait().await;
                wire.bind().await
            });
        }
        let mut listeners = Vec::new();
        for bound in binding.join_all().await {
            match bound {
                Ok(listener) => listeners.push(listener),
                Err(BindError::InUse { .. }) => {}
                Err(error) => panic!("round {round}: {error:?}"),
            }
        }
        assert_eq!(listeners.len(), 1, "round {round}");
        assert!(answers(&wire, &mut *listeners[0]).await, "round {round}");
        drop(listeners);
        assert!(directory.names().is_empty(), "round {round}: {:?}", directory.names());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_comes_while_others_leave_loses_nothing() {
    let directory = Directory::new();
    let wire = Unix::new(directory.join("a"));
    let mut taking = JoinSet::new();
    for _ in 0..BINDING {
        let wire = wire.clone();
        taking.spawn(async move {
            for _ in 0..ROUNDS {
                match wire.bind().await {
                    Ok(mut listener) => assert!(answers(&wire, &mut *listener).await),
                    Err(BindError::InUse { .. }) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error:?}"),
                }
            }
        });
    }
    taking.join_all().await;
    assert!(directory.names().is_empty(), "{:?}", directory.names());
}

#[test]
fn another_program_that_comes_and_goes_is_in_use_or_gone() {
    let directory = Directory::new();
    let path = directory.join("a");
    let done = AtomicBool::new(false);
    thread::scope(|threads| {
        threads.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if let Ok(_listener) = std::os::unix::net::UnixListener::bind(&path) {
                    thread::yield_now();
                    // It may have been replaced already, as one that seemed to be left behind.
                    let _ = fs::remove_file(&path);
                }
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let failed = runtime.unwrap().block_on(async {
            for _ in 0..10 * ROUNDS {
                match Unix::new(&path).bind().await {
                    Ok(_) | Err(BindError::InUse { .. }) => {}
                    // What was made is taken away before its permissions are set.
                    Err(BindError::NotAvailable { source, .. })
                        if source.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Some(error),
                }
            }
            None
        });
        done.store(true, Ordering::Relaxed);
        assert!(failed.is_none(), "{failed:?}");
    });
}

/// How many times it is tried.
const ROUNDS: usize = 300;

/// How many bind at once.
const BINDING: usize = 8;
