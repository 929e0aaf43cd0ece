//! Sign-in at another OpenID provider: at a second `keybound serve`, and at a provider that says what a test wants it to say.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use url::Url;

use crate::installation::{Answer, Installation};
use crate::openssl::OpenSsl;
use crate::page_visitor::{PageVisitor, between, sent_to};
use crate::scene::{Scene, claims, free_port, now};
use crate::scripted_server::ScriptedServer;

const PASSWORD: &str = "correct horse battery staple";
const CALLBACK: &str = "https://client.example/callback";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const OPENID_OFF: &str = "for clients that ask for scope openid.\nenabled = false";
const SECRETS_OFF: &str = "\"keybound_client_secret_sha256\".\nenabled = false";

/// A server where people sign in by way of `corp` (another of ours), `odd` (scripted) or `gone` (nothing listens there).
struct Stage {
    here: Installation,
    corp: Installation,
    odd: Odd,
}

/// The scripted provider.
struct Odd {
    server: ScriptedServer,
    /// What its token endpoint answers.
    answer: Arc<Mutex<(u16, Value)>>,
    openssl: OpenSsl,
}

impl Stage {
    fn set() -> Self {
        let scene = Scene::new();
        // Assertions name their key by its thumbprint (RFC 7638).
        let mut assertions = scene.openssl.signing_key("assertions");
        assertions.as_object_mut().unwrap().remove("kid");
        let (corp, secrets) = corp(&scene.issuer(), &assertions);
        let key = scene.openssl.signing_key("odd");
        let answer = Arc::new(Mutex::new((500, json!({}))));
        let told = Arc::clone(&answer);
        let server = ScriptedServer::start(json!({}), move |asked| match asked.path.as_str() {
            "/jwks" => (200, json!({ "keys": [key] })),
            "/par" => (201, json!({ "request_uri": "urn:example:1", "expires_in": 60 })),
            _ => told.lock().unwrap().clone(),
        });
        for (name, secret) in ["post", "basic"].iter().zip(secrets) {
            std::fs::write(scene.path(&format!("{name}.secret")), secret).unwrap();
        }
        let authorities = [corp.path("pki/ca.pem"), server.path("client/ca.pem")];
        let authorities = format!("\"pki/ca.pem\", {:?}, {:?}", authorities[0], authorities[1]);
        scene.replace(
            "keybound.toml",
            "ca = [\"pki/ca.pem\"]",
            &format!("ca = [{authorities}]"),
        );
        scene.replace("keybound.toml", OPENID_OFF, &OPENID_OFF.replace("false", "true"));
        scene.append("keybound.toml", "[[scopes]]\nname = \"read\"");
        let post = "client_secret_file = \"post.secret\"";
        let basic = "client_secret_file = \"basic.secret\"\ntoken_endpoint_auth_method = \"client_secret_basic\"";
        let signed = "signing_key = \"openssl/assertions.key\"";
        for (name, issuer, credential) in [
            ("corp", corp.public(""), post),
            ("basic", corp.public(""), basic),
            ("signed", corp.public(""), signed),
            // What it was not given for.
            ("wrong", corp.public(""), basic),
            ("odd", server.issuer.clone(), post),
            ("gone", format!("https://localhost:{}", free_port()), post),
        ] {
            let table = format!(
                "[[upstream_providers]]\nname = \"{name}\"\nlabel = \"The <b>{name}</b>\"\nissuer = \"{issuer}\"\n\
                 client_id = \"rp-{name}\"\n{credential}"
            );
            scene.append("keybound.toml", &table);
        }
        let app = json!({
            "grant_types": ["authorization_code"], "response_types": ["code"], "redirect_uris": [CALLBACK],
            "scope": "openid profile read", "token_endpoint_auth_method": "none",
            "tls_client_certificate_bound_access_tokens": false,
        });
        scene.client("app", &app);
        let (here, openssl) = scene.start();
        Self {
            here,
            corp,
            odd: Odd {
                server,
                answer,
                openssl,
            },
        }
    }

    fn browser(&self) -> PageVisitor {
        visitor(&self.here)
    }

    /// The login page of a client's request.
    fn login(&self, browser: &PageVisitor) -> String {
        self.login_asking(browser, "")
    }

