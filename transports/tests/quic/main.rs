//! QUIC as a wire: what travels as a datagram and what on the stream, ends, strangers, addresses
//! that change, and too many who knock.

#![cfg(feature = "quic")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod acknowledging;
mod addresses;
mod closing;
mod datagrams;
#[path = "../support/end.rs"]
#[allow(dead_code, reason = "other wires need more of it")]
mod end;
mod fair;
mod flood;
mod moving;
mod options;
mod raw;
mod relay;
mod sessions;
mod strangers;
mod trust;

use emitwire_core::transport::{Listener, Transport};
use emitwire_transports::{Quic, Tls};
use end::{End, accept};
use peak_alloc::PeakAlloc;
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use std::sync::LazyLock;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The server's certificate, for this machine.
static CERTIFICATE: LazyLock<CertifiedKey<KeyPair>> = LazyLock::new(|| {
    let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
    generate_simple_self_signed(names).unwrap()
});

fn server_tls() -> Tls {
    Tls::pem(CERTIFICATE.cert.pem(), CERTIFICATE.signing_key.serialize_pem()).unwrap()
}

fn client_tls() -> Tls {
    Tls::new().roots(CERTIFICATE.cert.pem()).unwrap()
}

fn server_at(address: &str) -> Quic {
    Quic::new(address).tls(server_tls())
}

fn server() -> Quic {
    server_at("127.0.0.1:0")
}

fn client_of(address: &str) -> Quic {
    Quic::new(address).tls(client_tls())
}

fn address(listener: &dyn Listener) -> String {
    listener.endpoint().strip_prefix("quic://").unwrap().to_owned()
}

/// Both ends of a connection to this listener.
async fn meet(listener: &mut dyn Listener, client: &Quic) -> (End, End) {
    let (client, server) = tokio::join!(client.connect(), accept(listener));
    (End::new(client.unwrap()), server)
}

async fn ends_with(server: Quic, client: fn(Quic) -> Quic) -> (End, End) {
    let mut listener = server.bind().await.unwrap();
    let client = client(client_of(&address(&*listener)));
    meet(&mut *listener, &client).await
}

async fn ends() -> (End, End) {
    ends_with(server(), |client| client).await
}
