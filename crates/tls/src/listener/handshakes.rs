//! Handshakes in progress, and which of them gives way when there is no room for another.
//!
//! A client that means it is through in milliseconds; one that only holds a place sits in it for seconds. So a newcomer is let in
//! and the one that has kept us waiting longest goes. Two things temper this:
//!
//! * Places are shared out between address prefixes. Whoever has two more in progress than the newcomer's prefix gives one up,
//!   whatever its state: a flood from a few addresses meets only itself.
//! * Among equals only a silent handshake or an overdue one gives way, and a newcomer that finds neither is refused. If work begun were
//!   thrown away for work not begun, a crowd of honest clients larger than we can serve at once would keep all of them from finishing.
//!
//! What a prefix has in progress is in ordered sets: each step costs the logarithm of [`Limits::handshakes_max`](crate::Limits::handshakes_max).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

/// How long a client may take to answer our flight before its handshake gives way to another of its prefix: more than a round trip
/// around the world, much less than the limit of a handshake.
const ANSWER_OVERDUE: Duration = Duration::from_millis(250);

/// The handshakes in progress of one listener. Without I/O and clock: who is displaced is told by the caller.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    begun: u64,
    steps: u64,
    in_progress: HashMap<HandshakeId, Handshake>,
    /// By prefix, then phase, then from the longest in that phase to the shortest.
    by_prefix: BTreeMap<(IpAddr, Phase, u64), HandshakeId>,
    /// The same of all prefixes together.
    by_phase: BTreeMap<(Phase, u64), HandshakeId>,
    counts: HashMap<IpAddr, usize>,
    /// `counts` in order.
    most: BTreeSet<(usize, IpAddr)>,
}

/// Names a handshake, and no other ever after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct HandshakeId(u64);

/// How far a handshake has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// No whole ClientHello yet: nothing was computed, and nothing is lost.
    Silent,
    /// The ClientHello is there, and the wait is ours: for a turn to compute.
    Computing,
    /// Our flight is under way, and the wait is the client's again.
    Answered,
}

#[derive(Debug)]
struct Handshake {
    prefix: IpAddr,
    phase: Phase,
    /// The place in the order of its phase.
    step: u64,
    since: Instant,
    waker: Option<Waker>,
}

/// A handshake that gave way. It no longer counts; its task still has to be told.
#[derive(Debug)]
pub(super) struct Displaced {
    pub(super) prefix: IpAddr,
    pub(super) phase: Phase,
    /// How long it was in that phase.
    pub(super) waited: Duration,
    pub(super) waker: Option<Waker>,
}

impl Handshakes {
    pub(super) fn len(&self) -> usize {
        self.in_progress.len()
    }

    pub(super) fn begin(&mut self, prefix: IpAddr, now: Instant) -> HandshakeId {
        let id = HandshakeId(self.begun);
        self.begun += 1;
        let handshake = Handshake {
            prefix,
            phase: Phase::Silent,
            step: 0,
            since: now,
            waker: None,
        };
        self.count(prefix, |count| count + 1);
        self.enter(id, handshake);
        id
    }

    /// Notes that a handshake has come further; nothing if it was displaced.
    pub(super) fn advance(&mut self, id: HandshakeId, phase: Phase, now: Instant) {
        if let Some(handshake) = self.leave(id) {
            let since = now;
            self.enter(
                id,
                Handshake {
                    phase,
                    since,
                    ..handshake
                },
            );
        }
    }

    /// Takes a handshake out. `false` if it is not there: it was displaced.
    pub(super) fn end(&mut self, id: HandshakeId) -> bool {
        let handshake = self.leave(id);
        if let Some(handshake) = &handshake {
            self.count(handshake.prefix, |count| count - 1);
        }
        handshake.is_some()
    }