    /// The same of one that asks for more.
    fn login_asking(&self, browser: &PageVisitor, more: &str) -> String {
        let query = format!(
            "client_id=app&response_type=code&redirect_uri={CALLBACK}&scope=openid%20profile&state=s&code_challenge={CHALLENGE}&code_challenge_method=S256{more}"
        );
        let login = sent_to(&browser.get(&format!("/authorize?{query}")));
        assert!(login.ends_with("/login"), "{login}");
        login
    }

    /// Carol signs in at `corp` and consents there; the address that she comes back by.
    fn carol_at_corp(&self, provider: &str) -> String {
        let carol = visitor(&self.corp);
        let begun = carol.get(provider);
        let (login, _) = carol.follow(begun);
        let signed_in = carol.submit(&login, &[("username", "carol"), ("password", PASSWORD)]);
        let consented = carol.submit(&sent_to(&signed_in), &[("decision", "approve")]);
        let back = sent_to(&consented);
        assert!(back.starts_with(&self.here.public("/upstream/")), "{back}");
        back
    }

    /// Consents; the claims of the ID token that the client gets.
    #[track_caller]
    fn consent(&self, browser: &PageVisitor, consent: &str) -> Value {
        let signed_in = sent_to(&browser.submit(consent, &[("decision", "approve")]));
        let form = format!(
            "grant_type=authorization_code&client_id=app&code={}&redirect_uri={CALLBACK}&code_verifier={VERIFIER}",
            parameters(&signed_in)["code"]
        );
        let answer = self.here.curl(None, &["-d", &form, &self.here.public("/token")]);
        assert_eq!(answer.status, 200, "{answer:?}");
        claims(answer.json()["id_token"].as_str().unwrap())
    }

    /// The error page that a person reads, and what the operator reads about it.
    #[track_caller]
    fn assert_stopped(&self, answer: &Answer, error: &str, reason: &str) {
        assert!(answer.status == 400 || answer.status == 403, "{answer:?}");
        assert!(answer.body.contains("id=\"error-page\""), "{answer:?}");
        assert_eq!(
            between(&answer.body, "id=\"error-code\">", "<"),
            Some(error),
            "{reason}"
        );
        let explained = self.here.explain(&answer.refusal());
        let said = explained["reason"].as_str().unwrap();
        assert!(said.contains(reason), "{reason:?} is not in {said:?}");
    }

    fn users(&self) -> Vec<Value> {
        let said = self.here.run(&["--output", "json", "user", "list"]).expect_code(0);
        said.json()["users"].as_array().unwrap().clone()
    }
}

impl Odd {
    fn says(&self, status: u16, body: Value) {
        *self.answer.lock().unwrap() = (status, body);
    }

    /// Answers with an ID token of these claims.
    fn says_id_token(&self, key: &str, claims: &Value) {
        let id_token = self.openssl.jws(key, "JWT", "odd", claims);
        let body = json!({ "access_token": "a", "token_type": "Bearer", "expires_in": 60, "id_token": id_token });
        self.says(200, body);
    }
}

/// A provider with the user carol, and clients of `issuer` of every kind; returns the secrets of those that have one.
fn corp(issuer: &str, assertions: &Value) -> (Installation, Vec<String>) {
    let scene = Scene::new();
    scene.replace("keybound.toml", OPENID_OFF, &OPENID_OFF.replace("false", "true"));
    scene.replace("keybound.toml", SECRETS_OFF, &SECRETS_OFF.replace("false", "true"));
    let (corp, _) = scene.start();
    std::fs::write(corp.path("password"), PASSWORD).unwrap();
    corp.run(&[
        "user",
        "create",
        "carol",
        "--password-file",
        "password",
        "--set",
        "name=Carol C",
    ])
    .expect_code(0);
    let mut secrets = Vec::new();
    for (name, method) in [
        ("corp", "client_secret_post"),
        ("basic", "client_secret_basic"),
        ("signed", "private_key_jwt"),
        ("wrong", "client_secret_basic"),
    ] {
        let mut rp = json!({
            "client_id": format!("rp-{name}"), "token_endpoint_auth_method": method, "grant_types": ["authorization_code"],
            "response_types": ["code"], "redirect_uris": [format!("{issuer}/upstream/{name}")], "scope": "openid profile email",
        });
        if method == "private_key_jwt" {
            rp["jwks"] = json!({ "keys": [assertions] });
        }
        std::fs::write(corp.path("rp.json"), rp.to_string()).unwrap();
        let created = corp.run(&["--output", "json", "client", "create", "--file", "rp.json"]);
        let secret = created.expect_code(0).json()["client_secret"]
            .as_str()
            .map(str::to_owned);
        secrets.extend(secret);
    }
    (corp, secrets)
}

