//! The smallest server and the smallest client: one event, one answer.
//!
//! ```text
//! $ cargo run --example hello
//! the server listens on tcp://127.0.0.1:40815
//! the server answers: Hello, Ada!
//! ```

use emitwire::{BoxError, Client, Data, Endpoint, Namespace, Server};

/// What a handler asks for is taken out of the event, and what it returns is the answer.
async fn greet(Data(name): Data<String>) -> String {
    format!("Hello, {name}!")
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let server = Server::new().mount(Namespace::new("/").on("greet", greet))?;
    let listening = server.listen(Endpoint::new("tcp://127.0.0.1:0")?).await?; // any free port
    println!("the server listens on {}", listening.endpoint());

    // Usually another process: all that it has to know are the URL and the names.
    let client = Client::new(Endpoint::new(listening.endpoint())?).mount(Namespace::new("/"));
    let session = client.connect().await?;
    let answer: String = session.of("/")?.emit("greet", "Ada").ack().await?;
    println!("the server answers: {answer}");
    assert_eq!(answer, "Hello, Ada!");

    session.close().await;
    Ok(())
}
