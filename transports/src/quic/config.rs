//! What quinn is told, for both ends.

use super::Quic;
use crate::address::host;
use crate::tls::{EMITWIRE, Finding, TlsError};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{AckFrequencyConfig, IdleTimeout, TransportConfig, VarInt};
use rustls::client::Resumption;
use rustls::quic::{ClientConnection, ServerConnection, Version};
use std::sync::Arc;
use std::time::Duration;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How a listener answers.
pub(super) fn server(quic: &Quic) -> Result<quinn::ServerConfig, BoxError> {
    if let Some(config) = &quic.server_config {
        return Ok(config.clone());
    }
    let tls = quic.tls.server(EMITWIRE)?;
    // quinn would find out by a stranger's first packet, and panic.
    ServerConnection::new(Arc::clone(&tls), Version::V1, Vec::new())?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    let mut transport = transport(quic);
    transport.max_concurrent_bidi_streams(1_u8.into());
    config
        .transport_config(Arc::new(transport))
        .max_incoming(quic.backlog)
        .incoming_buffer_size(INCOMING_BYTES_MAX)
        .incoming_buffer_size_total(INCOMING_BYTES_MAX * INCOMING_SHARE);
    Ok(config)
}

/// How a client asks, and what it finds of its server.
pub(super) fn client(quic: &Quic) -> Result<(quinn::ClientConfig, Finding), BoxError> {
    if let Some(config) = &quic.client_config {
        return Ok((config.clone(), Finding::default()));
    }
    let (tls, finding) = quic.tls.client_noted(EMITWIRE)?;
    try_client(quic, &tls)?;
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    let mut transport = transport(quic);
    transport.max_concurrent_bidi_streams(0_u8.into());
    config.transport_config(Arc::new(transport));
    Ok((config, finding))
}

/// Fails where quinn would panic.
fn try_client(quic: &Quic, tls: &rustls::ClientConfig) -> Result<(), BoxError> {
    let mut tried = tls.clone();
    // A ticket serves once.
    tried.resumption = Resumption::disabled();
    let name = server_name(quic)?.try_into()?;
    ClientConnection::new(Arc::new(tried), Version::V1, name, Vec::new())?;
    Ok(())
}

/// Who the server's certificate has to be for.
pub(super) fn server_name(quic: &Quic) -> Result<String, TlsError> {
    Ok(quic.tls.name_of(host(&quic.address))?.to_str().into_owned())
}

fn transport(quic: &Quic) -> TransportConfig {
    let mut transport = TransportConfig::default();
    let window = varint(quic.window_bytes);
    let idle = quic.idle_timeout.clamp(IDLE_MIN, IDLE_MAX);
    transport
        .max_concurrent_uni_streams(0_u8.into())
        .stream_receive_window(window)
        .receive_window(window)
        .send_window(quic.window_bytes as u64)
        .datagram_receive_buffer_size(Some(quic.datagram_buffer_bytes))
        .datagram_send_buffer_size(quic.datagram_buffer_bytes)
        .ack_frequency_config(Some(acks()))
        // Two may be lost before the peer takes this side for gone.
        .keep_alive_interval(quic.keep_alive.map(|every| every.min(idle / 3)))
        .max_idle_timeout(Some(idle.try_into().unwrap_or(IdleTimeout::from(VarInt::MAX))));
    transport
}

/// When a peer is to acknowledge, if it is one that can be asked (draft-ietf-quic-ack-frequency).
fn acks() -> AckFrequencyConfig {
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(ACK_THRESHOLD.into()).max_ack_delay(Some(ACK_DELAY));
    acks
}

fn varint(bytes: usize) -> VarInt {
    VarInt::from_u64(bytes as u64).unwrap_or(VarInt::MAX)
}

/// The least that the wire can tell; zero would be never.
const IDLE_MIN: Duration = Duration::from_millis(1);

/// A century. Clocks end, and quinn adds this to one.
const IDLE_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// What one peer may send before it is accepted: a few packets.
const INCOMING_BYTES_MAX: u64 = 16 * 1024;

/// So many peers may do so at once.
const INCOMING_SHARE: u64 = 64;

/// How many packets a peer may leave without an acknowledgement. Each one costs both ends a packet
/// of their own, where there is nothing else to send; and what may be under way at first
/// (RFC 9002 §7.2) is two such rows.
const ACK_THRESHOLD: u8 = 4;

/// How long it may do so. A sender finds out so much later that the last of its packets was lost
/// (RFC 9002 §6.2.1), which is what a lost event without others behind it costs.
const ACK_DELAY: Duration = Duration::from_millis(10);
