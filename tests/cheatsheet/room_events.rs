//! "Room events" of the page about rooms.

use crate::stage::{Stage, Wire, on_each_wire, quiet, quiet_root};
use crate::support::{becomes, within};
use emitwire::{Config, RoomEvent, Socket};
use std::sync::{Arc, Mutex};

/// What was told so far, of one kind.
struct Told(Arc<Mutex<Vec<RoomEvent>>>);

impl Told {
    fn of(&self, kind: impl Fn(&RoomEvent) -> bool) -> Vec<RoomEvent> {
        self.0.lock().unwrap().iter().filter(|event| kind(event)).cloned().collect()
    }

    fn all(&self) -> Vec<RoomEvent> {
        self.of(|_| true)
    }
}

async fn stage(wire: Wire) -> (Stage, Told) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&told);
    let tell = move |event: &RoomEvent| notes.lock().unwrap().push(event.clone());
    let stage = Stage::with(wire, Config::default(), [quiet("/").on_room(tell)]).await;
    (stage, Told(told))
}

fn created(room: &str) -> RoomEvent {
    RoomEvent::Created(room.into())
}

fn deleted(room: &str) -> RoomEvent {
    RoomEvent::Deleted(room.into())
}

/// "`create-room` (argument: room)"
#[tokio::test]
async fn a_room_is_created_with_its_first_member() {
    on_each_wire(async |wire| {
        let (stage, told) = stage(wire).await;
        let [ann, bob] = stage.enter_all(quiet_root).await;
        within(ann.here.join("room1")).await.unwrap();
        within(bob.here.join(["room1", "room2"])).await.unwrap();
        within(bob.here.join("room2")).await.unwrap();
        let news = told.of(|event| matches!(event, RoomEvent::Created(_)));
        assert_eq!(news, [created("room1"), created("room2")]);
        // It is there before anybody joins it.
        assert_eq!(told.all()[0], created("room1"));
        assert_eq!(told.all()[1], RoomEvent::Joined(ann.here.id(), "room1".into()));
    })
    .await;
}

/// "`delete-room` (argument: room)"
#[tokio::test]
async fn a_room_is_deleted_with_its_last_member() {
    on_each_wire(async |wire| {
        let (stage, told) = stage(wire).await;
        let [ann, bob] = stage.enter_all(quiet_root).await;
        within(ann.here.join(["room1", "room2"])).await.unwrap();
        within(bob.here.join("room1")).await.unwrap();
        let news = || told.of(|event| matches!(event, RoomEvent::Deleted(_)));
        within(ann.here.leave("room1")).await.unwrap();
        assert_eq!(news(), []);
        within(ann.here.leave("room2")).await.unwrap();
        assert_eq!(news(), [deleted("room2")]);
        // Ending is leaving.
        within(bob.session.close()).await;
        becomes(news, vec![deleted("room2"), deleted("room1")]).await;
        let last = [RoomEvent::Left(bob.here.id(), "room1".into()), deleted("room1")];
        assert_eq!(told.all()[told.all().len() - 2..], last);
        // A room that was there before is created again.
        within(ann.here.join("room1")).await.unwrap();
        assert_eq!(told.of(|event| *event == created("room1")).len(), 2);
    })
    .await;
}

/// "`join-room` (argument: room, id)"
#[tokio::test]
async fn a_join_of_a_room_is_told_with_the_socket_and_once() {
    on_each_wire(async |wire| {
        let (stage, told) = stage(wire).await;
        let [ann, bob] = stage.enter_all(quiet_root).await;
        within(ann.here.join("room1")).await.unwrap();
        within(ann.here.join("room1")).await.unwrap();
        within(stage.everyone().join_all("room1")).await.unwrap();
        let news = told.of(|event| matches!(event, RoomEvent::Joined(..)));
        let joined = |socket: &Socket| RoomEvent::Joined(socket.id(), "room1".into());
        assert_eq!(news, [joined(&ann.here), joined(&bob.here)]);
    })
    .await;
}

/// "`leave-room` (argument: room, id)"
#[tokio::test]
async fn a_leave_of_a_room_is_told_with_the_socket_and_once() {
    on_each_wire(async |wire| {
        let (stage, told) = stage(wire).await;
        let [ann, bob] = stage.enter_all(quiet_root).await;
        within(stage.everyone().join_all(["room1", "room2"])).await.unwrap();
        let news = || told.of(|event| matches!(event, RoomEvent::Left(..)));
        let left = |socket: &Socket, room: &str| RoomEvent::Left(socket.id(), room.into());
        within(ann.here.leave(["room1", "never joined"])).await.unwrap();
        within(ann.here.leave("room1")).await.unwrap();
        let mut wanted = vec![left(&ann.here, "room1")];
        assert_eq!(news(), wanted);
        within(stage.everyone().leave_all("room1")).await.unwrap();
        wanted.push(left(&bob.here, "room1"));
        assert_eq!(news(), wanted);
        ann.there.disconnect("");
        wanted.push(left(&ann.here, "room2"));
        becomes(news, wanted).await;
    })
    .await;
}
