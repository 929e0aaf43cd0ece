//! The signing keys of one issuer, as they are known here.
//!
//! Fetched in the background of requests, never by each: at most one fetch per issuer is under way, whoever waits shares its
//! outcome, and [`FetchSchedule`] says when the next may start. A fetch that fails leaves the set that was there, which is
//! served for a day: tokens are checked on while their issuer is down.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use keybound_client::{Discovery, DiscoveryError};
use keybound_protocol::issuer::Issuer;
use keybound_protocol::jwk_set::JwkSet;
use keybound_protocol::time::Timestamp;
use tokio::sync::watch;
use url::Url;

use crate::fetch_schedule::FetchSchedule;
use crate::limits::Limits;
use crate::moment::Moment;

/// Where the keys of an issuer come from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// They are given, and change only by [`ResourceServer::replace_keys`](crate::ResourceServer::replace_keys).
    Static(JwkSet),
    /// They lie at this URL.
    JwksUri {
        /// The URL, https.
        url: Url,
        /// What fetches.
        discovery: Discovery,
    },
    /// The issuer's metadata says where they lie (RFC 8414 `jwks_uri`).
    Discovered(Discovery),
}

/// A key set, with a version that changes when its keys do.
#[derive(Debug)]
pub(crate) struct KeySet {
    pub(crate) keys: JwkSet,
    /// Everything that was verified under an older version has to be verified again.
    pub(crate) version: u64,
    /// When it was last fetched; `None` if it was given.
    obtained: Option<Moment>,
}

/// The keys of one issuer.
#[derive(Debug)]
pub(crate) struct IssuerKeys {
    issuer: Issuer,
    source: KeySource,
    current: ArcSwapOption<KeySet>,
    fetching: Mutex<Fetching>,
    limits: Limits,
}

#[derive(Debug)]
struct Fetching {
    schedule: FetchSchedule,
    /// Closed when the fetch is over.
    under_way: Option<watch::Receiver<()>>,
    /// Why the last fetch failed, if it did.
    last_error: Option<Arc<DiscoveryError>>,
}

/// A fetch that is under way; [`finished`](Self::finished) returns when it is not any more.
#[derive(Debug)]
pub(crate) struct Fetch(watch::Receiver<()>);

impl Fetch {
    pub(crate) async fn finished(mut self) {
        // Nothing is ever sent: the sender is dropped with the task, also if it panics or its runtime ends.
        while self.0.changed().await.is_ok() {}
    }
}

impl IssuerKeys {
    pub(crate) fn new(issuer: Issuer, source: KeySource, limits: Limits) -> IssuerKeys {
        let current = match &source {
            KeySource::Static(keys) => Some(Arc::new(KeySet {
                keys: keys.clone(),
                version: 1,
                obtained: None,
            })),
            KeySource::JwksUri { .. } | KeySource::Discovered(_) => None,
        };
        IssuerKeys {
            issuer,
            source,
            current: ArcSwapOption::new(current),
            fetching: Mutex::new(Fetching {
                schedule: FetchSchedule::new(limits.key_set_refetch_interval),
                under_way: None,
                last_error: None,
            }),
            limits,
        }
    }

    /// Begins with the keys that `before` holds, if they come from the same place.
    pub(crate) fn inherit(&self, before: &IssuerKeys) {
        let same_place = match (&self.source, &before.source) {
            (KeySource::JwksUri { url, .. }, KeySource::JwksUri { url: earlier, .. }) => url == earlier,
            (KeySource::Discovered(_), KeySource::Discovered(_)) => true,
            _ => false,
        };
        if same_place {
            let earlier = before.fetching();
            let mut fetching = self.fetching();
            fetching.schedule = earlier
                .schedule
                .with_refetch_interval(self.limits.key_set_refetch_interval);
            fetching.last_error = earlier.last_error.clone();
            self.current.store(before.current.load_full());
        }
    }

    /// The keys that signatures are verified with now. `None`: there are none, or they are too old to be believed.
    ///
    /// Starts a refresh in the background if they have not been looked at for a while.
    pub(crate) fn current(self: &Arc<Self>, now: Timestamp) -> Option<Arc<KeySet>> {
        let current = self.current.load();
        self.is_servable(current.as_deref(), now)
            .then(|| current.clone())
            .flatten()
    }

