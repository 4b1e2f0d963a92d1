//! Over every other wire that is compiled in, all of them at the same time.

use crate::cell::{Stack, all};
use crate::support::{self, fresh, wires};

async fn over_the_others(stack: Stack) {
    let others = wires().into_iter().filter(|wire| !["mem", "tcp", "ws"].contains(wire));
    let urls: Vec<_> = others.map(fresh).collect();
    support::all(urls.iter().map(|url| all(url, stack))).await;
}

#[tokio::test]
async fn over_the_others_a_bare_session_loses_nothing_with_its_link_and_tells_what_it_takes() {
    over_the_others(Stack::Bare).await;
}

#[tokio::test]
async fn over_the_others_with_require_ack_an_emit_that_ends_well_was_handled() {
    over_the_others(Stack::RequireAck).await;
}

#[tokio::test]
async fn over_the_others_with_retry_what_fails_for_now_is_handled_and_what_is_slow_once() {
    over_the_others(Stack::Retry).await;
}

#[tokio::test]
async fn over_the_others_with_dedup_nothing_is_handled_twice_that_was_handled() {
    over_the_others(Stack::Dedup).await;
}

#[tokio::test]
async fn over_the_others_with_buffer_every_event_is_handled_whatever_ends() {
    over_the_others(Stack::Buffer).await;
}
