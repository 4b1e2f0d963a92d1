//! The table scheme → transport: the only thing the facade defines.

use async_trait::async_trait;
use emitwire_core::transport::{BindError, ConnectError, Connection, Listener, Memory, Transport};
#[cfg(feature = "__encrypted")]
use emitwire_transports::Tls;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use thiserror::Error;

/// A place to listen on or to connect to, given as a URL. Which wire it is stands in the scheme
/// and nowhere else.
///
/// ```
/// use emitwire::Endpoint;
///
/// let endpoint = Endpoint::new("tcp://127.0.0.1:7300")?;
/// assert_eq!(endpoint.to_string(), "tcp://127.0.0.1:7300");
/// assert!(Endpoint::new("127.0.0.1:7300").is_err());
/// # Ok::<(), emitwire::EndpointError>(())
/// ```
#[derive(Clone)]
#[cfg_attr(not(feature = "__encrypted"), allow(dead_code, reason = "only encryption is asked"))]
pub struct Endpoint {
    transport: Arc<dyn Transport>,
    /// What it was made of.
    url: String,
    options: Options,
}

/// Why a text is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// It has no scheme.
    #[error("`{url}` is no URL: expected something like tcp://127.0.0.1:7300")]
    NotAUrl {
        /// The text.
        url: String,
    },
    /// The scheme is that of a wire which is not compiled in.
    #[error("`{scheme}://` needs the feature `{feature}` of emitwire")]
    Disabled {
        /// The scheme.
        scheme: String,
        /// The feature that brings it.
        feature: &'static str,
    },
    /// No wire has this scheme.
    #[error("no wire has the scheme `{scheme}://`; there are {known}")]
    UnknownScheme {
        /// The scheme.
        scheme: String,
        /// The schemes that this build knows.
        known: String,
    },
    /// The part behind the scheme is no address of this wire.
    #[error("`{url}` has no address: expected {expected}")]
    Address {
        /// The text.
        url: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// The option is for other wires.
    #[error("`{option}` is no option of `{scheme}://`")]
    NotAnOption {
        /// The option.
        option: &'static str,
        /// The scheme.
        scheme: String,
    },
}

/// A wire: its scheme, the feature that brings it, and how to make it, if it is compiled in.
struct Wire {
    scheme: &'static str,
    feature: &'static str,
    make: Option<Make>,
}

/// Makes a transport of what stands behind `://`, or says what should have stood there.
type Make = fn(&str, &Options) -> Result<Arc<dyn Transport>, &'static str>;

/// What may follow a URL.
#[derive(Clone, Default)]
struct Options {
    #[cfg(feature = "__encrypted")]
    tls: Option<Tls>,
}

/// A row of [`WIRES`].
macro_rules! wire {
    ($scheme:literal, $feature:literal, $make:ident) => {
        Wire {
            scheme: $scheme,
            feature: $feature,
            #[cfg(feature = $feature)]
            make: Some($make),
            #[cfg(not(feature = $feature))]
            make: None,
        }
    };
}

/// One row for each wire.
const WIRES: &[Wire] = &[
    Wire { scheme: "mem", feature: "", make: Some(memory) },
    wire!("tcp", "tcp", tcp),
    wire!("tls", "tls", tls),
    wire!("ws", "ws", ws),
    wss(),
    wire!("quic", "quic", quic),
    wire!("unix", "unix", unix),
];

/// It takes two features, and names the one that is missing.
const fn wss() -> Wire {
    #[cfg(all(feature = "tls", feature = "ws"))]
    return Wire { scheme: "wss", feature: "tls", make: Some(websocket_tls) };
    #[cfg(all(feature = "tls", not(feature = "ws")))]
    return Wire { scheme: "wss", feature: "ws", make: None };
    #[cfg(not(feature = "tls"))]
    return Wire { scheme: "wss", feature: "tls", make: None };
}

fn memory(name: &str, _: &Options) -> Result<Arc<dyn Transport>, &'static str> {
    if name.is_empty() {
        return Err("mem://NAME");
    }
    Ok(Arc::new(Memory::new(name)))
}

#[cfg(feature = "tcp")]
fn tcp(address: &str, _: &Options) -> Result<Arc<dyn Transport>, &'static str> {
    if !matches!(host_and_port(address), Some((_, Some(_)))) {
        return Err("tcp://HOST:PORT, with an IPv6 address in brackets");
    }
    Ok(Arc::new(emitwire_transports::Tcp::new(address)))
}

#[cfg(feature = "tls")]
fn tls(address: &str, options: &Options) -> Result<Arc<dyn Transport>, &'static str> {
    if !matches!(host_and_port(address), Some((_, Some(_)))) {
        return Err("tls://HOST:PORT, with an IPv6 address in brackets");
    }
    let tls = options.tls.clone().unwrap_or_default();
    Ok(Arc::new(emitwire_transports::Tcp::new(address).tls(tls)))
}

