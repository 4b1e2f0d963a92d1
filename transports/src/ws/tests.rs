//! What both halves promise of memory, and of the order of bytes under partial writes, seen from
//! the inside.

use super::reader::Reader;
use super::rules::mask;
use super::writer::{Output, Writer};
use crate::framing::WriteStream;
use emitwire_core::protocol::Frame;
use emitwire_core::transport::{ReadError, ReadHalf, WriteHalf};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::Role;

const ROLES: [Role; 2] = [Role::Server, Role::Client];

/// A stream that hands out one chunk a read, and is pending without one.
#[derive(Default)]
struct Chunks(Arc<Mutex<VecDeque<Vec<u8>>>>);

impl AsyncRead for Chunks {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut chunks = self.0.lock().unwrap();
        let Some(mut chunk) = chunks.pop_front() else { return Poll::Pending };
        let rest = chunk.split_off(chunk.len().min(room.remaining()));
        room.put_slice(&chunk);
        if !rest.is_empty() {
            chunks.push_front(rest);
        }
        Poll::Ready(Ok(()))
    }
}

/// A stream that takes as many bytes as it is allowed to, and is pending without.
#[derive(Default)]
struct Wire {
    room: usize,
    written: Vec<u8>,
    writes: usize,
    closed: bool,
}

#[derive(Clone, Default)]
struct Narrow(Arc<Mutex<Wire>>);

impl Narrow {
    fn allow(&self, bytes: usize) {
        let mut wire = self.0.lock().unwrap();
        wire.room = wire.room.saturating_add(bytes);
    }

    fn written(&self) -> Vec<u8> {
        self.0.lock().unwrap().written.clone()
    }

    fn is_closed(&self) -> bool {
        self.0.lock().unwrap().closed
    }
}

impl WriteStream for Narrow {
    fn poll_write(
        &mut self,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wire = &mut *self.0.lock().unwrap();
        if wire.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let bytes = slices.iter().flat_map(|slice| slice.iter().copied());
        let before = wire.written.len();
        wire.written.extend(bytes.take(wire.room));
        let count = wire.written.len() - before;
        wire.room -= count;
        wire.writes += 1;
        if count == 0 { Poll::Pending } else { Poll::Ready(Ok(count)) }
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().unwrap().closed = true;
        Poll::Ready(Ok(()))
    }
}

/// One end, with its peer in the hands of the test.
struct End {
    role: Role,
    chunks: Arc<Mutex<VecDeque<Vec<u8>>>>,
    wire: Narrow,
    reader: Reader<Chunks, Narrow>,
    writer: Writer<Narrow>,
}

impl End {
    fn new(role: Role) -> Self {
        let (chunks, wire) = (Chunks::default(), Narrow::default());
        let output = Arc::new(Output::new(wire.clone(), role));
        let shared = Arc::clone(&chunks.0);
        let reader = Reader::new(chunks, role, Vec::new(), MAX, Arc::clone(&output));
        Self { role, chunks: shared, wire, reader, writer: Writer(output) }
    }

    /// The peer writes a frame; it is read as far as anything is there.
    fn hears(&mut self, first: u8, body: &[u8]) -> Result<Vec<Frame>, ReadError> {
        let bytes = from_peer(self.role, first, body);
        self.hears_bytes(bytes)
    }

    fn hears_bytes(&mut self, bytes: Vec<u8>) -> Result<Vec<Frame>, ReadError> {
        self.chunks.lock().unwrap().push_back(bytes);
        self.reads()
    }

    fn reads(&mut self) -> Result<Vec<Frame>, ReadError> {
        let mut frames = Vec::new();
        loop {
            let mut cx = Context::from_waker(Waker::noop());
            match self.reader.poll_read(&mut cx, &mut frames) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Ready(Ok(0)) | Poll::Pending => return Ok(frames),
            }
        }
    }

    fn writes(&mut self, batch: &mut VecDeque<Frame>) -> Poll<io::Result<()>> {
        self.writer.poll_write(&mut Context::from_waker(Waker::noop()), batch)
    }

    fn closes(&mut self) -> Poll<io::Result<()>> {
        self.writer.poll_close(&mut Context::from_waker(Waker::noop()))
    }

    /// What went out, frame by frame: opcode and body.
    fn said(&self) -> Vec<(u8, Vec<u8>)> {
        let bytes = self.wire.written();
        let (frames, rest) = parse(&bytes);
        assert_eq!(rest, b"", "a frame is not whole");
        frames
    }
}

