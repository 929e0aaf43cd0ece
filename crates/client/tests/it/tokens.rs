//! Holding tokens: one per certificate and request, renewed in time, asked for once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::StatusCode;
use keybound_client::{RENEW_BEFORE, TokenRequest};
use keybound_protocol::scope::Scope;
use serde_json::json;

use crate::pki::Party;
use crate::site::{Site, json as json_response, status};
use crate::support::{NOW, TwoHosts, client, fresh_token, metadata};

#[tokio::test]
async fn a_held_token_is_used_until_it_is_due_for_renewal() {
    let hosts = TwoHosts::new();
    let client = client(&hosts.conventional, Party::new("demo").identity());
    let wanted = TokenRequest::new();
    let first = client.token(&wanted, NOW).await.unwrap();
    let lifetime = Duration::from_secs(300);
    assert_eq!(first.expires_at(), Some(NOW.plus(lifetime)));
    let before = NOW.plus(lifetime).minus(RENEW_BEFORE).minus(Duration::from_secs(1));
    assert_eq!(
        client.token(&wanted, before).await.unwrap().expose_text(),
        first.expose_text()
    );
    let due = NOW.plus(lifetime).minus(RENEW_BEFORE);
    assert_ne!(
        client.token(&wanted, due).await.unwrap().expose_text(),
        first.expose_text()
    );
}

#[tokio::test]
async fn tokens_of_different_requests_are_different_tokens() {
    let hosts = TwoHosts::new();
    let client = client(&hosts.conventional, Party::new("demo").identity());
    let wanted = [
        TokenRequest::new(),
        TokenRequest::new().with_scope(&Scope::parse("read").unwrap()),
        TokenRequest::new().with_resource("https://a.example".parse().unwrap()),
        TokenRequest::new().with_resource("https://b.example".parse().unwrap()),
    ];
    for _ in 0..2 {
        for wanted in &wanted {
            client.token(wanted, NOW).await.unwrap();
        }
    }
    assert_eq!(hosts.mutual_tls.seen_at("/token").len(), wanted.len());
}

// covers MTLS-6.3-2, TRAP-34
#[tokio::test]
async fn a_renewed_certificate_gets_a_token_of_its_own() {
    let hosts = TwoHosts::new();
    let (old, new) = (Party::new("demo"), Party::new("demo"));
    let client = client(&hosts.conventional, old.identity());
    let wanted = TokenRequest::new();
    let first = client.token(&wanted, NOW).await.unwrap();
    client.replace_identity(new.identity());
    let second = client.token(&wanted, NOW).await.unwrap();
    assert_ne!(first.expose_text(), second.expose_text());
    assert_eq!(first.thumbprint(), Some(&old.thumbprint()));
    assert_eq!(second.thumbprint(), Some(&new.thumbprint()));
    let presented: Vec<_> = hosts
        .mutual_tls
        .seen_at("/token")
        .iter()
        .map(|seen| seen.thumbprint().unwrap())
        .collect();
    assert_eq!(presented, [old.thumbprint(), new.thumbprint()]);
}

#[tokio::test]
async fn tasks_that_want_the_same_token_cause_one_request() {
    let hosts = TwoHosts::new();
    let client = Arc::new(client(&hosts.conventional, Party::new("demo").identity()));
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let client = Arc::clone(&client);
            tokio::spawn(async move {
                client
                    .token(&TokenRequest::new(), NOW)
                    .await
                    .unwrap()
                    .expose_text()
                    .to_owned()
            })
        })
        .collect();
    let mut tokens = Vec::new();
    for task in tasks {
        tokens.push(task.await.unwrap());
    }
    tokens.dedup();
    assert_eq!(tokens.len(), 1);
    assert_eq!(hosts.mutual_tls.seen_at("/token").len(), 1);
    assert_eq!(hosts.conventional.seen().len(), 1);
}

