//! A token that was accepted, as long as what it was accepted for runs.
//!
//! A request is decided about when it arrives, and what it starts may take longer: an answer that streams, a connection that was
//! upgraded, a wait for an upstream. Whoever runs such a thing keeps one of these and asks it now and then.

use std::sync::{Arc, OnceLock};

use http::HeaderMap;
use keybound_protocol::access_token::CLOCK_LEEWAY;
use keybound_protocol::bearer::TokenScheme;
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_protocol::time::Timestamp;
use tokio::runtime::Handle;

use super::followed_token::FollowedToken;
use super::{ResourceServer, State};
use crate::accepted_token::AcceptedAccessToken;
use crate::cached_token::{Vouched, hash_of};
use crate::introspector::Introspector;
use crate::presentation::{Sender, token_of};
use crate::refusal::{AccessTokenRefusal, Refused};
use crate::route_policy::RoutePolicy;

/// A token that was accepted for something that is still running.
pub struct RunningToken {
    state: Arc<State>,
    accepted: AcceptedAccessToken,
    policy: RoutePolicy,
    /// The position of its issuer.
    issuer: Option<usize>,
    ends_at: Timestamp,
    questions: Questions,
}

/// Whether the issuer is asked about the token while it runs.
enum Questions {
    /// It is not.
    None,
    /// It vouched for the token by saying so, and is asked to say so again.
    Due(Introspected),
    /// It is, while it does not say what it revoked.
    WhenSilent(WhenSilent),
}

struct Introspected {
    token: Arc<FollowedToken>,
    sender: Sender,
}

/// What is needed to ask later.
struct WhenSilent {
    introspector: Arc<Introspector>,
    text: Box<str>,
    sender: Sender,
    runtime: Option<Handle>,
    begun: OnceLock<Introspected>,
}

impl ResourceServer {
    /// Follows a token that was `accepted` at `accepted_at` for a request with these headers and `presented` certificate.
    ///
    /// To be called within a tokio runtime: a token that was introspected is asked about again on it.
    pub fn follow(
        &self,
        accepted: &AcceptedAccessToken,
        headers: &HeaderMap,
        presented: &PresentedCertificate,
        policy: &RoutePolicy,
        accepted_at: Timestamp,
    ) -> RunningToken {
        let state = &self.state;
        let claims = accepted.claims();
        // By name: the token may have been accepted under other settings, in which issuers stood elsewhere.
        let issuer = state
            .issuers
            .iter()
            .position(|own| own.settings.issuer.as_str() == claims.issuer);
        // Accepted within the leeway it is past its end already: its issuer's clock may be behind ours.
        let ends_at = if claims.expires_at > accepted_at {
            claims.expires_at
        } else {
            claims.expires_at.plus(CLOCK_LEEWAY)
        };
        RunningToken {
            state: Arc::clone(state),
            accepted: accepted.clone(),
            policy: policy.clone(),
            issuer,
            ends_at,
            questions: state.questions(accepted, token_of(headers, policy).ok(), presented, issuer),
        }
    }
}

impl State {
    fn questions(
        self: &Arc<Self>,
        accepted: &AcceptedAccessToken,
        presented_token: Option<(TokenScheme, &str)>,
        presented: &PresentedCertificate,
        issuer: Option<usize>,
    ) -> Questions {
        let introspector = issuer.and_then(|issuer| self.issuers.get(issuer)?.introspector());
        let (Some(introspector), Some((_, text))) = (introspector, presented_token) else {
            return Questions::None;
        };
        let later = WhenSilent {
            introspector: Arc::clone(introspector),
            text: text.into(),
            sender: Sender {
                certificate: presented.clone(),
                proof: accepted.dpop().cloned(),
            },
            runtime: Handle::try_current().ok(),
            begun: OnceLock::new(),
        };
        match accepted.token().vouched {
            Vouched::ByIntrospection { .. } => Questions::Due(later.begin(self, accepted)),
            Vouched::BySignature { .. } => Questions::WhenSilent(later),
        }
    }
}

impl WhenSilent {
    fn begin(&self, state: &State, accepted: &AcceptedAccessToken) -> Introspected {
        let join = || {
            (
                Arc::clone(&self.introspector),
                self.text.clone(),
                Arc::clone(accepted.token()),
            )
        };
        Introspected {
            token: state.followed.join(hash_of(&self.text), self.runtime.clone(), join),
            sender: self.sender.clone(),
        }
    }
}

impl RunningToken {
    /// When the token ends by itself: its `exp`, or a little later if it was accepted after that.
    pub fn ends_at(&self) -> Timestamp {
        self.ends_at
    }

    /// Why the token is no longer good at `now`; `None` as long as it is.
    ///
    /// It is not once it has expired or was revoked. One that was introspected is asked about again, once for everything that runs
    /// with it, when the last answer is not to be believed any longer
    /// ([`introspection_active_max`](crate::Limits::introspection_active_max)); this function never waits for that.
    pub fn refusal(&self, now: Timestamp) -> Option<Box<Refused>> {
        self.decide(now).err()
    }

    fn decide(&self, now: Timestamp) -> Result<(), Box<Refused>> {
        let token = self.accepted.token();
        let refused = |reason| Refused::of_known(reason, &self.policy, token);
        let expired_at = token.claims.expires_at;
        if self.ends_at <= now {
            return Err(refused(AccessTokenRefusal::ExpiredWhileRunning { expired_at }));
        }
        let issuer = self.issuer.and_then(|issuer| self.state.issuers.get(issuer));
        // Not by what the token remembers of being clear: that may have been another list.
        if let Some(subject) = issuer.and_then(|issuer| issuer.find_denial(token)) {
            return Err(refused(AccessTokenRefusal::Denied { subject }));
        }
        issuer
            .map_or(Ok(()), |issuer| issuer.require_heard(now))
            .map_err(refused)?;
        let introspected = match &self.questions {
            Questions::None => return Ok(()),
            Questions::Due(introspected) => introspected,
            Questions::WhenSilent(later) => match issuer.filter(|issuer| issuer.is_silent(now)) {
                Some(_) => later.begun.get_or_init(|| later.begin(&self.state, &self.accepted)),
                None => return Ok(()),
            },
        };
        let Introspected {
            token: followed,
            sender,
        } = introspected;
        let current = followed.current(&self.state, now).map_err(refused)?;
        if Arc::ptr_eq(&current, token) {
            return Ok(());
        }
        // What the issuer says now may be less than what the request was accepted for.
        let expires_at = current.claims.expires_at;
        if expires_at < expired_at && expires_at <= now {
            return Err(refused(AccessTokenRefusal::ExpiredWhileRunning {
                expired_at: expires_at,
            }));
        }
        self.state
            .judge(&current, &sender.possession(), &self.policy, now)
            .map(|_| ())
    }
}

impl std::fmt::Debug for RunningToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RunningToken")
            .field("ends_at", &self.ends_at)
            .finish_non_exhaustive()
    }
}
