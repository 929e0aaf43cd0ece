//! `keybound certificate inspect`: what this certificate is to RFC 8705, and the JSON that would register it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keybound_protocol::certificate::Certificate;
use keybound_protocol::jwk::Jwk;
use keybound_protocol::peer_certificate::EndEntityCertificate;
use keybound_protocol::subject_alternative_name::SubjectAlternativeName;
use keybound_protocol::subject_rule::{SubjectParameter, SubjectRule};
use keybound_protocol::time::Timestamp;
use keybound_protocol::trust_anchor::TrustAnchorName;
use serde_json::{Map, Value, json};

use crate::arguments::CertificateFile;
use crate::exit_code::{CommandResult, ExitCode};
use crate::explanation::validity;
use crate::terminal::{DIM, STRONG, Terminal, styled, without_control_characters};

/// Prints thumbprint, key, names and ready registration metadata.
pub(crate) fn run(arguments: &CertificateFile, terminal: &Terminal, now: Timestamp) -> CommandResult {
    let presented = super::read_chain(&arguments.file)?;
    let end_entity = presented.end_entity();
    let thumbprint = end_entity.thumbprint().to_string();
    let hex: String = end_entity
        .thumbprint()
        .as_bytes()
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    terminal.line(format!("x5t#S256          {}", styled(STRONG, &thumbprint)));
    terminal.line(format!("  hexadecimal     {hex}"));
    let certificate = match end_entity.certificate() {
        Ok(certificate) => certificate,
        Err(error) => {
            // A thumbprint needs no more than the octets: such a certificate can bind tokens and authenticates nobody.
            terminal.line(format!("The certificate cannot be read: {error}"));
            terminal.json(&json!({ "x5t#S256": thumbprint, "sha256": hex, "unreadable": error.to_string() }));
            return Ok(ExitCode::Ok);
        }
    };
    let spki = URL_SAFE_NO_PAD.encode(certificate.spki_sha256());
    let subjects = subject_parameters(certificate);
    let registrations = registrations(end_entity, &subjects);
    // The spelling that keybound_trust_anchors takes.
    let key_name = TrustAnchorName::of_key(&certificate.spki_sha256());
    terminal.line(format!("SPKI SHA-256      {spki}"));
    terminal.line(format!("  as trust anchor {key_name}"));
    terminal.line(format!("public key        {}", certificate.public_key_kind()));
    terminal.line(format!(
        "subject           {}",
        shown(&certificate.subject().to_string())
    ));
    terminal.line(format!(
        "issuer            {}",
        shown(&certificate.issuer().to_string())
    ));
    terminal.line(format!("serial number     {}", certificate.serial_number()));
    terminal.line(format!(
        "validity          {} to {}   {}",
        certificate.not_before(),
        certificate.not_after(),
        validity(certificate.not_after(), now)
    ));
    terminal.line(format!("key usage         {}", usage(certificate.key_usage())));
    terminal.line(format!("extended usage    {}", usage(certificate.extended_key_usage())));
    terminal.line("");
    terminal.line("As tls_client_auth compares it:");
    for parameter in SubjectParameter::ALL {
        let values: Vec<_> = subjects
            .iter()
            .filter(|(it, _)| *it == parameter)
            .map(|(_, value)| shown(value))
            .collect();
        let values = if values.is_empty() {
            styled(DIM, "none")
        } else {
            values.join(", ")
        };
        terminal.line(format!("  {:<28} {values}", parameter.name()));
    }
    terminal.line("");
    terminal.line("Ready to register (choose one):");
    for registration in &registrations {
        terminal.line(registration);
    }
    terminal.json(&json!({
        "x5t#S256": thumbprint, "sha256": hex, "spki_sha256": spki, "trust_anchor": key_name,
        "public_key": certificate.public_key_kind().to_string(),
        "subject": certificate.subject().to_string(), "issuer": certificate.issuer().to_string(),
        "serial_number": certificate.serial_number(), "not_before": certificate.not_before(), "not_after": certificate.not_after(),
        "subject_parameters": subjects_json(&subjects), "registrations": registrations,
    }));
    Ok(ExitCode::Ok)
}

/// Every value of the five parameters that would match this certificate, in its canonical form.
pub(crate) fn subject_parameters(certificate: &Certificate) -> Vec<(SubjectParameter, String)> {
    let mut values = Vec::new();
    if !certificate.subject().is_empty() {
        values.push((SubjectParameter::SubjectDn, certificate.subject().to_string()));
    }
    for name in certificate.subject_alternative_names() {
        let parameter = match name {
            SubjectAlternativeName::Dns(_) => SubjectParameter::SanDns,
            SubjectAlternativeName::Uri(_) => SubjectParameter::SanUri,
            SubjectAlternativeName::Ip(_) => SubjectParameter::SanIp,
            SubjectAlternativeName::Email(_) => SubjectParameter::SanEmail,
            SubjectAlternativeName::Other { .. } => continue,
        };
        let text = name.to_string();
        values.push((
            parameter,
            text.split_once(':').map_or(text.clone(), |(_, value)| value.to_owned()),
        ));
    }
    // A value that could not be registered (a wildcard, a control character) is none.
    values.retain(|(parameter, value)| {
        SubjectRule::parse(*parameter, value).is_ok_and(|rule| rule.verify(certificate).is_ok())
    });
    values
}

fn registrations(end_entity: &EndEntityCertificate, subjects: &[(SubjectParameter, String)]) -> Vec<Value> {
    let client = |method: &str, name: &str, value: Value| {
        let mut metadata = Map::new();
        metadata.insert("token_endpoint_auth_method".into(), method.into());
        metadata.insert(name.into(), value);
        metadata.insert("grant_types".into(), json!(["client_credentials"]));
        metadata.insert("tls_client_certificate_bound_access_tokens".into(), true.into());
        Value::Object(metadata)
    };
    let mut registrations: Vec<Value> = subjects
        .iter()
        .map(|(parameter, value)| client("tls_client_auth", parameter.name(), value.as_str().into()))
        .collect();
    if let Ok(jwk) = Jwk::for_certificate(end_entity.der()) {
        registrations.push(client(
            "self_signed_tls_client_auth",
            "jwks",
            json!({ "keys": [jwk.to_json()] }),
        ));
    }
    registrations
}

fn subjects_json(subjects: &[(SubjectParameter, String)]) -> Value {
    let mut object = Map::new();
    for (parameter, value) in subjects {
        let values = object.entry(parameter.name()).or_insert_with(|| json!([]));
        if let Value::Array(values) = values {
            values.push(value.as_str().into());
        }
    }
    Value::Object(object)
}

fn usage(usage: Option<&impl std::fmt::Display>) -> String {
    usage.map_or_else(|| styled(DIM, "absent: no restriction"), ToString::to_string)
}

fn shown(text: &str) -> String {
    if text.is_empty() {
        styled(DIM, "(empty)")
    } else {
        without_control_characters(text)
    }
}
