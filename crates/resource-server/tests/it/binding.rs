//! The certificate binding (RFC 8705 §3): what satisfies it and what does not, under each policy of a route.

use std::sync::Arc;

use keybound_protocol::access_token::AccessTokenError;
use keybound_protocol::confirmation::{BindingError, ConfirmationError};
use keybound_protocol::peer_certificate::{
    ForwardedCertificate, ForwardingError, INTERMEDIATES_MAX, PeerCertificate, PresentedCertificate,
};
use keybound_resource_server::{AcceptedAccessToken, AccessTokenRefusal, Binding, Check};
use serde_json::{Value, json};

use crate::pki::Party;
use crate::support::{
    AUDIENCE, ISSUER, NOW, check, failed_rule, parts, refused_as_invalid_token, resource_server, route,
};
use crate::token_issuer::TokenIssuer;

const BINDING_RULE: &str = "the certificate of this request is the one it is bound to";

// covers MTLS-3-11, MTLS-3-2, MTLS-3-4
#[test]
fn the_certificate_that_the_token_is_bound_to_is_accepted_whatever_it_is() {
    let issuer = TokenIssuer::new(ISSUER);
    let resource_server = resource_server(&issuer);
    for party in [Party::new("demo"), Party::self_signed("demo")] {
        let token = issuer.bound_token(&party.thumbprint(), AUDIENCE, NOW);
        let accepted = check(&resource_server, &token, &party.presented(), &route()).unwrap();
        let bound = accepted.as_bound().unwrap();
        assert_eq!(bound.certificate(), Some(&party.thumbprint()));
        assert_eq!(bound.claims().client_id.as_deref(), Some("demo"));
    }
}

// covers MTLS-6.2-1, MTLS-6.2-2, MTLS-6.2-3, TRAP-24
#[test]
fn neither_path_nor_validity_nor_purpose_nor_readability_of_the_certificate_is_judged() {
    let issuer = TokenIssuer::new(ISSUER);
    let resource_server = resource_server(&issuer);
    let expired = Party::expired_of_unknown_authority("anybody");
    let unreadable = PeerCertificate::assert_possession_proven(b"not a certificate".to_vec(), Vec::new());
    let thumbprint = *unreadable.thumbprint();
    for (thumbprint, presented) in [
        (expired.thumbprint(), expired.presented()),
        (thumbprint, PresentedCertificate::from_peer(unreadable)),
    ] {
        let token = issuer.bound_token(&thumbprint, AUDIENCE, NOW);
        assert!(check(&resource_server, &token, &presented, &route()).is_ok());
    }
}

// covers MTLS-3-12, MTLS-3-13, MTLS-4-6, MTLS-6.3-1, TRAP-23, TRAP-25
#[test]
fn every_other_way_to_come_is_401_invalid_token_with_its_own_reason() {
    let issuer = TokenIssuer::new(ISSUER);
    let resource_server = resource_server(&issuer);
    let (holder, other) = (Party::new("demo"), Party::new("demo"));
    let token = issuer.bound_token(&holder.thumbprint(), AUDIENCE, NOW);
    let too_long = PeerCertificate::assert_possession_proven(holder.der.clone(), vec![vec![]; INTERMEDIATES_MAX + 1]);
    let forwarding = ForwardingError::ChainWithoutCertificate;
    for (presented, reason) in [
        (PresentedCertificate::NotRequested, BindingError::NotRequested),
        (PresentedCertificate::None, BindingError::NoCertificate),
        (
            other.presented(),
            BindingError::Mismatch {
                presented: other.thumbprint(),
                expected: holder.thumbprint(),
            },
        ),
        (
            PresentedCertificate::from_peer(too_long),
            BindingError::ChainTooLong {
                presented_intermediates: 7,
            },
        ),
        (
            PresentedCertificate::ForwardingRefused(forwarding.clone()),
            BindingError::Forwarding(forwarding),
        ),
    ] {
        // A certificate that happens to be missing is no reason not to check (TRAP-25), whatever the policy about unbound tokens.
        for binding in [Binding::Required, Binding::Optional] {
            let policy = route().with_binding(binding);
            let refused = refused_as_invalid_token(check(&resource_server, &token, &presented, &policy));
            let AccessTokenRefusal::Binding(error) = refused.reason() else {
                panic!("{:?}", refused.reason())
            };
            assert_eq!(*error, reason);
            assert_eq!(failed_rule(&refused).rule, BINDING_RULE);
            assert_eq!(refused.claims().unwrap().client_id.as_deref(), Some("demo"));
        }
    }
}

