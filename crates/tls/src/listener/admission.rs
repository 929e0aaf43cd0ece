//! How many connections there may be, in all and from one neighbourhood, and how many of them in their handshake.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::handshakes::{Displaced, HandshakeId, Handshakes, Phase};
use crate::{Counters, HandshakeFailure, Limits, counters::ConnectionRefusal};

/// Displaced handshakes are reported this often at most: whoever floods a listener must not flood its log.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Counts the connections of one listener, of all its runtimes.
#[derive(Debug)]
pub(super) struct Admissions {
    counters: Arc<Counters>,
    occupancy: Mutex<Occupancy>,
    connections_max: u64,
    connections_per_prefix_max: usize,
    handshakes_max: usize,
}

#[derive(Debug, Default)]
struct Occupancy {
    /// How many connections are open.
    prefixes: HashMap<IpAddr, usize>,
    /// Of these, the ones that can still be displaced.
    handshakes: Handshakes,
    reported: Option<Instant>,
    displaced_since_report: u64,
}

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// With a handshake. Until that is finished another may take its place.
    Handshake,
    /// With a request.
    Request,
}

/// A connection that counts until this is dropped, or until it is displaced.
#[derive(Debug)]
pub(crate) struct Admission {
    admissions: Arc<Admissions>,
    prefix: IpAddr,
    handshake: Option<HandshakeId>,
}

/// That handshakes gave way to newcomers: what an operator is told.
#[derive(Debug)]
pub(super) struct DisplacementReport {
    /// The limit that was reached.
    pub(super) limit: ConnectionRefusal,
    /// The one displaced last: whose it was, how far it had come, and for how long it had come no further.
    pub(super) prefix: IpAddr,
    pub(super) phase: Phase,
    pub(super) waited: Duration,
    /// How many there were since the report before, this one included.
    pub(super) count: u64,
}

impl Admissions {
    pub(super) fn new(counters: Arc<Counters>, limits: &Limits) -> Admissions {
        Admissions {
            counters,
            occupancy: Mutex::default(),
            connections_max: limits.connections_max as u64,
            connections_per_prefix_max: limits.connections_per_prefix_max,
            handshakes_max: limits.handshakes_max,
        }
    }

    /// Admits a connection, in place of a handshake in progress if there is no room beside it, or says which limit it exceeds. The
    /// report is there when one is due.
    pub(super) fn admit(
        self: &Arc<Self>,
        peer: IpAddr,
        beginning: Beginning,
        now: Instant,
    ) -> Result<(Admission, Option<DisplacementReport>), ConnectionRefusal> {
        let prefix = prefix_of(peer);
        let mut occupancy = self.occupancy();
        let displaced = self.make_room(&mut occupancy, prefix, beginning, now)?;
        *occupancy.prefixes.entry(prefix).or_insert(0) += 1;
        self.counters.connections_open.fetch_add(1, Relaxed);
        let handshake = match beginning {
            Beginning::Handshake => Some(occupancy.handshakes.begin(prefix, now)),
            Beginning::Request => None,
        };
        self.count_handshakes(&occupancy);
        let report = displaced
            .as_ref()
            .and_then(|(limit, displaced)| occupancy.report(*limit, displaced, now));
        drop(occupancy);
        // Woken when the lock is free again: what a waker does is not ours to know.
        if let Some(waker) = displaced.and_then(|(_, displaced)| displaced.waker) {
            waker.wake();
        }
        let admission = Admission {
            admissions: Arc::clone(self),
            prefix,
            handshake,
        };
        Ok((admission, report))
    }

