//! The one deadline of a connection, looked at by the sweep of its runtime.
//!
//! Nothing on the path of a request reads a clock or makes a timer: the stream and the service only note the current tick,
//! a number that the sweep counts up. All fields are written by the connection's own tasks and read by the sweep, which
//! runs on the same thread; the atomics are there because tasks are `Send`, not because anything races.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Waker},
    time::Duration,
};

use crate::Limits;

/// The limits of a deadline, in ticks.
#[derive(Debug)]
pub(crate) struct DeadlineTicks {
    pub(crate) head: u32,
    pub(crate) body: u32,
    pub(crate) body_rate_grace: u32,
    pub(crate) body_bytes_per_tick_min: u64,
    pub(crate) body_limited: bool,
    pub(crate) idle: u32,
    pub(crate) linger: u32,
}

impl DeadlineTicks {
    pub(crate) fn new(limits: &Limits) -> DeadlineTicks {
        let interval = limits.sweep_interval.max(Duration::from_millis(1));
        // One more than fits: the first tick is already partly over when it is noted.
        let ticks = |duration: Duration| {
            u32::try_from(duration.as_nanos().div_ceil(interval.as_nanos()) + 1).unwrap_or(u32::MAX)
        };
        let per_tick = u128::from(limits.body_bytes_per_second_min) * interval.as_millis() / 1000;
        DeadlineTicks {
            head: ticks(limits.head_timeout),
            body: ticks(limits.body_timeout),
            body_rate_grace: ticks(limits.body_rate_grace),
            body_bytes_per_tick_min: u64::try_from(per_tick).unwrap_or(u64::MAX),
            body_limited: limits.body_bytes_max.is_some(),
            idle: ticks(limits.idle_timeout),
            linger: ticks(limits.linger_timeout),
        }
    }
}

/// What the peer owes us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Between requests: nothing, but not for ever.
    Between = 0,
    /// The rest of a head.
    Head = 1,
    /// The rest of a body.
    Body = 2,
    /// An answer was given early: what still comes is thrown away for a while.
    Linger = 3,
    /// An upgraded connection, which its service watches over.
    Tunnel = 4,
    /// Nothing: the peer closed its side, and may or may not wait for the answer to its request.
    HalfClosed = 5,
}

/// What the sweep, or [`Connection::close`](crate::Connection::close), decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Verdict {
    None = 0,
    /// Close as if the peer had.
    Idle = 1,
    /// 408.
    HeadTimeout = 2,
    /// 408.
    BodyTimeout = 3,
    /// End at once.
    Cut = 4,
}

const NOT_BLOCKED: u32 = u32::MAX;

/// The state that a connection's time limits are computed from.
#[derive(Debug)]
pub(crate) struct Deadline {
    /// The tick of the runtime, shared by all its connections.
    now: Arc<AtomicU32>,
    phase: AtomicU8,
    phase_since: AtomicU32,
    phase_bytes: AtomicU64,
    /// When bytes last arrived, or a request last ended.
    active_at: AtomicU32,
    /// Whether the connection waits for the peer to send.
    reading: AtomicBool,
    write_blocked_since: AtomicU32,
    requests: AtomicU32,
    /// Requests answered to the last octet since this was last asked.
    answered: AtomicU32,
    /// Response bodies whose next part waits for the peer to take what it has.
    bodies_with_peer: AtomicU32,
    body_taken_at: AtomicU32,
    verdict: AtomicU8,
    /// The body of the current request was refused after its head was not.
    body_refused: AtomicBool,
    upgrade_asked: AtomicBool,
    upgrade_answer: AtomicU8,
    read_waker: Mutex<Option<Waker>>,
    write_waker: Mutex<Option<Waker>>,
}

impl Default for Deadline {
    fn default() -> Self {
        Deadline::new(Arc::default())
    }
}

/// What became of a request to upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpgradeAnswer {
    Pending,
    Refused,
    Switched,
}

