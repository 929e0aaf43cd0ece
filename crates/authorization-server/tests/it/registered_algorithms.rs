//! The algorithms that a client registers: which one of this server's keys signs for it, and by which alone it signs itself.

use aws_lc_rs::rand::SystemRandom;
use http::StatusCode;
use keybound_protocol::base64url;
use keybound_protocol::client::ClientOrigin;
use keybound_protocol::client_assertion::CLIENT_ASSERTION_TYPE;
use keybound_protocol::client_metadata::ClientMetadata;
use keybound_protocol::jwk_set::JwkSet;
use keybound_protocol::jws::{JwsPolicy, UnverifiedJws};
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::signer::{LocalSigner, Signer};
use serde_json::{Value, json};

use crate::approvals::cast_from;
use crate::browser::{Browser, parameters};
use crate::ciba;
use crate::consent::{Consent, REDIRECT_URI, text};
use crate::pki::{Authority, Leaf, dns};
use crate::rfc9126::{CALLBACK, CHALLENGE};
use crate::world::{API, ISSUER, NOW, Plan, Side, World, jose_header, tls_client, with};

const SIGNED_FOR_CLIENTS: [&str; 3] = [
    "id_token_signed_response_alg",
    "authorization_signed_response_alg",
    "introspection_signed_response_alg",
];

/// A server that signs access tokens by ES256, and the rest also by these.
fn plan(others: &[SignatureAlgorithm]) -> Plan {
    let mut plan = Plan::new();
    plan.settings.openid_enabled = true;
    plan.settings.tokens.other_signing_algorithms = others.to_vec();
    plan
}

fn asking(more: Value) -> Value {
    let asking = json!({
        "grant_types": ["authorization_code", "refresh_token"], "redirect_uris": [CALLBACK, REDIRECT_URI],
        "scope": "openid read write", "keybound_introspects": [API],
    });
    with(with(tls_client("demo.example"), asking), more)
}

fn each_another() -> Value {
    json!({
        "id_token_signed_response_alg": "EdDSA",
        "authorization_signed_response_alg": "ES384",
        "introspection_signed_response_alg": "RS256",
    })
}

const OTHERS: [SignatureAlgorithm; 3] = [
    SignatureAlgorithm::EdDsa,
    SignatureAlgorithm::Es384,
    SignatureAlgorithm::Rs256,
];

/// The algorithm of a JWT that a published key signed by it.
async fn verified(world: &World, jwt: &str) -> String {
    let keys = JwkSet::parse(&world.peer(Side::Public, None).get("/jwks").await.body).unwrap();
    let jws = UnverifiedJws::parse(jwt).unwrap();
    let header = jose_header(jwt);
    let types = header["typ"].as_str().map(|name| [name]);
    let policy = JwsPolicy {
        algorithms: &SignatureAlgorithm::ALL,
        types: types.as_ref().map_or(&[], |types| types),
        type_may_be_missing: true,
    };
    assert!(jws.verify(&policy, &keys).is_ok(), "{header}");
    header["alg"].as_str().unwrap().to_owned()
}

async fn introspection(world: &World, demo: &Leaf, client_id: &str) -> Vec<u8> {
    let form = [("client_id", client_id), ("token", "x")];
    let accept = [("accept", "application/token-introspection+jwt")];
    let peer = world.peer(Side::MutualTls, Some(demo));
    peer.post_with("/introspect", &form, &accept).await.body
}

// covers R9701-4, R7591-2
#[test]
fn what_the_server_does_not_sign_by_cannot_be_registered() {
    let judge = |others: &[SignatureAlgorithm], member: &str, algorithm: &str| {
        let policy = plan(others).settings.registration_policy(ClientOrigin::Registration);
        let metadata = asking(json!({ member: algorithm, "keybound_introspects": null }));
        ClientMetadata::parse(metadata.to_string().as_bytes(), &policy)
    };
    for member in SIGNED_FOR_CLIENTS {
        for algorithm in ["RS256", "PS256", "none", "HS256", "es256", ""] {
            let refused = judge(&[], member, algorithm).unwrap_err();
            assert_eq!(
                refused.code().as_str(),
                "invalid_client_metadata",
                "{member} {algorithm}"
            );
        }
        let refused = judge(&[SignatureAlgorithm::Rs256], member, "PS256");
        assert!(refused.is_err(), "{member}");
        assert!(judge(&[SignatureAlgorithm::Rs256], member, "RS256").is_ok(), "{member}");
        assert!(judge(&[SignatureAlgorithm::Rs256], member, "ES256").is_ok(), "{member}");
    }
    for member in [
        "request_object_signing_alg",
        "backchannel_authentication_request_signing_alg",
    ] {
        for algorithm in ["none", "HS256", "RS512"] {
            let refused = judge(&OTHERS, member, algorithm).unwrap_err();
            assert_eq!(
                refused.code().as_str(),
                "invalid_client_metadata",
                "{member} {algorithm}"
            );
        }
    }
}

