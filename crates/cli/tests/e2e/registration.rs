//! Secrets and dynamic registration, as an operator configures them and a client uses them.

use serde_json::{Value, json};

use crate::installation::{Answer, Installation};
use crate::scene::Scene;

const INITIAL: &str = "aW5pdGlhbCBhY2Nlc3MgdG9rZW4gb2YgcGFydG5lcnM";
const SECRET: &str = "c2VjcmV0IG9mIGEgY2xpZW50IGZyb20gYSBmaWxl";

/// With secrets, registration by the token `partners`, and a client from a file that has a secret.
fn installation() -> Installation {
    let scene = Scene::new();
    let secrets_on = "\"keybound_client_secret_sha256\".\nenabled = true";
    scene.replace(
        "keybound.toml",
        "\"keybound_client_secret_sha256\".\nenabled = false",
        secrets_on,
    );
    let registration =
        "[registration]\nenabled = true\ninitial_access_token_file = \"secrets/initial\"\nscopes = [\"read\"]";
    scene.replace("keybound.toml", "[registration]\nenabled = false", registration);
    scene.append(
        "keybound.toml",
        "[[scopes]]\nname = \"read\"\n[[scopes]]\nname = \"write\"",
    );
    std::fs::write(
        scene.path("secrets/initial"),
        format!("# who registers\n\npartners {INITIAL}\n"),
    )
    .unwrap();
    let hash = keybound_protocol::digest::hex(&keybound_protocol::digest::sha256(SECRET.as_bytes()));
    scene.client(
        "filed",
        &json!({
            "token_endpoint_auth_method": "client_secret_post", "keybound_client_secret_sha256": hash,
            "tls_client_certificate_bound_access_tokens": false,
        }),
    );
    scene.start().0
}

fn token(installation: &Installation, more: &[&str]) -> Answer {
    let url = installation.public("/token");
    let arguments = [&[&url, "-d", "grant_type=client_credentials"], more].concat();
    installation.curl(None, &arguments)
}

// covers R6749-3
#[test]
fn an_administrator_makes_a_client_with_a_secret_and_changes_it() {
    let installation = installation();
    let filed = ["-d", "client_id=filed", "-d"];
    assert_eq!(
        token(
            &installation,
            &[&filed[..], &[&format!("client_secret={SECRET}")]].concat()
        )
        .status,
        200
    );
    assert_eq!(
        token(&installation, &[&filed[..], &["client_secret=wrong"]].concat()).status,
        400
    );

    let create = [
        "--output",
        "json",
        "client",
        "create",
        "--set",
        "client_id=robot",
        "--set",
        "token_endpoint_auth_method=client_secret_basic",
        "--set",
        "grant_types=client_credentials",
    ];
    let created = installation.run(&create).expect_code(0).json();
    assert_eq!(created["client_secret_expires_at"], 0);
    let first = created["client_secret"].as_str().unwrap();
    let status = |secret: &str| token(&installation, &["-u", &format!("robot:{secret}")]).status;
    assert_eq!((status(first), status("wrong")), (200, 401));
    let shown = installation
        .run(&["--output", "json", "client", "show", "robot"])
        .expect_code(0)
        .json();
    assert_eq!(shown.get("client_secret"), None, "shown once");
    let rotate = ["--output", "json", "client", "update", "robot", "--rotate-secret"];
    let rotated = installation.run(&rotate).expect_code(0).json();
    let second = rotated["client_secret"].as_str().unwrap();
    assert_eq!((status(first), status(second)), (401, 200));
    // A client of another method has none, and that of a file is changed there.
    for client_id in ["demo", "filed", "nobody"] {
        let said = installation.run(&["client", "update", client_id, "--rotate-secret"]);
        assert!(said.stdout.is_empty() && !said.stderr.is_empty(), "{said:#?}");
    }
    installation
        .run(&["client", "update", "robot", "--rotate-secret", "--set", "scope=read"])
        .expect_code(2);
}

/// What the binary says that this certificate can be registered as, by its subject.
fn metadata(installation: &Installation) -> Value {
    let inspect = ["--output", "json", "certificate", "inspect", "clients/demo/cert.pem"];
    let inspected = installation.run(&inspect).expect_code(0).json();
    let registrations = inspected["registrations"].as_array().unwrap();
    let by_subject = registrations
        .iter()
        .find(|it| it.get("tls_client_auth_subject_dn").is_some());
    let mut metadata = by_subject.unwrap().clone();
    metadata["scope"] = json!("read");
    metadata
}

// covers R7591-4, R7592-1, R7592-2, R7592-3, R7592-4
#[test]
fn a_client_registers_itself_gets_a_token_and_ends_that() {
    let installation = installation();
    let metadata = metadata(&installation);
    let send = |method: &str, url: &str, token: &str, body: &Value| {
        let (authorization, body) = (format!("Authorization: Bearer {token}"), body.to_string());
        let json = "Content-Type: application/json";
        installation.curl(
            None,
            &["-X", method, "-H", &authorization, "-H", json, "-d", &body, url],
        )
    };
    let url = installation.public("/register");
    let refused = send("POST", &url, "wrong", &metadata);
    assert_eq!(refused.status, 401);
    let explained = installation.explain(&refused.refusal());
    assert!(explained.to_string().contains("initial access token"), "{explained}");
    let mut wider = metadata.clone();
    wider["scope"] = json!("write");
    assert_eq!(send("POST", &url, INITIAL, &wider).error(), "invalid_client_metadata");

    let registered = send("POST", &url, INITIAL, &metadata);
    assert_eq!(registered.status, 201);
    let registered = registered.json();
    let (client_id, own) = (
        registered["client_id"].as_str().unwrap(),
        registered["registration_access_token"].as_str().unwrap(),
    );
    let uri = registered["registration_client_uri"].as_str().unwrap();
    assert_eq!(uri, installation.public(&format!("/register/{client_id}")));
    let by_certificate = || {
        let (url, client_id) = (installation.mutual_tls("/token"), format!("client_id={client_id}"));
        let form = ["-d", "grant_type=client_credentials", "-d", &client_id];
        installation
            .curl(Some("demo"), &[&[url.as_str()], &form[..]].concat())
            .status
    };
    assert_eq!(by_certificate(), 200);
    assert_eq!(send("GET", uri, own, &json!({})).json(), registered);
    let mut changed = metadata.clone();
    changed["client_id"] = json!(client_id);
    changed["client_name"] = json!("<b>Robot</b>");
    assert_eq!(send("PUT", uri, own, &changed).json()["client_name"], "<b>Robot</b>");
    let shown = installation
        .run(&["--output", "json", "client", "show", client_id])
        .expect_code(0)
        .json();
    assert_eq!(
        (&shown["keybound_origin"], &shown["client_name"]),
        (&json!("registration"), &json!("<b>Robot</b>"))
    );
    assert_eq!(send("DELETE", uri, own, &json!({})).status, 204);
    assert_eq!(by_certificate(), 400);
    assert_eq!(send("GET", uri, own, &json!({})).status, 401);
}
