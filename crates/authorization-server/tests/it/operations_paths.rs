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
