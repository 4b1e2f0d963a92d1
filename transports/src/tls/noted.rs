//! What a verifier found, for wires whose library keeps only its words.

use super::{Tls, TlsError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::sync::{Arc, Mutex, PoisonError};

/// What a verifier has last had against the server of each name. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Finding(Arc<Mutex<Vec<(String, Error)>>>);

impl Finding {
    /// What is held against the server of this name.
    pub(crate) fn of(&self, name: &str) -> Option<Error> {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        found.iter().find(|(known, _)| known == name).map(|(_, error)| error.clone())
    }

    fn note(&self, name: &str, error: Option<Error>) {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        found.retain(|(known, _)| known != name);
        if let Some(error) = error {
            if found.len() == FOUND_MAX {
                found.remove(0);
            }
            found.push((name.to_owned(), error));
        }
    }
}

impl Tls {
    /// As [`client`](Self::client), with what is found of its servers, and with a memory of its own
    /// of how to come back to them: tickets of one wire are none of another. A configuration that
    /// was given ready finds nothing.
    pub(crate) fn client_noted(
        &self,
        protocol: &'static [u8],
    ) -> Result<(Arc<ClientConfig>, Finding), TlsError> {
        if self.client_config.is_some() {
            return Ok((self.client(protocol)?, Finding::default()));
        }
        self.noted.get(protocol, self.shows(), || {
            let (inner, finding) = (self.trust.of_servers()?, Finding::default());
            let noted = Noted { inner, finding: finding.clone() };
            Ok((self.make_client(protocol, Arc::new(noted))?, finding))
        })
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
        self.finding.note(&name.to_str(), found.as_ref().err().cloned());
        found
    }

    fn verify_tls12_signature(
        &self,
        signed: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(signed, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        signed: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(signed, certificate, signature)
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

/// Of so many names at most something is kept.
const FOUND_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::super::EMITWIRE;
    use super::*;
    use rcgen::generate_simple_self_signed;

    /// What each remembers of its servers is found again by it, and by no other.
    #[test]
    fn a_configuration_is_made_once_for_each_wire_and_anew_when_the_certificate_is_renewed() {
        let fresh = || {
            let made = generate_simple_self_signed(["client".to_owned()]).unwrap();
            (made.cert.pem(), made.signing_key.serialize_pem())
        };
        let (certificate, key) = fresh();
        for tls in [Tls::new(), Tls::pem(certificate, key).unwrap()] {
            let noted = |tls: &Tls| tls.client_noted(EMITWIRE).unwrap().0;
            let (stream, quic) = (tls.client(EMITWIRE).unwrap(), noted(&tls));
            assert!(Arc::ptr_eq(&stream, &tls.client(EMITWIRE).unwrap()));
            assert!(Arc::ptr_eq(&quic, &noted(&tls.clone())));
            assert!(!Arc::ptr_eq(&stream, &quic));
            let (certificate, key) = fresh();
            if tls.renew(certificate, key).is_ok() {
                assert!(!Arc::ptr_eq(&stream, &tls.client(EMITWIRE).unwrap()));
                assert!(!Arc::ptr_eq(&quic, &noted(&tls)));
            }
        }
    }
}
