//! Commands, exit codes, `--output json`.

use serde_json::json;

use crate::installation::{Installation, run_in};

#[test]
fn a_client_lives_from_create_to_delete() {
    let installation = Installation::start();
    let run = |arguments: &[&str]| installation.run(arguments);
    let metadata = json!({
        "client_id": "psp-17", "token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "stranger.test",
        "grant_types": ["client_credentials"], "tls_client_certificate_bound_access_tokens": true,
    });
    std::fs::write(installation.path("psp.json"), metadata.to_string()).unwrap();
    let created = run(&["--output", "json", "client", "create", "--file", "psp.json"])
        .expect_code(0)
        .json();
    assert_eq!(created["client_id"], "psp-17");
    // Registered, it is no stranger any more.
    let stranger = ["token", "get", "--client", "clients/stranger", "--client-id", "psp-17"];
    run(&stranger).expect_code(0);
    let matches = run(&["--output", "json", "certificate", "match", "clients/stranger/cert.pem"])
        .expect_code(0)
        .json();
    let matching: Vec<_> = matches["clients"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["matches"] == true)
        .collect();
    assert_eq!(matching.len(), 1, "{matches}");
    assert_eq!(matching[0]["client_id"], "psp-17");

    run(&["client", "create", "--file", "psp.json"]).expect_code(4);
    run(&[
        "client",
        "update",
        "psp-17",
        "--set",
        "tls_client_auth_san_dns=other.test",
    ])
    .expect_code(0);
    let refused = run(&stranger).expect_code(5);
    assert!(refused.stderr.contains("invalid_client"), "{refused:?}");
    run(&["certificate", "match", "clients/stranger/cert.pem"]).expect_code(3);
    run(&[
        "client",
        "update",
        "psp-17",
        "--set",
        "tls_client_auth_san_uri=https://x",
    ])
    .expect_code(5);
    let listed = run(&["--output", "json", "client", "list"]).expect_code(0).json();
    let clients = listed["clients"].as_array().unwrap().iter();
    let clients: Vec<&str> = clients.map(|client| client["client_id"].as_str().unwrap()).collect();
    assert_eq!(clients, ["admin", "demo", "demo-self-signed", "gateway", "psp-17"]);
    run(&["client", "delete", "psp-17"]).expect_code(0);
    run(&["client", "show", "psp-17"]).expect_code(3);
    run(&["client", "delete", "psp-17"]).expect_code(3);
    // Clients of files are shown and not changed.
    run(&["client", "show", "demo"]).expect_code(0);
    run(&["client", "update", "demo", "--set", "client_name=x"]).expect_code(4);
    run(&["client", "delete", "demo"]).expect_code(4);
}

#[test]
fn a_user_lives_from_create_to_delete() {
    let installation = Installation::start();
    let run = |arguments: &[&str]| installation.run(arguments);
    std::fs::write(installation.path("password"), "correct horse battery\n").unwrap();
    std::fs::write(installation.path("short"), "short\n").unwrap();
    let create = |name: &str, file: &str| run(&["--output", "json", "user", "create", name, "--password-file", file]);
    let created = create("Ada", "password").expect_code(0).json();
    assert_eq!(created["name"], "ada");
    assert!(created["sub"].as_str().unwrap().starts_with("u."), "{created}");
    create("ada", "password").expect_code(4);
    create("grace", "short").expect_code(5);
    create("a da", "password").expect_code(5);
    create("grace", "missing").expect_code(3);
    let update = |arguments: &[&str]| run(&[&["--output", "json", "user", "update", "ada"], arguments].concat());
    let updated = update(&["--set", "email=ada@example.org", "--disable"])
        .expect_code(0)
        .json();
    assert_eq!(
        (&updated["claims"], &updated["disabled"]),
        (&json!({"email": "ada@example.org"}), &json!(true))
    );
    update(&["--set", "sub=root"]).expect_code(5);
    update(&["--unset", "website"]).expect_code(3);
    update(&["--enable", "--disable"]).expect_code(2);
    let updated = update(&["--enable", "--unset", "email"]).expect_code(0).json();
    assert_eq!((&updated["claims"], &updated["disabled"]), (&json!({}), &json!(false)));
    let listed = run(&["--output", "json", "user", "list"]).expect_code(0).json();
    assert_eq!(listed["users"].as_array().unwrap().len(), 1, "{listed}");
    run(&["user", "list"]).expect_code(0);
    run(&["user", "delete", "ada"]).expect_code(0);
    run(&["user", "show", "ada"]).expect_code(3);
    run(&["user", "delete", "ada"]).expect_code(3);
}

