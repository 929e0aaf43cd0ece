//! `keybound token get` for every grant, against a server that follows a script: good answers, and those after which nothing more may
//! be sent.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::rand::SystemRandom;
use keybound_protocol::base64url;
use keybound_protocol::signer::{LocalSigner, SignatureAlgorithm, Signer};
use keybound_protocol::unsigned_jwt::UnsignedJwt;
use serde_json::{Value, json};

use crate::installation::Said;
use crate::scene::now;
use crate::scripted_server::{Asked, ScriptedServer};
use crate::waiting_command::WaitingCommand;

/// Refreshes a token by the file that comes next.
const REFRESH: [&str; 7] = [
    "token",
    "get",
    "--client",
    "client",
    "--grant",
    "refresh",
    "--refresh-token",
];

/// What a good server answers.
fn good(asked: &Asked) -> (u16, Value) {
    match asked.path.as_str() {
        "/par" => (
            201,
            json!({"request_uri": "urn:ietf:params:oauth:request_uri:x", "expires_in": 60}),
        ),
        "/device_authorization" => (
            200,
            json!({
                "device_code": "device-1", "user_code": "WDJB-MJHT", "verification_uri": "https://as.example/device",
                "expires_in": 60, "interval": 1,
            }),
        ),
        "/token" => (
            200,
            json!({
                "access_token": "access-1", "token_type": "Bearer", "expires_in": 300, "refresh_token": "refresh-1",
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            }),
        ),
        "/revoke" => (200, json!({})),
        _ => (404, json!({})),
    }
}

/// A command that waits for a browser.
fn waiting(server: &ScriptedServer, arguments: &[&str]) -> WaitingCommand {
    let always = [
        "--output",
        "json",
        "token",
        "get",
        "--client",
        "client",
        "--grant",
        "authorization-code",
    ];
    WaitingCommand::start(&server.path(""), &[&always[..], arguments].concat())
}

/// Sends the browser back with these parameters, `STATE` and `ISSUER` replaced, and waits for the end.
fn browser_comes_back(server: &ScriptedServer, arguments: &[&str], answer: &str) -> Said {
    let command = waiting(server, arguments);
    let state = server.asked()[0].form["state"].clone();
    let answer = answer.replace("STATE", &state).replace("ISSUER", &server.issuer);
    let page = command.visit(&[&format!("{}?{answer}", command.instruction("redirect_uri"))]);
    assert_eq!(page.status, 200);
    assert!(page.body.contains("You can close this window"), "{page:?}");
    command.end()
}

// covers R7636-1, R9700-2, R-FAPI-6
#[test]
fn a_browser_brings_the_code_and_the_whole_answer_is_printed() {
    let server = ScriptedServer::start(json!({}), good);
    let said = browser_comes_back(&server, &["--scope", "read"], "code=c&state=STATE&iss=ISSUER").expect_code(0);
    let answer = said.json();
    assert_eq!(answer["access_token"], "access-1");
    assert_eq!(answer["refresh_token"], "refresh-1");
    assert_eq!(server.paths(), ["/par", "/token"]);
    let [pushed, token] = &server.asked()[..] else { panic!() };
    assert_eq!(pushed.form["code_challenge_method"], "S256");
    assert_eq!(pushed.form["scope"], "read");
    assert!(pushed.form["redirect_uri"].starts_with("http://127.0.0.1:"));
    assert_eq!(pushed.form["redirect_uri"], token.form["redirect_uri"]);
    assert_eq!(token.form["code"], "c");
    assert!(token.thumbprint.is_some() && token.thumbprint == pushed.thumbprint);
}

// covers R7636-3
#[test]
fn a_server_that_does_not_say_that_it_has_pkce_is_asked_only_if_told_to() {
    let server = ScriptedServer::start(json!({"code_challenge_methods_supported": null}), good);
    let get = [
        "token",
        "get",
        "--client",
        "client",
        "--grant",
        "authorization-code",
        "--wait",
        "1",
    ];
    let said = server.run(&get).expect_code(5);
    assert!(
        said.stderr.contains("S256") && said.stderr.contains("--assume-s256"),
        "{said:?}"
    );
    assert!(server.asked().is_empty());
    server.run(&[&get[..], &["--assume-s256"]].concat()).expect_code(8);
    assert_eq!(server.asked()[0].form["code_challenge_method"], "S256");
}

