//! Answers that a browser brings: which are believed, and that nothing follows one that is not (RFC 9207, RFC 6749 §10.12, JARM).

use keybound_client::{AuthorizationResponseError, ClientError};
use serde_json::{Value, json};

use crate::script::{Script, begin, good, query, request, secrets, state};
use crate::support::NOW;
use crate::token_issuer::TokenIssuer;

/// Hands `answer` to a client whose request is under way, and returns its error. No request may follow.
async fn refused(more: Value, answer: impl Fn(&str) -> String) -> AuthorizationResponseError {
    let script = Script::new(more, |seen, _| good(seen));
    let client = script.client();
    let pending = begin(&client, "read").await;
    let answer = answer(&script.site.issuer());
    let error = client.finish_authorization(pending, &answer, NOW).await.unwrap_err();
    assert!(
        script.site.seen_at("/token").is_empty(),
        "the code was sent after {answer:?}"
    );
    assert!(error.is_refusal() && !error.is_transient());
    match error {
        ClientError::Authorization(error) => *error,
        error => panic!("{answer:?}: {error:?}"),
    }
}

// covers R9207-2, R9700-9, TRAP-39
#[tokio::test]
async fn an_answer_of_another_issuer_is_refused_and_the_code_goes_nowhere() {
    let spellings: [fn(&str) -> String; 5] = [
        |_| "https://attacker.example".to_owned(),
        |issuer| format!("{issuer}/"),
        |issuer| issuer.to_uppercase(),
        |issuer| issuer.replace("https://", "http://"),
        |issuer| format!(" {issuer}"),
    ];
    for presented in spellings {
        // Whether or not the server says that it sends `iss`: a wrong one is always wrong.
        for supported in [true, false] {
            let more = json!({"authorization_response_iss_parameter_supported": supported});
            let error = refused(more.clone(), |issuer| {
                query(&[("code", "c"), ("state", &state()), ("iss", &presented(issuer))])
            })
            .await;
            assert!(matches!(error, AuthorizationResponseError::Issuer { .. }), "{error:?}");
            // An error of somebody else is no error of ours either.
            let error = refused(more, |issuer| {
                query(&[
                    ("error", "access_denied"),
                    ("state", &state()),
                    ("iss", &presented(issuer)),
                ])
            })
            .await;
            assert!(matches!(error, AuthorizationResponseError::Issuer { .. }), "{error:?}");
        }
    }
}

// covers R9207-2
#[tokio::test]
async fn iss_may_be_missing_only_where_the_server_does_not_send_it() {
    let without = |_: &str| query(&[("code", "c"), ("state", &state())]);
    let error = refused(json!({}), without).await;
    assert!(
        matches!(error, AuthorizationResponseError::IssuerMissing { .. }),
        "{error:?}"
    );
    let empty = |_: &str| query(&[("code", "c"), ("state", &state()), ("iss", "")]);
    let error = refused(json!({}), empty).await;
    assert!(
        matches!(error, AuthorizationResponseError::IssuerMissing { .. }),
        "{error:?}"
    );

    for supported in [json!(false), Value::Null] {
        let more = json!({"authorization_response_iss_parameter_supported": supported});
        let script = Script::new(more, |seen, _| good(seen));
        let client = script.client();
        let pending = begin(&client, "read").await;
        client.finish_authorization(pending, &without(""), NOW).await.unwrap();
    }
}

