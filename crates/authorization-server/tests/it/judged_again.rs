//! Clients that become others between their request and its tokens: what was begun goes on only as far as the client of today may.

use http::StatusCode;
use keybound_authorization_server::Settings;
use keybound_authorization_server::approvals::DecisionRefusal;
use keybound_store::{ApprovalRequestHash, GrantQuery, RefusalQuery};
use serde_json::{Value, json};

use crate::approvals::{Cast, cast};
use crate::browser::{Browser, add_user, location, parameters, text};
use crate::ciba::{CIBA, ask};
use crate::consent::{Consent, VERIFIER, asking_client, details_types};
use crate::pki::{Authority, Leaf, dns};
use crate::rfc9126::{CALLBACK, code_client, good};
use crate::world::{Plan, World, claims, tls_client, with};

const REQUEST: &str = "authorization request acceptable";
const STILL_PERMITTED: &str = "client may still ask as it did";
const GRANTED: &str = "within what the user allowed";

struct Scene {
    world: World,
    demo: Leaf,
    settings: Settings,
}

/// The client `demo`, whose users are asked.
fn asking() -> Value {
    code_client(tls_client("demo.example"))
}

async fn scene(metadata: Value) -> Scene {
    let authority = Authority::root("corp");
    let plan = Plan::new().trusts("corp", &authority).client("demo", metadata);
    let settings = plan.settings.clone();
    let world = plan.start().await;
    add_user(&world, "helena").await;
    Scene {
        world,
        demo: authority.issue(dns("demo.example")),
        settings,
    }
}

/// Has `demo` become this client.
async fn become_client(world: &World, settings: &Settings, metadata: Value) {
    let mut settings = settings.clone();
    settings.clients.retain(|client| client.client_id().as_str() != "demo");
    settings
        .clients
        .extend(Plan::new().client("demo", metadata).settings.clients);
    world.server.reload(settings).await.unwrap();
}

/// What may happen to `demo`: its metadata, the code that follows, a part of the reason, and whether the client is still told.
fn changes() -> Vec<(Value, &'static str, &'static str, bool)> {
    let change = |members| with(asking(), members);
    vec![
        (
            change(json!({"keybound_profile": "fapi2"})),
            "invalid_request",
            "judged by profile default, and fapi2 is in force",
            true,
        ),
        (
            change(json!({"keybound_profile": "fapi2-message-signing"})),
            "invalid_request",
            "judged by profile default, and fapi2-message-signing is in force",
            true,
        ),
        (
            change(json!({"require_signed_request_object": true})),
            "invalid_request",
            "not a signed request object",
            true,
        ),
        (
            change(json!({"scope": "write"})),
            "invalid_scope",
            "exceeds the registered",
            true,
        ),
        (
            change(json!({"grant_types": ["client_credentials"], "response_types": []})),
            "unauthorized_client",
            "not registered grant type",
            true,
        ),
        (
            change(json!({"redirect_uris": ["https://client.example/other"]})),
            "invalid_request",
            "is not registered",
            false,
        ),
    ]
}

impl Scene {
    async fn become_client(&self, metadata: Value) {
        become_client(&self.world, &self.settings, metadata).await;
    }

    async fn push(&self) -> String {
        let form = [&[("client_id", "demo")], &good()[..]].concat();
        let reply = self.world.post(Some(&self.demo), "/par", &form).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        let request_uri = reply.json()["request_uri"].as_str().unwrap().to_owned();
        format!("/authorize?client_id=demo&request_uri={request_uri}")
    }

    async fn redeem(&self, code: &str) -> crate::world::Reply {
        let form = [("redirect_uri", CALLBACK), ("code_verifier", VERIFIER)];
        self.world.redeem(Some(&self.demo), "demo", code, &form).await
    }

    /// Waits for the newest record of a refusal, the `number`th.
    async fn newest_reason(&self, number: usize) -> String {
        reasons(&self.world, number).await.remove(0)
    }
}

