//! Deny entries: what no longer counts although its signature is good and its time is not over.
//!
//! Gateways follow them by cursor (`GET /revocations`), introspection asks for one token.

use keybound_protocol::client::ClientId;
use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_protocol::grant_id::GrantId;
use keybound_protocol::time::Timestamp;
use tokio::sync::watch;

use crate::{Answer, AuditEntry, StoreError};

/// One deny entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// What is denied.
    pub subject: RevocationSubject,
    /// Only tokens issued strictly before this (`iat < issued_before`); `None` denies whenever they were issued.
    pub issued_before: Option<Timestamp>,
    /// The last second in which it denies; everything it is about has expired by then, and the entry is forgotten.
    pub until: Timestamp,
}

/// What a deny entry names; each variant is a member of `/revocations`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RevocationSubject {
    /// `jti`: one token.
    TokenId(String),
    /// `jti_prefix`: all tokens of a grant, by what their `jti` begins with (see [`GrantId`]).
    Grant(GrantId),
    /// `client_id`: all tokens of a client.
    Client(ClientId),
    /// `x5t#S256`: all tokens bound to a certificate.
    Certificate(CertificateThumbprint),
    /// `kid`: all tokens signed with a key.
    SigningKey(String),
}

/// What may deny a token: its own names.
#[derive(Clone, Copy, Debug)]
pub struct TokenMarks<'a> {
    /// `jti`.
    pub token_id: &'a str,
    /// `client_id`.
    pub client_id: &'a ClientId,
    /// `cnf.x5t#S256`, if it is bound.
    pub thumbprint: Option<&'a CertificateThumbprint>,
    /// The `kid` it was signed with, if it is a JWT.
    pub key_id: Option<&'a str>,
    /// `iat`.
    pub issued_at: Timestamp,
}

/// A place in the sequence of deny entries. Opaque text on the wire.
///
/// Carries the store's epoch: a cursor from before a backup was restored starts again at the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RevocationCursor {
    pub(crate) epoch: u64,
    pub(crate) position: u64,
}

/// Deny entries in the order in which they became durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationPage {
    /// The entries.
    pub entries: Vec<Revocation>,
    /// Pass this to get what follows.
    pub cursor: RevocationCursor,
    /// True if there are more entries right now.
    pub more: bool,
}

/// Why a text is not a [`RevocationCursor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a revocation cursor")]
pub struct InvalidRevocationCursor;

impl std::fmt::Display for RevocationCursor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}-{}", self.epoch, self.position)
    }
}

impl std::str::FromStr for RevocationCursor {
    type Err = InvalidRevocationCursor;

    fn from_str(text: &str) -> Result<RevocationCursor, InvalidRevocationCursor> {
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain
                .then(|| digits.parse::<u64>().ok())
                .flatten()
                .filter(|value| *value <= i64::MAX as u64)
        };
        let (epoch, position) = text.split_once('-').ok_or(InvalidRevocationCursor)?;
        Ok(RevocationCursor {
            epoch: number(epoch).ok_or(InvalidRevocationCursor)?,
            position: number(position).ok_or(InvalidRevocationCursor)?,
        })
    }
}

/// Deny entries.
pub trait Revocations: Send + Sync {
    /// Adds a deny entry. One for a certificate also ends the grants whose refresh tokens are bound to it. Adding one that is covered by another is not an error: the later `until` and the later
    /// `issued_before` win for the reader, and the gateways hear of both.
    fn revoke(&self, revocation: Revocation, entry: AuditEntry) -> Answer<RevocationCursor>;

    /// A deny entry that covers a token now, if there is one. A point read; never cached.
    fn find_revocation(&self, token: TokenMarks<'_>, now: Timestamp) -> Result<Option<Revocation>, StoreError>;

    /// A deny entry for this certificate, if there is one now: whoever presents it is nobody's client any more. A point read.
    fn find_certificate_revocation(
        &self,
        thumbprint: &CertificateThumbprint,
        now: Timestamp,
    ) -> Result<Option<Revocation>, StoreError>;

    /// How many access tokens are on file that count now and are bound to this certificate. JWTs are not on file.
    fn count_bound_access_tokens(&self, thumbprint: CertificateThumbprint, now: Timestamp) -> Answer<u64>;

    /// Entries after `cursor`, at most `limit`. A short range read on the caller's connection.
    fn revocations_after(&self, cursor: RevocationCursor, limit: u16) -> Result<RevocationPage, StoreError>;

    /// The newest cursor, and a wake-up at each change made through this store: what a held request waits on.
    fn watch_revocations(&self) -> watch::Receiver<RevocationCursor>;
}