// covers R9207-2, R9700-9, R6749-16
#[test]
fn an_answer_that_is_not_believed_ends_the_command_and_no_code_is_sent() {
    for (answer, cause) in [
        ("code=c&state=STATE&iss=https%3A%2F%2Fattacker.example", "mix-up"),
        ("code=c&state=STATE", "`iss` is missing"),
        ("code=c&state=other&iss=ISSUER", "`state` is not the one"),
        ("code=c&iss=ISSUER", "`state` is not the one"),
        ("code=c&code=d&state=STATE&iss=ISSUER", "`code` occurs twice"),
        ("state=STATE&iss=ISSUER", "neither a code nor an error"),
        ("error=access_denied&state=STATE&iss=ISSUER", "access_denied"),
        ("", "`state` is not the one"),
    ] {
        let server = ScriptedServer::start(json!({}), good);
        let said = browser_comes_back(&server, &[], answer);
        assert_eq!(said.code, 5, "{answer}: {said:?}");
        assert!(said.stderr.contains(cause), "{answer}: {}", said.stderr);
        assert!(said.stdout.is_empty(), "{said:?}");
        assert_eq!(server.paths(), ["/par"], "{answer}");
    }
}

#[test]
fn the_redirect_listener_takes_one_answer_at_one_address() {
    let server = ScriptedServer::start(json!({}), good);
    let command = waiting(&server, &["--redirect-path", "/back"]);
    let redirect_uri = command.instruction("redirect_uri").to_owned();
    let origin = redirect_uri.strip_suffix("/back").unwrap();
    assert!(origin.starts_with("http://127.0.0.1:"), "{origin}");
    // None of these is the answer: it is still waited for afterwards.
    assert_eq!(command.visit(&[&format!("{origin}/favicon.ico")]).status, 404);
    assert_eq!(
        command.visit(&["-X", "POST", "-d", "code=c", &redirect_uri]).status,
        405
    );
    assert_eq!(
        command
            .visit(&["-H", "Host: attacker.example", &format!("{redirect_uri}?code=c")])
            .status,
        421
    );
    let state = &server.asked()[0].form["state"];
    let answer = format!("{redirect_uri}?code=c&state={state}&iss={}", server.issuer);
    assert_eq!(command.visit(&[&answer]).status, 200);
    command.end().expect_code(0);
}

#[test]
fn nobody_who_comes_back_is_not_waited_for_without_end() {
    let server = ScriptedServer::start(json!({}), good);
    let said = waiting(&server, &["--wait", "1"]).end();
    assert_eq!(said.code, 8, "{said:?}");
    assert_eq!(server.paths(), ["/par"]);
}

// covers R8628-3
#[test]
fn a_device_shows_its_code_and_polls_until_it_is_decided() {
    let polls = AtomicUsize::new(0);
    let server = ScriptedServer::start(json!({}), move |asked| match asked.path.as_str() {
        "/token" if polls.fetch_add(1, Ordering::SeqCst) == 0 => (400, json!({"error": "authorization_pending"})),
        _ => good(asked),
    });
    let said = server.run(&[
        "token", "get", "--client", "client", "--grant", "device", "--scope", "read",
    ]);
    let said = said.expect_code(0);
    assert_eq!(said.stdout.trim(), "access-1");
    assert!(said.stderr.contains("WDJB-MJHT") && said.stderr.contains("https://as.example/device"));
    assert_eq!(server.paths(), ["/device_authorization", "/token", "/token"]);

    let server = ScriptedServer::start(json!({}), |asked| match asked.path.as_str() {
        "/token" => (400, json!({"error": "access_denied"})),
        _ => good(asked),
    });
    let said = server
        .run(&["token", "get", "--client", "client", "--grant", "device"])
        .expect_code(5);
    assert!(said.stderr.contains("access_denied"), "{said:?}");
    assert_eq!(server.paths(), ["/device_authorization", "/token"]);

    // The server's clock decides, too.
    let server = ScriptedServer::start(json!({}), |asked| match asked.path.as_str() {
        "/token" => (400, json!({"error": "expired_token"})),
        _ => good(asked),
    });
    server
        .run(&["token", "get", "--client", "client", "--grant", "device"])
        .expect_code(8);
    assert_eq!(server.paths(), ["/device_authorization", "/token"]);
}

