//! Refresh tokens (RFC 6749 §6, RFC 8705 §4 and §7.1, RFC 9700 §4.14.2, FAPI 2.0), and public clients.

use http::StatusCode;
use keybound_protocol::profile::Profile;
use keybound_protocol::time::Timestamp;
use keybound_protocol::user::UserName;
use keybound_store::{NewUser, PasswordHash, UserChange};
use serde_json::{Value, json};

use crate::consent::{Consent, asking_client, public_client, text, user};
use crate::pki::{Authority, Leaf, dns, self_signed};
use crate::world::{API, OPAQUE_API, Plan, World, claims, with};

const TOKEN: &str = "refresh token of this client, in time";
const HOLDER: &str = "certificate or key that the refresh token is bound to";
const REUSE: &str = "refresh token not replaced before";
const DAY: i64 = 86_400;

struct Scene {
    world: World,
    authority: Authority,
    demo: Leaf,
    rs: Leaf,
}

async fn scene() -> Scene {
    let authority = Authority::root("corp");
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("demo", asking_client("demo.example"))
        .client("other", asking_client("demo.example"))
        .client("app", public_client())
        .introspecting()
        .start()
        .await;
    Scene {
        world,
        demo: authority.issue(dns("demo.example")),
        rs: authority.issue(dns("rs.example")),
        authority,
    }
}

fn instance() -> Leaf {
    self_signed(dns("instance.example"))
}

impl Scene {
    async fn refresh_token(&self, leaf: &Leaf, client_id: &'static str) -> String {
        let tokens = self.world.tokens(leaf, &Consent::to(client_id)).await;
        text(&tokens, "refresh_token").to_owned()
    }

    async fn refreshed(&self, leaf: &Leaf, client_id: &str, refresh_token: &str) -> Value {
        let reply = self.world.refresh(Some(leaf), client_id, refresh_token, &[]).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        reply.json()
    }
}

// covers R6749-10, R6749-11, FAPI-14
#[tokio::test]
async fn a_refresh_token_is_its_clients_and_never_widens() {
    let scene = scene().await;
    let (world, demo) = (&scene.world, &scene.demo);
    let consent = Consent {
        scope: "read",
        ..Consent::to("demo")
    };
    let tokens = world.tokens(demo, &consent).await;
    let refresh_token = text(&tokens, "refresh_token");
    let reply = world.refresh(Some(demo), "other", refresh_token, &[]).await;
    world.assert_refused(&reply, 400, "invalid_grant", TOKEN).await;
    let reply = world.refresh(None, "demo", refresh_token, &[]).await;
    assert_eq!(reply.json()["error"], "invalid_client");
    let reply = world.refresh(Some(demo), "demo", "unknown", &[]).await;
    world.assert_refused(&reply, 400, "invalid_grant", TOKEN).await;
    // An access token is no refresh token.
    let reply = world
        .refresh(Some(demo), "demo", text(&tokens, "access_token"), &[])
        .await;
    world.assert_refused(&reply, 400, "invalid_grant", TOKEN).await;
    let reply = world
        .refresh(Some(demo), "demo", refresh_token, &[("scope", "read write")])
        .await;
    world
        .assert_refused(&reply, 400, "invalid_scope", "within what the user allowed")
        .await;
    let reply = world
        .refresh(Some(demo), "demo", refresh_token, &[("scope", "read")])
        .await;
    assert_eq!(reply.json()["scope"], "read");
}

// covers R-FAPI-3, FAPI-15, MTLS-7.1-1, MTLS-6.3-1, TRAP-45
#[tokio::test]
async fn a_renewed_certificate_changes_nothing_for_a_client_that_authenticates() {
    let scene = scene().await;
    let first = scene.refresh_token(&scene.demo, "demo").await;
    for _ in 0..3 {
        let renewed = scene.authority.issue(dns("demo.example"));
        let tokens = scene.refreshed(&renewed, "demo", &first).await;
        // The same token, and an access token bound to the certificate of this connection.
        assert_eq!(text(&tokens, "refresh_token"), first);
        let claims = claims(text(&tokens, "access_token"));
        assert_eq!(claims["cnf"], json!({"x5t#S256": renewed.thumbprint()}));
        scene.world.clock.advance(3_600);
    }
    // Somebody else's certificate does not authenticate.
    let stranger = scene.authority.issue(dns("stranger.example"));
    let reply = scene.world.refresh(Some(&stranger), "demo", &first, &[]).await;
    assert_eq!(reply.json()["error"], "invalid_client");
}

