//! What goes over the wire to the authorization server, and what comes back.

use std::sync::{Arc, Mutex};

use http::StatusCode;
use keybound_client::{ClientError, ResponseError, TokenRequest, Trace, TracedRequest, TracedResponse};
use keybound_protocol::introspection::IntrospectionResponse;
use keybound_protocol::scope::Scope;
use serde_json::{Value, json};

use crate::pki::{self, Party};
use crate::site::{Site, json as json_response, json_with};
use crate::support::{NOW, TwoHosts, client, client_with, metadata};

// covers MTLS-2-3, MTLS-3-14
#[tokio::test]
async fn every_form_has_client_id_at_every_endpoint() {
    let hosts = TwoHosts::new();
    let client = client(&hosts.conventional, Party::new("demo").identity());
    let scope = Scope::parse("read write").unwrap();
    let wanted = TokenRequest::new()
        .with_scope(&scope)
        .with_resource("https://api.example".parse().unwrap());
    client.token(&wanted, NOW).await.unwrap();
    client.introspect("some-token", NOW).await.unwrap();
    client.revoke("some-token", NOW).await.unwrap();

    let seen = hosts.mutual_tls.seen();
    assert_eq!(seen.len(), 3);
    for seen in &seen {
        assert_eq!(seen.form("client_id"), Some("demo"), "{}", seen.path);
        assert_eq!(seen.headers["content-type"], "application/x-www-form-urlencoded");
        // The certificate authenticates the client, and nothing beside it (RFC 6749 §2.3).
        assert_eq!(seen.form("client_secret"), None);
        assert_eq!(seen.form("client_assertion"), None);
        assert!(!seen.headers.contains_key("authorization"));
    }
    assert_eq!(seen[0].form("grant_type"), Some("client_credentials"));
    assert_eq!(seen[0].form("scope"), Some("read write"));
    assert_eq!(seen[0].form("resource"), Some("https://api.example"));
    assert_eq!(seen[1].form("token"), Some("some-token"));
    assert_eq!(seen[2].form("token"), Some("some-token"));
}

// covers MTLS-2-3
#[tokio::test]
async fn a_client_that_has_no_certificate_to_authenticate_with_sends_nothing() {
    let hosts = TwoHosts::new();
    let client = client(&hosts.conventional, pki::anonymous());
    let error = client.token(&TokenRequest::new(), NOW).await.unwrap_err();
    assert!(matches!(error, ClientError::NoCertificate), "{error:?}");
    assert!(hosts.conventional.seen().is_empty() && hosts.mutual_tls.seen().is_empty());
}

/// A server that answers each request to its endpoints with `status` and `body`.
fn answering(status: StatusCode, body: Value) -> Site {
    Site::asking(move |seen| {
        let issuer = format!("https://{}", seen.headers["host"].to_str().unwrap());
        match seen.path.as_str() {
            "/.well-known/oauth-authorization-server" => json_response(&metadata(&issuer, &issuer, None)),
            _ => json_with(status, &body),
        }
    })
}

async fn token_error(status: StatusCode, body: Value) -> ClientError {
    let site = answering(status, body);
    client(&site, Party::new("demo").identity())
        .token(&TokenRequest::new(), NOW)
        .await
        .unwrap_err()
}

// covers MTLS-3-14
#[tokio::test]
async fn a_token_of_another_type_than_bearer_is_not_taken() {
    for token_type in ["DPoP", "mtls", "PoP", ""] {
        let body = json!({"access_token": "t", "token_type": token_type, "expires_in": 300});
        let error = token_error(StatusCode::OK, body).await;
        assert!(
            matches!(&error, ClientError::Response { source: ResponseError::TokenType { presented, .. }, .. } if presented == token_type),
            "{error:?}"
        );
    }
    let site = answering(StatusCode::OK, json!({"access_token": "t", "token_type": "bearer"}));
    let token = client(&site, Party::new("demo").identity())
        .token(&TokenRequest::new(), NOW)
        .await
        .unwrap();
    assert_eq!(token.expose_text(), "t");
}

