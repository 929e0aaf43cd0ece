//! What an operator is shown of a refused client authentication: each rule of the method in order, and where it ended.

use std::borrow::Cow;

use super::ClientAuthenticationError;
use crate::certificate::Certificate;
use crate::certificate_chain::{ChainError, ChainRule};
use crate::client::Client;
use crate::client_metadata::{ClientAuthentication, PermittedAnchors};
use crate::confirmation::CertificateThumbprint;
use crate::jwk_set::JwkSet;
use crate::peer_certificate::PresentedCertificate;
use crate::rule::{Outcome, RuleOutcome};
use crate::subject_rule::{SubjectMismatch, SubjectParameter};
use crate::time::Timestamp;

/// The registered certificates that are listed in one explanation at most.
const REGISTERED_SHOWN_MAX: usize = 8;

/// What a refused request had, for [`rules`].
#[derive(Clone, Copy, Debug)]
pub struct ExplanationContext<'a> {
    /// The client, once it was found.
    pub client: Option<&'a Client>,
    /// The keys of the client that were compared, if it got so far.
    pub keys: Option<&'a JwkSet>,
    /// The certificate of the request.
    pub presented: &'a PresentedCertificate,
    /// The time of the verdict.
    pub now: Timestamp,
}

const CLIENT_ID: &str = "client_id sent";
const CLIENT: &str = "client registered";
const ONE_METHOD: &str = "one authentication method used";
const METHOD: &str = "registered authentication method used";
const PRESENTED: &str = "client certificate presented";
const LENGTH: &str = "chain not longer than 6 certificates besides the client's";
const JUDGED: &str = "few enough failures for the certificate to be judged";
const READABLE: &str = "certificate readable";
const POSSESSION: &str = "possession of the private key";
const VALIDITY: &str = "inside its validity period";
const PATH: &str = "path to a trust anchor of this client";
const KEY_USAGE: &str = "key usage digitalSignature";
const EXTENDED_KEY_USAGE: &str = "extended key usage clientAuth";
const REVOCATION: &str = "not revoked";
const NOT_REVOKED_HERE: &str = "certificate not revoked at this server";
const KEYS: &str = "registered keys available";
const REGISTERED: &str = "one of the registered certificates, octet for octet";
const ASSERTION: &str = "client assertion";
const ASSERTION_NEW: &str = "client assertion used once";
const NOT_IN_URI: &str = "no credentials in the URI";
const ONE_CLIENT: &str = "one client named";
const BASIC: &str = "Basic header readable";
const SECRET: &str = "client secret";

/// Before a client is known there is only this to check.
const RULES_BEFORE_CLIENT: [&str; 3] = [CLIENT_ID, CLIENT, ONE_METHOD];

/// The rules of a method, in the order in which they are checked.
fn rules_of(client: &Client) -> Vec<&'static str> {
    let mut rules = vec![CLIENT_ID, CLIENT, ONE_METHOD, METHOD];
    match client.metadata().authentication() {
        ClientAuthentication::TlsClientAuth { subject, .. } => rules.extend([
            PRESENTED,
            LENGTH,
            POSSESSION,
            READABLE,
            VALIDITY,
            PATH,
            KEY_USAGE,
            EXTENDED_KEY_USAGE,
            REVOCATION,
            subject.parameter().name(),
        ]),
        ClientAuthentication::SelfSignedTlsClientAuth { .. } => {
            rules.extend([PRESENTED, LENGTH, POSSESSION, KEYS, REGISTERED, READABLE, VALIDITY]);
        }
        ClientAuthentication::PrivateKeyJwt { .. } => rules.extend([KEYS, ASSERTION, ASSERTION_NEW]),
        ClientAuthentication::ClientSecret { .. } => rules.push(SECRET),
        ClientAuthentication::None => {}
    }
    rules
}