// covers R-FAPI-3, FAPI-15
#[tokio::test]
async fn under_the_profile_the_same_refresh_token_comes_back_octet_for_octet() {
    for (server, client) in [
        (Profile::Fapi2, "default"),
        (Profile::Default, "fapi2"),
        (Profile::Fapi2MessageSigning, "fapi2"),
    ] {
        let authority = Authority::root("corp");
        let mut plan = Plan::new().trusts("corp", &authority);
        let metadata = with(asking_client("demo.example"), json!({"keybound_profile": client}));
        plan = plan.client("demo", metadata);
        plan.settings.profile = server;
        let world = plan.start().await;
        let tokens = world
            .tokens(&authority.issue(dns("demo.example")), &Consent::to("demo"))
            .await;
        let first = text(&tokens, "refresh_token");
        // Also one presented twice at the same moment, and by renewed certificates.
        for round in 0..4 {
            let renewed = authority.issue(dns("demo.example"));
            let reply = world.refresh(Some(&renewed), "demo", first, &[]).await;
            assert_eq!(reply.status, StatusCode::OK, "{server:?} {client} {round}: {reply:?}");
            let tokens = reply.json();
            assert_eq!(text(&tokens, "refresh_token").as_bytes(), first.as_bytes());
            let claims = claims(text(&tokens, "access_token"));
            assert_eq!(claims["cnf"], json!({"x5t#S256": renewed.thumbprint()}));
            world.clock.advance(round * 3_600);
        }
    }
}

// covers MTLS-4-1, MTLS-4-2, MTLS-4-3, MTLS-4-4, MTLS-4-5, MTLS-4-7, MTLS-4-8, MTLS-4-9, MTLS-7.1-2, TRAP-46, R9700-4
#[tokio::test]
async fn a_public_clients_tokens_are_bound_to_the_certificate_it_made() {
    let scene = scene().await;
    let (world, own, other) = (&scene.world, instance(), instance());
    let tokens = world.tokens(&own, &Consent::to("app")).await;
    let cnf = |tokens: &Value| claims(text(tokens, "access_token"))["cnf"].clone();
    assert_eq!(cnf(&tokens), json!({"x5t#S256": own.thumbprint()}));
    let mut refresh_token = text(&tokens, "refresh_token").to_owned();
    for _ in 0..3 {
        // Another instance, an authority's certificate, none: refused, and nothing is used up.
        for leaf in [Some(&other), Some(&scene.demo)] {
            let reply = world.refresh(leaf, "app", &refresh_token, &[]).await;
            world.assert_refused(&reply, 400, "invalid_grant", HOLDER).await;
        }
        let reply = world.refresh(None, "app", &refresh_token, &[]).await;
        assert_eq!(reply.json()["error"], "invalid_request");
        let refreshed = scene.refreshed(&own, "app", &refresh_token).await;
        assert_eq!(cnf(&refreshed), json!({"x5t#S256": own.thumbprint()}));
        let successor = text(&refreshed, "refresh_token").to_owned();
        assert_ne!(successor, refresh_token);
        refresh_token = successor;
    }
    // Its certificate says nothing about who it is: whoever has one is the same public client, and is told nothing about tokens.
    let reply = world
        .post(
            Some(&own),
            "/introspect",
            &[("client_id", "app"), ("token", &refresh_token)],
        )
        .await;
    assert_eq!(reply.json()["error"], "invalid_client");
}

// covers R9700-4
#[tokio::test]
async fn a_lost_answer_is_given_again_for_half_a_minute_and_never_another_successor() {
    let scene = scene().await;
    let own = instance();
    let first = scene.refresh_token(&own, "app").await;
    let second = scene.refreshed(&own, "app", &first).await;
    let second = text(&second, "refresh_token");
    for secs in [0, 15, 15] {
        scene.world.clock.advance(secs);
        let again = scene.refreshed(&own, "app", &first).await;
        assert_eq!(text(&again, "refresh_token"), second);
    }
    let third = scene.refreshed(&own, "app", second).await;
    assert_ne!(text(&third, "refresh_token"), second);
}

