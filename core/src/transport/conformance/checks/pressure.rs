//! What happens when a peer does not read: writing waits, and nothing else does.

use super::super::bodies::frame;
use super::super::breach::Breach;
use super::super::carry::joined;
use super::super::check::{Done, Verdict};
use super::super::echo::flattened;
use super::super::end::{End, Filled};
use super::super::stage::{Pair, SMALL_BYTES, Stage};
use std::collections::VecDeque;
use std::time::Duration;

pub(super) async fn waits(stage: Stage) -> Verdict {
    let (pair, _listener) = stage.pair().await?;
    let capabilities = pair.capabilities();
    // The server stays, and does not read.
    let Pair { mut client, server: _server, .. } = pair;
    let bytes_max = stage.options.buffered_bytes_max;
    if capabilities.reliable {
        // A wire may find room again once, where the system is slow to move what it took.
        let mut taken = 0;
        while taken < bytes_max {
            let mut filled = fill(&stage, &mut client, bytes_max - taken).await?;
            taken += filled.sent.iter().map(|frame| frame.body.len()).sum::<usize>();
            if filled.is_blocked && stays_blocked(&mut client, &mut filled)? {
                return Ok(Done::Kept);
            }
        }
        let expected = format!("a write that is pending after {bytes_max} bytes at most");
        return Err(Breach::broken(expected, "a wire that takes more"));
    }
    stage.doing("writing to a peer that never reads, on a wire that may drop");
    let mut filled = fill(&stage, &mut client, bytes_max.min(LOSSY_BYTES)).await?;
    client.writer.write(&mut filled.rest).await?;
    Ok(Done::Kept)
}

