//! What `explain` shows: the first ✘ is the true cause, with what was presented and what is registered.

use std::sync::Arc;

use keybound_protocol::authentication_method::AuthenticationMethod;
use keybound_protocol::client::Client;
use keybound_protocol::client_authentication::{ClientAuthenticationError, ExplanationContext, rules};
use keybound_protocol::jwk::Jwk;
use keybound_protocol::jwk_set::JwkSet;
use keybound_protocol::peer_certificate::{ForwardingError, PresentedCertificate};
use keybound_protocol::rule::{Outcome, RuleOutcome};
use keybound_protocol::trust_anchor::{CrlMissing, TrustAnchors};
use keybound_protocol::{self_signed_tls_client_auth, tls_client_auth};
use serde_json::json;

use crate::der::{PRINTABLE, UTF8, name};
use crate::pki::{
    Authority, DNS, Key, NOW, SERVER_AUTH, Template, URI, alternative_names, anchors, client, days_from_now,
    extended_key_usage, key_usage, presented, tls_client,
};

fn explain(
    client: &Arc<Client>,
    keys: Option<&JwkSet>,
    presented: &PresentedCertificate,
    error: &ClientAuthenticationError,
) -> (Vec<RuleOutcome>, RuleOutcome) {
    let context = ExplanationContext {
        client: Some(client),
        keys,
        presented,
        now: NOW,
    };
    let outcomes = rules(error, &context);
    let position = outcomes
        .iter()
        .position(|rule| rule.outcome == Outcome::Failed)
        .unwrap();
    let (before, from) = outcomes.split_at(position);
    assert!(
        before.iter().all(|rule| rule.outcome == Outcome::Passed),
        "{outcomes:#?}"
    );
    assert!(
        from[1..].iter().all(|rule| rule.outcome == Outcome::NotReached),
        "{outcomes:#?}"
    );
    for rule in &from[1..] {
        assert!(
            rule.presented.is_none() && rule.registered.is_none() && rule.detail.is_none(),
            "{rule:?}"
        );
    }
    assert!(!error.fix().is_empty());
    let failed = from[0].clone();
    (outcomes, failed)
}

struct Corp {
    root: Authority,
    middle: Authority,
}

impl Corp {
    fn new() -> Corp {
        let root = Authority::root("Corp Root");
        let middle = root.intermediate("Corp Issuing");
        Corp { root, middle }
    }

    fn refused(&self, client: &Arc<Client>, presented: &PresentedCertificate, trust: &TrustAnchors) -> RuleOutcome {
        let error = tls_client_auth::authenticate(client, presented, trust, NOW)
            .map(|_| ())
            .unwrap_err();
        explain(client, None, presented, &error).1
    }
}