const MAX: usize = 1 << 20;

const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

fn from_peer(role: Role, first: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match body.len() {
        length @ 0..=125 => frame.push(length as u8),
        length @ 126..=0xffff => {
            frame.push(126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let key = [1, 2, 3, 4];
    let begin = frame.len() + 4;
    if role == Role::Server {
        frame[1] |= 0x80;
        frame.extend_from_slice(&key);
    }
    frame.extend_from_slice(body);
    if role == Role::Server {
        for (at, byte) in frame[begin..].iter_mut().enumerate() {
            *byte ^= key[at % 4];
        }
    }
    frame
}

/// The whole frames in front, and what is left.
fn parse(mut bytes: &[u8]) -> (Vec<(u8, Vec<u8>)>, &[u8]) {
    let mut frames = Vec::new();
    while let Some((&[first, second], rest)) = bytes.split_first_chunk() {
        let (length, rest) = match second & 0x7f {
            126 => {
                let Some((length, rest)) = rest.split_first_chunk() else { break };
                (u64::from(u16::from_be_bytes(*length)), rest)
            }
            127 => {
                let Some((length, rest)) = rest.split_first_chunk() else { break };
                (u64::from_be_bytes(*length), rest)
            }
            length => (length.into(), rest),
        };
        let key_bytes = if second & 0x80 == 0 { 0 } else { 4 };
        let Some((key, rest)) = rest.split_at_checked(key_bytes) else { break };
        let Some((body, rest)) = rest.split_at_checked(length as usize) else { break };
        let key = if key.is_empty() { &[0; 4] } else { key };
        let body = body.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        frames.push((first, body));
        bytes = rest;
    }
    (frames, bytes)
}

/// Chance enough to mix sizes (Knuth's MMIX generator).
struct Mixer(u64);

impl Mixer {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) as usize % end
    }

    fn frame(&mut self) -> Frame {
        let size = match self.below(8) {
            0 => 0,
            1..6 => self.below(200),
            6 => self.below(5000),
            _ => self.below(100_000),
        };
        let first = self.below(256);
        Frame::ordered((0..size).map(|at| (first + at) as u8).collect::<Vec<_>>())
    }
}

#[test]
fn pongs_stand_between_frames_however_little_the_wire_takes() {
    for seed in 0..200 {
        let mut mixer = Mixer(seed);
        let mut end = End::new(ROLES[seed as usize % 2]);
        let (mut frames, mut batch, mut pings) = (Vec::new(), VecDeque::new(), 0_u8);
        for _ in 0..60 {
            match mixer.below(4) {
                0 => {
                    let frame = mixer.frame();
                    frames.push(frame.body.to_vec());
                    batch.push_back(frame);
                }
                1 if pings < 250 => {
                    pings += 1;
                    assert_eq!(end.hears(PING, &[pings; 20]).unwrap(), []);
                }
                2 => end.wire.allow(mixer.below([3, 40, 20_000][mixer.0 as usize % 3])),
                _ => {}
            }
            match mixer.below(3) {
                0 => {
                    let _ = end.writes(&mut batch).map(Result::unwrap);
                }
                1 => assert_eq!(end.reads().unwrap(), []),
                _ => {}
            }
        }
        end.wire.allow(usize::MAX);
        assert!(end.writes(&mut batch).map(Result::unwrap).is_ready());
        assert!(end.closes().map(Result::unwrap).is_ready());
        let mut said = end.said();
        assert_eq!(said.pop(), Some((CLOSE, vec![3, 232])), "seed {seed}");
        let (pongs, others): (Vec<_>, Vec<_>) =
            said.into_iter().partition(|(first, _)| *first == PONG);
        assert!(others.iter().all(|(first, _)| *first == BINARY));
        let bodies: Vec<_> = others.into_iter().map(|(_, body)| body).collect();
        assert!(bodies == frames, "seed {seed}");
        let numbers: Vec<u8> = pongs.iter().map(|(_, body)| body[0]).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "seed {seed}: {numbers:?}");
        assert_eq!(numbers.last().copied().unwrap_or(0), pings, "the newest is answered");
        assert!(pongs.iter().all(|(_, body)| *body == [body[0]; 20]));
    }
}

