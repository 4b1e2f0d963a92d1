//! The limits of frames: the wire's own, the session's, and what refusing costs.

use super::super::bodies::{NUMBER_BYTES, body, frame};
use super::super::breach::Breach;
use super::super::carry::carry_or_end;
use super::super::check::{Done, Verdict};
use super::super::stage::{Pair, Stage};
use crate::protocol::Frame;
use crate::transport::ReadError;
use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::slice;
use tokio::time::timeout;

pub(super) async fn over_the_wires(stage: Stage) -> Verdict {
    let (mut pair, _listener) = stage.pair().await?;
    let max = pair.capabilities().frame_bytes_max;
    if max > WIRE_BYTES_MAX {
        return Done::not_asked(format!("frames of {max} bytes are too large to try"));
    }
    stage.doing(format!("refusing a frame of {} bytes, {max} are the limit", max + 1));
    refuse(&stage, &mut pair, vec![frame(1, NUMBER_BYTES)], max).await
}

pub(super) async fn over_the_sessions(stage: Stage) -> Verdict {
    let (mut pair, _listener) = stage.pair().await?;
    let max = SESSION_BYTES_MAX.min(pair.capabilities().frame_bytes_max - 1);
    for direction in ["at the server", "at the client"] {
        stage.doing(format!("carrying a frame of {} bytes before a limit is set", max + 1));
        pair.carry(&frame(1, max + 1)).await?;
        stage.doing(format!("refusing a frame of {} bytes {direction}, {max} were set", max + 1));
        pair.server.reader.set_frame_bytes_max(max);
        let good = vec![frame(2, max), frame(3, NUMBER_BYTES), frame(4, max)];
        refuse(&stage, &mut pair, good, max).await?;
        let mut listener = stage.listen().await?;
        pair = stage.meet(&mut listener).await?.turned();
    }
    Ok(Done::Kept)
}

/// Writes good frames and one of a byte too many. The good ones arrive, the other does not: its
/// reader says which limit it broke, or, where that is the wire's own, already its writer.
async fn refuse(stage: &Stage, pair: &mut Pair, good: Vec<Frame>, max: usize) -> Verdict {
    let capabilities = pair.capabilities();
    if !capabilities.reliable {
        return refuse_lossy(stage, pair, good, max).await;
    }
    let (writer, reader) = (&mut pair.client.writer, &mut pair.server.reader);
    let mut read = Vec::new();
    let writing = async {
        writer.write(&mut good.clone().into()).await?;
        let mut batch = VecDeque::from([frame(5, max + 1), frame(6, NUMBER_BYTES)]);
        match writer.try_write_all(&mut batch).await {
            Err(error) => Ok(error),
            Ok(()) => pending::<Result<io::Error, Breach>>().await,
        }
    };
    let refused = tokio::select! {
        biased;
        end = reader.read_past(good.len(), &mut read) => Err(end),
        refused = writing => Ok(refused?),
    };
    match refused {
        Err(end) => {
            stage.rules(capabilities).judge(&good, &read)?;
            told(end, max)
        }
        Ok(error) if max < capabilities.frame_bytes_max => {
            let expected = "a writer that does not know the reader's limit";
            Err(Breach::broken(expected, format!("{error:?}")))
        }
        Ok(_) => {
            read.extend(reader.read_frames(good.len().saturating_sub(read.len())).await?);
            stage.rules(capabilities).judge(&good, &read)?;
            Ok(Done::Kept)
        }
    }
}

/// Lost, refused by either side, but never cut; the good ones arrive when they are repeated.
async fn refuse_lossy(stage: &Stage, pair: &mut Pair, good: Vec<Frame>, max: usize) -> Verdict {
    for frame in &good {
        pair.carry(frame).await?;
    }
    let mut batch = VecDeque::from([frame(5, max + 1)]);
    let _ = timeout(stage.again(), pair.client.writer.try_write_all(&mut batch)).await;
    let last = frame(6, NUMBER_BYTES);
    let (writer, reader) = (&mut pair.client.writer, &mut pair.server.reader);
    let read = carry_or_end(writer, reader, &last, stage.again()).await;
    let sent: Vec<_> = good.into_iter().chain([last]).collect();
    stage.rules(pair.capabilities()).judge(&sent, &read)?;
    Ok(Done::Kept)
}

