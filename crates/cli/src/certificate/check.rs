//! `keybound certificate check`: is this certificate in order, and who trusts it?

use keybound_protocol::certificate_chain::{self, ChainError};
use keybound_protocol::certificate_file;
use keybound_protocol::certificate_revocation_list::CertificateRevocationList;
use keybound_protocol::peer_certificate::EndEntityCertificate;
use keybound_protocol::time::Timestamp;
use keybound_protocol::trust_anchor::{TrustAnchor, TrustAnchorName, TrustAnchorSettings};
use keybound_tls::{OPERATOR_FILE_BYTES_MAX, REVOCATION_LISTS_BYTES_MAX};
use serde_json::json;
use std::time::Duration;

use crate::arguments::CertificateCheck;
use crate::exit_code::{CommandError, CommandResult, ExitCode};
use crate::explanation::validity;
use crate::terminal::{BAD, GOOD, Terminal, styled, without_control_characters};

struct Finding {
    code: ExitCode,
    word: &'static str,
    sentence: String,
}

/// Judges validity, and with `--ca` the path, by the rules that the server uses.
pub(crate) fn run(arguments: &CertificateCheck, terminal: &Terminal, now: Timestamp) -> CommandResult {
    let presented = super::read_chain(&arguments.file)?;
    let finding = judge(arguments, presented.end_entity(), now)?;
    let mark = if finding.code == ExitCode::Ok {
        styled(GOOD, "✔")
    } else {
        styled(BAD, "✘")
    };
    terminal.line(format!("{mark} {}", without_control_characters(&finding.sentence)));
    terminal.line(format!("  x5t#S256 {}", presented.thumbprint()));
    terminal.json(&json!({
        "result": finding.word, "detail": finding.sentence, "x5t#S256": presented.thumbprint().to_string(),
        "exit_code": finding.code as u8,
    }));
    Ok(finding.code)
}

fn judge(
    arguments: &CertificateCheck,
    end_entity: &EndEntityCertificate,
    now: Timestamp,
) -> Result<Finding, CommandError> {
    let certificate = match end_entity.certificate() {
        Ok(certificate) => certificate,
        Err(error) => {
            let sentence = format!("the certificate cannot be read: {error}");
            return Ok(Finding {
                code: ExitCode::Untrusted,
                word: "untrusted",
                sentence,
            });
        }
    };
    let (not_before, not_after) = (certificate.not_before(), certificate.not_after());
    let found = |code, word, sentence| Ok(Finding { code, word, sentence });
    if now < not_before {
        return found(
            ExitCode::Expired,
            "not_yet_valid",
            format!("not valid before {not_before}"),
        );
    }
    if now > not_after {
        return found(
            ExitCode::Expired,
            "expired",
            format!("{} ({not_after})", validity(not_after, now)),
        );
    }
    if !arguments.ca.is_empty() {
        let anchors = anchors(arguments)?;
        let anchors: Vec<&TrustAnchor> = anchors.iter().collect();
        if let Err(error) = certificate_chain::verify(end_entity, &anchors, now) {
            let (code, word) = match &error {
                ChainError::Revoked { .. } => (ExitCode::Revoked, "revoked"),
                ChainError::Expired { .. } | ChainError::NotYetValid { .. } | ChainError::IssuerExpired { .. } => {
                    (ExitCode::Expired, "expired")
                }
                _ => (ExitCode::Untrusted, "untrusted"),
            };
            return found(code, word, sentence(&error));
        }
    }
    let soon = now.plus(Duration::from_secs(u64::from(arguments.within) * 86_400));
    let sentence = format!("{} ({not_after})", validity(not_after, now));
    if soon > not_after {
        found(ExitCode::Expiring, "expiring", sentence)
    } else {
        found(ExitCode::Ok, "ok", sentence)
    }
}

/// The verdict in the words of this command: the authorities are those of `--ca`, and no client is asked about.
fn sentence(error: &ChainError) -> String {
    match error {
        ChainError::UnknownIssuer { issuer } => format!("{issuer} is none of the authorities of --ca"),
        ChainError::IssuerNotPresented { issuer } => format!(
            "the issuer {issuer} is none of the authorities of --ca, and its certificate is not in the file: it is not trusted, \
             or an intermediate certificate is missing"
        ),
        other => other.to_string(),
    }
}

fn anchors(arguments: &CertificateCheck) -> Result<Vec<TrustAnchor>, CommandError> {
    let invalid = |path: &std::path::Path, error: &dyn std::fmt::Display| {
        CommandError::message(ExitCode::Usage, format!("{}: {error}", path.display()))
    };
    let mut crls = Vec::new();
    for path in &arguments.crl {
        let lists = certificate_file::revocation_lists(&super::read(path, REVOCATION_LISTS_BYTES_MAX)?)
            .map_err(|error| invalid(path, &error))?;
        // Each is read here once, so that a bad one is blamed on its own file.
        for list in &lists {
            CertificateRevocationList::parse(list).map_err(|error| {
                CommandError::new(
                    ExitCode::Usage,
                    anyhow::Error::new(error).context(path.display().to_string()),
                )
            })?;
        }
        crls.extend(lists);
    }
    let mut anchors = Vec::new();
    for path in &arguments.ca {
        let settings = TrustAnchorSettings {
            name: "given"
                .parse::<TrustAnchorName>()
                .map_err(|error| invalid(path, &error))?,
            certificates: certificate_file::certificates(&super::read(path, OPERATOR_FILE_BYTES_MAX)?)
                .map_err(|error| invalid(path, &error))?,
            crls: crls.clone(),
            crl_missing: None,
            require_client_auth_eku: false,
            strict: false,
        };
        anchors.extend(TrustAnchor::load(&settings).map_err(|error| invalid(path, &error))?);
    }
    Ok(anchors)
}
