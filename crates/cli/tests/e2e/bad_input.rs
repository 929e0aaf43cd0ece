//! Input that is wrong in every way, at the running system: the stated error, and nothing is lost.

use std::os::unix::fs::PermissionsExt;

use crate::installation::{Installation, free_port_offset, run_in};

const FORM: &str = "grant_type=client_credentials&client_id=demo";

#[test]
fn the_token_endpoint_refuses_what_is_no_request_and_goes_on() {
    let installation = Installation::start();
    let token = installation.mutual_tls("/token");
    let long = format!("{FORM}&x={}", "a".repeat(70_000));
    let check = |arguments: &[&str], status: u16, error: &str| {
        let mut arguments = arguments.to_vec();
        arguments.push(&token);
        let answer = installation.curl(Some("demo"), &arguments);
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (status, error),
            "{arguments:?}: {answer:?}"
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{arguments:?}");
    };
    check(
        &["-d", "grant_type=client_credentials&client_id=demo&client_id=demo"],
        400,
        "invalid_request",
    );
    check(
        &["-d", "grant_type=client_credentials&client_id=demo&scope=a&scope=b"],
        400,
        "invalid_request",
    );
    check(&["-d", "client_id=demo"], 400, "invalid_request");
    check(
        &["-d", "grant_type=password&client_id=demo"],
        400,
        "unsupported_grant_type",
    );
    check(&["-d", "grant_type=client_credentials"], 400, "invalid_client");
    check(
        &["-d", "grant_type=client_credentials&client_id=nobody"],
        400,
        "invalid_client",
    );
    check(
        &["-d", "grant_type=client_credentials&client_id=demo&client_secret=x"],
        400,
        "invalid_request",
    );
    check(
        &[
            "-d",
            "grant_type=client_credentials&client_id=demo&resource=https://other.example",
        ],
        400,
        "invalid_target",
    );
    check(
        &[
            "-d",
            "grant_type=client_credentials&client_id=demo&scope=keybound:admin",
        ],
        400,
        "invalid_scope",
    );
    check(
        &["-H", "Content-Type: application/json", "-d", "{}"],
        415,
        "invalid_request",
    );
    check(&["-d", &long], 413, "invalid_request");
    check(&["-X", "GET"], 405, "invalid_request");
    // The positive control: it still answers the right request.
    let answer = installation.curl(Some("demo"), &["-d", FORM, &token]);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["token_type"], "Bearer");
}

// covers MTLS-2-8
#[test]
fn unknown_client_and_wrong_certificate_look_alike_but_for_the_refusal_id() {
    let installation = Installation::start();
    let ask = |client_id: &str| {
        let form = format!("grant_type=client_credentials&client_id={client_id}");
        installation.curl(Some("stranger"), &["-d", &form, &installation.mutual_tls("/token")])
    };
    let (unknown, mismatch) = (ask("nobody"), ask("demo"));
    let shape = |answer: &crate::installation::Answer| {
        let hide = |text: &str| text.replace(&answer.refusal(), "ID");
        let headers: Vec<_> = answer
            .headers
            .iter()
            .filter(|(name, _)| !name.eq_ignore_ascii_case("date"))
            .map(|(name, value)| (name.clone(), hide(value)))
            .collect();
        (answer.status, headers, hide(&answer.body))
    };
    assert_eq!(shape(&unknown), shape(&mismatch));
    assert_eq!(unknown.refusal().len(), 16);
    assert_ne!(unknown.refusal(), mismatch.refusal());
    let cause = |id: &str| {
        let refusal = installation.explain(id);
        let rules = refusal["rules"].as_array().unwrap().clone();
        rules.iter().find(|rule| rule["outcome"] == "failed").unwrap()["rule"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(cause(&unknown.refusal()), "client registered");
    assert_eq!(cause(&mismatch.refusal()), "tls_client_auth_san_dns");
}

#[test]
fn refusals_and_clients_survive_a_kill() {
    let installation = Installation::start();
    let offset = installation.offset;
    let form = "grant_type=client_credentials&client_id=demo";
    let refused = installation.curl(Some("stranger"), &["-d", form, &installation.mutual_tls("/token")]);
    let set = [
        "client",
        "create",
        "--set",
        "client_id=kept",
        "--set",
        "token_endpoint_auth_method=tls_client_auth",
        "--set",
        "tls_client_auth_san_dns=kept.test",
    ];
    installation.run(&set).expect_code(0);
    // Looking it up makes it durable; a refusal of the last second may be lost, and the gap shows.
    installation.explain(&refused.refusal());
    let installation = Installation::start_in(installation.stop(), offset);
    installation.explain(&refused.refusal());
    installation.run(&["client", "show", "kept"]).expect_code(0);
}

fn prepared() -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let offset = free_port_offset().to_string();
    run_in(directory.path(), &["quickstart", "--exit", "--port-offset", &offset]).expect_code(0);
    (directory, offset)
}

#[test]
fn a_database_that_is_none_and_a_key_file_that_is_missing_are_plain_sentences() {
    let (directory, _) = prepared();
    let serve = || run_in(directory.path(), &["serve", "--config", "keybound.toml"]);
    let key_file = directory.path().join("secrets/keys.kek");
    let key = std::fs::read(&key_file).unwrap();
    std::fs::remove_file(&key_file).unwrap();
    let said = serve().expect_code(65);
    assert!(said.stderr.contains("keys.kek does not exist"), "{said:?}");
    assert!(said.stderr.contains("fix:"), "{said:?}");
    std::fs::write(&key_file, &key).unwrap();
    std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let said = serve().expect_code(65);
    assert!(said.stderr.contains("others than its owner"), "{said:?}");
    std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).unwrap();
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(directory.path().join(format!("keybound.db{suffix}")));
    }
    std::fs::write(
        directory.path().join("keybound.db"),
        "this is no database, whatever it is called ".repeat(40),
    )
    .unwrap();
    let said = serve().expect_code(65);
    assert!(said.stderr.contains("is not a Keybound database"), "{said:?}");
}

#[test]
fn head_over_http2_is_answered_like_get_without_the_content() {
    let installation = Installation::start();
    let token = format!("Authorization: Bearer {}", installation.token());
    for (client, url) in [
        (None, installation.public("/jwks")),
        (None, installation.public("/nowhere")),
        (Some("demo"), installation.gateway("/hello")),
        (None, installation.gateway("/hello")),
    ] {
        let ask = |method: &[&str]| {
            let arguments = [&["--http2", "-H", &token, &url], method].concat();
            installation.curl(client, &arguments)
        };
        let (head, get) = (ask(&["--head"]), ask(&[]));
        assert!(head.status != 0, "{url}: no answer");
        assert_eq!((head.status, head.body.as_str()), (get.status, ""), "{url}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{url}");
    }
}
