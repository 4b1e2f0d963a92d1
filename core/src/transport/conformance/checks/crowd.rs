//! Many connections: at the same time, and one after the other.

use super::super::breach::Breach;
use super::super::check::{Done, Verdict};
use super::super::descriptors;
use super::super::echo::{Echo, ask, flattened};
use super::super::end::End;
use super::super::stage::{Gauge, Stage, until};
use crate::transport::Capabilities;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub(super) async fn at_once(stage: Stage) -> Verdict {
    let server = Echo::new(&stage, stage.listen().await?);
    let count = affordable(&stage, &server).await?;
    stage.doing(format!("opening {count} connections, and keeping them"));
    let opened = in_crowd(&stage, &server, count, |stage, endpoint, number| async move {
        let mut client = stage.connect(&endpoint).await?;
        ask(&stage, &mut client, number).await?;
        Ok(client)
    });
    let mut clients: Vec<End> = opened.await?;
    server.breach()?;
    let kept = server.active();
    if kept < count {
        return Err(Breach::broken(format!("{count} peers at the server"), format!("{kept}")));
    }
    stage.doing(format!("asking on each of {count} open connections, and closing it"));
    let is_reliable = clients.iter().all(|client| client.capabilities.reliable);
    let mut workers = JoinSet::new();
    while !clients.is_empty() {
        let some = clients.split_off(clients.len().saturating_sub(count.div_ceil(AT_ONCE)));
        workers.spawn(ask_and_close(stage.clone(), some));
    }
    while let Some(ended) = workers.join_next().await {
        flattened(ended, &stage)?;
    }
    if is_reliable {
        until(|| server.active() == 0).await;
    }
    server.stop().await?;
    Ok(Done::Kept)
}

async fn ask_and_close(stage: Stage, clients: Vec<End>) -> Result<(), Breach> {
    for (number, mut client) in clients.into_iter().enumerate() {
        ask(&stage, &mut client, number).await?;
        leave(&mut client).await?;
    }
    Ok(())
}

/// Ends a connection in order, as far as the wire knows of order.
async fn leave(client: &mut End) -> Result<(), Breach> {
    client.close().await?;
    let Capabilities { reliable, half_close, .. } = client.capabilities;
    if reliable {
        if half_close {
            client.reader.read_to_good_end().await?;
        } else {
            // Our close may have taken the other direction along.
            let _ = client.reader.read_to_end().await;
        }
    }
    Ok(())
}

/// As many connections as asked for, or as the process may have descriptors for.
async fn affordable(stage: &Stage, server: &Echo) -> Result<usize, Breach> {
    let asked = stage.options.connections;
    let before = descriptors::open();
    let mut client = stage.connect(&server.endpoint).await?;
    ask(stage, &mut client, 0).await?;
    let after = descriptors::open();
    leave(&mut client).await?;
    let (Some(before), Some(after), Some(max)) = (before, after, descriptors::max()) else {
        return Ok(asked);
    };
    let each = after.saturating_sub(before);
    let free = max.saturating_sub(after + SPARE_DESCRIPTORS);
    let count = free.checked_div(each).map_or(asked, |fits| fits.min(asked));
    if count < asked {
        stage.note(format!("{count} connections instead of {asked}: {max} descriptors"));
    }
    Ok(count)
}

pub(super) async fn short(stage: Stage) -> Verdict {
    let count = stage.options.short_connections;
    stage.doing("opening and closing the first connections, after which buffers are there");
    come_and_go(&stage, WARMING_CONNECTIONS.min(count)).await?;
    let counts: [(&str, Gauge, usize); 3] = [
        ("open descriptors", open_descriptors(&stage), 0),
        ("tasks", tasks(), 0),
        ("bytes on the heap", live_bytes(&stage), LEFT_BYTES_MAX),
    ];
    let befores = counts.each_ref().map(|(_, now, _)| now());
    stage.doing(format!("opening and closing {count} connections"));
    come_and_go(&stage, count).await?;
    for ((what, now, more), before) in counts.iter().zip(befores) {
        // One in a hundred where anything may be left, or as much as is given.
        let max = if *more == 0 { before } else { before + (before / 100).max(*more) };
        if timeout(SETTLING, until(|| now() <= max)).await.is_err() {
            let expected = format!("{before} {what} after {count} connections, as before");
            return Err(Breach::broken(expected, now().to_string()));
        }
    }
    Ok(Done::Kept)
}

fn open_descriptors(stage: &Stage) -> Gauge {
    if descriptors::open().is_none() {
        stage.note("descriptors are not counted on this system");
    }
    Arc::new(|| descriptors::open().unwrap_or_default())
}

/// The tasks of this check's runtime.
fn tasks() -> Gauge {
    let metrics = Handle::current().metrics();
    Arc::new(move || metrics.num_alive_tasks())
}

/// The suite's gauge, or one that never moves.
fn live_bytes(stage: &Stage) -> Gauge {
    stage.options.live_bytes.clone().unwrap_or_else(|| {
        stage.note("the heap is not counted: the suite was given no gauge, `live_bytes`");
        Arc::new(|| 0)
    })
}

/// A listener of its own, and so many connections to it: a frame each way, and a close in order.
async fn come_and_go(stage: &Stage, count: usize) -> Result<(), Breach> {
    let server = Echo::new(stage, stage.listen().await?);
    let gone = in_crowd(stage, &server, count, |stage, endpoint, number| async move {
        let mut client = stage.connect(&endpoint).await?;
        ask(&stage, &mut client, number).await?;
        leave(&mut client).await?;
        Ok(client.capabilities.reliable)
    });
    let all_reliable = gone.await?.into_iter().all(|reliable| reliable);
    if all_reliable {
        stage.doing("waiting for the server's ends to end");
        until(|| server.active() == 0).await;
    }
    server.stop().await
}

/// Does something `count` times, some of them at once.
async fn in_crowd<T, F>(
    stage: &Stage,
    server: &Echo,
    count: usize,
    one: impl Fn(Stage, String, usize) -> F + Clone + Send + 'static,
) -> Result<Vec<T>, Breach>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Breach>> + Send,
{
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (stage, endpoint) = (stage.clone(), server.endpoint.clone());
        let (next, one) = (Arc::clone(&next), one.clone());
        workers.spawn(async move {
            let mut done = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok::<_, Breach>(done);
                }
                done.push(one(stage.clone(), endpoint.clone(), number).await?);
            }
        });
    }
    let mut all = Vec::with_capacity(count);
    while let Some(ended) = workers.join_next().await {
        all.extend(flattened(ended, stage)?);
    }
    Ok(all)
}

/// How many connections are opened at the same time.
const AT_ONCE: usize = 50;

/// How many connections come and go before what is left of the others is counted.
const WARMING_CONNECTIONS: usize = 200;

/// What the rest of a process may need.
const SPARE_DESCRIPTORS: usize = 100;

/// How long what was closed may take until it is gone.
const SETTLING: Duration = Duration::from_secs(2);

/// What may be left on the heap where one in a hundred is less: no more than a few buffers.
const LEFT_BYTES_MAX: usize = 64 * 1024;