#[test]
fn what_a_server_writes_cannot_rewrite_the_terminal() {
    let hostile = "X\u{1b}[2J\u{9b}31m\u{202e}\nerror: forged";
    let neutral = |text: &str| {
        assert!(!text.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with("error: forged")), "{text:?}");
    };
    for output in ["table", "json"] {
        let server = ScriptedServer::start(json!({}), move |asked| match asked.path.as_str() {
            "/device_authorization" => (
                200,
                json!({
                    "device_code": "d", "user_code": hostile, "verification_uri": "https://as.example/\u{1b}[2J",
                    "expires_in": 60, "interval": 1,
                }),
            ),
            _ => (400, json!({"error": hostile, "error_description": hostile})),
        });
        let said = server.run(&[
            "--output", output, "token", "get", "--client", "client", "--grant", "device",
        ]);
        assert_eq!(said.code, 5, "{said:?}");
        neutral(&said.stderr);
        neutral(&said.stdout);
        let server = ScriptedServer::start(json!({}), move |_| {
            (
                200,
                json!({"access_token": "t", "token_type": "Bearer", "refresh_token": "r", "other": hostile}),
            )
        });
        std::fs::write(server.path("r"), "r0").unwrap();
        let said = server
            .run(&[&["--output", output], &REFRESH[..], &["r"]].concat())
            .expect_code(0);
        neutral(&said.stdout);
        neutral(&said.stderr);
    }
}

// covers R-FAPI-6
#[test]
fn the_successor_of_a_rotated_refresh_token_is_written_where_it_was_read() {
    let server = ScriptedServer::start(json!({}), good);
    // The token alone.
    std::fs::write(server.path("token"), "refresh-0\n").unwrap();
    let said = server.run(&[&REFRESH[..], &["token"]].concat()).expect_code(0);
    assert_eq!(said.stdout.trim(), "access-1");
    assert_eq!(
        std::fs::read_to_string(server.path("token")).unwrap().trim(),
        "refresh-1"
    );
    // The same one again is no rotation, and nothing is written.
    server.run(&[&REFRESH[..], &["token"]].concat()).expect_code(0);
    // An answer of `--output json`.
    std::fs::write(
        server.path("tokens.json"),
        json!({"access_token": "a", "refresh_token": "refresh-0"}).to_string(),
    )
    .unwrap();
    server.run(&[&REFRESH[..], &["tokens.json"]].concat()).expect_code(0);
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(server.path("tokens.json")).unwrap()).unwrap();
    assert_eq!(
        (&kept["access_token"], &kept["refresh_token"]),
        (&json!("access-1"), &json!("refresh-1"))
    );
    let sent: Vec<String> = server
        .asked()
        .iter()
        .map(|asked| asked.form["refresh_token"].clone())
        .collect();
    assert_eq!(sent, ["refresh-0", "refresh-1", "refresh-0"]);
    // From standard input it could get lost.
    server.run(&[&REFRESH[..], &["-"]].concat()).expect_code(2);
    assert_eq!(server.asked().len(), 3);
}

// covers MTLS-4-3
#[test]
fn a_new_identity_is_presented_and_kept_with_what_is_needed_to_go_on() {
    let server = ScriptedServer::start(json!({}), good);
    std::fs::write(server.path("token"), "refresh-0").unwrap();
    let refresh = [&REFRESH[..], &["token"]].concat();
    server.run(&refresh).expect_code(0);
    let flags = [
        "--new-identity=phone",
        "--tls13-only",
        "--token-endpoint-auth-method",
        "none",
    ];
    let said = server.run(&[&refresh[..], &flags].concat()).expect_code(0);
    assert!(said.stderr.contains("--client phone"), "{said:?}");
    // The kept directory is a client of its own, with the same certificate.
    server
        .run(&[
            "token",
            "get",
            "--client",
            "phone",
            "--grant",
            "refresh",
            "--refresh-token",
            "token",
        ])
        .expect_code(0);
    let toml = std::fs::read_to_string(server.path("phone/client.toml")).unwrap();
    assert!(
        toml.contains("token_endpoint_auth_method = \"none\"") && toml.contains("tls13_only = true"),
        "{toml}"
    );
    let thumbprints: Vec<String> = server
        .asked()
        .into_iter()
        .map(|asked| asked.thumbprint.unwrap())
        .collect();
    assert_ne!(thumbprints[0], thumbprints[1]);
    assert_eq!(thumbprints[1], thumbprints[2]);
    // Nothing is overwritten, and nothing asked for that could not be kept.
    let asked = server.asked().len();
    let said = server.run(&[&refresh[..], &flags].concat()).expect_code(4);
    assert!(said.stderr.contains("exists already"), "{said:?}");
    std::fs::write(server.path("file"), "").unwrap();
    let below_a_file = server.run(&[&refresh[..], &["--new-identity=file/phone"]].concat());
    assert_eq!(below_a_file.code, 1, "{below_a_file:?}");
    assert_eq!(server.asked().len(), asked, "nothing was sent");
    // Without a name each gets a directory of its own.
    server.run(&[&refresh[..], &["--new-identity"]].concat()).expect_code(0);
    assert_eq!(std::fs::read_dir(server.path("client/identities")).unwrap().count(), 1);
}

