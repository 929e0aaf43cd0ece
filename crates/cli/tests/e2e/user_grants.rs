//! Grants with a user against a running server: by our own command line, and by npm's openid-client 6. The user is a script that
//! submits the server's own pages.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::installation::{Installation, Said};
use crate::node_process::NodeProcess;
use crate::openssl::{OpenSsl, Wanted};
use crate::scene::{Scene, claims};
use crate::waiting_command::WaitingCommand;

const USER: &str = "ada";
const PASSWORD: &str = "correct horse battery staple";
/// What the template says of OpenID.
const OPENID_OFF: &str = "for clients that ask for scope openid.\nenabled = false";
const CALLBACK: &str = "https://client.example/callback";

/// A server with a user, and two clients: `app`, whose certificate an authority signed, and `phone`, a public one.
struct Stage {
    installation: Installation,
    openssl: OpenSsl,
    visitor: NodeProcess,
}

impl Stage {
    /// With OAuth alone.
    fn set() -> Self {
        Self::with("read", &json!({}))
    }

    /// With OpenID on, and more about `app`.
    fn with_openid(app: &Value) -> Self {
        Self::with("openid read", app)
    }

    /// `more` are further members of the metadata of `app`.
    fn with(scope: &str, more: &Value) -> Self {
        Self::with_settings(scope, more, "")
    }

    /// At a server of the FAPI 2.0 Security Profile, at which there is no public client.
    fn of_fapi2() -> Self {
        let bound = json!({"tls_client_certificate_bound_access_tokens": true});
        Self::with_profile("fapi2", "openid read", &bound, "")
    }

    /// `tokens` are further keys of that section.
    fn with_settings(scope: &str, more: &Value, tokens: &str) -> Self {
        Self::with_profile("default", scope, more, tokens)
    }

    fn with_profile(profile: &str, scope: &str, more: &Value, tokens: &str) -> Self {
        let scene = Scene::new();
        let of_profile = format!("profile = \"{profile}\"");
        scene.replace("keybound.toml", "profile = \"default\"", &of_profile);
        scene.replace("keybound.toml", "[tokens]", &format!("[tokens]\n{tokens}"));
        if scope.starts_with("openid") {
            scene.replace("keybound.toml", OPENID_OFF, &OPENID_OFF.replace("false", "true"));
        }
        scene.append(
            "keybound.toml",
            "[[scopes]]\nname = \"read\"\ndescription = \"Read your things\"",
        );
        scene.openssl.authority("corp", "/CN=Corp CA");
        scene.trusts("corp", "");
        let mut app = json!({
            "client_name": "The app", "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
            "redirect_uris": [CALLBACK, "http://127.0.0.1/callback"], "scope": scope,
            "token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "app.client.test",
            "keybound_trust_anchors": ["corp"],
        });
        for (name, value) in more.as_object().unwrap() {
            app[name] = value.clone();
        }
        scene.client("app", &app);
        let phone = json!({
            "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
            "redirect_uris": ["http://127.0.0.1/callback"], "scope": scope, "token_endpoint_auth_method": "none",
        });
        if profile == "default" {
            scene.client("phone", &phone);
        }
        for name in ["app-1", "app-2"] {
            let wanted = Wanted {
                alternative_names: Some("DNS:app.client.test"),
                ..Wanted::new(name, "/CN=app")
            };
            scene.openssl.certificate(wanted, Some("corp"));
        }
        for (client_id, more) in [
            (
                "app",
                "certificate = \"../../openssl/app-1.pem\"\nkey = \"../../openssl/app-1.key\"\n",
            ),
            ("phone", "token_endpoint_auth_method = \"none\"\n"),
        ] {
            let text = format!(
                "issuer = \"{}\"\nclient_id = \"{client_id}\"\nca = \"../../pki/ca.pem\"\n{more}",
                scene.issuer()
            );
            std::fs::create_dir_all(scene.path(&format!("clients/{client_id}"))).unwrap();
            std::fs::write(scene.path(&format!("clients/{client_id}/client.toml")), text).unwrap();
        }
        std::fs::write(scene.path("password"), PASSWORD).unwrap();
        let (installation, openssl) = scene.start();
        installation
            .run(&["user", "create", USER, "--password-file", "password"])
            .expect_code(0);
        Self {
            installation,
            openssl,
            visitor: NodeProcess::start("visitor.mjs"),
        }
    }

