//! The system's randomness, in one place.

use std::sync::LazyLock;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// The generator that keys are made with.
pub(crate) static SYSTEM: LazyLock<SystemRandom> = LazyLock::new(SystemRandom::new);

/// Fills `octets`. Without randomness there is no security to go on with, so a failure ends the process.
pub(crate) fn fill(octets: &mut [u8]) {
    if SYSTEM.fill(octets).is_err() {
        tracing::error!("the system gives no random numbers");
        std::process::abort();
    }
}
