//! What a client registers about its authorization requests and their answers (RFC 7591 §2, RFC 9101 §10.5, RFC 9126 §6, RFC 9396
//! §10, RFC 9449 §5.2, OpenID Connect Registration §2, JARM §3, RFC 9701 §6), and about backchannel authentication (CIBA Core §4).

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use url::Url;

use super::error::ClientMetadataError;
use super::registration_policy::RegistrationPolicy;
use crate::json::JsonObject;
use crate::profile::Profile;
use crate::signature_algorithm::SignatureAlgorithm;

/// The registered members about requests and signed answers. An absent algorithm leaves it to the server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuthorizationMetadata {
    /// `request_object_signing_alg`: the only algorithm of its request objects.
    pub request_object_signing_alg: Option<SignatureAlgorithm>,
    /// `require_signed_request_object`
    pub require_signed_request_object: bool,
    /// `require_pushed_authorization_requests`
    pub require_pushed_authorization_requests: bool,
    /// `authorization_signed_response_alg`
    pub authorization_signed_response_alg: Option<SignatureAlgorithm>,
    /// `id_token_signed_response_alg`
    pub id_token_signed_response_alg: Option<SignatureAlgorithm>,
    /// `introspection_signed_response_alg`
    pub introspection_signed_response_alg: Option<SignatureAlgorithm>,
    /// `default_max_age`, in seconds
    pub default_max_age: Option<u64>,
    /// `require_auth_time`
    pub require_auth_time: bool,
    /// `authorization_details_types`; empty leaves all types to the client.
    pub authorization_details_types: Vec<String>,
    /// `dpop_bound_access_tokens`
    pub dpop_bound_access_tokens: bool,
    /// `use_mtls_endpoint_aliases`: for the client to remember; a server does nothing about it.
    pub use_mtls_endpoint_aliases: bool,
    /// `backchannel_…`
    pub backchannel: BackchannelMetadata,
}

/// The registered members about backchannel authentication.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BackchannelMetadata {
    /// `backchannel_token_delivery_mode`
    pub token_delivery_mode: Option<DeliveryMode>,
    /// `backchannel_client_notification_endpoint`, https: there in ping and push mode.
    pub client_notification_endpoint: Option<Url>,
    /// `backchannel_authentication_request_signing_alg`: if there, requests are signed by it.
    pub authentication_request_signing_alg: Option<SignatureAlgorithm>,
    /// `backchannel_user_code_parameter`
    pub user_code_parameter: bool,
}

/// How a client learns the outcome (CIBA Core §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeliveryMode {
    /// It asks the token endpoint.
    Poll,
    /// It is told when to ask.
    Ping,
    /// It is sent the tokens.
    Push,
}

impl DeliveryMode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Poll, Self::Ping, Self::Push];

    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Poll => "poll",
            Self::Ping => "ping",
            Self::Push => "push",
        }
    }

    /// The mode of a registered name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

/// What the members are judged by.
#[derive(Clone, Copy)]
pub(super) struct Judgement<'a> {
    pub(super) object: &'a JsonObject,
    /// `None` for metadata that was judged when it was stored.
    pub(super) policy: Option<&'a RegistrationPolicy>,
    /// The stricter of the client's profile and the server's.
    pub(super) profile: Profile,
    pub(super) uses_backchannel: bool,
}

impl AuthorizationMetadata {
    pub(super) fn parse(judgement: Judgement<'_>) -> Result<Self, ClientMetadataError> {
        let Judgement { object, .. } = judgement;
        judgement.require_public_subjects()?;
        let flag = |member: &'static str| object.boolean(member).map(|value| value.unwrap_or(false));
        Ok(Self {
            request_object_signing_alg: judgement.client_algorithm("request_object_signing_alg")?,
            require_signed_request_object: flag("require_signed_request_object")?,
            require_pushed_authorization_requests: flag("require_pushed_authorization_requests")?,
            authorization_signed_response_alg: judgement.server_algorithm("authorization_signed_response_alg")?,
            id_token_signed_response_alg: judgement.server_algorithm("id_token_signed_response_alg")?,
            introspection_signed_response_alg: judgement.server_algorithm("introspection_signed_response_alg")?,
            default_max_age: judgement.default_max_age()?,
            require_auth_time: flag("require_auth_time")?,
            authorization_details_types: judgement.authorization_details_types()?,
            dpop_bound_access_tokens: flag("dpop_bound_access_tokens")?,
            use_mtls_endpoint_aliases: flag("use_mtls_endpoint_aliases")?,
            backchannel: judgement.backchannel()?,
        })
    }

    /// Adds the members that were registered.
    pub(super) fn add_to(&self, members: &mut Map<String, Value>) {
        let mut add = |member: &str, value: Value| members.insert(member.to_owned(), value);
        for (member, algorithm) in [
            ("request_object_signing_alg", self.request_object_signing_alg),
            (
                "authorization_signed_response_alg",
                self.authorization_signed_response_alg,
            ),
            ("id_token_signed_response_alg", self.id_token_signed_response_alg),
            (
                "introspection_signed_response_alg",
                self.introspection_signed_response_alg,
            ),
            (
                "backchannel_authentication_request_signing_alg",
                self.backchannel.authentication_request_signing_alg,
            ),
        ] {
            if let Some(algorithm) = algorithm {
                add(member, json!(algorithm));
            }
        }
        for (member, flag) in [
            ("require_signed_request_object", self.require_signed_request_object),
            (
                "require_pushed_authorization_requests",
                self.require_pushed_authorization_requests,
            ),
            ("require_auth_time", self.require_auth_time),
            ("dpop_bound_access_tokens", self.dpop_bound_access_tokens),
            ("use_mtls_endpoint_aliases", self.use_mtls_endpoint_aliases),
            ("backchannel_user_code_parameter", self.backchannel.user_code_parameter),
        ] {
            // Each has the default false where its specification gives one, so that saying nothing says the same.
            if flag {
                add(member, json!(true));
            }
        }
        if let Some(seconds) = self.default_max_age {
            add("default_max_age", json!(seconds));
        }
        if !self.authorization_details_types.is_empty() {
            add("authorization_details_types", json!(self.authorization_details_types));
        }
        if let Some(mode) = self.backchannel.token_delivery_mode {
            add("backchannel_token_delivery_mode", json!(mode.name()));
        }
        if let Some(url) = &self.backchannel.client_notification_endpoint {
            add("backchannel_client_notification_endpoint", json!(url.as_str()));
        }
    }
}

