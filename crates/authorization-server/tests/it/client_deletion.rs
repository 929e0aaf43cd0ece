//! A client that is deleted, by an administrator or by itself: nothing of it goes on, also for another that has its name.

use http::{Method, StatusCode};
use keybound_authorization_server::approvals::{DecisionRefusal, UserDecision};
use keybound_protocol::time::Timestamp;
use keybound_protocol::user::{UserName, UserSubject};
use keybound_store::{Actor, ApprovalRequestHash, AuditEntry};
use serde_json::{Value, json};

use crate::admin::Administration;
use crate::browser::{Browser, add_user, form_token, location, parameters, text};
use crate::ciba::CIBA;
use crate::consent::{Consent, REDIRECT_URI, VERIFIER, replaced};
use crate::pki::{Leaf, dns, self_signed};
use crate::registration::{manage, policy, registered, registration};
use crate::revocations::follower;
use crate::rfc9126::{CALLBACK, good};
use crate::world::{API, OPAQUE_API, Reply, Side, World, tls_client, with};

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A client that does everything.
fn metadata() -> Value {
    with(
        tls_client("doomed.example"),
        json!({
            "grant_types": ["client_credentials", "authorization_code", "refresh_token", DEVICE_CODE, CIBA],
            "redirect_uris": [CALLBACK, REDIRECT_URI],
            "backchannel_token_delivery_mode": "poll",
            "scope": "openid read write",
        }),
    )
}

/// A server with an administrator, a user, somebody who follows, and the client.
struct Scene {
    it: Administration,
    gateway: Leaf,
    leaf: Leaf,
    rs: Leaf,
    helena: UserSubject,
}

