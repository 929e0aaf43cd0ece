//! Revocations reach tokens that were already verified.

use std::time::Duration;

use http::HeaderMap;
use keybound_protocol::access_token::AccessTokenError;
use keybound_protocol::client::ClientId;
use keybound_protocol::jws::JwsError;
use keybound_protocol::time::Timestamp;
use keybound_resource_server::{
    AccessTokenRefusal, Caller, Check, DENIALS_MAX, Denial, DeniedSubject, DenyListFull, LastToken, ResourceServer,
    RunningToken,
};
use serde_json::json;

use crate::pki::Party;
use crate::support::{
    AUDIENCE, ISSUER, NOW, check, failed_rule, issuer, refused_as_invalid_token, resource_server, route, settings,
};
use crate::token_issuer::TokenIssuer;

fn later(secs: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(secs))
}

fn denial(subject: DeniedSubject) -> Denial {
    Denial {
        subject,
        issued_before: None,
        until: later(3600),
    }
}

// covers TRAP-28
#[test]
fn whatever_is_denied_is_refused_from_the_next_request_on() {
    let token_issuer = TokenIssuer::new(ISSUER);
    let party = Party::new("demo");
    let token = token_issuer.bound_token(&party.thumbprint(), AUDIENCE, NOW);
    for subject in [
        DeniedSubject::Token("token-1".to_owned()),
        DeniedSubject::Client(ClientId::parse("demo").unwrap()),
        DeniedSubject::Certificate(party.thumbprint()),
        DeniedSubject::SigningKey(token_issuer.signer.key_id().to_owned()),
    ] {
        let resource_server = resource_server(&token_issuer);
        assert!(check(&resource_server, &token, &party.presented(), &route()).is_ok());
        let deny_list = resource_server.deny_list(&issuer(ISSUER)).unwrap();
        deny_list.apply([denial(subject.clone())], NOW).unwrap();
        for _ in 0..2 {
            let refused = refused_as_invalid_token(check(&resource_server, &token, &party.presented(), &route()));
            assert!(
                matches!(refused.reason(), AccessTokenRefusal::Denied { subject: denied } if *denied == subject),
                "{:?}",
                refused.reason()
            );
            assert_eq!(failed_rule(&refused).rule, "not revoked");
        }
        assert_eq!(deny_list.len(), 1);
    }
}

#[test]
fn what_is_denied_of_others_changes_nothing() {
    let token_issuer = TokenIssuer::new(ISSUER);
    let other = TokenIssuer::new("https://other.example");
    let party = Party::new("demo");
    let resource_server = ResourceServer::new(vec![settings(&token_issuer), settings(&other)]).unwrap();
    let token = token_issuer.bound_token(&party.thumbprint(), AUDIENCE, NOW);
    let own = resource_server.deny_list(&issuer(ISSUER)).unwrap();
    own.apply([denial(DeniedSubject::Token("token-2".to_owned()))], NOW)
        .unwrap();
    // The same words at another issuer mean other things.
    let foreign = resource_server.deny_list(&issuer(&other.issuer)).unwrap();
    foreign
        .apply([denial(DeniedSubject::Token("token-1".to_owned()))], NOW)
        .unwrap();
    foreign
        .apply([denial(DeniedSubject::Client(ClientId::parse("demo").unwrap()))], NOW)
        .unwrap();
    assert!(check(&resource_server, &token, &party.presented(), &route()).is_ok());
    assert!(resource_server.deny_list(&issuer("https://third.example")).is_none());
}

#[test]
fn a_denial_of_older_tokens_leaves_younger_ones_and_catches_those_without_a_date() {
    let token_issuer = TokenIssuer::new(ISSUER);
    let party = Party::new("demo");
    let resource_server = resource_server(&token_issuer);
    let token_issued_at = |issued_at: Option<i64>| {
        let mut claims = token_issuer.claims(AUDIENCE, NOW);
        claims["cnf"] = json!({"x5t#S256": party.thumbprint()});
        match issued_at {
            Some(issued_at) => claims["iat"] = json!(issued_at),
            None => drop(claims.as_object_mut().unwrap().remove("iat")),
        }
        token_issuer.sign(&token_issuer.header(), &claims)
    };
    let deny_list = resource_server.deny_list(&issuer(ISSUER)).unwrap();
    let subject = DeniedSubject::Client(ClientId::parse("demo").unwrap());
    deny_list
        .apply(
            [Denial {
                subject: subject.clone(),
                issued_before: Some(NOW),
                until: later(3600),
            }],
            NOW,
        )
        .unwrap();
    let now = NOW.unix_secs();
    for (issued_at, accepted) in [
        (Some(now - 1), false),
        (Some(now), true),
        (Some(now + 10), true),
        (None, false),
    ] {
        let verdict = check(
            &resource_server,
            &token_issued_at(issued_at),
            &party.presented(),
            &route(),
        );
        assert_eq!(verdict.is_ok(), accepted, "{issued_at:?}");
    }
    // A second entry for the same subject can only deny more.
    let earlier = Denial {
        subject,
        issued_before: Some(NOW.minus(Duration::from_secs(60))),
        until: later(10),
    };
    deny_list.apply([earlier], NOW).unwrap();
    assert!(
        check(
            &resource_server,
            &token_issued_at(Some(now - 1)),
            &party.presented(),
            &route()
        )
        .is_err()
    );
}

