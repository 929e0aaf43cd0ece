//! Tokens that the issuer is asked about (RFC 7662), over our own mutual TLS.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Response, StatusCode};
use keybound_protocol::access_token::AccessTokenError;
use keybound_protocol::endpoint::Endpoint;
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_protocol::server_metadata::ServerMetadata;
use keybound_protocol::time::Timestamp;
use keybound_resource_server::client::{AuthorizationServer, Client, ClientAuthentication, ClientSettings};
use keybound_resource_server::{
    AccessTokenRefusal, Binding, Check, IssuerSettings, Limits, ResourceServer, Validation, Verdict,
};
use keybound_tls::ResponseBody;
use serde_json::{Value, json};
use url::Url;

use crate::pki::Party;
use crate::site::{Site, json as json_response, json_with, status};
use crate::support::{AUDIENCE, NOW, failed_rule, issuer, refused_as_invalid_token, route, with_token};
use crate::token_issuer::TokenIssuer;

pub(crate) const ACTIVE_MAX: Duration = Limits::DEFAULT.introspection_active_max;
const INACTIVE_MAX: Duration = Limits::DEFAULT.introspection_inactive_max;
pub(crate) const UNAVAILABLE_PAUSE: Duration = Limits::DEFAULT.introspection_pause;

/// An issuer with an introspection endpoint, whose answers a test changes as it goes.
pub(crate) struct Asked {
    site: Site,
    answers: Arc<Mutex<HashMap<String, Value>>>,
    pub(crate) down: Arc<AtomicBool>,
    pub(crate) resource_server: ResourceServer,
    /// Who asks: not whose tokens are asked about.
    own: Party,
}

impl Asked {
    pub(crate) fn new() -> Asked {
        Asked::with_limits(Limits::DEFAULT)
    }

    fn with_limits(limits: Limits) -> Asked {
        let answers: Arc<Mutex<HashMap<String, Value>>> = Arc::default();
        let down = Arc::new(AtomicBool::new(false));
        let site = Site::asking({
            let (answers, down) = (Arc::clone(&answers), Arc::clone(&down));
            move |seen| {
                if down.load(Ordering::SeqCst) {
                    return status(StatusCode::SERVICE_UNAVAILABLE);
                }
                let token = seen.form("token").unwrap_or_default();
                if let Some(refused) = token.strip_prefix("refused-with-") {
                    return refusal(refused);
                }
                json_response(answers.lock().unwrap().get(token).unwrap_or(&json!({"active": false})))
            }
        });
        let own = Party::new("resource");
        let resource_server = ResourceServer::with_limits(vec![settings(&site, &own)], limits).unwrap();
        Asked {
            site,
            answers,
            down,
            resource_server,
            own,
        }
    }

    /// What the issuer answers about `token` from now on.
    pub(crate) fn answer(&self, token: &str, answer: Value) {
        self.answers.lock().unwrap().insert(token.to_owned(), answer);
    }

    pub(crate) async fn check(&self, token: &str, presented: &PresentedCertificate, now: Timestamp) -> Verdict {
        self.resource_server
            .check(&with_token(token), presented, &route(), now)
            .finish()
            .await
    }

    pub(crate) fn questions(&self) -> usize {
        self.site.seen().len()
    }
}

/// The answer to a token `refused-with-STATUS-ERROR-…`; of error `none` the body says nothing.
fn refusal(refused: &str) -> Response<ResponseBody> {
    let mut parts = refused.split('-');
    let code = StatusCode::from_bytes(parts.next().unwrap().as_bytes()).unwrap();
    match parts.next().unwrap() {
        "none" => status(code),
        error => json_with(code, &json!({"error": error})),
    }
}

fn settings(site: &Site, own: &Party) -> IssuerSettings {
    settings_at(&site.origin, own)
}

