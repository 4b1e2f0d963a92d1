//! Broadcasts whose answers are asked for, tried again at those who gave none.

use super::*;
use std::collections::HashMap;

/// A member of the room that fails so often and notes what it hears.
fn member(name: &'static str, fails: usize, log: &Log) -> Namespace {
    let (log, left) = (log.clone(), Arc::new(AtomicUsize::new(fails)));
    Namespace::new("/").on("say", move |event: Event| {
        log.note(format!("{name} {}", event.id.number));
        let failed = left.load(Ordering::Relaxed) > 0;
        left.store(left.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
        async move { if failed { Err(Nak::Failed) } else { Ok(7u8) } }
    })
}

/// A server that tries again, and three members of which one fails twice.
async fn room(policy: Again, log: &Log) -> (Duo, Vec<Session>) {
    let far = Namespace::new("/").outbound(RetryLayer::new(policy));
    let duo = duo(far, member("a", 0, log)).await;
    let b = duo.join(member("b", 2, log)).await;
    let c = duo.join(member("c", 0, log)).await;
    (duo, vec![b, c])
}

type Answers = Vec<(SocketId, Result<u8, AckError>)>;

async fn ask(duo: &Duo) -> Answers {
    let answers = within(duo.server.of("/").emit("say", &()).ack::<u8>()).await.unwrap();
    assert_eq!(answers.fanout().accepted, 3, "the first attempt's");
    within(answers.all()).await
}

#[tokio::test(start_paused = true)]
async fn another_attempt_is_for_those_alone_who_gave_no_final_answer() {
    let log = Log::default();
    let (duo, _others) = room(Again::times(5, SECOND), &log).await;
    let answers = ask(&duo).await;
    assert_eq!(answers.len(), 3);
    assert!(answers.iter().all(|(_, answer)| matches!(answer, Ok(7))), "{answers:?}");
    let heard = log.take();
    let count = |name: &str| heard.iter().filter(|line| line.starts_with(name)).count();
    assert_eq!((count("a"), count("b"), count("c")), (1, 3, 1), "{heard:?}");
    let numbers: Vec<_> = heard.iter().map(|line| line.split(' ').next_back()).collect();
    assert!(numbers.iter().all(|number| *number == numbers[0]), "one event: {heard:?}");
}

#[tokio::test(start_paused = true)]
async fn when_no_attempt_is_left_each_has_its_own_last_answer() {
    let log = Log::default();
    let (duo, others) = room(Again::times(1, MS), &log).await;
    let answers: HashMap<_, _> = ask(&duo).await.into_iter().collect();
    let b = others[0].of("/").unwrap().id();
    assert_eq!(answers.len(), 3);
    for (id, answer) in answers {
        match answer {
            Err(AckError::Refused(Nak::Failed)) if id == b => {}
            Ok(7) if id != b => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_in_a_room_that_is_named_like_a_member_is_not_asked_again_in_its_place() {
    let log = Log::default();
    let (duo, others) = room(Again::times(5, SECOND), &log).await;
    let b = others[0].of("/").unwrap().id();
    within(duo.far().join(b.to_string())).await.unwrap();
    let answers = ask(&duo).await;
    assert_eq!(answers.len(), 3, "{answers:?}");
    let heard = log.take();
    assert_eq!(heard.iter().filter(|line| line.starts_with('a')).count(), 1, "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_ends_between_two_attempts_is_waited_for_no_longer() {
    let (log, policy) = (Log::default(), Again::times(1000, SECOND));
    let (duo, mut others) = room(policy.clone(), &log).await;
    let b = others[0].of("/").unwrap().id();
    let everyone = duo.server.of("/");
    let answers = within(everyone.emit("say", &()).ack::<u8>()).await.unwrap();
    let asked = begins(answers.all()).await;
    becomes(|| policy.log.count(), 1).await;
    within(others.remove(0).close()).await;
    let answers = within(asked).await.unwrap();
    let of_b = answers.iter().find(|(id, _)| *id == b).map(|(_, answer)| answer);
    assert!(matches!(of_b, Some(Err(AckError::Closed))), "{answers:?}");
    assert_eq!(answers.len(), 3);
    assert!(policy.log.count() <= 2, "nobody is left to ask");
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_between_two_attempts_is_final_and_not_asked_for_again() {
    let (log, gate, policy) = (Log::default(), Gate::shut(), Again::times(9, SECOND));
    let far =
        Namespace::new("/").outbound(attempts_of(SECOND)).outbound(RetryLayer::new(policy.clone()));
    let duo = duo(far, gate.slow(&log)).await;
    let everyone = duo.server.of("/");
    let answers = within(everyone.emit("slow", &1u64).ack::<u64>()).await.unwrap();
    let asked = begins(answers.all()).await;
    becomes(|| policy.log.count(), 1).await;
    gate.open(1);
    let answers = within(asked).await.unwrap();
    assert!(matches!(answers[..], [(_, Ok(1))]), "{answers:?}");
    assert_eq!(log.take(), ["1"], "heard once");
}

#[tokio::test(start_paused = true)]
async fn what_a_layer_asks_for_by_itself_is_repeated_and_the_fanout_is_the_first_attempts() {
    let (log, policy) = (Log::default(), Again::times(5, MS));
    let far =
        Namespace::new("/").outbound(raises(Level::Handled)).outbound(RetryLayer::new(policy));
    let duo = duo(far, member("a", 0, &log)).await;
    let _b = duo.join(member("b", 2, &log)).await;
    let fanout = within(duo.server.of("/").emit("say", &())).await.unwrap();
    assert_eq!((fanout.accepted, fanout.dropped), (2, 0));
    assert_eq!(log.take().len(), 4, "it has waited for all of them");
}

#[tokio::test(start_paused = true)]
async fn namespaces_of_one_pattern_that_share_a_limit_are_asked_one_after_another() {
    let log = Log::default();
    let far = Namespace::new("/org-{id}").outbound(ConcurrencyLimitLayer::new(1));
    let server = Server::new().mount(far).unwrap();
    let url = fresh_mem();
    listen(&server, &url).await;
    let mut client = Client::new(endpoint(&url));
    for path in ["/org-1", "/org-2", "/org-3"] {
        let log = log.clone();
        client = client.mount(Namespace::new(path).on("say", move || {
            log.note("say");
            async { 7u8 }
        }));
    }
    let _session = within(client.connect()).await.unwrap();
    becomes(|| server.stats().sockets, 3).await;
    let everyone = server.of("/org-{id}");
    let answers = within(everyone.emit("say", &()).ack::<u8>()).await.unwrap();
    assert_eq!(answers.fanout().accepted, 3);
    assert_eq!(within(answers.all()).await.len(), 3);
    assert_eq!(within(everyone.emit("say", &())).await.unwrap().accepted, 3);
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_that_is_dropped_in_front_of_its_layers_is_withdrawn() {
    let (log, gate) = (Log::default(), Gate::shut());
    let far = Namespace::new("/").outbound(gate.layer());
    let duo = duo(far, member("a", 0, &log)).await;
    let everyone = duo.server.of("/");
    let mut emit = everyone.emit("say", &()).into_future();
    assert!(poll_once(&mut emit).is_pending());
    drop(emit);
    let mut asked = everyone.emit("say", &()).ack::<u8>().into_future();
    assert!(poll_once(&mut asked).is_pending());
    drop(asked);
    assert_eq!((duo.server.stats().withdrawn, duo.server.stats().events_out), (2, 0));
    gate.open(9);
    assert_eq!(within(everyone.emit("say", &())).await.unwrap().accepted, 1);
    becomes(|| log.count(), 1).await;
}