#[test]
fn of_the_pings_of_a_peer_that_reads_nothing_some_wait_and_the_newest() {
    for role in ROLES {
        let mut end = End::new(role);
        // A part of the first pong goes out, and has to be ended.
        end.wire.allow(1);
        for number in 0..=255 {
            assert_eq!(end.hears(PING, &[number; 125]).unwrap(), []);
        }
        end.wire.allow(usize::MAX);
        assert_eq!(end.reads().unwrap(), []);
        let said = end.said();
        let (newest, first) = said.split_last().unwrap();
        assert_eq!(*newest, (PONG, vec![255; 125]));
        let numbered = (0..first.len() as u8).map(|number| (PONG, vec![number; 125]));
        assert!(first.iter().eq(&numbered.collect::<Vec<_>>()), "{first:?}");
        assert!((1..=17).contains(&first.len()), "{}", first.len());
    }
}

#[test]
fn the_pings_of_one_read_are_answered_in_one_write_and_when_they_are_many_by_few() {
    for role in ROLES {
        let mut end = End::new(role);
        end.wire.allow(usize::MAX);
        let pings =
            |count: u16| (0..count).map(|number| from_peer(role, PING, &number.to_be_bytes()));
        assert_eq!(end.hears_bytes(pings(10).flatten().collect()).unwrap(), []);
        assert_eq!(end.said().len(), 10);
        assert_eq!(end.wire.0.lock().unwrap().writes, 1);
        assert_eq!(end.hears_bytes(pings(5000).flatten().collect()).unwrap(), []);
        let said = end.said();
        assert!(said.len() < 10 + 1100, "{}", said.len());
        assert_eq!(said.last(), Some(&(PONG, 4999_u16.to_be_bytes().to_vec())));
        assert_eq!(end.wire.0.lock().unwrap().writes, 3);
    }
}

#[test]
fn a_pong_that_waits_goes_out_with_the_next_read_or_write() {
    for role in ROLES {
        for writes in [false, true] {
            let mut end = End::new(role);
            assert_eq!(end.hears(PING, b"?").unwrap(), []);
            assert_eq!(end.wire.written(), b"");
            end.wire.allow(usize::MAX);
            if writes {
                let mut batch = VecDeque::from([Frame::ordered("behind")]);
                assert!(end.writes(&mut batch).map(Result::unwrap).is_ready());
                assert_eq!(end.said(), [(PONG, b"?".into()), (BINARY, b"behind".into())]);
            } else {
                assert_eq!(end.reads().unwrap(), []);
                assert_eq!(end.said(), [(PONG, b"?".into())]);
            }
        }
    }
}

#[test]
fn a_close_waits_behind_a_pong_that_waits_and_is_not_forgotten() {
    for role in ROLES {
        for allowance in 0..30 {
            let mut end = End::new(role);
            end.wire.allow(allowance);
            assert_eq!(end.hears(PING, b"first").unwrap(), []);
            assert_eq!(end.hears(PING, b"second").unwrap(), []);
            let _ = end.closes().map(Result::unwrap);
            let _ = end.closes().map(Result::unwrap);
            end.wire.allow(usize::MAX);
            assert!(end.closes().map(Result::unwrap).is_ready());
            let said = end.said();
            assert_eq!(said.last(), Some(&(CLOSE, vec![3, 232])), "{role:?} {allowance}");
            assert_eq!(said[said.len() - 2], (PONG, b"second".into()));
            assert!(end.wire.is_closed());
        }
    }
}

#[test]
fn nothing_follows_a_close_that_is_written_in_part() {
    for role in ROLES {
        for allowance in 0..8 {
            let mut end = End::new(role);
            end.wire.allow(allowance);
            let _ = end.closes().map(Result::unwrap);
            assert_eq!(end.hears(PING, b"too late").unwrap(), []);
            let mut batch = VecDeque::from([Frame::ordered("too late")]);
            assert!(matches!(end.writes(&mut batch), Poll::Ready(Err(_))));
            end.wire.allow(usize::MAX);
            assert!(end.closes().map(Result::unwrap).is_ready());
            assert_eq!(end.said(), [(CLOSE, vec![3, 232])], "{role:?} {allowance}");
        }
    }
}

