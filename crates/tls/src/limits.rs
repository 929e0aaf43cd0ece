//! Every limit of a listener, named in one place.

use std::time::Duration;

/// The limits of one [`Listener`](crate::Listener). `Limits::default()` is what the documentation promises.
///
/// All durations are enforced by one sweep per [`sweep_interval`](Self::sweep_interval): a limit of `d` takes effect
/// between `d` and `d` plus one interval, never earlier. The length of a client's chain is limited by
/// [`INTERMEDIATES_MAX`](keybound_protocol::peer_certificate::INTERMEDIATES_MAX), and answered in HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of this listener at once. A further one takes the place of a handshake in progress, as with
    /// [`handshakes_max`](Self::handshakes_max); if there is none, it is closed before a handshake (503 on a plain listener).
    pub connections_max: usize,
    /// Connections at once from one address prefix, /32 for IPv4 and /64 for IPv6. A further one takes the place of a handshake of
    /// the same prefix, the one that has kept us waiting longest; if none waits for its client, it is closed (503 on a plain listener).
    pub connections_per_prefix_max: usize,
    /// Handshakes in progress at once. A further one takes the place of the one that has kept us waiting longest, of the prefix that has
    /// most in progress. Only if all of them are at work, and none of a prefix that has more than the newcomer's, is the newcomer
    /// closed instead, before any cryptography. Finished handshakes never give way.
    pub handshakes_max: usize,
    /// From the accepted connection to the finished handshake.
    pub handshake_timeout: Duration,
    /// Bytes of all certificates of a client together. TLS itself ends at 64 KiB, the most this can be.
    pub certificate_message_bytes_max: usize,
    /// A request head, from its first byte to its last; else 408.
    pub head_timeout: Duration,
    /// Bytes of a request head, in HTTP/2 of the decoded header list; else 431.
    pub head_bytes_max: usize,
    /// Header fields of one request; else 431.
    pub head_fields_max: usize,
    /// Bytes of a request body; else 413. `None` (the gateway) means no limit, and then no [`body_timeout`](Self::body_timeout) either.
    pub body_bytes_max: Option<u64>,
    /// A limited body, from its head to its last byte; else 408.
    pub body_timeout: Duration,
    /// The average rate of a limited body, judged from [`body_rate_grace`](Self::body_rate_grace) on; else 408.
    pub body_bytes_per_second_min: u64,
    /// How long a body may be slower than [`body_bytes_per_second_min`](Self::body_bytes_per_second_min).
    pub body_rate_grace: Duration,
    /// Silence between requests, inside an unlimited body, or of a reader that takes so little of its response that the system
    /// accepts no more of it.
    pub idle_timeout: Duration,
    /// From the start of a drain until connections still open are cut.
    pub drain_timeout: Duration,
    /// After an early answer, how long the rest of a refused request is read and thrown away, so that the answer arrives.
    pub linger_timeout: Duration,
    /// HTTP/2: how much of it is read and thrown away.
    pub linger_bytes_max: u64,
    /// Interim responses (1xx) of a service that wait for the peer to take them; further ones are dropped.
    pub interim_responses_max: usize,
    /// Bytes of interim responses that wait for the peer to take them; what does not fit is dropped.
    pub interim_response_bytes_max: usize,
    /// HTTP/2: requests at once on one connection.
    pub http2_streams_max: u32,
    /// HTTP/2: streams a client may reset beyond those it let finish; then the connection is cut.
    pub http2_resets_max: u32,
    /// HTTP/2: PING, SETTINGS, PRIORITY, GOAWAY, empty and unknown frames, and WINDOW_UPDATE frames beyond what the octets we sent
    /// call for, per sweep; then the connection is cut.
    pub http2_control_frames_max: u32,
    /// HTTP/2: a silent connection is pinged this often while requests are open; no answer in the same time cuts it.
    pub http2_keep_alive: Duration,
    /// How often deadlines are looked at. Tests shorten it; nothing else should.
    pub sweep_interval: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections_max: 10_000,
            connections_per_prefix_max: 256,
            handshakes_max: 512,
            handshake_timeout: Duration::from_secs(5),
            certificate_message_bytes_max: 64 * 1024,
            head_timeout: Duration::from_secs(10),
            head_bytes_max: 32 * 1024,
            head_fields_max: 100,
            body_bytes_max: Some(64 * 1024),
            body_timeout: Duration::from_secs(30),
            body_bytes_per_second_min: 1024,
            body_rate_grace: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(30),
            linger_timeout: Duration::from_secs(2),
            linger_bytes_max: 1024 * 1024,
            interim_responses_max: 16,
            interim_response_bytes_max: 16 * 1024,
            http2_streams_max: 128,
            http2_resets_max: 200,
            http2_control_frames_max: 1_000,
            http2_keep_alive: Duration::from_secs(20),
            sweep_interval: Duration::from_secs(1),
        }
    }
}
