//! Broadcasts: who is meant, what each of them answers, and what is done to all of them at once.
//!
//! ```text
//! $ cargo run --example broadcast
//! 3 in the jury, 2 of them beside Ada
//! Ada votes: true
//! Bo votes: no, I know him
//! Cy votes: no answer within 500ms
//! 3 join the hall and leave the jury, which has ceased
//! Ada's socket: closed by the peer: the case is closed   (and so on: Bo's and Cy's)
//! ```

use emitwire::{
    AckError, BoxError, Broadcast, Client, Data, DisconnectReason, Endpoint, Namespace, Refusal,
    RoomError, RoomEvent, Server, Session, Socket, testing::within,
};
use std::future::ready;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

const URL: &str = "mem://broadcast"; // a wire inside of this process
const DEADLINE: Duration = Duration::from_millis(500);

/// Kept with a socket of the server.
struct Name(String);

async fn sit(socket: Socket, Data(name): Data<String>) -> Result<(), RoomError> {
    socket.set_data(Name(name));
    socket.join("jury").await
}

type Gone = UnboundedSender<(&'static str, DisconnectReason)>;

async fn juror(name: &'static str, votes: Namespace, gone: &Gone) -> Result<Session, BoxError> {
    let gone = gone.clone();
    let votes = votes.on_disconnect(move |reason| ready(gone.send((name, reason)).is_ok()));
    let session = Client::new(Endpoint::new(URL)?).mount(votes).connect().await?;
    session.of("/")?.emit("sit", name).ack::<()>().await?;
    Ok(session)
}

/// Answers come as they are given, each with whose it is, and at the deadline those that are late.
async fn ballot(server: &Server, jury: &Broadcast) -> Result<(), BoxError> {
    let mut answers = jury.emit("vote", "guilty?").ack::<bool>().timeout(DEADLINE).await?;
    assert_eq!((answers.fanout().accepted, answers.fanout().dropped), (3, 0));
    let mut votes = Vec::new();
    while let Some((juror, vote)) = answers.next().await {
        let juror = server.socket("/", juror).and_then(|socket| socket.data::<Name>());
        let name = juror.map(|name| name.0.clone()).ok_or("a juror has left")?;
        let why = vote.as_ref().err().and_then(AckError::refusal::<String>);
        votes.push(match (vote, why) {
            (Ok(vote), _) => format!("{name} votes: {vote}"),
            (Err(_), Some(why)) => format!("{name} votes: no, {why}"),
            (Err(error), None) => format!("{name} votes: {error}"),
        });
    }
    votes.sort(); // they vote side by side
    println!("{}", votes.join("\n"));
    let cy = "Cy votes: no answer within 500ms";
    assert_eq!(votes, ["Ada votes: true", "Bo votes: no, I know him", cy]);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (tells, mut told) = unbounded_channel();
    let court = Namespace::new("/").on("sit", sit).on_room(move |event| {
        let _ = tells.send(event.clone()); // it is called in place, so it does not wait
    });
    let server = Server::new().mount(court)?;
    server.listen(Endpoint::new(URL)?).await?;
    let (gone, mut ended) = unbounded_channel();
    let no = || async { Err::<bool, _>(Refusal::with("I know him")) };
    let (no, yes) = (Namespace::new("/").on("vote", no), || async { true });
    let ada = juror("Ada", Namespace::new("/").on("vote", yes), &gone).await?;
    let _bo = juror("Bo", no, &gone).await?;
    let _cy = juror("Cy", Namespace::new("/"), &gone).await?; // has no listener, and may get one

    // A selection is a value: made once, narrowed down, and looked at anew whenever it is used.
    let jury = server.of("/").to("jury");
    let others = jury.clone().except(ada.of("/")?.id()); // a socket's id is a room of its own
    let (all, some) = (jury.sockets().await?.len(), others.sockets().await?.len());
    println!("{all} in the jury, {some} of them beside Ada");
    assert_eq!((all, some), (3, 2));
    ballot(&server, &jury).await?;

    let joined = jury.join_all("hall").await?.accepted;
    jury.leave_all("jury").await?; // from here on the selection is empty
    println!("{joined} join the hall and leave the jury, which has ceased");
    assert_eq!(server.of("/").rooms().await?, [("hall".into(), 3)]);
    let heard: Vec<_> = std::iter::from_fn(|| told.try_recv().ok()).collect();
    assert_eq!(heard.first(), Some(&RoomEvent::Created("jury".into())));
    assert_eq!(heard.last(), Some(&RoomEvent::Deleted("jury".into())));

    server.of("/").to("hall").disconnect_all("the case is closed").await?;
    for _ in 0..joined {
        let (name, reason) = within(ended.recv()).await.ok_or("it never ends")?;
        println!("{name}'s socket: {reason}");
        assert_eq!(reason, DisconnectReason::DismissedByPeer("the case is closed".into()));
    }
    Ok(())
}
