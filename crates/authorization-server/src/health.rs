//! Whether this process is alive and ready for requests.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// What readiness depends on.
#[derive(Debug, Default)]
pub(crate) struct Health {
    serving: AtomicBool,
    store_failure: Mutex<Option<String>>,
}

impl Health {
    /// Every listener is open (`true`), or the server is about to stop (`false`).
    pub(crate) fn set_serving(&self, serving: bool) {
        self.serving.store(serving, Relaxed);
    }

    /// What the last probe of the store said.
    pub(crate) fn set_store_failure(&self, failure: Option<String>) {
        *self
            .store_failure
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = failure;
    }

    /// Why the server is not ready; empty if it is.
    pub(crate) fn obstacles(&self) -> Vec<String> {
        let mut obstacles = Vec::new();
        if !self.serving.load(Relaxed) {
            obstacles.push("listeners are not open".to_owned());
        }
        let failure = self
            .store_failure
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(failure) = &*failure {
            obstacles.push(format!("store: {failure}"));
        }
        obstacles
    }
}
