//! What the framing promises of memory, copies and calls, seen from the inside.

use super::reader::{AHEAD_BYTES_MIN, FrameReader};
use super::scratch::SCRATCH_BYTES;
use super::writer::{FrameWriter, LENGTH_BYTES, Length, WriteStream};
use emitwire_core::protocol::Frame;
use emitwire_core::transport::{HandshakeError, ReadError, ReadHalf, WriteHalf};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, ReadBuf};

/// A stream that hands out one chunk a read, then ends.
struct Chunks(VecDeque<Vec<u8>>);

impl AsyncRead for Chunks {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(mut chunk) = self.0.pop_front() {
            let rest = chunk.split_off(chunk.len().min(room.remaining()));
            room.put_slice(&chunk);
            if !rest.is_empty() {
                self.0.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn reader(chunks: impl IntoIterator<Item = Vec<u8>>, max: usize) -> FrameReader<Chunks> {
    FrameReader::new(Chunks(chunks.into_iter().collect()), max)
}

fn read(reader: &mut FrameReader<Chunks>, frames: &mut Vec<Frame>) -> Result<usize, ReadError> {
    match reader.poll_read(&mut Context::from_waker(Waker::noop()), frames) {
        Poll::Ready(result) => result,
        Poll::Pending => unreachable!("the chunks are all there"),
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes(), body].concat()
}

fn is_idle<R>(reader: &FrameReader<R>) -> bool {
    reader.partial.is_empty() && reader.partial.body.capacity() == 0
}

const MIB: usize = 1024 * 1024;

#[test]
fn no_memory_is_held_between_frames() {
    for size in [0, 1, 100, 5000, SCRATCH_BYTES, MIB, 3 * MIB + 1] {
        let bytes = framed(&vec![7; size]);
        for chunk in [1 + size / 1000, 1400, SCRATCH_BYTES, usize::MAX] {
            let mut reader = reader(bytes.chunks(chunk).map(<[u8]>::to_vec), 16 * MIB);
            assert!(is_idle(&reader));
            let mut frames = Vec::new();
            while frames.is_empty() {
                assert_ne!(read(&mut reader, &mut frames).unwrap(), 0);
            }
            assert_eq!(frames[0].body, vec![7; size]);
            assert!(is_idle(&reader), "{size} bytes in chunks of {chunk}");
        }
    }
}

#[test]
fn a_partial_frame_holds_what_has_arrived_and_as_much_again() {
    let body = vec![7; 8 * MIB];
    let bytes = framed(&body);
    let mut reader = reader(bytes.chunks(1400).map(<[u8]>::to_vec), 16 * MIB);
    let mut frames = Vec::new();
    let mut arrived = 0;
    while frames.is_empty() {
        arrived += read(&mut reader, &mut frames).unwrap();
        let held = reader.partial.body.capacity();
        assert!(held <= 2 * arrived + AHEAD_BYTES_MIN, "{held} for {arrived}");
        assert!(held <= body.len());
    }
    assert_eq!(frames[0].body, body);
}

#[test]
fn a_header_alone_reserves_nothing() {
    let mut reader = reader([framed(&[7; 1000])[..4].to_vec()], MIB);
    assert_eq!(read(&mut reader, &mut Vec::new()).unwrap(), 4);
    assert_eq!(reader.partial.body.capacity(), 0);
}

/// An alert and the beginning of a handshake (RFC 8446 §5.1).
const OF_TLS: [[u8; 7]; 2] = [[0x15, 3, 3, 0, 2, 2, 10], [0x16, 3, 1, 2, 0, 1, 0]];

#[test]
fn a_peer_that_begins_to_encrypt_is_recognised_and_only_where_it_begins() {
    for record in OF_TLS {
        for at in 1..record.len() {
            let (one, other) = record.split_at(at);
            let mut reader = reader([one.to_vec(), other.to_vec()], MIB);
            let mut frames = Vec::new();
            let first = read(&mut reader, &mut frames);
            let error = if at < 4 { read(&mut reader, &mut frames) } else { first }.unwrap_err();
            let is_told =
                matches!(error, ReadError::Handshake { source: HandshakeError::Encrypted });
            assert!(is_told && is_idle(&reader), "{at}: {error:?}");
        }
        for before in [framed(b"a"), framed(&[7; 200_000])] {
            let mut reader = reader([before.clone(), record.to_vec()], MIB);
            let mut frames = Vec::new();
            let error = loop {
                if let Err(error) = read(&mut reader, &mut frames) {
                    break error;
                }
            };
            assert!(matches!(error, ReadError::FrameTooLarge { .. }), "{error:?}");
            assert!(frames.len() == 1 && is_idle(&reader));
        }
    }
}

#[test]
fn a_length_over_the_limit_reserves_nothing_and_what_follows_is_thrown_away() {
    let mut reader = reader([u32::MAX.to_be_bytes().to_vec(), framed(b"a"), vec![7; 100]], MIB);
    let mut frames = Vec::new();
    let error = read(&mut reader, &mut frames).unwrap_err();
    let ReadError::FrameTooLarge { bytes, max } = error else { panic!("{error:?}") };
    assert_eq!((bytes, max), (u64::from(u32::MAX), MIB));
    for count in [5, 100, 0] {
        assert_eq!(read(&mut reader, &mut frames).unwrap(), count);
        assert!(frames.is_empty() && is_idle(&reader));
    }
}

#[test]
fn a_session_lowers_the_limit_of_its_wire_and_never_raises_it() {
    let mut reader = reader([], MIB);
    reader.set_frame_bytes_max(100);
    assert_eq!(reader.frame_bytes_max, 100);
    reader.set_frame_bytes_max(usize::MAX);
    assert_eq!(reader.frame_bytes_max, MIB);
}

#[test]
fn the_frames_of_one_read_share_one_allocation() {
    let bytes = [framed(b"one"), framed(b""), framed(b"three"), framed(b"")].concat();
    let mut frames = Vec::new();
    read(&mut reader([bytes], MIB), &mut frames).unwrap();
    let bodies: Vec<&[u8]> = frames.iter().map(|frame| &frame.body[..]).collect();
    assert_eq!(bodies, [b"one", &b""[..], b"three", b""]);
    let between = bodies[2].as_ptr() as usize - bodies[0].as_ptr() as usize;
    assert_eq!(between, "one".len() + 2 * LENGTH_BYTES);
}

#[test]
fn a_stream_that_ends_inside_a_frame_is_truncated() {
    let bytes = framed(&[7; 200_000]);
    for end in [1, 4, 5, 199_999] {
        let mut reader = reader(bytes[..end].chunks(70_000).map(<[u8]>::to_vec), MIB);
        let mut frames = Vec::new();
        let error = loop {
            match read(&mut reader, &mut frames) {
                Ok(count) => assert_ne!(count, 0),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, ReadError::Truncated), "{error:?}");
        assert!(frames.is_empty());
    }
}

/// Chance enough to mix sizes (Knuth's MMIX generator).
struct Mixer(u64);

impl Mixer {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) as usize % end
    }