/// An issuer at `origin` that is asked with the certificate of `own`.
pub(crate) fn settings_at(origin: &Url, own: &Party) -> IssuerSettings {
    let issuer = issuer(origin.as_str().trim_end_matches('/'));
    let metadata = ServerMetadata::new(issuer.clone()).with_endpoint(
        Endpoint::Introspection,
        origin.join("/introspect").unwrap(),
        None,
    );
    let client = Client::new(ClientSettings {
        server: AuthorizationServer::given(metadata),
        client_id: "resource".parse().unwrap(),
        authentication: ClientAuthentication::Certificate,
        identity: own.identity(),
    });
    IssuerSettings::new(issuer, Validation::Introspection(Arc::new(client)))
}

pub(crate) fn active(party: &Party) -> Value {
    json!({
        "active": true, "client_id": "demo", "aud": AUDIENCE, "scope": "read write", "exp": NOW.unix_secs() + 300,
        "cnf": {"x5t#S256": party.thumbprint()},
    })
}

fn later(secs: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(secs))
}

// covers MTLS-3.2-3, MTLS-3-2, TRAP-27
#[tokio::test]
async fn the_binding_is_compared_with_the_callers_certificate_and_never_with_our_own() {
    let asked = Asked::new();
    let holder = Party::new("demo");
    asked.answer("opaque-token", active(&holder));
    // Bound to the certificate that *we* ask with: a comparison with the wrong connection would accept it from anybody.
    asked.answer("bound-to-us", active(&asked.own));

    let accepted = asked.check("opaque-token", &holder.presented(), NOW).await.unwrap();
    assert_eq!(accepted.as_bound().unwrap().certificate(), Some(&holder.thumbprint()));
    for presented in [
        PresentedCertificate::None,
        Party::new("other").presented(),
        asked.own.presented(),
    ] {
        let refused = refused_as_invalid_token(asked.check("opaque-token", &presented, NOW).await);
        assert!(
            matches!(refused.reason(), AccessTokenRefusal::Binding(_)),
            "{:?}",
            refused.reason()
        );
        assert_eq!(
            failed_rule(&refused).rule,
            "the certificate of this request is the one it is bound to"
        );
    }
    for presented in [PresentedCertificate::None, holder.presented()] {
        refused_as_invalid_token(asked.check("bound-to-us", &presented, NOW).await);
    }
    // The question came over our own certificate, with our own name.
    for seen in asked.site.seen() {
        assert_eq!(seen.thumbprint(), Some(asked.own.thumbprint()));
        assert_eq!(seen.form("client_id"), Some("resource"));
    }
}

// covers TRAP-28, MTLS-3.2-3
#[tokio::test]
async fn an_answer_is_kept_and_the_binding_is_compared_all_the_same() {
    let asked = Asked::new();
    let (holder, thief) = (Party::new("demo"), Party::new("thief"));
    asked.answer("opaque-token", active(&holder));
    for _ in 0..20 {
        assert!(asked.check("opaque-token", &holder.presented(), NOW).await.is_ok());
        refused_as_invalid_token(asked.check("opaque-token", &thief.presented(), NOW).await);
    }
    assert_eq!(asked.questions(), 1);
    // A known token needs no waiting.
    let check = asked
        .resource_server
        .check(&with_token("opaque-token"), &holder.presented(), &route(), NOW);
    assert!(matches!(check, Check::Done(Ok(_))));
}

// covers R7662-4, TRAP-28
#[tokio::test]
async fn an_answer_is_kept_for_thirty_seconds_and_never_past_the_tokens_end() {
    let holder = Party::new("demo");
    for (exp, last_kept) in [(300, ACTIVE_MAX.as_secs() - 1), (10, 9)] {
        let asked = Asked::new();
        let mut answer = active(&holder);
        answer["exp"] = json!(NOW.unix_secs() + exp);
        asked.answer("opaque-token", answer);
        assert!(asked.check("opaque-token", &holder.presented(), NOW).await.is_ok());
        // Revoked at once, and noticed when the answer is asked for again.
        asked.answer("opaque-token", json!({"active": false}));
        assert!(
            asked
                .check("opaque-token", &holder.presented(), later(last_kept))
                .await
                .is_ok()
        );
        assert_eq!(asked.questions(), 1);
        let refused = refused_as_invalid_token(
            asked
                .check("opaque-token", &holder.presented(), later(last_kept + 1))
                .await,
        );
        assert!(
            matches!(refused.reason(), AccessTokenRefusal::Inactive),
            "{:?}",
            refused.reason()
        );
        assert_eq!(failed_rule(&refused).rule, "active, says the issuer");
        assert_eq!(asked.questions(), 2);
    }
}