/// Waits until so many refusals are on record; their reasons, the newest first.
pub(crate) async fn reasons(world: &World, number: usize) -> Vec<String> {
    let query = RefusalQuery {
        limit: 50,
        ..RefusalQuery::default()
    };
    // Records are written in batches.
    for _ in 0..200 {
        let page = world.store.refusals.list_refusals(query.clone()).await.unwrap();
        if page.refusals.len() == number {
            return page.refusals.into_iter().map(|refusal| refusal.reason).collect();
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("no {number}th record")
}

// covers R9126-7, FAPI-5, FAPI-9
#[tokio::test]
async fn a_pushed_request_is_judged_again_when_it_is_opened() {
    let scene = scene(asking()).await;
    let browser = Browser::of(&scene.world);
    for (number, (metadata, error, reason, is_told)) in changes().into_iter().enumerate() {
        scene.become_client(asking()).await;
        let path = scene.push().await;
        scene.become_client(metadata).await;
        let reply = browser.get(&path).await;
        if is_told {
            let told = parameters(&reply);
            assert!(
                told.contains(&("error".to_owned(), error.to_owned())),
                "{reason}: {told:?}"
            );
        } else {
            assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{reply:?}");
            assert!(text(&reply).contains(&format!("id=\"error-code\">{error}<")));
        }
        let recorded = scene.newest_reason(number + 1).await;
        assert!(recorded.contains(reason), "{recorded}");
        // Nothing was spent by it.
        scene.become_client(asking()).await;
        assert!(location(&browser.get(&path).await).starts_with("/interaction/"));
    }
}

// covers FAPI-5, FAPI-6
#[tokio::test]
async fn an_interaction_is_judged_again_when_it_is_shown_and_when_it_is_answered() {
    let scene = scene(asking()).await;
    let browser = Browser::of(&scene.world);
    let consent = browser.to_consent().await;
    let form_token = crate::browser::form_token(&browser.get(&consent).await);
    let answer = [("form_token", form_token.as_str()), ("decision", "approve")];
    for (metadata, error, reason, _) in changes() {
        scene.become_client(metadata).await;
        for reply in [
            browser.get(&consent).await,
            browser.get(&consent.replace("consent", "login")).await,
            browser.post(&consent, &answer).await,
        ] {
            assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{reply:?}");
            assert!(
                text(&reply).contains(&format!("id=\"error-code\">{error}<")),
                "{reason}"
            );
            let refusal = scene.world.refusal(&reply).await;
            assert!(refusal.reason.contains(reason), "{}", refusal.reason);
            assert_eq!(refusal.failed_rule().map(|rule| rule.rule.as_ref()), Some(REQUEST));
        }
    }
    let query = || GrantQuery {
        limit: 10,
        ..GrantQuery::default()
    };
    let grants = &scene.world.store.grants;
    assert!(grants.list_grants(query()).await.unwrap().grants.is_empty());
    scene.become_client(asking()).await;
    let reply = browser.post(&consent, &answer).await;
    assert!(location(&reply).contains("&code="), "{reply:?}");
    assert_eq!(grants.list_grants(query()).await.unwrap().grants.len(), 1);
}

// covers FAPI-13, R6749-8
#[tokio::test]
async fn a_code_is_judged_again_when_it_is_redeemed() {
    let scene = scene(asking()).await;
    let browser = Browser::of(&scene.world);
    let consent = browser.to_consent().await;
    let reply = browser.decide(&consent, "approve").await;
    let told = parameters(&reply);
    let code = told.iter().find(|(name, _)| name == "code").unwrap().1.clone();
    for (metadata, error, reason, _) in changes() {
        let (error, rule) = match error {
            "unauthorized_client" => (error, "grant type registered"),
            // The user allowed `read` alone.
            "invalid_scope" => ("invalid_grant", GRANTED),
            _ => ("invalid_grant", STILL_PERMITTED),
        };
        scene.become_client(metadata).await;
        let reply = scene.redeem(&code).await;
        let refusal = scene.world.assert_refused(&reply, 400, error, rule).await;
        let reason = if rule == GRANTED {
            "nothing of the granted scope"
        } else {
            reason
        };
        assert!(refusal.reason.contains(reason), "{}", refusal.reason);
    }
    // None of that spent it.
    scene.become_client(asking()).await;
    assert_eq!(scene.redeem(&code).await.status, StatusCode::OK);
}

// covers R6749-12
#[tokio::test]
async fn what_was_taken_from_a_client_is_in_no_token_of_its_grants() {
    let metadata = || asking_client("demo.example");
    let scene = scene(metadata()).await;
    let (world, demo) = (&scene.world, Some(&scene.demo));
    let tokens = world.tokens(&scene.demo, &Consent::to("demo")).await;
    let refresh_token = tokens["refresh_token"].as_str().unwrap();
    let code = world.code(&Consent::to("demo")).await;
    scene
        .become_client(with(metadata(), json!({"scope": "read other"})))
        .await;
    for beyond in ["write", "read write"] {
        let reply = world.refresh(demo, "demo", refresh_token, &[("scope", beyond)]).await;
        let refusal = world.assert_refused(&reply, 400, "invalid_scope", GRANTED).await;
        assert!(
            refusal.reason.contains("is registered of what was granted"),
            "{}",
            refusal.reason
        );
        assert!(refusal.fix.unwrap().contains("register the scope"));
    }
    let reply = world.refresh(demo, "demo", refresh_token, &[("scope", "other")]).await;
    let refusal = world.assert_refused(&reply, 400, "invalid_scope", GRANTED).await;
    assert!(refusal.reason.contains("exceeds the granted"), "{}", refusal.reason);
    for reply in [
        world.refresh(demo, "demo", refresh_token, &[]).await,
        world.redeem(demo, "demo", &code, &[]).await,
    ] {
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        let answer = reply.json();
        assert_eq!(answer["scope"], json!("read"));
        assert_eq!(claims(answer["access_token"].as_str().unwrap())["scope"], json!("read"));
    }
    scene.become_client(with(metadata(), json!({"scope": "other"}))).await;
    let reply = world.refresh(demo, "demo", refresh_token, &[]).await;
    let refusal = world.assert_refused(&reply, 400, "invalid_grant", GRANTED).await;
    assert!(
        refusal.reason.contains("nothing of the granted scope"),
        "{}",
        refusal.reason
    );
    // The grant keeps it: given back, it is there again.
    scene.become_client(metadata()).await;
    let reply = world.refresh(demo, "demo", refresh_token, &[]).await;
    assert_eq!(reply.json()["scope"], json!("read write"));
}

/// Settings that know these types of authorization details, and `demo` with these members.
fn settings_with_types(scene: &Scene, configured: &[&str], members: Value) -> Settings {
    let mut plan = Plan::new();
    plan.settings = scene.settings.clone();
    plan.settings.clients.clear();
    plan.settings.authorization.details_types = details_types(configured);
    let metadata = with(asking_client("demo.example"), members);
    plan.client("demo", metadata).settings
}

// covers R9396-4
#[tokio::test]
async fn details_of_types_that_were_taken_from_a_client_are_in_no_token_of_its_grants() {
    let scene = scene(asking_client("demo.example")).await;
    let (world, demo) = (&scene.world, Some(&scene.demo));
    let (payment, account) = (json!({"type": "payment", "amount": 1}), json!({"type": "account"}));
    let become_with = async |configured: &[&str], members: Value| {
        let settings = settings_with_types(&scene, configured, members);
        world.server.reload(settings).await.unwrap();
    };
    let all = ["payment", "account"];
    become_with(&all, json!({})).await;
    let consent = Consent {
        authorization_details: Some(json!([payment, account])),
        ..Consent::to("demo")
    };
    let of_details_alone = Consent {
        scope: "",
        authorization_details: Some(json!([payment])),
        ..Consent::to("demo")
    };
    let tokens = world.tokens(&scene.demo, &consent).await;
    assert_eq!(tokens["authorization_details"], json!([payment, account]));
    let refresh_token = tokens["refresh_token"].as_str().unwrap();
    let of_payment = world.tokens(&scene.demo, &of_details_alone).await;
    let code = world.code(&consent).await;

    become_with(&all, json!({"authorization_details_types": ["account"]})).await;
    for beyond in [json!([payment]), json!([account, payment])] {
        let asked = [("authorization_details", &*beyond.to_string())];
        let reply = world.refresh(demo, "demo", refresh_token, &asked).await;
        let refusal = world
            .assert_refused(&reply, 400, "invalid_authorization_details", GRANTED)
            .await;
        assert!(
            refusal.reason.contains("\"payment\" is not registered by the client"),
            "{}",
            refusal.reason
        );
        assert!(refusal.fix.unwrap().contains("authorization_details_types"));
    }
    for reply in [
        world.refresh(demo, "demo", refresh_token, &[]).await,
        world.redeem(demo, "demo", &code, &[]).await,
    ] {
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        let answer = reply.json();
        assert_eq!(answer["authorization_details"], json!([account]));
        let token = claims(answer["access_token"].as_str().unwrap());
        assert_eq!(token["authorization_details"], json!([account]));
    }
    // Nothing else was allowed with it.
    let of_payment = of_payment["refresh_token"].as_str().unwrap();
    let reply = world.refresh(demo, "demo", of_payment, &[]).await;
    let refusal = world.assert_refused(&reply, 400, "invalid_grant", GRANTED).await;
    assert!(refusal.reason.contains("no granted detail"), "{}", refusal.reason);

    // What the operator does not configure any more is in none either.
    become_with(&["account"], json!({})).await;
    let asked = [("authorization_details", &*json!([payment]).to_string())];
    let reply = world.refresh(demo, "demo", refresh_token, &asked).await;
    let refusal = world
        .assert_refused(&reply, 400, "invalid_authorization_details", GRANTED)
        .await;
    assert!(refusal.reason.contains("is not configured"), "{}", refusal.reason);
    let reply = world.refresh(demo, "demo", refresh_token, &[]).await;
    assert_eq!(reply.json()["authorization_details"], json!([account]));
    // Words that are gone take no detail along, and the other way round.
    become_with(&all, json!({"scope": "other"})).await;
    let answer = world.refresh(demo, "demo", refresh_token, &[]).await.json();
    assert_eq!(
        (&answer["scope"], &answer["authorization_details"]),
        (&Value::Null, &json!([payment, account])),
        "there are no words left to name"
    );
    become_with(&all, json!({})).await;
    for (refresh_token, details) in [
        (refresh_token, json!([payment, account])),
        (of_payment, json!([payment])),
    ] {
        let reply = world.refresh(demo, "demo", refresh_token, &[]).await;
        assert_eq!(reply.json()["authorization_details"], details);
    }
}

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

fn elsewhere(changes: Value) -> Value {
    let usual = json!({"grant_types": [CIBA, DEVICE_CODE], "backchannel_token_delivery_mode": "poll",
        "scope": "openid read write"});
    with(with(tls_client("demo.example"), usual), changes)
}

async fn elsewhere_cast() -> (Cast, Settings) {
    let mut settings = None;
    let usual = json!({"grant_types": [CIBA, DEVICE_CODE], "backchannel_token_delivery_mode": "poll"});
    let cast = cast(usual, |plan| {
        settings = Some(plan.settings.clone());
        plan
    })
    .await;
    (cast, settings.unwrap())
}

/// Asks for `openid read`; the form that redeems what the user allowed, and the request.
async fn asked_elsewhere(cast: &Cast, is_device: bool) -> (Vec<(&'static str, String)>, ApprovalRequestHash) {
    let mut form = vec![("client_id", "demo".to_owned())];
    let hash = if is_device {
        let asked = [("client_id", "demo"), ("scope", "openid read")];
        let reply = cast.world.post(Some(&cast.demo), "/device_authorization", &asked).await;
        let device_code = reply.json()["device_code"].as_str().unwrap().to_owned();
        let hash = ApprovalRequestHash::of_device_code(&device_code);
        form.extend([("grant_type", DEVICE_CODE.to_owned()), ("device_code", device_code)]);
        hash
    } else {
        let reply = ask(cast, &[("scope", "openid read"), ("login_hint", "ada")]).await;
        let auth_req_id = reply.json()["auth_req_id"].as_str().unwrap().to_owned();
        let hash = ApprovalRequestHash::of_auth_req_id(&auth_req_id);
        form.extend([("grant_type", CIBA.to_owned()), ("auth_req_id", auth_req_id)]);
        hash
    };
    (form, hash)
}

// covers CIBA-4, R8628-3
#[tokio::test]
async fn what_a_user_elsewhere_is_asked_is_judged_again() {
    let (cast, settings) = elsewhere_cast().await;
    let world = &cast.world;
    for is_device in [true, false] {
        become_client(world, &settings, elsewhere(json!({}))).await;
        let (form, hash) = asked_elsewhere(&cast, is_device).await;
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut signed = vec![(json!({"keybound_profile": "fapi2"}), "judged by profile")];
        if !is_device {
            signed.push((
                json!({"backchannel_authentication_request_signing_alg": "ES256", "jwks": {"keys": [cast.demo.jwk()]}}),
                "not signed",
            ));
        }
        let mut changes = signed.clone();
        changes.push((json!({"scope": "openid write"}), "exceeds the registered"));
        changes.push((
            json!({"grant_types": ["client_credentials"], "backchannel_token_delivery_mode": null}),
            "not registered grant type",
        ));
        for (change, reason) in changes {
            become_client(world, &settings, without_null(elsewhere(change))).await;
            let refusal = cast.decide(hash, &cast.ada, true).await.unwrap_err();
            assert!(
                matches!(refusal, DecisionRefusal::NotPermittedAnyMore(_)),
                "{refusal:?}"
            );
            assert!(refusal.to_string().contains(reason), "{refusal}");
        }
        become_client(world, &settings, elsewhere(json!({}))).await;
        cast.decide(hash, &cast.ada, true).await.unwrap();
        for (change, reason) in signed {
            become_client(world, &settings, elsewhere(change)).await;
            let reply = world.post(Some(&cast.demo), "/token", &form).await;
            let refusal = world
                .assert_refused(&reply, 400, "invalid_grant", STILL_PERMITTED)
                .await;
            assert!(refusal.reason.contains(reason), "{}", refusal.reason);
        }
        become_client(world, &settings, elsewhere(json!({"scope": "write"}))).await;
        let reply = world.post(Some(&cast.demo), "/token", &form).await;
        let refusal = world.assert_refused(&reply, 400, "invalid_grant", GRANTED).await;
        assert!(
            refusal.reason.contains("nothing of the granted scope"),
            "{}",
            refusal.reason
        );
        become_client(world, &settings, elsewhere(json!({"scope": "read write"}))).await;
        let reply = world.post(Some(&cast.demo), "/token", &form).await;
        assert_eq!(reply.json()["scope"], json!("read"), "{reply:?}");
    }
}

fn without_null(mut object: Value) -> Value {
    object.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    object
}
