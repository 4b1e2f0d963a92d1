//! Whose certificates are good.

use super::identity::certificates;
use super::{TlsError, fingerprint, provider};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// Who is trusted.
#[derive(Clone, Debug, Default)]
pub(super) enum Trust {
    /// Those whom browsers trust.
    #[default]
    Public,
    /// Whoever these have signed.
    Issuers(Arc<RootCertStore>),
    /// Whoever has a certificate of one of these fingerprints.
    Pinned(Vec<String>),
}

impl Trust {
    pub(super) fn issuers(pem: &[u8]) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(pem)? {
            roots.add(certificate).map_err(|source| TlsError::Root { source: source.into() })?;
        }
        Ok(Self::Issuers(Arc::new(roots)))
    }

    /// Trusts one more fingerprint, and nobody who has none.
    pub(super) fn pin(&mut self, text: &str) -> Result<(), TlsError> {
        let digits: String = text.chars().filter(|char| *char != ':').collect();
        let is_one = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_one {
            return Err(TlsError::Fingerprint { fingerprint: text.to_owned() });
        }
        let mut pinned = match std::mem::take(self) {
            Self::Pinned(pinned) => pinned,
            Self::Public | Self::Issuers(_) => Vec::new(),
        };
        pinned.push(digits.to_ascii_lowercase());
        *self = Self::Pinned(pinned);
        Ok(())
    }

    /// What a client holds against servers.
    pub(super) fn of_servers(&self) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
        let roots = match self {
            Self::Pinned(pinned) => {
                return Ok(Arc::new(Pinned { fingerprints: pinned.clone(), provider: provider() }));
            }
            Self::Issuers(roots) => Arc::clone(roots),
            Self::Public => Arc::new(public()),
        };
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
        Ok(verifier.map_err(|source| TlsError::Root { source: source.into() })?)
    }

    /// What a server holds against clients.
    pub(super) fn of_clients(&self) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let roots = match self {
            Self::Issuers(roots) => Arc::clone(roots),
            // Nobody else makes one of clients.
            Self::Public | Self::Pinned(_) => Arc::new(RootCertStore::empty()),
        };
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
        verifier.map_err(|source| TlsError::Root { source: source.into() })
    }
}

fn public() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

/// Takes a server by its certificate alone. That it has the key to it is verified as ever.
struct Pinned {
    fingerprints: Vec<String>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = fingerprint(certificate);
        if self.fingerprints.contains(&shown) {
            return Ok(ServerCertVerified::assertion());
        }
        let other = OtherError(Arc::new(NotPinned { shown }));
        Err(CertificateError::Other(other).into())
    }

    fn verify_tls12_signature(
        &self,
        signed: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let verified = verify_tls12_signature(signed, certificate, signature, algorithms);
        verified.map_err(without_key)
    }

    fn verify_tls13_signature(
        &self,
        signed: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let verified = verify_tls13_signature(signed, certificate, signature, algorithms);
        verified.map_err(without_key)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinned").field("fingerprints", &self.fingerprints).finish_non_exhaustive()
    }
}

/// No issuer has a part in it: who cannot sign has copied the certificate.
fn without_key(error: Error) -> Error {
    match error {
        Error::InvalidCertificate(CertificateError::BadSignature) => {
            CertificateError::Other(OtherError(Arc::new(NoKey))).into()
        }
        error => error,
    }
}

/// The certificate is the pinned one, and who shows it does not have its key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the peer shows the pinned certificate, and does not have its key")]
struct NoKey;

/// The certificate is another one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the certificate {shown} is not pinned")]
pub(super) struct NotPinned {
    pub(super) shown: String,
}
