//! Every limit and every wait, in one place.

use crate::protocol::{Credit, Limits};
use crate::room::{Bounds, SlowPolicy};
use std::time::Duration;

/// The limits of a server or a client. Every queue, wait and table has its bound here.
///
/// ```
/// # use emitwire_core::run::Config;
/// use std::time::Duration;
///
/// let mut config = Config::default();
/// config.ack_timeout = Duration::from_secs(2);
/// config.event_bytes_max = 64 * 1024;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Largest event, bytes of name and payload. The smaller of both ends' holds. Default 1 MiB.
    pub event_bytes_max: usize,
    /// Events that a peer may run ahead of this side's handlers. Default 4,096.
    pub window_events: usize,
    /// Bytes of events that a peer may run ahead. Default 2 MiB.
    pub window_bytes: usize,
    /// Packets of a session that wait before `emit` waits. Default 16,384.
    pub unwritten_packets_max: usize,
    /// Bytes of a session that wait before `emit` waits, and at which a member of a room counts
    /// as slow. Default 1 MiB.
    pub unwritten_bytes_max: usize,
    /// Packets of a session that wait or are kept until confirmed, at least 8. Default 32,768.
    pub log_packets_max: usize,
    /// Bytes of a session that wait or are kept until confirmed. Default 4 MiB.
    pub log_bytes_max: usize,
    /// Sessions of a server without a link at the same time. With one more, the one that has been
    /// without for longest ends. Default 100,000.
    pub detached_max: usize,
    /// Bytes that all sessions without a link keep together, for when they have one again; what
    /// many of them share counts once, the place in which it waits for each. Beyond it those that
    /// have been without for longest let go of their events, which are reported as gaps. Default
    /// 256 MiB.
    pub detached_bytes_max: usize,
    /// Hooks of links that came and went that wait for those before them, in a session. Default 64.
    pub link_hooks_max: usize,
    /// Bytes of volatile events of a session that wait. Default 256 KiB.
    pub volatile_bytes_max: usize,
    /// Volatile events of a socket that wait for its handler. Default 64.
    pub volatile_inbox_max: usize,
    /// Events of a socket that wait for a listener. Default 256.
    pub parked_events_max: usize,
    /// Bytes of events of a socket that wait for a listener. Default 1 MiB.
    pub parked_bytes_max: usize,

    /// Links of a server at the same time, handshakes included; a client that goes from one link of
    /// its session to another takes no other place. Default 100,000.
    pub links_max: usize,
    /// Namespaces of a session at the same time. Default 32.
    pub namespaces_per_session_max: usize,
    /// Rooms of a socket at the same time. Default 256.
    pub rooms_per_socket_max: usize,
    /// Bytes of a room's name. Default 255.
    pub room_name_bytes_max: usize,
    /// What happened to rooms and waits for the hook that is told; more than that it misses.
    /// Default 65,536.
    pub room_events_max: usize,
    /// Namespaces of a server at the same time that patterns of paths have brought about.
    /// Default 10,000.
    pub namespaces_max: usize,
    /// Listeners of a namespace, and of a socket, at the same time. Default 10,000.
    pub listeners_max: usize,
    /// What becomes of broadcasts to a member that reads too slowly: for whom more than
    /// `unwritten_bytes_max` or `unwritten_packets_max` waits. A namespace may have a policy of
    /// its own. Default Detach.
    pub slow_policy: SlowPolicy,
    /// Largest frame before the session has begun, bytes. Default 64 KiB.
    pub handshake_bytes_max: usize,

    /// How long `emit` waits for room. Default 5 s.
    pub emit_wait_max: Duration,
    /// How long `.ack()` waits for its answer, and `once` for its event. Default 10 s.
    pub ack_timeout: Duration,
    /// How long a client tries to connect, until its namespaces have answered. When it comes back
    /// it is so long for each attempt, without the waiting before it. Default 10 s.
    pub connect_timeout: Duration,
    /// How long a peer may take for its handshake. Default 10 s.
    pub handshake_timeout: Duration,
    /// How long a position that was asked for may wait for something to ride on. Default 25 ms.
    pub position_delay: Duration,
    /// How often a heartbeat is sent. Default 5 s.
    pub heartbeat_interval: Duration,
    /// How long a silent peer is believed alive. For one that announces a slower heart it is
    /// twice that peer's heartbeat interval, but at most three times this. Default 20 s.
    pub liveness_timeout: Duration,
    /// How long a session of a server outlives its link: so long its client may be away and come
    /// back, over any wire, and neither side misses anything. Zero: it ends with its link. At most
    /// two minutes. Default 30 s.
    pub resume_window: Duration,
    /// Whether a session that began on an encrypted wire may go on on one that is not. Both ends
    /// have to allow it. Default false.
    pub resume_on_plain: bool,
    /// A member that is detached for slowness twice within this time is treated by
    /// `SlowPolicy::DropOldest` until it has caught up. Default 60 s.
    pub slow_window: Duration,
    /// How long a goodbye may take to be written and answered. Default 1 s.
    pub close_timeout: Duration,
    /// How long a handler may take. Then it is cancelled, and its event answered `Timeout`.
    /// Default 60 s.
    pub handler_timeout: Duration,
    /// How long a hook or `authorize` may take. Default 10 s.
    pub hook_timeout: Duration,
    /// How long handlers may run on after their socket has ended. Default 5 s.
    pub disconnect_grace: Duration,
    /// How long a drain may take. Default 10 s.
    pub drain_timeout: Duration,
    /// How long a client lets a draining server keep it away, at most. Default 60 s.
    pub drain_delay_max: Duration,
    /// Clients of a drained server come back spread over this time. Default 5 s.
    pub drain_spread: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            event_bytes_max: 1024 * 1024,
            window_events: 4096,
            window_bytes: 2 * 1024 * 1024,
            unwritten_packets_max: 16_384,
            unwritten_bytes_max: 1024 * 1024,
            log_packets_max: 32_768,
            log_bytes_max: 4 * 1024 * 1024,
            detached_max: 100_000,
            detached_bytes_max: 256 * 1024 * 1024,
            link_hooks_max: 64,
            volatile_bytes_max: 256 * 1024,
            volatile_inbox_max: 64,
            parked_events_max: 256,
            parked_bytes_max: 1024 * 1024,
            links_max: 100_000,
            namespaces_per_session_max: 32,
            rooms_per_socket_max: 256,
            room_name_bytes_max: 255,
            room_events_max: 65_536,
            namespaces_max: 10_000,
            listeners_max: 10_000,
            slow_policy: SlowPolicy::Detach,
            handshake_bytes_max: 64 * 1024,
            emit_wait_max: Duration::from_secs(5),
            ack_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            position_delay: Duration::from_millis(25),
            heartbeat_interval: Duration::from_secs(5),
            liveness_timeout: Duration::from_secs(20),
            resume_window: Duration::from_secs(30),
            resume_on_plain: false,
            slow_window: Duration::from_secs(60),
            close_timeout: Duration::from_secs(1),
            handler_timeout: Duration::from_secs(60),
            hook_timeout: Duration::from_secs(10),
            disconnect_grace: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(10),
            drain_delay_max: Duration::from_secs(60),
            drain_spread: Duration::from_secs(5),
        }
    }
}

