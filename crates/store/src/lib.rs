//! What the authorization server remembers: one small trait per noun, SQLite behind it.
//!
//! Each trait is named for the noun it decides about, and each of its verbs is a use case: it changes everything it
//! must in one transaction, writes its audit record there, and answers only once the commit is durable. Verbs that
//! change something return an [`Answer`], a future with a deadline of its own; point reads by key are plain functions,
//! because they run in microseconds on a read-only connection that belongs to the calling thread. What a caller did
//! wrong (a name that exists, a stale version, an assertion seen before) is an *outcome*, never an error:
//! [`StoreError`] means "ask again later", HTTP 503.
//!
//! Deliberately not here: HTTP, TLS, clocks (every verb is told the time), and any opinion about what client metadata
//! or a trust anchor means. Both arrive and leave as the JSON text that the authorization server wrote. Secrets come as
//! hashes ([`AccessTokenHash`]); the one thing stored that must be readable again, a signing key, is encrypted under a
//! [key file](KeyFile).
//!
//! SQL is in `sqlite/` and nowhere else in the workspace. A second database implements the same traits and passes the
//! same contract suite (`contract.rs`, feature `contract`).
//!
//! Reading order: [`audit`], [`clients`], [`registrations`], [`access_tokens`], [`revocations`], [`grants`] with
//! [`authorization_codes`] and [`refresh_tokens`], [`pushed_requests`], [`interactions`], [`user_sessions`], [`users`], [`approval_requests`],
//! [`client_assertions`], [`refusals`], [`issued_tokens`], [`trust_anchors`], [`signing_keys`], [`upkeep`] (the nouns);
//! [`RefusalRecorder`] and
//! [`IssuedTokenRecorder`] (what is written in batches); [`sqlite`].

pub mod access_tokens;
pub mod approval_requests;
pub mod audit;
pub mod authorization_codes;
pub mod client_assertions;
pub mod clients;
#[cfg(feature = "contract")]
pub mod contract;
mod error;
pub mod grants;
pub mod interactions;
mod issued_token_recorder;
pub mod issued_tokens;
mod key_file;
pub mod pushed_requests;
mod recorder;
pub mod refresh_tokens;
mod refusal_recorder;
pub mod refusals;
pub mod registrations;
pub mod revocations;
mod secret_hash;
pub mod signing_keys;
pub mod sqlite;
mod store;
pub mod trust_anchors;
pub mod upkeep;
pub mod user_sessions;
pub mod users;

pub use access_tokens::{
    AccessTokenHash, AccessTokenReference, AccessTokenState, AccessTokens, OpaqueAccessToken, RecordAccessToken,
    RevokeAccessToken, StoredAccessToken, TokenRevocation,
};
pub use approval_requests::{
    ApprovalChannel, ApprovalDecision, ApprovalRedemption, ApprovalRequestHash, ApprovalRequests, ApprovalState,
    CreateApprovalRequest, DecideApprovalRequest, NewApprovalRequest, NotificationSecret, PollApprovalRequest,
    RedeemApprovalRequest, StoredApprovalRequest, UserCodeHash,
};
pub use audit::{
    Actor, Audit, AuditCursor, AuditEntry, AuditPage, AuditQuery, AuditRecord, ChainBreak, ChainFault, ChainReport,
    Lane,
};
pub use authorization_codes::{
    AuthorizationCode, AuthorizationCodeHash, AuthorizationCodes, RedeemAuthorizationCode, Redemption,
    StoredAuthorizationCode,
};
pub use client_assertions::{ClientAssertions, ConsumeClientAssertion, OneTimeAssertion};
pub use clients::{
    ClientPage, ClientRemoval, ClientReplacement, ClientSecretReplacement, Clients, CreateClient, DeleteClient,
    NewClient, ReplaceClient, SecretChange, StoredClient,
};
pub use error::{OpenError, StoreError};
pub use grants::{
    GiveSilently, Grant, GrantOwner, GrantPage, GrantQuery, GrantRevocation, GrantState, Grants, LIVE_GRANTS_MAX,
    RevokeGrant, SilentGrant, StoredGrant,
};
pub use interactions::{
    BeginInteraction, BrowserSecretHash, CompleteInteraction, InteractionHash, InteractionOutcome, Interactions,
    NewInteraction, SignInToInteraction, SignedIn, StoredInteraction,
};
pub use issued_token_recorder::IssuedTokenRecorder;
pub use issued_tokens::{IssuedToken, IssuedTokenBatch, IssuedTokens};
pub use key_file::KeyFile;
pub use pushed_requests::{PushRequest, PushedRequest, PushedRequests, RequestUriHash, StoredPushedRequest};
pub use recorder::RecorderLimits;
pub use refresh_tokens::{
    NewRefreshToken, RecordRefresh, RefreshTokenHash, RefreshTokenHolder, RefreshTokens, RefreshUse,
    RotateRefreshToken, Rotation, StoredRefreshToken,
};
pub use refusal_recorder::{REFUSALS_PER_SECOND_MAX, RefusalRecorder};
pub use refusals::{RefusalCounts, RefusalPage, RefusalQuery, Refusals};
pub use registrations::{
    NewRegistration, RegisterClient, RegistrationQuota, RegistrationQuotas, RegistrationReplacement, Registrations,
    StoredRegistration,
};
pub use revocations::{
    InvalidRevocationCursor, Revocation, RevocationCursor, RevocationPage, RevocationSubject, Revocations, TokenMarks,
};
pub use signing_keys::{
    NewSigningKey, PrivateKeyDer, RevokeSigningKey, RotateSigningKey, SigningKeyState, SigningKeys, StoredSigningKey,
};
pub use sqlite::{SqliteLimits, SqliteSettings, SqliteStore};
pub use store::{Answer, Store};
pub use trust_anchors::{
    CreateTrustAnchor, DeleteTrustAnchor, NewTrustAnchor, ReplaceTrustAnchor, StoredTrustAnchor, TrustAnchors,
};
pub use upkeep::{Removed, Upkeep, WriteCounts};
pub use user_sessions::{
    EndUserSession, NewUserSession, StartUserSession, UserSessionHash, UserSessionStart, UserSessions,
};
pub use users::{
    BeginSignIn, BeginUserCode, ChangeUser, CreateUser, DeleteUser, LockOut, NewUser, PasswordHash, StoredUser,
    UserChange, UserPage, UserRemoval, Users,
};

/// The most rows any listing verb returns at once; a larger `limit` is lowered to this.
pub const PAGE_MAX: u16 = 500;
