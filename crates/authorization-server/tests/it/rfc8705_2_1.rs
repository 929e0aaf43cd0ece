//! RFC 8705 §2.1 and §7.3 – §7.5: `tls_client_auth`, from the socket to the answer.

use http::StatusCode;
use keybound_protocol::trust_anchor::CrlMissing;
use rcgen::{ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType};
use serde_json::{Value, json};

use crate::pki::{Authority, Leaf, Wish, dns, self_signed};
use crate::world::{Plan, Side, World, anchor, credentials, self_signed_client, tls_client, with};

/// A `tls_client_auth` client with another subject parameter.
fn client_by(parameter: &str, value: &str) -> Value {
    let mut metadata = tls_client("unused");
    metadata.as_object_mut().unwrap().remove("tls_client_auth_san_dns");
    with(metadata, json!({ parameter: value }))
}

fn san(name: SanType) -> Wish {
    Wish {
        sans: vec![name],
        ..Wish::default()
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn email(text: &str) -> SanType {
    SanType::Rfc822Name(text.try_into().unwrap())
}

fn ip(text: &str) -> SanType {
    SanType::IpAddress(text.parse().unwrap())
}

fn name(common_name: &'static str) -> Wish {
    Wish {
        common_name,
        ..Wish::default()
    }
}

// covers MTLS-2.1-4, MTLS-2.1.2-2, MTLS-2.1.2-3, MTLS-2.1.2-4, MTLS-2.1.2-5, MTLS-2.1.2-6, MTLS-2.1.2-7, MTLS-9.5-1, TRAP-13, TRAP-15
#[tokio::test]
async fn each_subject_parameter_accepts_its_value_and_nothing_that_only_looks_like_it() {
    let authority = Authority::root("corp");
    let cases: [(&str, &str, Vec<Wish>, Vec<Wish>); 5] = [
        (
            "tls_client_auth_subject_dn",
            "CN=demo,O=Example,C=GB",
            vec![name("demo"), name("DEMO")],
            vec![
                name("demo2"),
                Wish {
                    common_name: "other",
                    ..dns("demo")
                },
                name("demo,O=Example"),
            ],
        ),
        (
            "tls_client_auth_san_dns",
            "a.example",
            vec![dns("a.example"), dns("A.EXAMPLE")],
            vec![
                dns("b.example"),
                dns("*.example"),
                san(uri("https://a.example")),
                name("a.example"),
            ],
        ),
        (
            "tls_client_auth_san_uri",
            "spiffe://corp.example/a",
            vec![san(uri("spiffe://corp.example/a"))],
            vec![
                san(uri("spiffe://corp.example/A")),
                san(uri("spiffe://corp.example/a/b")),
                dns("corp.example"),
            ],
        ),
        (
            "tls_client_auth_san_ip",
            "2001:0DB8:0:0:0:0:0:1",
            vec![san(ip("2001:db8::1"))],
            vec![san(ip("2001:db8::2")), san(ip("192.0.2.1")), dns("x2001.example")],
        ),
        (
            "tls_client_auth_san_email",
            "Ann@example.org",
            vec![san(email("Ann@example.org")), san(email("Ann@EXAMPLE.org"))],
            vec![
                san(email("ann@example.org")),
                san(email("bob@example.org")),
                dns("example.org"),
            ],
        ),
    ];
    for (parameter, value, accepted, refused) in cases {
        let world = Plan::new()
            .trusts("corp", &authority)
            .client("demo", client_by(parameter, value))
            .start()
            .await;
        for wish in accepted {
            let reply = world.token(Some(&authority.issue(wish)), "demo").await;
            assert_eq!(reply.status, StatusCode::OK, "{parameter} {reply:?}");
        }
        for wish in refused {
            let reply = world.token(Some(&authority.issue(wish)), "demo").await;
            world.assert_refused(&reply, 400, "invalid_client", parameter).await;
        }
    }
}

// covers SAN-5, TRAP-14
#[tokio::test]
async fn any_one_of_several_names_of_the_kind_suffices() {
    let authority = Authority::root("corp");
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("demo", tls_client("second.example"))
        .start()
        .await;
    let sans = ["first.example", "second.example", "third.example"];
    let sans = sans
        .iter()
        .map(|name| SanType::DnsName((*name).try_into().unwrap()))
        .collect();
    let leaf = authority.issue(Wish {
        sans,
        ..Wish::default()
    });
    assert_eq!(world.token(Some(&leaf), "demo").await.status, StatusCode::OK);
}

// covers MTLS-2.1-1, MTLS-7.4-1, MTLS-6.2-1
#[tokio::test]
async fn the_right_subject_from_an_authority_that_is_not_trusted_is_refused() {
    let (authority, other) = (Authority::root("corp"), Authority::root("other"));
    // Same name, another key: an anchor is its key.
    let twin = Authority::root("corp");
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("demo", tls_client("demo.example"))
        .start()
        .await;
    let leaves = [
        other.issue(dns("demo.example")),
        twin.issue(dns("demo.example")),
        self_signed(dns("demo.example")),
    ];
    for leaf in leaves {
        let reply = world.token(Some(&leaf), "demo").await;
        world
            .assert_refused(&reply, 400, "invalid_client", "path to a trust anchor of this client")
            .await;
    }
}

// covers MTLS-7.3-2, MTLS-2.2-5, MTLS-6.1-3
#[tokio::test]
async fn without_trust_anchors_nobody_is_trusted_and_self_signed_clients_go_on() {
    let authority = Authority::root("corp");
    let registered = self_signed(dns("self.example"));
    let world = Plan::new()
        .client("demo", tls_client("demo.example"))
        .client("self", self_signed_client(&[&registered]))
        .start()
        .await;
    let reply = world.token(Some(&authority.issue(dns("demo.example"))), "demo").await;
    world
        .assert_refused(&reply, 400, "invalid_client", "path to a trust anchor of this client")
        .await;
    assert_eq!(world.token(Some(&registered), "self").await.status, StatusCode::OK);
}

// covers MTLS-2.1-3, MTLS-7.5-3, X509-1, X509-2
#[tokio::test]
async fn one_bad_certificate_for_each_pitfall() {
    let authority = Authority::root("corp");
    let intermediate = authority.intermediate("issuing");
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("demo", tls_client("demo.example"))
        .start()
        .await;
    let wish = dns("demo.example");
    let mut broken = authority.issue(wish.clone());
    // One bit of the signature, which is the end of the certificate.
    let last = broken.der.len() - 1;
    broken.der[last] ^= 1;
    let cases: Vec<(&str, Leaf, &str)> = vec![
        (
            "expired",
            authority.issue(Wish {
                valid: (2020, 2021),
                ..wish.clone()
            }),
            "inside its validity period",
        ),
        (
            "not yet valid",
            authority.issue(Wish {
                valid: (2040, 2041),
                ..wish.clone()
            }),
            "inside its validity period",
        ),
        (
            "for servers",
            authority.issue(Wish {
                extended_key_usages: vec![ExtendedKeyUsagePurpose::ServerAuth],
                ..wish.clone()
            }),
            "extended key usage clientAuth",
        ),
        (
            "for encryption",
            authority.issue(Wish {
                key_usages: vec![KeyUsagePurpose::KeyEncipherment],
                ..wish.clone()
            }),
            "key usage digitalSignature",
        ),
        ("broken signature", broken, "path to a trust anchor of this client"),
        (
            "missing intermediate",
            intermediate.issue(wish.clone()).with_intermediates(&[]),
            "path to a trust anchor of this client",
        ),
    ];
    for (name, leaf, rule) in cases {
        let reply = world.token(Some(&leaf), "demo").await;
        let refusal = world.assert_refused(&reply, 400, "invalid_client", rule).await;
        let failed = refusal
            .rules
            .iter()
            .filter(|rule| rule.outcome == keybound_protocol::rule::Outcome::Failed)
            .count();
        assert_eq!(failed, 1, "{name} {refusal:#?}");
    }
    let reply = world.token(Some(&intermediate.issue(wish)), "demo").await;
    assert_eq!(reply.status, StatusCode::OK);
}

// covers MTLS-2.1-7
#[tokio::test]
async fn a_renewed_certificate_needs_no_change_at_the_server() {
    let authority = Authority::root("corp");
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("demo", tls_client("demo.example"))
        .start()
        .await;
    let (old, new) = (
        authority.issue(dns("demo.example")),
        authority.issue(Wish {
            serial: 8,
            ..dns("demo.example")
        }),
    );
    for leaf in [&old, &new, &old] {
        let token = world.access_token(leaf, "demo", &[]).await;
        assert_eq!(crate::world::claims(&token)["cnf"]["x5t#S256"], leaf.thumbprint());
    }
}

// covers MTLS-2.1-6, MTLS-7.5-6, TRAP-50
#[tokio::test]
async fn revocation_is_checked_where_there_are_lists_and_a_stale_list_refuses() {
    let authority = Authority::root("corp");
    let (good, revoked) = (
        authority.issue(Wish {
            serial: 100,
            ..dns("demo.example")
        }),
        authority.issue(Wish {
            serial: 101,
            ..dns("demo.example")
        }),
    );
    let fresh = authority.revocation_list(&[revoked.serial], (2025, 2049));
    let world = Plan::new()
        .trusts_with_lists("corp", &authority, &[fresh])
        .client("demo", tls_client("demo.example"))
        .start()
        .await;
    assert_eq!(world.token(Some(&good), "demo").await.status, StatusCode::OK);
    let reply = world.token(Some(&revoked), "demo").await;
    world.assert_refused(&reply, 400, "invalid_client", "not revoked").await;

    let stale = authority.revocation_list(&[], (2024, 2025));
    let world = Plan::new()
        .trusts_with_lists("corp", &authority, &[stale])
        .client("demo", tls_client("demo.example"))
        .start()
        .await;
    let reply = world.token(Some(&good), "demo").await;
    world.assert_refused(&reply, 400, "invalid_client", "not revoked").await;
}

// covers X509-2
#[tokio::test]
async fn an_intermediate_without_a_list_is_refused_where_lists_are_demanded() {
    let authority = Authority::root("corp");
    let leaf = authority.intermediate("issuing").issue(dns("demo.example"));
    let list = authority.revocation_list(&[], (2025, 2049));
    for (crl_missing, status) in [(CrlMissing::Refuse, 400), (CrlMissing::Accept, 200)] {
        let mut plan = Plan::new().client("demo", tls_client("demo.example"));
        plan.settings.trust_anchors = anchor("corp", &authority, std::slice::from_ref(&list), Some(crl_missing));
        let world = plan.start().await;
        assert_eq!(
            world.token(Some(&leaf), "demo").await.status.as_u16(),
            status,
            "{crl_missing:?}"
        );
    }
}

// covers T12, TRAP-7, MTLS-6.1-4
#[tokio::test]
async fn a_certificate_sent_beside_ones_own_is_never_an_identity() {
    let authority = Authority::root("corp");
    let victim = authority.issue(dns("victim.example"));
    let attacker = authority.issue(dns("attacker.example"));
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("victim", tls_client("victim.example"))
        .client("attacker", tls_client("attacker.example"))
        .client("self", self_signed_client(&[&victim]))
        .start()
        .await;
    let filler = [
        authority.intermediate("one"),
        authority.intermediate("two"),
        authority.intermediate("three"),
    ];
    for position in 0..4 {
        let mut beside: Vec<&[u8]> = filler.iter().map(|authority| authority.der()).collect();
        beside.insert(position, &victim.der);
        let leaf = attacker.clone().with_intermediates(&beside);
        for client_id in ["victim", "self"] {
            let reply = world.token(Some(&leaf), client_id).await;
            assert_eq!(
                (reply.status.as_u16(), &reply.json()["error"]),
                (400, &json!("invalid_client")),
                "{position}"
            );
        }
        let token = world.access_token(&leaf, "attacker", &[]).await;
        assert_eq!(crate::world::claims(&token)["cnf"]["x5t#S256"], attacker.thumbprint());
    }
}

// covers X509-2
#[tokio::test]
async fn a_chain_that_is_too_long_is_refused_in_http() {
    let authority = Authority::root("corp");
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("demo", tls_client("demo.example"))
        .start()
        .await;
    let beside: Vec<&[u8]> = std::iter::repeat_n(authority.der(), 7).collect();
    let leaf = authority.issue(dns("demo.example"));
    assert_eq!(
        world
            .token(Some(&leaf.clone().with_intermediates(&beside[..6])), "demo")
            .await
            .status,
        StatusCode::OK
    );
    let reply = world.token(Some(&leaf.with_intermediates(&beside)), "demo").await;
    let rule = "chain not longer than 6 certificates besides the client's";
    world.assert_refused(&reply, 400, "invalid_client", rule).await;
}

/// Two clients whose certificates come from different anchors under one name.
async fn two_anchors() -> (World, Leaf, Leaf) {
    let (one, two) = (Authority::root("one"), Authority::root("two"));
    let limited = |anchor: &str| {
        with(
            tls_client("shared.example"),
            json!({"keybound_trust_anchors": [anchor]}),
        )
    };
    let world = Plan::new()
        .trusts("one", &one)
        .trusts("two", &two)
        .client("a", limited("one"))
        .client("b", limited("two"))
        .client("any", tls_client("shared.example"))
        .start()
        .await;
    (
        world,
        one.issue(dns("shared.example")),
        two.issue(dns("shared.example")),
    )
}

// covers T13, MTLS-7.4-1, TRAP-11
#[tokio::test]
async fn on_one_connection_each_client_is_judged_by_its_own_anchors() {
    let (world, of_one, of_two) = two_anchors().await;
    for (leaf, allowed, denied) in [(&of_one, "a", "b"), (&of_two, "b", "a")] {
        let peer = world.peer(Side::MutualTls, Some(leaf));
        for _ in 0..20 {
            assert_eq!(peer.post("/token", &credentials(allowed)).await.status, StatusCode::OK);
            let reply = peer.post("/token", &credentials(denied)).await;
            world
                .assert_refused(&reply, 400, "invalid_client", "path to a trust anchor of this client")
                .await;
            assert_eq!(peer.post("/token", &credentials("any")).await.status, StatusCode::OK);
        }
    }
    // One connection each, or the test shows nothing about a connection's memory.
    assert!(world.listeners[1].counters().snapshot().handshakes_completed <= 2);
}

// covers MTLS-7.4-1, T13
#[tokio::test]
async fn a_client_is_limited_to_an_anchor_by_its_key_too() {
    let (one, two) = (Authority::root("same"), Authority::root("same"));
    let key = anchor("one", &one, &[], None)[0].key_name().to_string();
    assert!(key.starts_with("sha256:"), "{key}");
    let limited = with(
        tls_client("shared.example"),
        json!({"keybound_trust_anchors": [key.to_uppercase().replace("SHA", "sha")]}),
    );
    let world = Plan::new()
        .trusts("one", &one)
        .trusts("two", &two)
        .client("by-key", limited)
        .start()
        .await;
    let leaf = one.issue(dns("shared.example"));
    assert_eq!(world.token(Some(&leaf), "by-key").await.status, StatusCode::OK);
    let leaf = two.issue(dns("shared.example"));
    let reply = world.token(Some(&leaf), "by-key").await;
    world
        .assert_refused(&reply, 400, "invalid_client", "path to a trust anchor of this client")
        .await;
}

// covers TRAP-33, T17
#[tokio::test]
async fn a_yes_ends_with_the_certificate_also_on_a_connection_that_stays_open() {
    let authority = Authority::root("corp");
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("demo", tls_client("demo.example"))
        .start()
        .await;
    let leaf = authority.issue(Wish {
        valid: (2020, 2027),
        ..dns("demo.example")
    });
    let peer = world.peer(Side::MutualTls, Some(&leaf));
    assert_eq!(peer.post("/token", &credentials("demo")).await.status, StatusCode::OK);
    world.clock.advance(366 * 24 * 3600);
    let reply = peer.post("/token", &credentials("demo")).await;
    world
        .assert_refused(&reply, 400, "invalid_client", "inside its validity period")
        .await;
    assert_eq!(world.listeners[1].counters().snapshot().handshakes_completed, 1);
}

// covers TRAP-33
#[tokio::test]
async fn a_yes_ends_with_the_revocation_list_and_with_a_change_of_trust() {
    let authority = Authority::root("corp");
    let list = authority.revocation_list(&[], (2025, 2027));
    let plan = || {
        let list = list.clone();
        Plan::new()
            .trusts_with_lists("corp", &authority, &[list])
            .client("demo", tls_client("demo.example"))
    };
    let world = plan().start().await;
    let leaf = authority.issue(dns("demo.example"));
    let peer = world.peer(Side::MutualTls, Some(&leaf));
    assert_eq!(peer.post("/token", &credentials("demo")).await.status, StatusCode::OK);
    world.clock.advance(366 * 24 * 3600);
    let reply = peer.post("/token", &credentials("demo")).await;
    world.assert_refused(&reply, 400, "invalid_client", "not revoked").await;

    world.clock.advance(-366 * 24 * 3600);
    // A no is not kept beyond a few seconds, and not over a change of the clock.
    assert_eq!(peer.post("/token", &credentials("demo")).await.status, StatusCode::OK);
    let mut without = plan().settings;
    without.trust_anchors.clear();
    world.server.reload(without).await.unwrap();
    let reply = peer.post("/token", &credentials("demo")).await;
    world
        .assert_refused(&reply, 400, "invalid_client", "path to a trust anchor of this client")
        .await;
    world.server.reload(plan().settings).await.unwrap();
    assert_eq!(peer.post("/token", &credentials("demo")).await.status, StatusCode::OK);
}

// covers MTLS-2.1-2, MTLS-2.1.2-1
#[tokio::test]
async fn a_client_whose_rule_changes_is_judged_by_the_new_one_at_once() {
    let authority = Authority::root("corp");
    let plan = |name: &str| Plan::new().trusts("corp", &authority).client("demo", tls_client(name));
    let world = plan("old.example").start().await;
    let leaf = authority.issue(dns("old.example"));
    let peer = world.peer(Side::MutualTls, Some(&leaf));
    assert_eq!(peer.post("/token", &credentials("demo")).await.status, StatusCode::OK);
    world.server.reload(plan("new.example").settings).await.unwrap();
    let reply = peer.post("/token", &credentials("demo")).await;
    world
        .assert_refused(&reply, 400, "invalid_client", "tls_client_auth_san_dns")
        .await;
}

// covers MTLS-2-2, TRAP-31
#[tokio::test]
async fn the_next_connection_of_the_same_client_is_asked_for_its_certificate_again() {
    let authority = Authority::root("corp");
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("demo", tls_client("demo.example"))
        .start()
        .await;
    let key = KeyPair::generate().unwrap();
    let leaf = authority.issue_for(&key, dns("demo.example"));
    for _ in 0..3 {
        assert_eq!(world.token(Some(&leaf), "demo").await.status, StatusCode::OK);
    }
    assert_eq!(world.token(None, "demo").await.status, StatusCode::BAD_REQUEST);
}
