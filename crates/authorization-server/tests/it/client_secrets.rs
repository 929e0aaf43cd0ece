//! RFC 6749 §2.3.1: client secrets, where they are enabled.

use http::{Method, StatusCode};
use keybound_protocol::secret::SecretHash;
use serde_json::{Value, json};

use crate::admin::{Administration, administrator, assert_problem};
use crate::pki::{Authority, dns, self_signed};
use crate::world::{Plan, Reply, Side, World, basic, credentials, secret_client, tls_client, with};

const SECRET: &str = "c2VjcmV0 +%25";
const GRANT: [(&str, &str); 1] = [("grant_type", "client_credentials")];

fn plan() -> Plan {
    let mut plan = Plan::new();
    plan.settings.client_secrets_enabled = true;
    plan.client_with_secret("basic", secret_client("client_secret_basic"), Some(SECRET))
        .client_with_secret("urn:post", secret_client("client_secret_post"), Some(SECRET))
}

async fn with_header(world: &World, form: &[(&str, &str)], authorization: &str) -> Reply {
    let headers = [("authorization", authorization)];
    world.peer(Side::Public, None).post_with("/token", form, &headers).await
}

// covers R6749-3
#[tokio::test]
async fn basic_credentials_are_form_decoded_and_nothing_else_passes() {
    let world = plan().start().await;
    // Unencoded: `+` is a space, and `%25` is a percent sign.
    let unencoded = format!("Basic {}", encoded(&format!("basic:{SECRET}")));
    let twice = basic(
        "basic",
        &url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect::<String>(),
    );
    let cases = [
        ("not encoded", unencoded, "client secret"),
        ("encoded twice", twice, "client secret"),
        ("no secret", basic("basic", ""), "client secret"),
        (
            "no colon",
            format!("Basic {}", encoded("basic")),
            "Basic header readable",
        ),
        ("no base64", "Basic ~".to_owned(), "Basic header readable"),
        (
            "malformed escape",
            format!("Basic {}", encoded("basic:%2")),
            "Basic header readable",
        ),
        ("nobody", basic("nobody", SECRET), "client registered"),
        (
            "of another method",
            basic("urn:post", SECRET),
            "registered authentication method used",
        ),
    ];
    for (name, authorization, rule) in cases {
        let reply = with_header(&world, &GRANT, &authorization).await;
        world.assert_refused(&reply, 401, "invalid_client", rule).await;
        assert_eq!(
            reply.header("www-authenticate"),
            Some("Basic realm=\"https://as.example\""),
            "{name}"
        );
    }
    let reply = with_header(&world, &credentials("urn:post"), &basic("basic", SECRET)).await;
    world
        .assert_refused(&reply, 400, "invalid_request", "one client named")
        .await;
    for form in [&GRANT[..], &credentials("basic")] {
        let reply = with_header(&world, form, &basic("basic", SECRET)).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    }
    let form = [&credentials("urn:post")[..], &[("client_secret", SECRET)]].concat();
    let reply = world.peer(Side::Public, None).post("/token", &form).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
}

fn encoded(credentials: &str) -> String {
    keybound_protocol::base64url::encode_standard(credentials.as_bytes())
}

// covers R6749-3
#[tokio::test]
async fn credentials_in_the_uri_are_refused_even_if_they_are_right() {
    let world = plan().start().await;
    let query: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
    let peer = world.peer(Side::Public, None);
    for (path, form, authorization) in [
        (
            format!("/token?client_secret={query}"),
            &credentials("urn:post")[..],
            None,
        ),
        (
            format!("/token?client_id=urn:post&client%5Fsecret={query}"),
            &GRANT[..],
            None,
        ),
        (
            "/token?client_assertion=a.b.c".to_owned(),
            &credentials("urn:post")[..],
            None,
        ),
        (
            "/token?client_secret=".to_owned(),
            &GRANT[..],
            Some(basic("basic", SECRET)),
        ),
        (
            format!("/introspect?client_secret={query}"),
            &[("token", "x")][..],
            Some(basic("basic", SECRET)),
        ),
        (
            format!("/revoke?client_secret={query}"),
            &[("token", "x")][..],
            Some(basic("basic", SECRET)),
        ),
    ] {
        let headers: Vec<(&str, &str)> = authorization
            .iter()
            .map(|value| ("authorization", value.as_str()))
            .collect();
        let reply = peer.post_with(&path, form, &headers).await;
        world
            .assert_refused(&reply, 400, "invalid_request", "no credentials in the URI")
            .await;
    }
    // A query without credentials is nobody's business.
    let reply = with_header(&world, &GRANT, &basic("basic", SECRET)).await;
    assert_eq!(reply.status, StatusCode::OK);
    let headers = [("authorization", basic("basic", SECRET))];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let reply = peer.post_with("/token?tenant=1", &GRANT, &headers).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
}

