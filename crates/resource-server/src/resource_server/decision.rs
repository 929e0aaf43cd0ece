//! What is decided about every request anew, with a token that its issuer vouches for.

use std::sync::Arc;

use keybound_protocol::access_token::{AccessTokenError, CLOCK_LEEWAY};
use keybound_protocol::confirmation::BindingError;
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_protocol::time::Timestamp;

use super::State;
use super::check::Verdict;
use crate::accepted_token::AcceptedAccessToken;
use crate::cached_token::CachedToken;
use crate::refusal::{AccessTokenRefusal, Refused};
use crate::route_policy::{Binding, RoutePolicy};

/// Whether the request has a certificate to compare with the token's binding, on a route that asks for one.
pub(super) fn require_certificate(presented: &PresentedCertificate, policy: &RoutePolicy) -> Result<(), BindingError> {
    match (policy.binding(), presented) {
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
    /// Decides about one request with a token that its issuer vouches for. Everything here is asked at every request: nothing of
    /// it is remembered.
    pub(super) fn decide(
        &self,
        token: &Arc<CachedToken>,
        presented: &PresentedCertificate,
        policy: &RoutePolicy,
        now: Timestamp,
    ) -> Verdict {
        let claims = &token.claims;
        self.require_usable(token, policy, now)
            .and_then(|()| match (policy.binding(), &claims.confirmation) {
                (Binding::None, _) | (Binding::Optional, None) => Ok(AcceptedAccessToken::bearer(Arc::clone(token))),
                (Binding::Required, None) => Err(AccessTokenRefusal::Unbound),
                (Binding::Required | Binding::Optional, Some(confirmation)) => Ok(AcceptedAccessToken::bound(
                    Arc::clone(token),
                    confirmation.verify(presented)?,
                )),
            })
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
