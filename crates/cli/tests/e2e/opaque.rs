//! Opaque access tokens from end to end: issued, told about (RFC 7662), given up (RFC 7009), checked by a gateway that asks.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::causes::tls_client_auth;
use crate::installation::{Answer, Installation};
use crate::openssl::{OpenSsl, Wanted};
use crate::scene::{Daemon, Scene, access_token, ask, claims, free_port, now, token, with_assertion};

const API: &str = "https://api.example";

/// Clients whose tokens are opaque, and callers who may be told about them, or not.
struct World {
    installation: Installation,
    openssl: OpenSsl,
}

impl World {
    fn new(lifetime: &str) -> Self {
        let scene = Scene::new();
        scene.openssl.authority("corp", "/O=Corp/CN=Corp CA");
        scene.trusts("corp", "");
        scene.replace(
            "keybound.toml",
            "access_token_lifetime = \"5m\"",
            &format!("access_token_lifetime = \"{lifetime}\""),
        );
        let table = format!("[[resources]]\nuri = \"{API}\"\naccess_token_format = \"opaque\"");
        scene.append("keybound.toml", &table);
        let key = scene.openssl.signing_key("signer");
        for name in ["a", "b", "api", "nosy", "jwt"] {
            scene
                .openssl
                .certificate(Wanted::new(name, &format!("/CN={name}")), Some("corp"));
            let mut client = tls_client_auth("corp", "tls_client_auth_subject_dn", &format!("CN={name}"));
            match name {
                "api" => client["keybound_introspects"] = json!([API]),
                "nosy" => client["keybound_introspects"] = json!([scene.resource()]),
                "jwt" => {
                    client = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [&key] } })
                }
                _ => {}
            }
            scene.client(name, &client);
        }
        let (installation, openssl) = scene.start();
        Self { installation, openssl }
    }

    /// A token for the API.
    fn token(&self, client_id: &str, more: &str) -> String {
        let more = format!("&resource=https%3A%2F%2Fapi.example{more}");
        access_token(&token(
            &self.installation,
            &self.openssl,
            Some(client_id),
            client_id,
            &more,
        ))
    }

    fn post(&self, caller: &str, path: &str, form: &str) -> Answer {
        let form = format!("client_id={caller}&{form}");
        let url = self.installation.mutual_tls(path);
        ask(&self.installation, &self.openssl, Some(caller), &["-d", &form, &url])
    }

    fn introspect(&self, caller: &str, token: &str) -> Answer {
        let answer = self.post(caller, "/introspect", &format!("token={token}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
        answer
    }

    fn is_active(&self, token: &str) -> bool {
        self.introspect("api", token).json()["active"] == true
    }

    fn call(&self, url: &str, certificate: Option<&str>, token: &str) -> Answer {
        let header = format!("Authorization: Bearer {token}");
        ask(&self.installation, &self.openssl, certificate, &["-H", &header, url])
    }
}

/// Nothing distinguishes one inactive token from another: not a byte, and no number of a refusal.
fn inactive(answer: &Answer) {
    assert_eq!(answer.body, r#"{"active":false}"#, "{answer:?}");
    assert_eq!(answer.refusal(), "", "{answer:?}");
}

// covers MTLS-3.2-1, MTLS-3.2-2, MTLS-9.4-1, R7662-1, R7662-2, R7662-3, R7009-1, R7009-2, R7009-3, R7009-5, T10, TRAP-28, TRAP-49, I2
#[test]
fn an_opaque_token_is_shown_to_its_resource_alone_until_it_is_given_up() {
    let world = World::new("5m");
    let opaque = world.token("a", "");
    assert!(!opaque.contains('.'), "{opaque}");
    let shown = world.introspect("api", &opaque).json();
    let thumbprint = world.openssl.thumbprint("a");
    for (name, value) in [
        ("active", json!(true)),
        ("client_id", json!("a")),
        ("sub", json!("a")),
        ("token_type", json!("Bearer")),
        ("iss", json!(world.installation.public(""))),
        ("cnf", json!({ "x5t#S256": thumbprint })),
    ] {
        assert_eq!(shown[name], value, "{shown}");
    }
    assert!(shown["aud"] == API || shown["aud"] == json!([API]), "{shown}");
    assert!(shown["exp"].as_u64().unwrap() > now(), "{shown}");

    // Callers without a right to it, its own client included; tokens that never were; one for another resource.
    for caller in ["nosy", "b", "a"] {
        inactive(&world.introspect(caller, &opaque));
    }
    let foreign = access_token(&token(&world.installation, &world.openssl, Some("a"), "a", ""));
    let mut altered = opaque.clone();
    let last = if altered.pop() == Some('A') { 'B' } else { 'A' };
    altered.push(last);
    for unknown in [&foreign, &altered, "x", "a.b.c", &"x".repeat(500)] {
        inactive(&world.introspect("api", unknown));
    }
    // Nobody is told anything who is not known at all.
    let url = world.installation.mutual_tls("/introspect");
    let form = format!("client_id=api&token={opaque}");
    for certificate in [None, Some("nosy")] {
        let answer = ask(&world.installation, &world.openssl, certificate, &["-d", &form, &url]);
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (401, "invalid_client"),
            "{answer:?}"
        );
        assert!(answer.header("www-authenticate").is_some(), "{answer:?}");
    }

    // Another client cannot give it up; whatever it says to be, it goes when its own client says so, and stays gone.
    let revoke = |caller: &str, more: &str| world.post(caller, "/revoke", &format!("token={opaque}{more}"));
    let refused = revoke("b", "");
    assert_eq!(
        (refused.status, refused.error().as_str()),
        (400, "invalid_grant"),
        "{refused:?}"
    );
    assert!(world.is_active(&opaque));
    let other = world.token("a", "");
    assert_eq!(revoke("a", "&token_type_hint=refresh_token").status, 200);
    inactive(&world.introspect("api", &opaque));
    assert!(world.is_active(&other), "one token was given up, not two");
    assert_eq!(revoke("a", "").status, 200);
    assert_eq!(world.post("a", "/revoke", "token=never-was-one").status, 200);
    inactive(&world.introspect("api", &opaque));
}

// covers R7662-3, I2, I4
#[test]
fn an_opaque_token_ends_with_its_time_and_a_revocation_outlives_a_restart() {
    let world = World::new("10s");
    let (opaque, revoked) = (world.token("a", ""), world.token("a", ""));
    assert_eq!(world.post("a", "/revoke", &format!("token={revoked}")).status, 200);
    let until = world.introspect("api", &opaque).json()["exp"].as_u64().unwrap();
    let World { installation, openssl } = world;
    let offset = installation.offset;
    let installation = Installation::start_in(installation.stop(), offset);
    let world = World { installation, openssl };
    if now() + 1 < until {
        assert!(world.is_active(&opaque));
    }
    inactive(&world.introspect("api", &revoked));
    let begun = Instant::now();
    while now() <= until {
        assert!(begun.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(100));
    }
    inactive(&world.introspect("api", &opaque));
}

/// A gateway that asks about every token, as the client `api`.
fn asking_gateway(world: &World) -> (Daemon, String) {
    let (port, operations) = (free_port(), free_port());
    let issuer = world.installation.public("");
    let text = format!(
        "listen = \"127.0.0.1:{port}\"\noperations = \"127.0.0.1:{operations}\"\nresource = \"{API}\"\n\
         tls.certificate = \"pki/server.pem\"\ntls.key = \"pki/server.key\"\noutgoing.ca = [\"pki/ca.pem\"]\n\
         [[issuers]]\nissuer = \"{issuer}\"\nvalidation = \"introspection\"\nclient_id = \"api\"\n\
         certificate = \"openssl/api.pem\"\nkey = \"openssl/api.key\"\n\
         [[routes]]\npath = \"/\"\nupstream = \"demo:\"\n"
    );
    let file = world.installation.path("asking.toml");
    std::fs::write(&file, text).unwrap();
    (Daemon::gateway(&file, port), format!("https://localhost:{port}/hello"))
}

fn invalid_token(answer: &Answer) {
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (401, "invalid_token"),
        "{answer:?}"
    );
    assert!(
        answer
            .header("www-authenticate")
            .unwrap()
            .contains("error=\"invalid_token\""),
        "{answer:?}"
    );
}

