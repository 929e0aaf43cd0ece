//! RFC 8705 §3 and §4: which tokens are bound, and to what.

use http::StatusCode;
use keybound_protocol::client_assertion::CLIENT_ASSERTION_TYPE;
use serde_json::{Value, json};

use crate::pki::{Authority, dns, self_signed};
use crate::rfc8705_2::{assertion, private_key_jwt_client};
use crate::world::{
    API, NOW, OPAQUE_API, OTHER_API, Plan, Reply, Side, World, claims, credentials, jose_header, self_signed_client,
    tls_client, with,
};

fn bound(flag: bool) -> Value {
    json!({"tls_client_certificate_bound_access_tokens": flag})
}

/// What introspection says about a token, asked by a caller that may know.
async fn introspected(world: &World, authority: &Authority, token: &str) -> Value {
    let caller = authority.issue(dns("rs.example"));
    world
        .post(Some(&caller), "/introspect", &[("client_id", "rs"), ("token", token)])
        .await
        .json()
}

fn resource_server() -> Value {
    with(
        tls_client("rs.example"),
        json!({"keybound_introspects": [API, OPAQUE_API]}),
    )
}

// covers MTLS-3-1, MTLS-3-2, MTLS-3.1-1, MTLS-3.1-2, MTLS-3.1-3, MTLS-3.1-4, MTLS-3.1-5, MTLS-9.1-1, MTLS-3.2-1, MTLS-3.2-2, MTLS-9.4-1, TRAP-1
#[tokio::test]
async fn jwt_and_opaque_tokens_carry_the_thumbprint_of_the_presented_certificate() {
    let authority = Authority::root("corp");
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("demo", tls_client("demo.example"))
        .client("rs", resource_server())
        .start()
        .await;
    let leaf = authority.issue(dns("demo.example"));
    let jwt = world.access_token(&leaf, "demo", &[]).await;
    let opaque = world.access_token(&leaf, "demo", &[("resource", OPAQUE_API)]).await;
    assert_eq!((jwt.split('.').count(), opaque.split('.').count()), (3, 1));
    let expected = json!({"x5t#S256": leaf.thumbprint()});
    assert_eq!(claims(&jwt)["cnf"], expected);
    let value = leaf.thumbprint();
    assert!(
        value.len() == 43
            && value
                .bytes()
                .all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(&octet))
    );
    for (token, audience) in [(&jwt, API), (&opaque, OPAQUE_API)] {
        let response = introspected(&world, &authority, token).await;
        assert_eq!(
            (&response["active"], &response["cnf"]),
            (&json!(true), &expected),
            "{response}"
        );
        assert_eq!(
            (&response["aud"], &response["token_type"]),
            (&json!(audience), &json!("Bearer"))
        );
    }
}

// covers MTLS-3-14, TRAP-48, FAPI-12, FAPI-18, R6749-9
#[tokio::test]
async fn a_bound_token_is_a_bearer_token_and_comes_without_a_refresh_token() {
    let authority = Authority::root("corp");
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("demo", tls_client("demo.example"))
        .start()
        .await;
    let reply = world.token(Some(&authority.issue(dns("demo.example"))), "demo").await;
    let body = reply.json();
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["expires_in"], 300);
    let names: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(names, ["access_token", "expires_in", "scope", "token_type"]);
}

// covers R9700-3
#[tokio::test]
async fn a_token_is_bound_and_for_one_audience_also_if_none_was_asked_for() {
    let authority = Authority::root("corp");
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("demo", tls_client("demo.example"))
        .start()
        .await;
    let leaf = authority.issue(dns("demo.example"));
    // There is no token for everywhere, and none for a place that nobody configured.
    for resource in ["*", "https://unknown.example", "https://api.example/#all"] {
        let form = [&credentials("demo")[..], &[("resource", resource)]].concat();
        let reply = world.post(Some(&leaf), "/token", &form).await;
        world
            .assert_refused(&reply, 400, "invalid_target", "one configured resource asked for")
            .await;
    }
    for (more, audience) in [(&[][..], API), (&[("resource", OTHER_API)], OTHER_API)] {
        let claims = claims(&world.access_token(&leaf, "demo", more).await);
        assert_eq!(claims["aud"], audience);
        assert_eq!(claims["cnf"], json!({"x5t#S256": leaf.thumbprint()}));
    }
}

