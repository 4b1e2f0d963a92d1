//! What quinn says went wrong, in the words of the port.

use crate::tls::{of_alert, of_tls};
use emitwire_core::transport::{CertificateFault, HandshakeError};
use quinn::{ConnectionError, TransportErrorCode};
use rustls::{AlertDescription, CertificateError, Error};
use std::io;

/// Why there is no connection; `found` is what this side had against the peer's certificate.
pub(super) fn handshake(error: ConnectionError, found: Option<rustls::Error>) -> HandshakeError {
    match (error, found) {
        (ConnectionError::ConnectionClosed(close), _) => refused(close.error_code, &close.reason),
        (ConnectionError::ApplicationClosed(close), _) => HandshakeError::Refused {
            status: u16::try_from(close.error_code.into_inner()).unwrap_or(u16::MAX),
            reason: words(&close.reason),
        },
        (ConnectionError::TransportError(error), found) => match alert(error.code) {
            Some(AlertDescription::NoApplicationProtocol) => of_tls(Error::NoApplicationProtocol),
            Some(AlertDescription::CertificateRequired) => of_tls(Error::NoCertificatesPresented),
            Some(alert) if is_of_certificates(alert) => match found {
                Some(found) => of_tls(found),
                None => HandshakeError::Certificate {
                    fault: CertificateFault::Unfit,
                    source: error.into(),
                },
            },
            Some(AlertDescription::DecryptError) => of_tls(CertificateError::BadSignature.into()),
            _ => HandshakeError::Malformed { source: error.into() },
        },
        (error @ ConnectionError::VersionMismatch, _) => {
            HandshakeError::Malformed { source: error.into() }
        }
        (error, _) => HandshakeError::Io { source: error.into() },
    }
}

/// That the peer refused this side's certificate when this side was already done.
pub(super) fn alert_in(error: &io::Error) -> Option<HandshakeError> {
    match error.get_ref()?.downcast_ref() {
        Some(ConnectionError::ConnectionClosed(close)) => alert(close.error_code).map(of_alert),
        _ => None,
    }
}

/// What a peer means that closes the connection in its handshake.
fn refused(code: TransportErrorCode, reason: &[u8]) -> HandshakeError {
    match alert(code) {
        Some(alert) => of_alert(alert),
        // It listens no more, or never did.
        None if code == TransportErrorCode::CONNECTION_REFUSED => {
            HandshakeError::Io { source: io::ErrorKind::ConnectionRefused.into() }
        }
        // What an application says in a handshake is not told to strangers (RFC 9000 §10.2.3).
        None if code == TransportErrorCode::APPLICATION_ERROR => {
            HandshakeError::Io { source: io::ErrorKind::ConnectionAborted.into() }
        }
        None => HandshakeError::Refused {
            status: u16::try_from(u64::from(code)).unwrap_or(u16::MAX),
            reason: words(reason),
        },
    }
}

/// `bad_certificate` to `unknown_ca`, but for `illegal_parameter` (RFC 8446 §6.2).
fn is_of_certificates(alert: AlertDescription) -> bool {
    matches!(u8::from(alert), 42..=46 | 48)
}

/// The TLS alert that a transport error stands for (RFC 9001 §4.8).
fn alert(code: TransportErrorCode) -> Option<AlertDescription> {
    let alert = u64::from(code).checked_sub(CRYPTO_ERRORS)?;
    u8::try_from(alert).ok().map(AlertDescription::from)
}

/// The peer's words, as far as they are for people.
fn words(reason: &[u8]) -> String {
    String::from_utf8_lossy(&reason[..reason.len().min(REASON_BYTES_MAX)]).into_owned()
}

const CRYPTO_ERRORS: u64 = 0x100;

/// As much of the peer's words as is passed on.
const REASON_BYTES_MAX: usize = 256;
