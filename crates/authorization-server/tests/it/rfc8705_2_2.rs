//! RFC 8705 §2.2: `self_signed_tls_client_auth`, by value and by reference.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use keybound_tls::{
    ClientCertificatePolicy, Connection, HostPolicies, HostPolicy, Listener, ListenerHandle, ListenerSettings,
    RequestBody, ResponseBody, Runtimes, Service, Transport,
};
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::pki::{Authority, Leaf, Wish, dns, self_signed, self_signed_by};
use crate::world::{Plan, Side, World, credentials, self_signed_client, server_identity, with};

const REGISTERED: &str = "one of the registered certificates, octet for octet";

// covers MTLS-2.2-3, MTLS-2.2-4, MTLS-2.2.2-1, MTLS-2.2.2-2, TRAP-40
#[tokio::test]
async fn only_the_registered_certificate_counts_octet_for_octet() {
    let key = KeyPair::generate().unwrap();
    let authority = Authority::root("nobody trusts it");
    let registered = self_signed_by(&key, dns("self.example"));
    let issued = authority.issue(dns("issued.example"));
    let world = Plan::new()
        .client("self", self_signed_client(&[&registered, &issued]))
        .start()
        .await;
    // From an unknown issuer, too: there is no path to validate.
    for leaf in [&registered, &issued] {
        assert_eq!(world.token(Some(leaf), "self").await.status, StatusCode::OK);
    }
    let cases = [
        (
            "same key, issued again",
            self_signed_by(
                &key,
                Wish {
                    serial: 8,
                    ..dns("self.example")
                },
            ),
        ),
        ("same names, other key", self_signed(dns("self.example"))),
        (
            "same key, from an authority",
            authority.issue_for(&key, dns("self.example")),
        ),
        ("another one", self_signed(dns("other.example"))),
    ];
    for (name, leaf) in cases {
        let reply = world.token(Some(&leaf), "self").await;
        let refusal = world.assert_refused(&reply, 400, "invalid_client", REGISTERED).await;
        assert_eq!(
            refusal.failed_rule().unwrap().presented.as_deref(),
            Some(leaf.thumbprint().as_str()),
            "{name}"
        );
    }
}

// covers TRAP-43
#[tokio::test]
async fn an_expired_registered_certificate_is_refused_unless_the_client_says_otherwise() {
    let expired = self_signed(Wish {
        valid: (2020, 2021),
        ..dns("self.example")
    });
    let world = Plan::new()
        .client("strict", self_signed_client(&[&expired]))
        .client(
            "lax",
            with(
                self_signed_client(&[&expired]),
                json!({"keybound_expired_self_signed": "accept"}),
            ),
        )
        .start()
        .await;
    let reply = world.token(Some(&expired), "strict").await;
    world
        .assert_refused(&reply, 400, "invalid_client", "inside its validity period")
        .await;
    assert_eq!(world.token(Some(&expired), "lax").await.status, StatusCode::OK);
}

/// A server of key sets that counts who asks.
#[derive(Clone)]
pub(crate) struct Publisher {
    body: Arc<Mutex<String>>,
    status: Arc<Mutex<StatusCode>>,
    delay: Arc<Mutex<Duration>>,
    asked: Arc<AtomicUsize>,
}

impl Service for Publisher {
    async fn call(&self, _: &Arc<Connection>, _: Request<RequestBody>) -> Response<ResponseBody> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let delay = *self.delay.lock().unwrap();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let mut response = Response::new(ResponseBody::from(self.body.lock().unwrap().clone()));
        *response.status_mut() = *self.status.lock().unwrap();
        response
    }
}

impl Publisher {
    pub(crate) fn start(authority: &Authority) -> (Publisher, String, ListenerHandle) {
        let publisher = Publisher {
            body: Arc::default(),
            status: Arc::new(Mutex::new(StatusCode::OK)),
            delay: Arc::default(),
            asked: Arc::default(),
        };
        let hosts = HostPolicies::one(HostPolicy::new(
            "keys",
            ClientCertificatePolicy::Never,
            server_identity(authority),
        ));
        let settings = ListenerSettings::new("keys", ([127, 0, 0, 1], 0).into(), Transport::Tls(hosts));
        let handle = Listener::bind(settings, &Runtimes::current())
            .unwrap()
            .serve(publisher.clone());
        let url = format!("https://localhost:{}/keys", handle.local_addr().port());
        (publisher, url, handle)
    }

