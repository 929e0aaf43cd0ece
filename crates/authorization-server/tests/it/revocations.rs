//! `GET /revocations`: who may ask, and what is answered when.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use keybound_protocol::client::ClientId;
use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_protocol::time::Timestamp;
use keybound_store::{Actor, AuditEntry, Revocation, RevocationSubject};
use serde_json::{Value, json};

use crate::admin::{Administration, assert_problem};
use crate::pki::{Leaf, dns, self_signed};
use crate::world::{
    API, NOW, OPAQUE_API, Peer, Plan, Reply, Side, World, credentials, self_signed_client, tls_client, with,
};

const AUDIENCE: &str = "https://as.example/revocations";

/// A server with somebody who follows.
struct Followed {
    world: World,
    gateway: Leaf,
    token: String,
}

pub(crate) fn follower(leaf: &Leaf) -> Value {
    with(
        self_signed_client(&[leaf]),
        json!({"scope": "keybound:revocations read"}),
    )
}

impl Followed {
    async fn new() -> Followed {
        Followed::of(Plan::new()).await
    }

    async fn of(plan: Plan) -> Followed {
        let gateway = self_signed(dns("gateway"));
        let administrator = with(self_signed_client(&[&gateway]), json!({"scope": "keybound:admin"}));
        let world = plan
            .client("gateway", follower(&gateway))
            .client("administrator", administrator)
            .start()
            .await;
        let scope = [("scope", "keybound:revocations")];
        let token = world.access_token(&gateway, "gateway", &scope).await;
        Followed { world, gateway, token }
    }

    fn peer(&self) -> Peer {
        self.world.peer(Side::MutualTls, Some(&self.gateway))
    }

    async fn get(&self, path: &str) -> Reply {
        self.peer().get_with_token(path, &self.token).await
    }

    async fn revoke(&self, subject: RevocationSubject) {
        let revocation = Revocation {
            subject,
            issued_before: None,
            until: Timestamp::from_unix_secs(NOW + 400),
        };
        let entry = AuditEntry::new(Timestamp::from_unix_secs(NOW), Actor::Server);
        self.world.store.revocations.revoke(revocation, entry).await.unwrap();
    }

    /// A question that is held, and then answered.
    async fn held(&self, cursor: &str, then: impl AsyncFnOnce()) -> (Reply, Duration) {
        let path = format!("/revocations?after={cursor}");
        let (peer, token) = (self.peer(), self.token.clone());
        let mut asking = tokio::spawn(async move { peer.get_with_token(&path, &token).await });
        let early = tokio::time::timeout(Duration::from_millis(700), &mut asking).await;
        assert!(early.is_err(), "not held: {:?}", early.unwrap().unwrap());
        let began = Instant::now();
        then().await;
        let reply = tokio::time::timeout(Duration::from_secs(5), asking)
            .await
            .unwrap()
            .unwrap();
        (reply, began.elapsed())
    }
}

fn cursor(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["cursor"].as_str().unwrap().to_owned()
}

// covers R7009-5
#[tokio::test]
async fn a_question_is_held_until_something_is_revoked_and_answered_at_once_then() {
    let followed = Followed::new().await;
    followed.revoke(RevocationSubject::TokenId("early".to_owned())).await;
    let reply = followed.get("/revocations").await;
    let first = cursor(&reply);
    let early = json!({"jti": "early", "until": NOW + 400});
    assert_eq!(reply.json(), json!({"cursor": first, "entries": [early]}));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("content-type"), Some("application/json"));

    let thumbprint = CertificateThumbprint::from_bytes([7; 32]);
    let (reply, took) = followed
        .held(&first, async || {
            followed.revoke(RevocationSubject::Certificate(thumbprint)).await
        })
        .await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    let second = cursor(&reply);
    assert_eq!(
        reply.json()["entries"],
        json!([{"x5t#S256": thumbprint, "until": NOW + 400}])
    );
    // What came after a cursor is there at once, whenever it came.
    followed
        .revoke(RevocationSubject::Client(ClientId::parse("demo").unwrap()))
        .await;
    let reply = followed.get(&format!("/revocations?after={second}")).await;
    assert_eq!(
        reply.json()["entries"],
        json!([{"client_id": "demo", "until": NOW + 400}])
    );

    let began = Instant::now();
    let now = followed
        .get(&format!("/revocations?wait=0&after={}", cursor(&reply)))
        .await;
    assert_eq!(
        (now.json()["entries"].clone(), cursor(&now)),
        (json!([]), cursor(&reply))
    );
    assert!(began.elapsed() < Duration::from_secs(5));

    // A server that is about to stop keeps nobody.
    let newest = cursor(&reply);
    let (reply, took) = followed
        .held(&newest, async || followed.world.server.set_ready(false))
        .await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!((cursor(&reply), reply.json()["entries"].clone()), (newest, json!([])));
}

