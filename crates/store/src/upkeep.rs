//! The database itself: its epoch, the removal of what has expired, and whether it still takes writes.

use keybound_protocol::time::Timestamp;

use crate::{Answer, AuditEntry, StoreError};

/// How many rows [`Upkeep::remove_expired`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Of all tables together.
    pub rows: u64,
    /// True if a limit stopped it and there is more to remove.
    pub more: bool,
}

/// What the writer of this process has done since it was opened, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteCounts {
    /// Verbs that reached the database.
    pub verbs: u64,
    /// Transactions they were committed in: many verbs share one.
    pub commits: u64,
    /// Verbs that failed (outcomes such as "exists already" are no failures).
    pub failures: u64,
}

/// The database itself.
pub trait Upkeep: Send + Sync {
    /// Removes what no answer depends on any more: expired tokens, codes, grants, requests, interactions, sessions, assertions and
    /// deny entries, old refusals and batches.
    ///
    /// Bounded, so that it never holds the writer for long: call it every minute, and again at once while
    /// [`more`](Removed::more) is true. Not audited: no answer changes by it.
    fn remove_expired(&self, now: Timestamp) -> Answer<Removed>;

    /// The epoch of this database. A point read.
    fn epoch(&self) -> Result<u64, StoreError>;

    /// Raises the epoch: what `restore` does. Everything one-time or revocable that was issued before is void, because
    /// it may have been spent or revoked in the time that the backup does not know: opaque tokens, grants
    /// with their codes and refresh tokens, pushed requests, interactions, sessions and client assertions by their age, JWTs by a deny entry for each signing key until `tokens_until` (when the last of them has
    /// expired). Client versions and the trust epoch jump, so that no number is ever used twice.
    fn raise_epoch(&self, tokens_until: Timestamp, entry: AuditEntry) -> Answer<u64>;

    /// Makes one durable write that changes nothing: for readiness. A full disk or a lost database is an error.
    fn probe(&self, now: Timestamp) -> Answer<()>;

    /// What has been written so far. Reads no database.
    fn write_counts(&self) -> WriteCounts;
}
