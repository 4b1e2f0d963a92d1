//! Where the promises end.
