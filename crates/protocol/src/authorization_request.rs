//! The authorization request (RFC 6749 §4.1.1): what a client asks a user for, pushed (RFC 9126), signed (RFC 9101) or in a URL.
//!
//! [`AuthorizationParameters`] are what was sent, as a form or as a request object; [`AuthorizationRequest::parse`] judges them and is the
//! one way to a request. A refusal says whether the client may be told by a redirect: only once client and redirect URI are known to
//! belong together (§4.1.2.1).

mod error;
mod parameters;
mod parse;
mod prompt;
mod terms;

use serde::{Deserialize, Serialize};

use crate::authorization_details::{AuthorizationDetails, AuthorizationDetailsTypes};
use crate::authorization_response::{ResponseMode, ResponseTarget};
use crate::claims_request::ClaimsRequest;
use crate::client::{Client, ClientId};
use crate::pkce::CodeChallenge;
use crate::profile::Profile;
use crate::redirect_uri::RedirectUri;
use crate::resource::ResourceUri;
use crate::scope::Scope;

use std::collections::BTreeSet;

pub use error::{AuthorizationRefusal, AuthorizationRequestError};
pub use parameters::AuthorizationParameters;
pub use prompt::Prompt;
pub use terms::{RequestForm, RequestTerms};

/// The longest `state` in octets. Clients keep whole pages in it.
pub const STATE_BYTES_MAX: usize = 4096;
/// The longest `nonce`, `login_hint`, `ui_locales` and `acr_values` in octets each.
pub const TEXT_BYTES_MAX: usize = 1024;
/// What every `request_uri` of this server begins with (RFC 9126 §2.2). No other is ever looked at.
pub const REQUEST_URI_PREFIX: &str = "urn:ietf:params:oauth:request_uri:";

/// What the server knows when it judges an authorization request. Everything is stated by the caller; nothing has a default.
#[derive(Debug, Clone, Copy)]
pub struct AuthorizationPolicy<'a> {
    /// The server's profile; that of the client counts if it is stricter.
    pub profile: Profile,
    /// Whether the request was pushed by its authenticated client.
    pub is_pushed: bool,
    /// Whether every client has to push its requests, whatever it registered.
    pub requires_pushed: bool,
    /// The resources that tokens can be asked for.
    pub resources: &'a BTreeSet<ResourceUri>,
    /// The types of authorization details.
    pub authorization_details_types: &'a AuthorizationDetailsTypes,
}

/// An authorization request that its client may make. Whether the user allows it is still to be asked.
///
/// As JSON it is what is stored of a pushed request and of an interaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuthorizationRequest {
    target: ResponseTarget,
    redirect_uri_was_sent: bool,
    scope: Scope,
    code_challenge: Option<CodeChallenge>,
    nonce: Option<String>,
    prompt: Prompt,
    max_age: Option<u64>,
    login_hint: Option<String>,
    ui_locales: Vec<String>,
    acr_values: Vec<String>,
    claims: ClaimsRequest,
    resources: Vec<ResourceUri>,
    authorization_details: AuthorizationDetails,
    dpop_jkt: Option<String>,
    #[serde(default)]
    hinted_user: Option<HintedUser>,
    #[serde(default)]
    form: RequestForm,
}

/// Whom `id_token_hint` names (OpenID Connect Core §3.1.2.1). The token itself is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HintedUser {
    /// The user with this `sub`: the ID token was made by this server for this client.
    Subject(String),
    /// Nobody knows: it is no such ID token, or its key is forgotten by now.
    Unverified,
}

/// What a client asks a user for: the part that every way of asking has in common.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WantedAuthorization {
    /// `scope`; if the request left it out, all that the client registered (RFC 6749 §3.3).
    pub scope: Scope,
    /// `resource`, in the order asked, without repetition; empty leaves it to the server (RFC 8707).
    pub resources: Vec<ResourceUri>,
    /// `authorization_details`, each of a configured type.
    pub authorization_details: AuthorizationDetails,
}

impl WantedAuthorization {
    /// Judges what `client` asks for, on a device (RFC 8628 §3.1) or by backchannel authentication (CIBA Core §7.1).
    ///
    /// # Errors
    /// Those of scope, resources and authorization details among [`AuthorizationRequestError`].
    pub fn read(
        client: &Client,
        parameters: &AuthorizationParameters,
        policy: &AuthorizationPolicy<'_>,
    ) -> Result<Self, AuthorizationRequestError> {
        parse::wanted(client, parameters, policy)
    }

    /// Judges by what is registered for `client` now what was judged before and stored.
    ///
    /// # Errors
    /// Those of scope, resources and authorization details among [`AuthorizationRequestError`].
    pub fn require_still_permitted(
        &self,
        client: &Client,
        policy: &AuthorizationPolicy<'_>,
    ) -> Result<(), AuthorizationRequestError> {
        parse::require_scope(client, &self.scope)?;
        for resource in &self.resources {
            parse::require_resource(policy, resource)?;
        }
        parse::require_details(client, policy, &self.authorization_details)
    }
}

impl AuthorizationRequest {
    /// Judges an authorization request of `client`.
    ///
    /// # Errors
    /// [`AuthorizationRefusal`]: with a target if the client may be told.
    pub fn parse(
        client: &Client,
        parameters: &AuthorizationParameters,
        policy: &AuthorizationPolicy<'_>,
    ) -> Result<Self, AuthorizationRefusal> {
        parse::parse(client, parameters, policy)
    }

    /// Where `client` may be told about a request that is not read, because the rest of it lies elsewhere. `None` if it names no
    /// redirect URI of its own.
    pub fn named_target(
        client: &Client,
        parameters: &AuthorizationParameters,
        policy: &AuthorizationPolicy<'_>,
    ) -> Option<ResponseTarget> {
        parse::named_target(client, parameters, policy)
    }

