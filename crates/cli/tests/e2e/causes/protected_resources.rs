//! What is wrong with an access token at a protected resource, with the request beside it, or behind the gateway.

use serde_json::{Value, json};

use crate::causes::{Causes, tls_client_auth};
use crate::installation::Answer;
use crate::openssl::Wanted;
use crate::scene::{Scene, access_token, ask, free_port, now, serve_files, token, unique};

const BINDING: &str = "the certificate of this request is the one it is bound to";
const ISSUER: &str = "an issuer that this route trusts";

// covers UX-2, MTLS-3-12, MTLS-3-13, MTLS-6.3-1, TRAP-22, TRAP-23, TRAP-25, TRAP-26, R9068-5, R6750-1, R6749-14, R7800-2, T1, T2, T4
#[test]
fn the_first_failed_rule_is_why_a_protected_resource_refused() {
    let scene = Scene::new();
    let openssl = &scene.openssl;
    openssl.authority("corp", "/O=Corp/CN=Corp CA");
    // The second is what the first is renewed to: another key, the same names.
    for name in ["current", "renewed"] {
        openssl.certificate(Wanted::new(name, "/CN=a"), Some("corp"));
    }
    scene.trusts("corp", "");
    scene.append("keybound.toml", "[[resources]]\nuri = \"https://other.example\"");
    let client = tls_client_auth("corp", "tls_client_auth_subject_dn", "CN=a");
    let with = |name: &str, value: Value| {
        let mut client = client.clone();
        client[name] = value;
        client
    };
    scene.client("a", &client);
    scene.client("reader", &with("scope", json!("accounts")));
    scene.client(
        "unbound",
        &with("tls_client_certificate_bound_access_tokens", json!(false)),
    );
    scene.client("opaque", &with("keybound_access_token_format", json!("opaque")));
    let key = openssl.signing_key("foreign");
    openssl.signing_key("forger");
    let (port, nobody) = (free_port(), free_port());
    let _keys = serve_files(&scene.path("foreign"), &scene.path("pki"), port);
    std::fs::write(scene.path("foreign/keys.json"), json!({ "keys": [key] }).to_string()).unwrap();
    let ours = scene.issuer();
    scene.append(
        "gateway.toml",
        &format!(
            "[[issuers]]\nissuer = \"https://foreign.example\"\njwks_uri = \"https://localhost:{port}/keys.json\"\n\
             [[issuers]]\nissuer = \"https://away.example\"\njwks_uri = \"https://localhost:{nobody}/keys.json\"\n\
             [[routes]]\npath = \"/accounts\"\nupstream = \"demo:\"\nscopes = [\"accounts\"]\n\
             [[routes]]\npath = \"/ours\"\nupstream = \"demo:\"\nissuers = [\"{ours}\"]\nmethods = [\"GET\"]\n\
             [[routes]]\npath = \"/down\"\nupstream = \"http://127.0.0.1:{nobody}\""
        ),
    );
    let resource = scene.resource();
    let (installation, openssl) = scene.start();
    let issued =
        |client_id, more: &str| access_token(&token(&installation, &openssl, Some("current"), client_id, more));
    let call = |certificate, path: &str, token: &str| -> Answer {
        let header = format!("Authorization: Bearer {token}");
        ask(
            &installation,
            &openssl,
            certificate,
            &["-H", &header, &installation.gateway(path)],
        )
    };
    let current = Some("current");
    let thumbprint = openssl.thumbprint("current");
    let foreign = |key: &str, typ: &str, kid: &str, changes: Value| {
        let now = now();
        let mut claims = json!({ "iss": "https://foreign.example", "sub": "a", "client_id": "a", "aud": resource, "iat": now,
            "exp": now + 60, "jti": unique(), "cnf": { "x5t#S256": thumbprint } });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        openssl.jws(key, typ, kid, &claims)
    };
    let good = issued("a", "");
    for (path, token) in [
        ("/hello", &good),
        ("/ours", &good),
        ("/accounts", &issued("reader", "&scope=accounts")),
        ("/hello", &foreign("foreign", "at+jwt", "foreign", json!({}))),
    ] {
        let answer = call(current, path, token);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }

    let mut causes = Causes::new(&installation);
    const TOKEN: &str = "one access token in the Authorization header";
    let bare = ask(&installation, &openssl, current, &[&installation.gateway("/hello")]);
    assert_eq!(
        bare.header("www-authenticate").unwrap(),
        format!("Bearer realm=\"{resource}\", resource_metadata=\"{resource}/.well-known/oauth-protected-resource\"")
    );
    causes.refused("no token", &bare, (401, ""), TOKEN, "no Authorization header");
    let header = format!("Authorization: Bearer {good}");
    let twice = ask(
        &installation,
        &openssl,
        current,
        &["-H", &header, "-H", &header, &installation.gateway("/hello")],
    );
    causes.refused(
        "two tokens",
        &twice,
        (400, "invalid_request"),
        TOKEN,
        "more than one Authorization header",
    );

    const INVALID_TOKEN: (u16, &str) = (401, "invalid_token");
    let (unbound, opaque) = (issued("unbound", ""), issued("opaque", ""));
    let elsewhere = issued("a", "&resource=https%3A%2F%2Fother.example");
    let stranger = another_installation();
    let forged = forge(&good);
    let made = |changes| foreign("foreign", "at+jwt", "foreign", changes);
    let expired = made(json!({ "iat": now() - 200, "exp": now() - 100 }));
    let skewed = made(json!({ "iat": now() + 200, "exp": now() + 260 }));
    let proof = made(json!({ "cnf": { "jwk": { "kty": "EC" } } }));
    let away = made(json!({ "iss": "https://away.example" }));
    let id_token = foreign("foreign", "JWT", "foreign", json!({}));
    let unknown_key = foreign("forger", "at+jwt", "forger", json!({}));
    let wrong_key = foreign("forger", "at+jwt", "foreign", json!({}));
    let renewed = Some("renewed");
    for (cause, certificate, path, token, rule, says) in [
        (
            "without cnf",
            current,
            "/hello",
            &unbound,
            "bound to a certificate (cnf.x5t#S256) or a key (cnf.jkt)",
            "not bound to a certificate",
        ),
        (
            "bound to the previous certificate",
            renewed,
            "/hello",
            &good,
            BINDING,
            thumbprint.as_str(),
        ),
        (
            "no certificate",
            None,
            "/hello",
            &good,
            BINDING,
            "no client certificate was presented",
        ),
        (
            "wrong audience",
            current,
            "/hello",
            &elsewhere,
            "audience",
            "https://other.example",
        ),
        (
            "wrong issuer",
            current,
            "/hello",
            &stranger,
            ISSUER,
            "is not configured",
        ),
        (
            "issuer not for this route",
            current,
            "/ours",
            &made(json!({})),
            ISSUER,
            "does not take",
        ),
        (
            "unknown key",
            current,
            "/hello",
            &unknown_key,
            "signing key known",
            "forger",
        ),
        (
            "signed by another key",
            current,
            "/hello",
            &wrong_key,
            "signature",
            "the signature is wrong",
        ),
        (
            "altered",
            current,
            "/hello",
            &forged,
            "signature",
            "the signature is wrong",
        ),
        (
            "expired",
            current,
            "/hello",
            &expired,
            "inside its validity",
            "expired at",
        ),
        (
            "clocks differ",
            current,
            "/hello",
            &skewed,
            "inside its validity",
            "issued at",
        ),
        (
            "other kind of token",
            current,
            "/hello",
            &id_token,
            "token type permitted",
            "JWT",
        ),
        (
            "other kind of binding",
            current,
            "/hello",
            &proof,
            "confirmation can be verified",
            "jwk",
        ),
        ("opaque", current, "/hello", &opaque, "a signed JWT", "introspection"),
    ] {
        causes.refused(cause, &call(certificate, path, token), INVALID_TOKEN, rule, says);
    }
    let scope = call(current, "/accounts", &good);
    causes.refused(
        "scope missing",
        &scope,
        (403, "insufficient_scope"),
        "its scope covers this route",
        "accounts",
    );
    let unavailable = (503, "temporarily_unavailable");
    let keys = call(current, "/hello", &away);
    causes.refused(
        "issuer away",
        &keys,
        unavailable,
        "the issuer's keys are known",
        "https://away.example",
    );
    assert!(keys.header("retry-after").is_some(), "{keys:?}");

    let down = call(current, "/down", &good);
    causes.refused(
        "upstream down",
        &down,
        (502, "server_error"),
        "the upstream answers",
        "127.0.0.1",
    );
    let url = installation.gateway("/ours");
    let post = ask(&installation, &openssl, current, &["-H", &header, "-d", "", &url]);
    causes.refused(
        "method not served",
        &post,
        (405, "invalid_request"),
        "a route serves the path and the method",
        "POST /ours",
    );
    let url = installation.gateway("/a/%2e%2e/b");
    let path = ask(&installation, &openssl, current, &["--path-as-is", "-H", &header, &url]);
    causes.refused(
        "ambiguous path",
        &path,
        (400, "invalid_request"),
        "the request has one path and one host",
        "%2e%2e",
    );
    let url = installation.gateway("/hello");
    let host = ask(
        &installation,
        &openssl,
        current,
        &["-H", "Host: elsewhere.example", "-H", &header, &url],
    );
    causes.refused(
        "wrong host",
        &host,
        (421, "invalid_request"),
        "host served on this connection",
        "elsewhere.example",
    );
    assert_eq!(causes.shown.len(), 22);
}

/// A token of a server that this gateway knows nothing of.
fn another_installation() -> String {
    let (other, _openssl) = Scene::new().start();
    other.token()
}

/// The same token with another character in its claims.
fn forge(token: &str) -> String {
    let mut parts = token.split('.');
    let (header, payload, signature) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let middle = payload.len() / 2;
    let replacement = if payload.as_bytes()[middle] == b'A' { "B" } else { "A" };
    let forged = format!("{}{replacement}{}", &payload[..middle], &payload[middle + 1..]);
    format!("{header}.{forged}.{signature}")
}

// covers UX-2
#[test]
fn a_refusal_that_nobody_knows_is_not_found() {
    let (installation, _openssl) = Scene::new().start();
    let gateway = format!("http://127.0.0.1:{}", 9445 + installation.offset);
    for id in ["A-00000000000000", "G-00000000000000"] {
        installation.run(&["explain", id, "--gateway", &gateway]).expect_code(3);
    }
}