#[tokio::test]
async fn pages_say_that_there_is_more() {
    let followed = Followed::new().await;
    for number in 0..=500 {
        followed
            .revoke(RevocationSubject::TokenId(format!("token-{number}")))
            .await;
    }
    let first = followed.get("/revocations").await;
    assert_eq!(first.json()["entries"].as_array().unwrap().len(), 500);
    assert_eq!(first.json()["more"], true);
    let rest = followed.get(&format!("/revocations?after={}", cursor(&first))).await;
    assert_eq!(rest.json()["entries"][0]["jti"], "token-500");
    assert!(rest.json().get("more").is_none());
}

#[tokio::test]
async fn a_cursor_that_is_none_is_refused_and_one_of_another_database_starts_again() {
    let followed = Followed::new().await;
    followed.revoke(RevocationSubject::TokenId("token".to_owned())).await;
    for after in ["x", "0", "0-", "-1", "0--1", "0-1-2", "0-99999999999999999999", "0-+1"] {
        let reply = followed.get(&format!("/revocations?after={after}")).await;
        followed
            .world
            .assert_refused(&reply, 400, "invalid_request", "a cursor of this server")
            .await;
    }
    let reply = followed.get("/revocations?after=0-0&after=0-0").await;
    let rule = "each parameter once, in UTF-8";
    assert_eq!(reply.status, 400, "{rule}: {reply:?}");
    for after in ["7-0", "0-77"] {
        let reply = followed.get(&format!("/revocations?after={after}")).await;
        assert_eq!(reply.json()["entries"][0]["jti"], "token", "{after}: {reply:?}");
    }
}

#[tokio::test]
async fn only_bound_tokens_for_it_alone_get_in() {
    let followed = Followed::new().await;
    let world = &followed.world;
    let refused = |reply: Reply, expected: &'static str| {
        assert_eq!(reply.status, 401, "{expected}: {reply:?}");
        let challenge = reply.header("www-authenticate").unwrap().to_owned();
        assert!(
            challenge.starts_with(&format!("Bearer realm=\"{AUDIENCE}\"")),
            "{challenge}"
        );
        reply
    };
    let reply = refused(followed.peer().get("/revocations").await, "no token");
    assert!(world.refusal(&reply).await.error_code.is_none());
    let stranger = self_signed(dns("stranger"));
    for (leaf, rule) in [
        (
            Some(&stranger),
            "the certificate of this request is the one it is bound to",
        ),
        (None, "the certificate of this request is the one it is bound to"),
    ] {
        let peer = world.peer(Side::MutualTls, leaf);
        let reply = refused(peer.get_with_token("/revocations", &followed.token).await, rule);
        assert_eq!(world.refusal(&reply).await.failed_rule().unwrap().rule, rule);
    }
    // Tokens for something else, of the same holder.
    for (client_id, scope) in [("gateway", "read"), ("administrator", "keybound:admin")] {
        let token = world
            .access_token(&followed.gateway, client_id, &[("scope", scope)])
            .await;
        let reply = refused(followed.peer().get_with_token("/revocations", &token).await, scope);
        assert_eq!(world.refusal(&reply).await.failed_rule().unwrap().rule, "audience");
    }
    // And this one is for nothing else.
    let reply = followed.get("/admin/v1/clients").await;
    assert_eq!(world.refusal(&reply).await.failed_rule().unwrap().rule, "audience");

    for (form, error) in [
        (
            [("scope", "keybound:revocations read"), ("resource", AUDIENCE)],
            "invalid_scope",
        ),
        (
            [("scope", "keybound:revocations"), ("resource", "https://api.example")],
            "invalid_scope",
        ),
        ([("scope", "read"), ("resource", AUDIENCE)], "invalid_scope"),
    ] {
        let credentials = credentials("gateway");
        let reply = world
            .post(Some(&followed.gateway), "/token", &[&credentials[..], &form].concat())
            .await;
        assert_eq!(
            (reply.status.as_u16(), reply.json()["error"].as_str()),
            (400, Some(error)),
            "{form:?}"
        );
    }

    let public = world.peer(Side::Public, None);
    assert_eq!(public.get_with_token("/revocations", &followed.token).await.status, 404);
    let reply = followed.peer().send(Method::POST, "/revocations", &[], None).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("allow")),
        (405, Some("GET, OPTIONS"))
    );
    let metadata = public.get("/.well-known/oauth-authorization-server").await;
    assert!(!String::from_utf8_lossy(&metadata.body).contains("revocations"));
}

