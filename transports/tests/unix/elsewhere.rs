//! Where there are no Unix sockets.

use emitwire_core::transport::{BindError, ConnectError, Transport};
use emitwire_transports::Unix;
use std::io;

#[tokio::test]
async fn a_system_without_unix_sockets_says_so() {
    let wire = Unix::new("/tmp/a").mode(0o660).same_user();
    let Err(BindError::Io { source, .. }) = wire.bind().await else { panic!() };
    assert_eq!(source.kind(), io::ErrorKind::Unsupported);
    let Err(ConnectError::Unreachable { source, .. }) = wire.connect().await else { panic!() };
    assert_eq!(source.kind(), io::ErrorKind::Unsupported);
}
