//! Refresh tokens (RFC 6749 §6), at rest as hashes only.
//!
//! Those of confidential clients stay as they are: who holds them must authenticate, so they need no other protection, and a
//! renewed certificate changes nothing (RFC 8705 §7.1). Those of public clients are bound to a certificate or a key and
//! replaced at each use: the generations of one grant are a family. A generation that is presented after its successor was is a
//! theft or a fault, and ends the family.

use std::time::Duration;

use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_protocol::grant_id::GrantId;
use keybound_protocol::time::Timestamp;
use zeroize::Zeroizing;

use crate::secret_hash::secret_hash;
use crate::{AccessTokenHash, Answer, AuditEntry, OpaqueAccessToken, StoreError, StoredGrant};

secret_hash! {
    /// SHA-256 of a refresh token: all that is ever stored of it.
    RefreshTokenHash
}

/// Who may use a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshTokenHolder {
    /// Its client, authenticated as registered, by whatever certificate it has by then. Such a token is not replaced.
    AuthenticatedClient,
    /// Whoever holds this certificate (RFC 8705 §4). Replaced at each use.
    Certificate(CertificateThumbprint),
    /// Whoever holds the key with this RFC 7638 thumbprint (RFC 9449 §5). Replaced at each use.
    Key(String),
    /// Anybody: a public client without either. Replaced at each use, and never given out twice.
    Bearer,
}

impl RefreshTokenHolder {
    /// Whether the token is replaced at each use.
    pub fn is_rotated(&self) -> bool {
        !matches!(self, RefreshTokenHolder::AuthenticatedClient)
    }
}

/// The first refresh token of a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRefreshToken {
    /// The token.
    pub hash: RefreshTokenHash,
    /// Who may use it.
    pub holder: RefreshTokenHolder,
    /// When it ends unless it is used.
    pub idle_until: Timestamp,
}

/// A refresh token as found, with its grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRefreshToken {
    /// What the user allowed.
    pub grant: StoredGrant,
    /// Its number in the family, from 1.
    pub generation: u64,
    /// Who may use it.
    pub holder: RefreshTokenHolder,
    /// When it was made.
    pub issued_at: Timestamp,
    /// When its use was last recorded.
    pub used_at: Timestamp,
    /// When its successor took over.
    pub superseded_at: Option<Timestamp>,
    /// When it ends unless it is used.
    pub idle_until: Timestamp,
}

/// The use of a token that is not replaced, as [`RefreshTokens::record_refresh`] writes it down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshUse {
    /// The token.
    pub hash: RefreshTokenHash,
    /// Its new end, if it is time to write that down.
    pub idle_until: Option<Timestamp>,
    /// The access token that is handed out, if it is opaque.
    pub opaque: Option<(AccessTokenHash, OpaqueAccessToken)>,
}

/// The outcome of [`RefreshTokens::record_refresh`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordRefresh {
    /// Durable.
    Recorded,
    /// Its grant has ended meanwhile; nothing changed.
    Ended,
}

/// One use of a token that is replaced. Who may use it was judged before, except what [`rotate`](RefreshTokens::rotate_refresh_token)
/// alone can judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The token presented.
    pub presented: RefreshTokenHash,
    /// Who presents it.
    pub presenter: RefreshTokenHolder,
    /// Its successor, [derived](RefreshTokens::derive_successor) of it.
    pub successor: RefreshTokenHash,
    /// When the successor ends unless it is used.
    pub idle_until: Timestamp,
    /// For how long after its use the token may be presented again, by an honest client that lost the answer.
    pub retry_window: Duration,
    /// The access token that is handed out, if it is opaque.
    pub opaque: Option<(AccessTokenHash, OpaqueAccessToken)>,
    /// If the family has to end: when the last access token of its grant will have expired (leeway included).
    pub tokens_until: Timestamp,
}

/// The outcome of [`RefreshTokens::rotate_refresh_token`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotateRefreshToken {
    /// Durable: the successor may be handed out, and the token presented is used up.
    Rotated,
    /// It was used a moment ago by the same holder, and its successor never: the answer was lost. The same successor again.
    Repeated,
    /// It was used before. Its family and grant have ended now, and with them every token that came of it.
    Reused,
    /// It is somebody else's, its time is over, or its grant has ended; nothing changed.
    Refused,
    /// There is no such token.
    Unknown,
}

/// Refresh tokens.
pub trait RefreshTokens: Send + Sync {
    /// The token with this hash and its grant. A point read; never cached.
    fn find_refresh_token(&self, hash: &RefreshTokenHash) -> Result<Option<StoredRefreshToken>, StoreError>;

    /// Writes the use of a token that is not replaced down: that it is still used, and the opaque access token made of it.
    ///
    /// Whoever makes a JWT within a day of the last time needs no write at all.
    fn record_refresh(&self, refresh: RefreshUse, entry: AuditEntry) -> Answer<RecordRefresh>;

    /// Replaces a token by its successor. Atomic: of any number of callers at most one gets
    /// [`Rotated`](RotateRefreshToken::Rotated), and all that get [`Repeated`](RotateRefreshToken::Repeated) get the same
    /// successor. A holder without proof of possession is never told a successor twice: it can't be told from a thief.
    fn rotate_refresh_token(&self, rotation: Rotation, entry: AuditEntry) -> Answer<RotateRefreshToken>;

    /// The text of the successor of `token`, which is generation `generation` of the family `family`.
    ///
    /// HKDF-SHA-256 of the token with a key of this installation: whoever holds the database can't compute it, nor whoever
    /// holds the token; and the same question has the same answer, so that an answer that was lost can be given again although
    /// nothing but its hash was kept. Computes only.
    ///
    /// # Errors
    /// [`StoreError`] if the cryptographic library fails.
    fn derive_successor(&self, token: &str, family: &GrantId, generation: u64)
    -> Result<Zeroizing<String>, StoreError>;
}
