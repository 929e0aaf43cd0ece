//! Calling a protected resource: with the certificate of the token, and once more after a refusal of the token.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use keybound_client::TokenRequest;
use keybound_tls::ResponseBody;

use crate::pki::Party;
use crate::site::{Seen, Site, status};
use crate::support::{NOW, TwoHosts, client};

fn bearer_token(seen: &Seen) -> Option<&str> {
    seen.headers
        .get("authorization")?
        .to_str()
        .ok()?
        .strip_prefix("Bearer ")
}

fn challenge(status: StatusCode, value: &str) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Empty);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert("www-authenticate", value.parse().unwrap());
    response
}

/// A resource that answers its first `count` requests with `refusal`.
fn refusing(count: usize, refusal: impl Fn() -> Response<ResponseBody> + Send + Sync + 'static) -> Site {
    let refused = AtomicUsize::new(0);
    Site::asking(move |_: &Seen| match refused.fetch_add(1, Ordering::SeqCst) < count {
        true => refusal(),
        false => status(StatusCode::OK),
    })
}

fn post(site: &Site, body: &'static str) -> Request<Bytes> {
    Request::post(site.url("/api").as_str())
        .body(Bytes::from_static(body.as_bytes()))
        .unwrap()
}

const INVALID_TOKEN: &str = r#"Bearer realm="api", error="invalid_token""#;

// covers MTLS-6.3-2, MTLS-3-9
#[tokio::test]
async fn a_rejected_token_is_replaced_and_the_request_sent_once_more() {
    let resource = refusing(1, || challenge(StatusCode::UNAUTHORIZED, INVALID_TOKEN));
    let hosts = TwoHosts::new();
    let party = Party::new("demo");
    let client = client(&hosts.conventional, party.identity());
    let response = client
        .call(post(&resource, "body"), &TokenRequest::new(), NOW)
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let seen = resource.seen();
    assert_eq!(seen.len(), 2);
    assert_ne!(bearer_token(&seen[0]), bearer_token(&seen[1]));
    for seen in &seen {
        assert_eq!(seen.thumbprint(), Some(party.thumbprint()));
        assert!(seen.form.contains_key("body"));
    }
    // The new one is held from now on.
    client
        .call(post(&resource, ""), &TokenRequest::new(), NOW)
        .await
        .unwrap();
    assert_eq!(hosts.mutual_tls.seen_at("/token").len(), 2);
}

// covers MTLS-6.3-2
#[tokio::test]
async fn a_resource_that_rejects_every_token_is_asked_twice_and_its_answer_returned() {
    let resource = refusing(usize::MAX, || challenge(StatusCode::UNAUTHORIZED, INVALID_TOKEN));
    let hosts = TwoHosts::new();
    let client = client(&hosts.conventional, Party::new("demo").identity());
    let response = client
        .call(post(&resource, ""), &TokenRequest::new(), NOW)
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(resource.seen().len(), 2);
    assert_eq!(hosts.mutual_tls.seen_at("/token").len(), 2);
}

// covers R6750-4
#[tokio::test]
async fn other_refusals_are_returned_as_they_are() {
    type Refusal = fn() -> Response<ResponseBody>;
    let refusals: [Refusal; 4] = [
        || {
            challenge(
                StatusCode::FORBIDDEN,
                r#"Bearer realm="api", error="insufficient_scope""#,
            )
        },
        || challenge(StatusCode::UNAUTHORIZED, r#"Bearer realm="api""#),
        || challenge(StatusCode::UNAUTHORIZED, r#"Basic realm="invalid_token""#),
        || status(StatusCode::SERVICE_UNAVAILABLE),
    ];
    for refusal in refusals {
        let resource = refusing(usize::MAX, refusal);
        let hosts = TwoHosts::new();
        let client = client(&hosts.conventional, Party::new("demo").identity());
        let response = client
            .call(post(&resource, ""), &TokenRequest::new(), NOW)
            .await
            .unwrap();
        assert_eq!(response.status(), refusal().status());
        assert_eq!(resource.seen().len(), 1);
    }
}

// covers R6750-1, R6750-2
#[tokio::test]
async fn the_token_travels_in_one_header_and_replaces_what_the_caller_put_there() {
    let resource = refusing(0, || status(StatusCode::OK));
    let hosts = TwoHosts::new();
    let client = client(&hosts.conventional, Party::new("demo").identity());
    let mut request = Request::get(resource.url("/api?q=1").as_str())
        .body(Bytes::new())
        .unwrap();
    request
        .headers_mut()
        .append("authorization", "Bearer of-somebody".parse().unwrap());
    request
        .headers_mut()
        .append("authorization", "Basic eA==".parse().unwrap());
    client.call(request, &TokenRequest::new(), NOW).await.unwrap();
    let seen = resource.seen();
    assert_eq!(seen[0].headers.get_all("authorization").iter().count(), 1);
    assert!(bearer_token(&seen[0]).unwrap().starts_with("token-"));
    assert!(!seen[0].path.contains("token"));
}

// covers MTLS-6.3-2
#[tokio::test]
async fn tasks_whose_token_is_rejected_together_ask_for_one_new_one() {
    let resource = Site::asking({
        let first = std::sync::Mutex::new(None::<String>);
        move |seen| {
            // Whatever token came first is the one that is not valid any more.
            let token = bearer_token(seen).unwrap().to_owned();
            let mut first = first.lock().unwrap();
            match *first.get_or_insert_with(|| token.clone()) == token {
                true => challenge(StatusCode::UNAUTHORIZED, INVALID_TOKEN),
                false => status(StatusCode::OK),
            }
        }
    });
    let hosts = TwoHosts::new();
    let client = Arc::new(client(&hosts.conventional, Party::new("demo").identity()));
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (client, request) = (Arc::clone(&client), post(&resource, ""));
            tokio::spawn(async move { client.call(request, &TokenRequest::new(), NOW).await.unwrap().status() })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), StatusCode::OK);
    }
    assert_eq!(hosts.mutual_tls.seen_at("/token").len(), 2);
}
