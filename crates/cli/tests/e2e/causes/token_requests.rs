//! What is wrong with a token request whose certificate, if any, is a good one.

use serde_json::{Value, json};

use crate::causes::{Causes, INVALID_CLIENT, INVALID_REQUEST, PRESENTED, tls_client_auth};
use crate::openssl::Wanted;
use crate::scene::{Scene, access_token, ask, assertion_claims, free_port, now, serve_files, token, with_assertion};

// covers UX-2, MTLS-2-1, MTLS-2-3, MTLS-2-8, MTLS-2.2-4, MTLS-3.4-2, MTLS-5-2, TRAP-19, TRAP-40, R6749-1, R6749-2, R7523-1, R7523-2, R7591-2, R8707-1
#[test]
fn the_first_failed_rule_is_what_is_wrong_with_a_token_request() {
    let scene = Scene::new();
    let names = Some("DNS:a.example.com");
    scene.openssl.authority("corp", "/O=Corp/CN=Corp CA");
    let right = Wanted {
        alternative_names: names,
        ..Wanted::new("right", "/C=BR/O=Example/CN=a")
    };
    scene.openssl.certificate(right, Some("corp"));
    for name in ["self", "self-other"] {
        scene.openssl.certificate(Wanted::new(name, "/CN=self"), None);
    }
    scene.trusts("corp", "");
    scene.client(
        "dn",
        &tls_client_auth("corp", "tls_client_auth_subject_dn", "CN=a,O=Example,C=BR"),
    );
    let key = scene.openssl.signing_key("signer");
    scene.openssl.signing_key("stranger-signer");
    let jwk = scene.openssl.certificate_jwk("self");
    let published = json!({ "keys": [&jwk] });
    let port = free_port();
    let _keys = serve_files(&scene.path("published"), &scene.path("pki"), port);
    std::fs::write(scene.path("published/keys.json"), published.to_string()).unwrap();
    std::fs::write(scene.path("published/nonsense.json"), "[]").unwrap();
    let self_signed =
        |keys: &str, value: Value| json!({ "token_endpoint_auth_method": "self_signed_tls_client_auth", keys: value });
    scene.client("self", &self_signed("jwks", published));
    scene.client(
        "self-uri",
        &self_signed("jwks_uri", json!(format!("https://localhost:{port}/keys.json"))),
    );
    scene.client(
        "nonsense",
        &self_signed("jwks_uri", json!(format!("https://localhost:{port}/nonsense.json"))),
    );
    let nobody = free_port();
    scene.client(
        "unreachable",
        &self_signed("jwks_uri", json!(format!("https://localhost:{nobody}/keys.json"))),
    );
    let jwt =
        json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [key] }, "scope": "accounts" });
    scene.client("jwt", &jwt);
    let issuer = scene.issuer();
    let (installation, openssl) = scene.start();
    let ask_token =
        |client_id: &str, certificate, more: &str| token(&installation, &openssl, certificate, client_id, more);
    let good = || with_assertion(&openssl.assertion("signer", "jwt", &issuer));
    access_token(&ask_token("self", Some("self"), ""));
    access_token(&ask_token("self-uri", Some("self"), ""));
    access_token(&ask_token("jwt", Some("right"), &good()));
    let temporary = json!({ "client_id": "temporary", "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_san_dns": "a.example.com", "grant_types": ["client_credentials"] });
    std::fs::write(installation.path("temporary.json"), temporary.to_string()).unwrap();
    installation
        .run(&["client", "create", "--file", "temporary.json"])
        .expect_code(0);
    access_token(&ask_token("temporary", Some("right"), ""));
    installation.run(&["client", "delete", "temporary"]).expect_code(0);

    let mut causes = Causes::new(&installation);
    const REGISTERED: &str = "one of the registered certificates, octet for octet";
    const KEYS: &str = "registered keys available";
    const ONE_METHOD: &str = "one authentication method used";
    const METHOD: &str = "registered authentication method used";
    let other = Some("self-other");
    let lacks = ask_token("self", other, "");
    causes.refused(
        "key set lacks the certificate",
        &lacks,
        INVALID_CLIENT,
        REGISTERED,
        &openssl.thumbprint("self-other"),
    );
    let lacks = ask_token("self-uri", other, "");
    causes.refused(
        "published key set lacks it",
        &lacks,
        INVALID_CLIENT,
        REGISTERED,
        &openssl.thumbprint("self"),
    );
    let fetch = ask_token("unreachable", Some("self"), "");
    causes.refused(
        "key set cannot be fetched",
        &fetch,
        INVALID_CLIENT,
        KEYS,
        "could not be fetched",
    );
    let fetch = ask_token("nonsense", Some("self"), "");
    causes.refused("key set is none", &fetch, INVALID_CLIENT, KEYS, "JSON");
    let both = ask_token("dn", Some("right"), "&client_secret=guess");
    causes.refused(
        "certificate and secret",
        &both,
        INVALID_REQUEST,
        ONE_METHOD,
        "client_secret_post",
    );
    let secret = ask_token("dn", None, "&client_secret=guess");
    causes.refused(
        "secret instead of certificate",
        &secret,
        INVALID_CLIENT,
        METHOD,
        "client_secret_post",
    );
    let certificate = ask_token("jwt", Some("right"), "");
    causes.refused(
        "certificate instead of assertion",
        &certificate,
        INVALID_CLIENT,
        METHOD,
        "private_key_jwt",
    );
    let assertion = with_assertion(&openssl.assertion("signer", "dn", &issuer));
    let assertion = ask_token("dn", Some("right"), &assertion);
    causes.refused(
        "assertion instead of certificate",
        &assertion,
        INVALID_CLIENT,
        METHOD,
        "tls_client_auth",
    );
    let unknown = ask_token("nobody", Some("right"), "");
    causes.refused(
        "unknown client",
        &unknown,
        INVALID_CLIENT,
        "client registered",
        "nobody",
    );
    let deleted = ask_token("temporary", Some("right"), "");
    causes.refused(
        "deleted client",
        &deleted,
        INVALID_CLIENT,
        "client registered",
        "temporary",
    );
    let url = installation.mutual_tls("/token");
    let nameless = ask(
        &installation,
        &openssl,
        Some("right"),
        &["-d", "grant_type=client_credentials", &url],
    );
    causes.refused(
        "no client_id",
        &nameless,
        INVALID_CLIENT,
        "client_id sent",
        "no client_id",
    );
    let form = "grant_type=client_credentials&client_id=dn";
    let alias = ask(
        &installation,
        &openssl,
        Some("right"),
        &["-d", form, &installation.public("/token")],
    );
    causes.refused(
        "wrong host alias",
        &alias,
        INVALID_CLIENT,
        PRESENTED,
        "a listener that does not ask for a client certificate",
    );

    const ASSERTION: &str = "client assertion";
    let signed = |key: &str, kid: &str, changes: Value| {
        let mut claims = assertion_claims("jwt", &issuer);
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        ask_token(
            "jwt",
            Some("right"),
            &with_assertion(&openssl.jws(key, "JWT", kid, &claims)),
        )
    };
    let late = signed("signer", "signer", json!({ "iat": now() - 200, "exp": now() - 100 }));
    causes.refused("assertion expired", &late, INVALID_CLIENT, ASSERTION, "expired at");
    let skewed = signed(
        "signer",
        "signer",
        json!({ "iat": now() + 300, "nbf": now() + 300, "exp": now() + 360 }),
    );
    causes.refused("clocks differ", &skewed, INVALID_CLIENT, ASSERTION, "it is 20");
    let audience = signed("signer", "signer", json!({ "aud": "https://elsewhere.example" }));
    causes.refused(
        "assertion for another server",
        &audience,
        INVALID_CLIENT,
        ASSERTION,
        "elsewhere.example",
    );
    let key = signed("stranger-signer", "stranger-signer", json!({}));
    causes.refused(
        "assertion by an unknown key",
        &key,
        INVALID_CLIENT,
        ASSERTION,
        "no known key",
    );
    let forged = signed("stranger-signer", "signer", json!({}));
    causes.refused(
        "assertion forged",
        &forged,
        INVALID_CLIENT,
        ASSERTION,
        "the signature is wrong",
    );
    let assertion = good();
    access_token(&ask_token("jwt", Some("right"), &assertion));
    let again = ask_token("jwt", Some("right"), &assertion);
    causes.refused(
        "assertion used twice",
        &again,
        INVALID_CLIENT,
        "client assertion used once",
        "used before",
    );

    let binding = "certificate presented to bind the access token to";
    let unbound = ask_token("jwt", None, &good());
    causes.refused(
        "nothing to bind to",
        &unbound,
        INVALID_REQUEST,
        binding,
        "none was presented",
    );
    let form = format!("grant_type=client_credentials&client_id=jwt{}", good());
    let alias = ask(
        &installation,
        &openssl,
        Some("right"),
        &["-d", &form, &installation.public("/token")],
    );
    causes.refused(
        "nothing to bind to here",
        &alias,
        INVALID_REQUEST,
        binding,
        "this listener does not ask for one",
    );
    let excess = ask_token("jwt", Some("right"), &format!("&scope=accounts+payments{}", good()));
    causes.refused(
        "scope not registered",
        &excess,
        (400, "invalid_scope"),
        "scope registered",
        "not registered: payments",
    );
    let resource = ask_token("dn", Some("right"), "&resource=https%3A%2F%2Felsewhere.example");
    let rule = "one configured resource asked for";
    causes.refused(
        "resource unknown",
        &resource,
        (400, "invalid_target"),
        rule,
        "https://elsewhere.example",
    );
    let form = "grant_type=password&client_id=dn";
    let grant = ask(&installation, &openssl, Some("right"), &["-d", form, &url]);
    causes.refused(
        "grant type unknown",
        &grant,
        (400, "unsupported_grant_type"),
        "grant type supported",
        "password",
    );
    let twice = ask_token("dn", Some("right"), "&scope=a&scope=b");
    let rule = "well-formed form without repeated parameters";
    causes.refused("parameter repeated", &twice, INVALID_REQUEST, rule, "scope");
    assert_eq!(causes.shown.len(), 24);
}
