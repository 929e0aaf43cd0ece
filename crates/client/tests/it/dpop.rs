//! Clients whose tokens are bound to a key (RFC 9449): a proof for each request, the server's nonce in it, and no token that is not bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::rand::SystemRandom;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use keybound_client::{Client, ClientError, DpopKey, ResponseError, TokenRequest};
use keybound_protocol::dpop_proof::DpopRequest;
use keybound_protocol::http_uri::HttpUri;
use keybound_protocol::jws::UnverifiedJws;
use keybound_protocol::key_thumbprint::KeyThumbprint;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::signer::{LocalSigner, Signer};
use keybound_tls::{Clock, ResponseBody};
use serde_json::{Value, json};

use crate::script::{Script, begin, good, query, state};
use crate::site::{Seen, Site, json as json_response, json_with};
use crate::support::NOW;

struct Cast {
    client: Client,
    thumbprint: KeyThumbprint,
}

fn cast(script: &Script) -> Cast {
    let signer = LocalSigner::generate(SignatureAlgorithm::EdDsa, &SystemRandom::new()).unwrap();
    let thumbprint = KeyThumbprint::of_key(signer.public_jwk());
    let count = AtomicUsize::new(0);
    let key = DpopKey::new(Arc::new(signer), Clock::fixed(NOW), move || {
        count.fetch_add(1, Ordering::Relaxed).to_string()
    });
    Cast {
        client: script.client().with_dpop_key(key),
        thumbprint,
    }
}

/// The claims of a request's proof, which has to be good, and by this key.
#[track_caller]
fn proven(cast: &Cast, seen: &Seen, url: &str, method: &str, access_token: Option<&str>) -> Value {
    let asked = DpopRequest {
        method,
        targets: &[HttpUri::parse(url).unwrap()],
        access_token,
        algorithms: &SignatureAlgorithm::ALL,
        nonces: None,
    };
    let fields = seen.headers.get_all("dpop").iter().map(HeaderValue::as_bytes);
    let proof = asked.verify(fields, NOW).unwrap();
    assert_eq!(*proof.key(), cast.thumbprint);
    let jws = UnverifiedJws::parse(seen.headers["dpop"].to_str().unwrap()).unwrap();
    serde_json::from_slice(jws.unverified_payload()).unwrap()
}

fn with_nonce(mut response: Response<ResponseBody>, nonce: &str) -> Response<ResponseBody> {
    let nonce = HeaderValue::try_from(nonce).unwrap();
    response.headers_mut().insert("dpop-nonce", nonce);
    response
}

fn token(token_type: &str) -> Response<ResponseBody> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let token = format!("token-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    json_response(&json!({"access_token": token, "token_type": token_type, "expires_in": 300}))
}

fn use_nonce() -> Response<ResponseBody> {
    json_with(StatusCode::BAD_REQUEST, &json!({"error": "use_dpop_nonce"}))
}

// covers R9449-5
#[tokio::test]
async fn a_nonce_that_is_asked_for_is_sent_once_and_then_kept() {
    let script = Script::new(json!({}), |seen, _| {
        let proof = UnverifiedJws::parse(seen.headers["dpop"].to_str().unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(proof.unverified_payload()).unwrap();
        match claims.get("nonce").and_then(Value::as_str) {
            None => with_nonce(use_nonce(), "n-1"),
            // The success brings the next one.
            Some("n-1") => with_nonce(token("DPoP"), "n-2"),
            Some(_) => token("dpop"),
        }
    });
    let cast = cast(&script);
    let wanted = TokenRequest::new();
    cast.client.token(&wanted, NOW).await.unwrap();
    let url = format!("{}/token", script.site.issuer());
    let claims = |at: usize| proven(&cast, &script.endpoint_requests()[at], &url, "POST", None);
    assert_eq!(script.endpoint_requests().len(), 2);
    assert_eq!((claims(0).get("nonce"), &claims(1)["nonce"]), (None, &json!("n-1")));
    assert_ne!(claims(0)["jti"], claims(1)["jti"]);
    let later = NOW.plus(std::time::Duration::from_secs(299));
    cast.client.token(&wanted, later).await.unwrap();
    assert_eq!(script.endpoint_requests().len(), 3);
    assert_eq!(claims(2)["nonce"], "n-2");
}

// covers R9449-5
#[tokio::test]
async fn a_server_that_is_never_content_is_asked_twice() {
    let count = AtomicUsize::new(0);
    let script = Script::new(json!({}), move |_, _| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        with_nonce(use_nonce(), &format!("n-{number}"))
    });
    let error = cast(&script).client.token(&TokenRequest::new(), NOW).await.unwrap_err();
    assert!(
        matches!(&error, ClientError::Refused(refusal) if refusal.error == "use_dpop_nonce"),
        "{error:?}"
    );
    assert_eq!(script.endpoint_requests().len(), 2);
    // One that gives none is not asked again.
    let script = Script::new(json!({}), |_, _| use_nonce());
    cast_error(&script).await;
    assert_eq!(script.endpoint_requests().len(), 1);
}

