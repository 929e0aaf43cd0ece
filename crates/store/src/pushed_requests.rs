//! Pushed authorization requests (RFC 9126): kept for a minute under the hash of their `request_uri`.
//!
//! Opening a page does not spend one, finishing does: see [`complete_interaction`](crate::Interactions::complete_interaction).

use keybound_protocol::client::ClientId;
use keybound_protocol::time::Timestamp;

use crate::secret_hash::secret_hash;
use crate::{Answer, StoreError};

secret_hash! {
    /// SHA-256 of a `request_uri`: all that is ever stored of it.
    RequestUriHash
}

/// A pushed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedRequest {
    /// Its `request_uri`.
    pub hash: RequestUriHash,
    /// Who pushed it: nobody else may use it.
    pub client_id: ClientId,
    /// The request, validated, as JSON text.
    pub request: String,
    /// From this second on no page opens for it.
    pub expires_at: Timestamp,
}

/// A pushed request as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPushedRequest {
    /// What was pushed. Expiry is the caller's to judge: it holds the time.
    pub pushed: PushedRequest,
    /// Whether an interaction with it was finished.
    pub is_spent: bool,
}

/// The outcome of [`PushedRequests::push_request`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushRequest {
    /// Durable.
    Pushed,
    /// The hash is on file: a broken random generator. Hand nothing out.
    AlreadyPushed,
    /// As many as there may be are waiting; nothing changed.
    TooMany,
}

/// Pushed authorization requests.
///
/// They are not audited: they give nobody anything, and public clients push, too, so that a record of each would be a way to
/// fill the disk. What comes of one is on record.
pub trait PushedRequests: Send + Sync {
    /// Stores a request.
    fn push_request(&self, pushed: PushedRequest) -> Answer<PushRequest>;

    /// Spends a request at `now` that was answered without asking anybody: false if it was spent before, or is gone. Of any number of
    /// callers, and of interactions that finish, exactly one spends it.
    fn spend_pushed_request(&self, hash: RequestUriHash, now: Timestamp) -> Answer<bool>;

    /// The request with this `request_uri`; `None` also for one that was pushed before a backup was restored. A point read.
    fn find_pushed_request(&self, hash: &RequestUriHash) -> Result<Option<StoredPushedRequest>, StoreError>;
}
