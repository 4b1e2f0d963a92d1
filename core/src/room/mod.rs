//! **Who hears.** Mailboxes, rooms, and the adapter that finds their members.
//!
//! A room holds mailboxes, never sockets: that is why no circle can form between a namespace and
//! its sockets.

mod acks;
mod adapter;
mod counters;
mod detached;
mod events;
mod fate;
mod local;
mod mailbox;
mod members;
mod name;
mod selection;
mod shared;
mod shield;
mod turn;

pub(crate) use acks::Parted;
pub use acks::{AckSet, AckTable, Answer, Gathering, Held, NoAnswer};
pub use adapter::{Adapter, RoomError};
pub use counters::{Counter, Counters, Stats};
pub use detached::Detached;
pub use events::RoomEvent;
pub(crate) use events::{OnRoom, RoomEvents};
pub use fate::{Fate, Loss, Remains};
pub use local::LocalAdapter;
pub use mailbox::{
    Bounds, Flush, LatestKey, Mailbox, News, NotAccepted, Outlet, Parcel, Parting, Queue,
    SlowPolicy, Taken, Ticket, WireEnd,
};
pub(crate) use mailbox::{FRAME_BYTES_MIN, decode, pieces};
pub use name::{RoomName, Rooms};
pub use selection::{Fanout, Selection};
pub use shared::Shared;
pub use shield::shielded;
pub(crate) use turn::turn;
