//! A client that outlives its server: it listens, emits, and is back when the server is.
//!
//! ```text
//! $ cargo run --example client -- tcp://127.0.0.1:7300    (README's server; until Ctrl-C)
//! $ cargo run --example client                            (a server of its own, for a moment)
//! heard: welcome
//! hello: the server took 5 bytes
//! lost: the server is draining
//! hello: not sent, the socket is closed: the server is draining
//! heard: welcome
//! hello: the server took 5 bytes
//! lost: closed by this side
//! ```

use emitwire::{
    AckError, BoxError, Client, Config, Data, DisconnectReason, Endpoint, Namespace, Server, Socket,
};
use std::{env, error::Error, future::ready, iter::successors, process::ExitCode, time::Duration};
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run(env::args().nth(1)).await else { return ExitCode::SUCCESS };
    // An error speaks of its own level only; what is below it is its source.
    let causes = successors(Some(&*error as &dyn Error), |&error| error.source());
    eprintln!("client: {}", causes.map(ToString::to_string).collect::<Vec<_>>().join(": "));
    ExitCode::FAILURE
}

async fn run(url: Option<String>) -> Result<(), BoxError> {
    let (url, mut own) = match url {
        Some(url) => (url, None),
        None => serve("tcp://127.0.0.1:0").await.map(|(url, server)| (url, Some(server)))?,
    };
    let (begins, mut begun) = mpsc::unbounded_channel();
    let chat = Namespace::new("/chat")
        .on("said", |Data(text): Data<String>| async move { println!("heard: {text}") })
        .on_connect(move |socket: Socket| ready(begins.send(socket).is_ok()))
        .on_disconnect(|reason: DisconnectReason| async move { println!("lost: {reason}") });
    let session = Client::new(Endpoint::new(&url)?).mount(chat).connect().await?;
    // Each connection begins with a socket of its own: here is said what each has to begin with.
    while let Some(socket) = begun.recv().await {
        let answered = say_hello(&socket).await;
        let Some(server) = own.take() else { continue };
        assert!(answered);
        server.run_until(ready(())).await; // it tells its clients, finishes, and is gone
        assert!(!say_hello(&socket).await);
        let _back = serve(&url).await?;
        assert!(say_hello(&begun.recv().await.ok_or("it never came back")?).await);
        break;
    }
    session.close().await;
    Ok(())
}

async fn say_hello(socket: &Socket) -> bool {
    let answer = socket.emit("say", "hello").ack::<usize>().await;
    match &answer {
        Ok(bytes) => println!("hello: the server took {bytes} bytes"),
        Err(AckError::Emit(error)) => println!("hello: not sent, {error}"),
        Err(AckError::Refused(nak)) => println!("hello: refused, {nak}"),
        // A deadline, or the end of the session: it may have been handled all the same.
        Err(error) => println!("hello: nobody knows, {error}"),
    }
    answer.is_ok()
}

async fn serve(url: &str) -> Result<(String, Server), BoxError> {
    let chat = Namespace::new("/chat")
        .on_connect(|socket: Socket| async move { socket.emit("said", "welcome").await })
        .on("say", |Data(text): Data<String>| ready(text.len()));
    let mut config = Config::default();
    config.drain_spread = Duration::from_millis(200); // its clients come back spread over this
    let server = Server::with_config(config).mount(chat)?;
    let listening = server.listen(Endpoint::new(url)?).await?;
    Ok((listening.endpoint().to_owned(), server))
}
