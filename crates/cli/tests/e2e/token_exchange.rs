//! `keybound token get --grant exchange` against a running server (RFC 8693).

use serde_json::{Value, json};

use crate::openssl::Wanted;
use crate::scene::{Scene, claims};

// covers R8693-1, R8693-2, R8693-4
#[test]
fn the_command_line_trades_a_token_for_a_bound_one_and_a_stolen_bound_one_for_nothing() {
    let scene = Scene::new();
    scene.openssl.authority("corp", "/CN=Corp CA");
    scene.trusts("corp", "");
    let issuer = scene.issuer();
    let table = format!("[[token_exchange]]\nissuer = \"{issuer}\"\nclients = [\"api\"]");
    scene.append("keybound.toml", &table);
    let client = |client_id: &str, grant_type: &str, bound: bool| {
        let dns = format!("{client_id}.client.test");
        let metadata = json!({
            "grant_types": [grant_type], "token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": dns,
            "keybound_trust_anchors": ["corp"], "tls_client_certificate_bound_access_tokens": bound,
        });
        scene.client(client_id, &metadata);
        let names = format!("DNS:{dns}");
        let wanted = Wanted {
            alternative_names: Some(&names),
            ..Wanted::new(client_id, "/CN=client")
        };
        scene.openssl.certificate(wanted, Some("corp"));
        let directory = scene.path(&format!("clients/{client_id}"));
        std::fs::create_dir_all(&directory).unwrap();
        let text = format!(
            "issuer = \"{issuer}\"\nclient_id = \"{client_id}\"\nca = \"../../pki/ca.pem\"\n\
             certificate = \"../../openssl/{client_id}.pem\"\nkey = \"../../openssl/{client_id}.key\"\n"
        );
        std::fs::write(directory.join("client.toml"), text).unwrap();
    };
    client("plain", "client_credentials", false);
    client("bound", "client_credentials", true);
    client("api", "urn:ietf:params:oauth:grant-type:token-exchange", true);
    let (installation, openssl) = scene.start();
    let get = |client_id: &str, more: &[&str]| {
        let client = format!("clients/{client_id}");
        let arguments = ["--output", "json", "token", "get", "--client", &client];
        installation.run(&[&arguments[..], more].concat())
    };
    let exchange = ["--grant", "exchange", "--subject-token", "subject.json"];
    let keep = |answer: &Value| std::fs::write(installation.path("subject.json"), answer.to_string()).unwrap();

    keep(&get("bound", &[]).expect_code(0).json());
    let said = get("api", &exchange).expect_code(5);
    assert!(said.stderr.contains("refused"), "{said:?}");

    keep(&get("plain", &[]).expect_code(0).json());
    let answer = get("api", &exchange).expect_code(0).json();
    assert_eq!(
        answer["issued_token_type"],
        "urn:ietf:params:oauth:token-type:access_token"
    );
    let traded = claims(answer["access_token"].as_str().unwrap());
    assert_eq!(traded["cnf"]["x5t#S256"], openssl.thumbprint("api"));
    // A client that nobody named trades nothing.
    get("plain", &exchange).expect_code(5);
}