// covers MTLS-1-2, MTLS-3-4, MTLS-3.4-1, R7523-4, R-FAPI-8, TRAP-47, T2
#[tokio::test]
async fn a_token_is_bound_if_and_only_if_the_client_registered_so_however_it_authenticates() {
    let authority = Authority::root("corp");
    let key = self_signed(dns("key"));
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("tls-bound", with(tls_client("demo.example"), bound(true)))
        .client("tls-unbound", with(tls_client("demo.example"), bound(false)))
        .client("jwt-bound", with(private_key_jwt_client(&key), bound(true)))
        .client("jwt-unbound", with(private_key_jwt_client(&key), bound(false)))
        .start()
        .await;
    let leaf = authority.issue(dns("demo.example"));
    for client_id in ["tls-bound", "tls-unbound", "jwt-bound", "jwt-unbound"] {
        let assertion = assertion(&key, client_id, client_id, NOW);
        let mut form = credentials(client_id).to_vec();
        if client_id.starts_with("jwt") {
            form.extend([
                ("client_assertion_type", CLIENT_ASSERTION_TYPE),
                ("client_assertion", &assertion),
            ]);
        }
        let reply = world.post(Some(&leaf), "/token", &form).await;
        let cnf = claims(reply.json()["access_token"].as_str().unwrap())["cnf"].clone();
        let expected = if client_id.ends_with("unbound") {
            Value::Null
        } else {
            json!({"x5t#S256": leaf.thumbprint()})
        };
        assert_eq!(cnf, expected, "{client_id}");
    }
}

// covers MTLS-3.4-2, MTLS-2-2, T2
#[tokio::test]
async fn a_flagged_client_without_a_certificate_gets_nothing_and_spends_nothing() {
    let authority = Authority::root("corp");
    let key = self_signed(dns("key"));
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("tls", tls_client("demo.example"))
        .client("self", self_signed_client(&[&key]))
        .client("jwt", with(private_key_jwt_client(&key), bound(true)))
        .start()
        .await;
    for client_id in ["tls", "self"] {
        let reply = world.token(None, client_id).await;
        world
            .assert_refused(&reply, 400, "invalid_client", "client certificate presented")
            .await;
    }
    let assertion = assertion(&key, "jwt", "once", NOW);
    let mut form = credentials("jwt").to_vec();
    form.extend([
        ("client_assertion_type", CLIENT_ASSERTION_TYPE),
        ("client_assertion", &assertion),
    ]);
    for side in [Side::Public, Side::MutualTls] {
        let reply = world.peer(side, None).post("/token", &form).await;
        world
            .assert_refused(
                &reply,
                400,
                "invalid_request",
                "certificate presented to bind the access token to",
            )
            .await;
    }
    // The assertion was not spent: with a certificate, any certificate, it is good for one token.
    let reply = world.post(Some(&key), "/token", &form).await;
    assert_eq!(
        claims(reply.json()["access_token"].as_str().unwrap())["cnf"]["x5t#S256"],
        key.thumbprint()
    );
    let reply = world.post(Some(&key), "/token", &form).await;
    world
        .assert_refused(&reply, 400, "invalid_client", "client assertion used once")
        .await;
}

// covers MTLS-4-5, MTLS-6.1-4, T5, T11, TRAP-29, R9440-5, R9440-6
#[tokio::test]
async fn a_certificate_in_a_header_or_parameter_is_nobodys() {
    let authority = Authority::root("corp");
    let key = self_signed(dns("key"));
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("demo", tls_client("demo.example"))
        .client("jwt", with(private_key_jwt_client(&key), bound(true)))
        .start()
        .await;
    let victim = authority.issue(dns("demo.example"));
    let value = format!(
        ":{}:",
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &victim.der)
    );
    let pem = crate::pki::pem("CERTIFICATE", &victim.der).replace('\n', " ");
    let forged: [(&str, &str); 6] = [
        ("client-cert", &value),
        ("x-forwarded-client-cert", &pem),
        ("x-ssl-client-cert", &pem),
        ("ssl-client-cert", &pem),
        ("x-client-cert", &pem),
        ("client_cert", &value),
    ];
    for (name, value) in forged {
        for side in [Side::Public, Side::MutualTls] {
            let peer = world.peer(side, None);
            let reply = peer.post_with("/token", &credentials("demo"), &[(name, value)]).await;
            world
                .assert_refused(&reply, 400, "invalid_client", "client certificate presented")
                .await;
        }
        // And it is not what a token is bound to: that is the certificate of the connection.
        let assertion = assertion(&key, "jwt", name, NOW);
        let mut form = credentials("jwt").to_vec();
        form.extend([
            ("client_assertion_type", CLIENT_ASSERTION_TYPE),
            ("client_assertion", &assertion),
        ]);
        form.extend([("client_certificate", value), ("x5c", value)]);
        let reply = world
            .peer(Side::MutualTls, Some(&key))
            .post_with("/token", &form, &[(name, value)])
            .await;
        assert_eq!(
            claims(reply.json()["access_token"].as_str().unwrap())["cnf"]["x5t#S256"],
            key.thumbprint()
        );
    }
}

