//! ID tokens (OpenID Connect Core §2): what a client is told about the user who signed in.

use std::time::Duration;

use keybound_protocol::claims_request::ClaimsRequest;
use keybound_protocol::client::{Client, ClientId};
use keybound_protocol::id_token::{ID_TOKEN_TYPE, IdTokenClaims, PushedWith};
use keybound_protocol::issuer::Issuer;
use keybound_protocol::json::JsonObject;
use keybound_protocol::jws::{JwsPolicy, UnverifiedJws};
use keybound_protocol::scope::Scope;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::time::Timestamp;
use keybound_protocol::user::UserSubject;
use keybound_protocol::userinfo::{self, OPENID_SCOPE};
use keybound_store::Grant;
use serde_json::Map;

use crate::access_tokens::IssueError;
use crate::configuration::Configuration;
use crate::server::Server;
use crate::signing_keys::{self, KeyRing};

/// How long an ID token may be read after it was made: it says who signed in, and is used at once.
pub(crate) const ID_TOKEN_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// What an ID token is made of.
#[derive(Clone, Copy)]
pub(crate) struct NewIdToken<'a> {
    pub(crate) client: &'a Client,
    /// What the user allowed.
    pub(crate) grant: &'a Grant,
    /// What of it the access token has.
    pub(crate) scope: &'a Scope,
    /// `nonce` of the authorization request; `None` if it had none, and after a refresh (§12.2).
    pub(crate) nonce: Option<&'a str>,
    /// The access token that comes with it.
    pub(crate) access_token: &'a str,
    /// What it is pushed with, if it is.
    pub(crate) pushed: Option<PushedWith<'a>>,
    pub(crate) now: Timestamp,
}

/// Makes an ID token, if there is to be one: OpenID Connect is on, and `openid` was granted.
///
/// # Errors
/// [`IssueError`]
pub(crate) async fn issue(
    server: &Server,
    configuration: &Configuration,
    token: NewIdToken<'_>,
) -> Result<Option<String>, IssueError> {
    if !configuration.openid_enabled || !token.scope.contains(OPENID_SCOPE) {
        return Ok(None);
    }
    let grant = token.grant;
    let requested = requested_claims(grant.claims.as_deref());
    let user = server.users.find(&grant.subject)?;
    let user_claims = user.map_or_else(Map::new, |user| userinfo::id_token_claims(&requested, &user.claims));
    let wants_auth_time =
        requested.wants_in_id_token("auth_time") || token.client.metadata().authorization().require_auth_time;
    let claims = IdTokenClaims {
        issuer: &configuration.issuer,
        subject: grant.subject.as_str(),
        client_id: &grant.client_id,
        issued_at: token.now,
        expires_at: token.now.plus(ID_TOKEN_LIFETIME),
        auth_time: grant.auth_time.filter(|_| wants_auth_time),
        nonce: token.nonce,
        acr: grant.acr.as_deref().filter(|_| requested.wants_in_id_token("acr")),
        access_token: Some(token.access_token),
        pushed: token.pushed,
        user_claims: &user_claims,
    };
    let registered = token.client.metadata().authorization().id_token_signed_response_alg;
    let signer = server.keys.ring().signer_for_or_usual(registered);
    let unsigned = claims.encode_unsigned(&*signer);
    let jwt = signing_keys::sign(signer, |signer| unsigned.sign(signer)).await?;
    Ok(Some(jwt))
}

/// Whom an ID token is about that this server made for this client. It may have expired: it is shown again as a hint (§3.1.2.1).
pub(crate) fn hinted_subject(ring: &KeyRing, issuer: &Issuer, client_id: &ClientId, jwt: &str) -> Option<UserSubject> {
    let policy = JwsPolicy {
        algorithms: &SignatureAlgorithm::ALL,
        types: &[ID_TOKEN_TYPE],
        type_may_be_missing: false,
    };
    let jws = UnverifiedJws::parse(jwt).ok()?;
    let verified = jws.verify(&policy, &ring.published).ok()?;
    let claims = JsonObject::parse(verified.payload()).ok()?;
    let is_ours = claims.string("iss").ok()? == Some(issuer.as_str());
    let is_theirs = claims.string_or_strings("aud").ok()?? == [client_id.as_str()];
    let subject = claims.string("sub").ok()??;
    UserSubject::parse(subject).ok().filter(|_| is_ours && is_theirs)
}

/// The claims request of a grant. One that cannot be read any more asks for nothing.
pub(crate) fn requested_claims(stored: Option<&str>) -> ClaimsRequest {
    stored
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}
