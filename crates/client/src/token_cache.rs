//! The tokens that a client holds, one per identity and request.
//!
//! The certificate is part of the key: after a renewal the client asks for a new token instead of presenting one that is bound to
//! the certificate it no longer shows (RFC 8705 §6.3).

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_protocol::time::Timestamp;
use quick_cache::sync::Cache;

use crate::access_token::AccessToken;
use crate::client::TokenRequest;

/// Tokens that one client holds at most.
pub const TOKENS_MAX: usize = 1_000;
/// A token is renewed this long before it expires, so that it does not expire on its way; one that lives less than twice as long,
/// after half its life.
pub const RENEW_BEFORE: Duration = Duration::from_secs(15);

/// What a token was obtained with and for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TokenKey {
    thumbprint: Option<CertificateThumbprint>,
    request: TokenRequest,
}

impl TokenKey {
    pub(crate) fn new(thumbprint: Option<&CertificateThumbprint>, request: &TokenRequest) -> TokenKey {
        TokenKey {
            thumbprint: thumbprint.copied(),
            request: request.clone(),
        }
    }
}

/// A token with the moment from which on a new one is wanted.
#[derive(Clone, Debug)]
pub(crate) struct HeldToken {
    pub(crate) token: AccessToken,
    renew_at: Timestamp,
}

impl HeldToken {
    pub(crate) fn new(token: AccessToken, now: Timestamp) -> HeldToken {
        let renew_at = token.expires_at().map_or(Timestamp::NO_EXPIRATION, |expires_at| {
            let lifetime = expires_at.duration_since(now);
            expires_at.minus(RENEW_BEFORE.min(lifetime / 2))
        });
        HeldToken { token, renew_at }
    }

    pub(crate) fn is_fresh(&self, now: Timestamp) -> bool {
        now < self.renew_at
    }

    /// Whether it is still good, though it should be renewed.
    pub(crate) fn is_good(&self, now: Timestamp) -> bool {
        self.token.expires_at().is_none_or(|expires_at| now < expires_at)
    }
}

/// Where the token of one key is, or will be.
#[derive(Debug, Default)]
pub(crate) struct TokenSlot {
    held: Mutex<Option<HeldToken>>,
    /// Held by the one task that asks for a new token; the others wait for its answer if they have none to go on with.
    pub(crate) asking: tokio::sync::Mutex<()>,
}

impl TokenSlot {
    /// The token that is held, unless it is `rejected`: then it is forgotten.
    pub(crate) fn held(&self, rejected: Option<&AccessToken>) -> Option<HeldToken> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.take_if(|held| rejected.is_some_and(|rejected| rejected.is_same_as(&held.token)));
        held.clone()
    }

    pub(crate) fn hold(&self, token: HeldToken) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
    }
}

/// The tokens of one client.
#[derive(Debug)]
pub(crate) struct TokenCache(Cache<TokenKey, Arc<TokenSlot>>);

impl TokenCache {
    pub(crate) fn new() -> TokenCache {
        TokenCache(Cache::new(TOKENS_MAX))
    }

    pub(crate) fn slot(&self, key: &TokenKey) -> Arc<TokenSlot> {
        let made: Result<Arc<TokenSlot>, Infallible> = self.0.get_or_insert_with(key, || Ok(Arc::default()));
        match made {
            Ok(slot) => slot,
        }
    }
}
