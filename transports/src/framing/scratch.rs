//! One buffer per thread, lent to whoever reads or writes.

use std::cell::Cell;

/// Lends the thread's buffer. It is taken out meanwhile, so that whatever a waker runs in between
/// finds no borrow but, at worst, no buffer yet.
pub(crate) fn with_scratch<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    // A thread that is about to end has no buffer any more, but may still have a goodbye to write.
    let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
    scratch.resize(SCRATCH_BYTES, 0);
    let result = work(&mut scratch);
    let _ = SCRATCH.try_with(|spare| spare.set(scratch));
    result
}

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// How much is read at once, and how much is joined for one write.
pub(crate) const SCRATCH_BYTES: usize = 64 * 1024;
