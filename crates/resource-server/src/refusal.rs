//! Why a request to a protected resource was refused, and what is answered.
//!
//! One variant for every distinguishable offence; the wire knows three codes (RFC 6750 §3.1). The list that `explain` shows is
//! derived from the reason afterwards, so that accepting a request costs nothing for it.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use keybound_client::{ClientError, DiscoveryError};
use keybound_protocol::access_token::{AccessTokenClaims, AccessTokenError};
use keybound_protocol::bearer::{BearerError, TokenScheme};
use keybound_protocol::challenge::BearerChallenge;
use keybound_protocol::confirmation::BindingError;
use keybound_protocol::dpop_proof::DpopProofError;
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::scope::Scope;
use keybound_protocol::time::Timestamp;

use crate::cached_token::{CachedToken, Vouched};
use crate::deny_list::DeniedSubject;
use crate::route_policy::{DPOP_ALGORITHMS, Dpop, RoutePolicy};

mod explanation;

/// Why an access token was not accepted for a request. For operators; never sent.
#[derive(Debug, thiserror::Error)]
pub enum AccessTokenRefusal {
    /// There is no token, or it is not clear what it is.
    #[error(transparent)]
    Bearer(#[from] BearerError),
    /// A JWT whose `iss` is none of the configured issuers, or none at all.
    #[error(
        "the token names issuer {}, which is not configured",
        keybound_protocol::words::one_or_none(presented)
    )]
    UnknownIssuer {
        /// What `iss` says.
        presented: Option<String>,
    },
    /// Its issuer is configured, and this route takes no tokens of it.
    #[error("the token was issued by {issuer}, whose tokens this route does not take")]
    IssuerNotAdmitted {
        /// The issuer.
        issuer: String,
    },
    /// Not a JWT, and none of the issuers of this route is asked by introspection.
    #[error("the token is not a JWT, and no issuer of this route is asked by introspection")]
    Opaque(#[source] AccessTokenError),
    /// Its form, signature, kind or one of its claims is not acceptable.
    #[error(transparent)]
    Token(#[from] AccessTokenError),
    /// The issuer was asked and says that it is no token, or not a good one any more.
    #[error("the issuer says that the token is not active")]
    Inactive,
    /// The issuer was asked, and what it says about the token cannot be used.
    #[error("what {issuer} answers about the token cannot be used")]
    Introspection {
        /// The issuer.
        issuer: String,
        /// What is wrong with the answer.
        #[source]
        source: Arc<ClientError>,
    },
    /// The issuer was asked, and refuses the question because of the token. About other tokens it can be asked.
    #[error("{issuer} refuses to be asked about the token")]
    QuestionRefused {
        /// The issuer.
        issuer: String,
        /// What it answered.
        #[source]
        source: Arc<ClientError>,
    },
    /// It is on the deny-list.
    #[error("the token is denied: {}", denied_text(subject))]
    Denied {
        /// The entry.
        subject: DeniedSubject,
    },
    /// Its issuer has not said for too long what it revoked, and the settings want no tokens then.
    #[error("{issuer} has not said for too long what it revoked")]
    RevocationsUnknown {
        /// The issuer.
        issuer: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// It was accepted, and expired before what it was accepted for was over.
    #[error("the token expired while its request was running")]
    ExpiredWhileRunning {
        /// Its `exp`.
        expired_at: Timestamp,
    },
    /// It has no `cnf`, and this route takes only bound tokens.
    #[error("the token is not bound to a certificate, and this route takes only bound tokens")]
    Unbound,
    /// The request came without a certificate that a token could be bound to. So its issuer was not asked about it.
    #[error("this route takes only bound tokens, and {}", absence_text(.0))]
    CertificateRequired(BindingError),
    /// It is bound to a certificate that this request did not come with (RFC 8705 §3).
    #[error(transparent)]
    Binding(#[from] BindingError),
    /// Its DPoP proof is not one for this request (RFC 9449 §4.3).
    #[error("the DPoP proof was not accepted")]
    Proof(#[from] DpopProofError),
    /// A bearer token and a DPoP proof in one request, which are two ways to say who may use the token.
    #[error("the token was sent as a bearer token, and a DPoP proof beside it")]
    ProofBesideBearer,
    /// A bearer token on a route that takes only tokens which are bound to a key.
    #[error("the token was sent as a bearer token, and this route takes only tokens that are bound to a key")]
    ProofRequired,
    /// Its scope does not permit this request.
    #[error("the token has scope {presented:?}, and {required:?} is required")]
    InsufficientScope {
        /// Its scope.
        presented: Scope,
        /// What the route demands.
        required: Scope,
    },
    /// The issuer's keys were never obtained, or are too old to be believed.
    #[error("the keys of {issuer} are not known")]
    KeysUnavailable {
        /// The issuer.
        issuer: String,
        /// When to try again.
        retry_after: Duration,
        /// Why they could not be fetched the last time.
        #[source]
        source: Option<Arc<DiscoveryError>>,
    },
    /// The issuer could not be asked about the token.
    #[error("{issuer} could not be asked about the token")]
    IssuerUnavailable {
        /// The issuer.
        issuer: String,
        /// When to try again.
        retry_after: Duration,
        /// Why, if this request was the one that asked.
        #[source]
        source: Option<Arc<ClientError>>,
    },
}

impl AccessTokenRefusal {
    /// The code that is sent; `None` for a request without authentication information, which is told only the scheme
    /// (RFC 6750 §3.1).
    ///
    /// Every failure of the binding is `invalid_token` (RFC 8705 §3), never `insufficient_scope`.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            AccessTokenRefusal::Bearer(error) => error.code(),
            AccessTokenRefusal::Token(error) | AccessTokenRefusal::Opaque(error) => Some(error.code()),
            AccessTokenRefusal::UnknownIssuer { .. }
            | AccessTokenRefusal::IssuerNotAdmitted { .. }
            | AccessTokenRefusal::Inactive
            | AccessTokenRefusal::Introspection { .. }
            | AccessTokenRefusal::QuestionRefused { .. }
            | AccessTokenRefusal::Denied { .. }
            | AccessTokenRefusal::ExpiredWhileRunning { .. }
            | AccessTokenRefusal::Unbound
            | AccessTokenRefusal::CertificateRequired(_)
            | AccessTokenRefusal::Binding(_) => Some(ErrorCode::InvalidToken),
            AccessTokenRefusal::ProofBesideBearer | AccessTokenRefusal::ProofRequired => Some(ErrorCode::InvalidToken),
            // At a resource a proof that is missing is one that is not valid: the scheme announced it.
            AccessTokenRefusal::Proof(DpopProofError::Missing) => Some(ErrorCode::InvalidDpopProof),
            AccessTokenRefusal::Proof(error) => Some(error.code()),
            AccessTokenRefusal::InsufficientScope { .. } => Some(ErrorCode::InsufficientScope),
            AccessTokenRefusal::KeysUnavailable { .. }
            | AccessTokenRefusal::IssuerUnavailable { .. }
            | AccessTokenRefusal::RevocationsUnknown { .. } => Some(ErrorCode::TemporarilyUnavailable),
        }
    }

    /// The status that is sent.
    pub fn status(&self) -> StatusCode {
        self.code().map_or(StatusCode::UNAUTHORIZED, ErrorCode::resource_status)
    }
}

/// A refused request: the reason, with what else is known about the token and the route.
#[derive(Debug)]
pub struct Refused {
    reason: AccessTokenRefusal,
    policy: RoutePolicy,
    claims: Option<Arc<AccessTokenClaims>>,
    vouching: Vouching,
    /// The scheme of the request, which the challenge answers.
    scheme: TokenScheme,
    dpop_nonce: Option<String>,
}

/// Who was to vouch for the token, which decides what was asked in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vouching {
    /// Its signature, or nobody: it did not get that far.
    Local,
    /// Its issuer, who was asked, or could not be.
    Introspection,
    /// Its issuer, who was not asked because the request has no certificate.
    NotIntrospected,
}

impl Refused {
    pub(crate) fn new(reason: impl Into<AccessTokenRefusal>, policy: &RoutePolicy) -> Box<Refused> {
        Box::new(Refused {
            reason: reason.into(),
            policy: policy.clone(),
            claims: None,
            vouching: Vouching::Local,
            scheme: TokenScheme::Bearer,
            dpop_nonce: None,
        })
    }

    /// A refusal of a token that an issuer was asked about, or could not be.
    pub(crate) fn of_introspected(reason: AccessTokenRefusal, policy: &RoutePolicy) -> Box<Refused> {
        let mut refused = Refused::new(reason, policy);
        refused.vouching = Vouching::Introspection;
        refused
    }

    /// A refusal for want of a certificate, which spared its issuer the question.
    pub(crate) fn before_introspection(reason: BindingError, policy: &RoutePolicy) -> Box<Refused> {
        let mut refused = Refused::new(AccessTokenRefusal::CertificateRequired(reason), policy);
        refused.vouching = Vouching::NotIntrospected;
        refused
    }

    /// A refusal of a token that its issuer vouches for.
    pub(crate) fn of_known(reason: AccessTokenRefusal, policy: &RoutePolicy, token: &CachedToken) -> Box<Refused> {
        let vouching = match token.vouched {
            Vouched::BySignature { .. } => Vouching::Local,
            Vouched::ByIntrospection { .. } => Vouching::Introspection,
        };
        Box::new(Refused {
            reason,
            policy: policy.clone(),
            claims: Some(Arc::clone(&token.claims)),
            vouching,
            scheme: TokenScheme::Bearer,
            dpop_nonce: None,
        })
    }

    /// The same for a request that came by the scheme `DPoP`, with the nonce for its next proof.
    pub(crate) fn of_dpop(mut self: Box<Self>, nonce: Option<String>) -> Box<Refused> {
        self.scheme = TokenScheme::Dpop;
        self.dpop_nonce = nonce;
        self
    }

    /// Why.
    pub fn reason(&self) -> &AccessTokenRefusal {
        &self.reason
    }

    /// The reason alone.
    pub fn into_reason(self) -> AccessTokenRefusal {
        self.reason
    }

    /// What the issuer vouches for, if it got that far.
    pub fn claims(&self) -> Option<&Arc<AccessTokenClaims>> {
        self.claims.as_ref()
    }

    /// The code that is sent, if any.
    pub fn code(&self) -> Option<ErrorCode> {
        self.reason.code()
    }

    /// The status that is sent.
    pub fn status(&self) -> StatusCode {
        self.reason.status()
    }

    /// The values of `WWW-Authenticate` (RFC 6750 §3, RFC 9449 §7.1), one field each: empty only where the fault is ours and another
    /// token would not help.
    ///
    /// The answer is of the request's own scheme; a bearer token that should have come with a proof is told of the other one, too. A
    /// request without a token is told `Bearer`, which every client knows, unless the route takes none but `DPoP`: that others may use
    /// that is in the resource's metadata.
    pub fn challenges(&self) -> Vec<HeaderValue> {
        let bare = match self.policy.resource_metadata() {
            Some(url) => BearerChallenge::bare(self.policy.audience().as_str()).with_resource_metadata(url.clone()),
            None => BearerChallenge::bare(self.policy.audience().as_str()),
        };
        let bearer = |challenge: BearerChallenge| challenge.to_string();
        let dpop = |challenge: BearerChallenge| challenge.for_dpop(DPOP_ALGORITHMS).to_string();
        let takes_proofs = self.policy.dpop() != Dpop::Refused;
        let challenges = match self.code() {
            Some(ErrorCode::TemporarilyUnavailable | ErrorCode::ServerError) => Vec::new(),
            None => match self.policy.dpop() {
                Dpop::Refused | Dpop::Accepted => vec![bearer(bare)],
                Dpop::Required => vec![dpop(bare)],
            },
            Some(code) => {
                let told = match code {
                    ErrorCode::InsufficientScope => {
                        bare.clone().with_error(code).with_scope(self.policy.scopes().clone())
                    }
                    code => bare.clone().with_error(code),
                };
                match (self.scheme, &self.reason) {
                    (TokenScheme::Dpop, _) => vec![dpop(told)],
                    (
                        TokenScheme::Bearer,
                        AccessTokenRefusal::Binding(BindingError::NoProof)
                        | AccessTokenRefusal::ProofBesideBearer
                        | AccessTokenRefusal::ProofRequired,
                    ) if takes_proofs => vec![bearer(told), dpop(bare)],
                    (TokenScheme::Bearer, _) => vec![bearer(told)],
                }
            }
        };
        // Realm, codes, descriptions, scopes and URLs have no character that a header may not have.
        challenges
            .into_iter()
            .filter_map(|challenge| HeaderValue::try_from(challenge).ok())
            .collect()
    }

    /// The first of [`challenges`](Self::challenges).
    pub fn challenge(&self) -> Option<HeaderValue> {
        self.challenges().into_iter().next()
    }

    /// The value of `DPoP-Nonce`: what the next proof has to contain, where proofs need a nonce (RFC 9449 §9).
    pub fn dpop_nonce(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(self.dpop_nonce.as_deref()?).ok()
    }

    /// The value of `Retry-After`, where trying again later may help.
    pub fn retry_after(&self) -> Option<HeaderValue> {
        match &self.reason {
            AccessTokenRefusal::KeysUnavailable { retry_after, .. }
            | AccessTokenRefusal::IssuerUnavailable { retry_after, .. }
            | AccessTokenRefusal::RevocationsUnknown { retry_after, .. } => {
                Some(HeaderValue::from(retry_after.as_secs().max(1)))
            }
            AccessTokenRefusal::Proof(DpopProofError::MemoryFull) => Some(HeaderValue::from_static("10")),
            _ => None,
        }
    }

    /// The JSON body: the code and its one sentence. Empty where no code is sent.
    pub fn body(&self) -> String {
        self.code().map_or_else(String::new, |code| {
            // Neither text has a character that JSON escapes.
            format!(r#"{{"error":"{code}","error_description":"{}"}}"#, code.description())
        })
    }
}

/// What the error says about the request; about the token it would say too much.
fn absence_text(error: &BindingError) -> String {
    match error {
        BindingError::NotRequested => "this listener asks for no client certificate".to_owned(),
        BindingError::NoCertificate => "no client certificate was presented".to_owned(),
        BindingError::Forwarding(source) => format!("{error}: {source}"),
        BindingError::ChainTooLong { .. }
        | BindingError::Mismatch { .. }
        | BindingError::NoProof
        | BindingError::KeyMismatch { .. }
        | BindingError::NotBoundToKey => error.to_string(),
    }
}

fn denied_text(subject: &DeniedSubject) -> String {
    match subject {
        DeniedSubject::Token(id) => format!("the token {id} was revoked"),
        DeniedSubject::Grant(id) => format!("the tokens of grant {id} were revoked"),
        DeniedSubject::Client(client_id) => format!("the tokens of client {} were revoked", client_id.as_str()),
        DeniedSubject::Certificate(thumbprint) => format!("certificate {thumbprint} was revoked"),
        DeniedSubject::SigningKey(key_id) => format!("the signing key {key_id} was revoked"),
    }
}