#[test]
fn a_mismatch_shows_both_thumbprints_to_the_operator_and_neither_to_the_caller() {
    let issuer = TokenIssuer::new(ISSUER);
    let (holder, other) = (Party::new("demo"), Party::new("demo"));
    let token = issuer.bound_token(&holder.thumbprint(), AUDIENCE, NOW);
    let refused = refused_as_invalid_token(check(&resource_server(&issuer), &token, &other.presented(), &route()));
    let rule = failed_rule(&refused);
    assert_eq!(rule.presented.unwrap(), other.thumbprint().to_string());
    assert_eq!(rule.registered.unwrap(), holder.thumbprint().to_string());
    let wire = format!("{:?} {}", refused.challenge(), refused.body());
    assert!(!wire.contains(&holder.thumbprint().to_string()) && !wire.contains(&other.thumbprint().to_string()));
}

// covers TRAP-25
#[test]
fn a_token_without_a_binding_passes_only_where_the_route_says_so() {
    let issuer = TokenIssuer::new(ISSUER);
    let resource_server = resource_server(&issuer);
    let token = issuer.sign(&issuer.header(), &issuer.claims(AUDIENCE, NOW));
    for presented in [
        PresentedCertificate::NotRequested,
        PresentedCertificate::None,
        Party::new("demo").presented(),
    ] {
        let refused = refused_as_invalid_token(check(&resource_server, &token, &presented, &route()));
        assert!(matches!(refused.reason(), AccessTokenRefusal::Unbound));
        assert_eq!(
            failed_rule(&refused).rule,
            "bound to a certificate (cnf.x5t#S256) or a key (cnf.jkt)"
        );
        for binding in [Binding::Optional, Binding::None] {
            let accepted = check(&resource_server, &token, &presented, &route().with_binding(binding)).unwrap();
            assert!(matches!(accepted, AcceptedAccessToken::Bearer(_)));
            assert!(accepted.as_bound().is_none());
        }
    }
}

/// A token with this `cnf`, presented by `party`, must be refused for the expected reason.
fn check_refused(cnf: &Value, party: &Party, binding: Binding, is_expected: fn(&ConfirmationError) -> bool) {
    let issuer = TokenIssuer::new(ISSUER);
    let mut claims = issuer.claims(AUDIENCE, NOW);
    claims["cnf"] = cnf.clone();
    let token = issuer.sign(&issuer.header(), &claims);
    let policy = route().with_binding(binding);
    let refused = refused_as_invalid_token(check(&resource_server(&issuer), &token, &party.presented(), &policy));
    let AccessTokenRefusal::Token(AccessTokenError::Confirmation(error)) = refused.reason() else {
        panic!("{cnf}: {:?}", refused.reason())
    };
    assert!(is_expected(error), "{cnf}: {error:?}");
    assert_eq!(failed_rule(&refused).rule, "confirmation can be verified");
}

// covers TRAP-26, R7800-2, MTLS-7.2-1
#[test]
fn a_confirmation_that_cannot_be_verified_is_never_taken_for_none() {
    let party = Party::new("demo");
    let thumbprint = party.thumbprint().to_string();
    for cnf in [
        json!({"jwk": {"kty": "EC"}}),
        json!({"kid": "1"}),
        json!({"foo": "bar"}),
        json!({}),
        // The SHA-1 thumbprint is no binding (RFC 8705 §7.2).
        json!({"x5t": "T8Qp8fPmVYqb9iHyzQUaAbxBedY"}),
        // Both proofs are asked for, and one cannot be given.
        json!({"jwk": {"kty": "EC"}, "x5t#S256": thumbprint}),
    ] {
        for binding in [Binding::Required, Binding::Optional] {
            check_refused(&cnf, &party, binding, |error| {
                matches!(error, ConfirmationError::Unsupported { .. })
            });
        }
    }
    for cnf in [json!(null), json!("x"), json!([]), json!(thumbprint)] {
        check_refused(&cnf, &party, Binding::Optional, |error| {
            matches!(error, ConfirmationError::Malformed(_))
        });
    }
}

