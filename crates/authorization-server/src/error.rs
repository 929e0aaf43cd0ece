//! Every reason to say no, and the one place where it becomes an answer.
//!
//! A [`Reason`] is for operators. Only its code leaves, with one sentence that depends on nothing but code and status, and a
//! status that depends on code and endpoint. Whatever else is different about two refusals is in their records, under the id that the
//! peer was given. What an operator reads is made in [`explanation`](crate::explanation).

use std::time::Duration;

use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use keybound_protocol::challenge::BearerChallenge;
use keybound_protocol::dpop_proof::DpopProofError;
use keybound_protocol::endpoint::Endpoint;
use keybound_protocol::error_code::{AuthorizationScheme, ErrorCode};
use keybound_protocol::form::FormError;
use keybound_protocol::grant_type::GrantType;
use keybound_protocol::introspection::IntrospectionRequestError;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::peer_certificate::{ForwardingError, PresentedCertificate};
use keybound_protocol::refusal::{Refusal, RefusalId};
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::signer::SigningError;
use keybound_protocol::token_request::TokenRequestError;
use keybound_protocol::token_revocation::RevocationRequestError;
use keybound_resource_server::DPOP_NONCE;
use keybound_store::{InvalidRevocationCursor, StoreError};
use keybound_tls::LayerRefusal;

use crate::access_tokens::IssueError;
use crate::approvals::ApprovalRefusal;
use crate::authorization_requests::RequestRefusal;
use crate::client_authentication::{AuthenticationFailure, Unauthenticated};
use crate::endpoints::authorization::AuthorizationRefusal;
use crate::endpoints::registration::RegistrationRefusal;
use crate::endpoints::userinfo::UserinfoRefused;
use crate::grants::authorization_code::CodeRefusal;
use crate::grants::client_credentials::GrantRefusal;
use crate::grants::refresh_token::RefreshRefusal;
use crate::grants::share::ShareRefusal;
use crate::pages::refusal::PageRefusal;
use crate::passwords::PasswordHashingError;
use crate::rate_limit::TooMany;
use crate::response::{self, KEYBOUND_REFUSAL, Response};
use crate::router::Route;
use crate::silent_authorization::SilentRefusal;
use crate::trusted_issuers::NotTraded;

/// What a peer is asked to wait where nothing better is known.
const RETRY_AFTER_STORE: Duration = Duration::from_secs(1);

