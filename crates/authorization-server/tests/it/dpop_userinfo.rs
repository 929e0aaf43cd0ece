//! The userinfo endpoint with tokens that are bound to a key (RFC 9449 §7), and what the other resources inside say of such tokens.

use http::{Method, StatusCode};
use keybound_protocol::time::Timestamp;
use keybound_store::{Actor, AuditEntry, CreateUser, NewUser, PasswordHash};
use serde_json::{Value, json};

use crate::consent::{Consent, REDIRECT_URI, VERIFIER, asking_client, text, user};
use crate::pki::{Authority, Leaf, dns};
use crate::prover::{Proof, Prover};
use crate::rfc9449::{TOKEN, for_url};
use crate::world::{OPAQUE_API, Plan, Reply, Side, World, tls_client, with};

const USERINFO: &str = "https://as.example/userinfo";
const PRESENTATION: &str = "sent as a bearer token, or by the scheme DPoP with a proof";
const PROOF: &str = "DPoP proof, where there has to be one, made for this request";
const BOUND: &str = "certificate or key that the access token is bound to";

struct Cast {
    world: World,
    demo: Leaf,
    own: Prover,
    other: Prover,
}

async fn cast(dpop_nonces: bool) -> Cast {
    let authority = Authority::root("corp");
    let mut plan = Plan::new();
    plan.settings.openid_enabled = true;
    plan.settings.tokens.dpop_nonces = dpop_nonces;
    let asking = |members: Value| {
        with(
            asking_client("demo.example"),
            with(json!({"scope": "openid read"}), members),
        )
    };
    let by_key = json!({"tls_client_certificate_bound_access_tokens": false, "dpop_bound_access_tokens": true});
    let administrator = with(tls_client("demo.example"), json!({"scope": "keybound:admin"}));
    let world = plan
        .trusts("corp", &authority)
        .client("by-key", asking(by_key.clone()))
        .client("by-certificate", asking(json!({})))
        .client(
            "unbound",
            asking(json!({"tls_client_certificate_bound_access_tokens": false})),
        )
        .client("admin-by-key", with(administrator.clone(), by_key))
        .client("admin", administrator)
        .start()
        .await;
    let alice = NewUser {
        name: "alice".parse().unwrap(),
        subject: user(),
        password_hash: PasswordHash::from_phc("$argon2id$none"),
        user_code_hash: None,
        claims: "{}".into(),
        is_disabled: false,
    };
    let now = Timestamp::from_unix_secs(world.clock.now());
    let entry = AuditEntry::new(now, Actor::Operator);
    let created = world.store.users.create_user(alice, entry).await.unwrap();
    assert!(matches!(created, CreateUser::Created { .. }), "{created:?}");
    Cast {
        world,
        demo: authority.issue(dns("demo.example")),
        own: Prover::new(),
        other: Prover::new(),
    }
}

/// What a proof is, beside its key.
#[derive(Clone, Copy, Default)]
struct Made<'a> {
    method: Option<&'a str>,
    url: Option<&'a str>,
    nonce: Option<&'a str>,
    /// How long ago.
    age: i64,
}

impl Cast {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_secs(self.world.clock.now())
    }

    async fn token(&self, client_id: &'static str, resources: Vec<&'static str>, nonce: Option<&str>) -> String {
        let consent = Consent {
            scope: "openid read",
            resources,
            ..Consent::to(client_id)
        };
        let code = self.world.code(&consent).await;
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", client_id),
            ("code", &code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", VERIFIER),
        ];
        let now = self.now();
        let proof = self.own.prove(&Proof {
            now,
            nonce,
            ..for_url(TOKEN)
        });
        let headers: &[_] = if client_id == "by-key" {
            &[("dpop", &*proof)]
        } else {
            &[]
        };
        let peer = self.world.peer(Side::MutualTls, Some(&self.demo));
        let reply = peer.post_with("/token", &form, headers).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        text(&reply.json(), "access_token").to_owned()
    }

    fn proof(&self, prover: &Prover, token: Option<&str>, made: Made<'_>) -> String {
        prover.prove(&Proof {
            method: made.method.unwrap_or("GET"),
            url: made.url.unwrap_or(USERINFO),
            now: Timestamp::from_unix_secs(self.world.clock.now() - made.age),
            token,
            nonce: made.nonce,
        })
    }

    async fn ask(&self, authorization: &str, proofs: &[&str]) -> Reply {
        let mut headers = vec![("authorization", authorization)];
        headers.extend(proofs.iter().map(|proof| ("dpop", *proof)));
        let peer = self.world.peer(Side::Public, None);
        peer.send(Method::GET, "/userinfo", &headers, None).await
    }
}

