//! Paths that a policy and an upstream could read differently.

use http::Method;
use keybound_gateway::RouteSettings;
use keybound_protocol::scope::Scope;

use crate::harness::upstream::Upstream;
use crate::harness::{World, only, policy, route};

/// `/` for everybody, `/admin` for a scope that no test token has.
fn routes(upstream: &Upstream) -> Vec<RouteSettings> {
    let admin = policy().with_scopes(Scope::parse("admin").unwrap());
    vec![
        route("/", upstream.address),
        RouteSettings {
            policy: admin,
            ..route("/admin", upstream.address)
        },
    ]
}

/// Ways to write `/admin/x` that some server somewhere takes for it, or for another path.
fn spellings() -> Vec<String> {
    let mut paths: Vec<String> = [
        "/%2fadmin/x",
        "/%2Fadmin/x",
        "/%5cadmin/x",
        "/%5Cadmin/x",
        "/\\admin\\x",
        "/a\\..\\admin/x",
        "/a/..%5cadmin/x",
        "/./admin/x",
        "/a/../admin/x",
        "/a/%2e%2e/admin/x",
        "/a/.%2e/admin/x",
        "/a/%2E./admin/x",
        "/%2e/admin/x",
        "/a/..;/admin/x",
        "/a;/../admin/x",
        "/;/admin/x",
        "/;a=b/admin/x",
        "/public;/../admin/x",
        "/a/..%3b/admin/x",
        "/a/%2e%2e%3b/admin/x",
        "/a/%2e%2e;x=y/admin/x",
        "//admin/x",
        "///admin/x",
        "/a//../admin/x",
        "/.//admin/x",
        "/a/..//admin/x",
        "/%2f%2fadmin/x",
        "/a%2f..%2fadmin/x",
        "/a/%252e%252e/admin/x",
        "/a/..%252fadmin/x",
        "/%252fadmin/x",
        "/a/%25%32%65%25%32%65/admin/x",
        "/%25%32%66admin/x",
        "/a/%c0%ae%c0%ae/admin/x",
        "/a/..%c0%afadmin/x",
        "/a/%e0%80%ae./admin/x",
        "/a/%f0%80%80%ae./admin/x",
        "/%c1%9cadmin/x",
        "/a/..%00/admin/x",
        "/admin%00/x",
        "/%00admin/x",
        "/admin%0a/x",
        "/admin%0d%0aX:y",
        "/%09admin/x",
        "/admin%7f/x",
        "/a/..%ef%bc%8fadmin/x",
        "/%ef%bc%8fadmin/x",
        "/a/%ef%bc%8e%ef%bc%8e/admin/x",
        "/a/%e2%80%a5/admin/x",
        "/a/..%u002fadmin/x",
        "/%u0061dmin/x",
        "/%61%6",
        "/%",
        "/%g1",
        "/a%",
        "/a/.. /admin/x",
        "/a/..%20/admin/x",
        "/a/...%20./admin/x",
        "/a/.%20/admin/x",
        "/..",
        "/../admin/x",
        "/.",
        "/a/..",
        "/a/.",
        "*",
        "/a|b/../admin",
        "/\u{e4}dmin/x",
        "/<admin>/x",
        "/\"admin\"/x",
        "/a^b",
        "/{admin}/x",
        "/`admin`/x",
        "/admin;x",
        "/admin;/x",
        "/admin%3b/x",
        "/admin.",
        "/admin./x",
        "/admin%2e/x",
        "/admin../x",
        "/admin%20",
        "/admin%20/x",
        "/%20admin/x",
        "/admin%20./x",
        "/admin%c2%a0/x",
        "/admin%e3%80%80",
        "/admin%e2%80%a6",
        "/a/..%e2%88%95admin/x",
        "/%e2%88%95admin/x",
        "/admin%e2%88%95x",
        "/admin%E2%81%84x",
        "/admin%e2%a7%b8x",
        "/admin%ef%bc%8fx",
        "/admin%e2%88%96x",
        "/admin%ef%b9%a8x",
        "/admin%cd%bex",
    ]
    .map(str::to_owned)
    .to_vec();
    // Every way to write the dots and the slash of `/a/../admin/x`.
    let dots = [
        "..",
        ".%2e",
        "%2e.",
        "%2e%2e",
        "%2E%2e",
        "%252e%252e",
        "..;",
        "..%00",
        "%c0%ae%c0%ae",
    ];
    let slashes = ["/", "%2f", "%2F", "\\", "%5c", "%5C", "%252f", "//", "/./", "%c0%af"];
    for dot in dots {
        for slash in slashes {
            paths.push(format!("/a/{dot}{slash}admin/x"));
            paths.push(format!("/a{slash}{dot}/admin/x"));
        }
    }
    paths
}

