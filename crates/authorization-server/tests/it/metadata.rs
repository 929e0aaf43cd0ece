//! RFC 8414 and RFC 8705 §5: what the server says about itself.

use http::{Method, StatusCode};
use keybound_protocol::issuer::Issuer;
use serde_json::json;

use crate::pki::{Authority, dns};
use crate::world::{Plan, Side, credentials, tls_client};

// covers R8414-1, R8414-2, R8414-4, R8414-5, MTLS-3.3-1, MTLS-5-3, MTLS-5-8, MTLS-9.2-1, MTLS-9.3-1, FAPI-2
#[tokio::test]
async fn the_metadata_tells_the_truth() {
    let mut plan = Plan::new();
    plan.settings.scopes = ["read", "keybound:admin"]
        .map(|name| keybound_authorization_server::ScopeSettings {
            name: name.to_owned(),
            description: None,
        })
        .to_vec();
    let world = plan.start().await;
    let expected = json!({
        "issuer": "https://as.example",
        "token_endpoint": "https://as.example/token",
        "introspection_endpoint": "https://as.example/introspect",
        "revocation_endpoint": "https://as.example/revoke",
        "jwks_uri": "https://as.example/jwks",
        "mtls_endpoint_aliases": {
            "pushed_authorization_request_endpoint": "https://mtls.as.example/par",
            "token_endpoint": "https://mtls.as.example/token",
            "introspection_endpoint": "https://mtls.as.example/introspect",
            "revocation_endpoint": "https://mtls.as.example/revoke",
            "device_authorization_endpoint": "https://mtls.as.example/device_authorization",
            "backchannel_authentication_endpoint": "https://mtls.as.example/bc-authorize",
        },
        "device_authorization_endpoint": "https://as.example/device_authorization",
        "backchannel_authentication_endpoint": "https://as.example/bc-authorize",
        "backchannel_token_delivery_modes_supported": ["poll", "ping"],
        "backchannel_authentication_request_signing_alg_values_supported": ["ES256", "ES384", "EdDSA", "PS256", "RS256"],
        "tls_client_certificate_bound_access_tokens": true,
        "dpop_signing_alg_values_supported": ["ES256", "ES384", "EdDSA", "PS256", "RS256"],
        "grant_types_supported": [
            "authorization_code",
            "client_credentials",
            "refresh_token",
            "urn:ietf:params:oauth:grant-type:device_code",
            "urn:openid:params:grant-type:ciba",
        ],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query", "jwt", "query.jwt"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "authorization_signing_alg_values_supported": ["ES256"],
        "request_parameter_supported": true,
        "request_uri_parameter_supported": false,
        "request_object_signing_alg_values_supported": ["ES256", "ES384", "EdDSA", "PS256", "RS256"],
        "authorization_endpoint": "https://as.example/authorize",
        "pushed_authorization_request_endpoint": "https://as.example/par",
        "scopes_supported": ["read"],
        "token_endpoint_auth_methods_supported": ["tls_client_auth", "self_signed_tls_client_auth", "private_key_jwt", "none"],
        "introspection_endpoint_auth_methods_supported": ["tls_client_auth", "self_signed_tls_client_auth", "private_key_jwt"],
        "revocation_endpoint_auth_methods_supported": ["tls_client_auth", "self_signed_tls_client_auth", "private_key_jwt", "none"],
        "token_endpoint_auth_signing_alg_values_supported": ["ES256", "ES384", "EdDSA", "PS256", "RS256"],
        "introspection_endpoint_auth_signing_alg_values_supported": ["ES256", "ES384", "EdDSA", "PS256", "RS256"],
        "introspection_signing_alg_values_supported": ["ES256"],
        "revocation_endpoint_auth_signing_alg_values_supported": ["ES256", "ES384", "EdDSA", "PS256", "RS256"],
    });
    for side in [Side::Public, Side::MutualTls] {
        let peer = world.peer(side, None);
        let reply = peer.get("/.well-known/oauth-authorization-server").await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (StatusCode::OK, Some("application/json"))
        );
        assert_eq!(reply.json(), expected);
        let entity_tag = reply.header("etag").unwrap().to_owned();
        let reply = peer
            .send(
                Method::GET,
                "/.well-known/oauth-authorization-server",
                &[("if-none-match", &entity_tag)],
                None,
            )
            .await;
        assert_eq!((reply.status, reply.body.len()), (StatusCode::NOT_MODIFIED, 0));
        let reply = peer
            .send(Method::HEAD, "/.well-known/oauth-authorization-server", &[], None)
            .await;
        assert_eq!((reply.status, reply.body.len()), (StatusCode::OK, 0));
    }
}

