//! DPoP at the authorization server (RFC 9449): whose tokens are bound to a key, which proofs count, and what is refused before anything
//! is spent.

use http::StatusCode;
use keybound_protocol::client_assertion::CLIENT_ASSERTION_TYPE;
use keybound_protocol::time::Timestamp;
use keybound_store::RequestUriHash;
use serde_json::{Value, json};

use crate::pki::{Authority, Leaf, dns, self_signed};
use crate::prover::{Proof, Prover};
use crate::rfc8705_2::{assertion, private_key_jwt_client};
use crate::rfc9126::{code_client, good};
use crate::world::{NOW, OPAQUE_API, Plan, Reply, Side, World, claims, credentials, tls_client, with};

pub(crate) const TOKEN: &str = "https://as.example/token";
pub(crate) const PAR: &str = "https://as.example/par";
pub(crate) const PROOF: &str = "DPoP proof, where there is or has to be one, made for this request";
pub(crate) const BINDING: &str = "certificate presented to bind the access token to";

/// A client whose certificate authenticates and whose tokens are bound to a key, one whose are bound to a certificate, one of which neither
/// is demanded; and one that has no certificate at all.
struct Cast {
    world: World,
    demo: Leaf,
    key: Leaf,
    prover: Prover,
}

async fn cast_with(change: impl FnOnce(&mut Plan)) -> Cast {
    let authority = Authority::root("corp");
    let key = self_signed(dns("key"));
    let tls = |members: Value| with(tls_client("demo.example"), members);
    let jwt = |members: Value| with(private_key_jwt_client(&key), members);
    let free = json!({"tls_client_certificate_bound_access_tokens": false});
    let mut plan = Plan::new()
        .trusts("corp", &authority)
        .client(
            "by-key",
            tls(json!({"tls_client_certificate_bound_access_tokens": false, "dpop_bound_access_tokens": true})),
        )
        .client("by-certificate", tls(json!({})))
        .client("free", tls(free.clone()))
        .client("jwt", jwt(json!({"dpop_bound_access_tokens": true})))
        .client(
            "jwt-by-certificate",
            jwt(json!({"tls_client_certificate_bound_access_tokens": true})),
        )
        .client("code", code_client(with(tls_client("demo.example"), free)))
        .introspecting();
    change(&mut plan);
    Cast {
        world: plan.start().await,
        demo: authority.issue(dns("demo.example")),
        key,
        prover: Prover::new(),
    }
}

async fn cast() -> Cast {
    cast_with(|_| {}).await
}

impl Cast {
    fn proof(&self, url: &str, nonce: Option<&str>) -> String {
        self.prover.prove(&Proof { nonce, ..for_url(url) })
    }

    /// A token request over mutual TLS.
    async fn ask(&self, client_id: &str, proofs: &[&str]) -> Reply {
        self.post("/token", &credentials(client_id), proofs).await
    }

    async fn post(&self, path: &str, form: &[(&str, &str)], proofs: &[&str]) -> Reply {
        let headers: Vec<(&str, &str)> = proofs.iter().map(|proof| ("dpop", *proof)).collect();
        let peer = self.world.peer(Side::MutualTls, Some(&self.demo));
        peer.post_with(path, form, &headers).await
    }

    /// A token request with an assertion, over the listener that asks for no certificate.
    async fn ask_by_assertion(&self, client_id: &str, assertion_id: &str, proofs: &[&str]) -> Reply {
        let assertion = assertion(&self.key, client_id, assertion_id, NOW);
        let form = [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", CLIENT_ASSERTION_TYPE),
            ("client_assertion", &assertion),
        ];
        let headers: Vec<(&str, &str)> = proofs.iter().map(|proof| ("dpop", *proof)).collect();
        self.world
            .peer(Side::Public, None)
            .post_with("/token", &form, &headers)
            .await
    }
}

/// A proof for a POST there, now.
pub(crate) fn for_url(url: &str) -> Proof<'_> {
    Proof {
        method: "POST",
        url,
        now: Timestamp::from_unix_secs(NOW),
        token: None,
        nonce: None,
    }
}

#[track_caller]
fn granted(reply: &Reply) -> Value {
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    reply.json()
}

