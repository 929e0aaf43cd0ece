//! FAPI 2.0 §5.3.2.1 under `profile = "fapi2"`: which clients there are, how they authenticate, what their tokens are.

use http::StatusCode;
use keybound_protocol::client::ClientOrigin;
use keybound_protocol::client_assertion::CLIENT_ASSERTION_TYPE;
use keybound_protocol::client_metadata::{ClientMetadata, ClientMetadataError};
use keybound_protocol::profile::Profile;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use serde_json::{Value, json};

use crate::pki::{Authority, Leaf, dns, self_signed};
use crate::rfc7523::{claims as assertion_claims, signed};
use crate::rfc8705_2::private_key_jwt_client;
use crate::rfc9126::{code_client, good};
use crate::world::{
    ISSUER, NOW, Plan, Reply, Side, World, basic, claims, credentials, secret_client, tls_client, with,
};

const SECRET: &str = "a secret of more than thirty characters";

/// A server of the profile, with clients that were on file before it was.
struct Cast {
    world: World,
    demo: Leaf,
    key: Leaf,
}

async fn cast(profile: Profile) -> Cast {
    let authority = Authority::root("corp");
    let key = self_signed(dns("key"));
    let mut plan = Plan::new().trusts("corp", &authority);
    plan.settings.client_secrets_enabled = true;
    let unbound = json!({"tls_client_certificate_bound_access_tokens": false});
    let mut plan = plan
        .client("demo", tls_client("demo.example"))
        .client("unbound", with(tls_client("demo.example"), unbound.clone()))
        .client("jwt", private_key_jwt_client(&key))
        .client("unbound-jwt", with(private_key_jwt_client(&key), unbound.clone()))
        .client(
            "strict",
            with(tls_client("demo.example"), json!({"keybound_profile": "fapi2"})),
        )
        .client(
            "public",
            with(
                code_client(json!({"token_endpoint_auth_method": "none"})),
                json!({"tls_client_certificate_bound_access_tokens": true}),
            ),
        )
        .client_with_secret("secret", secret_client("client_secret_basic"), Some(SECRET));
    plan.settings.profile = profile;
    Cast {
        world: plan.start().await,
        demo: authority.issue(dns("demo.example")),
        key,
    }
}

impl Cast {
    async fn by_assertion(&self, certificate: Option<&Leaf>, client_id: &str, changes: Value) -> Reply {
        let own = json!({"iss": client_id, "sub": client_id, "aud": ISSUER});
        let jwt_claims = with(with(assertion_claims(&format!("{client_id} {changes}")), own), changes);
        let assertion = signed(&self.key, &json!({"alg": "ES256", "typ": "JWT"}), &jwt_claims);
        let more = [
            ("client_assertion_type", CLIENT_ASSERTION_TYPE),
            ("client_assertion", &*assertion),
        ];
        let peer = self.world.peer(Side::MutualTls, certificate);
        peer.post("/token", &[&credentials(client_id)[..], &more].concat())
            .await
    }
}

// covers R-FAPI-1, FAPI-4
#[tokio::test]
async fn clients_authenticate_by_certificate_or_assertion_also_those_that_were_there_before() {
    let cast = cast(Profile::Fapi2).await;
    let world = &cast.world;
    assert_eq!(world.token(Some(&cast.demo), "demo").await.status, StatusCode::OK);
    let reply = world.token(None, "demo").await;
    assert_eq!(reply.json()["error"], "invalid_client");
    assert_eq!(
        cast.by_assertion(Some(&cast.demo), "jwt", json!({})).await.status,
        StatusCode::OK
    );

    let rule = "registered authentication method used";
    let authorization = basic("secret", SECRET);
    let headers = [("authorization", &*authorization)];
    let reply = world
        .peer(Side::MutualTls, Some(&cast.demo))
        .post_with("/token", &credentials("secret"), &headers)
        .await;
    world.assert_refused(&reply, 401, "invalid_client", rule).await;
    let form = [&[("client_id", "public")], &good()[..]].concat();
    let reply = world.post(Some(&cast.demo), "/par", &form).await;
    world.assert_refused(&reply, 400, "invalid_client", rule).await;

    // None of these could be registered now.
    let mut settings = Plan::new().settings;
    settings.profile = Profile::Fapi2;
    settings.client_secrets_enabled = true;
    let policy = settings.registration_policy(ClientOrigin::Administrator);
    for method in ["client_secret_basic", "client_secret_post", "none"] {
        let metadata = secret_client(method).to_string();
        let error = ClientMetadata::parse(metadata.as_bytes(), &policy).unwrap_err();
        assert!(
            matches!(error, ClientMetadataError::MethodForbidden { .. }),
            "{method}: {error}"
        );
    }
}

