//! Which DPoP proofs were used, so that none is used twice (RFC 9449 §11.1).
//!
//! In memory, of this process: a proof is worth nothing without the key's token, which TLS protects as well as the proof, and is too old
//! within two minutes. Several processes that answer for one resource each have a memory of their own; who wants a bound on what
//! that leaves open demands nonces.
//!
//! Bounded, and closed when full: nothing that still counts is forgotten to make room. So that nobody fills it for everybody, one
//! key has a share.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use keybound_protocol::dpop_proof::{DPOP_PROOF_LIFETIME, DpopProofError, VerifiedDpopProof};
use keybound_protocol::key_thumbprint::KeyThumbprint;
use keybound_protocol::time::Timestamp;

/// One key fills at most this part of the memory.
const KEY_SHARE: usize = 16;
/// Proofs that expire within one such interval are forgotten together.
const INTERVAL: Duration = Duration::from_secs(10);

/// The proofs that were used lately.
#[derive(Debug)]
pub struct SeenProofs {
    proofs_max: usize,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// By the interval in which they end, the earliest first.
    intervals: VecDeque<Interval>,
    proofs: usize,
    by_key: HashMap<KeyThumbprint, usize>,
}

#[derive(Debug)]
struct Interval {
    /// Which one, counted from 1970.
    number: i64,
    proofs: HashSet<[u8; 32]>,
    by_key: HashMap<KeyThumbprint, usize>,
}

impl SeenProofs {
    /// Remembers so many proofs at most.
    pub fn new(proofs_max: usize) -> SeenProofs {
        SeenProofs {
            proofs_max,
            seen: Mutex::default(),
        }
    }

    /// How many it remembers at most.
    pub fn proofs_max(&self) -> usize {
        self.proofs_max
    }

    /// Uses a proof up.
    ///
    /// To be asked last, when the request is otherwise decided: who has no token for its key gets nothing remembered.
    ///
    /// # Errors
    /// [`DpopProofError::Replayed`] if it was used before, [`DpopProofError::MemoryFull`] if that cannot be known.
    pub fn spend(&self, proof: &VerifiedDpopProof, now: Timestamp) -> Result<(), DpopProofError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.forget_expired(now);
        let number = interval_of(proof.remember_until());
        if seen.contains(proof.replay_key()) {
            return Err(DpopProofError::Replayed);
        }
        let of_key = seen.by_key.get(proof.key()).copied().unwrap_or_default();
        if seen.proofs >= self.proofs_max || of_key >= self.proofs_max.div_ceil(KEY_SHARE) {
            return Err(DpopProofError::MemoryFull);
        }
        seen.add(number, proof);
        Ok(())
    }
}

impl Seen {
    /// Two proofs of one `jti` may end at different times, so each interval is looked at. There are about a dozen.
    fn contains(&self, replay_key: &[u8; 32]) -> bool {
        self.intervals
            .iter()
            .any(|interval| interval.proofs.contains(replay_key))
    }

    fn add(&mut self, number: i64, proof: &VerifiedDpopProof) {
        let at = self.intervals.partition_point(|interval| interval.number < number);
        if self.intervals.get(at).is_none_or(|interval| interval.number != number) {
            let interval = Interval {
                number,
                proofs: HashSet::new(),
                by_key: HashMap::new(),
            };
            self.intervals.insert(at, interval);
        }
        if let Some(interval) = self.intervals.get_mut(at) {
            interval.proofs.insert(*proof.replay_key());
            *interval.by_key.entry(*proof.key()).or_default() += 1;
        }
        *self.by_key.entry(*proof.key()).or_default() += 1;
        self.proofs += 1;
    }

    fn forget_expired(&mut self, now: Timestamp) {
        // The interval that is running may hold proofs that still count.
        let current = interval_of(now);
        while self.intervals.front().is_some_and(|interval| interval.number < current) {
            let Some(expired) = self.intervals.pop_front() else {
                return;
            };
            self.proofs -= expired.proofs.len();
            for (key, proofs) in expired.by_key {
                if let Some(left) = self.by_key.get_mut(&key) {
                    *left -= proofs.min(*left);
                    if *left == 0 {
                        self.by_key.remove(&key);
                    }
                }
            }
        }
    }
}

/// Proofs of the whole lifetime and both leeways lie in a dozen intervals.
const _: () = assert!(DPOP_PROOF_LIFETIME.as_secs() <= 12 * INTERVAL.as_secs());

fn interval_of(moment: Timestamp) -> i64 {
    moment.unix_secs().div_euclid(INTERVAL.as_secs() as i64)
}
