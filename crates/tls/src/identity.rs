//! Certificates and keys from PEM files: our own identities, and whom outgoing connections trust.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use keybound_protocol::certificate::subject_public_key_info;
use rustls::{
    RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use crate::operator_file::{self, OPERATOR_FILE_BYTES_MAX, OperatorFileError};

/// Why PEM was not usable. The message names the file and the cause.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// The file cannot be read, or is none.
    #[error(transparent)]
    File(#[from] OperatorFileError),
    /// Not PEM, or broken PEM.
    #[error("{file}: not valid PEM: {cause}")]
    Malformed {
        /// The file.
        file: String,
        /// The cause.
        cause: String,
    },
    /// PEM without a single CERTIFICATE block.
    #[error("{file}: contains no certificate (expected -----BEGIN CERTIFICATE-----)")]
    NoCertificate {
        /// The file.
        file: String,
    },
    /// PEM without a private key block.
    #[error("{file}: contains no private key (expected -----BEGIN PRIVATE KEY-----, unencrypted)")]
    NoKey {
        /// The file.
        file: String,
    },
    /// The key is of a kind that cannot sign in TLS.
    #[error("{file}: the private key cannot be used: {cause}")]
    UnusableKey {
        /// The file.
        file: String,
        /// The cause.
        cause: String,
    },
    /// A certificate that cannot be read, or used as a trust anchor.
    #[error("{file}: certificate {index} cannot be used: {cause}")]
    UnusableCertificate {
        /// The file.
        file: String,
        /// Which one, from 1.
        index: usize,
        /// The cause.
        cause: String,
    },
    /// The private key belongs to another certificate.
    #[error("{key_file}: this private key does not belong to the first certificate of {certificate_file}")]
    KeyMismatch {
        /// The file with the certificate.
        certificate_file: String,
        /// The file with the key.
        key_file: String,
    },
    /// The system's own root certificates could not be read.
    #[error("the system's root certificates could not be read: {cause}")]
    SystemRoots {
        /// The cause.
        cause: String,
    },
}

/// A certificate chain and its private key: what a server, or a client, presents. Cloning is cheap.
#[derive(Clone)]
pub struct Identity {
    pub(crate) key: Arc<CertifiedKey>,
}

impl Identity {
    /// Reads a chain (leaf first) and the leaf's private key (PKCS#8, PKCS#1 or SEC 1) from two PEM files, or twice the same.
    ///
    /// # Errors
    /// Any [`PemError`] that applies; a key that does not belong to the leaf is one.
    pub fn from_pem_files(certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Identity, PemError> {
        let (certificate, key) = (certificate.as_ref(), key.as_ref());
        let (chain, private_key) = (read(certificate)?, read(key)?);
        Identity::parse(&chain, &private_key, &display(certificate), &display(key))
    }

    /// The same from PEM in memory.
    ///
    /// # Errors
    /// As [`from_pem_files`](Self::from_pem_files).
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Identity, PemError> {
        Identity::parse(certificate, key, "certificate", "key")
    }

    fn parse(chain: &[u8], key: &[u8], chain_file: &str, key_file: &str) -> Result<Identity, PemError> {
        let chain = parse_certificates(chain, chain_file)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            rustls::pki_types::pem::Error::NoItemsFound => PemError::NoKey {
                file: key_file.to_owned(),
            },
            other => PemError::Malformed {
                file: key_file.to_owned(),
                cause: other.to_string(),
            },
        })?;
        let key = provider()
            .key_provider
            .load_private_key(key)
            .map_err(|error| PemError::UnusableKey {
                file: key_file.to_owned(),
                cause: error.to_string(),
            })?;
        // Compared here and not by rustls, which reads the certificate by stricter rules than a client's own certificate
        // has to meet (X.509 v1, for one).
        let leaf = chain.first().map(|leaf| &leaf[..]).unwrap_or_default();
        let leaf_key = subject_public_key_info(leaf).map_err(|error| PemError::UnusableCertificate {
            file: chain_file.to_owned(),
            index: 1,
            cause: error.to_string(),
        })?;
        if key.public_key().is_some_and(|key| key[..] != *leaf_key) {
            return Err(PemError::KeyMismatch {
                certificate_file: chain_file.to_owned(),
                key_file: key_file.to_owned(),
            });
        }
        Ok(Identity {
            key: Arc::new(CertifiedKey::new(chain, key)),
        })
    }

    /// The certificates, leaf first, DER.
    pub fn chain(&self) -> impl Iterator<Item = &[u8]> {
        self.key.cert.iter().map(|certificate| &certificate[..])
    }

    /// The end-entity certificate, DER.
    pub fn leaf(&self) -> &[u8] {
        self.key.cert.first().map(|leaf| &leaf[..]).unwrap_or_default()
    }
}

