//! What clients may be that register themselves: policies, software statements, quotas.

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use keybound_authorization_server::{ClientPolicy, RegistrationSettings};
use keybound_protocol::authentication_method::AuthenticationMethod;
use keybound_protocol::jwk_set::JwkSet;
use keybound_protocol::profile::Profile;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::software_statement::SoftwareStatementIssuer;
use serde_json::{Value, json};

use crate::pki::{Authority, Leaf, dns, self_signed};
use crate::registration::{
    OTHER_INITIAL, manage, own_members, own_path, plan, policy, register, registered, registration, send, token,
};
use crate::rfc7523::signed;
use crate::world::{NOW, Side, credentials, self_signed_client, tls_client, with};

const DIRECTORY: &str = "https://directory.example";

fn statement(leaf: &Leaf, claims: &Value) -> String {
    signed(leaf, &json!({"alg": "ES256", "typ": "JWT"}), claims)
}

// covers R7591-5, R7591-6
#[tokio::test]
async fn a_software_statement_of_a_trusted_issuer_wins_and_any_other_is_refused() {
    let (directory, stranger) = (self_signed(dns("directory")), self_signed(dns("stranger")));
    let keys = json!({"keys": [directory.jwk()]}).to_string();
    let issuer = SoftwareStatementIssuer {
        issuer: DIRECTORY.to_owned(),
        keys: JwkSet::parse(keys.as_bytes()).unwrap(),
        algorithms: SignatureAlgorithm::FAPI.into(),
    };
    let required = ClientPolicy {
        software_statement_required: true,
        ..policy()
    };
    let settings = RegistrationSettings {
        software_statement_issuers: vec![issuer],
        ..registration(required)
    };
    let world = plan(settings).trusts("corp", &Authority::root("corp")).start().await;
    let claims = json!({
        "iss": DIRECTORY, "iat": NOW, "exp": NOW + 60, "aud": "https://as.example", "client_name": "Approved",
        "tls_client_auth_san_dns": "approved.example", "scope": "read",
    });
    let with_statement = |text: &str| {
        with(
            tls_client("impostor.example"),
            json!({"client_name": "Impostor", "scope": "write", "software_statement": text}),
        )
    };
    let own = |changes: Value| statement(&directory, &with(claims.clone(), changes));
    let cases = [
        (
            "another key",
            statement(&stranger, &claims),
            "invalid_software_statement",
        ),
        ("unsigned", unsigned(&claims), "invalid_software_statement"),
        ("not a JWS", "statement".to_owned(), "invalid_software_statement"),
        ("expired", own(json!({"exp": NOW - 31})), "invalid_software_statement"),
        (
            "of the future",
            own(json!({"nbf": NOW + 60})),
            "invalid_software_statement",
        ),
        (
            "for others",
            own(json!({"aud": ["https://other.example"]})),
            "invalid_software_statement",
        ),
        ("no issuer", own(json!({"iss": null})), "invalid_software_statement"),
        ("exp as text", own(json!({"exp": "soon"})), "invalid_software_statement"),
        (
            "of another issuer",
            own(json!({"iss": "https://other.example"})),
            "unapproved_software_statement",
        ),
        (
            "almost the issuer",
            own(json!({"iss": format!("{DIRECTORY}/")})),
            "unapproved_software_statement",
        ),
    ];
    for (name, text, code) in cases {
        let reply = register(&world, &with_statement(&text)).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{name}");
        assert_eq!(reply.json()["error"], code, "{name} {reply:?}");
        assert_eq!(
            world.refusal(&reply).await.failed_rule().unwrap().rule,
            "software statement",
            "{name}"
        );
    }
    let reply = register(&world, &tls_client("impostor.example")).await;
    world
        .assert_refused(&reply, 400, "invalid_software_statement", "software statement")
        .await;
    // A statement and a claim that exclude each other are not guessed at.
    let conflict = own(json!({"tls_client_auth_subject_dn": "CN=a"}));
    let reply = register(&world, &with_statement(&conflict)).await;
    world
        .assert_refused(&reply, 400, "invalid_client_metadata", "client metadata permitted")
        .await;
    let text = statement(&directory, &claims);
    let answer = registered(&world, &with_statement(&text)).await;
    for (member, value) in [
        ("client_name", "Approved"),
        ("tls_client_auth_san_dns", "approved.example"),
        ("scope", "read"),
        ("software_statement", text.as_str()),
    ] {
        assert_eq!(answer[member], value, "{member}");
    }
    assert!(answer.get("iss").is_none(), "{answer}");
    assert_eq!(manage(&world, &answer, Method::GET, None).await.json(), answer);
    // It has to be there at each change, too.
    let mut members = own_members(&answer);
    members.as_object_mut().unwrap().remove("software_statement");
    let reply = manage(&world, &answer, Method::PUT, Some(&members)).await;
    world
        .assert_refused(&reply, 400, "invalid_software_statement", "software statement")
        .await;
    let reply = manage(&world, &answer, Method::PUT, Some(&own_members(&answer))).await;
    assert_eq!(reply.json(), answer);
}

