//! TLS 1.3 (RFC 8446) as the encrypted wires want it: who this side is, whom it trusts, and what
//! goes wrong, said so that somebody can mend it.
//!
//! | file | holds |
//! | --- | --- |
//! | `mod.rs` | [`Tls`]: the options, and the configurations made of them |
//! | `identity.rs` | a certificate with its key, which may be renewed under running sessions |
//! | `tickets.rs` | coming back without a whole handshake, as long as the certificate is the same |
//! | `trust.rs` | whose certificates are good: public issuers, given ones, a pinned one |
//! | `made.rs` | configurations that were made, to be used again |
//! | `fault.rs` | what rustls says, as errors of a handshake |
//! | `noted.rs` | what a verifier found, for a library that keeps only its words |
//! | `stream.rs` | a TCP stream that is encrypted from its first byte on |
//!
//! The cryptography is chosen here and never taken from the process: a crate somewhere in the tree
//! that sets another default changes nothing.

mod error;
mod fault;
mod identity;
mod made;
#[cfg(feature = "quic")]
mod noted;
#[cfg(feature = "tls")]
mod stream;
mod tickets;
mod trust;

pub use error::TlsError;
#[cfg(feature = "tls")]
pub(crate) use fault::alert_in;
#[cfg(feature = "quic")]
pub(crate) use fault::{of_alert, of_tls};
#[cfg(feature = "quic")]
pub(crate) use noted::Finding;
#[cfg(feature = "tls")]
pub(crate) use stream::{Encrypted, EncryptedReader, EncryptedWriter, accept, connect, split};

use bytes::Bytes;
use identity::Identity;
use made::Made;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use tickets::Tickets;
use trust::Trust;

/// How a wire encrypts: who this side is, and whom it trusts.
///
/// A server needs a certificate with its key: [`Tls::pem`], [`Tls::pem_files`], or
/// `Tls::self_signed` with the feature `self-signed`. A client needs nothing, and then trusts the
/// issuers that browsers trust; or other ones ([`Tls::roots`]), or one certificate alone
/// ([`Tls::pin`]). Either may have both: a client with a certificate shows it to a server that
/// asks ([`Tls::require_clients`]), where it is in the
/// [`Peer`](emitwire_core::transport::Peer::certificates).
///
/// Only TLS 1.3 is spoken (RFC 8446); whoever needs another version brings a configuration of
/// rustls: [`Tls::server_config`], [`Tls::client_config`]. Cheap to clone; clones share what
/// [`Tls::renew`] changes, and what a client remembers of servers to come back faster.
///
/// ```
/// # #[cfg(feature = "tls")] {
/// use emitwire_transports::{Tcp, Tls};
///
/// let client = Tls::new().pin("ff:00:".repeat(16).trim_end_matches(':'))?;
/// let wire = Tcp::new("example.com:7301").tls(client);
/// # let _ = wire;
/// # }
/// # Ok::<(), emitwire_transports::TlsError>(())
/// ```
#[derive(Clone, Default)]
#[must_use = "a wire encrypts when it has this"]
pub struct Tls {
    identity: Option<Identity>,
    trust: Trust,
    clients: Option<Trust>,
    server_name: Option<String>,
    server_config: Option<Arc<ServerConfig>>,
    client_config: Option<Arc<ClientConfig>>,
    made: Made<Arc<ClientConfig>>,
    /// Those that note what they find.
    #[cfg(feature = "quic")]
    noted: Made<(Arc<ClientConfig>, Finding)>,
}

impl Tls {
    /// A client's: trusts the issuers that browsers trust (the Mozilla list of `webpki-roots`), and
    /// shows no certificate.
    pub fn new() -> Self {
        Self::default()
    }

