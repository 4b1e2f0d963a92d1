//! One pattern, many namespaces: each organisation has its own, with rooms of its own.
//!
//! ```text
//! $ cargo run --example dynamic_namespace
//! Ada enters the lobby of organisation 1: 1 in it
//! (and so on: Bo behind her, Cy in organisation 2)
//! the server has /org-1, /org-2
//! /org-x is refused: an organisation has a number
//! /org-1: heard by Ada, Bo
//! (and so on: one lobby, the lobbies of all, all)
//! ```

use emitwire::{
    BoxError, Broadcast, Client, ConnectRequest, Endpoint, Namespace, Path, Refusal, RoomError,
    Server, Session, Socket, testing::within,
};
use std::future::ready;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

const URL: &str = "mem://dynamic_namespace"; // a wire inside of this process

/// Asked before there is a namespace of that path. Names are text until somebody asks for a type.
async fn let_in(request: ConnectRequest) -> Result<(), Refusal> {
    match request.path::<u32>() {
        Ok(_) => Ok(()),
        Err(_) => Err(Refusal::with("an organisation has a number")),
    }
}

/// `lobby` is the one of this organisation: other namespaces may have rooms of the same name.
async fn enter(socket: Socket, Path(id): Path<u32>) -> Result<(u32, usize), RoomError> {
    socket.join("lobby").await?;
    Ok((id, socket.within("lobby").sockets().await?.len()))
}

/// To a client it is a namespace like any other.
async fn member(
    name: &'static str,
    path: &str,
    hears: &UnboundedSender<&'static str>,
) -> Result<Session, BoxError> {
    let hears = hears.clone();
    let organisation = Namespace::new(path).on("news", move || ready(hears.send(name).is_ok()));
    let session = Client::new(Endpoint::new(URL)?).mount(organisation).connect().await?;
    let (id, count): (u32, usize) = session.of(path)?.emit("enter", &()).ack().await?;
    println!("{name} enters the lobby of organisation {id}: {count} in it");
    assert_eq!(path, format!("/org-{id}"));
    Ok(session)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let organisations = Namespace::new("/org-{id}").authorize(let_in).on("enter", enter);
    let server = Server::new().mount(organisations)?;
    server.listen(Endpoint::new(URL)?).await?;
    assert!(server.namespaces().is_empty()); // each begins with its first socket

    let (hears, mut heard) = unbounded_channel();
    let _ada = member("Ada", "/org-1", &hears).await?;
    let _bo = member("Bo", "/org-1", &hears).await?;
    let _cy = member("Cy", "/org-2", &hears).await?;
    println!("the server has {}", server.namespaces().join(", "));
    assert_eq!(server.namespaces(), ["/org-1", "/org-2"]);
    let wrong = Client::new(Endpoint::new(URL)?).mount(Namespace::new("/org-x"));
    let error = wrong.connect().await.expect_err("it is no number");
    let why: String = error.refusal().ok_or("it says why")?;
    println!("/org-x is refused: {why}");
    assert_eq!(why, "an organisation has a number");

    let all = server.of("/org-{id}"); // the pattern: all that it stands for at this moment
    let selections: [(&str, Broadcast, &str); 4] = [
        ("/org-1", server.of("/org-1"), "Ada, Bo"),
        ("the lobby of /org-2", server.of("/org-2").to("lobby"), "Cy"),
        ("the lobbies of all", all.clone().to("lobby"), "Ada, Bo, Cy"),
        ("all", all, "Ada, Bo, Cy"),
    ];
    for (whom, selection, expected) in selections {
        let mut names = Vec::new();
        for _ in 0..selection.emit("news", &()).await?.accepted {
            names.extend(within(heard.recv()).await);
        }
        names.sort_unstable(); // they hear it side by side
        println!("{whom}: heard by {}", names.join(", "));
        assert_eq!(names.join(", "), expected);
    }
    Ok(())
}
