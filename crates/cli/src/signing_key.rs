//! Keys of clients in files: they sign assertions and request objects.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use keybound_client::AssertionKey;
use keybound_protocol::base64url;
use keybound_protocol::signer::{LocalSigner, Signer};
use keybound_tls::operator_file::{self, OPERATOR_FILE_BYTES_MAX};

use crate::random;

/// Reads a private key in PEM; its kind decides the algorithm.
///
/// # Errors
/// The file cannot be read, or no key that signs is in it.
pub(crate) fn read(file: &Path) -> anyhow::Result<Arc<LocalSigner>> {
    let text = operator_file::read_text(file, OPERATOR_FILE_BYTES_MAX)?;
    let key = rcgen::KeyPair::from_pem(&text).with_context(|| format!("{} is not a PEM key", file.display()))?;
    let signer = LocalSigner::from_pkcs8_of_any_kind(&key.serialize_der(), &random::SYSTEM)
        .with_context(|| format!("{} cannot sign", file.display()))?;
    Ok(Arc::new(signer))
}

/// The same key, for assertions.
pub(crate) fn assertion_key(signer: &Arc<LocalSigner>) -> AssertionKey {
    let signer: Arc<dyn Signer> = Arc::<LocalSigner>::clone(signer);
    AssertionKey::new(signer, unique_id)
}

/// 128 random bits: a `jti` that was never used.
pub(crate) fn unique_id() -> String {
    let mut octets = [0; 16];
    random::fill(&mut octets);
    base64url::encode(&octets)
}
