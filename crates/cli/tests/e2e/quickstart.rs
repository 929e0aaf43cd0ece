//! `quickstart`: the first thing a newcomer sees.

use crate::installation::{Installation, free_port_offset, run_in};

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
