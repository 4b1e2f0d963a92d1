//! How big a world is and where its bounds are, by its seed.

use super::chance::Chance;
use emitwire::{Config, SlowPolicy};
use std::time::Duration;

/// What a seed makes of a world.
pub(crate) struct Plan {
    pub(crate) clients: usize,
    /// Events that each client emits, at least.
    pub(crate) up_each: usize,
    /// Times that the server says something, to one or to many.
    pub(crate) down: usize,
    pub(crate) troubles_each: usize,
    /// Whether there is only such trouble as every session outlives.
    pub(crate) is_mild: bool,
    /// Whether nobody leaves and sessions outlive whatever happens to their links.
    pub(crate) is_steady: bool,
    /// Whether the server is drained in the end while everybody talks.
    pub(crate) drains: bool,
    /// Whether bounds are so narrow that things overflow.
    pub(crate) is_tiny: bool,
    pub(crate) slow_policy: SlowPolicy,
    pub(crate) server: Config,
    pub(crate) client: Config,
}

impl Plan {
    pub(crate) fn new(chance: &mut Chance) -> Self {
        let is_tiny = chance.percent(50);
        let slow_policy = chance.weighted(&[
            (2, SlowPolicy::Detach),
            (2, SlowPolicy::DropOldest),
            (1, SlowPolicy::DropNewest),
        ]);
        let window = chance.weighted(&[(1, 0), (2, 2), (3, 10), (4, 30)]);
        let is_eager = is_tiny && chance.percent(30);
        let [server, client] = [4_000, 3_000].map(|liveness_ms| {
            let mut config = config(liveness_ms);
            if is_tiny {
                narrow(&mut config, chance);
            }
            config.slow_policy = slow_policy;
            config.resume_window = Duration::from_secs(window);
            if is_eager {
                config.detached_bytes_max = 12_000;
            }
            config
        });
        Self {
            clients: chance.between(8, 10) as usize,
            up_each: chance.between(40, 55) as usize,
            down: chance.between(150, 220) as usize,
            troubles_each: chance.between(3, 5) as usize,
            is_mild: chance.percent(20),
            is_steady: window == 30 && chance.percent(50),
            drains: chance.percent(40),
            is_tiny,
            slow_policy,
            server,
            client,
        }
    }
}

/// Hearts that beat faster than usual, so that silence is noticed within a world's short life.
fn config(liveness_ms: u64) -> Config {
    let mut config = Config::default();
    config.heartbeat_interval = Duration::from_secs(1);
    config.liveness_timeout = Duration::from_millis(liveness_ms);
    config.emit_wait_max = Duration::from_secs(2);
    config.ack_timeout = Duration::from_secs(4);
    config.connect_timeout = Duration::from_secs(3);
    config.handshake_timeout = Duration::from_secs(3);
    config.close_timeout = Duration::from_millis(500);
    config.disconnect_grace = Duration::from_secs(1);
    config.drain_timeout = Duration::from_secs(5);
    config
}

fn narrow(config: &mut Config, chance: &mut Chance) {
    config.window_events = chance.between(2, 12) as usize;
    config.window_bytes = chance.between(800, 6_000) as usize;
    config.unwritten_bytes_max = chance.between(4_000, 12_000) as usize;
    config.log_bytes_max = chance.between(16_000, 32_000) as usize;
    config.unwritten_packets_max = chance.between(4, 10) as usize;
    config.log_packets_max = chance.between(12, 24) as usize;
    config.parked_events_max = chance.between(1, 3) as usize;
    config.volatile_bytes_max = 1024;
    config.volatile_inbox_max = 2;
}
