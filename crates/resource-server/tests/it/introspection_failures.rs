//! Issuers that refuse to be asked about a token, or fail: whom that concerns, and for how long.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use http::StatusCode;
use keybound_protocol::bearer::{BearerError, TOKEN_BYTES_MAX};
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_protocol::time::Timestamp;
use keybound_resource_server::{AccessTokenRefusal, Caller, Limits, Verdict};
use serde_json::json;

use crate::introspection::{Asked, UNAVAILABLE_PAUSE, active};
use crate::pki::Party;
use crate::support::{NOW, failed_rule, refused_as_invalid_token, route, with_token};

async fn check_from(
    asked: &Asked,
    address: &str,
    token: &str,
    presented: &PresentedCertificate,
    now: Timestamp,
) -> Verdict {
    let caller = Caller {
        remote_address: Some(address.parse::<SocketAddr>().unwrap()),
        ..Caller::new(presented)
    };
    asked
        .resource_server
        .check_for(&with_token(token), &caller, &route(), now)
        .finish()
        .await
}

const GENUINE: &str = "192.0.2.1:4000";
const STRANGER: &str = "203.0.113.1:4000";

/// 503 without a challenge: the token may well be good.
fn refused_as_unavailable(verdict: Verdict) {
    let refused = verdict.unwrap_err();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(matches!(refused.reason(), AccessTokenRefusal::IssuerUnavailable { .. }));
    assert!(refused.challenge().is_none());
    assert_eq!(refused.retry_after().unwrap(), "1");
    assert_eq!(failed_rule(&refused).rule, "the issuer can be asked");
}

// covers TRAP-26
#[tokio::test]
async fn a_token_that_the_issuer_refuses_to_be_asked_about_is_refused_alone() {
    let asked = Asked::new();
    let (genuine, stranger) = (Party::new("demo").presented(), Party::new("stranger").presented());
    for (number, refused) in [
        "400-none",
        "400-invalid_request",
        "413-none",
        "414-none",
        "422-none",
        "431-none",
    ]
    .into_iter()
    .enumerate()
    {
        let before = asked.questions();
        let token = format!("refused-with-{refused}");
        for _ in 0..20 {
            // Also from the same neighbourhood, over the same connection.
            let verdict = check_from(&asked, GENUINE, &token, &stranger, NOW).await;
            let refused = refused_as_invalid_token(verdict);
            let reason = refused.reason();
            assert!(
                matches!(reason, AccessTokenRefusal::QuestionRefused { .. }),
                "{reason:?}"
            );
            assert_eq!(failed_rule(&refused).rule, "active, says the issuer");
        }
        assert_eq!(asked.questions(), before + 1, "{token}: asked once");
        let holder = Party::new("demo");
        let token = format!("genuine-{number}");
        asked.answer(&token, active(&holder));
        assert!(
            check_from(&asked, GENUINE, &token, &holder.presented(), NOW)
                .await
                .is_ok()
        );
    }
    // For a short while: then it may be another proxy that stands before the issuer.
    let before = asked.questions();
    let later = NOW.plus(Limits::DEFAULT.introspection_inactive_max);
    refused_as_invalid_token(check_from(&asked, GENUINE, "refused-with-413-none", &genuine, later).await);
    assert_eq!(asked.questions(), before + 1);
}

#[tokio::test]
async fn tokens_at_which_the_issuer_fails_keep_nobody_else_from_being_asked_about() {
    let asked = Asked::new();
    let (holder, stranger) = (Party::new("demo"), Party::new("stranger").presented());
    for number in 0..50 {
        // More of them than the issuer would be left alone for.
        for part in 0..5 {
            let token = format!("refused-with-500-none-{number}-{part}");
            refused_as_unavailable(check_from(&asked, STRANGER, &token, &stranger, NOW).await);
        }
        let token = format!("genuine-{number}");
        asked.answer(&token, active(&holder));
        let verdict = check_from(&asked, GENUINE, &token, &holder.presented(), NOW).await;
        assert!(verdict.is_ok(), "{:?}", verdict.unwrap_err().reason());
    }
    // One token, time and again, is one question for as long as the issuer would be left alone.
    let before = asked.questions();
    for _ in 0..20 {
        refused_as_unavailable(check_from(&asked, STRANGER, "refused-with-502-none", &stranger, NOW).await);
    }
    assert_eq!(asked.questions(), before + 1);
}

#[tokio::test]
async fn an_issuer_that_fails_whatever_it_is_asked_is_left_alone_until_it_answers() {
    for failure in [
        "401-invalid_client",
        "400-invalid_client",
        "400-unauthorized_client",
        "403-none",
        "404-none",
        "408-none",
        "429-none",
        "500-none",
        "302-none",
    ] {
        let asked = Asked::new();
        let holder = Party::new("demo");
        let presented = holder.presented();
        asked.answer("genuine", active(&holder));
        for number in 0..50 {
            let token = format!("refused-with-{failure}-{number}");
            refused_as_unavailable(check_from(&asked, GENUINE, &token, &presented, NOW).await);
        }
        assert_eq!(asked.questions(), 3, "{failure}");
        refused_as_unavailable(check_from(&asked, GENUINE, "genuine", &presented, NOW).await);
        // Somebody else finds out that it is back, for everybody.
        assert!(check_from(&asked, STRANGER, "genuine", &presented, NOW).await.is_ok());
        let verdict = check_from(&asked, GENUINE, "genuine", &presented, NOW).await;
        assert!(verdict.is_ok(), "{failure}");
    }
}

#[tokio::test]
async fn while_it_is_down_one_question_in_each_pause_finds_out_whether_it_is_back() {
    let asked = Asked::new();
    let holder = Party::new("demo");
    asked.down.store(true, Ordering::SeqCst);
    for pause in 0..5u32 {
        let now = NOW.plus(UNAVAILABLE_PAUSE * pause);
        for number in 0..20 {
            let token = format!("token-{pause}-{number}");
            refused_as_unavailable(check_from(&asked, GENUINE, &token, &holder.presented(), now).await);
        }
    }
    assert_eq!(asked.questions(), 3 + 4);
    asked.down.store(false, Ordering::SeqCst);
    asked.answer("genuine", active(&holder));
    let now = NOW.plus(UNAVAILABLE_PAUSE * 5);
    assert!(
        check_from(&asked, GENUINE, "genuine", &holder.presented(), now)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn what_cannot_be_a_token_is_not_asked_about() {
    let asked = Asked::new();
    let holder = Party::new("demo");
    for (token, expected) in [
        ("a".repeat(TOKEN_BYTES_MAX + 1), BearerError::TooLong),
        ("a\"b".to_owned(), BearerError::Syntax),
        ("a%b".to_owned(), BearerError::Syntax),
        ("a=b".to_owned(), BearerError::Syntax),
    ] {
        let refused = refused_as_invalid_token(check_from(&asked, GENUINE, &token, &holder.presented(), NOW).await);
        assert!(
            matches!(refused.reason(), AccessTokenRefusal::Bearer(error) if *error == expected),
            "{:?}",
            refused.reason()
        );
    }
    assert_eq!(asked.questions(), 0);
    let longest = "a".repeat(TOKEN_BYTES_MAX);
    asked.answer(&longest, json!({"active": false}));
    refused_as_invalid_token(check_from(&asked, GENUINE, &longest, &holder.presented(), NOW).await);
    assert_eq!(asked.questions(), 1);
}
