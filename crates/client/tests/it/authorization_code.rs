//! Asking a user by way of his browser: the request, and the exchange of the code (RFC 6749 §4.1, RFC 7636, RFC 9126, RFC 9101).

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use keybound_client::{ClientError, RequestObjectKey, ResponseError};
use keybound_protocol::base64url;
use keybound_protocol::digest::sha256;
use keybound_protocol::endpoint::Endpoint;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::signer::LocalSigner;
use serde_json::{Value, json};

use crate::pki::Party;
use crate::script::{REDIRECT_URI, Script, begin, good, query, request, secrets, state};
use crate::site::{json as json_response, json_with};
use crate::support::{NOW, client};

fn parameters(url: &url::Url) -> HashMap<String, String> {
    url.query_pairs().into_owned().collect()
}

fn request_object_key() -> RequestObjectKey {
    let signer = LocalSigner::generate(SignatureAlgorithm::Es256, &SystemRandom::new()).unwrap();
    RequestObjectKey::new(Arc::new(signer), || "object-1".to_owned())
}

/// The claims of a request object, unverified.
fn claims(object: &str) -> Value {
    serde_json::from_slice(&base64url::decode(object.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

// covers R9700-2, R7636-1, R9126-1, R-FAPI-6
#[tokio::test]
async fn the_request_is_pushed_with_pkce_and_the_code_is_redeemed_with_the_verifier() {
    let script = Script::new(json!({}), |seen, _| good(seen));
    let party = Party::new("demo");
    let client = client(&script.site, party.identity());
    let pending = begin(&client, "read").await;
    // Nothing but who asks and what for by reference: the browser carries no more.
    let shown = parameters(pending.url());
    assert_eq!(shown.len(), 2, "{}", pending.url());
    assert_eq!(shown["client_id"], "demo");
    assert_eq!(shown["request_uri"], "urn:ietf:params:oauth:request_uri:r4nd0m");
    assert_eq!(pending.expires_at().unwrap().unix_secs(), NOW.unix_secs() + 60);

    let answer = query(&[("code", "code-1"), ("state", &state()), ("iss", &script.site.issuer())]);
    let response = client.finish_authorization(pending, &answer, NOW).await.unwrap();
    assert_eq!(response.access_token().expose_text(), "access-1");
    assert_eq!(response.access_token().thumbprint(), Some(&party.thumbprint()));
    assert_eq!(response.refresh_token().unwrap().expose_text(), "refresh-1");
    assert_eq!(response.expose_members()["expires_in"], 300);

    let seen = script.endpoint_requests();
    let [pushed, token] = seen.as_slice() else {
        panic!("{seen:?}")
    };
    assert_eq!((pushed.path.as_str(), token.path.as_str()), ("/par", "/token"));
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "demo"),
        ("redirect_uri", REDIRECT_URI),
        ("scope", "read"),
        ("state", &state()),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(pushed.form(name), Some(value));
    }
    // No ID token is asked for, so there is nothing that a nonce would protect.
    assert_eq!(pushed.form("nonce"), None);
    for (name, value) in [
        ("grant_type", "authorization_code"),
        ("code", "code-1"),
        ("client_id", "demo"),
        ("redirect_uri", REDIRECT_URI),
    ] {
        assert_eq!(token.form(name), Some(value));
    }
    let verifier = token.form("code_verifier").unwrap();
    assert_eq!(verifier.len(), 43);
    assert_eq!(
        pushed.form("code_challenge"),
        Some(base64url::encode(&sha256(verifier.as_bytes())).as_str())
    );
    assert!(seen.iter().all(|seen| seen.thumbprint() == Some(party.thumbprint())));
}

// covers R9700-2, R7636-3
#[tokio::test]
async fn without_an_endpoint_to_push_to_the_browser_carries_the_request() {
    let script = Script::new(json!({"pushed_authorization_request_endpoint": null}), |seen, _| {
        good(seen)
    });
    let pending = begin(&script.client(), "read write").await;
    let shown = parameters(pending.url());
    assert_eq!(pending.url().path(), "/authorize");
    assert_eq!(shown["code_challenge_method"], "S256");
    assert_eq!(shown["state"], state());
    assert_eq!(shown["scope"], "read write");
    assert_eq!(shown["client_id"], "demo");
    assert!(!shown.contains_key("code_verifier"));
    assert!(script.endpoint_requests().is_empty());
}

// covers R7636-3
#[tokio::test]
async fn a_server_without_s256_is_asked_nothing_and_never_with_plain() {
    let assuming = || request("read").with_assumed_s256();
    for (methods, wanted) in [
        // RFC 8414 §2: a server that says nothing has no PKCE.
        (json!(null), request("read")),
        (json!(["plain"]), request("read")),
        (json!([]), request("read")),
        (json!(["s256", "plain"]), request("read")),
        // Nobody knows better than a server that says something.
        (json!(["plain"]), assuming()),
    ] {
        let script = Script::new(json!({"code_challenge_methods_supported": methods}), |seen, _| {
            good(seen)
        });
        let error = script.client().begin_authorization(&wanted, secrets(), NOW).await;
        assert!(matches!(error, Err(ClientError::NoS256 { .. })), "{methods}: {error:?}");
        assert!(script.endpoint_requests().is_empty());
    }
    // One that refuses the request is not asked again with less.
    let script = Script::new(json!({}), |_, _| {
        json_with(http::StatusCode::BAD_REQUEST, &json!({"error": "invalid_request"}))
    });
    let error = script
        .client()
        .begin_authorization(&request("read"), secrets(), NOW)
        .await
        .unwrap_err();
    assert!(error.is_refusal(), "{error:?}");
    assert_eq!(script.endpoint_requests().len(), 1);
    // One that says nothing is asked with S256 if the caller knows that it has it.
    let script = Script::new(json!({"code_challenge_methods_supported": null}), |seen, _| good(seen));
    let client = script.client();
    client.begin_authorization(&assuming(), secrets(), NOW).await.unwrap();
    assert_eq!(
        script.endpoint_requests()[0].form("code_challenge_method"),
        Some("S256")
    );
}

// covers R9126-7
#[tokio::test]
async fn a_server_that_demands_pushed_requests_and_takes_none_is_not_gone_to() {
    let more = json!({"pushed_authorization_request_endpoint": null, "require_pushed_authorization_requests": true});
    let script = Script::new(more, |seen, _| good(seen));
    let error = script
        .client()
        .begin_authorization(&request("read"), secrets(), NOW)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            ClientError::NoEndpoint {
                endpoint: Endpoint::PushedAuthorizationRequest,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(script.endpoint_requests().is_empty());
}

// covers R9126-5, R9101-3
#[tokio::test]
async fn beside_a_request_object_stands_only_what_authenticates_the_client() {
    let more = json!({"require_signed_request_object": true});
    let script = Script::new(more.clone(), |seen, _| good(seen));
    let client = script.client().with_request_object_key(request_object_key());
    let wanted = request("read")
        .with_max_age_secs(60)
        .with_authorization_details(r#"[{"type":"payment"}]"#);
    client.begin_authorization(&wanted, secrets(), NOW).await.unwrap();
    let seen = &script.endpoint_requests()[0];
    let mut names: Vec<&str> = seen.form.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["client_id", "request"]);
    let claims = claims(seen.form("request").unwrap());
    assert_eq!(seen.form("client_id").unwrap(), claims["client_id"]);
    assert_eq!(claims["iss"], "demo");
    assert_eq!(claims["aud"], script.site.issuer(), "the issuer, and no endpoint");
    assert_eq!(claims["state"], state());
    assert_eq!(claims["code_challenge_method"], "S256");
    assert_eq!(claims["max_age"], 60);
    assert_eq!(claims["authorization_details"][0]["type"], "payment");
    assert!(claims["exp"].as_i64().unwrap() > claims["nbf"].as_i64().unwrap());
    assert!(claims.get("request").is_none() && claims.get("request_uri").is_none());

    // Without a key nothing is sent: an unsigned request would be refused, and has been read by then.
    let script = Script::new(more, |seen, _| good(seen));
    let error = script
        .client()
        .begin_authorization(&request("read"), secrets(), NOW)
        .await;
    assert!(
        matches!(error, Err(ClientError::NoRequestObjectKey { .. })),
        "{error:?}"
    );
    assert!(script.endpoint_requests().is_empty());
}

#[tokio::test]
async fn a_push_that_brings_no_request_uri_is_an_error() {
    for (body, missing) in [
        (json!({"expires_in": 60}), "request_uri"),
        (json!({"request_uri": "urn:x:y"}), "expires_in"),
    ] {
        let script = Script::new(json!({}), move |_, _| json_response(&body));
        let error = script
            .client()
            .begin_authorization(&request("read"), secrets(), NOW)
            .await
            .unwrap_err();
        assert!(
            matches!(&error, ClientError::Response { source: ResponseError::Missing(member), .. } if *member == missing),
            "{error:?}"
        );
    }
}

// covers MTLS-5-7, TRAP-38, R-FAPI-6
#[tokio::test]
async fn the_browser_goes_to_no_alias_and_the_client_goes_to_every_one() {
    let other = crate::site::Site::asking(good);
    let aliases = json!({
        "authorization_endpoint": other.url("/authorize").as_str(),
        "pushed_authorization_request_endpoint": other.url("/par").as_str(),
        "token_endpoint": other.url("/token").as_str(),
    });
    let script = Script::new(json!({"mtls_endpoint_aliases": aliases}), |seen, _| good(seen));
    let client = script.client();
    let pending = begin(&client, "read").await;
    assert!(
        pending.url().as_str().starts_with(&script.site.issuer()),
        "{}",
        pending.url()
    );
    let answer = query(&[("code", "c"), ("state", &state()), ("iss", &script.site.issuer())]);
    client.finish_authorization(pending, &answer, NOW).await.unwrap();
    assert!(script.endpoint_requests().is_empty());
    let paths: Vec<String> = other.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["/par", "/token"]);
}
