//! The authorization code grant at the token endpoint (RFC 6749 §4.1.3, RFC 7636, RFC 9700 §2.1.1, FAPI 2.0).

use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use crate::consent::{ACR, Consent, asking_client, details_types, public_client, text, user};
use crate::pki::{Authority, Leaf, dns, self_signed};
use crate::world::{API, OPAQUE_API, OTHER_API, Plan, Reply, Side, World, claims, tls_client, with};

const CODE: &str = "authorization code of this client, in time and unused";

struct Scene {
    world: World,
    demo: Leaf,
    rs: Leaf,
}

async fn scene() -> Scene {
    let authority = Authority::root("corp");
    let mut plan = Plan::new();
    plan.settings.authorization.details_types = details_types(&["payment", "account"]);
    let world = plan
        .trusts("corp", &authority)
        .client("demo", asking_client("demo.example"))
        .client("other", asking_client("demo.example"))
        .client("unbound", with(asking_client("demo.example"), json!({"tls_client_certificate_bound_access_tokens": false, "token_endpoint_auth_method": "tls_client_auth"})))
        .client("no-refresh", with(asking_client("demo.example"), json!({"grant_types": ["authorization_code"]})))
        .client("machine", tls_client("demo.example"))
        .client("app", public_client())
        .introspecting()
        .start()
        .await;
    Scene {
        world,
        demo: authority.issue(dns("demo.example")),
        rs: authority.issue(dns("rs.example")),
    }
}

