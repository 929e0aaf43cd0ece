//! Members of authorization server metadata that are read and written as they are: switches and lists of names.

/// A member that is true or false, and false where it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetadataFlag {
    /// `authorization_response_iss_parameter_supported` (RFC 9207 §3)
    AuthorizationResponseIss,
    /// `require_pushed_authorization_requests` (RFC 9126 §5)
    RequirePushedAuthorizationRequests,
    /// `require_signed_request_object` (RFC 9101 §10.5)
    RequireSignedRequestObject,
    /// `request_parameter_supported` (OpenID Connect Discovery §3)
    RequestParameter,
    /// `claims_parameter_supported` (OpenID Connect Discovery §3)
    ClaimsParameter,
}

impl MetadataFlag {
    /// Every such member.
    pub const ALL: [Self; 5] = [
        Self::AuthorizationResponseIss,
        Self::RequirePushedAuthorizationRequests,
        Self::RequireSignedRequestObject,
        Self::RequestParameter,
        Self::ClaimsParameter,
    ];

    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::AuthorizationResponseIss => "authorization_response_iss_parameter_supported",
            Self::RequirePushedAuthorizationRequests => "require_pushed_authorization_requests",
            Self::RequireSignedRequestObject => "require_signed_request_object",
            Self::RequestParameter => "request_parameter_supported",
            Self::ClaimsParameter => "claims_parameter_supported",
        }
    }
}

/// A member that lists names, `None` where it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetadataList {
    /// `code_challenge_methods_supported` (RFC 8414 §2)
    CodeChallengeMethods,
    /// `response_modes_supported` (RFC 8414 §2)
    ResponseModes,
    /// `authorization_signing_alg_values_supported` (JARM §4)
    AuthorizationSigningAlgorithms,
    /// `id_token_signing_alg_values_supported` (OpenID Connect Discovery §3)
    IdTokenSigningAlgorithms,
    /// `request_object_signing_alg_values_supported` (RFC 9101 §9.3)
    RequestObjectSigningAlgorithms,
    /// `dpop_signing_alg_values_supported` (RFC 9449 §5.1)
    DpopSigningAlgorithms,
    /// `backchannel_token_delivery_modes_supported` (CIBA Core §4)
    BackchannelTokenDeliveryModes,
    /// `backchannel_authentication_request_signing_alg_values_supported` (CIBA Core §4)
    BackchannelRequestSigningAlgorithms,
    /// `authorization_details_types_supported` (RFC 9396 §10)
    AuthorizationDetailsTypes,
    /// `subject_types_supported` (OpenID Connect Discovery §3)
    SubjectTypes,
    /// `claims_supported` (OpenID Connect Discovery §3)
    Claims,
    /// `acr_values_supported` (OpenID Connect Discovery §3)
    AcrValues,
}

impl MetadataList {
    /// Every such member.
    pub const ALL: [Self; 12] = [
        Self::CodeChallengeMethods,
        Self::ResponseModes,
        Self::AuthorizationSigningAlgorithms,
        Self::IdTokenSigningAlgorithms,
        Self::RequestObjectSigningAlgorithms,
        Self::DpopSigningAlgorithms,
        Self::BackchannelTokenDeliveryModes,
        Self::BackchannelRequestSigningAlgorithms,
        Self::AuthorizationDetailsTypes,
        Self::SubjectTypes,
        Self::Claims,
        Self::AcrValues,
    ];

    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::AuthorizationDetailsTypes => "authorization_details_types_supported",
            Self::SubjectTypes => "subject_types_supported",
            Self::Claims => "claims_supported",
            Self::AcrValues => "acr_values_supported",
            Self::CodeChallengeMethods => "code_challenge_methods_supported",
            Self::ResponseModes => "response_modes_supported",
            Self::AuthorizationSigningAlgorithms => "authorization_signing_alg_values_supported",
            Self::IdTokenSigningAlgorithms => "id_token_signing_alg_values_supported",
            Self::RequestObjectSigningAlgorithms => "request_object_signing_alg_values_supported",
            Self::DpopSigningAlgorithms => "dpop_signing_alg_values_supported",
            Self::BackchannelTokenDeliveryModes => "backchannel_token_delivery_modes_supported",
            Self::BackchannelRequestSigningAlgorithms => {
                "backchannel_authentication_request_signing_alg_values_supported"
            }
        }
    }
}
