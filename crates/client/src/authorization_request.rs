//! What a user is asked to allow, and the request under way (RFC 6749 §4.1.1).

use keybound_protocol::base64url;
use keybound_protocol::pkce::{CodeVerifier, S256};
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::scope::Scope;
use keybound_protocol::time::Timestamp;
use url::Url;

use crate::identity::Identity;

/// What is asked of the authorization endpoint. What makes a request safe (`state`, PKCE, `nonce`) is added to each.
#[derive(Clone, Debug)]
pub struct AuthorizationRequest {
    redirect_uri: Url,
    scope: Scope,
    resources: Vec<ResourceUri>,
    max_age_secs: Option<u64>,
    signed_response: bool,
    assumes_s256: bool,
    further: Vec<(&'static str, String)>,
}

impl AuthorizationRequest {
    /// A request whose answer goes to `redirect_uri`.
    pub fn new(redirect_uri: Url) -> AuthorizationRequest {
        AuthorizationRequest {
            redirect_uri,
            scope: Scope::empty(),
            resources: Vec::new(),
            max_age_secs: None,
            signed_response: false,
            assumes_s256: false,
            further: Vec::new(),
        }
    }

    /// The same with this scope. With `openid` in it, an ID token is asked for and must come.
    #[must_use]
    pub fn with_scope(mut self, scope: Scope) -> AuthorizationRequest {
        self.scope = scope;
        self
    }

    /// The same for one more resource (RFC 8707).
    #[must_use]
    pub fn with_resource(mut self, resource: ResourceUri) -> AuthorizationRequest {
        self.resources.push(resource);
        self
    }

    /// The same with `max_age`: how long ago the user may have signed in, in seconds.
    #[must_use]
    pub fn with_max_age_secs(mut self, max_age_secs: u64) -> AuthorizationRequest {
        self.max_age_secs = Some(max_age_secs);
        self
    }

    /// The same with an answer that is a signed JWT (JARM); one that is not is then refused.
    #[must_use]
    pub fn with_signed_response(mut self) -> AuthorizationRequest {
        self.signed_response = true;
        self
    }

    /// The same, made also to a server whose metadata names no code challenge methods: that says that it has no PKCE (RFC 8414 §2), and
    /// is refused unless the caller knows better. One that names some, and not S256, is refused in any case.
    #[must_use]
    pub fn with_assumed_s256(mut self) -> AuthorizationRequest {
        self.assumes_s256 = true;
        self
    }

    /// The same with `prompt`.
    #[must_use]
    pub fn with_prompt(self, prompt: &str) -> AuthorizationRequest {
        self.with("prompt", prompt)
    }

    /// The same with `login_hint`.
    #[must_use]
    pub fn with_login_hint(self, login_hint: &str) -> AuthorizationRequest {
        self.with("login_hint", login_hint)
    }

    /// The same with `authorization_details` (RFC 9396): a JSON array.
    #[must_use]
    pub fn with_authorization_details(self, json: &str) -> AuthorizationRequest {
        self.with("authorization_details", json)
    }

    /// The same with `claims` (OpenID Connect Core §5.5): a JSON object.
    #[must_use]
    pub fn with_claims(self, json: &str) -> AuthorizationRequest {
        self.with("claims", json)
    }

    fn with(mut self, name: &'static str, value: &str) -> AuthorizationRequest {
        self.further.push((name, value.to_owned()));
        self
    }

    /// Where the answer goes.
    pub fn redirect_uri(&self) -> &Url {
        &self.redirect_uri
    }

    pub(crate) fn wants_id_token(&self) -> bool {
        self.scope.contains("openid")
    }

    pub(crate) fn max_age_secs(&self) -> Option<u64> {
        self.max_age_secs
    }

    pub(crate) fn assumes_s256(&self) -> bool {
        self.assumes_s256
    }

    pub(crate) fn wants_signed_response(&self) -> bool {
        self.signed_response
    }

    /// The parameters, all but `client_id`.
    pub(crate) fn parameters(&self, secrets: &AuthorizationSecrets) -> Vec<(&'static str, String)> {
        let mut parameters = vec![
            ("response_type", "code".to_owned()),
            ("redirect_uri", self.redirect_uri.to_string()),
            ("state", secrets.state.clone()),
            ("code_challenge", secrets.verifier.challenge().to_text()),
            ("code_challenge_method", S256.to_owned()),
        ];
        if !self.scope.is_empty() {
            parameters.push(("scope", self.scope.to_string()));
        }
        if self.wants_id_token() {
            parameters.push(("nonce", secrets.nonce.clone()));
        }
        if self.signed_response {
            parameters.push(("response_mode", "jwt".to_owned()));
        }
        if let Some(max_age_secs) = self.max_age_secs {
            parameters.push(("max_age", max_age_secs.to_string()));
        }
        let resources = self.resources.iter();
        parameters.extend(resources.map(|resource| ("resource", resource.as_str().to_owned())));
        parameters.extend(self.further.iter().cloned());
        parameters
    }
}

/// What nobody can guess about one authorization request: `state`, `nonce`, and the code verifier.
#[derive(Clone)]
pub struct AuthorizationSecrets {
    pub(crate) state: String,
    pub(crate) nonce: String,
    pub(crate) verifier: CodeVerifier,
}

impl AuthorizationSecrets {
    /// The secrets of three times 32 random octets. They are for one request.
    pub fn from_octets(state: &[u8; 32], nonce: &[u8; 32], verifier: &[u8; 32]) -> AuthorizationSecrets {
        AuthorizationSecrets {
            state: base64url::encode(state),
            nonce: base64url::encode(nonce),
            verifier: CodeVerifier::from_random(*verifier),
        }
    }
}

impl std::fmt::Debug for AuthorizationSecrets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("AuthorizationSecrets")
    }
}

/// An authorization request whose answer has not come yet. It takes one answer, whichever that is.
#[derive(Debug)]
pub struct PendingAuthorization {
    pub(crate) url: Url,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) secrets: AuthorizationSecrets,
    pub(crate) request: AuthorizationRequest,
    /// What the server said about itself when it was asked: whether an answer without `iss` is refused.
    pub(crate) requires_issuer: bool,
    /// The certificate that pushed the request is the one that redeems its code.
    pub(crate) identity: Identity,
}

impl PendingAuthorization {
    /// Where the user's browser goes.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// When the pushed request expires: the browser has to get there before.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// The client's address that the answer comes to.
    pub fn redirect_uri(&self) -> &Url {
        &self.request.redirect_uri
    }
}
