//! **What travels.** Pure: no runtime, no clock, no randomness, no locks.
//!
//! Identities, payloads, packets and the codec that writes them; and the session's two machines,
//! [`Outbound`] and [`Inbound`], which hold numbers and never payloads. Time comes in as a
//! [`Duration`](std::time::Duration) since the session began.

mod assembly;
mod backoff;
mod codec;
mod error;
mod event;
mod frame;
mod id;
mod inbound;
mod limits;
mod nak;
mod outbound;
mod packet;
mod payload;
mod reason;
mod split_mix;

pub use assembly::Assembly;
pub use backoff::Backoff;
pub use codec::{Codec, Decoder, Native, PROTOCOL_VERSION};
pub use error::{DecodeError, PayloadError, ProtocolError};
pub use event::{EVENT_NAME_BYTES_MAX, Event, EventName, RESERVED_NAMES, is_reserved};
pub use frame::{Class, Encoded, Frame, FrameKind};
pub use id::{EventId, NamespaceNumber, ProducerId, SessionId, SocketId};
pub use inbound::{Due, Inbound};
pub use limits::{Credit, Limits};
pub use nak::Nak;
pub use outbound::Outbound;
pub use packet::{
    Accept, AckPacket, Attach, CLOSE_DETAIL_BYTES_MAX, Close, CloseCode, Connect, Drain,
    EventPacket, EventRef, Fragment, Gap, Hello, LEAVE_WORDS_BYTES_MAX, Leave, LossReason,
    NakPacket, Outcome, Packet, Position, Refuse, Skip, Welcome,
};
pub use payload::{Args, PAYLOAD_DEPTH_MAX, Payload, Shape, ToPayload};
pub use reason::DisconnectReason;
pub(crate) use split_mix::mix;
pub use split_mix::{draw_from, split_mix};