#[test]
fn the_audit_log_says_who_changed_what_newest_first() {
    let installation = Installation::start();
    let run = |arguments: &[&str]| installation.run(arguments);
    std::fs::write(installation.path("password"), "correct horse battery\n").unwrap();
    for name in ["ada", "grace"] {
        run(&["user", "create", name, "--password-file", "password"]).expect_code(0);
    }
    run(&["user", "delete", "ada"]).expect_code(0);
    let audit = |arguments: &[&str]| run(&[&["--output", "json", "audit"], arguments].concat());
    let actions = |arguments: &[&str]| -> Vec<(String, String)> {
        let said = audit(arguments).expect_code(0).json();
        let text = |record: &serde_json::Value, name: &str| record[name].as_str().unwrap().to_owned();
        let records = said["records"].as_array().unwrap();
        records
            .iter()
            .map(|record| (text(record, "action"), text(record, "subject")))
            .collect()
    };
    let of_users = actions(&["--action", "user."]);
    let names: Vec<&str> = of_users.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(names, ["user.deleted", "user.created", "user.created"]);
    let (_, deleted) = &of_users[0];
    assert_eq!(
        actions(&["--subject", deleted]).len(),
        2,
        "of one user alone: {of_users:?}"
    );
    assert_eq!(actions(&["--action", "user.", "--newest", "1"]), of_users[..1]);
    // More than one page of the API.
    assert!(actions(&["--newest", "2000"]).len() >= of_users.len());
    assert_eq!(actions(&["--action", "nobody.did"]), []);
    let table = run(&["audit", "--action", "user.deleted"]).expect_code(0).stdout;
    assert!(
        table.contains("administrator ") && table.contains("user.deleted"),
        "{table}"
    );
    audit(&["--newest", "0"]).expect_code(2);
    audit(&["--admin", "clients/demo/client.toml"]).expect_code(5);
}

#[test]
fn a_second_administrator_is_made_locally_and_can_administer() {
    let installation = Installation::start();
    installation
        .run(&["admin", "create", "--config", "keybound.toml", "--name", "ops"])
        .expect_code(0);
    installation
        .run(&["admin", "create", "--config", "keybound.toml", "--name", "ops"])
        .expect_code(4);
    installation
        .run(&["client", "list", "--admin", "ops.toml"])
        .expect_code(0);
    installation
        .run(&["client", "list", "--admin", "clients/demo/client.toml"])
        .expect_code(5);
    installation
        .run(&["client", "list", "--admin", "nobody.toml"])
        .expect_code(3);
}

#[test]
fn exit_codes_say_what_happened() {
    let installation = Installation::start();
    let gateway = installation.gateway("/hello");
    installation
        .run(&["call", &gateway, "--client", "clients/demo"])
        .expect_code(0);
    let token = installation.token();
    installation
        .run(&["call", &gateway, "--client", "clients/stranger", "--token", &token])
        .expect_code(5);
    installation
        .run(&["call", "https://localhost:1/", "--client", "clients/demo"])
        .expect_code(6);
    installation
        .run(&["call", "http://localhost/", "--client", "clients/demo"])
        .expect_code(2);
    installation.run(&["token", "get"]).expect_code(2);
    installation
        .run(&["token", "get", "--client", "nowhere"])
        .expect_code(3);
    installation
        .run(&["token", "get", "--client", "clients/demo", "--scope", "unheard-of"])
        .expect_code(5);
    installation.run(&["token", "inspect", "not-a-token"]).expect_code(2);
    installation
        .run(&["token", "inspect", &token, "--certificate", "clients/demo/cert.pem"])
        .expect_code(0);
    installation
        .run(&["token", "inspect", &token, "--certificate", "clients/stranger/cert.pem"])
        .expect_code(5);
    installation.run(&["explain", "A-00000000000000"]).expect_code(3);
    installation.run(&["explain", "nonsense"]).expect_code(2);
    installation.run(&["unheard-of"]).expect_code(2);
    installation.run(&["serve", "--config", "nowhere.toml"]).expect_code(3);
}

