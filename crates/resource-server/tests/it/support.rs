//! What most tests need: an issuer, a resource server that knows its key, a request, a verdict.

use http::{HeaderMap, Request, StatusCode, request::Parts};
use keybound_protocol::issuer::Issuer;
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_protocol::rule::{Outcome, RuleOutcome};
use keybound_protocol::time::Timestamp;
use keybound_resource_server::{
    Check, IssuerSettings, KeySource, Refused, ResourceServer, RoutePolicy, Validation, Verdict,
};

use crate::token_issuer::TokenIssuer;

/// When everything happens, unless a test says otherwise.
pub(crate) const NOW: Timestamp = Timestamp::from_unix_secs(1_800_000_000);
pub(crate) const ISSUER: &str = "https://as.example";
pub(crate) const AUDIENCE: &str = "https://api.example";

pub(crate) fn issuer(text: &str) -> Issuer {
    Issuer::parse(text).unwrap()
}

/// The route that most tests are about: bound tokens alone, any scope.
pub(crate) fn route() -> RoutePolicy {
    RoutePolicy::new(AUDIENCE.parse().unwrap())
}

pub(crate) fn settings(token_issuer: &TokenIssuer) -> IssuerSettings {
    IssuerSettings::new(
        issuer(&token_issuer.issuer),
        Validation::Local(KeySource::Static(token_issuer.keys())),
    )
}

/// A resource server that knows the key of this issuer and of no other.
pub(crate) fn resource_server(token_issuer: &TokenIssuer) -> ResourceServer {
    ResourceServer::new(vec![settings(token_issuer)]).unwrap()
}

pub(crate) fn parts(headers: &[(&str, &str)]) -> Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    parts.headers = map;
    parts
}

pub(crate) fn with_token(token: &str) -> Parts {
    parts(&[("authorization", &format!("Bearer {token}"))])
}

/// The verdict that needs no waiting.
pub(crate) fn check(
    resource_server: &ResourceServer,
    token: &str,
    presented: &PresentedCertificate,
    policy: &RoutePolicy,
) -> Verdict {
    match resource_server.check(&with_token(token), presented, policy, NOW) {
        Check::Done(verdict) => verdict,
        Check::Pending(_) => panic!("everything is here to decide"),
    }
}

/// The refusal of a request whose token, if it gets that far, says nothing wrong on the wire: 401 `invalid_token`, one challenge.
pub(crate) fn refused_as_invalid_token(verdict: Verdict) -> Box<Refused> {
    let refused = verdict.unwrap_err();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let challenge = refused.challenge().unwrap();
    assert_eq!(
        challenge,
        r#"Bearer realm="https://api.example", error="invalid_token", error_description="the access token is not valid for this request""#
    );
    assert_eq!(
        refused.body(),
        r#"{"error":"invalid_token","error_description":"the access token is not valid for this request"}"#
    );
    refused
}

/// The one rule that failed; what is before it passed, what is after it was not reached.
pub(crate) fn failed_rule(refused: &Refused) -> RuleOutcome {
    let rules = refused.rules();
    let position = rules.iter().position(|rule| rule.outcome == Outcome::Failed).unwrap();
    assert!(
        rules[..position].iter().all(|rule| rule.outcome == Outcome::Passed),
        "{rules:?}"
    );
    assert!(
        rules[position + 1..]
            .iter()
            .all(|rule| rule.outcome == Outcome::NotReached),
        "{rules:?}"
    );
    assert!(!refused.fix().is_empty());
    rules[position].clone()
}
