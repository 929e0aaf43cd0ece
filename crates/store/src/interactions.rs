//! Interactions: an authorization request on its way through the login and consent pages of one browser.

use std::time::Duration;

use keybound_protocol::client::ClientId;
use keybound_protocol::time::Timestamp;
use keybound_protocol::user::UserSubject;

use crate::secret_hash::secret_hash;
use crate::{Answer, AuditEntry, AuthorizationCode, Grant, RequestUriHash, StoreError, UserSessionStart};

/// No interaction lives longer than this: a pushed request is kept so long, to be spent by one.
pub const INTERACTION_LIFETIME_MAX: Duration = Duration::from_secs(900);
/// No pushed request begins more interactions than this: its page loaded again and again, but not without end.
pub const INTERACTIONS_OF_REQUEST_MAX: u64 = 20;

secret_hash! {
    /// SHA-256 of the identifier in an interaction's URL: all that is ever stored of it.
    InteractionHash
}
secret_hash! {
    /// SHA-256 of the cookie that ties an interaction to the browser that began it.
    BrowserSecretHash
}

/// An interaction as it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewInteraction {
    /// Its identifier.
    pub hash: InteractionHash,
    /// The browser it belongs to.
    pub browser: BrowserSecretHash,
    /// The client that asks.
    pub client_id: ClientId,
    /// The request, validated, as JSON text.
    pub request: String,
    /// The pushed request it came from, which it spends when it is finished.
    pub pushed: Option<RequestUriHash>,
    /// The user, if somebody is signed in already.
    pub signed_in: Option<SignedIn>,
    /// From this second on it can't be finished; at most [`INTERACTION_LIFETIME_MAX`] after it began.
    pub expires_at: Timestamp,
}

/// Who signed in, when and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// `sub` of the user.
    pub subject: UserSubject,
    /// When the user proved who it is.
    pub auth_time: Timestamp,
    /// How (`acr`), if that has a name.
    pub acr: Option<String>,
}

/// An interaction as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredInteraction {
    /// What it is about, and who is signed in by now. Expiry is the caller's to judge: it holds the time.
    pub interaction: NewInteraction,
    /// Whether it was finished.
    pub is_completed: bool,
}

/// How an interaction is finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InteractionOutcome {
    /// The user consented.
    Granted {
        /// What the user allowed: a grant of the user that is signed in, to the client that asked.
        grant: Box<Grant>,
        /// The code that the client gets for it.
        code: Box<AuthorizationCode>,
    },
    /// The user refused, or left.
    Denied,
}

/// The outcome of [`Interactions::begin_interaction`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeginInteraction {
    /// Durable.
    Begun,
    /// The hash is on file: a broken random generator.
    AlreadyBegun,
    /// As many as there may be are open; nothing changed.
    TooMany,
    /// Its pushed request has begun [`INTERACTIONS_OF_REQUEST_MAX`] of them, or is gone; nothing changed.
    RequestUriUsedUp,
}

/// The outcome of [`Interactions::sign_in_to_interaction`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInToInteraction {
    /// Durable.
    SignedIn,
    /// It was finished before; nothing changed.
    AlreadyCompleted,
    /// The user is gone or disabled; nothing changed.
    UserBarred,
    /// Its time is over.
    Expired,
    /// There is no such interaction.
    Unknown,
}

/// The outcome of [`Interactions::complete_interaction`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompleteInteraction {
    /// Durable: the answer may be sent to the client.
    Completed,
    /// It was finished before; nothing changed.
    AlreadyCompleted,
    /// Its pushed request was finished by another interaction; nothing changed.
    RequestUriSpent,
    /// The grant is not of the user that is signed in, or not to the client that asked; nothing changed.
    NotSignedIn,
    /// The user who consents is gone or disabled; nothing changed.
    UserBarred,
    /// Its time is over.
    Expired,
    /// There is no such interaction.
    Unknown,
}

/// Interactions.
pub trait Interactions: Send + Sync {
    /// Begins one.
    ///
    /// Not audited: anybody with a browser can begin any number, so they are bounded instead.
    fn begin_interaction(&self, interaction: NewInteraction) -> Answer<BeginInteraction>;

    /// The interaction with this identifier; `None` also for one that began before a backup was restored. A point read.
    fn find_interaction(&self, hash: &InteractionHash) -> Result<Option<StoredInteraction>, StoreError>;

    /// Ties the user who signed in to an interaction, and starts the user's session, if there is to be one; the one that it takes the
    /// place of ends in the same transaction.
    fn sign_in_to_interaction(
        &self,
        hash: InteractionHash,
        signed_in: SignedIn,
        session: Option<UserSessionStart>,
        entry: AuditEntry,
    ) -> Answer<SignInToInteraction>;

    /// Finishes an interaction: spends it and its pushed request, and records what was granted. Atomic: of any number of
    /// callers, also with several interactions of one pushed request, exactly one gets
    /// [`Completed`](CompleteInteraction::Completed); and nobody who is disabled or deleted at the same time leaves a grant behind.
    fn complete_interaction(
        &self,
        hash: InteractionHash,
        outcome: InteractionOutcome,
        entry: AuditEntry,
    ) -> Answer<CompleteInteraction>;
}