#[test]
fn certificates_are_made_inspected_and_checked() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| run_in(directory.path(), arguments);
    run(&["certificate", "create", "--authority", "--name", "CA", "--dir", "ca"]).expect_code(0);
    run(&["certificate", "create", "--authority", "--name", "CA", "--dir", "other"]).expect_code(0);
    let issue = |dir: &str, days: &str| {
        let arguments = [
            "certificate",
            "create",
            "--name",
            "a",
            "--dns",
            "a.test",
            "--uri",
            "https://a.test/x",
            "--ip",
            "2001:db8::1",
            "--email",
            "a@a.test",
            "--ca",
            "ca/cert.pem",
            "--ca-key",
            "ca/key.pem",
            "--days",
            days,
            "--dir",
            dir,
        ];
        run(&arguments)
    };
    issue("a", "90").expect_code(0);
    issue("a", "90").expect_code(4);
    issue("soon", "5").expect_code(0);
    let inspected = run(&["--output", "json", "certificate", "inspect", "a/cert.pem"])
        .expect_code(0)
        .json();
    let parameters = &inspected["subject_parameters"];
    for (parameter, value) in [
        ("tls_client_auth_subject_dn", "CN=a,O=Keybound development"),
        ("tls_client_auth_san_dns", "a.test"),
        ("tls_client_auth_san_uri", "https://a.test/x"),
        ("tls_client_auth_san_ip", "2001:db8::1"),
        ("tls_client_auth_san_email", "a@a.test"),
    ] {
        assert_eq!(parameters[parameter], json!([value]), "{inspected}");
    }
    assert_eq!(inspected["registrations"].as_array().unwrap().len(), 6);
    run(&["certificate", "check", "a/cert.pem"]).expect_code(0);
    run(&["certificate", "check", "a/cert.pem", "--ca", "ca/cert.pem"]).expect_code(0);
    run(&["certificate", "check", "soon/cert.pem"]).expect_code(20);
    run(&["certificate", "check", "a/cert.pem", "--ca", "other/cert.pem"]).expect_code(23);
    run(&["certificate", "check", "a/none.pem"]).expect_code(3);
    for command in ["check", "inspect"] {
        let said = run(&["certificate", command, "a/key.pem"]).expect_code(2);
        assert!(
            said.stderr.contains("a/key.pem: the file contains no certificate"),
            "{said:?}"
        );
    }
    // Nothing is said of a client where there is none.
    let said = run(&["certificate", "check", "a/cert.pem", "--ca", "soon/cert.pem"]).expect_code(2);
    assert!(said.stderr.contains("is not a certification authority"), "{said:?}");
    run(&[
        "certificate",
        "create",
        "--authority",
        "--name",
        "Else",
        "--dir",
        "else",
    ])
    .expect_code(0);
    let chain = ["a/cert.pem", "ca/cert.pem"].map(|file| std::fs::read_to_string(directory.path().join(file)).unwrap());
    std::fs::write(directory.path().join("chain.pem"), chain.concat()).unwrap();
    let said = run(&["certificate", "check", "chain.pem", "--ca", "else/cert.pem"]).expect_code(23);
    assert!(
        said.stdout
            .contains("CN=CA,O=Keybound development is none of the authorities of --ca"),
        "{said:?}"
    );
    assert!(!said.stdout.contains("client"), "{said:?}");
    // RFC 8705 Appendix A: version 1, expired in 2022, and still it has a thumbprint.
    let appendix = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/rfc8705-appendix-a.pem");
    run(&["certificate", "check", appendix]).expect_code(21);
    let inspected = run(&["--output", "json", "certificate", "inspect", appendix])
        .expect_code(0)
        .json();
    assert_eq!(inspected["x5t#S256"], "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0");
}

