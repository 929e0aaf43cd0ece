//! `tls_client_auth` (RFC 8705 §2.1).

use std::sync::Arc;

use keybound_protocol::authentication_method::AuthenticationMethod;
use keybound_protocol::certificate_chain::ChainError;
use keybound_protocol::client::Client;
use keybound_protocol::client_authentication::{AuthenticatedClient, ClientAuthenticationError};
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_protocol::subject_rule::{SubjectParameter, SubjectRule, SubjectRuleError};
use keybound_protocol::tls_client_auth;
use keybound_protocol::trust_anchor::TrustAnchors;
use serde_json::json;

use crate::der::{PRINTABLE, UTF8, common_name, implicit, name, sequence};
use crate::pki::{
    Authority, CLIENT_AUTH, DNS, EMAIL, IP, Key, NOW, SERVER_AUTH, Template, URI, alternative_names, anchors, client,
    days_from_now, extended_key_usage, extension, presented, tls_client,
};

fn refused(
    parameter: (&str, &str),
    certificate: &[u8],
    intermediates: &[&[u8]],
    trust: &TrustAnchors,
) -> ClientAuthenticationError {
    let client = tls_client(parameter.0, parameter.1);
    let refused = tls_client_auth::authenticate(&client, &presented(certificate, intermediates), trust, NOW);
    let error = refused.map(|_| ()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidClient);
    error
}

fn accepted(parameter: (&str, &str), certificate: &[u8], trust: &TrustAnchors) -> AuthenticatedClient {
    let client = tls_client(parameter.0, parameter.1);
    let accepted = tls_client_auth::authenticate(&client, &presented(certificate, &[]), trust, NOW);
    accepted.unwrap_or_else(|error| panic!("{parameter:?}: {error:?}")).0
}

const DEMO_DN: (&str, &str) = ("tls_client_auth_subject_dn", "CN=demo");

// covers MTLS-2.1-1, MTLS-2.1-2, TRAP-8
#[test]
fn right_subject_from_an_unknown_authority_is_refused() {
    let (trusted, other) = (Authority::root("Corp"), Authority::root("Elsewhere"));
    let trust = anchors(&[trusted.settings("corp")]);
    let certificate = other.issue(&Template::client("demo"));
    let error = refused(DEMO_DN, &certificate, &[], &trust);
    assert!(
        matches!(error, ClientAuthenticationError::Chain(chain) if matches!(*chain, ChainError::IssuerNotPresented { .. }))
    );

    let self_made = Template::client("demo").self_sign(&Key::generate());
    let error = refused(DEMO_DN, &self_made, &[], &trust);
    assert!(matches!(error, ClientAuthenticationError::Chain(chain) if matches!(*chain, ChainError::SelfSigned)));
    // Also where its own issuer comes along as an "intermediate".
    let error = refused(DEMO_DN, &certificate, &[&other.certificate], &trust);
    assert!(
        matches!(error, ClientAuthenticationError::Chain(chain) if matches!(*chain, ChainError::UnknownIssuer { .. }))
    );
}

// covers MTLS-2.1-3, MTLS-7.5-3, X509-1, X509-2
#[test]
fn expired_not_yet_valid_wrong_usage_and_broken_signature_are_each_refused() {
    let corp = Authority::root("Corp");
    let trust = anchors(&[corp.settings("corp")]);
    let check = |certificate: &[u8], expected: fn(&ChainError) -> bool| {
        let error = refused(DEMO_DN, certificate, &[], &trust);
        let ClientAuthenticationError::Chain(chain) = &error else {
            panic!("{error:?}")
        };
        assert!(expected(chain), "{chain:?}");
    };
    let demo = Template::client("demo");
    check(
        &corp.issue(&demo.clone().valid(days_from_now(-9), days_from_now(-1))),
        |error| matches!(error, ChainError::Expired { .. }),
    );
    check(
        &corp.issue(&demo.clone().valid(days_from_now(1), days_from_now(9))),
        |error| matches!(error, ChainError::NotYetValid { .. }),
    );
    let server = demo
        .clone()
        .without("2.5.29.37")
        .with(extended_key_usage(&[SERVER_AUTH]));
    check(&corp.issue(&server), |error| {
        matches!(error, ChainError::ExtendedKeyUsage { .. })
    });

    let mut altered = corp.issue(&demo);
    *altered.last_mut().unwrap() ^= 1;
    check(&altered, |error| {
        matches!(
            error,
            ChainError::SameNameOtherKey { .. } | ChainError::BadSignature { .. }
        )
    });
    accepted(DEMO_DN, &corp.issue(&demo), &trust);
}

