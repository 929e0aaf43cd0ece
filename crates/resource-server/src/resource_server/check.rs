//! The outcome of a check, which is there at once or waits for an issuer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use keybound_protocol::time::Timestamp;

use super::{State, Vouching};
use crate::accepted_token::AcceptedAccessToken;
use crate::cached_token::{CachedToken, TokenHash};
use crate::caller::Asker;
use crate::introspector::{Introspector, Unusable};
use crate::issuer_keys::Fetch;
use crate::presentation::Sender;
use crate::refusal::{AccessTokenRefusal, Refused};
use crate::route_policy::RoutePolicy;

/// The verdict about one request.
pub type Verdict = Result<AcceptedAccessToken, Box<Refused>>;

/// A check that is done, or that waits for an issuer.
#[derive(Debug)]
pub enum Check {
    /// The verdict. Always, if the token is known or can be judged with the keys that are here.
    Done(Verdict),
    /// The issuer has to be asked first: for its keys, or about the token.
    Pending(PendingCheck),
}

impl Check {
    /// The verdict, waited for if it must be.
    pub async fn finish(self) -> Verdict {
        match self {
            Check::Done(verdict) => verdict,
            Check::Pending(pending) => pending.await,
        }
    }
}

/// A check that waits for an issuer. It owns what it needs; dropping it gives the request up.
#[must_use = "nothing is decided before it is awaited"]
pub struct PendingCheck(pub(super) Pin<Box<dyn Future<Output = Verdict> + Send>>);

impl Future for PendingCheck {
    type Output = Verdict;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Verdict> {
        self.0.as_mut().poll(context)
    }
}

impl std::fmt::Debug for PendingCheck {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("PendingCheck")
    }
}

/// A request whose token waits for its issuer.
pub(super) struct Pending {
    pub(super) state: Arc<State>,
    pub(super) token: String,
    pub(super) hash: TokenHash,
    pub(super) sender: Sender,
    pub(super) asker: Asker,
    pub(super) policy: RoutePolicy,
    pub(super) now: Timestamp,
}

impl Pending {
    pub(super) async fn with_keys(self, fetch: Fetch) -> Verdict {
        fetch.finished().await;
        match self.state.vouch(&self.token, &self.policy, self.now, false) {
            Vouching::Done(Ok(vouched)) => self.decide(self.state.keep(self.hash, vouched)),
            Vouching::Done(Err(reason)) => self.refuse(reason),
            // Its issuer fell silent meanwhile.
            Vouching::Introspect(introspectors) => self.by_introspection(introspectors).await,
            // Waiting was not permitted.
            Vouching::AwaitKeys(_) => self.refuse(AccessTokenRefusal::Inactive),
        }
    }

    /// The first issuer that calls the token active decides.
    pub(super) async fn by_introspection(self, introspectors: Vec<Arc<Introspector>>) -> Verdict {
        let mut refusal = AccessTokenRefusal::Inactive;
        for introspector in introspectors {
            match introspector
                .introspect(self.hash, &self.token, self.asker, self.now)
                .await
            {
                Ok(vouched) => {
                    self.state.tokens.insert(self.hash, Arc::clone(&vouched));
                    return self.decide(vouched);
                }
                // One that could not be asked, or answered wrongly, might have known it: that is worth more than another's no.
                Err(Unusable::Inactive) => {}
                Err(unusable) => refusal = introspector.refusal(unusable),
            }
        }
        Err(Refused::of_introspected(refusal, &self.policy))
    }

    fn decide(&self, vouched: Arc<CachedToken>) -> Verdict {
        self.state
            .decide(&vouched, &self.sender.possession(), &self.policy, self.now)
    }

    fn refuse(&self, reason: AccessTokenRefusal) -> Verdict {
        Err(Refused::new(reason, &self.policy))
    }
}
