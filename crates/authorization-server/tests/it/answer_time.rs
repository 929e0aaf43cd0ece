//! When answers that must look alike are sent. Nothing here depends on how fast anything is: an answer is never sent before its
//! time, and where waiting would show it would last longer than the test.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame};
use keybound_tls::OutgoingBody;
use serde_json::json;
use tokio::time::{Sleep, sleep};

use crate::pki::{Authority, Leaf, dns, self_signed};
use crate::world::{OPAQUE_API, Peer, Plan, Reply, Side, World, claims, credentials, self_signed_client, tls_client};

const INTERVAL: Duration = Duration::from_millis(200);

/// A client for each way, a caller that may not see their tokens, and somebody whose certificate is nobody's.
async fn world(authority: &Authority, registered: &Leaf, interval: Duration) -> World {
    let mut plan = Plan::new()
        .trusts("corp", authority)
        .client("demo", tls_client("demo.example"))
        .client("self", self_signed_client(&[registered]))
        .introspecting();
    plan.settings.limits.alike_answer_interval = interval;
    plan.start().await
}

/// Asserts that the answer took a whole interval at least, from when the request was complete.
async fn assert_waits(peer: &Peer, path: &str, form: &[(&str, &str)]) -> Reply {
    let began = Instant::now();
    let reply = peer.post(path, form).await;
    assert!(
        began.elapsed() >= INTERVAL,
        "{form:?} after {:?}: {reply:?}",
        began.elapsed()
    );
    reply
}

// covers T31
#[tokio::test]
async fn a_failed_authentication_is_not_answered_before_its_time_whoever_was_named() {
    let (authority, registered) = (Authority::root("corp"), self_signed(dns("self.example")));
    let world = world(&authority, &registered, INTERVAL).await;
    let stranger = authority.issue(dns("stranger.example"));
    for leaf in [Some(&stranger), None] {
        let peer = world.peer(Side::MutualTls, leaf);
        for client_id in ["demo", "self", "nobody", "not a client id"] {
            for path in ["/token", "/introspect", "/revoke"] {
                let form = [&credentials(client_id)[..], &[("token", "x")]].concat();
                let reply = assert_waits(&peer, path, &form).await;
                assert_eq!(reply.json()["error"], "invalid_client");
            }
        }
    }
    // The record was there before the answer was.
    let reply = assert_waits(&world.peer(Side::MutualTls, None), "/token", &credentials("demo")).await;
    let refusal = world.refusal(&reply).await;
    assert_eq!(refusal.client_id.as_deref(), Some("demo"));
}

// covers T31
#[tokio::test]
async fn one_failure_too_many_is_no_faster_way_to_find_out() {
    let (authority, registered) = (Authority::root("corp"), self_signed(dns("self.example")));
    let mut plan = Plan::new()
        .trusts("corp", &authority)
        .client("self", self_signed_client(&[&registered]));
    plan.settings.limits.alike_answer_interval = INTERVAL;
    plan.settings.limits.failed_authentications_per_second = 1;
    let world = plan.start().await;
    let peer = world.peer(Side::MutualTls, None);
    let mut statuses = Vec::new();
    for client_id in ["self", "nobody", "self", "nobody"] {
        statuses.push(assert_waits(&peer, "/token", &credentials(client_id)).await.status);
    }
    assert!(statuses.contains(&StatusCode::TOO_MANY_REQUESTS), "{statuses:?}");
}

// covers T31
#[tokio::test]
async fn the_wait_begins_when_the_request_is_complete_and_not_when_it_begins() {
    let (authority, registered) = (Authority::root("corp"), self_signed(dns("self.example")));
    let world = world(&authority, &registered, INTERVAL).await;
    let peer = world.peer(Side::MutualTls, None);
    let pause = INTERVAL * 3 / 2;
    for client_id in ["demo", "nobody"] {
        let began = Instant::now();
        let body = Slow::new("grant_type=client_credentials&client_id=", pause, client_id);
        let reply = peer.post_streamed("/token", OutgoingBody::stream(body)).await;
        assert_eq!(reply.json()["error"], "invalid_client");
        assert!(
            began.elapsed() >= pause + INTERVAL,
            "{client_id}: {:?}",
            began.elapsed()
        );
    }
}