// covers MTLS-2.1-4, MTLS-2.1.2-2, MTLS-2.1.2-3, MTLS-2.1.2-4, MTLS-2.1.2-5, MTLS-2.1.2-7, MTLS-2-7, SAN-5, TRAP-13, TRAP-14
#[test]
fn exactly_the_one_registered_value_authenticates() {
    let corp = Authority::root("Corp");
    let trust = anchors(&[corp.settings("corp")]);
    let names: [(u8, &[u8]); 8] = [
        (DNS, b"first.example"),
        (DNS, b"client.example"),
        (URI, b"spiffe://example/first"),
        (URI, b"spiffe://example/client"),
        (IP, &[192, 0, 2, 1]),
        (IP, &[0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        (EMAIL, b"first@example.com"),
        (EMAIL, b"client@example.com"),
    ];
    let certificate = corp.issue(&Template::client("demo").with(alternative_names(&names)));
    let check = |parameter: &str, right: &[&str], wrong: &[&str]| {
        for value in right {
            accepted((parameter, value), &certificate, &trust);
        }
        for value in wrong {
            let error = refused((parameter, value), &certificate, &[], &trust);
            let ClientAuthenticationError::Subject { mismatch, .. } = error else {
                panic!("{value}: {error:?}")
            };
            assert_eq!(mismatch.parameter.name(), parameter);
        }
    };
    check(
        "tls_client_auth_subject_dn",
        &["CN=demo", "cn=DEMO"],
        &["CN=dem", "CN=demo,C=DE", "O=demo", "CN=client.example"],
    );
    check(
        "tls_client_auth_san_dns",
        &["first.example", "CLIENT.example"],
        &["example", "demo", "other.example"],
    );
    check(
        "tls_client_auth_san_uri",
        &["spiffe://example/client", "SPIFFE://EXAMPLE/first"],
        &["spiffe://example/Client", "spiffe://example", "https://client.example"],
    );
    check(
        "tls_client_auth_san_ip",
        &["192.0.2.1", "2001:db8::1", "2001:0DB8:0:0:0:0:0:1"],
        &["192.0.2.2", "::ffff:192.0.2.1", "2001:db8::2"],
    );
    check(
        "tls_client_auth_san_email",
        &["client@example.com", "client@EXAMPLE.com"],
        &["Client@example.com", "example@example.com", "client@mail.example.com"],
    );
}

// covers MTLS-2.1-5
#[test]
fn subjects_are_compared_as_names_and_not_as_text() {
    let corp = Authority::root("Corp");
    let trust = anchors(&[corp.settings("corp")]);
    let subject = name(&[
        &[("2.5.4.6", PRINTABLE, b"BR")],
        &[("2.5.4.10", UTF8, "Exemplo  S/A, Ltda".as_bytes())],
        &[("2.5.4.3", PRINTABLE, b"psp-17")],
    ]);
    let certificate = corp.issue(&Template::client("").subject(subject));
    for written in [
        "CN=psp-17,O=Exemplo S/A\\, Ltda,C=BR",
        "cn=PSP-17 , 2.5.4.10=exemplo s/a\\2c ltda , C = br",
    ] {
        accepted(("tls_client_auth_subject_dn", written), &certificate, &trust);
    }
    for written in [
        "C=BR,O=Exemplo S/A\\, Ltda,CN=psp-17",
        "CN=psp-17,O=Exemplo S/A,O=Ltda,C=BR",
        "CN=psp-17",
    ] {
        refused(("tls_client_auth_subject_dn", written), &certificate, &[], &trust);
    }
}

// covers MTLS-2.1-7
#[test]
fn a_renewed_certificate_with_the_same_subject_needs_no_change() {
    let corp = Authority::root("Corp");
    let trust = anchors(&[corp.settings("corp")]);
    let old = corp.issue(&Template::client("demo"));
    let new = corp.issue(
        &Template::client("demo")
            .serial(&[0x43])
            .valid(days_from_now(-1), days_from_now(180)),
    );
    assert_ne!(
        accepted(DEMO_DN, &old, &trust).certificate(),
        accepted(DEMO_DN, &new, &trust).certificate()
    );
}

// covers MTLS-2.1-6, MTLS-7.5-6
#[test]
fn revocation_is_checked_where_lists_are_configured() {
    use keybound_protocol::trust_anchor::CrlMissing;
    let corp = Authority::root("Corp");
    let certificate = corp.issue(&Template::client("demo").serial(&[0x66]));
    let with = |crls, missing| anchors(&[corp.settings_with_crls("corp", crls, missing)]);

    accepted(DEMO_DN, &certificate, &anchors(&[corp.settings("corp")]));
    accepted(
        DEMO_DN,
        &certificate,
        &with(vec![corp.fresh_crl(&[&[0x65]])], CrlMissing::Refuse),
    );
    accepted(DEMO_DN, &certificate, &with(vec![], CrlMissing::Accept));
    let chain = |trust: &TrustAnchors| match refused(DEMO_DN, &certificate, &[], trust) {
        ClientAuthenticationError::Chain(chain) => *chain,
        other => panic!("{other:?}"),
    };
    let revoked = corp.fresh_crl(&[&[0x65], &[0x66]]);
    assert!(matches!(
        chain(&with(vec![revoked], CrlMissing::Accept)),
        ChainError::Revoked { .. }
    ));
    let stale = corp.crl(&[], days_from_now(-9), days_from_now(-1));
    assert!(matches!(
        chain(&with(vec![stale], CrlMissing::Accept)),
        ChainError::CrlStale { .. }
    ));
    assert!(matches!(
        chain(&with(vec![], CrlMissing::Refuse)),
        ChainError::CrlMissing { .. }
    ));
    let of_another = Authority::root("Other").fresh_crl(&[]);
    assert!(matches!(
        chain(&with(vec![of_another], CrlMissing::Refuse)),
        ChainError::CrlMissing { .. }
    ));
}

// covers MTLS-2.1.1-1, MTLS-9.3-1
#[test]
fn the_method_has_its_registered_name() {
    let corp = Authority::root("Corp");
    let client = accepted(
        DEMO_DN,
        &corp.issue(&Template::client("demo")),
        &anchors(&[corp.settings("corp")]),
    );
    assert_eq!(client.method(), AuthenticationMethod::TlsClientAuth);
    assert_eq!(client.method().name(), "tls_client_auth");
    assert_eq!(
        AuthenticationMethod::SelfSignedTlsClientAuth.name(),
        "self_signed_tls_client_auth"
    );
}

// covers MTLS-2.1.2-1, MTLS-2.1-2, TRAP-16, TRAP-17
#[test]
fn exactly_one_subject_parameter_makes_a_rule() {
    let none = SubjectRule::exactly_one([]);
    assert!(matches!(none, Err(SubjectRuleError::None)));
    for second in SubjectParameter::ALL {
        let both = [(SubjectParameter::SanDns, "a.example"), (second, "b.example")];
        assert!(
            matches!(SubjectRule::exactly_one(both), Err(SubjectRuleError::Several { .. })),
            "{second}"
        );
    }
    for parameter in SubjectParameter::ALL {
        for empty in ["", " "] {
            assert!(SubjectRule::parse(parameter, empty).is_err(), "{parameter} {empty:?}");
        }
    }
}

// covers MTLS-2-2, MTLS-2-6
#[test]
fn without_a_certificate_there_is_no_authentication() {
    let corp = Authority::root("Corp");
    let trust = anchors(&[corp.settings("corp")]);
    let client = tls_client(DEMO_DN.0, DEMO_DN.1);
    let check = |presented: &PresentedCertificate| {
        let error = tls_client_auth::authenticate(&client, presented, &trust, NOW)
            .map(|_| ())
            .unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidClient);
        error
    };
    assert!(matches!(
        check(&PresentedCertificate::None),
        ClientAuthenticationError::NoCertificate
    ));
    let not_requested = check(&PresentedCertificate::NotRequested);
    assert!(matches!(
        not_requested,
        ClientAuthenticationError::CertificateNotRequested
    ));
}

// covers MTLS-2-1, MTLS-2-5, TRAP-19
#[test]
fn only_the_registered_method_authenticates() {
    let corp = Authority::root("Corp");
    let trust = anchors(&[corp.settings("corp")]);
    let certificate = corp.issue(&Template::client("demo"));
    let public = client(
        &json!({"token_endpoint_auth_method": "none", "grant_types": ["authorization_code"],
        "redirect_uris": ["https://a.example/"]}),
    );
    let error = tls_client_auth::authenticate(&public, &presented(&certificate, &[]), &trust, NOW).map(|_| ());
    assert!(matches!(error, Err(ClientAuthenticationError::MethodNotUsed { .. })));
}

// covers MTLS-2-4, MTLS-2-5, TRAP-18
#[test]
fn the_certificate_of_one_client_is_not_that_of_another() {
    let corp = Authority::root("Corp");
    let trust = anchors(&[corp.settings("corp")]);
    let certificate_of_a = corp.issue(&Template::client("a"));
    accepted(("tls_client_auth_subject_dn", "CN=a"), &certificate_of_a, &trust);
    refused(("tls_client_auth_subject_dn", "CN=b"), &certificate_of_a, &[], &trust);
}

// covers TRAP-7
#[test]
fn only_the_end_entity_certificate_has_a_subject() {
    let corp = Authority::root("Corp");
    let below = corp.intermediate("demo");
    let trust = anchors(&[corp.settings("corp")]);
    let certificate = below.issue(&Template::client("stranger"));
    refused(DEMO_DN, &certificate, &[&below.certificate], &trust);
    refused(
        ("tls_client_auth_subject_dn", "CN=Corp"),
        &certificate,
        &[&below.certificate],
        &trust,
    );
    // A certificate of the right subject, sent along as if it were an issuer, is path material and nothing else.
    let right = corp.issue(&Template::client("demo"));
    refused(DEMO_DN, &certificate, &[&right, &below.certificate], &trust);
}

// covers MTLS-7.4-1, MTLS-7.4-2, TRAP-11
#[test]
fn a_client_can_be_limited_to_some_anchors() {
    let (one, two) = (Authority::root("One"), Authority::root("Two"));
    let trust = anchors(&[one.settings("one"), two.settings("two")]);
    let certificates = [
        one.issue(&Template::client("demo")),
        two.issue(&Template::client("demo")),
    ];
    let authenticate = |names: &[&str], certificate: &[u8]| {
        let client = client(
            &json!({"token_endpoint_auth_method": "tls_client_auth", "grant_types": ["client_credentials"],
            "tls_client_auth_subject_dn": "CN=demo", "keybound_trust_anchors": names}),
        );
        tls_client_auth::authenticate(&client, &presented(certificate, &[]), &trust, NOW).is_ok()
    };
    let key_of_two = trust
        .iter()
        .find(|anchor| anchor.name().as_str() == "two")
        .unwrap()
        .key_name()
        .to_string();
    for (names, expected) in [
        (&["one"][..], [true, false]),
        (&["two"], [false, true]),
        (&[key_of_two.as_str()], [false, true]),
        (&["one", "two"], [true, true]),
        (&["removed"], [false, false]),
    ] {
        assert_eq!(
            certificates
                .each_ref()
                .map(|certificate| authenticate(names, certificate)),
            expected,
            "{names:?}"
        );
    }
}

// covers MTLS-7.3-2, MTLS-7.4-1
#[test]
fn no_anchors_means_nobody() {
    let corp = Authority::root("Corp");
    let certificate = corp.issue(&Template::client("demo"));
    let error = refused(DEMO_DN, &certificate, &[&corp.certificate], &TrustAnchors::none());
    assert!(matches!(error, ClientAuthenticationError::Chain(chain) if matches!(*chain, ChainError::NoTrustAnchor)));
}

#[test]
fn the_extended_key_usage_can_be_required() {
    let corp = Authority::root("Corp");
    let mut settings = corp.settings("corp");
    settings.require_client_auth_eku = true;
    let strict = anchors(&[settings]);
    let without = corp.issue(&Template::client("demo").without("2.5.29.37"));
    accepted(DEMO_DN, &without, &anchors(&[corp.settings("corp")]));
    let error = refused(DEMO_DN, &without, &[], &strict);
    let missing = |chain: &ChainError| matches!(chain, ChainError::ExtendedKeyUsageMissing { .. });
    assert!(matches!(error, ClientAuthenticationError::Chain(chain) if missing(&chain)));
    accepted(DEMO_DN, &corp.issue(&Template::client("demo")), &strict);
    let both = Template::client("demo")
        .without("2.5.29.37")
        .with(extended_key_usage(&[SERVER_AUTH, CLIENT_AUTH]));
    accepted(DEMO_DN, &corp.issue(&both), &strict);
}

// covers DN-10, TRAP-16
#[test]
fn an_empty_subject_authenticates_nobody() {
    let corp = Authority::root("Corp");
    let trust = anchors(&[corp.settings("corp")]);
    let nameless = Template::client("").subject(name(&[])).with(extension(
        "2.5.29.17",
        true,
        &sequence(&[implicit(2, b"client.example")]),
    ));
    let certificate = corp.issue(&nameless);
    refused(DEMO_DN, &certificate, &[], &trust);
    accepted(("tls_client_auth_san_dns", "client.example"), &certificate, &trust);
    assert_ne!(common_name(""), name(&[]));
}

#[test]
fn a_remembered_yes_counts_for_the_same_client_certificate_and_trust_only() {
    let corp = Authority::root("Corp");
    let trust = anchors(&[corp.settings("corp")]);
    let client = tls_client(DEMO_DN.0, DEMO_DN.1);
    let certificate = corp.issue(&Template::client("demo"));
    let presented_now = presented(&certificate, &[]);
    let (_, yes) = tls_client_auth::authenticate(&client, &presented_now, &trust, NOW).unwrap();
    assert_eq!(yes.valid_until(), days_from_now(90));
    assert_eq!(yes.anchor().map(|anchor| anchor.as_str()), Some("corp"));

    let again = |client: &Arc<Client>, presented: &PresentedCertificate, epoch, now| {
        AuthenticatedClient::from_accepted(client, presented.end_entity().unwrap(), &yes, epoch, now).is_some()
    };
    assert!(again(&client, &presented_now, 7, NOW));
    assert!(again(&client, &presented(&certificate, &[]), 7, days_from_now(89)));
    assert!(!again(&client, &presented_now, 8, NOW), "another trust epoch");
    assert!(!again(&client, &presented_now, 7, days_from_now(90)), "too late");
    let other_certificate = corp.issue(&Template::client("demo"));
    assert!(
        !again(&client, &presented(&other_certificate, &[]), 7, NOW),
        "another certificate"
    );
    let copy = |client_id: &str, version| {
        let (metadata, origin) = (client.metadata().clone(), client.origin());
        Arc::new(Client::new(client_id.parse().unwrap(), metadata, origin, version))
    };
    assert!(again(&copy("demo", 3), &presented_now, 7, NOW));
    assert!(
        !again(&copy("demo", 4), &presented_now, 7, NOW),
        "another version of the client"
    );
    assert!(!again(&copy("other", 3), &presented_now, 7, NOW), "another client");
}