fn assert_not_stored(reply: &Reply) {
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("pragma"), Some("no-cache"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
}

// covers R6749-8, R7636-3, R9700-2, FAPI-13, FAPI-14
#[tokio::test]
async fn a_code_is_refused_to_others_and_without_its_verifier_and_stays_good() {
    let Scene { world, demo, .. } = scene().await;
    let code = world.code(&Consent::to("demo")).await;
    let wrong = "0".repeat(43);
    let redirect = "redirect_uri of the authorization request";
    let verifier = "code_verifier of the code_challenge";
    for (client_id, more, rule) in [
        ("other", vec![], CODE),
        ("demo", vec![("code", "code-of-nobody")], CODE),
        ("demo", vec![("redirect_uri", "")], redirect),
        ("demo", vec![("redirect_uri", "https://client.example/cb")], redirect),
        (
            "demo",
            vec![("redirect_uri", "https://client.example/cb?a=1&")],
            redirect,
        ),
        ("demo", vec![("code_verifier", "")], verifier),
        ("demo", vec![("code_verifier", "short")], verifier),
        ("demo", vec![("code_verifier", &wrong)], verifier),
    ] {
        let reply = world.redeem(Some(&demo), client_id, &code, &more).await;
        world.assert_refused(&reply, 400, "invalid_grant", rule).await;
        assert_not_stored(&reply);
        let sent = reply.json();
        let is_allowed = |octet: u8| matches!(octet, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        assert!(text(&sent, "error_description").bytes().all(is_allowed));
        assert!(url::Url::parse(text(&sent, "error_uri")).is_ok());
    }
    // None of them used it up.
    let reply = world.redeem(Some(&demo), "demo", &code, &[]).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
}

// covers R9700-2
#[tokio::test]
async fn a_verifier_without_a_challenge_is_a_downgrade_and_refused() {
    let Scene { world, demo, .. } = scene().await;
    let bare = Consent {
        has_challenge: false,
        ..Consent::to("demo")
    };
    let code = world.code(&bare).await;
    let reply = world.redeem(Some(&demo), "demo", &code, &[]).await;
    world
        .assert_refused(&reply, 400, "invalid_grant", "code_verifier of the code_challenge")
        .await;
    let reply = world.redeem(Some(&demo), "demo", &code, &[("code_verifier", "")]).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    // A public client has no way around a challenge.
    let app = Consent {
        client_id: "app",
        ..bare
    };
    let code = world.code(&app).await;
    let leaf = self_signed(dns("instance.example"));
    let reply = world.redeem(Some(&leaf), "app", &code, &[("code_verifier", "")]).await;
    world
        .assert_refused(&reply, 400, "invalid_grant", "code_verifier of the code_challenge")
        .await;
}

// covers R6749-8
#[tokio::test]
async fn a_request_without_redirect_uri_needs_none_afterwards() {
    let Scene { world, demo, .. } = scene().await;
    let without = Consent {
        redirect_uri: None,
        ..Consent::to("demo")
    };
    let code = world.code(&without).await;
    let reply = world.redeem(Some(&demo), "demo", &code, &[("redirect_uri", "")]).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
}

// covers R6749-7, R-FAPI-4, FAPI-14
#[tokio::test]
async fn a_code_lives_for_a_minute() {
    let Scene { world, demo, .. } = scene().await;
    let codes = [
        world.code(&Consent::to("demo")).await,
        world.code(&Consent::to("demo")).await,
    ];
    world.clock.advance(59);
    let reply = world.redeem(Some(&demo), "demo", &codes[0], &[]).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    world.clock.advance(1);
    let reply = world.redeem(Some(&demo), "demo", &codes[1], &[]).await;
    world.assert_refused(&reply, 400, "invalid_grant", CODE).await;
}

// covers R6749-7, FAPI-14
#[tokio::test]
async fn a_code_presented_again_ends_everything_that_came_of_it() {
    let Scene { world, demo, rs } = scene().await;
    for resource in [API, OPAQUE_API] {
        let consent = Consent {
            resources: vec![resource],
            ..Consent::to("demo")
        };
        let code = world.code(&consent).await;
        let first = world.redeem(Some(&demo), "demo", &code, &[]).await.json();
        let refreshed = world
            .refresh(Some(&demo), "demo", text(&first, "refresh_token"), &[])
            .await;
        let refreshed = refreshed.json();
        let bystander = world.tokens(&demo, &consent).await;
        for tokens in [&first, &refreshed, &bystander] {
            let told = world.introspected(&rs, text(tokens, "access_token")).await;
            assert_eq!(told["active"], true, "{resource}");
        }
        // By another client nothing happens.
        let reply = world.redeem(Some(&demo), "other", &code, &[]).await;
        world.assert_refused(&reply, 400, "invalid_grant", CODE).await;
        let told = world.introspected(&rs, text(&first, "access_token")).await;
        assert_eq!(told["active"], true);
        // Also when its minute is over.
        world.clock.advance(61);
        let reply = world.redeem(Some(&demo), "demo", &code, &[]).await;
        let refusal = world.assert_refused(&reply, 400, "invalid_grant", CODE).await;
        assert!(refusal.reason.contains("redeemed before"), "{refusal:?}");
        for tokens in [&first, &refreshed] {
            let told = world.introspected(&rs, text(tokens, "access_token")).await;
            assert_eq!(told, json!({"active": false}), "{resource}");
        }
        let reply = world
            .refresh(Some(&demo), "demo", text(&first, "refresh_token"), &[])
            .await;
        world
            .assert_refused(&reply, 400, "invalid_grant", "refresh token of this client, in time")
            .await;
        let told = world.introspected(&rs, text(&bystander, "access_token")).await;
        assert_eq!(told["active"], true, "{resource}");
        world.clock.advance(-61);
    }
}

// covers R6749-7, R7636-3
#[tokio::test]
async fn a_spent_code_ends_its_grant_whatever_the_right_client_sends_with_it() {
    let Scene { world, demo, rs } = scene().await;
    for other in [
        ("resource", "https://unknown.example"),
        ("redirect_uri", "https://elsewhere.example/"),
        ("code_verifier", "a-verifier-of-somebody-else-that-is-long-enough"),
        ("code_verifier", ""),
    ] {
        let code = world.code(&Consent::to("demo")).await;
        let tokens = world.redeem(Some(&demo), "demo", &code, &[]).await.json();
        let reply = world.redeem(Some(&demo), "other", &code, &[other]).await;
        world.assert_refused(&reply, 400, "invalid_grant", CODE).await;
        let told = world.introspected(&rs, text(&tokens, "access_token")).await;
        assert_eq!(told["active"], true, "{other:?}");
        let reply = world.redeem(Some(&demo), "demo", &code, &[other]).await;
        let refusal = world.assert_refused(&reply, 400, "invalid_grant", CODE).await;
        assert!(refusal.reason.contains("redeemed before"), "{other:?}: {refusal:?}");
        let told = world.introspected(&rs, text(&tokens, "access_token")).await;
        assert_eq!(told, json!({"active": false}), "{other:?}");
    }
    // One that is not spent stays good: none of these costs the client its code.
    let code = world.code(&Consent::to("demo")).await;
    let other = ("resource", "https://unknown.example");
    let reply = world.redeem(Some(&demo), "demo", &code, &[other]).await;
    assert_eq!(reply.json()["error"], "invalid_target");
    let reply = world.redeem(Some(&demo), "demo", &code, &[]).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
}

// covers R6749-12, FAPI-12, R9068-3, MTLS-3-1, MTLS-3-14
#[tokio::test]
async fn the_answer_is_that_of_rfc_6749_with_a_token_of_the_user() {
    let Scene { world, demo, .. } = scene().await;
    let code = world.code(&Consent::to("demo")).await;
    let reply = world.redeem(Some(&demo), "demo", &code, &[]).await;
    assert_not_stored(&reply);
    let tokens = reply.json();
    let names: Vec<&str> = tokens.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["access_token", "expires_in", "refresh_token", "scope", "token_type"]
    );
    assert_eq!(
        (&tokens["token_type"], &tokens["expires_in"], &tokens["scope"]),
        (&json!("Bearer"), &json!(300), &json!("read write"))
    );
    let claims = claims(text(&tokens, "access_token"));
    assert_eq!(claims["sub"], user().as_str());
    assert_eq!(claims["client_id"], "demo");
    assert_eq!(claims["aud"], API);
    assert_eq!(claims["acr"], ACR);
    assert_eq!(claims["auth_time"], world.clock.now());
    assert_eq!(claims["cnf"], json!({"x5t#S256": demo.thumbprint()}));
    let (grant_id, rest) = text(&claims, "jti").split_once('.').unwrap();
    assert_eq!((grant_id.len(), rest.len()), (22, 22));
    // Without the grant type there is no refresh token.
    let tokens = world.tokens(&demo, &Consent::to("no-refresh")).await;
    assert_eq!(tokens.get("refresh_token"), None);
}

// covers MTLS-3.4-2, R6749-9
#[tokio::test]
async fn whoever_cannot_be_bound_or_may_not_ask_keeps_the_code() {
    let Scene { world, demo, .. } = scene().await;
    let code = world.code(&Consent::to("app")).await;
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", "app"),
        ("code", &code),
        ("redirect_uri", crate::consent::REDIRECT_URI),
        ("code_verifier", crate::consent::VERIFIER),
    ];
    for reply in [
        world.redeem(None, "app", &code, &[]).await,
        world.peer(Side::Public, None).post("/token", &form).await,
    ] {
        world
            .assert_refused(
                &reply,
                400,
                "invalid_request",
                "certificate presented to bind the access token to",
            )
            .await;
    }
    let reply = world.redeem(Some(&demo), "machine", &code, &[]).await;
    world
        .assert_refused(&reply, 400, "unauthorized_client", "grant type registered")
        .await;
    let leaf = self_signed(dns("instance.example"));
    let reply = world.redeem(Some(&leaf), "app", &code, &[]).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    // Nor has a public client anything to ask for itself.
    let reply = world.token(Some(&leaf), "app").await;
    world
        .assert_refused(&reply, 400, "unauthorized_client", "grant type registered")
        .await;
}