    /// With this certificate, issuers behind it, and its private key (PKCS#8, SEC1 or PKCS#1), both
    /// in PEM (RFC 7468).
    ///
    /// # Errors
    /// [`TlsError`]: there is no certificate or no key in the text, the key is encrypted or of an
    /// unknown kind, or it is the key of another certificate.
    pub fn pem(certificates: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Self, TlsError> {
        let identity = Identity::pem(certificates.as_ref(), key.as_ref())?;
        Ok(Self { identity: Some(identity), ..Self::default() })
    }

    /// As [`Tls::pem`], of two files, which are read now.
    ///
    /// # Errors
    /// As [`Tls::pem`], and [`TlsError::File`] when one cannot be read.
    pub fn pem_files(
        certificates: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, TlsError> {
        Self::pem(read(certificates.as_ref())?, read(key.as_ref())?)
    }

    /// With a certificate made now that nobody has signed, for this machine's names. A client pins
    /// its [`fingerprint`](Self::fingerprint), which is another one each time; a listener logs it.
    ///
    /// # Errors
    /// [`TlsError::SelfSigned`] when the system has no randomness.
    #[cfg(feature = "self-signed")]
    pub fn self_signed() -> Result<Self, TlsError> {
        let identity = Identity::self_signed()?;
        Ok(Self { identity: Some(identity), ..Self::default() })
    }

    /// Trusts the issuers in this PEM text and no others: those of servers at a client.
    ///
    /// # Errors
    /// [`TlsError`]: there is no certificate in it, or one that cannot be an issuer.
    pub fn roots(mut self, certificates: impl AsRef<[u8]>) -> Result<Self, TlsError> {
        self.trust = Trust::issuers(certificates.as_ref())?;
        self.forget_made();
        Ok(self)
    }

    /// Trusts the server that has the certificate of this fingerprint and no other: the SHA-256 of
    /// its DER, in 64 hexadecimal digits; colons between them do not matter. Its names and dates
    /// are not looked at. More than one may be pinned, for a server whose certificate is about to
    /// be renewed.
    ///
    /// # Errors
    /// [`TlsError::Fingerprint`]: it is not one.
    pub fn pin(mut self, fingerprint: impl AsRef<str>) -> Result<Self, TlsError> {
        self.trust.pin(fingerprint.as_ref())?;
        self.forget_made();
        Ok(self)
    }

    /// A server's: lets in clients only that show a certificate of one of the issuers in this PEM
    /// text. It is in their [`Peer`](emitwire_core::transport::Peer::certificates). Each connection
    /// is a whole handshake then, in which the certificate is judged.
    ///
    /// # Errors
    /// [`TlsError`]: there is no certificate in it, or one that cannot be an issuer.
    pub fn require_clients(mut self, issuers: impl AsRef<[u8]>) -> Result<Self, TlsError> {
        self.clients = Some(Trust::issuers(issuers.as_ref())?);
        Ok(self)
    }

    /// A client's: the name that the server's certificate has to be for, instead of the host in its
    /// URL.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// A server's configuration of rustls as it is, instead of all options here. If it says nothing
    /// of application protocols (ALPN), the wire's own is added.
    pub fn server_config(mut self, config: Arc<ServerConfig>) -> Self {
        self.server_config = Some(config);
        self
    }

    /// A client's configuration of rustls as it is, instead of all options here but
    /// [`server_name`](Self::server_name). If it says nothing of application protocols (ALPN), the
    /// wire's own is added.
    pub fn client_config(mut self, config: Arc<ClientConfig>) -> Self {
        self.client_config = Some(config);
        self.forget_made();
        self
    }

    /// Takes another certificate and key, in all clones, from the next handshake on. Whoever is
    /// connected stays so, and is shown the new one when it comes back.
    ///
    /// # Errors
    /// As [`Tls::pem`], and then the one before stays; [`TlsError::NoCertificate`] when there was
    /// none to renew.
    pub fn renew(
        &self,
        certificates: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
    ) -> Result<(), TlsError> {
        let identity = self.identity.as_ref().ok_or(TlsError::NoCertificate)?;
        identity.renew(certificates.as_ref(), key.as_ref())
    }

    /// The fingerprint of this side's certificate, for whoever is to [`pin`](Self::pin) it; nothing
    /// without one.
    #[must_use]
    pub fn fingerprint(&self) -> Option<String> {
        Some(fingerprint(&self.identity.as_ref()?.certificate()))
    }

    /// The configuration of a server that speaks this protocol inside.
    pub(crate) fn server(&self, protocol: &'static [u8]) -> Result<Arc<ServerConfig>, TlsError> {
        if let Some(ready) = &self.server_config {
            return Ok(with_protocol(ready, protocol, |config| &mut config.alpn_protocols));
        }
        let identity = self.identity.as_ref().ok_or(TlsError::NoCertificate)?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .map_err(|source| TlsError::Config { source })?;
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(issuers) => builder.with_client_cert_verifier(issuers.of_clients()?),
        };
        let mut config = builder.with_cert_resolver(identity.as_server());
        config.alpn_protocols = vec![protocol.to_vec()];
        config.session_storage = Tickets::of(identity);
        if self.clients.is_some() {
            // Who comes by a ticket is not judged again, however old its certificate is by then.
            config.send_tls13_tickets = 0;
        }
        Ok(Arc::new(config))
    }

    /// The configuration of a client that speaks this protocol inside.
    pub(crate) fn client(&self, protocol: &'static [u8]) -> Result<Arc<ClientConfig>, TlsError> {
        self.made.get(protocol, self.shows(), || match &self.client_config {
            Some(ready) => Ok(with_protocol(ready, protocol, |config| &mut config.alpn_protocols)),
            None => self.make_client(protocol, self.trust.of_servers()?),
        })
    }

    fn shows(&self) -> Option<Arc<CertifiedKey>> {
        self.identity.as_ref().map(Identity::key)
    }

    fn make_client(
        &self,
        protocol: &'static [u8],
        verifier: Arc<dyn ServerCertVerifier>,
    ) -> Result<Arc<ClientConfig>, TlsError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .map_err(|source| TlsError::Config { source })?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder.with_client_cert_resolver(identity.as_client()),
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(Arc::new(config))
    }

