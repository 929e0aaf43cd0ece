//! What a file with certificates or revocation lists contains: PEM, any number, or one in DER. The octets are passed in.

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

/// The certificates of a file, DER each, in its order. Other PEM sections (a private key beside its chain) are skipped.
///
/// # Errors
/// Malformed PEM, or nothing in it. A file that does not look like PEM is taken for one DER certificate, unread.
pub fn certificates(contents: &[u8]) -> Result<Vec<Vec<u8>>, CertificateFileError> {
    if is_der(contents) {
        return Ok(vec![contents.to_vec()]);
    }
    let certificates = CertificateDer::pem_slice_iter(contents);
    let certificates: Vec<Vec<u8>> = certificates
        .map(|certificate| certificate.map(|der| der.to_vec()))
        .collect::<Result<_, _>>()?;
    if certificates.is_empty() {
        Err(CertificateFileError::NoCertificate)
    } else {
        Ok(certificates)
    }
}

/// The revocation lists of a file, DER each, in its order.
///
/// # Errors
/// Malformed PEM, or nothing in it. A file that does not look like PEM is taken for one DER revocation list, unread.
pub fn revocation_lists(contents: &[u8]) -> Result<Vec<Vec<u8>>, CertificateFileError> {
    if is_der(contents) {
        return Ok(vec![contents.to_vec()]);
    }
    let lists = CertificateRevocationListDer::pem_slice_iter(contents);
    let lists: Vec<Vec<u8>> = lists
        .map(|list| list.map(|der| der.to_vec()))
        .collect::<Result<_, _>>()?;
    if lists.is_empty() {
        Err(CertificateFileError::NoRevocationList)
    } else {
        Ok(lists)
    }
}

/// A SEQUENCE: no text file begins with its tag and a long-form length.
fn is_der(contents: &[u8]) -> bool {
    matches!(contents, [0x30, 0x80..=0xff, ..])
}

/// Why a file does not contain what was looked for.
#[derive(Debug, thiserror::Error)]
pub enum CertificateFileError {
    /// A section without its end, or base64 that is none.
    #[error("the file is not well-formed PEM")]
    Pem(#[from] pem::Error),
    /// No section `CERTIFICATE`.
    #[error("the file contains no certificate")]
    NoCertificate,
    /// No section `X509 CRL`.
    #[error("the file contains no certificate revocation list")]
    NoRevocationList,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_pem_and_der() {
        let pem =
            b"text\n-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nMAA=\n\
            -----END PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----\nMAE=\n-----END CERTIFICATE-----\n";
        assert_eq!(certificates(pem).ok(), Some(vec![vec![0x30, 0], vec![0x30, 1]]));
        assert_eq!(
            certificates(&[0x30, 0x82, 1, 0]).ok(),
            Some(vec![vec![0x30, 0x82, 1, 0]])
        );
        assert!(matches!(certificates(b""), Err(CertificateFileError::NoCertificate)));
        assert!(matches!(
            certificates(b"-----BEGIN CERTIFICATE-----\nMAA="),
            Err(CertificateFileError::Pem(_))
        ));
        assert!(matches!(
            revocation_lists(pem),
            Err(CertificateFileError::NoRevocationList)
        ));
    }
}
