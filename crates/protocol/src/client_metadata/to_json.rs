//! Client metadata as it is answered and stored: every registered member, defaults included.

use serde_json::{Map, Value, json};

use super::ClientMetadata;
use super::authentication::{ClientAuthentication, ClientKeys, ExpiredSelfSigned, PermittedAnchors};

pub(super) fn to_json(metadata: &ClientMetadata) -> Value {
    let mut members = Map::new();
    let mut add = |member: &str, value: Value| members.insert(member.to_owned(), value);
    add(
        "token_endpoint_auth_method",
        json!(metadata.authentication_method().name()),
    );
    match &metadata.authentication {
        ClientAuthentication::TlsClientAuth { subject, anchors } => {
            add(subject.parameter().name(), json!(subject.as_given()));
            if let PermittedAnchors::Named(names) = anchors {
                add("keybound_trust_anchors", json!(names));
            }
        }
        ClientAuthentication::SelfSignedTlsClientAuth { expired, .. } => {
            if *expired != ExpiredSelfSigned::default() {
                add("keybound_expired_self_signed", json!(expired.name()));
            }
        }
        ClientAuthentication::PrivateKeyJwt { algorithm, .. } => {
            if let Some(algorithm) = algorithm {
                add("token_endpoint_auth_signing_alg", json!(algorithm));
            }
        }
        ClientAuthentication::ClientSecret { .. } | ClientAuthentication::None => {}
    }
    match metadata.keys() {
        Some(ClientKeys::Jwks(jwks)) => {
            add("jwks", jwks.to_json());
        }
        Some(ClientKeys::JwksUri(url)) => {
            add("jwks_uri", json!(url.as_str()));
        }
        None => {}
    }
    add(
        "grant_types",
        metadata
            .grant_types
            .iter()
            .map(|grant_type| grant_type.name())
            .collect(),
    );
    add(
        "response_types",
        metadata
            .response_types
            .iter()
            .map(|response_type| response_type.name())
            .collect(),
    );
    if !metadata.redirect_uris.is_empty() {
        add("redirect_uris", json!(metadata.redirect_uris));
    }
    if !metadata.scope.is_empty() {
        add("scope", json!(metadata.scope));
    }
    add(
        "tls_client_certificate_bound_access_tokens",
        json!(metadata.certificate_bound_access_tokens),
    );
    if let Some(format) = metadata.access_token_format {
        add("keybound_access_token_format", json!(format.name()));
    }
    if !metadata.introspects.is_empty() {
        add("keybound_introspects", json!(metadata.introspects));
    }
    if let Some(profile) = metadata.profile {
        add("keybound_profile", json!(profile.name()));
    }
    metadata.authorization.add_to(&mut members);
    let mut add = |member: &str, value: Value| members.insert(member.to_owned(), value);
    for (member, text) in metadata.description.texts() {
        add(member, json!(text));
    }
    if !metadata.description.contacts().is_empty() {
        add("contacts", json!(metadata.description.contacts()));
    }
    Value::Object(members)
}