    /// Ready when the handshake was displaced. Wakes the task that asked last.
    pub(super) fn poll_displaced(&mut self, id: HandshakeId, context: &Context<'_>) -> Poll<()> {
        let Some(handshake) = self.in_progress.get_mut(&id) else {
            return Poll::Ready(());
        };
        match &mut handshake.waker {
            Some(waker) => waker.clone_from(context.waker()),
            waker => *waker = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// Makes room for one of `newcomer` among all. `None`: there is nobody it may displace.
    pub(super) fn displace(&mut self, newcomer: IpAddr, now: Instant) -> Option<Displaced> {
        let &(most, prefix) = self.most.last()?;
        let own = self.counts.get(&newcomer).copied().unwrap_or(0);
        let id = if most >= own + 2 {
            self.patient(prefix, now).or_else(|| self.costly(prefix))
        } else if own == 0 {
            // Everybody has one. Only here may the oldest of all be found without asking whose it is.
            self.oldest(Phase::Silent)
                .or_else(|| self.oldest(Phase::Answered).filter(|id| self.is_overdue(*id, now)))
        } else {
            self.patient(prefix, now).or_else(|| self.patient(newcomer, now))
        };
        self.take(id?, now)
    }

    /// Makes room for one more of `prefix` among its own.
    pub(super) fn displace_of(&mut self, prefix: IpAddr, now: Instant) -> Option<Displaced> {
        self.patient(prefix, now).and_then(|id| self.take(id, now))
    }

    /// The handshake of a prefix that gives way to its equals.
    fn patient(&self, prefix: IpAddr, now: Instant) -> Option<HandshakeId> {
        self.oldest_of(prefix, Phase::Silent).or_else(|| {
            self.oldest_of(prefix, Phase::Answered)
                .filter(|id| self.is_overdue(*id, now))
        })
    }

    /// The handshake of a prefix without silent and overdue ones that is the least loss: nothing was computed yet for the last in
    /// the queue.
    fn costly(&self, prefix: IpAddr) -> Option<HandshakeId> {
        self.of(prefix, Phase::Computing)
            .next_back()
            .or_else(|| self.oldest_of(prefix, Phase::Answered))
    }

    fn oldest_of(&self, prefix: IpAddr, phase: Phase) -> Option<HandshakeId> {
        self.of(prefix, phase).next()
    }

    fn of(&self, prefix: IpAddr, phase: Phase) -> impl DoubleEndedIterator<Item = HandshakeId> {
        self.by_prefix
            .range((prefix, phase, 0)..=(prefix, phase, u64::MAX))
            .map(|(_, id)| *id)
    }

    fn oldest(&self, phase: Phase) -> Option<HandshakeId> {
        let mut in_phase = self.by_phase.range((phase, 0)..=(phase, u64::MAX));
        in_phase.next().map(|(_, id)| *id)
    }

    fn is_overdue(&self, id: HandshakeId, now: Instant) -> bool {
        let waited = |handshake: &Handshake| now.saturating_duration_since(handshake.since);
        self.in_progress
            .get(&id)
            .is_some_and(|handshake| waited(handshake) >= ANSWER_OVERDUE)
    }

    fn take(&mut self, id: HandshakeId, now: Instant) -> Option<Displaced> {
        let handshake = self.leave(id)?;
        self.count(handshake.prefix, |count| count - 1);
        Some(Displaced {
            prefix: handshake.prefix,
            phase: handshake.phase,
            waited: now.saturating_duration_since(handshake.since),
            waker: handshake.waker,
        })
    }

    /// Puts a handshake last in the order of its phase.
    fn enter(&mut self, id: HandshakeId, handshake: Handshake) {
        let step = self.steps;
        self.steps += 1;
        self.by_prefix.insert((handshake.prefix, handshake.phase, step), id);
        self.by_phase.insert((handshake.phase, step), id);
        self.in_progress.insert(id, Handshake { step, ..handshake });
    }

    fn leave(&mut self, id: HandshakeId) -> Option<Handshake> {
        let handshake = self.in_progress.remove(&id)?;
        self.by_prefix
            .remove(&(handshake.prefix, handshake.phase, handshake.step));
        self.by_phase.remove(&(handshake.phase, handshake.step));
        Some(handshake)
    }

    fn count(&mut self, prefix: IpAddr, change: impl FnOnce(usize) -> usize) {
        let before = self.counts.get(&prefix).copied().unwrap_or(0);
        let after = change(before);
        self.most.remove(&(before, prefix));
        if after == 0 {
            self.counts.remove(&prefix);
        } else {
            self.counts.insert(prefix, after);
            self.most.insert((after, prefix));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(1);

    /// `a` is the prefix 192.0.2.97.
    fn prefix(name: char) -> IpAddr {
        IpAddr::from([192, 0, 2, u8::try_from(name).expect("an ASCII letter")])
    }

    /// Handshakes as text: a letter is the prefix of a silent one, followed by `c` when computing, `n` when just answered, and `o` when
    /// answered long ago; the oldest first. `None` is nobody, `Some(n)` the n-th.
    fn check(
        handshakes: &str,
        choose: impl FnOnce(&mut Handshakes, Instant) -> Option<Displaced>,
        expected: Option<usize>,
    ) {
        let begun = Instant::now();
        let now = begun + ANSWER_OVERDUE + MOMENT;
        let mut subject = Handshakes::default();
        let ids: Vec<_> = handshakes
            .split(' ')
            .map(|handshake| {
                let mut letters = handshake.chars();
                let id = subject.begin(prefix(letters.next().expect("a prefix")), begun);
                match letters.next() {
                    None => {}
                    Some('c') => subject.advance(id, Phase::Computing, begun),
                    Some('o') => subject.advance(id, Phase::Answered, begun),
                    Some(_) => subject.advance(id, Phase::Answered, now),
                }
                id
            })
            .collect();
        let displaced = choose(&mut subject, now);
        let gone = ids.iter().position(|id| !subject.in_progress.contains_key(id));
        assert_eq!(gone, expected, "{handshakes}");
        assert_eq!(displaced.is_some(), gone.is_some(), "{handshakes}");
        assert_eq!(subject.len(), ids.len() - usize::from(gone.is_some()));
        for id in ids {
            subject.end(id);
        }
        let left = (
            subject.in_progress.len(),
            subject.by_prefix.len(),
            subject.by_phase.len(),
            subject.counts.len(),
            subject.most.len(),
        );
        assert_eq!(left, (0, 0, 0, 0, 0), "{handshakes}");
    }

    fn check_newcomer(newcomer: char, handshakes: &str, expected: Option<usize>) {
        check(
            handshakes,
            |subject, now| subject.displace(prefix(newcomer), now),
            expected,
        );
    }

    #[test]
    fn work_begun_does_not_give_way_to_equals() {
        check_newcomer('z', "ac bc dc", None);
        check_newcomer('z', "an bn dn", None);
        check_newcomer('z', "an bc dn", None);
        check_newcomer('a', "an ac", None);
        check_newcomer('a', "an bn bc", None);
        check("an ac b", |subject, now| subject.displace_of(prefix('a'), now), None);
    }

    #[test]
    fn a_flood_does_not_displace_those_of_smaller_prefixes() {
        check_newcomer('a', "b ac ac an", None);
        check_newcomer('a', "bo ac ac an", None);
        check_newcomer('a', "b a a a", Some(1));
    }

    #[test]
    fn among_equals_the_oldest_silent_one_gives_way_and_then_one_overdue() {
        check_newcomer('z', "ac b d", Some(1));
        check_newcomer('z', "ao b d", Some(1));
        check_newcomer('z', "ac bo do", Some(1));
        check_newcomer('a', "bc a a bc", Some(1));
        check(
            "b ac an ao a a",
            |subject, now| subject.displace_of(prefix('a'), now),
            Some(4),
        );
        check(
            "b ao an ac",
            |subject, now| subject.displace_of(prefix('a'), now),
            Some(1),
        );
    }

    #[test]
    fn the_prefix_with_the_most_gives_way_to_one_with_fewer_whatever_the_state() {
        check_newcomer('z', "b a a", Some(1));
        check_newcomer('z', "b an a", Some(2));
        check_newcomer('z', "b ao an ac", Some(1));
        // Of those that wait for their turn the last, of those answered the first.
        check_newcomer('z', "b an ac ac", Some(3));
        check_newcomer('z', "b an an", Some(1));
        check_newcomer('b', "b ac ac ac", Some(3));
    }

    #[test]
    fn nobody_gives_way_where_nobody_is() {
        let mut subject = Handshakes::default();
        assert!(subject.displace(prefix('z'), Instant::now()).is_none());
        assert!(subject.displace_of(prefix('z'), Instant::now()).is_none());
    }

    #[test]
    fn a_handshake_is_told_once_it_is_displaced_and_ended_it_is_not_displaced() {
        let (now, mut subject) = (Instant::now(), Handshakes::default());
        let context = Context::from_waker(Waker::noop());
        let (ended, displaced) = (subject.begin(prefix('a'), now), subject.begin(prefix('a'), now));
        assert!(subject.end(ended));
        assert!(subject.poll_displaced(displaced, &context).is_pending());
        assert!(
            subject
                .displace_of(prefix('a'), now)
                .is_some_and(|it| it.waker.is_some())
        );
        assert!(subject.displace_of(prefix('a'), now).is_none());
        assert!(subject.poll_displaced(displaced, &context).is_ready());
        subject.advance(displaced, Phase::Computing, now);
        assert!(!subject.end(displaced));
        assert_eq!(subject.len(), 0);
    }
}
