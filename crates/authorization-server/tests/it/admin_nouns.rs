//! The admin API: what an administrator does there.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::admin::{Administration, assert_problem};
use crate::pki::{Authority, dns, self_signed};
use crate::world::{API, Side, credentials, tls_client, with};

// covers MTLS-2.1.2-1, TRAP-16, TRAP-17, R7591-1, R7591-2, R7592-2, R7592-4
#[tokio::test]
async fn a_client_lives_from_creation_to_deletion_and_every_step_counts_at_once() {
    let it = Administration::new().await;
    let metadata = with(
        tls_client("new.example"),
        json!({"client_id": "new", "client_name": "New", "unknown": 1}),
    );
    let reply = it.call(Method::POST, "/clients", &[], Some(metadata.clone())).await;
    assert_eq!(
        (reply.status, reply.header("location")),
        (StatusCode::CREATED, Some("/admin/v1/clients/new"))
    );
    let entity_tag = reply.header("etag").unwrap().to_owned();
    let mut expected = metadata.clone();
    expected.as_object_mut().unwrap().remove("unknown");
    expected = with(
        expected,
        json!({"response_types": [], "keybound_origin": "administrator"}),
    );
    assert_eq!(reply.json(), expected);
    assert_eq!(it.get("/clients/new").await.json(), expected);
    let leaf = it.authority.issue(dns("new.example"));
    let token = it.world.access_token(&leaf, "new", &[]).await;
    assert_problem(
        &it.call(Method::POST, "/clients", &[], Some(metadata.clone())).await,
        StatusCode::CONFLICT,
    );

    // Replaced as a whole: what is left out is gone, and one rule never joins another.
    let mut changed = with(tls_client("x"), json!({"tls_client_auth_san_uri": "spiffe://corp/new"}));
    changed.as_object_mut().unwrap().remove("tls_client_auth_san_dns");
    for stale in ["\"999\"", "W/\"9\"", "nonsense"] {
        let reply = it
            .call(
                Method::PUT,
                "/clients/new",
                &[("if-match", stale)],
                Some(changed.clone()),
            )
            .await;
        assert_problem(&reply, StatusCode::PRECONDITION_FAILED);
    }
    let reply = it
        .call(Method::PUT, "/clients/new", &[("if-match", &entity_tag)], Some(changed))
        .await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    assert_eq!(
        (&reply.json()["client_name"], &reply.json()["tls_client_auth_san_dns"]),
        (&Value::Null, &Value::Null)
    );
    assert_ne!(reply.header("etag").unwrap(), entity_tag);
    let refused = it.world.token(Some(&leaf), "new").await;
    it.world
        .assert_refused(&refused, 400, "invalid_client", "tls_client_auth_san_uri")
        .await;

    let reply = it
        .call(Method::DELETE, "/clients/new", &[("if-match", &entity_tag)], None)
        .await;
    assert_problem(&reply, StatusCode::PRECONDITION_FAILED);
    assert_eq!(
        it.call(Method::DELETE, "/clients/new", &[], None).await.status,
        StatusCode::NO_CONTENT
    );
    for method in [Method::GET, Method::DELETE] {
        assert_problem(&it.call(method, "/clients/new", &[], None).await, StatusCode::NOT_FOUND);
    }
    let refused = it.world.token(Some(&leaf), "new").await;
    it.world
        .assert_refused(&refused, 400, "invalid_client", "client registered")
        .await;
    // Its tokens went with it.
    let reply = it
        .call(
            Method::POST,
            "/clients",
            &[],
            Some(with(
                tls_client("rs.example"),
                json!({"client_id": "rs", "keybound_introspects": [API]}),
            )),
        )
        .await;
    assert_eq!(reply.status, StatusCode::CREATED);
    let rs = it.authority.issue(dns("rs.example"));
    let reply = it
        .world
        .post(Some(&rs), "/introspect", &[("client_id", "rs"), ("token", &token)])
        .await;
    assert_eq!(reply.json(), json!({"active": false}));
}

