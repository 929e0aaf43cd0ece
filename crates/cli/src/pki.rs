//! A small certification authority for development: what `quickstart`, `init` and `certificate create` make.
//!
//! Certificates of a real deployment come from its own authority; nothing here is needed to run the server.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use keybound_protocol::certificate_file;
use keybound_protocol::time::Timestamp;
use keybound_tls::operator_file::{self, OPERATOR_FILE_BYTES_MAX};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use time::{Duration, OffsetDateTime};

use crate::random;

/// What a new certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// extendedKeyUsage clientAuth.
    Client,
    /// extendedKeyUsage serverAuth.
    Server,
}

/// What a new end-entity certificate says.
#[derive(Debug, Clone)]
pub(crate) struct EndEntity {
    /// Subject common name.
    pub common_name: String,
    /// clientAuth or serverAuth.
    pub purpose: Purpose,
    /// dNSName entries.
    pub dns: Vec<String>,
    /// uniformResourceIdentifier entries.
    pub uri: Vec<String>,
    /// iPAddress entries.
    pub ip: Vec<IpAddr>,
    /// rfc822Name entries.
    pub email: Vec<String>,
    /// Days of validity from now.
    pub days: u32,
}

impl EndEntity {
    /// A certificate with nothing but a name.
    pub(crate) fn new(common_name: &str, purpose: Purpose) -> Self {
        Self {
            common_name: common_name.to_owned(),
            purpose,
            dns: Vec::new(),
            uri: Vec::new(),
            ip: Vec::new(),
            email: Vec::new(),
            days: 90,
        }
    }
}

/// A certificate chain and its key in PEM.
#[derive(Debug, Clone)]
pub(crate) struct PemPair {
    /// The certificate, and the one that signed it if that is not a trust anchor.
    pub certificate: String,
    /// PKCS#8.
    pub key: String,
}

/// A certificate chain and its key as files.
#[derive(Debug, Clone)]
pub(crate) struct PairFiles {
    /// PEM, leaf first.
    pub certificate: PathBuf,
    /// PEM, readable by its owner only.
    pub key: PathBuf,
}

impl PemPair {
    /// The end-entity certificate, DER.
    ///
    /// # Errors
    /// If the text holds none, which cannot be of a pair that was made here.
    pub(crate) fn end_entity(&self) -> anyhow::Result<Vec<u8>> {
        let certificates = certificate_file::certificates(self.certificate.as_bytes())?;
        certificates.into_iter().next().context("no certificate")
    }

    /// Writes `{stem}.pem` and `{stem_key}` into `directory`, the key with mode 0600.
    ///
    /// # Errors
    /// If a file cannot be written; nothing existing is overwritten.
    pub(crate) fn write(&self, directory: &Path, certificate: &str, key: &str) -> anyhow::Result<PairFiles> {
        let files = PairFiles {
            certificate: directory.join(certificate),
            key: directory.join(key),
        };
        std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        write_new(&files.key, self.key.as_bytes(), 0o600)?;
        write_new(&files.certificate, self.certificate.as_bytes(), 0o644)?;
        Ok(files)
    }
}

/// Writes a file that must not exist yet, with `mode` from its first byte.
///
/// # Errors
/// If it exists or cannot be written.
pub(crate) fn write_new(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(content)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// A certification authority with its key.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: PemPair,
}

impl Authority {
    /// A new self-signed authority.
    ///
    /// # Errors
    /// If a key cannot be made.
    pub(crate) fn create(common_name: &str, days: u32, now: Timestamp) -> anyhow::Result<Self> {
        let key = KeyPair::generate().context("cannot make a key")?;
        let mut params = params(common_name, days, now)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let certificate = params
            .self_signed(&key)
            .context("cannot sign the authority's certificate")?;
        let pem = PemPair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        };
        Ok(Self {
            issuer: Issuer::new(params, key),
            pem,
        })
    }

    /// An authority from its files.
    ///
    /// # Errors
    /// If a file cannot be read, or is no certificate or key.
    pub(crate) fn load(certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let read = |path: &Path| operator_file::read_text(path, OPERATOR_FILE_BYTES_MAX).context("cannot read");
        let pem = PemPair {
            certificate: read(certificate)?,
            key: read(key)?,
        };
        let pair = KeyPair::from_pem(&pem.key).with_context(|| format!("{} is not a PEM key", key.display()))?;
        let issuer = Issuer::from_ca_cert_pem(&pem.certificate, pair)
            .with_context(|| format!("{} is not an authority's certificate", certificate.display()))?;
        Ok(Self { issuer, pem })
    }

    /// The authority's own certificate and key.
    pub(crate) fn pem(&self) -> &PemPair {
        &self.pem
    }

    /// Signs a new certificate with a new key.
    ///
    /// # Errors
    /// If a name cannot be written into a certificate.
    pub(crate) fn issue(&self, entity: &EndEntity, now: Timestamp) -> anyhow::Result<PemPair> {
        let key = KeyPair::generate().context("cannot make a key")?;
        let mut params = end_entity_params(entity, now)?;
        params.use_authority_key_identifier_extension = true;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .context("cannot sign the certificate")?;
        Ok(PemPair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

/// A self-signed certificate with a new key, for `self_signed_tls_client_auth`.
///
/// # Errors
/// If a name cannot be written into a certificate.
pub(crate) fn self_signed(entity: &EndEntity, now: Timestamp) -> anyhow::Result<PemPair> {
    let key = KeyPair::generate().context("cannot make a key")?;
    let certificate = end_entity_params(entity, now)?
        .self_signed(&key)
        .context("cannot sign the certificate")?;
    Ok(PemPair {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

fn end_entity_params(entity: &EndEntity, now: Timestamp) -> anyhow::Result<CertificateParams> {
    let mut params = params(&entity.common_name, entity.days, now)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![match entity.purpose {
        Purpose::Client => ExtendedKeyUsagePurpose::ClientAuth,
        Purpose::Server => ExtendedKeyUsagePurpose::ServerAuth,
    }];
    let text = |text: &String| text.as_str().try_into().with_context(|| format!("{text} is not ASCII"));
    for name in &entity.dns {
        params.subject_alt_names.push(SanType::DnsName(text(name)?));
    }
    for uri in &entity.uri {
        params.subject_alt_names.push(SanType::URI(text(uri)?));
    }
    for address in &entity.email {
        params.subject_alt_names.push(SanType::Rfc822Name(text(address)?));
    }
    params
        .subject_alt_names
        .extend(entity.ip.iter().map(|address| SanType::IpAddress(*address)));
    Ok(params)
}

fn params(common_name: &str, days: u32, now: Timestamp) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    // From the general to the particular, so that the string, which is read backwards (RFC 4514 §2.1), begins with CN.
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Keybound development");
    params.distinguished_name.push(DnType::CommonName, common_name);
    let now = OffsetDateTime::from_unix_timestamp(now.unix_secs()).context("the clock is out of range")?;
    // A minute of grace for clocks that differ.
    params.not_before = now - Duration::minutes(1);
    params.not_after = now + Duration::days(i64::from(days));
    let mut serial = [0; 16];
    random::fill(&mut serial);
    serial[0] &= 0x7f;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}
