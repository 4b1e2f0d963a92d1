//! Peers that break the rules, one after the other, while ten others chat.
//!
//! Every attack ends in a typed close or an orderly end, moves the counter that is meant for it,
//! leaves nothing behind, and nobody else notices: [`support::chat::Chat::end`] looks.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod answers;
mod api;
mod attach;
mod attach_auth;
mod attach_client;
mod bounds;
mod client_side;
mod crowds;
mod deadline;
mod fragments;
mod garbage;
mod handshake;
mod hooks;
mod loose_ends;
mod namespaces;
mod order;
mod payloads;
mod slow;
#[path = "../support/mod.rs"]
mod support;
mod websocket;
mod windows;

use emitwire::protocol::{Close, CloseCode};
use emitwire::{Data, Namespace, Unhandled};
use support::becomes;
use support::chat::Chat;
use support::raw::RawPeer;

/// The namespace for attackers: `echo` answers, `text` takes text, `any` takes any value, `stuck`
/// never finishes.
fn target() -> Namespace {
    Namespace::new("/target")
        .unhandled(Unhandled::Nak)
        .on("echo", |payload: emitwire::Event| async move { payload.payload })
        .on("text", |Data(text): Data<String>| async move { text.len() })
        .on("any", |Data(_): Data<serde_json::Value>| async {})
        .on("stuck", || async { std::future::pending::<()>().await })
}

/// The session ends with an accusation of the peer, in these words, and it is counted.
async fn accused(chat: &Chat, peer: &mut RawPeer, errors_before: u64, words: &str) {
    let close = peer.close().await;
    assert_eq!((close.code, &*close.detail), (CloseCode::Protocol, words));
    becomes(|| chat.stats().protocol_errors, errors_before + 1).await;
}

fn said(close: &Close) -> (CloseCode, &str) {
    (close.code, &close.detail)
}
