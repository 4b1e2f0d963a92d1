//! How long a handshake may take, whoever of the two takes it.

use super::target;
use async_trait::async_trait;
use emitwire::transport::{Connection, HandshakeError, Incoming, Listener};
use emitwire::{BindError, Config, ConnectError, Memory, Server, Transport};
use std::future::poll_fn;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// A wire whose own handshake takes so long.
struct Slow(Memory, Duration);

#[async_trait]
impl Transport for Slow {
    fn endpoint(&self) -> String {
        self.0.endpoint()
    }

    async fn bind(&self) -> Result<Box<dyn Listener>, BindError> {
        Ok(Box::new(SlowDoor(self.0.bind().await?, self.1)))
    }

    async fn connect(&self) -> Result<Box<dyn Connection>, ConnectError> {
        self.0.connect().await
    }
}

struct SlowDoor(Box<dyn Listener>, Duration);

#[async_trait]
impl Listener for SlowDoor {
    fn endpoint(&self) -> String {
        self.0.endpoint()
    }

    async fn accept(&mut self) -> std::io::Result<Box<dyn Incoming>> {
        Ok(Box::new(SlowArrival(self.0.accept().await?, self.1)))
    }
}

struct SlowArrival(Box<dyn Incoming>, Duration);

#[async_trait]
impl Incoming for SlowArrival {
    async fn handshake(self: Box<Self>) -> Result<Box<dyn Connection>, HandshakeError> {
        tokio::time::sleep(self.1).await;
        self.0.handshake().await
    }
}

#[tokio::test(start_paused = true)]
async fn the_wires_handshake_and_the_sessions_have_one_deadline() {
    let config = Config::default();
    let deadline = config.handshake_timeout;
    let server = Server::with_config(config).mount(target()).unwrap();
    let wire = Slow(Memory::new("slow handshake"), deadline * 4 / 5);
    server.listen(Slow(wire.0.clone(), wire.1)).await.unwrap();
    let began = Instant::now();
    // It arrives, and never says hello.
    let (mut read, _write) = wire.connect().await.unwrap().split();
    let mut frames = Vec::new();
    let told = poll_fn(|cx| read.poll_read(cx, &mut frames));
    timeout(deadline * 6, told).await.expect("in time").unwrap();
    assert!(began.elapsed() < deadline * 6 / 5, "{:?}", began.elapsed());
}
