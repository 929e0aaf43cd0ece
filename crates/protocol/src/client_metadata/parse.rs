//! The checks of client metadata, in their order: profile, method with its parameters, grants, scope, tokens.

use std::sync::Arc;

use url::Url;

use super::authentication::{
    ClientAuthentication, ClientKeys, ClientSecretTransport, ExpiredSelfSigned, PermittedAnchors,
};
use super::authorization::{AuthorizationMetadata, Judgement};
use super::{
    CLIENT_METADATA_BYTES_MAX, ClientDescription, ClientMetadata, ClientMetadataError, REDIRECT_URIS_MAX,
    RegistrationPolicy, ResponseType,
};
use crate::authentication_method::AuthenticationMethod;
use crate::grant_type::GrantType;
use crate::json::JsonObject;
use crate::jwk_set::JwkSet;
use crate::profile::Profile;
use crate::resource::ResourceUri;
use crate::scope::{ADMIN_SCOPE, RESERVED_SCOPE_PREFIX, REVOCATIONS_SCOPE, Scope};
use crate::signature_algorithm::SignatureAlgorithm;
use crate::subject_rule::{SubjectParameter, SubjectRule};
use crate::trust_anchor::TrustAnchorName;

type Result<T> = std::result::Result<T, ClientMetadataError>;

/// Reads metadata; without a policy it is metadata that was judged before.
pub(super) fn parse(json: &[u8], policy: Option<&RegistrationPolicy>) -> Result<ClientMetadata> {
    if json.len() > CLIENT_METADATA_BYTES_MAX {
        return Err(ClientMetadataError::TooLarge(json.len()));
    }
    of_object(JsonObject::parse(json)?, policy)
}

/// The same for metadata that is an object already.
pub(super) fn of_object(object: JsonObject, policy: Option<&RegistrationPolicy>) -> Result<ClientMetadata> {
    let object = object.without_nulls();
    let registration = Registration {
        object: &object,
        policy,
    };

    let profile = registration.profile()?;
    let effective_profile = policy
        .map_or(Profile::Default, |policy| policy.profile)
        .max(profile.unwrap_or_default());
    let method = registration.method(effective_profile)?;
    let keys = registration.keys()?;
    let authentication = registration.authentication(method, keys.as_ref(), effective_profile)?;
    let other_keys = if authentication.keys().is_some() { None } else { keys };

    let redirect_uris = registration.redirect_uris(effective_profile)?;
    let grant_types = registration.grant_types(method, &redirect_uris)?;
    let response_types = registration.response_types(&grant_types)?;
    if grant_types.contains(&GrantType::AuthorizationCode) && redirect_uris.is_empty() {
        return Err(ClientMetadataError::RedirectUriMissing);
    }
    let authorization = AuthorizationMetadata::parse(Judgement {
        object: &object,
        policy,
        profile: effective_profile,
        uses_backchannel: grant_types.contains(&GrantType::BackchannelAuthentication),
    })?;
    let has_dpop = authorization.dpop_bound_access_tokens;
    Ok(ClientMetadata {
        authentication,
        other_keys,
        response_types,
        redirect_uris,
        scope: registration.scope(&grant_types)?,
        grant_types,
        certificate_bound_access_tokens: registration.bound_access_tokens(effective_profile, has_dpop)?,
        access_token_format: registration.access_token_format()?,
        introspects: registration.introspects(method)?,
        profile,
        authorization,
        description: ClientDescription::from_object(&object)?,
    })
}

#[derive(Clone, Copy)]
struct Registration<'a> {
    object: &'a JsonObject,
    policy: Option<&'a RegistrationPolicy>,
}

impl<'a> Registration<'a> {
    fn profile(self) -> Result<Option<Profile>> {
        let Some(name) = self.object.string("keybound_profile")? else {
            return Ok(None);
        };
        let client: Profile = name.parse()?;
        match self.policy {
            Some(policy) if client < policy.profile => Err(ClientMetadataError::ProfileLaxer {
                client,
                server: policy.profile,
            }),
            Some(policy) if !policy.profiles.contains(&client) => Err(ClientMetadataError::ProfileNotAvailable(client)),
            _ => Ok(Some(client)),
        }
    }

