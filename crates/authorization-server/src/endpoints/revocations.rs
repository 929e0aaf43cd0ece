//! `GET /revocations`: what was revoked before its time, for those who check tokens themselves.
//!
//! Not of any RFC, so not in the metadata. A protected resource on the mutual-TLS side: it takes tokens that are bound to the
//! caller's certificate, with scope `keybound:revocations` and audience `{issuer}/revocations`. A question with a cursor is held
//! until there is something new, so that whoever follows knows of it at once and asks twice a minute otherwise; with `wait=0` it is
//! answered at once.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderMap, StatusCode};
use keybound_protocol::form::Form;
use keybound_protocol::jwk_set::JwkSet;
use keybound_protocol::revocation_feed::{RevocationEntry, RevocationFeed as Feed, RevokedSubject};
use keybound_resource_server::SettingsError;
use keybound_store::{PAGE_MAX, Revocation, RevocationCursor, RevocationPage, RevocationSubject};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep};

use crate::configuration::Configuration;
use crate::error::Reason;
use crate::protected_resource::{Authorized, Caller, TokenCheck, Unauthorized};
use crate::response::{self, Response};
use crate::router::Route;

/// How long a question is held at most.
const HELD_MAX: Duration = Duration::from_secs(25);
/// How often the store is asked meanwhile: what another process changed wakes nobody here.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Who asks, and how many of them are held.
pub(crate) struct RevocationFeed {
    check: ArcSwap<TokenCheck>,
    held: Semaphore,
    stopping: watch::Sender<bool>,
}

impl RevocationFeed {
    pub(crate) fn new(
        configuration: &Configuration,
        keys: JwkSet,
        held_max: usize,
    ) -> Result<RevocationFeed, SettingsError> {
        Ok(RevocationFeed {
            check: ArcSwap::from_pointee(RevocationFeed::check(configuration, keys)?),
            held: Semaphore::new(held_max.clamp(1, Semaphore::MAX_PERMITS)),
            stopping: watch::Sender::new(false),
        })
    }

    /// What tokens have to be under this configuration.
    pub(crate) fn check(configuration: &Configuration, keys: JwkSet) -> Result<TokenCheck, SettingsError> {
        let resource = configuration.resources.revocations();
        TokenCheck::new(configuration, keys, resource, Route::Revocations)
    }

    /// From now on takes the tokens that this check accepts.
    pub(crate) fn configure(&self, check: TokenCheck) {
        self.check.store(Arc::new(check));
    }

    /// From now on takes tokens that these keys signed.
    pub(crate) fn replace_keys(&self, keys: JwkSet) {
        self.check.load().replace_keys(keys);
    }

    /// Whether questions are answered at once, because the server is about to stop.
    pub(crate) fn set_stopping(&self, is_stopping: bool) {
        self.stopping.send_replace(is_stopping);
    }

    /// Answers a question. A caller who may not ask has its answer, and its record, already.
    pub(crate) async fn answer(&self, caller: Caller<'_>) -> Result<Response, Reason> {
        let check = self.check.load_full();
        let authorized = match caller.authorize(&check).await {
            Ok(authorized) => authorized,
            Err(unauthorized) => return refused(unauthorized),
        };
        let query = caller.parts.uri.query().unwrap_or_default();
        let query = Form::parse(query.as_bytes())?;
        let after = query.get("after").map(str::parse::<RevocationCursor>).transpose()?;
        // In seconds; who was cut off asks with `wait=0` whether we are there. Anything that is no such number is the longest time.
        let wait = query.get("wait").and_then(|wait| wait.parse().ok());
        let wait = wait.map_or(HELD_MAX, Duration::from_secs).min(HELD_MAX);
        let page = self.wait(&caller, after, wait).await?;
        match self.still_good(&caller, &check, &authorized) {
            Ok(()) => Ok(response::json(StatusCode::OK, feed(page).to_json())),
            Err(unauthorized) => refused(unauthorized),
        }
    }

    /// What comes after a cursor, once there is something; without a cursor whatever there is.
    async fn wait(
        &self,
        caller: &Caller<'_>,
        after: Option<RevocationCursor>,
        held_max: Duration,
    ) -> Result<RevocationPage, Reason> {
        let store = &caller.server.store.revocations;
        // Before the first look: what comes between the two is not missed.
        let (mut changed, mut stopping) = (store.watch_revocations(), self.stopping.subscribe());
        let page = store.revocations_after(after.unwrap_or_default(), PAGE_MAX)?;
        let Some(after) = after else { return Ok(page) };
        let is_new = |page: &RevocationPage| !page.entries.is_empty() || page.cursor != after;
        if is_new(&page) || held_max.is_zero() {
            return Ok(page);
        }
        let _held = self.held.try_acquire().map_err(|_| Reason::TooManyFollowers)?;
        let until = Instant::now() + held_max;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || *stopping.borrow_and_update() {
                return Ok(page);
            }
            tokio::select! {
                _ = changed.changed() => {}
                _ = stopping.changed() => {}
                () = sleep(left.min(LOOK_INTERVAL)) => {}
            }
            let page = store.revocations_after(after, PAGE_MAX)?;
            if is_new(&page) {
                return Ok(page);
            }
        }
    }

    fn still_good(&self, caller: &Caller<'_>, check: &TokenCheck, authorized: &Authorized) -> Result<(), Unauthorized> {
        let now = caller.server.clock.now();
        caller.require_still_good(check, authorized, now)
    }
}

fn feed(page: RevocationPage) -> Feed {
    Feed {
        cursor: page.cursor.to_string(),
        entries: page.entries.into_iter().map(entry).collect(),
        more: page.more,
        unknown_entries: 0,
    }
}

fn entry(revocation: Revocation) -> RevocationEntry {
    RevocationEntry {
        subject: match revocation.subject {
            RevocationSubject::TokenId(id) => RevokedSubject::Token(id),
            RevocationSubject::Grant(id) => RevokedSubject::Grant(id.as_str().to_owned()),
            RevocationSubject::Client(id) => RevokedSubject::Client(id),
            RevocationSubject::Certificate(thumbprint) => RevokedSubject::Certificate(thumbprint),
            RevocationSubject::SigningKey(id) => RevokedSubject::SigningKey(id),
        },
        issued_before: revocation.issued_before,
        until: revocation.until,
    }
}

fn refused(unauthorized: Unauthorized) -> Result<Response, Reason> {
    match unauthorized {
        Unauthorized::Refused { status, code, headers } => Ok(challenge(status, code, headers)),
        Unauthorized::Store(error) => Err(error.into()),
    }
}

/// The answer of a protected resource (RFC 6750 §3), with the same words in a body.
fn challenge(
    status: StatusCode,
    code: Option<keybound_protocol::error_code::ErrorCode>,
    headers: HeaderMap,
) -> Response {
    // Codes and descriptions are static and need no escaping.
    let body = code.map_or_else(
        || "{}".to_owned(),
        |code| format!(r#"{{"error":"{code}","error_description":"{}"}}"#, code.description()),
    );
    let mut response = response::json(status, body);
    response.headers_mut().extend(headers);
    response
}
