//! The name of a room.

use crate::protocol::SocketId;
use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// A name that sockets join. Any text; cheap to clone. A room without members does not exist.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomName(Arc<str>);

impl RoomName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for RoomName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for RoomName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<&String> for RoomName {
    fn from(name: &String) -> Self {
        Self(name.as_str().into())
    }
}

impl From<String> for RoomName {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl From<SocketId> for RoomName {
    fn from(id: SocketId) -> Self {
        Self(id.to_string().into())
    }
}

impl From<&SocketId> for RoomName {
    fn from(id: &SocketId) -> Self {
        Self::from(*id)
    }
}

impl From<&RoomName> for RoomName {
    fn from(name: &RoomName) -> Self {
        name.clone()
    }
}

/// One room or several: what `join`, `to` and `except` take.
#[diagnostic::on_unimplemented(
    message = "`{Self}` names no room",
    note = "pass a name, a socket id, or an array, slice or `Vec` of these"
)]
pub trait Rooms {
    /// The names.
    fn names(self) -> Vec<RoomName>;
}

#[diagnostic::do_not_recommend]
impl<T: Into<RoomName>> Rooms for T {
    fn names(self) -> Vec<RoomName> {
        vec![self.into()]
    }
}

impl<T: Into<RoomName>, const N: usize> Rooms for [T; N] {
    fn names(self) -> Vec<RoomName> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<T: Clone + Into<RoomName>, const N: usize> Rooms for &[T; N] {
    fn names(self) -> Vec<RoomName> {
        self.as_slice().names()
    }
}

impl<T: Clone + Into<RoomName>> Rooms for &Vec<T> {
    fn names(self) -> Vec<RoomName> {
        self.as_slice().names()
    }
}

impl<T: Into<RoomName>> Rooms for Vec<T> {
    fn names(self) -> Vec<RoomName> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<T: Clone + Into<RoomName>> Rooms for &[T] {
    fn names(self) -> Vec<RoomName> {
        self.iter().cloned().map(Into::into).collect()
    }
}
