//! Why an upstream gave no answer that can be passed on.

use std::io;
use std::time::Duration;

use http::StatusCode;

/// What went wrong on the upstream leg. For operators; the caller sees 502 or 504.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No address of the upstream accepted a connection.
    #[error("the upstream {upstream} could not be reached")]
    Unreachable {
        /// The origin, as configured.
        upstream: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No connection in time.
    #[error("the upstream {upstream} accepted no connection within {within:?}")]
    ConnectTimeout {
        /// The origin, as configured.
        upstream: String,
        /// The limit.
        within: Duration,
    },
    /// A connection, but no answer in time.
    #[error("the upstream {upstream} gave no answer within {within:?}")]
    ResponseTimeout {
        /// The origin, as configured.
        upstream: String,
        /// The limit.
        within: Duration,
    },
    /// As many requests as may be are under way already.
    #[error("{max} connections to the upstream {upstream} are in use")]
    Saturated {
        /// The origin, as configured.
        upstream: String,
        /// The limit.
        max: usize,
    },
    /// It closed the connection before its answer was complete.
    #[error("the upstream {upstream} closed the connection without an answer")]
    Closed {
        /// The origin, as configured.
        upstream: String,
        /// What the connection said.
        #[source]
        source: hyper::Error,
    },
    /// More or longer fields than [`Limits`](crate::Limits) allow.
    #[error("the upstream {upstream} sent a head beyond the limits")]
    HeadTooLong {
        /// The origin, as configured.
        upstream: String,
    },
    /// What it sent is not HTTP/1.1.
    #[error("the upstream {upstream} did not answer in HTTP/1.1")]
    NotHttp {
        /// The origin, as configured.
        upstream: String,
        /// What the parser said.
        #[source]
        source: hyper::Error,
    },
    /// An answer whose end two readers would see in two places.
    #[error("the upstream {upstream} sent an answer with ambiguous framing")]
    AmbiguousFraming {
        /// The origin, as configured.
        upstream: String,
    },
    /// 101 that nobody asked for, or to another protocol than was asked for.
    #[error("the upstream {upstream} switched protocols unasked")]
    UnexpectedUpgrade {
        /// The origin, as configured.
        upstream: String,
    },
}

impl UpstreamError {
    /// 503 for too much at once, 504 for what took too long, 502 for everything else (RFC 9110 §15.6.3 to §15.6.5).
    pub fn status(&self) -> StatusCode {
        match self {
            Self::ConnectTimeout { .. } | Self::ResponseTimeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Saturated { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unreachable { .. }
            | Self::Closed { .. }
            | Self::HeadTooLong { .. }
            | Self::NotHttp { .. }
            | Self::AmbiguousFraming { .. }
            | Self::UnexpectedUpgrade { .. } => StatusCode::BAD_GATEWAY,
        }
    }

    /// A stable name for counters and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "upstream_unreachable",
            Self::ConnectTimeout { .. } => "upstream_connect_timeout",
            Self::ResponseTimeout { .. } => "upstream_response_timeout",
            Self::Saturated { .. } => "upstream_saturated",
            Self::Closed { .. } => "upstream_closed",
            Self::HeadTooLong { .. } => "upstream_head_too_long",
            Self::NotHttp { .. } => "upstream_not_http",
            Self::AmbiguousFraming { .. } => "upstream_ambiguous_framing",
            Self::UnexpectedUpgrade { .. } => "upstream_unexpected_upgrade",
        }
    }

    /// Sorts what hyper reports about an exchange.
    pub(crate) fn of_exchange(upstream: String, source: hyper::Error) -> Self {
        if source.is_parse_too_large() {
            Self::HeadTooLong { upstream }
        } else if source.is_parse() || source.is_parse_status() {
            Self::NotHttp { upstream, source }
        } else {
            Self::Closed { upstream, source }
        }
    }
}
