//! The key sets that clients publish at their `jwks_uri` (RFC 7591 §2), fetched when they are needed and kept for a while.
//!
//! Three fears shape this file: a rotation that is not seen (so a set older than 30 s is fetched again before it decides
//! anything), a fetch storm (so nothing is fetched more often than that for one client, nor more than ten times a second in
//! all, nor twice at once), and a client locked out because its own server is down (so a failed fetch leaves the set as it
//! was, for 24 h).

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use governor::clock::DefaultClock;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use keybound_protocol::client::{Client, ClientId};
use keybound_protocol::client_metadata::ClientKeys;
use keybound_protocol::jwk_set::{JwkSet, JwkSetError};
use keybound_protocol::time::Timestamp;
use keybound_tls::{FetchError, GuardedFetch};
use quick_cache::sync::Cache;
use tokio::sync::watch;
use url::Url;

use crate::limits::Limits;
use crate::metrics::Metrics;

/// Fetched key sets, by client.
pub(crate) struct KeySets {
    entries: Cache<ClientId, Arc<Entry>>,
    fetch: ArcSwap<GuardedFetch>,
    pace: ArcSwap<Pace>,
    metrics: Arc<Metrics>,
}

/// How often is fetched, and how long what was fetched counts.
struct Pace {
    fetches_per_second: u32,
    budget: Arc<RateLimiter<NotKeyed, InMemoryState, DefaultClock>>,
    refetch_interval: Duration,
    stale_max: Duration,
}

/// Why there is no key set.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum KeySetError {
    /// It could not be fetched, now or within the last 30 s, and there is none from before.
    #[error("{uri} could not be fetched")]
    Fetch {
        uri: Arc<Url>,
        #[source]
        source: Arc<FetchError>,
    },
    /// What came is no key set.
    #[error("{uri} is not a key set")]
    Invalid {
        uri: Arc<Url>,
        #[source]
        source: Arc<JwkSetError>,
    },
    /// All clients together fetch too often at the moment.
    #[error("{uri} was not fetched: too many key sets are being fetched at the moment")]
    TooMany { uri: Arc<Url> },
    /// The last one that was fetched is too old.
    #[error("{uri} could not be fetched for longer than a key set counts")]
    TooOld { uri: Arc<Url> },
}

struct Entry {
    uri: Arc<Url>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<Current>,
    attempted_at: Option<Timestamp>,
    last_failure: Option<KeySetError>,
    in_flight: Option<watch::Receiver<bool>>,
}

struct Current {
    set: Arc<JwkSet>,
    fetched_at: Timestamp,
}

impl KeySets {
    pub(crate) fn new(fetch: GuardedFetch, limits: &Limits, metrics: Arc<Metrics>) -> KeySets {
        KeySets {
            entries: Cache::new(limits.key_sets_max),
            fetch: ArcSwap::from_pointee(fetch),
            pace: ArcSwap::from_pointee(Pace::new(limits, None)),
            metrics,
        }
    }

    /// From now on fetches with these settings and at this pace; what was fetched stays.
    pub(crate) fn reload(&self, fetch: GuardedFetch, limits: &Limits) {
        self.fetch.store(Arc::new(fetch));
        self.entries.set_capacity(limits.key_sets_max as u64);
        self.pace.store(Arc::new(Pace::new(limits, Some(&self.pace.load()))));
    }

    /// The keys at `uri`, fetched again if they are older than 30 s and a fetch is permitted.
    ///
    /// # Errors
    /// [`KeySetError`] only if there is no set from an earlier fetch that still counts.
    pub(crate) async fn key_set(
        self: &Arc<Self>,
        client_id: &ClientId,
        uri: &Url,
        now: Timestamp,
    ) -> Result<Arc<JwkSet>, KeySetError> {
        let entry = self.entry(client_id, uri);
        let in_flight = {
            let mut state = entry.lock();
            if self.is_due(&state, now) {
                if self.pace.load().budget.check().is_ok() {
                    self.start(&entry, &mut state, now);
                } else if state.current.is_none() {
                    return Err(KeySetError::TooMany {
                        uri: Arc::clone(&entry.uri),
                    });
                }
            }
            state.in_flight.clone()
        };
        if let Some(mut in_flight) = in_flight {
            // An error means that the fetching task is gone; then the state says what there is.
            let _ = in_flight.wait_for(|done| *done).await;
        }
        self.answer(&entry, now)
    }

