//! Bodies that follow from a number, and what may become of frames on their way.

use super::breach::Breach;
use crate::protocol::Frame;
use crate::transport::Capabilities;
use bytes::Bytes;
use std::collections::{HashMap, HashSet};

/// A body of that size. Bodies of different numbers differ, as far as their sizes allow, and so
/// do the parts of one body.
pub(super) fn body(number: usize, size: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(size.next_multiple_of(BLOCK_BYTES));
    let mut block = [0; BLOCK_BYTES];
    for (at, byte) in (0_usize..).zip(&mut block) {
        *byte = (at as u8).wrapping_mul(31).wrapping_add(number as u8);
    }
    while bytes.len() < size {
        let place = (bytes.len() / BLOCK_BYTES) as u32;
        block[..4].copy_from_slice(&(number as u32).to_be_bytes());
        block[4..8].copy_from_slice(&place.to_be_bytes());
        bytes.extend_from_slice(&block);
    }
    bytes.truncate(size);
    bytes.into()
}

/// An ordered frame with such a body.
pub(super) fn frame(number: usize, size: usize) -> Frame {
    Frame::ordered(body(number, size))
}

/// `count` frames of four bytes, each other than the rest.
pub(super) fn numbered(count: usize) -> impl Iterator<Item = Frame> {
    (0..count).map(|number| frame(number, NUMBER_BYTES))
}

/// What may become of frames on their way.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    reliable: bool,
    ordered: bool,
    corrupting: bool,
    frame_bytes_max: usize,
}

impl Rules {
    pub(super) fn new(capabilities: Capabilities, corrupting: bool) -> Self {
        let Capabilities { reliable, ordered, frame_bytes_max, .. } = capabilities;
        Self { reliable, ordered, corrupting, frame_bytes_max }
    }

    /// Holds what was read against all that was written.
    pub(super) fn judge(self, sent: &[Frame], read: &[Frame]) -> Result<(), Breach> {
        if self.corrupting {
            return self.judge_sizes(read);
        }
        match (self.reliable, self.ordered) {
            (true, true) => judge_exactly(sent, read),
            (true, false) => judge_counts(sent, read),
            (false, true) => judge_subsequence(sent, read),
            (false, false) => judge_known(sent, read),
        }
    }

    /// The same for volatile frames, which may be lost and overtaken on every wire.
    pub(super) fn judge_volatile(self, sent: &[Frame], read: &[Frame]) -> Result<(), Breach> {
        Self { reliable: false, ordered: false, ..self }.judge(sent, read)
    }

    fn judge_sizes(self, read: &[Frame]) -> Result<(), Breach> {
        let long = read.iter().find(|frame| frame.body.len() > self.frame_bytes_max);
        long.map_or(Ok(()), |frame| {
            let expected = format!("frames of up to {} bytes", self.frame_bytes_max);
            Err(Breach::broken(expected, size(frame)))
        })
    }
}

fn judge_exactly(sent: &[Frame], read: &[Frame]) -> Result<(), Breach> {
    let same = sent.iter().zip(read).take_while(|(sent, read)| sent.body == read.body).count();
    if same == sent.len() && same == read.len() {
        return Ok(());
    }
    let all = sent.len();
    let expected = match sent.get(same) {
        Some(frame) => format!("frame {same} of {all} in its place, {}", size(frame)),
        None => format!("the end after {all} frames"),
    };
    Err(Breach::broken(
        expected,
        read.get(same)
            .map_or_else(|| format!("the end after {same} frames"), |frame| whose(sent, frame)),
    ))
}

fn judge_counts(sent: &[Frame], read: &[Frame]) -> Result<(), Breach> {
    let mut open: HashMap<&Bytes, isize> = HashMap::new();
    for frame in sent {
        *open.entry(&frame.body).or_default() += 1;
    }
    for frame in read {
        *open.entry(&frame.body).or_default() -= 1;
        if open[&frame.body] < 0 {
            return Err(Breach::broken("each frame once", format!("{} twice", whose(sent, frame))));
        }
    }
    let missing: isize = open.values().sum();
    if missing == 0 {
        return Ok(());
    }
    Err(Breach::broken(format!("all {} frames", sent.len()), format!("{missing} missing")))
}

