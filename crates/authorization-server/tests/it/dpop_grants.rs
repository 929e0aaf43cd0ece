//! DPoP with the grants of users and with token exchange (RFC 9449 §5, §10): which key a code, a refresh token and an access token are bound
//! to, and that a wrong proof spends nothing.

use http::StatusCode;
use keybound_authorization_server::{TokenExchangeSettings, TrustedKeys};
use keybound_protocol::access_token::verification::DEFAULT_TOKEN_TYPES;
use keybound_protocol::grant_type::GrantType;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::profile::Profile;
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::time::Timestamp;
use keybound_store::ApprovalRequestHash;
use serde_json::{Value, json};

use crate::approvals;
use crate::browser::{Browser, add_user, location, parameters};
use crate::consent::{Consent, REDIRECT_URI, VERIFIER, asking_client, public_client, text};
use crate::pki::{Authority, Leaf, dns, self_signed};
use crate::prover::{Proof, Prover};
use crate::rfc7523::{claims as assertion_claims, signed};
use crate::rfc8705_2::private_key_jwt_client;
use crate::rfc9126::{CALLBACK, CHALLENGE, code_client};
use crate::rfc9449::{BINDING, PAR, PROOF, TOKEN, for_url};
use crate::world::{API, ISSUER, OTHER_API, Plan, Reply, Side, World, claims, credentials, tls_client, with};

const CODE_KEY: &str = "key that the code is bound to";
const HOLDER: &str = "certificate or key that the refresh token is bound to";
const TRADED: &str = "tokens to trade good, of a trusted issuer, and presented by their holder";
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const CIBA: &str = "urn:openid:params:grant-type:ciba";
const SUBJECT_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";

/// Whose tokens are bound to a key, demanded or not, and to a certificate.
struct Cast {
    world: World,
    demo: Leaf,
    own: Prover,
    other: Prover,
}

fn by_key() -> Value {
    json!({"tls_client_certificate_bound_access_tokens": false, "dpop_bound_access_tokens": true})
}

async fn cast_with(change: impl FnOnce(Plan) -> Plan) -> Cast {
    let authority = Authority::root("corp");
    let free = json!({"tls_client_certificate_bound_access_tokens": false});
    let plan = Plan::new()
        .trusts("corp", &authority)
        .client("by-key", with(asking_client("demo.example"), by_key()))
        .client("free", with(asking_client("demo.example"), free))
        .client("by-certificate", asking_client("demo.example"))
        .client("app", with(public_client(), by_key()));
    Cast {
        world: change(plan).start().await,
        demo: authority.issue(dns("demo.example")),
        own: Prover::new(),
        other: Prover::new(),
    }
}

async fn cast() -> Cast {
    cast_with(|plan| plan).await
}

impl Cast {
    /// A form over mutual TLS, with a proof by this key for the token endpoint.
    async fn post(&self, form: &[(&str, &str)], prover: Option<&Prover>) -> Reply {
        post(&self.world, &self.demo, form, prover).await
    }

    async fn redeem(&self, client_id: &str, code: &str, prover: Option<&Prover>) -> Reply {
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", client_id),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", VERIFIER),
        ];
        self.post(&form, prover).await
    }

    async fn refresh(&self, client_id: &str, refresh_token: &str, prover: Option<&Prover>) -> Reply {
        let form = [
            ("grant_type", "refresh_token"),
            ("client_id", client_id),
            ("refresh_token", refresh_token),
        ];
        self.post(&form, prover).await
    }

    /// A code that is bound to the own key.
    async fn bound_code(&self, client_id: &'static str) -> String {
        let consent = Consent {
            dpop_jkt: Some(self.own.thumbprint().to_string()),
            ..Consent::to(client_id)
        };
        self.world.code(&consent).await
    }
}

async fn post(world: &World, leaf: &Leaf, form: &[(&str, &str)], prover: Option<&Prover>) -> Reply {
    let proof = prover.map(|prover| {
        prover.prove(&Proof {
            now: Timestamp::from_unix_secs(world.clock.now()),
            ..for_url(TOKEN)
        })
    });
    let headers: Vec<(&str, &str)> = proof.iter().map(|proof| ("dpop", proof.as_str())).collect();
    let peer = world.peer(Side::MutualTls, Some(leaf));
    peer.post_with("/token", form, &headers).await
}

