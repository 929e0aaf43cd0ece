//! RFC 9126: requests that clients push before any browser sees them, plain or signed (RFC 9101).

use http::{Method, StatusCode};
use keybound_authorization_server::AuthorizationSettings;
use keybound_protocol::authorization_details::{AuthorizationDetailsType, AuthorizationDetailsTypes, FieldKind};
use keybound_protocol::authorization_request::AuthorizationRequest;
use keybound_protocol::client_assertion::CLIENT_ASSERTION_TYPE;
use keybound_store::RequestUriHash;
use serde_json::{Value, json};

use crate::pki::{Authority, Leaf, dns, self_signed};
use crate::rfc7523::signed;
use crate::rfc8705_2::private_key_jwt_client;
use crate::world::{API, ISSUER, NOW, OTHER_API, Plan, Reply, Side, World, tls_client, with};

pub(crate) const CALLBACK: &str = "https://client.example/callback?registered=1";
/// Of RFC 7636 appendix B.
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const REQUEST: &str = "authorization request acceptable";
const REQUEST_OBJECT: &str = "request object made by the client for this server, now";

/// `metadata` of a client that sends users here.
pub(crate) fn code_client(metadata: Value) -> Value {
    with(
        metadata,
        json!({
            "grant_types": ["authorization_code"],
            "response_types": ["code"],
            "redirect_uris": [CALLBACK],
        }),
    )
}

/// A good authorization request without `client_id`.
pub(crate) fn good() -> Vec<(&'static str, &'static str)> {
    vec![
        ("response_type", "code"),
        ("redirect_uri", CALLBACK),
        ("scope", "read"),
        ("state", "a state"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]
}

/// The same with other parameters in place of or beside its own; an empty value takes one away.
fn changed<'a>(other: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut request: Vec<(&str, &str)> = good();
    request.retain(|(name, _)| other.iter().all(|(changed, _)| changed != name));
    request.extend(other.iter().filter(|(_, value)| !value.is_empty()));
    request
}

struct Cast {
    world: World,
    demo: Leaf,
    other: Leaf,
    key: Leaf,
}

async fn cast() -> Cast {
    cast_with(Plan::new()).await
}

async fn cast_with(mut plan: Plan) -> Cast {
    let authority = Authority::root("corp");
    let key = self_signed(dns("key"));
    let field = |name: &str, kind| (name.to_owned(), kind);
    let payment = AuthorizationDetailsType {
        name: "payment".to_owned(),
        description: None,
        required: [field("amount", FieldKind::String)].into(),
        optional: [field("actions", FieldKind::Strings)].into(),
    };
    let accounts = AuthorizationDetailsType {
        name: "accounts".to_owned(),
        description: None,
        required: [].into(),
        optional: [].into(),
    };
    plan.settings.authorization = AuthorizationSettings {
        require_pushed_authorization_requests: false,
        details_types: AuthorizationDetailsTypes::new([payment, accounts]),
    };
    let signing = json!({"jwks": {"keys": [key.jwk()]}});
    let world = plan
        .trusts("corp", &authority)
        .client("demo", with(code_client(tls_client("demo.example")), signing.clone()))
        .client("other", code_client(tls_client("other.example")))
        .client(
            "signing",
            with(
                with(code_client(tls_client("demo.example")), signing),
                json!({"require_signed_request_object": true, "request_object_signing_alg": "ES256"}),
            ),
        )
        .client(
            "accounts",
            with(
                code_client(tls_client("demo.example")),
                json!({"authorization_details_types": ["accounts"]}),
            ),
        )
        .client("machine", tls_client("demo.example"))
        .client("jwt", code_client(private_key_jwt_client(&key)))
        .client(
            "public",
            with(
                code_client(json!({"token_endpoint_auth_method": "none"})),
                json!({"scope": "read", "tls_client_certificate_bound_access_tokens": true}),
            ),
        )
        .start()
        .await;
    Cast {
        world,
        demo: authority.issue(dns("demo.example")),
        other: authority.issue(dns("other.example")),
        key,
    }
}

impl Cast {
    async fn push(&self, client_id: &str, request: &[(&str, &str)]) -> Reply {
        let form = [&[("client_id", client_id)], request].concat();
        self.world.post(Some(&self.demo), "/par", &form).await
    }

    /// A refusal as the endpoint gives each of them: 400, JSON, not to be stored, and no `request_uri` (R9126-4).
    async fn assert_refused(&self, reply: &Reply, error: &str, rule: &str) {
        self.world.assert_refused(reply, 400, error, rule).await;
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert!(reply.json().get("request_uri").is_none());
    }

