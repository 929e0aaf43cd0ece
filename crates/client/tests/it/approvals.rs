//! Waiting for a user who decides elsewhere: that the server's pace is kept (RFC 8628 §3.5, CIBA Core §7, §11).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Response, StatusCode};
use keybound_client::{BackchannelRequest, ClientError, Poll, ResponseError, TokenRequest, UserHint};
use keybound_protocol::scope::Scope;
use keybound_protocol::time::Timestamp;
use keybound_tls::{Clock, ResponseBody};
use serde_json::{Value, json};

use crate::script::Script;
use crate::site::{json as json_response, json_with, status};
use crate::support::NOW;

fn after(secs: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(secs))
}

fn error(code: &str) -> Response<ResponseBody> {
    json_with(StatusCode::BAD_REQUEST, &json!({"error": code}))
}

/// A server whose token endpoint gives these answers one after the other, the last for good.
fn answering(device: Value, answers: Vec<&'static str>) -> Script {
    let count = AtomicUsize::new(0);
    Script::new(json!({}), move |seen, _| match seen.path.as_str() {
        "/device_authorization" => json_response(&device),
        "/token" => {
            let index = count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
            match answers[index] {
                "token" => json_response(&json!({"access_token": "t", "token_type": "Bearer", "expires_in": 300})),
                "away" => status(StatusCode::SERVICE_UNAVAILABLE),
                code => error(code),
            }
        }
        _ => status(StatusCode::NOT_FOUND),
    })
}

fn device() -> Value {
    json!({
        "device_code": "device-1", "user_code": "WDJB-MJHT", "verification_uri": "https://as.example/device",
        "verification_uri_complete": "https://as.example/device?user_code=WDJB-MJHT", "expires_in": 600, "interval": 3,
    })
}

// covers R8628-3, R8628-2
#[tokio::test]
async fn the_interval_is_kept_and_slow_down_lengthens_it_for_good() {
    let answers = vec![
        "authorization_pending",
        "slow_down",
        "authorization_pending",
        "slow_down",
        "token",
    ];
    let script = answering(device(), answers);
    let client = script.client();
    let wanted = TokenRequest::new().with_scope(&Scope::parse("read").unwrap());
    let mut device = client.begin_device_authorization(&wanted, NOW).await.unwrap();
    assert_eq!(device.user_code, "WDJB-MJHT");
    assert_eq!(device.verification_uri.as_str(), "https://as.example/device");
    assert_eq!(script.endpoint_requests()[0].form("scope"), Some("read"));
    let polls = || script.site.seen_at("/token").len();
    // At these seconds one request is made and the next is due so much later; every second before, none.
    let mut due: u64 = 3;
    for (count, next_after) in [(1, 3), (2, 8), (3, 8), (4, 13)] {
        for early in [due - 1, due.saturating_sub(2)] {
            let outcome = client.poll(&mut device.pending, after(early)).await.unwrap();
            assert!(
                matches!(outcome, Poll::Pending { next_poll_at } if next_poll_at == after(due)),
                "{outcome:?}"
            );
            assert_eq!(polls(), count - 1, "asked too early");
        }
        let outcome = client.poll(&mut device.pending, after(due)).await.unwrap();
        due += next_after;
        assert!(
            matches!(outcome, Poll::Pending { next_poll_at } if next_poll_at == after(due)),
            "{outcome:?}"
        );
        assert_eq!(polls(), count);
    }
    let Poll::Approved(response) = client.poll(&mut device.pending, after(due)).await.unwrap() else {
        panic!("not approved");
    };
    assert_eq!(response.access_token().expose_text(), "t");
    let seen = script.site.seen_at("/token");
    assert!(
        seen.iter().all(|seen| seen.query.is_empty()),
        "what is secret stays out of URIs"
    );
    assert!(
        seen.iter()
            .all(|seen| seen.form("device_code") == Some("device-1") && seen.form("client_id") == Some("demo"))
    );
    assert_eq!(
        seen[0].form("grant_type"),
        Some("urn:ietf:params:oauth:grant-type:device_code")
    );
    // The code is spent.
    assert!(matches!(
        client.poll(&mut device.pending, after(due + 60)).await,
        Err(ClientError::Ended)
    ));
    assert_eq!(polls(), seen.len());
}