#[cfg(feature = "quic")]
fn quic(address: &str, options: &Options) -> Result<Arc<dyn Transport>, &'static str> {
    if !matches!(host_and_port(address), Some((_, Some(_)))) {
        return Err("quic://HOST:PORT, with an IPv6 address in brackets");
    }
    let tls = options.tls.clone().unwrap_or_default();
    Ok(Arc::new(emitwire_transports::Quic::new(address).tls(tls)))
}

#[cfg(feature = "unix")]
fn unix(path: &str, _: &Options) -> Result<Arc<dyn Transport>, &'static str> {
    // `unix://name` would be the host of a URL to others; `@` begins a name without a file.
    if !path.starts_with(['/', '@']) || path.len() < 2 {
        return Err("unix:///PATH, or unix://@NAME on Linux");
    }
    Ok(Arc::new(emitwire_transports::Unix::new(path)))
}

#[cfg(feature = "ws")]
fn ws(address: &str, _: &Options) -> Result<Arc<dyn Transport>, &'static str> {
    if !is_http_address(address) {
        return Err("ws://HOST:PORT/PATH, with an IPv6 address in brackets; 80 is the usual port");
    }
    Ok(Arc::new(emitwire_transports::Ws::new(address)))
}

#[cfg(all(feature = "ws", feature = "tls"))]
fn websocket_tls(address: &str, options: &Options) -> Result<Arc<dyn Transport>, &'static str> {
    if !is_http_address(address) {
        return Err(
            "wss://HOST:PORT/PATH, with an IPv6 address in brackets; 443 is the usual port",
        );
    }
    let tls = options.tls.clone().unwrap_or_default();
    Ok(Arc::new(emitwire_transports::Ws::new(address).tls(tls)))
}

/// Whether it is host, port, path and query.
#[cfg(feature = "ws")]
fn is_http_address(address: &str) -> bool {
    let end = address.find(['/', '?']).unwrap_or(address.len());
    let (authority, target) = address.split_at(end);
    let is_target = target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    host_and_port(authority).is_some() && is_target
}

/// Takes `host` or `host:port` apart.
#[cfg(any(feature = "tcp", feature = "ws", feature = "quic"))]
fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let is_bracketed = |host: &str| host.starts_with('[') && host.ends_with(']');
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !is_bracketed(authority) => (host, Some(port)),
        _ => (authority, None),
    };
    let is_number = |port: &str| port.bytes().all(|digit| digit.is_ascii_digit());
    let port = match port {
        Some(port) => Some(port.parse().ok().filter(|_| is_number(port))?),
        None => None,
    };
    let is_host = host.bytes().all(|byte| byte.is_ascii_graphic() && !b"@/?#\\".contains(&byte));
    let is_whole = !host.contains([':', '[', ']']) || is_bracketed(host);
    (!host.is_empty() && is_host && is_whole).then_some((host, port))
}

impl Endpoint {
    /// The endpoint of a URL.
    ///
    /// # Errors
    /// [`EndpointError`]: no URL, an unknown or disabled scheme, no address.
    pub fn new(url: &str) -> Result<Self, EndpointError> {
        Self::make(url, Options::default())
    }

    /// With a certificate, or with what is trusted instead of what browsers trust: for `tls://`,
    /// `wss://` and `quic://`. A server needs a certificate, a client of a public server nothing.
    ///
    /// ```no_run
    /// use emitwire::{Endpoint, Tls};
    ///
    /// let tls = Tls::pem_files("cert.pem", "key.pem")?;
    /// let endpoint = Endpoint::new("wss://0.0.0.0:443/chat")?.tls(tls)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`EndpointError::NotAnOption`]: this wire does not encrypt.
    #[cfg(feature = "__encrypted")]
    pub fn tls(self, tls: Tls) -> Result<Self, EndpointError> {
        if !self.encrypts() {
            let (option, scheme) = ("tls", self.scheme().to_owned());
            return Err(EndpointError::NotAnOption { option, scheme });
        }
        let Self { url, mut options, .. } = self;
        options.tls = Some(tls);
        Self::make(&url, options)
    }

    /// An endpoint on this machine for tests and tours, at a place of its own: any free port, or a
    /// name. One that encrypts gets a certificate that signs itself, and trusts it alone; so it is
    /// for both ends, see [`at`](Self::at).
    ///
    /// ```
    /// use emitwire::{Client, Endpoint, Namespace, Server};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = Server::new().mount(Namespace::new("/"))?;
    /// let local = Endpoint::local("mem")?;
    /// let listening = server.listen(local.clone()).await?;
    /// let there = local.at(listening.endpoint())?;
    /// let session = Client::new(there).mount(Namespace::new("/")).connect().await?;
    /// # let _ = session;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`EndpointError`]: an unknown or disabled scheme, or one that encrypts without the feature
    /// `self-signed`.
    pub fn local(scheme: &str) -> Result<Self, EndpointError> {
        Self::new(&format!("{scheme}://{}", local_address(scheme)))?.for_both_ends()
    }