fn visitor(installation: &Installation) -> PageVisitor {
    PageVisitor::at(installation.public(""), installation.path("pki/ca.pem"))
}

/// The link to a provider on a page.
#[track_caller]
fn link(page: &Answer, provider: &str) -> String {
    let name = format!("The &#60;b&#62;{provider}&#60;/b&#62;");
    assert!(page.body.contains(&name), "{name}: {page:?}");
    let links = page.body.split("href=\"").skip(1);
    let mut links = links.filter_map(|rest| Some(rest.split_once('"')?.0.replace("&#38;", "&").replace("&amp;", "&")));
    let found = links.find(|href| href.contains(&format!("/upstream/{provider}")));
    found.unwrap_or_else(|| panic!("{page:?}"))
}

fn parameters(url: &str) -> HashMap<String, String> {
    Url::parse(url).unwrap().query_pairs().into_owned().collect()
}

#[test]
fn somebody_whom_another_provider_knows_signs_in_and_nobody_in_their_place() {
    let stage = Stage::set();
    let browser = stage.browser();
    let login = stage.login(&browser);
    let leave = link(&browser.get(&login), "corp");
    let provider = sent_to(&browser.get(&leave));
    assert!(provider.starts_with(&stage.corp.public("/authorize?")), "{provider}");
    assert!(parameters(&provider).contains_key("request_uri"), "{provider}");
    let back = stage.carol_at_corp(&provider);

    // Her answer is worth nothing in another browser, also in one that has a request of its own, and nothing with another state.
    let thief = stage.browser();
    stage.login(&thief);
    let reason = "no interaction of this browser has this state";
    stage.assert_stopped(&thief.get(&back), "invalid_request", reason);
    let mut other = Url::parse(&back).unwrap();
    let changed: Vec<(String, String)> = other
        .query_pairs()
        .into_owned()
        .map(|(name, value)| {
            if name == "state" {
                (name, format!("x{value}"))
            } else {
                (name, value)
            }
        })
        .collect();
    other.query_pairs_mut().clear().extend_pairs(&changed);
    stage.assert_stopped(&browser.get(other.as_str()), "invalid_request", reason);
    assert_eq!(stage.users().len(), 0);

    let (consent, page) = browser.follow(browser.get(&back));
    assert!(
        consent.ends_with("/consent") && page.body.contains("Carol C"),
        "{page:?}"
    );
    let said = stage.consent(&browser, &consent);
    let users = stage.users();
    assert_eq!((users.len(), &users[0]["sub"]), (1, &said["sub"]));
    let name = users[0]["name"].as_str().unwrap().to_owned();
    assert!(name.starts_with("corp."), "{name}");

    // The same address again signs nobody in: its interaction is over.
    stage.assert_stopped(&browser.get(&back), "invalid_request", "the interaction is finished");

    // An administrator decides who comes in.
    stage.here.run(&["user", "update", &name, "--disable"]).expect_code(0);
    let browser = stage.browser();
    let login = stage.login(&browser);
    let provider = sent_to(&browser.get(&link(&browser.get(&login), "corp")));
    let back = stage.carol_at_corp(&provider);
    stage.assert_stopped(&browser.get(&back), "access_denied", "disabled");
    // What was answered once is not answered again there.
    stage.here.run(&["user", "update", &name, "--enable"]).expect_code(0);
    stage.assert_stopped(&browser.get(&back), "access_denied", "invalid_grant");
}

