//! [`Store`]: the nouns, grouped; and [`Answer`], what every verb that writes returns.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use keybound_protocol::dpop_nonce::DpopNonces;

use crate::{
    AccessTokens, ApprovalRequests, Audit, AuthorizationCodes, ClientAssertions, Clients, Grants, Interactions,
    IssuedTokens, PushedRequests, RefreshTokens, Refusals, Registrations, Revocations, SigningKeys, StoreError,
    TrustAnchors, Upkeep, UserSessions, Users,
};

/// The answer to a verb that writes or scans: it comes after the commit is durable, or as a [`StoreError`] by the
/// deadline.
///
/// The verb is under way when the call returns, whether this is polled or not, and dropping this does not undo it. It owns what
/// it needs, so it can be spawned; it is polled on a tokio runtime with time enabled. Boxed, so that the traits can be used
/// as `dyn`: one allocation beside a disk flush.
pub type Answer<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'static>>;

/// One opened store: a handle for each noun. Cheap to clone. Dropping the last handle writes what is queued, closes the
/// database, and waits for both.
///
/// Endpoints take the noun they need, not this value.
#[derive(Clone)]
pub struct Store {
    /// Clients made by an administrator or by registration.
    pub clients: Arc<dyn Clients>,
    /// What is kept of those that registered themselves.
    pub registrations: Arc<dyn Registrations>,
    /// Opaque access tokens, by hash, and the revocation of single tokens.
    pub access_tokens: Arc<dyn AccessTokens>,
    /// What is denied although its signature is good.
    pub revocations: Arc<dyn Revocations>,
    /// What users allowed.
    pub grants: Arc<dyn Grants>,
    /// Authorization codes, by hash.
    pub authorization_codes: Arc<dyn AuthorizationCodes>,
    /// Refresh tokens, by hash.
    pub refresh_tokens: Arc<dyn RefreshTokens>,
    /// Pushed authorization requests, by hash.
    pub pushed_requests: Arc<dyn PushedRequests>,
    /// Authorization requests on their way through the pages.
    pub interactions: Arc<dyn Interactions>,
    /// Sessions of users who signed in.
    pub user_sessions: Arc<dyn UserSessions>,
    /// The one-time use of client assertions.
    pub client_assertions: Arc<dyn ClientAssertions>,
    /// Recorded "no"s with their reasons.
    pub refusals: Arc<dyn Refusals>,
    /// Batches of issued JWT access tokens.
    pub issued_tokens: Arc<dyn IssuedTokens>,
    /// Trust anchors added by an administrator.
    pub trust_anchors: Arc<dyn TrustAnchors>,
    /// The server's own signing keys.
    pub signing_keys: Arc<dyn SigningKeys>,
    /// What clients asked of users who are elsewhere.
    pub approval_requests: Arc<dyn ApprovalRequests>,
    /// Users of the local directory.
    pub users: Arc<dyn Users>,
    /// Who changed what.
    pub audit: Arc<dyn Audit>,
    /// The database itself: epoch, expiry, readiness.
    pub upkeep: Arc<dyn Upkeep>,
    /// The nonces for DPoP proofs, by a key of the key file: nothing about them is stored, and all servers with that file agree.
    pub dpop_nonces: Arc<DpopNonces>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Store")
    }
}
