//! FAPI 2.0 §5.3.2.2 and Message Signing §5.3 under their profiles: what clients push.

use http::{Method, StatusCode};
use keybound_protocol::profile::Profile;
use serde_json::{Value, json};

use crate::pki::{Authority, Leaf, dns, self_signed};
use crate::rfc7523::signed;
use crate::rfc9126::{CALLBACK, CHALLENGE, code_client, good};
use crate::world::{ISSUER, NOW, Plan, Reply, Side, World, tls_client, with};

struct Cast {
    world: World,
    demo: Leaf,
    key: Leaf,
}

/// `client` is the profile of the client `demo`, if it has one of its own.
async fn cast(server: Profile, client: Option<&str>) -> Cast {
    let authority = Authority::root("corp");
    let key = self_signed(dns("key"));
    let mut plan = Plan::new().trusts("corp", &authority);
    plan.settings.profile = server;
    let mut metadata = with(
        code_client(tls_client("demo.example")),
        json!({"jwks": {"keys": [key.jwk()]}}),
    );
    if let Some(client) = client {
        metadata["keybound_profile"] = client.into();
    }
    Cast {
        world: plan.client("demo", metadata).start().await,
        demo: authority.issue(dns("demo.example")),
        key,
    }
}

impl Cast {
    async fn push(&self, request: &[(&str, &str)]) -> Reply {
        let form = [&[("client_id", "demo")], request].concat();
        self.world.post(Some(&self.demo), "/par", &form).await
    }

    async fn push_object(&self, algorithm: &str, changes: Value) -> Reply {
        let mut request = json!({
            "iss": "demo", "aud": ISSUER, "client_id": "demo", "nbf": NOW, "exp": NOW + 300, "jti": changes.to_string(),
            "response_type": "code", "redirect_uri": CALLBACK, "scope": "read",
            "code_challenge": CHALLENGE, "code_challenge_method": "S256",
        });
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(request.as_object_mut().unwrap().remove(name)),
                value => request[name] = value.clone(),
            }
        }
        let header = json!({"alg": algorithm, "typ": "oauth-authz-req+jwt"});
        let object = signed(&self.key, &header, &request);
        self.push(&[("request", &object)]).await
    }
}

fn without(name: &str) -> Vec<(&'static str, &'static str)> {
    good().into_iter().filter(|(own, _)| *own != name).collect()
}

fn instead(name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    [without(name), vec![(name, value)]].concat()
}

// covers R-FAPI-5, FAPI-5, FAPI-6
#[tokio::test]
async fn a_pushed_request_has_pkce_by_s256_and_its_registered_redirect_uri() {
    for (server, client) in [(Profile::Fapi2, None), (Profile::Default, Some("fapi2"))] {
        let cast = cast(server, client).await;
        let reply = cast.push(&good()).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        let body = reply.json();
        assert!(body["expires_in"].as_i64().unwrap() < 600);
        let name = body["request_uri"].as_str().unwrap().rsplit(':').next().unwrap();
        assert!(name.len() >= 22, "128 bits");
        for (request, error) in [
            (without("redirect_uri"), "invalid_request"),
            (without("code_challenge"), "invalid_request"),
            (instead("code_challenge_method", "plain"), "invalid_request"),
            (without("code_challenge_method"), "invalid_request"),
            (
                instead("redirect_uri", "https://client.example/other"),
                "invalid_request",
            ),
            ([good(), vec![("request_uri", "urn:x")]].concat(), "invalid_request"),
            (instead("response_type", "token"), "unsupported_response_type"),
            (instead("response_type", "code id_token"), "unsupported_response_type"),
        ] {
            let reply = cast.push(&request).await;
            assert_eq!(
                (reply.status.as_u16(), &reply.json()["error"]),
                (400, &json!(error)),
                "{request:?}"
            );
        }
        let reply = cast
            .world
            .peer(Side::MutualTls, Some(&cast.demo))
            .send(Method::GET, "/par", &[], None)
            .await;
        assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
    }
    // What the profile adds: a confidential client may leave the redirect URI out otherwise.
    let lax = cast(Profile::Default, None).await;
    assert_eq!(lax.push(&without("redirect_uri")).await.status, StatusCode::CREATED);
}

// covers FAPI-21, R-FAPI-4, R-FAPI-11
#[tokio::test]
async fn message_signing_takes_signed_request_objects_alone() {
    for (server, client) in [
        (Profile::Fapi2MessageSigning, None),
        (Profile::Fapi2, Some("fapi2-message-signing")),
    ] {
        let cast = cast(server, client).await;
        let reply = cast.push(&good()).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["error"]),
            (400, &json!("invalid_request"))
        );
        for accepted in [json!({}), json!({"aud": [ISSUER]}), json!({"nbf": NOW + 8})] {
            let reply = cast.push_object("ES256", accepted.clone()).await;
            assert_eq!(reply.status, StatusCode::CREATED, "{accepted}: {reply:?}");
        }
        for refused in [
            json!({"exp": null}),
            json!({"nbf": null}),
            json!({"exp": NOW - 31}),
            json!({"exp": NOW + 3700}),
            json!({"nbf": NOW - 3700}),
            json!({"nbf": NOW + 61}),
            json!({"aud": "https://other.example"}),
            json!({"iss": "other"}),
            json!({"request_uri": "urn:x"}),
        ] {
            let reply = cast.push_object("ES256", refused.clone()).await;
            let expected = (400, &json!("invalid_request_object"));
            assert_eq!((reply.status.as_u16(), &reply.json()["error"]), expected, "{refused}");
        }
        for algorithm in ["RS256", "none", "HS256"] {
            let reply = cast.push_object(algorithm, json!({})).await;
            assert_eq!(reply.json()["error"], "invalid_request_object", "{algorithm}");
        }
    }
    // The security profile alone takes both.
    let cast = cast(Profile::Fapi2, None).await;
    assert_eq!(cast.push(&good()).await.status, StatusCode::CREATED);
    assert_eq!(cast.push_object("ES256", json!({})).await.status, StatusCode::CREATED);
}