#[test]
fn a_token_does_not_escape_the_denial_of_its_key_by_not_naming_it() {
    let token_issuer = TokenIssuer::new(ISSUER);
    let party = Party::new("demo");
    let mut header = token_issuer.header();
    header.as_object_mut().unwrap().remove("kid");
    let mut claims = token_issuer.claims(AUDIENCE, NOW);
    claims["cnf"] = json!({"x5t#S256": party.thumbprint()});
    let token = token_issuer.sign(&header, &claims);
    let resource_server = resource_server(&token_issuer);
    assert!(check(&resource_server, &token, &party.presented(), &route()).is_ok());
    let denied = DeniedSubject::SigningKey(token_issuer.signer.key_id().to_owned());
    resource_server
        .deny_list(&issuer(ISSUER))
        .unwrap()
        .apply([denial(denied)], NOW)
        .unwrap();
    let refused = refused_as_invalid_token(check(&resource_server, &token, &party.presented(), &route()));
    assert!(
        matches!(refused.reason(), AccessTokenRefusal::Denied { .. }),
        "{:?}",
        refused.reason()
    );
}

#[test]
fn expired_denials_make_room_and_a_full_list_says_so() {
    let token_issuer = TokenIssuer::new(ISSUER);
    let resource_server = resource_server(&token_issuer);
    let deny_list = resource_server.deny_list(&issuer(ISSUER)).unwrap();
    let many = |count: usize, until| {
        (0..count).map(move |n| Denial {
            subject: DeniedSubject::Token(n.to_string()),
            issued_before: None,
            until,
        })
    };
    deny_list.apply(many(DENIALS_MAX, later(10)), NOW).unwrap();
    let one_more = denial(DeniedSubject::Token("one more".to_owned()));
    assert_eq!(deny_list.apply([one_more.clone()], NOW), Err(DenyListFull));
    assert_eq!(deny_list.len(), DENIALS_MAX);
    deny_list.apply([one_more], later(10)).unwrap();
    assert_eq!(deny_list.len(), 1);
    assert!(!deny_list.is_empty());
}

// covers R9068-5
#[test]
fn tokens_of_a_replaced_key_are_refused_from_the_next_request_on() {
    let (old, new) = (TokenIssuer::new(ISSUER), TokenIssuer::new(ISSUER));
    let party = Party::new("demo");
    let resource_server = resource_server(&old);
    let token = old.bound_token(&party.thumbprint(), AUDIENCE, NOW);
    assert!(check(&resource_server, &token, &party.presented(), &route()).is_ok());
    // The same keys again are no change.
    assert!(resource_server.replace_keys(&issuer(ISSUER), old.keys()));
    assert!(check(&resource_server, &token, &party.presented(), &route()).is_ok());
    assert!(resource_server.replace_keys(&issuer(ISSUER), new.keys()));
    let refused = refused_as_invalid_token(check(&resource_server, &token, &party.presented(), &route()));
    assert!(
        matches!(
            refused.reason(),
            AccessTokenRefusal::Token(AccessTokenError::Signature(JwsError::UnknownKey { .. }))
        ),
        "{:?}",
        refused.reason()
    );
    let token = new.bound_token(&party.thumbprint(), AUDIENCE, NOW);
    assert!(check(&resource_server, &token, &party.presented(), &route()).is_ok());
    assert!(!resource_server.replace_keys(&issuer("https://other.example"), new.keys()));
}