// covers R8628-3
#[tokio::test]
async fn an_answer_that_ends_the_request_is_the_last() {
    for code in [
        "access_denied",
        "expired_token",
        "invalid_grant",
        "invalid_client",
        "unheard_of",
    ] {
        let script = answering(device(), vec![code]);
        let client = script.client();
        let mut device = client
            .begin_device_authorization(&TokenRequest::new(), NOW)
            .await
            .unwrap();
        let error = client.poll(&mut device.pending, after(3)).await.unwrap_err();
        match (code, &error) {
            ("expired_token", ClientError::ApprovalExpired) => {}
            (_, ClientError::Refused(refusal)) => assert_eq!(refusal.error, code),
            _ => panic!("{code}: {error:?}"),
        }
        assert!(matches!(
            client.poll(&mut device.pending, after(100)).await,
            Err(ClientError::Ended)
        ));
        assert_eq!(script.site.seen_at("/token").len(), 1, "{code}");
    }
}

// covers R8628-3
#[tokio::test]
async fn nobody_is_asked_after_the_time_is_over() {
    let script = answering(device(), vec!["authorization_pending"]);
    let client = script.client();
    let mut device = client
        .begin_device_authorization(&TokenRequest::new(), NOW)
        .await
        .unwrap();
    client.poll(&mut device.pending, after(597)).await.unwrap();
    assert!(matches!(
        client.poll(&mut device.pending, after(600)).await,
        Err(ClientError::ApprovalExpired)
    ));
    assert_eq!(script.site.seen_at("/token").len(), 1);
}

// covers R8628-3
#[tokio::test]
async fn a_server_that_is_away_is_asked_half_as_often_each_time() {
    let script = answering(device(), vec!["away", "away", "token"]);
    let client = script.client();
    let mut device = client
        .begin_device_authorization(&TokenRequest::new(), NOW)
        .await
        .unwrap();
    client.poll(&mut device.pending, after(3)).await.unwrap();
    assert_eq!(device.pending.next_poll_at(), after(9));
    client.poll(&mut device.pending, after(9)).await.unwrap();
    assert_eq!(device.pending.next_poll_at(), after(21));
    assert!(matches!(
        client.poll(&mut device.pending, after(21)).await,
        Ok(Poll::Approved(_))
    ));
}

// covers R8628-2
#[tokio::test]
async fn what_the_server_leaves_out_has_its_default_and_what_it_must_say_is_demanded() {
    let mut silent = device();
    silent.as_object_mut().unwrap().remove("interval");
    let script = answering(silent, vec!["token"]);
    let device_authorization = script
        .client()
        .begin_device_authorization(&TokenRequest::new(), NOW)
        .await
        .unwrap();
    assert_eq!(device_authorization.pending.interval(), Duration::from_secs(5));

    for member in ["device_code", "user_code", "verification_uri", "expires_in"] {
        let mut lacking = device();
        lacking.as_object_mut().unwrap().remove(member);
        let script = answering(lacking, vec!["token"]);
        let error = script
            .client()
            .begin_device_authorization(&TokenRequest::new(), NOW)
            .await
            .unwrap_err();
        assert!(
            matches!(&error, ClientError::Response { source: ResponseError::Missing(missing), .. } if *missing == member),
            "{error:?}"
        );
    }
    // A page in clear is no page to type a password into.
    for uri in ["http://as.example/device", "javascript:alert(1)", "device"] {
        let mut hostile = device();
        hostile["verification_uri"] = uri.into();
        let script = answering(hostile, vec!["token"]);
        let error = script
            .client()
            .begin_device_authorization(&TokenRequest::new(), NOW)
            .await
            .unwrap_err();
        assert!(
            matches!(
                &error,
                ClientError::Response {
                    source: ResponseError::Url("verification_uri"),
                    ..
                }
            ),
            "{uri}: {error:?}"
        );
    }
    // Nor is an interval of nothing a reason to ask without end.
    let mut eager = device();
    eager["interval"] = 0.into();
    let script = answering(eager, vec!["token"]);
    let device_authorization = script
        .client()
        .begin_device_authorization(&TokenRequest::new(), NOW)
        .await
        .unwrap();
    assert_eq!(device_authorization.pending.interval(), Duration::from_secs(1));
}

