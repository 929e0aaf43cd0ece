//! Tokens of what is still running: they end with their `exp`, their revocation, or their issuer's word.

use std::sync::atomic::Ordering;
use std::time::Duration;

use http::StatusCode;
use keybound_protocol::time::Timestamp;
use keybound_resource_server::{AccessTokenRefusal, Refused, RunningToken};
use serde_json::{Value, json};

use crate::introspection::{ACTIVE_MAX, Asked, UNAVAILABLE_PAUSE, active};
use crate::pki::Party;
use crate::support::{
    AUDIENCE, ISSUER, NOW, check, failed_rule, refused_as_invalid_token, resource_server, route, with_token,
};
use crate::token_issuer::TokenIssuer;

/// A token that was accepted at `NOW`, followed.
async fn follow(asked: &Asked, token: &str, holder: &Party) -> RunningToken {
    let presented = holder.presented();
    let accepted = asked.check(token, &presented, NOW).await.unwrap();
    asked
        .resource_server
        .follow(&accepted, &with_token(token).headers, &presented, &route(), NOW)
}

/// Looks until the question that is under way has been answered, and returns why the token has ended, if it has.
async fn look_until_asked(
    asked: &Asked,
    running: &RunningToken,
    questions: usize,
    now: Timestamp,
) -> Option<Box<Refused>> {
    let looking = async {
        while asked.questions() < questions {
            assert!(running.refusal(now).is_none(), "ended before it was asked about");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Asked is not answered yet.
        for _ in 0..100 {
            if let Some(refused) = running.refusal(now) {
                return Some(refused);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        None
    };
    tokio::time::timeout(Duration::from_secs(10), looking).await.unwrap()
}

// covers T20
#[tokio::test]
async fn what_runs_is_ended_when_the_issuer_says_no() {
    let asked = Asked::new();
    let holder = Party::new("demo");
    asked.answer("opaque-token", active(&holder));
    let mut running = Vec::new();
    for _ in 0..50 {
        running.push(follow(&asked, "opaque-token", &holder).await);
    }
    asked.answer("opaque-token", json!({"active": false}));
    let due = NOW.plus(ACTIVE_MAX);
    let early = Timestamp::from_unix_secs(due.unix_secs() - 1);
    assert!(running.iter().all(|running| running.refusal(early).is_none()));
    assert_eq!(asked.questions(), 1);

    assert!(
        running.iter().all(|running| running.refusal(due).is_none()),
        "nobody waits"
    );
    let refused = look_until_asked(&asked, &running[0], 2, due).await.unwrap();
    let refused = refused_as_invalid_token(Err(refused));
    assert!(matches!(refused.reason(), AccessTokenRefusal::Inactive));
    for running in &running {
        refused_as_invalid_token(Err(running.refusal(due).unwrap()));
    }
    assert_eq!(
        asked.questions(),
        2,
        "one question for everything that runs with the token"
    );
}

// covers T20, MTLS-3-11
#[tokio::test]
async fn what_runs_is_decided_about_anew_with_what_the_issuer_says_now() {
    let holder = Party::new("demo");
    let with = |member: &str, value: Value| {
        let mut answer = active(&holder);
        answer[member] = value;
        answer
    };
    let due = NOW.plus(ACTIVE_MAX);
    for (answer, rule) in [
        (with("aud", json!("https://other.example")), "audience"),
        (
            with("cnf", json!({"x5t#S256": Party::new("other").thumbprint()})),
            "the certificate of this request is the one it is bound to",
        ),
        (with("exp", json!(due.unix_secs())), "inside its validity"),
    ] {
        let asked = Asked::new();
        asked.answer("opaque-token", active(&holder));
        let running = follow(&asked, "opaque-token", &holder).await;
        asked.answer("opaque-token", answer.clone());
        let refused = look_until_asked(&asked, &running, 2, due).await.unwrap();
        assert_eq!(failed_rule(&refused).rule, rule, "{answer}");
        refused_as_invalid_token(Err(refused));
    }
}

// covers T20
#[tokio::test]
async fn what_runs_outlives_a_moment_without_an_answer_and_not_a_long_one() {
    let asked = Asked::new();
    let holder = Party::new("demo");
    asked.answer("opaque-token", active(&holder));
    let running = follow(&asked, "opaque-token", &holder).await;
    asked.down.store(true, Ordering::SeqCst);
    let due = NOW.plus(ACTIVE_MAX);
    assert!(look_until_asked(&asked, &running, 2, due).await.is_none());
    asked.down.store(false, Ordering::SeqCst);
    let up = due.plus(UNAVAILABLE_PAUSE);
    assert!(look_until_asked(&asked, &running, 3, up).await.is_none());

    asked.down.store(true, Ordering::SeqCst);
    let due = up.plus(ACTIVE_MAX);
    assert!(look_until_asked(&asked, &running, 4, due).await.is_none());
    let late = due.plus(ACTIVE_MAX);
    assert!(
        running
            .refusal(Timestamp::from_unix_secs(late.unix_secs() - 1))
            .is_none()
    );
    let refused = running.refusal(late).unwrap();
    assert!(matches!(refused.reason(), AccessTokenRefusal::IssuerUnavailable { .. }));
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_request_that_had_the_token_asked_about_spares_what_runs_the_question() {
    let asked = Asked::new();
    let holder = Party::new("demo");
    asked.answer("opaque-token", active(&holder));
    let running = follow(&asked, "opaque-token", &holder).await;
    let due = NOW.plus(ACTIVE_MAX);
    assert!(asked.check("opaque-token", &holder.presented(), due).await.is_ok());
    assert!(running.refusal(due).is_none());
    let before_next = Timestamp::from_unix_secs(due.plus(ACTIVE_MAX).unix_secs() - 1);
    assert!(running.refusal(before_next).is_none());
    assert_eq!(asked.questions(), 2);
}

// covers TRAP-28
#[tokio::test]
async fn a_flush_has_what_runs_asked_about_again() {
    let asked = Asked::new();
    let holder = Party::new("demo");
    asked.answer("opaque-token", active(&holder));
    let running = follow(&asked, "opaque-token", &holder).await;
    asked.answer("opaque-token", json!({"active": false}));
    asked.resource_server.forget_tokens();
    let refused = look_until_asked(&asked, &running, 2, NOW).await.unwrap();
    assert!(matches!(refused.reason(), AccessTokenRefusal::Inactive));
}

// covers T1, T35
#[test]
fn what_runs_ends_at_its_exp_and_with_the_leeway_if_it_was_accepted_in_it() {
    let token_issuer = TokenIssuer::new(ISSUER);
    let resource_server = resource_server(&token_issuer);
    let party = Party::new("demo");
    let token = token_issuer.bound_token(&party.thumbprint(), AUDIENCE, NOW);
    let accepted = check(&resource_server, &token, &party.presented(), &route()).unwrap();
    let exp = accepted.claims().expires_at;
    for (accepted_at, ends_at) in [(NOW, exp), (exp, exp.plus(Duration::from_secs(30)))] {
        let headers = with_token(&token).headers;
        let running = resource_server.follow(&accepted, &headers, &party.presented(), &route(), accepted_at);
        assert_eq!(running.ends_at(), ends_at);
        let last = Timestamp::from_unix_secs(ends_at.unix_secs() - 1);
        assert!(running.refusal(last).is_none());
        let refused = refused_as_invalid_token(Err(running.refusal(ends_at).unwrap()));
        assert!(matches!(
            refused.reason(),
            AccessTokenRefusal::ExpiredWhileRunning { expired_at } if *expired_at == exp
        ));
        assert_eq!(failed_rule(&refused).rule, "inside its validity");
    }
}