    /// What becomes of the user at `url`, who decides so.
    fn visit(&mut self, url: &str, decision: &str) -> Value {
        self.visitor.ask(&json!({
            "url": url, "ca": self.installation.path("pki/ca.pem"), "username": USER, "password": PASSWORD, "decision": decision,
        }))
    }

    /// The address that the user was sent back to.
    fn sent_back(&mut self, url: &str, decision: &str) -> String {
        let outcome = self.visit(url, decision);
        let location = outcome["location"].as_str();
        location
            .unwrap_or_else(|| panic!("not sent back: {outcome}"))
            .to_owned()
    }

    /// A question for openid-client as `app` with one of its certificates.
    fn question(&self, certificate: &str, what: &Value) -> Value {
        let (cert, key) = self.openssl.identity(certificate);
        let mut question = json!({
            "issuer": self.installation.public(""), "client_id": "app", "method": "tls_client_auth", "name": "one",
            "ca": self.installation.path("pki/ca.pem"), "cert": cert, "key": key,
        });
        for (name, value) in what.as_object().unwrap() {
            question[name] = value.clone();
        }
        question
    }

    /// `keybound token get` as a client, with the whole answer.
    fn get(&self, client: &str, grant: &str, more: &[&str]) -> Said {
        let client = format!("clients/{client}");
        let arguments = [
            "--output", "json", "token", "get", "--client", &client, "--grant", grant,
        ];
        self.installation.run(&[&arguments[..], more].concat())
    }

    fn waiting(&self, client: &str, grant: &str, more: &[&str]) -> WaitingCommand {
        let client = format!("clients/{client}");
        let arguments = [
            "--output", "json", "token", "get", "--client", &client, "--grant", grant,
        ];
        WaitingCommand::start(&self.installation.path(""), &[&arguments[..], more].concat())
    }

    /// The answer of the authorization code grant on the command line, with a user who allows it.
    fn by_browser(&mut self, client: &str, more: &[&str]) -> Value {
        let waiting = self.waiting(client, "authorization-code", more);
        let callback = self.sent_back(waiting.instruction("authorization_url"), "approve");
        assert_eq!(waiting.visit(&[&callback]).status, 200);
        waiting.end().expect_code(0).json()
    }

    /// Whether the gateway takes this token over this certificate.
    fn gateway_status(&self, token: &str, identity: (PathBuf, PathBuf)) -> u16 {
        let (certificate, key) = identity;
        let authorization = format!("Authorization: Bearer {token}");
        let arguments = ["-H", authorization.as_str(), &self.installation.gateway("/hello")];
        crate::installation::curl(
            &self.installation.path("pki/ca.pem"),
            Some((&certificate, &key)),
            &arguments,
        )
        .status
    }
}

fn text(answer: &Value, member: &str) -> String {
    let text = answer[member].as_str();
    text.unwrap_or_else(|| panic!("no {member} in {answer}")).to_owned()
}

fn bound_to(token: &str) -> String {
    claims(token)["cnf"]["x5t#S256"].as_str().unwrap_or_default().to_owned()
}

