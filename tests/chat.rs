//! Rooms, acks and hooks between a server and clients, over every wire at once.

use emitwire::{Client, Data, EmitError, Endpoint, Namespace, Server, Socket};
use std::time::Duration;
use tokio::sync::mpsc;

async fn say(socket: Socket, Data(text): Data<String>) -> Result<usize, EmitError> {
    socket.to("lobby").emit("said", &text).await?;
    Ok(text.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_says_the_others_in_the_room_hear_whatever_their_wire() {
    let chat = Namespace::new("/chat")
        .on_connect(|socket: Socket| async move { socket.join("lobby").await })
        .on("say", say);
    let server = Server::new().mount(chat).unwrap();
    let tcp = server.listen(Endpoint::new("tcp://127.0.0.1:0").unwrap()).await.unwrap();
    let ws = server.listen(Endpoint::new("ws://127.0.0.1:0").unwrap()).await.unwrap();
    let mem = server.listen(Endpoint::new("mem://chat-test").unwrap()).await.unwrap();
    let mut sessions = Vec::new();
    let mut ears = Vec::new();
    for endpoint in [tcp.endpoint(), ws.endpoint(), mem.endpoint()] {
        let (mouth, ear) = mpsc::unbounded_channel();
        let namespace = Namespace::new("/chat").on("said", move |Data(text): Data<String>| {
            mouth.send(text).unwrap();
            async {}
        });
        let client = Client::new(Endpoint::new(endpoint).unwrap()).mount(namespace);
        sessions.push(client.connect().await.unwrap());
        ears.push(ear);
    }
    // Both are in the lobby once the server has run their hooks.
    for session in &sessions {
        let socket = session.of("/chat").unwrap();
        let _: usize = socket.emit("say", "warm").ack().await.unwrap();
    }
    let socket = sessions[0].of("/chat").unwrap();
    let length: usize = socket.emit("say", "hello").ack().await.unwrap();
    assert_eq!(length, 5);
    let heard = tokio::time::timeout(Duration::from_secs(5), async {
        for ear in &mut ears[1..] {
            while ear.recv().await.unwrap() != "hello" {}
        }
    });
    heard.await.unwrap();
    server.run_until(async {}).await;
    assert_eq!(server.stats().sessions, 0);
}
