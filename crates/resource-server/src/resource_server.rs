//! The check of one request, from its `Authorization` header to an accepted token.
//!
//! In two halves. First, here: who vouches for this token, and for which claims? That is answered from the cache, by a signature, or
//! by asking the issuer, and depends on the token alone. Then, at every request anew, in `resource_server/decision.rs`: is it for
//! this resource, inside its dates, not revoked, bound to the certificate of *this* request, and does its scope suffice?
//! What outlives the request keeps a `RunningToken` of `resource_server/running_token.rs`.

use std::sync::Arc;

use http::request::Parts;
use keybound_client::Clock;
use keybound_protocol::access_token::{AccessTokenError, UnverifiedAccessToken};
use keybound_protocol::bearer::TokenScheme;
use keybound_protocol::confirmation::Possession;
use keybound_protocol::dpop_proof::VerifiedDpopProof;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::jwk_set::JwkSet;
use keybound_protocol::jws::JwsError;
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_protocol::time::Timestamp;

use crate::cached_token::{CachedToken, Origin, TokenCache, TokenHash, hash_of};
use crate::caller::Caller;
use crate::deny_list::DenyList;
use crate::introspector::Introspector;
use crate::issuer_keys::Fetch;
use crate::issuer_state::{Authority, IssuerState, LocalVerdict};
use crate::limits::Limits;
use crate::presentation::{Presentation, Sender, scheme_of};
use crate::refusal::{AccessTokenRefusal, Refused};
use crate::revocation_follower::{RevocationFollower, RevocationStanding};
use crate::route_policy::RoutePolicy;
use crate::seen_proofs::SeenProofs;
use crate::settings::{IssuerSettings, SettingsError, require_consistent};

mod check;
mod decision;
mod followed_token;
mod running_token;

use check::Pending;
pub use check::{Check, PendingCheck, Verdict};
use decision::require_something_proven;
use followed_token::FollowedTokens;
pub use running_token::RunningToken;

/// Checks access tokens, of any number of issuers. Cloning is cheap and shares everything.
#[derive(Clone, Debug)]
pub struct ResourceServer {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    issuers: Vec<IssuerState>,
    tokens: TokenCache,
    followed: Arc<FollowedTokens>,
    seen_proofs: Arc<SeenProofs>,
    origin: Origin,
    limits: Limits,
}

impl ResourceServer {
    /// Makes a resource server that takes tokens of these issuers.
    ///
    /// # Errors
    /// [`SettingsError`]; nothing is fetched yet, so an issuer that is down is none.
    pub fn new(issuers: Vec<IssuerSettings>) -> Result<ResourceServer, SettingsError> {
        ResourceServer::with_limits(issuers, Limits::default())
    }

    /// The same with other limits than the default ones.
    ///
    /// # Errors
    /// [`SettingsError`]
    pub fn with_limits(issuers: Vec<IssuerSettings>, limits: Limits) -> Result<ResourceServer, SettingsError> {
        State::new(issuers, limits, None).map(ResourceServer::from)
    }

    /// Makes a resource server of other settings that goes on where this one is: with what was revoked, and with the keys of issuers
    /// whose keys still come from the same place. Tokens are verified again, for the settings may have become stricter.
    ///
    /// # Errors
    /// [`SettingsError`]; this one is as it was.
    pub fn reconfigured(&self, issuers: Vec<IssuerSettings>) -> Result<ResourceServer, SettingsError> {
        self.reconfigured_with_limits(issuers, self.state.limits)
    }

    /// The same with other limits, too.
    ///
    /// # Errors
    /// [`SettingsError`]; this one is as it was.
    pub fn reconfigured_with_limits(
        &self,
        issuers: Vec<IssuerSettings>,
        limits: Limits,
    ) -> Result<ResourceServer, SettingsError> {
        State::new(issuers, limits, Some(&self.state)).map(ResourceServer::from)
    }