// covers R9207-2, R9700-9
#[test]
fn nobody_is_signed_in_by_an_answer_that_is_not_the_providers() {
    let stage = Stage::set();
    let (browser, odd) = (stage.browser(), &stage.odd);
    let login = stage.login(&browser);
    let provider = sent_to(&browser.get(&link(&browser.get(&login), "odd")));
    assert_eq!(parameters(&provider)["request_uri"], "urn:example:1");
    let asked = odd.server.asked().pop().unwrap().form;
    assert_eq!(asked["code_challenge_method"], "S256");
    let issuer = odd.server.issuer.as_str();
    let back = |more: &str| {
        stage
            .here
            .public(&format!("/upstream/odd?state={}&{more}", asked["state"]))
    };
    let answered = back(&format!("code=c&iss={issuer}"));
    let good = json!({
        "iss": issuer, "aud": "rp-odd", "sub": "dave", "iat": now(), "exp": now() + 60, "nonce": asked["nonce"], "name": "Dave D",
    });

    // RFC 9207 §2.4: whose answer it is, has to be said, and to be right; before anything is sent to the token endpoint.
    odd.says_id_token("odd", &good);
    let requests = odd.server.paths().len();
    for more in ["code=c".to_owned(), format!("code=c&iss={}", stage.corp.public(""))] {
        stage.assert_stopped(&browser.get(&back(&more)), "access_denied", "does not sign anybody in");
    }
    assert_eq!(odd.server.paths().len(), requests, "no code is sent anywhere");

    odd.openssl.signing_key("stranger");
    let changed = |member: &str, value: Value| {
        let mut claims = good.clone();
        claims[member] = value;
        claims
    };
    for (key, claims, reason) in [
        ("odd", changed("nonce", json!("another")), "nonce"),
        (
            "odd",
            changed("aud", json!("somebody-else")),
            "not meant for this client alone",
        ),
        (
            "odd",
            changed("aud", json!(["rp-odd", "somebody-else"])),
            "not meant for this client alone",
        ),
        ("odd", changed("iss", json!(stage.corp.public(""))), "it is of issuer"),
        ("odd", changed("exp", json!(now() - 120)), "expired"),
        ("stranger", good.clone(), "signature"),
        ("odd", changed("name", json!({ "given": "Dave" })), "name"),
    ] {
        odd.says_id_token(key, &claims);
        stage.assert_stopped(&browser.get(&answered), "access_denied", reason);
    }
    odd.says(
        200,
        json!({ "access_token": "a", "token_type": "Bearer", "expires_in": 60 }),
    );
    stage.assert_stopped(&browser.get(&answered), "access_denied", "`id_token` is missing");
    odd.says(400, json!({ "error": "invalid_grant" }));
    stage.assert_stopped(&browser.get(&answered), "access_denied", "invalid_grant");
    odd.says(500, json!({}));
    stage.assert_stopped(&browser.get(&answered), "access_denied", "500");
    assert_eq!(stage.users().len(), 0);

    // Who turns back there may come in by another way.
    let refused = browser.get(&back(&format!("error=access_denied&iss={issuer}")));
    assert_eq!(sent_to(&refused), login);

    odd.says_id_token("odd", &good);
    let (consent, page) = browser.follow(browser.get(&answered));
    assert!(
        consent.ends_with("/consent") && page.body.contains("Dave D"),
        "{page:?}"
    );
}

