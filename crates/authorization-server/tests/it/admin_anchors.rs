//! The admin API: an anchor gets new revocation lists, and what is shown can be sent back.

use http::{Method, StatusCode};
use serde_json::json;

use crate::admin::{Administration, assert_problem};
use crate::pki::{Authority, dns, pem, self_signed};
use crate::rfc8705_2::private_key_jwt_client;
use crate::world::{API, Side, credentials, self_signed_client, tls_client, with};

// covers MTLS-7.4-1, T13
#[tokio::test]
async fn a_new_revocation_list_counts_from_the_next_request_on_and_at_the_version_that_was_read() {
    let it = Administration::new().await;
    let partner = Authority::root("partner");
    let leaf = partner.issue(dns("demo.example"));
    let list = |serials: &[u64]| pem("X509 CRL", &partner.revocation_list(serials, (2020, 2035)));
    let definition =
        |lists: String| json!({"name": "partner", "certificates": partner.pem(), "revocation_lists": lists});
    let (nobody, everybody) = (definition(list(&[])), definition(list(&[leaf.serial])));
    let path = "/anchors/partner";

    assert_problem(
        &it.call(Method::PUT, path, &[], Some(nobody.clone())).await,
        StatusCode::NOT_FOUND,
    );
    let made = it.call(Method::POST, "/anchors", &[], Some(nobody.clone())).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let entity_tag = made.header("etag").unwrap().to_owned();
    let peer = it.world.peer(Side::MutualTls, Some(&leaf));
    assert_eq!(peer.post("/token", &credentials("demo")).await.status, StatusCode::OK);

    for (path, tag, body, status) in [
        (path, "\"0\"", everybody.clone(), StatusCode::PRECONDITION_FAILED),
        (path, "*", json!({"name": "partner"}), StatusCode::BAD_REQUEST),
        (path, "*", definition("garbage".into()), StatusCode::BAD_REQUEST),
        ("/anchors/other", "*", everybody.clone(), StatusCode::BAD_REQUEST),
        (
            "/anchors/corp",
            "*",
            json!({"name": "corp", "certificates": partner.pem()}),
            StatusCode::CONFLICT,
        ),
    ] {
        assert_problem(
            &it.call(Method::PUT, path, &[("if-match", tag)], Some(body)).await,
            status,
        );
    }
    assert_eq!(peer.post("/token", &credentials("demo")).await.status, StatusCode::OK);

    let replaced = it
        .call(Method::PUT, path, &[("if-match", &entity_tag)], Some(everybody.clone()))
        .await;
    assert_eq!(replaced.status, StatusCode::OK, "{replaced:?}");
    let reply = peer.post("/token", &credentials("demo")).await;
    it.world
        .assert_refused(&reply, 400, "invalid_client", "not revoked")
        .await;
    let shown = it.get(path).await;
    assert_eq!(shown.header("etag"), replaced.header("etag"));
    assert_eq!(shown.json()["revocation_lists"], everybody["revocation_lists"]);
    // Whoever read it before does not take the list back.
    assert_problem(
        &it.call(Method::PUT, path, &[("if-match", &entity_tag)], Some(nobody))
            .await,
        StatusCode::PRECONDITION_FAILED,
    );
    let audit = it.get("/audit?limit=1&action=trust_anchor.").await.json();
    assert_eq!(audit["records"][0]["action"], "trust_anchor.replaced");
}

