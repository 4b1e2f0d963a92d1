//! Who stands where, and who sees what.

use super::*;
use emitwire::SocketStats;

/// Layers that note, from the outermost to the innermost.
fn noting(log: &Log, names: &[&'static str]) -> Layers {
    let both = |layers: Layers, name: &&'static str| {
        let watch = || Watch(name, log.clone());
        layers.inbound(watch()).outbound(watch())
    };
    names.iter().fold(Layers::new(), both)
}

fn answers(log: &Log) -> Namespace {
    let log = log.clone();
    Namespace::new("/").on("say", move || {
        log.note("handler");
        async { 7 }
    })
}

const OUT: [&str; 3] = ["outer: say", "first: say", "second: say"];
const BACK: [&str; 3] = ["second done", "first done", "outer done"];

#[tokio::test(start_paused = true)]
async fn the_first_layer_is_the_outermost_and_a_servers_or_clients_stand_outside_a_namespaces() {
    let (here, there) = (Log::default(), Log::default());
    let outer = |log| noting(log, &["outer"]);
    let inner = |log| answers(log).layers(noting(log, &["first", "second"]));
    let duo =
        Duo::with(Config::default(), (outer(&there), inner(&there)), (outer(&here), inner(&here)))
            .await;
    assert_eq!(within(duo.near().emit("say", &()).ack::<u8>()).await.unwrap(), 7);
    assert_eq!(here.take(), [OUT, BACK].concat());
    assert_eq!(there.take(), [&OUT[..], &["handler"], &BACK[..]].concat());
    assert_eq!(within(duo.far().emit("say", &()).ack::<u8>()).await.unwrap(), 7);
    assert_eq!(there.take(), [OUT, BACK].concat());
    assert_eq!(here.take(), [&OUT[..], &["handler"], &BACK[..]].concat());
}

#[tokio::test(start_paused = true)]
async fn layers_that_are_added_to_others_stand_inside_them() {
    let log = Log::default();
    let layers = noting(&log, &["outer"]).and(noting(&log, &["first", "second"]));
    let duo = duo(Namespace::new("/").on("say", async || ()), Namespace::new("/").layers(layers));
    within(duo.await.near().emit("say", &())).await.unwrap();
    assert_eq!(log.take(), [OUT, BACK].concat());
}

#[tokio::test(start_paused = true)]
async fn a_layer_sees_what_is_emitted_to_one_and_once_what_is_emitted_to_a_hundred() {
    let log = Log::default();
    let far = Namespace::new("/").outbound(Watch("layer", log.clone()));
    let duo = duo(far, Namespace::new("/").on("say", async || ())).await;
    let mut sessions = Vec::new();
    for _ in 1..100 {
        sessions.push(duo.join(Namespace::new("/").on("say", async || ())).await);
    }
    let fanout = within(duo.server.of("/").emit("say", &())).await.unwrap();
    assert_eq!(fanout.accepted, 100);
    assert_eq!(log.take(), ["layer: say", "layer done"], "once for all of them");
    let answers = within(duo.server.of("/").emit("say", &()).ack::<()>()).await.unwrap();
    let answers = within(answers.all()).await;
    assert_eq!(answers.iter().filter(|(_, answer)| answer.is_ok()).count(), 100);
    assert_eq!(log.take(), ["layer: say", "layer done"]);
    within(duo.far().emit("say", &())).await.unwrap();
    assert_eq!(log.take(), ["layer: say", "layer done"]);
}

#[tokio::test(start_paused = true)]
async fn a_volatile_event_passes_inbound_layers_and_no_outbound_ones() {
    let (here, there) = (Log::default(), Log::default());
    let far = answers(&there).layers(noting(&there, &["layer"]));
    let near = answers(&here).layers(noting(&here, &["layer"]));
    let duo = duo(far, near).await;
    let heard = ["layer: say", "handler", "layer done"];
    within(duo.near().emit("say", &()).volatile()).await.unwrap();
    becomes(|| there.count(), 3).await;
    assert_eq!((here.take(), there.take()), (vec![], heard.map(String::from).to_vec()));
    within(duo.server.of("/").volatile().emit("say", &())).await.unwrap();
    becomes(|| here.count(), 3).await;
    assert_eq!((there.take(), here.take()), (vec![], heard.map(String::from).to_vec()));
}

#[tokio::test(start_paused = true)]
async fn an_envelope_says_which_way_it_goes_for_whom_and_how_much_is_wanted() {
    let log = Log::default();
    let notes = log.clone();
    let tells = around(move |inner, envelope| {
        let to = envelope.socket().map_or("many", |_| "one");
        let rooms = envelope.selection().map(|selection| format!("{:?}", selection.rooms));
        let wants = (envelope.level(), envelope.event().wants_ack, envelope.is_outbound());
        notes.note(format!("{to} {rooms:?} {wants:?} {}", envelope.namespace()));
        inner.oneshot(envelope)
    });
    let far = Namespace::new("/").outbound(tells.clone()).inbound(tells).on("say", async || ());
    let duo = duo(far, Namespace::new("/").on("say", async || ())).await;
    within(duo.far().emit("say", &())).await.unwrap();
    within(duo.far().emit("say", &()).received()).await.unwrap();
    within(duo.far().emit("say", &()).ack::<()>()).await.unwrap();
    within(duo.server.of("/").to(["red"]).emit("say", &())).await.unwrap();
    let answers = within(duo.server.of("/").emit("say", &()).ack::<()>()).await.unwrap();
    within(answers.all()).await;
    within(duo.near().emit("say", &()).ack::<()>()).await.unwrap();
    let expected = [
        "one None (Accepted, false, true) /",
        "one None (Received, false, true) /",
        "one None (Handled, true, true) /",
        r#"many Some("Some([RoomName(\"red\")])") (Accepted, false, true) /"#,
        r#"many Some("None") (Handled, true, true) /"#,
        "one None (Accepted, true, false) /",
    ];
    assert_eq!(log.take(), expected);
}

#[tokio::test(start_paused = true)]
async fn without_layers_and_with_layers_that_do_nothing_the_same_is_counted() {
    let mut counted = Vec::new();
    for layers in [Layers::new(), noting(&Log::default(), &["one", "two"])] {
        let both = || Namespace::new("/").on("say", async || ()).layers(layers.clone());
        let duo = duo(both(), both()).await;
        let near = duo.near();
        within(near.emit("say", &())).await.unwrap();
        within(near.emit("say", &()).received()).await.unwrap();
        within(near.emit("say", &()).ack::<()>()).await.unwrap();
        near.try_emit("say", &()).unwrap();
        within(near.emit("say", &()).volatile()).await.unwrap();
        drop(near.emit("say", &()).into_future());
        within(near.drained()).await.unwrap();
        law(|| duo.session.stats()).await;
        let stats = duo.session.stats();
        let SocketStats { events_out, volatile_out, .. } = near.stats();
        counted.push((events_out, volatile_out, stats.events_out, stats.withdrawn));
    }
    assert_eq!(counted, [(4, 1, 4, 1), (4, 1, 4, 1)]);
}
