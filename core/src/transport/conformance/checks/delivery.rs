//! What a wire carries: whether it is all there, whole, once and in order, as far as declared.

use super::super::bodies::{NUMBER_BYTES, body, frame, numbered};
use super::super::breach::Breach;
use super::super::check::{Done, Verdict};
use super::super::end::{Reader, STILL};
use super::super::stage::{Pair, Stage, carry};
use crate::protocol::Frame;
use crate::transport::Capabilities;
use std::collections::VecDeque;
use std::task::Poll;
use tokio::time::timeout;

pub(super) async fn both_ways(stage: Stage) -> Verdict {
    let (mut pair, _listener) = stage.pair().await?;
    for number in 0..GREETINGS {
        stage.doing(format!("carrying frame {number} there and back"));
        pair.greet(number).await?;
    }
    stage.doing("carrying a frame of text");
    carry(&mut pair.client, &mut pair.server, &Frame::text("grüß dich")).await?;
    Ok(Done::Kept)
}

pub(super) async fn order(stage: Stage) -> Verdict {
    let (mut pair, _listener) = stage.pair().await?;
    for direction in ["from the client", "from the server"] {
        stage.doing(format!("carrying {ORDERED_FRAMES} numbered frames {direction}"));
        // One frame, then two, then three: most splits of a batch occur.
        let mut frames: VecDeque<_> = numbered(ORDERED_FRAMES).collect();
        let sent: Vec<_> = frames.iter().cloned().collect();
        let batches = (1..).map_while(|size: usize| {
            let batch: Vec<_> = frames.drain(..size.min(frames.len())).collect();
            (!batch.is_empty()).then_some(batch)
        });
        carry_all(&stage, &mut pair, batches.collect(), &sent).await?;
        pair = pair.turned();
    }
    Ok(Done::Kept)
}

pub(super) async fn empty(stage: Stage) -> Verdict {
    let (mut pair, _listener) = stage.pair().await?;
    stage.doing("carrying an empty frame alone");
    carry(&mut pair.client, &mut pair.server, &Frame::ordered("")).await?;
    stage.doing("carrying empty frames in one batch with others");
    let batch = vec![Frame::ordered(""), frame(1, NUMBER_BYTES), Frame::ordered("")];
    let sent = batch.clone();
    carry_all(&stage, &mut pair, vec![batch], &sent).await?;
    stage.doing("carrying frames after the empty ones");
    pair.greet(2).await?;
    Ok(Done::Kept)
}

pub(super) async fn sizes(stage: Stage) -> Verdict {
    let (mut pair, _listener) = stage.pair().await?;
    let max = pair.capabilities().frame_bytes_max;
    // Each length that some framing writes in another way, and its neighbours.
    let edges = EDGES.iter().flat_map(|edge| [edge - 1, *edge, edge + 1]);
    let sizes: Vec<_> = edges.filter(|size| *size <= max).collect();
    for many in [1, 3, sizes.len()] {
        for direction in ["from the client", "from the server"] {
            stage.doing(format!("carrying bodies of many sizes {direction}, {many} in a batch"));
            let frames = sizes.iter().enumerate().map(|(number, size)| frame(number, *size));
            let sent: Vec<_> = frames.collect();
            let batches = sent.chunks(many).map(<[Frame]>::to_vec).collect();
            carry_all(&stage, &mut pair, batches, &sent).await?;
            pair = pair.turned();
        }
    }
    Ok(Done::Kept)
}

pub(super) async fn largest(stage: Stage) -> Verdict {
    let (mut pair, _listener) = stage.pair().await?;
    let declared = pair.capabilities().frame_bytes_max;
    let size = declared.min(LARGEST_BYTES_MAX);
    if size < declared {
        stage.note(format!("frames of up to {size} bytes were tried, {declared} are declared"));
    }
    for direction in ["to the server", "to the client"] {
        stage.doing(format!("carrying a frame of {size} bytes {direction}"));
        let sent = [frame(1, size), frame(2, NUMBER_BYTES), frame(3, size.saturating_sub(1))];
        carry_all(&stage, &mut pair, vec![sent.to_vec()], &sent).await?;
        pair = pair.turned();
    }
    Ok(Done::Kept)
}

