//! Who is at the other end of a connection.

use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// What a wire knows of its peer. Cheap to clone.
///
/// Wires that begin with an HTTP request also know its path, its query and its headers, encrypted
/// ones the certificates that a peer has shown, and those within one machine which process it is;
/// on the others these are empty.
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
    /// What only some wires know.
    more: Option<Arc<More>>,
}

#[derive(Clone, Default, PartialEq, Eq)]
struct More {
    /// One allocation for all of it: path, query and headers, each ended by a line break, which
    /// none of them can hold.
    request: String,
    certificates: Vec<Bytes>,
    process: Option<Process>,
}

/// Which process is at the other end, on wires within one machine; as the system says, and not the
/// peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Process {
    /// The user that it runs as.
    pub user: u32,
    /// The group that it runs as.
    pub group: u32,
    /// Its number; some systems do not tell. It may have ended since, and another may have it now.
    pub id: Option<i32>,
}

impl Process {
    /// A process of this user and group.
    #[must_use]
    pub const fn new(user: u32, group: u32, id: Option<i32>) -> Self {
        Self { user, group, id }
    }
}

impl Peer {
    /// A peer at `endpoint`, a URL such as `tcp://127.0.0.1:50412`.
    #[must_use]
    pub fn new(endpoint: impl Into<Arc<str>>) -> Self {
        Self { endpoint: endpoint.into(), more: None }
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
        self.more().request = request;
        self
    }

    /// With the certificates that it has shown, X.509 in DER, its own first. An empty chain is
    /// none.
    #[must_use]
    pub fn with_certificates(mut self, chain: impl IntoIterator<Item = Bytes>) -> Self {
        let certificates: Vec<_> = chain.into_iter().collect();
        if !certificates.is_empty() {
            self.more().certificates = certificates;
        }
        self
    }

    /// With the process that it is.
    #[must_use]
    pub fn with_process(mut self, process: Process) -> Self {
        self.more().process = Some(process);
        self
    }

    /// The same peer, found at another endpoint.
    #[must_use]
    pub fn at(mut self, endpoint: impl Into<Arc<str>>) -> Self {
        self.endpoint = endpoint.into();
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

    /// The certificates that the peer has shown and that were found good, X.509 in DER, its own
    /// first (RFC 8446 §4.4.2). A server has those of its clients only if it asks for them.
    #[must_use]
    pub fn certificates(&self) -> &[Bytes] {
        self.more.as_ref().map_or(&[], |more| &more.certificates)
    }

    /// Which process it is, on wires within one machine.
    #[must_use]
    pub fn process(&self) -> Option<Process> {
        self.more.as_ref()?.process
    }

    fn lines(&self) -> impl Iterator<Item = &str> {
        self.more.iter().flat_map(|more| more.request.lines())
    }

    fn more(&mut self) -> &mut More {
        Arc::make_mut(self.more.get_or_insert_default())
    }
}

impl fmt::Debug for Peer {
    /// Without the values of headers, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers().map(|(name, _)| name).collect();
        let mut debug = f.debug_struct("Peer");
        debug.field("endpoint", &self.endpoint).field("path", &self.path());
        debug.field("headers", &headers).field("certificates", &self.certificates().len());
        debug.field("process", &self.process()).finish()
    }
}
