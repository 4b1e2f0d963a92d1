//! Socket.IO's sheets, line by line, in our words and over every wire: its emit cheatsheet
//! (<https://socket.io/docs/v4/emit-cheatsheet/>), its rooms
//! (<https://socket.io/docs/v4/rooms/>), and the methods for listening and for many sockets at
//! once. What stands in quotation marks above a test is a line of theirs. Compression is left out:
//! no wire of ours has it. So is what one server says to another: that is an adapter's.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod client_side;
mod listening;
mod nodes;
mod reserved;
mod room_events;
mod rooms;
mod server_side;
mod stage;
#[path = "../support/mod.rs"]
mod support;
mod utilities;