#[test]
fn a_sign_in_there_is_as_fresh_as_the_client_wants_it_and_as_old_as_it_is() {
    let stage = Stage::set();
    let odd = &stage.odd;
    let issuer = odd.server.issuer.as_str();
    // Leaves for the provider; what that was asked for.
    let leave = |browser: &PageVisitor, more: &str| {
        let login = stage.login_asking(browser, more);
        sent_to(&browser.get(&link(&browser.get(&login), "odd")));
        odd.server.asked().pop().unwrap().form
    };
    let said = |asked: &HashMap<String, String>| {
        let wanted = ["prompt", "max_age", "login_hint"];
        wanted.map(|name| asked.get(name).cloned().unwrap_or_default())
    };
    // Comes back after a sign-in at that time.
    let come_back = |browser: &PageVisitor, asked: &HashMap<String, String>, auth_time: Option<u64>| {
        let mut claims = json!({
            "iss": issuer, "aud": "rp-odd", "sub": "dave", "iat": now(), "exp": now() + 60, "nonce": asked["nonce"],
        });
        if let Some(auth_time) = auth_time {
            claims["auth_time"] = json!(auth_time);
        }
        odd.says_id_token("odd", &claims);
        let back = format!("/upstream/odd?state={}&code=c&iss={issuer}", asked["state"]);
        browser.get(&stage.here.public(&back))
    };
    let none = "auth_time is not in the ID token";
    let later = "auth_time of the ID token is in the future";

    let browser = stage.browser();
    let asked = leave(&browser, "&prompt=login&max_age=600&login_hint=dave%40x.example");
    assert_eq!(said(&asked), ["login", "600", "dave@x.example"]);
    stage.assert_stopped(&come_back(&browser, &asked, None), "access_denied", none);
    let stopped = come_back(&browser, &asked, Some(now() - 300));
    stage.assert_stopped(&stopped, "access_denied", "the user signed in there 3");
    assert!(
        stopped.body.contains("The application wants you to sign in again"),
        "{stopped:?}"
    );

    for (more, sent) in [
        ("&prompt=login", ["login", "0", ""]),
        ("&max_age=0", ["login", "0", ""]),
    ] {
        let browser = stage.browser();
        let asked = leave(&browser, more);
        assert_eq!(said(&asked), sent, "{more}");
        stage.assert_stopped(&come_back(&browser, &asked, None), "access_denied", none);
        let old = come_back(&browser, &asked, Some(now() - 300));
        stage.assert_stopped(&old, "access_denied", "the user signed in there 3");
        assert!(sent_to(&come_back(&browser, &asked, Some(now()))).ends_with("/consent"));
    }

    let browser = stage.browser();
    let asked = leave(&browser, "&max_age=600");
    assert_eq!(said(&asked), ["", "600", ""]);
    stage.assert_stopped(&come_back(&browser, &asked, None), "access_denied", none);
    let old = come_back(&browser, &asked, Some(now() - 700));
    stage.assert_stopped(&old, "access_denied", "and 600 s are allowed");
    let milliseconds = come_back(&browser, &asked, Some(now() * 1000));
    stage.assert_stopped(&milliseconds, "access_denied", later);
    let signed_in_at = now() - 500;
    let consent = sent_to(&come_back(&browser, &asked, Some(signed_in_at)));
    assert_eq!(stage.consent(&browser, &consent)["auth_time"], signed_in_at);

    // That session is as old here as it is there: a client for which it is too old has the user sign in once more, at the provider too.
    let asked = leave(&browser, "&max_age=400");
    assert_eq!(said(&asked), ["login", "400", ""]);

    // Where nothing is asked for, nothing is required; nobody signs in later than they come back.
    let claims = "&claims=%7B%22id_token%22%3A%7B%22auth_time%22%3Anull%7D%7D";
    for (auth_time, said_time) in [
        (Some(signed_in_at - 28_800), Some(signed_in_at - 28_800)),
        (None, None),
        (Some(now() + 9_000), None),
    ] {
        let browser = stage.browser();
        let asked = leave(&browser, claims);
        assert_eq!(said(&asked), ["", "", ""]);
        let before = now();
        let consent = sent_to(&come_back(&browser, &asked, auth_time));
        let came_back = before..=now();
        let issued = stage.consent(&browser, &consent)["auth_time"].as_u64().unwrap();
        match said_time {
            Some(said_time) => assert_eq!(issued, said_time),
            None => assert!(came_back.contains(&issued), "{issued} {came_back:?}"),
        }
    }

    // Another server of ours is one of the providers that can.
    let browser = stage.browser();
    let login = stage.login_asking(&browser, "&prompt=login");
    let provider = sent_to(&browser.get(&link(&browser.get(&login), "corp")));
    let back = sent_to(&browser.get(&stage.carol_at_corp(&provider)));
    assert!(back.ends_with("/consent"), "{back}");
}

#[test]
fn a_provider_that_is_down_is_a_page_that_people_can_read() {
    let stage = Stage::set();
    let browser = stage.browser();
    let login = stage.login(&browser);
    let leave = link(&browser.get(&login), "gone");
    stage.assert_stopped(&browser.get(&leave), "access_denied", "does not sign anybody in");
    stage.assert_stopped(
        &browser.get(&leave.replace("gone", "none")),
        "invalid_request",
        "no provider",
    );
}

