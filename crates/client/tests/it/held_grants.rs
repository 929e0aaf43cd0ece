//! Refreshing and exchanging: the successor is kept, a renewed certificate gets a token of its own, an ended grant is left alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use keybound_client::{ClientError, HeldGrant, RefreshToken, ResponseError, TokenExchange, TokenRequest};
use keybound_protocol::scope::Scope;
use keybound_tls::ResponseBody;
use serde_json::{Value, json};

use crate::pki::Party;
use crate::script::Script;
use crate::site::{Seen, Site, json as json_response, json_with, status};
use crate::support::{NOW, client};

/// A token endpoint that rotates its refresh tokens: `r1` makes `r2`, and so on.
fn rotating(seen: &Seen) -> Response<ResponseBody> {
    let presented = seen.form("refresh_token").unwrap_or_default();
    match presented
        .strip_prefix('r')
        .and_then(|number| number.parse::<u32>().ok())
    {
        Some(number) => json_response(&json!({
            "access_token": format!("a{}", number + 1), "token_type": "Bearer", "expires_in": 300,
            "refresh_token": format!("r{}", number + 1),
        })),
        None => json_with(StatusCode::BAD_REQUEST, &json!({"error": "invalid_grant"})),
    }
}

fn held(script: &Script, party: &Party) -> (Arc<keybound_client::Client>, HeldGrant) {
    let client = Arc::new(client(&script.site, party.identity()));
    let grant = HeldGrant::of_refresh_token(Arc::clone(&client), RefreshToken::parse("r1").unwrap());
    (client, grant)
}

// covers R-FAPI-6, R9700-4
#[tokio::test]
async fn the_successor_takes_the_place_of_the_refresh_token() {
    let script = Script::new(json!({}), |seen, _| rotating(seen));
    let (_, grant) = held(&script, &Party::new("demo"));
    for (secs, token) in [(0, "a2"), (100, "a2"), (285, "a3"), (290, "a3"), (600, "a4")] {
        let now = NOW.plus(Duration::from_secs(secs));
        assert_eq!(grant.token(now).await.unwrap().expose_text(), token, "after {secs} s");
    }
    assert_eq!(grant.refresh_token().await.unwrap().expose_text(), "r4");
    let sent: Vec<String> = script
        .endpoint_requests()
        .iter()
        .map(|seen| seen.form["refresh_token"].clone())
        .collect();
    assert_eq!(sent, ["r1", "r2", "r3"], "none twice");
}

// covers R-FAPI-6, R9700-4
#[tokio::test]
async fn tokens_are_kept_though_the_keys_for_the_id_token_beside_them_are_away() {
    let script = Script::new(json!({"jwks_uri": "/away"}), |seen, issuer| match seen.path.as_str() {
        "/away" => status(StatusCode::SERVICE_UNAVAILABLE),
        _ => {
            let header = json!({"alg": issuer.signer.algorithm(), "kid": issuer.signer.key_id()});
            let claims =
                json!({"iss": issuer.issuer, "sub": "u.1", "aud": "demo", "iat": NOW, "exp": NOW.unix_secs() + 300});
            json_response(&json!({
                "access_token": "a", "token_type": "Bearer", "expires_in": 300, "refresh_token": "successor",
                "id_token": issuer.sign(&header, &claims),
            }))
        }
    });
    let (client, grant) = held(&script, &Party::new("demo"));
    let presented = RefreshToken::parse("r1").unwrap();
    let response = client.refresh(&presented, &TokenRequest::new(), NOW).await.unwrap();
    // What nobody verified is nobody's word.
    assert!(response.id_token().is_none());
    assert_eq!(response.refresh_token().unwrap().expose_text(), "successor");
    assert_eq!(grant.token(NOW).await.unwrap().expose_text(), "a");
    assert_eq!(grant.refresh_token().await.unwrap().expose_text(), "successor");
}

// covers R-FAPI-6
#[tokio::test]
async fn without_a_successor_the_same_one_stays_good() {
    let script = Script::new(json!({}), |_, _| {
        json_response(&json!({"access_token": "a", "token_type": "Bearer", "expires_in": 60}))
    });
    let (_, grant) = held(&script, &Party::new("demo"));
    for secs in [0, 60, 120] {
        grant.token(NOW.plus(Duration::from_secs(secs))).await.unwrap();
    }
    let seen = script.endpoint_requests();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|seen| seen.form("refresh_token") == Some("r1")));
}

// covers MTLS-6.3-2, MTLS-7.1-1, TRAP-34
#[tokio::test]
async fn after_a_renewal_the_grant_goes_on_with_a_token_of_the_new_certificate() {
    let script = Script::new(json!({}), |seen, _| rotating(seen));
    let (old, new) = (Party::new("demo"), Party::new("demo"));
    let (client, grant) = held(&script, &old);
    let first = grant.token(NOW).await.unwrap();
    assert_eq!(first.thumbprint(), Some(&old.thumbprint()));
    client.replace_identity(new.identity());
    let second = grant.token(NOW).await.unwrap();
    assert_eq!(second.expose_text(), "a3");
    assert_eq!(second.thumbprint(), Some(&new.thumbprint()));
    let presented: Vec<_> = script
        .endpoint_requests()
        .iter()
        .map(|seen| seen.thumbprint().unwrap())
        .collect();
    assert_eq!(presented, [old.thumbprint(), new.thumbprint()]);
}