/// The rule that a reason is about.
fn failed_rule(error: &ClientAuthenticationError) -> &'static str {
    match error {
        ClientAuthenticationError::NoClientId => CLIENT_ID,
        ClientAuthenticationError::UnknownClient { .. } => CLIENT,
        ClientAuthenticationError::SeveralMethods { .. } => ONE_METHOD,
        ClientAuthenticationError::CredentialsInUri => NOT_IN_URI,
        ClientAuthenticationError::AuthorizationRepeated | ClientAuthenticationError::SeveralClients { .. } => {
            ONE_CLIENT
        }
        ClientAuthenticationError::BasicMalformed(_) => BASIC,
        ClientAuthenticationError::SecretMissing | ClientAuthenticationError::SecretWrong => SECRET,
        ClientAuthenticationError::SecretBesideCertificate(error) => match &**error {
            ClientAuthenticationError::SecretMissing | ClientAuthenticationError::SecretWrong => SECRET,
            _ => ONE_METHOD,
        },
        ClientAuthenticationError::MethodNotUsed { .. } | ClientAuthenticationError::MethodNotEnabled { .. } => METHOD,
        ClientAuthenticationError::CertificateNotRequested
        | ClientAuthenticationError::NoCertificate
        | ClientAuthenticationError::Forwarding(_) => PRESENTED,
        ClientAuthenticationError::NotJudged => JUDGED,
        ClientAuthenticationError::CertificateRevoked { .. } => NOT_REVOKED_HERE,
        ClientAuthenticationError::Chain(error) => match error.rule() {
            ChainRule::Length => LENGTH,
            ChainRule::Readable => READABLE,
            ChainRule::Validity => VALIDITY,
            ChainRule::Path => PATH,
            ChainRule::KeyUsage => KEY_USAGE,
            ChainRule::ExtendedKeyUsage => EXTENDED_KEY_USAGE,
            ChainRule::Revocation => REVOCATION,
        },
        ClientAuthenticationError::Subject { mismatch, .. } => mismatch.parameter.name(),
        ClientAuthenticationError::KeysUnavailable(_) => KEYS,
        ClientAuthenticationError::NotRegistered(_) => REGISTERED,
        ClientAuthenticationError::RegisteredUnreadable(_) => READABLE,
        ClientAuthenticationError::RegisteredExpired { .. }
        | ClientAuthenticationError::RegisteredNotYetValid { .. } => VALIDITY,
        ClientAuthenticationError::Assertion(_) => ASSERTION,
        ClientAuthenticationError::AssertionReplayed => ASSERTION_NEW,
    }
}

/// The rules of a refused client authentication: passed up to the one that failed, not reached after it.
///
/// Presented and registered values stand wherever there are such, in their canonical form. Derived from the reason, so that the
/// first ✘ is the reason; nothing is decided again.
pub fn rules(error: &ClientAuthenticationError, context: &ExplanationContext<'_>) -> Vec<RuleOutcome> {
    let mut rules = match context.client {
        Some(client) => rules_of(client),
        None => RULES_BEFORE_CLIENT.to_vec(),
    };
    // No rules of the method: they are in the list only where they decided.
    let failed = failed_rule(error);
    match failed {
        JUDGED => {
            let position = rules.iter().position(|rule| *rule == READABLE);
            rules.insert(position.unwrap_or(rules.len()), JUDGED);
        }
        NOT_REVOKED_HERE => rules.push(failed),
        NOT_IN_URI | ONE_CLIENT | BASIC => rules.insert(0, failed),
        _ => {}
    }
    let mut outcomes = RuleOutcome::list(&rules, failed);
    for outcome in &mut outcomes {
        if outcome.outcome != Outcome::NotReached {
            fill(outcome, error, context);
        }
        if outcome.outcome == Outcome::Failed {
            fill_failed(outcome, error);
        }
    }
    outcomes.into_iter().map(RuleOutcome::bounded).collect()
}

/// What is known about a rule that was evaluated, however it came out.
fn fill(outcome: &mut RuleOutcome, error: &ClientAuthenticationError, context: &ExplanationContext<'_>) {
    let end_entity = context.presented.end_entity();
    let certificate = end_entity.and_then(|end_entity| end_entity.certificate().ok());
    match &*outcome.rule {
        CLIENT_ID | CLIENT => outcome.presented = context.client.map(|client| client.client_id().to_string()),
        METHOD => {
            outcome.registered = context
                .client
                .map(|client| client.metadata().authentication_method().to_string())
        }
        PRESENTED => {
            outcome.presented = end_entity.map(|end_entity| format!("x5t#S256 {}", end_entity.thumbprint_text()))
        }
        LENGTH => outcome.presented = end_entity.map(|end_entity| end_entity.intermediates().len().to_string()),
        POSSESSION => outcome.detail = possession(context.presented).map(Cow::into_owned),
        READABLE => outcome.presented = certificate.map(|certificate| certificate.subject().to_string()),
        VALIDITY => {
            outcome.presented = certificate.map(validity);
            outcome.detail = Some(format!("now {}", context.now));
        }
        PATH => {
            outcome.presented = certificate.map(|certificate| format!("issued by {}", certificate.issuer()));
            outcome.registered = context.client.and_then(permitted_anchors);
            outcome.detail = found_path(error);
        }
        KEY_USAGE => outcome.presented = certificate.map(|certificate| or_none(certificate.key_usage())),
        EXTENDED_KEY_USAGE => {
            outcome.presented = certificate.map(|certificate| or_none(certificate.extended_key_usage()))
        }
        REGISTERED => {
            outcome.presented = end_entity.map(|end_entity| end_entity.thumbprint_text().to_string());
            outcome.registered = context.keys.map(registered_certificates);
        }
        _ => {}
    }
}

