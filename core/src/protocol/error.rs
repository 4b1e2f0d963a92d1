//! What can be wrong with bytes, with packets and with the order of packets.

use thiserror::Error;

/// Why a value could not become a payload, or a payload a value.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// The value's own `Serialize` failed.
    #[error("the value cannot be encoded")]
    Encode {
        /// What serde says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The bytes are not a value of the wanted type.
    #[error("the payload is not of the wanted type")]
    Decode {
        /// What serde says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The value ended before its payload did.
    #[error("{count} bytes follow the value")]
    TrailingBytes {
        /// How many bytes were left.
        count: usize,
    },
}

/// Why a frame is not a packet. Everything that a peer can send ends in a packet or here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The frame has no byte.
    #[error("empty frame")]
    Empty,
    /// No packet begins with this byte.
    #[error("unknown packet byte {byte:#04x}")]
    UnknownKind {
        /// The byte.
        byte: u8,
    },
    /// The frame ends inside a field.
    #[error("truncated packet")]
    Truncated,
    /// Bytes follow the packet's last field.
    #[error("{count} bytes follow the packet")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// A field is longer than its limit.
    #[error("a field of {length} bytes, at most {max} are allowed")]
    TooLong {
        /// What the peer announced.
        length: u64,
        /// The limit.
        max: u64,
    },
    /// A number does not fit its field.
    #[error("a number is out of range")]
    OutOfRange,
    /// A name is not UTF-8.
    #[error("a name is not UTF-8")]
    NotUtf8,
    /// The first packet is not ours: the peer speaks another protocol.
    #[error("the peer does not speak emitwire")]
    NotEmitwire,
    /// The peer speaks a version that this side does not know.
    #[error("protocol version {version} is not supported")]
    Version {
        /// The peer's version.
        version: u8,
    },
    /// The codec cannot read this kind of frame (binary or text).
    #[error("a frame of the wrong kind")]
    FrameKind,
}

/// How a peer broke the session's rules. The link is closed with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A frame is not a packet.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The bytes broke a rule of the wire below the packets.
    #[error("the wire's own rules were broken")]
    Wire,
    /// A packet that has no place where it came.
    #[error("a {packet} packet has no place here")]
    Unexpected {
        /// The packet's name in PROTOCOL.md.
        packet: &'static str,
    },
    /// `From` skipped numbers that this side never got.
    #[error("the link begins at {from}, {expected} was expected")]
    From {
        /// The number announced.
        from: u64,
        /// The highest number that leaves no hole.
        expected: u64,
    },
    /// The peer counted other packets than arrived.
    #[error("the peer counts {theirs} packets, {ours} arrived")]
    Count {
        /// The peer's count.
        theirs: u64,
        /// What arrived.
        ours: u64,
    },
    /// A position beyond what was sent, or a grant beyond what was finished.
    #[error("a position of {position}, only {written} were written")]
    Position {
        /// What the peer claims to have.
        position: u64,
        /// What was written.
        written: u64,
    },
    /// A piece of a large packet is not the one that follows.
    #[error("a piece of a packet that is not piece {offset} of packet {packet}")]
    Fragment {
        /// Which fragmented packet of this link was expected.
        packet: u64,
        /// Where in it.
        offset: u64,
    },
    /// More events, or more bytes of them, than the window allowed.
    #[error("the window of {events} events and {bytes} bytes was overrun")]
    Window {
        /// Granted events since the session began.
        events: u64,
        /// Granted bytes since the session began.
        bytes: u64,
    },
    /// An event for a namespace that was never asked for.
    #[error("event for a namespace never asked for: {number}")]
    Namespace {
        /// The number by which the sender named it.
        number: u32,
    },
    /// More namespaces than allowed, or a number used twice.
    #[error("namespace number {number} is not the next one, or unknown")]
    NamespaceNumber {
        /// The number asked for.
        number: u32,
    },
    /// An event larger than agreed.
    #[error("an event of {bytes} bytes, at most {max} were agreed")]
    EventTooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        max: u64,
    },
}