/// Until then the monotonic clock says that every limit of one second has passed.
async fn a_second_of_the_monotonic_clock() {
    tokio::time::sleep(Duration::from_millis(1_050)).await;
}

// covers TRAP-28
#[tokio::test]
async fn a_clock_that_is_set_back_keeps_no_answer_alive() {
    let second = Duration::from_secs(1);
    let asked = Asked::with_limits(Limits {
        introspection_active_max: second,
        introspection_inactive_max: second,
        introspection_pause: second,
        ..Limits::DEFAULT
    });
    let holder = Party::new("demo");
    let an_hour_ago = Timestamp::from_unix_secs(NOW.unix_secs() - 3600);
    asked.answer("revoked", active(&holder));
    assert!(asked.check("revoked", &holder.presented(), NOW).await.is_ok());
    refused_as_invalid_token(asked.check("issued-later", &holder.presented(), NOW).await);
    asked.answer("revoked", json!({"active": false}));
    asked.answer("issued-later", active(&holder));

    a_second_of_the_monotonic_clock().await;
    let refused = refused_as_invalid_token(asked.check("revoked", &holder.presented(), an_hour_ago).await);
    assert!(matches!(refused.reason(), AccessTokenRefusal::Inactive));
    assert!(
        asked
            .check("issued-later", &holder.presented(), an_hour_ago)
            .await
            .is_ok()
    );
    assert_eq!(asked.questions(), 4);

    // Nor does it leave an issuer alone for an hour that was down for a moment.
    asked.answer("another", active(&holder));
    asked.down.store(true, Ordering::SeqCst);
    assert!(asked.check("another", &holder.presented(), NOW).await.is_err());
    asked.down.store(false, Ordering::SeqCst);
    a_second_of_the_monotonic_clock().await;
    assert!(asked.check("another", &holder.presented(), an_hour_ago).await.is_ok());
}

// covers TRAP-28
#[tokio::test]
async fn a_flush_makes_the_next_request_ask_again() {
    let asked = Asked::new();
    let holder = Party::new("demo");
    asked.answer("opaque-token", active(&holder));
    assert!(asked.check("opaque-token", &holder.presented(), NOW).await.is_ok());
    asked.answer("opaque-token", json!({"active": false}));
    asked.resource_server.forget_tokens();
    refused_as_invalid_token(asked.check("opaque-token", &holder.presented(), NOW).await);
    asked.answer("opaque-token", active(&holder));
    asked.resource_server.forget_tokens();
    assert!(asked.check("opaque-token", &holder.presented(), NOW).await.is_ok());
}

#[tokio::test]
async fn an_inactive_token_is_believed_to_be_so_for_a_shorter_time() {
    let asked = Asked::new();
    let holder = Party::new("demo");
    let inactive = INACTIVE_MAX.as_secs();
    for second in 0..inactive {
        refused_as_invalid_token(asked.check("opaque-token", &holder.presented(), later(second)).await);
    }
    assert_eq!(asked.questions(), 1);
    asked.answer("opaque-token", active(&holder));
    assert!(
        asked
            .check("opaque-token", &holder.presented(), later(inactive))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn requests_with_one_unknown_token_cause_one_question() {
    let asked = Arc::new(Asked::new());
    let holder = Arc::new(Party::new("demo"));
    asked.answer("opaque-token", active(&holder));
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let (asked, holder) = (Arc::clone(&asked), Arc::clone(&holder));
            tokio::spawn(async move { asked.check("opaque-token", &holder.presented(), NOW).await.is_ok() })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap());
    }
    assert_eq!(asked.questions(), 1);
}