    pub(crate) fn publish(&self, leaves: &[&Leaf]) {
        let keys: Vec<Value> = leaves.iter().map(|leaf| leaf.jwk()).collect();
        *self.body.lock().unwrap() = json!({ "keys": keys }).to_string();
    }

    fn answer(&self, status: StatusCode, body: &str) {
        *self.status.lock().unwrap() = status;
        *self.body.lock().unwrap() = body.to_owned();
    }

    fn recover(&self, leaves: &[&Leaf]) {
        *self.status.lock().unwrap() = StatusCode::OK;
        self.publish(leaves);
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn by_reference(uri: &str) -> Value {
    json!({
        "token_endpoint_auth_method": "self_signed_tls_client_auth",
        "jwks_uri": uri,
        "grant_types": ["client_credentials"],
        "tls_client_certificate_bound_access_tokens": true,
    })
}

async fn published(clients: usize) -> (World, Publisher, ListenerHandle) {
    let mut plan = Plan::new();
    let (publisher, uri, handle) = Publisher::start(&plan.server_authority);
    for n in 0..clients {
        plan = plan.client(&format!("client-{n}"), by_reference(&format!("{uri}/{n}")));
    }
    (plan.start().await, publisher, handle)
}

// covers MTLS-2.2-1, MTLS-2.2-6, MTLS-2.2.2-1, TRAP-42
#[tokio::test]
async fn a_rotation_at_jwks_uri_is_seen_within_thirty_seconds_in_both_directions() {
    let (world, publisher, _handle) = published(1).await;
    let (old, new) = (self_signed(dns("old")), self_signed(dns("new")));
    publisher.publish(&[&old]);
    assert_eq!(world.token(Some(&old), "client-0").await.status, StatusCode::OK);
    publisher.publish(&[&new]);
    // Not before 30 s: nobody makes us ask more often than that.
    let reply = world.token(Some(&new), "client-0").await;
    world.assert_refused(&reply, 400, "invalid_client", REGISTERED).await;
    world.clock.advance(29);
    assert_eq!(world.token(Some(&old), "client-0").await.status, StatusCode::OK);
    assert_eq!(publisher.asked(), 1);
    world.clock.advance(1);
    assert_eq!(world.token(Some(&new), "client-0").await.status, StatusCode::OK);
    let reply = world.token(Some(&old), "client-0").await;
    world.assert_refused(&reply, 400, "invalid_client", REGISTERED).await;
    assert_eq!(publisher.asked(), 2);
}

// covers TRAP-42
#[tokio::test]
async fn a_storm_of_requests_causes_one_fetch() {
    let (world, publisher, _handle) = published(1).await;
    let (registered, stranger) = (self_signed(dns("registered")), self_signed(dns("stranger")));
    publisher.publish(&[&registered]);
    *publisher.delay.lock().unwrap() = Duration::from_millis(200);
    let peers: Vec<_> = (0..40)
        .map(|n| world.peer(Side::MutualTls, Some(if n % 2 == 0 { &registered } else { &stranger })))
        .collect();
    let asking: Vec<_> = peers
        .into_iter()
        .enumerate()
        .map(|(n, peer)| tokio::spawn(async move { (n, peer.post("/token", &credentials("client-0")).await.status) }))
        .collect();
    for task in asking {
        let (n, status) = task.await.unwrap();
        assert_eq!(status.as_u16(), if n % 2 == 0 { 200 } else { 400 }, "{n}");
    }
    for _ in 0..500 {
        world.token(Some(&stranger), "client-0").await;
    }
    assert_eq!(publisher.asked(), 1);
}

// covers TRAP-42
#[tokio::test]
async fn without_a_certificate_naming_a_client_fetches_nothing() {
    let (world, publisher, _handle) = published(1).await;
    let reply = world.token(None, "client-0").await;
    world
        .assert_refused(&reply, 400, "invalid_client", "client certificate presented")
        .await;
    assert_eq!(publisher.asked(), 0);
}

// covers TRAP-42
#[tokio::test]
async fn all_clients_together_cause_at_most_ten_fetches_a_second() {
    let (world, publisher, _handle) = published(60).await;
    let stranger = self_signed(dns("stranger"));
    publisher.publish(&[]);
    let peer = world.peer(Side::MutualTls, Some(&stranger));
    let began = std::time::Instant::now();
    for n in 0..60 {
        peer.post("/token", &credentials(&format!("client-{n}"))).await;
    }
    let allowed = 10 + (began.elapsed().as_secs_f64() * 10.0).ceil() as usize;
    assert!(
        (10..=allowed).contains(&publisher.asked()),
        "{} of {allowed}",
        publisher.asked()
    );
}

// covers TRAP-42, MTLS-2.2.2-3, MTLS-2.2.2-4
#[tokio::test]
async fn a_fetch_that_fails_in_any_way_leaves_the_set_as_it_was_for_a_day() {
    let (world, publisher, _handle) = published(1).await;
    let (leaf, other) = (self_signed(dns("a")), self_signed(dns("b")));
    publisher.publish(&[&leaf]);
    assert_eq!(world.token(Some(&leaf), "client-0").await.status, StatusCode::OK);
    let mut mismatched = leaf.jwk();
    mismatched["x5c"] = other.jwk()["x5c"].clone();
    let without_key = json!({"keys": [{"kty": "EC", "x5c": leaf.jwk()["x5c"]}]}).to_string();
    let huge = format!("{{\"keys\":[],\"pad\":\"{}\"}}", "x".repeat(300 * 1024));
    let failures = [
        (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
        (StatusCode::FOUND, String::new()),
        (StatusCode::OK, "not json".to_owned()),
        (StatusCode::OK, "{}".to_owned()),
        (StatusCode::OK, json!({"keys": [mismatched]}).to_string()),
        (StatusCode::OK, without_key),
        (StatusCode::OK, huge),
    ];
    let mut asked = publisher.asked();
    for (status, body) in failures {
        publisher.answer(status, &body);
        world.clock.advance(31);
        assert_eq!(
            world.token(Some(&leaf), "client-0").await.status,
            StatusCode::OK,
            "{status} {:.60}",
            body
        );
        asked += 1;
        assert_eq!(publisher.asked(), asked);
    }
    world.clock.advance(24 * 3600 + 1);
    let reply = world.token(Some(&leaf), "client-0").await;
    world
        .assert_refused(&reply, 400, "invalid_client", "registered keys available")
        .await;
    publisher.recover(&[&leaf]);
    world.clock.advance(31);
    assert_eq!(world.token(Some(&leaf), "client-0").await.status, StatusCode::OK);
}

// covers TRAP-42
#[tokio::test]
async fn a_set_that_was_emptied_on_purpose_is_empty() {
    let (world, publisher, _handle) = published(1).await;
    let leaf = self_signed(dns("a"));
    publisher.publish(&[&leaf]);
    assert_eq!(world.token(Some(&leaf), "client-0").await.status, StatusCode::OK);
    publisher.publish(&[]);
    world.clock.advance(31);
    let reply = world.token(Some(&leaf), "client-0").await;
    world.assert_refused(&reply, 400, "invalid_client", REGISTERED).await;
}

// covers TRAP-42, T22
#[tokio::test]
async fn a_special_use_address_is_not_asked_unless_it_is_allowed() {
    let mut plan = Plan::new();
    let (publisher, uri, _handle) = Publisher::start(&plan.server_authority);
    let roots = keybound_tls::Roots::from_pem(plan.server_authority.pem().as_bytes()).unwrap();
    plan.settings.fetch = keybound_tls::GuardedFetch::new(keybound_tls::GuardedFetchSettings::new(roots));
    let world = plan.client("demo", by_reference(&uri)).start().await;
    let reply = world.token(Some(&self_signed(dns("a"))), "demo").await;
    let refusal = world
        .assert_refused(&reply, 400, "invalid_client", "registered keys available")
        .await;
    assert!(refusal.reason.contains("special-use address"), "{}", refusal.reason);
    assert_eq!(publisher.asked(), 0);
}

// covers TRAP-42
#[tokio::test]
async fn whoever_hangs_up_does_not_call_the_fetch_off() {
    let (world, publisher, _handle) = published(1).await;
    let leaf = self_signed(dns("a"));
    publisher.publish(&[&leaf]);
    *publisher.delay.lock().unwrap() = Duration::from_millis(300);
    let peer = world.peer(Side::MutualTls, Some(&leaf));
    let hasty = tokio::spawn(async move { peer.post("/token", &credentials("client-0")).await.status });
    while publisher.asked() == 0 {
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    hasty.abort();
    assert_eq!(world.token(Some(&leaf), "client-0").await.status, StatusCode::OK);
    assert_eq!(publisher.asked(), 1);
}