/// The answer with a token that is bound to this key and to nothing else.
#[track_caller]
fn bound_to(reply: &Reply, prover: &Prover) -> Value {
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let answer = reply.json();
    assert_eq!(answer["token_type"], "DPoP");
    let cnf = &claims(text(&answer, "access_token"))["cnf"];
    assert_eq!(*cnf, json!({"jkt": prover.thumbprint()}));
    answer
}

// covers R9449-2, R9449-3, R9449-6
#[tokio::test]
async fn a_code_is_redeemed_by_the_key_that_asked_for_it_and_by_no_other() {
    let cast = cast().await;
    for client_id in ["by-key", "free", "app"] {
        let code = cast.bound_code(client_id).await;
        let reply = cast.redeem(client_id, &code, Some(&cast.other)).await;
        let refusal = cast.world.assert_refused(&reply, 400, "invalid_grant", CODE_KEY).await;
        assert!(
            refusal.reason.contains("proves another one or none"),
            "{}",
            refusal.reason
        );
        let reply = cast.redeem(client_id, &code, None).await;
        let (error, rule) = match client_id {
            "free" => ("invalid_grant", CODE_KEY),
            _ => ("invalid_request", PROOF),
        };
        cast.world.assert_refused(&reply, 400, error, rule).await;
        // Nothing was spent by any of that.
        bound_to(&cast.redeem(client_id, &code, Some(&cast.own)).await, &cast.own);
    }
    // A code that names no key is bound to none: its token is, by whoever redeems it.
    let code = cast.world.code(&Consent::to("by-key")).await;
    bound_to(&cast.redeem("by-key", &code, Some(&cast.other)).await, &cast.other);
}