fn told(end: Result<(), ReadError>, limit: usize) -> Verdict {
    match end {
        Err(ReadError::FrameTooLarge { bytes, max })
            if bytes == limit as u64 + 1 && max == limit =>
        {
            Ok(Done::Kept)
        }
        end => {
            let expected = format!("FrameTooLarge {{ bytes: {}, max: {limit} }}", limit + 1);
            Err(Breach::broken(expected, format!("{end:?}")))
        }
    }
}

pub(super) async fn costs_nothing(stage: Stage) -> Verdict {
    let Some(peak_bytes) = stage.options.peak_bytes.clone() else {
        return Done::not_asked("the suite was given no gauge: `peak_bytes`");
    };
    let (pair, _listener) = stage.pair().await?;
    let capabilities = pair.capabilities();
    let size = capabilities.frame_bytes_max.min(HUGE_BYTES);
    if size < 2 * COST_BYTES_MAX || !capabilities.reliable {
        return Done::not_asked("the wire has no frames of which one could be missed");
    }
    let Pair { mut client, mut server, .. } = pair;
    server.reader.set_frame_bytes_max(SESSION_BYTES_MAX);
    stage.doing(format!("writing a frame of {size} bytes, as far as the wire takes it"));
    let mut batch = VecDeque::from([Frame::ordered(body(1, size))]);
    if let Ok(Err(source)) = timeout(stage.still(), client.writer.try_write_all(&mut batch)).await {
        return Err(Breach::Write { doing: stage.log.doing(), source });
    }
    stage.doing(format!("refusing a frame of {size} bytes, {SESSION_BYTES_MAX} were set"));
    // The first call begins anew, the second one says where that is.
    peak_bytes();
    let before = peak_bytes();
    let (_, end) = server.reader.read_to_end().await;
    let cost = peak_bytes().saturating_sub(before);
    if !matches!(end, Err(ReadError::FrameTooLarge { .. })) {
        return Err(Breach::broken("FrameTooLarge", format!("{end:?}")));
    }
    if cost > COST_BYTES_MAX {
        let expected = format!("at most {COST_BYTES_MAX} bytes on the heap for it");
        return Err(Breach::broken(expected, format!("{cost}")));
    }
    Ok(Done::Kept)
}

pub(super) async fn datagram(stage: Stage) -> Verdict {
    let (mut pair, _listener) = stage.pair().await?;
    let capabilities = pair.capabilities();
    let Some(max) = capabilities.datagram_bytes_max else {
        return Done::not_asked("volatile frames take the same road as ordered ones");
    };
    stage.doing(format!("carrying a volatile frame of {max} bytes"));
    let largest = Frame::volatile(body(1, max));
    let arrives = async {
        loop {
            pair.client.write([largest.clone()]).await?;
            let mut read = Vec::new();
            if let Ok(came) = timeout(stage.again(), pair.server.read_some(&mut read)).await {
                came?;
            }
            stage.rules(capabilities).judge_volatile(slice::from_ref(&largest), &read)?;
            if !read.is_empty() {
                return Ok::<_, Breach>(());
            }
        }
    };
    arrives.await?;
    for size in [max + 1, 2 * max] {
        stage.doing(format!("writing a volatile frame of {size} bytes, {max} are the limit"));
        let mut listener = stage.listen().await?;
        let Pair { mut client, mut server, again } = stage.meet(&mut listener).await?;
        let large = Frame::volatile(body(2, size));
        let mut batch = VecDeque::from([large.clone()]);
        // Refused, dropped or taken along another road, but whole.
        let _ = timeout(again, client.writer.try_write_all(&mut batch)).await;
        let last = Frame::volatile(body(3, NUMBER_BYTES.min(max)));
        let read = carry_or_end(&mut client.writer, &mut server.reader, &last, again).await;
        stage.rules(capabilities).judge_volatile(&[large, last], &read)?;
    }
    Ok(Done::Kept)
}

/// The limit that a session sets.
const SESSION_BYTES_MAX: usize = 100;

/// The largest limit of a wire that is tried.
const WIRE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A frame of which nobody would overlook a copy.
const HUGE_BYTES: usize = 8 * 1024 * 1024;

/// What reading may take meanwhile: buffers of one read.
const COST_BYTES_MAX: usize = 1024 * 1024;
