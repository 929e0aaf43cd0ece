//! Authorization responses (RFC 6749 §4.1.2) in a redirect URI's query, plain or as one signed JWT (JARM).
//!
//! `code` and `state`, or `error` and `state`, with `iss` (RFC 9207) and nothing else: what a client does not expect cannot mislead
//! it, and a refusal's reason is nobody's but the operator's.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::client::ClientId;
use crate::error_code::ErrorCode;
use crate::issuer::Issuer;
use crate::redirect_uri::RedirectUri;
use crate::signer::Signer;
use crate::time::Timestamp;
use crate::unsigned_jwt::UnsignedJwt;

/// How long a response JWT may be read after it was made (JARM §2.1 advises at most ten minutes).
pub const RESPONSE_JWT_LIFETIME: Duration = Duration::from_secs(10 * 60);
/// The `typ` of a response JWT.
pub const RESPONSE_JWT_TYPE: &str = "oauth-authz-resp+jwt";

/// How a response reaches the client: `response_mode`. Fragment and form post are not served: they belong to flows that hand out tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ResponseMode {
    /// `query`: each member a parameter.
    #[default]
    #[serde(rename = "query")]
    Query,
    /// `jwt`, which for a code means `query.jwt`: one parameter `response` (JARM §2.3.4).
    #[serde(rename = "query.jwt")]
    QueryJwt,
}

/// Where, and in which form, a client awaits its answer. There is one as soon as client and redirect URI are known to belong together;
/// everything refused before is shown to the user and never sent anywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseTarget {
    /// The client: the audience of a response JWT.
    pub client_id: ClientId,
    /// Where the browser is sent.
    pub redirect_uri: RedirectUri,
    /// `state`, unchanged.
    pub state: Option<String>,
    /// In which form.
    pub response_mode: ResponseMode,
}

/// The outcome that a client is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum AuthorizationResponse<'a> {
    /// An authorization code.
    Code(&'a str),
    /// An error (RFC 6749 §4.1.2.1).
    Error(ErrorCode),
}

/// A response whose JWT still has to be signed.
#[derive(Debug)]
pub struct UnsignedResponse {
    redirect_uri: RedirectUri,
    jwt: UnsignedJwt,
}

impl ResponseMode {
    /// Every mode, by the names that metadata lists.
    pub const NAMES: [&'static str; 3] = ["query", "jwt", "query.jwt"];

    /// The mode of a registered name; `jwt` is what `query.jwt` is for a code.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "query" => Some(Self::Query),
            "jwt" | "query.jwt" => Some(Self::QueryJwt),
            _ => None,
        }
    }
}

impl AuthorizationResponse<'_> {
    /// The URL of the redirect, in clear. For [`ResponseMode::Query`].
    pub fn to_query(&self, target: &ResponseTarget, issuer: &Issuer) -> String {
        target.redirect_uri.with_parameters(self.members(target, issuer))
    }

    /// The URL of the redirect up to its signature (JARM §2.1). For [`ResponseMode::QueryJwt`]; `signer` has to sign it.
    pub fn to_unsigned_jwt(
        &self,
        target: &ResponseTarget,
        issuer: &Issuer,
        signer: &dyn Signer,
        now: Timestamp,
    ) -> UnsignedResponse {
        let mut claims: Map<String, Value> = self
            .members(target, issuer)
            .into_iter()
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect();
        claims.insert("aud".to_owned(), json!(target.client_id));
        claims.insert("exp".to_owned(), json!(now.plus(RESPONSE_JWT_LIFETIME)));
        UnsignedResponse {
            redirect_uri: target.redirect_uri.clone(),
            jwt: UnsignedJwt::new(signer, RESPONSE_JWT_TYPE, &Value::Object(claims)),
        }
    }

    fn members<'b>(&'b self, target: &'b ResponseTarget, issuer: &'b Issuer) -> Vec<(&'b str, &'b str)> {
        let outcome = match self {
            Self::Code(code) => ("code", *code),
            Self::Error(code) => ("error", code.as_str()),
        };
        let state = target.state.as_deref().map(|state| ("state", state));
        [Some(outcome), state, Some(("iss", issuer.as_str()))]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// The response that gives a client its code.
pub fn granted(code: &str) -> AuthorizationResponse<'_> {
    AuthorizationResponse::Code(code)
}

/// The response to a user's "no" (RFC 6749 §4.1.2.1).
pub fn denied() -> AuthorizationResponse<'static> {
    AuthorizationResponse::Error(ErrorCode::AccessDenied)
}

impl UnsignedResponse {
    /// Completes the URL of the redirect.
    ///
    /// # Errors
    /// [`SigningError`](crate::signer::SigningError) if the key cannot be used.
    pub fn sign(self, signer: &dyn Signer) -> Result<String, crate::signer::SigningError> {
        let jwt = self.jwt.sign(signer)?;
        Ok(self.redirect_uri.with_parameters([("response", jwt.as_str())]))
    }
}

/// Without the code: it is worth a token.
impl std::fmt::Debug for AuthorizationResponse<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(_) => formatter.write_str("Code(…)"),
            Self::Error(code) => formatter.debug_tuple("Error").field(code).finish(),
        }
    }
}
