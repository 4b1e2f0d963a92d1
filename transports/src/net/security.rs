//! Whether a wire's streams are encrypted. Without the feature `tls` none is, and nothing here
//! costs anything.

use super::Stream;
#[cfg(feature = "tls")]
use crate::address::host;
#[cfg(feature = "tls")]
use crate::tls::{self, Tls, TlsError};
use emitwire_core::transport::{BindError, ConnectError, HandshakeError, Peer};
#[cfg(feature = "tls")]
use std::sync::Arc;
use tokio::net::TcpStream;

/// What is spoken inside, as both ends agree on it (ALPN, RFC 7301).
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "only TLS names it"))]
pub(crate) enum Inside {
    /// Frames. A client has to ask for them; a server that does not know the name may be a proxy.
    #[cfg(feature = "tcp")]
    Frames,
    /// HTTP, of which many clients do not say so.
    #[cfg(feature = "ws")]
    Http,
}

/// A transport's option.
#[derive(Clone, Debug, Default)]
pub(crate) struct Security {
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Tls>,
}

/// A listener's side of it.
#[derive(Clone)]
pub(crate) struct Acceptor {
    #[cfg(feature = "tls")]
    config: Option<(Arc<rustls::ServerConfig>, Inside)>,
}

impl Security {
    /// Whether streams are encrypted.
    pub(crate) fn is_on(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }

    /// For a listener at this endpoint.
    #[cfg_attr(not(feature = "tls"), allow(unused_variables, reason = "only TLS can go wrong"))]
    pub(crate) fn acceptor(&self, inside: Inside, endpoint: &str) -> Result<Acceptor, BindError> {
        Ok(Acceptor {
            #[cfg(feature = "tls")]
            config: match &self.tls {
                None => None,
                Some(tls) => {
                    let config = tls.server(inside.name()).map_err(|source| {
                        BindError::Options { endpoint: endpoint.to_owned(), source: source.into() }
                    })?;
                    Some((config, inside))
                }
            },
        })
    }

    /// Tells whoever runs the server what its clients see.
    #[cfg_attr(not(feature = "tls"), allow(unused_variables, reason = "only TLS shows something"))]
    pub(crate) fn announce(&self, endpoint: &str) {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            tls.announce(endpoint);
        }
    }

    /// A client's stream to the host of this `host:port`.
    #[cfg_attr(not(feature = "tls"), allow(unused_variables, clippy::unused_async))]
    pub(crate) async fn secure(
        &self,
        stream: TcpStream,
        peer: Peer,
        inside: Inside,
        address: &str,
        endpoint: &str,
    ) -> Result<(Stream, Peer), ConnectError> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let options = |source: TlsError| ConnectError::Options {
                endpoint: endpoint.to_owned(),
                source: source.into(),
            };
            let config = tls.client(inside.name()).map_err(options)?;
            let name = tls.name_of(host(address)).map_err(options)?;
            let secured = tls::connect(stream, config, name, peer).await;
            let (stream, peer) = secured.map_err(|source| ConnectError::Handshake {
                endpoint: endpoint.to_owned(),
                source,
            })?;
            return Ok((Stream::Encrypted(Box::new(stream)), peer));
        }
        Ok((Stream::Plain(stream), peer))
    }
}

impl Acceptor {
    /// A server's stream to whoever has arrived.
    #[cfg_attr(not(feature = "tls"), allow(clippy::unused_async))]
    pub(crate) async fn secure(
        &self,
        stream: TcpStream,
        peer: Peer,
    ) -> Result<(Stream, Peer), HandshakeError> {
        #[cfg(feature = "tls")]
        if let Some((config, inside)) = &self.config {
            let (mut stream, peer) = tls::accept(stream, Arc::clone(config), peer).await?;
            let named = stream.get_ref().1.alpn_protocol().is_some();
            if inside.has_to_be_named() && !named {
                super::hang_up(&mut stream).await;
                let asked = "no application protocol (ALPN)".to_owned();
                return Err(HandshakeError::NotOffered { asked });
            }
            return Ok((Stream::Encrypted(Box::new(stream)), peer));
        }
        Ok((Stream::Plain(stream), peer))
    }
}

#[cfg(feature = "tls")]
impl Inside {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Frames => tls::EMITWIRE,
            #[cfg(feature = "ws")]
            Self::Http => b"http/1.1",
        }
    }

    fn has_to_be_named(self) -> bool {
        matches!(self, Self::Frames)
    }
}
