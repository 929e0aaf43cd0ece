//! The `keybound` binary.
fn main() {}
