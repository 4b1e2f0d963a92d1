//! The answers of many, one after another.

use super::*;
use std::collections::BTreeMap;

async fn crowd(count: usize) -> (Server, Vec<Guest>) {
    let server = Server::new().mount(Namespace::new("/")).unwrap();
    let mut guests = Vec::new();
    for _ in 0..count {
        guests.push(testing::connect(&server, "/").await);
    }
    (server, guests)
}

#[tokio::test(start_paused = true)]
async fn each_member_answers_for_itself_and_who_does_not_is_named_with_the_reason() {
    let (server, guests) = crowd(6).await;
    guests[0].on("vote", || async { true }).unwrap();
    guests[1].on("vote", || async { false }).unwrap();
    guests[2].on("vote", || async { Err::<bool, _>(emitwire::Refusal::with("abstains")) }).unwrap();
    guests[3].on("vote", pending::<()>).unwrap();
    guests[4].on("vote", || async { "undecided" }).unwrap();
    guests[5]
        .on("vote", |socket: Socket| async move {
            socket.disconnect("");
            pending::<()>().await;
        })
        .unwrap();
    let everyone = server.of("/");
    let answers = within(everyone.emit("vote", &()).timeout(MOMENT).ack::<bool>()).await.unwrap();
    assert_eq!(answers.fanout().accepted, 6);
    let mut answers: BTreeMap<_, _> = within(answers.all()).await.into_iter().collect();
    let mut of = |guest: usize| answers.remove(&guests[guest].id()).unwrap();
    assert_eq!((of(0).unwrap(), of(1).unwrap()), (true, false));
    assert_eq!(of(2).unwrap_err().refusal::<String>().as_deref(), Some("abstains"));
    assert!(matches!(of(3), Err(AckError::Timeout { after: MOMENT })));
    assert!(matches!(of(4), Err(AckError::Payload { .. })));
    assert!(matches!(of(5), Err(AckError::Closed)));
    assert!(answers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn answers_come_as_they_are_given_and_end_with_the_last() {
    let (server, guests) = crowd(3).await;
    for (number, guest) in guests.iter().enumerate() {
        let wait = MOMENT * (3 - number as u32);
        guest
            .on("x", move || async move {
                tokio::time::sleep(wait).await;
                number
            })
            .unwrap();
    }
    let everyone = server.of("/");
    let mut answers = within(everyone.emit("x", &()).ack::<usize>()).await.unwrap();
    for number in [2, 1, 0] {
        let (member, answer) = within(answers.next()).await.unwrap();
        assert_eq!((member, answer.unwrap()), (guests[number].id(), number));
    }
    assert!(within(answers.next()).await.is_none());
    assert!(within(answers.next()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn nobody_asked_is_nobody_waited_for() {
    let (server, guests) = crowd(1).await;
    let nobody = server.of("/").to("nobody");
    let answers = within(nobody.emit("x", &()).ack::<()>()).await.unwrap();
    assert!(within(answers.all()).await.is_empty());
    let rooms = guests[0].to("x");
    let refused = within(rooms.emit("x", &()).ack::<()>()).await.unwrap_err();
    assert!(matches!(refused, EmitError::Room(RoomError::NotOnServer)), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_member_whose_mailbox_does_not_take_the_event_answers_so_at_once() {
    let (server, guests) = crowd(2).await;
    guests[1].on("x", || async {}).unwrap();
    let socket = server.socket("/", guests[0].id()).unwrap();
    // It is in its rooms until its driver knows.
    socket.on("never", || async {}).unwrap();
    let everyone = server.of("/");
    let large = "x".repeat(Config::default().event_bytes_max + 1);
    let refused = within(everyone.emit("x", &large).ack::<()>()).await.unwrap_err();
    assert!(matches!(refused, EmitError::TooLarge { .. }), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_that_makes_way_at_a_slow_member_is_answered_as_lost() {
    let mut config = Config::default();
    (config.unwritten_packets_max, config.slow_policy) = (2, SlowPolicy::DropOldest);
    let server = Server::with_config(config).mount(Namespace::new("/")).unwrap();
    let guest = testing::connect(&server, "/").await;
    guest.on("x", pending::<()>).unwrap();
    let everyone = server.of("/");
    // The first fill the guest's window.
    for _ in 0..Config::default().window_events + 2 {
        within(everyone.emit("x", &())).await.unwrap();
    }
    let asked = within(everyone.emit("x", &()).ack::<()>()).await.unwrap();
    for _ in 0..2 {
        within(everyone.emit("x", &())).await.unwrap();
    }
    let answers = within(asked.all()).await;
    let lost = matches!(answers[..], [(_, Err(AckError::Lost { reason: LossReason::Overflow }))]);
    assert!(lost, "{answers:?}");
    assert!(server.stats().overflowed > 0);
    assert!(guest.is_attached(), "it was not let go");
}

#[tokio::test(start_paused = true)]
async fn a_session_in_two_namespaces_of_a_pattern_answers_in_each_for_itself() {
    let server = Server::new().mount(Namespace::new("/org-{id}")).unwrap();
    let _l = server.listen(emitwire::Memory::new("two of a pattern")).await.unwrap();
    let slow = Namespace::new("/org-1").on("q", || async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        1u8
    });
    let quick = Namespace::new("/org-2").on("q", || async { 2u8 });
    let session = Client::new(emitwire::Memory::new("two of a pattern"))
        .mount(slow)
        .mount(quick)
        .connect()
        .await
        .unwrap();
    let (one, two) = (session.of("/org-1").unwrap().id(), session.of("/org-2").unwrap().id());
    let all = server.of("/org-{id}").emit("q", &()).ack::<u8>().await.unwrap().all().await;
    let of = |id| all.iter().find(|(s, _)| *s == id).unwrap().1.as_ref().unwrap();
    assert_eq!((of(one), of(two)), (&1, &2));
}