// covers R8628-3
#[tokio::test]
async fn waiting_asks_at_the_servers_pace_until_it_is_decided() {
    // A clock that goes on as much as is slept would need a runtime of its own; this one takes a step at each reading.
    let secs = Mutex::new(0_u64);
    let clock = Clock::from_fn(move || {
        let mut secs = secs.lock().unwrap();
        *secs += 3;
        after(*secs)
    });
    let mut quick = device();
    quick["interval"] = 1.into();
    let script = answering(quick, vec!["authorization_pending", "token"]);
    let client = script.client();
    let device = client
        .begin_device_authorization(&TokenRequest::new(), NOW)
        .await
        .unwrap();
    let response = client.wait_for_approval(device.pending, &clock).await.unwrap();
    assert_eq!(response.access_token().expose_text(), "t");
    assert_eq!(script.site.seen_at("/token").len(), 2);
}

// covers R8628-3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_ends_the_waiting_between_requests_and_never_one_of_them() {
    for (answer_takes, is_approved) in [(Duration::ZERO, false), (Duration::from_millis(1_500), true)] {
        let script = Script::new(json!({}), move |seen, _| match seen.path.as_str() {
            "/device_authorization" => {
                let mut quick = device();
                quick["interval"] = 1.into();
                json_response(&quick)
            }
            "/token" if is_approved => {
                // The user approves at the last moment, and the answer comes after it.
                std::thread::sleep(answer_takes);
                json_response(&json!({"access_token": "t", "token_type": "Bearer"}))
            }
            _ => error("authorization_pending"),
        });
        let client = script.client();
        let clock = Clock::system();
        let wanted = TokenRequest::new();
        let device = client.begin_device_authorization(&wanted, clock.now()).await.unwrap();
        let limit = Duration::from_millis(2_000);
        let waited = client.wait_for_approval_within(device.pending, limit, &clock).await;
        let token = waited
            .unwrap()
            .map(|response| response.access_token().expose_text().to_owned());
        assert_eq!(token.as_deref(), is_approved.then_some("t"));
        assert!(!script.site.seen_at("/token").is_empty());
    }
}

