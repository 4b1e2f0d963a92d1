//! Packets: the steps of the protocol, as both ends see them. PROTOCOL.md says how they travel.

use super::{
    Credit, Event, EventId, EventName, Limits, Nak, NamespaceNumber, Payload, ProducerId,
    SessionId, SocketId,
};
use bytes::Bytes;
use std::fmt;
use std::time::Duration;

/// One step of the protocol.
///
/// *Counted* packets are numbered, kept until the peer's position passes them, and replayed on
/// resume; the others say something about this moment only: see [`Packet::is_counted`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Packet {
    /// Counted: something happened.
    Event(EventPacket),
    /// Counted: the answer of a handler.
    Ack(AckPacket),
    /// Counted: the answer that says no.
    Nak(NakPacket),
    /// Counted: a client asks for a namespace.
    Connect(Connect),
    /// Counted: the server lets it in.
    Accept(Accept),
    /// Counted: the server does not let it in.
    Refuse(Refuse),
    /// Counted: a socket ends, the session goes on.
    Leave(Leave),
    /// Counted: events that were removed before they were written.
    Gap(Gap),

    /// The first packet of a client.
    Hello(Hello),
    /// The server's answer to `Hello`, and to `Attach` when one came.
    Welcome(Welcome),
    /// Follows a `Hello` that wants to resume.
    Attach(Attach),
    /// The number of the first counted packet in this direction of this link.
    From(u64),
    /// What the sender has, and how far its peer may go.
    Position(Position),
    /// A sign of life that carries the count of counted packets written so far.
    Heartbeat {
        /// Counted packets that its sender has written since the session began.
        written: u64,
    },
    /// An event that may be missed.
    Volatile(EventPacket),
    /// Numbers that will never come.
    Skip(Skip),
    /// The server will close; no new events.
    Drain(Drain),
    /// The sender ends the session or the link.
    Close(Close),
    /// A piece of a packet that is larger than a frame of this wire.
    Fragment(Fragment),
    /// On wires that do not keep order: the number of the counted packet behind it.
    Numbered {
        /// The session number.
        number: u64,
        /// The counted packet.
        packet: Box<Packet>,
    },
}

impl Packet {
    /// Whether the packet is numbered and kept.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        matches!(
            self,
            Self::Event(_)
                | Self::Ack(_)
                | Self::Nak(_)
                | Self::Connect(_)
                | Self::Accept(_)
                | Self::Refuse(_)
                | Self::Leave(_)
                | Self::Gap(_)
        )
    }
}

impl Packet {
    /// The packet's name, as PROTOCOL.md has it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Event(_) => "event",
            Self::Ack(_) => "ack",
            Self::Nak(_) => "nak",
            Self::Connect(_) => "connect",
            Self::Accept(_) => "accept",
            Self::Refuse(_) => "refuse",
            Self::Leave(_) => "leave",
            Self::Gap(_) => "gap",
            Self::Hello(_) => "hello",
            Self::Welcome(_) => "welcome",
            Self::Attach(_) => "attach",
            Self::From(_) => "from",
            Self::Position(_) => "position",
            Self::Heartbeat { .. } => "heartbeat",
            Self::Volatile(_) => "volatile",
            Self::Skip(_) => "skip",
            Self::Drain(_) => "drain",
            Self::Close(_) => "close",
            Self::Fragment(_) => "fragment",
            Self::Numbered { .. } => "numbered",
        }
    }
}

/// Whom an event id belongs to, as seen by the packet's sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventRef {
    /// `None` stands for the producer that was announced for this direction when the session
    /// began: for events the packet's sender, for answers its receiver.
    pub producer: Option<ProducerId>,
    /// The producer's counter.
    pub number: u64,
}

impl EventRef {
    /// The short form of `id` in a direction whose announced producer is `own`.
    #[must_use]
    pub fn new(id: EventId, own: ProducerId) -> Self {
        let producer = (id.producer != own).then_some(id.producer);
        Self { producer, number: id.number }
    }