// covers R6749-3
#[tokio::test]
async fn guessing_secrets_is_throttled() {
    let mut plan = plan();
    plan.settings.limits.failed_authentications_per_second = 20;
    let world = plan.start().await;
    let mut refused = 0;
    for number in 0..60 {
        let reply = with_header(&world, &GRANT, &basic("basic", &format!("guess-{number}"))).await;
        match reply.status {
            StatusCode::TOO_MANY_REQUESTS => {
                assert!(reply.header("retry-after").is_some());
                refused += 1;
            }
            status => assert_eq!(status, StatusCode::UNAUTHORIZED, "{reply:?}"),
        }
    }
    assert!(refused >= 20, "{refused} of 60");
    // Whoever knows the secret is answered all the same.
    assert_eq!(
        with_header(&world, &GRANT, &basic("basic", SECRET)).await.status,
        StatusCode::OK
    );
}

// covers MTLS-1-2, MTLS-3-1, R6749-1
#[tokio::test]
async fn a_token_of_a_client_with_a_secret_is_bound_to_the_certificate_of_its_request() {
    let bound = with(
        secret_client("client_secret_basic"),
        json!({"tls_client_certificate_bound_access_tokens": true}),
    );
    let authority = Authority::root("corp");
    let world = plan()
        .trusts("corp", &authority)
        .client("tls", tls_client("demo.example"))
        .client_with_secret("bound", bound, Some(SECRET))
        .start()
        .await;
    let reply = with_header(&world, &GRANT, &basic("bound", SECRET)).await;
    let rule = "certificate presented to bind the access token to";
    world.assert_refused(&reply, 400, "invalid_request", rule).await;
    let leaf = self_signed(dns("anybody"));
    let send = async |leaf, client_id: &str, secret: &str| {
        let authorization = basic(client_id, secret);
        let peer = world.peer(Side::MutualTls, Some(leaf));
        peer.post_with("/token", &GRANT, &[("authorization", &authorization)])
            .await
    };
    let reply = send(&leaf, "bound", SECRET).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let claims = crate::world::claims(reply.json()["access_token"].as_str().unwrap());
    assert_eq!(claims["cnf"]["x5t#S256"], leaf.thumbprint());
    // Beside a certificate, a secret that authenticates nobody is answered the same whoever is named.
    let own = authority.issue(dns("demo.example"));
    for (client_id, secret, rule) in [
        ("bound", "wrong", "client secret"),
        ("tls", SECRET, "one authentication method used"),
        ("urn:post", SECRET, "one authentication method used"),
        ("nobody", SECRET, "one authentication method used"),
    ] {
        let reply = send(&own, client_id, secret).await;
        world.assert_refused(&reply, 400, "invalid_request", rule).await;
    }
}

// covers R6749-3, R8414-5, R9700-6
#[tokio::test]
async fn secrets_are_off_unless_enabled_and_the_metadata_says_so() {
    let metadata = async |world: &World| {
        let path = "/.well-known/oauth-authorization-server";
        world.peer(Side::Public, None).get(path).await.json()
    };
    let lists = [
        "token_endpoint_auth_methods_supported",
        "introspection_endpoint_auth_methods_supported",
        "revocation_endpoint_auth_methods_supported",
    ];
    let has_secrets = |document: &Value, list: &str| {
        let methods = document[list].as_array().unwrap();
        ["client_secret_basic", "client_secret_post"].map(|method| methods.contains(&json!(method)))
    };
    // Nobody asked for them: what there is has a private key behind it, or no credential at all.
    let world = Plan::new().start().await;
    for list in lists {
        let document = metadata(&world).await;
        let methods = document[list].as_array().unwrap().iter();
        let with_credentials: Vec<&Value> = methods.filter(|method| *method != "none").collect();
        let asymmetric = ["tls_client_auth", "self_signed_tls_client_auth", "private_key_jwt"];
        assert_eq!(with_credentials, asymmetric, "{list}");
    }
    let world = plan().start().await;
    for list in lists {
        assert_eq!(has_secrets(&metadata(&world).await, list), [true, true], "{list}");
    }
    // Switched off while such clients are on file: they are refused.
    let mut plan = plan();
    plan.settings.client_secrets_enabled = false;
    let world = plan.start().await;
    for list in lists {
        assert_eq!(has_secrets(&metadata(&world).await, list), [false, false], "{list}");
    }
    let reply = with_header(&world, &GRANT, &basic("basic", SECRET)).await;
    let refusal = world
        .assert_refused(&reply, 401, "invalid_client", "registered authentication method used")
        .await;
    assert!(refusal.reason.contains("not enabled"), "{}", refusal.reason);
}

