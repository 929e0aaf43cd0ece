//! Repetition: a little of it in the gate, much of it by hand.

/// `usual`, or `long` where `KEYBOUND_CAMPAIGN` is set.
pub(crate) fn rounds(usual: usize, long: usize) -> usize {
    match std::env::var_os("KEYBOUND_CAMPAIGN") {
        Some(_) => long,
        None => usual,
    }
}