// covers R8707-2, R9700-4
#[tokio::test]
async fn a_token_is_for_one_of_the_resources_that_were_granted() {
    let Scene { world, demo, .. } = scene().await;
    let several = Consent {
        resources: vec![API, OTHER_API],
        ..Consent::to("demo")
    };
    let code = world.code(&several).await;
    let granted = "within what the user allowed";
    for resources in [
        vec![],
        vec![("resource", OPAQUE_API)],
        vec![("resource", API), ("resource", OTHER_API)],
        vec![("resource", "https://as.example/admin")],
    ] {
        let reply = world.redeem(Some(&demo), "demo", &code, &resources).await;
        world.assert_refused(&reply, 400, "invalid_target", granted).await;
    }
    let reply = world.redeem(Some(&demo), "demo", &code, &[("resource", API)]).await;
    let tokens = reply.json();
    assert_eq!(claims(text(&tokens, "access_token"))["aud"], API);
    // The refresh token keeps all of the grant, and no more.
    let refresh_token = text(&tokens, "refresh_token");
    let refresh = async |resource| {
        world
            .refresh(Some(&demo), "demo", refresh_token, &[("resource", resource)])
            .await
    };
    let reply = refresh(OTHER_API).await;
    assert_eq!(claims(text(&reply.json(), "access_token"))["aud"], OTHER_API);
    world
        .assert_refused(&refresh(OPAQUE_API).await, 400, "invalid_target", granted)
        .await;
    // Without any it is for the default one, and for no other.
    let code = world.code(&Consent::to("demo")).await;
    let reply = world
        .redeem(Some(&demo), "demo", &code, &[("resource", OTHER_API)])
        .await;
    world.assert_refused(&reply, 400, "invalid_target", granted).await;
    let reply = world.redeem(Some(&demo), "demo", &code, &[]).await;
    assert_eq!(claims(text(&reply.json(), "access_token"))["aud"], API);
}

