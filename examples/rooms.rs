//! Rooms: joining and leaving, who is where, and who hears what is said to whom.
//!
//! ```text
//! $ cargo run --example rooms
//! Ada joins ["red"]
//! (and so on: Bo, Cy and Dee)
//! 2 are in red
//! Ada emits to red, heard by Bo
//! Ada emits within red, heard by Ada, Bo
//! (and so on: two rooms, one but not the other, everyone)
//! ```

use emitwire::{BoxError, Client, Data, EmitError, Endpoint, Namespace, RoomError, Server, Socket};
use std::future::ready;
use tokio::sync::mpsc;

/// Rooms live on servers, so handlers of the server join them, leave them and choose who hears.
async fn join(socket: Socket, Data(rooms): Data<Vec<String>>) -> Result<usize, RoomError> {
    socket.join(rooms).await?; // a room comes to be with its first member
    Ok(socket.rooms()?.len())
}

async fn leave(socket: Socket, Data(room): Data<String>) -> Result<(), RoomError> {
    socket.leave(room).await // and ceases with its last
}

/// Answers how many will hear it. A broadcast waits for none of them.
async fn say(socket: Socket, Data(whom): Data<String>) -> Result<usize, EmitError> {
    let chosen = match &*whom {
        "to red" => socket.to("red"),                    // those in it, but me
        "within red" => socket.within("red"),            // those in it
        "to red and blue" => socket.to(["red", "blue"]), // rooms add up: Bo hears it once
        "within red except blue" => socket.within("red").except("blue"),
        "except blue" => socket.except("blue"), // everyone, but me and those in it
        _ => socket.broadcast(),                // everyone, but me
    };
    Ok(chosen.emit("said", &whom).await?.accepted)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let root = Namespace::new("/").on("join", join).on("leave", leave).on("say", say);
    let server = Server::new().mount(root)?;
    server.listen(Endpoint::new("mem://rooms")?).await?; // a wire inside of this process

    let (hears, mut heard) = mpsc::unbounded_channel();
    let mut sessions = Vec::new(); // who drops a session says goodbye
    let cast = [("Ada", &["red"][..]), ("Bo", &["red", "blue"]), ("Cy", &["blue"]), ("Dee", &[])];
    for (name, rooms) in cast {
        let hears = hears.clone();
        let root = Namespace::new("/").on("said", move || ready(hears.send(name).is_ok()));
        let session = Client::new(Endpoint::new("mem://rooms")?).mount(root).connect().await?;
        let count: usize = session.of("/")?.emit("join", rooms).ack().await?;
        println!("{name} joins {rooms:?}");
        assert_eq!(count, rooms.len());
        sessions.push(session);
    }
    println!("{} are in red", server.of("/").to("red").sockets().await?.len());
    for (whom, expected) in [
        ("to red", "Bo"),
        ("within red", "Ada, Bo"),
        ("to red and blue", "Bo, Cy"),
        ("within red except blue", "Ada"),
        ("except blue", "Dee"),
        ("to everyone", "Bo, Cy, Dee"),
    ] {
        let mut names = Vec::new();
        for _ in 0..sessions[0].of("/")?.emit("say", whom).ack::<usize>().await? {
            names.extend(heard.recv().await);
        }
        names.sort_unstable(); // they hear it side by side
        println!("Ada emits {whom}, heard by {}", names.join(", "));
        assert_eq!(names.join(", "), expected);
    }
    sessions[1].of("/")?.emit("leave", "red").ack::<()>().await?;
    let count: usize = sessions[0].of("/")?.emit("say", "to red").ack().await?;
    println!("Bo leaves red; Ada emits to red, heard by {count}");
    assert_eq!(count, 0);
    Ok(())
}