/// Why a request was refused. For operators; never sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Reason {
    #[error("there is no endpoint at {path:?}")]
    PathUnknown { path: String },
    #[error("method {presented} is none of {allow}")]
    MethodNotAllowed { presented: String, allow: &'static str },
    #[error(
        "media type {} is not application/x-www-form-urlencoded",
        keybound_protocol::words::one_or_none(presented)
    )]
    MediaType { presented: Option<String> },
    #[error(transparent)]
    Transport(LayerRefusal),
    #[error(transparent)]
    Form(#[from] FormError),
    #[error("{}", Refusal::reason_of(&*.0.error))]
    Unauthenticated(AuthenticationFailure),
    #[error("one failed authentication too many within a second: {}", Refusal::reason_of(&*.failure.error))]
    TooManyFailures {
        failure: AuthenticationFailure,
        retry_after: Duration,
    },
    #[error(transparent)]
    TokenRequest(#[from] TokenRequestError),
    #[error("the client has not registered grant type {presented}")]
    GrantNotRegistered {
        presented: GrantType,
        registered: Vec<GrantType>,
    },
    #[error("a public client cannot use grant type {presented}")]
    PublicClient { presented: GrantType },
    #[error("the client's access tokens are bound to a certificate, and {0}")]
    NothingToBindTo(NothingToBindTo),
    #[error("{}", Refusal::reason_of(error))]
    DpopProof {
        error: DpopProofError,
        /// The nonce for the next proof, where one is demanded.
        nonce: Option<String>,
    },
    #[error(
        "the client's access tokens are bound to a certificate, and the request names a DPoP key: one of both too many"
    )]
    TwoBindings,
    #[error("dpop_jkt is {parameter}, and the request's DPoP proof was made by key {proof}")]
    DpopKeyDiffers { parameter: String, proof: String },
    #[error(transparent)]
    Grant(#[from] GrantRefusal),
    #[error(transparent)]
    Exchange(#[from] Box<NotTraded>),
    #[error(transparent)]
    AuthorizationCode(#[from] CodeRefusal),
    #[error(transparent)]
    RefreshToken(#[from] RefreshRefusal),
    #[error(transparent)]
    Share(#[from] ShareRefusal),
    #[error(transparent)]
    IntrospectionRequest(#[from] IntrospectionRequestError),
    #[error(transparent)]
    RevocationRequest(#[from] RevocationRequestError),
    #[error("a public client cannot be told about tokens")]
    PublicCaller,
    #[error("the token was issued to another client")]
    ForeignToken,
    #[error(transparent)]
    RevocationCursor(#[from] InvalidRevocationCursor),
    #[error("as many followers of revocations are being held as the limits permit")]
    TooManyFollowers,
    #[error(transparent)]
    Userinfo(#[from] UserinfoRefused),
    #[error(transparent)]
    Registration(#[from] RegistrationRefusal),
    #[error(transparent)]
    Authorization(#[from] AuthorizationRefusal),
    #[error(transparent)]
    Silent(#[from] SilentRefusal),
    #[error(transparent)]
    Page(#[from] PageRefusal),
    #[error("the store did not answer")]
    Store(#[from] StoreError),
    #[error("the access token could not be made")]
    Issue(#[from] IssueError),
    #[error(transparent)]
    AuthorizationRequest(#[from] RequestRefusal),
    #[error("as many pushed requests as there may be are waiting")]
    TooManyPushedRequests,
    #[error("one pushed request too many of this client, or from its address prefix, within a minute")]
    PushedTooOften(TooMany),
    #[error(transparent)]
    Approval(#[from] ApprovalRefusal),
    #[error("the user's code could not be compared: {0}")]
    PasswordHashing(PasswordHashingError),
    #[error("the introspection response could not be signed")]
    ResponseSigning(#[from] SigningError),
    #[error("the client registered {registered} for introspection responses, and this server signs by {signing}")]
    ResponseAlgorithm {
        registered: SignatureAlgorithm,
        signing: SignatureAlgorithm,
    },
}

/// Why there is no certificate that a token could be bound to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NothingToBindTo {
    #[error("this listener does not ask for one")]
    NotRequested,
    #[error("none was presented")]
    NoCertificate,
    #[error("the forwarded one was refused: {0}")]
    Forwarding(ForwardingError),
    #[error("{presented_intermediates} others came beside it, more than allowed")]
    ChainTooLong { presented_intermediates: usize },
}

impl NothingToBindTo {
    /// Names what was presented instead of a certificate.
    pub(crate) fn of(presented: &PresentedCertificate) -> NothingToBindTo {
        match presented {
            PresentedCertificate::NotRequested => NothingToBindTo::NotRequested,
            PresentedCertificate::ForwardingRefused(error) => NothingToBindTo::Forwarding(error.clone()),
            PresentedCertificate::TooLong {
                presented_intermediates,
            } => NothingToBindTo::ChainTooLong {
                presented_intermediates: *presented_intermediates,
            },
            PresentedCertificate::None | PresentedCertificate::Peer(_) | PresentedCertificate::Forwarded(_) => {
                NothingToBindTo::NoCertificate
            }
        }
    }
}

impl From<Unauthenticated> for Reason {
    fn from(error: Unauthenticated) -> Reason {
        match error {
            Unauthenticated::Failed(failure) => Reason::Unauthenticated(failure),
            Unauthenticated::Store(error) => Reason::Store(error),
        }
    }
}

impl Reason {
    /// The code that is sent.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Reason::PathUnknown { .. } | Reason::MethodNotAllowed { .. } | Reason::MediaType { .. } => {
                ErrorCode::InvalidRequest
            }
            Reason::Transport(LayerRefusal::TooManyConnections) => ErrorCode::TemporarilyUnavailable,
            Reason::Transport(_) => ErrorCode::InvalidRequest,
            Reason::Form(error) => error.code(),
            Reason::Unauthenticated(failure) => failure.error.code(),
            Reason::TooManyFailures { .. } => ErrorCode::TemporarilyUnavailable,
            Reason::TokenRequest(error) => error.code(),
            Reason::GrantNotRegistered { .. } | Reason::PublicClient { .. } => ErrorCode::UnauthorizedClient,
            Reason::NothingToBindTo(_) | Reason::TwoBindings | Reason::DpopKeyDiffers { .. } => {
                ErrorCode::InvalidRequest
            }
            Reason::DpopProof { error, .. } => error.code(),
            Reason::Grant(refusal) => refusal.code(),
            Reason::Exchange(refusal) => refusal.code(),
            Reason::AuthorizationCode(refusal) => refusal.code(),
            Reason::RefreshToken(refusal) => refusal.code(),
            Reason::Share(refusal) => refusal.code(),
            Reason::IntrospectionRequest(error) => error.code(),
            Reason::RevocationRequest(error) => error.code(),
            Reason::AuthorizationRequest(refusal) => refusal.code(),
            Reason::TooManyPushedRequests | Reason::PushedTooOften(_) => ErrorCode::TemporarilyUnavailable,
            Reason::Approval(refusal) => refusal.code(),
            Reason::PasswordHashing(_) => ErrorCode::TemporarilyUnavailable,
            Reason::PublicCaller => ErrorCode::InvalidClient,
            // RFC 7009 §2.1 wants the request refused; of RFC 6749's codes this is the one that says "issued to another client".
            Reason::ForeignToken => ErrorCode::InvalidGrant,
            Reason::RevocationCursor(_) => ErrorCode::InvalidRequest,
            Reason::TooManyFollowers => ErrorCode::TemporarilyUnavailable,
            Reason::Userinfo(refused) => refused.refusal.code(),
            Reason::Registration(refusal) => refusal.code(),
            Reason::Authorization(refusal) => refusal.code(),
            Reason::Silent(refusal) => refusal.code(),
            Reason::Page(refusal) => refusal.code(),
            Reason::Store(_) => ErrorCode::TemporarilyUnavailable,
            Reason::Issue(IssueError::Store(_)) => ErrorCode::TemporarilyUnavailable,
            Reason::Issue(_) | Reason::ResponseSigning(_) | Reason::ResponseAlgorithm { .. } => ErrorCode::ServerError,
        }
    }

    /// The status: HTTP's own where HTTP has a word for it, else a function of code and endpoint.
    pub(crate) fn status(&self, route: Option<Route>, authorization: AuthorizationScheme) -> StatusCode {
        match self {
            Reason::PathUnknown { .. } => StatusCode::NOT_FOUND,
            Reason::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Reason::MediaType { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Reason::Transport(refusal) => refusal.status(),
            Reason::Form(FormError::TooLarge(_)) => StatusCode::PAYLOAD_TOO_LARGE,
            Reason::TooManyFailures { .. }
            | Reason::TooManyPushedRequests
            | Reason::PushedTooOften(_)
            | Reason::Page(PageRefusal::TooOften(_)) => StatusCode::TOO_MANY_REQUESTS,
            Reason::Page(PageRefusal::CrossSite { .. } | PageRefusal::FormToken) => StatusCode::FORBIDDEN,
            Reason::Page(PageRefusal::TooManyInteractions) => StatusCode::SERVICE_UNAVAILABLE,
            Reason::Approval(refusal) if refusal.retry_after().is_some() => StatusCode::TOO_MANY_REQUESTS,
            Reason::Userinfo(refused) => refused.refusal.code().resource_status(),
            Reason::Registration(refusal) if refusal.status().is_some() => refusal.status().unwrap_or_default(),
            // Those that clients do not authenticate at follow the ordinary rule.
            _ => {
                let endpoint = route.and_then(Route::form_endpoint).unwrap_or(Endpoint::Token);
                self.code().status(endpoint, authorization)
            }
        }
    }

    /// Whether the answer must look like those to others who are not told whether there is such a client.
    pub(crate) fn is_alike(&self) -> bool {
        // One failure too many is answered otherwise, and so is a secret beside a certificate, but neither is a better way to find
        // out who exists.
        matches!(self, Reason::TooManyFailures { .. } | Reason::Unauthenticated(_))
            || matches!(self, Reason::Registration(refusal) if refusal.is_of_token())
            || self.code() == ErrorCode::InvalidClient
    }

    /// Whether it is our fault.
    pub(crate) fn is_ours(&self) -> bool {
        match self {
            Reason::Store(_)
            | Reason::Issue(_)
            | Reason::ResponseSigning(_)
            | Reason::ResponseAlgorithm { .. }
            | Reason::PasswordHashing(_) => true,
            Reason::Approval(refusal) => refusal.code() == ErrorCode::ServerError,
            Reason::PathUnknown { .. }
            | Reason::MethodNotAllowed { .. }
            | Reason::MediaType { .. }
            | Reason::Transport(_)
            | Reason::Form(_)
            | Reason::Unauthenticated(_)
            | Reason::TooManyFailures { .. }
            | Reason::TokenRequest(_)
            | Reason::GrantNotRegistered { .. }
            | Reason::PublicClient { .. }
            | Reason::NothingToBindTo(_)
            | Reason::DpopProof { .. }
            | Reason::TwoBindings
            | Reason::DpopKeyDiffers { .. }
            | Reason::Grant(_)
            | Reason::Exchange(_)
            | Reason::AuthorizationCode(_)
            | Reason::RefreshToken(_)
            | Reason::Share(_)
            | Reason::IntrospectionRequest(_)
            | Reason::RevocationRequest(_)
            | Reason::AuthorizationRequest(_)
            | Reason::TooManyPushedRequests
            | Reason::PushedTooOften(_)
            | Reason::PublicCaller
            | Reason::ForeignToken
            | Reason::RevocationCursor(_)
            | Reason::Userinfo(_)
            | Reason::TooManyFollowers => false,
            Reason::Authorization(_) | Reason::Silent(_) => false,
            Reason::Page(refusal) => refusal.is_ours(),
            Reason::Registration(refusal) => refusal.is_ours(),
        }
    }

    /// The client that a request named which is not authenticated.
    pub(crate) fn claimed_client_id(&self) -> Option<&str> {
        match self {
            Reason::Unauthenticated(failure) | Reason::TooManyFailures { failure, .. } => {
                failure.claimed_client_id.as_deref()
            }
            _ => None,
        }
    }

    /// The one sentence that is sent: of the status where HTTP has its own word, else of the code.
    pub(crate) fn description(&self) -> &'static str {
        match self {
            Reason::Transport(refusal) => refusal.description(),
            Reason::PathUnknown { .. } => "there is no endpoint at this path",
            Reason::MethodNotAllowed { .. } => "this endpoint does not have this method",
            Reason::MediaType { .. } => "the parameters have to be one application/x-www-form-urlencoded body",
            Reason::Form(FormError::TooLarge(_)) => "the request is too large",
            Reason::Page(refusal) => refusal.description(),
            _ => self.code().description(),
        }
    }

    /// The answer. `id` names the record of this refusal.
    pub(crate) fn response(
        &self,
        route: Option<Route>,
        issuer: &Issuer,
        authorization: Option<&HeaderValue>,
        id: &RefusalId,
    ) -> Response {
        let scheme = AuthorizationScheme::of(authorization.map(HeaderValue::as_bytes));
        let code = self.code();
        let description = self.description();
        // No part of it needs escaping: codes and descriptions are static, an issuer is a URL, an id letters and digits.
        let base = issuer.as_str().trim_end_matches('/');
        let body = format!(
            r#"{{"error":"{code}","error_description":"{description}","error_uri":"{base}/console/refusals/{id}"}}"#
        );
        let status = self.status(route, scheme);
        let mut response = response::json(status, body);
        let headers = response.headers_mut();
        let text = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Bearer"));
        headers.insert(KEYBOUND_REFUSAL, text(id.to_string()));
        if let Reason::Userinfo(refused) = self {
            // RFC 6750 §3.1: a protected resource says also by 400 and 403 what is wrong with the token.
            for challenge in refused.challenges(issuer, scheme) {
                headers.append(WWW_AUTHENTICATE, text(challenge));
            }
        } else if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, text(self.challenge(issuer, scheme)));
        }
        if let Some(wait) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        if let Some(nonce) = self.dpop_nonce() {
            headers.insert(DPOP_NONCE, text(nonce.to_owned()));
        }
        if let Reason::MethodNotAllowed { allow, .. } = self {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }

    /// RFC 6749 §5.2: of the scheme that the client used. Where a bearer token is wanted, of that (RFC 6750 §3).
    fn challenge(&self, issuer: &Issuer, scheme: AuthorizationScheme) -> String {
        match self {
            Reason::Registration(refusal) if refusal.is_without_token() => {
                BearerChallenge::bare(issuer.as_str()).to_string()
            }
            Reason::Registration(refusal) => BearerChallenge::bare(issuer.as_str())
                .with_error(refusal.code())
                .to_string(),
            _ => format!("{} realm=\"{issuer}\"", scheme.challenge_scheme()),
        }
    }

    /// The nonce for the client's next proof.
    fn dpop_nonce(&self) -> Option<&str> {
        match self {
            Reason::DpopProof { nonce, .. } => nonce.as_deref(),
            Reason::Userinfo(refused) => refused.dpop_nonce.as_deref(),
            _ => None,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Reason::Userinfo(refused) if refused.refusal.code() == ErrorCode::TemporarilyUnavailable => {
                Some(RETRY_AFTER_STORE)
            }
            Reason::Page(PageRefusal::TooManyInteractions) => Some(RETRY_AFTER_STORE),
            Reason::Page(PageRefusal::TooOften(too_many)) | Reason::PushedTooOften(too_many) => {
                Some(too_many.retry_after)
            }
            Reason::Registration(refusal) => refusal.retry_after(),
            Reason::Approval(refusal) => refusal.retry_after(),
            Reason::TooManyFailures { retry_after, .. } => Some(*retry_after),
            Reason::Store(_)
            | Reason::Issue(IssueError::Store(_))
            | Reason::TooManyFollowers
            | Reason::PasswordHashing(_)
            | Reason::TooManyPushedRequests
            | Reason::DpopProof {
                error: DpopProofError::MemoryFull,
                ..
            } => Some(RETRY_AFTER_STORE),
            Reason::Transport(LayerRefusal::TooManyConnections) => Some(RETRY_AFTER_STORE),
            _ => None,
        }
    }
}
