//! More volatile frames than a road carries, and ordered ones among them.

use super::relay::{Relay, Road};
use super::{address, client_of, meet, server};
use emitwire_core::protocol::{Class, Frame};
use emitwire_core::transport::Transport;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// They would have every packet to themselves for as long as somebody writes them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volatile_frames_without_end_do_not_keep_ordered_ones_from_arriving() {
    for size in [10, 200] {
        let mut listener = server().bind().await.unwrap();
        let road = Road { bytes_per_second: Some(1_000_000), ..Road::default() };
        let relay = Relay::new(&address(&*listener), road).await;
        let wire = client_of(&relay.address.to_string());
        let (mut client, mut server) = meet(&mut *listener, &wire).await;
        let has_arrived = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&has_arrived);
        let writing = tokio::spawn(async move {
            let mut dropped = 0;
            for round in 0_u32.. {
                let mut batch = vec![Frame::volatile(vec![1; size]); 20];
                if round < ORDERED {
                    batch.push(Frame::ordered(vec![2; 500]));
                }
                client.write(batch).await.unwrap();
                dropped += client.writer.take_dropped();
                if ends.load(Ordering::Relaxed) {
                    break;
                }
                tokio::task::yield_now().await;
            }
            (client, dropped)
        });
        let (mut frames, mut ordered, mut volatile) = (Vec::new(), 0, 0);
        while ordered < ORDERED {
            let bytes = volatile * size;
            assert!(bytes < VOLATILE_BYTES_MAX, "{ordered} ordered ones in {bytes} bytes");
            assert_ne!(server.read(&mut frames).await.unwrap(), 0);
            for frame in frames.drain(..) {
                match frame.class {
                    Class::Ordered => ordered += 1,
                    Class::Volatile => volatile += 1,
                }
            }
        }
        has_arrived.store(true, Ordering::Relaxed);
        let (_client, dropped) = writing.await.unwrap();
        assert!(dropped > 0, "the road was wide enough");
        assert!(volatile > 0, "they had their share");
    }
}

const ORDERED: u32 = 200;

/// What may arrive of volatile frames until all ordered ones have: ten times as much.
const VOLATILE_BYTES_MAX: usize = 10 * 200 * 500;
