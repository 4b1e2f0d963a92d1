//! What quinn says went wrong, in the words of the port.

use emitwire_core::transport::{CertificateFault, HandshakeError};
use quinn::{ConnectionError, TransportErrorCode};
use std::io;

/// Why there is no connection.
pub(super) fn handshake(error: ConnectionError) -> HandshakeError {
    match error {
        ConnectionError::ConnectionClosed(close) => refused(close.error_code, &close.reason),
        ConnectionError::ApplicationClosed(close) => HandshakeError::Refused {
            status: u16::try_from(close.error_code.into_inner()).unwrap_or(u16::MAX),
            reason: words(&close.reason),
        },
        ConnectionError::TransportError(error) => match alert(error.code) {
            Some(NO_APPLICATION_PROTOCOL) => not_offered(),
            _ => HandshakeError::Malformed { source: Box::new(error) },
        },
        ConnectionError::VersionMismatch => HandshakeError::Malformed { source: Box::new(error) },
        error => HandshakeError::Io { source: error.into() },
    }
}

/// What a peer means that closes the connection in its handshake.
fn refused(code: TransportErrorCode, reason: &[u8]) -> HandshakeError {
    match alert(code) {
        Some(NO_APPLICATION_PROTOCOL) => not_offered(),
        Some(alert) if CERTIFICATE_ALERTS.contains(&alert) => {
            let fault = CertificateFault::Rejected { alert: words(reason) };
            HandshakeError::Certificate { fault, source: code.to_string().into() }
        }
        Some(alert) => HandshakeError::Refused { status: alert.into(), reason: words(reason) },
        None if code == TransportErrorCode::CONNECTION_REFUSED => {
            HandshakeError::Io { source: io::ErrorKind::ConnectionRefused.into() }
        }
        None => HandshakeError::Refused {
            status: u16::try_from(u64::from(code)).unwrap_or(u16::MAX),
            reason: words(reason),
        },
    }
}

fn not_offered() -> HandshakeError {
    HandshakeError::NotOffered { asked: "another protocol".to_owned() }
}

/// The TLS alert that a transport error stands for (RFC 9001 §4.8).
fn alert(code: TransportErrorCode) -> Option<u8> {
    let code = u64::from(code);
    (CRYPTO_ERRORS <= code && code <= CRYPTO_ERRORS + u64::from(u8::MAX)).then_some(code as u8)
}

/// The peer's words, as far as they are for people.
fn words(reason: &[u8]) -> String {
    String::from_utf8_lossy(&reason[..reason.len().min(REASON_BYTES_MAX)]).into_owned()
}

const CRYPTO_ERRORS: u64 = 0x100;

/// RFC 7301 §3.2.
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// `bad_certificate` to `unknown_ca`, and `certificate_required` (RFC 8446 §6.2).
const CERTIFICATE_ALERTS: [u8; 7] = [42, 43, 44, 45, 46, 48, 116];

/// As much of the peer's words as is passed on.
const REASON_BYTES_MAX: usize = 256;
