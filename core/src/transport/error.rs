//! What can go wrong with a wire.

use crate::protocol::{DisconnectReason, Payload};
use serde::de::DeserializeOwned;
use std::error::Error as _;
use std::io;
use std::time::Duration;
use thiserror::Error;

/// Why a transport cannot listen.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// Somebody listens there already.
    #[error("{endpoint} is in use")]
    InUse {
        /// The address asked for.
        endpoint: String,
    },
    /// The address is not one of this machine, or its name is unknown.
    #[error("{endpoint} is not an address of this machine")]
    NotAvailable {
        /// The address asked for.
        endpoint: String,
        /// What the system says.
        source: io::Error,
    },
    /// The wire's options do not make a listener: a certificate is missing, or is not one.
    #[error("the options of {endpoint} are not enough to listen")]
    Options {
        /// The address asked for.
        endpoint: String,
        /// What is wrong with them.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The system refuses.
    #[error("cannot listen on {endpoint}")]
    Io {
        /// The address asked for.
        endpoint: String,
        /// What the system says.
        source: io::Error,
    },
    /// It stands for several wires, of which a client takes one. A server listens on each of them,
    /// by a call of its own.
    #[error("{endpoint} stands for several wires: listen on each of them")]
    Several {
        /// Which wires.
        endpoint: String,
    },
}

/// Why there is no session.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody listens there, or the network does not lead there.
    #[error("cannot reach {endpoint}")]
    Unreachable {
        /// The address asked for.
        endpoint: String,
        /// What the system says.
        source: io::Error,
    },
    /// The wire's options do not make a connection: they are for another host, or not to be read.
    #[error("the options of {endpoint} are not enough to connect")]
    Options {
        /// The address asked for.
        endpoint: String,
        /// What is wrong with them.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Somebody is there, but the wire's own handshake failed.
    #[error("{endpoint} is no peer of this wire")]
    Handshake {
        /// The address asked for.
        endpoint: String,
        /// What went wrong.
        source: HandshakeError,
    },
    /// No answer before the deadline.
    #[error("no answer within {after:?}")]
    Timeout {
        /// The deadline.
        after: Duration,
    },
    /// The connection ended before the session began.
    #[error("the connection ended before the session began: {reason}")]
    Ended {
        /// Why.
        reason: DisconnectReason,
    },
    /// The namespace refused this client.
    #[error("the namespace {namespace} refused{}", payload.said())]
    Refused {
        /// Its path.
        namespace: String,
        /// What the server says.
        payload: Payload,
    },
    /// The wire loses or reorders frames, and nothing repairs that yet.
    #[error("the wire loses or reorders frames and needs retransmission")]
    NeedsArq,
    /// The wire's frames are smaller than a session needs, even with packets in pieces.
    #[error("the wire takes frames of {frame_bytes_max} bytes, {needed} are needed")]
    FrameTooSmall {
        /// What the wire takes.
        frame_bytes_max: usize,
        /// What a session needs.
        needed: usize,
    },
    /// The session ends with its link, or the server there does not know it, so it cannot go on on
    /// another.
    #[error(
        "the session cannot go on there: it ends with its link, or that server does not know it"
    )]
    NotResumable,
    /// The session began on an encrypted wire and may not go on on this one, which is not: see
    /// `Config::resume_on_plain`.
    #[error("the session began on an encrypted wire, and this one is not")]
    PlainWire,
    /// There are no credentials: they cannot be encoded, or who was asked for them failed.
    #[error("there are no credentials to show")]
    Auth {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The credentials are larger than the largest event.
    #[error("credentials of {bytes} bytes, at most {max} are allowed")]
    AuthTooLarge {
        /// Their encoded size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A namespace was registered wrongly.
    #[error("a namespace was registered wrongly")]
    Mount {
        /// How.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A layer around connecting answered with an error of its own. A client that reconnects tries
    /// again.
    #[error("a layer around connecting refused")]
    Layer {
        /// The layer's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// None of several wires could be had. The client gives up if it would after each of these
    /// failures alone.
    #[error("{}", each(failures))]
    AllFailed {
        /// Each wire's endpoint and what it failed of, in the order of the wires.
        failures: Vec<(String, ConnectError)>,
    },
    /// No further attempt is made: `Reconnect::attempts_max` allows no more, or a layer that
    /// answers this does. The client stays away.
    #[error("{attempts} attempts in a row were in vain, and no more are made")]
    AttemptsExhausted {
        /// How many were made in a row.
        attempts: u32,
    },
}

impl ConnectError {
    /// The data that the namespace refused with, if it is a `T`.
    #[must_use]
    pub fn refusal<T: DeserializeOwned>(&self) -> Option<T> {
        match self {
            Self::Refused { payload, .. } => payload.decode().ok(),
            _ => None,
        }
    }
}

/// Every failure with what is behind it: of several errors none is *the* source.
fn each(failures: &[(String, ConnectError)]) -> String {
    if failures.is_empty() {
        return "there is no wire to connect".into();
    }
    let mut text = String::from("no wire could be had");
    for (number, (endpoint, error)) in failures.iter().enumerate() {
        text.push_str(if number == 0 { ": " } else { "; " });
        text.push_str(&format!("{endpoint} ({error}"));
        let mut source = error.source();
        while let Some(error) = source {
            text.push_str(&format!(": {error}"));
            source = error.source();
        }
        text.push(')');
    }
    text
}

/// Why the wire's own handshake failed, at either end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The wire broke, or the peer left before the handshake was over.
    #[error("the connection broke in its handshake")]
    Io {
        /// What the system says.
        source: io::Error,
    },
    /// The peer speaks something else.
    #[error("the peer does not speak this wire's handshake")]
    Malformed {
        /// What its bytes are not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The peer speaks the handshake, and wants nothing to do with this side.
    #[error("the peer refused with status {status}: {reason}")]
    Refused {
        /// The wire's own code, such as an HTTP status.
        status: u16,
        /// The peer's words, at most a few hundred bytes of them.
        reason: String,
    },
    /// The peer speaks in the clear where an encrypted wire begins with a handshake of its own.
    #[error(
        "the peer does not encrypt: is it a port of an unencrypted wire, or no server of ours?"
    )]
    Plain,
    /// The peer encrypts, and this side does not.
    #[error("the peer encrypts and this side does not: does its URL have a scheme that does?")]
    Encrypted,
    /// A certificate is not good.
    #[error("{fault}")]
    Certificate {
        /// What is wrong with it.
        fault: CertificateFault,
        /// What was found.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The peer asked for something that is not offered here.
    #[error("the peer asked for {asked}, which is not offered here")]
    NotOffered {
        /// What it asked for: a path, a sub-protocol, an origin.
        asked: String,
    },
    /// The peer is known, and is none of those that may be at the other end.
    #[error("{who} may not be at the other end")]
    NotAllowed {
        /// Who it is: a user of this machine.
        who: String,
    },
}

/// What is wrong with a certificate, as whoever can mend it wants to know it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CertificateFault {
    /// Nobody who is trusted here has signed it; so it is for one that signed itself.
    #[error(
        "nobody who is trusted here signed the peer's certificate: trust its issuer, or pin it"
    )]
    UnknownIssuer,
    /// Its time is over.
    #[error("the peer's certificate expired {} ago, or the clock here is wrong", roughly(*ago))]
    Expired {
        /// How long ago.
        ago: Duration,
    },
    /// Its time has not begun.
    #[error(
        "the peer's certificate is good only in {}, or the clock here is wrong",
        roughly(*ahead)
    )]
    NotYetValid {
        /// How long it is until then.
        ahead: Duration,
    },
    /// It is for another host.
    #[error("the peer's certificate is not for `{asked}`, it is for {}", listed(names))]
    WrongName {
        /// The host that was asked for.
        asked: String,
        /// The hosts that it is for.
        names: Vec<String>,
    },
    /// It is another one than the one that was pinned.
    #[error("the peer's certificate is not the pinned one, its fingerprint is {shown}")]
    NotPinned {
        /// Its fingerprint.
        shown: String,
    },
    /// Its issuer has taken it back.
    #[error("the peer's certificate was revoked")]
    Revoked,
    /// The peer has shown none, and has to.
    #[error("the peer has shown no certificate, and it has to")]
    Missing,
    /// The peer does not take this side's certificate, or that there is none.
    #[error("the peer does not accept this side: {alert}")]
    Rejected {
        /// The peer's word, as TLS names it (RFC 8446 §6.2).
        alert: String,
    },
    /// It is for other uses, too weak, broken or signed wrongly.
    #[error("the peer's certificate is not good for this")]
    Unfit,
}

