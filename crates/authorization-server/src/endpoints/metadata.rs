//! `/.well-known/oauth-authorization-server` (RFC 8414): made once per configuration and algorithm that may sign, then served as
//! bytes.

use std::collections::BTreeMap;
use std::time::Duration;

use keybound_protocol::authentication_method::AuthenticationMethod;
use keybound_protocol::authorization_response::ResponseMode;
use keybound_protocol::client::ClientOrigin;
use keybound_protocol::endpoint::Endpoint;
use keybound_protocol::grant_type::GrantType;
use keybound_protocol::pkce::S256;
use keybound_protocol::server_metadata::{MetadataFlag, MetadataList, ServerMetadata};
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::userinfo::{claims_supported, scopes_supported};
use url::Url;

use crate::registration::REGISTRATION_PATH;
use crate::response::PublicDocument;
use crate::router::Route;
use crate::settings::Settings;

/// The methods by which clients can authenticate at a server with these settings.
fn methods(settings: &Settings) -> Vec<AuthenticationMethod> {
    // RFC 6749 §4.4: `client_credentials` is the one grant that they cannot use.
    let grant_types = settings.registration_policy(ClientOrigin::Administrator).grant_types;
    let serves_public_clients = grant_types.iter().any(|grant| *grant != GrantType::ClientCredentials);
    let is_offered = |method: &AuthenticationMethod| {
        settings.profile.permits_method(*method)
            && (settings.client_secrets_enabled || !method.has_secret())
            && (*method != AuthenticationMethod::None || serves_public_clients)
    };
    AuthenticationMethod::ALL.into_iter().filter(is_offered).collect()
}

/// The endpoints that are served, with their paths below the issuer's.
const ENDPOINTS: [(Endpoint, &str); 7] = [
    AUTHORIZATION,
    PUSHED_AUTHORIZATION,
    TOKEN,
    INTROSPECTION,
    REVOCATION,
    DEVICE_AUTHORIZATION,
    BACKCHANNEL_AUTHENTICATION,
];
const AUTHORIZATION: (Endpoint, &str) = (Endpoint::Authorization, "/authorize");
pub(crate) const TOKEN: (Endpoint, &str) = (Endpoint::Token, "/token");
const INTROSPECTION: (Endpoint, &str) = (Endpoint::Introspection, "/introspect");
const REVOCATION: (Endpoint, &str) = (Endpoint::Revocation, "/revoke");
const DEVICE_AUTHORIZATION: (Endpoint, &str) = (Endpoint::DeviceAuthorization, "/device_authorization");
const BACKCHANNEL_AUTHENTICATION: (Endpoint, &str) = (Endpoint::BackchannelAuthentication, "/bc-authorize");
/// The protected resource of OpenID Connect, below the issuer's path.
pub(crate) const USERINFO_PATH: &str = "/userinfo";
pub(crate) const PUSHED_AUTHORIZATION: (Endpoint, &str) = (Endpoint::PushedAuthorizationRequest, "/par");

/// How long caches may keep the document.
const FRESH: Duration = Duration::from_secs(60);

/// The metadata document of a server, by what signs.
///
/// Usually that is the algorithm of the settings. After a change of them the predecessor's key goes on for a while, see
/// [`signing_keys`](crate::signing_keys).
pub(crate) struct Documents {
    usual: PublicDocument,
    between: Vec<(SignatureAlgorithm, PublicDocument)>,
}

impl Documents {
    /// The documents of a server with these settings.
    pub(crate) fn new(settings: &Settings) -> Documents {
        let configured = settings.tokens.signing_algorithms();
        let others = SignatureAlgorithm::ALL
            .into_iter()
            .filter(|other| !configured.contains(other));
        Documents {
            usual: document(settings, &configured),
            between: others
                .map(|other| (other, document(settings, &[&configured[..], &[other]].concat())))
                .collect(),
        }
    }

    /// The one that is true while a key of this algorithm signs.
    pub(crate) fn while_signing_by(&self, algorithm: SignatureAlgorithm) -> &PublicDocument {
        let found = self.between.iter().find(|(other, _)| *other == algorithm);
        found.map_or(&self.usual, |(_, document)| document)
    }
}

