//! Client metadata (RFC 7591 §2, RFC 8705 §2.1.2, §3.4): what a client registered, typed so that only complete registrations exist.
//!
//! [`ClientMetadata::parse`] is the one way in for files, the admin API and registration alike, judged by a [`RegistrationPolicy`];
//! [`ClientMetadata::to_json`] is the way out. Read [`authentication`] first: it says what each method needs. The order of the
//! checks is in `client_metadata/parse.rs`, what can be wrong in [`error`].
//!
//! Deliberately absent: the client's secret (only its hash exists, in the store) and keys fetched from `jwks_uri`.

pub mod authentication;
pub mod authorization;
pub mod description;
pub mod error;
mod parse;
pub mod registration_policy;
mod to_json;

use url::Url;

use crate::access_token::AccessTokenFormat;
use crate::authentication_method::AuthenticationMethod;
use crate::grant_type::GrantType;
use crate::json::JsonObject;
use crate::profile::Profile;
use crate::resource::ResourceUri;
use crate::scope::Scope;
use crate::signature_algorithm::SignatureAlgorithm;

pub use authentication::{
    ClientAuthentication, ClientKeys, ClientSecretTransport, ExpiredSelfSigned, PermittedAnchors,
};
pub use authorization::{AuthorizationMetadata, BackchannelMetadata, DeliveryMode};
pub use description::ClientDescription;
pub use error::ClientMetadataError;
pub use registration_policy::RegistrationPolicy;

/// The largest metadata document in octets.
pub const CLIENT_METADATA_BYTES_MAX: usize = 64 * 1024;
/// The most redirect URIs.
pub const REDIRECT_URIS_MAX: usize = 50;

/// What a client registered.
#[derive(Debug, Clone)]
pub struct ClientMetadata {
    authentication: ClientAuthentication,
    /// Keys that the method does not use, such as those of a `tls_client_auth` client that signs request objects.
    other_keys: Option<ClientKeys>,
    grant_types: Vec<GrantType>,
    response_types: Vec<ResponseType>,
    redirect_uris: Vec<String>,
    scope: Scope,
    certificate_bound_access_tokens: bool,
    access_token_format: Option<AccessTokenFormat>,
    introspects: Vec<ResourceUri>,
    profile: Option<Profile>,
    authorization: AuthorizationMetadata,
    description: ClientDescription,
}

/// What a client may ask the authorization endpoint for (RFC 6749 §3.1.1). There is no implicit grant (RFC 9700 §2.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseType {
    /// `code`
    Code,
}

impl ClientMetadata {
    /// Reads and judges client metadata.
    ///
    /// `json` is one object. Members that are not known are ignored (RFC 7591 §2), `client_id` included, for it is not
    /// metadata; `null` means absent (RFC 7592 §2.2).
    ///
    /// # Errors
    /// See [`ClientMetadataError`]; [`ClientMetadataError::code`] is what a registering client is told.
    pub fn parse(json: &[u8], policy: &RegistrationPolicy) -> Result<Self, ClientMetadataError> {
        parse::parse(json, Some(policy))
    }

