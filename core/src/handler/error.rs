//! What can be wrong with a namespace.

use crate::socket::ListenError;
use thiserror::Error;

/// Why a namespace cannot be mounted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MountError {
    /// A path begins with `/`.
    #[error("the path `{path}` does not begin with `/`")]
    Path {
        /// The path.
        path: Box<str>,
    },
    /// A path is at most as long as an event name.
    #[error("a path of {bytes} bytes, at most {max} are allowed")]
    PathTooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// In a path `{` and `}` enclose a name, each name stands there once, and something stands
    /// between two of them.
    #[error("the path `{path}` is no pattern: names stand in braces, once, and apart")]
    Pattern {
        /// The path.
        path: Box<str>,
    },
    /// A client joins a namespace, not a pattern of them.
    #[error("a client joins one namespace, `{path}` is a pattern")]
    PatternOnClient {
        /// The path.
        path: Box<str>,
    },
    /// The path is mounted already.
    #[error("the path `{path}` is mounted already")]
    Duplicate {
        /// The path.
        path: Box<str>,
    },
    /// A listener cannot be: a reserved or too long name, too many of them, a state that is not
    /// there.
    #[error(transparent)]
    Listen(#[from] ListenError),
}
