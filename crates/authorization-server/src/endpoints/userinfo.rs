//! `GET` and `POST /userinfo` (OpenID Connect Core §5.3): what a client may know about the user, for an access token.
//!
//! A protected resource: the token comes in the `Authorization` header, and one that is bound comes with its certificate. Nothing is
//! cached: token, grant, user and client are asked for at each request.

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use keybound_protocol::bearer::{BearerError, BearerToken};
use keybound_protocol::challenge::BearerChallenge;
use keybound_protocol::confirmation::BindingError;
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::grant_id::GrantId;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_protocol::scope::Scope;
use keybound_protocol::time::Timestamp;
use keybound_protocol::user::UserSubject;
use keybound_protocol::userinfo::{OPENID_SCOPE, userinfo};
use serde_json::Value;

use crate::configuration::Configuration;
use crate::error::Reason;
use crate::id_tokens::requested_claims;
use crate::response::{self, Response};
use crate::server::Server;

/// A request for claims about whoever the token is from.
#[derive(Clone, Copy)]
pub(crate) struct UserinfoRequest<'a> {
    pub(crate) server: &'a Server,
    pub(crate) configuration: &'a Configuration,
    pub(crate) parts: &'a Parts,
    pub(crate) presented: &'a PresentedCertificate,
    pub(crate) now: Timestamp,
}

/// Why nothing is told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserinfoRefusal {
    #[error(transparent)]
    Bearer(BearerError),
    #[error("the access token is not of this server, or expired or revoked")]
    Unknown,
    #[error(transparent)]
    Binding(#[from] BindingError),
    #[error("the access token has no scope openid")]
    Scope,
    #[error("the access token is a client's own: there is no user")]
    NoUser,
    #[error("the user is gone or disabled")]
    UserGone,
}

impl UserinfoRefusal {
    /// What is asked about each request, in this order.
    pub(crate) const RULES: [&'static str; 5] = [
        "access token in the Authorization header",
        "access token of this server that counts",
        "certificate that the access token is bound to",
        "scope openid granted",
        "access token of a user that may sign in",
    ];

    /// The rule that failed.
    pub(crate) fn rule(&self) -> &'static str {
        let [sent, counts, bound, scope, user] = Self::RULES;
        match self {
            Self::Bearer(_) => sent,
            Self::Unknown => counts,
            Self::Binding(_) => bound,
            Self::Scope => scope,
            Self::NoUser | Self::UserGone => user,
        }
    }

    /// The code for it; for a request without a token that of the record alone.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::Bearer(error) => error.code().unwrap_or(ErrorCode::InvalidToken),
            Self::Unknown | Self::Binding(_) | Self::NoUser | Self::UserGone => ErrorCode::InvalidToken,
            Self::Scope => ErrorCode::InsufficientScope,
        }
    }

    /// What to do about it.
    pub(crate) fn fix(&self) -> &'static str {
        match self {
            Self::Bearer(_) => "send the access token as Authorization: Bearer",
            Self::Unknown | Self::NoUser | Self::UserGone => "get a new access token by a grant of a user",
            Self::Binding(_) => {
                "use userinfo_endpoint of mtls_endpoint_aliases with the certificate that the token was obtained with"
            }
            Self::Scope => "ask for scope openid",
        }
    }

    /// The challenge (RFC 6750 §3). A request without a token learns the scheme alone (§3.1).
    pub(crate) fn challenge(&self, issuer: &Issuer) -> BearerChallenge {
        let bare = BearerChallenge::bare(issuer.as_str());
        match self {
            Self::Bearer(error) if error.code().is_none() => bare,
            Self::Scope => match Scope::parse(OPENID_SCOPE) {
                Ok(scope) => bare.with_error(self.code()).with_scope(scope),
                Err(_) => bare.with_error(self.code()),
            },
            _ => bare.with_error(self.code()),
        }
    }
}

/// Answers a userinfo request.
///
/// # Errors
/// [`UserinfoRefusal`], [`Reason::Store`]
pub(crate) fn answer(request: &UserinfoRequest<'_>) -> Result<Response, Reason> {
    let server = request.server;
    let values = request.parts.headers.get_all(AUTHORIZATION).iter();
    let token = BearerToken::from_authorization(values.map(HeaderValue::as_bytes)).map_err(UserinfoRefusal::Bearer)?;
    let issuer = &request.configuration.issuer;
    let token = server
        .tokens
        .find(token.as_str(), issuer, request.now)?
        .ok_or(UserinfoRefusal::Unknown)?;
    // RFC 8705 §3: whoever else presents a bound token gets nothing.
    if let Some(confirmation) = &token.confirmation {
        confirmation
            .verify(request.presented)
            .map_err(UserinfoRefusal::Binding)?;
    }
    if !token.scope.contains(OPENID_SCOPE) {
        return Err(UserinfoRefusal::Scope.into());
    }
    let subject = UserSubject::parse(&token.subject).map_err(|_| UserinfoRefusal::NoUser)?;
    let user = server.users.find(&subject)?;
    let user = user.filter(|user| !user.is_disabled).ok_or(UserinfoRefusal::UserGone)?;
    let grant_id = GrantId::text_in(&token.token_id).and_then(|text| text.parse::<GrantId>().ok());
    let grant = match grant_id {
        Some(grant_id) => server.store.grants.find_grant(&grant_id)?,
        None => None,
    };
    let requested = requested_claims(grant.as_ref().and_then(|found| found.grant.claims.as_deref()));
    let claims = userinfo(&subject, &token.scope, &requested, &user.claims);
    Ok(response::json(StatusCode::OK, Value::Object(claims).to_string()))
}
