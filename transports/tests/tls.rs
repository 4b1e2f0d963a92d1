//! The wires that encrypt over TCP: whom they trust, what they refuse, and what they say then.

#![cfg(all(feature = "tls", feature = "ws"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "support/certificates.rs"]
mod certificates;
#[path = "support/end.rs"]
#[allow(dead_code, reason = "others use more of it")]
mod end;

use certificates::{Authority, expired, not_yet_valid};
use emitwire_core::protocol::Frame;
use emitwire_core::transport::{
    BindError, CertificateFault, ConnectError, HandshakeError, Listener, Transport,
};
use emitwire_transports::{Tcp, Tls, TlsError, Ws};
use end::{End, within};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, ServerConfig};
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

type Bound = Box<dyn Listener>;

/// The same wire, in the clear or encrypted.
#[derive(Clone, Copy, Debug)]
enum Wire {
    Tcp,
    Ws,
}

const WIRES: [Wire; 2] = [Wire::Tcp, Wire::Ws];

impl Wire {
    fn at(self, address: &str, tls: Option<Tls>) -> Box<dyn Transport> {
        match (self, tls) {
            (Self::Tcp, None) => Box::new(Tcp::new(address)),
            (Self::Tcp, Some(tls)) => Box::new(Tcp::new(address).tls(tls)),
            (Self::Ws, None) => Box::new(Ws::new(address)),
            (Self::Ws, Some(tls)) => Box::new(Ws::new(address).tls(tls)),
        }
    }

    async fn listen(self, tls: Tls) -> Bound {
        self.at("127.0.0.1:0", Some(tls)).bind().await.unwrap()
    }
}

fn address(listener: &dyn Listener) -> String {
    listener.endpoint().split("://").nth(1).unwrap().to_owned()
}

/// What becomes of a client and of its server when the one connects to the other.
async fn meet(
    wire: Wire,
    listener: &mut Bound,
    client: Option<Tls>,
) -> (Result<End, ConnectError>, Result<End, HandshakeError>) {
    let client = wire.at(&address(&**listener), client);
    let served = async {
        let incoming = listener.accept().await.unwrap();
        incoming.handshake().await.map(End::new)
    };
    let connected = async { client.connect().await.map(End::new) };
    within(async { tokio::join!(connected, served) }).await
}

/// Connects where it must work.
async fn ends(wire: Wire, listener: &mut Bound, client: Tls) -> (End, End) {
    let (client, server) = meet(wire, listener, Some(client)).await;
    (client.unwrap(), server.unwrap())
}

/// What is wrong with the certificate, as this side sees it.
fn fault<T>(connected: Result<T, ConnectError>) -> CertificateFault {
    match connected.err().expect("no connection") {
        ConnectError::Handshake {
            source: HandshakeError::Certificate { fault, source }, ..
        } => {
            assert!(!source.to_string().is_empty());
            fault
        }
        error => panic!("{error:?}"),
    }
}

fn refusal<T>(connected: Result<T, ConnectError>) -> HandshakeError {
    match connected.err().expect("no connection") {
        ConnectError::Handshake { source, .. } => source,
        error => panic!("{error:?}"),
    }
}

async fn greet(client: &mut End, server: &mut End) {
    client.write([Frame::ordered("there")]).await.unwrap();
    let heard = server.read_frames(1).await;
    server.write(heard).await.unwrap();
    assert_eq!(client.read_frames(1).await, [Frame::ordered("there")]);
}

#[tokio::test]
async fn a_server_of_a_trusted_issuer_is_good_and_both_say_that_they_encrypt() {
    let authority = Authority::new();
    for wire in WIRES {
        let mut listener = wire.listen(authority.server(&["127.0.0.1"])).await;
        let (mut client, mut server) = ends(wire, &mut listener, authority.client()).await;
        greet(&mut client, &mut server).await;
        assert!(client.capabilities.encrypted && server.capabilities.encrypted, "{wire:?}");
        let shown = client.peer.certificates();
        assert!(!shown.is_empty() && server.peer.certificates().is_empty(), "{wire:?}");
        assert!(client.peer.endpoint().starts_with(if let Wire::Tcp = wire {
            "tls"
        } else {
            "wss"
        }));
    }
}