// covers R-FAPI-1, FAPI-19
#[tokio::test]
async fn an_assertion_is_made_out_to_the_issuer_as_one_string() {
    let cast = cast(Profile::Fapi2).await;
    for audience in [
        json!([ISSUER]),
        json!([ISSUER, "https://other.example"]),
        json!("https://as.example/token"),
        json!("https://mtls.as.example/token"),
        json!("https://as.example/"),
    ] {
        let reply = cast
            .by_assertion(Some(&cast.demo), "jwt", json!({"aud": audience}))
            .await;
        assert_eq!(reply.json()["error"], "invalid_client", "{audience}");
        let refusal = cast.world.refusal(&reply).await;
        assert!(refusal.failed_rule().unwrap().rule.contains("assertion"), "{refusal:?}");
    }
    let accepted = cast.by_assertion(Some(&cast.demo), "jwt", json!({"aud": ISSUER})).await;
    assert_eq!(accepted.status, StatusCode::OK);
}

// covers R-FAPI-4
#[tokio::test]
async fn clocks_may_differ_by_ten_seconds_and_not_by_sixty() {
    let cast = cast(Profile::Fapi2).await;
    for (changes, accepted) in [
        (json!({"nbf": NOW + 10}), true),
        (json!({"iat": NOW + 10}), true),
        (json!({"nbf": NOW + 61}), false),
        (json!({"iat": NOW + 61}), false),
    ] {
        let reply = cast.by_assertion(Some(&cast.demo), "jwt", changes.clone()).await;
        assert_eq!(reply.status == StatusCode::OK, accepted, "{changes}: {reply:?}");
    }
}

// covers R-FAPI-2, FAPI-18
#[tokio::test]
async fn every_token_is_bound_and_none_comes_with_a_refresh_token() {
    let cast = cast(Profile::Fapi2).await;
    let demo = Some(&cast.demo);
    for client_id in ["demo", "unbound", "strict"] {
        let reply = cast.world.token(demo, client_id).await;
        let token = reply.json()["access_token"].as_str().unwrap().to_owned();
        assert_eq!(claims(&token)["cnf"]["x5t#S256"], cast.demo.thumbprint(), "{client_id}");
        assert!(reply.json().get("refresh_token").is_none());
    }
    // By an assertion and without a certificate there is nothing to bind to.
    let reply = cast.by_assertion(None, "unbound-jwt", json!({})).await;
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["error"]),
        (400, &json!("invalid_request"))
    );
    let reply = cast.by_assertion(demo, "unbound-jwt", json!({"jti": "again"})).await;
    let token = reply.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(claims(&token)["cnf"]["x5t#S256"], cast.demo.thumbprint());

    // Without the profile the registration decides.
    let lax = self::cast(Profile::Default).await;
    let reply = lax.world.token(Some(&lax.demo), "unbound").await;
    assert!(
        claims(reply.json()["access_token"].as_str().unwrap())
            .get("cnf")
            .is_none()
    );
}

// covers R-FAPI-11
#[tokio::test]
async fn nothing_is_signed_or_verified_with_rs256() {
    let cast = cast(Profile::Fapi2).await;
    let metadata = cast
        .world
        .peer(Side::Public, None)
        .get("/.well-known/oauth-authorization-server")
        .await
        .json();
    let algorithms = &metadata["token_endpoint_auth_signing_alg_values_supported"];
    assert_eq!(algorithms, &json!(["PS256", "ES256", "EdDSA"]));
    let methods = metadata["token_endpoint_auth_methods_supported"].as_array().unwrap();
    assert!(
        methods
            .iter()
            .all(|method| !method.as_str().unwrap().contains("secret")),
        "{methods:?}"
    );
    assert!(
        !Profile::Fapi2
            .signature_algorithms()
            .contains(&SignatureAlgorithm::Rs256)
    );
    let header = json!({"alg": "RS256", "typ": "JWT"});
    let assertion = signed(
        &cast.key,
        &header,
        &with(assertion_claims("rs256"), json!({"aud": ISSUER})),
    );
    let more = [
        ("client_assertion_type", CLIENT_ASSERTION_TYPE),
        ("client_assertion", &*assertion),
    ];
    let reply = cast
        .world
        .post(Some(&cast.demo), "/token", &[&credentials("jwt")[..], &more].concat())
        .await;
    assert_eq!(reply.json()["error"], "invalid_client");
}

// covers FAPI-13
#[tokio::test]
async fn errors_are_json_in_the_characters_of_rfc_6749() {
    let cast = cast(Profile::Fapi2).await;
    let asked = |form: &'static [(&str, &str)]| cast.world.post(Some(&cast.demo), "/token", form);
    for reply in [
        asked(&[("client_id", "demo")]).await,
        asked(&[("client_id", "demo"), ("grant_type", "password")]).await,
        asked(&[("client_id", "nobody"), ("grant_type", "client_credentials")]).await,
        asked(&[
            ("client_id", "demo"),
            ("grant_type", "client_credentials"),
            ("scope", "much more"),
        ])
        .await,
    ] {
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{reply:?}");
        assert_eq!(reply.header("content-type"), Some("application/json"));
        let body = reply.json();
        let description = body["error_description"].as_str().unwrap();
        let permitted = |octet: u8| matches!(octet, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        assert!(description.bytes().all(permitted), "{description}");
        assert!(url::Url::parse(body["error_uri"].as_str().unwrap()).is_ok());
    }
}