    /// The keys of a client: none, those it registered, or those at its `jwks_uri`.
    ///
    /// # Errors
    /// [`KeySetError`]
    pub(crate) async fn keys_of(self: &Arc<Self>, client: &Client, now: Timestamp) -> Result<Arc<JwkSet>, KeySetError> {
        match client.metadata().keys() {
            None => Ok(Arc::default()),
            Some(ClientKeys::Jwks(keys)) => Ok(Arc::clone(keys)),
            Some(ClientKeys::JwksUri(uri)) => self.key_set(client.client_id(), uri, now).await,
        }
    }

    /// The keys that were fetched from `uri` before, if they still count. Fetches nothing.
    pub(crate) fn fetched(&self, client_id: &ClientId, uri: &Url, now: Timestamp) -> Option<Arc<JwkSet>> {
        let entry = self.entries.get(client_id).filter(|entry| *entry.uri == *uri)?;
        self.answer(&entry, now).ok()
    }

    fn entry(&self, client_id: &ClientId, uri: &Url) -> Arc<Entry> {
        let new = || {
            Arc::new(Entry {
                uri: Arc::new(uri.clone()),
                state: Mutex::default(),
            })
        };
        // One entry for callers that arrive together, or each of them would fetch.
        let found = self
            .entries
            .get_or_insert_with(client_id, || Ok::<_, Infallible>(new()));
        let Ok(found) = found;
        if *found.uri == *uri {
            return found;
        }
        let entry = new();
        self.entries.insert(client_id.clone(), Arc::clone(&entry));
        entry
    }

    fn is_due(&self, state: &State, now: Timestamp) -> bool {
        // One whose sender is gone ended without a result, in a panic: it would otherwise be waited for for ever.
        if state.in_flight.as_ref().is_some_and(|done| done.has_changed().is_ok()) {
            return false;
        }
        match state.attempted_at {
            None => true,
            // A clock that was set back must not keep an old set alive.
            Some(attempted_at) => {
                attempted_at > now || now.duration_since(attempted_at) >= self.pace.load().refetch_interval
            }
        }
    }

    /// Fetches in a task of its own: a peer that hangs up must not be able to call off what others wait for.
    fn start(self: &Arc<Self>, entry: &Arc<Entry>, state: &mut State, now: Timestamp) {
        let (done, in_flight) = watch::channel(false);
        state.attempted_at = Some(now);
        state.in_flight = Some(in_flight);
        let (key_sets, entry) = (Arc::clone(self), Arc::clone(entry));
        tokio::spawn(async move {
            let fetched = key_sets.fetch(&entry.uri).await;
            let mut state = entry.lock();
            state.in_flight = None;
            match fetched {
                Ok(set) => {
                    key_sets.metrics.key_sets_fetched.inc();
                    state.last_failure = None;
                    state.current = Some(Current { set, fetched_at: now });
                }
                Err(failure) => {
                    key_sets.metrics.key_set_fetches_failed.inc();
                    state.last_failure = Some(failure);
                }
            }
            drop(state);
            // Nobody waiting is fine.
            let _ = done.send(true);
        });
    }

