//! Client secrets (RFC 6749 §2.3.1): which clients they authenticate, and where they are sent.

use std::sync::Arc;

use keybound_protocol::authentication_method::AuthenticationMethod;
use keybound_protocol::base64url;
use keybound_protocol::client::{Client, ClientOrigin};
use keybound_protocol::client_authentication::{AuthenticatedClient, ClientAuthenticationError};
use keybound_protocol::client_metadata::ClientMetadata;
use keybound_protocol::client_secret::{BasicCredentials, PresentedClientSecret};
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::secret::{GeneratedSecret, SecretHash};
use serde_json::{Value, json};

use crate::jwk_sets::APPENDIX_A_JWK;

fn client(method: AuthenticationMethod, secret: Option<SecretHash>) -> Arc<Client> {
    let jwk: Value = serde_json::from_str(APPENDIX_A_JWK).unwrap();
    let metadata = match method {
        AuthenticationMethod::TlsClientAuth => json!({"tls_client_auth_san_dns": "demo.example"}),
        AuthenticationMethod::SelfSignedTlsClientAuth | AuthenticationMethod::PrivateKeyJwt => {
            json!({"jwks": {"keys": [jwk]}})
        }
        _ => json!({}),
    };
    let metadata = crate::jwt::with(metadata, "token_endpoint_auth_method", json!(method.name()));
    let metadata = ClientMetadata::parse_stored(metadata.to_string().as_bytes()).unwrap();
    let client = Client::new("demo".parse().unwrap(), metadata, ClientOrigin::Administrator, 1);
    Arc::new(client.with_secret(secret))
}

fn basic(secret: &str) -> PresentedClientSecret {
    let header = format!(
        "Basic {}",
        base64url::encode_standard(format!("demo:{secret}").as_bytes())
    );
    let credentials = BasicCredentials::parse(header.as_bytes()).unwrap().unwrap();
    credentials.secret().clone()
}

// covers T3, TRAP-19, R6749-1, R6749-2
#[test]
fn a_secret_authenticates_a_client_of_its_method_and_no_other() {
    let secret = GeneratedSecret::from_random([3; 32]);
    for registered in AuthenticationMethod::ALL {
        // Whether a secret was left over from another method, or never was one.
        for on_file in [Some(secret.hash()), None] {
            let client = client(registered, on_file);
            for (presented, method) in [
                (basic(secret.as_str()), AuthenticationMethod::ClientSecretBasic),
                (
                    PresentedClientSecret::of_form(secret.as_str()),
                    AuthenticationMethod::ClientSecretPost,
                ),
            ] {
                let verdict = AuthenticatedClient::by_secret(&client, &presented);
                match (registered == method, on_file) {
                    (true, Some(_)) => {
                        let authenticated = verdict.unwrap();
                        assert_eq!(authenticated.method(), method);
                        assert!(authenticated.certificate().is_none());
                    }
                    (true, None) => assert!(matches!(verdict, Err(ClientAuthenticationError::SecretMissing))),
                    (false, _) => assert!(
                        matches!(verdict, Err(ClientAuthenticationError::MethodNotUsed { .. })),
                        "{registered} {method}"
                    ),
                }
            }
        }
    }
}

// covers R6749-3
#[test]
fn nothing_but_the_whole_secret_is_right() {
    let secret = GeneratedSecret::from_random([5; 32]);
    let client = client(AuthenticationMethod::ClientSecretPost, Some(secret.hash()));
    let text = secret.as_str();
    let refused = |presented: &str| {
        let verdict = AuthenticatedClient::by_secret(&client, &PresentedClientSecret::of_form(presented));
        assert!(
            matches!(verdict, Err(ClientAuthenticationError::SecretWrong)),
            "{presented:?}"
        );
        assert_eq!(verdict.unwrap_err().code(), ErrorCode::InvalidClient);
    };
    for length in 0..text.len() {
        refused(&text[..length]);
    }
    refused(&text.to_ascii_lowercase());
    refused(&format!("{text}="));
    refused(&format!(" {text}"));
    refused(&keybound_protocol::digest::hex(secret.hash().as_bytes()));
    // Another character at each place.
    for place in 0..text.len() {
        let mut other = text.as_bytes().to_vec();
        other[place] = if other[place] == b'A' { b'B' } else { b'A' };
        refused(std::str::from_utf8(&other).unwrap());
    }
    let right = PresentedClientSecret::of_form(text);
    assert!(AuthenticatedClient::by_secret(&client, &right).is_ok());
}

// covers R6749-1
#[test]
fn what_is_two_methods_or_two_clients_is_a_malformed_request_and_everything_else_a_failure() {
    let wrong = ClientAuthenticationError::SecretWrong;
    for (error, code) in [
        (ClientAuthenticationError::CredentialsInUri, ErrorCode::InvalidRequest),
        (
            ClientAuthenticationError::AuthorizationRepeated,
            ErrorCode::InvalidRequest,
        ),
        (
            ClientAuthenticationError::SeveralClients {
                form: "a".into(),
                basic: "b".into(),
            },
            ErrorCode::InvalidRequest,
        ),
        (
            ClientAuthenticationError::SecretBesideCertificate(Box::new(wrong)),
            ErrorCode::InvalidRequest,
        ),
        (ClientAuthenticationError::SecretMissing, ErrorCode::InvalidClient),
        (ClientAuthenticationError::SecretWrong, ErrorCode::InvalidClient),
    ] {
        assert_eq!(error.code(), code, "{error}");
        assert!(!error.fix().is_empty());
    }
}
