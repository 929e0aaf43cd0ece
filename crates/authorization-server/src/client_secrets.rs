//! Secrets that this server makes for clients: when a client gets one, keeps it, or has none left; and how it is shown, once.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SecureRandom;
use keybound_protocol::client_metadata::ClientMetadata;
use keybound_protocol::secret::{GeneratedSecret, SECRET_RANDOM_BYTES, SecretHash};
use keybound_store::SecretChange;
use serde_json::{Value, json};

/// A new secret.
///
/// # Errors
/// If the random number generator fails.
pub(crate) fn generate(random: &dyn SecureRandom) -> Result<GeneratedSecret, Unspecified> {
    let mut octets = [0; SECRET_RANDOM_BYTES];
    random.fill(&mut octets)?;
    Ok(GeneratedSecret::from_random(octets))
}

/// The secret of a new client, if its method has one.
///
/// # Errors
/// If the random number generator fails.
pub(crate) fn of_new_client(
    metadata: &ClientMetadata,
    random: &dyn SecureRandom,
) -> Result<Option<GeneratedSecret>, Unspecified> {
    let has_secret = metadata.authentication_method().has_secret();
    has_secret.then(|| generate(random)).transpose()
}

/// What becomes of a client's secret under new metadata, and the new one if it gets one.
///
/// A client that keeps its secret keeps the one that it knows; one that changes to another method has none left that could be found.
///
/// # Errors
/// If the random number generator fails.
pub(crate) fn of_changed_client(
    metadata: &ClientMetadata,
    on_file: Option<&SecretHash>,
    random: &dyn SecureRandom,
) -> Result<(SecretChange, Option<GeneratedSecret>), Unspecified> {
    match (metadata.authentication_method().has_secret(), on_file) {
        (true, Some(_)) => Ok((SecretChange::Keep, None)),
        (true, None) => {
            let secret = generate(random)?;
            Ok((SecretChange::Set(secret.hash()), Some(secret)))
        }
        (false, _) => Ok((SecretChange::Remove, None)),
    }
}

/// An answer with the secret that was made just now (RFC 7591 §3.2.1). It is in this answer and in no other.
pub(crate) fn shown_once(mut shown: Value, secret: Option<&GeneratedSecret>) -> Value {
    if let Some(secret) = secret {
        shown["client_secret"] = json!(secret.as_str());
        // It does not expire.
        shown["client_secret_expires_at"] = json!(0);
    }
    shown
}
