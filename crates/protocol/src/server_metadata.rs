//! Authorization server metadata (RFC 8414) with `mtls_endpoint_aliases` (RFC 8705 §5): built by the server, read by clients.

mod member;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use url::Url;

use crate::authentication_method::AuthenticationMethod;
use crate::endpoint::Endpoint;
use crate::grant_type::GrantType;
use crate::issuer::Issuer;
use crate::json::{JsonError, JsonObject, JsonTypeError};
use crate::signature_algorithm::SignatureAlgorithm;

pub use member::{MetadataFlag, MetadataList};

/// The largest document that a client reads, in octets.
pub const SERVER_METADATA_BYTES_MAX: usize = 256 * 1024;

/// Why a document is not the metadata of the issuer that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ServerMetadataError {
    /// Larger than [`SERVER_METADATA_BYTES_MAX`].
    #[error("authorization server metadata of {0} octets is too large")]
    TooLarge(usize),
    /// Not a JSON object without duplicate members.
    #[error("authorization server metadata: {0}")]
    Json(#[from] JsonError),
    /// A member has the wrong JSON type.
    #[error(transparent)]
    Type(#[from] JsonTypeError),
    /// `issuer` is missing.
    #[error("member `issuer` is missing")]
    IssuerMissing,
    /// `issuer` is another than the one asked for: the document is discarded (RFC 8414 §3.3).
    #[error("the metadata is of issuer {presented:?}, not of {expected:?}")]
    IssuerMismatch {
        /// What the document says.
        presented: String,
        /// Whom it was asked for.
        expected: String,
    },
    /// An endpoint, or `jwks_uri`, is not an https URL.
    #[error("{member} is not an https URL")]
    Url {
        /// The member's name; an alias is named with the object it is in.
        member: String,
    },
}

/// What an authorization server says about itself.
///
/// Lists are `None` where the document leaves them out, which is not the same as empty (RFC 8414 §2 gives some of them defaults).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerMetadata {
    issuer: Issuer,
    endpoints: BTreeMap<Endpoint, Url>,
    mtls_endpoint_aliases: BTreeMap<Endpoint, Url>,
    jwks_uri: Option<Url>,
    certificate_bound_access_tokens: bool,
    flags: BTreeSet<MetadataFlag>,
    texts: BTreeMap<&'static str, Vec<String>>,
}

/// List members that are read and written as they are.
const SCOPES: &str = "scopes_supported";
const RESPONSE_TYPES: &str = "response_types_supported";
const GRANT_TYPES: &str = "grant_types_supported";
const AUTHENTICATION_METHODS: [(Endpoint, &str, &str); 3] = [
    (
        Endpoint::Token,
        "token_endpoint_auth_methods_supported",
        "token_endpoint_auth_signing_alg_values_supported",
    ),
    (
        Endpoint::Introspection,
        "introspection_endpoint_auth_methods_supported",
        "introspection_endpoint_auth_signing_alg_values_supported",
    ),
    (
        Endpoint::Revocation,
        "revocation_endpoint_auth_methods_supported",
        "revocation_endpoint_auth_signing_alg_values_supported",
    ),
];
/// RFC 9701 §7.
const INTROSPECTION_ALGORITHMS: &str = "introspection_signing_alg_values_supported";
const BOUND_TOKENS: &str = "tls_client_certificate_bound_access_tokens";
const ALIASES: &str = "mtls_endpoint_aliases";

impl ServerMetadata {
    /// The metadata of a server that does nothing yet.
    pub fn new(issuer: Issuer) -> Self {
        Self {
            issuer,
            endpoints: BTreeMap::new(),
            mtls_endpoint_aliases: BTreeMap::new(),
            jwks_uri: None,
            certificate_bound_access_tokens: false,
            flags: BTreeSet::new(),
            texts: BTreeMap::new(),
        }
    }