    async fn fetch(&self, uri: &Arc<Url>) -> Result<Arc<JwkSet>, KeySetError> {
        let fetch = self.fetch.load_full();
        let fetched = fetch.get(uri.as_str()).await.map_err(|source| KeySetError::Fetch {
            uri: Arc::clone(uri),
            source: Arc::new(source),
        })?;
        let set = JwkSet::parse(&fetched.body).map_err(|source| KeySetError::Invalid {
            uri: Arc::clone(uri),
            source: Arc::new(source),
        })?;
        Ok(Arc::new(set))
    }

    fn answer(&self, entry: &Entry, now: Timestamp) -> Result<Arc<JwkSet>, KeySetError> {
        let state = entry.lock();
        let uri = || Arc::clone(&entry.uri);
        match &state.current {
            Some(current) if now.duration_since(current.fetched_at) <= self.pace.load().stale_max => {
                Ok(Arc::clone(&current.set))
            }
            Some(_) => Err(KeySetError::TooOld { uri: uri() }),
            None => Err(state
                .last_failure
                .clone()
                .unwrap_or_else(|| KeySetError::TooMany { uri: uri() })),
        }
    }
}

impl Pace {
    /// A budget that `before` had already and that stays as large is not filled anew.
    fn new(limits: &Limits, before: Option<&Pace>) -> Pace {
        let fetches_per_second = limits.key_set_fetches_per_second;
        let kept = before.filter(|before| before.fetches_per_second == fetches_per_second);
        let budget = kept.map_or_else(
            || {
                let per_second = NonZeroU32::new(fetches_per_second).unwrap_or(NonZeroU32::MIN);
                Arc::new(RateLimiter::direct(Quota::per_second(per_second)))
            },
            |before| Arc::clone(&before.budget),
        );
        Pace {
            fetches_per_second,
            budget,
            refetch_interval: limits.key_set_refetch_interval,
            stale_max: limits.key_set_stale_max,
        }
    }
}

impl Entry {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use keybound_tls::{GuardedFetchSettings, Roots};

    use super::*;

    #[test]
    fn a_fetch_that_ended_without_a_result_is_not_in_flight() {
        let roots = Roots::none();
        let fetch = GuardedFetch::new(GuardedFetchSettings::new(roots));
        let limits = Limits::default();
        let key_sets = KeySets::new(fetch, &limits, Arc::new(Metrics::new()));
        let at = Timestamp::from_unix_secs(1_000);
        let (done, in_flight) = watch::channel(false);
        let state = State {
            attempted_at: Some(at),
            in_flight: Some(in_flight),
            ..State::default()
        };
        let later = at.plus(limits.key_set_refetch_interval);
        assert!(!key_sets.is_due(&state, later), "one fetch at a time");
        drop(done);
        assert!(key_sets.is_due(&state, later));
        assert!(!key_sets.is_due(&state, at), "failures are not repeated at once");
    }

    #[test]
    fn another_pace_holds_at_once_and_the_same_budget_goes_on() {
        let fetch = GuardedFetch::new(GuardedFetchSettings::new(Roots::none()));
        let limits = Limits {
            key_set_fetches_per_second: 1,
            ..Limits::default()
        };
        let key_sets = KeySets::new(fetch.clone(), &limits, Arc::new(Metrics::new()));
        let at = Timestamp::from_unix_secs(1_000);
        let state = State {
            attempted_at: Some(at),
            ..State::default()
        };
        let soon = at.plus(Duration::from_secs(5));
        assert!(!key_sets.is_due(&state, soon));
        assert!(key_sets.pace.load().budget.check().is_ok());
        let sooner = Limits {
            key_set_refetch_interval: Duration::from_secs(5),
            ..limits.clone()
        };
        key_sets.reload(fetch.clone(), &sooner);
        assert!(key_sets.is_due(&state, soon));
        assert!(key_sets.pace.load().budget.check().is_err(), "a reload fills no budget");
        let faster = Limits {
            key_set_fetches_per_second: 2,
            ..sooner
        };
        key_sets.reload(fetch, &faster);
        assert!(key_sets.pace.load().budget.check().is_ok());
    }
}
