//! `config check`: every error at once, each at its place.

use std::path::Path;

use serde_json::{Value, json};

use crate::installation::{Said, free_port_offset, run_in};

fn installation() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let offset = free_port_offset().to_string();
    run_in(directory.path(), &["quickstart", "--exit", "--port-offset", &offset]).expect_code(0);
    directory
}

fn check(directory: &Path, file: &str) -> Said {
    run_in(directory, &["config", "check", "--config", file])
}

/// Replaces one line and expects one more error there.
fn broken(directory: &Path, file: &str, find: &str, replace: &str, expected: &str) {
    let path = directory.join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(find), "{find:?} is not in {file}");
    let line = text.lines().position(|line| line.contains(find)).unwrap() + 1;
    std::fs::write(&path, text.replacen(find, replace, 1)).unwrap();
    let said = check(directory, file).expect_code(65);
    let place = format!("{file}:{line}:");
    assert!(said.stdout.contains(&place), "{place} is not in {said:#?}");
    assert!(said.stdout.contains('^'), "{said:#?}");
    assert!(said.stdout.contains(expected), "{expected:?} is not in {said:#?}");
    std::fs::write(&path, text).unwrap();
}

// covers UX-3
#[test]
fn each_mistake_is_found_at_its_line_and_column() {
    let directory = installation();
    let directory = directory.path();
    check(directory, "keybound.toml").expect_code(0);
    check(directory, "gateway.toml").expect_code(0);
    for (find, replace, expected) in [
        ("issuer = \"https", "issuer = \"http", "must be an https URL"),
        ("issuer = ", "issuerr = ", "did you mean `issuer`?"),
        ("profile = \"default\"", "profile = \"fapi3\"", "must be \"default\""),
        ("clients = [", "clients = [7, ", "must be an array of strings"),
        (
            "public = \"127.0.0.1:",
            "public = \"localhost:",
            "an address is an IP address and a port",
        ),
        ("key = \"pki/server.key\"", "key = \"pki/ca.key\"", "does not belong"),
        (
            "certificate = \"pki/server.pem\"",
            "certificate = \"pki/none.pem\"",
            "cannot be opened",
        ),
        (
            "url = \"sqlite:keybound.db\"",
            "url = \"postgres://x\"",
            "PostgreSQL is not available",
        ),
        (
            "signing_algorithm = \"ES256\"",
            "signing_algorithm = \"HS256\"",
            "not one of ES256, ES384, EdDSA, PS256, RS256",
        ),
        (
            "access_token_lifetime = \"5m\"",
            "access_token_lifetime = \"5 minutes\"",
            "a duration is",
        ),
        (
            "access_token_lifetime = \"5m\"",
            "access_token_lifetime = \"999ms\"",
            "must lie between 1s and 86400s",
        ),
        (
            "access_token_lifetime = \"5m\"",
            "access_token_lifetime = 300",
            "must be a string, not an integer",
        ),
        (
            "allow_addresses = [\"127.0.0.0/8\"",
            "allow_addresses = [\"127.0.0.0/80\"",
            "a network is written",
        ),
        ("push_enabled = false", "push_enabled = true", "C056"),
        ("file = \"pki/ca.pem\"", "file = \"keybound.toml\"", "C031"),
        ("[tokens]", "[tokens", "C001"),
    ] {
        broken(directory, "keybound.toml", find, replace, expected);
    }
    for (find, replace, expected) in [
        (
            "listen = \"127.0.0.1:",
            "listen = \"127.0.0.1.1:",
            "an address is an IP address and a port",
        ),
        (
            "upstream = \"demo:\"",
            "upstream = \"https://x\"",
            "the scheme must be http",
        ),
        ("path = \"/\"", "path = \"x\"", "must begin with /"),
        ("binding = \"required\"", "binding = \"yes\"", "must be one of"),
        ("client_id = \"", "# client_id = \"", "`issuers.client_id` is missing"),
    ] {
        if expected.contains("missing") {
            // A missing key has no line of its own: the table that lacks it is named.
            let path = directory.join("gateway.toml");
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, text.replacen(find, replace, 1)).unwrap();
            let said = check(directory, "gateway.toml").expect_code(65);
            assert!(said.stdout.contains(expected), "{said:#?}");
            std::fs::write(&path, text).unwrap();
            continue;
        }
        broken(directory, "gateway.toml", find, replace, expected);
    }
}

