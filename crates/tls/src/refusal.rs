//! What the transport refuses by itself, before or instead of a service.

use http::StatusCode;

/// Why a request never reached the service, or why its body broke off.
///
/// [`Service::refuse`](crate::Service::refuse) turns it into a response, so that a daemon can record it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayerRefusal {
    /// 400 or 501: HTTP that two readers could understand differently. Rejected, not repaired.
    #[error("malformed request: {0}")]
    Malformed(FramingViolation),
    /// 431: the head is longer, or has more fields, than the limit.
    #[error("the request head exceeds the limit")]
    HeadTooLong,
    /// 408: the head was not complete in time.
    #[error("the request head was not complete in time")]
    HeadTimeout,
    /// 413: the body is longer than the listener's limit.
    #[error("the request body exceeds {bytes_max} bytes")]
    BodyTooLong {
        /// The limit.
        bytes_max: u64,
    },
    /// 408: the body was not complete in time, or slower than the least rate.
    #[error("the request body was too slow")]
    BodyTimeout,
    /// 421: this connection is not for the authority the request names (RFC 9110 §15.5.20).
    #[error("authority {authority:?} is not served on a connection {}", named(server_name.as_deref()))]
    Misdirected {
        /// The authority of the request, without port, lower case; empty if there was none.
        authority: String,
        /// The server name of the handshake, if any.
        server_name: Option<String>,
    },
    /// 417: an expectation other than `100-continue` (RFC 9110 §10.1.1).
    #[error("unknown expectation")]
    ExpectationUnknown,
    /// 503: the listener has as many connections as it may. Only sent where no handshake is needed first.
    #[error("too many connections")]
    TooManyConnections,
}

const CONNECTIONS: &str = "connections within their limit";
const HTTP: &str = "well-formed HTTP";
const HEAD: &str = "request head within its limits";
const HOST: &str = "host served on this connection";
const EXPECTATION: &str = "expectation known";
const BODY: &str = "request body within its limits";

impl LayerRefusal {
    /// What a listener asks of every request, in this order; the first that fails is the reason. For `explain`.
    pub const RULES: [&str; 6] = [CONNECTIONS, HTTP, HEAD, HOST, EXPECTATION, BODY];

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            LayerRefusal::Malformed(violation) => violation.status(),
            LayerRefusal::HeadTooLong => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            LayerRefusal::HeadTimeout | LayerRefusal::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            LayerRefusal::BodyTooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            LayerRefusal::Misdirected { .. } => StatusCode::MISDIRECTED_REQUEST,
            LayerRefusal::ExpectationUnknown => StatusCode::EXPECTATION_FAILED,
            LayerRefusal::TooManyConnections => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// A stable name for counters and logs: `malformed`, `head_too_long`, ….
    pub fn name(&self) -> &'static str {
        match self {
            LayerRefusal::Malformed(_) => "malformed",
            LayerRefusal::HeadTooLong => "head_too_long",
            LayerRefusal::HeadTimeout => "head_timeout",
            LayerRefusal::BodyTooLong { .. } => "body_too_long",
            LayerRefusal::BodyTimeout => "body_timeout",
            LayerRefusal::Misdirected { .. } => "misdirected",
            LayerRefusal::ExpectationUnknown => "expectation_unknown",
            LayerRefusal::TooManyConnections => "too_many_connections",
        }
    }

    /// Static text for `error_description`, in RFC 6749 §5.2's character set; nothing of the request is repeated.
    pub fn description(&self) -> &'static str {
        match self {
            LayerRefusal::Malformed(_) => "The request is not well-formed HTTP.",
            LayerRefusal::HeadTooLong => "The request head is too long.",
            LayerRefusal::HeadTimeout => "The request head took too long to arrive.",
            LayerRefusal::BodyTooLong { .. } => "The request body is too long.",
            LayerRefusal::BodyTimeout => "The request body took too long to arrive.",
            LayerRefusal::Misdirected { .. } => {
                "This connection does not serve the requested host. Open a new connection with that host as server name."
            }
            LayerRefusal::ExpectationUnknown => "The expectation is not supported.",
            LayerRefusal::TooManyConnections => "Too many connections. Try again later.",
        }
    }

    /// Which of [`RULES`](Self::RULES) failed.
    pub fn rule(&self) -> &'static str {
        match self {
            LayerRefusal::TooManyConnections => CONNECTIONS,
            LayerRefusal::Malformed(_) => HTTP,
            LayerRefusal::HeadTooLong | LayerRefusal::HeadTimeout => HEAD,
            LayerRefusal::Misdirected { .. } => HOST,
            LayerRefusal::ExpectationUnknown => EXPECTATION,
            LayerRefusal::BodyTooLong { .. } | LayerRefusal::BodyTimeout => BODY,
        }
    }

    /// What to do about it, for operators.
    pub fn fix(&self) -> &'static str {
        match self {
            LayerRefusal::Malformed(_) => {
                "send well-formed HTTP; if a proxy stands in between, look at what it makes of the request"
            }
            LayerRefusal::HeadTooLong => "send fewer or shorter header fields, or raise limits.request_head_bytes",
            LayerRefusal::HeadTimeout => "send the head at once, or raise limits.request_head",
            LayerRefusal::BodyTooLong { .. } => "send less, or raise limits.request_body_bytes",
            LayerRefusal::BodyTimeout => "send the body at once, or raise limits.request_body",
            LayerRefusal::Misdirected { .. } => {
                "use one host as server name (SNI), in the URL and in Host, and a connection of its own for each; this listener \
                 serves the names of its certificates"
            }
            LayerRefusal::ExpectationUnknown => "send no Expect, or 100-continue",
            LayerRefusal::TooManyConnections => "use fewer connections, or raise limits.connections",
        }
    }

    /// The JSON error body that goes with [`status`](Self::status). The code is `invalid_request` in every case but 503.
    pub fn json(&self) -> String {
        let error = match self {
            LayerRefusal::TooManyConnections => "temporarily_unavailable",
            _ => "invalid_request",
        };
        format!(r#"{{"error":"{error}","error_description":"{}"}}"#, self.description())
    }
}

