//! What the registration endpoints need of the settings, prepared: tokens, policies, URLs.

use std::collections::BTreeSet;

use keybound_protocol::client::{ClientId, ClientOrigin};
use keybound_protocol::client_metadata::{PermittedAnchors, RegistrationPolicy};
use keybound_protocol::software_statement::SoftwareStatementIssuer;
use keybound_protocol::trust_anchor::TrustAnchorName;
use keybound_protocol::userinfo::scopes_supported;
use keybound_store::RegistrationQuotas;
use url::Url;

use crate::router::Side;
use crate::settings::{InitialAccessToken, Settings};

/// Where clients register themselves, below the issuer's path.
pub(crate) const REGISTRATION_PATH: &str = "/register";

/// Dynamic client registration, where it is enabled.
pub(crate) struct Registration {
    tokens: Vec<InitialAccessToken>,
    /// What the configuration knows; a token's policy takes from it.
    base: RegistrationPolicy,
    pub(crate) software_statement_issuers: Vec<SoftwareStatementIssuer>,
    /// By what names software statements are for us.
    pub(crate) audience: Vec<String>,
    openid_enabled: bool,
    clients_max: u64,
    per_address_and_hour_max: u64,
    /// The endpoint for those without certificates, and its alias.
    urls: [Url; 2],
}

impl Registration {
    /// `urls` are those of the endpoint and of its alias for mutual TLS.
    pub(crate) fn new(settings: &Settings, urls: [Url; 2]) -> Option<Registration> {
        let registration = settings.registration.as_ref()?;
        let audience = urls.iter().map(Url::to_string);
        Some(Registration {
            tokens: registration.initial_access_tokens.clone(),
            base: settings.registration_policy(ClientOrigin::Registration),
            software_statement_issuers: registration.software_statement_issuers.clone(),
            audience: audience.chain([settings.issuer.as_str().to_owned()]).collect(),
            openid_enabled: settings.openid_enabled,
            clients_max: registration.clients_max,
            per_address_and_hour_max: registration.per_address_and_hour_max,
            urls,
        })
    }

    /// The scope of a client with a redirect URI that asks for none (RFC 7591 §2): what OpenID Connect defines, as far as the policy
    /// permits it, for clients of OpenID Connect send none and mean that. Scopes of the operator's own have to be asked for.
    pub(crate) fn scope_if_omitted(&self, policy: &RegistrationPolicy) -> Option<String> {
        let is_permitted = |word: &&str| policy.scopes.as_ref().is_none_or(|scopes| scopes.contains(*word));
        let words: Vec<&str> = scopes_supported().filter(is_permitted).collect();
        (self.openid_enabled && !words.is_empty()).then(|| words.join(" "))
    }

    /// The initial access token that this is. Every one is compared, so that the time does not tell which were not.
    pub(crate) fn initial_access_token<'s>(&'s self, presented: &str) -> Option<&'s InitialAccessToken> {
        let compare = |found, token: &'s InitialAccessToken| match token.token.matches(presented) {
            true => Some(token),
            false => found,
        };
        self.tokens.iter().fold(None, compare)
    }

    /// The initial access token of this name.
    pub(crate) fn named(&self, name: &str) -> Option<&InitialAccessToken> {
        self.tokens.iter().find(|token| token.name == name)
    }

    /// By what clients of this token are judged. `stored_anchors` are those that administrators added.
    pub(crate) fn policy(
        &self,
        token: &InitialAccessToken,
        stored_anchors: impl IntoIterator<Item = TrustAnchorName>,
    ) -> RegistrationPolicy {
        let (own, mut policy) = (&token.policy, self.base.clone());
        policy.trust_anchors.extend(stored_anchors);
        policy.methods.retain(|method| own.methods.contains(method));
        policy.profile = policy.profile.max(own.profile);
        if let Some(grant_types) = &own.grant_types {
            policy.grant_types.retain(|grant_type| grant_types.contains(grant_type));
        }
        if let Some(scopes) = &own.scopes {
            let is_configured = |word: &&String| policy.scopes.as_ref().is_none_or(|all| all.contains(*word));
            policy.scopes = Some(scopes.iter().filter(is_configured).cloned().collect::<BTreeSet<_>>());
        }
        if let Some(names) = &own.trust_anchors {
            policy.trust_anchors.retain(|name| names.contains(name));
            policy.trust_anchors_if_omitted = PermittedAnchors::Named(names.clone());
        }
        policy
    }

    /// How many clients of this token there may be.
    pub(crate) fn quotas(&self, token: &InitialAccessToken) -> RegistrationQuotas {
        RegistrationQuotas {
            clients_max: self.clients_max,
            clients_of_policy_max: token.policy.clients_max,
            per_address_and_hour_max: self.per_address_and_hour_max,
        }
    }

    /// Where a client manages its registration (RFC 7592 §3), on the side that it came from.
    pub(crate) fn client_uri(&self, side: Side, client_id: &ClientId) -> String {
        let [public, alias] = &self.urls;
        let endpoint = match side {
            Side::Public => public,
            Side::MutualTls => alias,
        };
        // Identifiers that we make have no character that a path escapes.
        format!("{endpoint}/{client_id}")
    }
}