/// Names the certificates, never the key.
impl std::fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Identity({} certificates)", self.key.cert.len())
    }
}

/// Reads every certificate of a PEM file, DER, in file order. Other blocks are skipped.
///
/// # Errors
/// A file that cannot be read, is not PEM or has no certificate.
pub fn load_certificates(file: impl AsRef<Path>) -> Result<Vec<Vec<u8>>, PemError> {
    let file = file.as_ref();
    let certificates = parse_certificates(&read(file)?, &display(file))?;
    Ok(certificates.iter().map(|certificate| certificate.to_vec()).collect())
}

/// Whom an outgoing connection trusts to name servers.
#[derive(Clone)]
pub struct Roots {
    pub(crate) store: Arc<RootCertStore>,
}

impl Roots {
    /// Nobody: for clients that speak plain HTTP alone.
    pub fn none() -> Roots {
        Roots {
            store: Arc::new(RootCertStore::empty()),
        }
    }

    /// The operating system's roots.
    ///
    /// # Errors
    /// [`PemError::SystemRoots`] if there is not a single one.
    pub fn system() -> Result<Roots, PemError> {
        let loaded = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        let (added, _) = store.add_parsable_certificates(loaded.certs);
        if added == 0 {
            let cause = loaded
                .errors
                .first()
                .map_or_else(|| "there are none".to_owned(), ToString::to_string);
            return Err(PemError::SystemRoots { cause });
        }
        Ok(Roots { store: Arc::new(store) })
    }

    /// Exactly the certificates of these PEM files; none of the system's.
    ///
    /// # Errors
    /// Any [`PemError`] that applies.
    pub fn from_pem_files(files: &[PathBuf]) -> Result<Roots, PemError> {
        let mut store = RootCertStore::empty();
        for file in files {
            add_roots(
                &mut store,
                parse_certificates(&read(file)?, &display(file))?,
                &display(file),
            )?;
        }
        Ok(Roots { store: Arc::new(store) })
    }

    /// Exactly these certificates, PEM in memory.
    ///
    /// # Errors
    /// Any [`PemError`] that applies.
    pub fn from_pem(certificates: &[u8]) -> Result<Roots, PemError> {
        let mut store = RootCertStore::empty();
        add_roots(
            &mut store,
            parse_certificates(certificates, "certificates")?,
            "certificates",
        )?;
        Ok(Roots { store: Arc::new(store) })
    }
}

impl std::fmt::Debug for Roots {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Roots({})", self.store.len())
    }
}

/// The one cryptography provider of the process; never installed as a global default.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<Arc<CryptoProvider>> = std::sync::OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())))
}

fn add_roots(store: &mut RootCertStore, roots: Vec<CertificateDer<'static>>, file: &str) -> Result<(), PemError> {
    for (index, root) in roots.into_iter().enumerate() {
        store.add(root).map_err(|error| PemError::UnusableCertificate {
            file: file.to_owned(),
            index: index + 1,
            cause: error.to_string(),
        })?;
    }
    Ok(())
}

fn parse_certificates(pem: &[u8], file: &str) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| PemError::Malformed {
            file: file.to_owned(),
            cause: error.to_string(),
        })?;
    if certificates.is_empty() {
        return Err(PemError::NoCertificate { file: file.to_owned() });
    }
    Ok(certificates)
}

fn read(file: &Path) -> Result<Vec<u8>, PemError> {
    Ok(operator_file::read(file, OPERATOR_FILE_BYTES_MAX)?)
}

fn display(file: &Path) -> String {
    file.display().to_string()
}
