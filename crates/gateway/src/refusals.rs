//! The refusals of this gateway, the newest some thousand of them, for `keybound explain`.
//!
//! In memory only: a gateway has no database. The log has them all.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use keybound_protocol::refusal::{Refusal, RefusalId};

/// Refusals by id, bounded.
#[derive(Debug)]
pub struct Refusals {
    max: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    by_id: HashMap<RefusalId, Arc<Refusal>>,
    oldest_first: VecDeque<RefusalId>,
}

impl Refusals {
    /// Keeps the newest `max`.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max: max.max(1),
            kept: Mutex::default(),
        }
    }

    /// Adds one, in place of the oldest if there is no room.
    pub(crate) fn record(&self, refusal: Arc<Refusal>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.oldest_first.len() >= self.max
            && let Some(oldest) = kept.oldest_first.pop_front()
        {
            kept.by_id.remove(&oldest);
        }
        kept.oldest_first.push_back(refusal.id);
        kept.by_id.insert(refusal.id, refusal);
    }

    /// The refusal with this id, unless it is too old to be remembered.
    pub fn find(&self, id: &RefusalId) -> Option<Arc<Refusal>> {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .by_id
            .get(id)
            .cloned()
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .oldest_first
            .len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use keybound_protocol::refusal::RefusalSource;
    use keybound_protocol::time::Timestamp;

    use super::*;

    fn refusal(number: u8) -> Arc<Refusal> {
        Arc::new(Refusal {
            id: RefusalId::from_random(RefusalSource::Gateway, [number; 9]),
            at: Timestamp::from_unix_secs(0),
            endpoint: "/".to_owned(),
            status: 404,
            error_code: None,
            client_id: None,
            remote_address: None,
            certificate: None,
            reason: String::new(),
            rules: Vec::new(),
            fix: None,
        })
    }

    #[test]
    fn forgets_the_oldest_when_full() {
        let refusals = Refusals::new(2);
        for number in 0..3 {
            refusals.record(refusal(number));
        }
        assert_eq!(refusals.len(), 2);
        assert!(refusals.find(&refusal(0).id).is_none());
        assert!(refusals.find(&refusal(1).id).is_some());
        assert!(refusals.find(&refusal(2).id).is_some());
    }
}
