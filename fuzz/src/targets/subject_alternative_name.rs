//! See the body.
#![no_main]

#[path = "../bodies/subject_alternative_name.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| body::check(octets));
