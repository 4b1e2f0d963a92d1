//! Windows over cuts: what waits for a handler waits, and nothing else does.

use super::*;
use tokio::sync::Semaphore;

/// A namespace whose handler of `slow` needs a permit for each event.
fn gated(namespace: Namespace, gate: &Arc<Semaphore>) -> Namespace {
    let gate = Arc::clone(gate);
    namespace.on("slow", move |Data(value): Data<u64>| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            value
        }
    })
}

fn narrow() -> Config {
    let mut config = Config::default();
    config.window_events = 4;
    config
}

#[tokio::test(start_paused = true)]
async fn a_window_that_was_shut_when_the_link_was_lost_opens_on_the_next() {
    let gate = Arc::new(Semaphore::new(0));
    let stage = Stage::with_namespaces(narrow(), |it| it, |it| gated(it, &gate)).await;
    let near = stage.near();
    for value in 0..20_u64 {
        near.emit("slow", &value).await.unwrap();
    }
    settle().await;
    assert_eq!(near.stats().queue.waiting, 16, "the window holds four");
    // The grants of what finishes now are written to a wire that is cut, and die with it.
    stage.wire.cut(emitwire::Direction::Both);
    gate.add_permits(4);
    settle().await;
    stage.wire.sever();
    stage.attached().await;
    settle().await;
    assert_eq!(near.stats().queue.waiting, 12, "and four more went");
    gate.add_permits(16);
    becomes(|| stage.server.stats().handled, 20).await;
    let stats = stage.session.stats();
    becomes(|| stage.session.stats().received, 20).await;
    assert_eq!((stats.events_out, stats.lost, stats.in_doubt), (20, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_replay_spends_no_window_again_however_often_it_comes() {
    let gate = Arc::new(Semaphore::new(0));
    let stage = Stage::with_namespaces(narrow(), |it| it, |it| gated(it, &gate)).await;
    let near = stage.near();
    stage.wire.cut(emitwire::Direction::In);
    for value in 0..4_u64 {
        near.emit("slow", &value).await.unwrap();
    }
    for _ in 0..10 {
        settle().await;
        stage.wire.sever();
        stage.wire.heal(emitwire::Direction::Both);
        stage.attached().await;
        stage.wire.cut(emitwire::Direction::In);
    }
    stage.wire.heal(emitwire::Direction::Both);
    gate.add_permits(100);
    for value in 4..50_u64 {
        let answer = near.emit("slow", &value).ack::<u64>().await;
        assert_eq!(answer.unwrap(), value);
    }
    assert_eq!(stage.server.stats().handled, 50);
    assert_eq!(stage.server.stats().protocol_errors, 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_handler_delays_no_heartbeat_no_answer_no_volatile_event_and_no_cut() {
    let gate = Arc::new(Semaphore::new(0));
    let far = |namespace: Namespace| gated(namespace, &gate).concurrent(1);
    let stage = Stage::with_namespaces(narrow(), |it| it, far).await;
    let (near, far) = (stage.near(), stage.far());
    let heard = stage.there.clone();
    far.on("v", move |Data(value): Data<u64>| {
        heard.note(format!("{value}"));
        async {}
    })
    .unwrap();
    for value in 0..10_u64 {
        near.emit("slow", &value).await.unwrap();
    }
    // Longer than any heartbeat deadline, and shorter than that of a handler.
    for value in 0..45_u64 {
        near.emit("v", &value).volatile().await.unwrap();
        assert_eq!(far.emit("n", &value).ack::<u64>().await.unwrap(), 2 * value);
        tokio::time::sleep(Duration::from_secs(1)).await;
        if value % 20 == 10 {
            stage.cut().await;
            stage.attached().await;
        }
    }
    assert_eq!(stage.session.stats().detaches, 2, "by us, not by silence");
    assert!(stage.there.split().0.into_iter().eq(0..45));
    gate.add_permits(10);
    becomes(|| stage.server.stats().handled, 10).await;
}