fn judge_subsequence(sent: &[Frame], read: &[Frame]) -> Result<(), Breach> {
    let mut place = 0;
    for frame in read {
        let found = sent[place..].iter().position(|sent| sent.body == frame.body);
        let Some(ahead) = found else {
            let expected = format!("no frame from before number {place}");
            return Err(Breach::broken(expected, whose(sent, frame)));
        };
        place += ahead;
    }
    Ok(())
}

fn judge_known(sent: &[Frame], read: &[Frame]) -> Result<(), Breach> {
    let known: HashSet<&Bytes> = sent.iter().map(|frame| &frame.body).collect();
    match read.iter().find(|frame| !known.contains(&frame.body)) {
        None => Ok(()),
        Some(frame) => Err(Breach::broken("only frames that were written", whose(sent, frame))),
    }
}

fn whose(sent: &[Frame], frame: &Frame) -> String {
    match sent.iter().position(|sent| sent.body == frame.body) {
        Some(number) => format!("what was written as number {number}, {}", size(frame)),
        None => format!("{} that nobody wrote", size(frame)),
    }
}

fn size(frame: &Frame) -> String {
    format!("{} bytes", frame.body.len())
}

/// How many bytes tell [`numbered`] frames apart.
pub(super) const NUMBER_BYTES: usize = 4;

/// After how many bytes a body says again where it is. A power of two would let a shift by a page
/// go unseen.
const BLOCK_BYTES: usize = 251;

#[cfg(test)]
mod tests {
    use super::*;

    /// What a wire of these promises may make of five frames: the places of those that arrive.
    fn may(reliable: bool, ordered: bool, arrived: &[usize]) -> bool {
        let sent: Vec<_> = numbered(5).collect();
        let read: Vec<_> = arrived.iter().map(|number| frame(*number, NUMBER_BYTES)).collect();
        let rules = Rules { reliable, ordered, corrupting: false, frame_bytes_max: 100 };
        rules.judge(&sent, &read).is_ok()
    }

    #[test]
    fn a_wire_that_keeps_everything_may_change_nothing() {
        assert!(may(true, true, &[0, 1, 2, 3, 4]));
        for arrived in [&[0, 1, 2, 3][..], &[0, 1, 3, 2, 4], &[0, 1, 2, 3, 4, 4], &[0, 1, 2, 3, 9]]
        {
            assert!(!may(true, true, arrived), "{arrived:?}");
        }
    }

    #[test]
    fn a_wire_without_order_may_reorder_and_nothing_else() {
        assert!(may(true, false, &[4, 0, 1, 3, 2]));
        for arrived in [&[0, 1, 2, 3][..], &[0, 1, 2, 3, 3], &[0, 1, 2, 3, 4, 4], &[0, 1, 2, 3, 9]]
        {
            assert!(!may(true, false, arrived), "{arrived:?}");
        }
    }

    #[test]
    fn a_wire_that_loses_in_order_may_not_reorder() {
        assert!(may(false, true, &[1, 1, 4]));
        for arrived in [&[1, 0][..], &[9]] {
            assert!(!may(false, true, arrived), "{arrived:?}");
        }
    }

    #[test]
    fn a_wire_that_promises_nothing_may_not_invent() {
        assert!(may(false, false, &[4, 1, 1]));
        assert!(!may(false, false, &[9]));
    }

    #[test]
    fn a_corrupting_wire_keeps_to_its_lengths() {
        let rules = Rules { reliable: false, ordered: false, corrupting: true, frame_bytes_max: 9 };
        assert!(rules.judge(&[], &[frame(1, 9)]).is_ok());
        assert!(rules.judge(&[], &[frame(1, 10)]).is_err());
    }

    #[test]
    fn no_part_of_a_body_is_like_another() {
        let body = body(7, 20 * BLOCK_BYTES);
        let mut parts: Vec<_> = body.chunks(BLOCK_BYTES).collect();
        parts.sort_unstable();
        parts.dedup();
        assert_eq!(parts.len(), 20);
    }
}
