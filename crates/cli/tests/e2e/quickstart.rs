//! `quickstart`: the first thing a newcomer sees.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::installation::{Installation, free_port_offset, run_in};
use crate::scene::Scene;

fn exit_once(directory: &std::path::Path, offset: u16) -> crate::installation::Said {
    run_in(
        directory,
        &[
            "--output",
            "json",
            "quickstart",
            "--exit",
            "--port-offset",
            &offset.to_string(),
        ],
    )
}

// covers UX-1, MTLS-3-11, MTLS-3-13, MTLS-4-6
#[test]
fn an_empty_directory_becomes_figure_1_and_the_stolen_token_is_useless() {
    let directory = tempfile::tempdir().unwrap();
    let said = exit_once(directory.path(), free_port_offset()).expect_code(0);
    let json = said.json();
    let checks = json["checks"].as_array().unwrap();
    let status = |name: &str| {
        let check = checks
            .iter()
            .find(|check| check["name"] == name)
            .unwrap_or_else(|| panic!("no {name} in {json}"));
        check["status"].as_u64().unwrap()
    };
    assert_eq!(status("bound_token_accepted"), 200);
    assert_eq!(status("replay_with_other_certificate"), 401);
    assert_eq!(status("replay_without_certificate"), 401);
    assert_eq!(status("self_signed_token_accepted"), 200);
    assert_eq!(status("stranger_gets_no_token"), 400);
    assert_eq!(status("token_issued"), 200);
    assert_eq!(
        names(&json)[..3],
        [
            "bound_token_accepted",
            "replay_with_other_certificate",
            "replay_without_certificate"
        ]
    );
    assert!(checks.iter().all(|check| check["passed"] == true), "{json}");
    for member in ["issuer", "mtls_token_endpoint", "gateway"] {
        assert!(
            json[member].as_str().unwrap().starts_with("https://localhost:"),
            "{json}"
        );
    }
    for file in [
        "keybound.toml",
        "gateway.toml",
        "admin.toml",
        "pki/ca.pem",
        "clients/demo/cert.pem",
        "clients/demo/key.pem",
        "clients/demo/client.toml",
        "clients/demo-self-signed/client.toml",
        "clients/stranger/client.toml",
        "admin/cert.pem",
        "secrets/keys.kek",
    ] {
        assert!(directory.path().join(file).exists(), "{file} is missing");
    }
}

fn names(said: &serde_json::Value) -> Vec<&str> {
    let checks = said["checks"].as_array().unwrap().iter();
    checks.map(|check| check["name"].as_str().unwrap()).collect()
}

