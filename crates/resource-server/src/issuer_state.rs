//! One configured issuer at work: its settings, what is known of it, and what it revoked.

use std::sync::Arc;

use keybound_protocol::access_token::{AccessTokenError, IssuerPolicy, UnverifiedAccessToken};
use keybound_protocol::confirmation::Confirmation;
use keybound_protocol::jwk_set::JwkSet;
use keybound_protocol::jws::JwsError;
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::time::Timestamp;

use crate::cached_token::{CachedToken, Vouched};
use crate::deny_list::{DenialKeys, DeniedSubject, DenyList};
use crate::introspector::Introspector;
use crate::issuer_keys::{Fetch, IssuerKeys, KeySet};
use crate::limits::{Limits, REVOCATIONS_PAUSE_MAX};
use crate::refusal::AccessTokenRefusal;
use crate::revocation_follower::{FollowedRevocations, RevocationStanding};
use crate::settings::{IssuerSettings, OnStale, Validation};

/// An issuer and everything that changes about it.
#[derive(Debug)]
pub(crate) struct IssuerState {
    pub(crate) settings: IssuerSettings,
    pub(crate) authority: Authority,
    pub(crate) deny_list: Arc<DenyList>,
    pub(crate) revocations: Option<Arc<FollowedRevocations>>,
    /// Who is asked about the issuer's tokens while its revocations are not known.
    fallback: Option<Arc<Introspector>>,
}

/// Who vouches for the issuer's tokens.
#[derive(Debug)]
pub(crate) enum Authority {
    Keys(Arc<IssuerKeys>),
    Introspector(Arc<Introspector>),
}

/// What became of a token that was judged with the issuer's keys.
pub(crate) enum LocalVerdict {
    Done(Result<CachedToken, AccessTokenRefusal>),
    /// It cannot be decided with the keys that are here; these are on their way.
    AwaitKeys(Fetch),
}

impl IssuerState {
    /// An issuer as `settings` say, which goes on with what `before` knows, if it was configured before.
    pub(crate) fn new(
        position: usize,
        settings: IssuerSettings,
        limits: Limits,
        before: Option<&IssuerState>,
    ) -> IssuerState {
        let introspector = |client: &Arc<keybound_client::Client>| {
            let issuer = settings.issuer.clone();
            Arc::new(Introspector::new(position, issuer, Arc::clone(client), limits))
        };
        let authority = match &settings.validation {
            Validation::Local(source) => {
                let keys = IssuerKeys::new(settings.issuer.clone(), source.clone(), limits);
                if let Some(Authority::Keys(before)) = before.map(|before| &before.authority) {
                    keys.inherit(before);
                }
                Authority::Keys(Arc::new(keys))
            }
            Validation::Introspection(client) => Authority::Introspector(introspector(client)),
        };
        let deny_list = before.map(|before| Arc::clone(&before.deny_list)).unwrap_or_default();
        let fallback = match settings.revocations.as_ref().map(|revocations| &revocations.on_stale) {
            Some(OnStale::Introspect(client)) => Some(introspector(client)),
            Some(OnStale::Continue | OnStale::Refuse) | None => None,
        };
        let followed_before = before.and_then(|before| before.revocations.as_deref());
        let revocations = settings.revocations.clone().map(|revocations| {
            let (issuer, deny_list) = (settings.issuer.clone(), Arc::clone(&deny_list));
            let followed = FollowedRevocations::new(issuer, revocations, deny_list, &limits, followed_before);
            Arc::new(followed)
        });
        IssuerState {
            settings,
            authority,
            deny_list,
            revocations,
            fallback,
        }
    }

    /// Whether what `token` rests on still holds.
    pub(crate) fn still_vouches_for(&self, token: &CachedToken, now: Timestamp) -> bool {
        match (token.vouched, &self.authority) {
            (Vouched::BySignature { key_set_version }, Authority::Keys(keys)) => {
                keys.version(now) == Some(key_set_version) && self.fallback(now).is_none()
            }
            // Asked about while revocations were not known; once they are, its signature counts again.
            (Vouched::ByIntrospection { asked }, Authority::Keys(_)) => {
                let fallback = self.fallback(now);
                now < token.claims.expires_at && fallback.is_some_and(|fallback| fallback.still_believes(asked, now))
            }
            (Vouched::ByIntrospection { asked }, Authority::Introspector(introspector)) => {
                now < token.claims.expires_at && introspector.still_believes(asked, now)
            }
            (Vouched::BySignature { .. }, Authority::Introspector(_)) => false,
        }
    }

    /// Whether the issuer has not said for too long what it revoked.
    pub(crate) fn is_silent(&self, now: Timestamp) -> bool {
        self.revocations
            .as_ref()
            .is_some_and(|followed| followed.is_silent(now))
    }

    /// Who is to be asked about the issuer's tokens now, although they could be judged by its keys.
    pub(crate) fn fallback(&self, now: Timestamp) -> Option<&Arc<Introspector>> {
        self.fallback.as_ref().filter(|_| self.is_silent(now))
    }

    /// The same, whether or not it is to be asked now.
    pub(crate) fn introspector(&self) -> Option<&Arc<Introspector>> {
        match &self.authority {
            Authority::Introspector(introspector) => Some(introspector),
            Authority::Keys(_) => self.fallback.as_ref(),
        }
    }