// covers TRAP-2, MTLS-7.2-1
#[test]
fn only_the_one_spelling_of_a_thumbprint_is_read() {
    let party = Party::new("demo");
    let text = party.thumbprint().to_string();
    let standard = text.replace('-', "+").replace('_', "/");
    let mut spellings = vec![
        format!("{text}="),
        format!(" {text}"),
        format!("{text}\n"),
        text[..42].to_owned(),
        party.thumbprint().to_hex(),
        String::new(),
    ];
    if standard != text {
        spellings.push(standard);
    }
    // The last of 43 characters carries two bits that are always zero: three more characters would decode alike.
    let last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let position = last.find(&text[42..]).unwrap();
    for stray in 1..4 {
        spellings.push(format!("{}{}", &text[..42], &last[position + stray..=position + stray]));
    }
    for spelling in spellings {
        let cnf = json!({"x5t#S256": spelling});
        check_refused(&cnf, &party, Binding::Required, |error| {
            matches!(error, ConfirmationError::Thumbprint(_))
        });
    }
}

// covers R7800-2
#[test]
fn members_that_are_no_confirmation_are_ignored_beside_one_that_is() {
    let issuer = TokenIssuer::new(ISSUER);
    let party = Party::new("demo");
    let mut claims = issuer.claims(AUDIENCE, NOW);
    claims["cnf"] = json!({"x5t#S256": party.thumbprint(), "foo": {"x5t#S256": "other"}});
    let token = issuer.sign(&issuer.header(), &claims);
    let resource_server = resource_server(&issuer);
    assert!(check(&resource_server, &token, &party.presented(), &route()).is_ok());
    // They satisfy nothing, either.
    let other = check(&resource_server, &token, &Party::new("other").presented(), &route());
    refused_as_invalid_token(other);
}

// covers MTLS-3-10
#[test]
fn a_certificate_in_a_header_is_never_looked_at() {
    let issuer = TokenIssuer::new(ISSUER);
    let resource_server = resource_server(&issuer);
    let holder = Party::new("demo");
    let token = format!("Bearer {}", issuer.bound_token(&holder.thumbprint(), AUDIENCE, NOW));
    let presented = holder.presented();
    let value = presented
        .end_entity()
        .unwrap()
        .client_cert_value()
        .to_str()
        .unwrap()
        .to_owned();
    let thumbprint = holder.thumbprint().to_string();
    for name in [
        "client-cert",
        "x-forwarded-client-cert",
        "x-ssl-client-cert",
        "ssl-client-cert",
        "x-amzn-mtls-clientcert",
    ] {
        for value in [&value, &thumbprint] {
            let parts = parts(&[("authorization", &token), (name, value)]);
            let Check::Done(verdict) = resource_server.check(&parts, &PresentedCertificate::None, &route(), NOW) else {
                panic!()
            };
            refused_as_invalid_token(verdict);
        }
    }
}

#[test]
fn a_forwarded_certificate_counts_like_a_proven_one() {
    let issuer = TokenIssuer::new(ISSUER);
    let holder = Party::new("demo");
    let forwarded =
        ForwardedCertificate::assert_from_configured_proxy(holder.der.clone(), Vec::new(), "10.0.0.1".to_owned());
    let token = issuer.bound_token(&holder.thumbprint(), AUDIENCE, NOW);
    let presented = PresentedCertificate::Forwarded(Arc::new(forwarded));
    assert!(check(&resource_server(&issuer), &token, &presented, &route()).is_ok());
}