    /// Sees to it that one more connection exceeds no limit, at the cost of one handshake at most: whoever goes frees a place under
    /// all three.
    fn make_room(
        &self,
        occupancy: &mut Occupancy,
        prefix: IpAddr,
        beginning: Beginning,
        now: Instant,
    ) -> Result<Option<(ConnectionRefusal, Displaced)>, ConnectionRefusal> {
        let of_prefix = occupancy.prefixes.get(&prefix).copied().unwrap_or(0);
        let (limit, displaced) = if of_prefix >= self.connections_per_prefix_max {
            let displaced = occupancy.handshakes.displace_of(prefix, now);
            (ConnectionRefusal::TooManyOfPrefix, displaced)
        } else if self.counters.connections_open.load(Relaxed) >= self.connections_max {
            (ConnectionRefusal::TooMany, occupancy.handshakes.displace(prefix, now))
        } else if beginning == Beginning::Handshake && occupancy.handshakes.len() >= self.handshakes_max {
            let displaced = occupancy.handshakes.displace(prefix, now);
            (ConnectionRefusal::TooManyHandshakes, displaced)
        } else {
            return Ok(None);
        };
        let displaced = displaced.ok_or(limit)?;
        self.close(occupancy, displaced.prefix);
        self.counters.handshake_failed(HandshakeFailure::Displaced);
        Ok(Some((limit, displaced)))
    }

    /// A connection no longer counts.
    fn close(&self, occupancy: &mut Occupancy, prefix: IpAddr) {
        if let Some(open) = occupancy.prefixes.get_mut(&prefix) {
            *open -= 1;
            if *open == 0 {
                occupancy.prefixes.remove(&prefix);
            }
        }
        self.counters.connections_open.fetch_sub(1, Relaxed);
    }

    fn count_handshakes(&self, occupancy: &Occupancy) {
        let in_progress = occupancy.handshakes.len() as u64;
        self.counters.handshakes_in_progress.store(in_progress, Relaxed);
    }

    fn occupancy(&self) -> MutexGuard<'_, Occupancy> {
        self.occupancy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Occupancy {
    fn report(&mut self, limit: ConnectionRefusal, displaced: &Displaced, now: Instant) -> Option<DisplacementReport> {
        self.displaced_since_report += 1;
        let is_due = |reported: Instant| now.saturating_duration_since(reported) >= REPORT_INTERVAL;
        if !self.reported.is_none_or(is_due) {
            return None;
        }
        self.reported = Some(now);
        Some(DisplacementReport {
            limit,
            prefix: displaced.prefix,
            phase: displaced.phase,
            waited: displaced.waited,
            count: std::mem::take(&mut self.displaced_since_report),
        })
    }
}

impl Admission {
    /// Notes that the handshake has come further.
    pub(super) fn advance(&self, phase: Phase) {
        if let Some(handshake) = self.handshake {
            let now = Instant::now();
            self.admissions.occupancy().handshakes.advance(handshake, phase, now);
        }
    }

    /// Waits until the handshake is displaced.
    pub(super) async fn displaced(&self) {
        std::future::poll_fn(|context| self.poll_displaced(context)).await;
    }

    fn poll_displaced(&self, context: &Context<'_>) -> Poll<()> {
        match self.handshake {
            Some(handshake) => self
                .admissions
                .occupancy()
                .handshakes
                .poll_displaced(handshake, context),
            None => Poll::Pending,
        }
    }

    /// Ends the handshake: from here on nothing displaces the connection. `None` if it was displaced before.
    pub(super) fn handshake_ended(mut self) -> Option<Admission> {
        if let Some(handshake) = self.handshake {
            let mut occupancy = self.admissions.occupancy();
            if !occupancy.handshakes.end(handshake) {
                return None;
            }
            self.admissions.count_handshakes(&occupancy);
        }
        self.handshake = None;
        Some(self)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut occupancy = self.admissions.occupancy();
        // One that was displaced has left all counts already.
        if self
            .handshake
            .is_none_or(|handshake| occupancy.handshakes.end(handshake))
        {
            self.admissions.close(&mut occupancy, self.prefix);
            self.admissions.count_handshakes(&occupancy);
        }
    }
}

/// The neighbourhood of an address: itself for IPv4, its /64 for IPv6, of which one subscriber has all addresses.
fn prefix_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admissions(limits: &Limits) -> (Arc<Counters>, Arc<Admissions>) {
        let counters = Arc::new(Counters::new(1));
        (Arc::clone(&counters), Arc::new(Admissions::new(counters, limits)))
    }

