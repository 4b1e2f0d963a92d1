//! A server's certificate that is renewed under running sessions.

use super::certificates::{Issuer, Pair};
use super::heard::{Heard, count_to};
use super::support::{all, becomes};
use super::{ENCRYPTED, here, listen, within};
use emitwire::{
    CertificateFault, Chaos, Client, Config, ConnectError, Endpoint, HandshakeError, Outcome,
    Reconnect, Server, Session, Tls,
};
use std::time::Duration;

const EVENTS: u64 = 3_000;

/// A server with a certificate, and the one that comes after it.
struct House {
    server: Server,
    place: Endpoint,
    tls: Tls,
    old: Pair,
    new: Pair,
    there: Heard,
}

impl House {
    async fn new(scheme: &str, config: Config) -> Self {
        let issuer = Issuer::new("whoever renews");
        let (old, new) = (issuer.sign("127.0.0.1"), issuer.sign("127.0.0.1"));
        let (tls, there) = (old.tls(), Heard::default());
        let server = Server::with_config(config).mount(there.keep()).unwrap();
        let url = listen(&server, here(scheme, &tls)).await;
        let place = Endpoint::new(&url).unwrap();
        Self { server, place, tls, old, new, there }
    }

    fn shows(&self, pair: &Pair) {
        self.tls.renew(&pair.certificate, &pair.key).unwrap();
    }
}

/// A client, and what can be done to its wire.
struct Guest {
    session: Session,
    wire: Chaos<Endpoint>,
    heard: Heard,
}

impl Guest {
    async fn of(house: &House, pins: &[&Pair]) -> Self {
        let pin = |tls: Tls, pair: &&Pair| tls.pin(pair.fingerprint()).unwrap();
        let tls = pins.iter().fold(Tls::new(), pin);
        let wire = Chaos::new(house.place.clone().tls(tls).unwrap(), 7);
        let heard = Heard::default();
        let told = heard.clone();
        let namespace = heard.keep().on_connect_error(move |error| told.note(found(error)));
        let soon = Reconnect::new().delay_max(Duration::from_millis(50));
        let client = Client::new(wire.clone()).mount(namespace).reconnect_with(soon);
        Self { session: within(client.connect()).await.unwrap(), wire, heard }
    }

    /// Says and hears everything while `meanwhile` happens.
    async fn talks(&self, house: &House, meanwhile: impl AsyncFnOnce()) {
        let near = self.session.of("/").unwrap();
        let far = house.server.socket("/", near.id()).unwrap();
        let (near, far) = (count_to(near, EVENTS), count_to(far, EVENTS));
        let talks = [tokio::spawn(near), tokio::spawn(far)];
        self.heard.reaches(EVENTS / 10).await;
        meanwhile().await;
        for talk in talks {
            within(talk).await.unwrap();
        }
        becomes(|| (self.heard.count(), house.there.count()), (EVENTS, EVENTS)).await;
        self.heard.heard_all(EVENTS);
        house.there.heard_all(EVENTS);
    }

    /// Cuts its link, and waits until both ends know.
    async fn cut(&self, house: &House) {
        let before = house.server.stats().detaches;
        self.wire.sever();
        becomes(|| house.server.stats().detaches, before + 1).await;
        becomes(|| self.session.stats().detaches > 0, true).await;
    }

    /// Waits for the last thing that is noted.
    async fn notes(&self, last: &str) {
        let is_last = |notes: Vec<String>| notes.last().is_some_and(|note| note == last);
        becomes(|| is_last(self.heard.notes()), true).await;
    }

    async fn is_back(&self) {
        becomes(|| self.session.is_attached() && self.session.of("/").is_ok(), true).await;
        let near = self.session.of("/").unwrap();
        assert_eq!(within(near.emit("n", &4_u64).ack::<u64>()).await.unwrap(), 8);
    }
}

/// The fingerprint that is not pinned, or else what went wrong.
fn found(error: &ConnectError) -> String {
    use HandshakeError::Certificate;
    match error {
        ConnectError::Handshake { source: Certificate { fault, .. }, .. } => match fault {
            CertificateFault::NotPinned { shown } => format!("not pinned: {shown}"),
            fault => format!("{fault:?}"),
        },
        error => format!("{error:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_go_on_while_a_certificate_is_renewed_and_come_back_to_the_new_one() {
    all(ENCRYPTED.map(|scheme| Box::pin(goes_on(scheme)))).await;
}

async fn goes_on(scheme: &str) {
    let house = House::new(scheme, Config::default()).await;
    let guest = Guest::of(&house, &[&house.old, &house.new]).await;
    let near = guest.session.of("/").unwrap();
    let shown = near.peer().certificates()[0].clone();
    guest.talks(&house, async || house.shows(&house.new)).await;
    let stats = house.server.stats();
    assert_eq!((stats.detaches, stats.attaches, stats.sessions), (0, 0, 1), "{scheme}");
    assert_eq!(near.peer().certificates()[0], shown, "{scheme}: the link is the same");

    guest.cut(&house).await;
    guest.is_back().await;
    assert_ne!(near.peer().certificates()[0], shown, "{scheme}: it came back to the new one");
    guest.notes("attached: Resumed").await;
    assert_eq!((near.ended(), house.server.stats().sessions), (None, 1), "{scheme}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_pins_only_the_old_certificate_learns_it_and_is_back_when_that_returns() {
    all(ENCRYPTED.map(|scheme| Box::pin(stays_out(scheme)))).await;
}

async fn stays_out(scheme: &str) {
    let house = House::new(scheme, Config::default()).await;
    let guest = Guest::of(&house, &[&house.old]).await;
    let far = house.server.socket("/", guest.session.of("/").unwrap().id()).unwrap();
    guest.talks(&house, async || house.shows(&house.new)).await;
    assert!(guest.heard.notes().is_empty(), "{scheme}: whoever is connected stays so");

    guest.cut(&house).await;
    let told = format!("not pinned: {}", house.new.fingerprint());
    let mut notes = Vec::new();
    becomes(
        || {
            notes.append(&mut guest.heard.notes());
            notes.iter().filter(|note| **note == told).count() >= 3
        },
        true,
    )
    .await;
    assert!(notes.iter().all(|note| *note == told || note.starts_with("detached")), "{notes:?}");
    assert_eq!((guest.session.is_attached(), far.ended()), (false, None), "{scheme}");
    becomes(|| house.server.stats().handshakes_failed >= 3, true).await;
    // What is said meanwhile waits.
    far.emit("n", &EVENTS).await.unwrap();
    guest.session.of("/").unwrap().emit("n", &EVENTS).await.unwrap();

    house.shows(&house.old);
    becomes(|| (guest.heard.count(), house.there.count()), (EVENTS + 1, EVENTS + 1)).await;
    guest.heard.heard_all(EVENTS + 1);
    house.there.heard_all(EVENTS + 1);
    assert_eq!(guest.session.outcome(), Outcome::Resumed, "{scheme}");
    assert_eq!((far.ended(), house.server.stats().sessions), (None, 1), "{scheme}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_come_back_in_time_has_a_new_session_when_it_can() {
    let mut config = Config::default();
    config.resume_window = Duration::from_millis(400);
    let house = House::new("tls", config).await;
    let guest = Guest::of(&house, &[&house.old]).await;
    house.shows(&house.new);
    guest.cut(&house).await;
    becomes(|| house.server.stats().sessions, 0).await;
    house.shows(&house.old);
    becomes(|| (guest.session.is_attached(), guest.session.outcome()), (true, Outcome::New)).await;
    guest.is_back().await;
}
