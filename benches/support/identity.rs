//! The certificate of all servers, and who trusts it.
//!
//! It is made once and kept beside what was built, because servers are processes of their own.

use emitwire::Tls;
use rcgen::CertifiedKey;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::path::Path;
use std::sync::Arc;
use std::{fs, io, process};

/// A certificate for this machine that signs itself, with its key, both in PEM.
pub(crate) struct Identity(String);

impl Identity {
    pub(crate) fn get() -> io::Result<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let kept = folder.join("secure.pem");
        if !kept.exists() {
            let names = vec!["127.0.0.1".to_owned()];
            let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
            let CertifiedKey { cert, signing_key } = made;
            // Nobody finds a half of it.
            let draft = folder.join(format!("secure-{}.pem", process::id()));
            fs::write(&draft, cert.pem() + &signing_key.serialize_pem())?;
            fs::rename(draft, &kept)?;
        }
        fs::read_to_string(kept).map(Self)
    }

    /// Emitwire's, for a server.
    pub(crate) fn shown(&self) -> io::Result<Tls> {
        Tls::pem(&self.0, &self.0).map_err(io::Error::other)
    }

    /// Emitwire's, for a client.
    pub(crate) fn trusted(&self) -> io::Result<Tls> {
        Tls::new().roots(&self.0).map_err(io::Error::other)
    }

    /// The same for a server without emitwire.
    pub(crate) fn raw_server(&self) -> io::Result<Arc<ServerConfig>> {
        let key = PrivateKeyDer::from_pem_slice(self.0.as_bytes()).map_err(io::Error::other)?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate()?], key)
            .map_err(io::Error::other)?;
        config.alpn_protocols = protocols();
        Ok(Arc::new(config))
    }

    /// The same for a client without emitwire.
    pub(crate) fn raw_client(&self) -> io::Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate()?).map_err(io::Error::other)?;
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols();
        Ok(Arc::new(config))
    }

    fn certificate(&self) -> io::Result<CertificateDer<'static>> {
        CertificateDer::from_pem_slice(self.0.as_bytes()).map_err(io::Error::other)
    }
}

/// As emitwire's.
fn provider() -> Arc<CryptoProvider> {
    #[cfg(feature = "aws-lc-rs")]
    return Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    #[cfg(not(feature = "aws-lc-rs"))]
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Those of all wires.
fn protocols() -> Vec<Vec<u8>> {
    vec![b"emitwire/1".to_vec(), b"http/1.1".to_vec()]
}
