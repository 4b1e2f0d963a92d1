//! A client process is started again, and goes on with the session of the one before.

use super::*;
use emitwire::ResumeToken;
use emitwire::testing::within;
use house::{House, kill};

#[tokio::test(start_paused = true)]
async fn it_is_in_its_rooms_and_gets_what_the_process_before_had_not_confirmed() {
    let house = House::new(|namespace| namespace).await;
    let here = Diary::default();
    let first = house.process(&here, None).await;
    let (id, session) = (first.of("/").unwrap().id(), first.id());
    let far = house.server.socket("/", id).unwrap();
    far.join("lobby").await.unwrap();
    let asked = tokio::spawn({
        let far = far.clone();
        async move { far.emit("n", &21_u64).ack::<u64>().timeout(Duration::from_secs(60)).await }
    });
    settle().await;
    assert_eq!(asked.await.unwrap().unwrap(), 42);
    kill(first);
    let _ = here.take();

    // The old process is still attached, as far as anybody knows: it is taken over from.
    let second = house.process(&here, Some(house.newest())).await;
    settle().await;
    assert_eq!((second.id(), second.outcome()), (session, Outcome::Resumed));
    let near = second.of("/").unwrap();
    assert_eq!(near.id(), id);
    assert!(near.recovered());
    for value in 0..100_u64 {
        house.server.of("/").to("lobby").emit("n", &value).await.unwrap();
        near.emit("n", &value).await.unwrap();
    }
    settle().await;
    assert!(here.split().0.into_iter().eq(0..100));
    assert!(house.there.split().0.into_iter().eq(0..100));
    assert_eq!(near.emit("n", &7_u64).ack::<u64>().await.unwrap(), 14);
    assert_eq!(second.of("/other").unwrap().namespace(), "/other");
    assert_eq!(house.server.stats().sessions, 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_a_handler_of_the_old_process_waits_for_is_no_answer_to_the_new_one() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let far = move |namespace: Namespace| {
        namespace.on("slow", move || {
            let gate = Arc::clone(&opened);
            async move {
                gate.acquire().await.unwrap().forget();
                "old"
            }
        })
    };
    let house = House::new(far).await;
    let here = Diary::default();
    let first = house.process(&here, None).await;
    let near = first.of("/").unwrap();
    let asked = tokio::spawn(async move { near.emit("slow", &()).ack::<String>().await });
    settle().await;
    kill(first);
    let second = house.process(&here, Some(house.newest())).await;
    let near = second.of("/").unwrap();
    let again = tokio::spawn(async move { near.emit("slow", &()).ack::<String>().await });
    settle().await;
    gate.add_permits(1);
    settle().await;
    assert!(!again.is_finished(), "it was the old one's answer");
    gate.add_permits(1);
    assert_eq!(again.await.unwrap().unwrap(), "old");
    let _ = asked.await.unwrap();
    assert_eq!(second.stats().unasked, 0);
    // The window of the new process is whole.
    let near = second.of("/").unwrap();
    for value in 0..10_000_u64 {
        near.emit("n", &value).await.unwrap();
    }
    becomes(|| house.there.count(), 10_000).await;
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_old_unknown_or_of_other_namespaces_means_a_new_session() {
    let house = House::new(|namespace| namespace).await;
    let here = Diary::default();
    let first = house.process(&here, None).await;
    let old = house.newest();
    let second = house.process(&here, Some(old.clone())).await;
    assert_eq!(second.outcome(), Outcome::Resumed);
    settle().await;
    // Used, and followed by another.
    let third = house.process(&here, Some(old)).await;
    assert_eq!(third.outcome(), Outcome::New);
    let client = Client::new(Memory::new(&*house.name)).mount(Namespace::new("/"));
    let other = within(client.resume_with(house.newest()).connect()).await.unwrap();
    assert_eq!(other.outcome(), Outcome::New);
    kill(first);
    kill(second);
}

#[tokio::test(start_paused = true)]
async fn of_what_was_written_and_let_go_nobody_knows_whether_the_old_process_had_it() {
    let mut config = Config::default();
    config.log_packets_max = 64;
    config.unwritten_packets_max = 32;
    config.window_events = 16;
    let doubted = Arc::new(Mutex::new(0));
    let told = Arc::clone(&doubted);
    let namespace = Namespace::new("/").on_lost(move |lost: &Lost| {
        *told.lock().unwrap() += usize::from(lost.fate == Fate::InDoubt);
    });
    let server = Server::with_config(config.clone()).mount(namespace).unwrap();
    let name = fresh_name();
    server.listen(Memory::new(&*name)).await.unwrap();
    let token = Arc::<Mutex<Option<ResumeToken>>>::default();
    let kept = Arc::clone(&token);
    let wire = emitwire::Chaos::new(Memory::new(&*name), 7);
    let client = || Client::new(wire.clone()).config(config.clone()).mount(Namespace::new("/"));
    let first = client().on_resume_token(move |it| *kept.lock().unwrap() = Some(it.clone()));
    let first = within(first.connect()).await.unwrap();
    settle().await;
    wire.cut(emitwire::Direction::Both);
    for value in 0..200_u64 {
        server.of("/").emit("n", &value).await.unwrap();
    }
    kill(first);
    let other = Client::new(Memory::new(&*name)).config(config.clone()).mount(Namespace::new("/"));
    let token = token.lock().unwrap().clone().unwrap();
    let second = within(other.resume_with(token).connect()).await.unwrap();
    assert_eq!(second.outcome(), Outcome::Resumed);
    becomes(|| server.stats().waiting + server.stats().unconfirmed, 0).await;
    let stats = server.stats();
    let known = stats.received + stats.overflowed + stats.lost + stats.in_doubt;
    assert_eq!((stats.events_out, known), (200, 200), "{stats:?}");
    assert_eq!((stats.in_doubt, *doubted.lock().unwrap()), (16, 16));
    assert_eq!(second.stats().missed, stats.overflowed + stats.in_doubt);
}
