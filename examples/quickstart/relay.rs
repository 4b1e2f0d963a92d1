//! A relay between a client and the server, on any wire: there so that its link can be cut.

use emitwire::transport::{Connection, ReadHalf, Transport, WriteHalf};
use emitwire::{BoxError, Endpoint};
use std::collections::VecDeque;
use std::future::poll_fn;
use tokio::sync::watch;

pub(crate) struct Relay {
    endpoint: Endpoint,
    /// Whether it carries anything.
    whole: watch::Sender<bool>,
}

impl Relay {
    /// Listens at a place, and connects whoever comes with `target`.
    pub(crate) async fn start(place: &Endpoint, target: Endpoint) -> Result<Self, BoxError> {
        let mut listener = place.bind().await?;
        let (whole, mut is_whole) = watch::channel(true);
        let endpoint = place.at(&listener.endpoint())?;
        tokio::spawn(async move {
            while let Ok(incoming) = listener.accept().await {
                let Ok(client) = incoming.handshake().await else { continue };
                if is_whole.wait_for(|whole| *whole).await.is_err() {
                    return; // the story is over
                }
                let Ok(server) = target.connect().await else { continue };
                let mut cut = is_whole.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = join(client, server) => {}
                        _ = cut.wait_for(|whole| !*whole) => {} // both connections are dropped here
                    }
                });
            }
        });
        Ok(Self { endpoint, whole })
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Cuts the links that there are, without a word to either end. Whoever comes has to wait.
    pub(crate) fn cut(&self) {
        self.whole.send_replace(false);
    }

    pub(crate) fn mend(&self) {
        self.whole.send_replace(true);
    }
}

/// Carries frames both ways until one of them ends.
async fn join(client: Box<dyn Connection>, server: Box<dyn Connection>) {
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::join!(carry(from_client, to_server), carry(from_server, to_client));
}

/// Carries frames one way until that ends.
async fn carry(mut from: Box<dyn ReadHalf>, mut to: Box<dyn WriteHalf>) {
    let mut frames = Vec::new();
    while let Ok(1..) = poll_fn(|cx| from.poll_read(cx, &mut frames)).await {
        let mut batch: VecDeque<_> = frames.drain(..).collect();
        if poll_fn(|cx| to.poll_write(cx, &mut batch)).await.is_err() {
            return;
        }
    }
    // The other end may be gone already.
    let _ = poll_fn(|cx| to.poll_close(cx)).await;
}
