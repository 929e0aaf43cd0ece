//! From the keys of `keybound.toml` to the values of the server: anchors and clients are read here.

use keybound_authorization_server::settings::{ResourceSettings, ScopeSettings, Settings, TokenSettings};
use keybound_protocol::client::ClientOrigin;
use keybound_protocol::issuer::Issuer;
use keybound_tls::{GuardedFetch, GuardedFetchSettings, Roots};
use url::Url;

use crate::client_files;
use crate::configuration::InvalidConfiguration;
use crate::configuration::diagnostic::{Diagnostic, Severity};
use crate::configuration::document::Document;
use crate::configuration::server::{PolicyEntries, ResourceEntry, ScopeEntry, ServerFile};

/// Values for the server, and warnings.
///
/// # Errors
/// Everything that is wrong with what the file names.
pub(super) fn of(file: &ServerFile) -> Result<(Settings, Vec<Diagnostic>), InvalidConfiguration> {
    let (settings, findings) = read(&file.policy, file.issuer.clone(), file.mutual_tls_origin.clone());
    match settings {
        Some(settings) if !findings.iter().any(|finding| finding.severity == Severity::Error) => {
            Ok((settings, findings))
        }
        _ => Err(InvalidConfiguration { findings }),
    }
}

/// Reports everything that is wrong with what the file names to `document`.
pub(super) fn check(policy: &PolicyEntries, document: &Document) {
    // Neither of the two has a say in what anchors and clients may be, and they may be what is wrong.
    let (Ok(issuer), Ok(origin)) = (Issuer::parse("https://localhost"), Url::parse("https://localhost")) else {
        return;
    };
    let (_, findings) = read(policy, issuer, origin);
    findings.into_iter().for_each(|finding| document.report(finding));
}

fn read(policy: &PolicyEntries, issuer: Issuer, mutual_tls_origin: Url) -> (Option<Settings>, Vec<Diagnostic>) {
    let (mut trust_anchors, mut findings) = (Vec::new(), Vec::new());
    for entry in &policy.trust_anchors.usable {
        match entry.load() {
            Ok(anchors) => trust_anchors.extend(anchors),
            Err(mistakes) => findings.extend(mistakes),
        }
    }
    let roots = policy.outgoing_roots.clone().map_or_else(Roots::system, Ok);
    let roots = roots.map_err(|error| Diagnostic::error("C030", &policy.location, format!("`outgoing.ca`: {error}")));
    let roots = match roots {
        Ok(roots) => roots,
        Err(finding) => {
            findings.push(finding);
            return (None, findings);
        }
    };
    let mut fetch = GuardedFetchSettings::new(roots.clone());
    fetch.allow_addresses.clone_from(&policy.outgoing_allow_addresses);
    policy.limits.fetch.apply(&mut fetch);
    let fetch = GuardedFetch::new(fetch);
    let mut upstream_providers = Vec::new();
    for entry in &policy.upstream_providers {
        match entry.load(&fetch, &roots) {
            Ok(provider) => upstream_providers.push(provider),
            Err(mistake) => findings.push(mistake),
        }
    }
    let registration = policy.registration.as_ref().map(|entry| {
        let (registration, more) = entry.load();
        findings.extend(more);
        registration
    });
    let mut settings = Settings {
        issuer,
        mutual_tls_origin,
        profile: policy.profile,
        tokens: TokenSettings {
            default_resource: policy.tokens.default_resource.clone(),
            signing_algorithm: policy.tokens.signing_algorithm,
            other_signing_algorithms: policy.tokens.other_signing_algorithms.clone(),
            access_token_lifetime: policy.tokens.access_token_lifetime,
            dpop_nonces: policy.tokens.dpop_nonces,
        },
        operator: policy.operator.clone(),
        authorization: policy.authorization.clone(),
        openid_enabled: policy.openid_enabled,
        push_delivery_enabled: policy.push_delivery_enabled,
        trust_anchors,
        clients: Vec::new(),
        client_secrets_enabled: policy.client_secrets_enabled,
        registration,
        token_exchange: policy.token_exchange.clone(),
        upstream_providers,
        scopes: policy.scopes.iter().map(scope).collect(),
        resources: policy.resources.iter().map(resource).collect(),
        fetch,
        limits: policy.limits.server.clone(),
    };
    let mut registration_policy = settings.registration_policy(ClientOrigin::ConfigurationFile);
    // A client that names an anchor with a broken file is not mistaken.
    registration_policy
        .trust_anchors
        .extend(policy.trust_anchors.names.iter().cloned());
    let (clients, more) = client_files::load(&policy.clients, &registration_policy);
    settings.clients = clients;
    findings.extend(more);
    (Some(settings), findings)
}

fn scope(entry: &ScopeEntry) -> ScopeSettings {
    ScopeSettings {
        name: entry.name.clone(),
        description: entry.description.clone(),
    }
}

fn resource(entry: &ResourceEntry) -> ResourceSettings {
    ResourceSettings {
        uri: entry.uri.clone(),
        access_token_format: entry.access_token_format,
    }
}
