//! RFC 6749: the token endpoint as HTTP.

use http::{Method, StatusCode};
use serde_json::json;

use crate::pki::{Authority, Leaf, dns};
use crate::world::{Plan, Side, World, credentials, tls_client, with};

async fn world() -> (World, Leaf) {
    let authority = Authority::root("corp");
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("demo", tls_client("demo.example"))
        .client("code", with(tls_client("demo.example"), json!({"grant_types": []})))
        .start()
        .await;
    (world, authority.issue(dns("demo.example")))
}

const FORM: &str = "application/x-www-form-urlencoded";

// covers R6749-4
#[tokio::test]
async fn the_token_endpoint_takes_post_and_says_so() {
    let (world, leaf) = world().await;
    let peer = world.peer(Side::MutualTls, Some(&leaf));
    for method in [
        Method::GET,
        Method::HEAD,
        Method::PUT,
        Method::DELETE,
        Method::PATCH,
        Method::TRACE,
    ] {
        let reply = peer
            .send(
                method.clone(),
                "/token?grant_type=client_credentials&client_id=demo",
                &[],
                None,
            )
            .await;
        assert_eq!(
            (reply.status, reply.header("allow")),
            (StatusCode::METHOD_NOT_ALLOWED, Some("POST, OPTIONS")),
            "{method}"
        );
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        if method != Method::HEAD {
            world
                .assert_refused(&reply, 405, "invalid_request", "HTTP method of the endpoint")
                .await;
        }
    }
    let reply = peer.send(Method::OPTIONS, "/token", &[], None).await;
    assert_eq!(
        (reply.status, reply.header("allow")),
        (StatusCode::NO_CONTENT, Some("POST, OPTIONS"))
    );
}

// covers R6749-4, R6749-3
#[tokio::test]
async fn parameters_are_a_form_in_the_body_and_nothing_else() {
    let (world, leaf) = world().await;
    let peer = world.peer(Side::MutualTls, Some(&leaf));
    let good = "grant_type=client_credentials&client_id=demo";
    let media_types = [
        Some("application/json"),
        Some("text/plain"),
        Some("multipart/form-data; boundary=x"),
        Some("application/x-www-form-urlencoded; charset=iso-8859-1"),
        Some(""),
    ];
    for media_type in media_types {
        let body = Some((media_type.unwrap_or_default(), good.to_owned()));
        let reply = peer.send(Method::POST, "/token", &[], body).await;
        world
            .assert_refused(
                &reply,
                415,
                "invalid_request",
                "media type application/x-www-form-urlencoded",
            )
            .await;
    }
    for headers in [
        &[("content-encoding", "gzip")][..],
        &[("content-type", FORM), ("content-type", FORM)],
    ] {
        let reply = peer
            .send(Method::POST, "/token", headers, Some((FORM, good.to_owned())))
            .await;
        assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{headers:?}");
    }
    let reply = peer
        .send(
            Method::POST,
            &format!("/token?{good}"),
            &[],
            Some((FORM, String::new())),
        )
        .await;
    world
        .assert_refused(&reply, 400, "invalid_client", "client_id sent")
        .await;
    let reply = peer
        .send(
            Method::POST,
            "/token",
            &[("content-type", "Application/X-Www-Form-Urlencoded;charset=UTF-8")],
            Some(("", good.to_owned())),
        )
        .await;
    assert_eq!(reply.status, StatusCode::OK);
}

// covers R6749-5
#[tokio::test]
async fn unknown_parameters_are_ignored_empty_ones_absent_repeated_ones_refused() {
    let (world, leaf) = world().await;
    let peer = world.peer(Side::MutualTls, Some(&leaf));
    let base = credentials("demo");
    let ok = [
        ("unknown", "x"),
        ("client_secret", ""),
        ("scope", ""),
        ("client_assertion", ""),
    ];
    let reply = peer.post("/token", &[&base[..], &ok].concat()).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    for repeated in [
        ("client_id", "demo"),
        ("grant_type", "client_credentials"),
        ("unknown", "x"),
        ("scope", "read"),
        ("client_id", ""),
    ] {
        let reply = peer.post("/token", &[&base[..], &[repeated, repeated]].concat()).await;
        let rule = "well-formed form without repeated parameters";
        let refusal = world.assert_refused(&reply, 400, "invalid_request", rule).await;
        assert_eq!(refusal.failed_rule().unwrap().presented.as_deref(), Some(repeated.0));
    }
    for body in ["grant_type=%", "grant_type=%zz", "a=%ff", "\u{e9}=1"] {
        let reply = peer
            .send(Method::POST, "/token", &[], Some((FORM, body.to_owned())))
            .await;
        world
            .assert_refused(
                &reply,
                400,
                "invalid_request",
                "well-formed form without repeated parameters",
            )
            .await;
    }
}