    /// The same wire with the same options somewhere else, such as where a listener says that it
    /// is.
    ///
    /// # Errors
    /// As [`Endpoint::new`]; [`EndpointError::NotAnOption`]: this one encrypts as it was told, and
    /// that wire does not encrypt.
    pub fn at(&self, url: &str) -> Result<Self, EndpointError> {
        let there = Self::make(url, self.options.clone())?;
        #[cfg(feature = "__encrypted")]
        if there.options.tls.is_some() && !there.encrypts() {
            let (option, scheme) = ("tls", there.scheme().to_owned());
            return Err(EndpointError::NotAnOption { option, scheme });
        }
        Ok(there)
    }

    #[cfg(not(feature = "__encrypted"))]
    fn for_both_ends(self) -> Result<Self, EndpointError> {
        Ok(self)
    }

    #[cfg(feature = "__encrypted")]
    fn for_both_ends(self) -> Result<Self, EndpointError> {
        if !self.encrypts() {
            return Ok(self);
        }
        #[cfg(feature = "self-signed")]
        return match own_certificate() {
            Some(tls) => self.tls(tls),
            None => Ok(self),
        };
        #[cfg(not(feature = "self-signed"))]
        Err(EndpointError::Disabled { scheme: self.scheme().to_owned(), feature: "self-signed" })
    }

    #[cfg(feature = "__encrypted")]
    fn scheme(&self) -> &str {
        self.url.split("://").next().unwrap_or_default()
    }

    #[cfg(feature = "__encrypted")]
    fn encrypts(&self) -> bool {
        ENCRYPTED.iter().any(|encrypted| encrypted.eq_ignore_ascii_case(self.scheme()))
    }

    fn make(url: &str, options: Options) -> Result<Self, EndpointError> {
        let Some((scheme, address)) = url.split_once("://") else {
            return Err(EndpointError::NotAUrl { url: url.to_owned() });
        };
        // RFC 3986 §3.1: a scheme has no case.
        let is_it = |wire: &&Wire| wire.scheme.eq_ignore_ascii_case(scheme);
        let make = match WIRES.iter().find(is_it) {
            Some(Wire { make: Some(make), .. }) => make,
            Some(Wire { make: None, feature, .. }) => {
                return Err(EndpointError::Disabled { scheme: scheme.to_owned(), feature });
            }
            None => {
                let known = schemes().collect::<Vec<_>>().join(", ");
                return Err(EndpointError::UnknownScheme { scheme: scheme.to_owned(), known });
            }
        };
        let transport = make(address, &options)
            .map_err(|expected| EndpointError::Address { url: url.to_owned(), expected })?;
        Ok(Self { transport, url: url.to_owned(), options })
    }
}

/// The schemes that this build knows.
pub fn schemes() -> impl Iterator<Item = &'static str> {
    WIRES.iter().filter(|wire| wire.make.is_some()).map(|wire| wire.scheme)
}

/// The schemes that this build does not know, and the feature that each needs.
pub fn disabled_schemes() -> impl Iterator<Item = (&'static str, &'static str)> {
    WIRES.iter().filter(|wire| wire.make.is_none()).map(|wire| (wire.scheme, wire.feature))
}

/// Where an endpoint of this machine is, that nobody else has.
fn local_address(scheme: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let fresh = || NEXT.fetch_add(1, Ordering::Relaxed);
    match scheme.to_ascii_lowercase().as_str() {
        "mem" => format!("local-{}", fresh()),
        "unix" => {
            let name = format!("emitwire-{}-{}.sock", std::process::id(), fresh());
            std::env::temp_dir().join(name).display().to_string()
        }
        _ => "127.0.0.1:0".to_owned(),
    }
}

/// A certificate that signs itself, and the trust in it alone.
#[cfg(all(feature = "__encrypted", feature = "self-signed"))]
fn own_certificate() -> Option<Tls> {
    // Without randomness there is none, and its listener says so.
    let tls = Tls::self_signed().ok()?;
    let fingerprint = tls.fingerprint()?;
    tls.pin(fingerprint).ok()
}

/// The schemes of wires that encrypt.
#[cfg(feature = "__encrypted")]
const ENCRYPTED: [&str; 3] = ["tls", "wss", "quic"];

#[async_trait]
impl Transport for Endpoint {
    fn endpoint(&self) -> String {
        self.transport.endpoint()
    }

    async fn bind(&self) -> Result<Box<dyn Listener>, BindError> {
        self.transport.bind().await
    }

    async fn connect(&self) -> Result<Box<dyn Connection>, ConnectError> {
        self.transport.connect().await
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(url: &str) -> Result<Self, EndpointError> {
        Self::new(url)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.endpoint())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.endpoint()).finish()
    }
}
