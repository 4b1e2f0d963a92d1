//! Counters that everything below a server or a client shares.

use std::sync::atomic::{AtomicU64, Ordering};

/// One number that only grows (or, for gauges, is given back).
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// One less: for gauges such as open links.
    pub fn sub(&self, count: u64) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// The live counters of a server or a client.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)*
        }

        /// A snapshot of all counters of a server or a client.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// All of them, now.
            #[must_use]
            pub fn snapshot(&self) -> Stats {
                Stats { $($name: self.$name.get(),)* }
            }
        }
    };
}

counters! {
    /// Links that are open now, handshakes included.
    links,
    /// Sessions that are open now.
    sessions,
    /// Sockets that are open now.
    sockets,
    /// Handshakes that failed: garbage, a wrong version, a deadline.
    handshakes_failed,
    /// Sessions closed because the peer broke the protocol.
    protocol_errors,
    /// Sessions closed because the peer fell silent.
    silent_peers,
    /// Sessions closed because the peer read too slowly.
    slow_peers,
    /// Reliable events that arrived.
    events_in,
    /// Reliable events accepted into a mailbox, once for each member of a broadcast.
    events_out,
    /// Volatile events that arrived.
    volatile_in,
    /// Volatile events accepted into a mailbox.
    volatile_out,
    /// Volatile events of this side that were dropped: no link, above a bound, or the session
    /// ended before they were written.
    volatile_dropped,
    /// Volatile events that arrived and were not handled: too many waited, no listener, or their
    /// socket had ended.
    volatile_missed,
    /// Broadcast deliveries that a mailbox did not take: closed, draining or too slow.
    broadcast_dropped,
    /// Emits withdrawn: their future was dropped before they were accepted.
    withdrawn,
    /// Events never written when their session ended.
    lost,
    /// Events written, and not confirmed as received when their session ended. Some of them may
    /// have been answered.
    in_doubt,
    /// Events of the peer that it removed before they were written, as it reported.
    missed,
    /// Reliable events answered with an ack, or handled without one being asked for.
    handled,
    /// Reliable events answered with a nak, by this side.
    refused,
    /// Events of this side that the peer answered with a nak.
    refused_by_peer,
    /// Events that wait for a listener now.
    parked,
    /// Handlers and hooks that panicked.
    panics,
    /// Handlers cancelled because they outlived their socket, and hooks because they took too long.
    cancelled,
}
