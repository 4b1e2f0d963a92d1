//! Clients at the door of a session whose namespaces take their time.

use super::*;
use tokio::sync::Semaphore;

/// A namespace that lets a client in once, and again for each permit.
fn slow_door(namespace: Namespace, gate: &Arc<Semaphore>) -> Namespace {
    let gate = Arc::clone(gate);
    namespace.authorize(move |_| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            Ok::<(), emitwire::Refusal>(())
        }
    })
}

#[tokio::test(start_paused = true)]
async fn of_two_attempts_of_one_client_the_newer_wins_whoever_is_answered_first() {
    let gate = Arc::new(Semaphore::new(1));
    let mut config = Config::default();
    config.connect_timeout = Duration::from_secs(2);
    let stage = Stage::with_namespaces(config, |it| it, |it| slow_door(it, &gate)).await;
    stage.cut().await;
    stage.wire.heal(emitwire::Direction::Both);
    // The first attempt has given up, and the second stands at the door.
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    assert!(!stage.session.is_attached());
    gate.add_permits(10);
    stage.attached().await;
    assert_eq!(stage.near().emit("n", &1_u64).ack::<u64>().await.unwrap(), 2);
    assert_eq!(stage.session.outcome(), Outcome::Resumed);
    settle().await;
    let stats = stage.server.stats();
    assert_eq!((stats.sessions, stats.sockets, stats.links), (1, 1, 1), "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn a_session_does_not_end_while_its_client_stands_at_the_door() {
    let gate = Arc::new(Semaphore::new(1));
    let mut config = Config::default();
    config.resume_window = Duration::from_secs(1);
    let stage = Stage::with_namespaces(config, |it| it, |it| slow_door(it, &gate)).await;
    stage.cut().await;
    stage.wire.heal(emitwire::Direction::Both);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(stage.server.stats().sessions, 1);
    gate.add_permits(1);
    stage.attached().await;
    assert_eq!(stage.session.outcome(), Outcome::Resumed);
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_session_is_gone_leaves_no_second_one_when_its_welcome_is_lost() {
    let mut config = Config::default();
    config.resume_window = Duration::from_secs(1);
    let server_config = config.clone();
    // The client hopes for longer than the server remembers.
    config.resume_window = Duration::from_secs(30);
    let there = Diary::default();
    let server = Server::with_config(server_config).mount(there.keep("/")).unwrap();
    let name = fresh_name();
    server.listen(Memory::new(&*name)).await.unwrap();
    let wire = emitwire::Chaos::new(Memory::new(&*name), 3);
    let client = Client::new(wire.clone()).config(config).mount(Diary::default().keep("/"));
    let session = client.connect().await.unwrap();
    wire.sever();
    wire.cut(emitwire::Direction::Both);
    becomes(|| server.stats().sessions, 0).await;
    // Hellos come through, welcomes do not.
    wire.heal(emitwire::Direction::Out);
    becomes(|| server.stats().sessions, 1).await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(server.stats().sessions <= 1, "{:?}", server.stats());
    }
    wire.heal(emitwire::Direction::In);
    becomes(|| session.is_attached() && session.of("/").is_ok(), true).await;
    assert_eq!(session.outcome(), Outcome::New);
}
