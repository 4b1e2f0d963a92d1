//! The page about listening, at both ends: whatever a server's socket can do, a client's can.

use crate::stage::{HELLO, Member, Stage, hello, on_each_wire, quiet};
use crate::support::{becomes, poll_once, within};
use emitwire::{
    AckError, Config, Data, Event, ListenError, Nak, Namespace, Socket, Unhandled, WaitError,
};
use std::future::{IntoFuture, Ready, ready};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Who listens, and who speaks to it: first the server's end listens, then the client's.
fn both_ways(member: &Member) -> [(&Socket, &Socket); 2] {
    [(&member.here, &member.there), (&member.there, &member.here)]
}

/// What listeners heard, in order, each with a name of its own.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn by(&self, who: &str) -> impl Fn(Event) -> Ready<()> + Clone + Send + Sync + 'static {
        let (heard, who) = (self.clone(), who.to_owned());
        move |event: Event| {
            heard.0.lock().unwrap().push(format!("{who} {}", event.name));
            ready(())
        }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// Says it, and waits until it was handled.
async fn say(speaking: &Socket, name: &str) {
    within(speaking.emit(name, "world").ack::<()>()).await.unwrap();
}

/// "`socket.on(eventName, listener)` adds the listener function to the end of the listeners array"
#[tokio::test]
async fn on_adds_a_listener_behind_the_others_for_each_event() {
    on_each_wire(async |wire| {
        let (_stage, [ann, bob]) = Stage::new(wire).await;
        for ((listening, speaking), (_, other)) in both_ways(&ann).into_iter().zip(both_ways(&bob))
        {
            let heard = Heard::default();
            listening.on("details", heard.by("first")).unwrap();
            listening.on("details", heard.by("second")).unwrap();
            listening.on("another", heard.by("third")).unwrap();
            assert_eq!(listening.emitter().listener_count("details"), 2);
            assert_eq!(listening.emitter().event_names(), ["another", "details"]);
            say(speaking, "details").await;
            say(speaking, "details").await;
            let twice = ["first details", "second details", "first details", "second details"];
            assert_eq!(heard.take(), twice);
            say(speaking, "another").await;
            assert_eq!(heard.take(), ["third another"]);
            // Nobody hears what another socket says, nor what is said under another name.
            say(other, "details").await;
            say(speaking, "detail").await;
            assert_eq!(heard.take(), [""; 0]);
        }
    })
    .await;
}

/// "`socket.once(eventName, listener)` adds a one-time listener function"
#[tokio::test]
async fn once_adds_a_listener_for_one_event() {
    on_each_wire(async |wire| {
        let (_stage, [ann]) = Stage::new(wire).await;
        for (listening, speaking) in both_ways(&ann) {
            let heard = Heard::default();
            listening.once("details").then(heard.by("once")).unwrap();
            listening.on("details", heard.by("always")).unwrap();
            say(speaking, "another").await;
            assert_eq!(listening.emitter().listener_count("details"), 2);
            say(speaking, "details").await;
            assert_eq!(heard.take(), ["once details", "always details"]);
            say(speaking, "details").await;
            assert_eq!(heard.take(), ["always details"]);
            assert_eq!(listening.emitter().listener_count("details"), 1);
        }
    })
    .await;
}

/// "`socket.off(eventName, listener)` removes the specified listener"
#[tokio::test]
async fn off_removes_one_listener_and_leaves_the_others() {
    on_each_wire(async |wire| {
        let (_stage, [ann]) = Stage::new(wire).await;
        for (listening, speaking) in both_ways(&ann) {
            let heard = Heard::default();
            let first = listening.on("details", heard.by("first")).unwrap();
            listening.on("details", heard.by("second")).unwrap();
            let once = listening.once("details").then(heard.by("once")).unwrap();
            assert!(listening.off(first));
            assert!(listening.off(once));
            assert!(!listening.off(first), "it is not there any more");
            say(speaking, "details").await;
            assert_eq!(heard.take(), ["second details"]);
        }
    })
    .await;
}

/// "`socket.removeAllListeners([eventName])` removes all listeners of the specified eventName"
#[tokio::test]
async fn remove_all_listeners_of_an_event_leaves_those_of_others() {
    on_each_wire(async |wire| {
        let (_stage, [ann]) = Stage::new(wire).await;
        for (listening, speaking) in both_ways(&ann) {
            let heard = Heard::default();
            for who in ["first", "second"] {
                listening.on("details", heard.by(who)).unwrap();
            }
            listening.once("details").then(heard.by("once")).unwrap();
            listening.on("another", heard.by("third")).unwrap();
            listening.on_any(heard.by("any")).unwrap();
            assert_eq!(listening.off_all("details"), 3);
            assert_eq!(listening.off_all("details"), 0);
            assert_eq!(listening.emitter().event_names(), ["another"]);
            say(speaking, "details").await;
            say(speaking, "another").await;
            assert_eq!(heard.take(), ["any details", "any another", "third another"]);
        }
    })
    .await;
}

