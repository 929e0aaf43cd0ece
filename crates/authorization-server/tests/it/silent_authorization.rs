//! `prompt=none` (OpenID Connect Core §3.1.2.1): what is given without asking, and what never is.

use keybound_protocol::authorization_details::{AuthorizationDetailsType, AuthorizationDetailsTypes, FieldKind};
use keybound_store::{AuditQuery, RefusalQuery};
use serde_json::{Value, json};

use crate::browser::{Browser, add_user, form_token, location, parameters};
use crate::consent::VERIFIER;
use crate::pki::{Authority, Leaf, dns};
use crate::rfc9126::{CALLBACK, code_client, good};
use crate::world::{API, OTHER_API, Plan, Reply, Side, World, claims, tls_client, with};

const DETAILS: &str = r#"[{"type":"payment","amount":1}]"#;

struct Cast {
    world: World,
    demo: Leaf,
}

async fn cast() -> Cast {
    let authority = Authority::root("corp");
    let mut plan = Plan::new();
    plan.settings.openid_enabled = true;
    let payment = AuthorizationDetailsType {
        name: "payment".to_owned(),
        description: None,
        required: [("amount".to_owned(), FieldKind::Number)].into(),
        optional: [].into(),
    };
    plan.settings.authorization.details_types = AuthorizationDetailsTypes::new([payment]);
    let more = json!({
        "scope": "openid email read write",
        "grant_types": ["authorization_code", "refresh_token"],
        "authorization_details_types": ["payment"],
    });
    let public = json!({
        "token_endpoint_auth_method": "none",
        "redirect_uris": [CALLBACK],
        "tls_client_certificate_bound_access_tokens": true,
    });
    let world = plan
        .trusts("corp", &authority)
        .client("demo", with(code_client(tls_client("demo.example")), more.clone()))
        .client("other", with(code_client(tls_client("other.example")), more.clone()))
        .client("app", with(public, more))
        .start()
        .await;
    add_user(&world, "helena").await;
    add_user(&world, "otto").await;
    Cast {
        world,
        demo: authority.issue(dns("demo.example")),
    }
}

/// A good request, changed so.
fn request<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut request: Vec<(&str, &str)> = good();
    request.push(("client_id", "demo"));
    request.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    request.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
    request
}

async fn ask(browser: &Browser, changes: &[(&str, &str)]) -> Reply {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(request(changes))
        .finish();
    browser.get(&format!("/authorize?{query}")).await
}

async fn ask_silently(browser: &Browser, changes: &[(&str, &str)]) -> Reply {
    ask(browser, &[changes, &[("prompt", "none")]].concat()).await
}

/// A parameter that the client is told.
#[track_caller]
fn told(reply: &Reply, name: &str) -> Option<String> {
    assert!(location(reply).starts_with(CALLBACK), "{reply:?}");
    let mut parameters = parameters(reply).into_iter();
    parameters.find(|(told, _)| told == name).map(|(_, value)| value)
}

#[track_caller]
fn code(reply: &Reply) -> String {
    told(reply, "code").unwrap_or_else(|| panic!("{reply:?}"))
}

impl Cast {
    fn browser(&self) -> Browser {
        Browser::of(&self.world)
    }

    /// Signs helena in, who allows what is asked; the code.
    async fn allow(&self, browser: &Browser, changes: &[(&str, &str)]) -> String {
        let mut page = location(&ask(browser, changes).await);
        if page.ends_with("/login") {
            page = location(&browser.sign_in(&page).await);
        }
        code(&browser.decide(&page, "approve").await)
    }

    async fn redeem(&self, code: &str) -> Reply {
        let form = [("redirect_uri", CALLBACK), ("code_verifier", VERIFIER)];
        self.world.redeem(Some(&self.demo), "demo", code, &form).await
    }

    async fn tokens(&self, code: &str) -> Value {
        let reply = self.redeem(code).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    }

