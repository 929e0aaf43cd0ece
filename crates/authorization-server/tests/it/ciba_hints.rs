//! CIBA Core §7.1: whom a client wants to be asked, and what it says beside that.

use keybound_protocol::client::ClientId;
use keybound_protocol::user::{UserName, UserSubject};
use keybound_store::{Actor, AuditQuery, CreateUser, NewUser, PasswordHash};
use serde_json::{Value, json};

use crate::approvals::{Cast, cast_from, entry};
use crate::browser::{PASSWORD, PASSWORD_HASH};
use crate::ciba::{CIBA, GOOD, REQUEST, ask, asked, hash, poll_as, polling};
use crate::pki::{dns, self_signed};
use crate::rfc7523::signed;
use crate::world::{API, ISSUER, Plan, claims, with};

const USER_FOUND: &str = "user known by the hint";
const USER_CODE: &str = "user's code right";

async fn cast(openid_enabled: bool, more: Value) -> Cast {
    let mut plan = Plan::new();
    plan.settings.openid_enabled = openid_enabled;
    cast_from(plan, with(polling(), more), |plan| plan).await
}

/// What a client gets once ada has said yes.
async fn tokens(cast: &Cast, client_id: &str, more: &[(&str, &str)]) -> Value {
    let leaf = if client_id == "demo" { &cast.demo } else { &cast.other };
    let form = [&[("client_id", client_id)], &GOOD[..], more].concat();
    let reply = cast.world.post(Some(leaf), "/bc-authorize", &form).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let auth_req_id = reply.json()["auth_req_id"].as_str().unwrap().to_owned();
    cast.decide(hash(&auth_req_id), &cast.ada, true).await.unwrap();
    let reply = poll_as(cast, leaf, client_id, &auth_req_id).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

fn text(answer: &Value, member: &str) -> String {
    answer[member].as_str().unwrap().to_owned()
}

// covers CIBA-2
#[tokio::test]
async fn an_id_token_of_ours_names_its_user_to_its_client_also_when_it_has_expired() {
    let cast = cast(true, json!({})).await;
    let answer = tokens(&cast, "demo", &[]).await;
    let id_token = text(&answer, "id_token");
    let of_other = text(&tokens(&cast, "other", &[]).await, "id_token");
    let stranger = self_signed(dns("stranger"));
    let forged = signed(&stranger, &json!({"alg": "ES256", "typ": "JWT"}), &claims(&id_token));
    let (signed_part, signature) = id_token.rsplit_once('.').unwrap();
    let last = if signature.starts_with('A') { "B" } else { "A" };
    let tampered = format!("{signed_part}.{last}{}", &signature[1..]);
    let unsigned = format!(
        "{}.{}.",
        keybound_protocol::base64url::encode(br#"{"alg":"none","typ":"JWT"}"#),
        id_token.split('.').nth(1).unwrap()
    );
    for (hint, what) in [
        (of_other.as_str(), "another client's"),
        (&forged, "another key's"),
        (&tampered, "tampered with"),
        (&unsigned, "not signed"),
        (answer["access_token"].as_str().unwrap(), "an access token"),
        ("x", "none at all"),
    ] {
        let reply = ask(&cast, &[("scope", "openid"), ("id_token_hint", hint)]).await;
        let refusal = cast
            .world
            .assert_refused(&reply, 400, "unknown_user_id", USER_FOUND)
            .await;
        assert_eq!(refusal.client_id.as_deref(), Some("demo"), "{what}");
    }
    let too_long = "a".repeat(16 * 1024 + 1);
    let reply = ask(&cast, &[("scope", "openid"), ("id_token_hint", &too_long)]).await;
    cast.world.assert_refused(&reply, 400, "invalid_request", REQUEST).await;
    let expires_at = claims(&id_token)["exp"].as_i64().unwrap();
    for advance in [0, expires_at - cast.world.clock.now(), 3_600] {
        cast.world.clock.advance(advance);
        let reply = ask(&cast, &[("scope", "openid"), ("id_token_hint", &id_token)]).await;
        assert_eq!(reply.status, 200, "{advance} {reply:?}");
        let auth_req_id = text(&reply.json(), "auth_req_id");
        // It is ada who is asked, and nobody else.
        let others = cast.decide(hash(&auth_req_id), &cast.grace, true).await;
        assert!(others.is_err());
        cast.decide(hash(&auth_req_id), &cast.ada, true).await.unwrap();
    }
    assert!(expires_at < cast.world.clock.now());
}

// covers CIBA-2
#[tokio::test]
async fn exactly_one_of_the_three_hints_is_sent() {
    let cast = cast(true, json!({})).await;
    let id_token = text(&tokens(&cast, "demo", &[]).await, "id_token");
    let (login, token) = (("login_hint", "ada"), ("login_hint_token", "x"));
    let id = ("id_token_hint", id_token.as_str());
    for hints in [
        &[][..],
        &[login, token],
        &[login, id],
        &[token, id],
        &[login, token, id],
    ] {
        let reply = ask(&cast, &[&[("scope", "openid")], hints].concat()).await;
        cast.world.assert_refused(&reply, 400, "invalid_request", REQUEST).await;
    }
    // Login hint tokens are other servers': none names anybody here, however well it is made.
    for token in ["x", &id_token] {
        let reply = ask(&cast, &[("scope", "openid"), ("login_hint_token", token)]).await;
        cast.world
            .assert_refused(&reply, 400, "unknown_user_id", USER_FOUND)
            .await;
    }
    for hint in [login, id] {
        assert_eq!(ask(&cast, &[("scope", "openid"), hint]).await.status, 200, "{hint:?}");
    }
}

// covers CIBA-2, CIBA-4
#[tokio::test]
async fn what_is_fetched_has_an_id_token_where_there_is_openid_connect() {
    let cast = cast(true, json!({})).await;
    let answer = tokens(&cast, "demo", &[("acr_values", "urn:example:high urn:example:low")]).await;
    let said = claims(answer["id_token"].as_str().unwrap());
    let now = cast.world.clock.now();
    // §10.1.1: as from any token request (OpenID Connect Core §3.1.3.3). What only protects pushed tokens is not in it, nor an `acr`
    // that nobody established.
    let mut expected = json!({
        "iss": ISSUER, "sub": cast.ada.as_str(), "aud": "demo", "iat": now, "exp": now + 300,
    });
    expected["at_hash"] = said["at_hash"].clone();
    assert!(said["at_hash"].is_string());
    assert_eq!(said, expected);
    assert_eq!(claims(answer["access_token"].as_str().unwrap())["aud"], json!(API));
    // Without it `openid` is still what makes a request one of these (§7.1), and the access token is all there is.
    let without = self::cast(false, json!({})).await;
    let answer = tokens(&without, "demo", &[]).await;
    assert_eq!(answer.get("id_token"), None);
    let reply = ask(&without, &[("scope", "read"), ("login_hint", "ada")]).await;
    without
        .world
        .assert_refused(&reply, 400, "invalid_request", REQUEST)
        .await;
}

#[tokio::test]
async fn a_binding_message_is_one_short_line() {
    let cast = cast(false, json!({})).await;
    for (message, is_accepted) in [
        ("W4SCT", true),
        ("Zahlung über 12,50 €?", true),
        ("Zahlung an Müller, Nr. 4711", true),
        ("支払い 4711", true),
        (&"x".repeat(64), true),
        (&"x".repeat(65), false),
        ("two\nlines", false),
        ("tab\tbed", false),
        ("right\u{202e}tfel", false),
        ("zero\u{200b}width", false),
    ] {
        let reply = ask(&cast, &[&GOOD, &[("binding_message", message)][..]].concat()).await;
        match is_accepted {
            true => assert_eq!(reply.status, 200, "{message:?} {reply:?}"),
            false => {
                let refused = cast
                    .world
                    .assert_refused(&reply, 400, "invalid_binding_message", REQUEST);
                refused.await;
            }
        }
    }
}

/// Adds a user whose code is [`PASSWORD`].
async fn add_user_with_code(cast: &Cast) -> UserSubject {
    let subject = UserSubject::from_random(&[9; 16]);
    let user = NewUser {
        name: UserName::parse("hopper").unwrap(),
        subject: subject.clone(),
        password_hash: PasswordHash::from_phc("none"),
        user_code_hash: Some(PasswordHash::from_phc(PASSWORD_HASH)),
        claims: "{}".into(),
        is_disabled: false,
    };
    let created = cast
        .world
        .store
        .users
        .create_user(user, entry(&cast.world))
        .await
        .unwrap();
    assert!(matches!(created, CreateUser::Created { .. }));
    subject
}

// covers CIBA-2
#[tokio::test]
async fn a_users_code_is_right_wrong_or_missing_and_tried_seldom() {
    let mut plan = Plan::new();
    plan.settings.limits.user_codes_per_minute = 3;
    let metadata = with(polling(), json!({"backchannel_user_code_parameter": true}));
    let cast = cast_from(plan, metadata, |plan| plan).await;
    let subject = add_user_with_code(&cast).await;
    let good = [("scope", "openid"), ("login_hint", "hopper")];
    let with_code = async |code: &str| ask(&cast, &[&good, &[("user_code", code)][..]].concat()).await;
    let reply = ask(&cast, &good).await;
    cast.world
        .assert_refused(&reply, 400, "missing_user_code", USER_CODE)
        .await;
    for wrong in ["1815", ""] {
        let error = if wrong.is_empty() {
            "missing_user_code"
        } else {
            "invalid_user_code"
        };
        cast.world
            .assert_refused(&with_code(wrong).await, 400, error, USER_CODE)
            .await;
    }
    let reply = with_code(PASSWORD).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let auth_req_id = text(&reply.json(), "auth_req_id");
    cast.decide(hash(&auth_req_id), &subject, true).await.unwrap();
    // Whoever guesses has few tries, and so few that the right one is not taken after them.
    cast.world
        .assert_refused(&with_code("1816").await, 400, "invalid_user_code", USER_CODE)
        .await;
    let reply = with_code(PASSWORD).await;
    assert_eq!(reply.status, 429, "{reply:?}");
    assert!(reply.header("retry-after").is_some());
    // A user who has no code cannot be asked by such a client.
    let reply = ask(&cast, &[&GOOD, &[("user_code", PASSWORD)][..]].concat()).await;
    cast.world
        .assert_refused(&reply, 400, "invalid_user_code", USER_CODE)
        .await;
    // And where the client did not register that codes are needed, one is not looked at.
    let without = self::cast(false, json!({"grant_types": [CIBA]})).await;
    asked(&without, &[("user_code", "anything")]).await;
}

// covers CIBA-2
#[tokio::test]
async fn wrong_codes_of_all_clients_together_lock_the_users_code_out_and_nobody_is_told() {
    let mut plan = Plan::new();
    plan.settings.limits.user_codes_per_minute = 1_000;
    plan.settings.limits.failed_sign_ins_max = 4;
    let lock_out = i64::try_from(plan.settings.limits.lock_out.as_secs()).unwrap();
    let metadata = with(polling(), json!({"backchannel_user_code_parameter": true}));
    let cast = cast_from(plan, metadata, |plan| plan).await;
    add_user_with_code(&cast).await;
    let ask_with = async |client_id: &str, code: &str| {
        let leaf = if client_id == "demo" { &cast.demo } else { &cast.other };
        let form = [
            ("client_id", client_id),
            ("scope", "openid"),
            ("login_hint", "hopper"),
            ("user_code", code),
        ];
        cast.world.post(Some(leaf), "/bc-authorize", &form).await
    };
    let told = |reply: &crate::world::Reply| {
        let mut body = reply.json();
        // It names the record, each its own.
        body.as_object_mut().unwrap().remove("error_uri");
        (
            reply.status,
            body,
            reply.headers.keys().map(ToString::to_string).collect::<Vec<_>>(),
        )
    };
    let mut answers = Vec::new();
    for client_id in ["demo", "other", "demo", "other"] {
        let reply = ask_with(client_id, "1815").await;
        let refusal = cast
            .world
            .assert_refused(&reply, 400, "invalid_user_code", USER_CODE)
            .await;
        assert!(refusal.reason.contains("is not the one"), "{}", refusal.reason);
        answers.push(told(&reply));
    }
    for (client_id, code) in [("demo", PASSWORD), ("other", PASSWORD), ("demo", "1815")] {
        let reply = ask_with(client_id, code).await;
        let refusal = cast
            .world
            .assert_refused(&reply, 400, "invalid_user_code", USER_CODE)
            .await;
        assert!(refusal.reason.contains("none is taken until"), "{}", refusal.reason);
        assert!(refusal.fix.unwrap().contains("--user-code-file"));
        answers.push(told(&reply));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let query = AuditQuery {
        subject: Some("hopper".to_owned()),
        limit: 10,
        ..AuditQuery::default()
    };
    let records = cast.world.store.audit.records(query).await.unwrap().records;
    assert_eq!(records[0].action, "user.user_code_locked_out");
    assert_eq!(records[0].entry.actor, Actor::Client(ClientId::parse("other").unwrap()));
    cast.world.clock.advance(lock_out - 1);
    assert_eq!(ask_with("demo", PASSWORD).await.status, 400);
    cast.world.clock.advance(1);
    let reply = ask_with("demo", PASSWORD).await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

// covers CIBA-2
#[tokio::test]
async fn no_more_requests_wait_for_one_user_than_may_whichever_clients_make_them() {
    let mut plan = Plan::new();
    plan.settings.limits.approvals_waiting_per_user_max = 2;
    let cast = cast_from(plan, polling(), |plan| plan).await;
    let ask_as = async |client_id: &str, user: &str| {
        let leaf = if client_id == "demo" { &cast.demo } else { &cast.other };
        let form = [("client_id", client_id), ("scope", "openid"), ("login_hint", user)];
        cast.world.post(Some(leaf), "/bc-authorize", &form).await
    };
    let first = text(&ask_as("demo", "ada").await.json(), "auth_req_id");
    assert_eq!(ask_as("other", "ada").await.status, 200);
    for client_id in ["demo", "other"] {
        let reply = ask_as(client_id, "ada").await;
        let refusal = cast
            .world
            .assert_refused(
                &reply,
                429,
                "temporarily_unavailable",
                "room for one more request of a user",
            )
            .await;
        assert!(
            refusal.reason.contains("wait for this user's decision"),
            "{}",
            refusal.reason
        );
        assert!(refusal.fix.unwrap().contains("limits.approvals_waiting_per_user_max"));
        assert!(reply.header("retry-after").is_some());
    }
    let waiting = cast.world.server.waiting_requests_of(&cast.ada).await.unwrap();
    assert_eq!(waiting.len(), 2);
    assert_eq!(ask_as("demo", "grace").await.status, 200, "another user");
    cast.decide(hash(&first), &cast.ada, false).await.unwrap();
    assert_eq!(ask_as("demo", "ada").await.status, 200);
    assert_eq!(ask_as("demo", "ada").await.status, 429);
}
