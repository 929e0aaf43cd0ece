//! Requests whose bodies end long after their heads: they are judged by the time at which they are complete.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body::{Body, Frame};
use keybound_protocol::client_assertion::CLIENT_ASSERTION_TYPE;
use keybound_tls::body::OutgoingBody;
use serde_json::json;
use tokio::sync::mpsc;

use crate::admin::Administration;
use crate::rfc7523;
use crate::world::{API, NOW, Plan, Side};

/// A body of parts that are handed over one by one.
struct Parts(mpsc::Receiver<String>);

impl Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let part = ready!(self.0.poll_recv(context));
        Poll::Ready(part.map(|part| Ok(Frame::data(Bytes::from(part)))))
    }
}

fn parts() -> (mpsc::Sender<String>, OutgoingBody) {
    // With room for one, the second part is taken only once the first is on its way.
    let (sender, receiver) = mpsc::channel(1);
    (sender, OutgoingBody::stream(Parts(receiver)))
}

// covers T9, R7523-2
#[tokio::test]
async fn a_spent_assertion_is_not_good_again_for_whoever_began_in_time() {
    let (world, key) = rfc7523::world().await;
    let assertion = rfc7523::signed(&key, &json!({"alg": "ES256"}), &rfc7523::claims("late"));
    let form = format!(
        "grant_type=client_credentials&client_id=jwt&client_assertion_type={}&client_assertion={assertion}",
        CLIENT_ASSERTION_TYPE.replace(':', "%3A")
    );
    let peer = world.peer(Side::Public, None);
    for (late_by, status) in [(0, StatusCode::OK), (60 + 31, StatusCode::BAD_REQUEST)] {
        let (sender, body) = parts();
        let sending = async {
            sender.send("padding=1&".to_owned()).await.unwrap();
            sender.send("padded=1&".to_owned()).await.unwrap();
            world.clock.advance(late_by);
            sender.send(form.clone()).await.unwrap();
            drop(sender);
        };
        let (reply, ()) = tokio::join!(peer.post_streamed("/token", body), sending);
        assert_eq!(reply.status, status, "{reply:?}");
        if status == StatusCode::BAD_REQUEST {
            let refusal = world.refusal(&reply).await;
            let reason = format!("{:?}", refusal.failed_rule());
            assert!(reason.contains("expired"), "refused for another reason: {reason}");
        }
    }
    assert_eq!(world.clock.now(), NOW + 91);
}

// covers T39
#[tokio::test]
async fn an_administrator_that_is_gone_finishes_nothing() {
    for gone in [false, true] {
        let it = Administration::new().await;
        let authorization = format!("Bearer {}", it.token);
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
        ];
        let (sender, body) = parts();
        let peer = it.peer();
        let sending = async {
            sender.send("{\"client_id\":\"back-door\",".to_owned()).await.unwrap();
            sender.send(" ".to_owned()).await.unwrap();
            if gone {
                let settings = Plan::new().settings;
                it.world.server.reload(settings).await.unwrap();
            }
            let rest = "\"token_endpoint_auth_method\":\"tls_client_auth\",\"tls_client_auth_san_dns\":\"x.example\"}";
            sender.send(rest.to_owned()).await.unwrap();
            drop(sender);
        };
        let adding = peer.send_streamed(Method::POST, "/admin/v1/clients", &headers, body);
        let (reply, ()) = tokio::join!(adding, sending);
        let expected = if gone {
            StatusCode::UNAUTHORIZED
        } else {
            StatusCode::CREATED
        };
        assert_eq!(reply.status, expected, "{reply:?}");
    }
}

// covers T39
#[tokio::test]
async fn a_token_issued_while_its_client_is_being_deleted_does_not_outlive_it() {
    let it = Administration::new().await;
    let client = json!({
        "client_id": "short-lived",
        "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_san_dns": "demo.example",
        "tls_client_certificate_bound_access_tokens": true
    });
    let made = it.call(Method::POST, "/clients", &[], Some(client.clone())).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let authorization = format!("Bearer {}", it.token);
    let headers = [("authorization", authorization.as_str())];
    let (sender, body) = parts();
    let peer = it.peer();
    let deleting = peer.send_streamed(Method::DELETE, "/admin/v1/clients/short-lived", &headers, body);
    let meanwhile = async {
        sender.send(" ".to_owned()).await.unwrap();
        sender.send(" ".to_owned()).await.unwrap();
        // The deletion has begun, and is complete only seconds later.
        it.world.clock.advance(3);
        let token = it.world.access_token(&it.demo, "short-lived", &[]).await;
        drop(sender);
        token
    };
    let (deleted, token) = tokio::join!(deleting, meanwhile);
    assert_eq!(deleted.status, StatusCode::NO_CONTENT, "{deleted:?}");
    it.world.clock.advance(2);
    let made = it.call(Method::POST, "/clients", &[], Some(client)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let new = it.world.access_token(&it.demo, "short-lived", &[]).await;
    let introspecting = json!({
        "client_id": "rs",
        "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_san_dns": "demo.example",
        "keybound_introspects": [API]
    });
    let made = it.call(Method::POST, "/clients", &[], Some(introspecting)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    for (token, active) in [(&token, false), (&new, true)] {
        let form = [("client_id", "rs"), ("token", token.as_str())];
        let reply = it.world.post(Some(&it.demo), "/introspect", &form).await;
        assert_eq!(reply.json()["active"], active, "{reply:?}");
    }
}
