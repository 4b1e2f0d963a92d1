//! Peers that speak QUIC and do with it what they like.

use super::CERTIFICATE;
use super::end::{End, within};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, Endpoint, RecvStream, SendStream, TransportConfig};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

pub(crate) const OURS: &[&[u8]] = &[b"emitwire/1"];

fn protocols(alpn: &[&[u8]]) -> Vec<Vec<u8>> {
    alpn.iter().map(|name| name.to_vec()).collect()
}

fn local() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

pub(crate) fn client_config(alpn: &[&[u8]]) -> quinn::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CERTIFICATE.cert.der().clone()).unwrap();
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = protocols(alpn);
    quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
}

pub(crate) fn server_config(alpn: &[&[u8]]) -> quinn::ServerConfig {
    let key = PrivateKeyDer::Pkcs8(CERTIFICATE.signing_key.serialize_der().into());
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CERTIFICATE.cert.der().clone()], key)
        .unwrap();
    tls.alpn_protocols = protocols(alpn);
    quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()))
}

pub(crate) fn client(alpn: &[&[u8]]) -> Endpoint {
    let mut endpoint = Endpoint::client(local()).unwrap();
    endpoint.set_default_client_config(client_config(alpn));
    endpoint
}

pub(crate) fn server(alpn: &[&[u8]], transport: TransportConfig) -> (Endpoint, String) {
    let mut config = server_config(alpn);
    config.transport_config(Arc::new(transport));
    let endpoint = Endpoint::server(config, local()).unwrap();
    let address = endpoint.local_addr().unwrap().to_string();
    (endpoint, address)
}

/// A raw server's end of a connection, and its stream without the byte in front.
pub(crate) struct RawEnd {
    pub(crate) connection: Connection,
    pub(crate) send: SendStream,
    pub(crate) receive: RecvStream,
}

/// Our client, and a server that does what it likes.
pub(crate) async fn end_and_raw(transport: TransportConfig) -> (End, RawEnd) {
    let (endpoint, address) = server(OURS, transport);
    let client = super::client_of(&address);
    let accepting = async {
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        let (send, mut receive) = connection.accept_bi().await.unwrap();
        let mut begin = [0];
        receive.read_exact(&mut begin).await.unwrap();
        assert_eq!(begin, [0x01]);
        RawEnd { connection, send, receive }
    };
    let connecting = emitwire_core::transport::Transport::connect(&client);
    let (connected, raw) = within(async { tokio::join!(connecting, accepting) }).await;
    (End::new(connected.unwrap()), raw)
}

/// A client that connects as one of ours does, but for its stream.
pub(crate) async fn connect(endpoint: &Endpoint, address: &str) -> Connection {
    let connecting = endpoint.connect(address.parse().unwrap(), "localhost").unwrap();
    within(connecting).await.unwrap()
}

pub(crate) fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes(), body].concat()
}
