//! Tokens that are bound to a key (RFC 9449), from the command line through the server to the gateway.

use keybound_tls::Clock;
use serde_json::json;

use crate::openssl::Wanted;
use crate::prover::{Proof, Prover};
use crate::scene::{Scene, claims};

fn scene(nonces: bool) -> Scene {
    let scene = Scene::new();
    scene.openssl.authority("corp", "/CN=Corp CA");
    scene.trusts("corp", "");
    for (client_id, by_key) in [("spa", true), ("bound", false)] {
        let metadata = json!({
            "token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "spa.client.test",
            "keybound_trust_anchors": ["corp"], "dpop_bound_access_tokens": by_key,
            "tls_client_certificate_bound_access_tokens": !by_key,
        });
        scene.client(client_id, &metadata);
        let directory = scene.path(&format!("clients/{client_id}"));
        std::fs::create_dir_all(&directory).unwrap();
        let text = format!(
            "issuer = \"{}\"\nclient_id = \"{client_id}\"\nca = \"../../pki/ca.pem\"\n\
             certificate = \"../../openssl/spa.pem\"\nkey = \"../../openssl/spa.key\"\n{}",
            scene.issuer(),
            if by_key {
                "dpop_key = \"../../own/key.pem\"\n"
            } else {
                ""
            }
        );
        std::fs::write(directory.join("client.toml"), text).unwrap();
    }
    let wanted = Wanted {
        alternative_names: Some("DNS:spa.client.test"),
        ..Wanted::new("spa", "/CN=spa")
    };
    scene.openssl.certificate(wanted, Some("corp"));
    if nonces {
        scene.replace("keybound.toml", "[tokens]", "[tokens]\ndpop_nonce = \"required\"");
        scene.replace("gateway.toml", "[dpop]", "[dpop]\nnonce = \"required\"");
    }
    scene
}

// covers R9449-2, R9449-4, R9449-5
#[test]
fn the_command_line_gets_a_token_by_its_key_and_calls_with_it() {
    for nonces in [false, true] {
        let (installation, _) = scene(nonces).start();
        for name in ["own", "other"] {
            let made = ["certificate", "create", "--name", name, "--dir", name];
            installation.run(&made).expect_code(0);
        }
        let get = ["--output", "json", "token", "get", "--client", "clients/spa"];
        let answer = installation.run(&get).expect_code(0).json();
        assert_eq!(answer["token_type"], "DPoP");
        let token = answer["access_token"].as_str().unwrap();
        assert!(claims(token)["cnf"]["jkt"].is_string() && claims(token)["cnf"].get("x5t#S256").is_none());
        let told = installation
            .run(&["--output", "json", "token", "inspect", token])
            .expect_code(0)
            .json();
        assert_eq!(
            told["binding"],
            json!({"bound": true, "jkt": claims(token)["cnf"]["jkt"]})
        );

        let url = installation.gateway("/hello");
        let call = ["--output", "json", "call", &url, "--client"];
        let called = |more: &[&str]| installation.run(&[&call[..], more].concat());
        assert_eq!(called(&["clients/spa"]).expect_code(0).json()["status"], 200);
        let stolen = |client, more: &[&str]| called(&[&[client, "--token", token], more].concat());
        assert_eq!(stolen("clients/spa", &[]).expect_code(0).json()["status"], 200);
        // By another key, and as a bearer token over the very same certificate.
        for (client, more, rule) in [
            (
                "clients/spa",
                &["--dpop-key", "other/key.pem"][..],
                "key of this request's DPoP proof",
            ),
            ("clients/bound", &[], "key of this request's DPoP proof"),
        ] {
            let refused = stolen(client, more).expect_code(5).json();
            assert_eq!(refused["status"], 401, "{refused}");
            let explained = installation.explain(refused["refusal"].as_str().unwrap());
            assert!(explained.to_string().contains(rule), "{explained}");
        }
        // A client whose tokens are bound to a certificate is not given one by its key, and takes no other.
        let both = ["token", "get", "--client", "clients/bound", "--dpop-key", "own/key.pem"];
        let said = installation.run(&both).expect_code(5);
        assert!(said.stdout.is_empty(), "{said:?}");
        installation
            .run(&["token", "get", "--client", "clients/bound"])
            .expect_code(0);
    }
}

// covers R9449-1, R9449-4
#[test]
fn a_proof_is_used_once_at_the_gateway() {
    let (installation, openssl) = scene(false).start();
    let prover = Prover::new();
    let now = || Clock::system().now();
    let ca = installation.path("pki/ca.pem");
    let (certificate, key) = openssl.identity("spa");
    let endpoint = installation.mutual_tls("/token");
    let prove = |method, url, token| {
        let proof = Proof {
            method,
            url,
            now: now(),
            token,
            nonce: None,
        };
        format!("DPoP: {}", prover.prove(&proof))
    };
    let proof = prove("POST", &endpoint, None);
    let form = "grant_type=client_credentials&client_id=spa";
    let asked = ["-H", proof.as_str(), "-d", form, endpoint.as_str()];
    let answer = crate::installation::curl(&ca, Some((&certificate, &key)), &asked).json();
    let token = answer["access_token"].as_str().unwrap();
    assert_eq!(claims(token)["cnf"]["jkt"], prover.thumbprint().to_string());

    let url = installation.gateway("/hello");
    let proof = prove("GET", &url, Some(token));
    let authorization = format!("Authorization: DPoP {token}");
    let call = || {
        let arguments = ["-H", authorization.as_str(), "-H", proof.as_str(), url.as_str()];
        crate::installation::curl(&ca, None, &arguments)
    };
    assert_eq!(call().status, 200);
    let again = call();
    assert_eq!(again.status, 401);
    let challenge = again.header("www-authenticate").unwrap();
    assert!(
        challenge.starts_with("DPoP ") && challenge.contains("invalid_dpop_proof"),
        "{challenge}"
    );
}
