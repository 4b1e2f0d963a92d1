//! Real sockets, as servers and clients meet them: addresses that change in mid-session, roads on
//! which packets come late or not at all, certificates that are renewed or no good, floods, and
//! what users read when something is wrong.

#![cfg(feature = "full")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod blackholes;
mod certificates;
#[cfg(unix)]
mod files;
mod floods;
mod heard;
mod moves;
mod refusals;
mod renewals;
mod road;
#[path = "../support/mod.rs"]
mod support;
mod volatile;

use emitwire::transport::Transport;
use emitwire::{Client, ConnectError, Endpoint, Namespace, Server, Session, Tls};
use std::error::Error;
use support::{becomes, within};

/// The wires that encrypt.
const ENCRYPTED: [&str; 3] = ["tls", "wss", "quic"];

/// An address of this machine on this wire, with these options.
fn here(scheme: &str, tls: &Tls) -> Endpoint {
    let endpoint = Endpoint::new(&format!("{scheme}://127.0.0.1:0")).unwrap();
    if ENCRYPTED.contains(&scheme) { endpoint.tls(tls.clone()).unwrap() } else { endpoint }
}

/// Listens there, and says where that is.
async fn listen(server: &Server, place: Endpoint) -> String {
    within(server.listen(place)).await.unwrap().endpoint().to_owned()
}

async fn come_in(wire: impl Transport, namespace: Namespace) -> Session {
    within(Client::new(wire).mount(namespace).connect()).await.unwrap()
}

/// An error as users read it: with all that is behind it.
fn chain(error: &ConnectError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

#[cfg(not(unix))]
#[test]
fn no_file_is_a_socket_here() {
    println!("skipped: this system has no Unix sockets");
}