#[tokio::test]
async fn what_travels_cannot_be_read_on_the_way() {
    let authority = Authority::new();
    let mut listener = Wire::Tcp.listen(authority.server(&["127.0.0.1"])).await;
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let via = relay.local_addr().unwrap().to_string();
    let to = address(&*listener);
    let copied = tokio::spawn(async move {
        let (near, _) = relay.accept().await.unwrap();
        let far = TcpStream::connect(to).await.unwrap();
        let ((mut near_read, mut near_write), (mut far_read, mut far_write)) =
            (near.into_split(), far.into_split());
        let back = tokio::spawn(async move {
            tokio::io::copy(&mut far_read, &mut near_write).await.unwrap();
        });
        let (mut seen, mut room) = (Vec::new(), [0; 4096]);
        while let Ok(count @ 1..) = near_read.read(&mut room).await {
            seen.extend_from_slice(&room[..count]);
            far_write.write_all(&room[..count]).await.unwrap();
        }
        back.abort();
        seen
    });
    let client = Tcp::new(via).tls(authority.client());
    let served = async { listener.accept().await.unwrap().handshake().await.unwrap() };
    let (client, server) = within(async { tokio::join!(client.connect(), served) }).await;
    let (mut client, mut server) = (End::new(client.unwrap()), End::new(server));
    client.write([Frame::ordered("a secret that is long enough to be found")]).await.unwrap();
    server.read_frames(1).await;
    drop(client);
    let seen = within(copied).await.unwrap();
    assert!(seen.len() > 100 && !seen.windows(8).any(|bytes| bytes == b"a secret"));
}

#[tokio::test]
async fn a_certificate_that_is_not_good_is_refused_with_what_is_wrong_with_it() {
    let authority = Authority::new();
    let named = |names: &[&str]| authority.server(names);
    let changed = |change: fn(&mut rcgen::CertificateParams)| {
        let (certificate, key) = authority.sign_with(&["127.0.0.1"], change);
        Tls::pem(certificate, key).unwrap()
    };
    for wire in WIRES {
        let mut stranger = wire.listen(Authority::new().server(&["127.0.0.1"])).await;
        let (found, server) = meet(wire, &mut stranger, Some(authority.client())).await;
        assert_eq!(fault(found), CertificateFault::UnknownIssuer);
        // The server hears why.
        let Err(HandshakeError::Certificate { fault: heard, .. }) = server else {
            panic!("{:?}", server.err());
        };
        assert_eq!(heard, CertificateFault::Rejected { alert: "UnknownCA".to_owned() });

        let (found, _) = meet(wire, &mut stranger, Some(Tls::new())).await;
        assert_eq!(fault(found), CertificateFault::UnknownIssuer, "browsers do not trust it");

        let mut elsewhere = wire.listen(named(&["example.com", "*.example.org"])).await;
        let (found, _) = meet(wire, &mut elsewhere, Some(authority.client())).await;
        let names = vec!["example.com".to_owned(), "*.example.org".to_owned()];
        let wrong = CertificateFault::WrongName { asked: "127.0.0.1".to_owned(), names };
        assert_eq!(fault(found), wrong);
        let said = "the peer's certificate is not for `127.0.0.1`, it is for example.com, \
                    *.example.org";
        assert_eq!(wrong.to_string(), said);

        let mut over = wire.listen(changed(expired)).await;
        let (found, _) = meet(wire, &mut over, Some(authority.client())).await;
        let CertificateFault::Expired { ago } = fault(found) else { panic!("not expired") };
        assert!(ago > Duration::from_secs(365 * 24 * 3600), "{ago:?}");

        let mut early = wire.listen(changed(not_yet_valid)).await;
        let (found, _) = meet(wire, &mut early, Some(authority.client())).await;
        let CertificateFault::NotYetValid { ahead } = fault(found) else { panic!("valid") };
        assert!(ahead > Duration::from_secs(365 * 24 * 3600), "{ahead:?}");
    }
}

