//! What a wire carries: whether it is all there, whole, once and in order, as far as declared.

use super::super::bodies::{NUMBER_BYTES, body, frame, numbered};
use super::super::breach::Breach;
use super::super::carry::{both, joined};
use super::super::check::{Done, Verdict};
use super::super::end::{End, Reader, Writer};
use super::super::stage::{Pair, Stage};
use crate::protocol::Frame;
use crate::transport::Capabilities;
use std::collections::{HashSet, VecDeque};
use std::task::Poll;
use std::time::Duration;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::timeout;

pub(super) async fn both_ways(stage: Stage) -> Verdict {
    let (mut pair, _listener) = stage.pair().await?;
    for number in 0..GREETINGS {
        stage.doing(format!("carrying frame {number} there and back"));
        pair.greet(number).await?;
    }
    stage.doing("carrying a frame of text");
    pair.carry(&Frame::text("grüß dich")).await?;
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
        carry_all(&stage, &mut pair, &batches.collect::<Vec<_>>(), &sent).await?;
        pair = pair.turned();
    }
    Ok(Done::Kept)
}

pub(super) async fn empty(stage: Stage) -> Verdict {
    let (mut pair, _listener) = stage.pair().await?;
    stage.doing("carrying an empty frame alone");
    pair.carry(&Frame::ordered("")).await?;
    stage.doing("carrying empty frames in one batch with others");
    let batch = vec![Frame::ordered(""), frame(1, NUMBER_BYTES), Frame::ordered("")];
    let sent = batch.clone();
    carry_all(&stage, &mut pair, &[batch], &sent).await?;
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
            let batches: Vec<_> = sent.chunks(many).map(<[Frame]>::to_vec).collect();
            carry_all(&stage, &mut pair, &batches, &sent).await?;
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
        carry_all(&stage, &mut pair, &[sent.to_vec()], &sent).await?;
        pair = pair.turned();
    }
    Ok(Done::Kept)
}

/// Both ends write more than a wire usually buffers, and both read: four tasks on two threads, so
/// that nobody is woken by what wakes another.
pub(super) async fn at_once(stage: Stage) -> Verdict {
    let (pair, _listener) = stage.pair().await?;
    if !pair.capabilities().keeps_everything() {
        return Done::not_asked("the wire may lose or reorder frames");
    }
    let size = LARGE_BYTES.min(pair.capabilities().frame_bytes_max);
    let rules = stage.rules(pair.capabilities());
    let Pair { client, server, .. } = pair;
    stage.doing("carrying a lot both ways at the same time");
    let sent: Vec<_> = (0..LARGE_FRAMES).map(|number| frame(number, size)).collect();
    let (up, down) = (write_in_task(client.writer, &sent), write_in_task(server.writer, &sent));
    let there = read_in_task(server.reader, sent.len());
    let back = read_in_task(client.reader, sent.len());
    // No half goes before all are done.
    let ((there, _reader), (back, _other_reader), _writer, _other_writer) =
        tokio::try_join!(joined(there), joined(back), joined(up), joined(down))?;
    rules.judge(&sent, &there)?;
    rules.judge(&sent, &back)?;
    Ok(Done::Kept)
}

fn write_in_task(mut writer: Writer, frames: &[Frame]) -> JoinHandle<Result<Writer, Breach>> {
    let mut batch: VecDeque<_> = frames.iter().cloned().collect();
    tokio::spawn(async move {
        writer.write(&mut batch).await?;
        Ok(writer)
    })
}

fn read_in_task(
    mut reader: Reader,
    count: usize,
) -> JoinHandle<Result<(Vec<Frame>, Reader), Breach>> {
    tokio::spawn(async move { Ok((reader.read_frames(count).await?, reader)) })
}