/// A code for openid-client, and a refresh after its certificate was renewed. Returns the first answer.
fn code_and_renewal(stage: &mut Stage, openid_client: &mut NodeProcess, scope: &str, jarm: bool) -> Value {
    let begin = json!({"do": "begin_code", "redirect_uri": CALLBACK, "scope": scope, "jarm": jarm});
    let begun = openid_client.ask(&stage.question("app-1", &begin));
    let callback = stage.sent_back(&text(&begun, "url"), "approve");
    assert!(callback.starts_with(CALLBACK), "{callback}");
    let tokens = openid_client.ask(&stage.question("app-1", &json!({"do": "finish_code", "callback": callback})));
    let access_token = text(&tokens, "access_token");
    assert_eq!(bound_to(&access_token), stage.openssl.thumbprint("app-1"));
    assert_eq!(
        stage.gateway_status(&access_token, stage.openssl.identity("app-1")),
        200
    );
    assert_eq!(
        stage.gateway_status(&access_token, stage.openssl.identity("app-2")),
        401
    );
    // The certificate is renewed; the refresh token is the client's and not the certificate's.
    let refresh = json!({"do": "refresh", "refresh_token": text(&tokens, "refresh_token")});
    let refreshed = openid_client.ask(&stage.question("app-2", &refresh));
    let access_token = text(&refreshed, "access_token");
    assert_eq!(bound_to(&access_token), stage.openssl.thumbprint("app-2"));
    assert_eq!(
        stage.gateway_status(&access_token, stage.openssl.identity("app-2")),
        200
    );
    tokens
}

// covers R9126-1, R9207-1, R7636-1, MTLS-7.1-1, TRAP-45
#[test]
fn openid_client_gets_tokens_by_code_and_goes_on_after_its_certificate_was_renewed() {
    let mut stage = Stage::set();
    let mut openid_client = NodeProcess::start("openid_client_users.mjs");
    // In clear, and as a signed answer (JARM).
    for jarm in [false, true] {
        let tokens = code_and_renewal(&mut stage, &mut openid_client, "read", jarm);
        assert_eq!(tokens["claims"], Value::Null, "nobody asked for an ID token");
    }
    // A user who says no, and one who goes away at the sign-in.
    for decision in ["deny", "cancel"] {
        let begin = json!({"do": "begin_code", "redirect_uri": CALLBACK, "scope": "read"});
        let begun = openid_client.ask(&stage.question("app-1", &begin));
        let callback = stage.sent_back(&text(&begun, "url"), decision);
        let answer = openid_client.ask(&stage.question("app-1", &json!({"do": "finish_code", "callback": callback})));
        assert_eq!(answer["error"], "access_denied", "{answer}");
    }
}

// covers R-FAPI-11, R9126-1, R9207-1, MTLS-7.1-1
#[test]
fn openid_client_and_the_command_line_get_tokens_from_a_server_of_fapi2() {
    let mut stage = Stage::of_fapi2();
    // What is not pushed is refused, also where everything else is right.
    let more = "response_type=code&scope=read&redirect_uri=https%3A%2F%2Fclient.example%2Fcallback";
    let challenge = "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";
    let direct = stage
        .installation
        .public(&format!("/authorize?client_id=app&{more}&{challenge}"));
    let sent_back = stage.sent_back(&direct, "approve");
    assert!(sent_back.contains("error=invalid_request"), "{sent_back}");
    let mut openid_client = NodeProcess::start("openid_client_users.mjs");
    for jarm in [false, true] {
        let tokens = code_and_renewal(&mut stage, &mut openid_client, "openid read", jarm);
        assert_eq!(tokens["claims"]["aud"], "app");
    }
    let answer = stage.by_browser("app", &["--scope", "openid read"]);
    let access_token = text(&answer, "access_token");
    assert_eq!(bound_to(&access_token), stage.openssl.thumbprint("app-1"));
    assert_eq!(
        stage.gateway_status(&access_token, stage.openssl.identity("app-1")),
        200
    );
}