// covers R7591-5, MTLS-2.1.2-1, MTLS-9.5-1, MTLS-2.2-1
#[tokio::test]
async fn metadata_that_makes_no_client_is_refused_with_its_reason() {
    let it = Administration::new().await;
    let base = tls_client("a.example");
    let without = |member: &str| {
        let mut metadata = base.clone();
        metadata.as_object_mut().unwrap().remove(member);
        metadata
    };
    let bad = [
        without("tls_client_auth_san_dns"),
        with(base.clone(), json!({"tls_client_auth_subject_dn": "CN=a"})),
        with(base.clone(), json!({"tls_client_auth_san_dns": ""})),
        with(base.clone(), json!({"tls_client_auth_san_dns": ["a.example"]})),
        with(
            base.clone(),
            json!({"tls_client_certificate_bound_access_tokens": "true"}),
        ),
        with(base.clone(), json!({"keybound_trust_anchors": ["nobody"]})),
        with(base.clone(), json!({"keybound_trust_anchors": []})),
        with(base.clone(), json!({"grant_types": ["password"]})),
        with(
            base.clone(),
            json!({"token_endpoint_auth_method": "client_secret_basic"}),
        ),
        without("token_endpoint_auth_method"),
        json!({"token_endpoint_auth_method": "self_signed_tls_client_auth"}),
        json!({"token_endpoint_auth_method": "self_signed_tls_client_auth", "jwks_uri": "http://a.example/keys"}),
    ];
    for metadata in bad {
        let reply = it.call(Method::POST, "/clients", &[], Some(metadata.clone())).await;
        assert_problem(&reply, StatusCode::BAD_REQUEST);
        assert_eq!(reply.json()["error"], "invalid_client_metadata", "{metadata}");
        assert!(!reply.json()["detail"].as_str().unwrap().is_empty());
    }
    for body in ["", "[]", "{", "{\"client_id\":\"a\",\"client_id\":\"b\"}", "null"] {
        let authorization = format!("Bearer {}", it.token);
        let body = Some(("application/json", body.to_owned()));
        let reply = it
            .peer()
            .send(
                Method::POST,
                "/admin/v1/clients",
                &[("authorization", &authorization)],
                body,
            )
            .await;
        assert_problem(&reply, StatusCode::BAD_REQUEST);
    }
    let authorization = format!("Bearer {}", it.token);
    let reply = it
        .peer()
        .send(
            Method::POST,
            "/admin/v1/clients",
            &[("authorization", &authorization)],
            Some(("text/plain", base.to_string())),
        )
        .await;
    assert_problem(&reply, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn a_client_may_claim_a_stricter_profile_and_nothing_that_the_profile_forbids() {
    let it = Administration::new().await;
    for profile in ["fapi2", "fapi2-message-signing"] {
        let metadata = with(
            tls_client(&format!("{profile}.example")),
            json!({"client_id": profile, "keybound_profile": profile}),
        );
        let unbound = json!({"tls_client_certificate_bound_access_tokens": false});
        let reply = it
            .call(Method::POST, "/clients", &[], Some(with(metadata.clone(), unbound)))
            .await;
        assert_problem(&reply, StatusCode::BAD_REQUEST);
        assert_eq!(reply.json()["error"], "invalid_client_metadata");
        assert_problem(&it.get(&format!("/clients/{profile}")).await, StatusCode::NOT_FOUND);
        let reply = it.call(Method::POST, "/clients", &[], Some(metadata)).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        let shown = it.get(&format!("/clients/{profile}")).await.json();
        assert_eq!(shown["keybound_profile"], profile);
    }
    let nonsense = with(
        tls_client("plain.example"),
        json!({"client_id": "plain", "keybound_profile": "fapi3"}),
    );
    let reply = it.call(Method::POST, "/clients", &[], Some(nonsense)).await;
    assert_problem(&reply, StatusCode::BAD_REQUEST);
}

// covers MTLS-1-3
#[tokio::test]
async fn clients_of_files_are_shown_and_cannot_be_changed() {
    let it = Administration::new().await;
    assert_eq!(
        it.get("/clients/demo").await.json()["keybound_origin"],
        "configuration_file"
    );
    let metadata = Some(tls_client("evil.example"));
    let with_id = Some(with(tls_client("evil.example"), json!({"client_id": "demo"})));
    for reply in [
        it.call(Method::PUT, "/clients/demo", &[], metadata).await,
        it.call(Method::DELETE, "/clients/demo", &[], None).await,
        it.call(Method::POST, "/clients", &[], with_id).await,
    ] {
        assert_problem(&reply, StatusCode::CONFLICT);
    }
    assert_eq!(it.world.token(Some(&it.demo), "demo").await.status, StatusCode::OK);
}

// covers T39
#[tokio::test]
async fn lists_come_in_pages_without_gaps_or_repetitions() {
    let it = Administration::new().await;
    let mut expected: Vec<String> = ["admin", "demo", "opaque-admin", "unbound-admin"]
        .map(str::to_owned)
        .to_vec();
    for n in 0..12 {
        let client_id = format!("{}{n:02}", ["a", "m", "z"][n % 3]);
        let metadata = with(tls_client("x.example"), json!({"client_id": client_id}));
        assert_eq!(
            it.call(Method::POST, "/clients", &[], Some(metadata)).await.status,
            StatusCode::CREATED
        );
        expected.push(client_id);
    }
    expected.sort();
    for limit in [1, 2, 3, 5, 16, 17, 100] {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = it.get(&format!("/clients?limit={limit}{after}")).await.json();
            let clients = page["clients"].as_array().unwrap();
            assert!(clients.len() <= limit);
            seen.extend(
                clients
                    .iter()
                    .map(|client| client["client_id"].as_str().unwrap().to_owned()),
            );
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        assert_eq!(seen, expected, "{limit}");
    }
}

// covers MTLS-7.4-1, T13
#[tokio::test]
async fn an_anchor_added_or_removed_counts_from_the_next_request_on_also_on_open_connections() {
    let it = Administration::new().await;
    let partner = Authority::root("partner");
    let leaf = partner.issue(dns("demo.example"));
    let peer = it.world.peer(Side::MutualTls, Some(&leaf));
    assert_eq!(
        peer.post("/token", &credentials("demo")).await.status,
        StatusCode::BAD_REQUEST
    );
    let definition = json!({"name": "partner", "certificates": partner.pem()});
    let reply = it.call(Method::POST, "/anchors", &[], Some(definition.clone())).await;
    assert_eq!(
        (reply.status, reply.header("location")),
        (StatusCode::CREATED, Some("/admin/v1/anchors/partner")),
        "{reply:?}"
    );
    assert_eq!(peer.post("/token", &credentials("demo")).await.status, StatusCode::OK);
    assert_problem(
        &it.call(Method::POST, "/anchors", &[], Some(definition)).await,
        StatusCode::CONFLICT,
    );
    let shown = it.get("/anchors/partner").await;
    assert_eq!(
        (
            &shown.json()["anchors"][0]["subject"],
            &shown.json()["anchors"][0]["keybound_origin"]
        ),
        (&json!("CN=partner,O=Example,C=GB"), &json!("administrator"))
    );
    let names: Vec<Value> = it.get("/anchors").await.json()["anchors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|anchor| anchor["name"].clone())
        .collect();
    assert_eq!(names, ["corp", "partner"]);
    // A client can be limited to it.
    let limited = with(
        tls_client("demo.example"),
        json!({"client_id": "limited", "keybound_trust_anchors": ["partner"]}),
    );
    assert_eq!(
        it.call(Method::POST, "/clients", &[], Some(limited)).await.status,
        StatusCode::CREATED
    );
    assert_eq!(
        peer.post("/token", &credentials("limited")).await.status,
        StatusCode::OK
    );
    assert_eq!(
        it.world.token(Some(&it.demo), "limited").await.status,
        StatusCode::BAD_REQUEST
    );
    // And by the anchor's key, which is what it is whatever it is called.
    let limited = with(
        tls_client("demo.example"),
        json!({"client_id": "limited-by-key", "keybound_trust_anchors": [&shown.json()["anchors"][0]["key"]]}),
    );
    assert_eq!(
        it.call(Method::POST, "/clients", &[], Some(limited)).await.status,
        StatusCode::CREATED
    );
    assert_eq!(
        peer.post("/token", &credentials("limited-by-key")).await.status,
        StatusCode::OK
    );

    let entity_tag = shown.header("etag").unwrap().to_owned();
    assert_problem(
        &it.call(Method::DELETE, "/anchors/partner", &[("if-match", "\"0\"")], None)
            .await,
        StatusCode::PRECONDITION_FAILED,
    );
    let reply = it
        .call(Method::DELETE, "/anchors/partner", &[("if-match", &entity_tag)], None)
        .await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    for client_id in ["demo", "limited", "limited-by-key"] {
        let reply = peer.post("/token", &credentials(client_id)).await;
        it.world
            .assert_refused(&reply, 400, "invalid_client", "path to a trust anchor of this client")
            .await;
    }
    assert_problem(&it.get("/anchors/partner").await, StatusCode::NOT_FOUND);
    for (path, body) in [
        ("/anchors", json!({"name": "corp", "certificates": partner.pem()})),
        ("/anchors", json!({"name": "x"})),
    ] {
        let status = if body["name"] == "corp" {
            StatusCode::CONFLICT
        } else {
            StatusCode::BAD_REQUEST
        };
        assert_problem(&it.call(Method::POST, path, &[], Some(body)).await, status);
    }
    assert_problem(
        &it.call(Method::DELETE, "/anchors/corp", &[], None).await,
        StatusCode::CONFLICT,
    );
    for certificates in ["", "garbage", &crate::pki::pem("CERTIFICATE", &leaf.der)] {
        let body = json!({"name": "bad", "certificates": certificates});
        assert_problem(
            &it.call(Method::POST, "/anchors", &[], Some(body)).await,
            StatusCode::BAD_REQUEST,
        );
    }
}

// covers T40
#[tokio::test]
async fn every_change_is_in_the_audit_log_with_who_made_it() {
    let it = Administration::new().await;
    let metadata = with(tls_client("new.example"), json!({"client_id": "new"}));
    it.call(Method::POST, "/clients", &[], Some(metadata)).await;
    it.call(Method::DELETE, "/clients/new", &[], None).await;
    let page = it.get("/audit?limit=10&action=client.").await.json();
    let records = page["records"].as_array().unwrap();
    let actions: Vec<&str> = records
        .iter()
        .map(|record| record["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["client.deleted", "client.created"]);
    for record in records {
        assert_eq!(
            (&record["actor"]["administrator"], &record["subject"]),
            (&json!("admin"), &json!("new"))
        );
        assert_eq!(record["x5t#S256"], it.admin.thumbprint());
        assert_eq!(record["remote_address"], "127.0.0.1");
    }
    assert!(it.world.store.audit.verify_chain().await.unwrap().is_intact());
    let mut seen = 0;
    let mut before = String::new();
    loop {
        let page = it.get(&format!("/audit?limit=1{before}")).await.json();
        seen += page["records"].as_array().unwrap().len();
        match page["next"].as_u64() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    assert!(seen >= 3, "{seen}");
}

// covers UX-2
#[tokio::test]
async fn refusals_are_found_by_id_client_and_certificate() {
    let it = Administration::new().await;
    let stranger = self_signed(dns("stranger"));
    let reply = it.world.token(Some(&stranger), "demo").await;
    let id = reply.header("keybound-refusal").unwrap().to_owned();
    it.world.token(None, "nobody").await;
    let refusal = it.get(&format!("/refusals/{id}")).await.json();
    assert_eq!(
        (&refusal["id"], &refusal["client_id"], &refusal["endpoint"]),
        (&json!(id), &json!("demo"), &json!("/token"))
    );
    assert_eq!(refusal["certificate"]["x5t#S256"], stranger.thumbprint());
    assert_eq!(
        it.get(&format!("/refusals/{}", id.to_lowercase())).await.json(),
        refusal
    );
    for query in [
        "client_id=demo".to_owned(),
        format!("x5t%23S256={}", stranger.thumbprint()),
    ] {
        let found = it.get(&format!("/refusals?{query}")).await.json();
        let ids: Vec<&Value> = found["refusals"]
            .as_array()
            .unwrap()
            .iter()
            .map(|refusal| &refusal["id"])
            .collect();
        assert_eq!(ids, [&json!(id)], "{query}");
    }
    assert!(it.get("/refusals?limit=1").await.json()["next"].is_string());
    for path in ["/refusals/A-00000000000000", "/refusals/nonsense", "/refusals/A-"] {
        assert_problem(&it.get(path).await, StatusCode::NOT_FOUND);
    }
    for query in ["x5t%23S256=short", "before=x", "limit=x"] {
        assert_problem(&it.get(&format!("/refusals?{query}")).await, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn a_listing_refuses_a_cursor_that_is_none_and_a_parameter_that_it_does_not_know() {
    let it = Administration::new().await;
    for path in [
        "/audit?after=1",
        "/audit?after=garbage",
        "/audit?before=garbage",
        "/audit?before=-1",
        "/audit?before=",
        "/audit?before=1&before=2",
        "/audit?limit=-1",
        "/audit?sbject=demo",
        "/refusals?after=garbage",
        "/refusals?after=A-00000000000000",
        "/refusals?before=garbage",
        "/refusals?before=",
        "/refusals?clientid=demo",
        "/clients?before=demo",
        "/clients?after=%00",
        "/clients?after=a&after=b",
        "/clients?limit=many",
    ] {
        let reply = it.get(path).await;
        assert_problem(&reply, StatusCode::BAD_REQUEST);
        assert!(!reply.json()["detail"].as_str().unwrap().is_empty(), "{path}");
    }
    for path in [
        "/audit",
        "/audit?limit=1",
        "/refusals?limit=1",
        "/clients?after=demo&limit=1",
    ] {
        assert_eq!(it.get(path).await.status, StatusCode::OK, "{path}");
    }
}

// covers R8414-4
#[tokio::test]
async fn keys_are_listed_without_their_private_parts() {
    let it = Administration::new().await;
    let keys = it.get("/keys").await.json();
    let key = &keys["keys"][0];
    assert_eq!(
        (&key["alg"], &key["state"], &key["signs"]),
        (&json!("ES256"), &json!("active"), &json!(true))
    );
    let names: Vec<&String> = key.as_object().unwrap().keys().collect();
    assert_eq!(names, ["alg", "changed_at", "created_at", "kid", "signs", "state"]);
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
}

// covers R6749-4
#[tokio::test]
async fn other_paths_and_methods_are_problems_too() {
    let it = Administration::new().await;
    assert_problem(&it.get("/nowhere").await, StatusCode::NOT_FOUND);
    assert_problem(&it.get("").await, StatusCode::NOT_FOUND);
    let reply = it.call(Method::PATCH, "/clients/demo", &[], None).await;
    assert_problem(&reply, StatusCode::METHOD_NOT_ALLOWED);
    assert!(reply.header("allow").unwrap().contains("PUT"));
    // Refused by the listener, before anybody looked at the path.
    let huge = json!({"client_id": "huge", "pad": "x".repeat(70_000)});
    let reply = it.call(Method::POST, "/clients", &[], Some(huge)).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
}

// covers MTLS-2-4
#[tokio::test]
async fn a_certificate_is_judged_for_every_client_as_the_token_endpoint_would() {
    let it = Administration::new().await;
    let matching = async |certificates: &str| {
        let authorization = format!("Bearer {}", it.token);
        let body = Some(("application/x-pem-file", certificates.to_owned()));
        let headers = [("authorization", authorization.as_str())];
        it.peer()
            .send(Method::POST, "/admin/v1/certificates/match", &headers, body)
            .await
    };
    for leaf in [&it.demo, &it.admin, &self_signed(dns("demo.example"))] {
        let found = matching(&crate::pki::pem("CERTIFICATE", &leaf.der)).await.json();
        for client in found["clients"].as_array().unwrap() {
            let client_id = client["client_id"].as_str().unwrap();
            let reply = it.world.token(Some(leaf), client_id).await;
            assert_eq!(
                client["matches"].as_bool().unwrap(),
                reply.status == StatusCode::OK,
                "{client} {reply:?}"
            );
        }
        assert_eq!(found["clients"].as_array().unwrap().len(), 4);
    }
    for certificates in [
        "",
        "garbage",
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
    ] {
        assert_problem(&matching(certificates).await, StatusCode::BAD_REQUEST);
    }
}

// covers MTLS-2-4
#[tokio::test]
async fn to_judge_a_certificate_nothing_is_fetched() {
    let it = Administration::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("https://127.0.0.1:{}/keys", listener.local_addr().unwrap().port());
    let metadata = json!({
        "client_id": "published",
        "token_endpoint_auth_method": "self_signed_tls_client_auth",
        "jwks_uri": uri,
    });
    let reply = it.call(Method::POST, "/clients", &[], Some(metadata)).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    let authorization = format!("Bearer {}", it.token);
    let body = Some((
        "application/x-pem-file",
        crate::pki::pem("CERTIFICATE", &self_signed(dns("a.example")).der),
    ));
    let headers = [("authorization", authorization.as_str())];
    let found = it
        .peer()
        .send(Method::POST, "/admin/v1/certificates/match", &headers, body)
        .await
        .json();
    let clients = found["clients"].as_array().unwrap();
    let published = clients
        .iter()
        .find(|client| client["client_id"] == "published")
        .unwrap();
    assert_eq!(published["matches"], false);
    assert!(
        published["reason"].as_str().unwrap().contains("not been fetched"),
        "{published}"
    );
    let asked = tokio::time::timeout(std::time::Duration::from_millis(200), listener.accept()).await;
    assert!(asked.is_err(), "somebody fetched");
}
