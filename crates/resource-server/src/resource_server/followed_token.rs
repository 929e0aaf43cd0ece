//! Introspected tokens that something runs with, and what their issuers say about them meanwhile.
//!
//! One entry for each token, however much runs with it, so that each is asked about once. An entry holds the token itself, which
//! no cache does: it is as secret as the requests that brought it, and lives no longer than what they started.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use keybound_protocol::time::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::State;
use crate::cached_token::{CachedToken, TokenHash, Vouched};
use crate::caller::Asker;
use crate::introspector::{Introspector, Unusable};
use crate::limits::Limits;
use crate::moment::Moment;
use crate::refusal::AccessTokenRefusal;

/// An issuer that does not answer is given this long at least before what runs is ended: it may be restarting.
const PATIENCE_MIN: Duration = Duration::from_secs(5);

/// All of them, by the hash of the token.
pub(super) struct FollowedTokens {
    by_hash: Mutex<HashMap<TokenHash, Weak<FollowedToken>>>,
    /// Fewer than an issuer's questions in all, so that what runs does not keep new requests from being asked about.
    questions: Semaphore,
    /// How often a token is asked about at most.
    interval: Duration,
}

/// One token that something runs with.
pub(super) struct FollowedToken {
    hash: TokenHash,
    text: Box<str>,
    introspector: Arc<Introspector>,
    /// `None` if it is followed from outside any runtime: then nobody can be asked.
    runtime: Option<Handle>,
    standing: Mutex<Standing>,
    registry: Arc<FollowedTokens>,
}

struct Standing {
    /// What the issuer said last.
    token: Arc<CachedToken>,
    /// That is not believed any longer, however young it is.
    forgotten: bool,
    is_asking: bool,
    /// Since when it is asked without an answer.
    unanswered_since: Option<Moment>,
    /// It said that the token is not good any more.
    ended: Option<Unusable>,
}

impl FollowedTokens {
    pub(super) fn new(limits: &Limits) -> Arc<FollowedTokens> {
        Arc::new(FollowedTokens {
            by_hash: Mutex::default(),
            questions: Semaphore::new(limits.introspections_max.div_ceil(4)),
            // A limit of nothing means that every request is asked about, not that what runs asks all the time.
            interval: limits.introspection_active_max.max(limits.introspection_pause),
        })
    }

    /// The entry of a token, asked about on `runtime`; `make` says what a new one begins with.
    pub(super) fn join(
        self: &Arc<Self>,
        hash: TokenHash,
        runtime: Option<Handle>,
        make: impl FnOnce() -> (Arc<Introspector>, Box<str>, Arc<CachedToken>),
    ) -> Arc<FollowedToken> {
        let mut by_hash = self.lock();
        if let Some(followed) = by_hash.get(&hash).and_then(Weak::upgrade) {
            return followed;
        }
        let (introspector, text, token) = make();
        let followed = Arc::new(FollowedToken {
            hash,
            text,
            introspector,
            runtime,
            standing: Mutex::new(Standing {
                token,
                forgotten: false,
                is_asking: false,
                unanswered_since: None,
                ended: None,
            }),
            registry: Arc::clone(self),
        });
        by_hash.insert(hash, Arc::downgrade(&followed));
        followed
    }

    /// Has every one of them asked about anew.
    pub(super) fn forget(&self) {
        let followed: Vec<_> = self.lock().values().filter_map(Weak::upgrade).collect();
        for token in followed {
            token.lock().forgotten = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TokenHash, Weak<FollowedToken>>> {
        self.by_hash.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FollowedToken {
    /// What the issuer says about the token. Never waits: if that is to be asked again, the answer before counts until there is
    /// another, but not for long.
    pub(super) fn current(
        self: &Arc<Self>,
        state: &Arc<State>,
        now: Timestamp,
    ) -> Result<Arc<CachedToken>, AccessTokenRefusal> {
        let moment = Moment::at(now);
        let interval = self.registry.interval;
        let is_young = |token: &CachedToken| match token.vouched {
            Vouched::ByIntrospection { asked } => moment.since(asked) < interval,
            Vouched::BySignature { .. } => false,
        };
        let mut standing = self.lock();
        if let Some(unusable) = &standing.ended {
            return Err(self.introspector.refusal(unusable.clone()));
        }
        if !standing.forgotten && is_young(&standing.token) {
            return Ok(Arc::clone(&standing.token));
        }
        // A request that came meanwhile may have had it asked about.
        if let Some(known) = state.tokens.find(&self.hash).filter(|known| is_young(known)) {
            standing.answered(Ok(Arc::clone(&known)));
            return Ok(known);
        }
        let unanswered_since = *standing.unanswered_since.get_or_insert(moment);
        if moment.since(unanswered_since) >= interval.max(PATIENCE_MIN) {
            return Err(self.introspector.refusal(Unusable::Unavailable(None)));
        }
        let token = Arc::clone(&standing.token);
        if let Some(runtime) = self.runtime.as_ref().filter(|_| !standing.is_asking) {
            standing.is_asking = true;
            // A runtime that has ended drops the question at once, which takes the lock.
            drop(standing);
            runtime.spawn(Asking(Arc::clone(self)).ask(Arc::clone(state), now));
        }
        Ok(token)
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    fn answered(&mut self, answer: Result<Arc<CachedToken>, Unusable>) {
        match answer {
            Ok(token) => self.token = token,
            // Asked again the next time that somebody looks.
            Err(Unusable::Unavailable(_)) => return,
            Err(unusable) => self.ended = Some(unusable),
        }
        self.forgotten = false;
        self.unanswered_since = None;
    }
}

/// A question that is under way until this is dropped, whatever becomes of its task.
struct Asking(Arc<FollowedToken>);

impl Asking {
    async fn ask(self, state: Arc<State>, now: Timestamp) {
        let followed = &self.0;
        // Never closed.
        let Ok(_permit) = followed.registry.questions.acquire().await else {
            return;
        };
        let answer = followed
            .introspector
            .introspect(followed.hash, &followed.text, Asker::UNKNOWN, now)
            .await;
        if let Ok(token) = &answer {
            state.tokens.insert(followed.hash, Arc::clone(token));
        }
        followed.lock().answered(answer);
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.lock().is_asking = false;
    }
}

impl Drop for FollowedToken {
    fn drop(&mut self) {
        let mut by_hash = self.registry.lock();
        // Unless another one has taken its place already.
        if by_hash
            .get(&self.hash)
            .is_some_and(|followed| followed.strong_count() == 0)
        {
            by_hash.remove(&self.hash);
        }
    }
}

impl std::fmt::Debug for FollowedTokens {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_tuple("FollowedTokens")
            .field(&self.lock().len())
            .finish()
    }
}
