//! See the body. The screen is private to the tls crate, so its files are compiled into this target as they are.
#![no_main]
#![expect(
    dead_code,
    unused_imports,
    reason = "the target uses less of these files than their crate does"
)]

#[path = "../../../crates/tls/src"]
mod tls {
    pub(crate) mod deadline;
    pub(crate) mod limits;
    pub(crate) mod refusal;
    pub(crate) mod request_framing;
}

#[path = "../bodies/request_framing.rs"]
mod body;

use tls::limits::Limits;
use tls::refusal::{FramingViolation, LayerRefusal};
use tls::{deadline, request_framing};

libfuzzer_sys::fuzz_target!(|octets: &[u8]| body::check(octets));
