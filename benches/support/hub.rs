//! The server under test: one namespace, one room, a handler that tells the room, and one that
//! answers.

use crate::process::announce;
use bytes::Bytes;
use emitwire::{Config, Data, EmitError, Endpoint, Event, Namespace, Server, Socket};
use std::future::pending;
use std::io;
use tokio::runtime::Builder;

/// Everyone is in it.
const ROOM: &str = "hub";

/// Serves on one thread, so that what the process spends is what the work costs.
pub(crate) fn serve(endpoint: Endpoint, config: Config) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let hub = Namespace::new("/")
            .on_connect(|socket: Socket| async move { socket.join(ROOM).await })
            .on("go", relay)
            .on("echo", |Data(bytes): Data<Bytes>| async move { bytes });
        let server = Server::with_config(config).mount(hub).map_err(io::Error::other)?;
        let listening = server.listen(endpoint).await.map_err(io::Error::other)?;
        let address = listening.endpoint().split_once("://").map_or("", |(_, address)| address);
        announce(address);
        pending().await
    })
}

/// What one says, the others in the room hear.
async fn relay(socket: Socket, event: Event) -> Result<(), EmitError> {
    socket.to(ROOM).emit("tick", &event.payload).await?;
    Ok(())
}
