//! The one-time use of client assertions (RFC 7523 §3, item 7).

use keybound_protocol::client::ClientId;
use keybound_protocol::time::Timestamp;

use crate::{Answer, AuditEntry};

/// A client assertion whose signature and claims are already verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneTimeAssertion {
    /// The client that signed it. A `jti` is unique per client.
    pub client_id: ClientId,
    /// Its `jti`.
    pub token_id: String,
    /// Its `iat`, if it has one.
    pub issued_at: Option<Timestamp>,
    /// When it can no longer be accepted: `exp` plus the leeway, never less, or the record would go while the assertion
    /// still passes.
    pub until: Timestamp,
}

/// The outcome of [`ClientAssertions::consume_client_assertion`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumeClientAssertion {
    /// First use, durable: a token may follow.
    Consumed,
    /// Used before, or possibly used in the time that a restored backup has lost.
    AlreadyUsed,
}

/// The one-time use of client assertions.
pub trait ClientAssertions: Send + Sync {
    /// Uses an assertion up. Atomic: of any number of callers exactly one gets
    /// [`Consumed`](ConsumeClientAssertion::Consumed), also across a crash; an error counts as used.
    fn consume_client_assertion(
        &self,
        assertion: OneTimeAssertion,
        entry: AuditEntry,
    ) -> Answer<ConsumeClientAssertion>;
}
