//! How fresh a sign-in at a provider has to be (OpenID Connect Core §3.1.2.1: `prompt=login`, `max_age`).
//!
//! A session there may be old, and the browser that carries the request there can take the parameters out of it. What counts is
//! therefore what the ID token says: `auth_time`, which a provider has to send that was asked for `max_age` (§2).

use std::time::Duration;

use keybound_protocol::access_token::CLOCK_LEEWAY;
use keybound_protocol::authorization_request::AuthorizationRequest;
use keybound_protocol::time::Timestamp;

/// What a client that wants a fresh sign-in wants of one at a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Freshness {
    /// Whether `prompt=login` is sent.
    pub(crate) asks_for_login: bool,
    /// What is sent as `max_age`; also for `prompt=login` alone, which makes no provider say `auth_time`.
    pub(crate) max_age_secs: u64,
    /// How long ago the user may have signed in, beside since `begun_at`.
    allowed: Duration,
    /// When the client's request came. Whoever signed in since did so for it, and may have taken a while to come back.
    begun_at: Timestamp,
}

/// Why a sign-in is not as fresh as it has to be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotFresh {
    #[error("auth_time is not in the ID token, and the client wants a recent sign-in")]
    NoAuthTime,
    #[error("auth_time of the ID token is in the future")]
    InFuture,
    #[error("the user signed in there {age} s ago, and {allowed} s are allowed")]
    TooLongAgo { age: u64, allowed: u64 },
}

impl Freshness {
    /// What `request` wants, which came at `begun_at`; `None` if any sign-in will do.
    pub(crate) fn wanted_by(request: &AuthorizationRequest, begun_at: Timestamp) -> Option<Freshness> {
        let wants_login = request.prompt().login;
        if !wants_login && request.max_age().is_none() {
            return None;
        }
        let max_age_secs = request.max_age().unwrap_or_default();
        Some(Freshness {
            // `max_age=0` is `prompt=login`; not every provider knows.
            asks_for_login: wants_login || max_age_secs == 0,
            max_age_secs,
            allowed: match wants_login {
                true => Duration::ZERO,
                false => Duration::from_secs(max_age_secs),
            },
            begun_at,
        })
    }

    /// Judges the `auth_time` of an ID token.
    ///
    /// # Errors
    /// [`NotFresh`]
    pub(crate) fn require(&self, auth_time: Option<Timestamp>, now: Timestamp) -> Result<(), NotFresh> {
        let auth_time = auth_time.ok_or(NotFresh::NoAuthTime)?;
        // Milliseconds, say: such a clock does not show that anybody signed in of late.
        if auth_time > now.plus(CLOCK_LEEWAY) {
            return Err(NotFresh::InFuture);
        }
        let age = now.duration_since(auth_time);
        let allowed = self.allowed.max(now.duration_since(self.begun_at));
        if age > allowed.saturating_add(CLOCK_LEEWAY) {
            return Err(NotFresh::TooLongAgo {
                age: age.as_secs(),
                allowed: allowed.as_secs(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGUN: i64 = 1_800_000_000;

    fn judged(allowed_secs: u64, auth_time: i64, now: i64) -> Result<(), NotFresh> {
        let freshness = Freshness {
            asks_for_login: allowed_secs == 0,
            max_age_secs: allowed_secs,
            allowed: Duration::from_secs(allowed_secs),
            begun_at: Timestamp::from_unix_secs(BEGUN),
        };
        let at = Timestamp::from_unix_secs;
        freshness.require(Some(at(auth_time)), at(now))
    }

    #[test]
    fn a_sign_in_is_of_this_request_or_within_max_age_by_the_second() {
        // Anew: since the request came, less the leeway, however long the way back took.
        let too_long_ago = |age, allowed| Err(NotFresh::TooLongAgo { age, allowed });
        assert_eq!(judged(0, BEGUN - 31, BEGUN), too_long_ago(31, 0));
        assert_eq!(judged(0, BEGUN - 31, BEGUN + 500), too_long_ago(531, 500));
        assert_eq!(judged(0, BEGUN - 30, BEGUN + 500), Ok(()));
        // Within max_age, counted back from the answer.
        assert_eq!(judged(600, BEGUN - 622, BEGUN + 9), too_long_ago(631, 600));
        assert_eq!(judged(600, BEGUN - 621, BEGUN + 9), Ok(()));
        assert_eq!(judged(u64::MAX, 0, BEGUN), Ok(()));
        assert_eq!(
            judged(600, i64::MIN, BEGUN),
            too_long_ago(i64::MIN.abs_diff(BEGUN), 600)
        );
        // In milliseconds.
        assert_eq!(judged(600, BEGUN * 1000, BEGUN), Err(NotFresh::InFuture));
        assert_eq!(judged(600, BEGUN + 31, BEGUN), Err(NotFresh::InFuture));
        assert_eq!(judged(0, BEGUN + 30, BEGUN), Ok(()));
    }
}