#[test]
fn a_new_identity_that_brought_no_token_is_not_kept() {
    let server = ScriptedServer::start(json!({}), |asked| match asked.path.as_str() {
        "/token" => (400, json!({"error": "access_denied"})),
        _ => good(asked),
    });
    let device = [
        "token",
        "get",
        "--client",
        "client",
        "--grant",
        "device",
        "--new-identity=phone",
    ];
    std::fs::create_dir(server.path("phone")).unwrap();
    std::fs::write(server.path("phone/notes"), "mine").unwrap();
    for _ in 0..2 {
        server.run(&device).expect_code(5);
        let left: Vec<_> = std::fs::read_dir(server.path("phone")).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }
    assert_eq!(std::fs::read_to_string(server.path("phone/notes")).unwrap(), "mine");
}

// covers R8628-3
#[test]
fn a_token_that_is_on_its_way_when_the_time_is_over_is_waited_for() {
    let server = ScriptedServer::start(json!({}), |asked| {
        if asked.path == "/token" {
            std::thread::sleep(std::time::Duration::from_millis(2_500));
        }
        good(asked)
    });
    let device = ["token", "get", "--client", "client", "--grant", "device", "--wait", "2"];
    let said = server.run(&device).expect_code(0);
    assert_eq!(said.stdout.trim(), "access-1");

    let server = ScriptedServer::start(json!({}), |asked| match asked.path.as_str() {
        "/token" => (400, json!({"error": "authorization_pending"})),
        _ => good(asked),
    });
    let said = server.run(&device).expect_code(8);
    assert!(said.stderr.contains("nobody decided within 2 s"), "{said:?}");
}

// covers R8693-1, R8693-2
#[test]
fn a_token_is_exchanged_and_revoked() {
    let server = ScriptedServer::start(json!({}), good);
    std::fs::write(server.path("foreign"), "foreign-1\n").unwrap();
    let exchange = [
        "token",
        "get",
        "--client",
        "client",
        "--grant",
        "exchange",
        "--subject-token",
        "foreign",
    ];
    let said = server.run(
        &[
            &["--output", "json"],
            &exchange[..],
            &["--resource", "https://api.example"],
        ]
        .concat(),
    );
    let answer = said.expect_code(0).json();
    assert_eq!(answer["access_token"], "access-1");
    let asked = &server.asked()[0].form;
    assert_eq!(asked["subject_token"], "foreign-1");
    assert_eq!(asked["resource"], "https://api.example");
    std::fs::write(server.path("tokens.json"), answer.to_string()).unwrap();
    server
        .run(&["token", "revoke", "--client", "client", "tokens.json"])
        .expect_code(0);
    let asked = server.asked();
    assert_eq!(asked.last().unwrap().path, "/revoke");
    assert_eq!(asked.last().unwrap().form["token"], "refresh-1");
}

// covers CIBA-1, CIBA-2
#[test]
fn a_user_whom_the_server_asks_is_waited_for() {
    let signer = LocalSigner::generate(SignatureAlgorithm::Es256, &SystemRandom::new()).unwrap();
    let polls = AtomicUsize::new(0);
    let server = ScriptedServer::start(json!({}), move |asked| match asked.path.as_str() {
        "/jwks" => (200, json!({"keys": [signer.public_jwk().to_json()]})),
        "/bc-authorize" => (
            200,
            json!({"auth_req_id": "request-1", "expires_in": 60, "interval": 1}),
        ),
        "/token" if polls.fetch_add(1, Ordering::SeqCst) == 0 => (400, json!({"error": "authorization_pending"})),
        "/token" => {
            let issuer = asked.authority.as_deref().unwrap_or_default();
            let claims = json!({
                "iss": format!("https://{issuer}"), "sub": "u.1", "aud": "demo", "iat": now(), "exp": now() + 60,
            });
            let id_token = UnsignedJwt::new(&signer, "JWT", &claims).sign(&signer).unwrap();
            (
                200,
                json!({"access_token": "access-1", "token_type": "Bearer", "id_token": id_token}),
            )
        }
        _ => (404, json!({})),
    });
    let ciba = [
        "token",
        "get",
        "--client",
        "client",
        "--grant",
        "ciba",
        "--login-hint",
        "ada",
        "--binding-message",
        "4711",
    ];
    let said = server.run(&[&["--output", "json"], &ciba[..]].concat()).expect_code(0);
    assert_eq!(said.json()["access_token"], "access-1");
    let instruction: Value = serde_json::from_str(said.stderr.lines().next().unwrap()).unwrap();
    assert_eq!(instruction["auth_req_id"], "request-1");
    let asked = server.asked();
    assert_eq!(asked[0].form["login_hint"], "ada");
    assert_eq!(asked[0].form["binding_message"], "4711");
    assert_eq!(asked[0].form["scope"], "openid");
    let paths: Vec<&str> = asked.iter().map(|asked| asked.path.as_str()).collect();
    assert_eq!(paths, ["/bc-authorize", "/token", "/token", "/jwks"]);
}

