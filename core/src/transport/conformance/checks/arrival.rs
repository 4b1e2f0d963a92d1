//! How peers arrive, and what is left when somebody gives up in the middle of it.

use super::super::breach::Breach;
use super::super::check::{Done, Verdict};
use super::super::descriptors;
use super::super::echo::{Echo, ask, flattened};
use super::super::stage::{Stage, until};
use crate::transport::Incoming;
use std::pin::Pin;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Some clients begin to connect and do nothing more, one arrival is not shaken hands with; others
/// get through all the same.
pub(super) async fn silent(stage: Stage) -> Verdict {
    let mut listener = stage.listen().await?;
    let endpoint = listener.endpoint();
    stage.doing("beginning to connect and going silent");
    let mut silent = Vec::new();
    // Two that got equally far, because one of them is held.
    for polls in (1..=SILENT_POLLS_MAX).flat_map(|polls| [polls, polls]) {
        let transport = (stage.connect)(&endpoint);
        let mut connecting: Pin<Box<dyn Future<Output = _>>> =
            Box::pin(async move { transport.connect().await });
        // It is kept as far as it got, connected or not.
        let connected = stage.polled(polls, connecting.as_mut()).await;
        silent.push((connected, connecting));
    }
    let held = timeout(stage.still(), listener.accept()).await;
    stage.doing("connecting while others are silent in the handshake");
    let server = Echo::new(&stage, listener);
    for number in 0..SPEAKING_PEERS {
        let mut client = stage.connect(&server.endpoint).await?;
        ask(&stage, &mut client, number).await?;
    }
    drop((held, silent));
    Ok(Done::Kept)
}

pub(super) async fn accept(stage: Stage) -> Verdict {
    let mut listener = stage.listen().await?;
    let endpoint = listener.endpoint();
    let mut clients = JoinSet::new();
    for number in 0..ACCEPTED_PEERS {
        let (stage, endpoint) = (stage.clone(), endpoint.clone());
        clients.spawn(async move {
            let mut client = stage.connect(&endpoint).await?;
            ask(&stage, &mut client, number).await
        });
    }
    let mut servers = JoinSet::new();
    // Given up after one poll, after two: somewhere in there a peer is in its hands.
    for polls in (1..=POLLS_MAX).cycle() {
        if servers.len() == ACCEPTED_PEERS {
            break;
        }
        let missing = ACCEPTED_PEERS - servers.len();
        stage.doing(format!("accepting {missing} more of {ACCEPTED_PEERS} peers"));
        if let Some(arrived) = stage.polled(polls, listener.accept()).await {
            let incoming =
                arrived.map_err(|source| Breach::Accept { doing: stage.log.doing(), source })?;
            servers.spawn(give_back(stage.clone(), incoming));
        }
    }
    stage.doing("waiting for each peer to be answered");
    while let Some(ended) = clients.join_next().await {
        flattened(ended, &stage)?;
    }
    Ok(Done::Kept)
}

/// Gives frames back for as long as the peer is there, however it ends.
async fn give_back(stage: Stage, incoming: Box<dyn Incoming>) -> Result<(), Breach> {
    let mut end = stage.welcome(incoming).await?;
    let mut frames = Vec::new();
    while end.read_some(&mut frames).await? {
        end.write(frames.drain(..)).await?;
    }
    Ok(())
}

pub(super) async fn connect(stage: Stage) -> Verdict {
    let server = Echo::new(&stage, stage.listen().await?);
    let mut before = None;
    for polls in 0..=POLLS_MAX {
        stage.doing(format!("giving up a connect after {polls} polls"));
        let transport = (stage.connect)(&server.endpoint);
        if polls > 0 {
            drop(stage.polled(polls, transport.connect()).await);
        }
        stage.doing(format!("connecting after one gave up after {polls} polls"));
        let mut client = stage.connect(&server.endpoint).await?;
        ask(&stage, &mut client, polls).await?;
        client.close().await?;
        let is_reliable = client.capabilities.reliable;
        drop(client);
        if is_reliable {
            stage.doing(format!("being rid of who gave up after {polls} polls, at the server"));
            until(|| server.active() == 0).await;
            let before = *before.get_or_insert(descriptors::open());
            stage.doing(format!("closing the descriptors of who gave up after {polls} polls"));
            until(|| descriptors::open() <= before).await;
        }
    }
    Ok(Done::Kept)
}

pub(super) async fn handshake(stage: Stage) -> Verdict {
    let mut listener = stage.listen().await?;
    let endpoint = listener.endpoint();
    for polls in 0..=POLLS_MAX {
        stage.doing(format!("giving up a handshake after {polls} polls"));
        let client = {
            let (stage, endpoint) = (stage.clone(), endpoint.clone());
            tokio::spawn(async move {
                let Ok(mut client) = stage.connect(&endpoint).await else { return };
                // What it reads is nothing or an error: it is closed.
                if client.capabilities.reliable {
                    let _ = client.reader.read_to_end().await;
                }
            })
        };
        let incoming = stage.arrival(&mut listener).await?;
        if polls == 0 {
            drop(incoming);
        } else {
            drop(stage.polled(polls, incoming.handshake()).await);
        }
        stage.doing(format!("ending at the client, after a handshake of {polls} polls"));
        flattened(client.await.map(Ok), &stage)?;
    }
    stage.doing("connecting after others gave up");
    stage.meet(&mut listener).await?.greet(1).await?;
    Ok(Done::Kept)
}

pub(super) async fn bind(stage: Stage) -> Verdict {
    // A connection of the address that lives on keeps the system from giving it to others.
    let (_pair, mut listener) = stage.pair().await?;
    let endpoint = listener.endpoint();
    for polls in 1..=POLLS_MAX {
        drop(listener);
        stage.doing(format!("giving up a bind after {polls} polls"));
        let transport = (stage.bind_at)(&endpoint);
        drop(stage.polled(polls, transport.bind()).await);
        stage.doing(format!("binding after one gave up after {polls} polls"));
        listener = stage.listen_at(&endpoint).await?;
    }
    stage.meet(&mut listener).await?.greet(1).await?;
    Ok(Done::Kept)
}

const SILENT_POLLS_MAX: usize = 3;
const SPEAKING_PEERS: usize = 3;
const ACCEPTED_PEERS: usize = 20;

/// After how many polls something is given up at most.
const POLLS_MAX: usize = 6;