// covers T24, R6749-5
#[tokio::test]
async fn a_body_just_under_the_limit_passes_and_just_over_it_is_413() {
    let (world, leaf) = world().await;
    let peer = world.peer(Side::MutualTls, Some(&leaf));
    let base = "grant_type=client_credentials&client_id=demo&pad=";
    let padded = |bytes: usize| Some((FORM, format!("{base}{}", "x".repeat(bytes - base.len()))));
    let reply = peer.send(Method::POST, "/token", &[], padded(64 * 1024)).await;
    assert_eq!(reply.status, StatusCode::OK);
    let reply = peer.send(Method::POST, "/token", &[], padded(64 * 1024 + 1)).await;
    world
        .assert_refused(&reply, 413, "invalid_request", "request body within its limits")
        .await;
    let many: String = (0..101).map(|n| format!("p{n}=x&")).collect();
    let reply = peer.send(Method::POST, "/token", &[], Some((FORM, many))).await;
    world
        .assert_refused(
            &reply,
            400,
            "invalid_request",
            "well-formed form without repeated parameters",
        )
        .await;
}

// covers R6749-12
#[tokio::test]
async fn nothing_with_a_token_or_about_one_is_cached() {
    let (world, leaf) = world().await;
    let peer = world.peer(Side::MutualTls, Some(&leaf));
    for path in ["/token", "/introspect", "/revoke"] {
        for form in [
            &credentials("demo")[..],
            &credentials("nobody"),
            &[("client_id", "demo"), ("token", "x")],
        ] {
            let reply = peer.post(path, form).await;
            assert_eq!(reply.header("cache-control"), Some("no-store"), "{path} {form:?}");
            assert_eq!(reply.header("pragma"), Some("no-cache"), "{path} {form:?}");
            assert_eq!(reply.header("content-type"), Some("application/json"));
        }
    }
}

// covers R6749-13, T36, FAPI-13, R9700-5
#[tokio::test]
async fn every_code_has_its_status_and_hostile_input_is_never_repeated() {
    let (world, leaf) = world().await;
    let hostile = "<script>\"\\\u{1b}[31m\r\nX: y";
    type Case<'a> = (Vec<(&'a str, &'a str)>, u16, &'a str, &'a str);
    let cases: Vec<Case<'_>> = vec![
        (
            vec![("client_id", "demo")],
            400,
            "invalid_request",
            "grant type supported",
        ),
        (
            vec![("client_id", "demo"), ("grant_type", hostile)],
            400,
            "unsupported_grant_type",
            "grant type supported",
        ),
        (
            vec![("client_id", "demo"), ("grant_type", "authorization_code")],
            400,
            "unauthorized_client",
            "grant type registered",
        ),
        (
            vec![("client_id", "demo"), ("grant_type", "refresh_token")],
            400,
            "unauthorized_client",
            "grant type registered",
        ),
        (
            vec![("client_id", "demo"), ("grant_type", "password")],
            400,
            "unsupported_grant_type",
            "grant type supported",
        ),
        (
            credentials("code").to_vec(),
            400,
            "unauthorized_client",
            "grant type registered",
        ),
        (
            [&credentials("demo")[..], &[("scope", hostile)]].concat(),
            400,
            "invalid_scope",
            "scope registered",
        ),
        (
            [&credentials("demo")[..], &[("resource", hostile)]].concat(),
            400,
            "invalid_target",
            "one configured resource asked for",
        ),
        (
            credentials(hostile).to_vec(),
            400,
            "invalid_client",
            "client registered",
        ),
    ];
    for (form, status, error, rule) in cases {
        let reply = world.post(Some(&leaf), "/token", &form).await;
        let refusal = world.assert_refused(&reply, status, error, rule).await;
        let body = reply.json();
        for text in [
            body["error_description"].as_str().unwrap(),
            body["error_uri"].as_str().unwrap(),
        ] {
            assert!(
                text.bytes()
                    .all(|octet| matches!(octet, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)),
                "{text}"
            );
            assert!(!text.contains("script"));
        }
        let id = reply.header("keybound-refusal").unwrap();
        assert_eq!(body["error_uri"], format!("https://as.example/console/refusals/{id}"));
        assert_no_control_characters(&serde_json::to_value(&refusal).unwrap());
    }
}