impl Judgement<'_> {
    /// Only `public` subjects exist here: `sub` is the same for every client. A `sector_identifier_uri`, which would group clients that
    /// share pairwise ones, is refused and never fetched.
    fn require_public_subjects(self) -> Result<(), ClientMetadataError> {
        if self.object.contains("sector_identifier_uri") {
            return Err(ClientMetadataError::SectorIdentifierUri);
        }
        match self.object.string("subject_type")? {
            None | Some("public") => Ok(()),
            Some(other) => Err(ClientMetadataError::SubjectType(other.to_owned())),
        }
    }

    /// An algorithm that the client signs by.
    fn client_algorithm(self, member: &'static str) -> Result<Option<SignatureAlgorithm>, ClientMetadataError> {
        let Some(name) = self.object.string(member)? else {
            return Ok(None);
        };
        SignatureAlgorithm::from_name(name)
            .filter(|algorithm| self.profile.signature_algorithms().contains(algorithm))
            .map(Some)
            .ok_or_else(|| ClientMetadataError::Algorithm {
                member,
                presented: name.to_owned(),
            })
    }

    /// An algorithm that this server is to sign by: one that it signs by anyway.
    fn server_algorithm(self, member: &'static str) -> Result<Option<SignatureAlgorithm>, ClientMetadataError> {
        let algorithm = self.client_algorithm(member)?;
        match (algorithm, self.policy) {
            (Some(algorithm), Some(policy)) if !policy.signing_algorithms.contains(&algorithm) => {
                Err(ClientMetadataError::Algorithm {
                    member,
                    presented: algorithm.name().to_owned(),
                })
            }
            (algorithm, _) => Ok(algorithm),
        }
    }

    fn default_max_age(self) -> Result<Option<u64>, ClientMetadataError> {
        let Some(seconds) = self.object.numeric_date("default_max_age")? else {
            return Ok(None);
        };
        u64::try_from(seconds)
            .map(Some)
            .map_err(|_| ClientMetadataError::DefaultMaxAge(seconds))
    }

    fn authorization_details_types(self) -> Result<Vec<String>, ClientMetadataError> {
        let names = self.object.strings("authorization_details_types")?.unwrap_or_default();
        let mut types = BTreeSet::new();
        for name in names {
            let is_known = self
                .policy
                .is_none_or(|policy| policy.authorization_details_types.contains(name));
            if !is_known {
                return Err(ClientMetadataError::AuthorizationDetailsType(name.to_owned()));
            }
            types.insert(name.to_owned());
        }
        Ok(types.into_iter().collect())
    }

    fn backchannel(self) -> Result<BackchannelMetadata, ClientMetadataError> {
        let token_delivery_mode = match self.object.string("backchannel_token_delivery_mode")? {
            None => None,
            Some(name) => Some(
                DeliveryMode::from_name(name)
                    .filter(|mode| {
                        self.policy
                            .is_none_or(|policy| policy.backchannel_delivery_modes.contains(mode))
                    })
                    .ok_or_else(|| ClientMetadataError::DeliveryMode(name.to_owned()))?,
            ),
        };
        if token_delivery_mode == Some(DeliveryMode::Push) {
            if !self.profile.permits_push_delivery() {
                return Err(ClientMetadataError::DeliveryModeForbidden(self.profile));
            }
            if self.object.boolean("dpop_bound_access_tokens")?.unwrap_or(false) {
                return Err(ClientMetadataError::PushedAndBoundToKey);
            }
        }
        if self.uses_backchannel && token_delivery_mode.is_none() {
            return Err(ClientMetadataError::DeliveryModeMissing);
        }
        let client_notification_endpoint = match self.object.string("backchannel_client_notification_endpoint")? {
            None => None,
            Some(text) => Some(notification_endpoint(text)?),
        };
        let is_called = matches!(token_delivery_mode, Some(DeliveryMode::Ping | DeliveryMode::Push));
        if is_called && client_notification_endpoint.is_none() {
            return Err(ClientMetadataError::NotificationEndpoint);
        }
        Ok(BackchannelMetadata {
            token_delivery_mode,
            client_notification_endpoint,
            authentication_request_signing_alg: self
                .client_algorithm("backchannel_authentication_request_signing_alg")?,
            user_code_parameter: self.object.boolean("backchannel_user_code_parameter")?.unwrap_or(false),
        })
    }
}

/// https, without anything that would be sent along by accident.
fn notification_endpoint(text: &str) -> Result<Url, ClientMetadataError> {
    let url = Url::parse(text).map_err(|_| ClientMetadataError::NotificationEndpoint)?;
    let has_credentials = !url.username().is_empty() || url.password().is_some();
    let is_plain = text.bytes().all(|octet| octet.is_ascii_graphic()) && url.fragment().is_none();
    match url.scheme() == "https" && !has_credentials && is_plain {
        true => Ok(url),
        false => Err(ClientMetadataError::NotificationEndpoint),
    }
}