/// Everything that can be open of a client.
struct Open {
    browser: Browser,
    request_uri: String,
    /// The consent page of an interaction, and the token of its form.
    consent: (String, String),
    /// Codes that were not redeemed: from the page, given silently, and of another user.
    codes: [(String, &'static str); 3],
    refresh_token: String,
    /// A JWT and an opaque token of a grant, and both of the client itself.
    access_tokens: [String; 4],
    /// What waits, and what was approved and not fetched: of a device, and of backchannel authentication.
    approvals: [(&'static str, &'static str, String); 4],
}

impl Scene {
    async fn new() -> Scene {
        let gateway = self_signed(dns("gateway"));
        let it = Administration::of(|plan| {
            plan.settings.registration = Some(registration(policy()));
            let given = std::mem::replace(plan, crate::world::Plan::new());
            *plan = given.introspecting().client("gateway", follower(&gateway));
        })
        .await;
        add_user(&it.world, "helena").await;
        let name = UserName::parse("helena").unwrap();
        let helena = it.world.store.users.find_user(&name).unwrap().unwrap().subject;
        Scene {
            leaf: it.authority.issue(dns("doomed.example")),
            rs: it.authority.issue(dns("rs.example")),
            it,
            gateway,
            helena,
        }
    }

    fn world(&self) -> &World {
        &self.it.world
    }

    async fn create(&self, client_id: &str) {
        let body = Some(with(metadata(), json!({"client_id": client_id})));
        let reply = self.it.call(Method::POST, "/clients", &[], body).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    }

    async fn authorize(&self, browser: &Browser, client_id: &str, more: &[(&str, &str)]) -> Reply {
        let usual = [&good()[..], &[("client_id", client_id)]].concat();
        let query: String = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(replaced(&usual, more))
            .finish();
        browser.get(&format!("/authorize?{query}")).await
    }

    async fn post(&self, path: &str, client_id: &str, form: &[(&str, &str)]) -> Reply {
        let form = [&[("client_id", client_id)], form].concat();
        self.world().post(Some(&self.leaf), path, &form).await
    }

    async fn decide(&self, hash: ApprovalRequestHash) -> Result<(), DecisionRefusal> {
        let now = Timestamp::from_unix_secs(self.world().clock.now());
        let decision = UserDecision {
            hash,
            subject: self.helena.clone(),
            auth_time: Some(now),
            is_approved: true,
            entry: AuditEntry::new(now, Actor::Operator),
        };
        self.world().server.decide(decision).await
    }

    async fn is_active(&self, token: &str) -> bool {
        self.world().introspected(&self.rs, token).await["active"] == json!(true)
    }

    /// What the feed denies of this client.
    async fn denied(&self, client_id: &str) -> Vec<Value> {
        let scope = [("scope", "keybound:revocations")];
        let token = self.world().access_token(&self.gateway, "gateway", &scope).await;
        let peer = self.world().peer(Side::MutualTls, Some(&self.gateway));
        let reply = peer.get_with_token("/revocations?wait=0", &token).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        let entries = reply.json()["entries"].as_array().cloned().unwrap_or_default();
        let of_it = |entry: &Value| entry["client_id"] == json!(client_id);
        entries.into_iter().filter(of_it).collect()
    }

    /// Begins all that can be begun.
    async fn begin(&self, client_id: &'static str) -> Open {
        let (world, browser) = (self.world(), Browser::of(self.world()));
        let login = location(&self.authorize(&browser, client_id, &[]).await);
        let page = location(&browser.sign_in(&login).await);
        let from_page = code(&browser.decide(&page, "approve").await);
        let silent = code(&self.authorize(&browser, client_id, &[("prompt", "none")]).await);
        let page = location(&self.authorize(&browser, client_id, &[]).await);
        let token = form_token(&browser.get(&page).await);
        let pushed = self.post("/par", client_id, &good()).await;
        let request_uri = pushed.json()["request_uri"].as_str().unwrap().to_owned();

        let consent = Consent {
            resources: vec![API, OPAQUE_API],
            ..Consent::to(client_id)
        };
        let other = world.code(&consent).await;
        let given = world.code(&consent).await;
        let leaf = Some(&self.leaf);
        let reply = world.redeem(leaf, client_id, &given, &[("resource", OPAQUE_API)]).await;
        let opaque = reply.json();
        let refresh_token = opaque["refresh_token"].as_str().unwrap().to_owned();
        let reply = world
            .refresh(leaf, client_id, &refresh_token, &[("resource", API)])
            .await;
        let token_of = |answer: &Value| answer["access_token"].as_str().unwrap().to_owned();
        let access_tokens = [
            token_of(&opaque),
            token_of(&reply.json()),
            world.access_token(&self.leaf, client_id, &[("scope", "read")]).await,
            world
                .access_token(&self.leaf, client_id, &[("scope", "read"), ("resource", OPAQUE_API)])
                .await,
        ];
        for token in &access_tokens {
            assert!(self.is_active(token).await);
        }

        let device = async || {
            let reply = self
                .post("/device_authorization", client_id, &[("scope", "read")])
                .await;
            reply.json()["device_code"].as_str().unwrap().to_owned()
        };
        let backchannel = async || {
            let asked = [("scope", "openid read"), ("login_hint", "helena")];
            let reply = self.post("/bc-authorize", client_id, &asked).await;
            reply.json()["auth_req_id"].as_str().unwrap().to_owned()
        };
        let (waiting_device, approved_device) = (device().await, device().await);
        let (waiting_backchannel, approved_backchannel) = (backchannel().await, backchannel().await);
        let hash = ApprovalRequestHash::of_device_code(&approved_device);
        self.decide(hash).await.unwrap();
        let hash = ApprovalRequestHash::of_auth_req_id(&approved_backchannel);
        self.decide(hash).await.unwrap();
        assert_eq!(world.server.waiting_requests_of(&self.helena).await.unwrap().len(), 1);
        Open {
            browser,
            request_uri,
            consent: (page, token),
            codes: [(from_page, CALLBACK), (silent, CALLBACK), (other, REDIRECT_URI)],
            refresh_token,
            access_tokens,
            approvals: [
                (DEVICE_CODE, "device_code", waiting_device),
                (DEVICE_CODE, "device_code", approved_device),
                (CIBA, "auth_req_id", waiting_backchannel),
                (CIBA, "auth_req_id", approved_backchannel),
            ],
        }
    }

    /// Asserts that nothing of it goes on, whether or not there is a client of that name.
    async fn assert_over(&self, client_id: &str, open: &Open) {
        let (page, token) = &open.consent;
        let answer = [("form_token", token.as_str()), ("decision", "approve")];
        for reply in [open.browser.get(page).await, open.browser.post(page, &answer).await] {
            assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{reply:?}");
            assert!(text(&reply).contains("id=\"error-code\">invalid_request<"));
            let refusal = self.world().refusal(&reply).await;
            assert_eq!(refusal.reason, "there is no such interaction");
        }
        for (grant_type, _, secret) in &open.approvals {
            let hash = match *grant_type {
                CIBA => ApprovalRequestHash::of_auth_req_id(secret),
                _ => ApprovalRequestHash::of_device_code(secret),
            };
            let refusal = self.decide(hash).await;
            assert!(matches!(refusal, Err(DecisionRefusal::Unknown)), "{refusal:?}");
        }
        let waiting = self.world().server.waiting_requests_of(&self.helena).await.unwrap();
        assert_eq!(waiting.len(), 0);
        for token in &open.access_tokens {
            assert!(!self.is_active(token).await);
        }
        let denied = self.denied(client_id).await;
        assert_eq!(denied.len(), 1, "{denied:?}");
        assert!(denied[0]["issued_before"].is_i64() && denied[0]["until"].is_i64());
    }

    /// Asserts that another client of that name, which authenticates in the same way, inherits nothing.
    async fn assert_not_inherited(&self, client_id: &'static str, open: &Open) {
        let world = self.world();
        let path = format!("/authorize?client_id={client_id}&request_uri={}", open.request_uri);
        let reply = open.browser.get(&path).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{reply:?}");
        assert!(
            text(&reply).contains("id=\"error-code\">invalid_request_uri<"),
            "{reply:?}"
        );
        let refusal = world.refusal(&reply).await;
        assert_eq!(
            refusal.failed_rule().map(|rule| rule.rule.as_ref()),
            Some("request_uri pushed by this client, in time, and not used up")
        );
        let told = parameters(&self.authorize(&open.browser, client_id, &[("prompt", "none")]).await);
        assert!(
            told.contains(&("error".to_owned(), "consent_required".to_owned())),
            "{told:?}"
        );
        for (code, redirect_uri) in &open.codes {
            let form = [("redirect_uri", *redirect_uri), ("code_verifier", VERIFIER)];
            let reply = world.redeem(Some(&self.leaf), client_id, code, &form).await;
            let refusal = world
                .assert_refused(
                    &reply,
                    400,
                    "invalid_grant",
                    "authorization code of this client, in time and unused",
                )
                .await;
            assert!(refusal.reason.contains("has ended"), "{}", refusal.reason);
        }
        for resource in [API, OPAQUE_API] {
            let resource = [("resource", resource)];
            let reply = world
                .refresh(Some(&self.leaf), client_id, &open.refresh_token, &resource)
                .await;
            let refusal = world
                .assert_refused(&reply, 400, "invalid_grant", "refresh token of this client, in time")
                .await;
            assert_eq!(refusal.reason, "what the user allowed has ended");
        }
        for (grant_type, parameter, secret) in &open.approvals {
            let form = [("grant_type", *grant_type), (*parameter, secret.as_str())];
            let reply = self.post("/token", client_id, &form).await;
            let refusal = world
                .assert_refused(&reply, 400, "invalid_grant", "user said yes")
                .await;
            assert_eq!(refusal.reason, "there is no such request of this client");
        }
    }
}

#[track_caller]
fn code(reply: &Reply) -> String {
    let told = parameters(reply);
    let code = told.iter().find(|(name, _)| name == "code");
    code.unwrap_or_else(|| panic!("{told:?}")).1.clone()
}

/// Whatever `delete` does to end the client.
async fn check(scene: &Scene, client_id: &'static str, delete: impl AsyncFnOnce() -> Reply) {
    let open = scene.begin(client_id).await;
    assert_eq!(scene.denied(client_id).await, Vec::<Value>::new());
    let reply = delete().await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT, "{reply:?}");
    let reply = scene.world().token(Some(&scene.leaf), client_id).await;
    scene
        .world()
        .assert_refused(&reply, 400, "invalid_client", "client registered")
        .await;
    scene.assert_over(client_id, &open).await;
    scene.create(client_id).await;
    scene.assert_over(client_id, &open).await;
    scene.assert_not_inherited(client_id, &open).await;
    // What the new one is given counts; that of the second in which the old one ended is taken for the old one's.
    scene.world().clock.advance(1);
    let open = scene.begin(client_id).await;
    for token in &open.access_tokens {
        assert!(scene.is_active(token).await);
    }
    for (code, redirect_uri) in &open.codes {
        let form = [
            ("redirect_uri", *redirect_uri),
            ("code_verifier", VERIFIER),
            ("resource", API),
        ];
        let reply = scene.world().redeem(Some(&scene.leaf), client_id, code, &form).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    }
}

// covers R7592-3
#[tokio::test]
async fn a_client_that_an_administrator_deletes_leaves_nothing_open() {
    let scene = Scene::new().await;
    scene.create("doomed").await;
    check(&scene, "doomed", async || {
        scene.it.call(Method::DELETE, "/clients/doomed", &[], None).await
    })
    .await;
}

// covers R7592-3
#[tokio::test]
async fn a_client_that_deletes_itself_leaves_nothing_open() {
    let scene = Scene::new().await;
    let answer = registered(scene.world(), &metadata()).await;
    let client_id: &'static str = Box::leak(answer["client_id"].as_str().unwrap().into());
    check(&scene, client_id, async || {
        manage(scene.world(), &answer, Method::DELETE, None).await
    })
    .await;
}
