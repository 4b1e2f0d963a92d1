//! Abstract names.

use crate::directory::{bind_error, fault, unreachable};
use crate::end::{End, accept};
use emitwire_core::protocol::Frame;
use emitwire_core::transport::{BindError, Transport};
use emitwire_transports::{Unix, UnixFault};
use std::io::ErrorKind;
use std::path::Path;

#[tokio::test]
async fn an_abstract_name_has_no_file_and_goes_with_its_listener() {
    let name = format!("@emitwire-{}", std::process::id());
    let wire = Unix::new(&name);
    if !cfg!(any(target_os = "linux", target_os = "android")) {
        let BindError::NotAvailable { source, .. } = bind_error(&wire).await else { panic!() };
        assert_eq!(fault(&source), Some(&UnixFault::NoAbstractNames));
        assert_eq!(fault(&unreachable(&wire).await), Some(&UnixFault::NoAbstractNames));
        return;
    }
    let mut listener = wire.bind().await.unwrap();
    assert_eq!(listener.endpoint(), format!("unix://{name}"));
    assert!(!Path::new(&name).exists());
    assert!(matches!(bind_error(&wire).await, BindError::InUse { .. }));
    let mut client = End::new(wire.connect().await.unwrap());
    let mut server = accept(&mut *listener).await;
    assert_eq!(client.peer.endpoint(), listener.endpoint());
    assert_eq!(server.peer.endpoint(), listener.endpoint());
    client.write([Frame::ordered("here")]).await.unwrap();
    assert_eq!(server.read_frames(1).await, [Frame::ordered("here")]);
    drop(listener);
    assert_eq!(unreachable(&wire).await.kind(), ErrorKind::ConnectionRefused);
    wire.bind().await.unwrap();
}
