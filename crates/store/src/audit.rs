//! Who changed what: the audit log, a hash chain written in the same transaction as each change.
//!
//! A caller says who acts, when and from where ([`AuditEntry`]); the verb itself adds what was done to which subject,
//! so an entry can't describe another change than the one it was committed with. An entry is written if and only if
//! something changed: `AlreadyExists`, `Unknown` and the like leave none.
//!
//! Chains are per node and writer lane. Each record carries the hash of its predecessor; the heads of all chains are
//! sealed together with a key derived from the key file, so that cutting off the newest records shows too.

use keybound_protocol::client::ClientId;
use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Answer;

/// Who makes a change, when and from where. Every verb that changes something takes one.
///
/// `at` is also the verb's idea of now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When the request was received.
    pub at: Timestamp,
    /// On whose authority.
    pub actor: Actor,
    /// The peer's address as text, if the change came over the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_address: Option<String>,
    /// The certificate the actor presented, if any.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "x5t#S256")]
    pub thumbprint: Option<CertificateThumbprint>,
    /// The id under which the request log knows the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl AuditEntry {
    /// An entry with a time and an actor only.
    pub fn new(at: Timestamp, actor: Actor) -> AuditEntry {
        AuditEntry {
            at,
            actor,
            remote_address: None,
            thumbprint: None,
            request_id: None,
        }
    }
}

/// On whose authority a change was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// An authenticated client, acting for itself (asking for a token, revoking one, managing its registration).
    Client(ClientId),
    /// A client whose token has the scope `keybound:admin`.
    Administrator(ClientId),
    /// Whoever holds the initial access token of this name, registering a client.
    Registrant(String),
    /// A user who is signed in, by `sub`.
    User(String),
    /// Somebody with access to the files of this installation, on the command line.
    Operator,
    /// The server itself: first start, scheduled rotation.
    Server,
}

/// Which chain of a node a record is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Changes of state, one record each.
    Changes,
    /// Batches of issued JWT access tokens, one record for each batch.
    IssuedTokens,
}

/// One record of the audit log, as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditRecord {
    /// The node that wrote it.
    pub node: String,
    /// The chain of that node.
    pub lane: Lane,
    /// Its place in the chain, from 1, without gaps.
    pub sequence: u64,
    /// Who, when, from where.
    #[serde(flatten)]
    pub entry: AuditEntry,
    /// What was done, as `noun.verb`: `client.created`, `signing_key.revoked`.
    pub action: String,
    /// To what: a client id, a key id, a thumbprint. Never a token.
    pub subject: String,
    /// What else there is to say: the new version, the reason. One object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<serde_json::Value>,
    /// SHA-256 of the predecessor, hexadecimal; zeros for the first.
    pub previous_hash: String,
    /// SHA-256 over all of the above, hexadecimal.
    pub hash: String,
}

/// Which records [`Audit::records`] returns. The default: the newest of everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only records before this one; `None` starts with the newest.
    pub before: Option<AuditCursor>,
    /// Only this action (`client.created`), or all of a noun (`client.`).
    pub action: Option<String>,
    /// Only this subject.
    pub subject: Option<String>,
    /// At most so many, and never more than [`PAGE_MAX`](crate::PAGE_MAX).
    pub limit: u16,
}

/// A place in the audit log. Opaque.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AuditCursor(pub(crate) u64);

/// Audit records, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditPage {
    /// The records.
    pub records: Vec<AuditRecord>,
    /// Where the next page starts; `None` if this was the last.
    pub next: Option<AuditCursor>,
}

/// What [`Audit::verify_chain`] found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChainReport {
    /// How many records were checked.
    pub records: u64,
    /// How many chains they form.
    pub chains: u64,
    /// The first break of each broken chain; empty if every record is as it was written.
    pub breaks: Vec<ChainBreak>,
}

impl ChainReport {
    /// True if every record is as it was written, and none is missing.
    pub fn is_intact(&self) -> bool {
        self.breaks.is_empty()
    }
}

/// Where a chain is broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChainBreak {
    /// The node of the chain.
    pub node: String,
    /// The lane of the chain, as stored (a tampered row may hold any number).
    pub lane: i64,
    /// The place in the chain, as stored.
    pub sequence: i64,
    /// What is wrong there.
    pub fault: ChainFault,
}

/// What is wrong with one record of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChainFault {
    /// The record that should be here is not.
    Missing,
    /// The record does not name its predecessor's hash.
    PredecessorDiffers,
    /// The content does not have the hash that was recorded with it.
    ContentDiffers,
    /// The batch of issued tokens that this record seals was changed or removed before its time.
    BatchDiffers,
    /// The chain does not end at its recorded head.
    HeadDiffers,
    /// The heads are not the ones that were sealed: a chain was cut off, removed or written by somebody else.
    SealDiffers,
}

/// Reads the audit log. Nothing here writes: records are written by the verbs they describe.
pub trait Audit: Send + Sync {
    /// Records that fit `query`, newest first.
    fn records(&self, query: AuditQuery) -> Answer<AuditPage>;

    /// Reads every record of every chain and recomputes every hash and seal.
    ///
    /// Takes as long as it takes (about a second for 100,000 records): this verb alone has no deadline.
    fn verify_chain(&self) -> Answer<ChainReport>;
}
