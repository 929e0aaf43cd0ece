//! What one route of a protected resource demands of an access token.

use std::sync::Arc;

use keybound_protocol::dpop_nonce::DpopNonces;
use keybound_protocol::http_uri::HttpOrigin;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::protected_resource_metadata::ResourceMetadataUrl;
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::scope::Scope;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;

/// Whether the binding of a token (`cnf`) decides: to a certificate (`x5t#S256`, RFC 8705 §3) or, where the route
/// [takes such tokens](Dpop), to a key (`jkt`, RFC 9449 §6).
///
/// A token that is bound to a key is checked whatever this says: a proof can be sent over any connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Binding {
    /// Only tokens bound to the certificate of this request, or to the key of its proof. A token without `cnf` is refused.
    #[default]
    Required,
    /// A token without `cnf` passes as a bearer token; one with `cnf` is checked like any other.
    Optional,
    /// No certificate is compared, so that a stolen certificate-bound token works here too. For routes on a listener that asks for no
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

/// The algorithms that DPoP proofs may be signed with: all of ours. The key is the sender's own, and nobody else relies on it.
pub const DPOP_ALGORITHMS: &[SignatureAlgorithm] = &SignatureAlgorithm::ALL;

/// Whether tokens that are bound to a key (`cnf.jkt`, RFC 9449) are taken beside those that are bound to a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dpop {
    /// By the scheme `DPoP`, with a proof for each request.
    #[default]
    Accepted,
    /// No: the scheme `DPoP` is not known here, and a token that is bound to a key cannot be used.
    Refused,
    /// And no others.
    Required,
}

impl Dpop {
    /// The word for it in configuration files.
    pub fn as_str(self) -> &'static str {
        match self {
            Dpop::Accepted => "accepted",
            Dpop::Refused => "refused",
            Dpop::Required => "required",
        }
    }
}

/// What one route demands of an access token. Cloning is cheap, so that each request may carry its own.
///
/// A new one demands the given audience and a binding, by certificate or key, no scope, and takes tokens of every configured issuer.
#[derive(Clone, Debug)]
pub struct RoutePolicy {
    rules: Arc<Rules>,
}

#[derive(Clone, Debug)]
struct Rules {
    audience: ResourceUri,
    scopes: Scope,
    binding: Binding,
    dpop: Dpop,
    public_origin: Option<HttpOrigin>,
    dpop_nonces: Option<Arc<DpopNonces>>,
    issuers: Vec<Issuer>,
    resource_metadata: Option<ResourceMetadataUrl>,
}

impl RoutePolicy {
    /// A route of the protected resource `audience`: tokens bound to the caller's certificate or key, of any configured issuer,
    /// whatever their scope. Its public origin is that of the audience, if that is an https or http URL.
    pub fn new(audience: ResourceUri) -> RoutePolicy {
        let rules = Rules {
            dpop: Dpop::Accepted,
            public_origin: HttpOrigin::of(audience.as_str()).ok(),
            dpop_nonces: None,
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

    /// The same with another treatment of tokens that are bound to a key.
    #[must_use]
    pub fn with_dpop(self, dpop: Dpop) -> RoutePolicy {
        self.changed(|rules| rules.dpop = dpop)
    }

    /// The same under another scheme, host and port: by which callers reach the route, and which their proofs therefore name. The path is
    /// that of the request: a router that strips a prefix has to come after the check.
    #[must_use]
    pub fn with_public_origin(self, origin: HttpOrigin) -> RoutePolicy {
        self.changed(|rules| rules.public_origin = Some(origin))
    }

    /// The same, and every proof needs a nonce of these (RFC 9449 §9).
    #[must_use]
    pub fn with_dpop_nonces(self, nonces: Arc<DpopNonces>) -> RoutePolicy {
        self.changed(|rules| rules.dpop_nonces = Some(nonces))
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

    /// What is done about tokens that are bound to a key. [`Dpop::Refused`] for a route without a public origin: no proof could name it.
    pub fn dpop(&self) -> Dpop {
        match self.rules.public_origin {
            Some(_) => self.rules.dpop,
            None => Dpop::Refused,
        }
    }

    /// Scheme, host and port that proofs name.
    pub fn public_origin(&self) -> Option<&HttpOrigin> {
        self.rules.public_origin.as_ref()
    }

    /// The nonces that proofs need, if they need one.
    pub fn dpop_nonces(&self) -> Option<&DpopNonces> {
        self.rules.dpop_nonces.as_deref()
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
