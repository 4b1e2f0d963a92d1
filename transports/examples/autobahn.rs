//! An echo for the Autobahn test suite, at either end: it says each frame again, and closes as its
//! peer does. CONTRIBUTING.md has the commands.
//!
//! ```text
//! autobahn server 127.0.0.1:9001    for its fuzzing client
//! autobahn client 127.0.0.1:9002    for its fuzzing server
//! ```

use emitwire_core::transport::{Connection, ReadHalf, Transport};
use emitwire_transports::Ws;
use std::collections::VecDeque;
use std::future::poll_fn;

type Done = Result<(), Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Done {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["server", address] => serve(address).await,
        ["client", address] => run_cases(address).await,
        _ => Err("autobahn server|client HOST:PORT".into()),
    }
}

async fn serve(address: &str) -> Done {
    let mut listener = Ws::new(address).bind().await?;
    println!("{}", listener.endpoint());
    loop {
        let incoming = listener.accept().await?;
        tokio::spawn(async move {
            match incoming.handshake().await {
                Ok(connection) => echo(connection).await,
                Err(error) => eprintln!("{error}"),
            }
        });
    }
}

async fn run_cases(address: &str) -> Done {
    let (mut reader, _writer) = Ws::new(format!("{address}/getCaseCount")).connect().await?.split();
    let mut frames = Vec::new();
    while frames.is_empty() {
        poll_fn(|cx| reader.poll_read(cx, &mut frames)).await?;
    }
    let count: u32 = std::str::from_utf8(&frames[0].body)?.parse()?;
    for case in 1..=count {
        let target = format!("{address}/runCase?case={case}&agent=emitwire-client");
        echo(Ws::new(target).connect().await?).await;
    }
    echo(Ws::new(format!("{address}/updateReports?agent=emitwire-client")).connect().await?).await;
    println!("{count} cases");
    Ok(())
}

/// As a session ends: the writing direction in order, then reading until the peer has ended too.
async fn echo(connection: Box<dyn Connection>) {
    let (mut reader, mut writer) = connection.split();
    let mut frames = Vec::new();
    loop {
        let read = poll_fn(|cx| reader.poll_read(cx, &mut frames)).await;
        let mut batch: VecDeque<_> = frames.drain(..).collect();
        let written = poll_fn(|cx| writer.poll_write(cx, &mut batch)).await;
        if !matches!((read, written), (Ok(1..), Ok(()))) {
            break;
        }
    }
    let _ = poll_fn(|cx| writer.poll_close(cx)).await;
    linger(&mut *reader).await;
}

async fn linger(reader: &mut dyn ReadHalf) {
    let mut frames = Vec::new();
    while let Ok(1..) = poll_fn(|cx| reader.poll_read(cx, &mut frames)).await {
        frames.clear();
    }
}