/// Each cause of UX-2 that a certificate can have, and the rule that must be the first ✘ with a word of its detail.
// covers UX-2
#[test]
fn the_first_failed_rule_is_the_true_cause() {
    let corp = Corp::new();
    let demo = Template::client("demo").with(alternative_names(&[(URI, b"spiffe://corp/demo")]));
    let by_dn = tls_client("tls_client_auth_subject_dn", "CN=demo");
    let trust = anchors(&[corp.root.settings("corp")]);
    let lists = |root: Vec<u8>, middle: Vec<u8>| {
        anchors(&[corp
            .root
            .settings_with_crls("corp", vec![root, middle], CrlMissing::Refuse)])
    };
    let chain: [&[u8]; 1] = [&corp.middle.certificate];
    let issue = |template: &Template| presented(&corp.middle.issue(template), &chain);
    let check =
        |client: &Arc<Client>, presented: &PresentedCertificate, trust: &TrustAnchors, rule: &str, word: &str| {
            let failed = corp.refused(client, presented, trust);
            let said = format!(
                "{} {}",
                failed.presented.unwrap_or_default(),
                failed.detail.unwrap_or_default()
            );
            assert_eq!(failed.rule, rule, "{said}");
            assert!(said.contains(word), "{rule}: {said:?} lacks {word:?}");
        };
    const PATH: &str = "path to a trust anchor of this client";

    check(
        &by_dn,
        &PresentedCertificate::None,
        &trust,
        "client certificate presented",
        "no client certificate",
    );
    check(
        &by_dn,
        &PresentedCertificate::NotRequested,
        &trust,
        "client certificate presented",
        "does not ask",
    );
    let untrusted = ForwardingError::UntrustedAddress {
        address: [192, 0, 2, 7].into(),
    };
    let untrusted = PresentedCertificate::ForwardingRefused(untrusted);
    check(
        &by_dn,
        &untrusted,
        &trust,
        "client certificate presented",
        "192.0.2.7, which is not a configured proxy",
    );
    let repeated = PresentedCertificate::ForwardingRefused(ForwardingError::Repeated { header: "Client-Cert" });
    check(
        &by_dn,
        &repeated,
        &trust,
        "client certificate presented",
        "Client-Cert was sent more than once",
    );
    let too_long = presented(&corp.middle.issue(&demo), &[&corp.middle.certificate[..]; 7]);
    check(
        &by_dn,
        &too_long,
        &trust,
        "chain not longer than 6 certificates besides the client's",
        "7",
    );
    check(
        &by_dn,
        &presented(b"junk", &[]),
        &trust,
        "certificate readable",
        "malformed",
    );

    let ended = demo.clone().valid(days_from_now(-9), days_from_now(-1));
    check(
        &by_dn,
        &issue(&ended),
        &trust,
        "inside its validity period",
        "expired at 2025-12-31T00:00:00Z",
    );
    let begins = demo.clone().valid(days_from_now(1), days_from_now(9));
    check(
        &by_dn,
        &issue(&begins),
        &trust,
        "inside its validity period",
        "valid only from",
    );

    let stranger = Authority::root("Stranger");
    check(
        &by_dn,
        &presented(&stranger.issue(&demo), &[]),
        &trust,
        PATH,
        "CN=Stranger is not a trust anchor",
    );
    let namesake = Authority::root("Corp Root");
    check(
        &by_dn,
        &presented(&namesake.issue(&demo), &[]),
        &trust,
        PATH,
        "whose key is not that of the configured one",
    );
    let with_lists = lists(corp.root.fresh_crl(&[]), corp.middle.fresh_crl(&[]));
    let alone = presented(&corp.middle.issue(&demo), &[]);
    check(
        &by_dn,
        &alone,
        &with_lists,
        PATH,
        "certificate of the issuer CN=Corp Issuing was not presented",
    );
    check(&by_dn, &alone, &TrustAnchors::none(), PATH, "no trust anchor");
    let own = presented(&demo.self_sign(&Key::generate()), &[]);
    check(&by_dn, &own, &trust, PATH, "self-signed");
    let mut weak = demo.clone();
    weak.spki = Some(crate::der::sequence(&[
        crate::der::sequence(&[crate::der::oid("1.2.840.113549.1.1.1"), crate::der::tlv(5, &[])]),
        crate::der::bit_string(&crate::der::sequence(&[
            crate::der::integer(&[&[0][..], &[0xff; 128]].concat()),
            crate::der::integer(&[1, 0, 1]),
        ])),
    ]));
    check(&by_dn, &issue(&weak), &trust, PATH, "RSA 1024");

    let encipher = demo.clone().without("2.5.29.15").with(key_usage(&[2]));
    check(
        &by_dn,
        &issue(&encipher),
        &trust,
        "key usage digitalSignature",
        "keyEncipherment",
    );
    let server = demo
        .clone()
        .without("2.5.29.37")
        .with(extended_key_usage(&[SERVER_AUTH]));
    check(
        &by_dn,
        &issue(&server),
        &trust,
        "extended key usage clientAuth",
        "serverAuth",
    );

    let revoked = lists(corp.root.fresh_crl(&[]), corp.middle.fresh_crl(&[&[0x42]]));
    check(
        &by_dn,
        &issue(&demo),
        &revoked,
        "not revoked",
        "certificate of CN=demo was revoked at",
    );
    let stale = lists(
        corp.root.fresh_crl(&[]),
        corp.middle.crl(&[], days_from_now(-9), days_from_now(-1)),
    );
    check(
        &by_dn,
        &issue(&demo),
        &stale,
        "not revoked",
        "revocation list of CN=Corp Issuing is stale",
    );
    let missing = lists(corp.root.fresh_crl(&[]), corp.root.fresh_crl(&[]));
    check(
        &by_dn,
        &issue(&demo),
        &missing,
        "not revoked",
        "no revocation list of CN=Corp Issuing",
    );

    let other_kind = tls_client("tls_client_auth_san_dns", "spiffe.corp");
    check(
        &other_kind,
        &issue(&demo),
        &trust,
        "tls_client_auth_san_dns",
        "only URI:spiffe://corp/demo",
    );
    let other = demo
        .clone()
        .without("2.5.29.17")
        .with(alternative_names(&[(DNS, b"a.example"), (DNS, b"b.example")]));
    check(
        &other_kind,
        &issue(&other),
        &trust,
        "tls_client_auth_san_dns",
        "a.example, b.example",
    );
    let without = demo.clone().without("2.5.29.17");
    check(
        &other_kind,
        &issue(&without),
        &trust,
        "tls_client_auth_san_dns",
        "no subject alternative names",
    );
}

