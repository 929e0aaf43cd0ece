//! Trading one token for another (RFC 8693 §2.1).

use keybound_protocol::resource::ResourceUri;
use keybound_protocol::scope::Scope;

/// The type of access tokens, whatever their form (RFC 8693 §3).
pub const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";
/// The type of JWTs of no other type (RFC 8693 §3).
pub const JWT_TYPE: &str = "urn:ietf:params:oauth:token-type:jwt";

/// What is traded, and for what.
#[derive(Clone)]
pub struct TokenExchange {
    subject_token: String,
    subject_token_type: String,
    actor: Option<(String, String)>,
    scope: Scope,
    resources: Vec<ResourceUri>,
    audiences: Vec<String>,
}

impl TokenExchange {
    /// Trades a token of [`ACCESS_TOKEN_TYPE`].
    pub fn of_access_token(subject_token: &str) -> TokenExchange {
        TokenExchange::new(subject_token, ACCESS_TOKEN_TYPE)
    }

    /// Trades a token of this type.
    pub fn new(subject_token: &str, subject_token_type: &str) -> TokenExchange {
        TokenExchange {
            subject_token: subject_token.to_owned(),
            subject_token_type: subject_token_type.to_owned(),
            actor: None,
            scope: Scope::empty(),
            resources: Vec::new(),
            audiences: Vec::new(),
        }
    }

    /// The same for somebody who acts in the subject's place: his token and its type.
    #[must_use]
    pub fn with_actor(mut self, actor_token: &str, actor_token_type: &str) -> TokenExchange {
        self.actor = Some((actor_token.to_owned(), actor_token_type.to_owned()));
        self
    }

    /// The same with this scope; the empty one leaves it to the server.
    #[must_use]
    pub fn with_scope(mut self, scope: &Scope) -> TokenExchange {
        self.scope = scope.clone();
        self
    }

    /// The same for one more resource (RFC 8707).
    #[must_use]
    pub fn with_resource(mut self, resource: ResourceUri) -> TokenExchange {
        self.resources.push(resource);
        self
    }

    /// The same for one more `audience`: a name that is no URI.
    #[must_use]
    pub fn with_audience(mut self, audience: &str) -> TokenExchange {
        self.audiences.push(audience.to_owned());
        self
    }

    pub(crate) fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut parameters = vec![
            ("subject_token", self.subject_token.clone()),
            ("subject_token_type", self.subject_token_type.clone()),
        ];
        if let Some((token, token_type)) = &self.actor {
            parameters.push(("actor_token", token.clone()));
            parameters.push(("actor_token_type", token_type.clone()));
        }
        if !self.scope.is_empty() {
            parameters.push(("scope", self.scope.to_string()));
        }
        let resources = self.resources.iter();
        parameters.extend(resources.map(|resource| ("resource", resource.as_str().to_owned())));
        let audiences = self.audiences.iter();
        parameters.extend(audiences.map(|audience| ("audience", audience.clone())));
        parameters
    }
}

impl std::fmt::Debug for TokenExchange {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TokenExchange")
            .field("subject_token_type", &self.subject_token_type)
            .field("scope", &self.scope)
            .field("resources", &self.resources)
            .finish_non_exhaustive()
    }
}