#[tokio::test]
async fn a_name_that_is_given_goes_before_the_host_of_the_url() {
    let authority = Authority::new();
    for wire in WIRES {
        let mut listener = wire.listen(authority.server(&["example.com"])).await;
        let client = authority.client().server_name("example.com");
        let (mut client, mut server) = ends(wire, &mut listener, client).await;
        greet(&mut client, &mut server).await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let wire = Tcp::new(address).tls(Tls::new().server_name("no name at all"));
    let error = within(wire.connect()).await.err().unwrap();
    let ConnectError::Options { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(source.to_string(), "a certificate cannot be for `no name at all`");
}

#[tokio::test]
async fn a_pinned_certificate_is_good_whatever_its_name_and_date_and_no_other_is() {
    let authority = Authority::new();
    let (certificate, key) = authority.sign_with(&["elsewhere"], expired);
    let server = Tls::pem(certificate, key).unwrap();
    let fingerprint = server.fingerprint().unwrap();
    assert_eq!(fingerprint.len(), 64);
    for wire in WIRES {
        let mut listener = wire.listen(server.clone()).await;
        let pinned = Tls::new().pin(fingerprint.to_uppercase()).unwrap();
        let (mut client, mut server) = ends(wire, &mut listener, pinned).await;
        greet(&mut client, &mut server).await;

        let other = Tls::new().pin("ab".repeat(32)).unwrap();
        let (found, _) = meet(wire, &mut listener, Some(other.clone())).await;
        assert_eq!(fault(found), CertificateFault::NotPinned { shown: fingerprint.clone() });
        // One of several is enough.
        let both = other.pin(&fingerprint).unwrap();
        ends(wire, &mut listener, both).await;
    }
    for wrong in ["", "abc", &"zz".repeat(32), &"ab".repeat(33)] {
        assert!(matches!(Tls::new().pin(wrong), Err(TlsError::Fingerprint { .. })), "{wrong}");
    }
}

#[tokio::test]
async fn a_client_shows_its_certificate_where_one_is_asked_for() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let (certificate, key) = clients.sign(&["guest"]);
    for wire in WIRES {
        let server = authority.server(&["127.0.0.1"]).require_clients(clients.pem()).unwrap();
        let mut listener = wire.listen(server).await;
        let guest = Tls::pem(&certificate, &key).unwrap().roots(authority.pem()).unwrap();
        let (mut client, mut server) = ends(wire, &mut listener, guest).await;
        greet(&mut client, &mut server).await;
        let shown = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        assert_eq!(server.peer.certificates()[0], *shown, "{wire:?}");

        let (_, server) = meet(wire, &mut listener, Some(authority.client())).await;
        let Err(HandshakeError::Certificate { fault: missing, .. }) = server else { panic!() };
        assert_eq!(missing, CertificateFault::Missing);

        let (certificate, key) = Authority::new().sign(&["stranger"]);
        let stranger = Tls::pem(certificate, key).unwrap().roots(authority.pem()).unwrap();
        let (_, server) = meet(wire, &mut listener, Some(stranger)).await;
        let Err(HandshakeError::Certificate { fault: unknown, .. }) = server else { panic!() };
        assert_eq!(unknown, CertificateFault::UnknownIssuer);
    }
}

/// In TLS 1.3 a client is done before its server has judged its certificate.
#[tokio::test]
async fn a_client_that_is_refused_for_its_certificate_reads_an_error() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = authority.server(&["127.0.0.1"]).require_clients(clients.pem()).unwrap();
    let mut listener = Wire::Tcp.listen(server).await;
    let (client, _) = meet(Wire::Tcp, &mut listener, Some(authority.client())).await;
    let (_, end) = client.unwrap().read_to_end().await;
    let error = end.unwrap_err().source().unwrap().to_string();
    assert!(error.contains("CertificateRequired"), "{error}");
}

