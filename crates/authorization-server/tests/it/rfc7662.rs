//! RFC 7662 and RFC 7009: what callers learn about tokens, and how clients give them up.

use http::StatusCode;
use keybound_protocol::introspection::INACTIVE;
use serde_json::{Value, json};

use crate::pki::{Authority, Leaf, dns, self_signed};
use crate::rfc8705_2::private_key_jwt_client;
use crate::world::{API, NOW, OPAQUE_API, OTHER_API, Plan, Reply, World, credentials, tls_client, with};

pub(crate) struct Cast {
    pub(crate) world: World,
    pub(crate) demo: Leaf,
    other: Leaf,
    pub(crate) rs: Leaf,
    pub(crate) foreign: Leaf,
}

/// A client, another client, a caller that may introspect the client's tokens, and one that may not.
pub(crate) async fn cast() -> Cast {
    let authority = Authority::root("corp");
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("demo", tls_client("demo.example"))
        .client("other", tls_client("other.example"))
        .introspecting()
        .client(OTHER_API, tls_client("audience.example"))
        .client("jwt", private_key_jwt_client(&self_signed(dns("key"))))
        .start()
        .await;
    Cast {
        world,
        demo: authority.issue(dns("demo.example")),
        other: authority.issue(dns("other.example")),
        rs: authority.issue(dns("rs.example")),
        foreign: authority.issue(dns("foreign.example")),
    }
}

impl Cast {
    async fn introspect(&self, caller: &Leaf, client_id: &str, token: &str) -> Reply {
        let reply = self
            .world
            .post(
                Some(caller),
                "/introspect",
                &[("client_id", client_id), ("token", token)],
            )
            .await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        reply
    }

    async fn is_active(&self, token: &str) -> bool {
        let response = self.introspect(&self.rs, "rs", token).await.json();
        response["active"].as_bool().unwrap()
    }

    pub(crate) async fn revoke(&self, leaf: &Leaf, client_id: &str, token: &str) -> Reply {
        self.world
            .post(Some(leaf), "/revoke", &[("client_id", client_id), ("token", token)])
            .await
    }

    /// A JWT and an opaque token of `demo`.
    pub(crate) async fn tokens(&self) -> [String; 2] {
        [
            self.world.access_token(&self.demo, "demo", &[]).await,
            self.world
                .access_token(&self.demo, "demo", &[("resource", OPAQUE_API)])
                .await,
        ]
    }
}

pub(crate) fn headers(reply: &Reply) -> Vec<(String, String)> {
    let mut headers: Vec<_> = reply
        .headers
        .iter()
        .filter(|(name, _)| *name != "date")
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    headers
}

// covers R7662-3, R7009-3
#[tokio::test]
async fn a_good_token_is_shown_whole_whatever_the_hint() {
    let cast = cast().await;
    for (token, audience) in cast.tokens().await.iter().zip([API, OPAQUE_API]) {
        for hint in [None, Some("access_token"), Some("refresh_token"), Some("nonsense")] {
            let mut form = vec![("client_id", "rs"), ("token", token.as_str())];
            form.extend(hint.map(|hint| ("token_type_hint", hint)));
            let reply = cast.world.post(Some(&cast.rs), "/introspect", &form).await;
            let mut response = reply.json();
            assert!(response.as_object_mut().unwrap().remove("jti").unwrap().is_string());
            let expected = json!({
                "active": true, "client_id": "demo", "sub": "demo", "scope": "read write", "token_type": "Bearer",
                "iss": "https://as.example", "aud": audience, "iat": NOW, "exp": NOW + 300,
                "cnf": {"x5t#S256": cast.demo.thumbprint()},
            });
            assert_eq!(response, expected);
            assert_eq!(reply.header("cache-control"), Some("no-store"));
        }
    }
}