/// Both ends write more than a wire usually buffers, and both read.
pub(super) async fn at_once(stage: Stage) -> Verdict {
    let (pair, _listener) = stage.pair().await?;
    if !pair.capabilities().keeps_everything() {
        return Done::not_asked("the wire may lose or reorder frames");
    }
    let size = LARGE_BYTES.min(pair.capabilities().frame_bytes_max);
    let rules = stage.rules(pair.capabilities());
    let Pair { mut client, mut server } = pair;
    stage.doing("carrying a lot both ways at the same time");
    let sent: Vec<_> = (0..LARGE_FRAMES).map(|number| frame(number, size)).collect();
    let (mut up, mut down) = (sent.iter().cloned().collect(), sent.iter().cloned().collect());
    let (there, back, (), ()) = tokio::try_join!(
        server.reader.read_frames(sent.len()),
        client.reader.read_frames(sent.len()),
        client.writer.write(&mut up),
        server.writer.write(&mut down),
    )?;
    rules.judge(&sent, &there)?;
    rules.judge(&sent, &back)?;
    Ok(Done::Kept)
}

/// Whoever forgets a wake-up between two threads hangs here, sooner or later.
pub(super) async fn threads(stage: Stage) -> Verdict {
    let (pair, _listener) = stage.pair().await?;
    let capabilities = pair.capabilities();
    let Pair { mut client, mut server } = pair;
    stage.doing(format!("carrying {THREAD_FRAMES} frames from one thread to another"));
    let writing = tokio::spawn(async move {
        let mut frames: VecDeque<_> = numbered(THREAD_FRAMES).collect();
        while !frames.is_empty() {
            let mut batch = frames.drain(..THREAD_BATCH.min(frames.len())).collect();
            client.writer.write(&mut batch).await?;
        }
        client.close().await?;
        Ok::<_, Breach>(client)
    });
    let reading = tokio::spawn(async move {
        let frames = read_all(&mut server.reader, capabilities).await?;
        Ok::<_, Breach>((frames, server))
    });
    let (frames, _server) = joined(reading).await?;
    let _client = joined(writing).await?;
    let sent: Vec<_> = numbered(THREAD_FRAMES).collect();
    stage.rules(capabilities).judge(&sent, &frames)?;
    Ok(Done::Kept)
}