    fn pushed(&self, reply: &Reply) -> Option<(AuthorizationRequest, i64)> {
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        let hash = RequestUriHash::of(reply.json()["request_uri"].as_str()?);
        let stored = self.world.store.pushed_requests.find_pushed_request(&hash).unwrap()?;
        assert!(!stored.is_spent);
        let request = AuthorizationRequest::from_json(&stored.pushed.request).unwrap();
        assert_eq!(request.client_id(), &stored.pushed.client_id);
        Some((request, stored.pushed.expires_at.unix_secs()))
    }
}

// covers R9126-1, R9126-3, FAPI-5, R6749-15
#[tokio::test]
async fn a_pushed_request_is_kept_for_its_client_under_a_name_that_nobody_guesses() {
    let cast = cast().await;
    let reply = cast.push("demo", &good()).await;
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let body = reply.json();
    assert_eq!(body.as_object().unwrap().len(), 2);
    assert_eq!(body["expires_in"], 60);
    let (request, expires_at) = cast.pushed(&reply).unwrap();
    assert_eq!(expires_at, NOW + 60);
    assert_eq!(request.redirect_uri().as_str(), CALLBACK);
    assert_eq!(request.state(), Some("a state"));

    let request_uri = body["request_uri"].as_str().unwrap();
    let random = request_uri.strip_prefix("urn:ietf:params:oauth:request_uri:").unwrap();
    assert_eq!(random.len(), 43, "256 bits");
    let again = cast.push("demo", &good()).await.json();
    assert_ne!(again["request_uri"], body["request_uri"]);
}

// covers R9126-1, FAPI-4
#[tokio::test]
async fn only_the_authenticated_client_pushes() {
    let cast = cast().await;
    let form = |client_id| [&[("client_id", client_id)], &good()[..]].concat();
    for (leaf, client_id) in [
        (None, "demo"),
        (Some(&cast.other), "demo"),
        (Some(&cast.demo), "other"),
        (Some(&cast.demo), "nobody"),
        (Some(&cast.demo), "jwt"),
    ] {
        let reply = cast.world.post(leaf, "/par", &form(client_id)).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{client_id}");
        assert_eq!(reply.json()["error"], "invalid_client", "{client_id}");
    }
    let reply = cast.world.peer(Side::Public, None).post("/par", &form("public")).await;
    assert!(cast.pushed(&reply).is_some());
    // A client that never sends users here has nothing to push.
    let reply = cast.push("machine", &good()).await;
    cast.assert_refused(&reply, "unauthorized_client", "grant type registered")
        .await;
}

// covers R9126-4, FAPI-5, R6749-4, R6749-5
#[tokio::test]
async fn it_takes_one_form_by_post() {
    let cast = cast().await;
    let peer = cast.world.peer(Side::MutualTls, Some(&cast.demo));
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let reply = peer.send(method, "/par", &[], None).await;
        assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(reply.header("allow"), Some("POST, OPTIONS"));
    }
    let json = Some(("application/json", "{}".to_owned()));
    let reply = peer.send(Method::POST, "/par", &[], json).await;
    assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let long = "x".repeat(64 * 1024);
    let reply = cast.push("demo", &changed(&[("state", &long)])).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    let twice = [&good()[..], &[("state", "another")]].concat();
    let reply = cast.push("demo", &twice).await;
    cast.assert_refused(
        &reply,
        "invalid_request",
        "well-formed form without repeated parameters",
    )
    .await;
    // Unknown parameters are ignored, empty ones absent, and `resource` may come twice.
    let more = [
        ("unknown", "1"),
        ("nonce", ""),
        ("resource", API),
        ("resource", OTHER_API),
    ];
    let reply = cast.push("demo", &[&good()[..], &more].concat()).await;
    let (request, _) = cast.pushed(&reply).unwrap();
    assert_eq!((request.nonce(), request.resources().len()), (None, 2));
}

// covers R9126-4
#[tokio::test]
async fn whoever_fails_again_and_again_is_told_to_wait() {
    let mut plan = Plan::new();
    plan.settings.limits.failed_authentications_per_second = 20;
    let cast = cast_with(plan).await;
    let form = [&[("client_id", "demo")], &good()[..]].concat();
    let stranger = cast.world.peer(Side::MutualTls, Some(&cast.other));
    let mut limited = 0;
    for _ in 0..60 {
        let reply = stranger.post("/par", &form).await;
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        if reply.status != StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(
                (reply.status.as_u16(), &reply.json()["error"]),
                (400, &json!("invalid_client"))
            );
            continue;
        }
        limited += 1;
        assert_eq!(reply.header("retry-after"), Some("1"));
        assert_eq!(reply.json()["error"], "temporarily_unavailable");
        let refusal = cast.world.refusal(&reply).await;
        let mut rules = refusal.rules.iter();
        assert!(
            rules.any(|rule| rule.rule == "failed authentications within their limit"),
            "{refusal:?}"
        );
    }
    assert!(limited >= 20, "{limited} of 60");
    // Whoever is the client pushes all the same.
    assert!(cast.pushed(&cast.push("demo", &good()).await).is_some());
}

