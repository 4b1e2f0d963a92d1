//! How an application is tested: guests in one line, events that are expected, waits that end.
//!
//! ```text
//! $ cargo run --example testing
//! ok: who speaks is heard by the others, in order
//! (and so on: a line for each test)
//! ```

use emitwire::testing::{self, within};
use emitwire::{
    Auth, BoxError, ConnectRequest, Data, EmitError, Namespace, Refusal, Server, Socket, WaitError,
};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// The application: what its server mounts is what its tests mount.
fn chat() -> Namespace {
    let chat = Namespace::new("/chat").authorize(let_in).on_connect(enter);
    chat.on("say", say).on("agree", agree)
}

async fn let_in(request: ConnectRequest) -> Result<(), Refusal> {
    match request.auth::<Option<String>>()?.as_deref() {
        Some("Mallory") => Err(Refusal::with("not you")),
        _ => Ok(()),
    }
}

async fn enter(socket: Socket, Auth(name): Auth<Option<String>>) -> Result<(), EmitError> {
    socket.emit("welcome", &name.unwrap_or("nobody".into())).await
}

async fn say(socket: Socket, Data(text): Data<String>) -> Result<usize, EmitError> {
    Ok(socket.broadcast().emit("said", &text).await?.accepted)
}

/// Asks back, and waits for what the client emits then.
async fn agree(socket: Socket) -> Result<bool, Refusal> {
    socket.emit("sure?", &()).await?;
    match socket.once("yes").timeout(PATIENCE).await {
        Ok(_) => Ok(true),
        Err(WaitError::Timeout { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

// In an application each of these stands below `#[tokio::test(start_paused = true)]`. A paused
// clock jumps to the next deadline when there is nothing else to do, so waiting costs no time.

async fn who_speaks_is_heard_by_the_others_in_order() -> Result<(), BoxError> {
    let server = Server::new().mount(chat())?;
    let mut ada = testing::connect(&server, "/chat").await; // in memory, whatever wires it has
    let mut bo = testing::connect(&server, "/chat").await;
    bo.expect_in_order(&["welcome"]).await;
    // A guest is a socket that notes what it hears. No wait is endless: `expect` and `within` fail
    // with the line that waited, and an answer has its own deadline.
    assert_eq!(ada.emit("say", "hello").ack::<usize>().await?, 1);
    within(ada.emit("say", "is anybody here?")).await?;
    assert_eq!(bo.expect::<String>("said").await, "hello");
    assert_eq!(bo.expect::<String>("said").await, "is anybody here?");
    // All that was said to it so far: so it can be seen that something was *not* said.
    let heard: Vec<_> = ada.heard().await.into_iter().map(|event| event.name).collect();
    assert_eq!(heard, ["welcome"], "nobody hears the own words");
    Ok(())
}

async fn who_is_not_wanted_learns_why() -> Result<(), BoxError> {
    let server = Server::new().mount(chat())?;
    let error = testing::try_connect(&server, "/chat", "Mallory").await.expect_err("not wanted");
    assert_eq!(error.refusal::<String>().as_deref(), Some("not you"));
    let mut ada = testing::try_connect(&server, "/chat", "Ada").await?;
    assert_eq!(ada.expect::<String>("welcome").await, "Ada");
    Ok(())
}

async fn who_is_asked_has_half_a_minute() -> Result<(), BoxError> {
    let server = Server::new().mount(chat())?;
    let guest = testing::connect(&server, "/chat").await;
    let sure = guest.once("sure?").into_future(); // the next one: it is awaited from here on
    let agreed = guest.emit("agree", &()).ack::<bool>().timeout(2 * PATIENCE);
    let says_yes = async {
        sure.await?;
        Ok::<_, BoxError>(guest.emit("yes", &()).await?)
    };
    let (agreed, said) = tokio::join!(agreed, says_yes);
    said?;
    assert!(agreed?);
    // This time nobody says yes. It takes half a minute of the clock, and none of ours.
    assert!(!guest.emit("agree", &()).ack::<bool>().timeout(2 * PATIENCE).await?);
    Ok(())
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), BoxError> {
    who_speaks_is_heard_by_the_others_in_order().await?;
    println!("ok: who speaks is heard by the others, in order");
    who_is_not_wanted_learns_why().await?;
    println!("ok: who is not wanted learns why");
    who_is_asked_has_half_a_minute().await?;
    println!("ok: who is asked has half a minute");
    Ok(())
}