fn challenges(reply: &Reply) -> Vec<&str> {
    let values = reply.headers.get_all("www-authenticate").iter();
    values.map(|value| value.to_str().unwrap()).collect()
}

// covers R9449-4, R9449-1
#[tokio::test]
async fn userinfo_is_told_to_the_holder_of_the_key_by_a_proof_for_this_request() {
    let cast = cast(false).await;
    for resources in [Vec::new(), vec![OPAQUE_API]] {
        let token = cast.token("by-key", resources.clone(), None).await;
        let another = cast.token("by-key", resources, None).await;
        let by_dpop = format!("DPoP {token}");
        let made = |made| cast.proof(&cast.own, Some(&token), made);
        let get = Made::default();
        let good = made(get);
        for proofs in [
            vec![],
            vec!["x".to_owned()],
            vec![made(get), made(get)],
            vec![made(Made {
                method: Some("POST"),
                ..get
            })],
            vec![made(Made {
                url: Some(TOKEN),
                ..get
            })],
            vec![made(Made { age: 91, ..get })],
            vec![made(Made { age: -31, ..get })],
            vec![cast.proof(&cast.own, None, get)],
            vec![cast.proof(&cast.own, Some(&another), get)],
        ] {
            let proofs: Vec<&str> = proofs.iter().map(String::as_str).collect();
            let reply = cast.ask(&by_dpop, &proofs).await;
            cast.world
                .assert_refused(&reply, 401, "invalid_dpop_proof", PROOF)
                .await;
            let [challenge] = challenges(&reply)[..] else {
                panic!("{reply:?}")
            };
            assert!(challenge.starts_with("DPoP realm="), "{challenge}");
            assert!(challenge.contains("error=\"invalid_dpop_proof\""), "{challenge}");
            assert!(challenge.contains("algs=\"ES256 ES384 "), "{challenge}");
        }
        let reply = cast.ask(&by_dpop, &[&cast.proof(&cast.other, Some(&token), get)]).await;
        let refusal = cast.world.assert_refused(&reply, 401, "invalid_token", BOUND).await;
        assert!(
            refusal.reason.contains("the DPoP proof was made by"),
            "{}",
            refusal.reason
        );
        assert!(refusal.fix.unwrap().contains("another key"));

        let reply = cast.ask(&by_dpop, &[&good]).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        assert_eq!(reply.json()["sub"], user().as_str());
        let reply = cast.ask(&by_dpop, &[&good]).await;
        let refusal = cast
            .world
            .assert_refused(&reply, 401, "invalid_dpop_proof", PROOF)
            .await;
        assert!(
            refusal.reason.ends_with("the proof was used before"),
            "{}",
            refusal.reason
        );
        // At the other listener, by POST.
        let proof = made(Made {
            method: Some("POST"),
            url: Some("https://mtls.as.example/userinfo"),
            ..get
        });
        let headers = [("authorization", &*by_dpop), ("dpop", &*proof)];
        let peer = cast.world.peer(Side::MutualTls, None);
        let reply = peer.send(Method::POST, "/userinfo", &headers, None).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    }
}

// covers R9449-4
#[tokio::test]
async fn a_token_comes_to_userinfo_by_the_scheme_of_its_binding() {
    let cast = cast(false).await;
    let bound = cast.token("by-key", Vec::new(), None).await;
    let reply = cast.ask(&format!("Bearer {bound}"), &[]).await;
    let refusal = cast.world.assert_refused(&reply, 401, "invalid_token", BOUND).await;
    assert!(
        refusal.reason.contains("sent as a bearer token, without a DPoP proof"),
        "{}",
        refusal.reason
    );
    assert!(refusal.fix.unwrap().contains("Authorization: DPoP"));
    let [bearer, dpop] = challenges(&reply)[..] else {
        panic!("{reply:?}")
    };
    assert!(
        bearer.starts_with("Bearer ") && bearer.contains("error=\"invalid_token\""),
        "{bearer}"
    );
    assert!(
        dpop.starts_with("DPoP ") && dpop.contains("algs=") && !dpop.contains("error="),
        "{dpop}"
    );

    let proof = cast.proof(&cast.own, Some(&bound), Made::default());
    let reply = cast.ask(&format!("Bearer {bound}"), &[&proof]).await;
    cast.world
        .assert_refused(&reply, 401, "invalid_token", PRESENTATION)
        .await;
    assert_eq!(challenges(&reply).len(), 2);

    // One that is bound to a certificate, or to nothing, is no DPoP token, whatever else comes with it.
    for client_id in ["by-certificate", "unbound"] {
        let token = cast.token(client_id, Vec::new(), None).await;
        let proof = cast.proof(&cast.own, Some(&token), Made::default());
        let authorization = format!("DPoP {token}");
        let headers = [("authorization", &*authorization), ("dpop", &*proof)];
        let peer = cast.world.peer(Side::MutualTls, Some(&cast.demo));
        let reply = peer.send(Method::GET, "/userinfo", &headers, None).await;
        let refusal = cast.world.assert_refused(&reply, 401, "invalid_token", BOUND).await;
        assert!(refusal.reason.contains("not bound to a key"), "{}", refusal.reason);
        let reply = peer.get_with_token("/userinfo", &token).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    }
    let reply = cast.ask(&format!("DPoP {bound}"), &[&proof]).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
}