// covers R9126-1, R9207-1, MTLS-7.1-1
#[test]
fn openid_client_verifies_the_id_token() {
    let mut stage = Stage::with_openid(&json!({}));
    let mut openid_client = NodeProcess::start("openid_client_users.mjs");
    let tokens = code_and_renewal(&mut stage, &mut openid_client, "openid read", false);
    assert_eq!(tokens["claims"]["aud"], "app");
    assert!(text(&tokens["claims"], "sub").starts_with("u."));
}

// covers R9126-1, R9449-2, R9449-4, R9449-5, R9449-6
#[test]
fn openid_client_binds_its_tokens_to_a_key() {
    let by_key = json!({"tls_client_certificate_bound_access_tokens": false, "dpop_bound_access_tokens": true});
    for demands in ["", "dpop_nonce = \"required\""] {
        let mut stage = Stage::with_settings("openid read", &by_key, demands);
        let mut openid_client = NodeProcess::start("openid_client_users.mjs");
        let mut ask = |stage: &Stage, what: Value| {
            let mut what = what;
            what["dpop"] = true.into();
            openid_client.ask(&stage.question("app-1", &what))
        };
        let begin = json!({"do": "begin_code", "redirect_uri": CALLBACK, "scope": "openid read"});
        let begun = ask(&stage, begin);
        let callback = stage.sent_back(&text(&begun, "url"), "approve");
        let tokens = ask(&stage, json!({"do": "finish_code", "callback": callback}));
        assert_eq!(text(&tokens, "token_type").to_lowercase(), "dpop");
        let refreshed = ask(
            &stage,
            json!({"do": "refresh", "refresh_token": text(&tokens, "refresh_token")}),
        );
        let jkt = |tokens: &Value| claims(&text(tokens, "access_token"))["cnf"]["jkt"].clone();
        assert!(jkt(&tokens).is_string(), "{tokens}");
        assert_eq!(jkt(&refreshed), jkt(&tokens));
        let url = stage.installation.gateway("/hello");
        let access_token = text(&refreshed, "access_token");
        let called = ask(&stage, json!({"do": "call", "access_token": access_token, "url": url}));
        assert_eq!(called["status"], 200, "{called}");
        let told = ask(&stage, json!({"do": "userinfo", "access_token": access_token}));
        assert_eq!(told["sub"], tokens["claims"]["sub"], "{told}");
        // Without the key it opens nothing, whatever the certificate.
        assert_eq!(
            stage.gateway_status(&access_token, stage.openssl.identity("app-1")),
            401
        );
    }
}

// covers R8628-1, R8628-2, R8628-3
#[test]
fn openid_client_gets_tokens_by_device() {
    let mut stage = Stage::with(
        "read",
        &json!({ "grant_types": ["urn:ietf:params:oauth:grant-type:device_code"], "response_types": [] }),
    );
    let mut openid_client = NodeProcess::start("openid_client_users.mjs");
    for (decision, expected) in [("approve", None), ("deny", Some("access_denied"))] {
        let device = openid_client.ask(&stage.question("app-1", &json!({"do": "begin_device", "scope": "read"})));
        let page = text(&device, "verification_uri_complete");
        let outcome = stage.visit(&page, decision);
        assert!(outcome["page"].is_string(), "{outcome}");
        let tokens = openid_client.ask(&stage.question("app-1", &json!({"do": "finish_device"})));
        match expected {
            None => assert_eq!(
                bound_to(&text(&tokens, "access_token")),
                stage.openssl.thumbprint("app-1")
            ),
            Some(error) => assert_eq!(tokens["error"], error, "{tokens}"),
        }
    }
}

