//! The operations listener: what is there, and what is not.

use http::{Method, StatusCode};
use serde_json::json;

use crate::world::Plan;

/// The same as at a gateway, whose tests have the same answers.
#[tokio::test]
async fn what_is_not_there_is_404_whatever_the_method_and_what_is_there_names_its_methods() {
    let world = Plan::new().start().await;
    let operator = world.operator();
    let not_found = json!({"error": "invalid_request", "error_description": "there is no endpoint at this path"});
    for path in [
        "/",
        "/health",
        "/health/live/",
        "/metricsx",
        "/refusals/A-00000000000000",
        "/token",
    ] {
        for method in [Method::GET, Method::POST, Method::OPTIONS] {
            let reply = operator.send(method, path, &[], None).await;
            assert_eq!(
                (reply.status, reply.json()),
                (StatusCode::NOT_FOUND, not_found.clone()),
                "{path}"
            );
            assert_eq!(reply.header("allow"), None);
        }
    }
    let not_allowed =
        json!({"error": "invalid_request", "error_description": "this endpoint does not have this method"});
    for path in ["/health/live", "/health/ready", "/metrics"] {
        let reply = operator.send(Method::POST, path, &[], None).await;
        assert_eq!(
            (reply.status, reply.json()),
            (StatusCode::METHOD_NOT_ALLOWED, not_allowed.clone()),
            "{path}"
        );
        assert_eq!(reply.header("allow"), Some("GET, HEAD, OPTIONS"));
        let reply = operator.send(Method::OPTIONS, path, &[], None).await;
        assert_eq!(
            (reply.status, &*reply.body),
            (StatusCode::NO_CONTENT, &b""[..]),
            "{path}"
        );
        assert_eq!(reply.header("allow"), Some("GET, HEAD, OPTIONS"));
    }
}

/// The same as at a gateway, whose tests have the same cases.
#[tokio::test]
async fn a_web_page_of_another_name_reads_nothing_by_having_its_name_point_here() {
    let world = Plan::new().start().await;
    let operator = world.operator();
    let refusal = json!({
        "error": "invalid_request",
        "error_description": "ask by an address, localhost or a configured host name",
    });
    for host in [
        "evil.example",
        "evil.example:8445",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1.evil.example:8445",
        "notlocalhost",
        "as.example.evil.example",
        "as_example",
    ] {
        for path in ["/health/live", "/health/ready", "/metrics", "/nowhere"] {
            let reply = operator.send(Method::GET, path, &[("host", host)], None).await;
            assert_eq!(
                (reply.status, reply.json()),
                (StatusCode::MISDIRECTED_REQUEST, refusal.clone()),
                "{host}"
            );
        }
    }
    for host in [
        "127.0.0.1",
        "127.0.0.1:8445",
        "10.1.2.3:8445",
        "[::1]",
        "[::1]:8445",
        "localhost",
        "LOCALHOST:8445",
        "localhost.",
        // The issuer's, and that of the mutual-TLS origin.
        "as.example",
        "mtls.as.example:8445",
    ] {
        let reply = operator
            .send(Method::GET, "/health/live", &[("host", host)], None)
            .await;
        assert_eq!(reply.status, StatusCode::OK, "{host}");
    }
}
