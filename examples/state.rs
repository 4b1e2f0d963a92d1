//! What handlers share, what a socket keeps, and listeners that one socket has for itself.
//!
//! ```text
//! $ cargo run --example state
//! without its state: a handler asks for `State<state::Coins>`, and the namespace has no such state
//! Ada is visitor 1 of the bank
//! Bo is visitor 2 of the bank
//! Ada opens the safe: the peer refused: nobody handles this event
//! Ada unlocks and opens the safe: 12 coins for Ada
//! Bo opens the safe: the peer refused: nobody handles this event
//! Ada locks and opens the safe: the peer refused: nobody handles this event
//! ```

use emitwire::{
    AckError, BoxError, Client, Data, Endpoint, ListenError, ListenerId, MountError, Nak,
    Namespace, Server, Session, Socket, State, Unhandled,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// State is cloned for each event, so what changes is behind an `Arc`.
#[derive(Clone, Default)]
struct Visits(Arc<AtomicU64>);

/// One value of each type is shared: a newtype tells one number from another.
#[derive(Clone)]
struct Coins(u64);

#[derive(Clone)]
struct House(&'static str);

/// Kept with one socket. It needs no lock of its own unless it changes.
struct Name(String);

/// Kept with one socket, too: the listener that it has for itself.
struct Key(ListenerId);

async fn enter(
    socket: Socket,
    Data(name): Data<String>,
    State(visits): State<Visits>,
    State(House(house)): State<House>,
) -> String {
    let number = visits.0.fetch_add(1, Relaxed) + 1;
    let answer = format!("{name} is visitor {number} of the {house}");
    socket.set_data(Name(name));
    answer
}

/// From here on this socket, and no other, has a listener for `open`.
async fn unlock(socket: Socket) -> Result<(), ListenError> {
    let key = socket.on("open", open)?;
    socket.set_data(Key(key));
    Ok(())
}

async fn open(socket: Socket, State(Coins(coins)): State<Coins>) -> Option<String> {
    let name = socket.data::<Name>()?; // `None` before `enter`
    Some(format!("{coins} coins for {}", name.0))
}

async fn lock(socket: Socket) -> bool {
    socket.take_data::<Key>().is_some_and(|key| socket.off(key.0))
}

fn bank() -> Namespace {
    let bank = Namespace::new("/bank").unhandled(Unhandled::Nak); // instead of waiting for one
    bank.state(Visits::default()).state(House("bank")).on("enter", enter)
}

async fn visit(name: &str) -> Result<Session, BoxError> {
    let client = Client::new(Endpoint::new("mem://state")?).mount(Namespace::new("/bank"));
    let session = client.connect().await?;
    let greeting: String = session.of("/bank")?.emit("enter", name).ack().await?;
    println!("{greeting}");
    Ok(session)
}

async fn try_to_open(socket: &Socket, who: &str) -> Result<String, AckError> {
    let opened = socket.emit("open", &()).ack::<String>().await;
    println!("{who} the safe: {}", opened.as_ref().map_or_else(ToString::to_string, Clone::clone));
    opened
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // What nobody provides is found when the namespace is mounted, not when the event comes.
    let error = Server::new().mount(bank().on("open", open)).expect_err("there are no coins");
    println!("without its state: {error}");
    assert!(matches!(error, MountError::Listen(ListenError::NoState { .. })));

    let bank = bank().state(Coins(12)).on("unlock", unlock).on("lock", lock);
    let server = Server::new().mount(bank)?;
    server.listen(Endpoint::new("mem://state")?).await?; // a wire inside of this process
    let (ada, bo) = (visit("Ada").await?, visit("Bo").await?);
    let (ada, bo) = (ada.of("/bank")?, bo.of("/bank")?);
    let is_closed = |opened| matches!(opened, Err(AckError::Refused(Nak::NoHandler)));
    assert!(is_closed(try_to_open(&ada, "Ada opens").await));
    ada.emit("unlock", &()).ack::<()>().await?;
    assert_eq!(try_to_open(&ada, "Ada unlocks and opens").await?, "12 coins for Ada");
    assert!(is_closed(try_to_open(&bo, "Bo opens").await));
    assert!(ada.emit("lock", &()).ack::<bool>().await?);
    assert!(is_closed(try_to_open(&ada, "Ada locks and opens").await));
    Ok(())
}