#[tokio::test]
async fn who_follows_is_cut_off_by_a_revocation_like_anybody() {
    let followed = Followed::new().await;
    let first = cursor(&followed.get("/revocations").await);
    let own = followed.gateway.thumbprint().parse().unwrap();
    let (reply, took) = followed
        .held(&first, async || {
            followed.revoke(RevocationSubject::Certificate(own)).await
        })
        .await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(
        (reply.status.as_u16(), reply.json()["error"].as_str()),
        (401, Some("invalid_token"))
    );
    let refusal = followed.world.refusal(&reply).await;
    assert_eq!(refusal.failed_rule().unwrap().rule, "token and client still count");
}

#[tokio::test]
async fn only_so_many_are_held() {
    let mut plan = Plan::new();
    plan.settings.limits.revocation_followers_max = 1;
    let followed = Followed::of(plan).await;
    let first = cursor(&followed.get("/revocations").await);
    let path = format!("/revocations?after={first}");
    let (reply, _) = followed
        .held(&first, async || {
            let reply = followed.get(&path).await;
            followed
                .world
                .assert_refused(&reply, 503, "temporarily_unavailable", "room for one more follower")
                .await;
            assert!(reply.header("retry-after").is_some());
            // One that need not be held is answered.
            assert_eq!(followed.get("/revocations").await.status, 200);
            followed.revoke(RevocationSubject::TokenId("token".to_owned())).await;
        })
        .await;
    assert_eq!(reply.json()["entries"][0]["jti"], "token");
}

// covers R7009-5
#[tokio::test]
async fn a_certificate_that_is_cut_off_ends_what_is_bound_to_it_and_gets_nothing_new() {
    let it = Administration::new().await;
    let (world, demo) = (&it.world, &it.demo);
    let opaque = [("resource", OPAQUE_API)];
    let tokens = [
        world.access_token(demo, "demo", &[]).await,
        world.access_token(demo, "demo", &opaque).await,
    ];
    let renewed = it.authority.issue(dns("demo.example"));
    let kept = world.access_token(&renewed, "demo", &opaque).await;
    // A client that may see all of them, and keeps one connection open; the holder of the certificate does, too.
    let metadata = with(
        tls_client("rs.example"),
        json!({"client_id": "rs", "keybound_introspects": [API, OPAQUE_API]}),
    );
    assert_eq!(it.call(Method::POST, "/clients", &[], Some(metadata)).await.status, 201);
    let rs = world.peer(Side::MutualTls, Some(&it.authority.issue(dns("rs.example"))));
    let is_active = async |token: &str| {
        let reply = rs.post("/introspect", &[("client_id", "rs"), ("token", token)]).await;
        reply.json()["active"] == true
    };
    let holder = world.peer(Side::MutualTls, Some(demo));
    let again = credentials("demo");
    assert_eq!(holder.post("/token", &again).await.status, 200);

    let revoke = async |body: Value| it.call(Method::POST, "/revocations", &[], Some(body)).await;
    for wrong in [
        json!({}),
        json!({"x5t#S256": "short"}),
        json!({"x5t#S256": demo.thumbprint(), "else": 1}),
        json!({"client_id": "demo"}),
    ] {
        assert_problem(&revoke(wrong).await, StatusCode::BAD_REQUEST);
    }
    let reply = revoke(json!({"x5t#S256": demo.thumbprint(), "dry_run": true})).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(
        (&reply.json()["revoked"], &reply.json()["opaque_access_tokens"]),
        (&json!(false), &json!(1))
    );
    for token in &tokens {
        assert!(is_active(token).await);
    }

    let reply = revoke(json!({"x5t#S256": demo.thumbprint()})).await;
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["revoked"]),
        (201, &json!(true)),
        "{reply:?}"
    );
    for token in &tokens {
        assert!(!is_active(token).await);
    }
    assert!(is_active(&kept).await, "another certificate of the same client");
    // Also over a connection that was good a moment ago.
    for reply in [
        holder.post("/token", &again).await,
        world.token(Some(demo), "demo").await,
    ] {
        world
            .assert_refused(&reply, 400, "invalid_client", "certificate not revoked at this server")
            .await;
    }
    assert_eq!(world.token(Some(&renewed), "demo").await.status, 200);
    let again = revoke(json!({"x5t#S256": demo.thumbprint()})).await;
    assert_eq!(
        (again.status.as_u16(), &again.json()["revoked_before"]),
        (201, &json!(true))
    );
    let records = it.get("/audit?action=revocation.added").await.json();
    assert_eq!(records["records"][0]["subject"], demo.thumbprint());
}