// covers R9396-4
#[tokio::test]
async fn the_types_of_details_are_listed_and_a_client_may_be_kept_to_some() {
    let cast = cast().await;
    let peer = cast.world.peer(Side::Public, None);
    let metadata = peer.get("/.well-known/oauth-authorization-server").await.json();
    let types = &metadata["authorization_details_types_supported"];
    assert_eq!(types, &json!(["accounts", "payment"]));
    let details = |text| changed(&[("authorization_details", text)]);
    let payment = r#"[{"type":"payment","amount":"1"}]"#;
    let reply = cast.push("accounts", &details(payment)).await;
    cast.assert_refused(&reply, "invalid_authorization_details", REQUEST)
        .await;
    for (client_id, text) in [("accounts", r#"[{"type":"accounts"}]"#), ("demo", payment)] {
        let (request, _) = cast.pushed(&cast.push(client_id, &details(text)).await).unwrap();
        assert_eq!(request.authorization_details().types().count(), 1, "{client_id}");
    }
    // A server without any lists nothing (RFC 8414 §3.2).
    let world = Plan::new().start().await;
    let peer = world.peer(Side::Public, None);
    let metadata = peer.get("/.well-known/oauth-authorization-server").await.json();
    assert!(metadata.get("authorization_details_types_supported").is_none());
}

// covers R9126-2, FAPI-6, R6749-6, R7636-2, R8707-1, R9396-1, R9700-1, R9700-2, R9700-5
#[tokio::test]
async fn a_pushed_request_is_judged_like_any_other() {
    let cast = cast().await;
    let oversized = format!(r#"[{{"type":"payment","amount":"{}"}}]"#, "9".repeat(20_000));
    let details = |text| [("authorization_details", text)];
    let cases: Vec<(Vec<(&str, &str)>, &str)> = vec![
        (
            changed(&[("request_uri", "https://evil.example/request.jwt")]),
            "invalid_request",
        ),
        (
            changed(&[("request_uri", "urn:ietf:params:oauth:request_uri:x")]),
            "invalid_request",
        ),
        (
            changed(&[("redirect_uri", "https://client.example/callback")]),
            "invalid_request",
        ),
        (changed(&[("redirect_uri", "https://evil.example/")]), "invalid_request"),
        (changed(&[("response_type", "token")]), "unsupported_response_type"),
        (
            changed(&[("response_type", "code id_token")]),
            "unsupported_response_type",
        ),
        (changed(&[("response_type", "")]), "invalid_request"),
        (changed(&[("response_mode", "fragment")]), "invalid_request"),
        (changed(&[("code_challenge_method", "plain")]), "invalid_request"),
        (changed(&[("code_challenge_method", "")]), "invalid_request"),
        (changed(&[("code_challenge", "short")]), "invalid_request"),
        (changed(&[("scope", "read admin")]), "invalid_scope"),
        (changed(&[("scope", "keybound:admin")]), "invalid_scope"),
        (changed(&[("resource", "/relative")]), "invalid_target"),
        (changed(&[("resource", "https://api.example#x")]), "invalid_target"),
        (changed(&[("resource", "https://unknown.example")]), "invalid_target"),
        (changed(&[("resource", "https://as.example/admin")]), "invalid_target"),
        (changed(&details("{}")), "invalid_authorization_details"),
        (
            changed(&details(r#"[{"type":"other"}]"#)),
            "invalid_authorization_details",
        ),
        (
            changed(&details(r#"[{"type":"payment"}]"#)),
            "invalid_authorization_details",
        ),
        (
            changed(&details(r#"[{"type":"payment","amount":"1","to":"me"}]"#)),
            "invalid_authorization_details",
        ),
        (changed(&details(&oversized)), "invalid_authorization_details"),
        (changed(&[("prompt", "none login")]), "invalid_request"),
        (changed(&[("claims", "[]")]), "invalid_request"),
    ];
    for (request, error) in cases {
        let reply = cast.push("demo", &request).await;
        cast.assert_refused(&reply, error, REQUEST).await;
    }
    // Public clients have to use PKCE.
    let reply = cast
        .push(
            "public",
            &changed(&[("code_challenge", ""), ("code_challenge_method", "")]),
        )
        .await;
    cast.assert_refused(&reply, "invalid_request", REQUEST).await;
    let reply = cast.push("public", &changed(&[("scope", "read")])).await;
    assert!(cast.pushed(&reply).is_some());
    // And what is asked for in the right way is kept as it is.
    let details = details(r#"[{"type":"payment","amount":"1","actions":["initiate"]}]"#);
    let state = "s~ä +&".repeat(200);
    let reply = cast.push("demo", &changed(&[details[0], ("state", &state)])).await;
    let (request, _) = cast.pushed(&reply).unwrap();
    assert_eq!(request.state(), Some(state.as_str()));
    assert_eq!(request.authorization_details().types().collect::<Vec<_>>(), ["payment"]);
}

fn object(client_id: &str, more: Value) -> Value {
    with(
        json!({
            "iss": client_id, "aud": ISSUER, "exp": NOW + 300, "nbf": NOW, "client_id": client_id,
            "response_type": "code", "redirect_uri": CALLBACK, "scope": "read", "state": "inside",
            "code_challenge": CHALLENGE, "code_challenge_method": "S256",
        }),
        more,
    )
}

// covers R9126-5, R9101-1, R9101-2, R9101-3, R9101-4
#[tokio::test]
async fn of_a_signed_request_only_what_is_inside_counts() {
    let cast = cast().await;
    let header = json!({"alg": "ES256", "typ": "oauth-authz-req+jwt"});
    let sign = |claims: &Value| signed(&cast.key, &header, claims);
    let stranger = self_signed(dns("stranger"));
    let unsigned = {
        let signed = signed(&cast.key, &json!({"alg": "none"}), &object("demo", json!({})));
        format!("{}.", signed.rsplit_once('.').unwrap().0)
    };
    for request in [
        signed(&stranger, &header, &object("demo", json!({}))),
        signed(&cast.key, &json!({"alg": "PS256"}), &object("demo", json!({}))),
        signed(
            &cast.key,
            &json!({"alg": "ES256", "typ": "at+jwt"}),
            &object("demo", json!({})),
        ),
        unsigned,
        sign(&object("other", json!({}))),
        sign(&object("demo", json!({"aud": "https://elsewhere.example"}))),
        sign(&object("demo", json!({"exp": NOW - 60}))),
        sign(&object(
            "demo",
            json!({"request_uri": "urn:ietf:params:oauth:request_uri:x"}),
        )),
        sign(&object("demo", json!({"request": "x.y.z"}))),
        sign(&object("demo", json!({"sub": "demo"}))),
        "not a jwt".to_owned(),
    ] {
        let reply = cast.push("demo", &[("request", &request)]).await;
        cast.assert_refused(&reply, "invalid_request_object", REQUEST_OBJECT)
            .await;
    }
    let request = sign(&object(
        "demo",
        json!({"aud": ["https://x.example", ISSUER], "max_age": 60}),
    ));
    // What lies outside is not even looked at.
    let outside = [("request", request.as_str()), ("state", "outside"), ("scope", "admin")];
    let (request, _) = cast.pushed(&cast.push("demo", &outside).await).unwrap();
    assert_eq!((request.state(), request.max_age()), (Some("inside"), Some(60)));

    let reply = cast.push("signing", &good()).await;
    cast.assert_refused(&reply, "invalid_request", REQUEST).await;
    let request = sign(&object("signing", json!({})));
    assert!(
        cast.pushed(&cast.push("signing", &[("request", &request)]).await)
            .is_some()
    );
    // A claim outside `request` makes no client of another name.
    let reply = cast.push("demo", &[("request", &request)]).await;
    cast.assert_refused(&reply, "invalid_request_object", REQUEST_OBJECT)
        .await;
}

// covers R9126-8
#[tokio::test]
async fn an_assertion_may_be_made_out_to_issuer_token_endpoint_or_this_one() {
    let cast = cast().await;
    let peer = cast.world.peer(Side::Public, None);
    let push = async |audience: &str, id: &str| {
        let claims = json!({"iss": "jwt", "sub": "jwt", "aud": audience, "jti": id, "exp": NOW + 60});
        let assertion = signed(&cast.key, &json!({"alg": "ES256"}), &claims);
        let more = [
            ("client_assertion_type", CLIENT_ASSERTION_TYPE),
            ("client_assertion", assertion.as_str()),
        ];
        peer.post("/par", &[&changed(&[("scope", "")])[..], &more].concat())
            .await
    };
    for (audience, id) in [
        ("https://as.example", "1"),
        ("https://as.example/token", "2"),
        ("https://as.example/par", "3"),
        ("https://mtls.as.example/par", "4"),
    ] {
        assert!(cast.pushed(&push(audience, id).await).is_some(), "{audience}");
    }
    for (audience, id) in [
        ("https://as.example/introspect", "5"),
        ("https://as.example/authorize", "6"),
        ("https://as.example", "1"),
    ] {
        let reply = push(audience, id).await;
        assert_eq!(reply.json()["error"], "invalid_client", "{audience}");
    }
}
