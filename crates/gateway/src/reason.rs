//! Why the gateway refused a request by itself, before the token was looked at or after the upstream failed.
//!
//! What is wrong with a token is the resource server's to say, what is wrong below HTTP is the listener's.

use http::{HeaderValue, StatusCode};
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::refusal::Refusal;
use keybound_protocol::rule::{Outcome, RuleOutcome};

use crate::canonical_path::PathError;
use crate::upstream::UpstreamError;

/// A reason of the gateway's own. For operators; the caller gets [`code`](Self::code) and [`status`](Self::status).
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// TRACE would show the caller what the gateway adds for the upstream; CONNECT is for proxies.
    #[error("the method {method} is not served by a gateway")]
    Method {
        /// As presented.
        method: String,
    },
    /// Two servers could read the path as two different ones.
    #[error("the path is ambiguous")]
    Path {
        /// As presented.
        path: String,
        /// What makes it so.
        #[source]
        source: PathError,
    },
    /// The target names another host than `Host`, or user information.
    #[error("the request target names no single host")]
    Authority,
    /// No route begins with it.
    #[error("no route serves {path}")]
    NoRoute {
        /// The canonical path.
        path: String,
    },
    /// There are routes for the path, but not for the method.
    #[error("the routes for {path} are not for {method}")]
    MethodNotAllowed {
        /// The canonical path.
        path: String,
        /// As presented.
        method: String,
        /// The value of `Allow`.
        allow: HeaderValue,
    },
    /// The token was good; the upstream was not.
    #[error("the upstream gave no answer that can be passed on")]
    Upstream(#[from] UpstreamError),
}

const METHOD: &str = "the method is one that a gateway serves";
const PATH: &str = "the request has one path and one host";
const ROUTE: &str = "a route serves the path and the method";
const TOKEN: &str = "the access token is accepted";
const UPSTREAM: &str = "the upstream answers";

/// The decisions of the gateway in their order.
const RULES: [&str; 5] = [METHOD, PATH, ROUTE, TOKEN, UPSTREAM];

impl Reason {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Method { .. } => StatusCode::NOT_IMPLEMENTED,
            Self::Path { .. } | Self::Authority => StatusCode::BAD_REQUEST,
            Self::NoRoute { .. } => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Upstream(error) => error.status(),
        }
    }

    /// The code of the JSON body.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Method { .. }
            | Self::Path { .. }
            | Self::Authority
            | Self::NoRoute { .. }
            | Self::MethodNotAllowed { .. } => ErrorCode::InvalidRequest,
            Self::Upstream(error) => match error.status() {
                StatusCode::BAD_GATEWAY => ErrorCode::ServerError,
                _ => ErrorCode::TemporarilyUnavailable,
            },
        }
    }

    /// The sentence that goes with the code. What HTTP has a status for is not said to be malformed.
    pub fn description(&self) -> &'static str {
        match self {
            Self::Method { .. } => "a gateway does not serve this method",
            Self::NoRoute { .. } => "no route serves this path",
            Self::MethodNotAllowed { .. } => "no route serves this path with this method",
            Self::Path { .. } | Self::Authority | Self::Upstream(_) => self.code().description(),
        }
    }

    /// A stable name for counters and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Method { .. } => "method",
            Self::Path { .. } => "ambiguous_path",
            Self::Authority => "authority",
            Self::NoRoute { .. } => "no_route",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::Upstream(error) => error.name(),
        }
    }

    /// What to do about it.
    pub(crate) fn fix(&self) -> &'static str {
        match self {
            Self::Method { .. } => "Use another method.",
            Self::Path { .. } => {
                "Send the path in its plain form: no dot segments, no empty segments, no encoded slashes or look-alikes of one, \
                 no dots or blanks at the end of a segment, nothing encoded twice."
            }
            Self::Authority => "Name one host, the same in the target and in Host.",
            Self::NoRoute { .. } => "Add a [[routes]] entry for the path to gateway.toml, or correct the path.",
            Self::MethodNotAllowed { .. } => {
                "Add the method to `methods` of the route in gateway.toml, or use another one."
            }
            Self::Upstream(UpstreamError::Unreachable { .. } | UpstreamError::ConnectTimeout { .. }) => {
                "Check that the upstream runs and that `upstream` of the route in gateway.toml names its address."
            }
            Self::Upstream(UpstreamError::Saturated { .. }) => {
                "Find out why so many requests are under way, or what keeps the upstream from answering them."
            }
            Self::Upstream(UpstreamError::ResponseTimeout { .. }) => {
                "Find out why the upstream does not answer in time."
            }
            Self::Upstream(
                UpstreamError::Closed { .. }
                | UpstreamError::HeadTooLong { .. }
                | UpstreamError::NotHttp { .. }
                | UpstreamError::AmbiguousFraming { .. }
                | UpstreamError::UnexpectedUpgrade { .. },
            ) => "Find out in the upstream's log why it answered as it did; it must speak HTTP/1.1.",
        }
    }

    /// Every rule of the decision, with this reason at the one that failed.
    pub(crate) fn rules(&self) -> Vec<RuleOutcome> {
        let failed = match self {
            Self::Method { .. } => METHOD,
            Self::Path { .. } | Self::Authority => PATH,
            Self::NoRoute { .. } | Self::MethodNotAllowed { .. } => ROUTE,
            Self::Upstream(_) => UPSTREAM,
        };
        let rules = RuleOutcome::list(&RULES, failed);
        rules
            .into_iter()
            .map(|rule| {
                if rule.outcome == Outcome::Failed {
                    self.describe(rule)
                } else {
                    rule
                }
            })
            .collect()
    }

    fn describe(&self, rule: RuleOutcome) -> RuleOutcome {
        match self {
            Self::Method { method } => rule.presented(Refusal::presented_text(method)),
            Self::Path { path, source } => rule.presented(Refusal::presented_text(path)).detail(source.to_string()),
            Self::Authority => rule,
            Self::NoRoute { path } => rule.presented(Refusal::presented_text(path)),
            Self::MethodNotAllowed { path, method, .. } => {
                rule.presented(Refusal::presented_text(&format!("{method} {path}")))
            }
            Self::Upstream(error) => rule.detail(error.to_string()),
        }
    }
}

/// Every rule of a decision that the resource server ended, its own rules in their place.
pub(crate) fn rules_around_token(token_rules: Vec<RuleOutcome>) -> Vec<RuleOutcome> {
    let own = RuleOutcome::list(&RULES, TOKEN);
    let mut rules: Vec<RuleOutcome> = Vec::with_capacity(own.len() + token_rules.len());
    let mut token_rules = Some(token_rules);
    for rule in own {
        match rule.outcome {
            Outcome::Failed => rules.extend(token_rules.take().unwrap_or_default()),
            Outcome::Passed | Outcome::NotReached => rules.push(rule),
        }
    }
    rules
}