/// A panic over there is a panic here.
async fn joined<T>(task: tokio::task::JoinHandle<Result<T, Breach>>) -> Result<T, Breach> {
    match task.await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

pub(super) async fn idle(stage: Stage) -> Verdict {
    let (mut pair, _listener) = stage.pair().await?;
    for round in 0..IDLE_ROUNDS {
        stage.doing("reading where nothing was written");
        for end in [&mut pair.client, &mut pair.server] {
            if let Ok(seen) = timeout(STILL / 2, restless(&mut end.reader)).await {
                return Err(Breach::broken("an idle wire that is pending", seen));
            }
        }
        stage.doing("carrying a frame after the wire was idle");
        pair.greet(round).await?;
        drain(&mut pair).await?;
    }
    Ok(Done::Kept)
}

/// Reads until it is more than the few words that a wire may say to itself.
async fn restless(reader: &mut Reader) -> String {
    let mut frames = Vec::new();
    for _ in 0..IDLE_READS_MAX {
        let read = reader.read(&mut frames).await;
        if !frames.is_empty() || !matches!(read, Ok(1..)) {
            return format!("{read:?} with {} frames", frames.len());
        }
    }
    format!("{IDLE_READS_MAX} reads that were ready, without a frame")
}

/// Copies that a lossy wire made are no sign that it is not idle.
async fn drain(pair: &mut Pair) -> Result<(), Breach> {
    if !pair.capabilities().keeps_everything() {
        pair.client.reader.read_until_still().await?;
        pair.server.reader.read_until_still().await?;
    }
    Ok(())
}

pub(super) async fn given_up(stage: Stage) -> Verdict {
    let (pair, _listener) = stage.pair().await?;
    let capabilities = pair.capabilities();
    let size = capabilities.frame_bytes_max.min(GIVEN_UP_BYTES);
    stage.doing("reading with polls of which many are not repeated");
    let sent: Vec<_> = (0..GIVEN_UP_FRAMES).map(|number| frame(number, size)).collect();
    let Pair { mut client, mut server } = pair;
    let writing = async {
        for frame in &sent {
            client.write([frame.clone()]).await?;
            // The reader is to find nothing now and then.
            tokio::task::yield_now().await;
        }
        if capabilities.reliable { client.close().await } else { Ok(()) }
    };
    let mut frames = Vec::new();
    let reading = async {
        loop {
            for _ in 0..TRIES {
                match server.reader.try_read(&mut frames) {
                    Poll::Ready(Ok(0)) => return Ok(()),
                    Poll::Ready(Ok(_)) | Poll::Pending => {}
                    Poll::Ready(Err(source)) => {
                        let doing = "polling by somebody who does not wait".into();
                        return Err(Breach::Read { doing, source });
                    }
                }
            }
            // Whoever waits is woken, whoever else polled in between.
            match timeout(STILL, server.read_some(&mut frames)).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => return Ok(()),
                Ok(Err(breach)) => return Err(breach),
                Err(_) if capabilities.reliable => {}
                Err(_) => return Ok(()),
            }
        }
    };
    tokio::try_join!(writing, reading)?;
    stage.rules(capabilities).judge(&sent, &frames)?;
    Ok(Done::Kept)
}

/// Writes all batches at the client's end and holds what comes at the server's against them. What
/// follows the last frame is read too, as far as a frame of its own shows it.
async fn carry_all(
    stage: &Stage,
    pair: &mut Pair,
    batches: Vec<Vec<Frame>>,
    sent: &[Frame],
) -> Result<(), Breach> {
    let capabilities = pair.capabilities();
    let last = Frame::ordered(body(usize::MAX, LAST_BYTES));
    let writing = async {
        for batch in batches {
            pair.client.writer.write(&mut batch.into()).await?;
        }
        pair.client.writer.write(&mut VecDeque::from([last.clone()])).await
    };
    let reading = async {
        if !capabilities.reliable {
            return pair.server.reader.read_until_still().await;
        }
        pair.server.reader.read_frames(sent.len() + 1).await
    };
    let ((), read) = tokio::try_join!(writing, reading)?;
    let mut all = sent.to_vec();
    all.push(last);
    stage.rules(capabilities).judge(&all, &read)
}

/// Everything up to the end, or until nothing more comes where the end may be lost.
async fn read_all(reader: &mut Reader, capabilities: Capabilities) -> Result<Vec<Frame>, Breach> {
    if capabilities.reliable {
        reader.read_to_good_end().await
    } else {
        reader.read_until_still().await
    }
}

/// Lengths at which known framings change how they write a length, and sizes of buffers.
const EDGES: [usize; 9] = [1, 126, 256, 2048, 4096, 16_384, 65_536, 131_072, 1_048_576];

/// Beyond this a test would be about the machine's memory.
const LARGEST_BYTES_MAX: usize = 64 * 1024 * 1024;

const GREETINGS: usize = 10;
const ORDERED_FRAMES: usize = 5000;
const LARGE_BYTES: usize = 100_000;
const LARGE_FRAMES: usize = 200;
const THREAD_FRAMES: usize = 20_000;
const THREAD_BATCH: usize = 20;
const IDLE_ROUNDS: usize = 2;
const IDLE_READS_MAX: usize = 10;
const GIVEN_UP_FRAMES: usize = 500;
const GIVEN_UP_BYTES: usize = 3000;
const TRIES: usize = 3;
const LAST_BYTES: usize = 7;
