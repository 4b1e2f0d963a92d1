//! What is in the way, and what is said of it.

use crate::directory::{Directory, bind_error, fault, leave_behind, unreachable};
use emitwire_core::transport::{BindError, Transport};
use emitwire_transports::{Unix, UnixFault};
use std::error::Error;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, chown, symlink};

/// An error that is not of an address that is in use or absent.
fn io_source(error: BindError) -> io::Error {
    match error {
        BindError::Io { source, .. } => source,
        error => panic!("{error:?}"),
    }
}

fn not_available(error: BindError) -> io::Error {
    match error {
        BindError::NotAvailable { source, .. } => source,
        error => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_kept() {
    let directory = Directory::new();
    let path = directory.join("a");
    fs::write(&path, "precious").unwrap();
    let error = bind_error(&Unix::new(&path)).await;
    assert_eq!(error.to_string(), format!("cannot listen on unix://{}", path.display()));
    assert_eq!(error.source().unwrap().to_string(), "a file is there that is no socket");
    assert_eq!(fault(&io_source(error)), Some(&UnixFault::NoSocket));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    assert_eq!(directory.names(), ["a"]);
}

#[tokio::test]
async fn directories_and_links_are_kept() {
    let directory = Directory::new();
    fs::create_dir(directory.join("a")).unwrap();
    leave_behind(&directory.join("socket"));
    symlink(directory.join("socket"), directory.join("b")).unwrap();
    symlink(directory.join("nowhere"), directory.join("c")).unwrap();
    for name in ["a", "b", "c"] {
        let error = io_source(bind_error(&Unix::new(directory.join(name))).await);
        assert_eq!(fault(&error), Some(&UnixFault::NoSocket), "{name}");
    }
    assert_eq!(directory.names(), ["a", "b", "c", "socket"]);
}

#[tokio::test]
async fn a_socket_that_another_user_left_is_kept_and_its_owner_named() {
    let directory = Directory::new();
    let path = directory.join("a");
    leave_behind(&path);
    let other = fs::metadata(&path).unwrap().uid() + 1000;
    if let Err(error) = chown(&path, Some(other), None) {
        println!("skipped: only root can give a file to another user: {error}");
        return;
    }
    let error = io_source(bind_error(&Unix::new(&path)).await);
    assert_eq!(fault(&error), Some(&UnixFault::OtherUser { user: other }));
    assert!(error.to_string().contains(&format!("user {other}")), "{error}");
    assert_eq!(fs::metadata(&path).unwrap().uid(), other);
}

#[tokio::test]
async fn a_socket_that_another_user_listens_at_is_in_use() {
    let directory = Directory::new();
    let path = directory.join("a");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let other = fs::metadata(&path).unwrap().uid() + 1000;
    if let Err(error) = chown(&path, Some(other), None) {
        println!("skipped: only root can give a file to another user: {error}");
        return;
    }
    assert!(matches!(bind_error(&Unix::new(&path)).await, BindError::InUse { .. }));
}

#[tokio::test]
async fn a_directory_that_is_missing_makes_the_path_unavailable() {
    let directory = Directory::new();
    let error = not_available(bind_error(&Unix::new(directory.join("no/a"))).await);
    assert_eq!(error.kind(), ErrorKind::NotFound);
    fs::write(directory.join("file"), "").unwrap();
    let error = not_available(bind_error(&Unix::new(directory.join("file/a"))).await);
    assert_eq!(error.kind(), ErrorKind::NotADirectory);
}

#[tokio::test]
async fn a_path_that_is_too_long_is_said_to_be_at_both_ends() {
    let directory = Directory::new();
    let room = 200 - directory.path().as_os_str().len() - 1;
    let wire = Unix::new(directory.join(&"a".repeat(room)));
    let error = not_available(bind_error(&wire).await);
    assert!(matches!(fault(&error), Some(UnixFault::TooLong { bytes: 200, .. })), "{error:?}");
    let error = unreachable(&wire).await;
    assert!(matches!(fault(&error), Some(UnixFault::TooLong { bytes: 200, .. })), "{error:?}");
    assert!(error.to_string().contains("200 bytes"), "{error}");
}

#[tokio::test]
async fn a_path_of_the_greatest_length_is_listened_at() {
    let directory = Directory::new();
    let max = match fault(&unreachable(&Unix::new("a".repeat(200))).await) {
        Some(UnixFault::TooLong { max, .. }) => *max,
        fault => panic!("{fault:?}"),
    };
    let path = |bytes: usize| {
        let room = bytes - directory.path().as_os_str().len() - 1;
        Unix::new(directory.join(&"a".repeat(room)))
    };
    let _listener = path(max).bind().await.unwrap();
    path(max).connect().await.unwrap();
    not_available(bind_error(&path(max + 1)).await);
}

#[tokio::test]
async fn what_is_no_path_is_said_to_be_none() {
    for path in ["", "@", "\0name", "a\0b"] {
        let error = not_available(bind_error(&Unix::new(path)).await);
        assert_eq!(fault(&error), Some(&UnixFault::NoPath), "{path:?}");
        assert_eq!(fault(&unreachable(&Unix::new(path)).await), Some(&UnixFault::NoPath));
    }
}

#[tokio::test]
async fn connecting_where_nobody_is_says_what_is_there() {
    let directory = Directory::new();
    let wire = |name| Unix::new(directory.join(name));
    assert_eq!(unreachable(&wire("missing")).await.kind(), ErrorKind::NotFound);
    fs::write(directory.join("file"), "").unwrap();
    assert_eq!(fault(&unreachable(&wire("file")).await), Some(&UnixFault::NoSocket));
    leave_behind(&directory.join("left"));
    assert_eq!(unreachable(&wire("left")).await.kind(), ErrorKind::ConnectionRefused);
    let error = wire("missing").connect().await.err().unwrap();
    let expected = format!("cannot reach unix://{}", directory.join("missing").display());
    assert_eq!(error.to_string(), expected);
}