fn unsigned(claims: &Value) -> String {
    let part = |value: &Value| keybound_protocol::base64url::encode(value.to_string().as_bytes());
    format!("{}.{}.", part(&json!({"alg": "none"})), part(claims))
}

// covers MTLS-7.4-1, R7591-6
#[tokio::test]
async fn a_client_has_what_its_initial_access_token_permits_and_no_more() {
    let (corp, partners) = (Authority::root("corp"), Authority::root("partners"));
    let narrow = ClientPolicy {
        methods: BTreeSet::from([AuthenticationMethod::TlsClientAuth]),
        scopes: Some(BTreeSet::from(["read".to_owned()])),
        trust_anchors: Some(vec!["partners".parse().unwrap()]),
        ..policy()
    };
    let mut settings = registration(narrow);
    settings
        .initial_access_tokens
        .push(token("others", OTHER_INITIAL, policy()));
    let world = plan(settings)
        .trusts("corp", &corp)
        .trusts("partners", &partners)
        .start()
        .await;
    let client = with(tls_client("one.example"), json!({"scope": "read"}));
    let key = self_signed_client(&[&self_signed(dns("x"))]);
    for metadata in [
        with(client.clone(), json!({"scope": "read write"})),
        with(client.clone(), json!({"keybound_trust_anchors": ["corp"]})),
        with(client.clone(), json!({"keybound_trust_anchors": ["partners", "corp"]})),
        with(key.clone(), json!({"scope": "read"})),
    ] {
        let reply = register(&world, &metadata).await;
        world
            .assert_refused(&reply, 400, "invalid_client_metadata", "client metadata permitted")
            .await;
        let peer = world.peer(Side::Public, None);
        let reply = send(&peer, Method::POST, "/register", Some(OTHER_INITIAL), Some(&metadata)).await;
        assert_eq!(
            reply.status,
            StatusCode::CREATED,
            "another token, another policy: {reply:?}"
        );
    }
    // Who names no anchor gets those of the policy, not every one.
    let answer = registered(&world, &client).await;
    assert!(answer.get("keybound_trust_anchors").is_none(), "{answer}");
    let client_id = answer["client_id"].as_str().unwrap();
    let reply = world.token(Some(&corp.issue(dns("one.example"))), client_id).await;
    let rule = "path to a trust anchor of this client";
    world.assert_refused(&reply, 400, "invalid_client", rule).await;
    let leaf = partners.issue(dns("one.example"));
    assert_eq!(world.token(Some(&leaf), client_id).await.status, StatusCode::OK);
    let form = [&credentials(client_id)[..], &[("scope", "write")]].concat();
    assert_eq!(
        world.post(Some(&leaf), "/token", &form).await.json()["error"],
        "invalid_scope"
    );
}