// covers R9396-2, R9396-3, FAPI-20
#[tokio::test]
async fn authorization_details_stay_within_the_grant_and_are_told_to_client_and_resource() {
    let Scene { world, demo, rs } = scene().await;
    let here = json!({"type": "payment", "actions": ["read", "write"], "locations": [API]});
    let there = json!({"type": "payment", "actions": ["read"], "locations": [OPAQUE_API]});
    let anywhere = json!({"type": "account"});
    let consent = Consent {
        resources: vec![API, OPAQUE_API],
        authorization_details: Some(json!([here, there, anywhere])),
        ..Consent::to("demo")
    };
    let code = world.code(&consent).await;
    let details = |value: serde_json::Value| value.to_string();
    for wider in [
        json!([{"type": "payment", "actions": ["read", "delete"], "locations": [API]}]),
        json!([{"type": "payment", "locations": [API]}]),
        json!([{"type": "other"}]),
    ] {
        let wider = details(wider);
        let more = [("resource", API), ("authorization_details", &*wider)];
        let reply = world.redeem(Some(&demo), "demo", &code, &more).await;
        world
            .assert_refused(
                &reply,
                400,
                "invalid_authorization_details",
                "within what the user allowed",
            )
            .await;
    }
    let reply = world.redeem(Some(&demo), "demo", &code, &[("resource", API)]).await;
    let tokens = reply.json();
    assert_eq!(tokens["authorization_details"], json!([here, anywhere]));
    let access_token = text(&tokens, "access_token");
    assert_eq!(claims(access_token)["authorization_details"], json!([here, anywhere]));
    let told = world.introspected(&rs, access_token).await;
    assert_eq!(told["authorization_details"], json!([here, anywhere]));
    // Less, and of an opaque token.
    let less = details(json!([anywhere]));
    let refresh_token = text(&tokens, "refresh_token");
    for (more, expected) in [
        (vec![("resource", OPAQUE_API)], json!([there, anywhere])),
        (
            vec![("resource", OPAQUE_API), ("authorization_details", &*less)],
            json!([anywhere]),
        ),
    ] {
        let tokens = world.refresh(Some(&demo), "demo", refresh_token, &more).await.json();
        assert_eq!(tokens["authorization_details"], expected);
        let told = world.introspected(&rs, text(&tokens, "access_token")).await;
        assert_eq!(told["authorization_details"], expected);
        assert_eq!(
            (&told["sub"], &told["acr"], &told["active"]),
            (&json!(user().as_str()), &json!(ACR), &json!(true))
        );
    }
}

// covers I5
#[tokio::test]
async fn a_token_never_outlives_its_grant() {
    let Scene { world, demo, .. } = scene().await;
    let short = Consent {
        lifetime: Duration::from_secs(100),
        ..Consent::to("demo")
    };
    let code = world.code(&short).await;
    world.clock.advance(40);
    let tokens = world.redeem(Some(&demo), "demo", &code, &[]).await.json();
    assert_eq!(tokens["expires_in"], 60);
    world.clock.advance(59);
    let reply = world
        .refresh(Some(&demo), "demo", text(&tokens, "refresh_token"), &[])
        .await;
    assert_eq!(reply.json()["expires_in"], 1);
    world.clock.advance(1);
    let reply = world
        .refresh(Some(&demo), "demo", text(&tokens, "refresh_token"), &[])
        .await;
    world
        .assert_refused(&reply, 400, "invalid_grant", "refresh token of this client, in time")
        .await;
}