// covers MTLS-B-1, R9449-2, R9449-3, R7800-1
#[tokio::test]
async fn a_token_is_bound_to_the_key_of_the_proof_and_to_nothing_else() {
    let cast = cast().await;
    let cnf = json!({"jkt": cast.prover.thumbprint()});
    // The certificate authenticates the client, or lies on the connection by accident: it binds nothing here.
    for (client_id, url) in [
        ("by-key", TOKEN),
        ("free", TOKEN),
        ("free", "https://mtls.as.example/token"),
    ] {
        let answer = granted(&cast.ask(client_id, &[&cast.proof(url, None)]).await);
        assert_eq!(answer["token_type"], "DPoP");
        assert_eq!(claims(answer["access_token"].as_str().unwrap())["cnf"], cnf);
    }
    // Without one, over the listener that asks for none.
    let answer = granted(&cast.ask_by_assertion("jwt", "1", &[&cast.proof(TOKEN, None)]).await);
    assert_eq!(claims(answer["access_token"].as_str().unwrap())["cnf"], cnf);
    // Whom no binding is demanded of gets what it always got, if it proves nothing.
    let answer = granted(&cast.ask("free", &[]).await);
    assert_eq!(answer["token_type"], "Bearer");
    assert!(claims(answer["access_token"].as_str().unwrap()).get("cnf").is_none());
}

// covers R9449-3, R9449-2
#[tokio::test]
async fn introspection_tells_the_key_of_a_jwt_and_of_an_opaque_token() {
    let authority = Authority::root("resources");
    let rs = authority.issue(dns("rs.example"));
    let cast = cast_with(|plan| {
        let trusting = std::mem::replace(plan, Plan::new());
        *plan = trusting.trusts("resources", &authority);
    })
    .await;
    for resource in [None, Some(OPAQUE_API)] {
        let mut form = credentials("by-key").to_vec();
        form.extend(resource.map(|resource| ("resource", resource)));
        let answer = granted(&cast.post("/token", &form, &[&cast.proof(TOKEN, None)]).await);
        let token = answer["access_token"].as_str().unwrap();
        let asked = [("client_id", "rs"), ("token", token)];
        let told = cast.world.post(Some(&rs), "/introspect", &asked).await.json();
        assert_eq!(told["active"], true, "{told}");
        assert_eq!(told["cnf"], json!({"jkt": cast.prover.thumbprint()}));
        assert_eq!(told["token_type"], "DPoP");
    }
}

// covers R9449-1, R9449-2
#[tokio::test]
async fn a_proof_that_is_not_for_this_request_is_refused_before_anything_is_spent() {
    let cast = cast().await;
    let at = |url| cast.proof(url, None);
    let (own, second) = (at(TOKEN), at(TOKEN));
    // The claims of one proof under the signature of another.
    let (forged, _) = own.rsplit_once('.').unwrap();
    let forged = format!("{forged}.{}", second.rsplit_once('.').unwrap().1);
    let other_method = cast.prover.prove(&Proof {
        method: "GET",
        ..for_url(TOKEN)
    });
    let old = cast.prover.prove(&Proof {
        now: Timestamp::from_unix_secs(NOW - 91),
        ..for_url(TOKEN)
    });
    let elsewhere = at("https://other.example/token");
    let at_par = at(PAR);
    for proofs in [
        &["x"][..],
        &[&forged],
        &[&other_method],
        &[&elsewhere],
        &[&at_par],
        &[&old],
        &[&own, &second],
    ] {
        let reply = cast.ask_by_assertion("jwt", "one", proofs).await;
        cast.world
            .assert_refused(&reply, 400, "invalid_dpop_proof", PROOF)
            .await;
        assert_eq!(reply.header("dpop-nonce"), None);
    }
    // Neither the proof nor the assertion was used up by that, and both are now.
    granted(&cast.ask_by_assertion("jwt", "one", &[&own]).await);
    let reply = cast.ask_by_assertion("jwt", "two", &[&own]).await;
    let refusal = cast
        .world
        .assert_refused(&reply, 400, "invalid_dpop_proof", PROOF)
        .await;
    assert_eq!(refusal.reason, "the proof was used before");
    granted(&cast.ask_by_assertion("jwt", "two", &[&second]).await);
}

// covers R9449-6, T2
#[tokio::test]
async fn a_client_that_registered_so_gets_nothing_without_a_proof() {
    let cast = cast().await;
    let reply = cast.ask("by-key", &[]).await;
    let refusal = cast.world.assert_refused(&reply, 400, "invalid_request", PROOF).await;
    assert_eq!(refusal.reason, "the request has no DPoP header");
    let reply = cast.ask_by_assertion("jwt", "one", &[]).await;
    cast.world.assert_refused(&reply, 400, "invalid_request", PROOF).await;
    granted(&cast.ask_by_assertion("jwt", "one", &[&cast.proof(TOKEN, None)]).await);
}