    #[test]
    fn addresses_of_one_ipv6_64_are_one_neighbourhood_and_ipv4_addresses_are_their_own() {
        let check = |one: &str, other: &str, same: bool| {
            let prefix = |text: &str| prefix_of(text.parse().expect("a test address"));
            assert_eq!(prefix(one) == prefix(other), same, "{one} {other}");
        };
        check("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true);
        check("2001:db8::1", "2001:db8:0:1::1", false);
        check("192.0.2.1", "192.0.2.2", false);
        check("192.0.2.1", "::ffff:192.0.2.1", true);
    }

    #[test]
    fn what_is_refused_or_dropped_no_longer_counts() {
        let limits = Limits {
            connections_max: 3,
            connections_per_prefix_max: 2,
            ..Limits::default()
        };
        let (counters, admissions) = admissions(&limits);
        let (near, far) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let admit = |peer| admissions.admit(peer, Beginning::Request, Instant::now());
        let held = (admit(near), admit(near));
        assert!(matches!(admit(near), Err(ConnectionRefusal::TooManyOfPrefix)));
        let third = admit(far);
        assert!(third.is_ok());
        assert!(matches!(admit(far), Err(ConnectionRefusal::TooMany)));
        drop(held);
        drop(third);
        assert_empty(&counters, &admissions);
    }

    fn assert_empty(counters: &Counters, admissions: &Admissions) {
        let snapshot = counters.snapshot();
        assert_eq!((snapshot.connections_open, snapshot.handshakes_in_progress), (0, 0));
        let occupancy = admissions.occupancy();
        assert!(occupancy.prefixes.is_empty() && occupancy.handshakes.len() == 0);
    }

    #[test]
    fn under_each_limit_a_handshake_gives_way_and_an_established_connection_does_not() {
        let check = |limits: Limits, expected: ConnectionRefusal| {
            let (counters, admissions) = admissions(&limits);
            let peer = IpAddr::from([192, 0, 2, 1]);
            let admit = || admissions.admit(peer, Beginning::Handshake, Instant::now());
            let (silent, none) = admit().expect("the first");
            assert!(none.is_none());
            let (newcomer, report) = admit().expect("in its place");
            let report = report.expect("the first is reported");
            assert_eq!((report.limit, report.count, report.phase), (expected, 1, Phase::Silent));
            assert_eq!(counters.snapshot().count("displaced"), 1);
            assert_eq!(counters.snapshot().connections_open, 1);
            // It finished just as it was displaced: that is too late.
            assert!(silent.handshake_ended().is_none());
            assert_eq!(counters.snapshot().connections_open, 1);
            let established = newcomer.handshake_ended().expect("in progress");
            if expected == ConnectionRefusal::TooManyHandshakes {
                assert!(admit().is_ok());
            } else {
                assert!(matches!(admit(), Err(refusal) if refusal == expected));
            }
            drop(established);
            assert_empty(&counters, &admissions);
        };
        let limits = Limits::default();
        check(
            Limits {
                connections_max: 1,
                ..limits.clone()
            },
            ConnectionRefusal::TooMany,
        );
        check(
            Limits {
                connections_per_prefix_max: 1,
                ..limits.clone()
            },
            ConnectionRefusal::TooManyOfPrefix,
        );
        check(
            Limits {
                handshakes_max: 1,
                ..limits
            },
            ConnectionRefusal::TooManyHandshakes,
        );
    }

    #[test]
    fn displacements_are_reported_once_a_second_and_none_is_forgotten() {
        let (_, admissions) = admissions(&Limits {
            handshakes_max: 1,
            ..Limits::default()
        });
        let begun = Instant::now();
        let mut held = Vec::new();
        let mut reported = |millis: u64| {
            let now = begun + Duration::from_millis(millis);
            let (admission, report) = admissions
                .admit(IpAddr::from([192, 0, 2, 1]), Beginning::Handshake, now)
                .expect("a silent one gives way");
            held.push(admission);
            report.map(|report| report.count)
        };
        let counts = [0, 0, 1, 999, 1000, 1001, 5000].map(&mut reported);
        assert_eq!(counts, [None, Some(1), None, None, Some(3), None, Some(2)]);
    }
}
