//! The engine's only source of randomness: identities, tokens, jitter.

/// 128 bits that nobody can guess.
///
/// # Panics
/// When the system has no randomness to give: nothing built on top would be safe then.
pub(crate) fn bits() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system provides randomness");
    u128::from_ne_bytes(bytes)
}
