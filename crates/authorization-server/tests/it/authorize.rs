//! The authorization endpoint (RFC 6749 §3.1, §4.1): who is sent where, and with what.

use http::{Method, StatusCode};
use keybound_protocol::base64url;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::refusal::Refusal;
use keybound_store::RefusalQuery;
use serde_json::{Value, json};
use url::Url;

use crate::browser::{Browser, add_user, location};
use crate::pki::{Authority, Leaf, dns, self_signed};
use crate::rfc7523::signed;
use crate::rfc9126::{CALLBACK, code_client, good};
use crate::world::{ISSUER, NOW, Plan, Reply, Side, World, tls_client, with};

struct Cast {
    world: World,
    demo: Leaf,
}

async fn cast() -> Cast {
    let authority = Authority::root("corp");
    let pushing = json!({"require_pushed_authorization_requests": true});
    let unbound = json!({"tls_client_certificate_bound_access_tokens": false});
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("demo", code_client(tls_client("demo.example")))
        .client("other", code_client(tls_client("demo.example")))
        .client("pushing", with(code_client(tls_client("demo.example")), pushing))
        .client("unbound", with(code_client(tls_client("demo.example")), unbound))
        .client("machine", tls_client("demo.example"))
        .start()
        .await;
    Cast {
        world,
        demo: authority.issue(dns("demo.example")),
    }
}

fn query(parameters: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish()
}

fn changed<'a>(client_id: &'a str, other: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut request: Vec<(&str, &str)> = good();
    request.push(("client_id", client_id));
    request.retain(|(name, _)| other.iter().all(|(changed, _)| changed != name));
    request.extend(other.iter().filter(|(_, value)| !value.is_empty()));
    request
}

impl Cast {
    async fn authorize(&self, parameters: &[(&str, &str)]) -> Reply {
        let path = format!("/authorize?{}", query(parameters));
        self.world.peer(Side::Public, None).get(&path).await
    }

    async fn push(&self, client_id: &str) -> String {
        let form = changed(client_id, &[]);
        let reply = self.world.post(Some(&self.demo), "/par", &form).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        reply.json()["request_uri"].as_str().unwrap().to_owned()
    }

