//! Over WebSocket.

use crate::cell::{Stack, all};

#[tokio::test]
async fn over_websocket_a_bare_session_loses_nothing_with_its_link_and_tells_what_it_takes_with_it()
{
    all("ws://127.0.0.1:0", Stack::Bare).await;
}

#[tokio::test]
async fn over_websocket_with_require_ack_an_emit_that_ends_well_was_handled() {
    all("ws://127.0.0.1:0", Stack::RequireAck).await;
}

#[tokio::test]
async fn over_websocket_with_retry_what_fails_for_now_is_handled_in_the_end_and_what_is_slow_once()
{
    all("ws://127.0.0.1:0", Stack::Retry).await;
}

#[tokio::test]
async fn over_websocket_with_dedup_nothing_is_handled_twice_that_was_handled() {
    all("ws://127.0.0.1:0", Stack::Dedup).await;
}

#[tokio::test]
async fn over_websocket_with_buffer_every_event_is_handled_whatever_ends() {
    all("ws://127.0.0.1:0", Stack::Buffer).await;
}