// covers R9449-7, R7800-1
#[tokio::test]
async fn a_certificate_that_would_bind_and_a_proof_in_one_request_are_refused_with_the_reason() {
    let cast = cast().await;
    let reply = cast.ask("by-certificate", &[&cast.proof(TOKEN, None)]).await;
    let refusal = cast.world.assert_refused(&reply, 400, "invalid_request", BINDING).await;
    assert!(refusal.reason.contains("one of both too many"), "{}", refusal.reason);
    // Either alone: the certificate binds, and a proof is no certificate.
    let answer = granted(&cast.ask("by-certificate", &[]).await);
    assert_eq!(answer["token_type"], "Bearer");
    let cnf = &claims(answer["access_token"].as_str().unwrap())["cnf"];
    assert_eq!(*cnf, json!({"x5t#S256": cast.demo.thumbprint()}));
    let reply = cast
        .ask_by_assertion("jwt-by-certificate", "one", &[&cast.proof(TOKEN, None)])
        .await;
    cast.world.assert_refused(&reply, 400, "invalid_request", BINDING).await;
}

// covers R9449-5
#[tokio::test]
async fn a_server_that_demands_nonces_gives_one_and_takes_it() {
    let cast = cast_with(|plan| plan.settings.tokens.dpop_nonces = true).await;
    let own = cast.proof(TOKEN, None);
    let reply = cast.ask_by_assertion("jwt", "one", &[&own]).await;
    cast.world.assert_refused(&reply, 400, "use_dpop_nonce", PROOF).await;
    let nonce = reply.header("dpop-nonce").unwrap().to_owned();
    let reply = cast
        .ask_by_assertion("jwt", "one", &[&cast.proof(TOKEN, Some("made up"))])
        .await;
    cast.world.assert_refused(&reply, 400, "use_dpop_nonce", PROOF).await;

    let reply = cast
        .ask_by_assertion("jwt", "one", &[&cast.proof(TOKEN, Some(&nonce))])
        .await;
    granted(&reply);
    assert_eq!(reply.header("dpop-nonce"), None);
    // A nonce of the minute before counts, and the answer has its successor.
    cast.world.clock.advance(60);
    let later = cast.prover.prove(&Proof {
        now: Timestamp::from_unix_secs(NOW + 60),
        nonce: Some(&nonce),
        ..for_url(TOKEN)
    });
    let reply = cast.ask("by-key", &[&later]).await;
    granted(&reply);
    assert!(reply.header("dpop-nonce").is_some_and(|next| next != nonce));
    // Who sends no proof is asked for no nonce.
    granted(&cast.ask("free", &[]).await);
}

// covers R9449-6
#[tokio::test]
async fn a_pushed_request_names_its_key_by_parameter_or_by_proof_and_by_both_if_they_are_one() {
    let cast = cast().await;
    let own = cast.prover.thumbprint().to_string();
    let other = Prover::new().thumbprint().to_string();
    let push = async |jkt: Option<&str>, proof: Option<&str>| {
        let mut form = good();
        let mut all = vec![("client_id", "code")];
        all.append(&mut form);
        all.extend(jkt.map(|jkt| ("dpop_jkt", jkt)));
        cast.post("/par", &all, proof.as_slice()).await
    };
    let kept = |reply: &Reply| {
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        let document = reply.json();
        let hash = RequestUriHash::of(document["request_uri"].as_str().unwrap());
        let found = cast
            .world
            .store
            .pushed_requests
            .find_pushed_request(&hash)
            .unwrap()
            .unwrap();
        serde_json::from_str::<Value>(&found.pushed.request).unwrap()["dpop_jkt"].clone()
    };
    assert_eq!(kept(&push(None, None).await), Value::Null);
    assert_eq!(kept(&push(Some(&own), None).await), json!(own));
    assert_eq!(kept(&push(None, Some(&cast.proof(PAR, None))).await), json!(own));
    assert_eq!(kept(&push(Some(&own), Some(&cast.proof(PAR, None))).await), json!(own));

    let proof = cast.proof(PAR, None);
    let reply = push(Some(&other), Some(&proof)).await;
    let rule = "dpop_jkt and DPoP proof of one key";
    cast.world.assert_refused(&reply, 400, "invalid_request", rule).await;
    let reply = push(None, Some(&cast.proof(TOKEN, None))).await;
    cast.world
        .assert_refused(&reply, 400, "invalid_dpop_proof", PROOF)
        .await;
    // It was used up by nothing that was refused, and is by what was kept.
    assert_eq!(kept(&push(None, Some(&proof)).await), json!(own));
    let reply = push(None, Some(&proof)).await;
    cast.world
        .assert_refused(&reply, 400, "invalid_dpop_proof", PROOF)
        .await;
}