/// A heart that never rests would do nothing else.
const HEARTBEAT_INTERVAL_MIN: Duration = Duration::from_millis(10);

impl Config {
    /// `dedup_horizon` is its layers'.
    pub(crate) fn limits(&self, dedup_horizon: Option<Duration>) -> Limits {
        Limits {
            event_bytes_max: clamp(self.event_bytes_max),
            window: Credit {
                events: self.window_events.max(1) as u64,
                bytes: self.window_bytes.max(1) as u64,
            },
            log_packets_max: clamp(self.log_packets_max.max(LOG_PACKETS_MIN)),
            log_bytes_max: clamp(self.log_bytes_max),
            heartbeat_interval: self.heartbeat_interval.max(HEARTBEAT_INTERVAL_MIN),
            dedup_horizon: dedup_horizon.unwrap_or_default(),
        }
    }

    /// The bounds of a session whose largest event is `event_bytes_max`.
    pub(crate) fn bounds(&self, event_bytes_max: usize, is_resumable: bool) -> Bounds {
        Bounds {
            event_bytes_max,
            unwritten_bytes_max: self.unwritten_bytes_max,
            unwritten_packets_max: self.unwritten_packets_max,
            log_bytes_max: self.log_bytes_max,
            log_packets_max: self.log_packets_max.max(LOG_PACKETS_MIN),
            volatile_bytes_max: self.volatile_bytes_max,
            is_resumable,
        }
    }

    /// How long a session of this server outlives its link.
    pub(crate) fn resume_window(&self) -> Duration {
        self.resume_window.min(RESUME_WINDOW_MAX)
    }
}

/// With fewer, every packet would have to be confirmed before the next.
const LOG_PACKETS_MIN: usize = 8;

/// The longest `Config::resume_window`: what waits for whoever was away for longer is old.
const RESUME_WINDOW_MAX: Duration = Duration::from_secs(120);

fn clamp(limit: usize) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX)
}
