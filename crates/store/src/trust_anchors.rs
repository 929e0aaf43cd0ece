//! Trust anchors added through the admin API. Those of the configuration are not stored.

use keybound_protocol::time::Timestamp;

use crate::{Answer, AuditEntry, StoreError};

/// The most anchors an administrator can add: every one is held in memory by every node.
pub const TRUST_ANCHORS_MAX: u64 = 1_000;

/// A trust anchor as stored: its definition is the JSON text that the admin API validated and wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTrustAnchor {
    /// The name by which clients refer to it.
    pub name: String,
    /// Certificate, revocation lists and policy, JSON text of one object.
    pub definition: String,
    /// The trust epoch at which it was added or last replaced; the entity tag of the admin API.
    pub version: u64,
    /// When it was added.
    pub created_at: Timestamp,
}

/// What [`TrustAnchors::create_trust_anchor`] and [`TrustAnchors::replace_trust_anchor`] store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTrustAnchor {
    /// The name by which clients refer to it.
    pub name: String,
    /// Certificate, revocation lists and policy, JSON text of one object.
    pub definition: String,
}

/// The outcome of [`TrustAnchors::create_trust_anchor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateTrustAnchor {
    /// Stored.
    Created {
        /// The new trust epoch.
        epoch: u64,
    },
    /// There is one of this name; nothing changed.
    AlreadyExists,
    /// There are [`TRUST_ANCHORS_MAX`]; nothing changed.
    TooMany,
}

/// The outcome of [`TrustAnchors::replace_trust_anchor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplaceTrustAnchor {
    /// Stored.
    Replaced {
        /// The new trust epoch.
        epoch: u64,
    },
    /// The anchor has changed since the caller read it; nothing changed.
    VersionConflict {
        /// The version on file.
        current: u64,
    },
    /// There is none of this name.
    Unknown,
}

/// The outcome of [`TrustAnchors::delete_trust_anchor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteTrustAnchor {
    /// Removed.
    Deleted {
        /// The new trust epoch.
        epoch: u64,
    },
    /// The anchor has changed since the caller read it; nothing changed.
    VersionConflict {
        /// The version on file.
        current: u64,
    },
    /// There is none of this name.
    Unknown,
}

/// Trust anchors added by an administrator.
pub trait TrustAnchors: Send + Sync {
    /// Adds an anchor and raises the trust epoch.
    fn create_trust_anchor(&self, anchor: NewTrustAnchor, entry: AuditEntry) -> Answer<CreateTrustAnchor>;

    /// Replaces the definition of the anchor of this name, if its version is still `if_version` (where given), and raises the
    /// trust epoch: how a new revocation list takes the place of an old one without a moment of neither.
    fn replace_trust_anchor(
        &self,
        anchor: NewTrustAnchor,
        if_version: Option<u64>,
        entry: AuditEntry,
    ) -> Answer<ReplaceTrustAnchor>;

    /// Removes an anchor, if its version is still `if_version` (where given), and raises the trust epoch.
    fn delete_trust_anchor(
        &self,
        name: String,
        if_version: Option<u64>,
        entry: AuditEntry,
    ) -> Answer<DeleteTrustAnchor>;

    /// All anchors, by name; at most [`TRUST_ANCHORS_MAX`].
    fn trust_anchors(&self) -> Answer<Vec<StoredTrustAnchor>>;

    /// Counts the changes of stored anchors and of certificate revocations: what the server's own trust epoch is made
    /// of, beside what it reads from files. A point read; look here every second.
    fn trust_epoch(&self) -> Result<u64, StoreError>;
}