#[tokio::test]
async fn tasks_that_need_a_token_at_once_cause_one_refresh() {
    let script = Script::new(json!({}), |seen, _| rotating(seen));
    let (_, grant) = held(&script, &Party::new("demo"));
    let grant = Arc::new(grant);
    let tasks: Vec<_> = (0..30)
        .map(|_| {
            let grant = Arc::clone(&grant);
            tokio::spawn(async move { grant.token(NOW).await.unwrap().expose_text().to_owned() })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), "a2");
    }
    assert_eq!(script.endpoint_requests().len(), 1);
}

// covers R9700-4
#[tokio::test]
async fn a_grant_that_has_ended_is_not_asked_about_again() {
    let script = Script::new(json!({}), |_, _| {
        json_with(StatusCode::BAD_REQUEST, &json!({"error": "invalid_grant"}))
    });
    let (_, grant) = held(&script, &Party::new("demo"));
    assert!(matches!(grant.token(NOW).await, Err(ClientError::Refused(_))));
    for _ in 0..3 {
        assert!(matches!(grant.token(NOW).await, Err(ClientError::Ended)));
    }
    assert_eq!(script.endpoint_requests().len(), 1);
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_token() {
    let count = AtomicUsize::new(0);
    let script = Script::new(json!({}), move |seen, _| match count.fetch_add(1, Ordering::SeqCst) {
        0 => status(StatusCode::BAD_GATEWAY),
        _ => rotating(seen),
    });
    let (_, grant) = held(&script, &Party::new("demo"));
    assert!(grant.token(NOW).await.unwrap_err().is_transient());
    assert_eq!(grant.token(NOW).await.unwrap().expose_text(), "a2");
    let sent: Vec<String> = script
        .endpoint_requests()
        .iter()
        .map(|seen| seen.form["refresh_token"].clone())
        .collect();
    assert_eq!(sent, ["r1", "r1"]);
}

// covers MTLS-6.3-2
#[tokio::test]
async fn a_resource_that_rejects_the_token_gets_a_new_one_once() {
    let script = Script::new(json!({}), |seen, _| rotating(seen));
    let resource = Site::asking(|seen| {
        let mut response = status(StatusCode::UNAUTHORIZED);
        let challenge = "Bearer realm=\"r\", error=\"invalid_token\"".parse().unwrap();
        response.headers_mut().insert("www-authenticate", challenge);
        match seen.headers["authorization"].to_str().unwrap() {
            "Bearer a2" => response,
            _ => status(StatusCode::OK),
        }
    });
    let (_, grant) = held(&script, &Party::new("demo"));
    let request = Request::get(resource.url("/a").as_str())
        .body(bytes::Bytes::new())
        .unwrap();
    assert_eq!(grant.call(request, NOW).await.unwrap().status(), StatusCode::OK);
    assert_eq!(resource.seen().len(), 2);
}

#[test]
fn a_refresh_token_is_one_that_can_be_sent_and_is_not_shown() {
    for text in ["", "a\nb", "ä", "a\u{1b}[2J"] {
        assert!(
            matches!(RefreshToken::parse(text), Err(ResponseError::RefreshToken)),
            "{text:?}"
        );
    }
    let token = RefreshToken::parse("c4n4ry").unwrap();
    assert!(!format!("{token:?}").contains("c4n4ry"));
}

async fn exchange(answer: Value) -> (Script, Result<keybound_client::TokenResponse, ClientError>) {
    let script = Script::new(json!({}), move |_, _| json_response(&answer));
    let exchange = TokenExchange::of_access_token("foreign")
        .with_scope(&Scope::parse("read").unwrap())
        .with_resource("https://api.example".parse().unwrap())
        .with_audience("api");
    let outcome = script.client().exchange(&exchange, NOW).await;
    (script, outcome)
}

// covers R8693-1, R8693-2
#[tokio::test]
async fn a_token_is_traded_for_one_whose_type_is_said() {
    let good = json!({
        "access_token": "own", "token_type": "Bearer",
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
    });
    let (script, outcome) = exchange(good.clone()).await;
    let response = outcome.unwrap();
    assert_eq!(response.access_token().expose_text(), "own");
    let seen = &script.endpoint_requests()[0];
    for (name, value) in [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", "foreign"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("scope", "read"),
        ("resource", "https://api.example"),
        ("audience", "api"),
        ("client_id", "demo"),
    ] {
        assert_eq!(seen.form(name), Some(value));
    }
    assert_eq!(seen.form("actor_token"), None);

    let mut silent = good;
    silent.as_object_mut().unwrap().remove("issued_token_type");
    let (_, outcome) = exchange(silent).await;
    assert!(
        matches!(
            &outcome,
            Err(ClientError::Response {
                source: ResponseError::Missing("issued_token_type"),
                ..
            })
        ),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn refreshing_may_narrow_the_scope() {
    let script = Script::new(json!({}), |seen, _| rotating(seen));
    let wanted = TokenRequest::new().with_scope(&Scope::parse("read").unwrap());
    let token = RefreshToken::parse("r1").unwrap();
    script.client().refresh(&token, &wanted, NOW).await.unwrap();
    assert_eq!(script.endpoint_requests()[0].form("scope"), Some("read"));
}