/// Whether the wire still takes nothing from somebody who tries again.
fn stays_blocked(end: &mut End, filled: &mut Filled) -> Result<bool, Breach> {
    for _ in 0..TRIES {
        if end.writer.try_write(&mut filled.rest)? {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) async fn does_not_stall(stage: Stage) -> Verdict {
    let (mut pair, _listener) = stage.pair().await?;
    let bytes_max = stage.options.buffered_bytes_max;
    for side in ["the client's end", "the server's end"] {
        let Pair { mut client, mut server, .. } = pair;
        let mut filled = fill(&stage, &mut client, bytes_max).await?;
        if !filled.is_blocked {
            return Done::not_asked("writing does not block on this wire");
        }
        for number in 0..TRIES {
            stage.doing(format!("reading at {side} while writing there is blocked"));
            let sent = frame(number, SMALL_BYTES.min(client.capabilities.frame_bytes_max));
            let answering = async {
                let mut batch = VecDeque::from([sent.clone()]);
                let reading = client.reader.read_frames(1);
                let ((), read) = tokio::try_join!(server.writer.write(&mut batch), reading)?;
                Ok::<_, Breach>(read)
            };
            let writing = async {
                // It stays pending: what the wire should take after all is followed by more.
                loop {
                    client.writer.write(&mut filled.rest).await?;
                    filled.rest.extend(filled.sent.iter().cloned());
                }
            };
            let read = tokio::select! {
                biased;
                failed = writing => return failed,
                read = answering => read?,
            };
            stage.rules(client.capabilities).judge(&[sent], &read)?;
        }
        let mut listener = stage.listen().await?;
        pair = stage.meet(&mut listener).await?.turned();
    }
    Ok(Done::Kept)
}

pub(super) async fn arrives_later(stage: Stage) -> Verdict {
    let (pair, _listener) = stage.pair().await?;
    if !pair.capabilities().reliable {
        return Done::not_asked("the wire may lose frames");
    }
    let Pair { mut client, mut server, .. } = pair;
    let Filled { sent, mut rest, is_blocked } =
        fill(&stage, &mut client, stage.options.buffered_bytes_max).await?;
    if !is_blocked {
        return Done::not_asked("writing does not block on this wire");
    }
    stage.doing("reading what was blocked, and its end");
    let writing = async {
        client.writer.write(&mut rest).await?;
        client.close().await
    };
    let (read, ()) = tokio::try_join!(server.reader.read_to_good_end(), writing)?;
    stage.rules(client.capabilities).judge(&sent, &read)?;
    Ok(Done::Kept)
}

/// Somebody who does not wait polls in between, as an emitter does, or is the first to find the
/// wire full: the driver, which polls next, is woken all the same.
pub(super) async fn wakes(stage: Stage) -> Verdict {
    let (pair, _listener) = stage.pair().await?;
    if !pair.capabilities().reliable {
        return Done::not_asked("the wire may lose frames");
    }
    let Pair { mut client, mut server, .. } = pair;
    let bytes_max = stage.options.buffered_bytes_max;
    for _ in 0..ROUNDS {
        let filled = fill(&stage, &mut client, bytes_max).await?;
        if !filled.is_blocked {
            return Done::not_asked("writing does not block on this wire");
        }
        stage.doing("waiting to be woken for a write that somebody else tried too");
        client = finish(&stage, client, &mut server, filled).await?;
        stage.doing("waiting to be woken for a write that somebody else tried first");
        let size = FILLING_BYTES.min(client.capabilities.frame_bytes_max);
        let filled = client.writer.try_fill(|number| frame(number, size), bytes_max)?;
        client = finish(&stage, client, &mut server, filled).await?;
    }
    Ok(Done::Kept)
}

/// What the wire took over without having written it is still to be written by whoever polls on,
/// with a batch that may be empty by then: no frame follows, and no close.
pub(super) async fn polled_on(stage: Stage) -> Verdict {
    let (pair, _listener) = stage.pair().await?;
    let capabilities = pair.capabilities();
    if !capabilities.reliable {
        return Done::not_asked("the wire may lose frames");
    }
    let Pair { client, mut server, .. } = pair;
    let End { reader: _reader, mut writer, .. } = client;
    let size = HUGE_BYTES.min(capabilities.frame_bytes_max);
    stage.doing(format!("writing frames of {size} bytes until the wire takes no more"));
    let bytes_max = stage.options.buffered_bytes_max;
    let filled = writer.fill(|number| frame(number, size), 1, bytes_max).await?;
    let Filled { sent, mut rest, .. } = filled;
    stage.doing("reading what the wire took, while its writer does nothing but poll on");
    let writing = tokio::spawn(async move {
        writer.write(&mut rest).await?;
        Ok(writer)
    });
    let mut read = Vec::new();
    for number in 0_usize.. {
        if !server.read_some(&mut read).await? || read.len() >= sent.len() {
            break;
        }
        if number < SLOW_READS {
            tokio::time::sleep(BETWEEN_READS).await;
        }
    }
    stage.rules(capabilities).judge(&sent, &read)?;
    joined(writing).await?;
    Ok(Done::Kept)
}

/// Tries twice by somebody who does not wait, and then waits while the other end reads.
async fn finish(
    stage: &Stage,
    mut client: End,
    server: &mut End,
    filled: Filled,
) -> Result<End, Breach> {
    let Filled { sent, mut rest, .. } = filled;
    client.writer.try_write(&mut rest)?;
    client.writer.try_write(&mut rest)?;
    let rules = stage.rules(client.capabilities);
    // A task of its own: what wakes the reader must not wake it by accident.
    let writing = tokio::spawn(async move {
        client.writer.write(&mut rest).await?;
        Ok(client)
    });
    // It waits before anybody reads.
    tokio::task::yield_now().await;
    let read = server.reader.read_frames(sent.len()).await?;
    rules.judge(&sent, &read)?;
    flattened(writing.await, stage)
}

/// Writes until the wire takes no more.
async fn fill(stage: &Stage, end: &mut End, bytes_max: usize) -> Result<Filled, Breach> {
    stage.doing("writing to a peer that does not read");
    let size = FILLING_BYTES.min(end.capabilities.frame_bytes_max);
    end.writer.fill(|number| frame(number, size), FILLING_BATCH, bytes_max).await
}

/// Several to a buffer of any wire, so that writes are cut within frames and between them.
const FILLING_BYTES: usize = 10_007;
const FILLING_BATCH: usize = 7;

/// Enough for a wire that drops to have to.
const LOSSY_BYTES: usize = 8 * 1024 * 1024;

/// More than a system buffers for a stream, and no more than wires usually take.
const HUGE_BYTES: usize = 12 * 1024 * 1024;

/// How often, and for how long, a slow reader lets its peer wait.
const SLOW_READS: usize = 20;
const BETWEEN_READS: Duration = Duration::from_millis(1);

const TRIES: usize = 3;
const ROUNDS: usize = 3;