/// A server that asks its users itself; the ID token is made of these claims.
fn asking(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Script {
    Script::new(
        json!({"id_token_signing_alg_values_supported": ["ES256"]}),
        move |seen, issuer| match seen.path.as_str() {
            "/bc-authorize" => json_response(&json!({"auth_req_id": "request-1", "expires_in": 120, "interval": 2})),
            "/token" => {
                let mut claims = json!({
                    "iss": issuer.issuer, "sub": "u.1", "aud": "demo", "iat": NOW, "exp": NOW.unix_secs() + 300,
                });
                change(&mut claims);
                let header = json!({"alg": issuer.signer.algorithm(), "kid": issuer.signer.key_id()});
                let id_token = issuer.sign(&header, &claims);
                json_response(&json!({"access_token": "t", "token_type": "Bearer", "id_token": id_token}))
            }
            _ => status(StatusCode::NOT_FOUND),
        },
    )
}

// covers CIBA-1, CIBA-2, CIBA-3
#[tokio::test]
async fn a_user_is_asked_by_exactly_one_hint_and_always_for_openid() {
    for (hint, name) in [
        (UserHint::Login("ada".to_owned()), "login_hint"),
        (UserHint::LoginToken("t".to_owned()), "login_hint_token"),
        (UserHint::IdToken("t".to_owned()), "id_token_hint"),
    ] {
        let script = asking(|_| {});
        let client = script.client();
        let request = BackchannelRequest::new(hint, &Scope::parse("read openid").unwrap()).with_binding_message("4711");
        let mut pending = client.begin_backchannel_authentication(&request, NOW).await.unwrap();
        let seen = script.endpoint_requests();
        let hints = ["login_hint", "login_hint_token", "id_token_hint"];
        let sent: Vec<&str> = hints.into_iter().filter(|hint| seen[0].form(hint).is_some()).collect();
        assert_eq!(sent, [name]);
        assert_eq!(seen[0].form("scope"), Some("openid read"));
        assert_eq!(seen[0].form("binding_message"), Some("4711"));
        assert!(seen[0].thumbprint().is_some(), "the client is authenticated here, too");
        assert!(matches!(
            client.poll(&mut pending, after(1)).await,
            Ok(Poll::Pending { .. })
        ));
        let Poll::Approved(response) = client.poll(&mut pending, after(2)).await.unwrap() else {
            panic!("not approved");
        };
        assert_eq!(response.id_token().unwrap().subject(), "u.1");
        let token = &script.site.seen_at("/token")[0];
        assert_eq!(token.form("grant_type"), Some("urn:openid:params:grant-type:ciba"));
        assert_eq!(token.form("auth_req_id"), Some("request-1"));
    }
}

// covers CIBA-4
#[tokio::test]
async fn an_id_token_for_somebody_else_ends_the_request() {
    let script = asking(|claims| claims["aud"] = json!("other"));
    let client = script.client();
    let request = BackchannelRequest::new(UserHint::Login("ada".to_owned()), &Scope::empty());
    let mut pending = client.begin_backchannel_authentication(&request, NOW).await.unwrap();
    let error = client.poll(&mut pending, after(2)).await.unwrap_err();
    assert!(matches!(error, ClientError::IdToken { .. }), "{error:?}");
    assert!(matches!(
        client.poll(&mut pending, after(9)).await,
        Err(ClientError::Ended)
    ));
    assert_eq!(script.site.seen_at("/token").len(), 1);
}

// covers CIBA-4
#[tokio::test]
async fn nobody_asks_for_tokens_while_the_keys_for_their_id_token_are_away() {
    let is_away = Arc::new(AtomicBool::new(true));
    let keys_away = Arc::clone(&is_away);
    let more = json!({"id_token_signing_alg_values_supported": ["ES256"], "jwks_uri": "/keys"});
    let script = Script::new(more, move |seen, issuer| match seen.path.as_str() {
        "/keys" if keys_away.load(Ordering::SeqCst) => status(StatusCode::SERVICE_UNAVAILABLE),
        "/keys" => json_response(&issuer.keys().to_json()),
        "/bc-authorize" => json_response(&json!({"auth_req_id": "request-1", "expires_in": 120, "interval": 2})),
        _ => {
            let header = json!({"alg": issuer.signer.algorithm(), "kid": issuer.signer.key_id()});
            let claims = json!({"iss": issuer.issuer, "sub": "u.1", "aud": "demo", "iat": NOW, "exp": after(600)});
            let id_token = issuer.sign(&header, &claims);
            json_response(&json!({"access_token": "t", "token_type": "Bearer", "id_token": id_token}))
        }
    });
    let client = script.client();
    let request = BackchannelRequest::new(UserHint::Login("ada".to_owned()), &Scope::empty());
    let mut pending = client.begin_backchannel_authentication(&request, NOW).await.unwrap();
    let outcome = client.poll(&mut pending, after(2)).await.unwrap();
    // As if the server itself were away: less often, and nothing is lost.
    assert!(
        matches!(outcome, Poll::Pending { next_poll_at } if next_poll_at == after(6)),
        "{outcome:?}"
    );
    assert_eq!(script.site.seen_at("/token").len(), 0);
    is_away.store(false, Ordering::SeqCst);
    let outcome = client.poll(&mut pending, after(6)).await.unwrap();
    let Poll::Approved(response) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(response.id_token().unwrap().subject(), "u.1");
}

// covers CIBA-4
#[tokio::test]
async fn an_id_token_is_missed_only_where_the_server_issues_some() {
    for issues in [true, false] {
        let more = match issues {
            true => json!({"id_token_signing_alg_values_supported": ["ES256"]}),
            false => json!({}),
        };
        let script = Script::new(more, |seen, _| match seen.path.as_str() {
            "/bc-authorize" => json_response(&json!({"auth_req_id": "request-1", "expires_in": 120})),
            _ => json_response(&json!({"access_token": "t", "token_type": "Bearer"})),
        });
        let client = script.client();
        let request = BackchannelRequest::new(UserHint::Login("ada".to_owned()), &Scope::empty());
        let mut pending = client.begin_backchannel_authentication(&request, NOW).await.unwrap();
        let outcome = client.poll(&mut pending, after(5)).await;
        match issues {
            true => assert!(matches!(outcome, Err(ClientError::IdToken { .. })), "{outcome:?}"),
            false => assert!(matches!(outcome, Ok(Poll::Approved(_))), "{outcome:?}"),
        }
    }
}