// covers R9068-1, R9068-2, R9068-3, R9068-4, MTLS-7.2-1, R7800-1
#[tokio::test]
async fn a_jwt_has_the_claims_and_the_type_of_rfc_9068() {
    let authority = Authority::root("corp");
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("demo", tls_client("demo.example"))
        .start()
        .await;
    let leaf = authority.issue(dns("demo.example"));
    let (one, two) = (
        world.access_token(&leaf, "demo", &[]).await,
        world.access_token(&leaf, "demo", &[]).await,
    );
    let header = jose_header(&one);
    let keys = world.peer(Side::Public, None).get("/jwks").await.json();
    assert_eq!(
        (&header["typ"], &header["alg"], &header["kid"]),
        (&json!("at+jwt"), &json!("ES256"), &keys["keys"][0]["kid"])
    );
    let mut claims_of_one = claims(&one);
    let token_id = claims_of_one.as_object_mut().unwrap().remove("jti").unwrap();
    assert_ne!(token_id, claims(&two)["jti"]);
    let expected = json!({
        "iss": "https://as.example", "client_id": "demo", "sub": "demo", "aud": API, "scope": "read write",
        "iat": NOW, "exp": NOW + 300, "cnf": {"x5t#S256": leaf.thumbprint()},
    });
    assert_eq!(claims_of_one, expected);
}

// covers R8707-1, R8707-2, R9068-4
#[tokio::test]
async fn a_token_is_for_one_configured_resource() {
    let authority = Authority::root("corp");
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("demo", tls_client("demo.example"))
        .start()
        .await;
    let leaf = authority.issue(dns("demo.example"));
    let other = crate::world::OTHER_API;
    for (asked, audience) in [
        (vec![other], other),
        (vec![other, other], other),
        (vec![API], API),
        (vec![], API),
        (vec![""], API),
    ] {
        let asked: Vec<(&str, &str)> = asked.into_iter().map(|uri| ("resource", uri)).collect();
        let token = world.access_token(&leaf, "demo", &asked).await;
        assert_eq!(claims(&token)["aud"], audience);
    }
    let refused: [&[&str]; 7] = [
        &["https://unknown.example"],
        &["https://api.example/"],
        &[API, other],
        &["/relative"],
        &["https://api.example#fragment"],
        &["not a uri"],
        &["https://as.example/admin"],
    ];
    for asked in refused {
        let asked: Vec<(&str, &str)> = asked.iter().map(|uri| ("resource", *uri)).collect();
        let form = [&credentials("demo")[..], &asked].concat();
        let reply = world.post(Some(&leaf), "/token", &form).await;
        assert_eq!(
            (reply.status, &reply.json()["error"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_target")),
            "{asked:?}"
        );
    }
    let mut plan = Plan::new()
        .trusts("corp", &authority)
        .client("demo", tls_client("demo.example"));
    plan.settings.tokens.default_resource = None;
    let world = plan.start().await;
    let reply = world.token(Some(&leaf), "demo").await;
    world
        .assert_refused(&reply, 400, "invalid_target", "one configured resource asked for")
        .await;
}

async fn scoped(world: &World, leaf: &crate::pki::Leaf, client_id: &str, scope: &str) -> Reply {
    let form = [&credentials(client_id)[..], &[("scope", scope)]].concat();
    world.post(Some(leaf), "/token", &form).await
}

// covers R6749-11
#[tokio::test]
async fn scope_is_granted_whole_or_refused_and_has_a_default() {
    let authority = Authority::root("corp");
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("demo", tls_client("demo.example"))
        .client("none", with(tls_client("demo.example"), json!({"scope": ""})))
        .start()
        .await;
    let leaf = authority.issue(dns("demo.example"));
    for (asked, granted) in [
        ("read", "read"),
        ("write read", "write read"),
        ("read read", "read"),
        ("", "read write"),
    ] {
        let reply = scoped(&world, &leaf, "demo", asked).await;
        assert_eq!(reply.json()["scope"], granted);
        assert_eq!(claims(reply.json()["access_token"].as_str().unwrap())["scope"], granted);
    }
    for asked in [
        "admin",
        "read admin",
        "READ",
        "read  write",
        " read",
        "r\"ead",
        "keybound:admin",
    ] {
        let reply = scoped(&world, &leaf, "demo", asked).await;
        world
            .assert_refused(&reply, 400, "invalid_scope", "scope registered")
            .await;
    }
    let reply = world.token(Some(&leaf), "none").await;
    assert_eq!(
        (
            &reply.json()["scope"],
            &claims(reply.json()["access_token"].as_str().unwrap())["scope"]
        ),
        (&Value::Null, &Value::Null)
    );
}