// covers R9701-4, FAPI-21
#[tokio::test]
async fn each_answer_is_signed_by_the_algorithm_registered_for_it() {
    let authority = Authority::root("corp");
    let world = plan(&OTHERS)
        .trusts("corp", &authority)
        .client("demo", asking(each_another()))
        .client("plain", asking(json!({})))
        .start()
        .await;
    let demo = authority.issue(dns("demo.example"));
    for (client_id, [id_token, authorization, introspected]) in [
        ("plain", ["ES256", "ES256", "ES256"]),
        ("demo", ["EdDSA", "ES384", "RS256"]),
    ] {
        let consent = Consent {
            scope: "openid read",
            ..Consent::to(client_id)
        };
        let tokens = world.tokens(&demo, &consent).await;
        assert_eq!(verified(&world, text(&tokens, "id_token")).await, id_token);
        // No member speaks of access tokens: they are for resources, which know one algorithm.
        assert_eq!(verified(&world, text(&tokens, "access_token")).await, "ES256");
        let refresh_token = text(&tokens, "refresh_token");
        let refreshed = world.refresh(Some(&demo), client_id, refresh_token, &[]).await.json();
        assert_eq!(verified(&world, text(&refreshed, "id_token")).await, id_token);
        let answer = String::from_utf8(introspection(&world, &demo, client_id).await).unwrap();
        assert_eq!(verified(&world, &answer).await, introspected);
        let browser = Browser::of(&world);
        let asked = format!(
            "/authorize?client_id={client_id}&response_type=code&response_mode=jwt&scope=admin&redirect_uri={}",
            url::form_urlencoded::byte_serialize(CALLBACK.as_bytes()).collect::<String>(),
        );
        let told = parameters(&browser.get(&asked).await);
        let (_, response) = told.iter().find(|(name, _)| name == "response").unwrap();
        assert_eq!(verified(&world, response).await, authorization);
    }
    let peer = world.peer(Side::Public, None);
    let metadata = peer.get("/.well-known/openid-configuration").await.json();
    for member in [
        "id_token_signing_alg_values_supported",
        "authorization_signing_alg_values_supported",
        "introspection_signing_alg_values_supported",
    ] {
        assert_eq!(
            metadata[member],
            json!(["ES256", "EdDSA", "ES384", "RS256"]),
            "{member}"
        );
    }
}

// covers R15
#[tokio::test]
async fn other_algorithms_come_and_go_while_access_tokens_keep_theirs() {
    let authority = Authority::root("corp");
    let others = [SignatureAlgorithm::EdDsa];
    let registered =
        asking(json!({"id_token_signed_response_alg": "EdDSA", "introspection_signed_response_alg": "EdDSA"}));
    let world = plan(&others)
        .trusts("corp", &authority)
        .client("demo", registered.clone())
        .start()
        .await;
    let demo = authority.issue(dns("demo.example"));
    let consent = Consent {
        scope: "openid read",
        ..Consent::to("demo")
    };
    let signed = async || {
        let tokens = world.tokens(&demo, &consent).await;
        let id_token = verified(&world, text(&tokens, "id_token")).await;
        let access_token = jose_header(text(&tokens, "access_token"));
        (id_token, access_token["kid"].clone())
    };
    let (algorithm, key_id) = signed().await;
    assert_eq!(algorithm, "EdDSA");
    let reload = async |others: &[SignatureAlgorithm]| {
        let with_client = plan(&[SignatureAlgorithm::EdDsa])
            .trusts("corp", &authority)
            .client("demo", registered.clone());
        let mut settings = with_client.settings;
        settings.tokens.other_signing_algorithms = others.to_vec();
        world.server.reload(settings).await.unwrap();
    };
    // Taken away: the client is told by the usual key, or, where it said that it takes no other, nothing.
    reload(&[]).await;
    assert_eq!(signed().await, ("ES256".to_owned(), key_id.clone()));
    let refused = introspection(&world, &demo, "demo").await;
    let refused: Value = serde_json::from_slice(&refused).unwrap();
    assert_eq!(refused["error"], "server_error");
    // Given back, and another with it, whose new key signs for nobody else.
    world.clock.advance(3600);
    reload(&[SignatureAlgorithm::Es384, SignatureAlgorithm::EdDsa]).await;
    assert_eq!(signed().await, ("EdDSA".to_owned(), key_id));
    let keys = world.peer(Side::Public, None).get("/jwks").await.json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 3);
}

/// Two keys of one client.
struct Keys {
    es256: LocalSigner,
    eddsa: LocalSigner,
}