// covers T32
#[tokio::test]
async fn quotas_are_kept_for_each_token_each_address_and_in_all() {
    let metadata = tls_client("one.example");
    let two = ClientPolicy {
        clients_max: 2,
        ..policy()
    };
    let world = plan(registration(two)).start().await;
    let first = registered(&world, &metadata).await;
    registered(&world, &metadata).await;
    let reply = register(&world, &metadata).await;
    world
        .assert_refused(&reply, 403, "access_denied", "quota of registrations")
        .await;
    assert_eq!(
        manage(&world, &first, Method::DELETE, None).await.status,
        StatusCode::NO_CONTENT
    );
    registered(&world, &metadata).await;
    let hourly = RegistrationSettings {
        per_address_and_hour_max: 3,
        ..registration(policy())
    };
    let world = plan(hourly).start().await;
    for _ in 0..3 {
        let answer = registered(&world, &metadata).await;
        assert_eq!(
            manage(&world, &answer, Method::DELETE, None).await.status,
            StatusCode::NO_CONTENT
        );
    }
    let reply = register(&world, &metadata).await;
    let refusal = world
        .assert_refused(&reply, 429, "access_denied", "quota of registrations")
        .await;
    assert!(reply.header("retry-after").is_some(), "{}", refusal.reason);
    world.clock.advance(3600);
    registered(&world, &metadata).await;
}

// covers T32, R6749-3
#[tokio::test]
async fn guessing_registration_tokens_is_throttled() {
    let mut plan = plan(registration(policy()));
    plan.settings.limits.failed_authentications_per_second = 20;
    let world = plan.start().await;
    let answer = registered(&world, &tls_client("one.example")).await;
    let peer = world.peer(Side::Public, None);
    for (path, method) in [("/register".to_owned(), Method::POST), (own_path(&answer), Method::GET)] {
        let mut throttled = 0;
        for number in 0..60 {
            let reply = send(&peer, method.clone(), &path, Some(&format!("guess-{number}")), None).await;
            assert!(matches!(reply.status.as_u16(), 401 | 429), "{reply:?}");
            throttled += usize::from(reply.status == StatusCode::TOO_MANY_REQUESTS);
        }
        assert!(throttled >= 20, "{throttled} of 60 at {path}");
    }
    assert_eq!(
        manage(&world, &answer, Method::GET, None).await.status,
        StatusCode::OK,
        "the right token is let in"
    );
}

// covers MTLS-4-1, R7591-6
#[tokio::test]
async fn a_public_client_registers_where_its_policy_permits_that_and_a_stricter_profile_is_registered_with_it() {
    let public = ClientPolicy {
        methods: BTreeSet::from([AuthenticationMethod::None]),
        ..policy()
    };
    let strict = ClientPolicy {
        profile: Profile::Fapi2,
        ..policy()
    };
    let mut settings = registration(public);
    settings
        .initial_access_tokens
        .push(token("strict", OTHER_INITIAL, strict));
    let world = plan(settings).trusts("corp", &Authority::root("corp")).start().await;
    let metadata = json!({
        "token_endpoint_auth_method": "none", "grant_types": ["authorization_code", "refresh_token"],
        "redirect_uris": ["http://127.0.0.1/callback"], "tls_client_certificate_bound_access_tokens": true,
    });
    let answer = registered(&world, &metadata).await;
    assert_eq!(answer["response_types"], json!(["code"]));
    assert!(answer.get("client_secret").is_none(), "{answer}");
    let mut credentials = metadata.clone();
    credentials["grant_types"] = json!(["client_credentials"]);
    let reply = register(&world, &credentials).await;
    world
        .assert_refused(&reply, 400, "invalid_client_metadata", "client metadata permitted")
        .await;

    let peer = world.peer(Side::Public, None);
    let strictly =
        async |metadata: &Value| send(&peer, Method::POST, "/register", Some(OTHER_INITIAL), Some(metadata)).await;
    let mut robot = tls_client("robot.example");
    robot["tls_client_certificate_bound_access_tokens"] = json!(false);
    let reply = strictly(&robot).await;
    world
        .assert_refused(&reply, 400, "invalid_client_metadata", "client metadata permitted")
        .await;
    robot
        .as_object_mut()
        .unwrap()
        .remove("tls_client_certificate_bound_access_tokens");
    let answer = strictly(&robot).await.json();
    assert_eq!(answer["tls_client_certificate_bound_access_tokens"], true, "{answer}");
    // It is on file, so that it holds at each request; and it goes without saying.
    let client_id = answer["client_id"].as_str().unwrap().parse().unwrap();
    let stored = world.store.clients.find_client(&client_id).unwrap().unwrap();
    assert!(
        stored.metadata.contains("\"keybound_profile\":\"fapi2\""),
        "{}",
        stored.metadata
    );
    assert!(answer.get("keybound_profile").is_none(), "{answer}");
}
