//! What can be wrong with the options of TLS.

use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why options do not make a [`Tls`](super::Tls), or not one for this use.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no certificate in a PEM text.
    #[error("there is no certificate in the text: it has to be PEM itself, and not a path to one")]
    NoCertificateInText,
    /// There is no certificate where one is needed: for a listener, or to be renewed.
    #[error("there is no certificate: a server has one by `Tls::pem` or `Tls::self_signed`")]
    NoCertificate,
    /// There is no private key in the text; an encrypted one is none.
    #[error("there is no private key in the text, or it is encrypted")]
    NoKey,
    /// The text is no PEM.
    #[error("the text is no PEM")]
    Pem {
        /// What it is not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The key is of an unknown kind, or that of another certificate.
    #[error("the key is of an unknown kind, or that of another certificate")]
    Key {
        /// What was found.
        source: rustls::Error,
    },
    /// A certificate cannot be that of an issuer.
    #[error("a certificate cannot be that of an issuer")]
    Root {
        /// What was found.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It is no fingerprint: the SHA-256 of a certificate has 64 hexadecimal digits.
    #[error("`{fingerprint}` is no fingerprint: 64 hexadecimal digits are expected")]
    Fingerprint {
        /// What it is instead.
        fingerprint: String,
    },
    /// A certificate cannot be for this name.
    #[error("a certificate cannot be for `{name}`")]
    ServerName {
        /// The name.
        name: String,
    },
    /// A certificate could not be made.
    #[error("a certificate could not be made")]
    SelfSigned {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The configuration contradicts itself.
    #[error("the configuration contradicts itself")]
    Config {
        /// How.
        source: rustls::Error,
    },
}