    fn method(self, profile: Profile) -> Result<AuthenticationMethod> {
        let secrets_enabled = self.policy.is_none_or(|policy| policy.client_secrets_enabled);
        let method = match self.object.string("token_endpoint_auth_method")? {
            None if !secrets_enabled => return Err(ClientMetadataError::MethodMissing),
            None => AuthenticationMethod::ClientSecretBasic,
            Some(name) => AuthenticationMethod::from_name(name)
                .ok_or_else(|| ClientMetadataError::MethodUnknown(name.to_owned()))?,
        };
        if method.has_secret() && !secrets_enabled {
            return Err(ClientMetadataError::SecretsDisabled(method));
        }
        if !profile.permits_method(method) {
            return Err(ClientMetadataError::MethodForbidden { method, profile });
        }
        if self.policy.is_some_and(|policy| !policy.methods.contains(&method)) {
            return Err(ClientMetadataError::MethodNotPermitted(method));
        }
        Ok(method)
    }

    fn authentication(
        self,
        method: AuthenticationMethod,
        keys: Option<&ClientKeys>,
        profile: Profile,
    ) -> Result<ClientAuthentication> {
        self.require_own_members(method)?;
        let needed_keys = || keys.cloned().ok_or(ClientMetadataError::KeysMissing(method));
        match method {
            AuthenticationMethod::TlsClientAuth => Ok(ClientAuthentication::TlsClientAuth {
                subject: self.subject()?,
                anchors: self.anchors()?,
            }),
            AuthenticationMethod::SelfSignedTlsClientAuth => {
                let keys = needed_keys()?;
                if let ClientKeys::Jwks(jwks) = &keys
                    && jwks.certificates().next().is_none()
                {
                    return Err(ClientMetadataError::NoCertificate);
                }
                Ok(ClientAuthentication::SelfSignedTlsClientAuth {
                    keys,
                    expired: self.expired_self_signed()?,
                })
            }
            AuthenticationMethod::PrivateKeyJwt => {
                let keys = needed_keys()?;
                let algorithm = self.signing_algorithm(profile)?;
                let permitted = algorithm
                    .as_ref()
                    .map_or(profile.signature_algorithms(), std::slice::from_ref);
                if let ClientKeys::Jwks(jwks) = &keys
                    && !jwks.can_verify(permitted)
                {
                    return Err(ClientMetadataError::NoSigningKey);
                }
                Ok(ClientAuthentication::PrivateKeyJwt { keys, algorithm })
            }
            AuthenticationMethod::ClientSecretBasic => Ok(ClientAuthentication::ClientSecret {
                transport: ClientSecretTransport::Basic,
            }),
            AuthenticationMethod::ClientSecretPost => Ok(ClientAuthentication::ClientSecret {
                transport: ClientSecretTransport::Post,
            }),
            AuthenticationMethod::None => Ok(ClientAuthentication::None),
        }
    }

    /// Refuses parameters of another method: whoever sends them believes in a check that would not be made.
    fn require_own_members(self, method: AuthenticationMethod) -> Result<()> {
        let subject_parameters = SubjectParameter::ALL.map(SubjectParameter::name);
        let members = subject_parameters
            .into_iter()
            .chain(["keybound_trust_anchors"])
            .map(|member| (member, AuthenticationMethod::TlsClientAuth))
            .chain([
                (
                    "keybound_expired_self_signed",
                    AuthenticationMethod::SelfSignedTlsClientAuth,
                ),
                ("token_endpoint_auth_signing_alg", AuthenticationMethod::PrivateKeyJwt),
            ]);
        for (member, owner) in members {
            if owner != method && self.object.contains(member) {
                return Err(ClientMetadataError::MemberOfOtherMethod { member, method });
            }
        }
        Ok(())
    }

    fn subject(self) -> Result<SubjectRule> {
        let mut parameters = Vec::new();
        for parameter in SubjectParameter::ALL {
            if let Some(value) = self.object.string(parameter.name())? {
                parameters.push((parameter, value));
            }
        }
        Ok(SubjectRule::exactly_one(parameters)?)
    }

