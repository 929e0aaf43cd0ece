//! Approval requests: what a client asked of a user who is elsewhere, and asks about until it hears the answer.
//!
//! A device that shows a code (RFC 8628) and backchannel authentication (CIBA Core) differ in how the user hears of it. What is
//! kept is the same: one secret for the client, at rest as a hash, one decision, one redemption, and how often the client may ask.

use std::time::Duration;

use keybound_protocol::client::ClientId;
use keybound_protocol::time::Timestamp;
use keybound_protocol::user::UserSubject;
use zeroize::Zeroizing;

use crate::secret_hash::secret_hash;
use crate::{AccessTokenHash, Answer, AuditEntry, Grant, NewRefreshToken, OpaqueAccessToken, StoreError, StoredGrant};

/// What is added to the interval of a client that asks too often, for good (RFC 8628 §3.5).
pub const SLOW_DOWN: Duration = Duration::from_secs(5);

/// No interval grows beyond this: a client that never waits costs a write each time it grows, and then one write a minute.
pub const INTERVAL_MAX: Duration = Duration::from_secs(60);

/// How much earlier than the interval a client may ask: its clock and ours tick differently, and a network's delay varies.
const EARLY_MAX: Duration = Duration::from_secs(1);

secret_hash! {
    /// SHA-256 of what the client asks with, and of what kind it is: all that is ever stored of it.
    ApprovalRequestHash
}
secret_hash! {
    /// SHA-256 of the code that a user types. It has 34 bits and lives for minutes, so its hash hides it only from whoever has a copy
    /// of the database later.
    UserCodeHash
}

impl ApprovalRequestHash {
    /// The hash of a `device_code`.
    pub fn of_device_code(device_code: &str) -> ApprovalRequestHash {
        ApprovalRequestHash::of(&Zeroizing::new(format!("device_code {device_code}")))
    }

    /// The hash of an `auth_req_id`.
    pub fn of_auth_req_id(auth_req_id: &str) -> ApprovalRequestHash {
        ApprovalRequestHash::of(&Zeroizing::new(format!("auth_req_id {auth_req_id}")))
    }
}

/// What a client is told the outcome with (CIBA Core §10.2): a text of the authorization server's, with its `client_notification_token`
/// and the `auth_req_id`. Readable again, because it is sent; encrypted under the key file at rest, and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct NotificationSecret(Zeroizing<String>);

/// How the user hears of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApprovalChannel {
    /// Whoever types this code (RFC 8628).
    Device {
        /// The code.
        user_code: UserCodeHash,
    },
    /// This user alone (CIBA Core).
    Backchannel {
        /// The user.
        subject: UserSubject,
        /// What the client is told the outcome with, in ping and push mode.
        notification: Option<NotificationSecret>,
    },
}

/// A request as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewApprovalRequest {
    /// What the client asks with.
    pub hash: ApprovalRequestHash,
    /// The client.
    pub client_id: ClientId,
    /// How the user hears of it.
    pub channel: ApprovalChannel,
    /// What is asked, validated, as JSON text.
    pub request: String,
    /// How long the client waits between two questions.
    pub interval: Duration,
    /// From this second on it is over.
    pub expires_at: Timestamp,
}

/// What has become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApprovalState {
    /// The user has not decided.
    Pending,
    /// The user said yes.
    Approved,
    /// The user said no.
    Denied,
    /// Tokens were handed out for it.
    Spent,
}

/// A request as found. Expiry is the caller's to judge: it holds the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredApprovalRequest {
    /// What was recorded; its interval as of now.
    pub request: NewApprovalRequest,
    /// What has become of it.
    pub state: ApprovalState,
    /// When it was recorded.
    pub created_at: Timestamp,
}

/// What a user decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApprovalDecision {
    /// Yes: this is what the user allows the client that asked.
    Approved(Box<Grant>),
    /// No.
    Denied,
}

/// What an approved request is redeemed for. Who may redeem it was judged before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRedemption {
    /// The request.
    pub hash: ApprovalRequestHash,
    /// `jti` of the access token that is handed out.
    pub first_token_id: String,
    /// The refresh token that is handed out with it.
    pub refresh: Option<NewRefreshToken>,
    /// The access token, if it is opaque.
    pub opaque: Option<(AccessTokenHash, OpaqueAccessToken)>,
}

