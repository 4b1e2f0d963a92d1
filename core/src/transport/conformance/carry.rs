//! Frames from one end to another: each once, or again and again where the wire may lose it.
//!
//! Writing and reading go on side by side: a wire may hold less than a frame.

use super::breach::Breach;
use super::end::{End, Reader, Writer};
use crate::protocol::Frame;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Writes a frame at one end until it arrives at the other: once, unless the wire may lose it.
pub(super) async fn carry(
    from: &mut End,
    to: &mut End,
    frame: &Frame,
    again: Duration,
) -> Result<(), Breach> {
    let reliable = from.capabilities.reliable;
    carry_by(&mut from.writer, &mut to.reader, frame, reliable, again).await
}

/// The same from an end to whoever gives it back, such as an [`Echo`](super::echo::Echo).
pub(super) async fn carry_back(
    end: &mut End,
    frame: &Frame,
    again: Duration,
) -> Result<(), Breach> {
    let reliable = end.capabilities.reliable;
    carry_by(&mut end.writer, &mut end.reader, frame, reliable, again).await
}

async fn carry_by(
    writer: &mut Writer,
    reader: &mut Reader,
    frame: &Frame,
    reliable: bool,
    again: Duration,
) -> Result<(), Breach> {
    if !reliable {
        return tokio::select! {
            biased;
            read = reader.read_until(frame) => read.map(drop),
            breach = writer.repeat(frame, again) => Err(breach),
        };
    }
    let mut batch = VecDeque::from([frame.clone()]);
    let ((), frames) = tokio::try_join!(writer.write(&mut batch), reader.read_frames(1))?;
    match &*frames {
        [one] if one.body == frame.body => Ok(()),
        _ => Err(Breach::broken("the one frame that was written", format!("{frames:.200?}"))),
    }
}

/// Writes a frame again and again until it arrives, or until either side says that it is over, as
/// it may after a frame that is too large for the wire.
pub(super) async fn carry_or_end(
    writer: &mut Writer,
    reader: &mut Reader,
    frame: &Frame,
    again: Duration,
) -> Vec<Frame> {
    let mut read = Vec::new();
    while !read.iter().any(|it: &Frame| it.body == frame.body) {
        let mut batch = VecDeque::from([frame.clone()]);
        if let Ok(Err(_)) = timeout(again, writer.try_write_all(&mut batch)).await {
            break;
        }
        if let Ok(Ok(0) | Err(_)) = timeout(again, reader.read(&mut read)).await {
            break;
        }
    }
    read
}

/// What two tasks make of each other: the one that reads, and the one that writes. The writer of a
/// wire that may lose frames repeats its last one, and does not end.
pub(super) async fn both<T>(
    reading: JoinHandle<Result<T, Breach>>,
    writing: JoinHandle<Result<Writer, Breach>>,
    reliable: bool,
) -> Result<(T, Option<Writer>), Breach> {
    if reliable {
        let (read, writer) = tokio::try_join!(joined(reading), joined(writing))?;
        return Ok((read, Some(writer)));
    }
    tokio::select! {
        biased;
        read = joined(reading) => Ok((read?, None)),
        writer = joined(writing) => writer.and_then(|_| {
            Err(Breach::broken("a writer that goes on", "its end"))
        }),
    }
}

/// A panic over there is a panic here.
pub(super) async fn joined<T>(task: JoinHandle<Result<T, Breach>>) -> Result<T, Breach> {
    match task.await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
