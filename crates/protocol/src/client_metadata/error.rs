//! Why client metadata was not accepted.

use crate::authentication_method::AuthenticationMethod;
use crate::error_code::ErrorCode;
use crate::json::{JsonError, JsonTypeError};
use crate::jwk_set::JwkSetError;
use crate::profile::{Profile, UnknownProfile};
use crate::resource::ResourceUriError;
use crate::scope::ScopeError;
use crate::signature_algorithm::SignatureAlgorithm;
use crate::subject_rule::SubjectRuleError;

/// Why client metadata was not accepted.
///
/// Its text says to whoever registers what to change; an operator's tool may show it, the registration endpoint sends the code.
#[derive(Debug, thiserror::Error)]
pub enum ClientMetadataError {
    /// Larger than [`CLIENT_METADATA_BYTES_MAX`](super::CLIENT_METADATA_BYTES_MAX).
    #[error("client metadata of {0} octets is too large")]
    TooLarge(usize),
    /// Not a JSON object without duplicate members.
    #[error("client metadata: {0}")]
    Json(#[from] JsonError),
    /// A member has the wrong JSON type.
    #[error(transparent)]
    Type(#[from] JsonTypeError),

    /// `token_endpoint_auth_method` is omitted, which means `client_secret_basic`, and secrets are disabled.
    #[error("`token_endpoint_auth_method` is missing, and its default client_secret_basic is not enabled here")]
    MethodMissing,
    /// A method that is not known here.
    #[error("`token_endpoint_auth_method` {0:?} is not supported")]
    MethodUnknown(String),
    /// A method with a secret, and secrets are disabled.
    #[error("`token_endpoint_auth_method` {0} is not enabled here")]
    SecretsDisabled(AuthenticationMethod),
    /// A method that the profile forbids.
    #[error("`token_endpoint_auth_method` {method} is not permitted by profile {profile}")]
    MethodForbidden {
        /// The method.
        method: AuthenticationMethod,
        /// The client's or the server's profile, whichever is stricter.
        profile: Profile,
    },
    /// A method that whoever registers may not use.
    #[error("`token_endpoint_auth_method` {0} is not permitted by the policy of this registration")]
    MethodNotPermitted(AuthenticationMethod),
    /// A member that belongs to another method: the set contradicts itself (RFC 7591 §2.1).
    #[error("`{member}` does not belong to a client with `token_endpoint_auth_method` {method}")]
    MemberOfOtherMethod {
        /// The member.
        member: &'static str,
        /// The client's method.
        method: AuthenticationMethod,
    },
    /// None, several, or an unusable one of the five subject parameters.
    #[error(transparent)]
    Subject(#[from] SubjectRuleError),
    /// `keybound_trust_anchors` is empty, so that no certificate could ever be accepted.
    #[error("`keybound_trust_anchors` is empty")]
    NoTrustAnchors,
    /// `keybound_trust_anchors` names an anchor that does not exist.
    #[error("`keybound_trust_anchors` names {0:?}, which is not a trust anchor of this server")]
    UnknownTrustAnchor(String),

    /// `jwks` and `jwks_uri` together.
    #[error("`jwks` and `jwks_uri` exclude each other")]
    JwksTwice,
    /// Neither `jwks` nor `jwks_uri`, and the method needs one.
    #[error("a client with `token_endpoint_auth_method` {0} needs `jwks` or `jwks_uri`")]
    KeysMissing(AuthenticationMethod),
    /// `jwks` is not a key set.
    #[error("`jwks` is not valid")]
    Jwks(#[source] JwkSetError),
    /// `jwks` has a key of a kind or size that is not permitted.
    #[error("`jwks` has a key that cannot be used: {0}")]
    KeyNotPermitted(String),
    /// `jwks` of a `self_signed_tls_client_auth` client without any `x5c`.
    #[error("no key in `jwks` has a certificate (`x5c`)")]
    NoCertificate,
    /// `jwks` of a `private_key_jwt` client without a key that could sign.
    #[error("no key in `jwks` can sign by an algorithm that is permitted")]
    NoSigningKey,
    /// `jwks_uri` is not an https URL without fragment and credentials.
    #[error("`jwks_uri` is not an https URL without fragment, user name and password")]
    JwksUri,
    /// `token_endpoint_auth_signing_alg` names an algorithm that is not supported, such as `none`.
    #[error("`token_endpoint_auth_signing_alg` {0:?} is not supported")]
    SigningAlgorithmUnknown(String),
    /// `token_endpoint_auth_signing_alg` names an algorithm that the profile forbids.
    #[error("`token_endpoint_auth_signing_alg` {algorithm} is not permitted by profile {profile}")]
    SigningAlgorithmForbidden {
        /// The algorithm.
        algorithm: SignatureAlgorithm,
        /// The client's or the server's profile, whichever is stricter.
        profile: Profile,
    },
    /// `keybound_expired_self_signed` is neither `refuse` nor `accept`.
    #[error("`keybound_expired_self_signed` {0:?} is neither \"refuse\" nor \"accept\"")]
    ExpiredSelfSigned(String),

    /// A grant type that this server does not serve.
    #[error("grant type {0:?} is not supported")]
    GrantTypeUnsupported(String),
    /// `client_credentials` for a public client (RFC 6749 §4.4).
    #[error("a public client cannot use client_credentials")]
    PublicClientCredentials,
    /// A response type that is not served.
    #[error("response type {0:?} is not supported")]
    ResponseTypeUnsupported(String),
    /// `response_types` has `code` or `grant_types` has `authorization_code`, but not both (RFC 7591 §2.1).
    #[error("response type code and grant type authorization_code belong together")]
    ResponseTypeWithoutGrant,
    /// A client that uses redirects registered no URI (RFC 7591 §2).
    #[error("a client that uses authorization_code needs `redirect_uris`")]
    RedirectUriMissing,
    /// A redirect URI that is not absolute, has a fragment, or is plain http to another machine.
    #[error("redirect URI {0:?} is not acceptable")]
    RedirectUri(String),

    /// `scope` is malformed.
    #[error("the scope is malformed")]
    Scope(#[from] ScopeError),
    /// A scope word that does not exist.
    #[error("scope {0:?} is not configured")]
    ScopeUnknown(String),
    /// A reserved word for a client that registers itself.
    #[error("scope {0:?} is reserved for clients that an operator made")]
    ScopeReserved(String),
    /// A reserved word for a client that has other grants than `client_credentials`.
    #[error("scope {0:?} is reserved for clients whose only grant type is client_credentials")]
    ScopeReservedForClientCredentials(String),

    /// `keybound_profile` is not a profile.
    #[error("`keybound_profile`: {0}")]
    Profile(#[from] UnknownProfile),
    /// `keybound_profile` is one that this server does not enforce.
    #[error("`keybound_profile` {0} is not available here: this server does not enforce it")]
    ProfileNotAvailable(Profile),
    /// `keybound_profile` is laxer than the server's.
    #[error("`keybound_profile` {client} is laxer than the server's {server}")]
    ProfileLaxer {
        /// The client's.
        client: Profile,
        /// The server's.
        server: Profile,
    },
    /// `tls_client_certificate_bound_access_tokens` is false and the profile demands bound tokens.
    #[error("`tls_client_certificate_bound_access_tokens` cannot be false under profile {0}")]
    UnboundTokens(Profile),
    /// `tls_client_certificate_bound_access_tokens` and `dpop_bound_access_tokens` are both true: a token is bound to one
    /// (RFC 7800 §3.1).
    #[error("`tls_client_certificate_bound_access_tokens` and `dpop_bound_access_tokens` are both true")]
    TwoBindings,
    /// `keybound_access_token_format` is neither `jwt` nor `opaque`.
    #[error("`keybound_access_token_format` {0:?} is neither \"jwt\" nor \"opaque\"")]
    AccessTokenFormat(String),
    /// `keybound_introspects` from a client that registers itself, or for a public one.
    #[error("`keybound_introspects` is for confidential clients that an operator made")]
    IntrospectsNotPermitted,
    /// `keybound_introspects` has a malformed URI.
    #[error("`keybound_introspects` has {presented:?}: {source}")]
    IntrospectsUri {
        /// The entry.
        presented: String,
        /// What is wrong with it.
        source: ResourceUriError,
    },
    /// `keybound_introspects` names a resource that does not exist.
    #[error("`keybound_introspects` names {0:?}, which is not a resource of this server")]
    UnknownResource(String),
    /// A member names an algorithm that is not supported, that the profile forbids, or that this server does not sign by.
    #[error("`{member}` {presented:?} is not an algorithm that can be used for it here")]
    Algorithm {
        /// The member.
        member: &'static str,
        /// What it says.
        presented: String,
    },
    /// `default_max_age` is negative.
    #[error("`default_max_age` {0} is negative")]
    DefaultMaxAge(i64),
    /// `authorization_details_types` names a type that is not configured.
    #[error("authorization details type {0:?} is not configured")]
    AuthorizationDetailsType(String),
    /// `subject_type` is another than `public`.
    #[error("`subject_type` {0:?} is not supported, only public")]
    SubjectType(String),
    /// `sector_identifier_uri`, which belongs to pairwise subjects.
    #[error("`sector_identifier_uri` is not supported: subjects are public")]
    SectorIdentifierUri,
    /// `backchannel_token_delivery_mode` is not served here.
    #[error("`backchannel_token_delivery_mode` {0:?} is not supported")]
    DeliveryMode(String),
    /// A `backchannel_token_delivery_mode` that the profile forbids.
    #[error("`backchannel_token_delivery_mode` push is not permitted by profile {0}")]
    DeliveryModeForbidden(Profile),
    /// Tokens that are pushed and bound to a key of DPoP: there is no request of the client's that could have a proof.
    #[error("`dpop_bound_access_tokens` cannot be had by `backchannel_token_delivery_mode` push")]
    PushedAndBoundToKey,
    /// A client of backchannel authentication without delivery mode (CIBA Core §4).
    #[error("a client that uses backchannel authentication needs `backchannel_token_delivery_mode`")]
    DeliveryModeMissing,
    /// `backchannel_client_notification_endpoint` is missing where it is called, or is not a plain https URL.
    #[error(
        "`backchannel_client_notification_endpoint` is missing or not an https URL without fragment, user name and password"
    )]
    NotificationEndpoint,
    /// A descriptive member is too long, has control characters, or is not an https URL.
    #[error("`{member}` is too long, has control characters or is not an https URL")]
    Description {
        /// The member.
        member: &'static str,
    },
}

impl ClientMetadataError {
    /// The code that a registering client is told (RFC 7591 §3.2.2).
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::RedirectUriMissing | Self::RedirectUri(_) => ErrorCode::InvalidRedirectUri,
            Self::TooLarge(_)
            | Self::Json(_)
            | Self::Type(_)
            | Self::MethodMissing
            | Self::MethodUnknown(_)
            | Self::SecretsDisabled(_)
            | Self::MethodForbidden { .. }
            | Self::MethodNotPermitted(_)
            | Self::MemberOfOtherMethod { .. }
            | Self::Subject(_)
            | Self::NoTrustAnchors
            | Self::UnknownTrustAnchor(_)
            | Self::JwksTwice
            | Self::KeysMissing(_)
            | Self::Jwks(_)
            | Self::KeyNotPermitted(_)
            | Self::NoCertificate
            | Self::NoSigningKey
            | Self::JwksUri
            | Self::SigningAlgorithmUnknown(_)
            | Self::SigningAlgorithmForbidden { .. }
            | Self::ExpiredSelfSigned(_)
            | Self::GrantTypeUnsupported(_)
            | Self::PublicClientCredentials
            | Self::ResponseTypeUnsupported(_)
            | Self::ResponseTypeWithoutGrant
            | Self::Scope(_)
            | Self::ScopeUnknown(_)
            | Self::ScopeReserved(_)
            | Self::ScopeReservedForClientCredentials(_)
            | Self::Profile(_)
            | Self::ProfileNotAvailable(_)
            | Self::ProfileLaxer { .. }
            | Self::UnboundTokens(_)
            | Self::TwoBindings
            | Self::AccessTokenFormat(_)
            | Self::IntrospectsNotPermitted
            | Self::IntrospectsUri { .. }
            | Self::UnknownResource(_)
            | Self::Algorithm { .. }
            | Self::DefaultMaxAge(_)
            | Self::AuthorizationDetailsType(_)
            | Self::SubjectType(_)
            | Self::SectorIdentifierUri
            | Self::DeliveryMode(_)
            | Self::DeliveryModeForbidden(_)
            | Self::PushedAndBoundToKey
            | Self::DeliveryModeMissing
            | Self::NotificationEndpoint
            | Self::Description { .. } => ErrorCode::InvalidClientMetadata,
        }
    }
}