/// An administrator of a server that has secrets.
async fn administration() -> Administration {
    let (authority, admin) = (Authority::root("corp"), self_signed(dns("admin")));
    let mut plan = Plan::new();
    plan.settings.client_secrets_enabled = true;
    let world = plan.client("admin", administrator(&admin)).start().await;
    let token = world
        .access_token(&admin, "admin", &[("scope", "keybound:admin")])
        .await;
    Administration {
        demo: authority.issue(dns("demo.example")),
        world,
        admin,
        authority,
        token,
    }
}

async fn status(it: &Administration, client_id: &str, secret: &str) -> u16 {
    let reply = with_header(&it.world, &GRANT, &basic(client_id, secret)).await;
    reply.status.as_u16()
}

// covers R6749-3, R6749-15
#[tokio::test]
async fn an_administrators_client_is_shown_its_secret_once_and_another_one_ends_it() {
    let it = administration().await;
    let metadata = with(secret_client("client_secret_basic"), json!({"client_id": "robot"}));
    let created = it.call(Method::POST, "/clients", &[], Some(metadata.clone())).await;
    assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
    let created = created.json();
    let first = created["client_secret"].as_str().unwrap().to_owned();
    assert_eq!((first.len(), &created["client_secret_expires_at"]), (43, &json!(0)));
    assert_eq!(status(&it, "robot", &first).await, 200);
    assert_eq!(status(&it, "robot", "wrong").await, 401);
    // At rest there is a hash, and nobody is shown even that.
    let stored = it
        .world
        .store
        .clients
        .find_client(&"robot".parse().unwrap())
        .unwrap()
        .unwrap();
    assert_eq!(stored.secret, Some(SecretHash::of(&first)));
    let shown = it.get("/clients/robot").await;
    assert!(shown.json().get("client_secret").is_none(), "{shown:?}");
    let replaced = it
        .call(Method::PUT, "/clients/robot", &[], Some(metadata.clone()))
        .await;
    assert_eq!(replaced.status, StatusCode::OK);
    assert!(
        replaced.json().get("client_secret").is_none(),
        "it keeps the one it knows"
    );
    assert_eq!(status(&it, "robot", &first).await, 200);
    let rotated = it.call(Method::POST, "/clients/robot/secret", &[], None).await;
    assert_eq!(rotated.status, StatusCode::OK, "{rotated:?}");
    let second = rotated.json()["client_secret"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    assert_eq!(status(&it, "robot", &first).await, 401);
    assert_eq!(status(&it, "robot", &second).await, 200);
    // A client that changes to another method has no secret left that could be found.
    let tls = with(tls_client("robot.example"), json!({"client_id": "robot"}));
    let replaced = it.call(Method::PUT, "/clients/robot", &[], Some(tls)).await;
    assert_eq!(replaced.status, StatusCode::OK, "{replaced:?}");
    assert_eq!(status(&it, "robot", &second).await, 401);
    let stored = it
        .world
        .store
        .clients
        .find_client(&"robot".parse().unwrap())
        .unwrap()
        .unwrap();
    assert_eq!(stored.secret, None);
    let rotated = it.call(Method::POST, "/clients/robot/secret", &[], None).await;
    assert_problem(&rotated, StatusCode::CONFLICT);
    // And one that changes back gets another.
    let replaced = it.call(Method::PUT, "/clients/robot", &[], Some(metadata)).await;
    let third = replaced.json()["client_secret"].as_str().unwrap().to_owned();
    assert_eq!(status(&it, "robot", &second).await, 401);
    assert_eq!(status(&it, "robot", &third).await, 200);
}

// covers R6749-3
#[tokio::test]
async fn nobody_chooses_a_secret_and_clients_of_other_methods_get_none() {
    let it = administration().await;
    for member in ["client_secret", "keybound_client_secret_sha256"] {
        let chosen = with(secret_client("client_secret_basic"), json!({member: "hunter2"}));
        let reply = it.call(Method::POST, "/clients", &[], Some(chosen)).await;
        assert_problem(&reply, StatusCode::BAD_REQUEST);
    }
    let reply = it
        .call(Method::POST, "/clients", &[], Some(tls_client("a.example")))
        .await;
    assert_eq!(reply.status, StatusCode::CREATED);
    assert!(reply.json().get("client_secret").is_none(), "{reply:?}");
    let reply = it.call(Method::POST, "/clients/nobody/secret", &[], None).await;
    assert_problem(&reply, StatusCode::NOT_FOUND);
    let reply = it.call(Method::POST, "/clients/admin/secret", &[], None).await;
    assert_problem(&reply, StatusCode::CONFLICT);
}
