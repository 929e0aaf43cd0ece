//! What is decided about every request anew, with a token that its issuer vouches for.

use std::sync::Arc;

use keybound_protocol::access_token::{AccessTokenError, CLOCK_LEEWAY};
use keybound_protocol::confirmation::{BindingError, Possession};
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_protocol::time::Timestamp;

use super::State;
use super::check::Verdict;
use crate::accepted_token::AcceptedAccessToken;
use crate::cached_token::CachedToken;
use crate::refusal::{AccessTokenRefusal, Refused};
use crate::route_policy::{Binding, RoutePolicy};

/// Whether the request proves something that a token could be bound to, on a route that asks for that.
pub(super) fn require_something_proven(possession: &Possession<'_>, policy: &RoutePolicy) -> Result<(), BindingError> {
    if possession.proof.is_some() {
        return Ok(());
    }
    match (policy.binding(), possession.certificate) {
        (Binding::None | Binding::Optional, _)
        | (Binding::Required, PresentedCertificate::Peer(_) | PresentedCertificate::Forwarded(_)) => Ok(()),
        (Binding::Required, PresentedCertificate::NotRequested) => Err(BindingError::NotRequested),
        (Binding::Required, PresentedCertificate::None) => Err(BindingError::NoCertificate),
        (Binding::Required, PresentedCertificate::ForwardingRefused(error)) => {
            Err(BindingError::Forwarding(error.clone()))
        }
        (
            Binding::Required,
            PresentedCertificate::TooLong {
                presented_intermediates,
            },
        ) => Err(BindingError::ChainTooLong {
            presented_intermediates: *presented_intermediates,
        }),
    }
}

impl State {
    /// Decides about one request with a token that its issuer vouches for, and uses its proof up if it has one.
    pub(super) fn decide(
        &self,
        token: &Arc<CachedToken>,
        possession: &Possession<'_>,
        policy: &RoutePolicy,
        now: Timestamp,
    ) -> Verdict {
        let accepted = self.judge(token, possession, policy, now)?;
        if let Some(proof) = possession.proof {
            self.seen_proofs
                .spend(proof, now)
                .map_err(|error| Refused::of_known(error.into(), policy, token))?;
        }
        Ok(accepted)
    }

    /// Judges a token for a request whose proof, if it has one, is new. Everything here is asked at every request: nothing of it is
    /// remembered.
    pub(super) fn judge(
        &self,
        token: &Arc<CachedToken>,
        possession: &Possession<'_>,
        policy: &RoutePolicy,
        now: Timestamp,
    ) -> Verdict {
        let claims = &token.claims;
        self.require_usable(token, policy, now)
            .and_then(|()| accept(token, possession, policy))
            .and_then(|accepted| {
                // Last, because it is the one refusal that tells the caller something about the route.
                if policy.scopes().is_subset_of(&claims.scope) {
                    return Ok(accepted);
                }
                let (presented, required) = (claims.scope.clone(), policy.scopes().clone());
                Err(AccessTokenRefusal::InsufficientScope { presented, required })
            })
            .map_err(|reason| Refused::of_known(reason, policy, token))
    }

    /// Whether the token may be used on this route now, by whoever it belongs to.
    fn require_usable(
        &self,
        token: &CachedToken,
        policy: &RoutePolicy,
        now: Timestamp,
    ) -> Result<(), AccessTokenRefusal> {
        let claims = &token.claims;
        // The position comes from this very list.
        let Some(issuer) = self
            .issuers
            .get(token.issuer)
            .filter(|own| policy.admits_issuer(&own.settings.issuer))
        else {
            return Err(AccessTokenRefusal::IssuerNotAdmitted {
                issuer: claims.issuer.clone(),
            });
        };
        if claims.audience.is_empty() {
            return Err(AccessTokenError::ClaimMissing("aud").into());
        }
        if !claims
            .audience
            .iter()
            .any(|presented| issuer.is_audience(presented, policy.audience()))
        {
            let own = std::iter::once(policy.audience().as_str().to_owned());
            let expected = own.chain(issuer.settings.audiences.iter().cloned()).collect();
            return Err(AccessTokenError::Audience {
                presented: claims.audience.clone(),
                expected,
            }
            .into());
        }
        if claims.expires_at.plus(CLOCK_LEEWAY) <= now {
            return Err(AccessTokenError::Expired {
                expired_at: claims.expires_at,
                now,
            }
            .into());
        }
        match issuer.denied(token) {
            Some(subject) => Err(AccessTokenRefusal::Denied { subject }),
            None => issuer.require_heard(now),
        }
    }
}

/// Whether the token's binding is satisfied, as far as the route asks for one.
fn accept(
    token: &Arc<CachedToken>,
    possession: &Possession<'_>,
    policy: &RoutePolicy,
) -> Result<AcceptedAccessToken, AccessTokenRefusal> {
    let asked_for = match (policy.binding(), token.claims.confirmation) {
        (Binding::None, Some(confirmation)) => confirmation.without_certificate(),
        (_, confirmation) => confirmation,
    };
    match asked_for {
        Some(confirmation) => {
            let proof = confirmation.verify(*possession)?;
            Ok(AcceptedAccessToken::bound(
                Arc::clone(token),
                proof,
                possession.proof.cloned(),
            ))
        }
        // Whoever proves a key takes the token for one that is bound to it.
        None if possession.proof.is_some() => Err(BindingError::NotBoundToKey.into()),
        None if policy.binding() == Binding::Required => Err(AccessTokenRefusal::Unbound),
        None => Ok(AcceptedAccessToken::bearer(Arc::clone(token))),
    }
}