#[test]
fn a_close_inside_a_frame_waits_for_the_end_of_the_frame() {
    for role in ROLES {
        let mut end = End::new(role);
        end.wire.allow(50);
        let mut batch = VecDeque::from([Frame::ordered(vec![7; 100])]);
        assert!(end.writes(&mut batch).is_pending());
        // Its caller has given up, and the rest of the frame with it.
        drop(batch);
        assert!(end.closes().map(Result::unwrap).is_pending());
        end.wire.allow(20);
        assert!(end.closes().map(Result::unwrap).is_pending());
        end.wire.allow(usize::MAX);
        assert!(end.closes().map(Result::unwrap).is_ready());
        assert!(end.wire.is_closed());
        assert_eq!(end.said(), [(BINARY, vec![7; 100]), (CLOSE, vec![3, 232])]);
    }
}

#[test]
fn a_fragment_sum_of_many_empty_parts_holds_nothing() {
    for role in ROLES {
        let mut end = End::new(role);
        assert_eq!(end.hears(0x02, b"").unwrap(), []);
        for _ in 0..10_000 {
            assert_eq!(end.hears(0x00, b"").unwrap(), []);
        }
        assert_eq!(end.reader.held_bytes(), 0);
        assert_eq!(end.hears(0x80, b"end").unwrap(), [Frame::ordered("end")]);
    }
}

#[test]
fn a_header_alone_reserves_nothing_and_a_part_no_more_than_as_much_again() {
    for role in ROLES {
        for fragment in [0x82, 0x02] {
            let mut end = End::new(role);
            let body = vec![7; MAX];
            let bytes = from_peer(role, fragment, &body);
            let mut heard = 0;
            for chunk in bytes.chunks(1400) {
                let frames = end.hears_bytes(chunk.to_vec()).unwrap();
                heard += chunk.len();
                let held = end.reader.held_bytes();
                assert!(held <= 2 * heard + 64, "{held} for {heard}");
                assert!(held <= MAX + 14, "{held}");
                assert!(frames.is_empty() || frames[0].body == body);
            }
            let rest = if fragment == 0x82 { 0..=0 } else { MAX..=MAX + 14 };
            assert!(rest.contains(&end.reader.held_bytes()), "{}", end.reader.held_bytes());
        }
    }
}

#[test]
fn fragments_hold_at_most_twice_what_has_come_of_them() {
    for role in ROLES {
        let mut end = End::new(role);
        let mut heard = 0;
        let mut first = 0x02;
        for _ in 0..1000 {
            assert_eq!(end.hears(first, &[7; 1000]).unwrap(), []);
            (first, heard) = (0x00, heard + 1000);
            let held = end.reader.held_bytes();
            assert!(held <= 2 * heard + 64, "{held} for {heard}");
        }
    }
}

#[test]
fn no_memory_is_held_between_frames_and_none_after_a_failure() {
    for role in ROLES {
        for size in [0, 1, 125, 126, 5000, 70_000, MAX] {
            let bytes = from_peer(role, BINARY, &vec![7; size]);
            for chunk in [1 + size / 1000, 1400, usize::MAX] {
                let mut end = End::new(role);
                for chunk in bytes.chunks(chunk) {
                    let _ = end.hears_bytes(chunk.to_vec()).unwrap();
                }
                assert_eq!(end.reader.held_bytes(), 0, "{size} in chunks of {chunk}");
            }
        }
        for last in [BINARY, 0xf2, CLOSE] {
            let mut end = End::new(role);
            assert_eq!(end.hears(0x02, &[7; 1000]).unwrap(), []);
            for byte in from_peer(role, last, &[3, 232]) {
                let _ = end.hears_bytes(vec![byte]);
            }
            assert_eq!(end.reader.held_bytes(), 0, "{last:#x}");
            assert_eq!(end.hears(0x02, &[7; 1000]).unwrap(), []);
            assert_eq!(end.reader.held_bytes(), 0, "{last:#x}");
        }
    }
}

#[test]
fn a_mask_is_its_own_inverse_at_every_length() {
    let key = [0x12, 0x34, 0x56, 0x78];
    for length in 0..70 {
        let plain: Vec<u8> = (0..length).map(|at| at * 3).collect();
        let mut masked = plain.clone();
        mask(&mut masked, key);
        for (at, (byte, plain)) in masked.iter().zip(&plain).enumerate() {
            assert_eq!(*byte, plain ^ key[at % 4]);
        }
        mask(&mut masked, key);
        assert_eq!(masked, plain);
    }
}
