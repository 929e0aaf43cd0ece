//! What the endpoints need of the settings, prepared. One immutable value; a reload puts another in its place.

use std::time::Duration;

use keybound_protocol::client::{Client, ClientOrigin};
use keybound_protocol::client_metadata::{DeliveryMode, RegistrationPolicy};
use keybound_protocol::issuer::Issuer;
use keybound_protocol::profile::Profile;
use keybound_protocol::resource::ResourceUriError;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;

use keybound_tls::GuardedFetch;

use crate::dpop::DpopTargets;
use crate::endpoints::metadata::{Documents, EndpointUrls, PUSHED_AUTHORIZATION, TOKEN, USERINFO_PATH, url_and_alias};
use crate::pages::terms::Words;
use crate::registration::{REGISTRATION_PATH, Registration};
use crate::resources::Resources;
use crate::router::Route;
use crate::settings::{ACCESS_TOKEN_LIFETIME_MAX, AuthorizationSettings, Settings};
use crate::upstream::UpstreamProvider;

pub(crate) struct Configuration {
    pub(crate) issuer: Issuer,
    /// The issuer's path, without a trailing slash.
    pub(crate) issuer_path: String,
    /// The host names of the issuer and of the mutual-TLS origin.
    pub(crate) hosts: Vec<String>,
    pub(crate) profile: Profile,
    /// Every algorithm that signs, that of access tokens first.
    pub(crate) signing_algorithms: Vec<SignatureAlgorithm>,
    pub(crate) access_token_lifetime: Duration,
    /// How long a pushed request may be used.
    pub(crate) pushed_request_lifetime: Duration,
    /// How many backchannel authentication requests wait for one user at a time.
    pub(crate) approvals_waiting_per_user_max: u32,
    pub(crate) authorization: AuthorizationSettings,
    pub(crate) openid_enabled: bool,
    /// How clients of backchannel authentication may learn the outcome.
    pub(crate) delivery_modes: Vec<DeliveryMode>,
    pub(crate) resources: Resources,
    /// Whose pages these are.
    pub(crate) operator: String,
    /// What people are asked, in the operator's words.
    pub(crate) words: Words,
    pub(crate) metadata: Documents,
    /// What assertions may be made out to beside the issuer.
    pub(crate) endpoint_urls: EndpointUrls,
    /// How what others chose is called: notification endpoints.
    pub(crate) fetch: GuardedFetch,
    /// What DPoP proofs for the token endpoint name.
    pub(crate) dpop_token_targets: DpopTargets,
    /// And those for pushed authorization requests.
    pub(crate) dpop_pushed_targets: DpopTargets,
    /// And those for userinfo requests.
    pub(crate) dpop_userinfo_targets: DpopTargets,
    pub(crate) dpop_nonces: bool,
    pub(crate) body_bytes_max: u64,
    pub(crate) alike_answer_interval: Duration,
    /// How an administrator's clients are judged; the stored trust anchors come on top.
    pub(crate) registration_policy: RegistrationPolicy,
    /// Where clients register themselves.
    pub(crate) registration: Option<Registration>,
    /// Where users may sign in beside the local directory.
    pub(crate) upstream_providers: Vec<UpstreamProvider>,
}

impl Configuration {
    pub(crate) fn new(settings: &Settings) -> Result<Configuration, ResourceUriError> {
        let origins = [settings.issuer.url(), &settings.mutual_tls_origin];
        let hosts = origins.into_iter().filter_map(|url| url.host_str()).map(str::to_owned);
        Ok(Configuration {
            issuer: settings.issuer.clone(),
            issuer_path: settings.issuer.path().to_owned(),
            hosts: hosts.collect(),
            profile: settings.profile,
            signing_algorithms: settings.tokens.signing_algorithms(),
            access_token_lifetime: settings.tokens.access_token_lifetime.min(ACCESS_TOKEN_LIFETIME_MAX),
            pushed_request_lifetime: settings.limits.pushed_request_lifetime,
            approvals_waiting_per_user_max: settings.limits.approvals_waiting_per_user_max,
            authorization: settings.authorization.clone(),
            openid_enabled: settings.openid_enabled,
            delivery_modes: settings.delivery_modes(),
            resources: Resources::new(settings)?,
            operator: settings.operator_name().to_owned(),
            words: Words::of(settings),
            metadata: Documents::new(settings),
            endpoint_urls: EndpointUrls::new(settings),
            fetch: settings.fetch.clone(),
            dpop_token_targets: DpopTargets::new(&url_and_alias(settings, TOKEN.1)),
            dpop_pushed_targets: DpopTargets::new(&url_and_alias(settings, PUSHED_AUTHORIZATION.1)),
            dpop_userinfo_targets: DpopTargets::new(&url_and_alias(settings, USERINFO_PATH)),
            dpop_nonces: settings.tokens.dpop_nonces,
            body_bytes_max: settings.limits.body_bytes_max,
            alike_answer_interval: settings.limits.alike_answer_interval,
            registration_policy: settings.registration_policy(ClientOrigin::Administrator),
            registration: Registration::new(settings, url_and_alias(settings, REGISTRATION_PATH)),
            upstream_providers: settings.upstream_providers.clone(),
        })
    }

    /// How this client learns the outcome of its requests, if it registered a way that is served: to it, under its profile, now.
    pub(crate) fn delivery_mode(&self, client: &Client) -> Option<DeliveryMode> {
        let metadata = client.metadata();
        let mode = metadata.authorization().backchannel.token_delivery_mode?;
        let is_permitted =
            mode != DeliveryMode::Push || metadata.effective_profile(self.profile).permits_push_delivery();
        Some(mode).filter(|mode| is_permitted && self.delivery_modes.contains(mode))
    }

    /// Whether this endpoint is there at all.
    pub(crate) fn serves(&self, route: Route) -> bool {
        match route {
            Route::Registration | Route::ClientConfiguration => self.registration.is_some(),
            Route::OpenIdConfiguration | Route::Userinfo => self.openid_enabled,
            _ => true,
        }
    }
}
