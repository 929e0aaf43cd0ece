//! Recorded "no"s with their reasons: what `explain` reads. Bounded, so nobody without a credential fills the disk.
//!
//! Servers record them through a [`RefusalRecorder`](crate::RefusalRecorder), which batches.

use std::time::Duration;

use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_protocol::refusal::{Refusal, RefusalId};

use crate::{Answer, StoreError};

/// The newest refusals that are kept.
pub const REFUSALS_KEPT_MAX: u64 = 100_000;
/// How long a refusal is kept: 30 days.
pub const REFUSALS_KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The longest record that is stored, in bytes of JSON; a longer one is counted, not stored.
pub const REFUSAL_BYTES_MAX: usize = 16 * 1024;

/// How many refusals there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusalCounts {
    /// On file now.
    pub stored: u64,
    /// Counted but not stored, in the last 30 days.
    pub not_stored: u64,
}

/// Which refusals [`Refusals::list_refusals`] returns. The default: the newest of everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefusalQuery {
    /// Only of whoever presented this certificate.
    pub thumbprint: Option<CertificateThumbprint>,
    /// Only of requests that named this client, registered or not.
    pub client_id: Option<String>,
    /// Only those recorded before this one (a page's `next`). If it is no longer on file the page is empty.
    pub before: Option<RefusalId>,
    /// At most so many, and never more than [`PAGE_MAX`](crate::PAGE_MAX).
    pub limit: u16,
}

/// Refusals, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalPage {
    /// The refusals.
    pub refusals: Vec<Refusal>,
    /// Where the next page starts (`before`); `None` if this was the last.
    pub next: Option<RefusalId>,
}

/// Recorded refusals.
pub trait Refusals: Send + Sync {
    /// Stores a batch, oldest first, counts `not_stored` more that a limit kept from being in it, and forgets all but
    /// the newest [`REFUSALS_KEPT_MAX`]. No audit entry: a refusal changes nothing.
    fn append_refusals(&self, refusals: &[Refusal], not_stored: u64) -> Answer<()>;

    /// The refusal with this id. A point read.
    fn find_refusal(&self, id: &RefusalId) -> Result<Option<Refusal>, StoreError>;

    /// Refusals that fit `query`, newest first.
    fn list_refusals(&self, query: RefusalQuery) -> Answer<RefusalPage>;

    /// How many are on file, and how many were only counted.
    fn count_refusals(&self) -> Answer<RefusalCounts>;
}