impl Keys {
    fn new() -> Keys {
        let random = SystemRandom::new();
        Keys {
            es256: LocalSigner::generate(SignatureAlgorithm::Es256, &random).unwrap(),
            eddsa: LocalSigner::generate(SignatureAlgorithm::EdDsa, &random).unwrap(),
        }
    }

    fn jwks(&self) -> Value {
        // Without `alg`: what the client registered decides, and not what its keys say.
        let keys = [&self.es256, &self.eddsa].map(|signer| {
            let mut jwk = signer.public_jwk().to_json();
            jwk.as_object_mut().unwrap().remove("alg");
            jwk
        });
        json!({"keys": keys})
    }
}

fn sign(signer: &LocalSigner, typ: &str, claims: &Value) -> String {
    let header = json!({"alg": signer.algorithm(), "kid": signer.key_id(), "typ": typ});
    let input = [header.to_string(), claims.to_string()].map(|part| base64url::encode(part.as_bytes()));
    let input = input.join(".");
    let signature = signer.sign(input.as_bytes()).unwrap();
    format!("{input}.{}", base64url::encode(&signature))
}

// covers FAPI-20, R9101-1, R7523-1
#[tokio::test]
async fn a_client_signs_by_the_algorithm_that_it_registered_and_by_no_other() {
    let (authority, keys) = (Authority::root("corp"), Keys::new());
    let by = |member: &str, algorithm: &str| asking(json!({"jwks": keys.jwks(), member: algorithm}));
    let jwt = |more: Value| {
        let metadata = json!({
            "token_endpoint_auth_method": "private_key_jwt", "jwks": keys.jwks(), "scope": "read",
            "grant_types": ["client_credentials"],
        });
        with(metadata, more)
    };
    let world = plan(&[])
        .trusts("corp", &authority)
        .client("es256", by("request_object_signing_alg", "ES256"))
        .client("either", asking(json!({"jwks": keys.jwks()})))
        .client("jwt", jwt(json!({"token_endpoint_auth_signing_alg": "EdDSA"})))
        .client("jwt-either", jwt(json!({})))
        .start()
        .await;
    let demo = authority.issue(dns("demo.example"));
    for (client_id, signer, is_accepted) in [
        ("es256", &keys.eddsa, false),
        ("es256", &keys.es256, true),
        ("either", &keys.eddsa, true),
        ("either", &keys.es256, true),
    ] {
        let claims = json!({
            "iss": client_id, "client_id": client_id, "aud": ISSUER, "nbf": NOW, "exp": NOW + 300,
            "response_type": "code", "redirect_uri": CALLBACK, "scope": "read",
            "code_challenge": CHALLENGE, "code_challenge_method": "S256",
        });
        let object = sign(signer, "oauth-authz-req+jwt", &claims);
        let form = [("client_id", client_id), ("request", object.as_str())];
        let reply = world.post(Some(&demo), "/par", &form).await;
        match is_accepted {
            true => assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}"),
            false => {
                let rule = "request object made by the client for this server, now";
                world.assert_refused(&reply, 400, "invalid_request_object", rule).await;
            }
        }
    }
    for (index, (client_id, signer, is_accepted)) in [
        ("jwt", &keys.es256, false),
        ("jwt", &keys.eddsa, true),
        ("jwt-either", &keys.es256, true),
        ("jwt-either", &keys.eddsa, true),
    ]
    .into_iter()
    .enumerate()
    {
        let claims = json!({
            "iss": client_id, "sub": client_id, "aud": ISSUER, "jti": format!("a{index}"), "iat": NOW, "exp": NOW + 60,
        });
        let assertion = sign(signer, "JWT", &claims);
        let form = [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", CLIENT_ASSERTION_TYPE),
            ("client_assertion", assertion.as_str()),
        ];
        let reply = world.peer(Side::Public, None).post("/token", &form).await;
        match is_accepted {
            true => assert_eq!(reply.status, StatusCode::OK, "{reply:?}"),
            false => assert_eq!(reply.json()["error"], "invalid_client", "{reply:?}"),
        }
    }
}

// covers FAPI-22, CIBA-3
#[tokio::test]
async fn a_backchannel_request_is_signed_by_the_registered_algorithm() {
    let keys = Keys::new();
    let registered = json!({"jwks": keys.jwks(), "backchannel_authentication_request_signing_alg": "ES256"});
    let cast = cast_from(Plan::new(), with(ciba::polling(), registered), |plan| plan).await;
    for (signer, is_accepted) in [(&keys.eddsa, false), (&keys.es256, true)] {
        let object = sign(signer, "JWT", &ciba::request(json!({})));
        let reply = ciba::ask(&cast, &[("request", &object)]).await;
        assert_eq!(reply.status == StatusCode::OK, is_accepted, "{reply:?}");
        assert!(is_accepted || reply.json()["error"] == "invalid_request", "{reply:?}");
    }
}
