//! `GET` and `POST /userinfo` (OpenID Connect Core §5.3): what a client may know about the user, for an access token.
//!
//! A protected resource: the token comes in the `Authorization` header, and one that is bound comes with its certificate (RFC 8705 §3) or,
//! by the scheme `DPoP`, with a proof by its key (RFC 9449 §7). Nothing is cached: token, grant, user and client are asked for at each
//! request.

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use keybound_protocol::bearer::{BearerError, BearerToken, TokenScheme};
use keybound_protocol::challenge::BearerChallenge;
use keybound_protocol::confirmation::{BindingError, Possession};
use keybound_protocol::dpop_proof::{DpopProofError, VerifiedDpopProof};
use keybound_protocol::error_code::{AuthorizationScheme, ErrorCode};
use keybound_protocol::grant_id::GrantId;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_protocol::refusal::Refusal;
use keybound_protocol::scope::Scope;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::time::Timestamp;
use keybound_protocol::user::UserSubject;
use keybound_protocol::userinfo::{OPENID_SCOPE, userinfo};
use keybound_resource_server::{DPOP, DPOP_NONCE};
use keybound_store::GrantState;
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
    #[error("the token was sent as a bearer token, and a DPoP proof beside it")]
    ProofBesideBearer,
    #[error("the DPoP proof was not accepted")]
    Proof(#[from] DpopProofError),
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
    #[error("the client that the access token was issued to is gone")]
    ClientGone,
    #[error("what the user allowed has ended")]
    GrantEnded,
}

/// A refusal, with what its challenges say about proofs.
#[derive(Debug, thiserror::Error)]
#[error("{}", Refusal::reason_of(refusal))]
pub(crate) struct UserinfoRefused {
    pub(crate) refusal: UserinfoRefusal,
    /// The algorithms that proofs may be signed with.
    algorithms: &'static [SignatureAlgorithm],
    /// The nonce for the next proof of a caller that sends some, where one is demanded.
    pub(crate) dpop_nonce: Option<String>,
}

impl UserinfoRefusal {
    /// What is asked about each request, in this order. That a proof is new is asked last of all.
    pub(crate) const RULES: [&'static str; 7] = [
        "access token in the Authorization header",
        "sent as a bearer token, or by the scheme DPoP with a proof",
        "DPoP proof, where there has to be one, made for this request",
        "access token of this server that counts",
        "certificate or key that the access token is bound to",
        "scope openid granted",
        "access token of a user that may sign in",
    ];

    /// The rule that failed.
    pub(crate) fn rule(&self) -> &'static str {
        let [sent, presentation, proof, counts, bound, scope, user] = Self::RULES;
        match self {
            Self::Bearer(_) => sent,
            Self::ProofBesideBearer => presentation,
            Self::Proof(_) => proof,
            Self::Unknown | Self::ClientGone | Self::GrantEnded => counts,
            Self::Binding(_) => bound,
            Self::Scope => scope,
            Self::NoUser | Self::UserGone => user,
        }
    }

    /// The code for it; for a request without a token that of the record alone.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::Bearer(error) => error.code().unwrap_or(ErrorCode::InvalidToken),
            // At a resource a proof that is missing is one that is not valid: the scheme announced it.
            Self::Proof(DpopProofError::Missing) => ErrorCode::InvalidDpopProof,
            Self::Proof(error) => error.code(),
            Self::ProofBesideBearer
            | Self::Unknown
            | Self::Binding(_)
            | Self::NoUser
            | Self::UserGone
            | Self::ClientGone
            | Self::GrantEnded => ErrorCode::InvalidToken,
            Self::Scope => ErrorCode::InsufficientScope,
        }
    }

    /// What to do about it.
    pub(crate) fn fix(&self) -> &'static str {
        match self {
            Self::Bearer(_) => {
                "send the access token as Authorization: Bearer, or as Authorization: DPoP if its token_type is DPoP"
            }
            Self::ProofBesideBearer => {
                "send an access token of token_type DPoP as Authorization: DPoP, and any other without a DPoP header"
            }
            Self::Proof(error) => error.fix(),
            Self::ClientGone => {
                "register the client again, or find out who deleted it (keybound audit --action client.deleted)"
            }
            Self::Unknown | Self::NoUser | Self::UserGone | Self::GrantEnded => {
                "get a new access token by a grant of a user"
            }
            Self::Binding(BindingError::NotRequested | BindingError::NoCertificate) => {
                "use userinfo_endpoint of mtls_endpoint_aliases with the certificate that the token was obtained with"
            }
            Self::Binding(error) => error.fix(),
            Self::Scope => "ask for scope openid",
        }
    }
}