// covers R9700-4, FAPI-14
#[tokio::test]
async fn every_other_reuse_ends_the_family() {
    let scene = scene().await;
    let world = &scene.world;
    for case in 0..3 {
        let (own, thief) = (instance(), instance());
        let first = scene.refresh_token(&own, "app").await;
        let tokens = scene.refreshed(&own, "app", &first).await;
        let second = text(&tokens, "refresh_token").to_owned();
        let mut last = tokens.clone();
        let presenter = match case {
            // Half a minute later.
            0 => {
                world.clock.advance(31);
                &own
            }
            // By another certificate.
            1 => &thief,
            // After the successor was used.
            _ => {
                last = scene.refreshed(&own, "app", &second).await;
                &own
            }
        };
        let access_token = text(&last, "access_token");
        assert_eq!(world.introspected(&scene.rs, access_token).await["active"], true);
        let reply = world.refresh(Some(presenter), "app", &first, &[]).await;
        world.assert_refused(&reply, 400, "invalid_grant", REUSE).await;
        let told = world.introspected(&scene.rs, access_token).await;
        assert_eq!(told, json!({"active": false}), "{case}");
        for refresh_token in [&first, &second, &text(&last, "refresh_token").to_owned()] {
            let reply = world.refresh(Some(&own), "app", refresh_token, &[]).await;
            world.assert_refused(&reply, 400, "invalid_grant", TOKEN).await;
        }
    }
}

// covers R9700-4, FAPI-14
#[tokio::test]
async fn a_reuse_ends_the_family_whatever_is_asked_for_with_it_and_a_retry_does_not() {
    let scene = scene().await;
    let world = &scene.world;
    let (own, thief) = (instance(), instance());
    for (other, error) in [
        (("scope", "admin"), "invalid_scope"),
        (("resource", "https://unknown.example"), "invalid_target"),
    ] {
        let first = scene.refresh_token(&own, "app").await;
        let tokens = scene.refreshed(&own, "app", &first).await;
        let access_token = text(&tokens, "access_token");
        // The holder asks again and for too much: nothing is given, and nothing ends.
        let reply = world.refresh(Some(&own), "app", &first, &[other]).await;
        assert_eq!(reply.json()["error"], error, "{reply:?}");
        assert_eq!(world.introspected(&scene.rs, access_token).await["active"], true);
        let again = scene.refreshed(&own, "app", &first).await;
        assert_eq!(text(&again, "refresh_token"), text(&tokens, "refresh_token"));
        let reply = world.refresh(Some(&thief), "app", &first, &[other]).await;
        world.assert_refused(&reply, 400, "invalid_grant", REUSE).await;
        let told = world.introspected(&scene.rs, access_token).await;
        assert_eq!(told, json!({"active": false}), "{other:?}");
        let reply = world
            .refresh(Some(&own), "app", text(&tokens, "refresh_token"), &[])
            .await;
        world.assert_refused(&reply, 400, "invalid_grant", TOKEN).await;
    }
}

// covers R9700-4
#[tokio::test]
async fn an_idle_token_ends_after_thirty_days_and_every_token_after_a_year() {
    let scene = scene().await;
    let own = instance();
    let (idle, used) = (
        scene.refresh_token(&scene.demo, "demo").await,
        scene.refresh_token(&scene.demo, "demo").await,
    );
    let mut rotated = scene.refresh_token(&own, "app").await;
    for elapsed in (30..=360).step_by(30) {
        scene.world.clock.advance(30 * DAY - 1);
        scene.refreshed(&scene.demo, "demo", &used).await;
        rotated = text(&scene.refreshed(&own, "app", &rotated).await, "refresh_token").to_owned();
        scene.world.clock.advance(1);
        if elapsed > 30 {
            let reply = scene.world.refresh(Some(&scene.demo), "demo", &idle, &[]).await;
            scene.world.assert_refused(&reply, 400, "invalid_grant", TOKEN).await;
        }
    }
    scene.world.clock.advance(5 * DAY);
    for (leaf, client_id, refresh_token) in [(&scene.demo, "demo", &used), (&own, "app", &rotated)] {
        let reply = scene.world.refresh(Some(leaf), client_id, refresh_token, &[]).await;
        let refusal = scene.world.assert_refused(&reply, 400, "invalid_grant", TOKEN).await;
        assert!(refusal.reason.contains("ended"), "{refusal:?}");
    }
}

#[tokio::test]
async fn a_refresh_that_gives_a_jwt_writes_nothing_within_a_day() {
    let scene = scene().await;
    let refresh_token = scene.refresh_token(&scene.demo, "demo").await;
    let verbs = || scene.world.store.upkeep.write_counts().verbs;
    scene.world.clock.advance(DAY - 1);
    let before = verbs();
    for _ in 0..20 {
        scene.refreshed(&scene.demo, "demo", &refresh_token).await;
    }
    // What the server writes by itself in the meantime, batches and probes, is less than one for each.
    assert!(verbs() - before < 10, "{}", verbs() - before);
}