#[test]
fn a_revocation_list_that_cannot_be_used_is_named_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let path = |file: &str| directory.path().join(file);
    let run = |arguments: &[&str]| run_in(directory.path(), arguments);
    run(&["certificate", "create", "--authority", "--name", "CA", "--dir", "ca"]).expect_code(0);
    let a = [
        "certificate",
        "create",
        "--name",
        "a",
        "--dir",
        "a",
        "--ca",
        "ca/cert.pem",
        "--ca-key",
        "ca/key.pem",
    ];
    run(&a).expect_code(0);
    // As Debian's openssl.cnf has it: with `crlnumber` and `crl_extensions`, and without.
    let settings =
        "[ca]\ndefault_ca = here\n[here]\ndatabase = index.txt\ndefault_md = sha256\ndefault_crl_days = 30\n";
    std::fs::write(path("1.cnf"), settings).unwrap();
    let number = "crlnumber = number\ncrl_extensions = list\n[list]\nauthorityKeyIdentifier = keyid\n";
    std::fs::write(path("2.cnf"), format!("{settings}{number}")).unwrap();
    std::fs::write(path("index.txt"), "").unwrap();
    std::fs::write(path("number"), "01\n").unwrap();
    for version in ["1", "2"] {
        let arguments =
            format!("ca -gencrl -config {version}.cnf -keyfile ca/key.pem -cert ca/cert.pem -out {version}.crl");
        let made = std::process::Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(directory.path())
            .output();
        assert!(made.as_ref().unwrap().status.success(), "{made:?}");
    }
    std::fs::write(path("cut.crl"), [0x30, 0x82, 0x01, 0x00, 0x30]).unwrap();
    let check = |list: &str| {
        run(&[
            "certificate",
            "check",
            "a/cert.pem",
            "--ca",
            "ca/cert.pem",
            "--crl",
            list,
        ])
    };
    check("2.crl").expect_code(0);
    let version_1 = "1.crl: it is a version 1 list, and version 2 with a crlNumber is needed: `openssl ca -gencrl`";
    let cut = "cut.crl: it does not have the structure of a revocation list";
    for (list, says) in [("1.crl", version_1), ("cut.crl", cut)] {
        let said = check(list).expect_code(2);
        assert!(said.stderr.contains(says), "{said:?}");
        assert!(
            !said.stderr.contains("cert.pem") && !said.stderr.contains("BadDer"),
            "{said:?}"
        );
    }
    // `config check` says the same at the list's own place.
    run(&["init", "--dir", "new", "--yes"]).expect_code(0);
    let configuration = std::fs::read_to_string(path("new/keybound.toml")).unwrap();
    for (list, says) in [("1.crl", version_1), ("cut.crl", cut)] {
        let anchor =
            format!("\n[[trust_anchors]]\nname = \"corp\"\nfile = \"../ca/cert.pem\"\ncrl = [\"../{list}\"]\n");
        std::fs::write(path("new/keybound.toml"), format!("{configuration}{anchor}")).unwrap();
        let said = run(&["config", "check", "--config", "new/keybound.toml"]).expect_code(65);
        assert!(said.stdout.contains(says), "{said:#?}");
        assert!(!said.stdout.contains("BadDer"), "{said:?}");
    }
}

#[test]
fn a_lone_word_is_a_list_where_a_list_is_wanted() {
    let installation = Installation::start();
    let set = |assignments: &[&str]| {
        let mut arguments = vec!["--output", "json", "client", "create"];
        arguments.extend(assignments.iter().flat_map(|assignment| ["--set", assignment]));
        installation.run(&arguments)
    };
    let subject = [
        "token_endpoint_auth_method=tls_client_auth",
        "tls_client_auth_san_dns=a.test",
    ];
    let created = set(&[
        &subject[..],
        &["grant_types=client_credentials", "keybound_trust_anchors=quickstart"],
    ]
    .concat());
    let created = created.expect_code(0).json();
    assert_eq!(created["grant_types"], json!(["client_credentials"]));
    assert_eq!(created["keybound_trust_anchors"], json!(["quickstart"]));
    // Said to be a string, it is taken at its word.
    set(&[&subject[..], &["grant_types=\"client_credentials\""]].concat()).expect_code(5);
}

#[test]
fn what_a_server_drew_may_begin_with_a_hyphen() {
    let installation = Installation::start();
    let run = |arguments: &[&str]| installation.run(arguments);
    // One of 64 identifiers and tokens does; the letters are those of flags, too.
    for drawn in ["-qxBs0pQ", "-hVx", "--output-x"] {
        for command in [
            &["backchannel", "show"][..],
            &["backchannel", "approve"],
            &["client", "show"],
        ] {
            let said = run(&[command, &[drawn]].concat()).expect_code(3);
            assert!(!said.stderr.contains("unexpected argument"), "{said:?}");
        }
        let url = installation.gateway("/hello");
        run(&["call", &url, "--client", "clients/demo", "--token", drawn]).expect_code(5);
    }
    // What is known is a flag all the same, before and behind.
    let said = run(&[
        "backchannel",
        "show",
        "--output",
        "json",
        "-x1",
        "--admin",
        "admin.toml",
    ])
    .expect_code(3);
    assert!(said.stdout.is_empty() || said.stdout.starts_with('{'), "{said:?}");
}
