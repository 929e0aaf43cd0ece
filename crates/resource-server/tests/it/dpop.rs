//! Tokens that are bound to a key (RFC 9449 §7): the scheme, the proof and the key, at every request.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Method, StatusCode};
use keybound_protocol::bearer::BearerError;
use keybound_protocol::confirmation::BindingError;
use keybound_protocol::dpop_nonce::DpopNonces;
use keybound_protocol::dpop_proof::DpopProofError;
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_protocol::time::Timestamp;
use keybound_resource_server::{
    AccessTokenRefusal, Binding, Check, Dpop, Limits, Refused, ResourceServer, RoutePolicy, Verdict,
};
use serde_json::{Value, json};

use crate::introspection::{ACTIVE_MAX, Asked};
use crate::pki::Party;
use crate::prover::{Proof, Prover};
use crate::support::{AUDIENCE, ISSUER, NOW, failed_rule, parts, resource_server, route, settings};
use crate::token_issuer::TokenIssuer;

const URL: &str = "https://api.example/photos";
const ALL: [Binding; 3] = [Binding::Required, Binding::Optional, Binding::None];

struct World {
    issuer: TokenIssuer,
    resource_server: ResourceServer,
    holder: Prover,
}

impl World {
    fn new() -> World {
        let issuer = TokenIssuer::new(ISSUER);
        World {
            resource_server: resource_server(&issuer),
            issuer,
            holder: Prover::new(),
        }
    }

    fn token(&self, cnf: Value) -> String {
        let mut claims = self.issuer.claims(AUDIENCE, NOW);
        claims["cnf"] = cnf;
        self.issuer.sign(&self.issuer.header(), &claims)
    }

    /// A token that is bound to the holder's key.
    fn bound(&self) -> String {
        self.token(json!({"jkt": self.holder.thumbprint()}))
    }

    fn check(&self, parts: &Parts, policy: &RoutePolicy) -> Verdict {
        self.check_with(parts, &PresentedCertificate::NotRequested, policy)
    }

    fn check_with(&self, parts: &Parts, presented: &PresentedCertificate, policy: &RoutePolicy) -> Verdict {
        match self.resource_server.check(parts, presented, policy, NOW) {
            Check::Done(verdict) => verdict,
            Check::Pending(_) => panic!("everything is here to decide"),
        }
    }
}

fn for_token(token: &str) -> Proof<'_> {
    Proof {
        method: "GET",
        url: URL,
        now: NOW,
        token: Some(token),
        nonce: None,
    }
}

/// `GET /photos` with these headers.
fn get(headers: &[(&str, &str)]) -> Parts {
    let mut parts = parts(headers);
    parts.uri = "/photos?page=2".parse().unwrap();
    parts
}

fn by_dpop(token: &str, proof: &str) -> Parts {
    get(&[("authorization", &format!("DPoP {token}")), ("dpop", proof)])
}

fn by_bearer(token: &str) -> Parts {
    get(&[("authorization", &format!("Bearer {token}"))])
}

fn challenges(refused: &Refused) -> Vec<String> {
    let challenges = refused.challenges();
    challenges
        .iter()
        .map(|value| value.to_str().unwrap().to_owned())
        .collect()
}

const ALGORITHMS: &str = r#"algs="ES256 ES384 EdDSA PS256 RS256""#;