#[tokio::test]
async fn a_certificate_can_be_renewed_under_running_connections() {
    let authority = Authority::new();
    for wire in WIRES {
        let tls = authority.server(&["127.0.0.1"]);
        let mut listener = wire.listen(tls.clone()).await;
        let client = authority.client();
        let (mut before, mut served) = ends(wire, &mut listener, client.clone()).await;
        let (certificate, key) = authority.sign(&["127.0.0.1"]);
        tls.renew(certificate, key).unwrap();
        let (after, _served) = ends(wire, &mut listener, authority.client()).await;
        let shown = |end: &End| end.peer.certificates()[0].clone();
        assert_ne!(shown(&before), shown(&after), "{wire:?}");
        greet(&mut before, &mut served).await;
        // A renewal that is none leaves everything as it was.
        assert!(tls.renew("", "").is_err());
        ends(wire, &mut listener, client).await;
    }
}

#[tokio::test]
async fn who_does_not_encrypt_is_told_apart_from_who_does() {
    let authority = Authority::new();
    for wire in WIRES {
        // In the clear to an encrypted port.
        let mut listener = wire.listen(authority.server(&["127.0.0.1"])).await;
        let to = wire.at(&address(&*listener), None);
        let plain = async {
            let mut client = to.connect().await.map(End::new);
            if let Ok(client) = &mut client {
                // TCP shakes no hands: it says something, as a session does.
                client.write([Frame::ordered("hello")]).await.unwrap();
            }
            client
        };
        let incoming = async { listener.accept().await.unwrap().handshake().await };
        let (client, server) = within(async { tokio::join!(plain, incoming) }).await;
        assert!(matches!(server.err(), Some(HandshakeError::Plain)), "{wire:?}");
        if let Wire::Ws = wire {
            assert!(matches!(refusal(client), HandshakeError::Encrypted));
        }

        // Encrypted to a port in the clear.
        let mut listener = wire.at("127.0.0.1:0", None).bind().await.unwrap();
        let client = wire.at(&address(&*listener), Some(authority.client()));
        let answering = async {
            let served = listener.accept().await.unwrap().handshake().await;
            let Ok(connection) = served else { return served.err() };
            let mut end = End::new(connection);
            let (_, _) = end.read_to_end().await;
            // A session says what it is, to whoever looks at the bytes.
            let _ = end.write([Frame::ordered("not emitwire")]).await;
            None
        };
        let (client, served) = within(async { tokio::join!(client.connect(), answering) }).await;
        assert!(matches!(refusal(client), HandshakeError::Plain), "{wire:?}");
        if let Wire::Ws = wire {
            assert!(matches!(served, Some(HandshakeError::Encrypted)), "{served:?}");
        }
    }
}

#[tokio::test]
async fn noise_and_half_a_handshake_are_errors_and_delay_nobody() {
    let authority = Authority::new();
    for wire in WIRES {
        let mut listener = wire.listen(authority.server(&["127.0.0.1"])).await;
        let noises: [&[u8]; 6] = [
            b"",
            b"\x16",
            b"\x16\x03\x01\xff\xff",
            b"GET / HTTP/1.1\r\n\r\n",
            &[0; 64],
            &[255; 64],
        ];
        for noise in noises {
            let mut raw = TcpStream::connect(address(&*listener)).await.unwrap();
            raw.write_all(noise).await.unwrap();
            raw.shutdown().await.unwrap();
            let incoming = within(listener.accept()).await.unwrap();
            assert!(within(incoming.handshake()).await.is_err(), "{wire:?} {noise:?}");
        }
        // One that says nothing is in nobody's way.
        let _silent = TcpStream::connect(address(&*listener)).await.unwrap();
        let waiting = within(listener.accept()).await.unwrap();
        let waiting = tokio::spawn(waiting.handshake());
        ends(wire, &mut listener, authority.client()).await;
        assert!(!waiting.is_finished());
        waiting.abort();
    }
}