// covers T13
#[tokio::test]
async fn an_anchor_is_shown_as_it_can_be_sent_back() {
    let it = Administration::new().await;
    let partner = Authority::root("partner");
    let leaf = partner.issue(dns("demo.example"));
    let list = pem("X509 CRL", &partner.revocation_list(&[leaf.serial], (2020, 2035)));
    let definition = json!({
        "name": "partner",
        "certificates": partner.pem(),
        "revocation_lists": list,
        "crl_missing": "accept",
        "require_client_auth_eku": true,
        "strict": true,
    });
    let path = "/anchors/partner";
    let made = it.call(Method::POST, "/anchors", &[], Some(definition.clone())).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let shown = it.get(path).await;
    assert_eq!((shown.json(), shown.header("etag")), (made.json(), made.header("etag")));
    for (name, value) in definition.as_object().unwrap() {
        assert_eq!(&shown.json()[name], value);
    }
    assert_eq!(shown.json()["keybound_origin"], "administrator");
    assert_eq!(shown.json()["anchors"].as_array().unwrap().len(), 1);

    let entity_tag = shown.header("etag").unwrap().to_owned();
    let sent_back = it
        .call(Method::PUT, path, &[("if-match", &entity_tag)], Some(shown.json()))
        .await;
    assert_eq!(
        (sent_back.status, sent_back.json()),
        (StatusCode::OK, shown.json()),
        "{sent_back:?}"
    );
    // What is read-only changes nothing; what is neither that nor a member is refused, and so is one that is there twice.
    let changed = with(
        shown.json(),
        json!({"anchors": [], "keybound_origin": "configuration_file", "require_client_auth_eku": false, "strict": false}),
    );
    let reply = it.call(Method::PUT, path, &[], Some(changed)).await;
    assert_eq!(
        reply.json(),
        with(shown.json(), json!({"require_client_auth_eku": false, "strict": false}))
    );
    let unknown = with(shown.json(), json!({"definition": definition}));
    assert_problem(
        &it.call(Method::PUT, path, &[], Some(unknown)).await,
        StatusCode::BAD_REQUEST,
    );
    let twice = shown.json().to_string().replacen('{', r#"{"name":"partner","#, 1);
    let authorization = format!("Bearer {}", it.token);
    let reply = it
        .peer()
        .send(
            Method::PUT,
            "/admin/v1/anchors/partner",
            &[("authorization", &authorization)],
            Some(("application/json", twice)),
        )
        .await;
    assert_problem(&reply, StatusCode::BAD_REQUEST);

    // What a file defines is shown under the same names and cannot be changed.
    let configured = it.get("/anchors/corp").await;
    assert_eq!(
        (&configured.json()["name"], &configured.json()["keybound_origin"]),
        (&json!("corp"), &json!("configuration_file"))
    );
    assert_problem(
        &it.call(Method::PUT, "/anchors/corp", &[], Some(configured.json()))
            .await,
        StatusCode::CONFLICT,
    );
}

// covers R7592-2
#[tokio::test]
async fn a_client_is_shown_as_it_can_be_sent_back() {
    let it = Administration::new().await;
    let key = self_signed(dns("key"));
    for (client_id, metadata) in [
        (
            "tls",
            with(
                tls_client("a.example"),
                json!({
                    "keybound_trust_anchors": ["corp"], "keybound_introspects": [API], "client_name": "A",
                    "keybound_access_token_format": "opaque", "keybound_profile": "default",
                }),
            ),
        ),
        (
            "self-signed",
            with(
                self_signed_client(&[&key]),
                json!({"keybound_expired_self_signed": "accept"}),
            ),
        ),
        (
            "jwt",
            with(
                private_key_jwt_client(&key),
                json!({"token_endpoint_auth_signing_alg": "ES256"}),
            ),
        ),
        (
            "public",
            json!({"token_endpoint_auth_method": "none", "grant_types": []}),
        ),
    ] {
        let path = format!("/clients/{client_id}");
        let sent = with(metadata, json!({"client_id": client_id}));
        let made = it.call(Method::POST, "/clients", &[], Some(sent)).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        let shown = it.get(&path).await;
        assert_eq!(shown.json(), made.json());
        let entity_tag = shown.header("etag").unwrap().to_owned();
        let sent_back = it
            .call(Method::PUT, &path, &[("if-match", &entity_tag)], Some(shown.json()))
            .await;
        assert_eq!(
            (sent_back.status, sent_back.json()),
            (StatusCode::OK, shown.json()),
            "{sent_back:?}"
        );
        assert_eq!(it.get(&path).await.json(), shown.json());
    }
}