// covers T30
#[tokio::test]
async fn no_spelling_of_a_protected_path_escapes_its_policy() {
    let upstream = Upstream::start().await;
    let world = World::start(routes(&upstream));
    let token = world.token();
    let spellings = spellings();
    assert!(spellings.len() > 200, "{}", spellings.len());
    let mut wrong = Vec::new();
    for path in &spellings {
        let mut caller = world.connect().await;
        let answer = caller.request("GET", path, &token, "", b"").await;
        if answer.status != 400 || upstream.count() != 0 {
            wrong.push(format!("{path}: {}", answer.status));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Plain, it is another route; normalised, too.
    for path in [
        "/admin",
        "/admin/",
        "/admin/x",
        "/%61dmin/x",
        "/adm%69n",
        "/admin?x",
        "/admin/%2Ex",
    ] {
        let answer = world.get(path).await;
        assert_eq!(answer.status, 403, "{path}");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(
            challenge.contains("insufficient_scope") && challenge.contains("scope=\"admin\""),
            "{challenge}"
        );
    }
    assert_eq!(upstream.count(), 0);
}

// covers T30
#[tokio::test]
async fn an_ambiguous_path_is_recorded_with_what_makes_it_so() {
    let upstream = Upstream::start().await;
    let world = World::start(routes(&upstream));
    let answer = world.get("/a/%2e%2e/admin").await;
    assert_eq!(
        (answer.status, answer.json()["error"].as_str()),
        (400, Some("invalid_request"))
    );
    let refusal = world.refusal(&answer);
    assert_eq!(refusal.reason, "the path is ambiguous: the path contains a dot segment");
    let failed = refusal.failed_rule().unwrap();
    assert_eq!(failed.rule, "the request has one path and one host");
    assert_eq!(failed.presented.as_deref(), Some("/a/%2e%2e/admin"));
}

// covers T30
#[tokio::test]
async fn a_twin_of_another_path_is_recorded_as_one() {
    let upstream = Upstream::start().await;
    let world = World::start(routes(&upstream));
    for (path, reason) in [
        (
            "/admin.",
            "the path contains a segment that ends in a dot or blank, or begins with a blank",
        ),
        (
            "/admin%20",
            "the path contains a segment that ends in a dot or blank, or begins with a blank",
        ),
        (
            "/%20admin/x",
            "the path contains a segment that ends in a dot or blank, or begins with a blank",
        ),
        ("/admin%e2%88%95x", "the path contains a look-alike of a separator"),
        ("/admin%e2%81%84x", "the path contains a look-alike of a separator"),
        ("/admin%e2%a7%b8x", "the path contains a look-alike of a separator"),
        ("/admin%ef%bc%8fx", "the path contains a look-alike of a separator"),
    ] {
        let answer = world.get(path).await;
        assert_eq!(
            (answer.status, answer.json()["error"].as_str()),
            (400, Some("invalid_request")),
            "{path}"
        );
        let refusal = world.refusal(&answer);
        assert_eq!(refusal.reason, format!("the path is ambiguous: {reason}"), "{path}");
        let failed = refusal.failed_rule().unwrap();
        assert_eq!(failed.presented.as_deref(), Some(path));
    }
    assert_eq!(upstream.count(), 0);
}

/// Paths are case-sensitive (RFC 3986 §6.2.2.1). An upstream that thinks otherwise needs the policy of `/admin` at `/`.
// covers T30
#[tokio::test]
async fn another_case_is_another_path() {
    let upstream = Upstream::start().await;
    let world = World::start(routes(&upstream));
    assert_eq!(world.get("/admin").await.status, 403);
    assert_eq!(world.get("/Admin").await.status, 200);
    assert_eq!(upstream.last().line(), "GET /Admin HTTP/1.1");
}

// covers T30
#[tokio::test]
async fn what_is_checked_is_what_is_forwarded() {
    let upstream = Upstream::start().await;
    let world = World::start(routes(&upstream));
    for (presented, forwarded) in [
        ("/", "/"),
        ("/a/b.c", "/a/b.c"),
        ("/a/", "/a/"),
        ("/administrator", "/administrator"),
        ("/%61/b", "/a/b"),
        ("/a%2db%7ec", "/a-b~c"),
        ("/a%2cb%20c", "/a%2Cb%20c"),
        ("/a.%20b/.c/1..2", "/a.%20b/.c/1..2"),
        ("/%c3%a4", "/%C3%A4"),
        ("/a?b=%2e%2e/%2f;x", "/a?b=%2e%2e/%2f;x"),
        ("/a%3fb?c", "/a%3Fb?c"),
        ("/a?", "/a?"),
        ("/100%25", "/100%25"),
    ] {
        assert_eq!(world.get(presented).await.status, 200, "{presented}");
        assert_eq!(
            upstream.last().line(),
            format!("GET {forwarded} HTTP/1.1"),
            "{presented}"
        );
    }
}

// covers T30
#[tokio::test]
async fn headers_that_name_another_path_or_method_do_not_arrive() {
    let upstream = Upstream::start().await;
    let world = World::start(vec![only(&[Method::GET], route("/", upstream.address))]);
    let fields = "X-Original-URL: /admin\r\nX_Rewrite_URL: /admin\r\nX-HTTP-Method-Override: DELETE\r\n\
                  X-HTTP-Method: DELETE\r\nX-Method-Override: DELETE\r\nX-Kept: 1\r\n";
    assert_eq!(world.get_with("/", fields).await.status, 200);
    let names = upstream.last().names();
    assert!(names.contains(&"x-kept".to_owned()));
    assert!(
        !names
            .iter()
            .any(|name| name.contains("original") || name.contains("rewrite") || name.contains("method"))
    );
}

// covers T30
#[tokio::test]
async fn unserved_paths_and_methods_are_told_apart() {
    let upstream = Upstream::start().await;
    let world = World::start(vec![only(&[Method::GET, Method::PUT], route("/a", upstream.address))]);
    let answer = world.get("/b").await;
    assert_eq!(answer.status, 404);
    assert_eq!(world.refusal(&answer).reason, "no route serves /b");
    let nowhere = answer.text().to_owned();
    let mut caller = world.connect().await;
    let answer = caller.request("DELETE", "/a/b", &world.token(), "", b"").await;
    assert_eq!(
        (answer.status, answer.header("allow").as_deref()),
        (405, Some("GET, HEAD, PUT"))
    );
    assert_eq!(world.refusal(&answer).reason, "the routes for /a/b are not for DELETE");
    let not_for_this = answer.text().to_owned();
    assert_eq!(
        caller.request("HEAD", "/a/b", &world.token(), "", b"").await.status,
        200
    );
    let answer = caller.request("TRACE", "/a/b", &world.token(), "", b"").await;
    assert_eq!(answer.status, 501);
    assert_eq!(
        world.refusal(&answer).reason,
        "the method TRACE is not served by a gateway"
    );
    assert_eq!(upstream.count(), 1);
    // Each says what is the matter; only what is malformed is said to be.
    let malformed = world.get("/a/%2e%2e/b").await;
    assert_eq!(malformed.status, 400);
    for (body, description) in [
        (nowhere.as_str(), "no route serves this path"),
        (not_for_this.as_str(), "no route serves this path with this method"),
        (answer.text(), "a gateway does not serve this method"),
        (
            malformed.text(),
            "the request is malformed, incomplete or repeats a parameter",
        ),
    ] {
        assert_eq!(
            body,
            format!(r#"{{"error":"invalid_request","error_description":"{description}"}}"#)
        );
    }
}
