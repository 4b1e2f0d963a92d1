//! One application over any wire: the whole difference is one word.
//!
//! ```text
//! $ cargo run --all-features --example swap_transport
//! mem
//!   Bo hears: hello
//!   the server answers: 5 bytes
//!   the server refuses: say something, please
//! tcp
//! (and the same lines again, for each wire)
//! ```

use emitwire::{
    AckError, BoxError, Client, Data, Endpoint, Nak, Namespace, Refusal, Server, Session, Socket,
    schemes,
};
use std::future::ready;
use tokio::sync::mpsc;

async fn say(socket: Socket, Data(text): Data<String>) -> Result<usize, Refusal> {
    if text.is_empty() {
        return Err(Refusal::with("say something, please"));
    }
    socket.to("lobby").emit("said", &text).await?;
    Ok(text.len())
}

/// A member of the lobby, and what it hears there.
async fn member(door: Endpoint) -> Result<(Session, mpsc::UnboundedReceiver<String>), BoxError> {
    let (mouth, ear) = mpsc::unbounded_channel();
    let said = move |Data(text): Data<String>| ready(mouth.send(text).is_ok());
    let client = Client::new(door).mount(Namespace::new("/").on("said", said));
    let session = client.connect().await?;
    session.of("/")?.emit("enter", &()).ack::<()>().await?;
    Ok((session, ear))
}

/// Server and clients, rooms and answers. What happened is returned, line by line.
async fn application(scheme: &str) -> Result<Vec<String>, BoxError> {
    let enter = |socket: Socket| async move { socket.join("lobby").await };
    let server = Server::new().mount(Namespace::new("/").on("enter", enter).on("say", say))?;
    let local = Endpoint::local(scheme)?; // or Endpoint::new("tcp://0.0.0.0:7300")?
    let listening = server.listen(local.clone()).await?;
    let door = local.at(listening.endpoint())?;
    let (ada, _) = member(door.clone()).await?;
    let (bo, mut ear) = member(door).await?;

    let socket = ada.of("/")?;
    let length: usize = socket.emit("say", "hello").ack().await?;
    let heard = ear.recv().await.ok_or("Bo has gone deaf")?;
    let silence = socket.emit("say", "").ack::<usize>().await;
    let Err(AckError::Refused(Nak::Rejected(why))) = silence else {
        return Err("nobody refused to say nothing".into());
    };
    tokio::join!(ada.close(), bo.close());
    server.run_until(ready(())).await;
    Ok(vec![
        format!("Bo hears: {heard}"),
        format!("the server answers: {length} bytes"),
        format!("the server refuses: {}", why.decode::<String>()?),
    ])
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut first = None;
    // Encrypted ones are not for both ends without a certificate: the feature `self-signed`.
    for scheme in schemes().filter(|scheme| Endpoint::local(scheme).is_ok()) {
        let happened = application(scheme).await?;
        println!("{scheme}\n  {}", happened.join("\n  "));
        assert_eq!(&happened, first.get_or_insert(happened.clone()), "one wire is like the other");
    }
    Ok(())
}
