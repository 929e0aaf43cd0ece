//! The admin API: who gets in.

use http::{Method, StatusCode};
use keybound_protocol::client::{ClientId, ClientOrigin};
use keybound_protocol::time::Timestamp;
use keybound_store::{Actor, AuditEntry, NewClient};
use serde_json::{Value, json};

use crate::pki::{Authority, Leaf, dns, self_signed};
use crate::world::{
    API, NOW, OPAQUE_API, Peer, Plan, Reply, Side, World, credentials, self_signed_client, tls_client, with,
};

const ADMIN: &str = "https://as.example/admin";

/// A server with an administrator, who has a token.
pub(crate) struct Administration {
    pub(crate) world: World,
    pub(crate) admin: Leaf,
    pub(crate) demo: Leaf,
    pub(crate) authority: Authority,
    pub(crate) token: String,
}

pub(crate) fn administrator(leaf: &Leaf) -> Value {
    with(self_signed_client(&[leaf]), json!({"scope": "keybound:admin"}))
}

impl Administration {
    pub(crate) async fn new() -> Administration {
        Administration::of(|_| {}).await
    }

    /// With other settings.
    pub(crate) async fn of(change: impl FnOnce(&mut Plan)) -> Administration {
        let authority = Authority::root("corp");
        let admin = self_signed(dns("admin"));
        let mut plan = Plan::new();
        change(&mut plan);
        let world = plan
            .trusts("corp", &authority)
            .client("admin", administrator(&admin))
            .client(
                "unbound-admin",
                with(
                    administrator(&admin),
                    json!({"tls_client_certificate_bound_access_tokens": false}),
                ),
            )
            .client(
                "opaque-admin",
                with(administrator(&admin), json!({"keybound_access_token_format": "opaque"})),
            )
            .client("demo", tls_client("demo.example"))
            .start()
            .await;
        let token = world
            .access_token(&admin, "admin", &[("scope", "keybound:admin")])
            .await;
        let demo = authority.issue(dns("demo.example"));
        Administration {
            world,
            admin,
            demo,
            authority,
            token,
        }
    }

    pub(crate) fn peer(&self) -> Peer {
        self.world.peer(Side::MutualTls, Some(&self.admin))
    }

    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Reply {
        let authorization = format!("Bearer {}", self.token);
        let headers = [&[("authorization", authorization.as_str())], headers].concat();
        let body = body.map(|body| ("application/json", body.to_string()));
        self.peer()
            .send(method, &format!("/admin/v1{path}"), &headers, body)
            .await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.call(Method::GET, path, &[], None).await
    }
}

pub(crate) fn assert_problem(reply: &Reply, status: StatusCode) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert_eq!(
        reply.header("content-type"),
        Some("application/problem+json"),
        "{reply:?}"
    );
    let problem = reply.json();
    assert_eq!(problem["status"], status.as_u16());
    assert!(
        problem["title"].is_string() && problem["type"] == "about:blank",
        "{problem}"
    );
}

