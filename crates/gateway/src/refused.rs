//! A request that is not forwarded, or whose upstream failed: what is recorded, and what the caller sees.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_protocol::refusal::{CertificateSummary, REFUSAL_ID_RANDOM_BYTES, Refusal, RefusalId, RefusalSource};
use keybound_protocol::rule::{Outcome, RuleOutcome};
use keybound_protocol::time::Timestamp;
use keybound_resource_server::{DPOP_NONCE, Refused as TokenRefused};
use keybound_tls::service::refusal_response;
use keybound_tls::{LayerRefusal, ResponseBody};

use crate::gateway::Environment;
use crate::reason::{self, Reason};
use crate::route::Route;
use crate::upstream::UpstreamError;

/// The header that carries a refusal's id.
pub const KEYBOUND_REFUSAL: HeaderName = HeaderName::from_static("keybound-refusal");

/// Who refused a request.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The gateway itself.
    Own(Reason),
    /// The resource server: the token, or what it needs to judge it.
    Token(Box<TokenRefused>),
    /// The listener.
    Layer(LayerRefusal),
}

/// What is known about a refused request.
pub(crate) struct Circumstances<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) now: Timestamp,
    pub(crate) method: &'a Method,
    pub(crate) target: Option<&'a PathAndQuery>,
    pub(crate) route: Option<&'a Route>,
    /// The client that an accepted token names.
    pub(crate) client_id: Option<&'a str>,
    pub(crate) presented: &'a PresentedCertificate,
    pub(crate) remote_address: IpAddr,
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Self::Own(reason)
    }
}

impl From<UpstreamError> for Refused {
    fn from(error: UpstreamError) -> Self {
        Self::Own(Reason::Upstream(error))
    }
}

impl From<Box<TokenRefused>> for Refused {
    fn from(refused: Box<TokenRefused>) -> Self {
        Self::Token(refused)
    }
}

impl Refused {
    /// A stable name for counters and logs.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Own(reason) => reason.name(),
            Self::Token(refused) => refused.code().map_or("no_token", ErrorCode::as_str),
            Self::Layer(refusal) => refusal.name(),
        }
    }

    /// The answer, and the record under the id that the answer carries.
    pub(crate) fn answer(&self, circumstances: &Circumstances<'_>) -> (Response<ResponseBody>, Arc<Refusal>) {
        let mut random = [0; REFUSAL_ID_RANDOM_BYTES];
        (circumstances.environment.random)(&mut random);
        let id = RefusalId::from_random(RefusalSource::Gateway, random);
        let mut response = self.response();
        // The id's alphabet is visible ASCII.
        if let Ok(value) = HeaderValue::from_str(id.as_str()) {
            response.headers_mut().insert(KEYBOUND_REFUSAL, value);
        }
        let refusal = self.record(id, response.status(), circumstances);
        (response, Arc::new(refusal))
    }

    fn response(&self) -> Response<ResponseBody> {
        match self {
            Self::Own(reason) => {
                let mut response = json(reason.status(), error_body(reason.code(), reason.description()).into());
                match reason {
                    Reason::MethodNotAllowed { allow, .. } => {
                        response.headers_mut().insert(ALLOW, allow.clone());
                    }
                    Reason::Upstream(UpstreamError::Saturated { .. }) => {
                        response
                            .headers_mut()
                            .insert(RETRY_AFTER, HeaderValue::from_static("1"));
                    }
                    _ => {}
                }
                response
            }
            Self::Token(refused) => {
                let body = refused.body();
                let mut response = match body.is_empty() {
                    true => no_store(refused.status(), ResponseBody::Empty),
                    false => json(refused.status(), body.into()),
                };
                let headers = response.headers_mut();
                for challenge in refused.challenges() {
                    headers.append(WWW_AUTHENTICATE, challenge);
                }
                if let Some(nonce) = refused.dpop_nonce() {
                    headers.insert(DPOP_NONCE, nonce);
                }
                if let Some(retry_after) = refused.retry_after() {
                    headers.insert(RETRY_AFTER, retry_after);
                }
                response
            }
            Self::Layer(refusal) => refusal_response(refusal),
        }
    }

    fn record(&self, id: RefusalId, status: StatusCode, circumstances: &Circumstances<'_>) -> Refusal {
        let path = circumstances.target.map_or("", PathAndQuery::path);
        let place = match circumstances.route {
            Some(route) => format!("{} {path} (route {})", circumstances.method, route.path()),
            None => format!("{} {path}", circumstances.method),
        };
        Refusal {
            id,
            at: circumstances.now,
            endpoint: Refusal::presented_text(place.trim()),
            status: status.as_u16(),
            error_code: self.code(),
            client_id: self
                .client_id(circumstances)
                .map(|client_id| Refusal::presented_text(&client_id)),
            remote_address: Some(circumstances.remote_address),
            certificate: circumstances.presented.end_entity().map(CertificateSummary::of),
            reason: self.reason(),
            rules: self.rules(),
            fix: self.fix(),
        }
        .bounded()
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Own(reason) => Some(reason.code()),
            Self::Token(refused) => refused.code(),
            Self::Layer(_) => None,
        }
    }

    fn client_id<'a>(&'a self, circumstances: &Circumstances<'a>) -> Option<Cow<'a, str>> {
        let refused = match self {
            Self::Token(refused) => refused.claims().and_then(|claims| claims.client_id.as_deref()),
            Self::Own(_) | Self::Layer(_) => None,
        };
        refused.or(circumstances.client_id).map(Cow::from)
    }

    fn reason(&self) -> String {
        match self {
            Self::Own(reason) => Refusal::reason_of(reason),
            Self::Token(refused) => Refusal::reason_of(refused.reason()),
            Self::Layer(refusal) => Refusal::reason_of(refusal),
        }
    }

    fn rules(&self) -> Vec<RuleOutcome> {
        match self {
            Self::Own(reason) => reason.rules(),
            Self::Token(refused) => reason::rules_around_token(refused.rules()),
            Self::Layer(refusal) => {
                let mut rules = RuleOutcome::list(&LayerRefusal::RULES, refusal.rule());
                for rule in rules.iter_mut().filter(|rule| rule.outcome == Outcome::Failed) {
                    rule.detail = Some(Refusal::reason_of(refusal));
                }
                rules
            }
        }
    }

    fn fix(&self) -> Option<String> {
        match self {
            Self::Own(reason) => Some(reason.fix().to_owned()),
            Self::Token(refused) => Some(refused.fix()),
            Self::Layer(refusal) => Some(refusal.fix().to_owned()),
        }
    }
}

fn error_body(code: ErrorCode, description: &str) -> String {
    // Neither text has a character that JSON escapes.
    format!(r#"{{"error":"{code}","error_description":"{description}"}}"#)
}

fn json(status: StatusCode, body: ResponseBody) -> Response<ResponseBody> {
    let mut response = no_store(status, body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A refusal depends on the caller's certificate and is nobody else's (RFC 9440 §2.4).
fn no_store(status: StatusCode, body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
