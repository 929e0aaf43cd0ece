//! Issued JWT access tokens, recorded in batches: nothing is written for a single one.
//!
//! Servers record them through an [`IssuedTokenRecorder`](crate::IssuedTokenRecorder). A crash may lose the last batch,
//! and the gap shows: a run that ended without its closing record is marked at the next start.

use std::sync::Arc;
use std::time::Duration;

use keybound_protocol::client::ClientId;
use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_protocol::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Answer, AuditEntry};

/// How long batches are kept: 30 days. Their audit records stay.
pub const ISSUED_TOKENS_KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// One issued JWT access token. Never the token itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedToken {
    /// Its `jti`.
    #[serde(rename = "jti")]
    pub token_id: String,
    /// To whom it was issued.
    pub client_id: ClientId,
    /// The certificate it is bound to, if it is.
    #[serde(rename = "x5t#S256", default, skip_serializing_if = "Option::is_none")]
    pub thumbprint: Option<CertificateThumbprint>,
    /// The `kid` it was signed with; shared, because all tokens of a while have the same.
    #[serde(rename = "kid", serialize_with = "shared_text", deserialize_with = "share_text")]
    pub key_id: Arc<str>,
    /// `iat`.
    #[serde(rename = "iat")]
    pub issued_at: Timestamp,
    /// `exp`.
    #[serde(rename = "exp")]
    pub expires_at: Timestamp,
}

/// One stored batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedTokenBatch {
    /// The node that issued them.
    pub node: String,
    /// The sequence number of its audit record, in the lane [`IssuedTokens`](crate::Lane::IssuedTokens) of its node.
    pub sequence: u64,
    /// The tokens, in the order in which they were recorded.
    pub tokens: Vec<IssuedToken>,
    /// How many more were issued that did not fit the recorder's buffer.
    pub not_recorded: u64,
}

/// Batches of issued JWT access tokens.
pub trait IssuedTokens: Send + Sync {
    /// Starts a run of the recorder. True if the run before it was not [closed](IssuedTokens::close_issued_tokens): its
    /// last batch may be lost, and the audit log now says so.
    fn open_issued_tokens(&self, entry: AuditEntry) -> Answer<bool>;

    /// Appends one batch as one row, sealed by one record of the audit lane
    /// [`IssuedTokens`](crate::Lane::IssuedTokens).
    fn append_issued_tokens(&self, tokens: &[IssuedToken], not_recorded: u64, entry: AuditEntry) -> Answer<()>;

    /// Ends a run of the recorder: everything it was given is on file.
    fn close_issued_tokens(&self, entry: AuditEntry) -> Answer<()>;

    /// This node's batches after the given sequence number, oldest first, at most `limit`.
    fn issued_token_batches(&self, after: u64, limit: u16) -> Answer<Vec<IssuedTokenBatch>>;
}

fn shared_text<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

fn share_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    String::deserialize(deserializer).map(Arc::from)
}