// covers R7800-2, TRAP-26
#[tokio::test]
async fn an_answer_that_cannot_be_gone_by_is_a_refusal_and_never_an_unbound_token() {
    let holder = Party::new("demo");
    let with = |member: &str, value: Value| {
        let mut answer = active(&holder);
        answer[member] = value;
        answer
    };
    for (answer, rule) in [
        (
            with("cnf", json!({"jwk": {"kty": "EC"}})),
            "confirmation can be verified",
        ),
        (with("cnf", json!({})), "confirmation can be verified"),
        (with("cnf", json!(null)), "confirmation can be verified"),
        (with("exp", json!(NOW.unix_secs() - 3600)), "inside its validity"),
        (with("nbf", json!(NOW.unix_secs() + 3600)), "inside its validity"),
        (with("scope", json!(["read"])), "claims complete"),
        (with("active", json!("true")), "claims complete"),
        (with("aud", json!("https://other.example")), "audience"),
        (
            with("iss", json!("https://other.example")),
            "an issuer that this route trusts",
        ),
    ] {
        let asked = Asked::new();
        asked.answer("opaque-token", answer.clone());
        for binding in [Binding::Required, Binding::Optional] {
            let policy = route().with_binding(binding);
            let check = asked
                .resource_server
                .check(&with_token("opaque-token"), &holder.presented(), &policy, NOW);
            let refused = refused_as_invalid_token(check.finish().await);
            assert_eq!(failed_rule(&refused).rule, rule, "{answer}");
        }
    }
    // Nobody can tell for whom it is.
    let asked = Asked::new();
    let mut answer = active(&holder);
    answer.as_object_mut().unwrap().remove("aud");
    asked.answer("opaque-token", answer);
    let refused = refused_as_invalid_token(asked.check("opaque-token", &holder.presented(), NOW).await);
    assert!(matches!(
        refused.reason(),
        AccessTokenRefusal::Token(AccessTokenError::ClaimMissing("aud"))
    ));
}

// covers MTLS-3.2-2
#[tokio::test]
async fn a_binding_is_a_top_level_member_and_nowhere_else() {
    let asked = Asked::new();
    let party = Party::new("demo");
    for place in ["token", "token_introspection", "access_token"] {
        let mut answer = active(&party);
        let cnf = answer.as_object_mut().unwrap().remove("cnf").unwrap();
        answer[place] = json!({"cnf": cnf});
        answer["x5t#S256"] = cnf["x5t#S256"].clone();
        asked.answer(place, answer);
        let refused = refused_as_invalid_token(asked.check(place, &party.presented(), NOW).await);
        assert!(
            matches!(refused.reason(), AccessTokenRefusal::Unbound),
            "{:?}",
            refused.reason()
        );
    }
}

