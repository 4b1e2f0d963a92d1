//! A wire of one's own in one file, with the public API alone: frames on Unix sockets. The
//! conformance kit tries to break it; then a server and a client use it like any other.
//!
//! `cargo run --example custom_transport --features conformance` ends with
//! `over unix:///tmp/emitwire-4711-38: Hello, Ada!`. It needs a Unix.

use emitwire::conformance::Conformance;
use emitwire::transport::{Connection, HandshakeError, Incoming, Listener, ReadHalf, WriteHalf};
use emitwire::{BindError, BoxError, Capabilities, Client, ConnectError, Data, Namespace, Peer};
use emitwire::{Server, Transport, async_trait, framed};
use std::io::{self, ErrorKind::AddrInUse};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::net::{UnixListener, UnixStream};

/// The path of its file. A wire owns its address: connecting again is reconnecting.
struct Unix(String);

#[async_trait]
impl Transport for Unix {
    fn endpoint(&self) -> String {
        format!("unix://{}", self.0)
    }
    async fn bind(&self) -> Result<Box<dyn Listener>, BindError> {
        let listener = UnixListener::bind(&self.0).map_err(|source| match source.kind() {
            AddrInUse => BindError::InUse { endpoint: self.endpoint() },
            _ => BindError::Io { endpoint: self.endpoint(), source },
        })?;
        Ok(Box::new(Bound(listener, self.0.clone())))
    }
    async fn connect(&self) -> Result<Box<dyn Connection>, ConnectError> {
        let stream = UnixStream::connect(&self.0).await;
        let unreachable = |source| ConnectError::Unreachable { endpoint: self.endpoint(), source };
        Ok(Box::new(Link(stream.map_err(unreachable)?, self.endpoint())))
    }
}

struct Bound(UnixListener, String);

#[async_trait]
impl Listener for Bound {
    fn endpoint(&self) -> String {
        format!("unix://{}", self.1)
    }
    async fn accept(&mut self) -> io::Result<Box<dyn Incoming>> {
        Ok(Box::new(Link(self.0.accept().await?.0, self.endpoint())))
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.1); // the address is free again
    }
}

struct Link(UnixStream, String);

#[async_trait]
impl Incoming for Link {
    async fn handshake(self: Box<Self>) -> Result<Box<dyn Connection>, HandshakeError> {
        Ok(self) // the system has done it; a wire such as TLS does it here, not in `accept`
    }
}

impl Connection for Link {
    fn peer(&self) -> Peer {
        Peer::new(self.1.as_str())
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities::stream(FRAME_BYTES_MAX).encrypted() // it stays on this machine
    }
    fn split(self: Box<Self>) -> (Box<dyn ReadHalf>, Box<dyn WriteHalf>) {
        let (read, write) = self.0.into_split();
        framed(read, write, FRAME_BYTES_MAX)
    }
}

const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A path that nobody else has.
fn fresh() -> Unix {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("emitwire-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
    Unix(std::env::temp_dir().join(name).display().to_string())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let at = |endpoint: &str| Unix(endpoint.trim_start_matches("unix://").to_owned());
    let suite = Conformance::new(fresh, at).connections(100).short_connections(1000);
    // Each check has a runtime of its own, so the suite blocks its thread.
    println!("{}", tokio::task::spawn_blocking(move || suite.run()).await??);

    let greet = |Data(name): Data<String>| async move { format!("Hello, {name}!") };
    let server = Server::new().mount(Namespace::new("/").on("greet", greet))?;
    let listening = server.listen(fresh()).await?;
    let client = Client::new(at(listening.endpoint())).mount(Namespace::new("/"));
    let answer: String = client.connect().await?.of("/")?.emit("greet", "Ada").ack().await?;
    println!("over {}: {answer}", listening.endpoint());
    listening.close().await; // which removes the socket's file
    Ok(())
}
