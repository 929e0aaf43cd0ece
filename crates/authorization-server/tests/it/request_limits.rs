//! How often what leaves something behind may be asked for: at `/authorize`, `/par` and `/device_authorization`, and at `/token` by
//! whoever waits for a user.

use http::StatusCode;
use keybound_authorization_server::Limits;
use serde_json::json;

use crate::pki::{Authority, Leaf, dns};
use crate::rfc9126::{code_client, good};
use crate::world::{Plan, Reply, Side, World, tls_client, with};

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const SELDOM: &str = "requests of this client, or its address prefix, within their limit";

struct Cast {
    world: World,
    demo: Leaf,
    other: Leaf,
}

async fn cast(limits: Limits) -> Cast {
    let authority = Authority::root("corp");
    let grants = json!({"grant_types": ["authorization_code", DEVICE_CODE]});
    let client = |metadata| with(code_client(metadata), grants.clone());
    let public = json!({
        "token_endpoint_auth_method": "none",
        "scope": "read",
        "tls_client_certificate_bound_access_tokens": true,
    });
    let mut plan = Plan::new()
        .trusts("corp", &authority)
        .client("demo", client(tls_client("demo.example")))
        .client("other", client(tls_client("other.example")))
        .client("app", client(public.clone()))
        .client("another-app", client(public));
    plan.settings.limits = limits;
    Cast {
        world: plan.start().await,
        demo: authority.issue(dns("demo.example")),
        other: authority.issue(dns("other.example")),
    }
}

impl Cast {
    fn leaf(&self, client_id: &str) -> &Leaf {
        match client_id {
            "other" => &self.other,
            _ => &self.demo,
        }
    }

    async fn push(&self, client_id: &str) -> Reply {
        let mut form = good();
        form.push(("client_id", client_id));
        self.world.post(Some(self.leaf(client_id)), "/par", &form).await
    }

    async fn ask(&self, client_id: &str) -> Reply {
        let form = [("client_id", client_id), ("scope", "read")];
        let leaf = self.leaf(client_id);
        self.world.post(Some(leaf), "/device_authorization", &form).await
    }

    async fn poll(&self, client_id: &str, device_code: &str) -> Reply {
        let form = [
            ("client_id", client_id),
            ("grant_type", DEVICE_CODE),
            ("device_code", device_code),
        ];
        self.world.post(Some(self.leaf(client_id)), "/token", &form).await
    }

    async fn assert_too_often(&self, reply: &Reply, rule: &str) {
        assert!(reply.header("retry-after").is_some(), "{reply:?}");
        self.world
            .assert_refused(reply, 429, "temporarily_unavailable", rule)
            .await;
    }

    async fn authorize(&self, parameters: &[(&str, &str)]) -> Reply {
        let query: String = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(parameters)
            .finish();
        let path = format!("/authorize?{query}");
        self.world.peer(Side::Public, None).get(&path).await
    }

    /// A refusal that a browser is shown.
    async fn assert_shown(&self, reply: &Reply, status: StatusCode, code: &str, rule: &str) {
        let page = String::from_utf8_lossy(&reply.body);
        assert_eq!(reply.status, status, "{page}");
        assert!(page.contains("id=\"error-page\"") && page.contains(code), "{page}");
        let refusal = self.world.refusal(reply).await;
        let failed = refusal.failed_rule().map(|rule| rule.rule.as_ref());
        assert_eq!(failed, Some(rule), "{refusal:#?}");
    }
}

