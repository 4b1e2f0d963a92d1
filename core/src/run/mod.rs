//! **Who runs.** Configuration, the driver of a link, server and client.

mod answer;
mod client;
mod config;
mod connector;
mod dialer;
mod dock;
mod driver;
mod guard;
mod handshake;
mod lane;
mod link;
mod mounted;
mod mounts;
mod park;
mod probe;
mod race;
mod random;
mod reception;
mod reconnect;
mod round;
mod server;
mod session;
mod sockets;
mod supervise;
pub mod testing;
mod token;

pub use client::Client;
pub use config::Config;
pub use connector::{Connect, Connector, ConnectorService};
pub use race::{Fallback, Race};
pub use reconnect::{Reconnect, ReconnectFuture, ReconnectService};
pub use server::{Listening, Server};
pub use session::{NamespaceError, Session};
use sockets::Role;
pub use token::{ResumeToken, ResumeTokenError};
