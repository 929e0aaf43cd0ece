//! How many failed authentications are answered: 20 a second for each client named and for each address prefix. And how often
//! somebody may try or leave something: [`AttemptLimit`], [`RequestLimit`].
//!
//! Only a *failure* is ever limited. Whoever proves to be a client is answered whatever others do in its name or from its
//! network, so that nobody can lock a client out by failing on its behalf. There is one case in which a failure is counted before it
//! is one: a path is not looked for in vain again and again on a connection that has failed before. Whoever is a client and is told
//! 429 there is answered on a new connection.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use keybound_protocol::client::ClientId;

/// Names are hashed into so many buckets, with a key of this process, so that made-up client ids cannot fill the memory. Two
/// names in one bucket share its allowance.
const BUCKETS: u64 = 1 << 16;

/// Counts failed authentications.
pub(crate) struct FailedAuthentications {
    counts: ArcSwap<Counts>,
    clock: DefaultClock,
    hasher: RandomState,
}

/// What was counted against one limit.
struct Counts {
    per_second: u32,
    clients: RateLimiter<u32, DefaultKeyedStateStore<u32>, DefaultClock>,
    prefixes: RateLimiter<u32, DefaultKeyedStateStore<u32>, DefaultClock>,
}

/// One too many of late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// What `Retry-After` says.
    pub retry_after: Duration,
}

impl FailedAuthentications {
    /// Allows `per_second` failures of each kind; 0 is read as 1.
    pub(crate) fn new(per_second: u32) -> FailedAuthentications {
        FailedAuthentications {
            counts: ArcSwap::from_pointee(Counts::new(per_second)),
            clock: DefaultClock::default(),
            hasher: RandomState::new(),
        }
    }

    /// Allows so many from now on. The same number as before forgets nobody.
    pub(crate) fn configure(&self, per_second: u32) {
        if self.counts.load().per_second != per_second {
            self.counts.store(Arc::new(Counts::new(per_second)));
        }
    }

    /// Counts one failure of whoever said to be `client_id`, from `address`.
    ///
    /// # Errors
    /// [`TooMany`] if either has failed too often within the last second.
    pub(crate) fn record(&self, client_id: Option<&str>, address: IpAddr) -> Result<(), TooMany> {
        let (now, counts) = (self.clock.now(), self.counts.load());
        let too_many = |not_until: governor::NotUntil<_>| TooMany {
            retry_after: not_until.wait_time_from(now),
        };
        counts
            .prefixes
            .check_key(&self.bucket(&prefix(address)))
            .map_err(too_many)?;
        match client_id {
            Some(client_id) => counts.clients.check_key(&self.bucket(client_id)).map_err(too_many),
            None => Ok(()),
        }
    }

    /// Forgets whoever has not failed of late. Called on a timer.
    pub(crate) fn forget_old(&self) {
        let counts = self.counts.load();
        counts.clients.retain_recent();
        counts.prefixes.retain_recent();
    }

    fn bucket(&self, name: &(impl std::hash::Hash + ?Sized)) -> u32 {
        // Less than 2^16, so the conversion never falls back.
        u32::try_from(self.hasher.hash_one(name) % BUCKETS).unwrap_or_default()
    }
}

/// Over which [`AttemptLimit`] counts.
const ATTEMPTS_WINDOW: Duration = Duration::from_secs(60);

/// Counts attempts to guess something: so many a minute for whoever is named. One that turned out to be no guess can be
/// [given back](Self::give_back_prefix).
///
/// Each attempt uses up its share of the minute, which comes back as time goes by.
pub(crate) struct AttemptLimit {
    share: Duration,
    /// When each bucket will have its whole minute again; not there if it has.
    whole_at: Mutex<HashMap<u32, Instant>>,
    hasher: RandomState,
}