/// What only a failed rule has to say.
fn fill_failed(outcome: &mut RuleOutcome, error: &ClientAuthenticationError) {
    match error {
        ClientAuthenticationError::UnknownClient { client_id } => outcome.presented = Some(client_id.clone()),
        ClientAuthenticationError::MethodNotUsed { presented, .. } => outcome.presented = Some(presented.to_string()),
        ClientAuthenticationError::SeveralMethods { first, second } => {
            outcome.presented = Some(format!("{first}, {second}"));
        }
        ClientAuthenticationError::Subject { mismatch, .. } => fill_mismatch(outcome, mismatch),
        ClientAuthenticationError::Chain(error) => {
            if let ChainError::TooLong {
                presented_intermediates,
            } = **error
            {
                outcome.presented = Some(presented_intermediates.to_string());
            }
            outcome.detail = Some(with_sources(&**error));
        }
        other => outcome.detail = Some(with_sources(other)),
    }
}

fn fill_mismatch(outcome: &mut RuleOutcome, mismatch: &SubjectMismatch) {
    let presented = match (mismatch.parameter, mismatch.presented.as_slice()) {
        (SubjectParameter::SubjectDn, [subject]) if subject.is_empty() => "an empty subject".to_owned(),
        (_, []) => "none".to_owned(),
        (_, names) => names.join(", "),
    };
    outcome.presented = Some(presented);
    outcome.registered = Some(mismatch.registered.clone());
    outcome.detail = Some(mismatch.detail());
    outcome.presented_mark = mismatch
        .difference
        .as_ref()
        .map(|difference| difference.presented.clone());
    outcome.registered_mark = mismatch
        .difference
        .as_ref()
        .map(|difference| difference.registered.clone());
}

fn possession(presented: &PresentedCertificate) -> Option<Cow<'static, str>> {
    match presented {
        PresentedCertificate::Peer(_) => Some("proven in the TLS handshake of this connection".into()),
        PresentedCertificate::Forwarded(forwarded) => {
            Some(format!("vouched for by the proxy {}", forwarded.via()).into())
        }
        _ => None,
    }
}

fn validity(certificate: &Certificate) -> String {
    format!("{} to {}", certificate.not_before(), certificate.not_after())
}

fn permitted_anchors(client: &Client) -> Option<String> {
    match client.metadata().authentication() {
        ClientAuthentication::TlsClientAuth {
            anchors: PermittedAnchors::Named(names),
            ..
        } => Some(names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")),
        ClientAuthentication::TlsClientAuth {
            anchors: PermittedAnchors::Every,
            ..
        } => Some("every configured trust anchor".to_owned()),
        _ => None,
    }
}

/// The path that was found before a later rule failed, where the reason carries it.
fn found_path(error: &ClientAuthenticationError) -> Option<String> {
    let ClientAuthenticationError::Subject { chain, .. } = error else {
        return None;
    };
    Some(match chain.intermediates() {
        [] => format!("trust anchor {}, which issued it", chain.anchor()),
        [_] => format!("trust anchor {} (1 intermediate)", chain.anchor()),
        intermediates => format!(
            "trust anchor {} ({} intermediates)",
            chain.anchor(),
            intermediates.len()
        ),
    })
}

fn or_none(usage: Option<&impl ToString>) -> String {
    usage.map_or_else(|| "none, so every use".to_owned(), ToString::to_string)
}

fn registered_certificates(keys: &JwkSet) -> String {
    let mut thumbprints: Vec<String> = keys
        .certificates()
        .map(|der| CertificateThumbprint::of_certificate(der).to_string())
        .collect();
    let more = thumbprints.len().saturating_sub(REGISTERED_SHOWN_MAX);
    thumbprints.truncate(REGISTERED_SHOWN_MAX);
    if more > 0 {
        thumbprints.push(format!("and {more} more"));
    }
    if thumbprints.is_empty() {
        "none".to_owned()
    } else {
        thumbprints.join(", ")
    }
}

/// A reason and what caused it, in one line.
fn with_sources(error: &dyn std::error::Error) -> String {
    crate::refusal::Refusal::reason_of(error)
}
