//! Every event once and in order, whatever is slow.

use super::*;

/// How many answers one socket waits for at the same time.
const PIPELINE: u64 = 30;

/// Emits `events` numbers in order, each with an answer.
async fn pour(socket: Socket, events: u64) {
    let mut next = 1;
    while next <= events {
        let wave: Vec<u64> = (next..=events).take(PIPELINE as usize).collect();
        next += wave.len() as u64;
        let acks = wave.iter().map(|number| socket.emit("number", number).ack::<u64>());
        let answers = within(all(acks)).await;
        let answers: Vec<u64> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, wave, "each answer is to its own event");
    }
}

fn counts(tally: &Arc<Tally>) -> Namespace {
    let tally = Arc::clone(tally);
    Namespace::new("/load").on("number", move |socket: Socket, Data(number): Data<u64>| {
        tally.hear(socket.id(), number);
        async move {
            // Every other handler waits once, so that both roads are taken.
            if number % 2 == 0 {
                tokio::task::yield_now().await;
            }
            number
        }
    })
}

/// So many sockets on each of the URLs, so many acknowledged events each way.
async fn both_ways(wires: &[(&str, usize)], events: u64) {
    let peers = wires.iter().map(|(_, sockets)| sockets).sum();
    let (up, down) = (Arc::new(Tally::default()), Arc::new(Tally::default()));
    let (begin, mut begun) = mpsc::unbounded_channel();
    let namespace = counts(&up).on_connect(move |socket: Socket| {
        begin.send(socket).unwrap();
        async {}
    });
    let server = Server::new().mount(namespace).unwrap();
    let mut sessions = Vec::new();
    for (url, sockets) in wires {
        let listening = listen(&server, url).await;
        for _ in 0..*sockets {
            sessions.push(connect(listening.endpoint(), counts(&down)).await);
        }
    }
    let mut pouring = Vec::new();
    for session in &sessions {
        pouring.push(tokio::spawn(pour(session.of("/load").unwrap(), events)));
        let socket = within(begun.recv()).await.unwrap();
        pouring.push(tokio::spawn(pour(socket, events)));
    }
    for poured in pouring {
        poured.await.unwrap();
    }
    up.check(peers, events);
    down.check(peers, events);
    let total = peers as u64 * events;
    let stats = server.stats();
    assert_eq!((stats.events_in, stats.events_out, stats.handled), (total, total, total));
    assert_eq!((stats.refused, stats.refused_by_peer, stats.lost, stats.in_doubt), (0, 0, 0, 0));
    within(all(sessions.into_iter().map(Session::close))).await;
    becomes(|| server.stats().sessions, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_event_of_a_hundred_sockets_is_handled_once_and_in_order_over_tcp() {
    both_ways(&[("tcp://127.0.0.1:0", 100)], 300).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_event_of_a_hundred_sockets_is_handled_once_and_in_order_over_websocket() {
    both_ways(&[("ws://127.0.0.1:0", 100)], 300).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_event_of_a_hundred_sockets_is_handled_once_and_in_order_over_all_others() {
    let others = all_wires();
    let before = ["tcp://", "ws://", "mem://"];
    for url in others.iter().filter(|url| !before.iter().any(|it| url.starts_with(it))) {
        println!("{url}");
        both_ways(&[(url, 100)], 300).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_event_of_a_hundred_sockets_is_handled_once_and_in_order_in_memory() {
    both_ways(&[(&fresh_mem(), 100)], 300).await;
}

#[test]
fn every_event_of_a_thousand_sockets_is_handled_once_and_in_order_over_all_wires() {
    if std::env::var_os("EMITWIRE_FULL").is_none() {
        println!("skipped: EMITWIRE_FULL=1 cargo test --release --test delivery thousand");
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mem = fresh_mem();
    let wires = [("tcp://127.0.0.1:0", 300), ("ws://127.0.0.1:0", 300), (&mem, 400)];
    runtime.block_on(both_ways(&wires, 1000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_members_on_all_wires_hear_sixteen_broadcasters_each_in_order_and_whole() {
    const MEMBERS: usize = 50;
    const BROADCASTERS: usize = 16;
    const EVENTS: u64 = 60;
    let namespace = Namespace::new("/room")
        .on_connect(|socket: Socket| async move { socket.join(["all", "again"]).await });
    let server = Server::new().mount(namespace).unwrap();
    let urls = all_wires();
    let mut wires = Vec::new();
    for url in &urls {
        wires.push(listen(&server, url).await);
    }
    let faults = Arc::new(Mutex::new(Vec::new()));
    let complete = Arc::new(AtomicUsize::new(0));
    let mut sessions = Vec::new();
    for member in 0..MEMBERS {
        let (faults, complete) = (Arc::clone(&faults), Arc::clone(&complete));
        let last = Mutex::new([0; BROADCASTERS]);
        let namespace =
            Namespace::new("/room").on("news", move |Data((who, number)): Data<(usize, u64)>| {
                let mut last = last.lock().unwrap();
                let before = std::mem::replace(&mut last[who], number);
                if number != before + 1 {
                    let fault = format!("{member} heard {number} of {who} behind {before}");
                    faults.lock().unwrap().push(fault);
                }
                if number == EVENTS {
                    complete.fetch_add(1, Ordering::AcqRel);
                }
                async {}
            });
        sessions.push(connect(wires[member % 2].endpoint(), namespace).await);
    }
    becomes(|| sockets(&server.of("/room").to("all")).len(), MEMBERS).await;
    let broadcasters = (0..BROADCASTERS).map(|who| {
        let server = server.clone();
        tokio::spawn(async move {
            // A union of rooms reaches each member once.
            let room = server.of("/room").to("all").to("again");
            for number in 1..=EVENTS {
                let fanout = room.emit("news", &(who, number)).await.unwrap();
                assert_eq!((fanout.accepted, fanout.dropped), (MEMBERS, 0));
                tokio::task::yield_now().await;
            }
        })
    });
    for broadcaster in broadcasters.collect::<Vec<_>>() {
        within(broadcaster).await.unwrap();
    }
    becomes(|| complete.load(Ordering::Acquire), MEMBERS * BROADCASTERS).await;
    assert_eq!(*faults.lock().unwrap(), [""; 0]);
    let total = (MEMBERS * BROADCASTERS) as u64 * EVENTS;
    assert_eq!(server.stats().events_out, total);
    let heard: u64 = sessions.iter().map(|session| session.stats().events_in).sum();
    assert_eq!(heard, total, "none is missing, none is doubled");
}

#[tokio::test]
async fn slow_handlers_keep_the_order_of_their_socket_and_hold_no_other_up() {
    let (gate, pass) = gate();
    let (mouth, mut ear) = mpsc::unbounded_channel();
    let (working, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let most_at_once = Arc::clone(&most);
    let namespace =
        Namespace::new("/").on("slow", move |socket: Socket, Data(number): Data<u64>| {
            let (pass, mouth) = (pass.clone(), mouth.clone());
            let (working, most) = (Arc::clone(&working), Arc::clone(&most));
            async move {
                most.fetch_max(working.fetch_add(1, Ordering::AcqRel) + 1, Ordering::AcqRel);
                mouth.send((socket.id(), number, "begins")).unwrap();
                pass().await;
                mouth.send((socket.id(), number, "ends")).unwrap();
                working.fetch_sub(1, Ordering::AcqRel);
            }
        });
    let (_server, url) = serve(namespace.on("quick", || async { "done" })).await;
    let slow = connect(&url, Namespace::new("/")).await;
    let other = connect(&url, Namespace::new("/")).await;
    let (slow, other) = (slow.of("/").unwrap(), other.of("/").unwrap());
    for number in 1..=5 {
        within(slow.emit("slow", &number)).await.unwrap();
    }
    within(slow.emit("quick", &())).await.unwrap();
    assert_eq!(within(ear.recv()).await.unwrap(), (slow.id(), 1, "begins"));
    // The other socket is handled while this one waits.
    for _ in 0..20 {
        let done: String = within(other.emit("quick", &()).ack()).await.unwrap();
        assert_eq!(done, "done");
    }
    within(other.emit("slow", &77)).await.unwrap();
    assert_eq!(within(ear.recv()).await.unwrap(), (other.id(), 77, "begins"));
    assert!(ear.try_recv().is_err(), "the second event waits for the first");
    gate.add_permits(6);
    let mut steps = Vec::new();
    while steps.len() < 9 {
        let (socket, number, step) = within(ear.recv()).await.unwrap();
        if socket == slow.id() {
            steps.push((number, step));
        }
    }
    let mut wanted = vec![(1, "ends")];
    for number in 2..=5 {
        wanted.extend([(number, "begins"), (number, "ends")]);
    }
    assert_eq!(steps, wanted);
    assert_eq!(most_at_once.load(Ordering::Acquire), 2, "one at a time on each of two");
}

#[tokio::test]
async fn volatile_events_acks_and_other_namespaces_do_not_wait_for_a_slow_handler() {
    let (_gate, pass) = gate();
    let (mouth, mut ear) = mpsc::unbounded_channel();
    let slow = Namespace::new("/slow").on("slow", pass).on("cursor", move || {
        mouth.send(()).unwrap();
        async {}
    });
    let quick = Namespace::new("/quick").on("quick", || async { true });
    let server = Server::new().mount(slow).unwrap().mount(quick).unwrap();
    let url = fresh_mem();
    listen(&server, &url).await;
    let client = Client::new(endpoint(&url))
        .mount(Namespace::new("/slow").on("ask", || async { 7 }))
        .mount(Namespace::new("/quick"));
    let session = within(client.connect()).await.unwrap();
    let (slow, quick) = (session.of("/slow").unwrap(), session.of("/quick").unwrap());
    within(slow.emit("slow", &())).await.unwrap();
    assert!(within(quick.emit("quick", &()).ack::<bool>()).await.unwrap());
    within(slow.emit("cursor", &(1, 2)).volatile()).await.unwrap();
    within(ear.recv()).await.unwrap();
    let fanout = within(server.of("/slow").emit("ask", &())).await.unwrap();
    assert_eq!(fanout.accepted, 1);
    becomes(|| session.stats().handled, 1).await;
}
