//! A certificate with its key, which may be renewed under running sessions.

use super::{TlsError, provider};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Who this side is. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Identity(Arc<Current>);

/// What the next handshake shows.
#[derive(Debug)]
struct Current {
    key: RwLock<Arc<CertifiedKey>>,
    /// How often it was renewed.
    renewals: AtomicU64,
}

impl Identity {
    pub(super) fn pem(certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Ok(Self::of(certified(certificates, key)?))
    }

    #[cfg(feature = "self-signed")]
    pub(super) fn self_signed() -> Result<Self, TlsError> {
        let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
        let made = rcgen::generate_simple_self_signed(names);
        let made = made.map_err(|source| TlsError::SelfSigned { source: source.into() })?;
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        Ok(Self::of(certify(vec![made.cert.der().clone()], key)?))
    }

    fn of(key: CertifiedKey) -> Self {
        let key = RwLock::new(Arc::new(key));
        Self(Arc::new(Current { key, renewals: AtomicU64::new(0) }))
    }

    pub(super) fn renew(&self, certificates: &[u8], key: &[u8]) -> Result<(), TlsError> {
        let key = Arc::new(certified(certificates, key)?);
        *self.0.key.write().unwrap_or_else(PoisonError::into_inner) = key;
        self.0.renewals.fetch_add(1, Ordering::Release);
        Ok(())
    }

    pub(super) fn renewals(&self) -> u64 {
        self.0.renewals.load(Ordering::Acquire)
    }

    /// What the next handshake shows.
    pub(super) fn key(&self) -> Arc<CertifiedKey> {
        self.0.key()
    }

    /// Its own certificate, without its issuers.
    pub(super) fn certificate(&self) -> CertificateDer<'static> {
        self.0.key().end_entity_cert().map(|der| der.clone().into_owned()).unwrap_or_else(|_| {
            // One without any is not made.
            CertificateDer::from(Vec::new())
        })
    }

    pub(super) fn as_server(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::<Current>::clone(&self.0)
    }

    pub(super) fn as_client(&self) -> Arc<dyn ResolvesClientCert> {
        Arc::<Current>::clone(&self.0)
    }
}

impl Current {
    fn key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key())
    }
}

impl ResolvesClientCert for Current {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.key())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The certificates in a PEM text; at least one.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|source| TlsError::Pem { source: source.into() })?;
    if read.is_empty() { Err(TlsError::NoCertificateInText) } else { Ok(read) }
}

fn certified(pem: &[u8], key: &[u8]) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(pem)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => TlsError::NoKey,
        source => TlsError::Pem { source: source.into() },
    })?;
    certify(chain, key)
}

fn certify(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, TlsError> {
    CertifiedKey::from_der(chain, key, &provider()).map_err(|source| TlsError::Key { source })
}
