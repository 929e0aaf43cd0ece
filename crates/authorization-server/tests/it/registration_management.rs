//! RFC 7592: clients that manage their registration.

use http::{Method, StatusCode};
use keybound_authorization_server::RegistrationSettings;
use keybound_protocol::client::ClientId;
use keybound_store::Actor;
use serde_json::json;

use crate::pki::{Authority, dns};
use crate::registration::{
    INITIAL, OTHER_INITIAL, manage, own_members, own_path, plan, policy, register, registered, registration, send,
    token,
};
use crate::world::{NOW, OPAQUE_API, Side, tls_client, with};

// covers R7592-2, MTLS-2.1.2-1, TRAP-17
#[tokio::test]
async fn put_replaces_the_whole_set_and_one_subject_parameter_is_left() {
    let authority = Authority::root("corp");
    let world = plan(registration(policy())).trusts("corp", &authority).start().await;
    let first = json!({
        "token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_subject_dn": "CN=robot,O=Example,C=GB",
        "scope": "read write", "client_name": "Robot", "contacts": ["a@example.org"],
        "tls_client_certificate_bound_access_tokens": true,
    });
    let answer = registered(&world, &first).await;
    let client_id = answer["client_id"].as_str().unwrap();
    let second = json!({
        "client_id": client_id, "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_san_dns": "robot.example", "scope": null,
    });
    let refused = [
        (
            "both subjects",
            with(second.clone(), json!({"tls_client_auth_subject_dn": "CN=robot"})),
            "client metadata permitted",
        ),
        (
            "another client_id",
            with(second.clone(), json!({"client_id": "other"})),
            "members that are the client's to set",
        ),
        (
            "no client_id",
            with(second.clone(), json!({"client_id": null})),
            "members that are the client's to set",
        ),
        (
            "token",
            with(second.clone(), json!({"registration_access_token": "x"})),
            "members that are the client's to set",
        ),
        (
            "uri",
            with(second.clone(), json!({"registration_client_uri": "x"})),
            "members that are the client's to set",
        ),
        (
            "issued at",
            with(second.clone(), json!({"client_id_issued_at": 1})),
            "members that are the client's to set",
        ),
        (
            "expires at",
            with(second.clone(), json!({"client_secret_expires_at": 0})),
            "members that are the client's to set",
        ),
        (
            "secret",
            with(second.clone(), json!({"client_secret": "x"})),
            "members that are the client's to set",
        ),
        (
            "reserved scope",
            with(second.clone(), json!({"scope": "keybound:admin"})),
            "client metadata permitted",
        ),
    ];
    for (name, metadata, rule) in &refused {
        let reply = manage(&world, &answer, Method::PUT, Some(metadata)).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{name}");
        world.assert_refused(&reply, 400, "invalid_client_metadata", rule).await;
    }
    assert_eq!(
        manage(&world, &answer, Method::GET, None).await.json(),
        answer,
        "nothing changed so far"
    );
    let reply = manage(&world, &answer, Method::PUT, Some(&second)).await;
    assert_eq!(
        (reply.status, reply.header("cache-control")),
        (StatusCode::OK, Some("no-store"))
    );
    let expected = json!({
        "client_id": client_id,
        "client_id_issued_at": NOW,
        "registration_access_token": answer["registration_access_token"],
        "registration_client_uri": answer["registration_client_uri"],
        "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_san_dns": "robot.example",
        "tls_client_certificate_bound_access_tokens": false,
        "grant_types": ["client_credentials"],
        "response_types": [],
    });
    assert_eq!(reply.json(), expected, "what was left out is gone");
    assert_eq!(manage(&world, &answer, Method::GET, None).await.json(), expected);
    let id = ClientId::parse(client_id).unwrap();
    let stored = world.store.clients.find_client(&id).unwrap().unwrap().metadata;
    assert!(!stored.contains("subject_dn") && stored.contains("san_dns"), "{stored}");
    // And it counts from the next request on.
    let by_dn = crate::pki::Wish {
        common_name: "robot",
        ..crate::pki::Wish::default()
    };
    let reply = world.token(Some(&authority.issue(by_dn)), client_id).await;
    world
        .assert_refused(&reply, 400, "invalid_client", "tls_client_auth_san_dns")
        .await;
    assert_eq!(
        world
            .token(Some(&authority.issue(dns("robot.example"))), client_id)
            .await
            .status,
        StatusCode::OK
    );
}