// covers R6749-16
#[tokio::test]
async fn an_answer_to_another_request_is_refused_whatever_it_says() {
    let other = state().replace('A', "B");
    for presented in [Some(other.as_str()), Some(""), None, Some("AQ")] {
        for (name, value) in [("code", "c"), ("error", "access_denied")] {
            let error = refused(json!({}), |issuer| {
                let mut parameters = vec![(name, value), ("iss", issuer)];
                parameters.extend(presented.map(|state| ("state", state)));
                query(&parameters)
            })
            .await;
            assert!(matches!(error, AuthorizationResponseError::State), "{error:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_says_two_things_or_nothing_is_refused() {
    let repeated = |name: &'static str| {
        move |issuer: &str| {
            let good = query(&[("code", "c"), ("state", &state()), ("iss", issuer)]);
            format!("{good}&{name}={}", if name == "iss" { issuer } else { "c" })
        }
    };
    for name in ["code", "state", "iss"] {
        let error = refused(json!({}), repeated(name)).await;
        assert!(
            matches!(error, AuthorizationResponseError::Repeated(repeated) if repeated == name),
            "{error:?}"
        );
    }
    let both = |issuer: &str| query(&[("code", "c"), ("error", "x"), ("state", &state()), ("iss", issuer)]);
    let error = refused(json!({}), both).await;
    assert!(
        matches!(error, AuthorizationResponseError::CodeAndError(_)),
        "{error:?}"
    );
    let neither = |issuer: &str| query(&[("code", ""), ("state", &state()), ("iss", issuer)]);
    let error = refused(json!({}), neither).await;
    assert!(
        matches!(error, AuthorizationResponseError::CodeAndError(_)),
        "{error:?}"
    );
    let error = refused(json!({}), |_| "x".repeat(100_000)).await;
    assert!(matches!(error, AuthorizationResponseError::TooLong), "{error:?}");
}

// covers R9207-2
#[tokio::test]
async fn a_refusal_by_the_right_server_is_told_as_it_is() {
    let error = refused(json!({}), |issuer| {
        query(&[
            ("error", "access_denied"),
            ("error_description", "no"),
            ("state", &state()),
            ("iss", issuer),
        ])
    })
    .await;
    let AuthorizationResponseError::Refused(refusal) = &error else {
        panic!("{error:?}");
    };
    assert!(refusal.is_denied());
    assert_eq!(refusal.description.as_deref(), Some("no"));
    assert_eq!(error.to_string(), "authorization was refused: access_denied (no)");
}

/// Hands a signed answer to a client that asked for one.
async fn signed(change: impl Fn(&Script, &mut Value) -> String) -> (Script, Result<(), ClientError>) {
    let script = Script::new(json!({}), |seen, _| good(seen));
    let client = script.client();
    let wanted = request("read").with_signed_response();
    let pending = client.begin_authorization(&wanted, secrets(), NOW).await.unwrap();
    assert_eq!(script.endpoint_requests()[0].form("response_mode"), Some("jwt"));
    let mut claims = json!({
        "iss": script.site.issuer(), "aud": "demo", "exp": NOW.unix_secs() + 60, "code": "c", "state": state(),
    });
    let answer = change(&script, &mut claims);
    let outcome = client.finish_authorization(pending, &answer, NOW).await.map(|_| ());
    (script, outcome)
}

fn sign(issuer: &TokenIssuer, claims: &Value) -> String {
    let header = json!({"alg": issuer.signer.algorithm(), "kid": issuer.signer.key_id(), "typ": "JWT"});
    query(&[("response", &issuer.sign(&header, claims))])
}

// covers R9207-2
#[tokio::test]
async fn a_signed_answer_is_taken_if_the_server_that_was_asked_signed_it_for_this_client_now() {
    let (_, outcome) = signed(|script, claims| sign(&script.issuer(), claims)).await;
    outcome.unwrap();

    type Change = fn(&Script, &mut Value) -> String;
    let changed: [(&str, Change); 9] = [
        ("another key", |script, claims| {
            sign(&TokenIssuer::new(&script.site.issuer()), claims)
        }),
        ("another issuer", |script, claims| {
            claims["iss"] = json!("https://attacker.example");
            sign(&script.issuer(), claims)
        }),
        ("no issuer", |script, claims| {
            claims.as_object_mut().unwrap().remove("iss");
            sign(&script.issuer(), claims)
        }),
        ("another client", |script, claims| {
            claims["aud"] = json!("other");
            sign(&script.issuer(), claims)
        }),
        ("another client as well", |script, claims| {
            claims["aud"] = json!(["demo", "other"]);
            sign(&script.issuer(), claims)
        }),
        ("expired", |script, claims| {
            claims["exp"] = json!(NOW.unix_secs() - 31);
            sign(&script.issuer(), claims)
        }),
        ("no expiry", |script, claims| {
            claims.as_object_mut().unwrap().remove("exp");
            sign(&script.issuer(), claims)
        }),
        ("another state", |script, claims| {
            claims["state"] = json!("other");
            sign(&script.issuer(), claims)
        }),
        ("not signed at all", |script, _| {
            query(&[("code", "c"), ("state", &state()), ("iss", &script.site.issuer())])
        }),
    ];
    for (what, change) in changed {
        let (script, outcome) = signed(change).await;
        assert!(
            matches!(outcome, Err(ClientError::Authorization(_))),
            "{what}: {outcome:?}"
        );
        assert!(script.site.seen_at("/token").is_empty(), "{what}");
    }
    // `none` is no algorithm.
    let (_, outcome) = signed(|script, claims| {
        let object = script.issuer().sign(&json!({"alg": "none"}), claims);
        query(&[("response", &object)])
    })
    .await;
    assert!(outcome.is_err());
}
