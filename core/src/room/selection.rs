//! Which sockets of a namespace hear a broadcast.

use super::RoomName;
use crate::protocol::SocketId;
use std::iter::Sum;

/// A selection: the union of some rooms, or everyone, less the members of some others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Their union; `None` stands for all sockets of the namespace, no room at all for nobody.
    pub rooms: Option<Vec<RoomName>>,
    /// Members of these rooms do not hear it.
    pub except: Vec<RoomName>,
    /// The socket that speaks and does not hear itself.
    pub without: Option<SocketId>,
    /// Only sockets of this node: an adapter for many nodes asks no other.
    pub local: bool,
}

/// What became of a broadcast on this side of the wires. With an adapter for many nodes: at the
/// members of this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fanout {
    /// Members whose mailbox took the event.
    pub accepted: usize,
    /// Members whose mailbox did not: closed, too slow, or a volatile event above its bound.
    pub dropped: usize,
}

impl Sum for Fanout {
    fn sum<I: Iterator<Item = Self>>(fanouts: I) -> Self {
        fanouts.fold(Self::default(), |sum, one| Self {
            accepted: sum.accepted + one.accepted,
            dropped: sum.dropped + one.dropped,
        })
    }
}
