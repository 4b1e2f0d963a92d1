//! The server: who hears what.

use crate::guests::Guest;
use crate::{CHAT, Card, show};
use emitwire::{Args, BoxError, Data, EmitError, Endpoint, Namespace, Refusal, Server, Socket};

pub(crate) async fn serve(urls: &[&str]) -> Result<(), BoxError> {
    let chat = Namespace::new(CHAT)
        .on("enter", enter)
        .on("say", say)
        .on("tell", tell)
        .on("who", who)
        .on_disconnect(leave);
    let server = Server::new().mount(chat)?;
    for url in urls {
        let listening = server.listen(Endpoint::new(url)?).await?; // all wires share the rooms
        show(&format!("listening on {}", listening.endpoint()));
    }
    server.run_until(tokio::signal::ctrl_c()).await; // then everybody is told
    show("goodbye");
    Ok(())
}

/// Comes in, goes to another room, or is back after a loss. Answers who else is in the room.
async fn enter(socket: Socket, Data(card): Data<Card>) -> Result<Vec<String>, Refusal> {
    let Card { name, room, before } = card;
    let me = Guest { name: name.clone(), room: room.clone(), socket: socket.clone() };
    let news = match me.take_place(&before)? {
        Some(old) if old.socket.id() != socket.id() => {
            old.socket.disconnect(""); // its client has given it up
            Some(format!("{name} is back"))
        }
        Some(old) if old.name == name && old.room == room => None, // here it is already
        Some(old) => {
            socket.leave(&old.room).await?;
            notice(&socket, &old.room, &format!("{name} went to {room}")).await?;
            Some(format!("{name} came from {}", old.room))
        }
        None => Some(format!("{name} came")),
    };
    socket.join(&room).await?;
    if let Some(news) = news {
        notice(&socket, &room, &news).await?;
    }
    let others = Guest::all().into_iter().filter(|it| it.room == room && it.name != name);
    Ok(others.map(|it| it.name).collect())
}

/// To all in the room but the one of whom it is.
async fn notice(socket: &Socket, room: &str, news: &str) -> Result<(), EmitError> {
    show(&format!("{room}: {news}, by {}", socket.peer().scheme()));
    socket.to(room).emit("notice", news).await?;
    Ok(())
}

/// Answers how many will hear it.
async fn say(me: Guest, Data(text): Data<String>) -> Result<usize, EmitError> {
    let fanout = me.socket.to(&me.room).emit("said", &Args((me.name, text))).await?;
    Ok(fanout.accepted)
}

async fn tell(me: Guest, Args((name, text)): Args<(String, String)>) -> Result<(), Refusal> {
    let nobody = || Refusal::with(&format!("nobody here is called {name:.60}"));
    let friend = Guest::find(&name).ok_or_else(nobody)?;
    friend.socket.emit("told", &Args((me.name, text))).await?;
    Ok(())
}

/// Answers name, room and wire of everybody.
async fn who(_: Guest) -> Vec<(String, String, String)> {
    let line = |it: Guest| (it.name, it.room, it.socket.peer().scheme().to_owned());
    Guest::all().into_iter().map(line).collect()
}

/// Runs when a socket has ended, for whatever reason.
async fn leave(socket: Socket) -> Result<(), EmitError> {
    match Guest::leave(&socket) {
        Some(gone) => notice(&socket, &gone.room, &format!("{} left", gone.name)).await,
        None => Ok(()), // it never said who it was, or is back already
    }
}