    /// The one refusal on record.
    async fn recorded(&self) -> Refusal {
        let query = RefusalQuery {
            limit: 10,
            ..RefusalQuery::default()
        };
        // Records are written in batches.
        for _ in 0..100 {
            let page = self.world.store.refusals.list_refusals(query.clone()).await.unwrap();
            if let [refusal] = page.refusals.as_slice() {
                return refusal.clone();
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("no record");
    }

    /// A refusal that is shown to the user and takes nobody anywhere.
    async fn assert_shown(&self, reply: &Reply, code: &str) {
        let page = String::from_utf8_lossy(&reply.body).into_owned();
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{reply:?}");
        assert_eq!(reply.header("location"), None);
        assert!(page.contains("id=\"error-page\"") && page.contains(code), "{page}");
        let refusal = self.world.refusal(reply).await;
        assert_eq!(refusal.error_code.unwrap().as_str(), code);
        // Nothing may put this page into a frame, or read it from a script elsewhere.
        assert!(
            reply
                .header("content-security-policy")
                .unwrap()
                .contains("frame-ancestors 'none'")
        );
        assert_eq!(reply.header("x-frame-options"), Some("DENY"));
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
}

/// The parameters that a redirect to the client adds to its registered URI.
fn told(reply: &Reply) -> Vec<(String, String)> {
    assert_eq!(reply.status, StatusCode::SEE_OTHER, "{reply:?}");
    let location = reply.header("location").unwrap();
    assert!(location.starts_with(CALLBACK), "{location}");
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    // Whose link it was learns nothing of our records.
    assert_eq!(reply.header("keybound-refusal"), None);
    let url = Url::parse(location).unwrap();
    url.query_pairs().into_owned().skip(1).collect()
}

fn assert_begun(reply: &Reply) {
    assert_eq!(reply.status, StatusCode::SEE_OTHER, "{reply:?}");
    let location = reply.header("location").unwrap();
    assert!(
        location.contains("/interaction/") && location.ends_with("/login"),
        "{location}"
    );
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

// covers R6749-4, R6749-6, R9700-1
#[tokio::test]
async fn nobody_is_sent_to_a_place_that_is_not_the_clients() {
    let cast = cast().await;
    for (request, code) in [
        (changed("nobody", &[]), "invalid_request"),
        (changed("", &[]), "invalid_request"),
        (
            changed("demo", &[("redirect_uri", "https://evil.example/")]),
            "invalid_request",
        ),
        (
            changed("demo", &[("redirect_uri", "https://client.example/callback")]),
            "invalid_request",
        ),
        (
            changed("demo", &[("redirect_uri", "javascript:alert(1)")]),
            "invalid_request",
        ),
        (
            [&changed("demo", &[])[..], &[("state", "again")]].concat(),
            "invalid_request",
        ),
        (
            [&changed("demo", &[])[..], &[("client_id", "other")]].concat(),
            "invalid_request",
        ),
    ] {
        let reply = cast.authorize(&request).await;
        cast.assert_shown(&reply, code).await;
    }
    // With one redirect URI registered it may be left out, and browsers may post.
    assert_begun(&cast.authorize(&changed("demo", &[("redirect_uri", "")])).await);
    let peer = cast.world.peer(Side::Public, None);
    assert_begun(&peer.post("/authorize", &changed("demo", &[])).await);
    for method in [Method::PUT, Method::DELETE] {
        let reply = peer.send(method, "/authorize", &[], None).await;
        assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
    }
}

// covers MTLS-6.4-1, R6749-6, R9207-1, R9700-5, FAPI-9, R9126-7
#[tokio::test]
async fn the_client_is_told_what_is_wrong_with_the_rest() {
    let cast = cast().await;
    for (request, error) in [
        (
            changed("demo", &[("response_type", "token")]),
            "unsupported_response_type",
        ),
        (
            changed("demo", &[("response_type", "id_token token")]),
            "unsupported_response_type",
        ),
        (changed("demo", &[("response_type", "")]), "invalid_request"),
        (changed("demo", &[("scope", "admin")]), "invalid_scope"),
        (changed("demo", &[("scope", "keybound:admin")]), "invalid_scope"),
        (
            changed("demo", &[("resource", "https://unknown.example")]),
            "invalid_target",
        ),
        (
            changed("demo", &[("code_challenge_method", "plain")]),
            "invalid_request",
        ),
        (
            changed("demo", &[("authorization_details", "[{\"type\":\"x\"}]")]),
            "invalid_authorization_details",
        ),
        (changed("demo", &[("prompt", "none")]), "login_required"),
        (changed("demo", &[("prompt", "none login")]), "invalid_request"),
        (changed("demo", &[("prompt", "select_account none")]), "invalid_request"),
        (changed("demo", &[("registration", "{}")]), "registration_not_supported"),
        (
            changed(
                "demo",
                &[("claims", r#"{"id_token":{"acr":{"essential":true,"values":["1"]}}}"#)],
            ),
            "unmet_authentication_requirements",
        ),
        (changed("pushing", &[]), "invalid_request"),
    ] {
        let reply = cast.authorize(&request).await;
        let expected = pairs(&[("error", error), ("state", "a state"), ("iss", ISSUER)]);
        assert_eq!(told(&reply), expected, "{request:?}");
    }
    let reply = cast
        .authorize(&changed("demo", &[("scope", "admin"), ("state", "")]))
        .await;
    assert_eq!(told(&reply), pairs(&[("error", "invalid_scope"), ("iss", ISSUER)]));
}

// covers R6749-13
#[tokio::test]
async fn what_a_client_is_told_by_a_redirect_is_on_record() {
    let cast = cast().await;
    told(&cast.authorize(&changed("demo", &[("scope", "admin")])).await);
    let refusal = cast.recorded().await;
    assert_eq!(refusal.client_id.as_deref(), Some("demo"));
    assert_eq!((refusal.status, refusal.endpoint.as_str()), (303, "/authorize"));
    assert_eq!(refusal.error_code.unwrap().as_str(), "invalid_scope");
}

#[tokio::test]
async fn a_sign_in_that_is_impossible_here_fails_at_once_also_if_it_was_pushed() {
    let cast = cast().await;
    let insists = r#"{"id_token":{"acr":{"essential":true,"values":["urn:mace:incommon:iap:silver"]}}}"#;
    let form = changed("demo", &[("claims", insists)]);
    let reply = cast.world.post(Some(&cast.demo), "/par", &form).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    let document = reply.json();
    let pushed = [
        ("client_id", "demo"),
        ("request_uri", document["request_uri"].as_str().unwrap()),
    ];
    let expected = [
        ("error", "unmet_authentication_requirements"),
        ("state", "a state"),
        ("iss", ISSUER),
    ];
    assert_eq!(told(&cast.authorize(&pushed).await), pairs(&expected));
    let refusal = cast.recorded().await;
    assert!(refusal.reason.contains("`acr`"), "{refusal:?}");
    // The client has had its answer.
    cast.assert_shown(&cast.authorize(&pushed).await, "invalid_request_uri")
        .await;
}

// covers R9449-6
#[tokio::test]
async fn a_client_whose_tokens_are_bound_to_a_certificate_is_sent_away_with_its_key() {
    let cast = cast().await;
    let jkt = base64url::encode(&[7; 32]);
    let reply = cast.authorize(&changed("demo", &[("dpop_jkt", &jkt)])).await;
    let expected = pairs(&[("error", "invalid_request"), ("state", "a state"), ("iss", ISSUER)]);
    assert_eq!(told(&reply), expected);
    let refusal = cast.recorded().await;
    assert_eq!(refusal.failed_rule().unwrap().rule, crate::rfc9449::BINDING);
    assert!(refusal.reason.contains("one of both too many"), "{refusal:?}");
    assert_begun(&cast.authorize(&changed("demo", &[])).await);
    assert_begun(&cast.authorize(&changed("unbound", &[("dpop_jkt", &jkt)])).await);
}

// covers FAPI-21, R9207-1
#[tokio::test]
async fn whoever_asks_for_a_signed_answer_gets_its_error_signed() {
    let cast = cast().await;
    let reply = cast
        .authorize(&changed("demo", &[("response_mode", "jwt"), ("scope", "admin")]))
        .await;
    let parameters = told(&reply);
    let [(name, jwt)] = parameters.as_slice() else {
        panic!("{parameters:?}")
    };
    assert_eq!(name, "response");
    let claims = crate::world::claims(jwt);
    assert_eq!(
        claims,
        json!({
            "iss": ISSUER, "aud": "demo", "exp": claims["exp"], "error": "invalid_scope", "state": "a state",
        })
    );
}

// covers FAPI-7, R9101-1
#[tokio::test]
async fn what_was_pushed_or_signed_wins_all_the_way_to_the_token() {
    let authority = Authority::root("corp");
    let key = self_signed(dns("key"));
    let metadata = with(
        code_client(tls_client("demo.example")),
        json!({"jwks": {"keys": [key.jwk()]}, "redirect_uris": [CALLBACK, "https://client.example/other"]}),
    );
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("demo", metadata)
        .start()
        .await;
    add_user(&world, "helena").await;
    let demo = authority.issue(dns("demo.example"));
    // Both of them would do, were it not for what was said before.
    let outer = [
        ("client_id", "demo"),
        ("redirect_uri", "https://client.example/other"),
        ("scope", "read write"),
        ("state", "outer"),
        ("response_type", "code"),
        ("response_mode", "jwt"),
        ("code_challenge", "outer-outer-outer-outer-outer-outer-outer-1"),
    ];
    let pushed = changed("demo", &[]);
    let reply = world.post(Some(&demo), "/par", &pushed).await;
    let request_uri = reply.json()["request_uri"].as_str().unwrap().to_owned();
    let mut object = json!({"iss": "demo", "aud": ISSUER, "nbf": NOW, "exp": NOW + 300});
    for (name, value) in &pushed {
        object[*name] = (*value).into();
    }
    let object = signed(&key, &json!({"alg": "ES256", "typ": "oauth-authz-req+jwt"}), &object);
    for reference in [("request_uri", request_uri.as_str()), ("request", object.as_str())] {
        let browser = Browser::of(&world);
        let path = format!("/authorize?{}", query(&[&outer[..], &[reference]].concat()));
        let login = location(&browser.get(&path).await);
        let consent = location(&browser.sign_in(&login).await);
        let page = String::from_utf8(browser.get(&consent).await.body).unwrap();
        assert!(page.contains("read") && !page.contains("write"), "{page}");
        let told = told(&browser.decide(&consent, "approve").await);
        let code = &told.iter().find(|(name, _)| name == "code").unwrap().1;
        assert_eq!(
            told,
            pairs(&[("code", code), ("state", "a state"), ("iss", ISSUER)]),
            "{}",
            reference.0
        );
        // The code is for what lay inside: its redirect URI, its challenge, its scope.
        let outside = [("redirect_uri", outer[1].1)];
        let reply = world.redeem(Some(&demo), "demo", code, &outside).await;
        assert_eq!(reply.json()["error"], "invalid_grant");
        let reply = world
            .redeem(Some(&demo), "demo", code, &[("redirect_uri", CALLBACK)])
            .await;
        let token = crate::world::claims(reply.json()["access_token"].as_str().unwrap());
        assert_eq!(token["scope"], "read");
    }
}

// covers R9126-3, R9126-6, FAPI-8, R9101-3
#[tokio::test]
async fn a_pushed_request_opens_pages_until_its_time_is_over() {
    let cast = cast().await;
    let request_uri = cast.push("demo").await;
    let with_client = |client_id| vec![("client_id", client_id), ("request_uri", request_uri.as_str())];
    assert_begun(&cast.authorize(&with_client("demo")).await);
    // Opening spends nothing, and what stands beside it is not looked at.
    let outer = [
        ("redirect_uri", "https://evil.example/"),
        ("scope", "admin"),
        ("state", "outer"),
        ("response_type", "token"),
        ("response_mode", "fragment"),
    ];
    assert_begun(&cast.authorize(&[&with_client("demo")[..], &outer].concat()).await);
    assert_begun(
        &cast
            .authorize(&[("client_id", "pushing"), ("request_uri", &cast.push("pushing").await)])
            .await,
    );

    let twice = [
        ("client_id", "demo"),
        ("request_uri", request_uri.as_str()),
        ("request", "e30.e30."),
    ];
    cast.assert_shown(&cast.authorize(&twice).await, "invalid_request")
        .await;
    cast.assert_shown(&cast.authorize(&with_client("other")).await, "invalid_request_uri")
        .await;
    for foreign in [
        "urn:ietf:params:oauth:request_uri:unknown",
        "urn:ietf:params:oauth:request_uri:",
        "file:///etc/passwd",
    ] {
        let reply = cast.authorize(&[("client_id", "demo"), ("request_uri", foreign)]).await;
        cast.assert_shown(&reply, "invalid_request_uri").await;
    }
    // What is kept elsewhere is asked of nobody. The client is told where it says beside it, and only there.
    for elsewhere in ["https://evil.example/request.jwt", "http://169.254.169.254/latest"] {
        let alone = [("client_id", "demo"), ("request_uri", elsewhere)];
        let evil = [&alone[..], &[("redirect_uri", "https://evil.example/")]].concat();
        for request in [&alone[..], &evil] {
            let reply = cast.authorize(request).await;
            cast.assert_shown(&reply, "request_uri_not_supported").await;
        }
        let reply = cast.authorize(&changed("demo", &[("request_uri", elsewhere)])).await;
        let expected = [
            ("error", "request_uri_not_supported"),
            ("state", "a state"),
            ("iss", ISSUER),
        ];
        assert_eq!(told(&reply), pairs(&expected), "{elsewhere}");
    }
    cast.world.clock.advance(59);
    assert_begun(&cast.authorize(&with_client("demo")).await);
    cast.world.clock.advance(1);
    cast.assert_shown(&cast.authorize(&with_client("demo")).await, "invalid_request_uri")
        .await;
}

// covers R9700-10
#[tokio::test]
async fn scripts_of_other_origins_learn_nothing_here() {
    let cast = cast().await;
    let peer = cast.world.peer(Side::Public, None);
    let origin = [
        ("origin", "https://client.example"),
        ("access-control-request-method", "GET"),
    ];
    let path = format!("/authorize?{}", query(&changed("demo", &[])));
    for method in [Method::OPTIONS, Method::GET] {
        let reply = peer.send(method, &path, &origin, None).await;
        let headers: Vec<&str> = reply.headers.keys().map(http::HeaderName::as_str).collect();
        assert!(
            !headers.iter().any(|name| name.starts_with("access-control-")),
            "{headers:?}"
        );
    }
}

// covers R8414-4, R8414-5, R9207-1, R9126-7, FAPI-1, FAPI-2
#[tokio::test]
async fn metadata_says_how_users_may_be_asked() {
    let mut plan = Plan::new();
    plan.settings.authorization.require_pushed_authorization_requests = true;
    plan.settings.issuer = Issuer::parse("https://as.example/tenant").unwrap();
    let world = plan.start().await;
    let path = "/.well-known/oauth-authorization-server/tenant";
    let metadata: Value = world.peer(Side::Public, None).get(path).await.json();
    for (member, expected) in [
        ("authorization_endpoint", json!("https://as.example/tenant/authorize")),
        (
            "pushed_authorization_request_endpoint",
            json!("https://as.example/tenant/par"),
        ),
        ("require_pushed_authorization_requests", json!(true)),
        ("authorization_response_iss_parameter_supported", json!(true)),
        ("response_types_supported", json!(["code"])),
        ("response_modes_supported", json!(["query", "jwt", "query.jwt"])),
        ("code_challenge_methods_supported", json!(["S256"])),
        ("request_parameter_supported", json!(true)),
        ("request_uri_parameter_supported", json!(false)),
        ("authorization_signing_alg_values_supported", json!(["ES256"])),
        (
            "request_object_signing_alg_values_supported",
            json!(["ES256", "ES384", "EdDSA", "PS256", "RS256"]),
        ),
    ] {
        assert_eq!(metadata[member], expected, "{member}");
    }
    let aliases = metadata["mtls_endpoint_aliases"].as_object().unwrap();
    assert_eq!(
        aliases["pushed_authorization_request_endpoint"],
        "https://mtls.as.example/tenant/par"
    );
    assert!(!aliases.contains_key("authorization_endpoint"));
    assert!(metadata.get("authorization_details_types_supported").is_none());
}