fn assert_no_control_characters(value: &serde_json::Value) {
    match value {
        serde_json::Value::String(text) => assert!(!text.contains(char::is_control), "{text:?}"),
        serde_json::Value::Array(values) => values.iter().for_each(assert_no_control_characters),
        serde_json::Value::Object(members) => members.values().for_each(assert_no_control_characters),
        _ => {}
    }
}

// covers R6749-13, TRAP-22, TLS-8
#[tokio::test]
async fn whoever_used_the_authorization_header_is_challenged_in_its_scheme() {
    let (world, _) = world().await;
    let peer = world.peer(Side::Public, None);
    let cases = [
        ("Basic ZGVtbzp4", "Basic"),
        ("Bearer x", "Bearer"),
        ("Evil\" x", "Bearer"),
        ("Basic !", "Basic"),
        ("DPoP x", "DPoP"),
    ];
    for (authorization, scheme) in cases {
        let reply = peer
            .post_with("/token", &credentials("demo"), &[("authorization", authorization)])
            .await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{authorization}");
        let challenge = format!("{scheme} realm=\"https://as.example\"");
        assert_eq!(reply.header("www-authenticate"), Some(challenge.as_str()));
    }
    let reply = peer.post("/token", &credentials("demo")).await;
    assert_eq!(
        (reply.status, reply.header("www-authenticate")),
        (StatusCode::BAD_REQUEST, None)
    );
}

// covers R6749-15
#[tokio::test]
async fn opaque_tokens_have_256_random_bits_and_rest_as_hashes() {
    let (world, leaf) = world().await;
    let opaque = [("resource", crate::world::OPAQUE_API)];
    let mut seen = std::collections::HashSet::new();
    for _ in 0..50 {
        let token = world.access_token(&leaf, "demo", &opaque).await;
        assert_eq!(keybound_protocol::base64url::decode(&token).unwrap().len(), 32);
        let database = std::fs::read(world.directory.path().join("keybound.db")).unwrap();
        let wal = std::fs::read(world.directory.path().join("keybound.db-wal")).unwrap_or_default();
        for file in [database, wal] {
            assert!(!file.windows(token.len()).any(|window| window == token.as_bytes()));
        }
        assert!(seen.insert(token));
    }
}

// covers R6749-4
#[tokio::test]
async fn what_is_no_endpoint_is_404_with_a_refusal_of_its_own() {
    let (world, leaf) = world().await;
    let peer = world.peer(Side::MutualTls, Some(&leaf));
    for path in ["/", "/token/", "/TOKEN", "/console", "/register", "/authorize"] {
        let reply = peer.post(path, &credentials("demo")).await;
        world
            .assert_refused(&reply, 404, "invalid_request", "path of an endpoint")
            .await;
    }
    let reply = world.peer(Side::Public, None).get("/admin/v1/clients").await;
    world
        .assert_refused(&reply, 404, "invalid_request", "path of an endpoint")
        .await;
}

// covers TLS-7, TRAP-35
#[tokio::test]
async fn a_request_for_another_host_is_421_and_recorded() {
    let (world, leaf) = world().await;
    let peer = world.peer(Side::MutualTls, Some(&leaf));
    let reply = peer
        .post_with("/token", &credentials("demo"), &[("host", "other.example")])
        .await;
    let refusal = world
        .assert_refused(&reply, 421, "invalid_request", "host served on this connection")
        .await;
    assert!(refusal.reason.contains("other.example"), "{}", refusal.reason);
}
