//! The core of emitwire: events and rooms over any wire, and nothing missed.
//!
//! Applications use the facade crate `emitwire`. This crate is its engine, in six rooms whose
//! imports run one way, from the last to the first:
//!
//! | module | answers | in one sentence |
//! | --- | --- | --- |
//! | [`protocol`] | what travels | pure packets, codecs and the session's two machines |
//! | [`transport`] | what carries | the port that wires implement, the one in memory, and chaos |
//! | [`room`] | who hears | mailboxes, rooms, and the adapter that finds their members |
//! | [`socket`] | what you hold | sockets, broadcasts, emitting and its errors |
//! | [`handler`] | who answers | handlers, extractors, replies, namespaces |
//! | [`run`] | who runs | configuration, the driver of a link, server and client |

pub mod handler;
pub mod protocol;
pub mod room;
pub mod run;
pub mod socket;
pub mod transport;