// covers T39
#[tokio::test]
async fn only_a_bound_token_of_the_right_scope_and_audience_over_its_own_certificate_administers() {
    let it = Administration::new().await;
    let world = &it.world;
    let scope = [("scope", "keybound:admin")];
    let unbound = world.access_token(&it.admin, "unbound-admin", &scope).await;
    let other = world.access_token(&it.demo, "demo", &[]).await;
    assert_eq!(it.get("/clients").await.status, StatusCode::OK);
    let admin = Some(&it.admin);
    type Case<'a> = (&'a str, Option<&'a Leaf>, Option<String>, u16, &'a str);
    let cases: Vec<Case<'_>> = vec![
        (
            "no token",
            admin,
            None,
            401,
            "one access token in the Authorization header",
        ),
        (
            "no certificate",
            None,
            Some(it.token.clone()),
            401,
            "the certificate of this request is the one it is bound to",
        ),
        (
            "another certificate",
            Some(&it.demo),
            Some(it.token.clone()),
            401,
            "the certificate of this request is the one it is bound to",
        ),
        (
            "an unbound token",
            admin,
            Some(unbound),
            401,
            "bound to a certificate (cnf.x5t#S256) or a key (cnf.jkt)",
        ),
        ("a token for the API", Some(&it.demo), Some(other), 401, "audience"),
        ("garbage", admin, Some("garbage".to_owned()), 401, "a signed JWT"),
        ("altered", admin, Some(altered(&it.token)), 401, ""),
    ];
    for (name, leaf, token, status, rule) in cases {
        let authorization = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<(&str, &str)> = authorization
            .iter()
            .map(|value| ("authorization", value.as_str()))
            .collect();
        let peer = world.peer(Side::MutualTls, leaf);
        for (method, path) in [
            (Method::GET, "/clients"),
            (Method::POST, "/clients"),
            (Method::GET, "/audit"),
            (Method::GET, "/nowhere"),
        ] {
            let reply = peer
                .send(
                    method.clone(),
                    &format!("/admin/v1{path}"),
                    &headers,
                    Some(("application/json", "{}".to_owned())),
                )
                .await;
            assert_problem(&reply, StatusCode::from_u16(status).unwrap());
            assert!(
                reply
                    .header("www-authenticate")
                    .unwrap()
                    .starts_with("Bearer realm=\"https://as.example/admin\""),
                "{name}"
            );
            let refusal = world.refusal(&reply).await;
            let failed = refusal.failed_rule().unwrap().rule.clone();
            assert!(rule.is_empty() || failed == rule, "{name}: {failed}");
        }
    }
    // In the query, or over the listener that proves nothing, it is no token at all.
    let reply = it
        .peer()
        .get(&format!("/admin/v1/clients?access_token={}", it.token))
        .await;
    assert_problem(&reply, StatusCode::UNAUTHORIZED);
    let reply = world
        .peer(Side::Public, admin)
        .get_with_token("/admin/v1/clients", &it.token)
        .await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
}

// covers T39
#[tokio::test]
async fn reserved_scope_is_for_clients_of_an_operator_and_for_the_admin_api_alone() {
    let it = Administration::new().await;
    let world = &it.world;
    let registered = self_signed(dns("registered"));
    let new = NewClient {
        client_id: ClientId::parse("registered").unwrap(),
        metadata: administrator(&registered).to_string(),
        origin: ClientOrigin::Registration,
        secret: None,
    };
    world
        .store
        .clients
        .create_client(new, AuditEntry::new(Timestamp::from_unix_secs(NOW), Actor::Operator))
        .await
        .unwrap();
    let ask = |leaf: Leaf, client_id: &'static str, more: Vec<(&'static str, &'static str)>| async move {
        let form = [&credentials(client_id)[..], &more].concat();
        world.post(Some(&leaf), "/token", &form).await
    };
    let reply = ask(registered.clone(), "registered", vec![("scope", "keybound:admin")]).await;
    world
        .assert_refused(&reply, 400, "invalid_scope", "scope registered")
        .await;
    let reply = ask(registered, "registered", vec![("resource", ADMIN)]).await;
    world
        .assert_refused(&reply, 400, "invalid_target", "scope and resource belong together")
        .await;
    let reply = ask(it.demo.clone(), "demo", vec![("scope", "keybound:admin")]).await;
    world
        .assert_refused(&reply, 400, "invalid_scope", "scope registered")
        .await;
    for resource in [API, OPAQUE_API] {
        let reply = ask(
            it.admin.clone(),
            "admin",
            vec![("scope", "keybound:admin"), ("resource", resource)],
        )
        .await;
        world
            .assert_refused(&reply, 400, "invalid_scope", "scope and resource belong together")
            .await;
    }
    // Asked for nothing in particular, nothing reserved is given.
    let reply = ask(it.admin.clone(), "admin", vec![]).await;
    let claims = crate::world::claims(reply.json()["access_token"].as_str().unwrap());
    assert_eq!((&claims["aud"], &claims["scope"]), (&json!(API), &Value::Null));
    // A JWT whatever the client's format, and for the admin API by scope or by resource.
    for more in [
        vec![("scope", "keybound:admin")],
        vec![("resource", ADMIN)],
        vec![("scope", "keybound:admin"), ("resource", ADMIN)],
    ] {
        let reply = ask(it.admin.clone(), "opaque-admin", more).await;
        let claims = crate::world::claims(reply.json()["access_token"].as_str().unwrap());
        assert_eq!(
            (&claims["aud"], &claims["scope"]),
            (&json!(ADMIN), &json!("keybound:admin"))
        );
    }
}

