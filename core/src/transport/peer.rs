//! Who is at the other end of a connection.

use std::fmt;
use std::sync::Arc;

/// What a wire knows of its peer. Cheap to clone.
///
/// Wires that begin with an HTTP request also know its path, its query and its headers; on the
/// others these are empty.
///
/// ```
/// # use emitwire_core::transport::Peer;
///
/// let headers = [("Host", "example.com"), ("Cookie", "tasty")];
/// let peer = Peer::new("ws://127.0.0.1:50412").request("/chat?room=7", headers);
/// assert_eq!((peer.path(), peer.query()), ("/chat", "room=7"));
/// assert_eq!(peer.header("cookie"), Some("tasty"));
/// assert_eq!(peer.scheme(), "ws");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Peer {
    endpoint: Arc<str>,
    /// One allocation for all of it: path, query and headers, each ended by a line break, which
    /// none of them can hold.
    request: Option<Arc<str>>,
}

impl Peer {
    /// A peer at `endpoint`, a URL such as `tcp://127.0.0.1:50412`.
    #[must_use]
    pub fn new(endpoint: impl Into<Arc<str>>) -> Self {
        Self { endpoint: endpoint.into(), request: None }
    }

    /// With the request that it came with: its target, which is a path and perhaps a query, and
    /// its headers. Line breaks in them are left out.
    #[must_use]
    pub fn request<'a>(
        mut self,
        target: &str,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut request = String::new();
        for field in [path, query] {
            request.extend(field.chars().filter(|char| *char != '\n'));
            request.push('\n');
        }
        for (name, value) in headers {
            request.extend(name.chars().filter(|char| !matches!(char, '\n' | ':')));
            request.push(':');
            request.extend(value.chars().filter(|char| *char != '\n'));
            request.push('\n');
        }
        self.request = Some(request.into());
        self
    }

    /// Where the peer is, as a URL.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The scheme of the wire, such as `tcp`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.endpoint.split_once("://").map_or("", |(scheme, _)| scheme)
    }

    /// The path that the peer asked for, such as `/chat`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.lines().next().unwrap_or("")
    }

    /// What stood behind the `?` of its request, as it stood there.
    #[must_use]
    pub fn query(&self) -> &str {
        self.lines().nth(1).unwrap_or("")
    }

    /// The first header of this name, whatever the case of its letters. What a proxy appended to
    /// what the peer itself had sent is not the first one: see [`headers`](Self::headers).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All headers, in their order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines().skip(2).filter_map(|line| line.split_once(':'))
    }

    fn lines(&self) -> impl Iterator<Item = &str> {
        self.request.iter().flat_map(|request| request.lines())
    }
}

impl fmt::Debug for Peer {
    /// Without the values of headers, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers().map(|(name, _)| name).collect();
        let mut debug = f.debug_struct("Peer");
        debug.field("endpoint", &self.endpoint).field("path", &self.path());
        debug.field("headers", &headers).finish_non_exhaustive()
    }
}
