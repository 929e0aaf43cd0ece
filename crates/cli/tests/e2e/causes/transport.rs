//! What is wrong with the way a request came: its connection, its form, and the proxy in front of the listener.

use serde_json::json;

use crate::causes::{Causes, INVALID_CLIENT, INVALID_REQUEST, PRESENTED, VALIDITY, tls_client_auth};
use crate::installation::Answer;
use crate::openssl::Wanted;
use crate::scene::{Scene, access_token, ask, with_assertion};

// covers UX-2, TLS-6, TLS-7, TRAP-35, T28, R6749-4
#[test]
fn the_first_failed_rule_is_what_is_wrong_with_a_request() {
    let (installation, _openssl) = Scene::new().start();
    let url = installation.mutual_tls("/token");
    let form = "grant_type=client_credentials&client_id=demo";
    let ask = |arguments: &[&str]| installation.curl(Some("demo"), arguments);
    access_token(&ask(&["-d", form, &url]));
    let mut causes = Causes::new(&installation);
    let misdirected = ask(&["-H", "Host: elsewhere.example", "-d", form, &url]);
    let says = "elsewhere.example";
    causes.refused(
        "SNI is not Host",
        &misdirected,
        (421, "invalid_request"),
        "host served on this connection",
        says,
    );
    let ambiguous = ask(&["-H", "Transfer-Encoding: identity", "-d", form, &url]);
    causes.refused(
        "framing not understood",
        &ambiguous,
        (501, "invalid_request"),
        "well-formed HTTP",
        "transfer coding",
    );
    let field = format!("X-Padding: {}", "x".repeat(40_000));
    let long = ask(&["-H", &field, "-d", form, &url]);
    causes.refused(
        "head too long",
        &long,
        (431, "invalid_request"),
        "request head within its limits",
        "exceeds the limit",
    );
    let padded = format!("{form}&padding={}", "x".repeat(70_000));
    std::fs::write(installation.path("padded"), padded).unwrap();
    let padded = format!("@{}", installation.path("padded").display());
    let long = ask(&["-d", &padded, &url]);
    causes.refused(
        "body too long",
        &long,
        (413, "invalid_request"),
        "request body within its limits",
        "65536",
    );
    let get = ask(&[&url]);
    causes.refused(
        "wrong method",
        &get,
        (405, "invalid_request"),
        "HTTP method of the endpoint",
        "GET",
    );
    let json = ask(&["-H", "Content-Type: application/json", "-d", "{}", &url]);
    let rule = "media type application/x-www-form-urlencoded";
    causes.refused(
        "wrong media type",
        &json,
        (415, "invalid_request"),
        rule,
        "application/json",
    );
    let path = ask(&["-d", form, &installation.mutual_tls("/tokens")]);
    causes.refused(
        "wrong path",
        &path,
        (404, "invalid_request"),
        "path of an endpoint",
        "/tokens",
    );
    assert_eq!(causes.shown.len(), 7);
}