/// The names of the checks that failed, as JSON and the error have them.
fn failed(said: &crate::installation::Said) -> Vec<String> {
    let json = said.json();
    let failed = json["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["passed"] == false);
    let failed: Vec<_> = failed.map(|check| check["name"].as_str().unwrap().to_owned()).collect();
    assert!(said.stderr.contains("not everything came out as it must"), "{said:?}");
    assert!(
        failed.iter().all(|name| said.stderr.contains(name.as_str())),
        "{said:?}"
    );
    failed
}

#[test]
fn a_gateway_that_does_not_compare_certificates_fails_the_checks() {
    let directory = tempfile::tempdir().unwrap();
    let offset = free_port_offset();
    exit_once(directory.path(), offset).expect_code(0);
    let path = directory.path().join("gateway.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let unchecked = text.replace("\nbinding = \"required\"", "\nbinding = \"none\"");
    assert_ne!(text, unchecked);
    std::fs::write(&path, unchecked).unwrap();
    let said = exit_once(directory.path(), offset).expect_code(1);
    assert_eq!(
        failed(&said),
        ["replay_with_other_certificate", "replay_without_certificate"]
    );
    // People are told as well.
    let said = run_in(directory.path(), &["quickstart", "--exit"]).expect_code(1);
    let marked = said.stdout.lines().filter(|line| line.starts_with(" ✘ "));
    assert!(
        marked.clone().all(|line| line.ends_with("200 OK   expected 401")),
        "{said:#?}"
    );
    assert_eq!(marked.count(), 2, "{said:#?}");
}

#[test]
fn a_server_that_binds_no_token_fails_the_checks() {
    let directory = tempfile::tempdir().unwrap();
    let offset = free_port_offset();
    exit_once(directory.path(), offset).expect_code(0);
    let path = directory.path().join("clients.d/demo.json");
    let mut client: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    client["tls_client_certificate_bound_access_tokens"] = false.into();
    std::fs::write(&path, client.to_string()).unwrap();
    let said = exit_once(directory.path(), offset).expect_code(1);
    assert!(failed(&said).contains(&"token_issued".to_owned()), "{said:?}");
    let json = said.json();
    let issued = json["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|check| check["name"] == "token_issued");
    assert_eq!(
        issued.unwrap()["fault"],
        "the token has no cnf: whoever has it can use it"
    );
}

#[test]
fn other_ports_or_addresses_than_those_there_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let offset = free_port_offset();
    exit_once(directory.path(), offset).expect_code(0);
    let said = exit_once(directory.path(), offset + 1).expect_code(4);
    let public = format!("keybound.toml listens on 127.0.0.1:{} already", 8443 + offset);
    assert!(said.stderr.contains(&public), "{said:?}");
    assert!(
        said.stderr
            .contains("without this option the quickstart that is there goes on"),
        "{said:?}"
    );
    let said = run_in(directory.path(), &["quickstart", "--exit", "--listen", "127.0.0.2"]).expect_code(4);
    assert!(
        said.stderr.contains(&public) && said.stderr.contains("127.0.0.2"),
        "{said:?}"
    );
    // Only the gateway's differs.
    let path = directory.path().join("gateway.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let other = free_port_offset();
    let moved = text.replace(&format!(":{}\"", 9445 + offset), &format!(":{}\"", 9445 + other));
    std::fs::write(&path, moved).unwrap();
    let said = exit_once(directory.path(), offset).expect_code(4);
    assert!(said.stderr.contains("gateway.toml listens on 127.0.0.1:"), "{said:?}");
    // Without the options it goes on with what is there.
    run_in(directory.path(), &["quickstart", "--exit"]).expect_code(0);
}

#[test]
fn a_port_offset_that_leads_nowhere_is_a_mistake_of_the_command_line() {
    let directory = tempfile::tempdir().unwrap();
    for offset in ["60000", "56091"] {
        let said = run_in(directory.path(), &["quickstart", "--exit", "--port-offset", offset]).expect_code(2);
        assert!(said.stderr.contains("leads past port 65535"), "{said:?}");
    }
    assert!(
        std::fs::read_dir(directory.path()).unwrap().next().is_none(),
        "nothing is written"
    );
}

#[test]
fn another_loopback_address_is_called_by_its_own_name() {
    for address in ["127.0.0.2", "::1"] {
        let directory = tempfile::tempdir().unwrap();
        let offset = free_port_offset().to_string();
        let arguments = [
            "--output",
            "json",
            "quickstart",
            "--exit",
            "--listen",
            address,
            "--port-offset",
            &offset,
        ];
        let said = run_in(directory.path(), &arguments).expect_code(0);
        let host = if address.contains(':') {
            format!("[{address}]")
        } else {
            address.to_owned()
        };
        for member in ["issuer", "mtls_token_endpoint", "gateway"] {
            let url = said.json()[member].as_str().unwrap().to_owned();
            assert!(url.starts_with(&format!("https://{host}:")), "{url}");
        }
    }
}

#[test]
fn run_again_it_continues_with_what_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let offset = free_port_offset();
    exit_once(directory.path(), offset).expect_code(0);
    let read = |path: &str| std::fs::read(directory.path().join(path)).unwrap();
    let files = ["pki/ca.pem", "clients/demo/cert.pem", "admin/cert.pem", "keybound.toml"];
    let before = files.map(read);
    exit_once(directory.path(), offset).expect_code(0);
    assert_eq!(before, files.map(read));
    // An interrupted first run left no administrator: it is made now.
    std::fs::remove_file(directory.path().join("admin.toml")).unwrap();
    exit_once(directory.path(), offset).expect_code(0);
    assert!(directory.path().join("admin.toml").exists());
}

#[test]
fn refuses_an_address_that_others_can_reach() {
    let directory = tempfile::tempdir().unwrap();
    let said = run_in(directory.path(), &["quickstart", "--exit", "--listen", "0.0.0.0"]).expect_code(2);
    assert!(said.stderr.contains("not a loopback address"), "{said:?}");
    assert!(
        std::fs::read_dir(directory.path()).unwrap().next().is_none(),
        "nothing is written"
    );
}

#[test]
fn a_configuration_edited_to_a_public_address_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let offset = free_port_offset();
    exit_once(directory.path(), offset).expect_code(0);
    let path = directory.path().join("gateway.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("listen = \"127.0.0.1:", "listen = \"0.0.0.0:")).unwrap();
    let said = exit_once(directory.path(), offset).expect_code(2);
    assert!(said.stderr.contains("not a loopback address"), "{said:?}");
}

