//! The admin API: an anchor gets new revocation lists.

use http::{Method, StatusCode};
use serde_json::json;

use crate::admin::{Administration, assert_problem};
use crate::pki::{Authority, dns, pem};
use crate::world::{Side, credentials};

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
    assert_eq!(
        shown.json()["definition"]["revocation_lists"],
        everybody["revocation_lists"]
    );
    // Whoever read it before does not take the list back.
    assert_problem(
        &it.call(Method::PUT, path, &[("if-match", &entity_tag)], Some(nobody))
            .await,
        StatusCode::PRECONDITION_FAILED,
    );
    let audit = it.get("/audit?limit=1&action=trust_anchor.").await.json();
    assert_eq!(audit["records"][0]["action"], "trust_anchor.replaced");
}