// covers R9126-4
#[tokio::test]
async fn a_client_that_authenticates_pushes_so_often_and_uses_up_what_no_other_has() {
    let cast = cast(Limits {
        pushed_requests_per_minute: 2,
        public_requests_per_minute: 1,
        ..Limits::default()
    })
    .await;
    for _ in 0..2 {
        assert_eq!(cast.push("demo").await.status, StatusCode::CREATED);
    }
    cast.assert_too_often(&cast.push("demo").await, SELDOM).await;
    // Neither another client nor a public one at the same address is any nearer to its limit.
    assert_eq!(cast.push("other").await.status, StatusCode::CREATED);
    assert_eq!(cast.push("app").await.status, StatusCode::CREATED);
    // Anybody can say to be a public client: what is counted is where they are, whatever they call themselves.
    cast.assert_too_often(&cast.push("another-app").await, SELDOM).await;
    assert_eq!(cast.push("other").await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn who_says_to_be_a_public_client_uses_up_the_requests_of_an_address_and_not_those_of_the_client() {
    let cast = cast(Limits {
        approval_requests_per_minute: 2,
        public_requests_per_minute: 1,
        ..Limits::default()
    })
    .await;
    assert_eq!(cast.ask("app").await.status, StatusCode::OK);
    for client_id in ["app", "another-app"] {
        cast.assert_too_often(&cast.ask(client_id).await, SELDOM).await;
    }
    for _ in 0..2 {
        assert_eq!(cast.ask("demo").await.status, StatusCode::OK);
    }
    cast.assert_too_often(&cast.ask("demo").await, SELDOM).await;
    assert_eq!(cast.ask("other").await.status, StatusCode::OK);
}

// covers R8628-3
#[tokio::test]
async fn a_device_that_asks_without_pause_is_cut_off_before_anything_is_looked_at() {
    let cast = cast(Limits {
        approval_polls_per_minute: 3,
        ..Limits::default()
    })
    .await;
    let begun = cast.ask("app").await.json();
    let device_code = begun["device_code"].as_str().unwrap();
    for error in ["authorization_pending", "slow_down", "slow_down"] {
        assert_eq!(cast.poll("app", device_code).await.json()["error"], error);
    }
    let rule = "questions of this client, or its address prefix, within their limit";
    cast.assert_too_often(&cast.poll("app", device_code).await, rule).await;
    cast.assert_too_often(&cast.poll("another-app", "none").await, rule)
        .await;
    // A client that authenticates has its own share.
    assert_eq!(cast.poll("demo", "none").await.json()["error"], "invalid_grant");
}

#[tokio::test]
async fn browsers_of_one_address_begin_so_many_interactions_a_minute() {
    let cast = cast(Limits {
        interactions_per_minute: 2,
        ..Limits::default()
    })
    .await;
    let mut request = good();
    request.push(("client_id", "demo"));
    for _ in 0..2 {
        assert_eq!(cast.authorize(&request).await.status, StatusCode::SEE_OTHER);
    }
    let reply = cast.authorize(&request).await;
    assert!(reply.header("retry-after").is_some() && reply.header("set-cookie").is_none());
    let rule = "the address prefix begins interactions within its limit";
    cast.assert_shown(&reply, StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable", rule)
        .await;
    // What begins nothing is answered all the same.
    request.push(("prompt", "none"));
    let reply = cast.authorize(&request).await;
    assert!(reply.header("location").unwrap().contains("error=login_required"));
}

// covers R9126-6
#[tokio::test]
async fn a_request_uri_is_opened_twenty_times_and_no_more() {
    let cast = cast(Limits::default()).await;
    let pushed = cast.push("demo").await.json();
    let other = cast.push("demo").await.json();
    let opened = |pushed: &serde_json::Value| pushed["request_uri"].as_str().unwrap().to_owned();
    let (pushed, other) = (opened(&pushed), opened(&other));
    for _ in 0..20 {
        let reply = cast.authorize(&[("client_id", "demo"), ("request_uri", &pushed)]).await;
        assert_eq!(reply.status, StatusCode::SEE_OTHER);
    }
    let reply = cast.authorize(&[("client_id", "demo"), ("request_uri", &pushed)]).await;
    let rule = "the request_uri was opened fewer times than it may be";
    cast.assert_shown(&reply, StatusCode::BAD_REQUEST, "invalid_request_uri", rule)
        .await;
    let reply = cast.authorize(&[("client_id", "demo"), ("request_uri", &other)]).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER);
}
