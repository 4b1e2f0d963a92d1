//! In memory, with cuts.

use crate::cell::{Stack, all};
use crate::support::fresh_mem;

#[tokio::test]
async fn in_memory_a_bare_session_loses_nothing_with_its_link_and_tells_what_it_takes_with_it() {
    all(&fresh_mem(), Stack::Bare).await;
}

#[tokio::test]
async fn in_memory_with_require_ack_an_emit_that_ends_well_was_handled() {
    all(&fresh_mem(), Stack::RequireAck).await;
}

#[tokio::test]
async fn in_memory_with_retry_what_fails_for_now_is_handled_in_the_end_and_what_is_slow_once() {
    all(&fresh_mem(), Stack::Retry).await;
}

#[tokio::test]
async fn in_memory_with_dedup_nothing_is_handled_twice_that_was_handled() {
    all(&fresh_mem(), Stack::Dedup).await;
}

#[tokio::test]
async fn in_memory_with_buffer_every_event_is_handled_whatever_ends() {
    all(&fresh_mem(), Stack::Buffer).await;
}
