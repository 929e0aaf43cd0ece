//! Every limit of the gateway's own; those of its listeners are `keybound_tls::Limits`.

use std::time::Duration;

/// What bounds the upstream leg and what the gateway remembers. `Limits::default()` is what the documentation promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From the first address tried to a connection; else 504.
    pub connect_timeout: Duration,
    /// From the end of the request to the first byte of the answer; else 504.
    pub response_timeout: Duration,
    /// Connections to one upstream that carry a request or a tunnel at once; beyond, 503.
    pub upstream_connections_max: usize,
    /// How long an upstream connection is kept for reuse. Below the 60 s after which most servers close it.
    pub upstream_idle_timeout: Duration,
    /// Idle connections kept per upstream and runtime.
    pub upstream_idle_connections_max: usize,
    /// Bytes of an upstream's answer before its body, interim answers included one by one; else 502. Also what is
    /// read ahead of a slow client.
    pub upstream_head_bytes_max: usize,
    /// Fields of an upstream's answer; else 502.
    pub upstream_head_fields_max: usize,
    /// How long a caller that sent `Expect: 100-continue` waits for the upstream's decision before its body is asked for.
    pub continue_timeout: Duration,
    /// Refusals remembered for `explain`; the log has them all.
    pub refusals_max: usize,
    /// Request records waiting for the log, per runtime; what does not fit is counted, not waited for.
    pub log_records_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(60),
            upstream_connections_max: 4_096,
            upstream_idle_timeout: Duration::from_secs(50),
            upstream_idle_connections_max: 256,
            upstream_head_bytes_max: 64 * 1024,
            upstream_head_fields_max: 100,
            continue_timeout: Duration::from_secs(1),
            refusals_max: 10_000,
            log_records_max: 8_192,
        }
    }
}