#[test]
fn a_port_in_use_is_a_plain_sentence_with_a_fix() {
    let installation = Installation::start();
    let other = tempfile::tempdir().unwrap();
    let said = exit_once(other.path(), installation.offset).expect_code(4);
    assert!(said.stderr.contains("cannot listen on 127.0.0.1:"), "{said:?}");
    assert!(said.stderr.contains("another program has port"), "{said:?}");
    // And the one that was there goes on.
    assert_eq!(installation.curl(None, &[&installation.public("/jwks")]).status, 200);
}

#[test]
fn the_token_it_prints_is_accepted_with_its_certificate_and_no_other() {
    let installation = Installation::start();
    let token = format!("Authorization: Bearer {}", installation.token());
    let call = |client| installation.curl(client, &["-H", &token, &installation.gateway("/hello")]);
    for thief in [None, Some("stranger"), Some("demo-self-signed")] {
        let answer = call(thief);
        assert_eq!(answer.status, 401, "{thief:?}");
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        assert!(
            challenge.starts_with("Bearer ") && challenge.contains("error=\"invalid_token\""),
            "{challenge}"
        );
        let refusal = installation.explain(&answer.refusal());
        let failed = refusal["rules"]
            .as_array()
            .unwrap()
            .iter()
            .find(|rule| rule["outcome"] == "failed")
            .unwrap();
        assert_eq!(
            failed["rule"], "the certificate of this request is the one it is bound to",
            "{thief:?}"
        );
    }
    let answer = call(Some("demo"));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["headers"]["keybound-client-id"], "demo");
}

// covers R9068-1
#[test]
fn with_another_algorithm_the_gateway_accepts_what_openssl_verifies() {
    let scene = Scene::new();
    scene.replace(
        "keybound.toml",
        "signing_algorithm = \"ES256\"",
        "signing_algorithm = \"EdDSA\"",
    );
    let (installation, openssl) = scene.start();
    let token = installation.token();
    let (input, signature) = token.rsplit_once('.').unwrap();
    let header = URL_SAFE_NO_PAD.decode(input.split('.').next().unwrap()).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(header["alg"], "EdDSA");

    let set = installation.curl(None, &[&installation.public("/jwks")]).json();
    let key = set["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["kid"] == header["kid"]);
    let x = key.unwrap()["x"].as_str().unwrap();
    // SubjectPublicKeyInfo of RFC 8410 §4 up to the key's octets.
    let mut public_key = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00".to_vec();
    public_key.extend(URL_SAFE_NO_PAD.decode(x).unwrap());
    for (file, content) in [
        ("as.der", public_key.as_slice()),
        ("input", input.as_bytes()),
        ("signature", &URL_SAFE_NO_PAD.decode(signature).unwrap()),
    ] {
        std::fs::write(installation.path("openssl").join(file), content).unwrap();
    }
    openssl.run(&[
        "pkeyutl",
        "-verify",
        "-pubin",
        "-keyform",
        "DER",
        "-inkey",
        "as.der",
        "-rawin",
        "-in",
        "input",
        "-sigfile",
        "signature",
    ]);

    let token = format!("Authorization: Bearer {token}");
    let call = |client| installation.curl(client, &["-H", &token, &installation.gateway("/hello")]);
    assert_eq!(call(Some("demo")).status, 200);
    assert_eq!(call(Some("stranger")).status, 401);
}