#[test]
fn whoever_comes_by_themselves_signs_in_by_a_provider_too() {
    let stage = Stage::set();
    let browser = stage.browser();
    // Without the cookie of the page nothing begins.
    let leave = "/sign-in/upstream/corp?to=grants";
    stage.assert_stopped(&browser.get(leave), "invalid_request", "");
    let (sign_in, page) = browser.follow(browser.get("/grants"));
    assert_eq!(sign_in, "/sign-in?to=grants");
    assert_eq!(link(&page, "corp"), leave);
    let provider = sent_to(&browser.get(leave));
    let back = stage.carol_at_corp(&provider);
    let state = &parameters(&back)["state"];
    let thief = stage.browser();
    thief.get("/sign-in?to=grants");
    stage.assert_stopped(
        &thief.get(&back),
        "invalid_request",
        "no interaction of this browser has this state",
    );

    // Who turns back there is asked here.
    let refused = format!(
        "/upstream/corp?state={state}&error=access_denied&iss={}",
        stage.corp.public("")
    );
    assert_eq!(sent_to(&browser.get(&refused)), "/sign-in?to=grants");

    let (at, page) = browser.follow(browser.get(&back));
    assert_eq!((at.as_str(), page.status), ("/grants", 200));
    assert!(page.body.contains("Carol C"), "{page:?}");
    // The form was spent with it.
    stage.assert_stopped(
        &browser.get(&back),
        "invalid_request",
        "no interaction of this browser has this state",
    );

    // To the page of devices it is another errand, with another state.
    let browser = stage.browser();
    let page = browser.get("/sign-in?to=device");
    let provider = sent_to(&browser.get(&link(&page, "corp")));
    let (at, _) = browser.follow(browser.get(&stage.carol_at_corp(&provider)));
    assert_eq!(at, "/device");
}

#[test]
fn this_server_authenticates_at_a_provider_as_it_is_registered_there() {
    let stage = Stage::set();
    let browser = stage.browser();
    let login = stage.login(&browser);
    let leave = link(&browser.get(&login), "wrong");
    stage.assert_stopped(&browser.get(&leave), "access_denied", "invalid_client");
    for name in ["corp", "basic", "signed"] {
        let browser = stage.browser();
        let login = stage.login(&browser);
        let left = browser.get(&link(&browser.get(&login), name));
        assert_eq!(left.status, 303, "{name}: {}", stage.here.explain(&left.refusal()));
        let provider = sent_to(&left);
        let (consent, page) = browser.follow(browser.get(&stage.carol_at_corp(&provider)));
        assert!(
            consent.ends_with("/consent") && page.body.contains("Carol C"),
            "{name}: {page:?}"
        );
    }
    assert_eq!(stage.users().len(), 1, "one issuer's user is one user here");
}

#[test]
fn a_provider_is_given_one_credential_and_a_method_that_it_is_for() {
    let scene = Scene::new();
    scene.openssl.signing_key("assertions");
    std::fs::write(scene.path("secret"), "hush").unwrap();
    let provider = "[[upstream_providers]]\nname = \"corp\"\nissuer = \"https://corp.example\"\nclient_id = \"rp\"\n";
    let secret = "client_secret_file = \"secret\"\n";
    let before = std::fs::read_to_string(scene.path("keybound.toml")).unwrap();
    for (credential, said) in [
        (String::new(), "client_secret_file"),
        (
            format!("{secret}signing_key = \"openssl/assertions.key\""),
            "a provider knows one",
        ),
        (
            format!("{secret}token_endpoint_auth_method = \"private_key_jwt\""),
            "no credential",
        ),
        (
            format!("{secret}token_endpoint_auth_method = \"hope\""),
            "not a registered",
        ),
        ("signing_key = \"secret\"".to_owned(), "not a PEM key"),
        (
            "signing_key = \"openssl/assertions.key\"\ntoken_endpoint_auth_method = \"client_secret_basic\"".to_owned(),
            "no credential",
        ),
    ] {
        std::fs::write(
            scene.path("keybound.toml"),
            format!("{before}\n{provider}{credential}\n"),
        )
        .unwrap();
        let checked = crate::installation::run_in(&scene.path(""), &["config", "check", "--config", "keybound.toml"]);
        let checked = checked.expect_code(65);
        let text = format!("{}{}", checked.stdout, checked.stderr);
        assert!(text.contains(said), "{credential}: {text}");
    }
}