// covers R9449-1, R9449-2
#[tokio::test]
async fn a_proof_for_another_request_does_not_spend_a_code_nor_a_refresh_token() {
    let cast = cast().await;
    let code = cast.bound_code("app").await;
    let peer = cast.world.peer(Side::Public, None);
    let redeem = [
        ("grant_type", "authorization_code"),
        ("client_id", "app"),
        ("code", &code),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    let elsewhere = cast.own.prove(&for_url(PAR));
    let reply = peer.post_with("/token", &redeem, &[("dpop", &elsewhere)]).await;
    cast.world
        .assert_refused(&reply, 400, "invalid_dpop_proof", PROOF)
        .await;
    let proof = cast.own.prove(&for_url(TOKEN));
    let reply = peer.post_with("/token", &redeem, &[("dpop", &proof)]).await;
    let tokens = bound_to(&reply, &cast.own);

    let refresh = [
        ("grant_type", "refresh_token"),
        ("client_id", "app"),
        ("refresh_token", text(&tokens, "refresh_token")),
    ];
    // The proof of the code was used.
    let reply = peer.post_with("/token", &refresh, &[("dpop", &proof)]).await;
    let refusal = cast
        .world
        .assert_refused(&reply, 400, "invalid_dpop_proof", PROOF)
        .await;
    assert_eq!(refusal.reason, "the proof was used before");
    bound_to(
        &cast
            .refresh("app", text(&tokens, "refresh_token"), Some(&cast.own))
            .await,
        &cast.own,
    );
}

// covers R9449-2, R9700-4
#[tokio::test]
async fn a_public_clients_refresh_token_is_bound_to_its_key() {
    let cast = cast().await;
    let code = cast.world.code(&Consent::to("app")).await;
    let mut tokens = bound_to(&cast.redeem("app", &code, Some(&cast.own)).await, &cast.own);
    for _ in 0..2 {
        let refresh_token = text(&tokens, "refresh_token").to_owned();
        let reply = cast.refresh("app", &refresh_token, Some(&cast.other)).await;
        let refusal = cast.world.assert_refused(&reply, 400, "invalid_grant", HOLDER).await;
        assert!(
            refusal.reason.contains(&cast.other.thumbprint().to_string()),
            "{}",
            refusal.reason
        );
        let reply = cast.refresh("app", &refresh_token, None).await;
        cast.world.assert_refused(&reply, 400, "invalid_request", PROOF).await;
        // Another key did not use it up, and did not end the family.
        tokens = bound_to(&cast.refresh("app", &refresh_token, Some(&cast.own)).await, &cast.own);
        assert_ne!(text(&tokens, "refresh_token"), refresh_token);
    }
}

// covers R9449-2, R-FAPI-3
#[tokio::test]
async fn a_client_that_authenticates_may_change_its_key_at_a_refresh() {
    let cast = cast().await;
    let code = cast.bound_code("by-key").await;
    let tokens = bound_to(&cast.redeem("by-key", &code, Some(&cast.own)).await, &cast.own);
    let refresh_token = text(&tokens, "refresh_token");
    let reply = cast.refresh("by-key", refresh_token, None).await;
    cast.world.assert_refused(&reply, 400, "invalid_request", PROOF).await;
    let tokens = bound_to(
        &cast.refresh("by-key", refresh_token, Some(&cast.other)).await,
        &cast.other,
    );
    assert_eq!(text(&tokens, "refresh_token"), refresh_token);
}

// covers R9449-7, R7800-1
#[tokio::test]
async fn a_binding_by_certificate_and_a_proof_are_too_much_for_every_grant_of_a_user() {
    let cast = cast().await;
    let refused = async |reply: &Reply| {
        let refusal = cast.world.assert_refused(reply, 400, "invalid_request", BINDING).await;
        assert!(refusal.reason.contains("one of both too many"), "{}", refusal.reason);
    };
    let code = cast.world.code(&Consent::to("by-certificate")).await;
    refused(&cast.redeem("by-certificate", &code, Some(&cast.own)).await).await;
    let reply = cast.redeem("by-certificate", &code, None).await;
    assert_eq!(reply.json()["token_type"], "Bearer", "{reply:?}");
    let tokens = reply.json();
    let refresh_token = text(&tokens, "refresh_token");
    refused(&cast.refresh("by-certificate", refresh_token, Some(&cast.own)).await).await;
    let reply = cast.refresh("by-certificate", refresh_token, None).await;
    let cnf = &claims(text(&reply.json(), "access_token"))["cnf"];
    assert_eq!(*cnf, json!({"x5t#S256": cast.demo.thumbprint()}));

    // Nor is a request kept whose code could never be redeemed: named by the header, or by the parameter.
    let jkt = cast.own.thumbprint().to_string();
    let proof = cast.own.prove(&for_url(PAR));
    let peer = cast.world.peer(Side::MutualTls, Some(&cast.demo));
    let push = async |client_id: &str, jkt: Option<&str>, proof: Option<&str>| {
        let mut form = vec![
            ("client_id", client_id),
            ("response_type", "code"),
            ("redirect_uri", REDIRECT_URI),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        form.extend(jkt.map(|jkt| ("dpop_jkt", jkt)));
        let headers: Vec<(&str, &str)> = proof.iter().map(|proof| ("dpop", *proof)).collect();
        peer.post_with("/par", &form, &headers).await
    };
    refused(&push("by-certificate", None, Some(&proof)).await).await;
    refused(&push("by-certificate", Some(&jkt), None).await).await;
    assert_eq!(push("by-certificate", None, None).await.status, StatusCode::CREATED);
    assert_eq!(push("free", Some(&jkt), Some(&proof)).await.status, StatusCode::CREATED);
}

// covers R9449-5
#[tokio::test]
async fn a_pushed_request_is_told_the_nonce_that_its_proof_needs() {
    let cast = cast_with(|mut plan| {
        plan.settings.tokens.dpop_nonces = true;
        plan
    })
    .await;
    let peer = cast.world.peer(Side::MutualTls, Some(&cast.demo));
    let push = async |nonce: Option<&str>| {
        let form = [
            ("client_id", "by-key"),
            ("response_type", "code"),
            ("redirect_uri", REDIRECT_URI),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        let now = Timestamp::from_unix_secs(cast.world.clock.now());
        let proof = cast.own.prove(&Proof {
            now,
            nonce,
            ..for_url(PAR)
        });
        peer.post_with("/par", &form, &[("dpop", &proof)]).await
    };
    let reply = push(None).await;
    cast.world.assert_refused(&reply, 400, "use_dpop_nonce", PROOF).await;
    let nonce = reply.header("dpop-nonce").unwrap().to_owned();
    assert_eq!(push(Some(&nonce)).await.status, StatusCode::CREATED);
    // Its successor comes with a success.
    cast.world.clock.advance(60);
    let reply = push(Some(&nonce)).await;
    assert_eq!(reply.status, StatusCode::CREATED);
    assert!(reply.header("dpop-nonce").is_some_and(|next| next != nonce));
}

/// What a device or a client of CIBA got, its proofs one after the other; `begin` makes the request of a user.
async fn check_approval(begin: (&str, &[(&str, &str)], &str), metadata: Value, grant_type: &str) {
    let (own, other) = (Prover::new(), Prover::new());
    let (path, parameters, parameter) = begin;
    for binds_to_key in [true, false] {
        let more = match binds_to_key {
            true => with(metadata.clone(), by_key()),
            false => metadata.clone(),
        };
        let cast = approvals::cast(more, |plan| plan).await;
        let form = [&[("client_id", "demo")], parameters].concat();
        let begun = cast.world.post(Some(&cast.demo), path, &form).await;
        assert_eq!(begun.status, StatusCode::OK, "{begun:?}");
        let begun = begun.json();
        let secret = text(&begun, parameter);
        let poll = async |prover: Option<&Prover>| {
            let form = [("client_id", "demo"), ("grant_type", grant_type), (parameter, secret)];
            post(&cast.world, &cast.demo, &form, prover).await
        };
        let hash = match parameter {
            "device_code" => ApprovalRequestHash::of_device_code(secret),
            _ => ApprovalRequestHash::of_auth_req_id(secret),
        };
        cast.decide(hash, &cast.ada, true).await.unwrap();
        if binds_to_key {
            let reply = poll(None).await;
            cast.world.assert_refused(&reply, 400, "invalid_request", PROOF).await;
            let elsewhere = other.prove(&for_url(PAR));
            let form = [("client_id", "demo"), ("grant_type", grant_type), (parameter, secret)];
            let peer = cast.world.peer(Side::MutualTls, Some(&cast.demo));
            let reply = peer.post_with("/token", &form, &[("dpop", &elsewhere)]).await;
            cast.world
                .assert_refused(&reply, 400, "invalid_dpop_proof", PROOF)
                .await;
            bound_to(&poll(Some(&own)).await, &own);
        } else {
            let reply = poll(Some(&own)).await;
            let refusal = cast.world.assert_refused(&reply, 400, "invalid_request", BINDING).await;
            assert!(refusal.reason.contains("one of both too many"), "{}", refusal.reason);
            let answer = poll(None).await.json();
            assert!(claims(text(&answer, "access_token"))["cnf"]["x5t#S256"].is_string());
        }
    }
}

// covers R9449-2, R9449-7
#[tokio::test]
async fn a_device_binds_its_tokens_by_proof() {
    let begin: (_, &[_], _) = ("/device_authorization", &[("scope", "read")], "device_code");
    check_approval(
        begin,
        json!({"grant_types": [DEVICE_CODE, "refresh_token"]}),
        DEVICE_CODE,
    )
    .await;
}

// covers R9449-2, R9449-7
#[tokio::test]
async fn a_client_of_ciba_binds_its_tokens_by_proof() {
    let metadata = json!({"grant_types": [CIBA], "backchannel_token_delivery_mode": "poll"});
    let parameters: &[_] = &[("scope", "openid read"), ("login_hint", "ada")];
    check_approval(("/bc-authorize", parameters, "auth_req_id"), metadata, CIBA).await;
}

// covers R8693-2, R9449-2, R9449-7
#[tokio::test]
async fn a_token_that_is_bound_to_a_key_is_traded_by_the_holder_of_the_key_alone() {
    let grants = json!({"grant_types": ["client_credentials", GrantType::TokenExchange.name()]});
    let trading = |members: Value| with(with(tls_client("demo.example"), grants.clone()), members);
    let cast = cast_with(|mut plan| {
        plan.settings.token_exchange = vec![TokenExchangeSettings {
            issuer: Issuer::parse(ISSUER).unwrap(),
            keys: TrustedKeys::Discovered,
            algorithms: SignatureAlgorithm::ALL.to_vec(),
            token_types: DEFAULT_TOKEN_TYPES.map(str::to_owned).to_vec(),
            audience: vec![ResourceUri::parse(API).unwrap()],
            subject_prefix: String::new(),
            clients: vec!["api".parse().unwrap(), "api-by-certificate".parse().unwrap()],
            resources: vec![ResourceUri::parse(OTHER_API).unwrap()],
        }];
        plan.client("api", trading(by_key()))
            .client("api-by-certificate", trading(json!({})))
    })
    .await;
    let code = cast.world.code(&Consent::to("by-key")).await;
    let tokens = bound_to(&cast.redeem("by-key", &code, Some(&cast.own)).await, &cast.own);
    let trade = async |client_id: &str, prover: Option<&Prover>| {
        let form = [
            ("grant_type", GrantType::TokenExchange.name()),
            ("client_id", client_id),
            ("subject_token", text(&tokens, "access_token")),
            ("subject_token_type", SUBJECT_TOKEN_TYPE),
            ("resource", OTHER_API),
        ];
        cast.post(&form, prover).await
    };
    let reply = trade("api", Some(&cast.other)).await;
    let refusal = cast.world.assert_refused(&reply, 400, "invalid_request", TRADED).await;
    assert!(
        refusal.reason.contains("the DPoP proof was made by"),
        "{}",
        refusal.reason
    );
    let reply = trade("api", None).await;
    cast.world.assert_refused(&reply, 400, "invalid_request", PROOF).await;
    let reply = trade("api-by-certificate", None).await;
    let refusal = cast.world.assert_refused(&reply, 400, "invalid_request", TRADED).await;
    assert!(refusal.reason.contains("sent as a bearer token"), "{}", refusal.reason);
    let reply = trade("api-by-certificate", Some(&cast.own)).await;
    cast.world.assert_refused(&reply, 400, "invalid_request", BINDING).await;

    let traded = bound_to(&trade("api", Some(&cast.own)).await, &cast.own);
    assert_eq!(claims(text(&traded, "access_token"))["aud"], OTHER_API);
}

// covers R-FAPI-2, R-FAPI-11, R9449-6
#[tokio::test]
async fn fapi_2_takes_a_client_whose_tokens_are_bound_to_a_key() {
    let key = self_signed(dns("key"));
    let cast = cast_with(|plan| {
        let dpop = json!({"dpop_bound_access_tokens": true});
        let mut plan = plan
            .client("jwt", with(private_key_jwt_client(&key), dpop))
            .client("jwt-free", private_key_jwt_client(&key));
        plan.settings.profile = Profile::Fapi2;
        plan
    })
    .await;
    let ask = async |client_id: &str, token_id: &str, prover: Option<&Prover>| {
        let own = json!({"iss": client_id, "sub": client_id, "aud": ISSUER});
        let said = with(assertion_claims(token_id), own);
        let assertion = signed(&key, &json!({"alg": "ES256", "typ": "JWT"}), &said);
        let more = [
            (
                "client_assertion_type",
                keybound_protocol::client_assertion::CLIENT_ASSERTION_TYPE,
            ),
            ("client_assertion", &*assertion),
        ];
        let form = [&credentials(client_id)[..], &more].concat();
        let proof = prover.map(|prover| prover.prove(&for_url(TOKEN)));
        let headers: Vec<(&str, &str)> = proof.iter().map(|proof| ("dpop", proof.as_str())).collect();
        let peer = cast.world.peer(Side::Public, None);
        peer.post_with("/token", &form, &headers).await
    };
    // Bound to nothing is not on offer, nor is a proof by an algorithm that the profile does not know.
    let reply = ask("jwt", "1", None).await;
    cast.world.assert_refused(&reply, 400, "invalid_request", PROOF).await;
    let reply = ask("jwt-free", "2", None).await;
    cast.world.assert_refused(&reply, 400, "invalid_request", BINDING).await;
    let es384 = Prover::by(SignatureAlgorithm::Es384);
    let reply = ask("jwt", "3", Some(&es384)).await;
    cast.world
        .assert_refused(&reply, 400, "invalid_dpop_proof", PROOF)
        .await;
    bound_to(&ask("jwt", "4", Some(&cast.own)).await, &cast.own);

    let metadata = cast.world.peer(Side::Public, None);
    let metadata = metadata.get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(
        metadata["dpop_signing_alg_values_supported"],
        json!(["PS256", "ES256", "EdDSA"])
    );
    assert_eq!(metadata["tls_client_certificate_bound_access_tokens"], true);
}

// covers R9449-6
#[tokio::test]
async fn the_key_that_the_browser_brought_to_authorize_is_the_key_of_the_code() {
    let authority = Authority::root("corp");
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("demo", with(code_client(tls_client("demo.example")), by_key()))
        .start()
        .await;
    add_user(&world, "helena").await;
    let demo = authority.issue(dns("demo.example"));
    let (own, other) = (Prover::new(), Prover::new());
    let browser = Browser::of(&world);
    let jkt = own.thumbprint().to_string();
    let login = browser.begin_with(&[("dpop_jkt", &jkt)]).await;
    let consent = location(&browser.sign_in(&login).await);
    let parameters = parameters(&browser.decide(&consent, "approve").await);
    let code = parameters.iter().find(|(name, _)| name == "code").unwrap();
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", "demo"),
        ("code", &code.1),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    let reply = post(&world, &demo, &form, Some(&other)).await;
    world.assert_refused(&reply, 400, "invalid_grant", CODE_KEY).await;
    bound_to(&post(&world, &demo, &form, Some(&own)).await, &own);
}
