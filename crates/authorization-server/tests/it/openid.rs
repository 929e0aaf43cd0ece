//! OpenID Connect Core for the code flow: ID tokens, the userinfo endpoint, discovery.

use http::{Method, StatusCode};
use keybound_protocol::issuer::Issuer;
use keybound_protocol::time::Timestamp;
use keybound_store::{Actor, AuditEntry, CreateUser, NewUser, PasswordHash};
use serde_json::{Value, json};

use crate::consent::{ACR, Consent, asking_client, text, user};
use crate::pki::{Authority, Leaf, dns};
use crate::world::{ISSUER, NOW, OPAQUE_API, Plan, Reply, Side, World, claims, jose_header, with};

struct Cast {
    world: World,
    demo: Leaf,
    other: Leaf,
}

const EVERY_SCOPE: &str = "openid profile email read write";

async fn cast(openid_enabled: bool) -> Cast {
    let authority = Authority::root("corp");
    let mut plan = Plan::new();
    plan.settings.openid_enabled = openid_enabled;
    let asking = |name: &str| with(asking_client(name), json!({"scope": EVERY_SCOPE}));
    let world = plan
        .trusts("corp", &authority)
        .client("demo", asking("demo.example"))
        .client(
            "unbound",
            with(
                asking("demo.example"),
                json!({"tls_client_certificate_bound_access_tokens": false, "require_auth_time": true}),
            ),
        )
        .client(
            "opaque",
            with(
                asking("demo.example"),
                json!({"keybound_access_token_format": "opaque"}),
            ),
        )
        .client(
            "machine",
            with(crate::world::tls_client("demo.example"), json!({"scope": EVERY_SCOPE})),
        )
        .start()
        .await;
    let alice = NewUser {
        name: "alice".parse().unwrap(),
        subject: user(),
        password_hash: PasswordHash::from_phc("$argon2id$none"),
        user_code_hash: None,
        claims: json!({"name": "Alice", "email": "alice@example.com", "email_verified": true, "vip": 1}).to_string(),
        is_disabled: false,
    };
    let entry = AuditEntry::new(Timestamp::from_unix_secs(NOW), Actor::Operator);
    let created = world.store.users.create_user(alice, entry).await.unwrap();
    assert!(matches!(created, CreateUser::Created { .. }), "{created:?}");
    Cast {
        world,
        demo: authority.issue(dns("demo.example")),
        other: authority.issue(dns("other.example")),
    }
}

fn openid(client_id: &'static str) -> Consent {
    Consent {
        scope: "read openid",
        ..Consent::to(client_id)
    }
}

impl Cast {
    async fn tokens(&self, consent: &Consent) -> Value {
        self.world.tokens(&self.demo, consent).await
    }

    async fn userinfo(&self, leaf: Option<&Leaf>, token: &str) -> Reply {
        self.world
            .peer(Side::MutualTls, leaf)
            .get_with_token("/userinfo", token)
            .await
    }
}

// covers FAPI-17
#[tokio::test]
async fn an_id_token_says_what_was_asked_for_and_no_more() {
    let cast = cast(true).await;
    let response = cast.tokens(&openid("demo")).await;
    let id_token = text(&response, "id_token");
    let header = jose_header(id_token);
    let jwks = cast.world.peer(Side::Public, None).get("/jwks").await.json();
    assert!(
        jwks["keys"]
            .as_array()
            .unwrap()
            .iter()
            .any(|key| key["kid"] == header["kid"])
    );
    assert_eq!((&header["alg"], &header["typ"]), (&json!("ES256"), &json!("JWT")));
    let mut said = claims(id_token);
    assert!(said.as_object_mut().unwrap().remove("at_hash").is_some());
    let expected = json!({"iss": ISSUER, "sub": user().as_str(), "aud": "demo", "iat": NOW, "exp": NOW + 300});
    assert_eq!(said, expected);

    let nonce = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let asked = Consent {
        nonce: Some(nonce),
        claims: Some(json!({"id_token": {"auth_time": {}, "acr": {}, "vip": {}, "phone_number": {}}})),
        ..openid("demo")
    };
    let response = cast.tokens(&asked).await;
    let said = claims(text(&response, "id_token"));
    assert_eq!(said["nonce"], nonce);
    assert_eq!(
        (&said["auth_time"], &said["acr"], &said["vip"]),
        (&json!(NOW), &json!(ACR), &json!(1))
    );
    assert!(said.get("phone_number").is_none() && said.get("email").is_none());
    // It is no access token: nobody who asks by it is told anything.
    let reply = cast.userinfo(Some(&cast.demo), text(&response, "id_token")).await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    // Another one comes with a refresh, without the nonce of the first.
    let refresh_token = text(&response, "refresh_token");
    let refreshed = cast
        .world
        .refresh(Some(&cast.demo), "demo", refresh_token, &[])
        .await
        .json();
    let said = claims(text(&refreshed, "id_token"));
    assert_eq!((&said["sub"], said.get("nonce")), (&json!(user().as_str()), None));
    // And a client can have registered that it wants `auth_time` each time.
    let response = cast.tokens(&openid("unbound")).await;
    assert_eq!(claims(text(&response, "id_token"))["auth_time"], NOW);
}

