//! Sign-in at another OpenID provider (OpenID Connect Core §3.1): the login page's other way in.
//!
//! Nothing is kept while the user is away. `state`, `nonce` and PKCE's verifier are made of the secret that the cookie of the
//! interaction (or of `/sign-in`) holds, so that only the browser that left can come back, and only into what it left: whoever is sent a
//! link with somebody else's answer in it has no cookie that explains its `state`.
//!
//! What the provider says about the user is taken over into the directory under a name and a subject of our own, made of issuer and
//! `sub`: two providers never mean the same user, and none of them names one of ours. Whom the provider signs in is the provider's to
//! decide; whoever shall not come in any more is disabled here. How long ago it may have been is the client's to decide: see `freshness.rs`.

mod freshness;

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use keybound_client::{AuthorizationRequest, AuthorizationSecrets, Client, ClientError, IdToken};
use keybound_protocol::base64url;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::json::{JsonObject, JsonTypeError};
use keybound_protocol::scope::Scope;
use keybound_protocol::time::Timestamp;
use keybound_protocol::user::{USER_SUBJECT_BYTES, UserClaims, UserName, UserNameError, UserSubject};
use serde_json::{Map, Value};
use url::Url;

pub(crate) use freshness::{Freshness, NotFresh};

/// The claims that are taken over from an ID token, as far as they are there.
const TEXT_CLAIMS: [&str; 6] = [
    "name",
    "given_name",
    "family_name",
    "preferred_username",
    "email",
    "locale",
];
/// The same, asked for: some providers keep them for the userinfo endpoint else (OpenID Connect Core §5.4, §5.5).
const CLAIMS: &str = r#"{"id_token":{"name":null,"given_name":null,"family_name":null,"preferred_username":null,"email":null,"locale":null,"email_verified":null,"auth_time":null}}"#;
const EMAIL_VERIFIED: &str = "email_verified";
/// The longest text that is taken over of one claim, in characters; a longer one is left out.
const CLAIM_CHARACTERS_MAX: usize = 256;

/// An OpenID provider at which users of this server may sign in.
#[derive(Clone)]
pub struct UpstreamProvider {
    /// Its name in configuration, in paths and at the front of its users' names: letters, digits, `.`, `_` and `-`.
    pub name: UserName,
    /// What people read on the login page.
    pub label: String,
    /// This server as the provider's client. Its redirect URI is `{issuer}/upstream/{name}`.
    pub client: Arc<Client>,
    /// What is asked for; `openid` is in it in any case.
    pub scope: Scope,
    /// Whether it supports PKCE by S256 though its metadata does not say so; some large ones do.
    pub assume_s256: bool,
}

/// Somebody whom a provider signed in.
#[derive(Debug, PartialEq)]
pub(crate) struct UpstreamUser {
    /// A name that no other provider's user has, and no user who was given a name here.
    pub(crate) name: UserName,
    /// A subject of ours, the same at each sign-in.
    pub(crate) subject: UserSubject,
    pub(crate) claims: UserClaims,
    /// When the user signed in there, if the provider says so.
    pub(crate) auth_time: Option<Timestamp>,
}

/// What a provider is asked for, made once when the browser leaves and once more when it is back.
pub(crate) struct UpstreamRequest<'a> {
    /// Ours.
    pub(crate) issuer: &'a Issuer,
    /// That of the cookie that this browser has.
    pub(crate) secret: &'a str,
    /// The interaction's identifier, or what the user is about without one.
    pub(crate) errand: &'a str,
    /// How fresh the client wants the sign-in to be.
    pub(crate) freshness: Option<Freshness>,
    /// Whom the client thinks it is about.
    pub(crate) login_hint: Option<&'a str>,
}

