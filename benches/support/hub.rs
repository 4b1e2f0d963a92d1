//! The server under test: one namespace, one room, and a handler that tells the room.

use crate::process::announce;
use emitwire::{Config, EmitError, Endpoint, Event, Namespace, Server, Socket};
use std::future::pending;
use std::io;
use tokio::runtime::Builder;

/// Everyone is in it.
const ROOM: &str = "hub";

/// Serves on one thread, so that what the process spends is what the work costs.
pub(crate) fn serve(config: Config) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let hub = Namespace::new("/")
            .on_connect(|socket: Socket| async move { socket.join(ROOM).await })
            .on("go", relay);
        let server = Server::with_config(config).mount(hub).map_err(io::Error::other)?;
        let endpoint = Endpoint::new("tcp://127.0.0.1:0").map_err(io::Error::other)?;
        let listening = server.listen(endpoint).await.map_err(io::Error::other)?;
        announce(listening.endpoint().trim_start_matches("tcp://"));
        pending().await
    })
}

/// What one says, the others in the room hear.
async fn relay(socket: Socket, event: Event) -> Result<(), EmitError> {
    socket.to(ROOM).emit("tick", &event.payload).await?;
    Ok(())
}