#[test]
fn a_subject_shows_both_names_and_where_they_differ() {
    let corp = Corp::new();
    let trust = anchors(&[corp.root.settings("corp")]);
    let subject = name(&[
        &[("2.5.4.6", PRINTABLE, b"BR")],
        &[("2.5.4.10", UTF8, b"Example PSP")],
        &[("2.5.4.11", UTF8, b"Prod")],
        &[("2.5.4.3", UTF8, b"psp-17")],
    ]);
    let certificate = corp.middle.issue(&Template::client("").subject(subject));
    let presented = presented(&certificate, &[&corp.middle.certificate]);
    let check = |registered: &str, detail: &str, mark: Option<&str>| {
        let client = tls_client("tls_client_auth_subject_dn", registered);
        let error = tls_client_auth::authenticate(&client, &presented, &trust, NOW)
            .map(|_| ())
            .unwrap_err();
        let (all, failed) = explain(&client, None, &presented, &error);
        assert_eq!(failed.rule, "tls_client_auth_subject_dn");
        assert_eq!(
            failed.presented.as_deref(),
            Some("CN=psp-17,OU=Prod,O=Example PSP,C=BR")
        );
        assert_eq!(failed.detail.as_deref(), Some(detail));
        let marked = failed
            .presented_mark
            .map(|mark| failed.presented.as_ref().unwrap()[mark].to_owned());
        assert_eq!(marked.as_deref(), mark);
        all
    };
    let all = check(
        "CN=psp-17, OU=Produção, O=Example PSP, C=BR",
        "second RDN differs",
        Some("OU=Prod"),
    );
    let passed: Vec<&str> = all.iter().map(|rule| &*rule.rule).collect();
    assert_eq!(
        passed,
        [
            "client_id sent",
            "client registered",
            "one authentication method used",
            "registered authentication method used",
            "client certificate presented",
            "chain not longer than 6 certificates besides the client's",
            "possession of the private key",
            "certificate readable",
            "inside its validity period",
            "path to a trust anchor of this client",
            "key usage digitalSignature",
            "extended key usage clientAuth",
            "not revoked",
            "tls_client_auth_subject_dn",
        ]
    );
    let path = all.iter().find(|rule| rule.rule.starts_with("path")).unwrap();
    assert_eq!(path.detail.as_deref(), Some("trust anchor corp (1 intermediate)"));
    assert_eq!(path.presented.as_deref(), Some("issued by CN=Corp Issuing"));
    check(
        "C=BR,O=Example PSP,OU=Prod,CN=psp-17",
        "the same RDNs in reverse order: their order is significant",
        Some("CN=psp-17"),
    );
    check(
        "CN=psp-17,OU=Prod,O=Example PSP",
        "fourth RDN is not registered",
        Some("C=BR"),
    );
    check(
        "CN=psp-17,OU=Prod,O=Example PSP,C=BR,DC=x",
        "fifth RDN is missing in the certificate",
        Some(""),
    );
}

