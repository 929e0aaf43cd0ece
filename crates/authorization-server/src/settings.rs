//! What an authorization server is told: values, already read and parsed. Nothing here opens a file or a socket.

mod registration;

use std::collections::BTreeSet;
use std::time::Duration;

use keybound_protocol::access_token::AccessTokenFormat;
use keybound_protocol::authentication_method::AuthenticationMethod;
use keybound_protocol::authorization_details::AuthorizationDetailsTypes;
use keybound_protocol::client::{Client, ClientId, ClientOrigin};
use keybound_protocol::client_metadata::{DeliveryMode, PermittedAnchors, RegistrationPolicy};
use keybound_protocol::grant_type::GrantType;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::jwk_set::JwkSet;
use keybound_protocol::profile::Profile;
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::trust_anchor::{TrustAnchor, TrustAnchorName};
use keybound_protocol::userinfo::scopes_supported;
use keybound_store::Store;
use keybound_tls::{Clock, GuardedFetch};
use url::Url;

use crate::limits::Limits;
use crate::upstream::UpstreamProvider;

pub use registration::{ClientPolicy, InitialAccessToken, REGISTRATION_METHODS, RegistrationSettings};

/// What may change while the server runs: [`AuthorizationServer::reload`](crate::AuthorizationServer::reload) takes a new
/// one and every request that begins afterwards sees it whole.
#[derive(Clone)]
pub struct Settings {
    /// The issuer identifier; may have a path, and then every endpoint lies below it.
    pub issuer: Issuer,
    /// The origin of the mutual-TLS listener as clients reach it, such as `https://localhost:8444`: the base of
    /// `mtls_endpoint_aliases` and of the admin API. Its path, if any, is ignored.
    pub mutual_tls_origin: Url,
    /// The security profile of the server; a client may be stricter.
    pub profile: Profile,
    /// What tokens look like.
    pub tokens: TokenSettings,
    /// What authorization requests may and have to be.
    pub authorization: AuthorizationSettings,
    /// Whether there is OpenID Connect: ID tokens, `/userinfo` and discovery.
    pub openid_enabled: bool,
    /// Whether clients of backchannel authentication may register that their tokens are sent to them (CIBA Core §10.3). Without
    /// OpenID Connect they are not, whatever this says: the ID token is what protects what is sent.
    pub push_delivery_enabled: bool,
    /// The certification authorities that certificates of `tls_client_auth` clients may come from, revocation lists
    /// included. None means that nobody is trusted.
    pub trust_anchors: Vec<TrustAnchor>,
    /// The clients of configuration files. They shadow stored clients of the same id and are read-only to the admin API.
    pub clients: Vec<Client>,
    /// Whether clients may authenticate by secrets (`client_secret_basic`, `client_secret_post`), as far as their profile permits it.
    pub client_secrets_enabled: bool,
    /// Where clients register themselves (RFC 7591); `None` where they do not.
    pub registration: Option<RegistrationSettings>,
    /// What the operator is called on the pages that users see; `None` is the issuer's host.
    pub operator: Option<String>,
    /// Where users may sign in beside the local directory.
    pub upstream_providers: Vec<UpstreamProvider>,
    /// The scopes that metadata advertises.
    pub scopes: Vec<ScopeSettings>,
    /// The resources that tokens can be asked for, beside the default one and the admin API.
    pub resources: Vec<ResourceSettings>,
    /// Whose access tokens are traded for ours (RFC 8693), one entry for each issuer. Without any the grant is not served.
    pub token_exchange: Vec<TokenExchangeSettings>,
    /// How `jwks_uri` is fetched: trusted roots, allowed addresses, time and size.
    pub fetch: GuardedFetch,
    /// Every limit.
    pub limits: Limits,
}

/// The longest life of an access token, whatever is configured. What outlives tokens (deny entries, published keys) is kept for
/// this long: the setting may have been longer when the token was made than it is now.
pub const ACCESS_TOKEN_LIFETIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What access tokens look like.
#[derive(Clone, Debug)]
pub struct TokenSettings {
    /// `aud` when a request names no `resource`. Without one such a request is refused (`invalid_target`), for a token
    /// must never be for whoever takes it (RFC 9068 §3).
    pub default_resource: Option<ResourceUri>,
    /// The algorithm that signs access tokens, and the rest for whoever registered none; a key of it is made at first start.
    pub signing_algorithm: SignatureAlgorithm,
    /// The algorithms that clients may register beside it for their ID tokens, signed authorization responses and introspection
    /// responses. A key of each is made, published and signs for them alone.
    pub other_signing_algorithms: Vec<SignatureAlgorithm>,
    /// How long an access token lives, at most [`ACCESS_TOKEN_LIFETIME_MAX`]; longer counts as that.
    pub access_token_lifetime: Duration,
    /// Whether DPoP proofs need a nonce of this server (RFC 9449 §8).
    pub dpop_nonces: bool,
}

impl TokenSettings {
    /// Every algorithm that signs, that of access tokens first, none twice.
    pub fn signing_algorithms(&self) -> Vec<SignatureAlgorithm> {
        let mut all = vec![self.signing_algorithm];
        for other in &self.other_signing_algorithms {
            if !all.contains(other) {
                all.push(*other);
            }
        }
        all
    }
}

