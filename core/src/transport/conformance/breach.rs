//! What a wire did instead of what it promised.

use crate::transport::{BindError, ConnectError, HandshakeError, ReadError};
use std::any::Any;
use std::io;
use std::time::Duration;
use thiserror::Error;

/// Why a check failed. `doing` is what the check was about when it happened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Breach {
    /// The wire did something else than the port asks for.
    #[error("expected {expected}, saw {seen}")]
    Broken {
        /// What the port asks for.
        expected: String,
        /// What the wire did.
        seen: String,
    },
    /// What was waited for did not come.
    #[error("nothing came within {after:?}: {doing}")]
    Deadline {
        /// The deadline of the check.
        after: Duration,
        /// What was waited for.
        doing: String,
    },
    /// A poll did not return, so nothing else on its thread could run. The thread is left behind.
    #[error("a poll did not return within {after:?}: {doing}")]
    Blocked {
        /// How long the thread was given.
        after: Duration,
        /// What the check was about.
        doing: String,
    },
    /// The transport panicked.
    #[error("a panic, `{panic}`: {doing}")]
    Panicked {
        /// What the panic says.
        panic: String,
        /// What the check was about.
        doing: String,
    },
    /// Listening failed where it must not.
    #[error("cannot bind: {doing}")]
    Bind {
        /// What the check was about.
        doing: String,
        /// What the transport says.
        source: BindError,
    },
    /// Connecting failed where it must not.
    #[error("cannot connect: {doing}")]
    Connect {
        /// What the check was about.
        doing: String,
        /// What the transport says.
        source: ConnectError,
    },
    /// Accepting failed where it must not.
    #[error("cannot accept: {doing}")]
    Accept {
        /// What the check was about.
        doing: String,
        /// What the listener says.
        source: io::Error,
    },
    /// Shaking hands failed where it must not.
    #[error("cannot shake hands: {doing}")]
    Handshake {
        /// What the check was about.
        doing: String,
        /// What the arrival says.
        source: HandshakeError,
    },
    /// Reading failed where it must not.
    #[error("cannot read: {doing}")]
    Read {
        /// What the check was about.
        doing: String,
        /// What the reading half says.
        source: ReadError,
    },
    /// Writing or closing failed where it must not.
    #[error("cannot write: {doing}")]
    Write {
        /// What the check was about.
        doing: String,
        /// What the writing half says.
        source: io::Error,
    },
    /// The suite was asked for a check that it does not have.
    #[error("there is no such check")]
    NoSuchCheck,
    /// The check could not even begin: no thread or no runtime for it.
    #[error("the check could not begin")]
    NotBegun {
        /// What the system says.
        source: io::Error,
    },
}

impl Breach {
    pub(super) fn broken(expected: impl Into<String>, seen: impl Into<String>) -> Self {
        Self::Broken { expected: expected.into(), seen: seen.into() }
    }
}

/// What a panic says.
pub(super) fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no text".into())
}
