//! **Who hears.** Mailboxes, rooms, and the adapter that finds their members.
//!
//! A room holds mailboxes, never sockets: that is why no circle can form between a namespace and
//! its sockets.

mod adapter;
mod counters;
mod local;
mod mailbox;
mod name;
mod selection;
mod shared;
mod turn;

pub use adapter::{Adapter, RoomError};
pub use counters::{Counter, Counters, Stats};
pub use local::LocalAdapter;
pub use mailbox::{Bounds, Flush, Mailbox, News, NotAccepted, Ticket, WireEnd};
pub use name::{RoomName, Rooms};
pub use selection::{Fanout, Selection};
pub use shared::Shared;
pub(crate) use turn::turn;
