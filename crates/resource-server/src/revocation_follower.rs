//! Follows what an issuer revokes before its time, so that a revocation reaches tokens that are checked here.
//!
//! One question at a time is under way per issuer: `GET /revocations?after=CURSOR`, which the issuer holds until there is something
//! new. What it answers goes into the [`DenyList`]. The first answers, up to the one that leaves nothing out, are a full reading.
//! An issuer that stays silent is asked again ever more slowly, up to [`REVOCATIONS_PAUSE_MAX`]; what its silence means for its
//! tokens is its [`OnStale`](crate::OnStale).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{Request, StatusCode};
use keybound_client::{ClientError, Clock, RequestError, TokenRequest};
use keybound_protocol::issuer::Issuer;
use keybound_protocol::revocation_feed::{REVOCATION_FEED_BYTES_MAX, RevocationFeed, RevocationFeedError};
use keybound_protocol::scope::{REVOCATIONS_SCOPE, Scope};
use keybound_protocol::time::Timestamp;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::deny_list::{Denial, DenyList, DenyListFull};
use crate::limits::{Limits, REVOCATIONS_PAUSE_MAX, REVOCATIONS_REQUEST_MAX};
use crate::moment::Moment;
use crate::settings::RevocationSettings;

/// The pause after the first failure; each further one doubles it.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// An issuer that answers at once although nothing is new does not hold questions, or is about to stop: it is not asked in a circle.
const IDLE_PAUSE: Duration = Duration::from_millis(500);

/// What is known of one issuer's revocations, and how to learn more.
#[derive(Debug)]
pub(crate) struct FollowedRevocations {
    issuer: Issuer,
    pub(crate) settings: RevocationSettings,
    deny_list: Arc<DenyList>,
    standing: Arc<Standing>,
    silence_max: Duration,
}

/// How far the following has come; goes on when settings change.
#[derive(Debug, Default)]
struct Standing {
    /// When the issuer was heard last, after a full reading.
    heard: ArcSwapOption<Moment>,
    cursor: Mutex<Option<String>>,
    answers: AtomicU64,
    failures: AtomicU64,
    last_error: Mutex<Option<Arc<RevocationReadError>>>,
}