    /// The version of those keys: what was verified under another one has to be verified again.
    pub(crate) fn version(self: &Arc<Self>, now: Timestamp) -> Option<u64> {
        let current = self.current.load();
        self.is_servable(current.as_deref(), now)
            .then(|| current.as_ref().map(|current| current.version))
            .flatten()
    }

    fn is_servable(self: &Arc<Self>, current: Option<&KeySet>, now: Timestamp) -> bool {
        if matches!(self.source, KeySource::Static(_)) {
            return true;
        }
        let moment = Moment::at(now);
        let age = current
            .and_then(|current| current.obtained)
            .map(|obtained| moment.since(obtained));
        if age.is_none_or(|age| age >= self.limits.key_set_refresh_after) {
            // The request at hand does not wait for it.
            drop(self.fetch(now));
        }
        age.is_some_and(|age| age <= self.limits.key_set_stale_max)
    }

    /// Joins the fetch that is under way, or starts one if that is permitted.
    pub(crate) fn fetch(self: &Arc<Self>, now: Timestamp) -> Option<Fetch> {
        if matches!(self.source, KeySource::Static(_)) {
            return None;
        }
        let mut fetching = self.fetching();
        // A receiver whose sender is gone belongs to a fetch that is over.
        if let Some(receiver) = fetching
            .under_way
            .as_ref()
            .filter(|receiver| receiver.has_changed().is_ok())
        {
            return Some(Fetch(receiver.clone()));
        }
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        let moment = Moment::at(now);
        if !fetching.schedule.may_fetch(moment) {
            return None;
        }
        fetching.schedule.attempt(moment);
        let (sender, receiver) = watch::channel(());
        fetching.under_way = Some(receiver.clone());
        drop(fetching);
        // A task of its own: the request that started it may be given up, and others wait for the same fetch.
        let keys = Arc::clone(self);
        runtime.spawn(async move {
            keys.fetch_now(moment).await;
            drop(sender);
        });
        Some(Fetch(receiver))
    }

    /// When a fetch is permitted again.
    pub(crate) fn retry_after(&self, now: Timestamp) -> Duration {
        self.fetching().schedule.retry_after(Moment::at(now))
    }

    /// Why the last fetch failed, if it did.
    pub(crate) fn last_error(&self) -> Option<Arc<DiscoveryError>> {
        self.fetching().last_error.clone()
    }

    /// Puts other keys in place, if they are given and not fetched.
    pub(crate) fn replace(&self, keys: JwkSet) -> bool {
        let is_given = matches!(self.source, KeySource::Static(_));
        if is_given {
            let fetching = self.fetching();
            self.store(keys, None);
            drop(fetching);
        }
        is_given
    }

    async fn fetch_now(&self, started: Moment) {
        let outcome = match &self.source {
            KeySource::Static(_) => return,
            KeySource::JwksUri { url, discovery } => discovery.jwk_set(url).await,
            KeySource::Discovered(discovery) => discovery.jwk_set_of(&self.issuer).await,
        };
        let mut fetching = self.fetching();
        match outcome {
            Ok(keys) => {
                for skipped in keys.skipped() {
                    tracing::debug!(issuer = %self.issuer, kid = ?skipped.key_id, reason = %skipped.reason, "key not used");
                }
                fetching.schedule.succeeded();
                fetching.last_error = None;
                self.store(keys, Some(started));
            }
            Err(error) => {
                fetching.schedule.failed();
                let issuer = self.issuer.as_str();
                tracing::warn!(
                    issuer,
                    error = &error as &dyn std::error::Error,
                    "the issuer's keys were not fetched"
                );
                fetching.last_error = Some(Arc::new(error));
            }
        }
    }

    /// Callers hold the lock, so that versions are given in order.
    fn store(&self, keys: JwkSet, obtained: Option<Moment>) {
        let current = self.current.load();
        let version = match current.as_ref() {
            // The same keys: whatever was verified with them stays verified.
            Some(current) if current.keys.keys() == keys.keys() => current.version,
            Some(current) => current.version + 1,
            None => 1,
        };
        self.current.store(Some(Arc::new(KeySet {
            keys,
            version,
            obtained,
        })));
    }

    fn fetching(&self) -> MutexGuard<'_, Fetching> {
        self.fetching.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