    /// Decides whether a request may pass (RFC 6750, RFC 8705 §3, RFC 9068 §4).
    ///
    /// The token is taken from the `Authorization` header and from nowhere else. `presented` is the certificate of the *caller*, as
    /// the TLS layer or a configured proxy proved it: not a header, and not our own certificate. The certificate itself is not
    /// judged (RFC 8705 §6.2): its issuer, names and validity are the authorization server's business.
    ///
    /// To be called within a tokio runtime.
    pub fn check(
        &self,
        parts: &Parts,
        presented: &PresentedCertificate,
        policy: &RoutePolicy,
        now: Timestamp,
    ) -> Check {
        self.check_for(parts, &Caller::new(presented), policy, now)
    }

    /// The same for whoever knows more of the caller than its certificate.
    pub fn check_for(&self, parts: &Parts, caller: &Caller<'_>, policy: &RoutePolicy, now: Timestamp) -> Check {
        let check = self.check_parts(parts, caller, policy, now);
        let scheme = scheme_of(&parts.headers, policy);
        match check {
            Check::Done(verdict) => Check::Done(answered_by(verdict, scheme, policy, now)),
            Check::Pending(pending) => {
                let policy = policy.clone();
                Check::Pending(PendingCheck(Box::pin(async move {
                    answered_by(pending.await, scheme, &policy, now)
                })))
            }
        }
    }

    /// Decides about a token that is already known to this connection or process, or whose keys are here; else returns what
    /// to wait for.
    fn check_parts(&self, parts: &Parts, caller: &Caller<'_>, policy: &RoutePolicy, now: Timestamp) -> Check {
        let Caller { presented, last, .. } = *caller;
        let Presentation { token, proof } = match Presentation::of(parts, policy, now) {
            Ok(presentation) => presentation,
            Err(reason) => return Check::Done(Err(Refused::new(reason, policy))),
        };
        let possession = Possession {
            certificate: presented,
            proof: proof.as_ref(),
        };
        if let Some(known) = last.and_then(|last| last.find(&self.state.origin, token))
            && self.state.is_vouched_for(&known, now)
        {
            return Check::Done(self.state.decide(&known, &possession, policy, now));
        }
        let hash = hash_of(token);
        if let Some(known) = self.state.tokens.find(&hash)
            && self.state.is_vouched_for(&known, now)
        {
            if let Some(last) = last {
                last.remember(&self.state.origin, token, &known);
            }
            return Check::Done(self.state.decide(&known, &possession, policy, now));
        }
        match self.state.vouch(token, policy, now, true) {
            Vouching::Done(Ok(vouched)) => {
                let vouched = self.state.keep(hash, vouched);
                if let Some(last) = last {
                    last.remember(&self.state.origin, token, &vouched);
                }
                Check::Done(self.state.decide(&vouched, &possession, policy, now))
            }
            Vouching::Done(Err(reason)) => Check::Done(Err(Refused::new(reason, policy))),
            Vouching::AwaitKeys(fetch) => {
                let check = self.pending(Presentation { token, proof }, hash, caller, policy, now);
                Check::Pending(PendingCheck(Box::pin(check.with_keys(fetch))))
            }
            Vouching::Introspect(introspectors) => {
                // Whatever the issuer says, this request cannot pass. So who proved nothing costs it nothing.
                if let Err(reason) = require_something_proven(&possession, policy) {
                    return Check::Done(Err(Refused::before_introspection(reason, policy)));
                }
                let check = self.pending(Presentation { token, proof }, hash, caller, policy, now);
                Check::Pending(PendingCheck(Box::pin(check.by_introspection(introspectors))))
            }
        }
    }

    fn pending(
        &self,
        presentation: Presentation<'_>,
        hash: TokenHash,
        caller: &Caller<'_>,
        policy: &RoutePolicy,
        now: Timestamp,
    ) -> Pending {
        Pending {
            state: Arc::clone(&self.state),
            token: presentation.token.to_owned(),
            hash,
            sender: Sender {
                certificate: caller.presented.clone(),
                proof: presentation.proof,
            },
            asker: caller.asker(),
            policy: policy.clone(),
            now,
        }
    }

    /// What `issuer` revoked, as far as it is known here: whoever follows its revocations writes it there.
    pub fn deny_list(&self, issuer: &Issuer) -> Option<&Arc<DenyList>> {
        self.state.issuer(issuer).map(|issuer| &issuer.deny_list)
    }

