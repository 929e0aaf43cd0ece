//! JWTs of any shape, signed with real keys.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::rand::SystemRandom;
use keybound_protocol::base64url;
use keybound_protocol::jwk_set::JwkSet;
use keybound_protocol::signer::{LocalSigner, SignatureAlgorithm, Signer};
use keybound_protocol::time::Timestamp;
use serde_json::{Value, json};

/// When every test happens.
pub(crate) const NOW: Timestamp = Timestamp::from_unix_secs(1_800_000_000);
/// The issuer of every good token.
pub(crate) const ISSUER: &str = "https://as.example/tenant";
/// The resource that every good token is for.
pub(crate) const RESOURCE: &str = "https://api.example";

static SIGNERS: LazyLock<Vec<Arc<LocalSigner>>> = LazyLock::new(|| {
    let random = SystemRandom::new();
    SignatureAlgorithm::ALL
        .into_iter()
        .map(|algorithm| Arc::new(LocalSigner::generate(algorithm, &random).unwrap()))
        .collect()
});

/// The key of this algorithm, the same for the whole run.
pub(crate) fn signer(algorithm: SignatureAlgorithm) -> &'static Arc<LocalSigner> {
    SIGNERS.iter().find(|signer| signer.algorithm() == algorithm).unwrap()
}

/// A key that nobody publishes.
pub(crate) fn stranger(algorithm: SignatureAlgorithm) -> LocalSigner {
    LocalSigner::generate(algorithm, &SystemRandom::new()).unwrap()
}

/// A key set of these signers.
pub(crate) fn key_set(signers: &[&Arc<LocalSigner>]) -> JwkSet {
    JwkSet::new(signers.iter().map(|signer| signer.public_jwk().clone()).collect()).unwrap()
}

/// Signs header and claims exactly as they are written.
pub(crate) fn sign(signer: &dyn Signer, header: &str, claims: &str) -> String {
    let input = format!(
        "{}.{}",
        base64url::encode(header.as_bytes()),
        base64url::encode(claims.as_bytes())
    );
    let signature = signer.sign(input.as_bytes()).unwrap();
    format!("{input}.{}", base64url::encode(&signature))
}

/// The header of an access token of this signer.
pub(crate) fn header(signer: &dyn Signer) -> Value {
    json!({"alg": signer.algorithm(), "kid": signer.key_id(), "typ": "at+jwt"})
}

/// The claims of a good access token.
pub(crate) fn claims() -> Value {
    json!({
        "iss": ISSUER,
        "sub": "demo",
        "client_id": "demo",
        "aud": RESOURCE,
        "scope": "read write",
        "iat": NOW.unix_secs() - 10,
        "exp": NOW.unix_secs() + 290,
        "jti": "7Vh3kq0cQ0mXk3oHkqYyDw",
        "cnf": {"x5t#S256": "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"},
    })
}

/// `object` with `member` set to `value`, or removed if that is null.
pub(crate) fn with(mut object: Value, member: &str, value: Value) -> Value {
    let members = object.as_object_mut().unwrap();
    if value.is_null() {
        members.remove(member);
    } else {
        members.insert(member.to_owned(), value);
    }
    object
}