// covers R7662-1, R7662-2, T10, TRAP-28
#[tokio::test]
async fn for_whom_a_token_is_not_there_is_none_and_all_reasons_look_alike() {
    let cast = cast().await;
    let [jwt, opaque] = cast.tokens().await;
    let [expired_jwt, expired_opaque] = cast.tokens().await;
    let [revoked_jwt, revoked_opaque] = cast.tokens().await;
    for token in [&revoked_jwt, &revoked_opaque] {
        assert_eq!(cast.revoke(&cast.demo, "demo", token).await.status, StatusCode::OK);
    }
    // Of the same length and shape as a real one, and as wrong as can be.
    let mut forged_jwt = jwt.clone();
    let last = if forged_jwt.ends_with('A') { "E" } else { "A" };
    forged_jwt.replace_range(forged_jwt.len() - 2..forged_jwt.len() - 1, last);
    let random_opaque = keybound_protocol::base64url::encode(&[7; 32]);
    let huge = "x".repeat(20_000);
    let mut replies = Vec::new();
    for token in [
        &forged_jwt,
        &random_opaque,
        &revoked_jwt,
        &revoked_opaque,
        &huge,
        &"x".to_owned(),
        &"a.b.c".to_owned(),
        &"....".to_owned(),
    ] {
        replies.push(cast.introspect(&cast.rs, "rs", token).await);
    }
    for token in [&jwt, &opaque] {
        replies.push(cast.introspect(&cast.foreign, "foreign", token).await);
        // Not even the client that it was issued to: it is for others to ask.
        replies.push(cast.introspect(&cast.demo, "demo", token).await);
    }
    cast.world.clock.advance(300);
    for token in [&expired_jwt, &expired_opaque] {
        replies.push(cast.introspect(&cast.rs, "rs", token).await);
    }
    for reply in &replies {
        assert_eq!(reply.body, INACTIVE);
        assert_eq!(headers(reply), headers(&replies[0]));
        assert_eq!(reply.header("keybound-refusal"), None);
    }
}

// covers R7662-1, T10
#[tokio::test]
async fn the_client_that_is_a_tokens_audience_may_ask_about_it() {
    let cast = cast().await;
    let token = cast
        .world
        .access_token(&cast.demo, "demo", &[("resource", OTHER_API)])
        .await;
    let authority_leaf = &cast.foreign;
    // By name, because an operator said so; and by being the audience.
    assert_eq!(
        cast.introspect(authority_leaf, "foreign", &token).await.json()["active"],
        true
    );
    assert_eq!(cast.introspect(&cast.rs, "rs", &token).await.body, INACTIVE);
}

// covers R7662-1, TLS-8
#[tokio::test]
async fn nobody_asks_anonymously_or_without_a_token() {
    let cast = cast().await;
    let reply = cast.world.post(None, "/introspect", &[("token", "x")]).await;
    assert_eq!(
        reply.header("www-authenticate"),
        Some("Bearer realm=\"https://as.example\"")
    );
    cast.world
        .assert_refused(&reply, 401, "invalid_client", "client_id sent")
        .await;
    for path in ["/introspect", "/revoke"] {
        for form in [&[("client_id", "rs")][..], &[("client_id", "rs"), ("token", "")]] {
            let reply = cast.world.post(Some(&cast.rs), path, form).await;
            cast.world
                .assert_refused(&reply, 400, "invalid_request", "parameter token sent")
                .await;
        }
        let repeated = [("client_id", "rs"), ("token", "x"), ("token", "y")];
        let reply = cast.world.post(Some(&cast.rs), path, &repeated).await;
        let rule = "well-formed form without repeated parameters";
        cast.world.assert_refused(&reply, 400, "invalid_request", rule).await;
    }
}