#[tokio::test]
async fn an_answer_that_is_no_token_response_is_an_error() {
    for (body, member) in [
        (json!({"token_type": "Bearer"}), Some("access_token")),
        (json!({"access_token": "t"}), Some("token_type")),
        (json!({"access_token": 1, "token_type": "Bearer"}), None),
        (json!({"access_token": "a b", "token_type": "Bearer"}), None),
        (json!({"access_token": "a\r\nX: y", "token_type": "Bearer"}), None),
        (
            json!({"access_token": "t", "token_type": "Bearer", "scope": "a  b"}),
            None,
        ),
        (json!(["t"]), None),
    ] {
        match token_error(StatusCode::OK, body.clone()).await {
            ClientError::Response {
                source: ResponseError::Missing(missing),
                ..
            } => assert_eq!(Some(missing), member, "{body}"),
            ClientError::Response { .. } => assert_eq!(member, None, "{body}"),
            error => panic!("{body}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn an_error_of_the_server_is_told_with_its_refusal_id() {
    let site = Site::asking(|seen| {
        let issuer = format!("https://{}", seen.headers["host"].to_str().unwrap());
        if seen.path.starts_with("/.well-known") {
            return json_response(&metadata(&issuer, &issuer, None));
        }
        let mut response = json_with(
            StatusCode::BAD_REQUEST,
            &json!({"error": "invalid_scope", "error_description": "no"}),
        );
        response
            .headers_mut()
            .insert("keybound-refusal", "A-7F3K22QD9M4TB2".parse().unwrap());
        response
    });
    let client = client(&site, Party::new("demo").identity());
    let error = client.token(&TokenRequest::new(), NOW).await.unwrap_err();
    let ClientError::Refused(refusal) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(
        (refusal.error.as_str(), refusal.status),
        ("invalid_scope", StatusCode::BAD_REQUEST)
    );
    assert_eq!(error.to_string(), "token_endpoint refused: invalid_scope (no)");
    assert!(error.is_refusal() && !error.is_transient());
    assert!(error.fix().unwrap().ends_with("keybound explain A-7F3K22QD9M4TB2"));
}

// covers MTLS-3.2-1
#[tokio::test]
async fn an_introspection_answer_carries_the_binding() {
    let party = Party::new("holder");
    let thumbprint = party.thumbprint();
    let site = answering(
        StatusCode::OK,
        json!({"active": true, "exp": NOW.unix_secs() + 60, "cnf": {"x5t#S256": thumbprint.to_string()}}),
    );
    let client = client(&site, Party::new("resource").identity());
    let IntrospectionResponse::Active(active) = client.introspect("t", NOW).await.unwrap() else {
        panic!()
    };
    assert_eq!(active.confirmation.unwrap().certificate(), Some(&thumbprint));
}

// covers MTLS-3.2-1, R7800-2
#[tokio::test]
async fn an_introspection_answer_that_cannot_be_gone_by_is_an_error_and_not_inactive() {
    for body in [
        json!({"active": "true"}),
        json!({}),
        json!({"active": true, "cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4"}}),
        json!({"active": true, "cnf": {}}),
        json!({"active": true, "cnf": null}),
        json!({"active": true, "exp": NOW.unix_secs() - 3600}),
    ] {
        let site = answering(StatusCode::OK, body.clone());
        let client = client(&site, Party::new("resource").identity());
        let error = client.introspect("t", NOW).await.unwrap_err();
        assert!(
            matches!(
                error,
                ClientError::Response {
                    source: ResponseError::Introspection(_),
                    ..
                }
            ),
            "{body}: {error:?}"
        );
    }
}

#[derive(Default)]
struct Recorder(Mutex<String>);

impl Trace for Recorder {
    fn request(&self, request: &TracedRequest<'_>) {
        self.0.lock().unwrap().push_str(&format!("{request:?}\n"));
    }

    fn response(&self, response: &TracedResponse<'_>) {
        self.0.lock().unwrap().push_str(&format!("{response:?}\n"));
    }
}

#[tokio::test]
async fn a_trace_shows_every_exchange_and_no_secret() {
    const CANARY: &str = "c4n4ry-c4n4ry";
    let site = Site::asking(|seen| {
        let issuer = format!("https://{}", seen.headers["host"].to_str().unwrap());
        match seen.path.as_str() {
            "/token" => {
                json_response(&json!({"access_token": CANARY, "token_type": "Bearer", "refresh_token": CANARY}))
            }
            "/introspect" => json_response(&json!({"active": false})),
            _ => json_response(&metadata(&issuer, &issuer, None)),
        }
    });
    let recorder = Arc::new(Recorder::default());
    let party = Party::new("demo");
    let client = client_with(
        &site,
        party.identity(),
        keybound_client::ClientAuthentication::Certificate,
    )
    .with_trace(Arc::clone(&recorder) as Arc<dyn Trace>);
    let wanted = TokenRequest::new();
    let token = client.token(&wanted, NOW).await.unwrap();
    client.introspect(CANARY, NOW).await.unwrap();
    let request = http::Request::get(format!("{}/api", site.issuer()))
        .body(bytes::Bytes::new())
        .unwrap();
    client.call(request, &wanted, NOW).await.unwrap();

    let shown = recorder.0.lock().unwrap().clone();
    assert_eq!(shown.matches("TracedRequest").count(), 3, "{shown}");
    assert_eq!(shown.matches("TracedResponse").count(), 3, "{shown}");
    assert!(shown.contains("client_id=demo"), "{shown}");
    assert!(shown.contains(&party.thumbprint().to_string()), "{shown}");
    assert!(!shown.contains(CANARY), "{shown}");
    assert!(!format!("{token:?} {client:?}").contains(CANARY));
}