// covers CIBA-1, CIBA-2, CIBA-3, CIBA-4
#[test]
fn openid_client_gets_tokens_by_backchannel() {
    let stage = Stage::with(
        "openid read",
        &json!({
            "grant_types": ["urn:openid:params:grant-type:ciba"], "response_types": [], "backchannel_token_delivery_mode": "poll",
        }),
    );
    let mut openid_client = NodeProcess::start("openid_client_users.mjs");
    for (decision, expected) in [("approve", None), ("deny", Some("access_denied"))] {
        let begin = json!({"do": "begin_ciba", "scope": "openid read", "login_hint": USER, "binding_message": "4711"});
        let begun = openid_client.ask(&stage.question("app-1", &begin));
        let request = text(&begun, "auth_req_id");
        stage
            .installation
            .run(&["backchannel", decision, &request])
            .expect_code(0);
        let tokens = openid_client.ask(&stage.question("app-1", &json!({"do": "finish_ciba"})));
        match expected {
            None => {
                assert_eq!(
                    bound_to(&text(&tokens, "access_token")),
                    stage.openssl.thumbprint("app-1")
                );
                assert_eq!(tokens["claims"]["aud"], "app");
            }
            Some(error) => assert_eq!(tokens["error"], error, "{tokens}"),
        }
    }
}

// covers R-FAPI-6, MTLS-7.1-1
#[test]
fn the_command_line_gets_a_token_by_code_and_refreshes_it_after_a_renewal() {
    let mut stage = Stage::set();
    for mode in ["query", "jwt"] {
        let answer = stage.by_browser("app", &["--scope", "read", "--response-mode", mode]);
        assert_eq!(
            bound_to(&text(&answer, "access_token")),
            stage.openssl.thumbprint("app-1")
        );
        std::fs::write(stage.installation.path("tokens.json"), answer.to_string()).unwrap();
        let (certificate, key) = stage.openssl.identity("app-2");
        let renewed = [
            "--certificate",
            certificate.to_str().unwrap(),
            "--key",
            key.to_str().unwrap(),
        ];
        let more = [&["--refresh-token", "tokens.json"][..], &renewed].concat();
        let refreshed = stage.get("app", "refresh", &more).expect_code(0).json();
        assert_eq!(
            bound_to(&text(&refreshed, "access_token")),
            stage.openssl.thumbprint("app-2")
        );
        assert_eq!(refreshed["refresh_token"], answer["refresh_token"], "not rotated");
        // Revoked, it is good for nothing.
        stage
            .installation
            .run(&["token", "revoke", "--client", "clients/app", "tokens.json"])
            .expect_code(0);
        let said = stage.get("app", "refresh", &more).expect_code(5);
        assert!(said.stderr.contains("invalid_grant"), "{said:?}");
    }
    let waiting = stage.waiting("app", "authorization-code", &["--scope", "read"]);
    let callback = stage.sent_back(waiting.instruction("authorization_url"), "deny");
    waiting.visit(&[&callback]);
    let said = waiting.end().expect_code(5);
    assert!(said.stderr.contains("access_denied"), "{said:?}");
}

#[test]
fn the_command_line_verifies_the_id_token() {
    let mut stage = Stage::with_openid(&json!({}));
    let answer = stage.by_browser("app", &["--scope", "openid read"]);
    let id_token = claims(&text(&answer, "id_token"));
    let issuer = stage.installation.public("");
    assert_eq!((&id_token["iss"], &id_token["aud"]), (&json!(issuer), &json!("app")));
}

