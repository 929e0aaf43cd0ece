//! Opaque access tokens, at rest as hashes only; and the revocation of single tokens, opaque or JWT.

use keybound_protocol::client::ClientId;
use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_protocol::key_thumbprint::KeyThumbprint;
use keybound_protocol::time::Timestamp;

use crate::{Answer, AuditEntry, StoreError};

/// SHA-256 of an opaque access token: all that is ever stored of it.
///
/// The token has 256 random bits, so a plain hash is enough, and looking it up by index reveals nothing by its timing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AccessTokenHash([u8; 32]);

/// An opaque access token as recorded when it is issued: what introspection will say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpaqueAccessToken {
    /// Its `jti`: names the token in logs, audit and deny entries without giving it away.
    pub token_id: String,
    /// To whom it was issued.
    pub client_id: ClientId,
    /// `sub`.
    pub subject: String,
    /// `scope`, space-separated as on the wire; empty if none.
    pub scope: String,
    /// `aud`, the resources it is for.
    pub audience: Vec<String>,
    /// `authorization_details` (RFC 9396 §9.2), JSON text of an array.
    pub authorization_details: Option<String>,
    /// `auth_time`: when the user had signed in.
    pub auth_time: Option<Timestamp>,
    /// `acr`: how the user had signed in.
    pub acr: Option<String>,
    /// The certificate it is bound to (`cnf.x5t#S256`), if it is.
    pub thumbprint: Option<CertificateThumbprint>,
    /// The key it is bound to (`cnf.jkt`), if it is.
    pub key: Option<KeyThumbprint>,
    /// `iat`.
    pub issued_at: Timestamp,
    /// `exp`.
    pub expires_at: Timestamp,
}

/// An opaque access token as found, with what has happened to it since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAccessToken {
    /// What was recorded.
    pub token: OpaqueAccessToken,
    /// Whether it still counts. Expiry is the caller's to judge: it holds the time.
    pub state: AccessTokenState,
}

/// Whether a recorded token still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessTokenState {
    /// Nothing was said against it.
    Live,
    /// Revoked: itself, its grant, its client, or the certificate it is bound to.
    Revoked,
    /// Issued before a backup was restored; it may have been revoked in the time that was lost.
    Void,
}

/// How a single token is named when it is revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessTokenReference {
    /// An opaque token.
    Opaque(AccessTokenHash),
    /// A JWT whose signature the caller has verified, by its `jti`.
    Jwt {
        /// Its `jti`.
        token_id: String,
        /// Its `client_id`.
        client_id: ClientId,
        /// When its deny entry may be forgotten: its `exp` plus the leeway.
        until: Timestamp,
    },
}

/// What [`AccessTokens::revoke_access_token`] revokes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRevocation {
    /// The token.
    pub token: AccessTokenReference,
    /// Only if it was issued to this client (RFC 7009 §2.1); `None` for an administrator.
    pub issued_to: Option<ClientId>,
}

/// The outcome of [`AccessTokens::record_opaque_access_token`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordAccessToken {
    /// Durable; the token may be handed out.
    Recorded,
    /// The hash or the `jti` is on file: a broken random generator. Hand nothing out.
    AlreadyRecorded,
}

/// The outcome of [`AccessTokens::revoke_access_token`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevokeAccessToken {
    /// Durable; from now on the token is inactive.
    Revoked,
    /// It was revoked before.
    AlreadyRevoked,
    /// It was issued to another client; nothing changed.
    IssuedToAnother,
    /// No such token is on file.
    Unknown,
}

impl AccessTokenHash {
    /// The hash of `token`, its characters as they travel.
    pub fn of_token(token: &str) -> AccessTokenHash {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        AccessTokenHash(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for AccessTokenHash {
    /// The first four bytes: enough to tell two apart in a log, too few to look one up.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(formatter, "AccessTokenHash({a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}

/// Opaque access tokens, and the revocation of single tokens.
pub trait AccessTokens: Send + Sync {
    /// Records a token before it is handed out.
    fn record_opaque_access_token(
        &self,
        hash: AccessTokenHash,
        token: OpaqueAccessToken,
        entry: AuditEntry,
    ) -> Answer<RecordAccessToken>;

    /// The token with this hash, and whether anything denies it: its own revocation, its grant's, its client's, its certificate's, a
    /// restored backup. A point read; never cached.
    fn find_access_token(
        &self,
        hash: &AccessTokenHash,
        now: Timestamp,
    ) -> Result<Option<StoredAccessToken>, StoreError>;

    /// Revokes one token; a deny entry for its `jti` tells the gateways.
    fn revoke_access_token(&self, revocation: TokenRevocation, entry: AuditEntry) -> Answer<RevokeAccessToken>;
}
