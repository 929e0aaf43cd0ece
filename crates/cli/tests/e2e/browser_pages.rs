//! The pages in Chromium, driven by npm's playwright-core and judged by axe-core: a user signs in, consents, denies, cancels, withdraws,
//! connects a device, answers a request of an application and signs out, for a client on another origin; in both themes, down to 320
//! pixels, by keyboard alone, and without scripts.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::installation::Installation;
use crate::scene::{Scene, free_port};

const PASSWORD: &str = "correct horse battery";
const SCOPE: &str = "openid accounts balances offline_access";
/// Asks for all that there is.
const HOSTILE_SCOPE: &str =
    "openid profile email phone address offline_access accounts balances payments:initiate:domestic:immediate";
/// What turns, hides, marks up, and is long. Overriding the direction is refused when a client is registered.
const HOSTILE_NAME: &str = "Contas Claras \u{200f}seralC\u{200b}\u{feff} <b>Bank</b><img src=x> \
                            DonaudampfschifffahrtselektrizitaetenhauptbetriebswerkbauunterbeamtengesellschaftDonaudampfschifffahrt";
const TABLES: &str = r#"
[[scopes]]
name = "accounts"
description = "See your accounts"
[[scopes]]
name = "balances"
[[scopes]]
name = "payments:initiate:domestic:immediate"
[[scopes]]
name = "offline_access"
[[scopes]]
name = "profile"
[[scopes]]
name = "email"
[[scopes]]
name = "phone"
[[scopes]]
name = "address"
[[resources]]
uri = "RESOURCE"
[[authorization_details_types]]
type = "payment_initiation"
description = "Initiate a payment"
[[authorization_details_types.fields]]
name = "instructed_amount"
kind = "object"
required = true
[[authorization_details_types.fields]]
name = "creditor_name"
kind = "string"
"#;

#[test]
fn people_and_axe_find_their_way_through_every_page() {
    let scene = Scene::new();
    let client_port = free_port();
    let resource = format!("https://api.example/{}", "a-resource-with-a-very-long-name/".repeat(5));
    scene.replace("keybound.toml", "# name = \"Example Bank\"", "name = \"Aurora\"");
    scene.replace(
        "keybound.toml",
        "for clients that ask for scope openid.\nenabled = false",
        "for clients that ask for scope openid.\nenabled = true",
    );
    // The walks type more codes than one user does.
    scene.replace(
        "keybound.toml",
        "# user_codes_per_minute = 10 ",
        "user_codes_per_minute = 100",
    );
    scene.append("keybound.toml", &TABLES.replace("RESOURCE", &resource));
    let callback = format!("https://localhost:{client_port}/cb");
    let web = json!({
        "client_name": "Contas Claras", "client_uri": "https://contasclaras.example/", "scope": SCOPE,
        "token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "demo.client.test",
        "grant_types": ["authorization_code", "refresh_token", "urn:openid:params:grant-type:ciba"], "response_types": ["code"],
        "backchannel_token_delivery_mode": "poll", "redirect_uris": [callback],
    });
    let hostile = json!({
        "client_name": HOSTILE_NAME, "client_uri": format!("https://{}.example/", "hostile.".repeat(20).trim_end_matches('.')),
        "token_endpoint_auth_method": "none", "grant_types": ["authorization_code"], "response_types": ["code"],
        "redirect_uris": [callback], "scope": HOSTILE_SCOPE, "authorization_details_types": ["payment_initiation"],
        "tls_client_certificate_bound_access_tokens": false,
    });
    let television = json!({
        "client_name": "Living Room TV", "token_endpoint_auth_method": "none", "response_types": [], "scope": "accounts",
        "grant_types": ["urn:ietf:params:oauth:grant-type:device_code"], "tls_client_certificate_bound_access_tokens": false,
    });
    for (client_id, metadata) in [("contas-claras", web), ("hostile", hostile), ("television", television)] {
        scene.client(client_id, &metadata);
    }
    std::fs::write(scene.path("password"), PASSWORD).unwrap();

    let (installation, _) = scene.start();
    installation
        .run(&["user", "create", "helena", "--password-file", "password"])
        .expect_code(0);
    let report = visit(&installation, client_port, &resource);
    let facts = report["facts"].as_array().unwrap();
    let failed: Vec<&Value> = facts.iter().filter(|fact| fact["ok"] != true).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(facts.len() >= 70, "{} facts", facts.len());
    assert_eq!(report["serious"], 0, "{:#}", report["axe"]);
    assert!(report["axe"].as_object().unwrap().len() >= 36);
}

fn visit(installation: &Installation, client_port: u16, resource: &str) -> Value {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let modules = manifest.join("../../target/xtask/node/node_modules");
    let modules = modules
        .canonicalize()
        .expect("`cargo xtask test` installs npm's packages and Chromium; run it once");
    let options = json!({
        "modules": modules, "chromium": "/usr/bin/chromium", "issuer": installation.public(""), "mutualTls": installation.mutual_tls(""),
        "clientPort": client_port, "ca": installation.path("pki/ca.pem"),
        "cert": installation.path("pki/server.pem"), "key": installation.path("pki/server.key"),
        "clientId": "contas-claras", "scope": SCOPE, "hostileScope": HOSTILE_SCOPE, "resource": resource,
        "clientCert": installation.path("clients/demo/cert.pem"), "clientKey": installation.path("clients/demo/key.pem"),
        "user": "helena", "password": PASSWORD, "deviceClientId": "television",
        "shots": std::env::var("KEYBOUND_E2E_SHOTS").ok(),
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