impl AttemptLimit {
    /// Allows `per_minute` attempts; 0 is read as 1.
    pub(crate) fn per_minute(per_minute: u32) -> AttemptLimit {
        AttemptLimit {
            share: ATTEMPTS_WINDOW / per_minute.max(1),
            whole_at: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    /// Counts an attempt of whoever is called `name`.
    ///
    /// # Errors
    /// [`TooMany`] if there have been too many of late; then this one must not be looked at.
    pub(crate) fn take(&self, name: &(impl std::hash::Hash + ?Sized)) -> Result<(), TooMany> {
        let (bucket, now) = (self.bucket(name), Instant::now());
        let mut whole_at = self.whole_at.lock().unwrap_or_else(PoisonError::into_inner);
        let used = whole_at
            .get(&bucket)
            .map_or(Duration::ZERO, |whole_at| whole_at.saturating_duration_since(now));
        let free_from = ATTEMPTS_WINDOW - self.share;
        if used > free_from {
            return Err(TooMany {
                retry_after: used - free_from,
            });
        }
        whole_at.insert(bucket, now + used + self.share);
        Ok(())
    }

    /// Counts an attempt from the prefix of `address`.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub(crate) fn take_prefix(&self, address: IpAddr) -> Result<(), TooMany> {
        self.take(&prefix(address))
    }

    /// Takes back what [`take_prefix`](Self::take_prefix) counted: it was no guess.
    pub(crate) fn give_back_prefix(&self, address: IpAddr) {
        let bucket = self.bucket(&prefix(address));
        let mut whole_at = self.whole_at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(whole_at) = whole_at.get_mut(&bucket)
            && let Some(earlier) = whole_at.checked_sub(self.share)
        {
            *whole_at = earlier;
        }
    }

    /// Forgets whoever has made no attempts of late. Called on a timer.
    pub(crate) fn forget_old(&self) {
        let now = Instant::now();
        let mut whole_at = self.whole_at.lock().unwrap_or_else(PoisonError::into_inner);
        whole_at.retain(|_, whole_at| *whole_at > now);
    }

    fn bucket(&self, name: &(impl std::hash::Hash + ?Sized)) -> u32 {
        // Less than 2^16, so the conversion never falls back.
        u32::try_from(self.hasher.hash_one(name) % BUCKETS).unwrap_or_default()
    }
}

/// Whom a request is counted for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asker<'a> {
    /// A client that has authenticated.
    Client(&'a ClientId),
    /// Somebody at this address who has not: anybody can say to be a public client, so nothing is counted in its name, or a stranger
    /// could use up what it has.
    Address(IpAddr),
}

/// Counts requests that leave something behind, or that may be sent without end: so many a minute for each [`Asker`].
pub(crate) struct RequestLimit {
    clients: AttemptLimit,
    prefixes: AttemptLimit,
}

impl RequestLimit {
    /// Allows so many for each client, and so many for each address prefix; 0 is read as 1.
    pub(crate) fn per_minute(per_client: u32, per_prefix: u32) -> RequestLimit {
        RequestLimit {
            clients: AttemptLimit::per_minute(per_client),
            prefixes: AttemptLimit::per_minute(per_prefix),
        }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// [`TooMany`] if there have been too many of late; then nothing must come of this one.
    pub(crate) fn take(&self, asker: Asker<'_>) -> Result<(), TooMany> {
        match asker {
            Asker::Client(client_id) => self.clients.take(client_id.as_str()),
            Asker::Address(address) => self.prefixes.take_prefix(address),
        }
    }

    /// Forgets whoever has asked for nothing of late. Called on a timer.
    pub(crate) fn forget_old(&self) {
        self.clients.forget_old();
        self.prefixes.forget_old();
    }
}

impl Counts {
    fn new(per_second: u32) -> Counts {
        let quota = Quota::per_second(NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN));
        Counts {
            per_second,
            clients: RateLimiter::keyed(quota),
            prefixes: RateLimiter::keyed(quota),
        }
    }
}

/// The network one peer is taken to control: an IPv4 address, or the /64 of an IPv6 one.
fn prefix(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u64::from(u32::from(v4)),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            [a, b, c, d]
                .into_iter()
                .fold(0, |prefix, segment| prefix << 16 | u64::from(segment))
        }
    }
}

