//! What is kept for who is away has bounds, and what they cost is told at both ends.

use super::*;
use emitwire::{Chaos, Direction, Session};

/// Gaps that were told.
#[derive(Clone, Default)]
struct Gaps(Arc<Mutex<Vec<(u64, LossReason)>>>);

impl Gaps {
    fn hear(&self, namespace: Namespace) -> Namespace {
        let told = Arc::clone(&self.0);
        namespace.on_gap(move |missed: &Missed| {
            told.lock().unwrap().push((missed.count, missed.reason));
        })
    }

    fn sum(&self) -> u64 {
        self.0.lock().unwrap().iter().map(|(count, _)| count).sum()
    }
}

fn tight() -> Config {
    let mut config = Config::default();
    config.log_packets_max = 64;
    config.unwritten_packets_max = 32;
    config.window_events = 16;
    config
}

#[tokio::test(start_paused = true)]
async fn who_is_away_misses_the_oldest_beyond_the_bound_and_both_ends_know_how_many() {
    let gaps = Gaps::default();
    let stage = Stage::with_namespaces(tight(), |it| gaps.hear(it), |it| it).await;
    stage.cut().await;
    for value in 0..1000_u64 {
        let fanout = stage.server.of("/").emit("n", &value).await.unwrap();
        assert_eq!(fanout.accepted, 1);
        let stats = stage.server.stats();
        assert!(stats.waiting + stats.unconfirmed <= 65, "{stats:?}");
    }
    stage.attached().await;
    becomes(|| stage.server.stats().waiting, 0).await;
    settle().await;
    let (numbers, _) = stage.here.split();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    assert_eq!(numbers.last(), Some(&999));
    let (here, there) = (stage.session.stats(), stage.server.stats());
    assert_eq!(numbers.len() as u64 + gaps.sum(), 1000);
    assert_eq!(here.missed + here.skipped, gaps.sum());
    assert_eq!(there.events_out, there.received + there.overflowed + there.lost, "{there:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_written_and_trimmed_is_skipped_and_told_at_both_ends() {
    let (gaps, lost) = (Gaps::default(), Arc::new(Mutex::new(0)));
    let told = Arc::clone(&lost);
    let far = |namespace: Namespace| namespace.on_lost(move |_: &Lost| *told.lock().unwrap() += 1);
    let stage = Stage::with_namespaces(tight(), |it| gaps.hear(it), far).await;
    // Written, and never read.
    stage.wire.cut(Direction::Both);
    for value in 0..200_u64 {
        stage.server.of("/").emit("n", &value).await.unwrap();
    }
    stage.wire.sever();
    stage.attached().await;
    becomes(|| stage.server.stats().waiting, 0).await;
    settle().await;
    assert!(matches!(stage.session.outcome(), Outcome::ResumedWithGap { from: 2, .. }));
    let (here, there) = (stage.session.stats(), stage.server.stats());
    assert!(here.skipped > 0, "{here:?}");
    assert_eq!(here.resumed_with_gap, 1);
    let heard = stage.here.split().0.len() as u64;
    assert_eq!(heard + gaps.sum(), 200);
    assert_eq!(*lost.lock().unwrap(), gaps.sum());
    assert_eq!(there.events_out, there.received + there.overflowed + there.lost, "{there:?}");
}

#[tokio::test(start_paused = true)]
async fn ones_own_emits_wait_for_room_while_there_is_no_link_and_then_say_so() {
    let stage = Stage::with(tight()).await;
    let near = stage.near();
    stage.cut().await;
    for value in 0..32_u64 {
        near.emit("n", &value).await.unwrap();
    }
    let full = near.emit("n", &32_u64).timeout(Duration::from_secs(1)).await;
    assert!(matches!(full, Err(EmitError::Full { .. })), "{full:?}");
    stage.wire.heal(Direction::Both);
    near.emit("n", &32_u64).timeout(Duration::from_secs(25)).await.unwrap();
    settle().await;
    assert!(stage.there.split().0.into_iter().eq(0..33));
}

#[tokio::test(start_paused = true)]
async fn a_slow_member_is_detached_comes_back_and_misses_nothing_within_the_bound() {
    let mut config = tight();
    config.log_packets_max = 1000;
    let stage = Stage::with(config).await;
    stage.server.of("/").emit("n", &0_u64).await.unwrap();
    settle().await;
    stage.wire.stall();
    for value in 1..200_u64 {
        stage.server.of("/").emit("n", &value).await.unwrap();
    }
    becomes(|| stage.server.stats().slow_peers, 1).await;
    assert_eq!(stage.far().ended(), None);
    stage.wire.resume();
    becomes(|| stage.here.count(), 200).await;
    let (numbers, others) = stage.here.split();
    assert!(numbers.into_iter().eq(0..200));
    assert_eq!(others.last().map(String::as_str), Some("attached: Resumed"));
}

#[tokio::test(start_paused = true)]
async fn without_a_window_a_slow_member_is_let_go() {
    let mut config = tight();
    config.resume_window = Duration::ZERO;
    let stage = Stage::with(config).await;
    stage.server.of("/").emit("n", &0_u64).await.unwrap();
    settle().await;
    let far = stage.far();
    stage.wire.stall();
    for value in 1..200_u64 {
        let _ = stage.server.of("/").emit("n", &value).await;
    }
    becomes(|| far.ended(), Some(DisconnectReason::Slow)).await;
}

/// Sessions whose links are lost, one after another.
async fn away(config: Config, count: u64) -> (Server, Vec<(Session, Chaos<Memory>, Socket)>) {
    let namespace = Namespace::new("/").slow_policy(SlowPolicy::Detach);
    let server = Server::with_config(config).mount(namespace).unwrap();
    let name = fresh_name();
    server.listen(Memory::new(&*name)).await.unwrap();
    let mut away = Vec::new();
    for number in 0..count {
        let wire = Chaos::new(Memory::new(&*name), number);
        let session = Client::new(wire.clone()).mount(Namespace::new("/")).connect().await.unwrap();
        let far = server.socket("/", session.of("/").unwrap().id()).unwrap();
        wire.sever();
        wire.cut(Direction::Both);
        becomes(|| far.is_attached(), false).await;
        away.push((session, wire, far));
    }
    (server, away)
}

/// Ten of them, that may keep so much together.
async fn ten_away(detached_bytes_max: usize) -> (Server, Vec<(Session, Chaos<Memory>, Socket)>) {
    let mut config = Config::default();
    config.detached_bytes_max = detached_bytes_max;
    away(config, 10).await
}

#[tokio::test(start_paused = true)]
async fn all_who_are_away_keep_no_more_than_the_bound_together_and_the_longest_goes_first() {
    let (server, away) = ten_away(110_000).await;
    // Shared bodies count once: a hundred thousand bytes in ten mailboxes are no million.
    for _ in 0..9 {
        server.of("/").emit("news", &"x".repeat(10_000)).await.unwrap();
    }
    settle().await;
    assert_eq!(server.stats().evicted, 0);
    for (_, _, far) in &away {
        far.emit("yours", &"y".repeat(9_000)).await.unwrap();
    }
    settle().await;
    let waiting = |place: usize| away[place].2.stats().queue.waiting_bytes;
    assert!(server.stats().evicted > 0);
    assert!(waiting(0) < 100, "the first to leave has let go: {}", waiting(0));
    assert!(waiting(9) > 9_000, "the last has not: {}", waiting(9));
}

#[tokio::test(start_paused = true)]
async fn who_is_away_and_has_let_go_of_everything_once_does_so_again() {
    let (server, away) = ten_away(100_000).await;
    for round in 0..50 {
        for (_, _, far) in &away {
            far.emit("yours", &"y".repeat(9_000)).await.unwrap();
        }
        settle().await;
        let kept = server.stats().waiting_bytes;
        assert!(kept <= 100_000 + 10 * 100, "{kept} bytes in round {round}");
    }
    for (_, wire, _) in &away {
        wire.heal(Direction::Both);
    }
    becomes(|| server.stats().detached, 0).await;
    becomes(|| server.stats().waiting, 0).await;
    settle().await;
    let missed = away.iter().map(|(session, ..)| session.stats().missed).sum::<u64>();
    let stats = server.stats();
    assert_eq!((stats.events_out, stats.overflowed), (500, missed));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_slow_again_and_again_gets_the_newest_until_it_has_caught_up() {
    let gaps = Gaps::default();
    let mut config = tight();
    config.log_packets_max = 500;
    let stage = Stage::with_namespaces(config, |it| gaps.hear(it), |it| it).await;
    let mut said = 0..;
    let mut say = async |events: usize| {
        for value in said.by_ref().take(events) {
            stage.server.of("/").emit("n", &value).await.unwrap();
        }
    };
    for round in 1..=2 {
        say(1).await;
        settle().await;
        stage.wire.stall();
        say(100).await;
        becomes(|| stage.server.stats().slow_peers, round).await;
        stage.wire.resume();
        if round == 1 {
            stage.attached().await;
            becomes(|| stage.server.stats().waiting, 0).await;
        }
    }
    // The second time within a minute: it is detached no more.
    stage.wire.stall();
    becomes(|| stage.server.stats().detached, 0).await;
    say(300).await;
    settle().await;
    let stats = stage.server.stats();
    assert_eq!(stats.slow_peers, 2, "{stats:?}");
    stage.wire.resume();
    becomes(|| stage.server.stats().waiting, 0).await;
    settle().await;
    let heard = stage.here.split().0;
    assert!(heard.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(heard.last(), Some(&501), "the newest is there");
    assert_eq!(heard.len() as u64 + gaps.sum(), 502);
}

#[tokio::test(start_paused = true)]
async fn one_session_without_a_link_too_many_ends_the_one_that_has_waited_longest() {
    let mut config = Config::default();
    config.detached_max = 3;
    let (_server, away) = self::away(config, 5).await;
    settle().await;
    let ended: Vec<_> = away.iter().map(|(_, _, far)| far.ended().is_some()).collect();
    assert_eq!(ended, [true, true, false, false, false]);
}

#[tokio::test(start_paused = true)]
async fn who_has_let_go_once_is_asked_again_when_it_keeps_something_again() {
    let mut config = Config::default();
    config.detached_bytes_max = 50_000;
    let (server, away) = self::away(config, 4).await;
    for round in 0..10 {
        for (_, _, far) in &away {
            far.emit("yours", &"y".repeat(9_000)).await.unwrap();
            settle().await;
            let waiting = server.stats().waiting_bytes;
            assert!(waiting < 60_000, "{waiting} in round {round}");
        }
    }
    assert!(server.stats().evicted > 4);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_is_woken_when_a_session_that_is_away_has_let_go() {
    let mut config = Config::default();
    config.detached_bytes_max = 10_000;
    config.unwritten_packets_max = 4;
    let (server, away) = self::away(config, 2).await;
    for _ in 0..4 {
        away[0].2.emit("yours", &"y".repeat(1_000)).await.unwrap();
    }
    let far = away[0].2.clone();
    let waiting = tokio::spawn(async move { far.emit("yours", &()).await });
    settle().await;
    assert!(!waiting.is_finished());
    away[1].2.emit("yours", &"y".repeat(9_000)).await.unwrap();
    settle().await;
    assert!(waiting.is_finished(), "{:?}", server.stats());
    waiting.await.unwrap().unwrap();
}
