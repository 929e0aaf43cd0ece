//! The admin API: where it is.

use http::{Method, StatusCode};
use keybound_protocol::issuer::Issuer;
use serde_json::json;

use crate::pki::{Authority, dns, self_signed};
use crate::world::{Plan, Side, credentials, self_signed_client, tls_client, with};

// covers T39
#[tokio::test]
async fn an_issuer_with_a_path_has_its_admin_api_at_the_root_of_the_mutual_tls_origin() {
    let admin = self_signed(dns("admin"));
    let mut plan = Plan::new();
    plan.settings.issuer = Issuer::parse("https://as.example/tenant").unwrap();
    let metadata = with(self_signed_client(&[&admin]), json!({"scope": "keybound:admin"}));
    let world = plan.client("admin", metadata).start().await;
    let peer = world.peer(Side::MutualTls, Some(&admin));
    let form = [&credentials("admin")[..], &[("scope", "keybound:admin")]].concat();
    let token = peer.post("/tenant/token", &form).await.json();
    let authorization = format!("Bearer {}", token["access_token"].as_str().unwrap());
    let call = async |method, path: &str, body: Option<serde_json::Value>| {
        let body = body.map(|body| ("application/json", body.to_string()));
        let headers = [("authorization", authorization.as_str())];
        peer.send(method, path, &headers, body).await
    };
    let reply = call(Method::GET, "/tenant/admin/v1/clients", None).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    assert_eq!(
        call(Method::GET, "/admin/v1/clients", None).await.status,
        StatusCode::OK
    );
    // What is made is where its location says.
    let anchor = json!({"name": "partner", "certificates": Authority::root("partner").pem()});
    let client = with(tls_client("new.example"), json!({"client_id": "new"}));
    for (path, body) in [("/admin/v1/anchors", anchor), ("/admin/v1/clients", client)] {
        let made = call(Method::POST, path, Some(body)).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        let location = made.header("location").unwrap();
        assert_eq!(
            call(Method::GET, location, None).await.status,
            StatusCode::OK,
            "{location}"
        );
    }
}