    /// Begins to follow the revocations of every issuer that is [configured](IssuerSettings::revocations) so, until what is returned
    /// is dropped. One that is [reconfigured](Self::reconfigured) is followed anew, from where this one has come.
    ///
    /// To be called within a tokio runtime, which the questions are then asked on.
    pub fn follow_revocations(&self, clock: &Clock) -> RevocationFollower {
        let followed = self
            .state
            .issuers
            .iter()
            .filter_map(|issuer| issuer.revocations.clone());
        RevocationFollower::start(followed, clock)
    }

    /// How the following of revocations stands, of each issuer that is followed.
    pub fn revocations(&self, now: Timestamp) -> impl Iterator<Item = RevocationStanding<'_>> {
        self.state.issuers.iter().filter_map(move |issuer| issuer.standing(now))
    }

    /// Puts other keys in place for an issuer whose keys are [given](crate::KeySource::Static). Tokens signed with a key that is
    /// gone are refused from the next request on. `false` if there is no such issuer.
    pub fn replace_keys(&self, issuer: &Issuer, keys: JwkSet) -> bool {
        match self.state.issuer(issuer).map(|issuer| &issuer.authority) {
            Some(Authority::Keys(issuer_keys)) => issuer_keys.replace(keys),
            _ => false,
        }
    }

    /// Fetches the keys of every issuer that are not here, so that the first request need not wait. What fails is fetched
    /// again when a request needs it.
    pub async fn prepare(&self, now: Timestamp) {
        for issuer in &self.state.issuers {
            let Authority::Keys(keys) = &issuer.authority else {
                continue;
            };
            if keys.current(now).is_none()
                && let Some(fetch) = keys.fetch(now)
            {
                fetch.finished().await;
            }
        }
    }

    /// The issuers whose tokens are taken, in the order of the settings.
    pub fn issuers(&self) -> impl Iterator<Item = &Issuer> {
        self.state.issuers.iter().map(|issuer| &issuer.settings.issuer)
    }

    /// The issuers without whose keys their tokens are refused now. Empty: ready for all.
    pub fn issuers_without_keys(&self, now: Timestamp) -> impl Iterator<Item = &Issuer> {
        self.state
            .issuers
            .iter()
            .filter_map(move |issuer| match &issuer.authority {
                Authority::Keys(keys) if keys.version(now).is_none() => Some(&issuer.settings.issuer),
                _ => None,
            })
    }

    /// Forgets every token, so that each is verified or asked about again.
    pub fn forget_tokens(&self) {
        self.state.tokens.clear();
        self.state.followed.forget();
        for issuer in &self.state.issuers {
            if let Some(introspector) = issuer.introspector() {
                introspector.forget();
            }
        }
    }
}

/// Completes a verdict with what its answer says about proofs: the scheme to be challenged by, and the nonce for the next one.
fn answered_by(verdict: Verdict, scheme: TokenScheme, policy: &RoutePolicy, now: Timestamp) -> Verdict {
    if scheme == TokenScheme::Bearer {
        return verdict;
    }
    let nonce = || policy.dpop_nonces().map(|nonces| nonces.current(now));
    match verdict {
        Ok(accepted) if accepted.dpop().is_some_and(VerifiedDpopProof::has_earlier_nonce) => Ok(match nonce() {
            Some(nonce) => accepted.with_next_nonce(nonce),
            None => accepted,
        }),
        Ok(accepted) => Ok(accepted),
        Err(refused) => Err(refused.of_dpop(nonce())),
    }
}

/// Who vouches for a token.
enum Vouching {
    Done(Result<CachedToken, AccessTokenRefusal>),
    AwaitKeys(Fetch),
    Introspect(Vec<Arc<Introspector>>),
}

impl From<State> for ResourceServer {
    fn from(state: State) -> ResourceServer {
        ResourceServer { state: Arc::new(state) }
    }
}