    /// Whether what was revoked has to be known and is not.
    pub(crate) fn require_heard(&self, now: Timestamp) -> Result<(), AccessTokenRefusal> {
        match &self.revocations {
            Some(followed) if matches!(followed.settings.on_stale, OnStale::Refuse) && followed.is_silent(now) => {
                Err(AccessTokenRefusal::RevocationsUnknown {
                    issuer: self.settings.issuer.to_string(),
                    retry_after: REVOCATIONS_PAUSE_MAX,
                })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn standing(&self, now: Timestamp) -> Option<RevocationStanding<'_>> {
        let falls_back = self.introspector().is_some();
        self.revocations
            .as_ref()
            .map(|followed| followed.standing(now, falls_back))
    }

    /// Judges a JWT with this issuer's keys, for a route of `audience`.
    ///
    /// Fetches keys only if there are none or none that the token names, and only as often as the schedule permits: with
    /// `may_wait` false the answer is given with what is there.
    pub(crate) fn verify(
        &self,
        position: usize,
        keys: &Arc<IssuerKeys>,
        token: &UnverifiedAccessToken<'_>,
        audience: &ResourceUri,
        now: Timestamp,
        may_wait: bool,
    ) -> LocalVerdict {
        let Some(key_set) = keys.current(now) else {
            return match may_wait.then(|| keys.fetch(now)).flatten() {
                Some(fetch) => LocalVerdict::AwaitKeys(fetch),
                None => LocalVerdict::Done(Err(AccessTokenRefusal::KeysUnavailable {
                    issuer: self.settings.issuer.to_string(),
                    retry_after: keys.retry_after(now),
                    source: keys.last_error(),
                })),
            };
        };
        let mut audiences = Vec::with_capacity(1 + self.settings.audiences.len());
        audiences.push(audience.as_str().to_owned());
        audiences.extend(self.settings.audiences.iter().cloned());
        let policy = IssuerPolicy {
            issuer: self.settings.issuer.as_str().to_owned(),
            algorithms: self.settings.algorithms.clone(),
            token_types: self.settings.token_types.clone(),
            audience: audiences,
        };
        match token.verify(&policy, &key_set.keys, now) {
            Ok(verified) => {
                let key_id = signing_key_id(token, &policy, &key_set, now);
                let claims = Arc::new(verified.claims().clone());
                LocalVerdict::Done(Ok(CachedToken::signed(claims, position, key_id, key_set.version)))
            }
            Err(AccessTokenError::Signature(JwsError::UnknownKey { key_id })) => {
                match may_wait.then(|| keys.fetch(now)).flatten() {
                    Some(fetch) => LocalVerdict::AwaitKeys(fetch),
                    None => LocalVerdict::Done(Err(AccessTokenError::from(JwsError::UnknownKey { key_id }).into())),
                }
            }
            Err(error) => LocalVerdict::Done(Err(error.into())),
        }
    }

    /// The entry of the deny-list that the token falls under, if any. Looked up once per token and version of the list.
    pub(crate) fn denied(&self, token: &CachedToken) -> Option<DeniedSubject> {
        // Read before the entries: a change in between makes the next request look again.
        let version = self.deny_list.version();
        if token.is_clear_at(version) {
            return None;
        }
        let denied = self.find_denial(token);
        if denied.is_none() {
            token.clear_at(version);
        }
        denied
    }

    /// The same, looked up: for a token that may have been found clear by another list.
    pub(crate) fn find_denial(&self, token: &CachedToken) -> Option<DeniedSubject> {
        let claims = &token.claims;
        self.deny_list.find(DenialKeys {
            token_id: claims.token_id.as_deref(),
            client_id: claims.client_id.as_deref(),
            certificate: claims.confirmation.as_ref().and_then(Confirmation::certificate),
            key_id: token.key_id.as_deref(),
            issued_at: claims.issued_at,
        })
    }

    /// Whether `presented`, an `aud` value, is one of ours.
    pub(crate) fn is_audience(&self, presented: &str, audience: &ResourceUri) -> bool {
        presented == audience.as_str() || self.settings.audiences.iter().any(|own| own == presented)
    }
}

/// The `kid` of the key that signed a verified token, by which the key can be denied.
fn signing_key_id(
    token: &UnverifiedAccessToken<'_>,
    policy: &IssuerPolicy,
    key_set: &KeySet,
    now: Timestamp,
) -> Option<String> {
    if let Some(named) = token
        .unverified_key_id()
        .filter(|named| key_set.keys.contains_key_id(named))
    {
        // Only keys of this name were tried, so it is the signer's.
        return Some(named.to_owned());
    }
    // A token that names no key, or an unknown one: it must not escape the denial of its key by not naming it. Rare, and
    // done once per token.
    let signed_by = |key: &&keybound_protocol::jwk::Jwk| {
        JwkSet::new(vec![(*key).clone()]).is_ok_and(|alone| token.verify(policy, &alone, now).is_ok())
    };
    key_set.keys.keys().iter().find(signed_by)?.key_id().map(str::to_owned)
}
