//! Our end of a WebSocket.

use super::within;
use emitwire_core::transport::{Listener, Transport};
use emitwire_transports::Ws;

pub(super) use super::support::{End, accept};

impl End {
    /// As a session ends: in order, and then reading until the peer has ended too.
    pub(super) async fn hang_up(mut self) {
        self.close().await;
        while let Ok(1..) = self.read(&mut Vec::new()).await {}
    }
}

/// Where a listener is, without its scheme.
pub(super) fn address(listener: &dyn Listener) -> String {
    listener.endpoint().strip_prefix("ws://").unwrap().to_owned()
}

pub(super) async fn bind() -> Box<dyn Listener> {
    Ws::new("127.0.0.1:0").bind().await.unwrap()
}

/// A client and a server that have met.
pub(super) async fn meet(client: &Ws, listener: &mut dyn Listener) -> (End, End) {
    let (client, server) = tokio::join!(within(client.connect()), accept(listener));
    (End::new(client.unwrap()), server)
}

pub(super) async fn ends() -> (End, End) {
    let mut listener = bind().await;
    meet(&Ws::new(address(&*listener)), &mut *listener).await
}
