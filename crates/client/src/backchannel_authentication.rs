//! Asking a user who is somewhere else (CIBA Core §7.1), in poll mode.

use std::time::Duration;

use keybound_protocol::json::JsonObject;
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::scope::Scope;

use crate::error::ResponseError;
use crate::polling::Announced;

/// By what the server finds the user: exactly one (CIBA Core §7.1).
#[derive(Clone, PartialEq, Eq)]
pub enum UserHint {
    /// A name, an address, a number.
    Login(String),
    /// A token that a third party made about him.
    LoginToken(String),
    /// An ID token that the server issued before.
    IdToken(String),
}

impl std::fmt::Debug for UserHint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.parameter().0)
    }
}

impl UserHint {
    fn parameter(&self) -> (&'static str, &str) {
        match self {
            UserHint::Login(hint) => ("login_hint", hint),
            UserHint::LoginToken(token) => ("login_hint_token", token),
            UserHint::IdToken(token) => ("id_token_hint", token),
        }
    }
}

/// What a user is asked by way of the backchannel.
#[derive(Clone, Debug)]
pub struct BackchannelRequest {
    hint: UserHint,
    scope: Scope,
    resources: Vec<ResourceUri>,
    requested_expiry: Option<Duration>,
    further: Vec<(&'static str, String)>,
}

impl BackchannelRequest {
    /// A request to this user. `scope` has `openid` in it, whether or not the caller put it there: CIBA Core §7.1 demands it.
    pub fn new(hint: UserHint, scope: &Scope) -> BackchannelRequest {
        let words = ["openid"]
            .into_iter()
            .chain(scope.words().filter(|word| *word != "openid"));
        let words: Vec<&str> = words.collect();
        BackchannelRequest {
            hint,
            // Words of a scope, and one that is one: this parses.
            scope: Scope::parse(&words.join(" ")).unwrap_or_else(|_| scope.clone()),
            resources: Vec::new(),
            requested_expiry: None,
            further: Vec::new(),
        }
    }

    /// The same for one more resource (RFC 8707).
    #[must_use]
    pub fn with_resource(mut self, resource: ResourceUri) -> BackchannelRequest {
        self.resources.push(resource);
        self
    }

    /// The same with a text that the user sees on both sides, so that he knows what he allows.
    #[must_use]
    pub fn with_binding_message(mut self, message: &str) -> BackchannelRequest {
        self.further.push(("binding_message", message.to_owned()));
        self
    }

    /// The same with `authorization_details` (RFC 9396): a JSON array.
    #[must_use]
    pub fn with_authorization_details(mut self, json: &str) -> BackchannelRequest {
        self.further.push(("authorization_details", json.to_owned()));
        self
    }

    /// The same with how long the client is going to wait.
    #[must_use]
    pub fn with_requested_expiry(mut self, expiry: Duration) -> BackchannelRequest {
        self.requested_expiry = Some(expiry);
        self
    }

    pub(crate) fn parameters(&self) -> Vec<(&'static str, String)> {
        let (name, hint) = self.hint.parameter();
        let mut parameters = vec![("scope", self.scope.to_string()), (name, hint.to_owned())];
        let resources = self.resources.iter();
        parameters.extend(resources.map(|resource| ("resource", resource.as_str().to_owned())));
        if let Some(expiry) = self.requested_expiry {
            parameters.push(("requested_expiry", expiry.as_secs().to_string()));
        }
        parameters.extend(self.further.iter().cloned());
        parameters
    }
}

/// The answer of the backchannel authentication endpoint.
pub(crate) struct BackchannelResponse {
    pub(crate) auth_req_id: String,
    pub(crate) announced: Announced,
}

impl BackchannelResponse {
    pub(crate) fn parse(body: &[u8]) -> Result<BackchannelResponse, ResponseError> {
        let object = JsonObject::parse(body)?;
        let auth_req_id = object.string("auth_req_id")?.filter(|id| !id.is_empty());
        Ok(BackchannelResponse {
            auth_req_id: auth_req_id.ok_or(ResponseError::Missing("auth_req_id"))?.to_owned(),
            announced: Announced {
                expires_in: object
                    .numeric_date("expires_in")?
                    .ok_or(ResponseError::Missing("expires_in"))?,
                interval: object.numeric_date("interval")?,
            },
        })
    }
}
