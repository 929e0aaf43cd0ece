//! Waiting for a user who decides elsewhere: on another device (RFC 8628 §3.5), or asked by the server (CIBA Core §11).

use std::time::Duration;

use keybound_protocol::grant_type::GrantType;
use keybound_protocol::time::Timestamp;

use crate::identity::Identity;
use crate::token_response::TokenResponse;

/// The time between two requests where the server says nothing (RFC 8628 §3.2, CIBA Core §7.3).
pub const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// What `slow_down` adds to it, for good.
pub const SLOW_DOWN: Duration = Duration::from_secs(5);
/// No request is waited for longer than this, whatever the server says.
pub const APPROVAL_LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// However long a server that cannot be reached is left alone.
const POLL_INTERVAL_MAX: Duration = Duration::from_secs(300);

/// A request that waits for its user's decision.
pub struct PendingApproval {
    pub(crate) grant_type: GrantType,
    /// The device code, or the authentication request's identifier.
    pub(crate) handle: String,
    pub(crate) identity: Identity,
    pub(crate) interval: Duration,
    pub(crate) expires_at: Timestamp,
    pub(crate) next_poll_at: Timestamp,
    pub(crate) has_ended: bool,
}

/// What became of a request for approval.
#[derive(Debug)]
pub enum Poll {
    /// Nothing yet; before this moment the server is not asked again.
    Pending {
        /// When it may be asked next.
        next_poll_at: Timestamp,
    },
    /// The user allowed it.
    Approved(Box<TokenResponse>),
}

/// What a server announced about a pending request, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Announced {
    pub(crate) expires_in: i64,
    pub(crate) interval: Option<i64>,
}

impl PendingApproval {
    pub(crate) fn new(
        grant_type: GrantType,
        handle: String,
        identity: Identity,
        announced: Announced,
        now: Timestamp,
    ) -> PendingApproval {
        let seconds = |secs: i64| Duration::from_secs(secs.max(0).unsigned_abs());
        let interval = announced.interval.map_or(POLL_INTERVAL, seconds);
        // An interval of nothing would be a request without end.
        let interval = interval.max(Duration::from_secs(1));
        PendingApproval {
            grant_type,
            handle,
            identity,
            interval,
            expires_at: now.plus(seconds(announced.expires_in).min(APPROVAL_LIFETIME_MAX)),
            next_poll_at: now.plus(interval),
            has_ended: false,
        }
    }

    /// When it is over, decided or not.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// The time between two requests, as the server last said it.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// When the server may be asked next.
    pub fn next_poll_at(&self) -> Timestamp {
        self.next_poll_at
    }

    /// The `device_code` or `auth_req_id`, for whoever decides in the user's place in a test. It must not be logged.
    pub fn expose_handle(&self) -> &str {
        &self.handle
    }

    pub(crate) fn wait(&mut self, now: Timestamp) -> Poll {
        self.next_poll_at = now.plus(self.interval);
        Poll::Pending {
            next_poll_at: self.next_poll_at,
        }
    }

    pub(crate) fn slow_down(&mut self) {
        self.interval = self.interval.saturating_add(SLOW_DOWN);
    }

    /// A server that cannot be reached is asked half as often each time (RFC 8628 §3.5).
    pub(crate) fn back_off(&mut self) {
        self.interval = self
            .interval
            .saturating_mul(2)
            .min(self.interval.max(POLL_INTERVAL_MAX));
    }
}

impl std::fmt::Debug for PendingApproval {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PendingApproval")
            .field("grant_type", &self.grant_type)
            .field("interval", &self.interval)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