async fn cast_error(script: &Script) -> ClientError {
    cast(script).client.token(&TokenRequest::new(), NOW).await.unwrap_err()
}

// covers R9449-2, R9449-4
#[tokio::test]
async fn a_token_that_is_not_bound_to_the_key_is_thrown_away() {
    for token_type in ["Bearer", "N_A", ""] {
        let script = Script::new(json!({}), move |_, _| token(token_type));
        let resource = Site::plain(|_| json_response(&json!({})));
        let request = Request::get(resource.url("/").as_str()).body(Bytes::new()).unwrap();
        let cast = cast(&script);
        let error = cast.client.call(request, &TokenRequest::new(), NOW).await.unwrap_err();
        let ClientError::Response {
            source: ResponseError::TokenType { presented, expected },
            ..
        } = &error
        else {
            panic!("{error:?}");
        };
        assert_eq!((presented.as_str(), *expected), (token_type, "DPoP"));
        assert!(error.fix().unwrap().contains("dpop_bound_access_tokens"));
        assert_eq!((script.endpoint_requests().len(), resource.seen().len()), (1, 0));
    }
}

// covers R9449-4, R9449-5
#[tokio::test]
async fn a_resource_gets_a_proof_for_this_token_and_request_and_its_nonce() {
    let script = Script::new(json!({}), |_, _| token("DPoP"));
    let answers = AtomicUsize::new(0);
    let resource = Site::plain(move |_| {
        let challenge = |error: &str| {
            let mut response = json_with(StatusCode::UNAUTHORIZED, &json!({}));
            let field = format!("Bearer realm=\"x\", DPoP realm=\"x\", error=\"{error}\", algs=\"ES256 EdDSA\"");
            let field = HeaderValue::try_from(field).unwrap();
            response.headers_mut().insert("www-authenticate", field);
            response
        };
        match answers.fetch_add(1, Ordering::Relaxed) {
            0 => with_nonce(challenge("use_dpop_nonce"), "r-1"),
            1 => challenge("invalid_token"),
            _ => json_response(&json!({})),
        }
    });
    let url = resource.url("/a?b=c");
    let request = Request::get(url.as_str()).body(Bytes::new()).unwrap();
    let cast = cast(&script);
    let response = cast.client.call(request, &TokenRequest::new(), NOW).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    // A nonce, then another token, which is asked for once.
    let seen = resource.seen();
    let tokens: Vec<&str> = seen
        .iter()
        .map(|seen| {
            seen.headers["authorization"]
                .to_str()
                .unwrap()
                .strip_prefix("DPoP ")
                .unwrap()
        })
        .collect();
    assert_eq!((tokens.len(), tokens[0]), (3, tokens[1]));
    assert_ne!(tokens[1], tokens[2]);
    let nonces = [None, Some("r-1"), Some("r-1")];
    for ((seen, token), nonce) in seen.iter().zip(tokens).zip(nonces) {
        let claims = proven(&cast, seen, url.as_str(), "GET", Some(token));
        assert_eq!(claims.get("nonce").and_then(Value::as_str), nonce);
    }
    assert_eq!(script.endpoint_requests().len(), 2);
}

// covers R9449-6
#[tokio::test]
async fn a_code_is_asked_for_by_the_key_and_redeemed_by_it() {
    let script = Script::new(json!({}), |seen, _| match seen.path.as_str() {
        "/token" => token("DPoP"),
        _ => good(seen),
    });
    let cast = cast(&script);
    let pending = begin(&cast.client, "read").await;
    let issuer = script.site.issuer();
    let answer = query(&[("code", "c"), ("state", &state()), ("iss", &issuer)]);
    let response = cast.client.finish_authorization(pending, &answer, NOW).await.unwrap();
    assert!(response.access_token().dpop_key().is_some());
    let [pushed, redeemed] = &script.endpoint_requests()[..] else {
        panic!("two requests")
    };
    assert_eq!(pushed.form("dpop_jkt"), Some(&*cast.thumbprint.to_string()));
    proven(&cast, pushed, &format!("{issuer}/par"), "POST", None);
    proven(&cast, redeemed, &format!("{issuer}/token"), "POST", None);
}