    /// With an endpoint and, for clients that use mutual TLS, its alias.
    ///
    /// An endpoint that clients do not call themselves gets no alias (RFC 8705 §5), nor does one whose alias would be itself.
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: Endpoint, url: Url, alias: Option<Url>) -> Self {
        if let Some(alias) = alias.filter(|alias| endpoint.is_called_by_clients() && *alias != url) {
            self.mtls_endpoint_aliases.insert(endpoint, alias);
        }
        self.endpoints.insert(endpoint, url);
        self
    }

    /// With the URL of the issuer's keys.
    #[must_use]
    pub fn with_jwks_uri(mut self, url: Url) -> Self {
        self.jwks_uri = Some(url);
        self
    }

    /// With bound access tokens (RFC 8705 §3.3).
    #[must_use]
    pub fn with_certificate_bound_access_tokens(mut self) -> Self {
        self.certificate_bound_access_tokens = true;
        self
    }

    /// With scope words that may be made public; reserved ones are not among them.
    #[must_use]
    pub fn with_scopes(self, scopes: impl IntoIterator<Item = String>) -> Self {
        self.with_list(SCOPES, scopes.into_iter().collect())
    }

    /// With grant types.
    #[must_use]
    pub fn with_grant_types(self, grant_types: &[GrantType]) -> Self {
        self.with_list(
            GRANT_TYPES,
            grant_types
                .iter()
                .map(|grant_type| grant_type.name().to_owned())
                .collect(),
        )
    }

    /// With response types.
    #[must_use]
    pub fn with_response_types(self, response_types: &[&str]) -> Self {
        self.with_list(
            RESPONSE_TYPES,
            response_types
                .iter()
                .map(|&response_type| response_type.to_owned())
                .collect(),
        )
    }

    /// With the methods by which clients authenticate at the token, introspection and revocation endpoints, as far as there are
    /// such endpoints, and the algorithms of assertions if `private_key_jwt` is among them.
    ///
    /// Introspection callers are always authenticated (RFC 7662 §2.1), so `none` is not listed there.
    #[must_use]
    pub fn with_authentication_methods(
        mut self,
        methods: &[AuthenticationMethod],
        algorithms: &[SignatureAlgorithm],
    ) -> Self {
        for (endpoint, methods_member, algorithms_member) in AUTHENTICATION_METHODS {
            if !self.endpoints.contains_key(&endpoint) {
                continue;
            }
            let anonymous = |method: &AuthenticationMethod| {
                endpoint == Endpoint::Introspection && *method == AuthenticationMethod::None
            };
            let names = methods
                .iter()
                .filter(|method| !anonymous(method))
                .map(|method| method.name().to_owned());
            self = self.with_list(methods_member, names.collect());
            if methods.contains(&AuthenticationMethod::PrivateKeyJwt) {
                let names = algorithms.iter().map(|algorithm| algorithm.name().to_owned());
                self = self.with_list(algorithms_member, names.collect());
            }
        }
        self
    }

    /// With the algorithms by which introspection responses are signed on demand (RFC 9701 §7).
    #[must_use]
    pub fn with_introspection_signing_algorithms(self, algorithms: &[SignatureAlgorithm]) -> Self {
        let names = algorithms.iter().map(|algorithm| algorithm.name().to_owned());
        self.with_list(INTROSPECTION_ALGORITHMS, names.collect())
    }

    /// With a switch on.
    #[must_use]
    pub fn with_flag(mut self, flag: MetadataFlag) -> Self {
        self.flags.insert(flag);
        self
    }

    /// With a list of names; an empty one is left out.
    #[must_use]
    pub fn with_names(self, list: MetadataList, names: impl IntoIterator<Item = String>) -> Self {
        self.with_list(list.name(), names.into_iter().collect())
    }

    fn with_list(mut self, member: &'static str, values: Vec<String>) -> Self {
        // RFC 8414 §3.2: members with zero elements are left out. `response_types_supported` is required and stays.
        if !values.is_empty() || member == RESPONSE_TYPES {
            self.texts.insert(member, values);
        }
        self
    }

    /// The document as it is published.
    pub fn to_json(&self) -> Value {
        let urls = |urls: &BTreeMap<Endpoint, Url>| -> Map<String, Value> {
            urls.iter()
                .map(|(endpoint, url)| (endpoint.metadata_name().to_owned(), json!(url.as_str())))
                .collect()
        };
        let mut members = urls(&self.endpoints);
        members.insert("issuer".to_owned(), json!(self.issuer));
        if let Some(url) = &self.jwks_uri {
            members.insert("jwks_uri".to_owned(), json!(url.as_str()));
        }
        for (member, values) in &self.texts {
            members.insert((*member).to_owned(), json!(values));
        }
        for flag in &self.flags {
            members.insert(flag.name().to_owned(), json!(true));
        }
        if self.endpoints.contains_key(&Endpoint::Authorization) {
            // Its default is true (OpenID Connect Discovery §3), and nothing of others is ever fetched.
            members.insert("request_uri_parameter_supported".to_owned(), json!(false));
        }
        if self.certificate_bound_access_tokens {
            members.insert(BOUND_TOKENS.to_owned(), json!(true));
        }
        // Never empty: RFC 8705 §5 wants one endpoint or more in it.
        if !self.mtls_endpoint_aliases.is_empty() {
            members.insert(ALIASES.to_owned(), Value::Object(urls(&self.mtls_endpoint_aliases)));
        }
        Value::Object(members)
    }

    /// Reads the metadata of `expected`.
    ///
    /// Unknown members are ignored. In `mtls_endpoint_aliases` only endpoints that clients call themselves are kept: an
    /// `authorization_endpoint` or `issuer` there has no effect (RFC 8705 §5).
    ///
    /// # Errors
    /// See [`ServerMetadataError`]. An alias that is not https is an error and not ignored: the endpoint without certificates would
    /// be no substitute.
    pub fn parse(json: &[u8], expected: &Issuer) -> Result<Self, ServerMetadataError> {
        if json.len() > SERVER_METADATA_BYTES_MAX {
            return Err(ServerMetadataError::TooLarge(json.len()));
        }
        let object = JsonObject::parse(json)?;
        let presented = object.string("issuer")?.ok_or(ServerMetadataError::IssuerMissing)?;
        if presented != expected.as_str() {
            return Err(ServerMetadataError::IssuerMismatch {
                presented: presented.to_owned(),
                expected: expected.as_str().to_owned(),
            });
        }
        let aliases = object.object(ALIASES)?;
        let mut metadata = Self::new(expected.clone());
        for endpoint in Endpoint::ALL {
            let name = endpoint.metadata_name();
            if let Some(url) = object.string(name)? {
                metadata.endpoints.insert(endpoint, https_url(url, || name.to_owned())?);
            }
            if let Some(aliases) = aliases.filter(|_| endpoint.is_called_by_clients())
                && let Some(url) = aliases.string(name)?
            {
                let url = https_url(url, || format!("{ALIASES}.{name}"))?;
                metadata.mtls_endpoint_aliases.insert(endpoint, url);
            }
        }
        if let Some(url) = object.string("jwks_uri")? {
            metadata.jwks_uri = Some(https_url(url, || "jwks_uri".to_owned())?);
        }
        metadata.certificate_bound_access_tokens = object.boolean(BOUND_TOKENS)?.unwrap_or(false);
        let lists = AUTHENTICATION_METHODS
            .into_iter()
            .flat_map(|(_, methods, algorithms)| [methods, algorithms]);
        for flag in MetadataFlag::ALL {
            if object.boolean(flag.name())? == Some(true) {
                metadata.flags.insert(flag);
            }
        }
        let lists = lists.chain([SCOPES, RESPONSE_TYPES, GRANT_TYPES, INTROSPECTION_ALGORITHMS]);
        for member in lists.chain(MetadataList::ALL.map(MetadataList::name)) {
            if let Some(values) = object.strings(member)? {
                metadata
                    .texts
                    .insert(member, values.into_iter().map(str::to_owned).collect());
            }
        }
        Ok(metadata)
    }

    /// Who it is about.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Where an endpoint is for clients that do not use mutual TLS.
    pub fn endpoint(&self, endpoint: Endpoint) -> Option<&Url> {
        self.endpoints.get(&endpoint)
    }

    /// Where an endpoint is for clients that use mutual TLS, be it to authenticate, to obtain bound tokens or to use them: its
    /// alias if there is one, else the same as for all (RFC 8705 §5).
    pub fn alias_or(&self, endpoint: Endpoint) -> Option<&Url> {
        self.mtls_endpoint_aliases
            .get(&endpoint)
            .or_else(|| self.endpoint(endpoint))
    }

    /// The aliases alone.
    pub fn mtls_endpoint_aliases(&self) -> impl Iterator<Item = (Endpoint, &Url)> {
        self.mtls_endpoint_aliases
            .iter()
            .map(|(endpoint, url)| (*endpoint, url))
    }

    /// `jwks_uri`
    pub fn jwks_uri(&self) -> Option<&Url> {
        self.jwks_uri.as_ref()
    }

    /// `tls_client_certificate_bound_access_tokens`
    pub fn certificate_bound_access_tokens(&self) -> bool {
        self.certificate_bound_access_tokens
    }

    /// The names of the methods by which clients authenticate at `endpoint`; `None` where nothing is said and nothing can be
    /// concluded. Token and revocation endpoint have the default `client_secret_basic` (RFC 8414 §2).
    pub fn authentication_methods(&self, endpoint: Endpoint) -> Option<Vec<&str>> {
        let (_, member, _) = AUTHENTICATION_METHODS
            .into_iter()
            .find(|(own, _, _)| *own == endpoint)?;
        match self.texts.get(member) {
            Some(names) => Some(names.iter().map(String::as_str).collect()),
            None if endpoint == Endpoint::Introspection => None,
            None => Some(vec![AuthenticationMethod::ClientSecretBasic.name()]),
        }
    }

    /// Whether a switch is on.
    pub fn has(&self, flag: MetadataFlag) -> bool {
        self.flags.contains(&flag)
    }

    /// The names of a list; `None` where nothing is said.
    pub fn names(&self, list: MetadataList) -> Option<&[String]> {
        self.texts.get(list.name()).map(Vec::as_slice)
    }

    /// The names of the grant types; `None` where nothing is said.
    pub fn grant_types(&self) -> Option<&[String]> {
        self.texts.get(GRANT_TYPES).map(Vec::as_slice)
    }

    /// The scope words that are made public; `None` where nothing is said.
    pub fn scopes(&self) -> Option<&[String]> {
        self.texts.get(SCOPES).map(Vec::as_slice)
    }
}

fn https_url(text: &str, member: impl Fn() -> String) -> Result<Url, ServerMetadataError> {
    match Url::parse(text) {
        Ok(url) if url.scheme() == "https" && url.fragment().is_none() => Ok(url),
        _ => Err(ServerMetadataError::Url { member: member() }),
    }
}
