//! What a client process leaves to the next, so that this one goes on with its session.

use crate::protocol::SessionId;
use bytes::Bytes;
use std::fmt::{self, Write};
use std::str::FromStr;
use thiserror::Error;

/// The right to go on with a session, for a client process that is started again: see
/// [`Client::resume_with`](super::Client::resume_with). **It is a secret**: whoever has it, and the
/// credentials that namespaces ask for, has the session.
///
/// `Display` writes it as text, which [`str::parse`] reads; `Debug` does not show it.
///
/// ```
/// # use emitwire_core::run::ResumeToken;
/// // What the process before wrote into a file that nobody else can read.
/// let saved = "no token";
/// assert_eq!(saved.parse::<ResumeToken>().unwrap_err().to_string(), "this is no resume token");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ResumeToken {
    pub(super) session: SessionId,
    pub(super) secret: Bytes,
    /// Whether the session began on an encrypted wire.
    pub(super) began_encrypted: bool,
    /// The client's namespaces, in their order.
    pub(super) namespaces: u64,
}

/// A text is no [`ResumeToken`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this is no resume token")]
pub struct ResumeTokenError;

/// Hexadecimal digits of the session and of the namespaces; behind them stand one for the wire and
/// the secret.
const SESSION_DIGITS: usize = 32;
const NAMESPACES_DIGITS: usize = 16;

impl ResumeToken {
    /// What stands for these paths, in their order: FNV-1a over them, each ended by a zero byte.
    pub(super) fn fingerprint<'a>(paths: impl Iterator<Item = &'a str>) -> u64 {
        let bytes = paths.flat_map(|path| path.bytes().chain([0]));
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }
}

impl fmt::Display for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:016x}", self.session, self.namespaces)?;
        f.write_char(if self.began_encrypted { '1' } else { '0' })?;
        self.secret.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ResumeToken {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResumeToken").field("session", &self.session).finish_non_exhaustive()
    }
}

impl FromStr for ResumeToken {
    type Err = ResumeTokenError;

    /// Reads what `Display` writes.
    fn from_str(text: &str) -> Result<Self, ResumeTokenError> {
        if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ResumeTokenError);
        }
        let fail = |_| ResumeTokenError;
        let (session, rest) = text.split_at_checked(SESSION_DIGITS).ok_or(ResumeTokenError)?;
        let (namespaces, rest) =
            rest.split_at_checked(NAMESPACES_DIGITS).ok_or(ResumeTokenError)?;
        let (wire, secret) = rest.split_at_checked(1).ok_or(ResumeTokenError)?;
        if secret.is_empty() || secret.len() % 2 != 0 {
            return Err(ResumeTokenError);
        }
        let byte = |at: usize| u8::from_str_radix(&secret[at..at + 2], 16);
        let secret: Result<Vec<u8>, _> = (0..secret.len()).step_by(2).map(byte).collect();
        Ok(Self {
            session: session.parse().map_err(fail)?,
            secret: secret.map_err(fail)?.into(),
            began_encrypted: wire == "1",
            namespaces: u64::from_str_radix(namespaces, 16).map_err(fail)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written_and_nothing_else_is_one() {
        let namespaces = ResumeToken::fingerprint(["/", "/chat"].into_iter());
        let (session, secret) = (SessionId(7), Bytes::from_static(&[0, 1, 0xfe]));
        let token = ResumeToken { session, secret, began_encrypted: true, namespaces };
        let text = token.to_string();
        assert_eq!(text.parse(), Ok(token.clone()));
        assert!(!format!("{token:?}").contains("0001fe"), "a secret");
        for end in 0..=text.len() - 6 {
            assert_eq!(text[..end].parse::<ResumeToken>(), Err(ResumeTokenError), "{end}");
        }
        for wrong in ["é".repeat(40), text.replace('f', "g"), format!("{text}0")] {
            assert_eq!(wrong.parse::<ResumeToken>(), Err(ResumeTokenError), "{wrong}");
        }
    }

    #[test]
    fn the_order_of_namespaces_matters() {
        let of = |paths: [&str; 2]| ResumeToken::fingerprint(paths.into_iter());
        assert_ne!(of(["/a", "/b"]), of(["/b", "/a"]));
        assert_ne!(of(["/a", "/b"]), of(["/a/", "b"]));
    }
}
