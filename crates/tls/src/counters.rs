//! What a listener counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::LayerRefusal;

/// Why a handshake did not finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HandshakeFailure {
    /// Not finished within the limit.
    Timeout,
    /// A newcomer took its place, for one of the limits was reached.
    Displaced,
    /// The peer went away.
    Disconnected,
    /// Something that is not TLS, or broken TLS.
    Malformed,
    /// No common version, cipher suite, key exchange or application protocol.
    NothingInCommon,
    /// The peer ended it with an alert: typically it does not trust our certificate.
    PeerAlert,
    /// A client certificate whose key cannot be found: not even X.509 in outline.
    CertificateUnreadable,
    /// A client key of a kind or size that is not accepted.
    KeyUnsupported,
    /// The client's certificates are larger than the limit.
    CertificateMessageTooLong,
    /// CertificateVerify does not match the certificate's key: possession was not proven.
    PossessionNotProven,
    /// Anything else.
    Other,
}

impl HandshakeFailure {
    const ALL: [HandshakeFailure; 11] = [
        HandshakeFailure::Timeout,
        HandshakeFailure::Displaced,
        HandshakeFailure::Disconnected,
        HandshakeFailure::Malformed,
        HandshakeFailure::NothingInCommon,
        HandshakeFailure::PeerAlert,
        HandshakeFailure::CertificateUnreadable,
        HandshakeFailure::KeyUnsupported,
        HandshakeFailure::CertificateMessageTooLong,
        HandshakeFailure::PossessionNotProven,
        HandshakeFailure::Other,
    ];

    /// A stable name for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            HandshakeFailure::Timeout => "timeout",
            HandshakeFailure::Displaced => "displaced",
            HandshakeFailure::Disconnected => "disconnected",
            HandshakeFailure::Malformed => "malformed",
            HandshakeFailure::NothingInCommon => "nothing_in_common",
            HandshakeFailure::PeerAlert => "peer_alert",
            HandshakeFailure::CertificateUnreadable => "certificate_unreadable",
            HandshakeFailure::KeyUnsupported => "key_unsupported",
            HandshakeFailure::CertificateMessageTooLong => "certificate_message_too_long",
            HandshakeFailure::PossessionNotProven => "possession_not_proven",
            HandshakeFailure::Other => "other",
        }
    }
}

/// Why a connection was closed before, or cut after, its handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ConnectionRefusal {
    TooMany,
    TooManyOfPrefix,
    TooManyHandshakes,
    Http2Flood,
}

impl ConnectionRefusal {
    const NAMES: [&'static str; 4] = [
        "too_many_connections",
        "too_many_connections_of_prefix",
        "too_many_handshakes",
        "http2_flood",
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::NAMES.get(self as usize).copied().unwrap_or("other")
    }
}

const REFUSALS: [&str; 8] = [
    "malformed",
    "head_too_long",
    "head_timeout",
    "body_too_long",
    "body_timeout",
    "misdirected",
    "expectation_unknown",
    "too_many_connections",
];

/// The counters of one listener. They only ever grow, but for the two that say so.
#[derive(Debug)]
pub struct Counters {
    pub(crate) connections_open: AtomicU64,
    pub(crate) handshakes_in_progress: AtomicU64,
    pub(crate) connections_accepted: AtomicU64,
    pub(crate) handshakes_completed: AtomicU64,
    /// One for each runtime: a common one would travel between their processors with every request.
    requests: Box<[OwnLine]>,
    handshakes_failed: [AtomicU64; HandshakeFailure::ALL.len()],
    connections_refused: [AtomicU64; ConnectionRefusal::NAMES.len()],
    requests_refused: [AtomicU64; REFUSALS.len()],
}

/// A counter that shares its cache line with nothing.
#[derive(Debug, Default)]
#[repr(align(128))]
struct OwnLine(AtomicU64);

/// All counters at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterSnapshot {
    /// Connections open now, handshakes included.
    pub connections_open: u64,
    /// Handshakes in progress now.
    pub handshakes_in_progress: u64,
    /// Connections accepted by the system.
    pub connections_accepted: u64,
    /// Handshakes finished.
    pub handshakes_completed: u64,
    /// Requests handed to the service.
    pub requests: u64,
    /// Handshakes not finished, by [`HandshakeFailure::name`].
    pub handshakes_failed: Vec<(&'static str, u64)>,
    /// Connections closed because of a limit: `too_many_connections`, `too_many_connections_of_prefix`,
    /// `too_many_handshakes`, `http2_flood`.
    pub connections_refused: Vec<(&'static str, u64)>,
    /// Requests refused by the transport, by [`LayerRefusal::name`].
    pub requests_refused: Vec<(&'static str, u64)>,
}

impl CounterSnapshot {
    /// The count of a reason in any of the three lists; 0 if it never happened.
    pub fn count(&self, reason: &str) -> u64 {
        [
            &self.handshakes_failed,
            &self.connections_refused,
            &self.requests_refused,
        ]
        .into_iter()
        .flatten()
        .filter(|(name, _)| *name == reason)
        .map(|(_, count)| count)
        .sum()
    }
}

impl Counters {
    pub(crate) fn new(runtimes: usize) -> Counters {
        Counters {
            connections_open: AtomicU64::new(0),
            handshakes_in_progress: AtomicU64::new(0),
            connections_accepted: AtomicU64::new(0),
            handshakes_completed: AtomicU64::new(0),
            requests: (0..runtimes).map(|_| OwnLine::default()).collect(),
            handshakes_failed: Default::default(),
            connections_refused: Default::default(),
            requests_refused: Default::default(),
        }
    }

    /// Counts a request on the runtime with this number.
    pub(crate) fn request(&self, runtime: usize) {
        if let Some(OwnLine(counter)) = self.requests.get(runtime) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// All counters now.
    pub fn snapshot(&self) -> CounterSnapshot {
        let list = |names: &[&'static str], counters: &[AtomicU64]| {
            names
                .iter()
                .zip(counters)
                .map(|(name, counter)| (*name, counter.load(Relaxed)))
                .collect()
        };
        CounterSnapshot {
            connections_open: self.connections_open.load(Relaxed),
            handshakes_in_progress: self.handshakes_in_progress.load(Relaxed),
            connections_accepted: self.connections_accepted.load(Relaxed),
            handshakes_completed: self.handshakes_completed.load(Relaxed),
            requests: self.requests.iter().map(|OwnLine(counter)| counter.load(Relaxed)).sum(),
            handshakes_failed: list(
                &HandshakeFailure::ALL.map(HandshakeFailure::name),
                &self.handshakes_failed,
            ),
            connections_refused: list(&ConnectionRefusal::NAMES, &self.connections_refused),
            requests_refused: list(&REFUSALS, &self.requests_refused),
        }
    }

    pub(crate) fn handshake_failed(&self, failure: HandshakeFailure) {
        if let Some(counter) = self.handshakes_failed.get(failure as usize) {
            counter.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn connection_refused(&self, refusal: ConnectionRefusal) {
        if let Some(counter) = self.connections_refused.get(refusal as usize) {
            counter.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn request_refused(&self, refusal: &LayerRefusal) {
        let name = refusal.name();
        for (_, counter) in REFUSALS
            .iter()
            .zip(&self.requests_refused)
            .filter(|(known, _)| **known == name)
        {
            counter.fetch_add(1, Relaxed);
        }
    }
}