    /// The whole id again.
    #[must_use]
    pub fn resolve(self, own: ProducerId) -> EventId {
        EventId { producer: self.producer.unwrap_or(own), number: self.number }
    }
}

/// The body of [`Packet::Event`] and [`Packet::Volatile`]. Nothing in it depends on the member
/// that receives it, so a broadcast is encoded once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPacket {
    /// The sender's number of the namespace.
    pub namespace: NamespaceNumber,
    /// Which event.
    pub event: EventRef,
    /// Whether the sender waits for an answer.
    pub wants_ack: bool,
    /// What happened.
    pub name: EventName,
    /// The arguments.
    pub payload: Payload,
}

impl EventPacket {
    /// Bytes that the event counts against windows and bounds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.name.len() + self.payload.len()
    }

    /// The event for handlers; `producer` is the one announced by the packet's sender.
    #[must_use]
    pub fn into_event(self, producer: ProducerId, volatile: bool) -> Event {
        Event {
            id: self.event.resolve(producer),
            name: self.name,
            payload: self.payload,
            wants_ack: self.wants_ack,
            volatile,
        }
    }
}

/// The body of [`Packet::Ack`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AckPacket {
    /// The event that is answered.
    pub event: EventRef,
    /// What the handler returned.
    pub payload: Payload,
}

/// The body of [`Packet::Nak`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NakPacket {
    /// The event that is answered.
    pub event: EventRef,
    /// Why not.
    pub nak: Nak,
}

/// The body of [`Packet::Connect`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// The client's number of the namespace: 0, 1, 2… in the order of asking.
    pub number: NamespaceNumber,
    /// Its path.
    pub path: EventName,
    /// What the namespace's `authorize` looks at.
    pub auth: Payload,
}

/// The body of [`Packet::Accept`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accept {
    /// The client's number of the namespace.
    pub client: NamespaceNumber,
    /// The server's number of the same namespace, used in its events.
    pub server: NamespaceNumber,
    /// The new socket.
    pub socket: SocketId,
}

/// The body of [`Packet::Refuse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refuse {
    /// The client's number of the namespace.
    pub client: NamespaceNumber,
    /// Data for the client.
    pub payload: Payload,
}

/// The body of [`Packet::Leave`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leave {
    /// The *client's* number of the namespace, in both directions: it names one socket, where
    /// the server's number names all of them.
    pub client: NamespaceNumber,
    /// Why, in the application's words; at most [`LEAVE_WORDS_BYTES_MAX`] bytes.
    pub words: EventName,
}

/// Longest text of a [`Leave`], in bytes.
pub const LEAVE_WORDS_BYTES_MAX: usize = 255;

/// Why events were removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LossReason {
    /// The mailbox was full.
    Overflow,
    /// A newer value of the same key took its place.
    Superseded,
    /// The event's own time to live was over.
    Expired,
    /// The namespace refused or was left, or the session ended.
    Closed,
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overflow => "there was no room for it",
            Self::Superseded => "a newer one took its place",
            Self::Expired => "it was too old",
            Self::Closed => "its session or its namespace ended",
        })
    }
}

/// The body of [`Packet::Gap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// How many events.
    pub count: u64,
    /// Why.
    pub reason: LossReason,
}

/// The body of [`Packet::Hello`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Whether an [`Attach`] follows.
    pub resumes: bool,
    /// Whether the client may come back on another link; if not, its session ends with this one.
    pub resumable: bool,
    /// Whether the client is a new process that has nothing of the session but its token: both
    /// directions are counted anew, and what the old one had not confirmed comes again.
    pub restarted: bool,
    /// Chosen by the client, repeated on retry: the same hello finds the same session.
    pub nonce: u128,
    /// The client's event-id producer.
    pub producer: ProducerId,
    /// The client's limits.
    pub limits: Limits,
}