/// Why nobody was signed in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("no provider {0:?} is configured")]
    UnknownProvider(String),
    #[error("no interaction of this browser has this state")]
    State,
    #[error("the provider's answer does not sign anybody in")]
    Provider(#[source] Box<ClientError>),
    #[error("the provider sent no ID token")]
    NoIdToken,
    #[error("the sign-in there is not as fresh as the client wants it")]
    NotFresh(#[from] NotFresh),
    #[error("the ID token's claims cannot be taken over")]
    Claims(#[from] JsonTypeError),
    #[error("the user cannot be given a name here")]
    Name(#[from] UserNameError),
}

impl From<ClientError> for UpstreamError {
    fn from(error: ClientError) -> UpstreamError {
        UpstreamError::Provider(Box::new(error))
    }
}

impl UpstreamProvider {
    /// Where the browser goes to sign in; it comes back to [`redirect_uri`](Self::redirect_uri).
    pub(crate) async fn begin(&self, asked: &UpstreamRequest<'_>, now: Timestamp) -> Result<Url, UpstreamError> {
        let mut request = self.request(asked.issuer);
        if let Some(freshness) = asked.freshness {
            request = request.with_max_age_secs(freshness.max_age_secs);
            if freshness.asks_for_login {
                request = request.with_prompt("login");
            }
        }
        if let Some(login_hint) = asked.login_hint {
            request = request.with_login_hint(login_hint);
        }
        let secrets = self.secrets(asked.secret, asked.errand);
        let pending = self.client.begin_authorization(&request, secrets, now).await?;
        Ok(pending.url().clone())
    }

    /// Whether `state` is that of this errand.
    pub(crate) fn is_state_of(&self, state: &str, secret: &str, errand: &str) -> bool {
        let presented = base64url::decode(state).unwrap_or_default();
        hmac::verify(&key(secret), self.message("state", errand).as_bytes(), &presented).is_ok()
    }

    /// Takes the answer that the browser brought: `query`, undecoded.
    pub(crate) async fn finish(
        &self,
        asked: &UpstreamRequest<'_>,
        query: &str,
        now: Timestamp,
    ) -> Result<UpstreamUser, UpstreamError> {
        // Without `max_age`, which the client library would count from the answer alone: the sign-in is judged here.
        let (request, secrets) = (self.request(asked.issuer), self.secrets(asked.secret, asked.errand));
        let pending = self.client.resume_authorization(&request, secrets, now).await?;
        let response = self.client.finish_authorization(pending, query, now).await?;
        let id_token = response.id_token().ok_or(UpstreamError::NoIdToken)?;
        if let Some(freshness) = asked.freshness {
            freshness.require(id_token.auth_time(), now)?;
        }
        self.user(id_token)
    }

    /// The one redirect URI that this server has at the provider.
    pub(crate) fn redirect_uri(&self, issuer: &Issuer) -> Url {
        issuer.endpoint_url(&format!("/upstream/{}", self.name))
    }

    fn request(&self, issuer: &Issuer) -> AuthorizationRequest {
        let request = AuthorizationRequest::new(self.redirect_uri(issuer))
            .with_scope(self.scope.clone())
            .with_claims(CLAIMS);
        match self.assume_s256 {
            true => request.with_assumed_s256(),
            false => request,
        }
    }

    fn secrets(&self, secret: &str, errand: &str) -> AuthorizationSecrets {
        let derive = |what| derived(secret, &self.message(what, errand));
        AuthorizationSecrets::from_octets(&derive("state"), &derive("nonce"), &derive("code_verifier"))
    }

    fn message(&self, what: &str, errand: &str) -> String {
        format!("keybound upstream {what}\0{}\0{errand}", self.name)
    }

    fn user(&self, id_token: &IdToken) -> Result<UpstreamUser, UpstreamError> {
        let issuer = self.client.server().issuer();
        let subject = subject_of(issuer, id_token.subject());
        let tail = subject.as_str().trim_start_matches("u.");
        Ok(UpstreamUser {
            name: UserName::parse(&format!("{}.{tail}", self.name))?,
            claims: claims_of(id_token.claims())?,
            auth_time: id_token.auth_time(),
            subject,
        })
    }
}

fn key(secret: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())
}

fn derived(secret: &str, message: &str) -> [u8; 32] {
    let mut octets = [0; 32];
    octets.copy_from_slice(hmac::sign(&key(secret), message.as_bytes()).as_ref());
    octets
}

/// Our subject for somebody else's: neither of both can be chosen so that it meets another one.
fn subject_of(issuer: &Issuer, subject: &str) -> UserSubject {
    let hashed = digest(&SHA256, format!("keybound upstream\0{issuer}\0{subject}").as_bytes());
    let mut octets = [0; USER_SUBJECT_BYTES];
    octets.copy_from_slice(&hashed.as_ref()[..USER_SUBJECT_BYTES]);
    UserSubject::from_random(&octets)
}

/// What is taken over. A claim of another type makes the whole token suspect; a text that is too long is only left out.
fn claims_of(claims: &JsonObject) -> Result<UserClaims, JsonTypeError> {
    let mut taken = Map::new();
    for name in TEXT_CLAIMS {
        if let Some(text) = claims
            .string(name)?
            .filter(|text| text.chars().count() <= CLAIM_CHARACTERS_MAX)
        {
            taken.insert(name.to_owned(), Value::from(text));
        }
    }
    if let Some(is_verified) = claims.boolean(EMAIL_VERIFIED)? {
        taken.insert(EMAIL_VERIFIED.to_owned(), Value::from(is_verified));
    }
    Ok(UserClaims::parse(&Value::Object(taken)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(text: &str) -> Issuer {
        Issuer::parse(text).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_subject_is_the_same_at_each_sign_in_and_for_nobody_else() {
        let own = subject_of(&issuer("https://a.example"), "alice");
        assert_eq!(own, subject_of(&issuer("https://a.example"), "alice"));
        for (other, subject) in [
            ("https://b.example", "alice"),
            ("https://a.example", "alicE"),
            ("https://a.example/alice", ""),
        ] {
            assert_ne!(own, subject_of(&issuer(other), subject), "{other} {subject}");
        }
    }

    #[test]
    fn claims_of_another_type_are_refused_and_long_ones_left_out() {
        let read =
            |json: &str| claims_of(&JsonObject::parse(json.as_bytes()).unwrap_or_else(|error| panic!("{error}")));
        assert!(read(r#"{"name": 1}"#).is_err());
        assert!(read(r#"{"email_verified": "true"}"#).is_err());
        let long = format!(
            r#"{{"name": "{}", "email": "a@x.example", "roles": ["admin"], "sub": "root"}}"#,
            "x".repeat(257)
        );
        let claims = read(&long).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(claims.to_json(), r#"{"email":"a@x.example"}"#);
    }
}
