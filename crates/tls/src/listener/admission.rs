//! How many connections there may be, in all and from one neighbourhood.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::{Counters, Limits, counters::ConnectionRefusal};

/// Counts the connections of one listener.
#[derive(Debug)]
pub(super) struct Admissions {
    counters: Arc<Counters>,
    prefixes: Mutex<HashMap<IpAddr, usize>>,
    connections_max: u64,
    connections_per_prefix_max: usize,
    handshakes_max: u64,
}

/// A connection that counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Admission {
    admissions: Arc<Admissions>,
    prefix: IpAddr,
}

/// A handshake that counts until this is dropped.
#[derive(Debug)]
pub(super) struct HandshakePermit {
    counters: Arc<Counters>,
}

impl Admissions {
    pub(super) fn new(counters: Arc<Counters>, limits: &Limits) -> Admissions {
        Admissions {
            counters,
            prefixes: Mutex::default(),
            connections_max: limits.connections_max as u64,
            connections_per_prefix_max: limits.connections_per_prefix_max,
            handshakes_max: limits.handshakes_max as u64,
        }
    }

    /// Admits a connection, or says which limit it exceeds.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr) -> Result<Admission, ConnectionRefusal> {
        if !take(&self.counters.connections_open, self.connections_max) {
            return Err(ConnectionRefusal::TooMany);
        }
        let prefix = prefix_of(peer);
        let mut prefixes = self.prefixes.lock().unwrap_or_else(PoisonError::into_inner);
        let open = prefixes.entry(prefix).or_insert(0);
        if *open >= self.connections_per_prefix_max {
            self.counters.connections_open.fetch_sub(1, Relaxed);
            return Err(ConnectionRefusal::TooManyOfPrefix);
        }
        *open += 1;
        Ok(Admission {
            admissions: Arc::clone(self),
            prefix,
        })
    }

    pub(super) fn begin_handshake(&self) -> Result<HandshakePermit, ConnectionRefusal> {
        if !take(&self.counters.handshakes_in_progress, self.handshakes_max) {
            return Err(ConnectionRefusal::TooManyHandshakes);
        }
        Ok(HandshakePermit {
            counters: Arc::clone(&self.counters),
        })
    }
}

/// Counts one more unless there are `max`.
fn take(counter: &AtomicU64, max: u64) -> bool {
    counter
        .fetch_update(Relaxed, Relaxed, |count| (count < max).then_some(count + 1))
        .is_ok()
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut prefixes = self.admissions.prefixes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = prefixes.get_mut(&self.prefix) {
            *open -= 1;
            if *open == 0 {
                prefixes.remove(&self.prefix);
            }
        }
        drop(prefixes);
        self.admissions.counters.connections_open.fetch_sub(1, Relaxed);
    }
}

impl Drop for HandshakePermit {
    fn drop(&mut self) {
        self.counters.handshakes_in_progress.fetch_sub(1, Relaxed);
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
        let near = IpAddr::from([192, 0, 2, 1]);
        let far = IpAddr::from([192, 0, 2, 2]);
        let held = (admissions.admit(near), admissions.admit(near));
        assert!(matches!(
            admissions.admit(near),
            Err(ConnectionRefusal::TooManyOfPrefix)
        ));
        let third = admissions.admit(far);
        assert!(third.is_ok());
        assert!(matches!(admissions.admit(far), Err(ConnectionRefusal::TooMany)));
        drop(held);
        drop(third);
        assert_eq!(counters.snapshot().connections_open, 0);
        assert!(admissions.prefixes.lock().is_ok_and(|prefixes| prefixes.is_empty()));
    }
}