// covers R9449-5
#[tokio::test]
async fn userinfo_gives_the_nonce_that_it_demands() {
    let cast = cast(true).await;
    let first = cast.ask("DPoP x", &["x"]).await;
    let nonce = first.header("dpop-nonce").unwrap().to_owned();
    let token = cast.token("by-key", Vec::new(), Some(&nonce)).await;
    let by_dpop = format!("DPoP {token}");
    let proof = |nonce| {
        let made = Made {
            nonce,
            ..Made::default()
        };
        cast.proof(&cast.own, Some(&token), made)
    };
    for wrong in [None, Some("made up")] {
        let reply = cast.ask(&by_dpop, &[&proof(wrong)]).await;
        cast.world.assert_refused(&reply, 401, "use_dpop_nonce", PROOF).await;
        let [challenge] = challenges(&reply)[..] else {
            panic!("{reply:?}")
        };
        assert!(challenge.contains("error=\"use_dpop_nonce\""), "{challenge}");
        assert_eq!(reply.header("dpop-nonce"), Some(&*nonce));
    }
    let reply = cast.ask(&by_dpop, &[&proof(Some(&nonce))]).await;
    assert_eq!((reply.status, reply.header("dpop-nonce")), (StatusCode::OK, None));
    cast.world.clock.advance(60);
    let reply = cast.ask(&by_dpop, &[&proof(Some(&nonce))]).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    assert!(reply.header("dpop-nonce").is_some_and(|next| next != nonce));
}

// covers R9449-4
#[tokio::test]
async fn what_is_inside_for_administrators_takes_certificate_bound_tokens_alone_and_says_so() {
    let cast = cast(false).await;
    let ask = async |client_id: &str, proof: Option<&str>| {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", client_id),
            ("resource", "https://as.example/admin"),
        ];
        let headers: Vec<(&str, &str)> = proof.iter().map(|proof| ("dpop", *proof)).collect();
        let peer = cast.world.peer(Side::MutualTls, Some(&cast.demo));
        text(&peer.post_with("/token", &form, &headers).await.json(), "access_token").to_owned()
    };
    let proof = cast.own.prove(&for_url(TOKEN));
    let token = ask("admin-by-key", Some(&proof)).await;
    let peer = cast.world.peer(Side::MutualTls, Some(&cast.demo));
    let at = "https://mtls.as.example/admin/v1/clients";
    let proof = cast.proof(
        &cast.own,
        Some(&token),
        Made {
            url: Some(at),
            ..Made::default()
        },
    );
    let by_dpop = format!("DPoP {token}");
    let by_bearer = format!("Bearer {token}");
    for (headers, told) in [
        (
            vec![("authorization", &*by_dpop), ("dpop", &*proof)],
            "Authorization: Bearer",
        ),
        (
            vec![("authorization", &*by_bearer)],
            "takes no tokens that are bound to a key",
        ),
    ] {
        let reply = peer.send(Method::GET, "/admin/v1/clients", &headers, None).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{reply:?}");
        let [challenge] = challenges(&reply)[..] else {
            panic!("{reply:?}")
        };
        assert!(challenge.starts_with("Bearer "), "{challenge}");
        let refusal = cast.world.refusal(&reply).await;
        let fix = refusal.fix.unwrap();
        assert!(fix.contains(told) && !fix.contains("DPoP"), "{fix}");
    }
    let token = ask("admin", None).await;
    let reply = peer.get_with_token("/admin/v1/clients", &token).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
}