// covers MTLS-3.2-3, MTLS-3-4, MTLS-3-10, MTLS-3-11, MTLS-3-12, MTLS-3-13, R7523-4, R7662-4, T1, TRAP-27, TRAP-28
#[test]
fn a_gateway_that_asks_the_issuer_compares_the_binding_and_sees_the_revocation() {
    let world = World::new("5m");
    let (_gateway, url) = asking_gateway(&world);
    let assertion = || with_assertion(&world.openssl.assertion("signer", "jwt", &world.installation.public("")));
    // However the client authenticated: by its certificate, or by an assertion beside one.
    let clients = [("a", String::new()), ("jwt", assertion())];
    let tokens = clients.map(|(client_id, more)| (client_id, world.token(client_id, &more)));
    for (client_id, opaque) in &tokens {
        assert!(!opaque.contains('.'), "{opaque}");
        let forwarded = world.call(&url, Some(client_id), opaque);
        assert_eq!(forwarded.status, 200, "{forwarded:?}");
        assert!(
            forwarded.body.contains(&world.openssl.client_cert(client_id)),
            "{forwarded:?}"
        );
        // Warm as it is: the answer is remembered, the verdict is not. The gateway's own certificate is nobody's either.
        for other in [Some("b"), Some("api"), None] {
            invalid_token(&world.call(&url, other, opaque));
        }
        assert_eq!(world.call(&url, Some(client_id), opaque).status, 200);
    }
    for ((client_id, opaque), more) in tokens.iter().zip([String::new(), assertion()]) {
        let revoked = world.post(client_id, "/revoke", &format!("token={opaque}{more}"));
        assert_eq!(revoked.status, 200, "{revoked:?}");
        inactive(&world.introspect("api", opaque));
    }
    // A gateway believes an answer for 30 s at most.
    let begun = Instant::now();
    for (client_id, opaque) in &tokens {
        while world.call(&url, Some(client_id), opaque).status == 200 {
            assert!(
                begun.elapsed() < Duration::from_secs(40),
                "the revocation never arrived"
            );
            std::thread::sleep(Duration::from_millis(200));
        }
        invalid_token(&world.call(&url, Some(client_id), opaque));
    }
    // A token for another resource is not even told about, so it is none.
    let foreign = access_token(&token(&world.installation, &world.openssl, Some("a"), "a", ""));
    invalid_token(&world.call(&url, Some("a"), &foreign));
    invalid_token(&world.call(&url, Some("a"), "never-was-one"));
}

// covers MTLS-3-4, MTLS-3.1-1, MTLS-3.1-2, R7523-4
#[test]
fn an_assertion_of_openssl_gets_a_jwt_that_is_bound_to_the_certificate_beside_it() {
    let world = World::new("5m");
    let assertion = || with_assertion(&world.openssl.assertion("signer", "jwt", &world.installation.public("")));
    // Which certificate is the client's own affair: the binding follows the connection.
    for own in ["jwt", "b"] {
        let answer = token(&world.installation, &world.openssl, Some(own), "jwt", &assertion());
        let jwt = access_token(&answer);
        assert_eq!(
            claims(&jwt)["cnf"],
            json!({ "x5t#S256": world.openssl.thumbprint(own) })
        );
        let url = world.installation.gateway("/hello");
        assert_eq!(world.call(&url, Some(own), &jwt).status, 200);
        for other in [Some("a"), None] {
            invalid_token(&world.call(&url, other, &jwt));
        }
    }
}
