//! Identities that travel: who emits, which event, which session, which socket.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// The instance that mints event ids: one server or one client process.
///
/// Shape: 128 random bits, drawn once when the instance is made and announced once per session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProducerId(pub u128);

/// The name of one event, everywhere and for ever: its producer and that producer's counter.
///
/// It is also the id that an ack or a nak answers, so a broadcast has one for all its members, and
/// every attempt of a retried event has the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId {
    /// Who minted the id.
    pub producer: ProducerId,
    /// The producer's counter, from 1.
    pub number: u64,
}

/// A session: one peer across reconnects and transports. Shape: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u128);

/// A socket: one session in one namespace. Shape: 128 random bits, minted by the server.
///
/// A socket is addressable as a room by its id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u128);

/// The number by which a *sender* names a namespace on the wire.
///
/// A client numbers its namespaces in the order in which it asks for them, a server numbers those
/// it serves. So nothing in an event packet depends on the member that receives it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct NamespaceNumber(pub u32);

macro_rules! hexadecimal {
    ($($id:ident),*) => {$(
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($id), "({:032x})"), self.0)
            }
        }

        impl FromStr for $id {
            type Err = ParseIntError;

            /// Reads what `Display` writes.
            fn from_str(text: &str) -> Result<Self, ParseIntError> {
                u128::from_str_radix(text, 16).map(Self)
            }
        }

        impl Serialize for $id {
            /// As text, as `Display` has it.
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

hexadecimal!(ProducerId, SessionId, SocketId);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}:{}", self.producer.0 >> 96, self.number)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventId({self})")
    }
}

impl fmt::Display for NamespaceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
