//! The server's process: it says where it listens, and drains when it is told to.

use crate::child::obey;
use crate::say;
use emitwire::{BoxError, Config, Endpoint, Namespace, Server, Socket};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// What its parent tells it.
pub(crate) const DRAIN: &str = "drain";

/// Serves at `url` until it is told to drain.
pub(crate) async fn serve(url: &str, spread: Duration) -> Result<(), BoxError> {
    let namespace = Namespace::new("/")
        .on_connect(|socket: Socket| async move { socket.join("everybody").await });
    let mut config = Config::default();
    config.drain_spread = spread;
    let server = Server::with_config(config).mount(namespace)?;
    let told = Arc::new(Notify::new());
    let hear = Arc::clone(&told);
    obey(move |line| {
        if line == DRAIN {
            hear.notify_one();
        }
    });
    let listening = server.listen(Endpoint::new(url)?).await?;
    say(listening.endpoint());
    server.run_until(told.notified()).await;
    Ok(())
}
