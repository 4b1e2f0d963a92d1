//! A link is cut, both sides go on talking, and nobody misses anything.
//!
//! ```text
//! $ cargo run --example resume
//! Ann: on_connect
//! server: on_connect
//! Ann hears 1, 2, 3
//! Ann: on_detach, the link was lost
//! server: on_detach, the link was lost
//! said meanwhile: 4, 5, 6 to the lobby, and Ann's thanks
//! Ann: on_attach, Resumed
//! server: on_attach, Resumed
//! Ann hears 4, 5, 6
//! the server hears "thanks for three"
//! ```

use emitwire::transport::Direction;
use emitwire::{
    BoxError, Chaos, Client, Data, DisconnectReason, Memory, Namespace, Outcome, Server, Socket,
};
use std::future::{Future, ready};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Hooks are the same at both ends. A socket begins once; its links come and go.
fn with_hooks(who: &'static str, notes: &UnboundedSender<String>) -> Namespace {
    let (begun, lost, back) = (notes.clone(), notes.clone(), notes.clone());
    Namespace::new("/")
        .on_connect(move || ready(begun.send(format!("{who}: on_connect")).is_ok()))
        .on_detach(move |reason: DisconnectReason| {
            ready(lost.send(format!("{who}: on_detach, {reason}")).is_ok())
        })
        .on_attach(move |outcome: Outcome| {
            ready(back.send(format!("{who}: on_attach, {outcome:?}")).is_ok())
        })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let (notes, mut noted) = unbounded_channel();
    let (heard, mut numbers) = unbounded_channel();
    let (thanked, mut thanks) = unbounded_channel();
    let there = with_hooks("server", &notes)
        .on("join", |socket: Socket| async move { socket.join("lobby").await })
        .on("thanks", move |Data(text): Data<String>| ready(thanked.send(text).is_ok()));
    let here = with_hooks("Ann", &notes)
        .on("number", move |Data(number): Data<u32>| ready(heard.send(number).is_ok()));
    let server = Server::new().mount(there)?;
    server.listen(Memory::new("resume")).await?;
    let wire = Chaos::new(Memory::new("resume"), 7);
    let session = Client::new(wire.clone()).mount(here).connect().await?;
    let socket = session.of("/")?;
    socket.emit("join", &()).ack::<()>().await?;
    both(&mut noted, ["Ann: on_connect", "server: on_connect"]).await?;
    let lobby = server.of("/").to("lobby");
    for number in 1..=3 {
        lobby.emit("number", &number).await?;
    }
    println!("Ann hears {}", three(&mut numbers, [1, 2, 3]).await?);

    wire.sever(); // this link is gone,
    wire.cut(Direction::Both); // and no other gets through
    let lost = ["Ann: on_detach, the link was lost", "server: on_detach, the link was lost"];
    both(&mut noted, lost).await?;
    for number in 4..=6 {
        lobby.emit("number", &number).await?; // it is still in its room, and this waits there
    }
    socket.emit("thanks", "thanks for three").await?; // and this waits here
    println!("said meanwhile: 4, 5, 6 to the lobby, and Ann's thanks");

    wire.heal(Direction::Both); // the client comes back by itself
    both(&mut noted, ["Ann: on_attach, Resumed", "server: on_attach, Resumed"]).await?;
    println!("Ann hears {}", three(&mut numbers, [4, 5, 6]).await?);
    println!("the server hears {:?}", in_time(thanks.recv()).await?);
    assert!(socket.recovered() && session.of("/")?.id() == socket.id());
    session.close().await;
    Ok(())
}

/// What both ends have noted, whichever was first.
async fn both(noted: &mut UnboundedReceiver<String>, expected: [&str; 2]) -> Result<(), BoxError> {
    let mut notes = [in_time(noted.recv()).await?, in_time(noted.recv()).await?];
    notes.sort_unstable();
    notes.iter().for_each(|note| println!("{note}"));
    assert_eq!(notes, expected);
    Ok(())
}

/// Each of them once, in order.
async fn three(numbers: &mut UnboundedReceiver<u32>, all: [u32; 3]) -> Result<String, BoxError> {
    for number in all {
        assert_eq!(in_time(numbers.recv()).await?, number);
    }
    Ok(all.map(|number| number.to_string()).join(", "))
}

async fn in_time<T>(future: impl Future<Output = Option<T>>) -> Result<T, BoxError> {
    let something = tokio::time::timeout(Duration::from_secs(10), future).await?;
    something.ok_or_else(|| "nobody says it any more".into())
}
