//! The table scheme → transport: the only thing the facade defines.

use async_trait::async_trait;
use emitwire_core::transport::{BindError, ConnectError, Connection, Listener, Memory, Transport};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
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
pub struct Endpoint(Arc<dyn Transport>);

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
}

/// One row for each wire: scheme, the feature that brings it, and how to make it, if it is
/// compiled in.
const WIRES: [(&str, &str, Option<Make>); 3] = [
    ("mem", "", Some(memory)),
    #[cfg(feature = "tcp")]
    ("tcp", "tcp", Some(tcp)),
    #[cfg(not(feature = "tcp"))]
    ("tcp", "tcp", None),
    #[cfg(feature = "ws")]
    ("ws", "ws", Some(ws)),
    #[cfg(not(feature = "ws"))]
    ("ws", "ws", None),
];

/// Makes a transport of what stands behind `://`, or says what should have stood there.
type Make = fn(&str) -> Result<Arc<dyn Transport>, &'static str>;

fn memory(name: &str) -> Result<Arc<dyn Transport>, &'static str> {
    if name.is_empty() {
        return Err("mem://NAME");
    }
    Ok(Arc::new(Memory::new(name)))
}

#[cfg(feature = "tcp")]
fn tcp(address: &str) -> Result<Arc<dyn Transport>, &'static str> {
    if !matches!(host_and_port(address), Some((_, Some(_)))) {
        return Err("tcp://HOST:PORT, with an IPv6 address in brackets");
    }
    Ok(Arc::new(emitwire_transports::Tcp::new(address)))
}

#[cfg(feature = "ws")]
fn ws(address: &str) -> Result<Arc<dyn Transport>, &'static str> {
    let end = address.find(['/', '?']).unwrap_or(address.len());
    let (authority, target) = address.split_at(end);
    let is_target = target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if host_and_port(authority).is_none() || !is_target {
        return Err("ws://HOST:PORT/PATH, with an IPv6 address in brackets; 80 is the usual port");
    }
    Ok(Arc::new(emitwire_transports::Ws::new(address)))
}

/// Takes `host` or `host:port` apart.
#[cfg(any(feature = "tcp", feature = "ws"))]
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
        let Some((scheme, address)) = url.split_once("://") else {
            return Err(EndpointError::NotAUrl { url: url.to_owned() });
        };
        // RFC 3986 §3.1: a scheme has no case.
        let is_it = |known: &str| known.eq_ignore_ascii_case(scheme);
        let make = match WIRES.iter().find(|(known, ..)| is_it(known)) {
            Some((.., Some(make))) => make,
            Some((_, feature, None)) => {
                return Err(EndpointError::Disabled { scheme: scheme.to_owned(), feature });
            }
            None => {
                let known = schemes().collect::<Vec<_>>().join(", ");
                return Err(EndpointError::UnknownScheme { scheme: scheme.to_owned(), known });
            }
        };
        let transport = make(address)
            .map_err(|expected| EndpointError::Address { url: url.to_owned(), expected })?;
        Ok(Self(transport))
    }
}

/// The schemes that this build knows.
pub fn schemes() -> impl Iterator<Item = &'static str> {
    WIRES.iter().filter(|(.., make)| make.is_some()).map(|(scheme, ..)| *scheme)
}

#[async_trait]
impl Transport for Endpoint {
    fn endpoint(&self) -> String {
        self.0.endpoint()
    }

    async fn bind(&self) -> Result<Box<dyn Listener>, BindError> {
        self.0.bind().await
    }

    async fn connect(&self) -> Result<Box<dyn Connection>, ConnectError> {
        self.0.connect().await
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