    /// Reads and judges client metadata whose JSON was read before, such as what a software statement was laid over.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn from_object(object: JsonObject, policy: &RegistrationPolicy) -> Result<Self, ClientMetadataError> {
        parse::of_object(object, Some(policy))
    }

    /// Reads metadata that was judged when it was stored.
    ///
    /// What the server knows (anchors, scopes, resources, its profile) may have changed since: a name that is gone makes a client
    /// less able, and must not make it unreadable. What makes metadata consistent in itself is judged again.
    ///
    /// # Errors
    /// See [`ClientMetadataError`].
    pub fn parse_stored(json: &[u8]) -> Result<Self, ClientMetadataError> {
        parse::parse(json, None)
    }

    /// The registered values, defaults included, as one JSON object (RFC 7591 §3.2.1). Reading it again gives the same metadata.
    pub fn to_json(&self) -> serde_json::Value {
        to_json::to_json(self)
    }

    /// How the client authenticates, with what that needs.
    pub fn authentication(&self) -> &ClientAuthentication {
        &self.authentication
    }

    /// `token_endpoint_auth_method`
    pub fn authentication_method(&self) -> AuthenticationMethod {
        self.authentication.method()
    }

    /// The client's keys, whatever for: those its method uses, or others that it registered.
    pub fn keys(&self) -> Option<&ClientKeys> {
        self.authentication.keys().or(self.other_keys.as_ref())
    }

    /// Where the client publishes its keys, if it does not register them by value.
    pub fn jwks_uri(&self) -> Option<&Url> {
        match self.keys() {
            Some(ClientKeys::JwksUri(url)) => Some(url),
            Some(ClientKeys::Jwks(_)) | None => None,
        }
    }

    /// `grant_types`
    pub fn grant_types(&self) -> &[GrantType] {
        &self.grant_types
    }

    /// Whether the client may use `grant_type`.
    pub fn permits_grant_type(&self, grant_type: GrantType) -> bool {
        self.grant_types.contains(&grant_type)
    }

    /// `response_types`
    pub fn response_types(&self) -> &[ResponseType] {
        &self.response_types
    }

    /// `redirect_uris`, to be compared octet for octet.
    pub fn redirect_uris(&self) -> &[String] {
        &self.redirect_uris
    }

    /// `scope`: all that the client may be granted; empty if it registered none.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// `tls_client_certificate_bound_access_tokens` as registered. Decisions ask
    /// [`requires_bound_access_tokens`](Self::requires_bound_access_tokens).
    pub fn certificate_bound_access_tokens(&self) -> bool {
        self.certificate_bound_access_tokens
    }

    /// Whether this client's access tokens are bound to a certificate, at a server of profile `server`: if and only if it registered so
    /// or the profile demands it, whatever its authentication method. What the profile demands may also be a DPoP key, for a client that
    /// registered `dpop_bound_access_tokens` (FAPI 2.0 §5.3.2.1).
    pub fn requires_bound_access_tokens(&self, server: Profile) -> bool {
        let is_demanded = self.effective_profile(server).requires_bound_access_tokens();
        self.certificate_bound_access_tokens || is_demanded && !self.authorization.dpop_bound_access_tokens
    }

    /// `keybound_access_token_format`; `None` leaves it to the resource.
    pub fn access_token_format(&self) -> Option<AccessTokenFormat> {
        self.access_token_format
    }

    /// `keybound_introspects`: the resources whose tokens this client may introspect.
    pub fn introspects(&self) -> &[ResourceUri] {
        &self.introspects
    }

    /// `keybound_profile` as registered.
    pub fn profile(&self) -> Option<Profile> {
        self.profile
    }

    /// The stricter of the client's profile and the server's.
    pub fn effective_profile(&self, server: Profile) -> Profile {
        self.profile.map_or(server, |profile| profile.max(server))
    }

    /// The algorithms that this client's assertions may be signed with, at a server of profile `server`.
    ///
    /// Its `token_endpoint_auth_signing_alg` if it registered one; in any case nothing that the profile forbids.
    pub fn assertion_algorithms(&self, server: Profile) -> Vec<SignatureAlgorithm> {
        let registered = match &self.authentication {
            ClientAuthentication::PrivateKeyJwt { algorithm, .. } => *algorithm,
            _ => return Vec::new(),
        };
        self.permitted_algorithms(server, registered)
    }

    /// The algorithms that this client's request objects may be signed with, at a server of profile `server`: its
    /// `request_object_signing_alg` if it registered one, and nothing that the profile forbids.
    pub fn request_object_algorithms(&self, server: Profile) -> Vec<SignatureAlgorithm> {
        self.permitted_algorithms(server, self.authorization.request_object_signing_alg)
    }

    /// The same for signed backchannel authentication requests.
    pub fn backchannel_request_algorithms(&self, server: Profile) -> Vec<SignatureAlgorithm> {
        self.permitted_algorithms(
            server,
            self.authorization.backchannel.authentication_request_signing_alg,
        )
    }

    fn permitted_algorithms(&self, server: Profile, registered: Option<SignatureAlgorithm>) -> Vec<SignatureAlgorithm> {
        let permitted = self.effective_profile(server).signature_algorithms();
        permitted
            .iter()
            .copied()
            .filter(|own| registered.is_none_or(|registered| registered == *own))
            .collect()
    }

    /// What it registered about its authorization requests, their answers, and backchannel authentication.
    pub fn authorization(&self) -> &AuthorizationMetadata {
        &self.authorization
    }

    /// What the client says about itself.
    pub fn description(&self) -> &ClientDescription {
        &self.description
    }
}

impl ResponseType {
    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Code => "code",
        }
    }
}