/// "`socket.onAny(listener)` adds a listener that will be fired when any event is emitted"
#[tokio::test]
async fn on_any_adds_a_listener_for_all_events() {
    on_each_wire(async |wire| {
        let (_stage, [ann]) = Stage::new(wire).await;
        for (listening, speaking) in both_ways(&ann) {
            let heard = Heard::default();
            listening.on("details", heard.by("named")).unwrap();
            listening.on_any(heard.by("any")).unwrap();
            listening.on_any(heard.by("any too")).unwrap();
            say(speaking, "details").await;
            let all = ["any details", "any too details", "named details"];
            assert_eq!(heard.take(), all);
            say(speaking, "unknown").await;
            assert_eq!(heard.take(), ["any unknown", "any too unknown"]);
        }
    })
    .await;
}

/// "`socket.offAny([listener])` removes all catch-all listeners, or the given listener"
#[tokio::test]
async fn off_any_removes_one_catch_all_listener_or_all() {
    on_each_wire(async |wire| {
        let (_stage, [ann]) = Stage::new(wire).await;
        for (listening, speaking) in both_ways(&ann) {
            let heard = Heard::default();
            let first = listening.on_any(heard.by("first")).unwrap();
            listening.on_any(heard.by("second")).unwrap();
            listening.on_any(heard.by("third")).unwrap();
            listening.on("details", heard.by("named")).unwrap();
            assert!(listening.off(first));
            say(speaking, "details").await;
            assert_eq!(heard.take(), ["second details", "third details", "named details"]);
            assert_eq!(listening.off_any(), 2);
            say(speaking, "details").await;
            assert_eq!(heard.take(), ["named details"]);
        }
    })
    .await;
}

/// "`socket.onAnyOutgoing(listener)` registers a new catch-all listener for outgoing packets", and
/// "`offAnyOutgoing`"
#[tokio::test]
async fn on_any_outgoing_is_told_of_what_is_emitted_until_it_is_removed() {
    on_each_wire(async |wire| {
        let (stage, [ann, bob]) = Stage::new(wire).await;
        for (speaking, other) in [(&ann.here, &bob.here), (&ann.there, &bob.there)] {
            let heard = Heard::default();
            let notes = heard.by("told");
            let tell = move |event: &Event| drop(notes(event.clone()));
            let told = speaking.on_any_outgoing(tell).unwrap();
            say(speaking, "asked").await;
            within(speaking.emit("hello", "world")).await.unwrap();
            within(speaking.emit("maybe", "world").volatile()).await.unwrap();
            speaking.try_emit("now", "world").unwrap();
            // Not of what others say, nor of what could not be emitted.
            within(other.emit("hello", "world")).await.unwrap();
            within(speaking.emit("connect", "world")).await.unwrap_err();
            assert_eq!(heard.take(), ["told asked", "told hello", "told maybe", "told now"]);
            assert!(speaking.off(told));
            within(speaking.emit("hello", "world")).await.unwrap();
            assert_eq!(heard.take(), [""; 0]);
        }
        assert_eq!(stage.heard(&bob).await, [HELLO]);
    })
    .await;
}

/// "catch-all listeners for outgoing packets" of a namespace: each broadcast once
#[tokio::test]
async fn on_any_outgoing_of_a_namespace_is_told_of_each_broadcast_once() {
    on_each_wire(async |wire| {
        let heard = Heard::default();
        let notes = heard.by("told");
        let tell = move |event: &Event| drop(notes(event.clone()));
        let namespace = quiet("/");
        let handle = namespace.clone();
        let stage = Stage::with(wire, Config::default(), [namespace]).await;
        let (ann, bob) = (stage.enter().await, stage.enter().await);
        let told = handle.emitter().on_any_outgoing(tell).unwrap();
        assert_eq!(hello(&stage.everyone()).await, 2);
        within(ann.here.emit("alone", &())).await.unwrap();
        assert_eq!(heard.take(), ["told hello", "told alone"]);
        assert!(handle.off(told));
        assert_eq!(hello(&stage.everyone()).await, 2);
        assert_eq!(heard.take(), [""; 0]);
        assert_eq!(stage.hellos([&bob]).await, [2]);
    })
    .await;
}

/// What no listener is there for has one all the same, if there is a fallback.
#[tokio::test]
async fn a_fallback_answers_what_nobody_listens_to() {
    on_each_wire(async |wire| {
        let nak = || Namespace::new("/").unhandled(Unhandled::Nak);
        let stage = Stage::with(wire, Config::default(), [nak()]).await;
        let ann = stage.enter_as(nak()).await;
        for (listening, speaking) in both_ways(&ann) {
            match within(speaking.emit("unknown", &()).ack::<String>()).await {
                Err(AckError::Refused(Nak::NoHandler)) => {}
                other => panic!("{other:?}"),
            }
            let emitter = listening.emitter();
            emitter.set_fallback(|event: Event| async move { event.name.to_string() }).unwrap();
            listening.on("known", |Data(text): Data<String>| async move { text }).unwrap();
            let unknown: String = within(speaking.emit("unknown", &()).ack()).await.unwrap();
            let known: String = within(speaking.emit("known", "text").ack()).await.unwrap();
            assert_eq!((&*unknown, &*known), ("unknown", "text"));
        }
    })
    .await;
}

