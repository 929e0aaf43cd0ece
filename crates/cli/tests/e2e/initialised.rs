//! `init` and `admin create`: what a new installation begins with.

use crate::installation::{Said, run_in};

fn init(directory: &std::path::Path, issuer: &str) -> Said {
    run_in(directory, &["init", "--dir", "new", "--issuer", issuer, "--yes"])
}

#[test]
fn what_init_writes_is_valid_for_both_daemons() {
    for issuer in [
        "https://auth.example.com",
        "https://localhost:8443",
        "https://auth.example.com:65000/tenant",
        "https://[::1]:8443",
        "https://192.0.2.1:443",
    ] {
        let directory = tempfile::tempdir().unwrap();
        let said = init(directory.path(), issuer).expect_code(0);
        for file in ["new/keybound.toml", "new/gateway.toml"] {
            assert!(said.stdout.contains(file), "{issuer}: {said:#?}");
            let said = run_in(directory.path(), &["config", "check", "--config", file]).expect_code(0);
            assert!(said.stdout.ends_with("no errors\n"), "{issuer}: {said:?}");
        }
        let said = init(directory.path(), issuer).expect_code(4);
        assert!(said.stderr.contains("new/keybound.toml exists already"), "{said:?}");
    }
}

#[test]
fn an_issuer_of_another_port_than_the_one_listened_on_is_said_to_be_missing() {
    for (issuer, says) in [
        (
            "https://auth.example.com",
            "listen.public: https://auth.example.com means port 443, and this listens on 0.0.0.0:8443: forward port 443 to it, \
             or listen on 443 (ports below 1024 need CAP_NET_BIND_SERVICE)",
        ),
        (
            "https://auth.example.com:65535",
            "means port 65535, and this listens on 0.0.0.0:8443",
        ),
        ("https://auth.example.com:8443", ""),
        ("https://localhost:9000", ""),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let said = init(directory.path(), issuer).expect_code(0);
        assert!(said.stdout.contains(says), "{issuer}: {said:#?}");
        assert_eq!(
            said.stdout.contains("listen.public"),
            !says.is_empty(),
            "{issuer}: {said:#?}"
        );
    }
}

#[test]
fn another_administrator_takes_the_next_free_name() {
    let directory = tempfile::tempdir().unwrap();
    init(directory.path(), "https://localhost:8443").expect_code(0);
    let create = |more: &[&str]| {
        let arguments = ["--output", "json", "admin", "create", "--config", "new/keybound.toml"];
        run_in(directory.path(), &[&arguments[..], more].concat())
    };
    let made = |said: Said| said.expect_code(0).json()["admin"].as_str().unwrap().to_owned();
    assert_eq!(made(create(&[])), "new/admin-2.toml");
    assert_eq!(made(create(&[])), "new/admin-3.toml");
    // A name that is given is taken or refused, whether a file or the database has it.
    let said = create(&["--name", "admin"]).expect_code(4);
    assert!(said.stderr.contains("admin exists already"), "{said:?}");
    let said = create(&["--name", "admin", "--dir", "other"]).expect_code(4);
    assert!(said.stderr.contains("admin exists already"), "{said:?}");
    assert!(!directory.path().join("other").exists(), "nothing is written");
    assert_eq!(made(create(&["--name", "ops", "--dir", "other"])), "other/ops.toml");
    for file in [
        "other/ops.toml",
        "other/ops/cert.pem",
        "other/ops/key.pem",
        "new/admin-2/key.pem",
    ] {
        assert!(directory.path().join(file).exists(), "{file} is missing");
    }
    // Where the files are free, the database still says which names are.
    assert_eq!(made(create(&["--dir", "third"])), "third/admin-4.toml");
    for name in ["", "../up", "a/b", ".hidden"] {
        let said = create(&["--name", name]).expect_code(2);
        assert!(
            said.stderr.contains("cannot be the name of a file"),
            "{name:?}: {said:?}"
        );
    }
    let help = run_in(directory.path(), &["admin", "create", "--help"]).expect_code(0);
    assert!(
        help.stdout.contains("NAME.toml, NAME/cert.pem and NAME/key.pem"),
        "{help:?}"
    );
}
