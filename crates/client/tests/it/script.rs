//! An authorization server that follows a test's script: metadata, keys, and whatever else the test says.

use http::Response;
use keybound_client::{AuthorizationRequest, AuthorizationSecrets, Client, PendingAuthorization};
use keybound_protocol::scope::Scope;
use keybound_tls::ResponseBody;
use serde_json::{Value, json};
use url::Url;

use crate::pki::Party;
use crate::site::{Seen, Site, json as json_response, json_with, status};
use crate::support::{NOW, client};
use crate::token_issuer::TokenIssuer;

pub(crate) const REDIRECT_URI: &str = "http://127.0.0.1:4000/callback";

/// A server with everything at one host, which asks for a certificate.
pub(crate) struct Script {
    pub(crate) site: Site,
    pub(crate) keys: TokenIssuer,
}

impl Script {
    /// `more` are members of the metadata beside the usual ones (null takes one away, a path is one of this server's); `answer` answers
    /// all endpoints. It gets the issuer and its keys.
    pub(crate) fn new(
        more: Value,
        answer: impl Fn(&Seen, &TokenIssuer) -> Response<ResponseBody> + Send + Sync + 'static,
    ) -> Script {
        let keys = TokenIssuer::new("");
        let own = keys.clone();
        let site = Site::asking(move |seen| {
            let issuer = format!("https://{}", seen.headers["host"].to_str().unwrap());
            match seen.path.as_str() {
                "/.well-known/oauth-authorization-server" => {
                    let mut document = document(&issuer);
                    for (name, value) in more.as_object().unwrap() {
                        document[name] = match value.as_str() {
                            Some(path) if path.starts_with('/') => format!("{issuer}{path}").into(),
                            _ => value.clone(),
                        };
                    }
                    document.as_object_mut().unwrap().retain(|_, value| !value.is_null());
                    json_response(&document)
                }
                "/jwks" => json_response(&own.keys().to_json()),
                _ => answer(
                    seen,
                    &TokenIssuer {
                        issuer,
                        signer: own.signer.clone(),
                    },
                ),
            }
        });
        Script { site, keys }
    }

    pub(crate) fn client(&self) -> Client {
        client(&self.site, Party::new("demo").identity())
    }

    /// The requests that are neither metadata nor keys.
    pub(crate) fn endpoint_requests(&self) -> Vec<Seen> {
        let mut seen = self.site.seen();
        seen.retain(|seen| !seen.path.starts_with("/.well-known") && seen.path != "/jwks");
        seen
    }

    /// What this server signs, as its issuer.
    pub(crate) fn issuer(&self) -> TokenIssuer {
        TokenIssuer {
            issuer: self.site.issuer(),
            signer: self.keys.signer.clone(),
        }
    }
}

fn document(issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "pushed_authorization_request_endpoint": format!("{issuer}/par"),
        "device_authorization_endpoint": format!("{issuer}/device_authorization"),
        "backchannel_authentication_endpoint": format!("{issuer}/bc-authorize"),
        "jwks_uri": format!("{issuer}/jwks"),
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
    })
}

/// What a good server answers to pushed and token requests.
pub(crate) fn good(seen: &Seen) -> Response<ResponseBody> {
    match seen.path.as_str() {
        "/par" => json_with(
            http::StatusCode::CREATED,
            &json!({"request_uri": "urn:ietf:params:oauth:request_uri:r4nd0m", "expires_in": 60}),
        ),
        "/token" => json_response(&json!({
            "access_token": "access-1", "token_type": "Bearer", "expires_in": 300, "refresh_token": "refresh-1",
        })),
        _ => status(http::StatusCode::NOT_FOUND),
    }
}

pub(crate) fn request(scope: &str) -> AuthorizationRequest {
    AuthorizationRequest::new(Url::parse(REDIRECT_URI).unwrap()).with_scope(Scope::parse(scope).unwrap())
}

pub(crate) fn secrets() -> AuthorizationSecrets {
    AuthorizationSecrets::from_octets(&[1; 32], &[2; 32], &[3; 32])
}

/// `state` of [`secrets`].
pub(crate) fn state() -> String {
    keybound_protocol::base64url::encode(&[1; 32])
}

/// `nonce` of [`secrets`].
pub(crate) fn nonce() -> String {
    keybound_protocol::base64url::encode(&[2; 32])
}

pub(crate) async fn begin(client: &Client, scope: &str) -> PendingAuthorization {
    client
        .begin_authorization(&request(scope), secrets(), NOW)
        .await
        .unwrap()
}

/// The query of an answer.
pub(crate) fn query(parameters: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish()
}
