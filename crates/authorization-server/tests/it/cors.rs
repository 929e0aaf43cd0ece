//! What scripts of other origins may read: what a client calls itself, and no page.

use http::{Method, StatusCode};

use crate::world::{Peer, Plan, Reply, Side};

const ORIGIN: (&str, &str) = ("origin", "https://spa.example");
const READABLE: [(&str, &str); 5] = [
    ("/.well-known/oauth-authorization-server", "GET"),
    ("/jwks", "GET"),
    ("/token", "POST"),
    ("/revoke", "POST"),
    ("/par", "POST"),
];
const CLOSED: [&str; 8] = [
    "/authorize",
    "/interaction/x/login",
    "/interaction/x/consent",
    "/sign-in",
    "/grants",
    "/device",
    "/introspect",
    "/bc-authorize",
];

async fn preflight(peer: &Peer, path: &str, method: &str) -> Reply {
    let headers = [
        ORIGIN,
        ("access-control-request-method", method),
        ("access-control-request-headers", "authorization,content-type,dpop"),
    ];
    peer.send(Method::OPTIONS, path, &headers, None).await
}

fn said(reply: &Reply) -> Vec<&str> {
    let names = reply.headers.keys().map(|name| name.as_str());
    names.filter(|name| name.starts_with("access-control")).collect()
}

// covers R9700-10
#[tokio::test]
async fn scripts_read_what_a_client_calls_itself_and_no_page() {
    let world = Plan::new().start().await;
    let public = world.peer(Side::Public, None);
    for path in CLOSED {
        for method in ["GET", "POST"] {
            assert_eq!(said(&preflight(&public, path, method).await), [""; 0], "{path}");
        }
        let reply = public.send(Method::GET, path, &[ORIGIN], None).await;
        assert_eq!(said(&reply), [""; 0], "{path}");
    }
    // A browser shows its user's certificate only with credentials, and those are never permitted.
    let mutual_tls = world.peer(Side::MutualTls, None);
    for (path, method) in READABLE {
        assert_eq!(said(&preflight(&mutual_tls, path, method).await), [""; 0], "{path}");
    }

    for (path, method) in READABLE {
        let reply = preflight(&public, path, method).await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT, "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"), "{path}");
        assert_eq!(reply.header("access-control-allow-credentials"), None, "{path}");
        let methods = reply.header("access-control-allow-methods").unwrap();
        assert!(
            methods.split(", ").any(|allowed| allowed == method),
            "{path}: {methods}"
        );
        let headers = reply.header("access-control-allow-headers").unwrap();
        for header in ["authorization", "content-type", "dpop"] {
            assert!(
                headers.split(", ").any(|allowed| allowed == header),
                "{path}: {headers}"
            );
        }
    }
    let form = [("grant_type", "refresh_token"), ("client_id", "nobody")];
    let reply = public.post_with("/token", &form, &[ORIGIN]).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"), "an error, too");
    let exposed = reply.header("access-control-expose-headers").unwrap();
    assert!(exposed.split(", ").any(|header| header == "dpop-nonce"), "{exposed}");
    assert_eq!(said(&public.post("/token", &form).await), [""; 0], "nobody asked");
    // What a cache keeps says it whoever asked first.
    let document = public.get("/jwks").await;
    assert_eq!(document.header("access-control-allow-origin"), Some("*"));
}
