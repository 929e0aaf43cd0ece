//! Where a token may be, and what is said of one that is missing or damaged (RFC 6750).

use http::{Request, StatusCode};
use keybound_protocol::bearer::{BearerError, TOKEN_BYTES_MAX};
use keybound_protocol::challenge::PresentedChallenge;
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_protocol::scope::Scope;
use keybound_resource_server::{AccessTokenRefusal, Binding, Check, Refused};

use crate::pki::Party;
use crate::support::{AUDIENCE, ISSUER, NOW, check, failed_rule, parts, resource_server, route, with_token};
use crate::token_issuer::TokenIssuer;

/// The refusal of a request with these headers.
fn refusal(headers: &[(&str, &str)]) -> Box<Refused> {
    let resource_server = resource_server(&TokenIssuer::new(ISSUER));
    match resource_server.check(&parts(headers), &PresentedCertificate::None, &route(), NOW) {
        Check::Done(verdict) => verdict.unwrap_err(),
        Check::Pending(_) => panic!("nothing to wait for"),
    }
}

// covers R6750-3
#[test]
fn a_request_without_a_token_is_told_the_scheme_and_no_error() {
    for headers in [&[][..], &[("authorization", "Basic eA==")]] {
        let refused = refusal(headers);
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(refused.challenge().unwrap(), r#"Bearer realm="https://api.example""#);
        assert_eq!(refused.body(), "");
        assert!(matches!(
            refused.reason(),
            AccessTokenRefusal::Bearer(BearerError::Missing | BearerError::OtherScheme)
        ));
        assert_eq!(
            failed_rule(&refused).rule,
            "one access token in the Authorization header"
        );
    }
}

// covers R6750-1, R6750-4
#[test]
fn more_than_one_authorization_header_is_an_invalid_request() {
    let issuer = TokenIssuer::new(ISSUER);
    let party = Party::new("demo");
    let token = format!("Bearer {}", issuer.bound_token(&party.thumbprint(), AUDIENCE, NOW));
    for headers in [
        [("authorization", token.as_str()), ("authorization", token.as_str())],
        [("authorization", token.as_str()), ("Authorization", "Basic eA==")],
        [("authorization", "Basic eA=="), ("authorization", token.as_str())],
    ] {
        let refused = refusal(&headers);
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        assert!(matches!(
            refused.reason(),
            AccessTokenRefusal::Bearer(BearerError::Repeated)
        ));
        let challenge = refused.challenge().unwrap();
        assert!(
            challenge.to_str().unwrap().contains(r#"error="invalid_request""#),
            "{challenge:?}"
        );
    }
}

// covers R6750-3, R6750-4
#[test]
fn a_damaged_authorization_header_is_refused_by_its_reason() {
    let long = format!("Bearer {}", "a".repeat(TOKEN_BYTES_MAX + 1));
    for (value, expected, status) in [
        ("Bearer", BearerError::Empty, StatusCode::BAD_REQUEST),
        ("Bearer  ", BearerError::Empty, StatusCode::BAD_REQUEST),
        ("Bearer a b", BearerError::Syntax, StatusCode::UNAUTHORIZED),
        ("Bearer \"a\"", BearerError::Syntax, StatusCode::UNAUTHORIZED),
        ("Bearer a,b", BearerError::Syntax, StatusCode::UNAUTHORIZED),
        (&long, BearerError::TooLong, StatusCode::UNAUTHORIZED),
    ] {
        let refused = refusal(&[("authorization", value)]);
        let AccessTokenRefusal::Bearer(error) = refused.reason() else {
            panic!("{:?}", refused.reason())
        };
        assert_eq!((*error, refused.status()), (expected, status), "{value:.20}");
    }
}

// covers R6750-2, R6750-1
#[test]
fn a_token_in_the_query_or_in_another_header_is_not_looked_for() {
    let issuer = TokenIssuer::new(ISSUER);
    let party = Party::new("demo");
    let token = issuer.bound_token(&party.thumbprint(), AUDIENCE, NOW);
    let request = Request::get(format!("/?access_token={token}"))
        .header("access-token", &token)
        .header("x-access-token", &token)
        .header("proxy-authorization", format!("Bearer {token}"))
        .body(())
        .unwrap();
    let (parts, ()) = request.into_parts();
    let Check::Done(verdict) = resource_server(&issuer).check(&parts, &party.presented(), &route(), NOW) else {
        panic!()
    };
    let refused = verdict.unwrap_err();
    assert!(
        matches!(refused.reason(), AccessTokenRefusal::Bearer(BearerError::Missing)),
        "{:?}",
        refused.reason()
    );
}

// covers R6750-1
#[test]
fn the_scheme_is_compared_without_case() {
    let issuer = TokenIssuer::new(ISSUER);
    let party = Party::new("demo");
    let token = issuer.bound_token(&party.thumbprint(), AUDIENCE, NOW);
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let parts = parts(&[("authorization", &format!("{scheme} {token}"))]);
        let Check::Done(verdict) = resource_server(&issuer).check(&parts, &party.presented(), &route(), NOW) else {
            panic!()
        };
        assert!(verdict.is_ok(), "{scheme}");
    }
}

// covers R6749-14, R6750-4, TRAP-23
#[test]
fn a_scope_that_does_not_suffice_is_403_with_the_scope_that_would() {
    let issuer = TokenIssuer::new(ISSUER);
    let party = Party::new("demo");
    let token = issuer.bound_token(&party.thumbprint(), AUDIENCE, NOW);
    let resource_server = resource_server(&issuer);
    for (required, sufficient) in [
        ("read", true),
        ("read write", true),
        ("admin", false),
        ("read admin", false),
        ("Read", false),
        ("rea", false),
    ] {
        let policy = route().with_scopes(Scope::parse(required).unwrap());
        let verdict = check(&resource_server, &token, &party.presented(), &policy);
        if sufficient {
            assert!(verdict.is_ok(), "{required}");
            continue;
        }
        let refused = verdict.unwrap_err();
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
        let challenge = PresentedChallenge::parse(refused.challenge().unwrap().to_str().unwrap()).unwrap();
        assert_eq!(challenge.error.as_deref(), Some("insufficient_scope"));
        assert_eq!(challenge.scope.as_deref(), Some(required));
        let rule = failed_rule(&refused);
        assert_eq!(rule.presented.as_deref(), Some("read write"));
        assert_eq!(rule.registered.as_deref(), Some(required));
        // The binding comes first: whoever does not hold the certificate learns nothing about scopes.
        let stolen = check(&resource_server, &token, &PresentedCertificate::None, &policy).unwrap_err();
        assert!(matches!(stolen.reason(), AccessTokenRefusal::Binding(_)));
        assert_eq!(stolen.status(), StatusCode::UNAUTHORIZED);
    }
}

// covers R6750-3
#[test]
fn no_challenge_repeats_a_parameter() {
    let issuer = TokenIssuer::new(ISSUER);
    let party = Party::new("demo");
    let token = issuer.bound_token(&party.thumbprint(), AUDIENCE, NOW);
    let policy = route()
        .with_scopes(Scope::parse("admin").unwrap())
        .with_binding(Binding::Optional);
    let resource_server = resource_server(&issuer);
    let requests = [
        parts(&[]),
        with_token("damaged token"),
        with_token("damaged"),
        with_token(&token),
    ];
    for parts in requests {
        for presented in [PresentedCertificate::None, party.presented()] {
            let Check::Done(verdict) = resource_server.check(&parts, &presented, &policy, NOW) else {
                panic!()
            };
            let challenge = verdict.unwrap_err().challenge().unwrap();
            // The reader refuses repeated parameters.
            let challenge = PresentedChallenge::parse(challenge.to_str().unwrap()).unwrap();
            assert_eq!(challenge.realm.as_deref(), Some(AUDIENCE));
        }
    }
}
