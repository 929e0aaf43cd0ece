//! Protected resource metadata (RFC 9728): what a resource says about itself, and where that lies. Clients find the address in the
//! challenge ([`BearerChallenge::with_resource_metadata`](crate::challenge::BearerChallenge::with_resource_metadata)).
//!
//! Deliberately not here: signed metadata (§2.2). What a resource says about authorization servers is a stranger's word: a client chooses
//! among those it is registered with, and goes to no other.

use std::fmt;

use serde_json::{Map, Value};

use crate::issuer::{Issuer, IssuerError};
use crate::json::{JsonError, JsonObject, JsonTypeError};
use crate::resource::ResourceUri;
use crate::scope::Scope;
use crate::signature_algorithm::SignatureAlgorithm;

/// What is put between host and path of a resource (RFC 9728 §3).
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The largest document that is read, in octets.
pub const RESOURCE_METADATA_BYTES_MAX: usize = 256 * 1024;

/// Why a document is not the metadata of the resource that it was fetched for.
#[derive(Debug, thiserror::Error)]
pub enum ProtectedResourceMetadataError {
    /// Larger than [`RESOURCE_METADATA_BYTES_MAX`].
    #[error("protected resource metadata of {0} octets is too large")]
    TooLarge(usize),
    /// Not a JSON object without duplicate members.
    #[error("protected resource metadata: {0}")]
    Json(#[from] JsonError),
    /// A member has the wrong JSON type.
    #[error(transparent)]
    Type(#[from] JsonTypeError),
    /// `resource` is missing.
    #[error("member `resource` is missing")]
    ResourceMissing,
    /// `resource` is another: the document is discarded (RFC 9728 §3.3).
    #[error("the metadata is of resource {presented:?}, not of {expected:?}")]
    ResourceMismatch {
        /// What the document says.
        presented: String,
        /// Which one it was fetched for.
        expected: String,
    },
    /// An authorization server is named by what is no issuer identifier.
    #[error("an authorization server is named by what is no issuer identifier")]
    Issuer(#[source] IssuerError),
}

/// Where the metadata of a resource lies. It has no character that a quoted string or a header would have to escape.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceMetadataUrl {
    url: Box<str>,
    path_begins_at: usize,
}

impl ResourceMetadataUrl {
    /// The address for the metadata of `resource`, octet for octet what §3.1 makes of it: only a slash that ends the host is left out,
    /// one that ends a path stays.
    ///
    /// `None` for what has no such address: a resource that is not an https URL, or names a user.
    pub fn of(resource: &ResourceUri) -> Option<Self> {
        let text = resource.as_str();
        let scheme = text
            .get(.."https://".len())
            .filter(|scheme| scheme.eq_ignore_ascii_case("https://"))?;
        let authority_and_rest = text.get(scheme.len()..)?;
        let end = authority_and_rest.find(['/', '?']).unwrap_or(authority_and_rest.len());
        let (authority, rest) = authority_and_rest.split_at(end);
        if authority.is_empty() || authority.contains('@') {
            return None;
        }
        let rest = match rest.strip_prefix('/') {
            Some(after) if after.is_empty() || after.starts_with('?') => after,
            _ => rest,
        };
        Some(Self {
            path_begins_at: scheme.len() + authority.len(),
            url: format!("{scheme}{authority}{WELL_KNOWN}{rest}").into(),
        })
    }

    /// The whole URL.
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// Host, and port if one is named, as the resource spells them.
    pub fn authority(&self) -> &str {
        let end = self.path_begins_at;
        self.url.get("https://".len()..end).unwrap_or_default()
    }

    /// The path, escaped as in the resource.
    pub fn path(&self) -> &str {
        self.path_and_query().0
    }

    /// The query, without its question mark.
    pub fn query(&self) -> Option<&str> {
        self.path_and_query().1
    }

    fn path_and_query(&self) -> (&str, Option<&str>) {
        let target = self.url.get(self.path_begins_at..).unwrap_or_default();
        match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        }
    }
}

impl fmt::Display for ResourceMetadataUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.url)
    }
}

/// What a protected resource says about itself (RFC 9728 §2).
///
/// Tokens are taken from the `Authorization` header alone, so `bearer_methods_supported` is always `["header"]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtectedResourceMetadata {
    resource: ResourceUri,
    authorization_servers: Vec<Issuer>,
    scopes_supported: Vec<String>,
    certificate_bound_access_tokens: bool,
    dpop_algorithms: Vec<SignatureAlgorithm>,
    dpop_bound_access_tokens_required: bool,
}

impl ProtectedResourceMetadata {
    /// The metadata of a resource about which nothing else is said.
    pub fn new(resource: ResourceUri) -> Self {
        Self {
            resource,
            authorization_servers: Vec::new(),
            scopes_supported: Vec::new(),
            certificate_bound_access_tokens: false,
            dpop_algorithms: Vec::new(),
            dpop_bound_access_tokens_required: false,
        }
    }

    /// With an issuer whose tokens are taken; one that is named already is not named again.
    #[must_use]
    pub fn with_authorization_server(mut self, issuer: Issuer) -> Self {
        if !self.authorization_servers.contains(&issuer) {
            self.authorization_servers.push(issuer);
        }
        self
    }

