//! What one route of a protected resource demands of an access token.

use std::sync::Arc;

use keybound_protocol::issuer::Issuer;
use keybound_protocol::protected_resource_metadata::ResourceMetadataUrl;
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::scope::Scope;

/// Whether the certificate binding of a token (`cnf.x5t#S256`, RFC 8705 §3) decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Binding {
    /// Only tokens bound to the certificate of this request. A token without `cnf` is refused.
    #[default]
    Required,
    /// A token without `cnf` passes as a bearer token; one with `cnf` is checked like any other.
    Optional,
    /// No binding is looked at, so that a stolen bound token works here too. For routes on a listener that asks for no
    /// certificate, and for nothing else.
    None,
}

impl Binding {
    /// The word for it in configuration files.
    pub fn as_str(self) -> &'static str {
        match self {
            Binding::Required => "required",
            Binding::Optional => "optional",
            Binding::None => "none",
        }
    }
}

/// What one route demands of an access token. Cloning is cheap, so that each request may carry its own.
///
/// A new one demands the given audience and a certificate binding, no scope, and takes tokens of every configured issuer.
#[derive(Clone, Debug)]
pub struct RoutePolicy {
    rules: Arc<Rules>,
}

#[derive(Clone, Debug)]
struct Rules {
    audience: ResourceUri,
    scopes: Scope,
    binding: Binding,
    issuers: Vec<Issuer>,
    resource_metadata: Option<ResourceMetadataUrl>,
}

impl RoutePolicy {
    /// A route of the protected resource `audience`: tokens bound to the caller's certificate, of any configured issuer,
    /// whatever their scope.
    pub fn new(audience: ResourceUri) -> RoutePolicy {
        let rules = Rules {
            audience,
            scopes: Scope::empty(),
            binding: Binding::Required,
            issuers: Vec::new(),
            resource_metadata: None,
        };
        RoutePolicy { rules: Arc::new(rules) }
    }

    /// The same, and every word of `scopes` must be in the token's scope.
    #[must_use]
    pub fn with_scopes(self, scopes: Scope) -> RoutePolicy {
        self.changed(|rules| rules.scopes = scopes)
    }

    /// The same with another treatment of the certificate binding.
    #[must_use]
    pub fn with_binding(self, binding: Binding) -> RoutePolicy {
        self.changed(|rules| rules.binding = binding)
    }

    /// The same, for tokens of these issuers alone; an empty list admits every issuer that is configured.
    #[must_use]
    pub fn with_issuers(self, issuers: Vec<Issuer>) -> RoutePolicy {
        self.changed(|rules| rules.issuers = issuers)
    }

    /// The same, and every challenge says that the metadata of the resource lies at `url` (RFC 9728 §5.1). For whoever serves it
    /// there.
    #[must_use]
    pub fn with_resource_metadata(self, url: ResourceMetadataUrl) -> RoutePolicy {
        self.changed(|rules| rules.resource_metadata = Some(url))
    }

    /// What the `aud` of a token must name, unless its issuer's settings admit other audiences.
    pub fn audience(&self) -> &ResourceUri {
        &self.rules.audience
    }

    /// The words that a token's scope must contain.
    pub fn scopes(&self) -> &Scope {
        &self.rules.scopes
    }

    /// What is done about the certificate binding.
    pub fn binding(&self) -> Binding {
        self.rules.binding
    }

    /// The only issuers whose tokens are taken; empty for all that are configured.
    pub fn issuers(&self) -> &[Issuer] {
        &self.rules.issuers
    }

    /// Where challenges say that the metadata of the resource lies.
    pub fn resource_metadata(&self) -> Option<&ResourceMetadataUrl> {
        self.rules.resource_metadata.as_ref()
    }

    /// Whether tokens of `issuer` are taken.
    pub fn admits_issuer(&self, issuer: &Issuer) -> bool {
        let issuers = &self.rules.issuers;
        issuers.is_empty() || issuers.iter().any(|own| own.as_str() == issuer.as_str())
    }

    fn changed(mut self, change: impl FnOnce(&mut Rules)) -> RoutePolicy {
        change(Arc::make_mut(&mut self.rules));
        self
    }
}