/// That network as text, to count by in the store.
pub(crate) fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("{:016x}/64", prefix(v6.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(limit: &FailedAuthentications, client_id: &str, address: &str) -> bool {
        limit
            .record(Some(client_id), address.parse().unwrap_or(IpAddr::from([0, 0, 0, 0])))
            .is_err()
    }

    #[test]
    fn the_twenty_first_failure_of_a_client_within_a_second_is_one_too_many_from_wherever_it_comes() {
        let limit = FailedAuthentications::new(20);
        for n in 0..20 {
            assert!(!fails(&limit, "a", &format!("192.0.2.{n}")), "{n}");
        }
        let refused = limit.record(Some("a"), IpAddr::from([192, 0, 2, 99]));
        assert!(refused.is_err_and(|too_many| too_many.retry_after <= Duration::from_secs(1)));
        assert!(!fails(&limit, "b", "192.0.2.100"));
    }

    #[test]
    fn an_address_prefix_is_limited_whatever_it_calls_itself() {
        let limit = FailedAuthentications::new(20);
        for n in 0..20 {
            assert!(!fails(&limit, &format!("client-{n}"), &format!("2001:db8::{n}")), "{n}");
        }
        assert!(fails(&limit, "another", "2001:db8::ffff"));
        assert!(!fails(&limit, "another", "2001:db8:0:1::"));
    }

    #[test]
    fn attempts_are_counted_for_each_prefix_whatever_comes_of_them() {
        let limit = AttemptLimit::per_minute(3);
        let attempt = |address: [u8; 4]| limit.take_prefix(IpAddr::from(address));
        for n in 0..3 {
            assert_eq!(attempt([192, 0, 2, 1]), Ok(()), "{n}");
        }
        let refused = attempt([192, 0, 2, 1]);
        assert!(refused.is_err_and(|too_many| too_many.retry_after > Duration::from_secs(15)));
        assert_eq!(attempt([192, 0, 2, 2]), Ok(()));
    }

    #[test]
    fn what_is_given_back_counts_for_whoever_made_it_and_is_never_more_than_the_minute() {
        let limit = AttemptLimit::per_minute(2);
        let [address, other] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(IpAddr::from);
        for n in 0..10 {
            assert_eq!(limit.take_prefix(address), Ok(()), "{n}");
            limit.give_back_prefix(address);
            limit.give_back_prefix(other);
        }
        for address in [address, other] {
            assert_eq!(limit.take_prefix(address), Ok(()));
            assert_eq!(limit.take_prefix(address), Ok(()));
            assert!(limit.take_prefix(address).is_err());
        }
        limit.give_back_prefix(address);
        assert_eq!(limit.take_prefix(address), Ok(()));
        assert!(limit.take_prefix(address).is_err());
        limit.forget_old();
        assert!(limit.take_prefix(other).is_err(), "not yet forgotten");
    }

    #[test]
    fn a_client_that_authenticated_is_counted_by_its_name_and_everybody_else_by_the_address() {
        let limit = RequestLimit::per_minute(2, 1);
        let (first, second) = (ClientId::parse("a"), ClientId::parse("b"));
        let (Ok(first), Ok(second)) = (first, second) else {
            panic!("both are client ids");
        };
        let home = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(limit.take(Asker::Address(home)), Ok(()));
        assert!(limit.take(Asker::Address(home)).is_err());
        assert_eq!(limit.take(Asker::Address(IpAddr::from([192, 0, 2, 2]))), Ok(()));
        for _ in 0..2 {
            assert_eq!(limit.take(Asker::Client(&first)), Ok(()));
        }
        assert!(limit.take(Asker::Client(&first)).is_err());
        assert_eq!(limit.take(Asker::Client(&second)), Ok(()));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let limit = FailedAuthentications::new(1);
        for n in 0..100_000_u32 {
            let _ = limit.record(Some(&n.to_string()), IpAddr::from(n.to_be_bytes()));
        }
        assert!(limit.counts.load().clients.len() as u64 <= BUCKETS);
        assert!(limit.counts.load().prefixes.len() as u64 <= BUCKETS);
    }

    #[test]
    fn another_limit_counts_from_the_beginning_and_the_same_one_goes_on() {
        let limit = FailedAuthentications::new(1);
        assert!(!fails(&limit, "a", "192.0.2.1"));
        limit.configure(1);
        assert!(fails(&limit, "a", "192.0.2.1"), "a reload is no amnesty");
        limit.configure(2);
        assert!(!fails(&limit, "a", "192.0.2.1"));
        assert!(!fails(&limit, "a", "192.0.2.1"));
        assert!(fails(&limit, "a", "192.0.2.1"));
    }
}