    /// With the words of `scopes`, each once.
    #[must_use]
    pub fn with_scopes(mut self, scopes: &Scope) -> Self {
        for word in scopes.words() {
            if !self.scopes_supported.iter().any(|known| known == word) {
                self.scopes_supported.push(word.to_owned());
            }
        }
        self
    }

    /// Whether all of the resource wants bound tokens and takes those that are bound to a certificate (RFC 8705 §3). To be true of
    /// every part of it: a client that reads it may then not even try with a bearer token.
    #[must_use]
    pub fn with_certificate_bound_access_tokens(mut self, always: bool) -> Self {
        self.certificate_bound_access_tokens = always;
        self
    }

    /// Reads the metadata of `expected`: the identifier that the well-known path was put into, or the URL whose challenge led here.
    ///
    /// `resource` is compared octet for octet (RFC 9728 §3.3): else whoever answers for one resource could have the tokens of another
    /// sent to it. Unknown members are ignored.
    ///
    /// # Errors
    /// See [`ProtectedResourceMetadataError`].
    pub fn parse(json: &[u8], expected: &ResourceUri) -> Result<Self, ProtectedResourceMetadataError> {
        if json.len() > RESOURCE_METADATA_BYTES_MAX {
            return Err(ProtectedResourceMetadataError::TooLarge(json.len()));
        }
        let object = JsonObject::parse(json)?;
        let presented = object
            .string("resource")?
            .ok_or(ProtectedResourceMetadataError::ResourceMissing)?;
        if presented != expected.as_str() {
            return Err(ProtectedResourceMetadataError::ResourceMismatch {
                presented: presented.to_owned(),
                expected: expected.as_str().to_owned(),
            });
        }
        let issuers = object.strings("authorization_servers")?.unwrap_or_default();
        let issuers = issuers.into_iter().map(Issuer::parse);
        let scopes = object.strings("scopes_supported")?.unwrap_or_default();
        Ok(Self {
            resource: expected.clone(),
            authorization_servers: issuers
                .collect::<Result<_, _>>()
                .map_err(ProtectedResourceMetadataError::Issuer)?,
            scopes_supported: scopes.into_iter().map(str::to_owned).collect(),
            certificate_bound_access_tokens: object
                .boolean("tls_client_certificate_bound_access_tokens")?
                .unwrap_or(false),
            // Algorithms that are not ours are passed over: no proof of ours is signed with one.
            dpop_algorithms: object
                .strings("dpop_signing_alg_values_supported")?
                .unwrap_or_default()
                .into_iter()
                .filter_map(SignatureAlgorithm::from_name)
                .collect(),
            dpop_bound_access_tokens_required: object.boolean("dpop_bound_access_tokens_required")?.unwrap_or(false),
        })
    }

    /// The issuers whose tokens it takes, in its order.
    pub fn authorization_servers(&self) -> &[Issuer] {
        &self.authorization_servers
    }

    /// The scope words it names.
    pub fn scopes_supported(&self) -> &[String] {
        &self.scopes_supported
    }

    /// Whether all of it takes certificate-bound tokens alone.
    pub fn certificate_bound_access_tokens(&self) -> bool {
        self.certificate_bound_access_tokens
    }

    /// With the algorithms that DPoP proofs may be signed with, for a resource that takes tokens which are bound to a key
    /// (RFC 9449 §7.1); `required` if every part of it takes no others.
    #[must_use]
    pub fn with_dpop(mut self, algorithms: &[SignatureAlgorithm], required: bool) -> Self {
        self.dpop_algorithms = algorithms.to_vec();
        self.dpop_bound_access_tokens_required = required;
        self
    }

    /// Whose metadata it is.
    pub fn resource(&self) -> &ResourceUri {
        &self.resource
    }

    /// Where it lies; see [`ResourceMetadataUrl::of`].
    pub fn url(&self) -> Option<ResourceMetadataUrl> {
        ResourceMetadataUrl::of(&self.resource)
    }

    /// The document. What is empty or false is left out: false is the default, and an empty list may not be written (§3.2).
    pub fn to_json(&self) -> Value {
        let mut members = Map::new();
        let mut list = |name: &str, values: Vec<&str>| {
            if !values.is_empty() {
                members.insert(name.to_owned(), Value::from(values));
            }
        };
        list(
            "authorization_servers",
            self.authorization_servers.iter().map(Issuer::as_str).collect(),
        );
        list("bearer_methods_supported", vec!["header"]);
        list(
            "dpop_signing_alg_values_supported",
            self.dpop_algorithms.iter().map(|algorithm| algorithm.name()).collect(),
        );
        list(
            "scopes_supported",
            self.scopes_supported.iter().map(String::as_str).collect(),
        );
        members.insert("resource".to_owned(), Value::from(self.resource.as_str()));
        if self.certificate_bound_access_tokens {
            members.insert(
                "tls_client_certificate_bound_access_tokens".to_owned(),
                Value::from(true),
            );
        }
        if self.dpop_bound_access_tokens_required {
            members.insert("dpop_bound_access_tokens_required".to_owned(), Value::from(true));
        }
        Value::Object(members)
    }
}