    fn frame(&mut self) -> Frame {
        let size = match self.below(10) {
            0 => 0,
            1..7 => self.below(200),
            7 => self.below(5000),
            8 => self.below(70_000),
            _ => self.below(400_000),
        };
        let first = self.below(256);
        Frame::ordered((0..size).map(|at| (first + at) as u8).collect::<Vec<_>>())
    }
}

#[test]
fn frames_are_the_same_however_the_stream_is_cut() {
    for seed in 0..100 {
        let mut mixer = Mixer(seed);
        let count = 1 + mixer.below(30);
        let frames: Vec<Frame> = (0..count).map(|_| mixer.frame()).collect();
        let mut rest: &[u8] =
            &frames.iter().flat_map(|frame| framed(&frame.body)).collect::<Vec<_>>();
        let largest = [300, 5000, 100_000][seed as usize % 3];
        let mut chunks = Vec::new();
        while !rest.is_empty() {
            let (chunk, more) = rest.split_at(rest.len().min(1 + mixer.below(largest)));
            chunks.push(chunk.to_vec());
            rest = more;
        }
        let mut reader = reader(chunks, MIB);
        let mut arrived = Vec::new();
        while read(&mut reader, &mut arrived).unwrap() > 0 {}
        assert!(arrived == frames, "seed {seed}");
        assert!(is_idle(&reader), "seed {seed}");
    }
}

/// A stream that takes so many bytes a write, and is full after every second write.
struct Takes {
    bytes_max: usize,
    written: Vec<u8>,
    writes: Vec<usize>,
    is_full: bool,
}

impl Takes {
    fn new(bytes_max: usize) -> Self {
        Self { bytes_max, written: Vec::new(), writes: Vec::new(), is_full: false }
    }
}

impl WriteStream for Takes {
    fn poll_write(
        &mut self,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.is_full = !self.is_full && self.bytes_max < usize::MAX;
        if self.is_full {
            return Poll::Pending;
        }
        let before = self.written.len();
        for slice in slices {
            let room = self.bytes_max - (self.written.len() - before);
            self.written.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        self.writes.push(slices.len());
        Poll::Ready(Ok(self.written.len() - before))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn write(
    writer: &mut FrameWriter<Takes, Length>,
    batch: &mut VecDeque<Frame>,
) -> Poll<io::Result<()>> {
    writer.poll_write(&mut Context::from_waker(Waker::noop()), batch)
}

fn frames(sizes: &[usize]) -> VecDeque<Frame> {
    sizes.iter().map(|size| Frame::ordered(vec![7; *size])).collect()
}

#[test]
fn a_batch_that_fits_goes_out_in_one_write() {
    let slices_of = |sizes: &[usize]| {
        let mut writer = FrameWriter::<_, Length>::new(Takes::new(usize::MAX));
        let mut batch = frames(sizes);
        assert!(write(&mut writer, &mut batch).is_ready());
        assert!(batch.is_empty());
        writer.stream.writes
    };
    assert_eq!(slices_of(&[]), []);
    assert_eq!(slices_of(&[10]), [1]);
    assert_eq!(slices_of(&[10; 500]), [1]);
    assert_eq!(slices_of(&[MIB]), [2]);
    assert_eq!(slices_of(&[10, MIB, 10, 10, MIB, 0]), [5]);
    assert_eq!(slices_of(&[100_000; 31]), [62]);
    assert_eq!(slices_of(&[100_000; 32]), [62, 2]);
    assert_eq!(slices_of(&[2000; 40]), [1, 1]);
}

#[test]
fn bytes_are_the_same_however_little_the_stream_takes() {
    for seed in 0..100 {
        let mut mixer = Mixer(seed);
        let bytes_max = [3, 1000, 50_000, 500_000][seed as usize % 4];
        // Three bytes a time is for headers; large bodies would only take long.
        let sizes_max = if bytes_max == 3 { 300 } else { usize::MAX };
        let mut writer = FrameWriter::<_, Length>::new(Takes::new(bytes_max));
        let mut batch = VecDeque::new();
        let mut expected = Vec::new();
        for _ in 0..1 + mixer.below(20) {
            let frame = mixer.frame();
            if frame.body.len() <= sizes_max {
                expected.extend(framed(&frame.body));
                batch.push_back(frame);
            }
            // Later frames join while the first is partly written.
            let _ = write(&mut writer, &mut batch).map(Result::unwrap);
        }
        while write(&mut writer, &mut batch).map(Result::unwrap).is_pending() {}
        assert!(writer.stream.written == expected, "seed {seed}");
        assert_eq!(writer.offset, 0);
    }
}

#[test]
fn a_stream_that_takes_nothing_for_good_is_an_error() {
    let mut writer = FrameWriter::<_, Length>::new(Takes::new(0));
    let mut batch = frames(&[10]);
    assert!(write(&mut writer, &mut batch).is_pending());
    let Poll::Ready(Err(error)) = write(&mut writer, &mut batch) else { panic!("no error") };
    assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    assert_eq!(batch.len(), 1);
}
