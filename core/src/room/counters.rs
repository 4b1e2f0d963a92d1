//! Counters that everything below a server or a client shares.

use super::Queue;
use std::sync::Arc;
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
        /// The live counters of a server or a client, or of one of its namespaces.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)*
            /// What is counted here is counted there too.
            whole: Option<Arc<Counters>>,
        }

        /// A snapshot of all counters of a server or a client, or of one of its namespaces: then
        /// what belongs to no namespace, such as links, is zero.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
            /// Sessions that have no link now.
            pub detached: u64,
            /// Packets that wait in mailboxes now.
            pub waiting: u64,
            /// Their bytes.
            pub waiting_bytes: u64,
            /// Packets that were written and are kept until the peers confirm them.
            pub unconfirmed: u64,
            /// Their bytes.
            pub unconfirmed_bytes: u64,
        }

        impl Counters {
            /// Counters of a part, such as a namespace, of which the whole has its own.
            #[must_use]
            pub fn part_of(whole: Arc<Self>) -> Self {
                Self { whole: Some(whole), ..Self::default() }
            }

            /// So many more, here and in the whole that this is a part of.
            pub fn count(&self, count: u64, which: impl Fn(&Self) -> &Counter) {
                // An atomic addition is not for nothing.
                if count > 0 {
                    which(self).add(count);
                    if let Some(whole) = &self.whole {
                        which(whole).add(count);
                    }
                }
            }

            /// So many less, for gauges.
            pub fn uncount(&self, count: u64, which: impl Fn(&Self) -> &Counter) {
                if count > 0 {
                    which(self).sub(count);
                    if let Some(whole) = &self.whole {
                        which(whole).sub(count);
                    }
                }
            }

            /// All of them, now.
            #[must_use]
            pub fn snapshot(&self) -> Stats {
                Stats { $($name: self.$name.get(),)* ..Stats::default() }
            }
        }
    };
}

impl Stats {
    /// Adds what waits in one session.
    pub(crate) fn add_queue(&mut self, queue: &Queue) {
        self.detached += u64::from(!queue.is_attached);
        self.waiting += queue.waiting as u64;
        self.waiting_bytes += queue.waiting_bytes as u64;
        self.unconfirmed += queue.unconfirmed as u64;
        self.unconfirmed_bytes += queue.unconfirmed_bytes as u64;
    }
}

counters! {
    /// Links that are open now, handshakes included.
    links,
    /// Sessions that are open now.
    sessions,
    /// Sockets that are open now.
    sockets,
    /// Rooms that there are now.
    rooms,
    /// Links that were lost or given up by sessions that went on.
    detaches,
    /// Links that sessions were given after their first.
    attaches,
    /// Of these, those after which nothing was missing on this side,
    resumed,
    /// and those after which something was.
    resumed_with_gap,
    /// Of these, those that took over from a link that was believed alive.
    takeovers,
    /// Times that a peer was found at another address, on the link that it had.
    path_changes,
    /// Packets that were written again on a new link.
    replayed,
    /// Packets that arrived again, and were dropped.
    duplicates,
    /// Events of the peer that it could not replay.
    skipped,
    /// Handshakes that failed: garbage, a wrong version, a deadline.
    handshakes_failed,
    /// Sessions closed because the peer broke the protocol.
    protocol_errors,
    /// Links given up because the peer fell silent.
    silent_peers,
    /// Links given up because the peer read too slowly.
    slow_peers,
    /// Reliable events that arrived.
    events_in,
    /// Reliable events accepted into a mailbox, once for each member of a broadcast.
    events_out,
    /// Volatile events that arrived.
    volatile_in,
    /// Volatile events accepted into a mailbox.
    volatile_out,
    /// Volatile events of this side that were dropped: no link, above a bound, no room on the
    /// wire, or the session ended before they were written.
    volatile_dropped,
    /// Volatile events that arrived and were not handled: too many waited, no listener, their
    /// socket had not begun or had ended, or they overtook the beginning of the session.
    volatile_missed,
    /// Broadcast deliveries that a mailbox did not take: closed, draining or too slow.
    broadcast_dropped,
    /// Events that were removed before they were written, because a member of their room read too
    /// slowly: see `SlowPolicy::DropOldest`.
    overflowed,
    /// Sessions without a link that had to let go of their events, because all of them together
    /// kept too much.
    evicted,
    /// Events that were removed before they were written, because a newer one of the same key made
    /// them needless: see `Emit::latest`.
    superseded,
    /// Emits withdrawn: their future was dropped before they were accepted.
    withdrawn,
    /// Events that the peer has, as its positions say.
    received,
    /// Events never written when their session ended, and those that were written and could not be
    /// replayed.
    lost,
    /// Events written, and not confirmed as received when their session ended. Some of them may
    /// have been answered.
    in_doubt,
    /// Events of the peer that it removed before they were written, as it reported.
    missed,
    /// Reliable events answered with an ack, or handled without one being asked for.
    handled,
    /// Reliable events answered with a nak, by this side. Of these:
    refused,
    /// Events whose handler failed or panicked, or was cancelled.
    failed,
    /// Events whose handler took too long.
    timed_out,
    /// Events whose payload was not what the handler takes.
    undecodable,
    /// Events that nobody listened to in time.
    unheard,
    /// Events of this side that the peer answered with a nak.
    refused_by_peer,
    /// Acks of peers that nobody waited for: late, repeated, or never asked for.
    unasked,
    /// Events that wait for a listener now.
    parked,
    /// Bytes of frames that were read.
    bytes_in,
    /// Bytes of frames that were given to wires to write.
    bytes_out,
    /// Handlers and hooks that panicked.
    panics,
    /// Handlers cancelled because they outlived their socket, and hooks because they took too long.
    cancelled,
}