// covers R7662-3, T39
#[tokio::test]
async fn a_revoked_or_expired_token_and_a_client_that_lost_its_scope_do_not_administer() {
    let it = Administration::new().await;
    let reply = it
        .world
        .post(
            Some(&it.admin),
            "/revoke",
            &[("client_id", "admin"), ("token", &it.token)],
        )
        .await;
    assert_eq!(reply.status, StatusCode::OK);
    let reply = it.get("/clients").await;
    assert_problem(&reply, StatusCode::UNAUTHORIZED);
    assert_eq!(
        it.world.refusal(&reply).await.failed_rule().unwrap().rule,
        "token and client still count"
    );

    let it = Administration::new().await;
    let settings = Plan::new()
        .client("admin", with(administrator(&it.admin), json!({"scope": ""})))
        .settings;
    it.world.server.reload(settings).await.unwrap();
    assert_problem(&it.get("/clients").await, StatusCode::UNAUTHORIZED);

    let it = Administration::new().await;
    it.world.clock.advance(400);
    let reply = it.get("/clients").await;
    assert_problem(&reply, StatusCode::UNAUTHORIZED);
    assert_eq!(
        it.world.refusal(&reply).await.failed_rule().unwrap().rule,
        "inside its validity"
    );
}

/// The token with another first character of its signature; the last one has bits that mean nothing.
fn altered(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { "B" } else { "A" };
    format!("{signed}.{other}{}", &signature[1..])
}

#[tokio::test]
async fn what_the_transport_refuses_is_a_problem_here_and_recorded_with_its_path() {
    let it = Administration::new().await;
    let long = || Some(("application/json", "x".repeat(64 * 1024 + 1)));
    let rules = ["host served on this connection", "request body within its limits"];
    for path in ["/admin/v1", "/admin/v1/clients", "/admin/v1/nothing"] {
        let misdirected = it
            .peer()
            .send(Method::GET, path, &[("host", "other.example")], None)
            .await;
        let too_long = it.peer().send(Method::POST, path, &[], long()).await;
        for (reply, status, rule) in [
            (&misdirected, StatusCode::MISDIRECTED_REQUEST, rules[0]),
            (&too_long, StatusCode::PAYLOAD_TOO_LARGE, rules[1]),
        ] {
            assert_problem(reply, status);
            assert!(reply.json()["detail"].is_string());
            assert_eq!(reply.header("cache-control"), Some("no-store"));
            let refusal = it.world.refusal(reply).await;
            assert_eq!(refusal.endpoint, path);
            assert_eq!(refusal.failed_rule().map(|rule| &*rule.rule), Some(rule));
        }
    }
    // Elsewhere, and where there is no admin API, it is the error of the other endpoints.
    let public = it.world.peer(Side::Public, None);
    for reply in [
        it.peer().send(Method::POST, "/admin/v10", &[], long()).await,
        it.peer().send(Method::POST, "/token", &[], long()).await,
        public.send(Method::POST, "/admin/v1/clients", &[], long()).await,
    ] {
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (StatusCode::PAYLOAD_TOO_LARGE, Some("application/json"))
        );
        assert_eq!(reply.json()["error"], "invalid_request");
    }
}