/// `await once(socket, "details")`: one event of that name is awaited, with a deadline
#[tokio::test]
async fn once_can_be_awaited() {
    on_each_wire(async |wire| {
        let (_stage, [ann, bob]) = Stage::new(wire).await;
        for ((listening, speaking), (_, other)) in both_ways(&ann).into_iter().zip(both_ways(&bob))
        {
            let mut waiting = listening.once("details").into_future();
            say(other, "details").await;
            say(speaking, "another").await;
            assert!(poll_once(&mut waiting).is_pending());
            say_and_be_awaited(speaking, waiting).await;
            // Only the next one: what comes when nobody waits is none of it.
            say(speaking, "details").await;
            let soon = Duration::from_millis(50);
            match within(listening.once("details").timeout(soon)).await {
                Err(WaitError::Timeout { after }) => assert_eq!(after, soon),
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
}

/// It can be awaited where a socket begins too, before any other of its events is handled.
#[tokio::test]
async fn once_can_be_awaited_in_on_connect() {
    on_each_wire(async |wire| {
        let heard = Heard::default();
        let begun = heard.by("begun");
        let greet = move |socket: Socket| {
            let begun = begun.clone();
            async move {
                let name = socket.once("name").await?;
                begun(name).await;
                Ok::<_, WaitError>(())
            }
        };
        let namespace = quiet("/").on_connect(greet).on("hello", heard.by("heard"));
        let stage = Stage::with(wire, Config::default(), [namespace]).await;
        let ann = stage.enter().await;
        within(ann.there.emit("hello", "world")).await.unwrap();
        say(&ann.there, "name").await;
        say(&ann.there, "hello").await;
        assert_eq!(heard.take(), ["begun name", "heard hello", "heard hello"]);
    })
    .await;
}

/// Whoever awaits it gets it, and that is its answer.
async fn say_and_be_awaited(
    speaking: &Socket,
    waiting: impl Future<Output = Result<Event, WaitError>>,
) {
    let asked = speaking.emit("details", "first").ack::<()>().into_future();
    let (event, answer) = tokio::join!(within(waiting), within(asked));
    let event = event.unwrap();
    assert_eq!(
        (&*event.name, event.payload.decode::<String>().unwrap()),
        ("details", "first".into())
    );
    answer.unwrap();
}

/// Listeners end with their socket, and none can be added behind its end.
#[tokio::test]
async fn the_listeners_of_a_socket_end_with_it() {
    on_each_wire(async |wire| {
        let (stage, [ann, bob]) = Stage::new(wire).await;
        let kept = Arc::new(());
        for socket in [&ann.here, &ann.there] {
            let keeps = Arc::clone(&kept);
            let hold = move || {
                let _keeps = &keeps;
                ready(())
            };
            socket.on("details", hold.clone()).unwrap();
            socket.on_any(hold).unwrap();
        }
        within(ann.session.close()).await;
        becomes(|| Arc::strong_count(&kept), 1).await;
        for socket in [&ann.here, &ann.there] {
            assert_eq!(socket.on("details", || async {}), Err(ListenError::Closed));
            assert_eq!(socket.emitter().listener_count("details"), 0);
        }
        assert_eq!(hello(&stage.everyone()).await, 1);
        assert_eq!(stage.hellos([&bob]).await, [1]);
    })
    .await;
}

/// "`socket.onAny(listener)` adds a listener that will be fired when any event is emitted": also
/// one that somebody awaits
#[tokio::test]
async fn on_any_hears_an_event_that_is_awaited() {
    on_each_wire(async |wire| {
        let (_stage, [ann]) = Stage::new(wire).await;
        for (listening, speaking) in both_ways(&ann) {
            let heard = Heard::default();
            listening.on_any(heard.by("any")).unwrap();
            let waiting = listening.once("details").into_future();
            say_and_be_awaited(speaking, waiting).await;
            assert_eq!(heard.take(), ["any details"]);
        }
    })
    .await;
}

/// None can be added behind the end either where none was before: nobody would let go of it.
#[tokio::test]
async fn nobody_listens_to_a_socket_that_has_ended() {
    on_each_wire(async |wire| {
        let (stage, [ann]) = Stage::new(wire).await;
        within(ann.session.close()).await;
        becomes(|| stage.server.stats().sessions, 0).await;
        for socket in [&ann.here, &ann.there] {
            assert!(socket.ended().is_some());
            assert_eq!(socket.on("details", || async {}), Err(ListenError::Closed));
            assert_eq!(socket.on_any(|| async {}), Err(ListenError::Closed));
            assert_eq!(socket.on_any_outgoing(|_| {}), Err(ListenError::Closed));
            assert_eq!(socket.once("details").then(|| async {}), Err(ListenError::Closed));
        }
    })
    .await;
}