// covers R7009-1, R7009-2, R7009-3, R7009-4, R7009-5
#[tokio::test]
async fn revoking_a_refresh_token_ends_the_access_tokens_of_its_grant() {
    let scene = scene().await;
    let (world, demo) = (&scene.world, &scene.demo);
    for (hint, resource) in [("refresh_token", API), ("access_token", OPAQUE_API), ("nonsense", API)] {
        let consent = Consent {
            resources: vec![resource],
            ..Consent::to("demo")
        };
        let (tokens, bystander) = (world.tokens(demo, &consent).await, world.tokens(demo, &consent).await);
        let refresh_token = text(&tokens, "refresh_token");
        let refreshed = scene.refreshed(demo, "demo", refresh_token).await;
        let revoke = async |client_id, token| {
            let form = [("client_id", client_id), ("token", token), ("token_type_hint", hint)];
            world.post(Some(demo), "/revoke", &form).await
        };
        let reply = revoke("other", refresh_token).await;
        world
            .assert_refused(&reply, 400, "invalid_grant", "token issued to this client")
            .await;
        assert_eq!(revoke("demo", "garbage").await.status, StatusCode::OK);
        let is_active = async |tokens: &Value| {
            let told = world.introspected(&scene.rs, text(tokens, "access_token")).await;
            told["active"] == true
        };
        for tokens in [&tokens, &refreshed, &bystander] {
            assert!(is_active(tokens).await, "{hint}");
        }
        for _ in 0..2 {
            assert_eq!(revoke("demo", refresh_token).await.status, StatusCode::OK);
        }
        assert!(!is_active(&tokens).await && !is_active(&refreshed).await, "{hint}");
        assert!(is_active(&bystander).await, "{hint}");
        let reply = world.refresh(Some(demo), "demo", refresh_token, &[]).await;
        world.assert_refused(&reply, 400, "invalid_grant", TOKEN).await;
        // An access token alone leaves the refresh token as it is.
        let refresh_token = text(&bystander, "refresh_token");
        assert_eq!(
            revoke("demo", text(&bystander, "access_token")).await.status,
            StatusCode::OK
        );
        assert!(!is_active(&bystander).await);
        scene.refreshed(demo, "demo", refresh_token).await;
    }
}

// covers R7662-2
#[tokio::test]
async fn a_refresh_token_is_inactive_to_every_resource() {
    let scene = scene().await;
    let refresh_token = scene.refresh_token(&scene.demo, "demo").await;
    let told = scene.world.introspected(&scene.rs, &refresh_token).await;
    assert_eq!(told, json!({"active": false}));
}

#[tokio::test]
async fn for_a_user_who_is_kept_out_nobody_gets_more_tokens() {
    let scene = scene().await;
    let world = &scene.world;
    let entry = || {
        keybound_store::AuditEntry::new(
            Timestamp::from_unix_secs(world.clock.now()),
            keybound_store::Actor::Operator,
        )
    };
    let name = UserName::parse("ada").unwrap();
    let ada = NewUser {
        name: name.clone(),
        subject: user(),
        password_hash: PasswordHash::from_phc("$argon2id$one"),
        user_code_hash: None,
        claims: "{}".into(),
        is_disabled: false,
    };
    world.store.users.create_user(ada, entry()).await.unwrap();
    let refresh_token = scene.refresh_token(&scene.demo, "demo").await;
    let code = world.code(&Consent::to("demo")).await;
    let bar = async |is_disabled| {
        let change = UserChange {
            name: name.clone(),
            if_version: None,
            password_hash: None,
            user_code_hash: None,
            claims: None,
            is_disabled: Some(is_disabled),
            tokens_until: Timestamp::from_unix_secs(world.clock.now() + 400),
        };
        world.store.users.change_user(change, entry()).await.unwrap();
    };
    bar(true).await;
    let reply = world.refresh(Some(&scene.demo), "demo", &refresh_token, &[]).await;
    world.assert_refused(&reply, 400, "invalid_grant", TOKEN).await;
    let reply = world.redeem(Some(&scene.demo), "demo", &code, &[]).await;
    let rule = "authorization code of this client, in time and unused";
    world.assert_refused(&reply, 400, "invalid_grant", rule).await;
}