// covers R7592-1, R7592-3, T39
#[tokio::test]
async fn the_configuration_endpoint_is_its_own_clients_alone() {
    let authority = Authority::root("corp");
    let world = plan(registration(policy()))
        .trusts("corp", &authority)
        .client("from-a-file", tls_client("file.example"))
        .start()
        .await;
    let (one, other) = (
        registered(&world, &tls_client("one.example")).await,
        registered(&world, &tls_client("other.example")).await,
    );
    let made = keybound_store::NewClient {
        client_id: ClientId::parse("made").unwrap(),
        metadata: tls_client("made.example").to_string(),
        origin: keybound_protocol::client::ClientOrigin::Administrator,
        secret: None,
    };
    let entry =
        keybound_store::AuditEntry::new(keybound_protocol::time::Timestamp::from_unix_secs(NOW), Actor::Operator);
    world.store.clients.create_client(made, entry).await.unwrap();
    let peer = world.peer(Side::Public, None);
    let own = one["registration_access_token"].as_str().unwrap();
    let access = world
        .access_token(
            &authority.issue(dns("one.example")),
            one["client_id"].as_str().unwrap(),
            &[],
        )
        .await;
    let long = format!("/register/{}", "x".repeat(257));
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        for (path, token) in [
            (own_path(&one), None),
            (own_path(&one), Some("wrong")),
            (own_path(&one), Some(INITIAL)),
            (own_path(&one), Some(access.as_str())),
            (own_path(&one), other["registration_access_token"].as_str()),
            (own_path(&other), Some(own)),
            ("/register/nobody".to_owned(), Some(own)),
            ("/register/made".to_owned(), Some(own)),
            ("/register/from-a-file".to_owned(), Some(own)),
            ("/register/%00".to_owned(), Some(own)),
            (long.clone(), Some(own)),
        ] {
            let reply = send(&peer, method.clone(), &path, token, Some(&own_members(&one))).await;
            world
                .assert_refused(&reply, 401, "invalid_token", "token of this endpoint")
                .await;
            assert!(
                reply.header("www-authenticate").unwrap().starts_with("Bearer realm="),
                "{method} {path}"
            );
        }
    }
    for (method, path, allow) in [
        (Method::POST, own_path(&one), "GET, PUT, DELETE, OPTIONS"),
        (Method::PATCH, own_path(&one), "GET, PUT, DELETE, OPTIONS"),
        (Method::GET, "/register".to_owned(), "POST, OPTIONS"),
        (Method::DELETE, "/register".to_owned(), "POST, OPTIONS"),
    ] {
        let reply = send(&peer, method, &path, Some(own), None).await;
        assert_eq!(
            (reply.status, reply.header("allow")),
            (StatusCode::METHOD_NOT_ALLOWED, Some(allow))
        );
    }
    for path in ["/register/", "/register/a/b", "/registers", "/register//"] {
        assert_eq!(
            send(&peer, Method::GET, path, Some(own), None).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    assert_eq!(manage(&world, &one, Method::GET, None).await.json(), one);
    assert_eq!(manage(&world, &other, Method::GET, None).await.json(), other);
}

// covers R7592-3
#[tokio::test]
async fn a_client_whose_policy_is_gone_reads_and_deletes_and_changes_nothing() {
    let mut plan = plan(registration(policy())).trusts("corp", &Authority::root("corp"));
    plan.settings.clients.clear();
    let settings = plan.settings.clone();
    let world = plan.start().await;
    let answer = registered(&world, &tls_client("one.example")).await;
    let others = RegistrationSettings {
        initial_access_tokens: vec![token("others", OTHER_INITIAL, policy())],
        ..registration(policy())
    };
    let mut changed = settings;
    changed.registration = Some(others);
    world.server.reload(changed.clone()).await.unwrap();
    assert_eq!(
        register(&world, &tls_client("x.example")).await.status,
        StatusCode::UNAUTHORIZED
    );
    let reply = manage(&world, &answer, Method::PUT, Some(&own_members(&answer))).await;
    world
        .assert_refused(&reply, 403, "access_denied", "initial access token configured")
        .await;
    assert_eq!(manage(&world, &answer, Method::GET, None).await.status, StatusCode::OK);
    // Switched off altogether there is nothing.
    changed.registration = None;
    world.server.reload(changed.clone()).await.unwrap();
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::POST, Method::OPTIONS] {
        let reply = manage(&world, &answer, method.clone(), None).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{method}");
    }
    changed.registration = Some(registration(policy()));
    world.server.reload(changed).await.unwrap();
    assert_eq!(
        manage(&world, &answer, Method::DELETE, None).await.status,
        StatusCode::NO_CONTENT
    );
}

// covers R7592-3, R7592-4
#[tokio::test]
async fn deleting_a_registration_ends_the_client_its_tokens_and_the_token_that_did_it() {
    let authority = Authority::root("corp");
    let world = plan(registration(policy()))
        .trusts("corp", &authority)
        .introspecting()
        .start()
        .await;
    let answer = registered(&world, &tls_client("one.example")).await;
    let client_id = answer["client_id"].as_str().unwrap();
    let leaf = authority.issue(dns("one.example"));
    let jwt = world.access_token(&leaf, client_id, &[]).await;
    let opaque = world.access_token(&leaf, client_id, &[("resource", OPAQUE_API)]).await;
    let rs = authority.issue(dns("rs.example"));
    let active = async |token: &str| {
        let reply = world
            .post(Some(&rs), "/introspect", &[("client_id", "rs"), ("token", token)])
            .await;
        reply.json()["active"].as_bool().unwrap()
    };
    assert!(active(&jwt).await && active(&opaque).await);
    let reply = manage(&world, &answer, Method::DELETE, None).await;
    assert_eq!(
        (reply.status, reply.body.len()),
        (StatusCode::NO_CONTENT, 0),
        "{reply:?}"
    );
    assert_eq!(
        (reply.header("cache-control"), reply.header("content-type")),
        (Some("no-store"), None)
    );
    assert!(!active(&jwt).await && !active(&opaque).await);
    let reply = world.token(Some(&leaf), client_id).await;
    world
        .assert_refused(&reply, 400, "invalid_client", "client registered")
        .await;
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let reply = manage(&world, &answer, method, Some(&own_members(&answer))).await;
        world
            .assert_refused(&reply, 401, "invalid_token", "token of this endpoint")
            .await;
    }
}