// covers MTLS-4-1, MTLS-4-3, MTLS-4-7, MTLS-4-8, TRAP-46
#[test]
fn each_instance_of_a_public_client_has_a_certificate_of_its_own() {
    let mut stage = Stage::set();
    let answer = stage.by_browser("phone", &["--scope", "read", "--new-identity=mine", "--tls13-only"]);
    let own = (
        stage.installation.path("mine/cert.pem"),
        stage.installation.path("mine/key.pem"),
    );
    let access_token = text(&answer, "access_token");
    assert_eq!(stage.gateway_status(&access_token, own.clone()), 200);
    assert_eq!(
        stage.gateway_status(&access_token, stage.openssl.identity("app-1")),
        401
    );
    // The refresh token goes with that certificate, before its rotation and after.
    let write = |answer: &Value| std::fs::write(stage.installation.path("tokens.json"), answer.to_string()).unwrap();
    write(&answer);
    let refresh = ["--refresh-token", "tokens.json"];
    let another = [&refresh[..], &["--new-identity=another"]].concat();
    let said = stage.get("phone", "refresh", &another).expect_code(5);
    assert!(said.stderr.contains("invalid_grant"), "{said:?}");
    let go_on = [
        "--output",
        "json",
        "token",
        "get",
        "--client",
        "mine",
        "--grant",
        "refresh",
        "--refresh-token",
        "tokens.json",
    ];
    let rotated = stage.installation.run(&go_on).expect_code(0).json();
    assert_ne!(rotated["refresh_token"], answer["refresh_token"]);
    assert_eq!(stage.gateway_status(&text(&rotated, "access_token"), own), 200);
    assert_eq!(bound_to(&text(&rotated, "access_token")), bound_to(&access_token));
    stage.get("phone", "refresh", &another).expect_code(5);
}

// covers R8628-3
#[test]
fn the_command_line_waits_for_a_user_at_another_device() {
    let mut stage = Stage::with(
        "read",
        &json!({ "grant_types": ["urn:ietf:params:oauth:grant-type:device_code"], "response_types": [] }),
    );
    for (decision, code) in [("approve", 0), ("deny", 5)] {
        let waiting = stage.waiting("app", "device", &["--scope", "read"]);
        let page = waiting.instruction("verification_uri_complete").to_owned();
        let outcome = stage.visit(&page, decision);
        assert!(outcome["page"].is_string(), "{outcome}");
        let said = waiting.end().expect_code(code);
        assert_eq!(said.stderr.contains("access_denied"), decision == "deny", "{said:?}");
    }
}

// covers R8628-3
#[test]
fn the_command_line_does_not_wait_for_ever_at_a_device() {
    let stage = Stage::with(
        "read",
        &json!({ "grant_types": ["urn:ietf:params:oauth:grant-type:device_code"], "response_types": [] }),
    );
    let waiting = stage.waiting("app", "device", &["--scope", "read", "--wait", "1"]);
    assert!(!waiting.instruction("user_code").is_empty());
    let said = waiting.end().expect_code(8);
    assert!(
        said.stdout.is_empty() && said.stderr.contains("nobody decided"),
        "{said:?}"
    );
}

// covers CIBA-1, CIBA-4
#[test]
fn the_command_line_waits_for_a_user_whom_the_server_asks() {
    let stage = Stage::with(
        "openid read",
        &json!({
            "grant_types": ["urn:openid:params:grant-type:ciba"], "response_types": [], "backchannel_token_delivery_mode": "poll",
        }),
    );
    for (decision, code) in [("approve", 0), ("deny", 5)] {
        let waiting = stage.waiting(
            "app",
            "ciba",
            &["--scope", "read", "--login-hint", USER, "--binding-message", "4711"],
        );
        let request = waiting.instruction("auth_req_id").to_owned();
        stage
            .installation
            .run(&["backchannel", decision, &request])
            .expect_code(0);
        let said = waiting.end().expect_code(code);
        assert_eq!(said.stderr.contains("access_denied"), decision == "deny", "{said:?}");
    }
    // Nobody answers the last one. The request is over by then: there is nothing left to decide.
    let waiting = stage.waiting("app", "ciba", &["--scope", "read", "--login-hint", USER, "--wait", "1"]);
    let request = waiting.instruction("auth_req_id").to_owned();
    assert!(waiting.end().expect_code(8).stdout.is_empty());
    let said = stage
        .installation
        .run(&["backchannel", "approve", &request])
        .expect_code(4);
    assert!(said.stderr.contains("time is over"), "{said:?}");
    stage
        .installation
        .run(&["backchannel", "deny", "unknown"])
        .expect_code(3);
}