/// The outcome of [`ApprovalRequests::create_approval_request`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateApprovalRequest {
    /// Durable.
    Created,
    /// The secret, or the user's code, is on file: draw others.
    AlreadyExists,
    /// As many as there may be are waiting; nothing changed.
    TooMany,
    /// As many as there may be wait for this one user, whichever clients ask; nothing changed.
    TooManyOfUser,
}

/// The outcome of [`ApprovalRequests::decide_approval_request`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecideApprovalRequest {
    /// Durable.
    Decided,
    /// Somebody has decided before; nothing changed.
    AlreadyDecided,
    /// It is for another user, or the grant is for another client; nothing changed.
    OfAnother,
    /// The user who approves is gone or disabled; nothing changed.
    UserBarred,
    /// Its time is over.
    Expired,
    /// There is no such request.
    Unknown,
}

/// The outcome of [`ApprovalRequests::poll_approval_request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PollApprovalRequest {
    /// The user has not decided: ask again after the interval.
    Pending,
    /// Nor has the user, and the client asked too early: its interval is longer from now on, up to [`INTERVAL_MAX`].
    SlowDown,
    /// The user allowed this; redeem it.
    Approved(Box<StoredGrant>),
    /// The user said no.
    Denied,
    /// Its time is over.
    Expired,
    /// It was redeemed before.
    Spent,
    /// There is no such request of this client.
    Unknown,
}

/// The outcome of [`ApprovalRequests::redeem_approval_request`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedeemApprovalRequest {
    /// First use, durable: the tokens may be handed out.
    Redeemed,
    /// Used before; nothing changed.
    AlreadySpent,
    /// Its grant has ended, or nobody has approved it.
    NotApproved,
    /// Its time is over; nothing changed.
    Expired,
    /// There is no such request.
    Unknown,
}

impl NotificationSecret {
    /// Takes the text.
    pub fn new(text: &str) -> NotificationSecret {
        NotificationSecret(Zeroizing::new(text.to_owned()))
    }

    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for NotificationSecret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("NotificationSecret(…)")
    }
}

/// Whether a client that asked at `before` asks too early at `now`.
pub(crate) fn is_too_early(before: Timestamp, now: Timestamp, interval: Duration) -> bool {
    now < before.plus(interval.saturating_sub(EARLY_MAX))
}

/// Approval requests.
pub trait ApprovalRequests: Send + Sync {
    /// Records a request. Of those that are for one user no more than `of_user_max` wait at a time, so that nobody is asked so often
    /// that the one that matters is not seen; what a device shows is for nobody yet.
    fn create_approval_request(
        &self,
        request: NewApprovalRequest,
        of_user_max: u32,
        entry: AuditEntry,
    ) -> Answer<CreateApprovalRequest>;

    /// The request with this hash; `None` also for one that was recorded before a backup was restored. A point read.
    fn find_approval_request(&self, hash: &ApprovalRequestHash) -> Result<Option<StoredApprovalRequest>, StoreError>;

    /// The request that this code stands for. A point read.
    fn find_approval_request_by_user_code(
        &self,
        user_code: &UserCodeHash,
    ) -> Result<Option<StoredApprovalRequest>, StoreError>;

    /// What waits for this user's decision at `now`, oldest first, at most `limit`.
    fn approval_requests_of(
        &self,
        subject: UserSubject,
        now: Timestamp,
        limit: u16,
    ) -> Answer<Vec<StoredApprovalRequest>>;

    /// Records what the user decided, and the grant if it is one. Atomic: of any number of callers exactly one gets
    /// [`Decided`](DecideApprovalRequest::Decided), and nobody who is disabled or deleted at the same time leaves a grant behind.
    fn decide_approval_request(
        &self,
        hash: ApprovalRequestHash,
        decision: ApprovalDecision,
        entry: AuditEntry,
    ) -> Answer<DecideApprovalRequest>;

    /// A client asks at `now` what became of its request. Remembers when it asked, but no question that comes too early once the
    /// interval has grown to [`INTERVAL_MAX`]: whoever asks without pause writes nothing by it. Not audited: nothing is decided by it.
    fn poll_approval_request(
        &self,
        hash: ApprovalRequestHash,
        client_id: ClientId,
        now: Timestamp,
    ) -> Answer<PollApprovalRequest>;

    /// Uses an approved request up and records what is handed out for it. Atomic: of any number of callers exactly one gets
    /// [`Redeemed`](RedeemApprovalRequest::Redeemed), also across a crash; an error counts as used.
    fn redeem_approval_request(
        &self,
        redemption: ApprovalRedemption,
        entry: AuditEntry,
    ) -> Answer<RedeemApprovalRequest>;
}
