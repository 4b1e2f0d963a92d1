//! A link is lost, and another takes its place.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_was_said_during_a_cut_arrives_once_and_in_order_both_ways() {
    let stage = Stage::new().await;
    let (near, far) = (stage.near(), stage.far());
    for value in 0..5_u64 {
        near.emit("n", &value).await.unwrap();
        far.emit("n", &value).await.unwrap();
    }
    stage.cut().await;
    assert!(near.ended().is_none() && far.ended().is_none());
    for value in 5..10_u64 {
        near.emit("n", &value).await.unwrap();
        far.emit("n", &value).await.unwrap();
    }
    stage.attached().await;
    assert_eq!(stage.session.outcome(), Outcome::Resumed);
    assert!(near.recovered() && far.recovered());
    for diary in [&stage.here, &stage.there] {
        let (numbers, others) = diary.split();
        assert_eq!(numbers, (0..10).collect::<Vec<_>>());
        assert_eq!(others, ["detached: the link was lost", "attached: Resumed"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_without_a_single_event_is_resumed_again_and_again() {
    let stage = Stage::new().await;
    let id = stage.near().id();
    for _ in 0..20 {
        stage.cut().await;
        stage.attached().await;
    }
    assert_eq!((stage.near().id(), stage.session.outcome()), (id, Outcome::Resumed));
    let (here, there) = (stage.session.stats(), stage.server.stats());
    assert_eq!((here.resumed, there.resumed), (20, 20));
    assert_eq!((there.sessions, there.sockets, there.detached), (1, 1, 0));
    assert_eq!(stage.there.split().1.len(), 40);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_waited_for_survives_the_loss_of_the_link() {
    let stage = Stage::new().await;
    let (near, far) = (stage.near(), stage.far());
    stage.cut().await;
    let ask_near = async { near.emit("n", &4_u64).ack::<u64>().await };
    let ask_far = async { far.emit("n", &5_u64).ack::<u64>().await };
    let asked = tokio::join!(ask_near, ask_far, stage.attached());
    assert_eq!((asked.0.unwrap(), asked.1.unwrap()), (8, 10));
}

#[tokio::test(start_paused = true)]
async fn a_socket_without_a_link_stays_in_its_rooms_and_gets_what_is_said_there() {
    let stage = Stage::new().await;
    let far = stage.far();
    far.join("lobby").await.unwrap();
    stage.cut().await;
    becomes(|| far.is_attached(), false).await;
    for value in 0..3_u64 {
        let fanout = stage.server.of("/").to("lobby").emit("n", &value).await.unwrap();
        assert_eq!((fanout.accepted, fanout.dropped), (1, 0));
    }
    assert_eq!(stage.server.of("/").sockets().await.unwrap(), [far.id()]);
    stage.attached().await;
    assert_eq!(stage.here.split().0, [0, 1, 2]);
    assert_eq!(far.rooms().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_before_its_server_noticed_takes_its_own_link_over() {
    let stage = Stage::new().await;
    let (near, far) = (stage.near(), stage.far());
    // Neither end hears of it: the client goes over to a wire that is not cut.
    stage.wire.cut(emitwire::Direction::Both);
    near.emit("n", &1_u64).await.unwrap();
    far.emit("n", &2_u64).await.unwrap();
    settle().await;
    assert!(far.is_attached(), "the server believes that it is there");
    let outcome = stage.session.move_to(Memory::new(&*stage.name)).await.unwrap();
    settle().await;
    assert_eq!(outcome, Outcome::Resumed);
    assert_eq!((stage.here.split().0, stage.there.split().0), (vec![2], vec![1]));
    let stats = stage.server.stats();
    assert_eq!((stats.takeovers, stats.sessions, stats.sockets), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn who_is_away_for_longer_than_the_window_has_a_new_session_and_is_told_so() {
    let mut config = Config::default();
    config.resume_window = Duration::from_secs(2);
    let stage = Stage::with(config).await;
    let old = stage.near();
    stage.wire.cut(emitwire::Direction::Both);
    becomes(|| old.ended().is_some(), true).await;
    stage.wire.heal(emitwire::Direction::Both);
    becomes(|| stage.session.of("/").is_ok_and(|it| it.id() != old.id()), true).await;
    settle().await;
    assert_eq!(stage.session.outcome(), Outcome::New);
    assert_eq!(stage.server.stats().sessions, 1);
    let (_, here) = stage.here.split();
    assert_eq!(here, ["detached: the peer fell silent", "ends: the peer fell silent", "begins"]);
}

#[tokio::test(start_paused = true)]
async fn without_a_window_a_session_ends_with_its_link() {
    let mut config = Config::default();
    config.resume_window = Duration::ZERO;
    let stage = Stage::with(config).await;
    let old = stage.near();
    stage.wire.sever();
    becomes(|| stage.session.of("/").is_ok_and(|it| it.id() != old.id()), true).await;
    settle().await;
    assert_eq!(stage.there.split().1, ["ends: the link was lost", "begins"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_closed_while_it_has_no_link_does_not_wait_for_one() {
    let stage = Stage::new().await;
    stage.cut().await;
    let began = tokio::time::Instant::now();
    stage.session.close().await;
    assert!(began.elapsed() < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_is_ended_while_it_has_no_link_ends_at_the_peer_when_it_has_one() {
    let stage = Stage::new().await;
    let (near, far) = (stage.near(), stage.far());
    stage.cut().await;
    far.disconnect("enough");
    stage.wire.heal(emitwire::Direction::Both);
    becomes(|| near.ended(), Some(DisconnectReason::DismissedByPeer("enough".into()))).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_drains_does_not_wait_for_those_who_have_no_link() {
    let stage = Stage::new().await;
    stage.cut().await;
    let began = tokio::time::Instant::now();
    stage.server.run_until(std::future::ready(())).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(stage.server.stats().sessions, 0);
}