    /// Asserts what the client is told, and what is on record as the `number`th refusal of the client.
    #[track_caller]
    fn refused<'a>(
        &'a self,
        reply: &Reply,
        error: &'a str,
        (number, reason): (usize, &'a str),
    ) -> impl Future<Output = ()> + 'a {
        assert_eq!(told(reply, "error").as_deref(), Some(error), "{reason}");
        assert_eq!(
            (told(reply, "code"), told(reply, "state")),
            (None, Some("a state".to_owned()))
        );
        async move {
            let query = RefusalQuery {
                limit: 50,
                ..RefusalQuery::default()
            };
            // Records are written in batches.
            for _ in 0..200 {
                let page = self.world.store.refusals.list_refusals(query.clone()).await.unwrap();
                if page.refusals.len() == number {
                    let refusal = &page.refusals[0];
                    assert_eq!(refusal.error_code.unwrap().as_str(), error);
                    assert!(refusal.reason.contains(reason), "{reason}: {}", refusal.reason);
                    assert_eq!((refusal.status, refusal.endpoint.as_str()), (303, "/authorize"));
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            panic!("no {number}th record: {reason}");
        }
    }
}

#[tokio::test]
async fn nothing_is_given_silently_that_the_signed_in_user_did_not_allow_this_client() {
    let cast = cast().await;
    let browser = cast.browser();
    let reply = ask_silently(&browser, &[]).await;
    cast.refused(&reply, "login_required", (1, "nobody is signed in")).await;

    // A user who is signed in has allowed nothing yet.
    let login = location(&ask(&browser, &[]).await);
    let consent = location(&browser.sign_in(&login).await);
    let reply = ask_silently(&browser, &[]).await;
    cast.refused(&reply, "consent_required", (2, "has given this client nothing"))
        .await;
    browser.decide(&consent, "deny").await;
    let reply = ask_silently(&browser, &[]).await;
    cast.refused(&reply, "consent_required", (3, "has given this client nothing"))
        .await;

    let allowed = [("scope", "openid read"), ("authorization_details", DETAILS)];
    cast.allow(&browser, &allowed).await;
    let mut number = 3;
    for (changes, reason) in [
        // Each asks for more than that in one way.
        (vec![("scope", "openid read write")], "none of the 1 grants"),
        (vec![("resource", OTHER_API)], "none of the 1 grants"),
        (
            vec![("authorization_details", r#"[{"type":"payment","amount":2}]"#)],
            "none of the 1 grants",
        ),
        (vec![("authorization_details", "")], "none of the 1 grants"),
        (
            vec![("claims", r#"{"userinfo":{"email":null}}"#)],
            "none of the 1 grants",
        ),
        // Another client was allowed nothing.
        (vec![("client_id", "other")], "has given this client nothing"),
        // And anybody can ask in the name of a public one.
        (vec![("client_id", "app")], "public client"),
    ] {
        number += 1;
        let changes: Vec<(&str, &str)> = allowed
            .into_iter()
            .filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name))
            .chain(changes.iter().copied())
            .collect();
        let reply = ask_silently(&browser, &changes).await;
        cast.refused(&reply, "consent_required", (number, reason)).await;
    }
    // A public client's user is asked each time, also after a consent.
    let app = [("client_id", "app")];
    cast.allow(&browser, &app).await;
    let reply = ask_silently(&browser, &app).await;
    cast.refused(&reply, "consent_required", (number + 1, "public client"))
        .await;

    // What was allowed is given; and less than that.
    code(&ask_silently(&browser, &allowed).await);
    let less = [("scope", "read"), ("resource", API), ("authorization_details", DETAILS)];
    code(&ask_silently(&browser, &less).await);
    // To somebody who is asked it is shown each time.
    assert!(location(&ask(&browser, &allowed).await).ends_with("/consent"));
}

#[tokio::test]
async fn a_silent_code_is_for_the_user_and_the_time_that_the_client_wants() {
    let cast = cast().await;
    let browser = cast.browser();
    let id_token = |tokens: &Value| tokens["id_token"].as_str().unwrap().to_owned();
    let openid = ("scope", "openid read");
    let of_helena = id_token(&cast.tokens(&cast.allow(&browser, &[openid]).await).await);
    let ottos = cast.browser();
    let login = location(&ask(&ottos, &[openid]).await);
    let token = form_token(&ottos.get(&login).await);
    let form = [
        ("form_token", token.as_str()),
        ("username", "otto"),
        ("password", crate::browser::PASSWORD),
    ];
    let consent = location(&ottos.post(&login, &form).await);
    let of_otto = id_token(&cast.tokens(&code(&ottos.decide(&consent, "approve").await)).await);
    let signed_in_at = cast.world.clock.now();
    cast.world.clock.advance(100);

    let subject = claims(&of_otto)["sub"].as_str().unwrap().to_owned();
    let claims_of_otto = json!({"id_token": {"sub": {"value": subject}}}).to_string();
    let mut number = 0;
    for (changes, reason) in [
        (vec![("id_token_hint", of_otto.as_str())], "another user"),
        (vec![("id_token_hint", "not.a.token")], "id_token_hint is no ID token"),
        (vec![("claims", claims_of_otto.as_str())], "another user"),
        (vec![("max_age", "99")], "signed in 100 s ago, and max_age is 99 s"),
        (vec![("max_age", "0")], "max_age is 0 s"),
        // Theirs, and another client's.
        (
            vec![("client_id", "other"), ("id_token_hint", of_helena.as_str())],
            "id_token_hint is no ID token",
        ),
    ] {
        number += 1;
        let reply = ask_silently(&browser, &[&changes[..], &[openid]].concat()).await;
        cast.refused(&reply, "login_required", (number, reason)).await;
    }

    for changes in [vec![("id_token_hint", of_helena.as_str())], vec![]] {
        let nonce = ("nonce", "n-1");
        let reply = ask_silently(&browser, &[&changes[..], &[openid, nonce, ("max_age", "100")]].concat()).await;
        let tokens = cast.tokens(&code(&reply)).await;
        let said = claims(&id_token(&tokens));
        assert_eq!(
            (&said["sub"], &said["nonce"]),
            (&claims(&of_helena)["sub"], &json!("n-1"))
        );
        // When the user signed in, not when the client asked.
        assert_eq!(said["auth_time"], signed_in_at);
    }
}

#[tokio::test]
async fn prompt_says_when_the_user_is_asked_and_none_goes_with_no_other() {
    let cast = cast().await;
    let browser = cast.browser();
    cast.allow(&browser, &[]).await;
    for prompt in ["none login", "none consent", "select_account none", "later"] {
        let reply = ask(&browser, &[("prompt", prompt)]).await;
        assert_eq!(told(&reply, "error").as_deref(), Some("invalid_request"), "{prompt}");
    }
    for (changes, page) in [
        (vec![("prompt", "login")], "/login"),
        (vec![("prompt", "select_account")], "/login"),
        (vec![("prompt", "consent")], "/consent"),
        (vec![("prompt", "login consent")], "/login"),
        // Signed in within this second, and nevertheless: OpenID Connect Core §3.1.2.1.
        (vec![("max_age", "0")], "/login"),
        (vec![], "/consent"),
        // A hint that nobody can read any more locks nobody out.
        (vec![("id_token_hint", "old")], "/consent"),
    ] {
        let location = location(&ask(&browser, &changes).await);
        assert!(location.ends_with(page), "{changes:?}: {location}");
    }
}

// covers I2, I5
#[tokio::test]
async fn what_is_given_silently_ends_with_what_it_rests_on_and_brings_no_refresh_token() {
    let cast = cast().await;
    let browser = cast.browser();
    let given = cast.tokens(&cast.allow(&browser, &[]).await).await;
    assert!(given["refresh_token"].is_string());
    let silent = cast.tokens(&code(&ask_silently(&browser, &[]).await)).await;
    assert!(silent["access_token"].is_string());
    assert!(silent.get("refresh_token").is_none(), "{silent}");
    let late = code(&ask_silently(&browser, &[]).await);

    // Whoever reads the audit log sees that nobody was asked.
    let query = AuditQuery {
        action: Some("grant.created".to_owned()),
        limit: 10,
        ..AuditQuery::default()
    };
    let records = cast.world.store.audit.records(query).await.unwrap().records;
    let base = records.last().unwrap();
    let based_on: Vec<Option<&str>> = records
        .iter()
        .map(|record| record.details.as_ref()?.get("based_on")?.as_str())
        .collect();
    assert_eq!(
        based_on,
        [Some(base.subject.as_str()), Some(base.subject.as_str()), None]
    );

    // The user sees what the user gave, and no more; withdrawing it ends all of it.
    let page = browser.get("/grants").await;
    assert_eq!(crate::browser::text(&page).matches("name=\"grant\"").count(), 1);
    let token = form_token(&page);
    let form = [
        ("form_token", token.as_str()),
        ("action", "withdraw"),
        ("grant", base.subject.as_str()),
    ];
    assert_eq!(location(&browser.post("/grants", &form).await), "/grants");
    let reply = cast.redeem(&late).await;
    cast.world
        .assert_refused(
            &reply,
            400,
            "invalid_grant",
            "authorization code of this client, in time and unused",
        )
        .await;
    for tokens in [&given, &silent] {
        let jti = claims(tokens["access_token"].as_str().unwrap())["jti"]
            .as_str()
            .unwrap()
            .to_owned();
        let grant_id = jti.split('.').next().unwrap().parse().unwrap();
        let state = cast.world.store.grants.find_grant(&grant_id).unwrap().unwrap().state;
        assert_eq!(state, keybound_store::GrantState::Revoked);
    }
    let reply = ask_silently(&browser, &[]).await;
    cast.refused(&reply, "consent_required", (2, "has given this client nothing"))
        .await;
}

// covers R9126-6
#[tokio::test]
async fn an_answer_without_asking_spends_the_pushed_request() {
    let cast = cast().await;
    let browser = cast.browser();
    cast.allow(&browser, &[]).await;
    let push = async || {
        let pushed = cast
            .world
            .peer(Side::MutualTls, Some(&cast.demo))
            .post("/par", &request(&[("prompt", "none")]))
            .await;
        assert_eq!(pushed.status, 201, "{pushed:?}");
        let request_uri = pushed.json()["request_uri"].as_str().unwrap().to_owned();
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("client_id", "demo"), ("request_uri", &request_uri)])
            .finish();
        format!("/authorize?{query}")
    };
    let spent = async |path: &str| {
        let reply = browser.get(path).await;
        assert_eq!(reply.status, 400, "{reply:?}");
        let refusal = cast.world.refusal(&reply).await;
        assert_eq!(refusal.error_code.unwrap().as_str(), "invalid_request_uri");
    };
    // The client has its answer, be it a refusal: with the same request_uri nobody else is answered.
    let path = push().await;
    let reply = cast.browser().get(&path).await;
    cast.refused(&reply, "login_required", (1, "nobody is signed in")).await;
    spent(&path).await;
    let path = push().await;
    let tokens = cast.tokens(&code(&browser.get(&path).await)).await;
    assert!(tokens["access_token"].is_string());
    spent(&path).await;
}
