//! A code that is presented twice: what came of its first use ends, at the gateway too.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use keybound_protocol::client::ClientId;
use keybound_protocol::grant_id::GrantId;
use keybound_protocol::pkce::CodeVerifier;
use keybound_protocol::time::Timestamp;
use keybound_protocol::user::{UserName, UserSubject};
use keybound_store::{
    Actor, AuditEntry, AuthorizationCode, AuthorizationCodeHash, BrowserSecretHash, CompleteInteraction, Grant,
    InteractionHash, InteractionOutcome, NewInteraction, NewUser, PasswordHash, SignedIn, SqliteSettings, SqliteStore,
};
use serde_json::json;

use crate::causes::tls_client_auth;
use crate::installation::{Answer, Installation};
use crate::openssl::Wanted;
use crate::scene::{Scene, access_token, ask};

/// How many codes are presented twice, one after the other.
const TIMES: u8 = 20;
/// What FAPI-24 asks for.
const REACHES_WITHIN: Duration = Duration::from_secs(1);
const REDIRECT_URI: &str = "https://client.example/cb";
/// RFC 7636 Appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

#[expect(clippy::disallowed_methods, reason = "the server under test has the system's clock")]
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_unix_secs(i64::try_from(since.as_secs()).unwrap())
}

/// Puts a user's consent where the consent page puts it, in the running server's database.
fn give(installation: &Installation, number: u8) -> String {
    let settings = SqliteSettings::new(installation.path("keybound.db"), installation.path("secrets/keys.kek"));
    let now = now();
    let store = SqliteStore::open(&settings, now).unwrap();
    let (text, client_id) = (format!("code-{number}"), ClientId::parse("a").unwrap());
    let signed_in = SignedIn {
        subject: UserSubject::from_random(&[7; 16]),
        auth_time: now,
        acr: None,
    };
    let grant = Grant {
        grant_id: GrantId::from_random([number; 16]),
        client_id: client_id.clone(),
        subject: signed_in.subject.clone(),
        scope: String::new(),
        resources: Vec::new(),
        authorization_details: None,
        claims: None,
        auth_time: None,
        acr: None,
        created_at: now,
        expires_at: now.plus(Duration::from_secs(3_600)),
        based_on: None,
    };
    let code = AuthorizationCode {
        hash: AuthorizationCodeHash::of(&text),
        redirect_uri: Some(REDIRECT_URI.into()),
        code_challenge: Some(CodeVerifier::parse(VERIFIER).unwrap().challenge().to_text()),
        nonce: None,
        dpop_jkt: None,
        terms: None,
        expires_at: now.plus(Duration::from_secs(60)),
    };
    let hash = InteractionHash::of(&text);
    let interaction = NewInteraction {
        hash,
        browser: BrowserSecretHash::of("cookie"),
        client_id,
        request: "{}".into(),
        pushed: None,
        signed_in: Some(signed_in),
        expires_at: now.plus(Duration::from_secs(600)),
    };
    let granted = InteractionOutcome::Granted {
        grant: Box::new(grant),
        code: Box::new(code),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let user = NewUser {
        name: UserName::parse("consenting").unwrap(),
        subject: UserSubject::from_random(&[7; 16]),
        password_hash: PasswordHash::from_phc("none"),
        user_code_hash: None,
        claims: "{}".into(),
        is_disabled: false,
    };
    runtime.block_on(async {
        let entry = AuditEntry::new(now, Actor::Operator);
        // There already, from the second time on.
        store.users.create_user(user, entry).await.unwrap();
        store.interactions.begin_interaction(interaction).await.unwrap();
        let entry = AuditEntry::new(now, Actor::Operator);
        let completed = store.interactions.complete_interaction(hash, granted, entry).await;
        assert_eq!(completed.unwrap(), CompleteInteraction::Completed);
    });
    text
}

// covers FAPI-24, R6749-7
#[test]
fn the_first_token_of_a_code_that_comes_twice_is_refused_at_the_gateway_within_a_second() {
    let scene = Scene::new();
    scene.openssl.authority("corp", "/O=Corp/CN=Corp CA");
    scene.trusts("corp", "");
    let mut metadata = tls_client_auth("corp", "tls_client_auth_subject_dn", "CN=a");
    metadata["grant_types"] = json!(["authorization_code", "refresh_token"]);
    metadata["redirect_uris"] = json!([REDIRECT_URI]);
    scene.client("a", &metadata);
    scene.openssl.certificate(Wanted::new("a", "/CN=a"), Some("corp"));
    let (installation, openssl) = scene.start();
    let url = installation.gateway("/hello");
    let call = |token: &str| {
        let header = format!("Authorization: Bearer {token}");
        ask(&installation, &openssl, Some("a"), &["-H", &header, &url])
    };
    let post = |form: &str| -> Answer {
        let endpoint = installation.mutual_tls("/token");
        ask(&installation, &openssl, Some("a"), &["-d", form, &endpoint])
    };
    let mut slowest = Duration::ZERO;
    for number in 0..TIMES {
        let code = give(&installation, number);
        let form = format!(
            "grant_type=authorization_code&client_id=a&code={code}&redirect_uri={REDIRECT_URI}&code_verifier={VERIFIER}"
        );
        let first = post(&form);
        let refresh_token = first.json()["refresh_token"].as_str().unwrap().to_owned();
        let refreshed = post(&format!(
            "grant_type=refresh_token&client_id=a&refresh_token={refresh_token}"
        ));
        let tokens = [access_token(&first), access_token(&refreshed)];
        for token in &tokens {
            assert_eq!(call(token).status, 200);
        }
        let second = post(&form);
        let begun = Instant::now();
        assert_eq!(
            (second.status, second.error().as_str()),
            (400, "invalid_grant"),
            "{second:?}"
        );
        // The first token, and what a refresh had made of the grant since.
        for token in &tokens {
            let refused = loop {
                let answer = call(token);
                if answer.status != 200 || begun.elapsed() > REACHES_WITHIN {
                    break answer;
                }
            };
            slowest = slowest.max(begun.elapsed());
            assert_eq!(
                (refused.status, refused.error().as_str()),
                (401, "invalid_token"),
                "{refused:?}"
            );
            let explained = installation.explain(&refused.refusal());
            assert!(explained["reason"].as_str().unwrap().contains("revoked"), "{explained}");
        }
    }
    assert!(slowest < REACHES_WITHIN, "{slowest:?}");
}