fn named(server_name: Option<&str>) -> String {
    match server_name {
        Some(name) => format!("for {name:?}"),
        None => "without a server name".to_owned(),
    }
}

impl From<FramingViolation> for LayerRefusal {
    fn from(violation: FramingViolation) -> Self {
        LayerRefusal::Malformed(violation)
    }
}

/// Which rule of HTTP's framing or syntax a request broke (RFC 9110, 9112, 9113).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FramingViolation {
    /// LF without CR, or CR without LF.
    #[error("bare CR or LF")]
    BareLineEnding,
    /// NUL or another control character.
    #[error("control character in the head")]
    ControlCharacter,
    /// An empty line where a request line belongs.
    #[error("empty line before the request")]
    EmptyLine,
    /// Not `method SP target SP HTTP/1.x`.
    #[error("malformed request line")]
    RequestLine,
    /// A version other than HTTP/1.0 and HTTP/1.1.
    #[error("HTTP version not supported")]
    Version,
    /// CONNECT, which only proxies serve.
    #[error("method not implemented")]
    Method,
    /// A request target that is none of origin form, absolute form and `*` for OPTIONS.
    #[error("malformed request target")]
    Target,
    /// A field line that continues the one before (obsolete folding).
    #[error("folded field line")]
    Folding,
    /// A field name that is empty, has a space before its colon, or characters that are not a token's.
    #[error("malformed field name")]
    FieldName,
    /// `Content_Length` and the like, which some applications read as the field with `-`.
    #[error("field name with an underscore that stands for a framing field")]
    FieldNameLookalike,
    /// HTTP/1.1 without Host, an empty one, or several.
    #[error("Host missing or repeated")]
    HostCount,
    /// A Host that is not `uri-host [":" port]`.
    #[error("malformed Host")]
    HostValue,
    /// Host and the authority of the target (in HTTP/2 `:authority`) differ.
    #[error("Host differs from the target's authority")]
    HostMismatch,
    /// Content-Length that is not one plain decimal number, or several.
    #[error("malformed or repeated Content-Length")]
    ContentLength,
    /// Transfer-Encoding beside Content-Length.
    #[error("Transfer-Encoding beside Content-Length")]
    BothLengths,
    /// Transfer-Encoding repeated, or in HTTP/1.0.
    #[error("Transfer-Encoding repeated or in HTTP/1.0")]
    TransferEncoding,
    /// A transfer coding other than exactly `chunked`.
    #[error("transfer coding not implemented")]
    TransferCoding,
    /// A framing or routing field named in Connection, which a proxy would have to remove.
    #[error("Connection names a framing field")]
    ConnectionOption,
    /// A chunk size that is not plain hexadecimal, or too large, or an extension that is too long.
    #[error("malformed chunk size")]
    ChunkSize,
    /// Chunk data that is not followed by CRLF.
    #[error("malformed end of chunk")]
    ChunkEnd,
    /// A trailer field that is malformed, or a framing field.
    #[error("malformed trailer")]
    Trailer,
    /// HTTP/2: Host repeated, or neither it nor `:authority`.
    #[error("no single authority")]
    Authority,
}

impl FramingViolation {
    /// 400, or 501 and 505 where RFC 9110 and 9112 name them.
    pub fn status(self) -> StatusCode {
        match self {
            FramingViolation::TransferCoding | FramingViolation::Method => StatusCode::NOT_IMPLEMENTED,
            FramingViolation::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}
