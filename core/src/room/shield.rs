//! What an application is told in place must not break what tells it.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls something of the application's; a panic is logged, and goes no further.
pub fn shielded(what: &'static str, call: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(call)).is_err() {
        tracing::error!(hook = what, "a hook panicked");
    }
}