// covers UX-2, T11, MTLS-6.5-1, R9440-2, R9440-3, R9440-5, TRAP-29, TRAP-30
#[test]
fn the_first_failed_rule_is_what_is_wrong_with_a_forwarded_certificate() {
    let scene = Scene::new();
    let openssl = &scene.openssl;
    openssl.authority("corp", "/O=Corp/CN=Corp CA");
    let names = |name, alternative_names| Wanted {
        alternative_names: Some(alternative_names),
        ..Wanted::new(name, "/CN=a")
    };
    openssl.certificate(names("proxy", "DNS:proxy.example.com"), Some("corp"));
    openssl.certificate(names("right", "DNS:a.example.com"), Some("corp"));
    let expired = Wanted {
        expired: true,
        ..names("expired", "DNS:a.example.com")
    };
    openssl.certificate(expired, Some("corp"));
    scene.trusts("corp", "");
    scene.append(
        "keybound.toml",
        "[[forwarded_certificate]]\nlistener = \"mutual_tls\"\nformat = \"client-cert\"\nfrom = [\"127.0.0.2/32\"]\n\
         proxy_san_dns = \"proxy.example.com\"\ntrust_anchors = [\"corp\"]",
    );
    scene.client(
        "a",
        &tls_client_auth("corp", "tls_client_auth_san_dns", "a.example.com"),
    );
    let key = openssl.signing_key("signer");
    let jwt = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [key] } });
    scene.client("jwt", &jwt);
    let issuer = scene.issuer();
    let (installation, openssl) = scene.start();
    let url = installation.mutual_tls("/token");
    let send = |address: &str, certificate, form: &str, headers: &[&str]| -> Answer {
        let mut arguments = vec!["--interface", address, "-d", form];
        headers.iter().for_each(|header| arguments.extend(["-H", header]));
        arguments.push(&url);
        ask(&installation, &openssl, certificate, &arguments)
    };
    let form = "grant_type=client_credentials&client_id=a";
    let header = format!("Client-Cert: {}", openssl.client_cert("right"));
    let by_proxy = |headers: &[&str]| send("127.0.0.2", Some("proxy"), form, headers);
    access_token(&by_proxy(&[&header]));
    access_token(&send("127.0.0.1", Some("right"), form, &[]));

    let mut causes = Causes::new(&installation);
    let untrusted = send("127.0.0.2", None, form, &[&header]);
    let says = "did not authenticate as the configured proxy proxy.example.com";
    causes.refused(
        "proxy without its certificate",
        &untrusted,
        INVALID_CLIENT,
        PRESENTED,
        says,
    );
    let untrusted = send("127.0.0.2", Some("right"), form, &[&header]);
    causes.refused(
        "proxy with another certificate",
        &untrusted,
        INVALID_CLIENT,
        PRESENTED,
        says,
    );
    let elsewhere = send("127.0.0.3", None, form, &[&header]);
    causes.refused(
        "proxy that is not listed",
        &elsewhere,
        INVALID_CLIENT,
        PRESENTED,
        "no client certificate was presented",
    );
    let missing = by_proxy(&[]);
    causes.refused(
        "header missing",
        &missing,
        INVALID_CLIENT,
        PRESENTED,
        "no client certificate was presented",
    );
    let malformed = by_proxy(&["Client-Cert: :not base64:"]);
    causes.refused(
        "header malformed",
        &malformed,
        INVALID_CLIENT,
        PRESENTED,
        "Client-Cert is malformed",
    );
    let repeated = by_proxy(&[&header, &header]);
    causes.refused(
        "header repeated",
        &repeated,
        INVALID_CLIENT,
        PRESENTED,
        "Client-Cert was sent more than once",
    );
    let chain = format!("Client-Cert-Chain: {}", openssl.client_cert("corp"));
    let chain = by_proxy(&[&chain]);
    causes.refused(
        "chain alone",
        &chain,
        INVALID_CLIENT,
        PRESENTED,
        "Client-Cert-Chain was sent without Client-Cert",
    );
    let header = format!("Client-Cert: {}", openssl.client_cert("expired"));
    let expired = by_proxy(&[&header]);
    causes.refused(
        "forwarded one expired",
        &expired,
        INVALID_CLIENT,
        VALIDITY,
        "expired at",
    );
    let form = format!(
        "grant_type=client_credentials&client_id=jwt{}",
        with_assertion(&openssl.assertion("signer", "jwt", &issuer))
    );
    let nothing = send("127.0.0.2", Some("proxy"), &form, &["Client-Cert: :not base64:"]);
    let rule = "certificate presented to bind the access token to";
    causes.refused(
        "malformed, and nothing to bind to",
        &nothing,
        INVALID_REQUEST,
        rule,
        "Client-Cert is malformed",
    );
    assert_eq!(causes.shown.len(), 9);
}