impl State {
    fn new(issuers: Vec<IssuerSettings>, limits: Limits, before: Option<&State>) -> Result<State, SettingsError> {
        require_consistent(&issuers)?;
        let state_of = |(position, settings): (usize, IssuerSettings)| {
            let before = before.and_then(|before| before.issuer(&settings.issuer));
            IssuerState::new(position, settings, limits, before)
        };
        let issuers = issuers.into_iter().enumerate().map(state_of).collect();
        Ok(State {
            issuers,
            tokens: TokenCache::new(limits.cached_tokens_bytes_max),
            followed: FollowedTokens::new(&limits),
            seen_proofs: match before {
                // What was used stays used.
                Some(before) if before.seen_proofs.proofs_max() == limits.dpop_proofs_max => {
                    Arc::clone(&before.seen_proofs)
                }
                _ => Arc::new(SeenProofs::new(limits.dpop_proofs_max)),
            },
            origin: Origin::default(),
            limits,
        })
    }

    fn issuer(&self, issuer: &Issuer) -> Option<&IssuerState> {
        self.issuers.iter().find(|own| own.settings.issuer == *issuer)
    }

    fn is_vouched_for(&self, token: &CachedToken, now: Timestamp) -> bool {
        self.issuers
            .get(token.issuer)
            .is_some_and(|issuer| issuer.still_vouches_for(token, now))
    }

    fn keep(&self, hash: TokenHash, token: CachedToken) -> Arc<CachedToken> {
        let token = Arc::new(token);
        self.tokens.insert(hash, Arc::clone(&token));
        token
    }

    /// Finds out who vouches for a token that is not known.
    ///
    /// A JWT goes to the issuer that it names and to no other, whatever its key might verify. What is no JWT is shown to the
    /// introspected issuers of the route.
    fn vouch(&self, text: &str, policy: &RoutePolicy, now: Timestamp, may_wait: bool) -> Vouching {
        let token = match UnverifiedAccessToken::parse(text) {
            Ok(token) => token,
            Err(error) => return self.vouch_for_opaque(policy, error),
        };
        let Some(presented) = token.unverified_issuer() else {
            return self.vouch_for_opaque(policy, AccessTokenError::ClaimMissing("iss"));
        };
        let named = self
            .issuers
            .iter()
            .enumerate()
            .find(|(_, own)| own.settings.issuer.as_str() == presented);
        let Some((position, issuer)) = named else {
            return Vouching::Done(Err(AccessTokenRefusal::UnknownIssuer {
                presented: Some(presented.to_owned()),
            }));
        };
        if !policy.admits_issuer(&issuer.settings.issuer) {
            return Vouching::Done(Err(AccessTokenRefusal::IssuerNotAdmitted {
                issuer: presented.to_owned(),
            }));
        }
        if let Some(fallback) = issuer.fallback(now) {
            return Vouching::Introspect(vec![Arc::clone(fallback)]);
        }
        match &issuer.authority {
            Authority::Introspector(introspector) => Vouching::Introspect(vec![Arc::clone(introspector)]),
            Authority::Keys(keys) => match issuer.verify(position, keys, &token, policy.audience(), now, may_wait) {
                LocalVerdict::Done(verdict) => Vouching::Done(verdict),
                LocalVerdict::AwaitKeys(fetch) => Vouching::AwaitKeys(fetch),
            },
        }
    }

    fn vouch_for_opaque(&self, policy: &RoutePolicy, error: AccessTokenError) -> Vouching {
        let introspectors: Vec<Arc<Introspector>> = self
            .issuers
            .iter()
            .filter(|issuer| policy.admits_issuer(&issuer.settings.issuer))
            .filter_map(|issuer| match &issuer.authority {
                Authority::Introspector(introspector) => Some(Arc::clone(introspector)),
                Authority::Keys(_) => None,
            })
            .collect();
        if !introspectors.is_empty() {
            return Vouching::Introspect(introspectors);
        }
        Vouching::Done(Err(match error {
            AccessTokenError::Signature(JwsError::PartCount(_)) => AccessTokenRefusal::Opaque(error),
            AccessTokenError::ClaimMissing("iss") => AccessTokenRefusal::UnknownIssuer { presented: None },
            error => AccessTokenRefusal::Token(error),
        }))
    }
}
