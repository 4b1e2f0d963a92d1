//! What users read when a connect fails, and that a server is none the worse for it.

use super::certificates::Issuer;
use super::heard::Heard;
use super::support::{becomes, endpoint};
use super::{ENCRYPTED, chain, come_in, here, listen, within};
use emitwire::{Client, Endpoint, Namespace, Server, Session, Tls};
use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, Instant};

/// How soon a user reads what is wrong.
const SOON: Duration = Duration::from_millis(1500);

/// A server that is there for others on every wire, and some of these others.
struct House {
    server: Server,
    issuer: Issuer,
    others: Vec<Session>,
}

impl House {
    async fn new() -> Self {
        let server = Server::new().mount(Heard::default().keep()).unwrap();
        let mut others = Vec::new();
        for scheme in ["tcp", "tls", "ws", "wss", "quic"] {
            let url = listen(&server, endpoint(&format!("{scheme}://127.0.0.1:0"))).await;
            others.push(come_in(endpoint(&url), Namespace::new("/")).await);
        }
        Self { server, issuer: Issuer::new("whoever refuses"), others }
    }

    /// Where it also listens, with what is found wrong.
    async fn door(&self, scheme: &str, tls: &Tls) -> String {
        listen(&self.server, here(scheme, tls)).await
    }

    async fn good_door(&self, scheme: &str) -> String {
        self.door(scheme, &self.issuer.sign("127.0.0.1").tls()).await
    }

    /// The client fails at a door of this house, and soon. Gives the whole error.
    async fn refuses(&self, client: Endpoint) -> String {
        let before = self.server.stats();
        let error = fails(client).await;
        becomes(|| self.server.stats().handshakes_failed, before.handshakes_failed + 1).await;
        let after = self.server.stats();
        assert_eq!((after.panics, after.detaches), (0, 0), "{error}");
        assert_eq!((after.sessions, after.protocol_errors), (before.sessions, 0), "{error}");
        for other in &self.others {
            let other = other.of("/").unwrap();
            assert_eq!(within(other.emit("n", &2_u64).ack::<u64>()).await.unwrap(), 4);
        }
        error
    }
}

async fn fails(client: Endpoint) -> String {
    let began = Instant::now();
    let name = client.to_string();
    let failed = within(Client::new(client).mount(Namespace::new("/")).connect()).await;
    let error = chain(&failed.err().unwrap_or_else(|| panic!("{name} connects")));
    assert!(began.elapsed() < SOON, "{name}: {error} after {:?}", began.elapsed());
    println!("{name}: {error}");
    error
}

#[track_caller]
fn says(error: &str, words: &[&str]) {
    for word in words {
        assert!(error.contains(word), "`{word}` is not in `{error}`");
    }
}

fn at(url: &str, tls: Tls) -> Endpoint {
    Endpoint::new(url).unwrap().tls(tls).unwrap()
}

/// The same place by another scheme.
fn by(scheme: &str, url: &str) -> String {
    format!("{scheme}://{}", url.split_once("://").unwrap().1)
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said_in_words() {
    let house = House::new().await;
    for scheme in ENCRYPTED {
        let wrong = house.door(scheme, &house.issuer.sign("elsewhere.example").tls()).await;
        let error = house.refuses(at(&wrong, house.issuer.trusted())).await;
        says(&error, &[&wrong, "is not for `127.0.0.1`, it is for elsewhere.example"]);

        let old = house.door(scheme, &house.issuer.sign_expired("127.0.0.1").tls()).await;
        let error = house.refuses(at(&old, house.issuer.trusted())).await;
        says(&error, &[&old, "expired", " days ago, or the clock here is wrong"]);

        let own = house.door(scheme, &Tls::self_signed().unwrap()).await;
        let error = house.refuses(at(&own, Tls::new())).await;
        says(&error, &[&own, "nobody who is trusted here signed", ": trust its issuer, or pin it"]);

        let other = Tls::new().pin("00".repeat(32)).unwrap();
        let error = house.refuses(at(&own, other)).await;
        says(&error, &[&own, "is not the pinned one, its fingerprint is "]);
    }
}

#[tokio::test]
async fn who_does_not_encrypt_is_told_so_at_an_encrypted_port() {
    let house = House::new().await;
    for (plain, encrypted) in [("tcp", "tls"), ("ws", "wss"), ("tcp", "wss"), ("ws", "tls")] {
        let door = by(plain, &house.good_door(encrypted).await);
        let error = house.refuses(Endpoint::new(&door).unwrap()).await;
        let hint =
            "the peer encrypts and this side does not: does its URL have a scheme that does?";
        says(&error, &[&door, hint]);
    }
}

#[tokio::test]
async fn who_encrypts_is_told_so_at_a_port_in_the_clear() {
    let house = House::new().await;
    for (encrypted, plain) in [("tls", "tcp"), ("wss", "ws"), ("wss", "tcp"), ("tls", "ws")] {
        let door = by(encrypted, &house.good_door(plain).await);
        let error = house.refuses(at(&door, house.issuer.trusted())).await;
        says(&error, &[&door, "the peer does not encrypt: is it a port of an unencrypted wire"]);
    }
}

#[tokio::test]
async fn a_certificate_that_a_server_does_not_take_is_named_to_its_client() {
    let house = House::new().await;
    let asks = house.issuer.sign("127.0.0.1").tls();
    let asks = asks.require_clients(house.issuer.pem()).unwrap();
    let stranger = Issuer::new("nobody").sign("client").tls();
    let expired = house.issuer.sign_expired("client").tls();
    let trusting = |tls: Tls| tls.roots(house.issuer.pem()).unwrap();
    for scheme in ENCRYPTED {
        let door = house.door(scheme, &asks).await;
        let cases = [
            (house.issuer.trusted(), "CertificateRequired"),
            (trusting(stranger.clone()), "UnknownCA"),
            (trusting(expired.clone()), "CertificateExpired"),
        ];
        for (tls, word) in cases {
            let error = house.refuses(at(&door, tls)).await;
            says(&error, &[&door, "the peer does not accept this side: ", word]);
        }
        let good = trusting(house.issuer.sign("client").tls());
        come_in(at(&door, good), Namespace::new("/")).await.close().await;
        becomes(|| house.server.stats().sessions, house.others.len() as u64).await;
    }
}

#[tokio::test]
async fn a_port_of_udp_where_nobody_listens_is_told_at_once() {
    let only_tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for port in [only_tcp.local_addr().unwrap(), closed] {
        let url = format!("quic://{port}");
        let error = fails(endpoint(&url)).await;
        says(&error, &[&format!("cannot reach {url}"), "refused"]);
    }
}

#[tokio::test]
async fn a_client_of_another_wire_is_told_that_this_is_none() {
    let house = House::new().await;
    for (ours, theirs) in [("tcp", "ws"), ("ws", "tcp")] {
        let door = by(ours, &house.good_door(theirs).await);
        let error = house.refuses(Endpoint::new(&door).unwrap()).await;
        says(&error, &["speak"]);
    }
    for (ours, theirs) in [("tls", "wss"), ("wss", "tls")] {
        let door = by(ours, &house.good_door(theirs).await);
        let error = house.refuses(at(&door, house.issuer.trusted())).await;
        says(&error, &[&door, "application protocol (ALPN)"]);
    }
}