// covers TRAP-40, TRAP-43, UX-2
#[test]
fn registered_certificates_are_told_from_their_likenesses() {
    let key = Key::generate();
    let registered = Template::client("demo").self_sign(&key);
    let ended = Template::client("demo")
        .valid(days_from_now(-9), days_from_now(-1))
        .self_sign(&key);
    let keys = JwkSet::new(vec![
        Jwk::for_certificate(&registered).unwrap(),
        Jwk::for_certificate(&ended).unwrap(),
    ])
    .unwrap();
    let client = client(&json!({
        "token_endpoint_auth_method": "self_signed_tls_client_auth", "grant_types": ["client_credentials"],
        "jwks": keys.to_json(),
    }));
    let check = |der: &[u8], rule: &str, word: &str| {
        let presented = presented(der, &[]);
        let error = self_signed_tls_client_auth::authenticate(&client, &presented, &keys, 7, NOW)
            .map(|_| ())
            .unwrap_err();
        let failed = explain(&client, Some(&keys), &presented, &error).1;
        assert_eq!(failed.rule, rule);
        let detail = failed.detail.unwrap();
        assert!(detail.contains(word), "{detail:?} lacks {word:?}");
    };
    const REGISTERED: &str = "one of the registered certificates, octet for octet";
    check(
        &Template::client("demo").serial(&[9]).self_sign(&key),
        REGISTERED,
        "has the key of the registered",
    );
    check(
        &Template::client("demo").self_sign(&Key::generate()),
        REGISTERED,
        "has the subject of the registered",
    );
    check(
        &Template::client("x").self_sign(&Key::generate()),
        REGISTERED,
        "is not one of the 2",
    );
    check(&ended, "inside its validity period", "expired at");

    let presented = presented(&registered, &[]);
    let unavailable = ClientAuthenticationError::KeysUnavailable("connection refused".into());
    let failed = explain(&client, None, &presented, &unavailable).1;
    assert_eq!(failed.rule, "registered keys available");
    assert_eq!(
        failed.detail.as_deref(),
        Some("the client's keys could not be fetched: connection refused")
    );
}

// covers UX-2
#[test]
fn what_fails_before_the_certificate_is_said_too() {
    let client = tls_client("tls_client_auth_subject_dn", "CN=demo");
    let presented = PresentedCertificate::None;
    let wrong_method = ClientAuthenticationError::MethodNotUsed {
        registered: AuthenticationMethod::TlsClientAuth,
        presented: AuthenticationMethod::ClientSecretPost,
    };
    let failed = explain(&client, None, &presented, &wrong_method).1;
    assert_eq!(failed.rule, "registered authentication method used");
    assert_eq!(failed.registered.as_deref(), Some("tls_client_auth"));
    assert_eq!(failed.presented.as_deref(), Some("client_secret_post"));

    let context = ExplanationContext {
        client: None,
        keys: None,
        presented: &presented,
        now: NOW,
    };
    let failed = |error: &ClientAuthenticationError| {
        let all = rules(error, &context);
        all.into_iter().find(|rule| rule.outcome == Outcome::Failed).unwrap()
    };
    let unknown = failed(&ClientAuthenticationError::UnknownClient {
        client_id: "nobody".to_owned(),
    });
    assert_eq!(
        (&*unknown.rule, unknown.presented.as_deref()),
        ("client registered", Some("nobody"))
    );
    assert_eq!(failed(&ClientAuthenticationError::NoClientId).rule, "client_id sent");
    let several = ClientAuthenticationError::SeveralMethods {
        first: AuthenticationMethod::ClientSecretBasic,
        second: AuthenticationMethod::PrivateKeyJwt,
    };
    assert_eq!(
        failed(&several).presented.as_deref(),
        Some("client_secret_basic, private_key_jwt")
    );
}

#[test]
fn what_was_presented_reaches_no_terminal_unescaped() {
    let corp = Corp::new();
    let trust = anchors(&[corp.root.settings("corp")]);
    let client = tls_client("tls_client_auth_subject_dn", "CN=demo");
    let certificate = corp.root.issue(&Template::client("de\u{1b}[31mmo\r\n\0\u{202e}"));
    let presented = presented(&certificate, &[]);
    let error = tls_client_auth::authenticate(&client, &presented, &trust, NOW)
        .map(|_| ())
        .unwrap_err();
    let (all, failed) = explain(&client, None, &presented, &error);
    assert_eq!(
        failed.presented.as_deref(),
        Some("CN=de\\1B[31mmo\\0D\\0A\\00\\E2\\80\\AE")
    );
    for rule in all {
        for text in [rule.presented, rule.registered, rule.detail].into_iter().flatten() {
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    }
    assert!(!error.to_string().chars().any(char::is_control));
}
