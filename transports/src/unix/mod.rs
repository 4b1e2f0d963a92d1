//! `unix:///path`: length-delimited frames on a Unix socket, within one machine.
//!
//! | file | holds |
//! | --- | --- |
//! | `address.rs` | what a path stands for: a file, or an abstract name |
//! | `claim.rs` | taking a path, and leaving it again: files left behind, permissions |
//! | `lock.rs` | whoever takes a path has it alone |
//! | `permissions.rs` | who may connect |
//! | `wire.rs` | the listener and the connection |
//! | `elsewhere.rs` | all of that on systems that have no Unix sockets |
//! | `fault.rs` | what can be wrong with a path |

#[cfg(unix)]
mod address;
#[cfg(unix)]
mod claim;
mod fault;
#[cfg(unix)]
mod lock;
#[cfg(unix)]
mod permissions;
#[cfg(not(unix))]
#[path = "elsewhere.rs"]
mod wire;
#[cfg(unix)]
mod wire;

pub use fault::UnixFault;

use crate::limits::{BACKLOG, FRAME_BYTES_MAX};
use async_trait::async_trait;
use emitwire_core::transport::{BindError, ConnectError, Connection, Listener, Transport};
use std::path::PathBuf;

/// Frames on a Unix socket: reliable, ordered, and never outside this machine, which counts as
/// encrypted.
///
/// Either end learns from the system, and not from the peer, which user and which process is at
/// the other: [`Peer::process`]. Both name the socket's path as the peer's endpoint.
///
/// # The file
///
/// Listening makes a file, and that the listener is dropped removes it. A file that a process has
/// left behind which is gone, where nobody answers, is replaced by the next that listens there, if
/// it is of the same user. A file that is no socket is never removed, and neither is one of
/// another user. Of several processes that begin to listen at one path at once exactly
/// one succeeds: it holds a lock on an empty file `path.lock` beside it for as long as it listens.
///
/// Who may connect follows from the file's permissions, by default those of [`mode`](Self::mode)
/// 0600: the same user and the superuser. They hold from the first moment on. **The permissions of
/// its directory matter as much**: whoever may write there can put a socket of their own in its
/// place, and whoever may not search it connects to nothing. So in a directory for all, such as
/// `/tmp`, clients should say whom they expect: [`only_user`](Self::only_user).
///
/// # Abstract names
///
/// On Linux a path that begins with `@`, as in `unix://@name`, is a name without a file: it is gone
/// with its listener, and has no permissions, so that everybody of the same network namespace may
/// connect, and may take the name first. A file whose name begins so is `./@name`.
///
/// ```
/// # use emitwire_core::transport::{Incoming, Listener, Transport};
/// use emitwire_transports::Unix;
///
/// # #[cfg(unix)]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let path = std::env::temp_dir().join(format!("example-{}.sock", std::process::id()));
/// let wire = Unix::new(path).same_user();
/// let mut listener = wire.bind().await?;
/// let client = wire.connect().await?;
/// let server = listener.accept().await?.handshake().await?;
/// let process = server.peer().process().expect("the system knows who it is");
/// assert_eq!(client.peer().process().expect("at both ends").user, process.user);
/// assert_eq!(client.peer().endpoint(), listener.endpoint());
/// # Ok(())
/// # }
/// # #[cfg(not(unix))]
/// # fn main() {}
/// ```
///
/// [`Peer::process`]: emitwire_core::transport::Peer::process
#[derive(Clone, Debug)]
#[cfg_attr(not(unix), allow(dead_code, reason = "there is nothing that the options could change"))]
pub struct Unix {
    path: PathBuf,
    mode: u32,
    only: Option<Only>,
    frame_bytes_max: usize,
    backlog: u32,
}

/// Who may be at the other end.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(unix), allow(dead_code, reason = "nobody can be there"))]
enum Only {
    User(u32),
    SameUser,
}

impl Unix {
    /// A wire to the socket at this path, at most about a hundred bytes long (unix(7)); a relative
    /// one is looked up from the current directory at each bind and at each connect. On Linux
    /// `@name` is an abstract name.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            mode: MODE,
            only: None,
            frame_bytes_max: FRAME_BYTES_MAX,
            backlog: BACKLOG,
        }
    }

    /// The permissions of the file when listening, such as 0660 for a group's. Default: 0600.
    /// Whoever may write may connect; some systems ask for no permission at all.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode & MODE_MASK;
        self
    }

    /// Lets in only peers that run as this user: at a listener others end in
    /// [`HandshakeError::NotAllowed`], and so does connecting to a listener of another. The user
    /// of a listener is the one that it ran as when it began to listen.
    ///
    /// [`HandshakeError::NotAllowed`]: emitwire_core::transport::HandshakeError::NotAllowed
    #[must_use]
    pub fn only_user(mut self, user: u32) -> Self {
        self.only = Some(Only::User(user));
        self
    }

    /// [`only_user`](Self::only_user) with the user that this process runs as when they meet.
    #[must_use]
    pub fn same_user(mut self) -> Self {
        self.only = Some(Only::SameUser);
        self
    }

    /// The largest frame, in bytes of its body, up to 4 GiB - 1. Default: 16 MiB. A session may
    /// lower it, never raise it.
    #[must_use]
    pub fn frame_bytes_max(mut self, bytes: usize) -> Self {
        self.frame_bytes_max = bytes.min(u32::MAX as usize);
        self
    }

    /// How many connections the system lets wait to be accepted. Default: 1024; the system may
    /// have a lower limit. When so many wait, connecting waits too.
    #[must_use]
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }
}

#[async_trait]
impl Transport for Unix {
    fn endpoint(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    async fn bind(&self) -> Result<Box<dyn Listener>, BindError> {
        wire::bind(self).await
    }

    async fn connect(&self) -> Result<Box<dyn Connection>, ConnectError> {
        wire::connect(self).await
    }
}

/// The permissions of a socket's file unless the transport says otherwise.
const MODE: u32 = 0o600;

/// What of a mode are permissions.
const MODE_MASK: u32 = 0o777;