/// What a client of another library has, with these protocols inside.
fn foreign_config(authority: &Authority, protocols: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

/// A client of another library.
async fn foreign(
    config: Arc<ClientConfig>,
    address: String,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(config).connect(name, stream).await
}

#[tokio::test]
async fn who_comes_back_needs_no_whole_handshake_until_the_certificate_is_renewed() {
    let authority = Authority::new();
    let tls = authority.server(&["127.0.0.1"]);
    let mut listener = Wire::Tcp.listen(tls.clone()).await;
    let config = foreign_config(&authority, &[b"emitwire/1"]);
    let mut kinds = Vec::new();
    for renews in [false, false, true, false] {
        if renews {
            let (certificate, key) = authority.sign(&["127.0.0.1"]);
            tls.renew(certificate, key).unwrap();
        }
        let connecting = foreign(Arc::clone(&config), address(&*listener));
        let serving = async { listener.accept().await.unwrap().handshake().await };
        let (client, server) = within(async { tokio::join!(connecting, serving) }).await;
        let (mut client, mut server) = (client.unwrap(), End::new(server.unwrap()));
        // With it comes what the client needs to come back.
        server.write([Frame::ordered("hello")]).await.unwrap();
        within(client.read_exact(&mut [0; 9])).await.unwrap();
        kinds.push(client.get_ref().1.handshake_kind().unwrap());
    }
    let whole = HandshakeKind::Full;
    assert_eq!(kinds, [whole, HandshakeKind::Resumed, whole, HandshakeKind::Resumed]);
}

#[tokio::test]
async fn whoever_wants_another_protocol_inside_is_refused() {
    let authority = Authority::new();
    let cases: [(Wire, &[&[u8]], bool); 5] = [
        (Wire::Tcp, &[b"emitwire/1"], true),
        (Wire::Tcp, &[b"h2", b"http/1.1"], false),
        (Wire::Tcp, &[], false),
        (Wire::Ws, &[b"h2"], false),
        (Wire::Ws, &[b"h2", b"http/1.1"], true),
    ];
    for (wire, protocols, is_good) in cases {
        let mut listener = wire.listen(authority.server(&["127.0.0.1"])).await;
        let connecting = foreign(foreign_config(&authority, protocols), address(&*listener));
        let serving = async {
            let incoming = listener.accept().await.unwrap();
            // A WebSocket goes on to wait for a request.
            let patience = if is_good { 200 } else { 5000 };
            tokio::time::timeout(Duration::from_millis(patience), incoming.handshake()).await
        };
        let (client, server) = within(async { tokio::join!(connecting, serving) }).await;
        let refused = matches!(server, Ok(Err(HandshakeError::NotOffered { .. })));
        assert_eq!(refused, !is_good, "{wire:?} {protocols:?}");
        if !is_good && !protocols.is_empty() {
            let error = client.unwrap_err().to_string();
            assert!(error.contains("NoApplicationProtocol"), "{error}");
        }
    }
}

#[tokio::test]
async fn ready_configurations_of_rustls_are_taken_as_they_are() {
    let authority = Authority::new();
    let (certificate, key) = authority.sign(&["127.0.0.1"]);
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let server = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let client = builder.with_root_certificates(roots).with_no_client_auth();
    let (server, client) = (Arc::new(server), Arc::new(client));
    for wire in WIRES {
        let mut listener = wire.listen(Tls::new().server_config(Arc::clone(&server))).await;
        let client = Tls::new().client_config(Arc::clone(&client));
        let (mut client, mut server) = ends(wire, &mut listener, client).await;
        greet(&mut client, &mut server).await;
    }
}

#[tokio::test]
async fn a_listener_without_a_certificate_is_an_error_of_its_options() {
    for wire in WIRES {
        let error = wire.at("127.0.0.1:0", Some(Tls::new())).bind().await.err().unwrap();
        let BindError::Options { source, .. } = error else { panic!("{error:?}") };
        assert!(source.to_string().contains("Tls::pem"), "{source}");
    }
}

#[test]
fn what_is_wrong_with_a_certificate_or_a_key_is_said() {
    let authority = Authority::new();
    let (certificate, key) = authority.sign(&["a"]);
    let (_, other) = authority.sign(&["b"]);
    assert!(matches!(Tls::pem("", &key), Err(TlsError::NoCertificateInText)));
    assert!(matches!(Tls::pem(&certificate, ""), Err(TlsError::NoKey)));
    assert!(matches!(Tls::pem(&certificate, &certificate), Err(TlsError::NoKey)));
    assert!(matches!(Tls::pem(&certificate, &other), Err(TlsError::Key { .. })));
    let broken = certificate.replace("-----END", "-----DNE");
    assert!(matches!(Tls::pem(broken, &key), Err(TlsError::Pem { .. })));
    let path = Tls::new().roots("ca.pem").unwrap_err();
    assert!(path.to_string().contains("not a path"), "{path}");
    assert!(matches!(Tls::new().renew(&certificate, &key), Err(TlsError::NoCertificate)));
    let missing = Tls::pem_files("no/such/file.pem", "key.pem");
    assert_eq!(missing.err().unwrap().to_string(), "cannot read no/such/file.pem");
}

#[cfg(feature = "self-signed")]
#[tokio::test]
async fn a_certificate_that_signs_itself_is_good_for_who_pins_it_and_nobody_else() {
    let server = Tls::self_signed().unwrap();
    let fingerprint = server.fingerprint().unwrap();
    assert_ne!(fingerprint, Tls::self_signed().unwrap().fingerprint().unwrap());
    let mut listener = Wire::Tcp.listen(server).await;
    let pinned = Tls::new().pin(fingerprint).unwrap();
    let (mut client, mut served) = ends(Wire::Tcp, &mut listener, pinned).await;
    greet(&mut client, &mut served).await;
    let (found, _) = meet(Wire::Tcp, &mut listener, Some(Tls::new())).await;
    assert_eq!(fault(found), CertificateFault::UnknownIssuer);
}

#[tokio::test]
async fn a_writing_half_that_is_dropped_ends_its_direction_and_no_other() {
    let authority = Authority::new();
    for wire in WIRES {
        let mut listener = wire.listen(authority.server(&["127.0.0.1"])).await;
        let (client, mut server) = ends(wire, &mut listener, authority.client()).await;
        let End { mut reader, writer, .. } = client;
        drop(writer);
        let (frames, end) = server.read_to_end().await;
        assert!(frames.is_empty() && end.is_err(), "{wire:?} {end:?}");
        server.write([Frame::ordered("still")]).await.unwrap();
        let mut frames = Vec::new();
        while frames.is_empty() {
            let read = std::future::poll_fn(|cx| reader.poll_read(cx, &mut frames));
            assert_ne!(within(read).await.unwrap(), 0);
        }
        assert_eq!(frames, [Frame::ordered("still")]);
    }
}

#[tokio::test]
async fn pages_that_came_in_the_clear_are_not_let_in_where_the_wire_is_encrypted() {
    let authority = Authority::new();
    let mut listener = Wire::Ws.listen(authority.server(&["127.0.0.1"])).await;
    let there = address(&*listener);
    for (origin, is_good) in
        [(format!("http://{there}"), false), (format!("https://{there}"), true)]
    {
        let client = Ws::new(&*there).header("Origin", origin).tls(authority.client());
        let incoming = async { listener.accept().await.unwrap().handshake().await };
        let (client, server) = within(async { tokio::join!(client.connect(), incoming) }).await;
        assert_eq!((client.is_ok(), server.is_ok()), (is_good, is_good));
    }
}

/// A stream that was cut is not one that ended: nobody on the way can shorten what is said.
#[tokio::test]
async fn an_end_that_the_peer_did_not_say_is_an_error() {
    let authority = Authority::new();
    for wire in WIRES {
        let mut listener = wire.listen(authority.server(&["127.0.0.1"])).await;
        let (mut client, mut server) = ends(wire, &mut listener, authority.client()).await;
        greet(&mut client, &mut server).await;
        drop(client);
        let (frames, end) = server.read_to_end().await;
        assert!(frames.is_empty() && end.is_err(), "{wire:?} {end:?}");

        let (mut client, mut server) = ends(wire, &mut listener, authority.client()).await;
        client.close().await;
        let (_, end) = server.read_to_end().await;
        assert!(end.is_ok(), "{wire:?} {end:?}");
    }
}
