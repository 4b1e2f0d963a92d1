//! The port as Unix sockets keep it: whose file is where, who may connect, and who the peer is.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[cfg(unix)]
#[path = "../support/end.rs"]
#[allow(dead_code, reason = "others use the rest")]
mod end;

#[cfg(unix)]
mod directory;
#[cfg(not(unix))]
mod elsewhere;
#[cfg(unix)]
mod file;
#[cfg(unix)]
mod frames;
#[cfg(unix)]
mod name;
#[cfg(unix)]
mod obstacles;
#[cfg(unix)]
mod peers;
#[cfg(unix)]
mod races;