/// Why nothing was learned of an issuer's revocations.
#[derive(Debug, thiserror::Error)]
pub enum RevocationReadError {
    /// No token for it, or no answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The answer broke off.
    #[error("the answer broke off")]
    Body(#[source] RequestError),
    /// The issuer takes too long.
    #[error("no answer within {} s", REVOCATIONS_REQUEST_MAX.as_secs())]
    Timeout,
    /// The issuer refuses.
    #[error("it answers {0}")]
    Status(StatusCode),
    /// The cursor means nothing to it: a full reading begins.
    #[error("it does not know our cursor")]
    Cursor,
    /// The answer cannot be gone by.
    #[error("its answer cannot be used")]
    Feed(#[from] RevocationFeedError),
    /// More is revoked than fits.
    #[error(transparent)]
    Full(#[from] DenyListFull),
}

/// How the following of one issuer stands.
#[derive(Clone, Debug)]
pub struct RevocationStanding<'a> {
    /// The issuer.
    pub issuer: &'a Issuer,
    /// How long ago it was heard; `None` before the first full reading.
    pub heard_ago: Option<Duration>,
    /// Whether that is too long ago.
    pub is_silent: bool,
    /// Whether its tokens are judged here all the same, or refused. `false` if it is silent and asked about each token instead.
    pub counts: bool,
    /// Entries of its deny-list.
    pub entries: usize,
    /// Answers that were taken over.
    pub answers: u64,
    /// Questions that brought nothing.
    pub failures: u64,
    /// Why the last question brought nothing, if it did not.
    pub last_error: Option<Arc<RevocationReadError>>,
}

/// The following of all issuers, as long as this is held: dropping it ends the questions, and what is known stays.
#[derive(Debug)]
#[must_use = "revocations are followed as long as this is held"]
pub struct RevocationFollower(Vec<JoinHandle<()>>);

impl RevocationFollower {
    /// Begins to follow on the runtime that this is called in.
    pub(crate) fn start(followed: impl Iterator<Item = Arc<FollowedRevocations>>, clock: &Clock) -> RevocationFollower {
        RevocationFollower(
            followed
                .map(|followed| tokio::spawn(followed.follow(clock.clone())))
                .collect(),
        )
    }
}

impl Drop for RevocationFollower {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

impl FollowedRevocations {
    /// Goes on where `before` is, if that followed the same place.
    pub(crate) fn new(
        issuer: Issuer,
        settings: RevocationSettings,
        deny_list: Arc<DenyList>,
        limits: &Limits,
        before: Option<&FollowedRevocations>,
    ) -> FollowedRevocations {
        let same = before.filter(|before| before.settings.url == settings.url);
        FollowedRevocations {
            issuer,
            settings,
            deny_list,
            standing: same.map(|before| Arc::clone(&before.standing)).unwrap_or_default(),
            silence_max: limits.revocations_silence_max,
        }
    }

    /// Whether the issuer has not been heard for too long, or never.
    pub(crate) fn is_silent(&self, now: Timestamp) -> bool {
        self.heard_ago(now).is_none_or(|ago| ago >= self.silence_max)
    }

    fn heard_ago(&self, now: Timestamp) -> Option<Duration> {
        let heard = self.standing.heard.load();
        heard.as_ref().map(|heard| Moment::at(now).since(**heard))
    }

    pub(crate) fn standing(&self, now: Timestamp, falls_back: bool) -> RevocationStanding<'_> {
        let is_silent = self.is_silent(now);
        let last_error = self.standing.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        RevocationStanding {
            issuer: &self.issuer,
            heard_ago: self.heard_ago(now),
            is_silent,
            counts: !(is_silent && falls_back),
            entries: self.deny_list.len(),
            answers: self.standing.answers.load(Ordering::Relaxed),
            failures: self.standing.failures.load(Ordering::Relaxed),
            last_error: last_error.clone(),
        }
    }

    async fn follow(self: Arc<Self>, clock: Clock) {
        let mut failures: u32 = 0;
        loop {
            let asked = Moment::at(clock.now());
            // After a failure it is asked to answer at once: whether it is back must not take as long as it holds a question.
            match self.read_on(&clock, failures == 0).await {
                Ok(is_idle) => {
                    if failures > 0 {
                        tracing::info!(issuer = %self.issuer, "revocations are followed again");
                    }
                    failures = 0;
                    let took = Moment::at(clock.now()).since(asked);
                    if is_idle && took < IDLE_PAUSE {
                        sleep(IDLE_PAUSE).await;
                    }
                }
                Err(error) => {
                    let begins_anew = matches!(error, RevocationReadError::Cursor);
                    // Once for each outage: whoever is down must not fill the log.
                    if failures == 0 {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(issuer = %self.issuer, error, "revocations were not read");
                    }
                    self.standing.failed(error, begins_anew);
                    failures = failures.saturating_add(1);
                    let pause = PAUSE_MIN * (1 << (failures - 1).min(5));
                    sleep(pause.min(REVOCATIONS_PAUSE_MAX)).await;
                }
            }
        }
    }

    /// Asks once, for an answer that may be held or for one at once, and takes over what is answered. Whether that was nothing.
    async fn read_on(&self, clock: &Clock, may_hold: bool) -> Result<bool, RevocationReadError> {
        let cursor = self.standing.cursor().clone();
        let feed = timeout(
            REVOCATIONS_REQUEST_MAX,
            self.ask(cursor.as_deref(), may_hold, clock.now()),
        )
        .await
        .map_err(|_| RevocationReadError::Timeout)??;
        if feed.unknown_entries > 0 {
            let entries = feed.unknown_entries;
            tracing::warn!(issuer = %self.issuer, entries, "the issuer revokes by names that this version does not know");
        }
        let now = clock.now();
        let is_idle = feed.entries.is_empty() && !feed.more;
        if !feed.entries.is_empty() {
            // On an error the cursor stays where it was: what did not fit is read again once there is room.
            self.deny_list.apply(feed.entries.into_iter().map(Denial::from), now)?;
        }
        self.standing
            .answered(feed.cursor, (!feed.more).then(|| Moment::at(now)));
        Ok(is_idle)
    }

    async fn ask(
        &self,
        cursor: Option<&str>,
        may_hold: bool,
        now: Timestamp,
    ) -> Result<RevocationFeed, RevocationReadError> {
        let mut url = self.settings.url.clone();
        if let Some(cursor) = cursor {
            url.query_pairs_mut().append_pair("after", cursor);
        }
        if !may_hold {
            url.query_pairs_mut().append_pair("wait", "0");
        }
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = url.as_str().parse().map_err(|_| {
            RevocationReadError::Client(ClientError::Request {
                url: url.to_string(),
                source: RequestError::UriWithoutHost,
            })
        })?;
        let scope = Scope::parse(REVOCATIONS_SCOPE).unwrap_or_default();
        let wanted = TokenRequest::new().with_scope(&scope);
        let response = self.settings.client.call(request, &wanted, now).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::BAD_REQUEST if cursor.is_some() => return Err(RevocationReadError::Cursor),
            status => return Err(RevocationReadError::Status(status)),
        }
        let body = response
            .into_body()
            .collect_at_most(REVOCATION_FEED_BYTES_MAX as u64)
            .await;
        Ok(RevocationFeed::parse(&body.map_err(RevocationReadError::Body)?)?)
    }
}

impl Standing {
    fn cursor(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self, cursor: String, heard: Option<Moment>) {
        *self.cursor() = Some(cursor);
        if let Some(heard) = heard {
            self.heard.store(Some(Arc::new(heard)));
        }
        self.answers.fetch_add(1, Ordering::Relaxed);
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn failed(&self, error: RevocationReadError, begins_anew: bool) {
        if begins_anew {
            *self.cursor() = None;
        }
        self.failures.fetch_add(1, Ordering::Relaxed);
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(error));
    }
}
