//! How connections end: in order, half, or by being dropped.

use super::super::bodies::{NUMBER_BYTES, frame, numbered};
use super::super::breach::Breach;
use super::super::check::{Done, Verdict};
use super::super::stage::{Pair, Stage};
use crate::protocol::Frame;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::timeout;

pub(super) async fn in_order(stage: Stage) -> Verdict {
    let mut listener = stage.listen().await?;
    for direction in ["by the client", "by the server"] {
        for count in [0, 1, 2, CLOSED_FRAMES] {
            stage.doing(format!("reading {count} frames and the close {direction}"));
            let mut pair = stage.meet(&mut listener).await?;
            if !pair.capabilities().reliable {
                return Done::not_asked("the wire may lose frames, and its end");
            }
            if direction == "by the server" {
                pair = pair.turned();
            }
            let Pair { mut client, mut server, .. } = pair;
            let max = client.capabilities.frame_bytes_max;
            let sent: Vec<_> = mixed(count, max).collect();
            let mut batch: VecDeque<_> = sent.iter().cloned().collect();
            let writing = async {
                client.writer.write(&mut batch).await?;
                client.close().await
            };
            let (read, ()) = tokio::try_join!(server.reader.read_to_good_end(), writing)?;
            stage.rules(client.capabilities).judge(&sent, &read)?;
        }
    }
    Ok(Done::Kept)
}

/// Small and large frames in turn.
fn mixed(count: usize, max: usize) -> impl Iterator<Item = Frame> {
    (0..count).map(move |number| frame(number, MIXED_BYTES[number % MIXED_BYTES.len()].min(max)))
}

pub(super) async fn half_close(stage: Stage) -> Verdict {
    let mut listener = stage.listen().await?;
    for closes in ["the client", "the server"] {
        let mut pair = stage.meet(&mut listener).await?;
        if !pair.capabilities().half_close {
            return Done::not_asked("half_close is not declared");
        }
        if closes == "the server" {
            pair = pair.turned();
        }
        let Pair { mut client, mut server, .. } = pair;
        stage.doing(format!("reading the end after {closes} has closed its direction"));
        client.close().await?;
        let read = server.reader.read_to_good_end().await?;
        stage.rules(client.capabilities).judge(&[], &read)?;
        stage.doing(format!("writing to {closes}, which has closed its own direction"));
        let sent: Vec<_> = numbered(HALF_CLOSED_FRAMES).collect();
        let writing = async {
            for frame in &sent {
                server.write([frame.clone()]).await?;
            }
            server.close().await
        };
        let (read, ()) = tokio::try_join!(client.reader.read_to_good_end(), writing)?;
        stage.rules(client.capabilities).judge(&sent, &read)?;
    }
    Ok(Done::Kept)
}

/// Whether what was in flight still arrives is the wire's choice; that it is a beginning of what
/// was written, and that it ends, is not.
pub(super) async fn dropped(stage: Stage) -> Verdict {
    let mut listener = stage.listen().await?;
    for has_unread in [false, true] {
        for turned in [false, true] {
            let mut pair = stage.meet(&mut listener).await?;
            if !pair.capabilities().reliable {
                return Done::not_asked("the wire may lose frames, and its end");
            }
            if turned {
                pair = pair.turned();
            }
            let Pair { mut client, mut server, .. } = pair;
            stage.doing("reading up to the end of a connection that was dropped");
            let sent: Vec<_> = numbered(DROPPED_FRAMES).collect();
            // As far as the wire takes it before anybody reads.
            if let Ok(written) = timeout(stage.still(), client.write(sent.iter().cloned())).await {
                written?;
            }
            if has_unread {
                let written = timeout(stage.still(), server.write(numbered(DROPPED_FRAMES)));
                written.await.unwrap_or(Ok(()))?;
            }
            drop(client);
            let (read, end) = server.reader.read_to_end().await;
            let sent = if end.is_ok() { &sent } else { &sent[..read.len().min(sent.len())] };
            stage.rules(server.capabilities).judge(sent, &read)?;
        }
    }
    Ok(Done::Kept)
}

/// A frame that is too large for what the wire buffers is cut by the drop, unless the wire passes
/// frames whole. A cut may by chance be between two frames, where it is an end like any other.
pub(super) async fn cut(stage: Stage) -> Verdict {
    let mut listener = stage.listen().await?;
    for turned in [false, true] {
        for round in 1.. {
            let mut pair = stage.meet(&mut listener).await?;
            if !pair.capabilities().reliable {
                return Done::not_asked("the wire may lose frames, and its end");
            }
            if turned {
                pair = pair.turned();
            }
            let Pair { mut client, mut server, .. } = pair;
            let size = client.capabilities.frame_bytes_max.min(CUT_BYTES).saturating_sub(round);
            stage.doing(format!("filling the wire with frames of {size} bytes"));
            let bytes_max = stage.options.buffered_bytes_max;
            let filled = client.writer.fill(|number| frame(number, size), 1, bytes_max).await?;
            drop(client);
            stage.doing("reading up to the end of a connection that was dropped while it wrote");
            let (read, end) = server.reader.read_to_end().await;
            let came = &filled.sent[..read.len().min(filled.sent.len())];
            stage.rules(server.capabilities).judge(came, &read)?;
            if end.is_err() || read.len() == filled.sent.len() {
                break;
            }
            if round == CUTS {
                let expected = "an error, or everything that was written";
                let seen = format!("an end in order, {CUTS} times, the last after {}", read.len());
                return Err(Breach::broken(expected, seen));
            }
        }
    }
    Ok(Done::Kept)
}

pub(super) async fn gone(stage: Stage) -> Verdict {
    let mut listener = stage.listen().await?;
    for turned in [false, true] {
        let mut pair = stage.meet(&mut listener).await?;
        if !pair.capabilities().reliable {
            return Done::not_asked("the wire may lose frames, and its end");
        }
        if turned {
            pair = pair.turned();
        }
        let Pair { mut client, server, .. } = pair;
        timeout(stage.still(), client.write(numbered(1))).await.unwrap_or(Ok(()))?;
        drop(server);
        stage.doing("waiting for an error from writing to a peer that is gone");
        // The first writes may be taken: the news travels.
        for number in 0.. {
            let mut batch = VecDeque::from([frame(number, NUMBER_BYTES)]);
            if client.writer.try_write_all(&mut batch).await.is_err() {
                break;
            }
            tokio::time::sleep(BETWEEN_WRITES).await;
        }
    }
    Ok(Done::Kept)
}

/// Sizes of which several together go beyond what a wire buffers.
const MIXED_BYTES: [usize; 6] = [3, 70_000, 150, 0, 2_049, 300_000];

/// More than a system buffers for a stream.
const CUT_BYTES: usize = 12 * 1024 * 1024;

/// More cuts than by chance are all between two frames.
const CUTS: usize = 3;

const CLOSED_FRAMES: usize = 100;
const HALF_CLOSED_FRAMES: usize = 10;
const DROPPED_FRAMES: usize = 10;

/// How long somebody waits who looks for an error now and then.
const BETWEEN_WRITES: Duration = Duration::from_millis(2);