#[tokio::test]
async fn a_token_that_is_still_good_outlives_a_failure_of_its_server_and_one_that_is_not_does_not() {
    let down = Arc::new(AtomicBool::new(false));
    let is_down = Arc::clone(&down);
    let site = Site::asking(move |seen| {
        let issuer = format!("https://{}", seen.headers["host"].to_str().unwrap());
        match seen.path.as_str() {
            "/token" if is_down.load(Ordering::SeqCst) => status(StatusCode::SERVICE_UNAVAILABLE),
            "/token" => fresh_token(),
            _ => json_response(&metadata(&issuer, &issuer, None)),
        }
    });
    let client = client(&site, Party::new("demo").identity());
    let wanted = TokenRequest::new();
    let first = client.token(&wanted, NOW).await.unwrap();
    down.store(true, Ordering::SeqCst);
    let due = NOW.plus(Duration::from_secs(290));
    assert_eq!(
        client.token(&wanted, due).await.unwrap().expose_text(),
        first.expose_text()
    );
    let error = client
        .token(&wanted, NOW.plus(Duration::from_secs(300)))
        .await
        .unwrap_err();
    assert!(error.is_transient(), "{error:?}");
}

#[tokio::test]
async fn nobody_waits_for_the_renewal_of_a_token_that_is_still_good() {
    // Answers the first request at once and keeps the second waiting until it is told.
    let (release, waiting) = std::sync::mpsc::channel::<()>();
    let waiting = std::sync::Mutex::new(waiting);
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _inside = runtime.enter();
        let site = Site::asking(move |seen| {
            let issuer = format!("https://{}", seen.headers["host"].to_str().unwrap());
            match seen.path.as_str() {
                "/token" => {
                    if count.fetch_add(1, Ordering::SeqCst) == 1 {
                        waiting.lock().unwrap().recv().unwrap();
                    }
                    fresh_token()
                }
                _ => json_response(&metadata(&issuer, &issuer, None)),
            }
        });
        (runtime, site)
    });
    let (runtime, site) = server.join().unwrap();
    let server = std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    let client = Arc::new(client(&site, Party::new("demo").identity()));
    let wanted = TokenRequest::new();
    let first = client.token(&wanted, NOW).await.unwrap();
    let due = NOW.plus(Duration::from_secs(290));
    let renewal = tokio::spawn({
        let (client, wanted) = (Arc::clone(&client), wanted.clone());
        async move { client.token(&wanted, due).await.unwrap() }
    });
    while asked.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..10 {
        assert_eq!(
            client.token(&wanted, due).await.unwrap().expose_text(),
            first.expose_text()
        );
    }
    // Who finds it expired has to wait.
    let expired = NOW.plus(Duration::from_secs(300));
    let waits = tokio::time::timeout(Duration::from_millis(50), client.token(&wanted, expired)).await;
    assert!(waits.is_err());
    release.send(()).unwrap();
    let renewed = renewal.await.unwrap();
    assert_ne!(renewed.expose_text(), first.expose_text());
    assert_eq!(
        client.token(&wanted, due).await.unwrap().expose_text(),
        renewed.expose_text()
    );
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert!(!server.is_finished());
}

#[tokio::test]
async fn a_refusal_is_not_answered_with_the_token_that_is_held() {
    let refuses = Arc::new(AtomicBool::new(false));
    let is_refusing = Arc::clone(&refuses);
    let site = Site::asking(move |seen| {
        let issuer = format!("https://{}", seen.headers["host"].to_str().unwrap());
        match seen.path.as_str() {
            "/token" if is_refusing.load(Ordering::SeqCst) => {
                crate::site::json_with(StatusCode::BAD_REQUEST, &json!({"error": "invalid_client"}))
            }
            "/token" => fresh_token(),
            _ => json_response(&metadata(&issuer, &issuer, None)),
        }
    });
    let client = client(&site, Party::new("demo").identity());
    client.token(&TokenRequest::new(), NOW).await.unwrap();
    refuses.store(true, Ordering::SeqCst);
    let due = NOW.plus(Duration::from_secs(290));
    assert!(client.token(&TokenRequest::new(), due).await.unwrap_err().is_refusal());
}