/// 401 with one challenge, of the scheme that was used.
#[track_caller]
fn refused_as(verdict: Verdict, code: &str) -> Box<Refused> {
    let refused = verdict.unwrap_err();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(refused.code().unwrap().as_str(), code, "{:?}", refused.reason());
    let [challenge] = &challenges(&refused)[..] else {
        panic!("{:?}", challenges(&refused))
    };
    let begins = format!(r#"DPoP realm="https://api.example", error="{code}", error_description=""#);
    assert!(
        challenge.starts_with(&begins) && challenge.ends_with(ALGORITHMS),
        "{challenge}"
    );
    failed_rule(&refused);
    refused
}

// covers R9449-4, R9449-3, R6750-1
#[test]
fn a_token_that_is_bound_to_a_key_passes_with_a_proof_for_each_request() {
    let world = World::new();
    let token = world.bound();
    // Over any connection: what certificate it carries, by accident or not, is none of this token's business.
    let party = Party::new("sidecar");
    for presented in [
        PresentedCertificate::NotRequested,
        PresentedCertificate::None,
        party.presented(),
    ] {
        for binding in ALL {
            for _ in 0..2 {
                let parts = by_dpop(&token, &world.holder.prove(&for_token(&token)));
                let accepted = world
                    .check_with(&parts, &presented, &route().with_binding(binding))
                    .unwrap();
                let bound = accepted.as_bound().unwrap();
                assert_eq!(bound.key(), Some(&world.holder.thumbprint()));
                assert_eq!(bound.certificate(), None);
                assert!(accepted.next_nonce().is_none());
            }
        }
    }
}

// covers R9449-4, R9449-1, T1
#[test]
fn a_stolen_token_is_of_no_use_with_another_key_or_another_requests_proof() {
    let world = World::new();
    let token = world.bound();
    let thief = Prover::new();
    let stolen = refused_as(
        world.check(&by_dpop(&token, &thief.prove(&for_token(&token))), &route()),
        "invalid_token",
    );
    assert!(matches!(
        stolen.reason(),
        AccessTokenRefusal::Binding(BindingError::KeyMismatch { presented, expected })
            if *presented == thief.thumbprint() && *expected == world.holder.thumbprint()
    ));
    let rule = failed_rule(&stolen);
    assert_eq!(
        rule.rule,
        "the key of this request's DPoP proof is the one it is bound to"
    );
    assert_eq!(rule.presented.unwrap(), thief.thumbprint().to_string());
    assert!(!stolen.body().contains(&world.holder.thumbprint().to_string()));

    let other_token = world.token(json!({"jkt": world.holder.thumbprint(), "n": 1}));
    let good = for_token(&token);
    for (proof, is_expected) in [
        (
            Proof { method: "POST", ..good },
            (|error| matches!(error, DpopProofError::Method { .. })) as fn(&DpopProofError) -> bool,
        ),
        (
            Proof {
                url: "https://api.example/photos/1",
                ..good
            },
            |error| matches!(error, DpopProofError::Target { .. }),
        ),
        (
            Proof {
                url: "https://other.example/photos",
                ..good
            },
            |error| matches!(error, DpopProofError::Target { .. }),
        ),
        (
            Proof {
                token: Some(&other_token),
                ..good
            },
            |error| matches!(error, DpopProofError::TokenHash),
        ),
        (Proof { token: None, ..good }, |error| {
            matches!(error, DpopProofError::ClaimMissing("ath"))
        }),
        (
            Proof {
                now: NOW.minus(Duration::from_secs(91)),
                ..good
            },
            |error| matches!(error, DpopProofError::Old { .. }),
        ),
    ] {
        let refused = refused_as(
            world.check(&by_dpop(&token, &world.holder.prove(&proof)), &route()),
            "invalid_dpop_proof",
        );
        let AccessTokenRefusal::Proof(error) = refused.reason() else {
            panic!("{:?}", refused.reason())
        };
        assert!(is_expected(error), "{error:?}");
        assert_eq!(
            failed_rule(&refused).rule,
            "a DPoP proof for this request (RFC 9449 \u{a7}4.3)"
        );
    }
    // Two proofs, and none.
    let (first, second) = (world.holder.prove(&good), world.holder.prove(&good));
    let authorization = format!("DPoP {token}");
    let two = get(&[("authorization", &authorization), ("dpop", &first), ("dpop", &second)]);
    refused_as(world.check(&two, &route()), "invalid_dpop_proof");
    refused_as(
        world.check(&get(&[("authorization", &authorization)]), &route()),
        "invalid_dpop_proof",
    );
    // The proof itself was good.
    assert!(world.check(&by_dpop(&token, &first), &route()).is_ok());
}

// covers R9449-1, R9449-4
#[test]
fn a_proof_is_used_once() {
    let world = World::new();
    let token = world.bound();
    let parts = by_dpop(&token, &world.holder.prove(&for_token(&token)));
    // What is refused for another reason uses nothing up.
    let elsewhere = route().with_scopes("admin".parse().unwrap());
    assert_eq!(
        world.check(&parts, &elsewhere).unwrap_err().status(),
        StatusCode::FORBIDDEN
    );
    assert!(world.check(&parts, &route()).is_ok());
    for policy in [route(), route().with_binding(Binding::None)] {
        let replayed = refused_as(world.check(&parts, &policy), "invalid_dpop_proof");
        assert!(matches!(
            replayed.reason(),
            AccessTokenRefusal::Proof(DpopProofError::Replayed)
        ));
    }
    // Also after a reload, and with the last second of its time.
    let reloaded = world
        .resource_server
        .reconfigured(vec![settings(&world.issuer)])
        .unwrap();
    let late = NOW.plus(Duration::from_secs(90));
    let Check::Done(verdict) = reloaded.check(&parts, &PresentedCertificate::None, &route(), late) else {
        panic!()
    };
    refused_as(verdict, "invalid_dpop_proof");
    assert!(
        world
            .check(&by_dpop(&token, &world.holder.prove(&for_token(&token))), &route())
            .is_ok()
    );
}

// covers R9449-1
#[test]
fn what_finds_no_room_among_the_used_proofs_is_refused_and_one_key_fills_only_its_share() {
    let issuer = TokenIssuer::new(ISSUER);
    let limits = Limits {
        dpop_proofs_max: 32,
        ..Limits::DEFAULT
    };
    let world = World {
        resource_server: ResourceServer::with_limits(vec![settings(&issuer)], limits).unwrap(),
        issuer,
        holder: Prover::new(),
    };
    let token = world.bound();
    let request = || by_dpop(&token, &world.holder.prove(&for_token(&token)));
    assert!(world.check(&request(), &route()).is_ok());
    assert!(world.check(&request(), &route()).is_ok());
    let full = world.check(&request(), &route()).unwrap_err();
    assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(matches!(
        full.reason(),
        AccessTokenRefusal::Proof(DpopProofError::MemoryFull)
    ));
    assert!(full.retry_after().is_some());
    let other = Prover::new();
    let theirs = world.token(json!({"jkt": other.thumbprint()}));
    assert!(
        world
            .check(&by_dpop(&theirs, &other.prove(&for_token(&theirs))), &route())
            .is_ok()
    );
    // What is too old is forgotten.
    let later = NOW.plus(Duration::from_secs(120));
    let proof = world.holder.prove(&Proof {
        now: later,
        ..for_token(&token)
    });
    let Check::Done(verdict) =
        world
            .resource_server
            .check(&by_dpop(&token, &proof), &PresentedCertificate::None, &route(), later)
    else {
        panic!()
    };
    assert!(verdict.is_ok());
}

// covers R9449-4, TRAP-26, T2
#[test]
fn no_token_is_taken_by_the_scheme_of_another_binding() {
    let world = World::new();
    let party = Party::new("demo");
    let bound = world.bound();
    let to_certificate = world.token(json!({"x5t#S256": party.thumbprint()}));
    let mut claims = world.issuer.claims(AUDIENCE, NOW);
    claims["jti"] = json!("unbound");
    let unbound = world.issuer.sign(&world.issuer.header(), &claims);
    for binding in ALL {
        let policy = route().with_binding(binding);
        // Bound to a key and sent as a bearer token: told of the other scheme. A proof beside it changes nothing.
        let authorization = format!("Bearer {bound}");
        let proof = world.holder.prove(&for_token(&bound));
        for parts in [
            by_bearer(&bound),
            get(&[("authorization", &authorization), ("dpop", &proof)]),
        ] {
            for presented in [PresentedCertificate::None, party.presented()] {
                let refused = world.check_with(&parts, &presented, &policy).unwrap_err();
                assert!(matches!(
                    refused.reason(),
                    AccessTokenRefusal::Binding(BindingError::NoProof) | AccessTokenRefusal::ProofBesideBearer
                ));
                assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
                let [bearer, dpop] = &challenges(&refused)[..] else {
                    panic!("{:?}", challenges(&refused))
                };
                assert!(
                    bearer.starts_with(r#"Bearer realm="https://api.example", error="invalid_token""#),
                    "{bearer}"
                );
                assert_eq!(*dpop, format!(r#"DPoP realm="https://api.example", {ALGORITHMS}"#));
                failed_rule(&refused);
            }
        }
        // Not bound to a key, and sent with a proof.
        for token in [&to_certificate, &unbound] {
            let parts = by_dpop(token, &world.holder.prove(&for_token(token)));
            let refused = refused_as(world.check_with(&parts, &party.presented(), &policy), "invalid_token");
            assert!(matches!(
                refused.reason(),
                AccessTokenRefusal::Binding(BindingError::NotBoundToKey)
            ));
        }
        // A certificate and a proof in one request, for a token that names the certificate alone.
        let authorization = format!("Bearer {to_certificate}");
        let proof = world.holder.prove(&for_token(&to_certificate));
        let both = get(&[("authorization", &authorization), ("dpop", &proof)]);
        let refused = world.check_with(&both, &party.presented(), &policy).unwrap_err();
        assert!(matches!(refused.reason(), AccessTokenRefusal::ProofBesideBearer));
        assert!(
            world
                .check_with(&by_bearer(&to_certificate), &party.presented(), &policy)
                .is_ok()
        );
    }
}

// covers R9449-7, R7800-1
#[test]
fn a_token_that_names_a_certificate_and_a_key_needs_both() {
    let world = World::new();
    let (party, other) = (Party::new("demo"), Party::new("other"));
    let token = world.token(json!({"x5t#S256": party.thumbprint(), "jkt": world.holder.thumbprint()}));
    let thief = Prover::new();
    for (prover, presented, accepted) in [
        (Some(&world.holder), party.presented(), true),
        (Some(&world.holder), other.presented(), false),
        (Some(&world.holder), PresentedCertificate::None, false),
        (Some(&thief), party.presented(), false),
        (None, party.presented(), false),
    ] {
        for binding in [Binding::Required, Binding::Optional] {
            let parts = match prover {
                Some(prover) => by_dpop(&token, &prover.prove(&for_token(&token))),
                None => by_bearer(&token),
            };
            let verdict = world.check_with(&parts, &presented, &route().with_binding(binding));
            assert_eq!(verdict.is_ok(), accepted, "{verdict:?}");
            match verdict {
                Ok(accepted) => {
                    let bound = accepted.as_bound().unwrap();
                    assert_eq!(bound.certificate(), Some(&party.thumbprint()));
                    assert_eq!(bound.key(), Some(&world.holder.thumbprint()));
                }
                Err(refused) => assert!(matches!(refused.reason(), AccessTokenRefusal::Binding(_))),
            }
        }
    }
}

// covers R9449-5
#[test]
fn a_route_that_demands_nonces_gives_one_and_takes_it() {
    let world = World::new();
    let token = world.bound();
    let nonces = Arc::new(DpopNonces::new(&[3; 32]));
    let policy = route().with_dpop_nonces(Arc::clone(&nonces));
    let request = |nonce: Option<&str>| {
        by_dpop(
            &token,
            &world.holder.prove(&Proof {
                nonce,
                ..for_token(&token)
            }),
        )
    };
    for nonce in [None, Some("made-up")] {
        let refused = refused_as(world.check(&request(nonce), &policy), "use_dpop_nonce");
        let given = refused.dpop_nonce().unwrap();
        let accepted = world.check(&request(Some(given.to_str().unwrap())), &policy).unwrap();
        assert!(accepted.next_nonce().is_none());
    }
    // One that is about to be replaced still counts, and its successor is given along.
    let before = nonces.current(NOW.minus(Duration::from_secs(60)));
    let accepted = world.check(&request(Some(&before)), &policy).unwrap();
    assert_eq!(accepted.next_nonce().unwrap(), nonces.current(NOW).as_str());
    // Nobody else is told anything about nonces.
    let stranger = world.check(&by_bearer("abc"), &policy).unwrap_err();
    assert!(stranger.dpop_nonce().is_none());
}

// covers R6750-1, R9449-4
#[test]
fn a_route_says_which_schemes_it_takes() {
    let world = World::new();
    let party = Party::new("demo");
    let bound = world.bound();
    let to_certificate = world.token(json!({"x5t#S256": party.thumbprint()}));
    let nothing = get(&[]);
    let bearer = r#"Bearer realm="https://api.example""#.to_owned();
    let dpop = format!(r#"DPoP realm="https://api.example", {ALGORITHMS}"#);
    let by_proof = || by_dpop(&bound, &world.holder.prove(&for_token(&bound)));
    let told = |policy: &RoutePolicy| challenges(&world.check(&nothing, policy).unwrap_err());
    let check = |policy: &RoutePolicy, parts: &Parts| world.check_with(parts, &party.presented(), policy);

    assert_eq!(told(&route()), std::slice::from_ref(&bearer));

    let refusing = route().with_dpop(Dpop::Refused);
    assert_eq!(told(&refusing), [bearer]);
    let refused = check(&refusing, &by_proof()).unwrap_err();
    assert!(matches!(
        refused.reason(),
        AccessTokenRefusal::Bearer(BearerError::OtherScheme)
    ));
    let refused = check(&refusing, &by_bearer(&bound)).unwrap_err();
    assert!(matches!(
        refused.reason(),
        AccessTokenRefusal::Binding(BindingError::NoProof)
    ));
    assert_eq!(challenges(&refused).len(), 1);
    assert!(check(&refusing, &by_bearer(&to_certificate)).is_ok());

    let demanding = route().with_dpop(Dpop::Required);
    assert_eq!(told(&demanding), [dpop]);
    let refused = check(&demanding, &by_bearer(&to_certificate)).unwrap_err();
    assert!(matches!(refused.reason(), AccessTokenRefusal::ProofRequired));
    assert!(check(&demanding, &by_proof()).is_ok());

    // A resource that is no URL has no target that a proof could name.
    let nameless = RoutePolicy::new("urn:example:api".parse().unwrap());
    assert_eq!(nameless.dpop(), Dpop::Refused);
    let named = nameless.with_public_origin("https://api.example".parse().unwrap());
    assert_eq!(named.dpop(), Dpop::Accepted);
}

// covers R9449-3, R9449-1
#[tokio::test]
async fn an_introspected_token_that_is_bound_to_a_key_needs_its_proof_and_runs_on_without_another() {
    let asked = Asked::new();
    let (holder, thief) = (Prover::new(), Prover::new());
    let mut answer = json!({
        "active": true, "client_id": "demo", "aud": AUDIENCE, "exp": NOW.unix_secs() + 3600, "token_type": "DPoP",
        "cnf": {"jkt": holder.thumbprint()},
    });
    asked.answer("opaque-token", answer.clone());
    let check = async |prover: &Prover, now: Timestamp| {
        let proof = prover.prove(&Proof {
            now,
            ..for_token("opaque-token")
        });
        let parts = by_dpop("opaque-token", &proof);
        let check = asked
            .resource_server
            .check(&parts, &PresentedCertificate::None, &route(), now);
        (check.finish().await, parts)
    };
    // Whoever proves nothing costs the issuer nothing.
    let nothing = by_bearer("opaque-token");
    let verdict = asked
        .resource_server
        .check(&nothing, &PresentedCertificate::None, &route(), NOW);
    assert!(verdict.finish().await.is_err());
    assert_eq!(asked.questions(), 0);

    refused_as(check(&thief, NOW).await.0, "invalid_token");
    let (accepted, parts) = check(&holder, NOW).await;
    let accepted = accepted.unwrap();
    let running = asked
        .resource_server
        .follow(&accepted, &parts.headers, &PresentedCertificate::None, &route(), NOW);
    assert!(running.refusal(NOW).is_none());
    // The issuer is asked again, and the proof of the request that started it still counts for what runs: of this key alone.
    for (key, goes_on) in [(&holder, true), (&thief, false)] {
        answer["cnf"] = json!({"jkt": key.thumbprint()});
        asked.answer("opaque-token", answer.clone());
        asked.resource_server.forget_tokens();
        let due = NOW.plus(ACTIVE_MAX);
        let (verdict, _) = check(key, due).await;
        assert!(verdict.is_ok(), "{verdict:?}");
        assert_eq!(running.refusal(due).is_none(), goes_on);
    }
}

// covers R9449-4
#[test]
fn the_method_of_the_request_counts() {
    let world = World::new();
    let token = world.bound();
    let mut parts = by_dpop(
        &token,
        &world.holder.prove(&Proof {
            method: "DELETE",
            ..for_token(&token)
        }),
    );
    refused_as(world.check(&parts, &route()), "invalid_dpop_proof");
    parts.method = Method::DELETE;
    assert!(world.check(&parts, &route()).is_ok());
}