// covers R7009-1, R7009-2, R7009-5, R7662-3
#[tokio::test]
async fn a_revoked_token_is_inactive_at_once_and_again_after_a_restart() {
    let cast = cast().await;
    let tokens = cast.tokens().await;
    for token in &tokens {
        assert!(cast.is_active(token).await);
        for _ in 0..2 {
            let reply = cast.revoke(&cast.demo, "demo", token).await;
            assert_eq!((reply.status, reply.json()), (StatusCode::OK, json!({})));
            assert!(!cast.is_active(token).await);
        }
    }
    assert!(cast.is_active(&cast.tokens().await[0]).await);
}

// covers R7009-2
#[tokio::test]
async fn a_token_of_another_client_is_not_revoked() {
    let cast = cast().await;
    for token in &cast.tokens().await {
        let reply = cast.revoke(&cast.other, "other", token).await;
        cast.world
            .assert_refused(&reply, 400, "invalid_grant", "token issued to this client")
            .await;
        assert!(cast.is_active(token).await);
        // Nor by naming the owner with one's own certificate, or with none.
        for leaf in [Some(&cast.other), None] {
            let form = [("client_id", "demo"), ("token", token.as_str())];
            let reply = cast.world.post(leaf, "/revoke", &form).await;
            assert_eq!(
                (reply.status.as_u16(), &reply.json()["error"]),
                (400, &json!("invalid_client"))
            );
        }
        assert!(cast.is_active(token).await);
    }
}

// covers R7009-3, R7009-5
#[tokio::test]
async fn what_is_no_token_is_revoked_without_a_word() {
    let cast = cast().await;
    let [jwt, _] = cast.tokens().await;
    for token in ["garbage", "a.b.c", &format!("{jwt}x"), &"x".repeat(20_000)] {
        for hint in ["", "access_token", "refresh_token", "nonsense"] {
            let form = [("client_id", "demo"), ("token", token), ("token_type_hint", hint)];
            let reply = cast.world.post(Some(&cast.demo), "/revoke", &form).await;
            assert_eq!(reply.status, StatusCode::OK, "{token:.20} {hint}");
        }
    }
    assert!(cast.is_active(&jwt).await);
}

// covers T10
#[tokio::test]
async fn the_tokens_of_a_client_that_is_gone_are_inactive() {
    let cast = cast().await;
    let tokens = cast.tokens().await;
    let authority = Authority::root("unused");
    let settings = Plan::new()
        .trusts("corp", &authority)
        .client(
            "rs",
            with(
                private_key_jwt_client(&cast.rs),
                json!({"keybound_introspects": [API, OPAQUE_API]}),
            ),
        )
        .settings;
    cast.world.server.reload(settings).await.unwrap();
    for token in &tokens {
        let assertion = crate::rfc8705_2::assertion(&cast.rs, "rs", token.get(..40).unwrap(), NOW);
        let form = [
            ("client_id", "rs"),
            ("token", token.as_str()),
            (
                "client_assertion_type",
                keybound_protocol::client_assertion::CLIENT_ASSERTION_TYPE,
            ),
            ("client_assertion", assertion.as_str()),
        ];
        assert_eq!(cast.world.post(None, "/introspect", &form).await.body, INACTIVE);
    }
}

// covers T4
#[tokio::test]
async fn a_token_altered_in_any_part_is_inactive() {
    let cast = cast().await;
    let [jwt, opaque] = cast.tokens().await;
    for token in [jwt, opaque] {
        let step = (token.len() / 60).max(1);
        for position in (0..token.len()).step_by(step) {
            let mut altered: Vec<char> = token.chars().collect();
            let flipped = if altered[position] == 'A' { 'B' } else { 'A' };
            if altered[position] == '.' {
                continue;
            }
            altered[position] = flipped;
            let altered: String = altered.into_iter().collect();
            let response: Value = cast.introspect(&cast.rs, "rs", &altered).await.json();
            assert_eq!(response, json!({"active": false}), "{position} of {token}");
        }
    }
    assert_eq!(
        cast.world
            .post(Some(&cast.demo), "/token", &credentials("demo"))
            .await
            .status,
        StatusCode::OK
    );
}
