//! One numbered stream, and what became of it: each number is to come once, and in order.

/// The numbers 1 to `length` of one stream, as they arrive.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sequence {
    length: u32,
    highest: u32,
    /// A bit for each number that has come.
    seen: Vec<u64>,
    pub(crate) received: u32,
    pub(crate) duplicates: u32,
    /// Came for the first time, but behind a higher one.
    pub(crate) out_of_order: u32,
    /// No number of this stream.
    pub(crate) unexpected: u32,
}

impl Sequence {
    pub(crate) fn new(length: u32) -> Self {
        Self { length, seen: vec![0; length as usize / 64 + 1], ..Self::default() }
    }

    /// A number has come. Says whether it is a new one.
    pub(crate) fn receive(&mut self, number: u32) -> bool {
        if !(1..=self.length).contains(&number) {
            self.unexpected += 1;
            return false;
        }
        let (word, bit) = (number as usize / 64, 1 << (number % 64));
        if self.seen[word] & bit != 0 {
            self.duplicates += 1;
            return false;
        }
        self.seen[word] |= bit;
        self.received += 1;
        if number < self.highest {
            self.out_of_order += 1;
        }
        self.highest = self.highest.max(number);
        true
    }

    /// The numbers that have not come, in order.
    pub(crate) fn missing(&self) -> impl Iterator<Item = u32> + '_ {
        let has_come = |number: u32| self.seen[number as usize / 64] & (1 << (number % 64)) != 0;
        (1..=self.length).filter(move |number| !has_come(*number))
    }

    /// Whether everything came once and in order.
    pub(crate) fn is_perfect(&self) -> bool {
        let wrong = self.duplicates + self.out_of_order + self.unexpected;
        self.received == self.length && wrong == 0
    }

    /// What is wrong with it, in a few words.
    pub(crate) fn faults(&self) -> String {
        let mut faults = Vec::new();
        let missing: Vec<_> = self.missing().take(NAMED_MAX).map(|it| it.to_string()).collect();
        if !missing.is_empty() {
            let more = (self.length - self.received) as usize - missing.len();
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            faults.push(format!("{}{more} did not come", missing.join(", ")));
        }
        for (count, what) in [
            (self.duplicates, "came again"),
            (self.out_of_order, "came behind a higher one"),
            (self.unexpected, "nobody expected"),
        ] {
            if count > 0 {
                faults.push(format!("{count} {what}"));
            }
        }
        faults.join("; ")
    }
}

/// Missing numbers that are named.
const NAMED_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(length: u32, numbers: &[u32]) -> Sequence {
        let mut sequence = Sequence::new(length);
        for number in numbers {
            sequence.receive(*number);
        }
        sequence
    }

    #[test]
    fn a_stream_that_came_once_and_in_order_is_perfect() {
        let all: Vec<_> = (1..=200).collect();
        let sequence = sequence(200, &all);
        assert!(sequence.is_perfect());
        assert_eq!((sequence.received, sequence.missing().count()), (200, 0));
        assert_eq!(sequence.faults(), "");
    }

    #[test]
    fn what_is_missing_is_named_also_at_the_end() {
        let sequence = sequence(6, &[1, 2, 4, 5]);
        assert!(!sequence.is_perfect());
        assert_eq!(sequence.missing().collect::<Vec<_>>(), [3, 6]);
        assert_eq!(sequence.faults(), "3, 6 did not come");
    }

    #[test]
    fn of_many_that_are_missing_the_first_are_named() {
        let text = "2, 3, 4, 5, 6 and 94 more did not come";
        assert_eq!(sequence(100, &[1]).faults(), text);
    }

    #[test]
    fn what_comes_twice_counts_once() {
        let mut sequence = sequence(2, &[1, 2]);
        assert!(!sequence.receive(1));
        assert!(!sequence.is_perfect());
        assert_eq!((sequence.received, sequence.duplicates, sequence.out_of_order), (2, 1, 0));
        assert_eq!(sequence.faults(), "1 came again");
    }

    #[test]
    fn what_comes_late_is_out_of_order() {
        let sequence = sequence(3, &[1, 3, 2]);
        assert!(!sequence.is_perfect());
        assert_eq!((sequence.received, sequence.out_of_order), (3, 1));
    }

    #[test]
    fn what_was_never_sent_is_a_fault() {
        let sequence = sequence(1, &[0, 1, 2]);
        assert!(!sequence.is_perfect());
        assert_eq!((sequence.received, sequence.unexpected), (1, 2));
    }
}