// covers FAPI-12
#[tokio::test]
async fn without_openid_there_is_no_id_token() {
    let off = cast(false).await;
    assert!(off.tokens(&openid("demo")).await.get("id_token").is_none());
    for path in ["/userinfo", "/.well-known/openid-configuration"] {
        let reply = off.world.peer(Side::MutualTls, Some(&off.demo)).get(path).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{path}");
    }
    let metadata = off
        .world
        .peer(Side::Public, None)
        .get("/.well-known/oauth-authorization-server")
        .await
        .json();
    for member in [
        "userinfo_endpoint",
        "id_token_signing_alg_values_supported",
        "claims_supported",
        "subject_types_supported",
    ] {
        assert!(metadata.get(member).is_none(), "{member}");
    }
    let on = cast(true).await;
    assert!(on.tokens(&Consent::to("demo")).await.get("id_token").is_none());
}

// covers FAPI-1, R8414-4, R8414-5
#[tokio::test]
async fn discovery_lies_in_both_places() {
    for (issuer, paths) in [
        (ISSUER, vec!["/.well-known/openid-configuration"]),
        (
            "https://as.example/a/b",
            vec![
                "/a/b/.well-known/openid-configuration",
                "/.well-known/openid-configuration/a/b",
            ],
        ),
    ] {
        let mut plan = Plan::new();
        plan.settings.openid_enabled = true;
        plan.settings.issuer = Issuer::parse(issuer).unwrap();
        let world = plan.start().await;
        for path in paths {
            let metadata = world.peer(Side::Public, None).get(path).await.json();
            assert_eq!(metadata["issuer"], issuer);
            assert_eq!(metadata["userinfo_endpoint"], format!("{issuer}/userinfo"));
            assert_eq!(metadata["subject_types_supported"], json!(["public"]));
            assert_eq!(metadata["id_token_signing_alg_values_supported"], json!(["ES256"]));
            assert_eq!(metadata["claims_parameter_supported"], true);
            assert_eq!(
                metadata["scopes_supported"],
                json!(["openid", "profile", "email", "address", "phone"])
            );
            let aliases = &metadata["mtls_endpoint_aliases"];
            assert!(aliases["userinfo_endpoint"].as_str().unwrap().ends_with("/userinfo"));
            assert!(aliases.get("authorization_endpoint").is_none());
        }
    }
}

// covers MTLS-3-1, R6750-3, R6750-4
#[tokio::test]
async fn userinfo_is_told_to_the_holder_of_the_certificate_alone() {
    let cast = cast(true).await;
    for client_id in ["demo", "opaque"] {
        let consent = Consent {
            scope: EVERY_SCOPE,
            claims: Some(json!({"userinfo": {"vip": {}}})),
            resources: if client_id == "opaque" {
                vec![OPAQUE_API]
            } else {
                Vec::new()
            },
            ..openid(client_id)
        };
        let response = cast.tokens(&consent).await;
        let token = text(&response, "access_token");
        for leaf in [None, Some(&cast.other)] {
            let reply = cast.userinfo(leaf, token).await;
            let rule = "certificate or key that the access token is bound to";
            cast.world.assert_refused(&reply, 401, "invalid_token", rule).await;
            assert!(
                reply
                    .header("www-authenticate")
                    .unwrap()
                    .contains("error=\"invalid_token\"")
            );
        }
        let public = cast
            .world
            .peer(Side::Public, None)
            .get_with_token("/userinfo", token)
            .await;
        assert_eq!(public.status, StatusCode::UNAUTHORIZED);

        let expected = json!({
            "sub": user().as_str(), "name": "Alice", "email": "alice@example.com", "email_verified": true, "vip": 1,
        });
        let reply = cast.userinfo(Some(&cast.demo), token).await;
        assert_eq!((reply.status, reply.json()), (StatusCode::OK, expected.clone()));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        let authorization = format!("bEaRer {token}");
        let peer = cast.world.peer(Side::MutualTls, Some(&cast.demo));
        let reply = peer
            .send(Method::POST, "/userinfo", &[("authorization", &authorization)], None)
            .await;
        assert_eq!((reply.status, reply.json()), (StatusCode::OK, expected));
    }
    // A client whose tokens are not bound needs no certificate for them.
    let response = cast.tokens(&openid("unbound")).await;
    let token = text(&response, "access_token");
    let reply = cast
        .world
        .peer(Side::Public, None)
        .get_with_token("/userinfo", token)
        .await;
    assert_eq!(
        (reply.status, reply.json()),
        (StatusCode::OK, json!({"sub": user().as_str()}))
    );
}

