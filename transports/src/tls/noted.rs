//! What a verifier found, for wires whose library keeps only its words.

use super::{Tls, TlsError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::sync::{Arc, Mutex, PoisonError};

/// The last error of a verifier. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Finding(Arc<Mutex<Option<Error>>>);

impl Finding {
    pub(crate) fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note<T>(&self, found: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &found {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
        }
        found
    }
}

impl Tls {
    /// As [`client`](Self::client), for one connection, with what is found of its server. A
    /// configuration that was given ready finds nothing.
    pub(crate) fn client_noted(
        &self,
        protocol: &'static [u8],
    ) -> Result<(Arc<ClientConfig>, Finding), TlsError> {
        let (mut config, finding) = (self.client(protocol)?, Finding::default());
        if self.client_config.is_none() {
            let inner = self.trust.of_servers()?;
            let noted = Noted { inner, finding: finding.clone() };
            Arc::make_mut(&mut config).dangerous().set_certificate_verifier(Arc::new(noted));
        }
        Ok((config, finding))
    }
}

/// A verifier that keeps what it found.
#[derive(Debug)]
struct Noted {
    inner: Arc<dyn ServerCertVerifier>,
    finding: Finding,
}

impl ServerCertVerifier for Noted {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = self.inner.verify_server_cert(certificate, issuers, name, ocsp, now);
        self.finding.note(found)
    }

    fn verify_tls12_signature(
        &self,
        signed: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.finding.note(self.inner.verify_tls12_signature(signed, certificate, signature))
    }

    fn verify_tls13_signature(
        &self,
        signed: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.finding.note(self.inner.verify_tls13_signature(signed, certificate, signature))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.inner.requires_raw_public_keys()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.inner.root_hint_subjects()
    }
}
