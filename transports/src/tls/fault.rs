//! What rustls says, as errors of a handshake that somebody can act on.

use super::trust::NotPinned;
use emitwire_core::transport::{CertificateFault, HandshakeError};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};
#[cfg(feature = "tls")]
use std::io;
use std::time::Duration;

/// What a handshake over a stream of bytes came to.
#[cfg(feature = "tls")]
pub(super) fn of_io(source: io::Error) -> HandshakeError {
    let error = source.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).cloned();
    match error {
        Some(error) => of_tls(error),
        None => HandshakeError::Io { source },
    }
}

/// What the peer said, if that is why nothing can be read.
#[cfg(feature = "tls")]
pub(crate) fn alert_in(error: &io::Error) -> Option<HandshakeError> {
    match error.get_ref()?.downcast_ref() {
        Some(Error::AlertReceived(alert)) => Some(of_alert(*alert)),
        _ => None,
    }
}

/// What a handshake of TLS came to.
pub(crate) fn of_tls(error: Error) -> HandshakeError {
    match error {
        Error::InvalidCertificate(ref found) => {
            HandshakeError::Certificate { fault: fault(found), source: error.into() }
        }
        Error::NoCertificatesPresented => {
            HandshakeError::Certificate { fault: CertificateFault::Missing, source: error.into() }
        }
        Error::AlertReceived(alert) => of_alert(alert),
        // The first bytes of something else: HTTP, frames in the clear, noise.
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::InvalidEmptyPayload
            | InvalidMessage::MessageTooLarge,
        ) => HandshakeError::Plain,
        Error::NoApplicationProtocol => {
            HandshakeError::NotOffered { asked: "another application protocol (ALPN)".to_owned() }
        }
        Error::PeerIncompatible(lacks) => {
            HandshakeError::NotOffered { asked: format!("other terms of encryption ({lacks:?})") }
        }
        error => HandshakeError::Malformed { source: error.into() },
    }
}

/// What the peer said before it hung up (RFC 8446 §6.2).
pub(crate) fn of_alert(alert: AlertDescription) -> HandshakeError {
    use AlertDescription as Alert;
    match alert {
        Alert::CertificateRequired
        | Alert::UnknownCA
        | Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::AccessDenied
        | Alert::DecryptError => HandshakeError::Certificate {
            fault: CertificateFault::Rejected { alert: format!("{alert:?}") },
            source: Error::AlertReceived(alert).into(),
        },
        Alert::NoApplicationProtocol => of_tls(Error::NoApplicationProtocol),
        alert => {
            HandshakeError::Refused { status: u8::from(alert).into(), reason: format!("{alert:?}") }
        }
    }
}

fn fault(found: &CertificateError) -> CertificateFault {
    match found {
        // An issuer of that name is trusted, and it was not that one.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            CertificateFault::UnknownIssuer
        }
        CertificateError::Expired => CertificateFault::Expired { ago: Duration::ZERO },
        CertificateError::ExpiredContext { time, not_after } => {
            CertificateFault::Expired { ago: between(*not_after, *time) }
        }
        CertificateError::NotValidYet => CertificateFault::NotYetValid { ahead: Duration::ZERO },
        CertificateError::NotValidYetContext { time, not_before } => {
            CertificateFault::NotYetValid { ahead: between(*time, *not_before) }
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            CertificateFault::WrongName { asked: name(expected), names: names(presented) }
        }
        CertificateError::Revoked => CertificateFault::Revoked,
        CertificateError::Other(other) => match other.0.downcast_ref::<NotPinned>() {
            Some(NotPinned { shown }) => CertificateFault::NotPinned { shown: shown.clone() },
            None => CertificateFault::Unfit,
        },
        _ => CertificateFault::Unfit,
    }
}

fn name(name: &ServerName<'_>) -> String {
    name.to_str().into_owned()
}

/// Names come as `DnsName("example.com")`, and of a peer that may have put in as many as it likes.
fn names(presented: &[String]) -> Vec<String> {
    let bare = |name: &String| match name.split('"').nth(1) {
        Some(bare) => bare.to_owned(),
        None => name.chars().take(NAME_CHARS_MAX).collect(),
    };
    presented.iter().take(NAMES_MAX).map(bare).collect()
}

fn between(earlier: UnixTime, later: UnixTime) -> Duration {
    Duration::from_secs(later.as_secs().saturating_sub(earlier.as_secs()))
}

/// How many names of a certificate an error repeats.
const NAMES_MAX: usize = 8;

/// How much of a name it repeats.
const NAME_CHARS_MAX: usize = 255;
