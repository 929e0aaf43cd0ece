//! Authorization codes (RFC 6749 §4.1), at rest as hashes only: used once, and their second use ends what came of the first.

use keybound_protocol::time::Timestamp;

use crate::secret_hash::secret_hash;
use crate::{AccessTokenHash, Answer, AuditEntry, NewRefreshToken, OpaqueAccessToken, StoreError, StoredGrant};

secret_hash! {
    /// SHA-256 of an authorization code: all that is ever stored of it.
    AuthorizationCodeHash
}

/// An authorization code as recorded when the user has consented. Its client is its grant's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationCode {
    /// The code.
    pub hash: AuthorizationCodeHash,
    /// `redirect_uri` as the authorization request had it; `None` if it had none, and then the token request needs none.
    pub redirect_uri: Option<String>,
    /// `code_challenge`, method S256; `None` if the request had none.
    pub code_challenge: Option<String>,
    /// `nonce` of OpenID Connect.
    pub nonce: Option<String>,
    /// `dpop_jkt` (RFC 9449 §10): the key that must redeem it.
    pub dpop_jkt: Option<String>,
    /// What of the authorization request is judged again when the code is redeemed, as JSON text; `None` if it was recorded before
    /// that was kept.
    pub terms: Option<String>,
    /// From this second on it is refused.
    pub expires_at: Timestamp,
}

/// A code as found, with its grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAuthorizationCode {
    /// What was recorded.
    pub code: AuthorizationCode,
    /// What the user allowed.
    pub grant: StoredGrant,
    /// Whether it was redeemed before. To present it again still has to go through
    /// [`redeem_authorization_code`](AuthorizationCodes::redeem_authorization_code), which then ends its grant.
    pub is_spent: bool,
}

/// What a code is redeemed for. Who may redeem it was judged before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redemption {
    /// The code.
    pub code: AuthorizationCodeHash,
    /// `jti` of the access token that is handed out for it.
    pub first_token_id: String,
    /// The refresh token that is handed out with it.
    pub refresh: Option<NewRefreshToken>,
    /// The access token, if it is opaque.
    pub opaque: Option<(AccessTokenHash, OpaqueAccessToken)>,
    /// If the code was redeemed before: when the last access token of its grant will have expired (leeway included).
    pub tokens_until: Timestamp,
}

/// The outcome of [`AuthorizationCodes::redeem_authorization_code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedeemAuthorizationCode {
    /// First use, durable: the tokens may be handed out.
    Redeemed,
    /// Used before. Its grant has ended now, and with it every token that came of it.
    AlreadySpent,
    /// Its time is over, or its grant has ended.
    Expired,
    /// There is no such code.
    Unknown,
}

/// Authorization codes.
pub trait AuthorizationCodes: Send + Sync {
    /// The code with this hash and its grant. A point read; never cached.
    fn find_authorization_code(
        &self,
        hash: &AuthorizationCodeHash,
    ) -> Result<Option<StoredAuthorizationCode>, StoreError>;

    /// Uses a code up and records what is handed out for it. Atomic: of any number of callers exactly one gets
    /// [`Redeemed`](RedeemAuthorizationCode::Redeemed), also across a crash; an error counts as used.
    fn redeem_authorization_code(&self, redemption: Redemption, entry: AuditEntry) -> Answer<RedeemAuthorizationCode>;
}