#[test]
fn all_mistakes_are_reported_at_once_also_those_of_the_environment_and_of_client_files() {
    let directory = installation();
    let path = directory.path().join("keybound.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text.replacen("profile = \"default\"", "profil = 1\nprofile = 2", 1),
    )
    .unwrap();
    let said = Said::of(
        crate::installation::keybound()
            .current_dir(directory.path())
            .args(["--output", "json", "config", "check", "--config", "keybound.toml"])
            .env("KEYBOUND__TOKENS__SIGNING_ALGORITHM", "none")
            .output()
            .unwrap(),
    )
    .expect_code(65);
    let codes: Vec<String> = said.json()["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["code"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(codes, ["C006", "C002", "C004"], "{said:?}");
    std::fs::write(&path, text).unwrap();

    let client = directory.path().join("clients.d/broken.json");
    std::fs::write(
        &client,
        "{\"client_id\": \"x\", \"token_endpoint_auth_method\": \"tls_client_auth\", \"tls_client_auth_san_dns\": \"x.test\",\n \"scope\": 7}",
    )
    .unwrap();
    let said = check(directory.path(), "keybound.toml").expect_code(65);
    assert!(said.stdout.contains("broken.json:2:"), "{said:#?}");
}

#[test]
fn the_environment_overrides_the_file() {
    let directory = installation();
    let offset = free_port_offset();
    let address = format!("127.0.0.1:{}", 8443 + offset);
    let mut server = crate::installation::keybound()
        .current_dir(directory.path())
        .args(["serve", "--config", "keybound.toml"])
        .env("KEYBOUND__LISTEN__PUBLIC", &address)
        .env("KEYBOUND__LISTEN__MUTUAL_TLS", format!("127.0.0.1:{}", 8444 + offset))
        .env("KEYBOUND__LISTEN__OPERATIONS", format!("127.0.0.1:{}", 8445 + offset))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = std::io::BufReader::new(server.stdout.take().unwrap());
    let first = std::io::BufRead::lines(stdout)
        .map_while(Result::ok)
        .find(|line| line.contains("listening on"));
    assert!(first.as_ref().is_some_and(|line| line.contains(&address)), "{first:?}");
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn a_proxy_that_is_everybody_and_a_port_shared_without_a_name_are_mistakes() {
    let directory = installation();
    let directory = directory.path();
    let path = directory.join("keybound.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let forwarded =
        "\n[[forwarded_certificate]]\nlistener = \"public\"\nformat = \"client-cert\"\nfrom = [\"0.0.0.0/0\"]\n";
    std::fs::write(&path, format!("{text}{forwarded}")).unwrap();
    let said = check(directory, "keybound.toml").expect_code(65);
    assert!(said.stdout.contains("anybody's header would be believed"), "{said:#?}");
    // One proxy among them is another matter.
    std::fs::write(&path, format!("{text}{}", forwarded.replace("0.0.0.0/0", "10.0.0.1"))).unwrap();
    check(directory, "keybound.toml").expect_code(0);
    let line = |key: &str| text.lines().find(|line| line.starts_with(key)).unwrap();
    let shared = line("public = ").replace("public", "mutual_tls");
    std::fs::write(&path, text.replace(line("mutual_tls = "), &shared)).unwrap();
    let said = check(directory, "keybound.toml").expect_code(65);
    assert!(said.stdout.contains("share a port"), "{said:#?}");
}

#[test]
fn a_token_shown_to_issuers_that_did_not_issue_it_is_a_warning() {
    let directory = installation();
    let directory = directory.path();
    let path = directory.join("gateway.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let introspected = |issuer: &str| {
        format!(
            "\n[[issuers]]\nissuer = \"{issuer}\"\nvalidation = \"introspection\"\nclient_id = \"gateway\"\n\
             certificate = \"pki/server.pem\"\nkey = \"pki/server.key\"\n"
        )
    };
    let (one, two) = ("https://one.example", "https://two.example");
    let check_with = |more: String| {
        std::fs::write(&path, format!("{text}{more}")).unwrap();
        let arguments = ["--output", "json", "config", "check", "--config", "gateway.toml"];
        let said = run_in(directory, &arguments).expect_code(0).json();
        assert_eq!(said["valid"], true, "{said}");
        (
            said["findings"].as_array().unwrap().clone(),
            check(directory, "gateway.toml"),
        )
    };
    let (findings, said) = check_with(introspected(one) + &introspected(two));
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(
        (&findings[0]["code"], &findings[0]["severity"]),
        (&"C026".into(), &"warning".into())
    );
    let line = text.lines().position(|line| line == "path = \"/\"").unwrap() + 1;
    assert_eq!(findings[0]["line"], line);
    assert!(said.stdout.contains("warning[C026]"), "{said:#?}");
    assert!(
        said.stdout.contains(&format!("is shown to each of {one}, {two}")),
        "{said:#?}"
    );
    assert!(
        said.stdout.contains('^') && said.stdout.contains("1 warning"),
        "{said:#?}"
    );

    // One such issuer beside those whose tokens are judged here is none, nor are two that no route admits together.
    let (findings, _) = check_with(introspected(one));
    assert_eq!(findings.len(), 0, "{findings:?}");
    let local = text.lines().find_map(|line| line.strip_prefix("issuer = ")).unwrap();
    let only = text.replace("# issuers = []", &format!("issuers = [{local}, \"{one}\"] #"));
    assert_ne!(only, text);
    std::fs::write(&path, only + &introspected(one) + &introspected(two)).unwrap();
    let said = check(directory, "gateway.toml").expect_code(0);
    assert!(said.stdout.contains("no errors"), "{said:#?}");
}

/// Code and line of every finding, in the order in which they are told.
fn told(directory: &Path, file: &str) -> Vec<(String, u64)> {
    let said = run_in(directory, &["--output", "json", "config", "check", "--config", file]);
    let findings = said.expect_code(65).json()["findings"].as_array().unwrap().clone();
    findings
        .iter()
        .map(|it| (it["code"].as_str().unwrap().to_owned(), it["line"].as_u64().unwrap()))
        .collect()
}

// covers UX-3
#[test]
fn mistakes_in_the_files_that_are_named_are_told_with_the_others_in_the_order_of_the_file() {
    let directory = installation();
    let path = directory.path().join("keybound.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let broken = text
        .replacen("file = \"pki/ca.pem\"", "file = \"pki/ca.key\"", 1)
        .replacen("profile = \"default\"", "profile = \"fapi3\"", 1)
        .replacen("signing_algorithm = \"ES256\"", "signing_algorithm = \"HS256\"", 1)
        + "\n[[resources]]\nuri = \"no\"\n";
    std::fs::write(&path, &broken).unwrap();
    std::fs::write(directory.path().join("clients.d/broken.json"), "{\n \"client_id\": }").unwrap();
    let line = |start: &str| broken.lines().position(|line| line.starts_with(start)).unwrap() as u64 + 1;
    let expected = [
        ("C043".to_owned(), 2),
        ("C006".to_owned(), line("profile = ")),
        ("C006".to_owned(), line("signing_algorithm = ")),
        ("C031".to_owned(), line("file = \"pki/ca.key\"")),
        ("C006".to_owned(), line("uri = \"no\"")),
    ];
    assert_eq!(told(directory.path(), "keybound.toml"), expected);
    // And by the daemon that does not start, too.
    let said = run_in(directory.path(), &["serve", "--config", "keybound.toml"]).expect_code(65);
    assert!(
        said.stderr.contains("C031") && said.stderr.contains("C043"),
        "{said:#?}"
    );
    assert!(said.stderr.contains("5 errors"), "{said:#?}");
}

#[test]
fn an_anchor_with_a_broken_file_is_no_mistake_of_the_clients_that_name_it() {
    let directory = installation();
    let path = directory.path().join("keybound.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        directory.path().join("clients.d/limited.json"),
        "{\"client_id\": \"x\", \"token_endpoint_auth_method\": \"tls_client_auth\", \"tls_client_auth_san_dns\": \"x.test\",\n \
         \"grant_types\": [\"client_credentials\"], \"keybound_trust_anchors\": [\"quickstart\"]}",
    )
    .unwrap();
    check(directory.path(), "keybound.toml").expect_code(0);
    for (find, replace, code) in [
        ("file = \"pki/ca.pem\"", "file = \"pki/none.pem\"", "C020"),
        ("file = \"pki/ca.pem\"", "file = \"pki/ca.key\"", "C031"),
    ] {
        std::fs::write(&path, text.replacen(find, replace, 1)).unwrap();
        let codes: Vec<_> = told(directory.path(), "keybound.toml")
            .into_iter()
            .map(|it| it.0)
            .collect();
        assert_eq!(codes, [code]);
    }
}

#[test]
fn a_slip_of_syntax_hides_what_a_parser_makes_of_the_rest() {
    let directory = installation();
    for (file, find, replace) in [
        ("keybound.toml", "[tls]\n", "[tls\n"),
        ("keybound.toml", "issuer = ", "issuer "),
        ("gateway.toml", "[tls]\n", "[tls\n"),
    ] {
        let path = directory.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let broken = text.replacen(find, replace, 1);
        assert_ne!(broken, text);
        std::fs::write(&path, &broken).unwrap();
        let line = broken
            .lines()
            .position(|line| line.starts_with(replace.trim_end()))
            .unwrap() as u64
            + 1;
        let told = told(directory.path(), file);
        assert!(
            !told.is_empty() && told.iter().all(|it| *it == ("C001".to_owned(), line)),
            "{told:?}"
        );
        std::fs::write(&path, text).unwrap();
    }
}

#[test]
fn mistakes_of_a_gateway_are_told_at_their_places() {
    let directory = installation();
    let path = directory.path().join("gateway.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let broken = text
        .replacen("ca = [\"pki/ca.pem\"]", "ca = [\"pki/ca.key\"]", 1)
        .replacen("scopes = []", "scopes = [\"a\\\"b\"]", 1);
    let resource = text.lines().find(|line| line.starts_with("resource = ")).unwrap();
    let broken = broken.replacen(resource, "resource = \"https://x/#y\"", 1);
    std::fs::write(&path, &broken).unwrap();
    let line = |start: &str| broken.lines().position(|line| line.starts_with(start)).unwrap() as u64 + 1;
    let expected = [
        ("C006".to_owned(), line("resource = ")),
        ("C021".to_owned(), line("ca = ")),
        ("C006".to_owned(), line("scopes = ")),
    ];
    assert_eq!(told(directory.path(), "gateway.toml"), expected);
}

// covers R-FAPI-11
#[test]
fn what_a_profile_changes_is_listed_and_what_it_forbids_is_found() {
    let directory = installation();
    let directory = directory.path();
    let path = directory.join("keybound.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let said = check(directory, "keybound.toml").expect_code(0);
    assert!(!said.stdout.contains("(was:"), "{said:#?}");
    for profile in ["fapi2", "fapi2-message-signing"] {
        let stricter = text.replacen("profile = \"default\"", &format!("profile = \"{profile}\""), 1);
        std::fs::write(&path, &stricter).unwrap();
        let said = check(directory, "keybound.toml").expect_code(0);
        assert!(
            said.stdout
                .contains(&format!("{profile}: PAR required (was: optional)\n")),
            "{said:#?}"
        );
        let json = ["--output", "json", "config", "check", "--config", "keybound.toml"];
        let json = run_in(directory, &json).expect_code(0).json();
        assert_eq!(json["profile"], profile);
        let changes = json["profile_changes"].as_array().unwrap();
        let mut expected = vec![
            "PAR required",
            "PKCE required",
            "redirect_uri required",
            "redirect URIs https",
            "aud, exp and nbf required of request objects",
            "client authentication by tls_client_auth",
            "aud of client assertions the issuer",
            "bound access tokens required",
            "signatures by PS256, ES256 or EdDSA alone",
            "CIBA clients poll or are pinged",
        ];
        if profile == "fapi2-message-signing" {
            expected.push("signed request objects required");
        }
        let says = |(change, expected): (&Value, &&str)| change.as_str().is_some_and(|text| text.starts_with(expected));
        assert!(
            changes.len() == expected.len() && changes.iter().zip(&expected).all(says),
            "{json}"
        );
        let expected = format!("RS256 is not permitted by profile \"{profile}\"");
        for algorithm in ["RS256", "ES384"] {
            let (find, replace) = (
                "signing_algorithm = \"ES256\"",
                format!("signing_algorithm = \"{algorithm}\""),
            );
            let others = (
                "# other_signing_algorithms = [\"RS256\"]",
                format!("other_signing_algorithms = [\"EdDSA\", \"{algorithm}\"]"),
            );
            for (find, replace) in [(find, replace), others] {
                broken(
                    directory,
                    "keybound.toml",
                    find,
                    &replace,
                    &expected.replace("RS256", algorithm),
                );
            }
        }
    }
}

// covers R-FAPI-11
#[test]
fn what_the_profile_of_one_client_changes_is_listed() {
    let directory = installation();
    let directory = directory.path();
    let client = |profile: &str| {
        let metadata = json!({
            "client_id": "shop", "token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "shop.example",
            "tls_client_certificate_bound_access_tokens": true, "grant_types": ["authorization_code"],
            "redirect_uris": ["http://127.0.0.1/callback"], "keybound_profile": profile,
        });
        std::fs::write(directory.join("clients.d/shop.json"), metadata.to_string()).unwrap();
    };
    std::fs::create_dir_all(directory.join("clients.d")).unwrap();
    client("default");
    let said = check(directory, "keybound.toml").expect_code(0);
    assert!(!said.stdout.contains("(was:"), "{said:#?}");
    client("fapi2");
    let said = check(directory, "keybound.toml").expect_code(0);
    let line = "client shop, fapi2: PAR required (was: optional)\n";
    assert!(said.stdout.contains(line), "{said:#?}");
    // At a server of the same profile it changes nothing; the stricter one's own rule is left.
    let path = directory.join("keybound.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("profile = \"default\"", "profile = \"fapi2\"", 1)).unwrap();
    let said = check(directory, "keybound.toml").expect_code(0);
    assert!(!said.stdout.contains("client shop"), "{said:#?}");
    client("fapi2-message-signing");
    let json = ["--output", "json", "config", "check", "--config", "keybound.toml"];
    let json = run_in(directory, &json).expect_code(0).json();
    assert_eq!(json["client_profiles"][0]["client_id"], "shop", "{json}");
    let changes = json!(["signed request objects required (was: optional)"]);
    assert_eq!(json["client_profiles"][0]["profile_changes"], changes);
}

// covers UX-3, T32
#[test]
fn mistakes_about_who_registers_are_told_at_their_places_and_never_show_a_token() {
    let directory = installation();
    let directory = directory.path();
    for (find, replace, expected) in [
        ("# clients_max = 10000 ", "clients_max = -1 # ", "must lie between"),
        (
            "# methods = [\"tls_client_auth\", ",
            "methods = [\"tls\", ",
            "is no authentication method",
        ),
        (
            "# initial_access_token_file = \"secrets/initial-access-tokens\"",
            "initial_access_token_file = \"secrets/none\"",
            "cannot be opened",
        ),
        (
            "# software_statement = \"optional\" ",
            "software_statement = \"maybe\" # ",
            "software_statement",
        ),
        (
            "# per_address_and_hour_max = 100 ",
            "per_address_an_hour_max = 100 # ",
            "did you mean",
        ),
    ] {
        broken(directory, "keybound.toml", find, replace, expected);
    }
    // Switched on without a token it is a warning, for nobody can register.
    let path = directory.join("keybound.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let enabled = text.replacen("[registration]\nenabled = false", "[registration]\nenabled = true", 1);
    std::fs::write(&path, &enabled).unwrap();
    let said = check(directory, "keybound.toml").expect_code(0);
    assert!(said.stdout.contains("C051"), "{said:#?}");
    let with_file = enabled.replacen("# initial_access_token_file", "initial_access_token_file", 1);
    std::fs::write(&path, with_file).unwrap();
    let tokens = directory.join("secrets/initial-access-tokens");
    for (text, expected) in [
        ("tooshort", "line 1: has no token"),
        ("# none\na tooshort", "line 2: has no token"),
        ("a b c", "line 1: is not NAME TOKEN"),
        (
            "a hushhushhushhushhushhush\na hushhushhushhushhushhash",
            "line 2: has a second token",
        ),
    ] {
        std::fs::write(&tokens, text).unwrap();
        let said = check(directory, "keybound.toml").expect_code(65);
        assert!(
            said.stdout.contains("C054") && said.stdout.contains(expected),
            "{said:#?}"
        );
        assert!(
            !said.stdout.contains("hushhush") && !said.stdout.contains("tooshort"),
            "{said:#?}"
        );
    }
    std::fs::write(&tokens, "hushhushhushhushhushhush\npartners hushhushhushhushhushhash").unwrap();
    assert_eq!(
        check(directory, "keybound.toml")
            .expect_code(0)
            .stdout
            .matches('C')
            .count(),
        0
    );
}

// covers R6749-3
#[test]
fn a_client_file_has_the_hash_of_a_secret_and_never_the_secret() {
    let directory = installation();
    let directory = directory.path();
    let path = directory.join("keybound.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let enabled = text.replacen("sha256\".\nenabled = false", "sha256\".\nenabled = true", 1);
    assert_ne!(enabled, text);
    std::fs::write(&path, &enabled).unwrap();
    let hash = "a".repeat(64);
    let client = |method: &str, more: &str| {
        let metadata = format!(
            r#"{{"client_id":"x","token_endpoint_auth_method":"{method}","grant_types":["client_credentials"]{more}}}"#
        );
        std::fs::write(directory.join("clients.d/x.json"), metadata).unwrap();
        check(directory, "keybound.toml")
    };
    let member = |value: &str| format!(r#","keybound_client_secret_sha256":{value}"#);
    for (method, more) in [
        ("client_secret_basic", String::new()),
        ("client_secret_basic", r#","client_secret":"hushhush""#.to_owned()),
        ("client_secret_post", member("7")),
        ("client_secret_post", member("\"abc\"")),
        (
            "tls_client_auth",
            format!(
                r#","tls_client_auth_san_dns":"a.example"{}"#,
                member(&format!("\"{hash}\""))
            ),
        ),
    ] {
        let said = client(method, &more).expect_code(65);
        assert!(said.stdout.contains("C046"), "{method} {more} {said:#?}");
    }
    client("client_secret_basic", &member(&format!("\"{hash}\""))).expect_code(0);
    // Switched off, such a client is a mistake.
    std::fs::write(&path, &text).unwrap();
    let said = client("client_secret_basic", &member(&format!("\"{hash}\""))).expect_code(65);
    assert!(said.stdout.contains("C045"), "{said:#?}");
}