fn document(settings: &Settings, signing: &[SignatureAlgorithm]) -> PublicDocument {
    let issuer = &settings.issuer;
    let mut metadata = ServerMetadata::new(issuer.clone());
    for (endpoint, path) in ENDPOINTS {
        let [url, alias] = url_and_alias(settings, path);
        metadata = metadata.with_endpoint(endpoint, url, Some(alias));
    }
    if settings.registration.is_some() {
        let [url, alias] = url_and_alias(settings, REGISTRATION_PATH);
        metadata = metadata.with_endpoint(Endpoint::Registration, url, Some(alias));
    }
    let request_algorithms = settings.profile.signature_algorithms().iter();
    let request_algorithms = request_algorithms.map(|algorithm| algorithm.name().to_owned());
    if settings.openid_enabled {
        metadata = about_openid(metadata, settings, signing);
    }
    let of_openid = scopes_supported().filter(|_| settings.openid_enabled);
    // A word that is configured, too, is listed once.
    let of_openid = of_openid.filter(|word| settings.scopes.iter().all(|scope| scope.name != *word));
    let scopes = settings.scopes.iter().map(|scope| scope.name.clone());
    let scopes = scopes.chain(of_openid.map(str::to_owned));
    let metadata = about_authorization(metadata, settings, signing)
        .with_jwks_uri(issuer.endpoint_url("/jwks"))
        .with_certificate_bound_access_tokens()
        .with_response_types(&["code"])
        .with_grant_types(&settings.grant_types())
        .with_scopes(scopes.filter(|scope| !scope.starts_with(keybound_protocol::scope::RESERVED_SCOPE_PREFIX)))
        .with_authentication_methods(&methods(settings), settings.profile.signature_algorithms())
        .with_introspection_signing_algorithms(signing)
        .with_names(
            MetadataList::DpopSigningAlgorithms,
            settings.profile.signature_algorithms().iter().map(ToString::to_string),
        )
        .with_names(
            MetadataList::BackchannelTokenDeliveryModes,
            settings.delivery_modes().iter().map(|mode| mode.name().to_owned()),
        )
        .with_names(MetadataList::BackchannelRequestSigningAlgorithms, request_algorithms);
    PublicDocument::new(metadata.to_json().to_string(), FRESH)
}

/// What is said about authorization requests and their answers.
fn about_authorization(
    metadata: ServerMetadata,
    settings: &Settings,
    signing: &[SignatureAlgorithm],
) -> ServerMetadata {
    let algorithms = |algorithms: &[SignatureAlgorithm]| {
        let names = algorithms.iter().map(|algorithm| algorithm.name().to_owned());
        names.collect::<Vec<_>>()
    };
    let profile = settings.profile;
    let types = settings.authorization.details_types.names().map(str::to_owned);
    let mut metadata = metadata
        .with_flag(MetadataFlag::AuthorizationResponseIss)
        .with_flag(MetadataFlag::RequestParameter)
        .with_names(MetadataList::CodeChallengeMethods, [S256.to_owned()])
        .with_names(MetadataList::ResponseModes, ResponseMode::NAMES.map(str::to_owned))
        .with_names(MetadataList::AuthorizationSigningAlgorithms, algorithms(signing))
        .with_names(
            MetadataList::RequestObjectSigningAlgorithms,
            algorithms(profile.signature_algorithms()),
        )
        .with_names(MetadataList::AuthorizationDetailsTypes, types);
    if settings.authorization.require_pushed_authorization_requests || profile.requires_pushed_authorization_requests()
    {
        metadata = metadata.with_flag(MetadataFlag::RequirePushedAuthorizationRequests);
    }
    if profile.requires_signed_request_objects() {
        metadata = metadata.with_flag(MetadataFlag::RequireSignedRequestObject);
    }
    metadata
}

/// What is said where there is OpenID Connect (OpenID Connect Discovery §3).
fn about_openid(metadata: ServerMetadata, settings: &Settings, signing: &[SignatureAlgorithm]) -> ServerMetadata {
    let [url, alias] = url_and_alias(settings, USERINFO_PATH);
    let algorithms = signing.iter().map(|algorithm| algorithm.name().to_owned());
    metadata
        .with_endpoint(Endpoint::Userinfo, url, Some(alias))
        .with_flag(MetadataFlag::ClaimsParameter)
        .with_names(MetadataList::SubjectTypes, ["public".to_owned()])
        .with_names(MetadataList::IdTokenSigningAlgorithms, algorithms)
        .with_names(MetadataList::Claims, claims_supported().map(str::to_owned))
}

/// The URLs by which clients know this server's endpoints, as metadata has them: what an assertion may be made out to.
pub(crate) struct EndpointUrls(BTreeMap<Endpoint, Vec<Url>>);

impl EndpointUrls {
    pub(crate) fn new(settings: &Settings) -> EndpointUrls {
        let urls = |path| url_and_alias(settings, path);
        // The token endpoint's also elsewhere: for most libraries it is *the* audience, whichever endpoint they call.
        let of_route = |route: Route| {
            Some((
                route.form_endpoint()?,
                [urls(TOKEN.1), urls(route.form_path()?)].concat(),
            ))
        };
        EndpointUrls(Route::ALL.into_iter().filter_map(of_route).collect())
    }

    /// Those of the token endpoint and of the endpoint called.
    pub(crate) fn accepted_at(&self, route: Route) -> &[Url] {
        let endpoint = route.form_endpoint();
        endpoint
            .and_then(|endpoint| self.0.get(&endpoint))
            .map_or(&[], Vec::as_slice)
    }
}

/// An endpoint for those without certificates, and for those with one.
pub(crate) fn url_and_alias(settings: &Settings, path: &str) -> [Url; 2] {
    let issuer = &settings.issuer;
    let alias = alias(&settings.mutual_tls_origin, &format!("{}{path}", issuer.path()));
    [issuer.endpoint_url(path), alias]
}

/// `path` at the origin of the mutual-TLS listener (RFC 8705 §5).
fn alias(origin: &Url, path: &str) -> Url {
    let mut url = origin.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.set_path(path);
    url
}
