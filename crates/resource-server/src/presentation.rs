//! How a request presents its token: the scheme, and with `DPoP` the proof, judged before anybody is asked about the token.

use http::header::{AUTHORIZATION, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use keybound_protocol::bearer::{BearerToken, TokenScheme};
use keybound_protocol::confirmation::Possession;
use keybound_protocol::dpop_proof::{DpopRequest, VerifiedDpopProof};
use keybound_protocol::error_code::AuthorizationScheme;
use keybound_protocol::http_uri::HttpUri;
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_protocol::time::Timestamp;

use crate::refusal::AccessTokenRefusal;
use crate::route_policy::{DPOP_ALGORITHMS, Dpop, RoutePolicy};

/// The field with a proof (RFC 9449 §4.1).
pub const DPOP: HeaderName = HeaderName::from_static("dpop");
/// The field with the nonce for the next proof (RFC 9449 §8).
pub const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// The token of a request and what its sender proved with it.
pub(crate) struct Presentation<'a> {
    pub(crate) token: &'a str,
    pub(crate) proof: Option<VerifiedDpopProof>,
}

/// Who sent a request, as far as it matters for a binding.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    pub(crate) certificate: PresentedCertificate,
    pub(crate) proof: Option<VerifiedDpopProof>,
}

impl Sender {
    pub(crate) fn possession(&self) -> Possession<'_> {
        Possession {
            certificate: &self.certificate,
            proof: self.proof.as_ref(),
        }
    }
}

/// The scheme that a request without a usable token is answered by, too.
pub(crate) fn scheme_of(headers: &HeaderMap, policy: &RoutePolicy) -> TokenScheme {
    let authorization = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    match (AuthorizationScheme::of(authorization), policy.dpop()) {
        (AuthorizationScheme::Dpop, Dpop::Accepted | Dpop::Required) => TokenScheme::Dpop,
        _ => TokenScheme::Bearer,
    }
}

/// The token text, by whichever scheme the route takes.
pub(crate) fn token_of<'a>(
    headers: &'a HeaderMap,
    policy: &RoutePolicy,
) -> Result<(TokenScheme, &'a str), AccessTokenRefusal> {
    let schemes: &[TokenScheme] = match policy.dpop() {
        Dpop::Refused => &[TokenScheme::Bearer],
        Dpop::Accepted | Dpop::Required => &[TokenScheme::Bearer, TokenScheme::Dpop],
    };
    let values = headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
    let (scheme, token) = BearerToken::of_schemes(values, schemes)?;
    Ok((scheme, token.as_str()))
}

impl<'a> Presentation<'a> {
    /// Reads what `parts` present on a route of this policy.
    pub(crate) fn of(
        parts: &'a Parts,
        policy: &RoutePolicy,
        now: Timestamp,
    ) -> Result<Presentation<'a>, AccessTokenRefusal> {
        let headers = &parts.headers;
        let (scheme, token) = token_of(headers, policy)?;
        let proof = match (scheme, policy.dpop()) {
            (TokenScheme::Bearer, Dpop::Required) => return Err(AccessTokenRefusal::ProofRequired),
            // Who sends a proof means the token to be bound to its key; a bearer token says that it is not. One of both is wrong, and it
            // is not for us to choose which.
            (TokenScheme::Bearer, Dpop::Accepted) if headers.contains_key(DPOP) => {
                return Err(AccessTokenRefusal::ProofBesideBearer);
            }
            (TokenScheme::Bearer, _) => None,
            (TokenScheme::Dpop, _) => Some(verified_proof(parts, token, policy, now)?),
        };
        Ok(Presentation { token, proof })
    }
}

fn verified_proof(
    parts: &Parts,
    token: &str,
    policy: &RoutePolicy,
    now: Timestamp,
) -> Result<VerifiedDpopProof, AccessTokenRefusal> {
    // Without an origin the route refuses DPoP, and a target that is none no proof can name.
    let target = policy
        .public_origin()
        .and_then(|origin| HttpUri::at(origin, parts.uri.path()).ok());
    let request = DpopRequest {
        method: parts.method.as_str(),
        targets: target.as_slice(),
        access_token: Some(token),
        algorithms: DPOP_ALGORITHMS,
        nonces: policy.dpop_nonces(),
    };
    let fields = parts.headers.get_all(DPOP).iter().map(HeaderValue::as_bytes);
    Ok(request.verify(fields, now)?)
}