impl Deadline {
    pub(crate) fn new(now: Arc<AtomicU32>) -> Deadline {
        let tick = now.load(Relaxed);
        Deadline {
            now,
            phase: AtomicU8::new(Phase::Between as u8),
            phase_since: AtomicU32::new(tick),
            phase_bytes: AtomicU64::new(0),
            active_at: AtomicU32::new(tick),
            reading: AtomicBool::new(false),
            write_blocked_since: AtomicU32::new(NOT_BLOCKED),
            requests: AtomicU32::new(0),
            answered: AtomicU32::new(0),
            bodies_with_peer: AtomicU32::new(0),
            body_taken_at: AtomicU32::new(tick),
            verdict: AtomicU8::new(Verdict::None as u8),
            body_refused: AtomicBool::new(false),
            upgrade_asked: AtomicBool::new(false),
            upgrade_answer: AtomicU8::new(0),
            read_waker: Mutex::default(),
            write_waker: Mutex::default(),
        }
    }

    pub(crate) fn tick(&self) -> u32 {
        self.now.load(Relaxed)
    }

    /// Notes that `bytes` arrived and what is owed next. A phase that is left and entered again within one read starts anew.
    pub(crate) fn received(&self, bytes: usize, phase: Phase, entered: bool) {
        let tick = self.tick();
        self.active_at.store(tick, Relaxed);
        self.reading.store(false, Relaxed);
        if entered || self.phase.load(Relaxed) != phase as u8 {
            self.phase.store(phase as u8, Relaxed);
            self.phase_since.store(tick, Relaxed);
            self.phase_bytes.store(bytes as u64, Relaxed);
        } else {
            self.phase_bytes.fetch_add(bytes as u64, Relaxed);
        }
    }

    /// The same for HTTP/2, where a request begins with a header block. Other frames prove only that the peer lives, our own pings
    /// see to that; they do not make a connection busy.
    pub(crate) fn received_frames(&self, phase: Phase, header_block: bool) {
        let active_at = self.active_at.load(Relaxed);
        self.received(0, phase, header_block);
        if !header_block {
            self.active_at.store(active_at, Relaxed);
        }
    }

    pub(crate) fn waits_to_read(&self, context: &Context<'_>) {
        self.reading.store(true, Relaxed);
        store_waker(&self.read_waker, context);
    }

    /// Remembers whom to wake while the connection does not wait for the peer but for its own service.
    pub(crate) fn waits_for_answer(&self, context: &Context<'_>) {
        self.reading.store(false, Relaxed);
        store_waker(&self.read_waker, context);
    }

    pub(crate) fn waits_to_write(&self, context: &Context<'_>) {
        if self.write_blocked_since.load(Relaxed) == NOT_BLOCKED {
            self.write_blocked_since.store(self.tick(), Relaxed);
        }
        store_waker(&self.write_waker, context);
    }

    pub(crate) fn wrote(&self) {
        if self.write_blocked_since.load(Relaxed) != NOT_BLOCKED {
            self.write_blocked_since.store(NOT_BLOCKED, Relaxed);
        }
    }

