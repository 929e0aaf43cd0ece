//! The pages in Chromium, driven by npm's playwright-core and judged by axe-core: a user signs in, consents, denies, cancels,
//! withdraws, connects a device and answers a request of an application, for a client on another origin; in both themes, 360 pixels wide, by keyboard alone, and without scripts.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::installation::{Installation, free_port_offset, run_in};
use crate::scene::free_port;

const PASSWORD: &str = "correct horse battery";

#[test]
fn people_and_axe_find_their_way_through_every_page() {
    let directory = tempfile::tempdir().unwrap();
    let offset = free_port_offset();
    run_in(
        directory.path(),
        &["quickstart", "--exit", "--port-offset", &offset.to_string()],
    )
    .expect_code(0);
    let client_port = free_port();
    let client = json!({
        "client_id": "contas-claras", "client_name": "Contas Claras", "client_uri": "https://contasclaras.example/",
        "token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "web.example",
        "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
        "redirect_uris": [format!("https://localhost:{client_port}/cb")], "scope": "accounts balances offline_access",
        "tls_client_certificate_bound_access_tokens": true,
    });
    let television = json!({
        "client_id": "television", "client_name": "Living Room TV", "token_endpoint_auth_method": "none",
        "grant_types": ["urn:ietf:params:oauth:grant-type:device_code"], "response_types": [], "scope": "accounts",
    });
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("clients.d/web.json"), client.to_string()).unwrap();
    std::fs::write(path("clients.d/television.json"), television.to_string()).unwrap();
    std::fs::write(path("password"), PASSWORD).unwrap();
    let configuration = std::fs::read_to_string(path("keybound.toml")).unwrap();
    let configuration = configuration.replace("# name = \"Example Bank\"", "name = \"Aurora\"");
    let scopes = "\n[[scopes]]\nname = \"accounts\"\ndescription = \"See your accounts\"\n[[scopes]]\nname = \"balances\"\n\
                  [[scopes]]\nname = \"offline_access\"\n";
    std::fs::write(path("keybound.toml"), configuration + scopes).unwrap();

    let installation = Installation::start_in(directory, offset);
    installation
        .run(&["user", "create", "helena", "--password-file", "password"])
        .expect_code(0);
    let report = visit(&installation, client_port);
    let facts = report["facts"].as_array().unwrap();
    let failed: Vec<&Value> = facts.iter().filter(|fact| fact["ok"] != true).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(facts.len() >= 50, "{} facts", facts.len());
    assert_eq!(report["serious"], 0, "{:#}", report["axe"]);
    assert!(report["axe"].as_object().unwrap().len() >= 30);
    assert_eq!(report["policyViolations"], json!([]));
}

fn visit(installation: &Installation, client_port: u16) -> Value {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let modules = manifest.join("../../target/xtask/node/node_modules");
    let modules = modules
        .canonicalize()
        .expect("`cargo xtask test` installs npm's packages and Chromium; run it once");
    let options = json!({
        "modules": modules, "chromium": "/usr/bin/chromium", "issuer": installation.public(""), "clientPort": client_port,
        "cert": installation.path("pki/server.pem"), "key": installation.path("pki/server.key"),
        "clientId": "contas-claras", "scope": "accounts balances offline_access", "user": "helena", "password": PASSWORD,
        "deviceClientId": "television", "shots": std::env::var("KEYBOUND_E2E_SHOTS").ok(),
    });
    let output = Command::new(modules.join("../bin/node"))
        .arg(manifest.join("tests/e2e/browser_pages.mjs"))
        .arg(options.to_string())
        .output()
        .expect("node is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {text} {}", String::from_utf8_lossy(&output.stderr)))
}
