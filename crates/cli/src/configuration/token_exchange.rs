//! `[[token_exchange]]`: whose access tokens are traded for ours (RFC 8693).

use keybound_authorization_server::{TokenExchangeSettings, TrustedKeys};
use keybound_protocol::access_token::verification::DEFAULT_TOKEN_TYPES;
use keybound_protocol::client::ClientId;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::profile::Profile;
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;

use super::diagnostic::{Diagnostic, Located};
use super::document::{Document, Section};
use super::server::permitted_algorithm;
use super::value::https_url;

/// What a prefix ends with, so that it is seen where the foreign identity begins.
const PREFIX_ENDS: [char; 4] = [':', '|', '#', '/'];

/// One entry, interpreted.
pub(crate) type TokenExchangeEntry = TokenExchangeSettings;

/// Takes the tables out of the document.
pub(super) fn entries(
    document: &Document,
    sections: Vec<Section<'_>>,
    own: Option<&Located<Issuer>>,
    profile: Profile,
) -> Vec<TokenExchangeEntry> {
    let mut entries: Vec<TokenExchangeEntry> = Vec::new();
    for section in sections {
        let place = section.place_of("issuer").clone();
        let Some(entry) = entry(section, own.map(|own| &own.value), profile) else {
            continue;
        };
        let is_own = own.is_some_and(|own| own.value == entry.issuer);
        if entries.iter().any(|other| other.issuer == entry.issuer) {
            let message = format!("a second `[[token_exchange]]` for {}", entry.issuer);
            document.report(Diagnostic::error("C034", &place, message));
        }
        let shares_prefix = |other: &&TokenExchangeEntry| {
            let (one, two) = (&other.subject_prefix, &entry.subject_prefix);
            !one.is_empty() && !two.is_empty() && (one.starts_with(two.as_str()) || two.starts_with(one.as_str()))
        };
        if let Some(other) = entries.iter().find(shares_prefix).filter(|_| !is_own) {
            let message = format!(
                "`subject_prefix` \"{}\" cannot be told from \"{}\" of {}: two issuers could speak of the same one",
                entry.subject_prefix, other.subject_prefix, other.issuer
            );
            document.report(Diagnostic::error("C034", &place, message));
        }
        entries.push(entry);
    }
    entries
}

fn entry(section: Section<'_>, own: Option<&Issuer>, profile: Profile) -> Option<TokenExchangeEntry> {
    let issuer = section.required_parsed("issuer", |text| {
        https_url(text)?;
        Issuer::parse(text).map_err(|error| error.to_string())
    });
    let is_own = issuer.as_ref().is_some_and(|issuer| Some(&issuer.value) == own);
    let jwks_uri = section.parsed("jwks_uri", https_url).map(|located| located.value);
    let algorithms: Vec<SignatureAlgorithm> = section
        .parsed_strings("algorithms", |text| permitted_algorithm(text, profile))
        .into_iter()
        .map(|located| located.value)
        .collect();
    let token_types: Vec<String> = section
        .strings("token_types")
        .into_iter()
        .map(|located| located.value)
        .collect();
    let audience = section.parsed_strings("audience", ResourceUri::parse);
    let subject_prefix = section.parsed("subject_prefix", |text| match text {
        _ if text.len() > 64 => Err("must have 64 characters at most"),
        _ if text.ends_with(PREFIX_ENDS) => Ok(text.to_owned()),
        _ => Err("must end with one of : | # /"),
    });
    if subject_prefix.is_none() && !is_own && issuer.is_some() && !section.contains("subject_prefix") {
        let message = "`subject_prefix` is missing: what stands before the `sub` of this issuer in our tokens";
        section.report(Diagnostic::error("C002", section.place_of("issuer"), message));
    }
    let clients = section.parsed_strings("clients", ClientId::parse);
    if !section.contains("clients") {
        let message = "no `clients`: nobody could trade this issuer's tokens";
        section.report(Diagnostic::error("C002", section.place_of("issuer"), message));
    }
    let resources = section.parsed_strings("resources", ResourceUri::parse);
    section.finish();
    let or_default = |given: Vec<SignatureAlgorithm>| match given.is_empty() {
        true => profile.signature_algorithms().to_vec(),
        false => given,
    };
    Some(TokenExchangeEntry {
        issuer: issuer?.value,
        keys: jwks_uri.map_or(TrustedKeys::Discovered, TrustedKeys::At),
        algorithms: or_default(algorithms),
        token_types: match token_types.is_empty() {
            true => DEFAULT_TOKEN_TYPES.map(str::to_owned).to_vec(),
            false => token_types,
        },
        audience: audience.into_iter().map(|located| located.value).collect(),
        subject_prefix: match subject_prefix {
            Some(_) if is_own => String::new(),
            Some(prefix) => prefix.value,
            None if is_own => String::new(),
            None => return None,
        },
        clients: clients.into_iter().map(|located| located.value).collect(),
        resources: resources.into_iter().map(|located| located.value).collect(),
    })
}
