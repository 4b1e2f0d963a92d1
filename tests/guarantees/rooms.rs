//! Broadcasts through the layers that want answers.

use crate::books::Effects;
use crate::support::{becomes, endpoint, fresh_mem, listen, within};
use emitwire::middleware::{RequireAck, Retry};
use emitwire::{
    AckError, Client, EmitError, Layers, Nak, Namespace, Server, Session, Socket, SocketId,
};
use std::collections::BTreeMap;
use std::time::Duration;

const MEMBERS: u64 = 5;
const ATTEMPT: Duration = Duration::from_secs(1);

/// Members by number: 1 is busy at first, 2 always fails, 3 never answers, 4 says no.
struct Room {
    server: Server,
    sessions: Vec<Session>,
    runs: Effects,
}

impl Room {
    async fn new() -> Self {
        let retry = Retry::new().attempts(3).within(Duration::from_secs(20));
        let layers = Layers::new().and(retry).and(RequireAck::handled(ATTEMPT));
        let server = Server::new().layers(layers).mount(Namespace::new("/")).unwrap();
        let url = fresh_mem();
        listen(&server, &url).await;
        let (runs, mut sessions) = (Effects::default(), Vec::new());
        for member in 0..MEMBERS {
            let ran = runs.clone();
            let namespace = Namespace::new("/").on("vote", move || {
                let ran = ran.clone();
                async move {
                    ran.have(member);
                    match member {
                        1 if ran.of(1) == 1 => Err(Nak::Busy { retry_after: ATTEMPT }),
                        2 => Err(Nak::Failed),
                        3 => std::future::pending().await,
                        4 => Err(Nak::BadPayload),
                        _ => Ok(member),
                    }
                }
            });
            let client = Client::new(endpoint(&url)).mount(namespace);
            sessions.push(within(client.connect()).await.unwrap());
        }
        becomes(|| server.stats().sockets, MEMBERS).await;
        Self { server, sessions, runs }
    }

    fn ids(&self) -> Vec<SocketId> {
        self.sessions
            .iter()
            .map(|session| session.of("/").unwrap())
            .map(|it: Socket| it.id())
            .collect()
    }

    fn runs(&self) -> Vec<u32> {
        (0..MEMBERS).map(|member| self.runs.of(member)).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn only_members_whose_answer_may_get_better_are_asked_again_and_who_is_missing_is_named() {
    let room = Room::new().await;
    let everyone = room.server.of("/");
    let told = tokio::time::timeout(Duration::from_secs(60), everyone.emit("vote", &())).await;
    let Err(EmitError::Unanswered { source }) = told.unwrap() else { panic!("all have answered") };
    let AckError::Missing { members, .. } = *source else { panic!("{source}") };
    let mut expected = vec![room.ids()[2], room.ids()[3]];
    expected.sort_unstable();
    assert_eq!(*members, *expected);
    // Who has answered, in whatever way, is not asked again; who is silent has the event.
    assert_eq!(room.runs(), [1, 2, 3, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn each_member_has_its_last_answer_in_the_end() {
    let room = Room::new().await;
    let everyone = room.server.of("/");
    let answers = within(everyone.emit("vote", &()).ack::<u64>()).await.unwrap();
    assert_eq!(answers.fanout().accepted, 5);
    let answers = tokio::time::timeout(Duration::from_secs(60), answers.all()).await.unwrap();
    let answers: BTreeMap<_, _> = answers.into_iter().collect();
    assert_eq!(answers.len(), 5, "each once");
    let of = |member: usize| &answers[&room.ids()[member]];
    assert!(matches!(of(0), Ok(0)) && matches!(of(1), Ok(1)), "{answers:?}");
    assert!(matches!(of(2), Err(AckError::Refused(Nak::Failed))), "{:?}", of(2));
    assert!(matches!(of(3), Err(AckError::Timeout { .. })), "{:?}", of(3));
    assert!(matches!(of(4), Err(AckError::Refused(Nak::BadPayload))), "{:?}", of(4));
    assert_eq!(room.runs(), [1, 2, 3, 1, 1]);
}
