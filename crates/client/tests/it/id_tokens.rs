//! ID tokens in token responses (OpenID Connect Core §3.1.3.7).

use keybound_client::{ClientError, IdTokenError, TokenResponse};
use keybound_protocol::digest::sha256;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use serde_json::{Value, json};

use crate::script::{Script, good, nonce, query, request, secrets, state};
use crate::site::json as json_response;
use crate::support::NOW;
use crate::token_issuer::TokenIssuer;

/// A sign-in whose ID token is what `make` makes of good claims; `None` for none.
async fn sign_in(
    make: impl Fn(&TokenIssuer, Value) -> Option<String> + Send + Sync + 'static,
    algorithms: &[SignatureAlgorithm],
) -> Result<TokenResponse, ClientError> {
    let script = Script::new(json!({}), move |seen, issuer| match seen.path.as_str() {
        "/token" => {
            let left = &sha256(b"access-1")[..16];
            let claims = json!({
                "iss": issuer.issuer, "sub": "u.1", "aud": "demo", "iat": NOW, "exp": NOW.unix_secs() + 300,
                "nonce": nonce(), "auth_time": NOW.unix_secs() - 5, "at_hash": keybound_protocol::base64url::encode(left),
            });
            let mut body = json!({"access_token": "access-1", "token_type": "Bearer"});
            if let Some(id_token) = make(issuer, claims) {
                body["id_token"] = id_token.into();
            }
            json_response(&body)
        }
        _ => good(seen),
    });
    let client = script.client().with_signature_algorithms(algorithms);
    let wanted = request("openid read").with_max_age_secs(60);
    let pending = client.begin_authorization(&wanted, secrets(), NOW).await.unwrap();
    assert_eq!(script.endpoint_requests()[0].form("nonce"), Some(nonce().as_str()));
    let answer = query(&[("code", "c"), ("state", &state()), ("iss", &script.site.issuer())]);
    client.finish_authorization(pending, &answer, NOW).await
}

#[tokio::test]
async fn no_code_is_spent_while_the_keys_for_its_id_token_are_away() {
    let script = Script::new(json!({"jwks_uri": "/away"}), |seen, _| good(seen));
    let client = script.client();
    for (scope, redeems) in [("openid read", false), ("read", true)] {
        let pending = client
            .begin_authorization(&request(scope), secrets(), NOW)
            .await
            .unwrap();
        let answer = query(&[("code", "c"), ("state", &state()), ("iss", &script.site.issuer())]);
        let outcome = client.finish_authorization(pending, &answer, NOW).await;
        assert_eq!(outcome.is_ok(), redeems, "{scope}: {outcome:?}");
        assert!(
            redeems || matches!(outcome, Err(ClientError::Discovery(_))),
            "{outcome:?}"
        );
        assert_eq!(script.site.seen_at("/token").len(), usize::from(redeems), "{scope}");
    }
}

fn sign(issuer: &TokenIssuer, claims: &Value) -> String {
    let header = json!({"alg": issuer.signer.algorithm(), "kid": issuer.signer.key_id(), "typ": "JWT"});
    issuer.sign(&header, claims)
}

#[tokio::test]
async fn a_good_id_token_names_its_subject() {
    let response = sign_in(|issuer, claims| Some(sign(issuer, &claims)), &SignatureAlgorithm::ALL)
        .await
        .unwrap();
    let id_token = response.id_token().unwrap();
    assert_eq!(id_token.subject(), "u.1");
    assert_eq!(id_token.auth_time().unwrap().unix_secs(), NOW.unix_secs() - 5);
}

#[tokio::test]
async fn an_id_token_that_is_wrong_in_one_thing_takes_the_response_with_it() {
    type Expected = fn(&IdTokenError) -> bool;
    let wrong: Vec<(&str, Value, Expected)> = vec![
        ("iss", json!("https://attacker.example"), |it| {
            matches!(it, IdTokenError::Issuer { .. })
        }),
        ("iss", Value::Null, |it| matches!(it, IdTokenError::Missing("iss"))),
        ("aud", json!("other"), |it| matches!(it, IdTokenError::Audience)),
        ("aud", json!(["demo", "other"]), |it| {
            matches!(it, IdTokenError::Audience)
        }),
        ("aud", json!([]), |it| matches!(it, IdTokenError::Audience)),
        ("azp", json!("other"), |it| matches!(it, IdTokenError::Audience)),
        ("exp", json!(NOW.unix_secs() - 31), |it| {
            matches!(it, IdTokenError::Expired)
        }),
        ("exp", Value::Null, |it| matches!(it, IdTokenError::Missing("exp"))),
        ("iat", json!(NOW.unix_secs() + 31), |it| {
            matches!(it, IdTokenError::IssuedInFuture)
        }),
        ("nonce", json!("another"), |it| matches!(it, IdTokenError::Nonce)),
        ("nonce", Value::Null, |it| matches!(it, IdTokenError::Nonce)),
        ("at_hash", json!("AAAA"), |it| {
            matches!(it, IdTokenError::AccessTokenHash)
        }),
        ("auth_time", json!(NOW.unix_secs() - 91), |it| {
            matches!(it, IdTokenError::AuthenticationTooOld)
        }),
        ("auth_time", Value::Null, |it| {
            matches!(it, IdTokenError::Missing("auth_time"))
        }),
        ("sub", Value::Null, |it| matches!(it, IdTokenError::Missing("sub"))),
    ];
    for (claim, value, expected) in wrong {
        let make = {
            let value = value.clone();
            move |issuer: &TokenIssuer, mut claims: Value| {
                claims[claim] = value.clone();
                claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
                Some(sign(issuer, &claims))
            }
        };
        match sign_in(make, &SignatureAlgorithm::ALL).await {
            Err(ClientError::IdToken { source, .. }) if expected(&source) => {}
            outcome => panic!("{claim} = {value}: {outcome:?}"),
        }
    }
}

#[tokio::test]
async fn the_signature_is_the_issuers_by_an_allowed_algorithm() {
    type Make = fn(&TokenIssuer, Value) -> Option<String>;
    let makes: [(&str, Make); 4] = [
        ("another key", |issuer, claims| {
            Some(sign(&TokenIssuer::new(&issuer.issuer), &claims))
        }),
        ("none", |issuer, claims| {
            Some(issuer.sign(&json!({"alg": "none"}), &claims))
        }),
        ("an access token", |issuer, claims| {
            Some(issuer.sign(&issuer.header(), &claims))
        }),
        ("nothing", |_, _| Some("a.b.c".to_owned())),
    ];
    for (what, make) in makes {
        let outcome = sign_in(make, &SignatureAlgorithm::ALL).await;
        assert!(
            matches!(&outcome, Err(ClientError::IdToken { source, .. }) if matches!(**source, IdTokenError::Signature(_))),
            "{what}: {outcome:?}"
        );
    }
    // The same good token, by an algorithm that this client does not take.
    let outcome = sign_in(
        |issuer, claims| Some(sign(issuer, &claims)),
        &[SignatureAlgorithm::Ps256],
    )
    .await;
    assert!(matches!(outcome, Err(ClientError::IdToken { .. })), "{outcome:?}");
    // None at all, where one was asked for.
    let outcome = sign_in(|_, _| None, &SignatureAlgorithm::ALL).await;
    assert!(
        matches!(&outcome, Err(ClientError::IdToken { source, .. }) if matches!(**source, IdTokenError::Missing("id_token"))),
        "{outcome:?}"
    );
}
