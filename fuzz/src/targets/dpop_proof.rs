//! See the body.
#![no_main]

#[path = "../bodies/dpop_proof.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| body::check(octets));
