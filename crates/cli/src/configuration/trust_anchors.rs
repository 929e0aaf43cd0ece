//! `[[trust_anchors]]`: which authorities' certificates are accepted, and the files that say so.

use std::path::{Path, PathBuf};

use keybound_protocol::certificate_file;
use keybound_protocol::certificate_revocation_list::CertificateRevocationList;
use keybound_protocol::trust_anchor::{CrlMissing, TrustAnchor, TrustAnchorName, TrustAnchorSettings};
use keybound_tls::OperatorFileError;
use keybound_tls::operator_file::{self, OPERATOR_FILE_BYTES_MAX, REVOCATION_LISTS_BYTES_MAX};

use super::Base;
use super::diagnostic::{Diagnostic, Located};
use super::document::{Document, Section};
use super::value::{existing_file, existing_located_files, word};

/// A certification authority that clients' certificates may come from.
#[derive(Debug, Clone)]
pub(crate) struct TrustAnchorFiles {
    /// What clients call it in `keybound_trust_anchors`.
    pub name: Located<TrustAnchorName>,
    /// PEM, one or more certificates.
    file: Located<PathBuf>,
    /// PEM or DER revocation lists.
    crl: Vec<Located<PathBuf>>,
    /// Whether a certificate without a revocation list of its issuer is accepted; unset, refused where `crl` lists any.
    crl_missing: Option<CrlMissing>,
    /// Whether extendedKeyUsage clientAuth must be present.
    require_client_auth_eku: bool,
    /// Whether paths must also keep what RFC 5280 §4 asks of issuers alone.
    strict: bool,
}

/// The anchors of a file.
#[derive(Debug, Clone, Default)]
pub(crate) struct TrustAnchorEntries {
    /// Those that can be opened.
    pub usable: Vec<TrustAnchorFiles>,
    /// The name of every one: what may be referred to, also where its files are another mistake.
    pub names: Vec<TrustAnchorName>,
}

/// Takes `[[trust_anchors]]` out of the document.
pub(super) fn entries(document: &Document, sections: Vec<Section<'_>>, base: &Base) -> TrustAnchorEntries {
    let mut entries = TrustAnchorEntries::default();
    for section in sections {
        let name = section.required_parsed("name", str::parse::<TrustAnchorName>);
        let file = existing_file(&section, base, "file");
        let crl = existing_located_files(&section, base, "crl");
        let crl_missing = section
            .parsed(
                "crl_missing",
                word(&[("refuse", CrlMissing::Refuse), ("accept", CrlMissing::Accept)]),
            )
            .map(|located| located.value);
        let require_client_auth_eku = section.boolean("require_client_auth_eku", false).value;
        let strict = section.boolean("strict", false).value;
        section.finish();
        let Some(name) = name else { continue };
        if entries.names.contains(&name.value) {
            let message = format!("a second trust anchor is called `{}`", name.value.as_str());
            document.report(Diagnostic::error("C013", &name.location, message));
            continue;
        }
        entries.names.push(name.value.clone());
        if let Some(file) = file {
            entries.usable.push(TrustAnchorFiles {
                name,
                file,
                crl,
                crl_missing,
                require_client_auth_eku,
                strict,
            });
        }
    }
    entries
}

impl TrustAnchorFiles {
    /// Reads its certificates and revocation lists.
    ///
    /// # Errors
    /// Every file that cannot be used.
    pub(crate) fn load(&self) -> Result<Vec<TrustAnchor>, Vec<Diagnostic>> {
        let (mut crls, mut findings) = (Vec::new(), Vec::new());
        for file in &self.crl {
            match revocation_lists(&file.value) {
                Ok(lists) => crls.extend(lists),
                Err(error) => findings.push(blame(file, &error)),
            }
        }
        let certificates = operator_file::read(&self.file.value, OPERATOR_FILE_BYTES_MAX)
            .map_err(anyhow::Error::from)
            .and_then(|pem| Ok(certificate_file::certificates(&pem)?));
        let anchors = certificates.and_then(|certificates| {
            Ok(TrustAnchor::load(&TrustAnchorSettings {
                name: self.name.value.clone(),
                certificates,
                crls,
                crl_missing: self.crl_missing,
                require_client_auth_eku: self.require_client_auth_eku,
                strict: self.strict,
            })?)
        });
        match anchors {
            Ok(anchors) if findings.is_empty() => Ok(anchors),
            Ok(_) => Err(findings),
            Err(error) => {
                findings.push(blame(&self.file, &error));
                Err(findings)
            }
        }
    }
}

/// The lists of one file, each read once here so that a bad one is blamed on its own file.
fn revocation_lists(file: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let lists = certificate_file::revocation_lists(&operator_file::read(file, REVOCATION_LISTS_BYTES_MAX)?)?;
    for list in &lists {
        CertificateRevocationList::parse(list)?;
    }
    Ok(lists)
}

fn blame(file: &Located<PathBuf>, error: &anyhow::Error) -> Diagnostic {
    match error.downcast_ref::<OperatorFileError>() {
        Some(error) => {
            let finding = Diagnostic::error("C031", &file.location, error.to_string());
            match error.fix() {
                Some(fix) => finding.with_help(fix),
                None => finding,
            }
        }
        None => Diagnostic::error("C031", &file.location, format!("{}: {error:#}", file.value.display())),
    }
}