// covers TRAP-25
#[tokio::test]
async fn an_active_token_without_a_binding_passes_only_where_the_route_says_so() {
    let asked = Asked::new();
    let party = Party::new("demo");
    let mut answer = active(&party);
    answer.as_object_mut().unwrap().remove("cnf");
    asked.answer("opaque-token", answer);
    let refused = refused_as_invalid_token(asked.check("opaque-token", &party.presented(), NOW).await);
    assert!(matches!(refused.reason(), AccessTokenRefusal::Unbound));
    let policy = route().with_binding(Binding::Optional);
    let check = asked
        .resource_server
        .check(&with_token("opaque-token"), &party.presented(), &policy, NOW);
    assert!(check.finish().await.unwrap().as_bound().is_none());
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_is_503_and_left_alone_for_a_moment() {
    let asked = Asked::new();
    let holder = Party::new("demo");
    asked.answer("opaque-token", active(&holder));
    asked.answer("known-token", active(&holder));
    assert!(asked.check("known-token", &holder.presented(), NOW).await.is_ok());
    asked.down.store(true, Ordering::SeqCst);
    for _ in 0..50 {
        let refused = asked.check("opaque-token", &holder.presented(), NOW).await.unwrap_err();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(matches!(refused.reason(), AccessTokenRefusal::IssuerUnavailable { .. }));
        assert!(refused.challenge().is_none());
        assert_eq!(refused.retry_after().unwrap(), "1");
        assert_eq!(failed_rule(&refused).rule, "the issuer can be asked");
        // What is known needs nobody.
        assert!(asked.check("known-token", &holder.presented(), NOW).await.is_ok());
    }
    assert_eq!(asked.questions(), 2);
    asked.down.store(false, Ordering::SeqCst);
    let then = NOW.plus(UNAVAILABLE_PAUSE);
    assert!(asked.check("opaque-token", &holder.presented(), then).await.is_ok());
}

#[tokio::test]
async fn an_opaque_token_is_shown_to_the_issuers_of_its_route_and_a_jwt_to_the_one_it_names() {
    let (one, two) = (Asked::new(), Asked::new());
    let local = TokenIssuer::new("https://local.example");
    let holder = Party::new("demo");
    two.answer("opaque-token", active(&holder));
    let resource_server = ResourceServer::new(vec![
        settings(&one.site, &one.own),
        crate::support::settings(&local),
        settings(&two.site, &two.own),
    ])
    .unwrap();
    let verdict = |token: String, policy: keybound_resource_server::RoutePolicy| {
        let presented = holder.presented();
        let resource_server = resource_server.clone();
        async move {
            resource_server
                .check(&with_token(&token), &presented, &policy, NOW)
                .finish()
                .await
        }
    };
    // Limited to the first: the second never hears of it.
    let limited = route().with_issuers(vec![issuer(&one.site.issuer())]);
    refused_as_invalid_token(verdict("opaque-token".to_owned(), limited).await);
    assert_eq!((one.questions(), two.questions()), (1, 0));
    let accepted = verdict("opaque-token".to_owned(), route()).await.unwrap();
    assert_eq!(accepted.claims().issuer, two.site.issuer());
    // A route of the issuer that is asked about nothing.
    let limited = route().with_issuers(vec![issuer(&local.issuer)]);
    let refused = refused_as_invalid_token(verdict("another-opaque-token".to_owned(), limited).await);
    assert!(
        matches!(refused.reason(), AccessTokenRefusal::Opaque(_)),
        "{:?}",
        refused.reason()
    );
    assert_eq!((one.questions(), two.questions()), (1, 1));

    let jwt_of_two = TokenIssuer::new(&two.site.issuer()).bound_token(&holder.thumbprint(), AUDIENCE, NOW);
    two.answer(&jwt_of_two, active(&holder));
    assert!(verdict(jwt_of_two, route()).await.is_ok());
    assert_eq!((one.questions(), two.questions()), (1, 2));
    let jwt_of_nobody = TokenIssuer::new("https://nobody.example").bound_token(&holder.thumbprint(), AUDIENCE, NOW);
    refused_as_invalid_token(verdict(jwt_of_nobody, route()).await);
    assert_eq!((one.questions(), two.questions()), (1, 2));
}

// covers TRAP-28, MTLS-3.2-3
#[tokio::test]
async fn interleavings_of_introspected_tokens_and_certificates_confuse_nothing() {
    const PARTIES: usize = 10;
    let asked = Asked::new();
    let parties: Vec<Party> = (0..PARTIES).map(|_| Party::new("demo")).collect();
    let presented: Vec<PresentedCertificate> = parties.iter().map(Party::presented).collect();
    for (n, party) in parties.iter().enumerate() {
        asked.answer(&format!("token-{n}"), active(party));
    }
    let genuine = AtomicUsize::new(0);
    for request in 0..2_000usize {
        // Three coprime steps: every pair, in an order without a pattern a cache could follow. Answers expire on the way.
        let (token, presenter, now) = (
            request * 7 % PARTIES,
            request * 13 / PARTIES % PARTIES,
            later(request as u64 / 20),
        );
        let verdict = asked.check(&format!("token-{token}"), &presented[presenter], now).await;
        assert_eq!(verdict.is_ok(), token == presenter, "request {request}");
        genuine.fetch_add(usize::from(token == presenter), Ordering::Relaxed);
    }
    assert!(genuine.into_inner() >= 200);
    // 100 s of ten tokens, each answer good for 30 s.
    assert_eq!(asked.questions(), 4 * PARTIES);
}
