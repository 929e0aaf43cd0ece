//! How many questions one issuer is asked at once, and for whom.
//!
//! Whoever makes up tokens asks as many questions as he likes. So no connection and no address prefix gets more than its share, and
//! when there are more questions than permits, the next one goes to the prefix and then the connection that has fewest. Who has
//! to wait does so for a moment, and few do.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::caller::Asker;
use crate::limits::{INTROSPECTION_CONNECTION_SHARE, INTROSPECTION_PREFIX_SHARE, INTROSPECTION_WAIT_MAX};

/// The permits to ask one issuer.
#[derive(Debug)]
pub(super) struct Permits {
    permits_max: usize,
    prefix_max: usize,
    connection_max: usize,
    pool: Mutex<Pool>,
}

#[derive(Debug, Default)]
struct Pool {
    held: Counts,
    waiting: Vec<Waiting>,
    waiting_by_prefix: HashMap<IpAddr, usize>,
    /// How many ever waited: the next one's number.
    waited: u64,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_prefix: HashMap<IpAddr, usize>,
    by_connection: HashMap<SocketAddr, usize>,
    /// For nobody whose address is known.
    unknown: usize,
}

/// Somebody who waits, in the order of their coming.
#[derive(Debug)]
struct Waiting {
    number: u64,
    asker: Asker,
    granted: oneshot::Sender<Permit>,
}

/// A question may be under way until this is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    permits: Arc<Permits>,
    asker: Asker,
}

/// There are too many questions already.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooManyQuestions;

impl Permits {
    pub(super) fn new(permits_max: usize) -> Arc<Permits> {
        Arc::new(Permits {
            permits_max,
            prefix_max: permits_max.div_ceil(INTROSPECTION_PREFIX_SHARE),
            connection_max: permits_max.div_ceil(INTROSPECTION_CONNECTION_SHARE),
            pool: Mutex::default(),
        })
    }

    /// Waits for a permit, but not for long.
    pub(super) async fn acquire(self: &Arc<Self>, asker: Asker) -> Result<Permit, TooManyQuestions> {
        let (number, granted) = {
            let mut pool = self.lock();
            // Who waits could not be granted anything when the last permit came back, so nobody is overtaken.
            if self.has_room_for(&pool.held, asker) {
                pool.held.add(asker);
                return Ok(self.permit(asker));
            }
            if !self.make_place(&mut pool, asker) {
                return Err(TooManyQuestions);
            }
            pool.enqueue(asker)
        };
        let _place = Place { permits: self, number };
        match tokio::time::timeout(INTROSPECTION_WAIT_MAX, granted).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(TooManyQuestions),
        }
    }

    /// How many more there are.
    #[cfg(test)]
    pub(super) fn available(&self) -> usize {
        self.permits_max - self.lock().held.all
    }

    fn permit(self: &Arc<Self>, asker: Asker) -> Permit {
        Permit {
            permits: Arc::clone(self),
            asker,
        }
    }

    fn has_room_for(&self, held: &Counts, asker: Asker) -> bool {
        let (of_prefix, of_connection) = held.of(asker);
        held.all < self.permits_max
            && (asker.prefix.is_none() || of_prefix < self.prefix_max)
            && (asker.connection.is_none() || of_connection < self.connection_max)
    }

    /// Whether there is a place in the queue, or was made at the cost of the prefix that has most.
    fn make_place(&self, pool: &mut Pool, asker: Asker) -> bool {
        let of_prefix = |prefix| pool.waiting_by_prefix.get(&prefix).copied().unwrap_or_default();
        let own = asker.prefix.map_or(0, of_prefix);
        if own >= self.prefix_max {
            return false;
        }
        if pool.waiting.len() < self.permits_max {
            return true;
        }
        let most = pool.waiting_by_prefix.iter().max_by_key(|(_, count)| **count);
        let Some(prefix) = most.filter(|(_, count)| **count > own + 1).map(|(prefix, _)| *prefix) else {
            return false;
        };
        // The last to come has lost least. It learns by the end of its channel.
        let place = pool
            .waiting
            .iter()
            .rposition(|waiting| waiting.asker.prefix == Some(prefix));
        place.map(|place| pool.dequeue(place)).is_some()
    }

    /// A permit is back: whoever has fewest and waits gets one.
    fn release(self: &Arc<Self>, asker: Asker) {
        let next = {
            let mut pool = self.lock();
            pool.held.remove(asker);
            let candidates = pool.waiting.iter().enumerate();
            let next = candidates
                .filter(|(_, waiting)| self.has_room_for(&pool.held, waiting.asker))
                .min_by_key(|(place, waiting)| (pool.held.of(waiting.asker), *place))
                .map(|(place, _)| place);
            next.map(|place| {
                let next = pool.dequeue(place);
                pool.held.add(next.asker);
                next
            })
        };
        if let Some(next) = next {
            // Of somebody who has just gone it comes back, and is released in its turn, outside the lock.
            let _ = next.granted.send(self.permit(next.asker));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.release(self.asker);
    }
}

/// A place in the queue, given up when this is dropped.
struct Place<'a> {
    permits: &'a Permits,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut pool = self.permits.lock();
        let place = pool.waiting.iter().position(|waiting| waiting.number == self.number);
        if let Some(place) = place {
            pool.dequeue(place);
        }
    }
}

impl Pool {
    fn enqueue(&mut self, asker: Asker) -> (u64, oneshot::Receiver<Permit>) {
        let (granted, receiver) = oneshot::channel();
        let number = self.waited;
        self.waited += 1;
        add_one(&mut self.waiting_by_prefix, asker.prefix);
        self.waiting.push(Waiting { number, asker, granted });
        (number, receiver)
    }

    fn dequeue(&mut self, place: usize) -> Waiting {
        let waiting = self.waiting.remove(place);
        remove_one(&mut self.waiting_by_prefix, waiting.asker.prefix);
        waiting
    }
}

impl Counts {
    /// How many the prefix and the connection have. All of an unknown address are one prefix and one connection.
    fn of(&self, asker: Asker) -> (usize, usize) {
        let of_prefix = |prefix| self.by_prefix.get(&prefix).copied().unwrap_or_default();
        let of_connection = |connection| self.by_connection.get(&connection).copied().unwrap_or_default();
        (
            asker.prefix.map_or(self.unknown, of_prefix),
            asker.connection.map_or(self.unknown, of_connection),
        )
    }

    fn add(&mut self, asker: Asker) {
        self.all += 1;
        self.unknown += usize::from(asker.prefix.is_none());
        add_one(&mut self.by_prefix, asker.prefix);
        add_one(&mut self.by_connection, asker.connection);
    }

    fn remove(&mut self, asker: Asker) {
        self.all -= 1;
        self.unknown -= usize::from(asker.prefix.is_none());
        remove_one(&mut self.by_prefix, asker.prefix);
        remove_one(&mut self.by_connection, asker.connection);
    }
}

fn add_one<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: Option<K>) {
    if let Some(key) = key {
        *counts.entry(key).or_default() += 1;
    }
}

fn remove_one<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: Option<K>) {
    if let Some(Entry::Occupied(mut count)) = key.map(|key| counts.entry(key)) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

#[cfg(test)]
mod tests;
