//! Options that would go wrong later, or that have a bound.

use super::end::{End, within};
use super::raw::{self, OURS};
use super::{CERTIFICATE, address, client_of, meet, server};
use emitwire_core::protocol::Frame;
use emitwire_core::transport::{BindError, Transport};
use emitwire_transports::{Quic, Tls};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn a_configuration_that_is_none_of_quic_is_an_error_of_the_options() {
    let key = PrivateKeyDer::Pkcs8(CERTIFICATE.signing_key.serialize_der().into());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let chain = vec![CERTIFICATE.cert.der().clone()];
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.max_early_data_size = 1000;
    let tls = Tls::new().server_config(Arc::new(config));
    let error = Quic::new("127.0.0.1:0").tls(tls).bind().await.err().unwrap();
    assert!(matches!(error, BindError::Options { .. }), "{error:?}");
}

#[tokio::test]
async fn the_longest_times_and_the_least_room_are_good() {
    let longest = |quic: Quic| {
        let quic = quic.idle_timeout(Duration::MAX).keep_alive(Duration::MAX);
        quic.window(0).datagram_buffer(0)
    };
    let mut listener = longest(server()).bind().await.unwrap();
    let client = longest(client_of(&address(&*listener)));
    let (mut client, mut server) = meet(&mut *listener, &client).await;
    client.write([Frame::ordered("there")]).await.unwrap();
    client.write([Frame::volatile("and now")]).await.unwrap();
    // Without a buffer they take the stream.
    let read = server.read_frames(2).await;
    assert_eq!(read, [Frame::ordered("there"), Frame::ordered("and now")]);
    assert_eq!(client.writer.take_dropped(), 0);
}

/// A silent peer that acknowledges: without a word in time the connection would be lost.
#[tokio::test]
async fn a_connection_that_is_soon_given_up_is_kept_alive_as_much_sooner() {
    let (endpoint, address) = raw::server(OURS, quinn::TransportConfig::default());
    let client = client_of(&address).idle_timeout(Duration::from_millis(900));
    let accepting = async { endpoint.accept().await.unwrap().await.unwrap() };
    let (client, theirs) = within(async { tokio::join!(client.connect(), accepting) }).await;
    let _client = End::new(client.unwrap());
    let kept = async {
        while theirs.stats().frame_rx.ping < 5 {
            assert_eq!(theirs.close_reason(), None);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(kept).await;
}