    fn anchors(self) -> Result<PermittedAnchors> {
        let Some(texts) = self.object.strings("keybound_trust_anchors")? else {
            let omitted = self.policy.map(|policy| policy.trust_anchors_if_omitted.clone());
            return Ok(omitted.unwrap_or(PermittedAnchors::Every));
        };
        if texts.is_empty() {
            return Err(ClientMetadataError::NoTrustAnchors);
        }
        let mut names = Vec::new();
        for text in texts {
            let name = text
                .parse::<TrustAnchorName>()
                .ok()
                .filter(|name| self.policy.is_none_or(|policy| policy.trust_anchors.contains(name)))
                .ok_or_else(|| ClientMetadataError::UnknownTrustAnchor(text.to_owned()))?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(PermittedAnchors::Named(names))
    }

    fn keys(self) -> Result<Option<ClientKeys>> {
        match (self.object.object("jwks")?, self.object.string("jwks_uri")?) {
            (Some(_), Some(_)) => Err(ClientMetadataError::JwksTwice),
            (None, None) => Ok(None),
            (Some(jwks), None) => {
                let jwks = JwkSet::from_object(jwks).map_err(ClientMetadataError::Jwks)?;
                // What is passed over in a fetched set is refused here, where somebody can still correct it.
                if let Some(skipped) = jwks.skipped().first() {
                    return Err(ClientMetadataError::KeyNotPermitted(skipped.reason.clone()));
                }
                Ok(Some(ClientKeys::Jwks(Arc::new(jwks))))
            }
            (None, Some(text)) => {
                let url = Url::parse(text).map_err(|_| ClientMetadataError::JwksUri)?;
                let has_credentials = !url.username().is_empty() || url.password().is_some();
                let is_plain = text.bytes().all(|octet| octet.is_ascii_graphic()) && url.fragment().is_none();
                if url.scheme() != "https" || has_credentials || !is_plain {
                    return Err(ClientMetadataError::JwksUri);
                }
                Ok(Some(ClientKeys::JwksUri(url)))
            }
        }
    }

    fn expired_self_signed(self) -> Result<ExpiredSelfSigned> {
        match self.object.string("keybound_expired_self_signed")? {
            None => Ok(ExpiredSelfSigned::default()),
            Some(name) => ExpiredSelfSigned::from_name(name)
                .ok_or_else(|| ClientMetadataError::ExpiredSelfSigned(name.to_owned())),
        }
    }

    fn signing_algorithm(self, profile: Profile) -> Result<Option<SignatureAlgorithm>> {
        let Some(name) = self.object.string("token_endpoint_auth_signing_alg")? else {
            return Ok(None);
        };
        let algorithm = SignatureAlgorithm::from_name(name)
            .ok_or_else(|| ClientMetadataError::SigningAlgorithmUnknown(name.to_owned()))?;
        if !profile.signature_algorithms().contains(&algorithm) {
            return Err(ClientMetadataError::SigningAlgorithmForbidden { algorithm, profile });
        }
        Ok(Some(algorithm))
    }

    fn redirect_uris(self, profile: Profile) -> Result<Vec<String>> {
        let uris = self.object.strings("redirect_uris")?.unwrap_or_default();
        if let Some(one_too_many) = uris.get(REDIRECT_URIS_MAX) {
            return Err(ClientMetadataError::RedirectUri((*one_too_many).to_owned()));
        }
        uris.into_iter()
            .map(|uri| match is_redirect_uri(uri, profile) {
                true => Ok(uri.to_owned()),
                false => Err(ClientMetadataError::RedirectUri(uri.to_owned())),
            })
            .collect()
    }

    /// RFC 7591 §2: omitted means `authorization_code`. A client without redirect URI could do nothing with that, so its default is
    /// what it can use: `client_credentials` if it authenticates (§3.2.1 lets a server replace what was omitted, and answers so).
    fn grant_types(self, method: AuthenticationMethod, redirect_uris: &[String]) -> Result<Vec<GrantType>> {
        let is_served =
            |grant_type: &GrantType| self.policy.is_none_or(|policy| policy.grant_types.contains(grant_type));
        let is_public = method == AuthenticationMethod::None;
        let Some(names) = self.object.strings("grant_types")? else {
            let default = match (redirect_uris.is_empty(), is_public) {
                (false, _) => GrantType::AuthorizationCode,
                (true, false) => GrantType::ClientCredentials,
                (true, true) => return Ok(Vec::new()),
            };
            return match is_served(&default) {
                true => Ok(vec![default]),
                false => Err(ClientMetadataError::GrantTypeUnsupported(default.name().to_owned())),
            };
        };
        let mut grant_types = Vec::new();
        for name in names {
            let grant_type = GrantType::from_name(name)
                .filter(is_served)
                .ok_or_else(|| ClientMetadataError::GrantTypeUnsupported(name.to_owned()))?;
            if is_public && grant_type == GrantType::ClientCredentials {
                return Err(ClientMetadataError::PublicClientCredentials);
            }
            if !grant_types.contains(&grant_type) {
                grant_types.push(grant_type);
            }
        }
        Ok(grant_types)
    }

    fn response_types(self, grant_types: &[GrantType]) -> Result<Vec<ResponseType>> {
        let uses_code = grant_types.contains(&GrantType::AuthorizationCode);
        let Some(names) = self.object.strings("response_types")? else {
            // RFC 7591 §2: the default is `code`. For a client that never goes there it would contradict its grants.
            return Ok(if uses_code {
                vec![ResponseType::Code]
            } else {
                Vec::new()
            });
        };
        let mut response_types = Vec::new();
        for name in names {
            if name != ResponseType::Code.name() {
                return Err(ClientMetadataError::ResponseTypeUnsupported(name.to_owned()));
            }
            response_types = vec![ResponseType::Code];
        }
        if uses_code == response_types.is_empty() {
            return Err(ClientMetadataError::ResponseTypeWithoutGrant);
        }
        Ok(response_types)
    }

    fn scope(self, grant_types: &[GrantType]) -> Result<Scope> {
        let Some(text) = self.object.string("scope")? else {
            return Ok(Scope::empty());
        };
        let scope = Scope::parse(text)?;
        for word in scope.words() {
            if word.starts_with(RESERVED_SCOPE_PREFIX) {
                if self.policy.is_some_and(|policy| !policy.origin.is_operator()) {
                    return Err(ClientMetadataError::ScopeReserved(word.to_owned()));
                }
                if ![ADMIN_SCOPE, REVOCATIONS_SCOPE].contains(&word) {
                    return Err(ClientMetadataError::ScopeUnknown(word.to_owned()));
                }
                // Consent, exchange and refresh never grant it; a client that also has those grants is two clients.
                if grant_types != [GrantType::ClientCredentials] {
                    return Err(ClientMetadataError::ScopeReservedForClientCredentials(word.to_owned()));
                }
            } else if let Some(scopes) = self.policy.and_then(|policy| policy.scopes.as_ref())
                && !scopes.contains(word)
            {
                return Err(ClientMetadataError::ScopeUnknown(word.to_owned()));
            }
        }
        Ok(scope)
    }

    fn bound_access_tokens(self, profile: Profile, has_dpop: bool) -> Result<bool> {
        let registered = self.object.boolean("tls_client_certificate_bound_access_tokens")?;
        // FAPI 2.0 §5.3.2.1: bound to a certificate or, for a client that says so, to a DPoP key.
        match (registered, profile.requires_bound_access_tokens() && !has_dpop) {
            (Some(true), _) if has_dpop => Err(ClientMetadataError::TwoBindings),
            (Some(false), true) => Err(ClientMetadataError::UnboundTokens(profile)),
            (None, demanded) => Ok(demanded),
            (Some(registered), _) => Ok(registered),
        }
    }

    fn access_token_format(self) -> Result<Option<crate::access_token::AccessTokenFormat>> {
        self.object
            .string("keybound_access_token_format")?
            .map(|name| {
                name.parse()
                    .map_err(|_| ClientMetadataError::AccessTokenFormat(name.to_owned()))
            })
            .transpose()
    }

    fn introspects(self, method: AuthenticationMethod) -> Result<Vec<ResourceUri>> {
        let Some(texts) = self.object.strings("keybound_introspects")? else {
            return Ok(Vec::new());
        };
        // Whoever may introspect sees everybody's tokens for that resource.
        let by_operator = self.policy.is_none_or(|policy| policy.origin.is_operator());
        if !by_operator || method == AuthenticationMethod::None {
            return Err(ClientMetadataError::IntrospectsNotPermitted);
        }
        texts
            .into_iter()
            .map(|text| {
                let resource = ResourceUri::parse(text).map_err(|source| ClientMetadataError::IntrospectsUri {
                    presented: text.to_owned(),
                    source,
                })?;
                match self.policy.is_none_or(|policy| policy.resources.contains(&resource)) {
                    true => Ok(resource),
                    false => Err(ClientMetadataError::UnknownResource(text.to_owned())),
                }
            })
            .collect()
    }
}

/// RFC 6749 §3.1.2: absolute and without fragment. RFC 9700 §2.1: https, or http to this machine for a native application; RFC
/// 8252 §7.1 adds schemes that are somebody's domain name reversed. FAPI 2.0 §5.3.2.2 takes https, and http to a loopback address: a name
/// can be made to lead elsewhere (RFC 8252 §8.3).
fn is_redirect_uri(text: &str, profile: Profile) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    if text.contains('#') || !text.bytes().all(|octet| octet.is_ascii_graphic()) {
        return false;
    }
    let is_loopback = || match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost" && !profile.restricts_redirect_uris(),
        None => false,
    };
    match url.scheme() {
        "https" => url.username().is_empty() && url.password().is_none(),
        "http" => is_loopback(),
        scheme => scheme.contains('.') && !profile.restricts_redirect_uris(),
    }
}
