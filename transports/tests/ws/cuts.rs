//! The same frames, the same answers and the same error, however the stream is cut.

use super::raw::{BINARY, BOTH, CONTINUE, FINAL, Ours, PING, TEXT, raw_and_end};
use emitwire_core::protocol::Frame;
use emitwire_core::transport::ReadError;

/// What our end makes of a stream that arrives in these pieces, each in a read of its own.
async fn read(ours: Ours, pieces: &[&[u8]]) -> (Vec<Frame>, Option<String>) {
    let (mut raw, mut end) = raw_and_end(ours).await;
    let mut frames = Vec::new();
    let mut error = None;
    for piece in pieces {
        raw.send(piece).await;
        let mut bytes = 0;
        while bytes < piece.len() && error.is_none() {
            match end.read(&mut frames).await {
                // Behind a close nothing is read.
                Ok(0) => return (frames, error),
                Ok(count) => bytes += count,
                Err(broken) => error = Some(describe(&broken)),
            }
        }
    }
    (frames, error)
}

fn describe(error: &ReadError) -> String {
    format!("{error:?}")
}

#[tokio::test]
async fn what_is_cut_at_any_byte_is_read_as_if_it_were_not() {
    for ours in BOTH {
        let good = [
            ours.binary("first"),
            ours.binary(vec![5; 126]),
            ours.frame(TEXT, "é".as_bytes()),
            ours.frame(FINAL | PING, b"ping"),
            ours.frame(FINAL | CONTINUE, "ü".as_bytes()),
            ours.binary(""),
        ]
        .concat();
        let ends = [
            ours.close(&[3, 233]),
            ours.frame(FINAL | 0x40 | BINARY, b"bit"),
            ours.frame(FINAL | CONTINUE, b"no beginning"),
            ours.frame(FINAL | TEXT, b"\xff"),
            ours.header(FINAL | BINARY, &[126, 0, 5]),
            ours.header(FINAL | BINARY, &[127, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        ];
        for last in ends {
            let bytes = [&good[..], &last].concat();
            let whole = read(ours, &[&bytes]).await;
            assert_eq!(whole.0.len(), 4);
            for cut in 1..bytes.len() {
                let (head, tail) = bytes.split_at(cut);
                assert_eq!(read(ours, &[head, tail]).await, whole, "cut at {cut}");
            }
        }
    }
}

#[tokio::test]
async fn a_stream_that_dribbles_in_byte_by_byte_is_read_as_if_it_did_not() {
    for ours in BOTH {
        let (mut raw, mut end) = raw_and_end(ours).await;
        let bytes = [
            ours.binary("slowly"),
            ours.binary(""),
            ours.frame(BINARY, &[7; 200]),
            ours.frame(FINAL | PING, b"?"),
            ours.frame(FINAL | CONTINUE, b"but surely"),
        ]
        .concat();
        let mut frames = Vec::new();
        for byte in &bytes {
            raw.send([*byte]).await;
            assert_eq!(end.read(&mut frames).await.unwrap(), 1);
        }
        let bodies: Vec<_> = frames.iter().map(|frame| frame.body.to_vec()).collect();
        let last = [&[7; 200], &b"but surely"[..]].concat();
        assert_eq!(bodies, [b"slowly".to_vec(), Vec::new(), last]);
        assert_eq!(raw.next().await, Some((0x8a, b"?".into())));
    }
}

/// Chance enough to mix sizes (Knuth's MMIX generator).
struct Mixer(u64);

impl Mixer {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) as usize % end
    }

    fn body(&mut self) -> Vec<u8> {
        let size = match self.below(10) {
            0 => 0,
            1..6 => self.below(130),
            6..8 => self.below(3000),
            8 => self.below(70_000),
            _ => self.below(200_000),
        };
        let first = self.below(256);
        (0..size).map(|at| (first + at) as u8).collect()
    }

    /// One body in up to five fragments, perhaps with pings between them.
    fn fragments(&mut self, ours: Ours, body: &[u8]) -> (Vec<u8>, usize) {
        let (mut bytes, mut pings, mut rest) = (Vec::new(), 0, body);
        let count = if self.below(2) == 0 { 1 } else { 1 + self.below(5) };
        for number in 0..count {
            let part = if number + 1 == count { rest.len() } else { self.below(rest.len() + 1) };
            let (part, others) = rest.split_at(part);
            let opcode = if number == 0 { BINARY } else { CONTINUE };
            let last = if number + 1 == count { FINAL } else { 0 };
            bytes.extend(ours.frame(opcode | last, part));
            if self.below(4) == 0 {
                pings += 1;
                bytes.extend(ours.frame(FINAL | PING, b"are you there?"));
            }
            rest = others;
        }
        (bytes, pings)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_are_the_same_however_they_are_fragmented_and_cut() {
    for seed in 0..30 {
        let ours = BOTH[seed as usize % 2];
        let mut mixer = Mixer(seed);
        let bodies: Vec<_> = (0..1 + mixer.below(20)).map(|_| mixer.body()).collect();
        let (mut bytes, mut pings) = (Vec::new(), 0);
        for body in &bodies {
            let (frames, more) = mixer.fragments(ours, body);
            bytes.extend(frames);
            pings += more;
        }
        let (mut raw, mut end) = raw_and_end(ours).await;
        let cutting = tokio::spawn(async move {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let most = [10, 2000, 100_000][mixer.below(3)];
                let (piece, others) = rest.split_at(1 + mixer.below(most.min(rest.len())));
                raw.send(piece).await;
                rest = others;
            }
            raw
        });
        let frames = end.read_frames(bodies.len()).await;
        let mut raw = cutting.await.unwrap();
        raw.send(ours.close(&[])).await;
        assert!(end.read_to_end().await.1.is_ok());
        end.close().await;
        for (number, (frame, body)) in frames.iter().zip(&bodies).enumerate() {
            assert!(frame.body == body, "seed {seed}, body {number}");
        }
        for _ in 0..pings {
            assert_eq!(raw.next().await, Some((0x8a, b"are you there?".into())), "seed {seed}");
        }
        assert_eq!(raw.goodbye_code().await, 1000);
    }
}