// covers T10, T31
#[tokio::test]
async fn that_a_token_is_not_active_is_not_said_before_its_time_whatever_the_token_is() {
    let (authority, registered) = (Authority::root("corp"), self_signed(dns("self.example")));
    let world = world(&authority, &registered, INTERVAL).await;
    let demo = authority.issue(dns("demo.example"));
    let token = world.access_token(&demo, "demo", &[]).await;
    let opaque = world.access_token(&demo, "demo", &[("resource", OPAQUE_API)]).await;
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", signature.chars().rev().collect::<String>());
    let foreign = world.peer(Side::MutualTls, Some(&authority.issue(dns("foreign.example"))));
    for token in [&token, &opaque, &forged, "unknown", "a.b.c", "."] {
        let form = [("client_id", "foreign"), ("token", token)];
        let reply = assert_waits(&foreign, "/introspect", &form).await;
        assert_eq!(
            (reply.status, reply.json()),
            (StatusCode::OK, json!({"active": false})),
            "{token}"
        );
    }
}

// covers R9701-3, T31
#[tokio::test]
async fn a_signed_answer_is_no_faster_way_to_find_out() {
    let (authority, registered) = (Authority::root("corp"), self_signed(dns("self.example")));
    let world = world(&authority, &registered, INTERVAL).await;
    let demo = authority.issue(dns("demo.example"));
    let token = world.access_token(&demo, "demo", &[]).await;
    let foreign = world.peer(Side::MutualTls, Some(&authority.issue(dns("foreign.example"))));
    for token in [&token, "unknown", "a.b.c"] {
        let form = [("client_id", "foreign"), ("token", token)];
        let accept = [("accept", "application/token-introspection+jwt")];
        let began = Instant::now();
        let reply = foreign.post_with("/introspect", &form, &accept).await;
        assert!(began.elapsed() >= INTERVAL, "{token}: {:?}", began.elapsed());
        let jwt = String::from_utf8(reply.body).unwrap();
        assert_eq!(claims(&jwt)["token_introspection"], json!({"active": false}), "{token}");
    }
}

// covers R6749-3
#[tokio::test]
async fn whoever_may_know_is_answered_at_once() {
    let (authority, registered) = (Authority::root("corp"), self_signed(dns("self.example")));
    let forever = Duration::from_secs(3_600);
    let world = world(&authority, &registered, forever).await;
    let demo = authority.issue(dns("demo.example"));
    let rs = world.peer(Side::MutualTls, Some(&authority.issue(dns("rs.example"))));
    let answers = async {
        let token = world.access_token(&demo, "demo", &[]).await;
        world.access_token(&registered, "self", &[]).await;
        let reply = rs.post("/introspect", &[("client_id", "rs"), ("token", &token)]).await;
        assert_eq!(reply.json()["active"], true);
        // It is known by then who asks, and every other code says something else.
        let form = [&credentials("demo")[..], &[("scope", "unregistered")]].concat();
        let reply = world.post(Some(&demo), "/token", &form).await;
        assert_eq!(reply.json()["error"], "invalid_scope");
        let reply = world
            .post(Some(&demo), "/revoke", &[("client_id", "demo"), ("token", &token)])
            .await;
        assert_eq!(reply.status, StatusCode::OK);
    };
    tokio::time::timeout(forever / 2, answers).await.unwrap();
}

/// A body in two parts with a pause between them.
struct Slow {
    parts: std::vec::IntoIter<String>,
    pause: Pin<Box<Sleep>>,
    has_begun: bool,
}

impl Slow {
    fn new(first: &str, pause: Duration, rest: &str) -> Slow {
        Slow {
            parts: vec![first.to_owned(), rest.to_owned()].into_iter(),
            pause: Box::pin(sleep(pause)),
            has_begun: false,
        }
    }
}

impl Body for Slow {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.has_begun {
            ready!(self.pause.as_mut().poll(context));
        }
        self.has_begun = true;
        let part = self.parts.next();
        Poll::Ready(part.map(|part| Ok(Frame::data(part.into()))))
    }
}