    /// Refuses to ask a user for what no sign-in here can give: an authentication context that the client insists on. That is a failed
    /// sign-in (OpenID Connect Core §5.5.1.1), of which a browser's client is told, and not a mistake in what was pushed.
    ///
    /// # Errors
    /// [`AuthorizationRequestError::AuthenticationContext`]
    pub fn require_possible_sign_in(&self) -> Result<(), AuthorizationRequestError> {
        match self.claims.required_authentication_contexts() {
            Some(values) => Err(AuthorizationRequestError::AuthenticationContext { values: values.len() }),
            None => Ok(()),
        }
    }

    /// Judges by what is registered for `client` now a request that was judged before and stored.
    ///
    /// # Errors
    /// [`AuthorizationRefusal`]: with a target if the client may still be told.
    pub fn require_still_permitted(
        &self,
        client: &Client,
        policy: &AuthorizationPolicy<'_>,
    ) -> Result<(), AuthorizationRefusal> {
        let wanted = WantedAuthorization {
            scope: self.scope.clone(),
            resources: self.resources.clone(),
            authorization_details: self.authorization_details.clone(),
        };
        self.terms()
            .require_still_permitted(client, policy)
            .and_then(|()| wanted.require_still_permitted(client, policy))
            .map_err(|reason| {
                let is_elsewhere = matches!(reason, AuthorizationRequestError::RedirectUri(_));
                let target = (!is_elsewhere).then(|| Box::new(self.target.clone()));
                AuthorizationRefusal { reason, target }
            })
    }

    /// The request as it is stored.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a request that was stored, and judged before that.
    ///
    /// # Errors
    /// The stored text is of another version of this type.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Where the answer goes.
    pub fn target(&self) -> &ResponseTarget {
        &self.target
    }

    /// The client.
    pub fn client_id(&self) -> &ClientId {
        &self.target.client_id
    }

    /// Where the browser is sent with the answer.
    pub fn redirect_uri(&self) -> &RedirectUri {
        &self.target.redirect_uri
    }

    /// `redirect_uri` if the request had it: then the token request has to repeat it (RFC 6749 §4.1.3).
    pub fn sent_redirect_uri(&self) -> Option<&RedirectUri> {
        self.redirect_uri_was_sent.then_some(&self.target.redirect_uri)
    }

    /// `state`, unchanged.
    pub fn state(&self) -> Option<&str> {
        self.target.state.as_deref()
    }

    /// `response_mode`
    pub fn response_mode(&self) -> ResponseMode {
        self.target.response_mode
    }

    /// What is asked for; if the request left it out, all that the client registered (RFC 6749 §3.3).
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// `code_challenge`, by S256.
    pub fn code_challenge(&self) -> Option<&CodeChallenge> {
        self.code_challenge.as_ref()
    }

    /// `nonce`, unchanged.
    pub fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }

    /// `prompt`
    pub fn prompt(&self) -> Prompt {
        self.prompt
    }

    /// How long ago the user may have signed in, in seconds: `max_age`, else the client's `default_max_age`.
    pub fn max_age(&self) -> Option<u64> {
        self.max_age
    }

    /// `login_hint`
    pub fn login_hint(&self) -> Option<&str> {
        self.login_hint.as_deref()
    }

    /// `ui_locales`, the preferred first.
    pub fn ui_locales(&self) -> &[String] {
        &self.ui_locales
    }

    /// `acr_values`, the preferred first.
    pub fn acr_values(&self) -> &[String] {
        &self.acr_values
    }

    /// `claims`
    pub fn claims(&self) -> &ClaimsRequest {
        &self.claims
    }

    /// `resource`, in the order asked, without repetition; empty leaves it to the server (RFC 8707).
    pub fn resources(&self) -> &[ResourceUri] {
        &self.resources
    }

    /// `authorization_details`, each of a configured type.
    pub fn authorization_details(&self) -> &AuthorizationDetails {
        &self.authorization_details
    }

    /// `dpop_jkt`: the thumbprint of the key that the code is bound to (RFC 9449 §10).
    pub fn dpop_jkt(&self) -> Option<&str> {
        self.dpop_jkt.as_deref()
    }

    /// How it came, and what it was judged by.
    pub fn form(&self) -> RequestForm {
        self.form
    }

    /// Whom `id_token_hint` names; `None` if there was none.
    pub fn hinted_user(&self) -> Option<&HintedUser> {
        self.hinted_user.as_ref()
    }

    /// The same request with what is known of its `id_token_hint`: only who has the keys can tell.
    #[must_use]
    pub fn with_hinted_user(mut self, hinted_user: HintedUser) -> Self {
        self.hinted_user = Some(hinted_user);
        self
    }

    /// Whether the answer may be about this user: the client named no other, by `claims` (OpenID Connect Core §5.5.1) or by
    /// `id_token_hint` (§3.1.2.2). A hint that could not be verified names nobody.
    pub fn is_about(&self, subject: &str) -> bool {
        let is_hinted = match &self.hinted_user {
            Some(HintedUser::Subject(hinted)) => hinted == subject,
            Some(HintedUser::Unverified) | None => true,
        };
        is_hinted
            && self
                .claims
                .required_subject()
                .is_none_or(|required| required == subject)
    }

    /// The same request with its code bound to the key of the DPoP proof that came with it (RFC 9449 §10.1).
    #[must_use]
    pub fn bound_to_dpop_key(mut self, thumbprint: String) -> Self {
        self.dpop_jkt = Some(thumbprint);
        self
    }
}