/// As people count, who look at a calendar and not at a stopwatch.
fn roughly(time: Duration) -> String {
    let seconds = time.as_secs();
    for (unit, of) in [("days", 86_400), ("hours", 3_600), ("minutes", 60)] {
        if seconds >= 2 * of {
            return format!("{} {unit}", seconds / of);
        }
    }
    format!("{seconds} seconds")
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "no host at all".to_owned(),
        names => names.join(", "),
    }
}

/// Why nothing more can be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The wire broke, or the peer's process went away.
    #[error("the connection broke")]
    Io {
        /// What the system says.
        #[from]
        source: io::Error,
    },
    /// The stream ended inside a frame.
    #[error("the connection ended inside a frame")]
    Truncated,
    /// A frame is larger than allowed; nothing was allocated for it.
    #[error("a frame of {bytes} bytes, at most {max} are allowed")]
    FrameTooLarge {
        /// What its header says.
        bytes: u64,
        /// The limit.
        max: usize,
    },
    /// The bytes break a rule of the wire's own framing.
    #[error("the peer broke the rules of this wire")]
    Malformed {
        /// Which rule.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The wire's handshake was over for this side, and not for the peer, which refuses only now:
    /// so a server of TLS 1.3 does that does not like the certificate of its client.
    #[error("the wire's handshake failed after all")]
    Handshake {
        /// What went wrong.
        source: HandshakeError,
    },
}
