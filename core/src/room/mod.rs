//! **Who hears.** Mailboxes, rooms, and the adapter that finds their members.
//!
//! A room holds mailboxes, never sockets: that is why no circle can form between a namespace and
//! its sockets.

mod acks;
mod adapter;
mod counters;
mod events;
mod local;
mod mailbox;
mod members;
mod name;
mod selection;
mod shared;
mod shield;
mod turn;

pub use acks::{AckSet, AckTable, Answer, Gathering, Held, NoAnswer};
pub use adapter::{Adapter, RoomError};
pub use counters::{Counter, Counters, Stats};
pub use events::RoomEvent;
pub(crate) use events::{OnRoom, RoomEvents};
pub use local::LocalAdapter;
pub use mailbox::{
    Bounds, Flush, LatestKey, Mailbox, News, NotAccepted, Outlet, Parcel, Parting, Queue, Skipped,
    SlowPolicy, Taken, Ticket, WireEnd,
};
pub(crate) use mailbox::{FRAME_BYTES_MIN, decode, pieces};
pub use name::{RoomName, Rooms};
pub use selection::{Fanout, Selection};
pub use shared::Shared;
pub(crate) use shield::shielded;
pub(crate) use turn::turn;