// covers R6750-1, R6750-2, R6750-3, R6750-4
#[tokio::test]
async fn userinfo_needs_a_token_of_a_user_with_scope_openid() {
    let cast = cast(true).await;
    let peer = cast.world.peer(Side::MutualTls, Some(&cast.demo));
    for path in ["/userinfo", "/userinfo?access_token=x"] {
        let reply = peer.get(path).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{path}");
        let challenges: Vec<_> = reply.headers.get_all("www-authenticate").iter().collect();
        let [bearer, dpop] = challenges[..] else {
            panic!("{reply:?}")
        };
        assert_eq!(bearer, "Bearer realm=\"https://as.example\"");
        let algorithms = "DPoP realm=\"https://as.example\", algs=\"ES256 ES384 EdDSA PS256 RS256\"";
        assert_eq!(dpop, algorithms);
    }
    let counts = "access token of this server that counts";
    let reply = cast.userinfo(Some(&cast.demo), "garbage").await;
    cast.world.assert_refused(&reply, 401, "invalid_token", counts).await;

    let response = cast.tokens(&Consent::to("demo")).await;
    let reply = cast.userinfo(Some(&cast.demo), text(&response, "access_token")).await;
    cast.world
        .assert_refused(&reply, 403, "insufficient_scope", "scope openid granted")
        .await;
    assert!(reply.header("www-authenticate").unwrap().contains("scope=\"openid\""));

    let own = cast
        .world
        .access_token(&cast.demo, "machine", &[("scope", "openid")])
        .await;
    let reply = cast.userinfo(Some(&cast.demo), &own).await;
    let of_user = "access token of a user that may sign in";
    cast.world.assert_refused(&reply, 401, "invalid_token", of_user).await;

    let response = cast.tokens(&openid("demo")).await;
    let token = text(&response, "access_token");
    assert_eq!(cast.userinfo(Some(&cast.demo), token).await.status, StatusCode::OK);
    cast.world.clock.advance(301);
    let reply = cast.userinfo(Some(&cast.demo), token).await;
    cast.world.assert_refused(&reply, 401, "invalid_token", counts).await;
}

// covers FAPI-16
#[tokio::test]
async fn the_interaction_id_comes_back_from_userinfo_if_it_is_one() {
    const ID: &str = "c770aef3-6784-41f7-8e0e-ff5f97bddb3a";
    const FIELD: &str = "x-fapi-interaction-id";
    let cast = cast(true).await;
    let peer = cast.world.peer(Side::MutualTls, Some(&cast.demo));
    let response = cast.tokens(&openid("demo")).await;
    let authorization = format!("Bearer {}", text(&response, "access_token"));
    for (presented, expected) in [("c770aef3", None), ("<b>", None), (ID, Some(ID))] {
        let headers = [("authorization", authorization.as_str()), (FIELD, presented)];
        let reply = peer.send(Method::GET, "/userinfo", &headers, None).await;
        assert_eq!((reply.status, reply.header(FIELD)), (StatusCode::OK, expected));
    }
    let reply = peer.send(Method::GET, "/userinfo", &[(FIELD, ID)], None).await;
    let refused = (reply.status, reply.header(FIELD));
    assert_eq!(refused, (StatusCode::UNAUTHORIZED, Some(ID)));
}

#[tokio::test]
async fn userinfo_tells_nothing_once_the_client_is_gone() {
    let cast = cast(true).await;
    let tokens = cast.tokens(&openid("unbound")).await;
    let peer = cast.world.peer(Side::Public, None);
    let told = async || peer.get_with_token("/userinfo", text(&tokens, "access_token")).await;
    assert_eq!(told().await.status, StatusCode::OK);
    // Out of the configuration: nobody has denied its tokens.
    let mut plan = Plan::new();
    plan.settings.openid_enabled = true;
    cast.world.server.reload(plan.settings).await.unwrap();
    let rule = "access token of this server that counts";
    let refusal = cast
        .world
        .assert_refused(&told().await, 401, "invalid_token", rule)
        .await;
    assert!(refusal.reason.contains("client"), "{refusal:?}");
}