    /// The name that a server's certificate has to be for.
    pub(crate) fn name_of(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        let name = self.server_name.as_deref().unwrap_or(host);
        // An IPv6 address stands in brackets in a URL, and nowhere else.
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let parsed = ServerName::try_from(bare.to_owned());
        parsed.map_err(|_| TlsError::ServerName { name: name.to_owned() })
    }

    /// Tells whoever runs the server what a client would pin.
    pub(crate) fn announce(&self, endpoint: &str) {
        if let Some(fingerprint) = self.fingerprint() {
            tracing::info!(endpoint, fingerprint, "listens with this certificate");
        }
    }

    /// An option has changed: clones made before keep theirs.
    fn forget_made(&mut self) {
        self.made = Made::default();
        #[cfg(feature = "quic")]
        {
            self.noted = Made::default();
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("fingerprint", &self.fingerprint())
            .field("trust", &self.trust)
            .field("clients", &self.clients)
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// The certificates that a peer has shown, for its [`Peer`](emitwire_core::transport::Peer).
pub(crate) fn certificates_of(
    chain: Option<&[rustls::pki_types::CertificateDer<'_>]>,
) -> Vec<Bytes> {
    chain.unwrap_or_default().iter().map(|der| Bytes::copy_from_slice(der)).collect()
}

/// A ready configuration, with our protocol if it names none.
fn with_protocol<C: Clone>(
    ready: &Arc<C>,
    protocol: &[u8],
    protocols: impl Fn(&mut C) -> &mut Vec<Vec<u8>>,
) -> Arc<C> {
    let mut config = C::clone(ready);
    let named = protocols(&mut config);
    if !named.is_empty() {
        return Arc::clone(ready);
    }
    *named = vec![protocol.to_vec()];
    Arc::new(config)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::File { path: path.to_owned(), source })
}

/// The SHA-256 of a certificate in hexadecimal digits.
fn fingerprint(der: &[u8]) -> String {
    sha256(der).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// By the provider, so that there is no other implementation in the tree for it.
fn sha256(bytes: &[u8]) -> Vec<u8> {
    let provider = provider();
    let suites = provider.cipher_suites.iter().filter_map(|suite| suite.tls13());
    let mut hashes = suites.map(|suite| suite.common.hash_provider);
    let sha256 =
        hashes.find(|hash| hash.algorithm() == rustls::crypto::hash::HashAlgorithm::SHA256);
    sha256.map(|sha256| sha256.hash(bytes).as_ref().to_vec()).unwrap_or_default()
}

/// The cryptography: ring, or AWS-LC if its feature is on.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    #[cfg(feature = "aws-lc-rs")]
    let make = rustls::crypto::aws_lc_rs::default_provider;
    #[cfg(not(feature = "aws-lc-rs"))]
    let make = rustls::crypto::ring::default_provider;
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(make())))
}

const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// What is spoken inside, where it is frames of ours (ALPN, RFC 7301).
pub(crate) const EMITWIRE: &[u8] = b"emitwire/1";