impl UserinfoRefused {
    /// The challenges, one field each (RFC 6750 §3, RFC 9449 §7.1): of the scheme of the request; a request without a token learns both
    /// schemes (§3.1), and so does one that should have come by the other. None where another token would not help.
    pub(crate) fn challenges(&self, issuer: &Issuer, scheme: AuthorizationScheme) -> Vec<String> {
        let bare = BearerChallenge::bare(issuer.as_str());
        let bearer = |challenge: BearerChallenge| challenge.to_string();
        let dpop = |challenge: BearerChallenge| challenge.for_dpop(self.algorithms).to_string();
        let told = bare.clone().with_error(self.refusal.code());
        let told = match (&self.refusal, Scope::parse(OPENID_SCOPE)) {
            (UserinfoRefusal::Scope, Ok(scope)) => told.with_scope(scope),
            _ => told,
        };
        match (&self.refusal, scheme) {
            (UserinfoRefusal::Bearer(error), _) if error.code().is_none() => vec![bearer(bare.clone()), dpop(bare)],
            (refusal, _) if refusal.code() == ErrorCode::TemporarilyUnavailable => Vec::new(),
            (_, AuthorizationScheme::Dpop) => vec![dpop(told)],
            (UserinfoRefusal::ProofBesideBearer | UserinfoRefusal::Binding(BindingError::NoProof), _) => {
                vec![bearer(told), dpop(bare)]
            }
            _ => vec![bearer(told)],
        }
    }
}

impl UserinfoRequest<'_> {
    fn refused(&self, scheme: TokenScheme, refusal: impl Into<UserinfoRefusal>) -> Reason {
        let nonce = || self.server.dpop.nonce(self.configuration, self.now);
        let refused = UserinfoRefused {
            refusal: refusal.into(),
            algorithms: self.configuration.profile.signature_algorithms(),
            dpop_nonce: (scheme == TokenScheme::Dpop).then(nonce).flatten(),
        };
        refused.into()
    }

    /// The access token by either scheme, and the proof that the scheme `DPoP` needs.
    fn presentation(&self) -> Result<(TokenScheme, BearerToken<'_>, Option<VerifiedDpopProof>), Reason> {
        let headers = &self.parts.headers;
        let values = headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
        let (scheme, token) = BearerToken::of_schemes(values, &[TokenScheme::Bearer, TokenScheme::Dpop])
            .map_err(|error| self.refused(TokenScheme::Bearer, UserinfoRefusal::Bearer(error)))?;
        if scheme == TokenScheme::Bearer {
            // One of both is wrong, and it is not for us to choose which.
            if headers.contains_key(DPOP) {
                return Err(self.refused(scheme, UserinfoRefusal::ProofBesideBearer));
            }
            return Ok((scheme, token, None));
        }
        let targets = &self.configuration.dpop_userinfo_targets;
        let dpop = &self.server.dpop;
        let proof = dpop.beside_token(token.as_str(), self.parts, targets, self.configuration, self.now);
        let proof = proof.map_err(|error| self.refused(scheme, error))?;
        Ok((scheme, token, Some(proof)))
    }
}

/// Answers a userinfo request.
///
/// # Errors
/// [`UserinfoRefused`], [`Reason::Store`]
pub(crate) fn answer(request: &UserinfoRequest<'_>) -> Result<Response, Reason> {
    let server = request.server;
    let (scheme, token, proof) = request.presentation()?;
    let refused = |refusal: UserinfoRefusal| request.refused(scheme, refusal);
    let issuer = &request.configuration.issuer;
    let token = server
        .tokens
        .find(token.as_str(), issuer, request.now)?
        .ok_or_else(|| refused(UserinfoRefusal::Unknown))?;
    // RFC 8705 §3, RFC 9449 §7: whoever else presents a bound token gets nothing, and a proof beside a token that is bound to no key says
    // that its sender takes it for another one.
    let possession = Possession {
        certificate: request.presented,
        proof: proof.as_ref(),
    };
    match (&token.confirmation, scheme) {
        (Some(confirmation), _) => confirmation.verify(possession).map(drop),
        (None, TokenScheme::Dpop) => Err(BindingError::NotBoundToKey),
        (None, TokenScheme::Bearer) => Ok(()),
    }
    .map_err(|error| refused(error.into()))?;
    // One of a configuration file is gone without a word about its tokens.
    if server.clients.find(&token.client_id)?.is_none() {
        return Err(refused(UserinfoRefusal::ClientGone));
    }
    if !token.scope.contains(OPENID_SCOPE) {
        return Err(refused(UserinfoRefusal::Scope));
    }
    let subject = UserSubject::parse(&token.subject).map_err(|_| refused(UserinfoRefusal::NoUser))?;
    let user = server.users.find(&subject)?;
    let user = user
        .filter(|user| !user.is_disabled)
        .ok_or_else(|| refused(UserinfoRefusal::UserGone))?;
    let grant_id = GrantId::text_in(&token.token_id).and_then(|text| text.parse::<GrantId>().ok());
    let grant = match grant_id {
        Some(grant_id) => server.store.grants.find_grant(&grant_id)?,
        None => None,
    };
    if grant.as_ref().is_some_and(|found| found.state != GrantState::Live) {
        return Err(refused(UserinfoRefusal::GrantEnded));
    }
    // The last thing: a request that is refused for something else uses nothing up.
    if let Some(proof) = &proof {
        let spent = server.dpop.spend_at_resource(proof, request.now);
        spent.map_err(|error| refused(error.into()))?;
    }
    let requested = requested_claims(grant.as_ref().and_then(|found| found.grant.claims.as_deref()));
    let claims = userinfo(&subject, &token.scope, &requested, &user.claims);
    let mut response = response::json(StatusCode::OK, Value::Object(claims).to_string());
    let next_nonce = server
        .dpop
        .next_nonce(proof.as_ref(), request.configuration, request.now);
    response
        .headers_mut()
        .extend(next_nonce.map(|nonce| (DPOP_NONCE, nonce)));
    Ok(response)
}
