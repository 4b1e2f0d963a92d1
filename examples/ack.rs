//! Answers: what a handler returns, each way in which it says no, and deadlines.
//!
//! ```text
//! $ cargo run --example ack
//! half 84: 42
//! half 7: 7 is odd
//! (and so on: a line for each kind of answer, and on stderr the panic of a handler)
//! ```

use emitwire::{
    AckError, BoxError, Client, Config, Data, Endpoint, Nak, Namespace, Refusal, Server, Socket,
    Unhandled,
};
use std::time::Duration;
use tokio::time::{sleep, timeout};

const MOMENT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(60);

/// `Refusal::with` is for the peer. Of any other error it learns only that there was one.
async fn half(Data(number): Data<u8>) -> Result<u8, Refusal> {
    let odd = || Refusal::with(&format!("{number} is odd"));
    if number % 2 == 0 { Ok(number / 2) } else { Err(odd()) }
}

/// Emits, and puts into words whatever comes back.
async fn ask(socket: &Socket, event: &str, number: u16) -> String {
    match socket.emit(event, &number).ack::<u8>().await {
        Ok(answer) => answer.to_string(),
        Err(AckError::Refused(Nak::Rejected(why))) => why.decode().unwrap_or_default(),
        Err(error) => error.to_string(), // another nak, a deadline, the end of the session
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}"))); // without a backtrace
    let root = Namespace::new("/")
        .on("half", half)
        .on("secret", || async { std::fs::read_to_string("/no/such/secret") })
        .on("broken", || async { "many".parse::<u8>().expect("a number") }) // it is caught
        .on("crowded", || async { Err::<(), _>(Refusal::busy(MOMENT)) })
        .on("hasty", || async { timeout(MOMENT, sleep(LONG)).await.map_err(|_| Nak::Timeout) })
        .on("huge", || async { "x".repeat(100_000) })
        .on("slow", || sleep(20 * MOMENT))
        .on("leave", |socket: Socket| {
            socket.disconnect("");
            sleep(LONG) // it is cancelled: handlers of a socket that has ended have little time
        })
        .unhandled(Unhandled::Nak); // at once, instead of waiting for a listener
    let mut config = Config::default();
    (config.event_bytes_max, config.disconnect_grace) = (10_000, MOMENT);
    let server = Server::with_config(config).mount(root)?;
    server.listen(Endpoint::new("mem://ack")?).await?; // a wire inside of this process
    let client = Client::new(Endpoint::new("mem://ack")?).mount(Namespace::new("/"));
    let session = client.connect().await?;
    let socket = session.of("/")?;
    for (event, number, expected) in [
        ("half", 84, "42"),
        ("half", 7, "7 is odd"),
        ("half", 700, "the peer refused: the payload is not what the handler takes"),
        ("secret", 7, "the peer refused: the handler failed"),
        ("broken", 7, "the peer refused: the handler failed"),
        ("crowded", 7, "the peer refused: busy, try again in 50ms"),
        ("hasty", 7, "the peer refused: the handler did not finish in time"),
        ("huge", 7, "the peer refused: the event or its answer is too large"),
        ("juggle", 7, "the peer refused: nobody handles this event"),
    ] {
        let answer = ask(&socket, event, number).await;
        println!("{event} {number}: {answer}");
        assert_eq!(answer, expected);
    }
    let late = socket.emit("slow", &()).ack::<()>().timeout(MOMENT).await;
    println!("slow, with a deadline: {}", late.expect_err("it takes much longer"));
    // The first is cancelled when its time is up; the one behind it never begins.
    let (first, behind) = tokio::join!(ask(&socket, "leave", 7), ask(&socket, "half", 84));
    println!("leave: {first}; half behind it: {behind}");
    assert!(first.ends_with("the handler failed") && behind.ends_with("the socket is closed"));
    Ok(())
}
