//! Every limit of a resource server, named in one place.
//!
//! Not here: the length of a token ([`TOKEN_BYTES_MAX`](keybound_protocol::bearer::TOKEN_BYTES_MAX)), the clock leeway
//! ([`CLOCK_LEEWAY`](keybound_protocol::access_token::CLOCK_LEEWAY)) and what a key set may hold, which protocol fixes for
//! everybody; the size and time of one fetch, which whoever makes the `GuardedFetch` decides; the length of a
//! [deny-list](crate::DENIALS_MAX).

use std::time::Duration;

/// The limits of one resource server. `Limits::default()` is what the documentation promises.
///
/// Times are counted in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What all cached tokens may weigh together, in octets of their claims and keys, roughly.
    pub cached_tokens_bytes_max: u64,
    /// A key set that was obtained is fetched again at most this often, whatever asks for it.
    pub key_set_refetch_interval: Duration,
    /// A key set older than this is refreshed in the background, so that a key the issuer withdrew is noticed although no
    /// unknown `kid` arrives.
    pub key_set_refresh_after: Duration,
    /// A key set is served this long after the last successful fetch, while the issuer does not answer.
    pub key_set_stale_max: Duration,
    /// How long an active token is believed without asking again: how long a revocation may go unnoticed, also by what is still
    /// running with the token. While the issuer does not answer, what runs goes on for as long again.
    pub introspection_active_max: Duration,
    /// How long an inactive token is believed to be so.
    pub introspection_inactive_max: Duration,
    /// How long an issuer that could not be asked is left alone.
    pub introspection_pause: Duration,
    /// Questions to one issuer that may be under way. Further tokens, as many at most, wait [`INTROSPECTION_WAIT_MAX`] and are
    /// then answered 503.
    pub introspections_max: usize,
    /// Inactive tokens that are remembered, per issuer. Anybody can make them up, so they have a cache of their own.
    pub inactive_tokens_max: usize,
    /// DPoP proofs that are remembered, so that none is used twice: about 100 octets each, for up to two minutes. One key fills a
    /// sixteenth at most; what finds no room is answered 503.
    pub dpop_proofs_max: usize,
    /// An issuer whose revocations are followed and that has not answered for this long counts as silent.
    pub revocations_silence_max: Duration,
}

/// How long one question for revocations may take in all. An issuer holds it for up to 25 s.
pub const REVOCATIONS_REQUEST_MAX: Duration = Duration::from_secs(40);

/// The longest time between a question for revocations that failed and the next one.
pub const REVOCATIONS_PAUSE_MAX: Duration = Duration::from_secs(5);

/// One address prefix (an IPv4 address, or an IPv6 /64) gets at most this part of the questions that one issuer is asked at once
/// ([`Limits::introspections_max`]), and as many again may wait.
pub const INTROSPECTION_PREFIX_SHARE: usize = 4;

/// One connection gets at most this part of them.
pub const INTROSPECTION_CONNECTION_SHARE: usize = 8;

/// How long a request waits until its token can be asked about; then it is answered 503.
pub const INTROSPECTION_WAIT_MAX: Duration = Duration::from_secs(1);

impl Limits {
    /// The defaults.
    pub const DEFAULT: Limits = Limits {
        cached_tokens_bytes_max: 16 * 1024 * 1024,
        key_set_refetch_interval: Duration::from_secs(30),
        key_set_refresh_after: Duration::from_secs(300),
        key_set_stale_max: Duration::from_secs(24 * 3600),
        introspection_active_max: Duration::from_secs(30),
        introspection_inactive_max: Duration::from_secs(5),
        introspection_pause: Duration::from_secs(1),
        introspections_max: 256,
        inactive_tokens_max: 10_000,
        dpop_proofs_max: 200_000,
        revocations_silence_max: Duration::from_secs(60),
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