    pub(crate) fn request_began(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    pub(crate) fn request_ended(&self, answered: bool) {
        self.requests.fetch_sub(1, Relaxed);
        self.active_at.store(self.tick(), Relaxed);
        if answered {
            self.answered.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn requests(&self) -> u32 {
        self.requests.load(Relaxed)
    }

    pub(crate) fn take_answered(&self) -> u32 {
        self.answered.swap(0, Relaxed)
    }

    pub(crate) fn refuse_body(&self) {
        self.body_refused.store(true, Relaxed);
    }

    pub(crate) fn body_refused(&self) -> bool {
        self.body_refused.load(Relaxed)
    }

    /// A response body is the peer's to take (again).
    pub(crate) fn body_with_peer(&self) {
        self.bodies_with_peer.fetch_add(1, Relaxed);
        self.body_taken_at.store(self.tick(), Relaxed);
    }

    /// The peer took a part of a response body.
    pub(crate) fn body_taken(&self) {
        self.body_taken_at.store(self.tick(), Relaxed);
    }

    /// A response body waits for its service, or is over.
    pub(crate) fn body_not_with_peer(&self) {
        self.bodies_with_peer.fetch_sub(1, Relaxed);
    }

    pub(crate) fn verdict(&self) -> Verdict {
        match self.verdict.load(Relaxed) {
            0 => Verdict::None,
            1 => Verdict::Idle,
            2 => Verdict::HeadTimeout,
            3 => Verdict::BodyTimeout,
            _ => Verdict::Cut,
        }
    }

    /// Takes a verdict that was carried out, so that what follows it has a deadline of its own.
    pub(crate) fn clear_verdict(&self) {
        self.verdict.store(Verdict::None as u8, Relaxed);
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
        self.phase_since.store(self.tick(), Relaxed);
    }

    pub(crate) fn enter_once(&self, phase: Phase) {
        if self.phase.load(Relaxed) != phase as u8 {
            self.enter(phase);
        }
    }

    /// Ends the connection at once.
    pub(crate) fn cut(&self) {
        self.verdict.store(Verdict::Cut as u8, Relaxed);
        self.wake();
    }

    pub(crate) fn wake(&self) {
        for waker in [&self.read_waker, &self.write_waker] {
            let waker = waker.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// The screen passed a request that asks for an upgrade and reads no further until it is answered.
    pub(crate) fn ask_upgrade(&self) {
        self.upgrade_answer.store(0, Relaxed);
        self.upgrade_asked.store(true, Relaxed);
    }

    pub(crate) fn upgrade_asked(&self) -> bool {
        self.upgrade_asked.load(Relaxed)
    }

    pub(crate) fn answer_upgrade(&self, switched: bool) {
        self.upgrade_asked.store(false, Relaxed);
        self.upgrade_answer.store(if switched { 2 } else { 1 }, Relaxed);
        self.wake();
    }

    pub(crate) fn upgrade_answer(&self) -> UpgradeAnswer {
        match self.upgrade_answer.load(Relaxed) {
            0 => UpgradeAnswer::Pending,
            1 => UpgradeAnswer::Refused,
            _ => UpgradeAnswer::Switched,
        }
    }

    /// Called by the sweep: decides whether the peer is late. If so the connection is to be woken.
    pub(crate) fn sweep(&self, limits: &DeadlineTicks) -> bool {
        let verdict = self.judge(limits);
        if verdict == Verdict::None || self.verdict() == Verdict::Cut {
            return false;
        }
        self.verdict.store(verdict as u8, Relaxed);
        true
    }

    fn judge(&self, limits: &DeadlineTicks) -> Verdict {
        let now = self.tick();
        let passed = |since: &AtomicU32, limit: u32| now.saturating_sub(since.load(Relaxed)) >= limit;
        let write_blocked_since = self.write_blocked_since.load(Relaxed);
        if write_blocked_since != NOT_BLOCKED && now.saturating_sub(write_blocked_since) >= limits.idle {
            return Verdict::Cut;
        }
        if self.bodies_with_peer.load(Relaxed) > 0 && passed(&self.body_taken_at, limits.idle) {
            return Verdict::Cut;
        }
        match self.phase.load(Relaxed) {
            phase if phase == Phase::Linger as u8 && passed(&self.phase_since, limits.linger) => {
                // Before its own answer is out, a refused connection is not lingering yet.
                if self.requests.load(Relaxed) == 0 {
                    Verdict::Cut
                } else {
                    Verdict::None
                }
            }
            _ if !self.reading.load(Relaxed) => Verdict::None,
            phase if phase == Phase::Between as u8 => {
                // Told first, cut later: an HTTP/2 peer that never answers would keep the connection otherwise.
                match self.requests.load(Relaxed) {
                    0 if passed(&self.active_at, limits.idle.saturating_add(limits.linger)) => Verdict::Cut,
                    0 if passed(&self.active_at, limits.idle) => Verdict::Idle,
                    _ => Verdict::None,
                }
            }
            phase if phase == Phase::HalfClosed as u8 && passed(&self.phase_since, limits.linger) => Verdict::Idle,
            phase if phase == Phase::Head as u8 && passed(&self.phase_since, limits.head) => Verdict::HeadTimeout,
            phase if phase == Phase::Body as u8 && self.body_late(limits, now) => Verdict::BodyTimeout,
            _ => Verdict::None,
        }
    }

    fn body_late(&self, limits: &DeadlineTicks, now: u32) -> bool {
        if !limits.body_limited {
            return now.saturating_sub(self.active_at.load(Relaxed)) >= limits.idle;
        }
        let elapsed = now.saturating_sub(self.phase_since.load(Relaxed));
        let too_slow = elapsed >= limits.body_rate_grace
            && self.phase_bytes.load(Relaxed) < limits.body_bytes_per_tick_min.saturating_mul(u64::from(elapsed - 1));
        elapsed >= limits.body || too_slow
    }
}

fn store_waker(place: &Mutex<Option<Waker>>, context: &Context<'_>) {
    let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
    match &mut *place {
        Some(waker) => waker.clone_from(context.waker()),
        None => *place = Some(context.waker().clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One tick per second, so that ticks read like the limits.
    fn limits(change: impl FnOnce(&mut Limits)) -> DeadlineTicks {
        let mut limits = Limits::default();
        change(&mut limits);
        DeadlineTicks::new(&limits)
    }

    /// The verdict after so many seconds without another octet, in `phase` and waiting for the peer.
    fn verdict_after(seconds: u32, phase: Phase, bytes: usize, limits: &DeadlineTicks) -> Verdict {
        let deadline = Deadline::default();
        deadline.received(bytes, phase, true);
        deadline.waits_to_read(&Context::from_waker(Waker::noop()));
        deadline.now.store(seconds, Relaxed);
        deadline.judge(limits)
    }

    #[test]
    fn each_phase_has_its_limit_and_one_tick_more() {
        let limited = limits(|_| {});
        let unlimited = limits(|limits| limits.body_bytes_max = None);
        for (phase, limits, last, verdict) in [
            (Phase::Head, &limited, 10, Verdict::HeadTimeout),
            (Phase::Body, &limited, 30, Verdict::BodyTimeout),
            (Phase::Body, &unlimited, 60, Verdict::BodyTimeout),
            (Phase::Between, &limited, 60, Verdict::Idle),
            (Phase::Linger, &limited, 2, Verdict::Cut),
            (Phase::HalfClosed, &limited, 2, Verdict::Idle),
        ] {
            // Enough octets that the rate is no matter.
            assert_eq!(verdict_after(last, phase, 1 << 20, limits), Verdict::None, "{phase:?}");
            assert_eq!(verdict_after(last + 1, phase, 1 << 20, limits), verdict, "{phase:?}");
        }
        assert_eq!(verdict_after(1_000_000, Phase::Tunnel, 0, &limited), Verdict::None);
    }

    #[test]
    fn a_limited_body_keeps_its_rate_after_the_grace() {
        let limits = limits(|_| {});
        assert_eq!(verdict_after(5, Phase::Body, 0, &limits), Verdict::None, "in the grace");
        assert_eq!(verdict_after(6, Phase::Body, 5 * 1024, &limits), Verdict::None);
        assert_eq!(
            verdict_after(6, Phase::Body, 5 * 1024 - 1, &limits),
            Verdict::BodyTimeout
        );
        assert_eq!(
            verdict_after(20, Phase::Body, 19 * 1024 - 1, &limits),
            Verdict::BodyTimeout
        );
    }

    #[test]
    fn nobody_is_late_who_is_not_waited_for() {
        let limits = limits(|_| {});
        for phase in [Phase::Between, Phase::Head, Phase::Body] {
            let deadline = Deadline::default();
            deadline.received(1, phase, true);
            deadline.now.store(1000, Relaxed);
            assert_eq!(deadline.judge(&limits), Verdict::None, "{phase:?}");
        }
        // A request in progress is the service's affair.
        let deadline = Deadline::default();
        deadline.request_began();
        deadline.waits_to_read(&Context::from_waker(Waker::noop()));
        deadline.now.store(1000, Relaxed);
        assert_eq!(deadline.judge(&limits), Verdict::None);
        deadline.request_ended(true);
        assert_eq!(
            deadline.judge(&limits),
            Verdict::None,
            "the time between requests begins now"
        );
    }

    #[test]
    fn a_peer_that_takes_nothing_is_cut() {
        let limits = limits(|_| {});
        let blocked = Deadline::default();
        blocked.waits_to_write(&Context::from_waker(Waker::noop()));
        let with_peer = Deadline::default();
        with_peer.request_began();
        with_peer.body_with_peer();
        for deadline in [&blocked, &with_peer] {
            deadline.now.store(60, Relaxed);
            assert_eq!(deadline.judge(&limits), Verdict::None);
            deadline.now.store(61, Relaxed);
            assert_eq!(deadline.judge(&limits), Verdict::Cut);
        }
        blocked.wrote();
        with_peer.body_taken();
        for deadline in [&blocked, &with_peer] {
            assert_eq!(deadline.judge(&limits), Verdict::None);
        }
    }

    #[test]
    fn a_cut_is_not_taken_back() {
        let deadline = Deadline::default();
        deadline.cut();
        deadline.waits_to_read(&Context::from_waker(Waker::noop()));
        deadline.now.store(1000, Relaxed);
        deadline.sweep(&limits(|_| {}));
        assert_eq!(deadline.verdict(), Verdict::Cut);
    }
}