/// The body of [`Packet::Attach`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attach {
    /// The session to resume.
    pub session: SessionId,
    /// The secret that proves it is the client's.
    pub token: Bytes,
    /// The client has all counted packets up to here.
    pub position: u64,
    /// The highest number of which the client no longer holds a replay.
    pub trimmed: u64,
    /// Each joined namespace, by the client's number, with fresh auth data.
    pub namespaces: Vec<(NamespaceNumber, Payload)>,
}

/// What became of a session at an attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A new session.
    New,
    /// Nothing is missing.
    Resumed,
    /// Some events are missing that had been written to an earlier link. Those that never were are
    /// not among these numbers: gaps tell of them, and of all `on_gap` tells how many.
    ResumedWithGap {
        /// The first packet missing.
        from: u64,
        /// The last packet missing.
        to: u64,
        /// Why.
        reason: LossReason,
    },
}

/// The body of [`Packet::Welcome`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The session.
    pub session: SessionId,
    /// What a resume must show; empty when the session cannot be resumed.
    pub token: Bytes,
    /// The server's event-id producer.
    pub producer: ProducerId,
    /// The server's limits; `event_bytes_max` is the smaller of both sides'.
    pub limits: Limits,
    /// How long the session outlives its link. Unit on the wire: milliseconds.
    pub resume_window: Duration,
    /// New or resumed.
    pub outcome: Outcome,
    /// The server has all counted packets up to here.
    pub position: u64,
    /// The highest number of which the server no longer holds a replay.
    pub trimmed: u64,
}

/// The body of [`Packet::Position`]: what its sender has, and how far its peer may go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// All counted packets up to this number have arrived.
    pub received: u64,
    /// Absolute: events and bytes that the peer may have written since the session began.
    pub granted: Credit,
    /// On wires that do not keep order: what arrived beyond `received`, as first and last number;
    /// ascending, disjoint and not adjacent.
    pub ranges: Vec<(u64, u64)>,
    /// Whether the sender wants the peer's position within its `position_delay`.
    pub asks: bool,
}

/// The body of [`Packet::Skip`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skip {
    /// The first number that will not come.
    pub from: u64,
    /// The last number that will not come.
    pub to: u64,
    /// Events among them, with their bytes: they count as finished.
    pub events: Credit,
    /// Why.
    pub reason: LossReason,
}

/// The body of [`Packet::Drain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// When the sender will close at the latest. Unit on the wire: milliseconds.
    pub deadline: Duration,
    /// How long the receiver is to wait before it connects again. Unit: milliseconds.
    pub delay: Duration,
}

/// Why a link or session is closed, as it travels. Its number is the same on every wire.
///
/// ```
/// # use emitwire_core::protocol::CloseCode;
/// assert_eq!(CloseCode::Slow.number(), 6);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseCode {
    /// The application asked for it.
    Normal = 1,
    /// The receiver broke the protocol.
    Protocol,
    /// The receiver's version is unknown.
    Version,
    /// The receiver did not finish its handshake in time.
    HandshakeTimeout,
    /// Nothing was heard of the receiver.
    HeartbeatTimeout,
    /// The receiver read too slowly.
    Slow,
    /// The server has no place.
    Full,
    /// Another link took the session over.
    Replaced,
    /// The server drained.
    Moved,
}

impl CloseCode {
    /// Its number on wires: docs/PROTOCOL.md, `close`.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// The body of [`Packet::Close`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// For programs.
    pub code: CloseCode,
    /// For people; at most [`CLOSE_DETAIL_BYTES_MAX`] bytes.
    pub detail: EventName,
}

/// Longest text of a [`Close`], in bytes.
pub const CLOSE_DETAIL_BYTES_MAX: usize = 255;

/// The body of [`Packet::Fragment`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Which fragmented packet of this link, from 0.
    pub packet: u64,
    /// Where the piece stands in the packet's encoding, in bytes.
    pub offset: u64,
    /// Whether it is the last piece.
    pub last: bool,
    /// The piece.
    pub bytes: Bytes,
}