/// What authorization requests may and have to be.
#[derive(Clone, Debug, Default)]
pub struct AuthorizationSettings {
    /// Whether every client has to push its requests (RFC 9126 §5), whatever it registered. The profile may demand it, too.
    pub require_pushed_authorization_requests: bool,
    /// The types of authorization details (RFC 9396). None means that `authorization_details` is refused.
    pub details_types: AuthorizationDetailsTypes,
}

/// A scope that metadata advertises.
#[derive(Clone, Debug)]
pub struct ScopeSettings {
    /// The scope value.
    pub name: String,
    /// For people.
    pub description: Option<String>,
}

/// A protected resource.
#[derive(Clone, Debug)]
pub struct ResourceSettings {
    /// Its resource indicator, which becomes `aud`.
    pub uri: ResourceUri,
    /// The format of tokens for it, where the client does not register one.
    pub access_token_format: Option<AccessTokenFormat>,
}

/// An issuer whose access tokens are traded for ours (RFC 8693); may be this server itself.
#[derive(Clone, Debug)]
pub struct TokenExchangeSettings {
    /// The issuer, compared octet for octet with `iss`.
    pub issuer: Issuer,
    /// Where its keys come from. Of no meaning for our own tokens.
    pub keys: TrustedKeys,
    /// The algorithms that it may sign with. Of no meaning for our own tokens.
    pub algorithms: Vec<SignatureAlgorithm>,
    /// The values of `typ` that its access tokens may have. Of no meaning for our own tokens.
    pub token_types: Vec<String>,
    /// What its tokens have to name in `aud` to be traded: any of these. None means our issuer identifier; of our own tokens it means
    /// any resource.
    pub audience: Vec<ResourceUri>,
    /// What stands before its `sub` in our tokens, so that two issuers never speak of the same one. Of no meaning for our own tokens.
    pub subject_prefix: String,
    /// The clients that may trade its tokens; no other may.
    pub clients: Vec<ClientId>,
    /// What for; none means the resources that the token traded is for.
    pub resources: Vec<ResourceUri>,
}

/// Where the keys of a trusted issuer come from.
#[derive(Clone, Debug)]
pub enum TrustedKeys {
    /// Its metadata says where they lie.
    Discovered,
    /// They lie there.
    At(Url),
    /// They are given.
    Given(JwkSet),
}

/// What the server stands on; fixed while it runs.
#[derive(Clone)]
pub struct Environment {
    /// Where state is kept.
    pub store: Store,
    /// The time.
    pub clock: Clock,
}

/// The grant types that every server serves.
const GRANT_TYPES: [GrantType; 5] = [
    GrantType::AuthorizationCode,
    GrantType::ClientCredentials,
    GrantType::RefreshToken,
    GrantType::DeviceCode,
    GrantType::BackchannelAuthentication,
];

impl Settings {
    /// How clients of backchannel authentication may learn the outcome here.
    pub fn delivery_modes(&self) -> Vec<DeliveryMode> {
        let pushes = self.push_delivery_enabled && self.openid_enabled && self.profile.permits_push_delivery();
        let is_served = |mode: &DeliveryMode| *mode != DeliveryMode::Push || pushes;
        DeliveryMode::ALL.into_iter().filter(is_served).collect()
    }

    /// The grant types that a server with these settings serves.
    pub fn grant_types(&self) -> Vec<GrantType> {
        let exchange = (!self.token_exchange.is_empty()).then_some(GrantType::TokenExchange);
        GRANT_TYPES.into_iter().chain(exchange).collect()
    }

    /// What this server knows when it judges the metadata of a client that `origin` made: for reading the clients of
    /// configuration files before they are put into [`clients`](Self::clients).
    pub fn registration_policy(&self, origin: ClientOrigin) -> RegistrationPolicy {
        let resources = self.resources.iter().map(|resource| resource.uri.clone());
        RegistrationPolicy {
            origin,
            profile: self.profile,
            profiles: Profile::ALL.into(),
            client_secrets_enabled: self.client_secrets_enabled,
            methods: AuthenticationMethod::ALL.into(),
            grant_types: self.grant_types().into_iter().collect(),
            trust_anchors_if_omitted: PermittedAnchors::Every,
            signing_algorithms: self.tokens.signing_algorithms().into_iter().collect(),
            authorization_details_types: self.authorization.details_types.names().map(str::to_owned).collect(),
            backchannel_delivery_modes: self.delivery_modes().into_iter().collect(),
            trust_anchors: self.trust_anchors.iter().flat_map(trust_anchor_names).collect(),
            scopes: self.scope_words(),
            resources: resources.chain(self.tokens.default_resource.clone()).collect(),
        }
    }

    /// What the operator is called.
    pub(crate) fn operator_name(&self) -> &str {
        let host = || self.issuer.url().host_str().unwrap_or_default();
        self.operator.as_deref().unwrap_or_else(host)
    }

    fn scope_words(&self) -> Option<BTreeSet<String>> {
        let of_openid = scopes_supported().filter(|_| self.openid_enabled).map(str::to_owned);
        let configured = self.scopes.iter().map(|scope| scope.name.clone());
        (!self.scopes.is_empty()).then(|| configured.chain(of_openid).collect())
    }
}

/// What a client may call an anchor in `keybound_trust_anchors`: its name, or its key by the SPKI hash.
pub(crate) fn trust_anchor_names(anchor: &TrustAnchor) -> [TrustAnchorName; 2] {
    [anchor.name().clone(), anchor.key_name().clone()]
}