/// The claims of a JWT in a form, unverified.
fn claims(jwt: &str) -> Value {
    serde_json::from_slice(&base64url::decode(jwt.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

// covers R-FAPI-7, R9126-5, MTLS-5-6
#[test]
fn a_client_file_says_how_the_client_authenticates_signs_and_where_it_goes() {
    let aliases = ScriptedServer::start(json!({}), good);
    let alias = |endpoint: &str| format!("{}/{endpoint}", aliases.issuer);
    let more = json!({
        "mtls_endpoint_aliases": {
            "token_endpoint": alias("token"), "pushed_authorization_request_endpoint": alias("par"),
        },
        "require_signed_request_object": true,
    });
    let server = ScriptedServer::start(more, good);
    // One that trusts both servers, has no certificate, and signs.
    let both = ["client/ca.pem".as_ref(), aliases.path("client/ca.pem").as_path()]
        .map(|file: &Path| std::fs::read_to_string(server.path("").join(file)).unwrap())
        .concat();
    std::fs::create_dir(server.path("signing")).unwrap();
    std::fs::write(server.path("signing/ca.pem"), both).unwrap();
    std::fs::copy(server.path("client/key.pem"), server.path("signing/signing.pem")).unwrap();
    let toml = format!(
        "issuer = \"{}\"\nclient_id = \"demo\"\nca = \"ca.pem\"\ntoken_endpoint_auth_method = \"private_key_jwt\"\n\
         signing_key = \"signing.pem\"\nuse_mtls_endpoint_aliases = true\n",
        server.issuer
    );
    std::fs::write(server.path("signing/client.toml"), toml).unwrap();
    server.run(&["token", "get", "--client", "signing"]).expect_code(0);
    assert!(server.asked().is_empty(), "the alias is where it goes");
    let asked = &aliases.asked()[0];
    assert_eq!(asked.thumbprint, None);
    let assertion = claims(&asked.form["client_assertion"]);
    assert_eq!(
        (&assertion["iss"], &assertion["aud"]),
        (&json!("demo"), &json!(server.issuer))
    );
    // Its requests are signed, as this server demands; nothing stands beside that but what authenticates it.
    let waits_in_vain = [
        "token",
        "get",
        "--client",
        "signing",
        "--grant",
        "authorization-code",
        "--wait",
        "1",
    ];
    server.run(&waits_in_vain).expect_code(8);
    let pushed = &aliases.asked()[1];
    let mut names: Vec<&str> = pushed.form.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["client_assertion", "client_assertion_type", "client_id", "request"]
    );
    assert_eq!(claims(&pushed.form["request"])["aud"], server.issuer);
    // Without the key nothing is sent.
    server
        .run(&["token", "get", "--client", "client", "--grant", "authorization-code"])
        .expect_code(2);
    assert!(server.asked().is_empty());
}

#[test]
fn what_a_grant_needs_is_said_before_anything_is_sent() {
    let server = ScriptedServer::start(json!({}), good);
    for arguments in [
        &["--grant", "refresh"][..],
        &["--grant", "exchange"],
        &["--grant", "ciba"],
        &["--grant", "device", "--refresh-token", "x"],
        &["--grant", "authorization-code", "--redirect-path", "callback"],
        &["--grant", "authorization-code", "--redirect-path", "/a?b"],
        &["--grant", "authorization-code", "--wait", "0"],
        &["--token-endpoint-auth-method", "client_secret_basic"],
        &["--token-endpoint-auth-method", "private_key_jwt"],
        &["--grant", "telepathy"],
    ] {
        server
            .run(&[&["token", "get", "--client", "client"], arguments].concat())
            .expect_code(2);
    }
    assert!(server.asked().is_empty());
}
