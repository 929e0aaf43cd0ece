//! A token never travels over another certificate than the one it was obtained with, asserted where it arrives.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode};
use keybound_client::{Identity, OutgoingBody, TokenRequest};
use keybound_protocol::issuer::Issuer;
use keybound_resource_server::{Check, IssuerSettings, KeySource, ResourceServer, RoutePolicy, Validation};
use serde_json::json;

use crate::pki::Party;
use crate::site::{Seen, Site, json as json_response, status};
use crate::support::{NOW, client, metadata};
use crate::token_issuer::TokenIssuer;

const AUDIENCE: &str = "https://api.example";

/// An authorization server that binds each token to the certificate it was asked for with.
fn binding_server() -> (Site, TokenIssuer) {
    // The issuer must be known before the site has its port, so that its metadata is made of each request's host.
    let issuer = TokenIssuer::new("https://as.example");
    let signs = issuer.clone();
    let site = Site::asking(move |seen: &Seen| {
        let host = format!("https://{}", seen.headers["host"].to_str().unwrap());
        match seen.path.as_str() {
            "/token" => {
                let token = signs.bound_token(&seen.thumbprint().unwrap(), AUDIENCE, NOW);
                json_response(&json!({"access_token": token, "token_type": "Bearer", "expires_in": 300}))
            }
            _ => json_response(&metadata(&host, &host, None)),
        }
    });
    (site, issuer)
}

/// A resource that checks every request, and the number of those it refused.
fn checking_resource(issuer: &TokenIssuer) -> (Site, Arc<AtomicUsize>) {
    let settings = IssuerSettings::new(
        Issuer::parse(&issuer.issuer).unwrap(),
        Validation::Local(KeySource::Static(issuer.keys())),
    );
    let resource_server = ResourceServer::new(vec![settings]).unwrap();
    let policy = RoutePolicy::new(AUDIENCE.parse().unwrap());
    let refused = Arc::new(AtomicUsize::new(0));
    let refusals = Arc::clone(&refused);
    let site = Site::asking(move |seen| {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.headers = seen.headers.clone();
        match resource_server.check(&parts, &seen.presented, &policy, NOW) {
            Check::Done(Ok(accepted)) => {
                assert_eq!(accepted.as_bound().unwrap().certificate(), seen.thumbprint().as_ref());
                status(StatusCode::OK)
            }
            Check::Done(Err(refusal)) => {
                refusals.fetch_add(1, Ordering::SeqCst);
                status(refusal.status())
            }
            Check::Pending(_) => panic!("the keys are given"),
        }
    });
    (site, refused)
}

// covers MTLS-3-9, TRAP-34, MTLS-6.3-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_identities_eight_tasks_and_a_thousand_switches_each_mix_nothing_up() {
    const TASKS: usize = 8;
    const SWITCHES: usize = 1_000;
    let (server, issuer) = binding_server();
    let (resource, refused) = checking_resource(&issuer);
    let identities: Arc<[Identity; 2]> = Arc::new([Party::new("demo").identity(), Party::new("demo").identity()]);
    let client = Arc::new(client(&server, identities[0].clone()));
    let url = resource.url("/api").to_string();

    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (client, identities, url) = (Arc::clone(&client), Arc::clone(&identities), url.clone());
            tokio::spawn(async move {
                for switch in 0..SWITCHES {
                    client.replace_identity(identities[(task + switch) % 2].clone());
                    let request = Request::get(&url).body(Bytes::new()).unwrap();
                    let response = client.call(request, &TokenRequest::new(), NOW).await.unwrap();
                    assert_eq!(response.status(), StatusCode::OK);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    // Not one was refused, not even one whose second attempt went well: nothing was ever sent the wrong way.
    assert_eq!(refused.load(Ordering::SeqCst), 0);
    assert_eq!(resource.seen().len(), TASKS * SWITCHES);
    assert_eq!(server.seen_at("/token").len(), 2);
}

// covers MTLS-3-9, MTLS-6.3-1
#[tokio::test]
async fn positive_control_the_resource_does_refuse_a_token_over_another_certificate() {
    let (server, issuer) = binding_server();
    let (resource, refused) = checking_resource(&issuer);
    let client = client(&server, Party::new("demo").identity());
    let token = client.token(&TokenRequest::new(), NOW).await.unwrap();
    let other = Party::new("demo").identity();
    let mut request = Request::get(resource.url("/api").as_str())
        .body(OutgoingBody::Empty)
        .unwrap();
    let authorization = HeaderValue::try_from(format!("Bearer {}", token.expose_text())).unwrap();
    request.headers_mut().insert("authorization", authorization);
    assert_eq!(other.send(request).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(refused.load(Ordering::SeqCst), 1);
}

// covers MTLS-3-9, MTLS-6.3-1, TRAP-34
#[tokio::test]
async fn a_token_that_was_obtained_before_a_renewal_still_travels_with_the_old_certificate() {
    let (server, issuer) = binding_server();
    let (resource, refused) = checking_resource(&issuer);
    let (old, new) = (Party::new("demo"), Party::new("demo"));
    let client = client(&server, old.identity());
    let token = client.token(&TokenRequest::new(), NOW).await.unwrap();
    client.replace_identity(new.identity());
    let request = Request::get(resource.url("/api").as_str()).body(Bytes::new()).unwrap();
    let response = client.call_with(&token, &request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let response = client
        .call(request, &TokenRequest::new(), NOW.plus(Duration::from_secs(1)))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let presented: Vec<_> = resource.seen().iter().map(|seen| seen.thumbprint().unwrap()).collect();
    assert_eq!(presented, [old.thumbprint(), new.thumbprint()]);
    assert_eq!(refused.load(Ordering::SeqCst), 0);
}