/// Whoever forgets a wake-up between two threads hangs here, sooner or later.
pub(super) async fn threads(stage: Stage) -> Verdict {
    let (pair, _listener) = stage.pair().await?;
    let capabilities = pair.capabilities();
    let Pair { client, server, again } = pair;
    stage.doing(format!("carrying {THREAD_FRAMES} frames from one thread to another"));
    let End { reader: _client_reader, mut writer, .. } = client;
    let End { mut reader, writer: _server_writer, .. } = server;
    let writing = tokio::spawn(async move {
        let mut frames: VecDeque<_> = numbered(THREAD_FRAMES).collect();
        while !frames.is_empty() {
            let mut batch = frames.drain(..THREAD_BATCH.min(frames.len())).collect();
            writer.write(&mut batch).await?;
        }
        end_or_repeat(writer, capabilities, again).await
    });
    let reading = tokio::spawn(async move {
        if capabilities.reliable {
            reader.read_to_good_end().await
        } else {
            reader.read_until(&last()).await
        }
    });
    let (frames, _writer) = both(reading, writing, capabilities.reliable).await?;
    judge_stream(&stage, capabilities, numbered(THREAD_FRAMES).collect(), &frames)
}

/// Closes in order, or writes a last frame for as long as somebody waits for it.
async fn end_or_repeat(
    mut writer: Writer,
    capabilities: Capabilities,
    again: Duration,
) -> Result<Writer, Breach> {
    if capabilities.reliable {
        writer.close().await?;
        return Ok(writer);
    }
    Err(writer.repeat(&last(), again).await)
}

/// What came of frames after which the writer closed, or repeated a last one.
fn judge_stream(
    stage: &Stage,
    capabilities: Capabilities,
    mut sent: Vec<Frame>,
    read: &[Frame],
) -> Verdict {
    if !capabilities.reliable {
        if read.iter().all(|frame| frame.body == last().body) {
            let expected = format!("some of {} frames", sent.len());
            return Err(Breach::broken(expected, "only what was written again and again"));
        }
        sent.push(last());
    }
    stage.rules(capabilities).judge(&sent, read)?;
    Ok(Done::Kept)
}

/// A frame that is like no other.
fn last() -> Frame {
    Frame::ordered(body(usize::MAX, LAST_BYTES))
}

pub(super) async fn idle(stage: Stage) -> Verdict {
    let (mut pair, _listener) = stage.pair().await?;
    for round in 0..IDLE_ROUNDS {
        stage.doing("reading where nothing was written");
        for end in [&mut pair.client, &mut pair.server] {
            let keeps_everything = end.capabilities.keeps_everything();
            let seen = restless(&mut end.reader, keeps_everything);
            if let Ok(seen) = timeout(stage.still() / 2, seen).await {
                return Err(Breach::broken("an idle wire that is pending", seen));
            }
        }
        stage.doing("carrying a frame after the wire was idle");
        pair.greet(round).await?;
    }
    Ok(Done::Kept)
}

/// Reads until it is more than the few words that a wire may say to itself. Copies that a lossy
/// wire made are no sign that it is not idle.
async fn restless(reader: &mut Reader, keeps_everything: bool) -> String {
    let mut frames = Vec::new();
    let reads_max = if keeps_everything { IDLE_READS_MAX } else { IDLE_COPIES_MAX };
    for _ in 0..reads_max {
        let read = reader.read(&mut frames).await;
        if (keeps_everything && !frames.is_empty()) || !matches!(read, Ok(1..)) {
            return format!("{read:?} with {} frames", frames.len());
        }
    }
    format!("{reads_max} reads that were ready, with {} frames", frames.len())
}

/// Somebody who does not wait polls in between, and first of all: whoever waits then, in a task of
/// its own and for as long as it takes, is woken all the same.
pub(super) async fn given_up(stage: Stage) -> Verdict {
    let (pair, _listener) = stage.pair().await?;
    let capabilities = pair.capabilities();
    let Pair { client, server, again } = pair;
    let size = capabilities.frame_bytes_max.min(GIVEN_UP_BYTES);
    stage.doing("reading with polls of which many are not repeated");
    let sent: Vec<_> = (0..GIVEN_UP_FRAMES).map(|number| frame(number, size)).collect();
    let End { reader: _client_reader, mut writer, .. } = client;
    let End { reader, writer: _server_writer, .. } = server;
    let reading = tokio::spawn(read_restlessly(reader, capabilities.reliable));
    // It waits before anything is written.
    yield_now().await;
    let frames = sent.clone();
    let writing = tokio::spawn(async move {
        for frame in frames {
            writer.write(&mut VecDeque::from([frame])).await?;
            // The reader is to find nothing now and then.
            yield_now().await;
        }
        end_or_repeat(writer, capabilities, again).await
    });
    let (frames, _writer) = both(reading, writing, capabilities.reliable).await?;
    judge_stream(&stage, capabilities, sent, &frames)
}

