//! What can be wrong with a socket's path.

use std::io;
use thiserror::Error;

/// Why nobody can listen at a path, or connect to it, where that is not plain from what the system
/// says. It is the inner error of the `source` of a [`BindError`] or a [`ConnectError`].
///
/// ```
/// # use emitwire_core::transport::{BindError, Transport};
/// use emitwire_transports::{Unix, UnixFault};
///
/// fn fault(error: &BindError) -> Option<&UnixFault> {
///     match error {
///         BindError::Io { source, .. } | BindError::NotAvailable { source, .. } => {
///             source.get_ref()?.downcast_ref()
///         }
///         _ => None,
///     }
/// }
///
/// # #[cfg(unix)]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let error = Unix::new("/tmp/x".repeat(100)).bind().await.err().expect("it is too long");
/// assert!(matches!(fault(&error), Some(UnixFault::TooLong { bytes: 600, .. })));
/// # }
/// # #[cfg(not(unix))]
/// # fn main() {}
/// ```
///
/// [`BindError`]: emitwire_core::transport::BindError
/// [`ConnectError`]: emitwire_core::transport::ConnectError
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UnixFault {
    /// Another kind of file is there. It is left alone.
    #[error("a file is there that is no socket")]
    NoSocket,
    /// Another user has left a socket there. It is left alone.
    #[error("user {user} has left a socket there, and it is theirs to remove")]
    OtherUser {
        /// Whose it is.
        user: u32,
    },
    /// The path is longer than the system takes for a socket.
    #[error("its path is {bytes} bytes long, and that of a socket is {max} at most")]
    TooLong {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// The path is empty, or there is a zero byte in it.
    #[error("its path is empty, or has a zero byte in it")]
    NoPath,
    /// There are no abstract names on this system.
    #[error("abstract names such as `@name` are there on Linux only")]
    NoAbstractNames,
}

impl From<UnixFault> for io::Error {
    fn from(fault: UnixFault) -> Self {
        let kind = match fault {
            UnixFault::NoSocket => io::ErrorKind::AlreadyExists,
            UnixFault::OtherUser { .. } => io::ErrorKind::PermissionDenied,
            UnixFault::TooLong { .. } | UnixFault::NoPath => io::ErrorKind::InvalidInput,
            UnixFault::NoAbstractNames => io::ErrorKind::Unsupported,
        };
        Self::new(kind, fault)
    }
}
