//! Who is let in: what a client shows, who decides, what a refusal says, and what is kept of it.
//!
//! ```text
//! $ cargo run --example auth
//! Mallory is refused: ticket 0 is too old
//! the server greets: Hello, Ada! It is your ticket number 1
//! Ada asks who she is: Ada
//! (the server ends, another begins, and tickets grow old)
//! the server greets: Hello, Ada! It is your ticket number 2
//! ```

use emitwire::{
    Auth, BoxError, Client, Config, ConnectRequest, Data, EmitError, Endpoint, Namespace, Refusal,
    Server, Socket, testing::within,
};
use serde::{Deserialize, Serialize};
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::mpsc::unbounded_channel;

const URL: &str = "mem://auth"; // a wire inside of this process

/// What a client shows: any value of serde's.
#[derive(Serialize, Deserialize)]
struct Ticket {
    name: String,
    number: u64,
}

/// The first number that is not too old.
#[derive(Clone)]
struct Good(u64);

/// Who somebody is: kept with the socket, on this side only.
struct User(String);

/// Before there is a socket. Whatever `?` meets is a refusal without words: they stay here.
async fn let_in(request: ConnectRequest) -> Result<(), Refusal> {
    let ticket: Ticket = request.auth()?;
    if request.state::<Good>().is_none_or(|good| ticket.number < good.0) {
        return Err(Refusal::with(&format!("ticket {} is too old", ticket.number)));
    }
    request.set_data(User(ticket.name));
    Ok(())
}

/// The first thing that runs for a new socket.
async fn greet(socket: Socket, Auth(ticket): Auth<Ticket>) -> Result<(), EmitError> {
    let Ticket { name, number } = ticket;
    let hello = format!("Hello, {name}! It is your ticket number {number}");
    socket.emit("hello", &hello).await
}

async fn whoami(socket: Socket) -> Option<String> {
    Some(socket.data::<User>()?.0.clone())
}

/// A server to which no number below this one is good.
async fn serve(number: u64) -> Result<Server, BoxError> {
    let club = Namespace::new("/club").state(Good(number)).authorize(let_in);
    let club = club.on_connect(greet).on("whoami", whoami);
    let mut config = Config::default();
    config.drain_spread = Duration::from_millis(100); // clients come back spread over this
    let server = Server::with_config(config).mount(club)?;
    server.listen(Endpoint::new(URL)?).await?;
    Ok(server)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let server = serve(1).await?;
    let ticket = Ticket { name: "Mallory".into(), number: 0 };
    let client = Client::new(Endpoint::new(URL)?).mount(Namespace::new("/club")).auth(&ticket);
    let error = client.connect().await.expect_err("it is too old");
    let why: String = error.refusal().ok_or("it says why")?;
    println!("Mallory is refused: {why}");
    assert_eq!(why, "ticket 0 is too old");

    let (hears, mut heard) = unbounded_channel();
    let hello = move |Data(text): Data<String>| ready(hears.send(text).is_ok());
    let sold = Arc::new(AtomicU64::new(0));
    // A function is asked at each attempt to connect: for what is good for a while only.
    let buy = move || {
        let number = sold.fetch_add(1, Relaxed) + 1;
        async move { Ok::<_, BoxError>(Ticket { name: "Ada".into(), number }) }
    };
    let client = Client::new(Endpoint::new(URL)?).auth_with(buy);
    let session = client.mount(Namespace::new("/club").on("hello", hello)).connect().await?;
    let first = within(heard.recv()).await.ok_or("nobody greets")?;
    println!("the server greets: {first}");
    let name: Option<String> = session.of("/club")?.emit("whoami", &()).ack().await?;
    println!("Ada asks who she is: {}", name.as_deref().unwrap_or("nobody"));
    assert_eq!(name.as_deref(), Some("Ada"));

    server.run_until(ready(())).await;
    let _next = serve(2).await?;
    let second = within(heard.recv()).await.ok_or("she never came back")?;
    println!("the server greets: {second}");
    assert!(second.starts_with("Hello, Ada!") && second != first);
    session.close().await;
    Ok(())
}
