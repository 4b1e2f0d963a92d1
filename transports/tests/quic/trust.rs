//! Certificates: what is wrong with one is said so that somebody can mend it.

use super::end::{End, within};
use super::{accept, address, client_tls, server, server_tls};
use emitwire_core::transport::{
    BindError, CertificateFault, ConnectError, HandshakeError, Transport,
};
use emitwire_transports::{Quic, Tls};
use rcgen::generate_simple_self_signed;

/// What a client with this TLS has against the server.
async fn fault(tls: Tls) -> CertificateFault {
    let mut listener = server().bind().await.unwrap();
    let client = Quic::new(address(&*listener)).tls(tls);
    let handshaking = async { listener.accept().await.unwrap().handshake().await.err() };
    let (client, ours) = within(async { tokio::join!(client.connect(), handshaking) }).await;
    // The server is told.
    let ours = ours.unwrap();
    let is_told = matches!(
        ours,
        HandshakeError::Certificate { fault: CertificateFault::Rejected { .. }, .. }
    );
    assert!(is_told, "{ours:?}");
    match client.err().unwrap() {
        ConnectError::Handshake { source: HandshakeError::Certificate { fault, .. }, .. } => fault,
        error => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_told() {
    assert_eq!(fault(Tls::new()).await, CertificateFault::UnknownIssuer);
    let shown = server_tls().fingerprint().unwrap();
    let pinned = Tls::new().pin("00".repeat(32)).unwrap();
    assert_eq!(fault(pinned).await, CertificateFault::NotPinned { shown });
    let named = client_tls().server_name("example.com");
    let CertificateFault::WrongName { asked, names } = fault(named).await else { panic!() };
    assert_eq!(asked, "example.com");
    assert_eq!(names[0], "localhost");
}

#[tokio::test]
async fn a_listener_needs_a_certificate() {
    let error = Quic::new("127.0.0.1:0").bind().await.err().unwrap();
    assert!(matches!(error, BindError::Options { .. }), "{error:?}");
    let error = Quic::new("127.0.0.1:1").tls(client_tls().server_name("not a name"));
    let error = error.connect().await.err().unwrap();
    assert!(matches!(error, ConnectError::Options { .. }), "{error:?}");
}

#[tokio::test]
async fn either_end_knows_the_certificate_of_the_other() {
    let theirs = generate_simple_self_signed(["client".to_owned()]).unwrap();
    let asks = server_tls().require_clients(theirs.cert.pem()).unwrap();
    let mut listener = Quic::new("127.0.0.1:0").tls(asks).bind().await.unwrap();
    let shows = Tls::pem(theirs.cert.pem(), theirs.signing_key.serialize_pem()).unwrap();
    let shows = shows.roots(super::CERTIFICATE.cert.pem()).unwrap();
    let client = Quic::new(address(&*listener)).tls(shows);
    let (client, server) = tokio::join!(client.connect(), accept(&mut *listener));
    let client = End::new(client.unwrap());
    assert_eq!(server.peer.certificates(), [theirs.cert.der().to_vec()]);
    assert_eq!(client.peer.certificates(), [super::CERTIFICATE.cert.der().to_vec()]);
}