// covers R8414-1, TRAP-39
#[tokio::test]
async fn an_issuer_with_a_path_has_everything_below_it_and_its_metadata_between() {
    let authority = Authority::root("corp");
    for (issuer, path) in [("https://as.example/a/b", "/a/b"), ("https://as.example/a/", "/a")] {
        let mut plan = Plan::new()
            .trusts("corp", &authority)
            .client("demo", tls_client("demo.example"));
        plan.settings.issuer = Issuer::parse(issuer).unwrap();
        let world = plan.start().await;
        let public = world.peer(Side::Public, None);
        let reply = public
            .get(&format!("/.well-known/oauth-authorization-server{path}"))
            .await;
        let metadata = reply.json();
        assert_eq!(metadata["issuer"], issuer);
        assert_eq!(metadata["token_endpoint"], format!("https://as.example{path}/token"));
        assert_eq!(
            metadata["mtls_endpoint_aliases"]["token_endpoint"],
            format!("https://mtls.as.example{path}/token")
        );
        for elsewhere in ["/.well-known/oauth-authorization-server", "/jwks"] {
            assert_eq!(public.get(elsewhere).await.status, StatusCode::NOT_FOUND, "{elsewhere}");
        }
        assert_eq!(public.get(&format!("{path}/jwks")).await.status, StatusCode::OK);
        let leaf = authority.issue(dns("demo.example"));
        let reply = world
            .post(Some(&leaf), &format!("{path}/token"), &credentials("demo"))
            .await;
        assert_eq!(
            crate::world::claims(reply.json()["access_token"].as_str().unwrap())["iss"],
            issuer
        );
        assert_eq!(
            world.post(Some(&leaf), "/token", &credentials("demo")).await.status,
            StatusCode::NOT_FOUND
        );
    }
}

// covers MTLS-5-1, MTLS-5-2, MTLS-6.1-1, MTLS-6.1-5, TRAP-37
#[tokio::test]
async fn the_public_listener_never_asks_for_a_certificate_and_the_other_one_does() {
    let authority = Authority::root("corp");
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("demo", tls_client("demo.example"))
        .start()
        .await;
    let leaf = authority.issue(dns("demo.example"));
    assert_eq!(
        world
            .peer(Side::MutualTls, Some(&leaf))
            .post("/token", &credentials("demo"))
            .await
            .status,
        StatusCode::OK
    );
    let reply = world
        .peer(Side::Public, Some(&leaf))
        .post("/token", &credentials("demo"))
        .await;
    let refusal = world
        .assert_refused(&reply, 400, "invalid_client", "client certificate presented")
        .await;
    assert_eq!(
        refusal.reason,
        "the request came to a listener that does not ask for a client certificate"
    );
}

// covers R8414-4
#[tokio::test]
async fn the_published_keys_are_public_and_verify_what_was_issued() {
    let authority = Authority::root("corp");
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("demo", tls_client("demo.example"))
        .start()
        .await;
    let reply = world.peer(Side::Public, None).get("/jwks").await;
    for key in reply.json()["keys"].as_array().unwrap() {
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(key.get(private).is_none(), "{private}");
        }
        assert_eq!((&key["use"], &key["alg"]), (&json!("sig"), &json!("ES256")));
    }
    let keys = keybound_protocol::jwk_set::JwkSet::parse(&reply.body).unwrap();
    let token = world
        .access_token(&authority.issue(dns("demo.example")), "demo", &[])
        .await;
    let policy =
        keybound_protocol::access_token::IssuerPolicy::new("https://as.example", vec![crate::world::API.to_owned()]);
    let now = keybound_protocol::time::Timestamp::from_unix_secs(crate::world::NOW);
    assert!(keybound_protocol::access_token::verify(&token, &policy, &keys, now).is_ok());
}