/// Everything up to the end, or to the last frame where the end may be lost.
async fn read_restlessly(mut reader: Reader, reliable: bool) -> Result<Vec<Frame>, Breach> {
    let mut frames = Vec::new();
    loop {
        let looked = frames.len();
        for _ in 0..TRIES {
            match reader.try_read(&mut frames) {
                Poll::Ready(Ok(0)) => return Ok(frames),
                Poll::Ready(Ok(_)) | Poll::Pending => {}
                Poll::Ready(Err(source)) => {
                    let doing = "polling by somebody who does not wait".into();
                    return Err(Breach::Read { doing, source });
                }
            }
        }
        let is_last = |frame: &Frame| frame.body == last().body;
        if !reliable && frames[looked..].iter().any(is_last) {
            return Ok(frames);
        }
        let looked = frames.len();
        if !reader.read_some(&mut frames).await? {
            return Ok(frames);
        }
        if !reliable && frames[looked..].iter().any(is_last) {
            return Ok(frames);
        }
    }
}

/// Writes all batches at the client's end and holds what comes at the server's against them. What
/// follows the last frame is read too, as far as a frame of its own shows it.
async fn carry_all(
    stage: &Stage,
    pair: &mut Pair,
    batches: &[Vec<Frame>],
    sent: &[Frame],
) -> Result<(), Breach> {
    if !pair.capabilities().reliable {
        return carry_till_seen(stage, pair, batches, sent).await;
    }
    let writer = &mut pair.client.writer;
    let writing = async {
        write_batches(writer, batches).await?;
        writer.write(&mut VecDeque::from([last()])).await
    };
    let reading = pair.server.reader.read_frames(sent.len() + 1);
    let ((), read) = tokio::try_join!(writing, reading)?;
    let mut all = sent.to_vec();
    all.push(last());
    stage.rules(pair.capabilities()).judge(&all, &read)
}

/// The same where frames may be lost: again and again, each time up to a last frame that comes,
/// until each frame came once, or any at all where they are too many to ask for each.
async fn carry_till_seen(
    stage: &Stage,
    pair: &mut Pair,
    batches: &[Vec<Frame>],
    sent: &[Frame],
) -> Result<(), Breach> {
    let rules = stage.rules(pair.capabilities());
    let wants_each = sent.len() <= EACH_FRAMES_MAX && !stage.options.corrupting;
    let mut missing: HashSet<_> = sent.iter().map(|frame| &frame.body).collect();
    let (all, mut written, mut read) = (missing.len(), Vec::new(), Vec::new());
    for round in 0_usize.. {
        let last = Frame::ordered(body(usize::MAX - round, LAST_BYTES));
        written.extend(sent.iter().cloned().chain([last.clone()]));
        let writer = &mut pair.client.writer;
        let writing = async {
            match write_batches(writer, batches).await {
                Ok(()) => writer.repeat(&last, stage.again()).await,
                Err(breach) => breach,
            }
        };
        read.extend(tokio::select! {
            biased;
            read = pair.server.reader.read_until(&last) => read?,
            breach = writing => return Err(breach),
        });
        rules.judge(&written, &read)?;
        for frame in &read {
            missing.remove(&frame.body);
        }
        // Where bytes change, none need be as it was.
        let any = missing.len() < all || stage.options.corrupting && read.len() > round + 1;
        if missing.is_empty() || any && !wants_each {
            break;
        }
    }
    Ok(())
}

async fn write_batches(writer: &mut Writer, batches: &[Vec<Frame>]) -> Result<(), Breach> {
    for batch in batches {
        writer.write(&mut batch.iter().cloned().collect()).await?;
    }
    Ok(())
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
const IDLE_COPIES_MAX: usize = 1000;
const GIVEN_UP_FRAMES: usize = 500;
const GIVEN_UP_BYTES: usize = 3000;
const TRIES: usize = 3;
const LAST_BYTES: usize = 7;

/// Of so many frames each is asked for on a wire that may lose them.
const EACH_FRAMES_MAX: usize = 100;