#[test]
fn what_is_running_can_ask_whether_its_token_was_revoked_meanwhile() {
    let token_issuer = TokenIssuer::new(ISSUER);
    let party = Party::new("demo");
    let token = token_issuer.bound_token(&party.thumbprint(), AUDIENCE, NOW);
    for subject in [
        DeniedSubject::Token("token-1".to_owned()),
        DeniedSubject::SigningKey(token_issuer.signer.key_id().to_owned()),
    ] {
        let resource_server = resource_server(&token_issuer);
        let accepted = check(&resource_server, &token, &party.presented(), &route()).unwrap();
        let running = resource_server.follow(&accepted, &HeaderMap::new(), &party.presented(), &route(), NOW);
        assert!(running.refusal(NOW).is_none());
        let deny_list = resource_server.deny_list(&issuer(ISSUER)).unwrap();
        deny_list.apply([denial(subject.clone())], NOW).unwrap();
        assert_denied(&running, &subject);
    }
}

fn assert_denied(running: &RunningToken, expected: &DeniedSubject) {
    let refused = refused_as_invalid_token(Err(running.refusal(NOW).unwrap()));
    match refused.reason() {
        AccessTokenRefusal::Denied { subject } => assert_eq!(subject, expected),
        other => panic!("{other}"),
    }
}

#[test]
fn other_settings_forget_no_revocation_and_verify_every_token_again() {
    let (token_issuer, other) = (TokenIssuer::new(ISSUER), TokenIssuer::new("https://other.example"));
    let party = Party::new("demo");
    let before = resource_server(&token_issuer);
    let (good, revoked) = (token_issuer.bound_token(&party.thumbprint(), AUDIENCE, NOW), {
        let mut claims = token_issuer.claims(AUDIENCE, NOW);
        claims["jti"] = json!("token-2");
        claims["cnf"] = json!({"x5t#S256": party.thumbprint()});
        token_issuer.sign(&token_issuer.header(), &claims)
    });
    let accepted = check(&before, &revoked, &party.presented(), &route()).unwrap();
    let subject = DeniedSubject::Token("token-2".to_owned());
    before
        .deny_list(&issuer(ISSUER))
        .unwrap()
        .apply([denial(subject.clone())], NOW)
        .unwrap();

    // The issuer stands elsewhere in the list now.
    let after = before
        .reconfigured(vec![settings(&other), settings(&token_issuer)])
        .unwrap();
    assert!(check(&after, &good, &party.presented(), &route()).is_ok());
    let refused = refused_as_invalid_token(check(&after, &revoked, &party.presented(), &route()));
    assert!(matches!(refused.reason(), AccessTokenRefusal::Denied { .. }));
    let running = after.follow(&accepted, &HeaderMap::new(), &party.presented(), &route(), NOW);
    assert_denied(&running, &subject);
    // What is revoked later holds for both, as long as both serve.
    let later_subject = DeniedSubject::Token("token-1".to_owned());
    before
        .deny_list(&issuer(ISSUER))
        .unwrap()
        .apply([denial(later_subject)], NOW)
        .unwrap();
    assert!(check(&after, &good, &party.presented(), &route()).is_err());

    // Stricter settings hold for tokens that were verified before.
    let fresh = resource_server(&token_issuer);
    assert!(check(&fresh, &good, &party.presented(), &route()).is_ok());
    let mut strict = settings(&token_issuer);
    strict.algorithms = vec![keybound_protocol::signature_algorithm::SignatureAlgorithm::Ps256];
    let strict = fresh.reconfigured(vec![strict]).unwrap();
    refused_as_invalid_token(check(&strict, &good, &party.presented(), &route()));
    assert!(fresh.reconfigured(Vec::new()).is_err());
}

// A connection that stays open over a reload remembers what the settings of before vouched for.
#[test]
fn a_connection_does_not_carry_a_token_over_to_other_settings() {
    let (removed, kept) = (TokenIssuer::new("https://removed.example"), TokenIssuer::new(ISSUER));
    let party = Party::new("demo");
    let parts = crate::support::with_token(&removed.bound_token(&party.thumbprint(), AUDIENCE, NOW));
    let before = ResourceServer::new(vec![settings(&removed), settings(&kept)]).unwrap();
    let after = before.reconfigured(vec![settings(&kept)]).unwrap();
    let connection = LastToken::default();
    let verdict = |resource_server: &ResourceServer| match resource_server.check_for(
        &parts,
        &Caller {
            last: Some(&connection),
            ..Caller::new(&party.presented())
        },
        &route(),
        NOW,
    ) {
        Check::Done(verdict) => verdict,
        Check::Pending(_) => panic!("nothing to wait for"),
    };
    for _ in 0..2 {
        assert!(verdict(&before).is_ok());
        let refused = refused_as_invalid_token(verdict(&after));
        assert!(
            matches!(refused.reason(), AccessTokenRefusal::UnknownIssuer { .. }),
            "{:?}",
            refused.reason()
        );
    }
}
