//! Octets as a JWK set, as one JWK and as JSON.

use keybound_protocol::certificate::subject_public_key_info;
use keybound_protocol::json::{JsonObject, JsonValue};
use keybound_protocol::jwk::Jwk;
use keybound_protocol::jwk_set::{JWK_SET_KEYS_MAX, JwkSet};
use keybound_protocol::signature_algorithm::SignatureAlgorithm;

/// Checks every property for one input.
pub(crate) fn check(octets: &[u8]) {
    check_json(octets);
    if let Ok(jwk) = Jwk::parse(octets) {
        check_key(&jwk);
    }
    let Ok(set) = JwkSet::parse(octets) else {
        return;
    };
    assert!(set.keys().len() + set.skipped().len() <= JWK_SET_KEYS_MAX);
    let text = String::from_utf8_lossy(octets);
    let with_x5c = set.keys().iter().filter(|key| !key.certificates().is_empty());
    assert_eq!(set.certificates().count(), with_x5c.count(), "{text}");
    for key in set.keys() {
        check_key(key);
        if let Some(key_id) = key.key_id() {
            assert!(set.contains_key_id(key_id), "{text}");
            assert!(
                set.candidates(Some(key_id))
                    .all(|candidate| candidate.key_id() == Some(key_id))
            );
            assert!(set.candidates(Some(key_id)).any(|candidate| candidate == key));
            // `kid` and algorithm name one key.
            for algorithm in key.algorithms() {
                let same = |other: &&Jwk| other.algorithms().any(|own| own == algorithm);
                let mut named = set.candidates(Some(key_id)).filter(same);
                assert!(named.all(|other| other.public_key() == key.public_key()), "{text}");
            }
        }
    }
    assert_eq!(set.candidates(None).count(), set.keys().len());
    let signing = set.keys().iter().any(|key| key.algorithms().next().is_some());
    assert_eq!(set.can_verify(&SignatureAlgorithm::ALL), signing);
    let written = set.to_json().to_string();
    let reread = JwkSet::parse(written.as_bytes()).unwrap_or_else(|error| panic!("{text} to {written}: {error:?}"));
    assert_eq!(reread.keys(), set.keys(), "{text} to {written}");
    assert!(reread.skipped().is_empty());
    assert_eq!(reread.to_json(), set.to_json());
}

fn check_key(key: &Jwk) {
    let written = key.to_json().to_string();
    for private in ["\"d\":", "\"k\":", "\"p\":", "\"q\":"] {
        // A value may hold such text; a member of a key that we write may not.
        assert!(!written.starts_with(&format!("{{{private}")), "{written}");
    }
    let reread = Jwk::parse(written.as_bytes()).unwrap_or_else(|error| panic!("{written}: {error:?}"));
    assert_eq!(&reread, key);
    assert_eq!(reread.thumbprint(), key.thumbprint());
    for algorithm in key.algorithms() {
        assert!(key.public_key().algorithms().contains(&algorithm));
        assert!(!key.verifies(algorithm, b"message", &[0; 64]), "the zero signature");
        assert!(!key.verifies(algorithm, b"message", &[]), "no signature");
    }
    if let Some(first) = key.certificates().first() {
        // What registers a certificate has that certificate's key.
        assert!(subject_public_key_info(first).is_ok());
        let certified = Jwk::for_certificate(first).expect("its key was compared with this one");
        assert_eq!(certified.public_key(), key.public_key());
    }
}

fn check_json(octets: &[u8]) {
    let value = JsonValue::parse(octets);
    // Nothing is read here that the lenient reader refuses.
    if value.is_ok() {
        assert!(serde_json::from_slice::<serde_json::Value>(octets).is_ok());
    }
    assert_eq!(
        JsonObject::parse(octets).is_ok(),
        matches!(value, Ok(JsonValue::Object(_)))
    );
    if let Ok(value) = value
        && is_exact(&value)
    {
        let written = serde_json::to_vec(&value).expect("JSON writes as JSON");
        assert_eq!(JsonValue::parse(&written), Ok(value));
    }
}

/// Whether there is no fraction in it, which writes back only nearly the same.
fn is_exact(value: &JsonValue) -> bool {
    match value {
        JsonValue::Number(number) => !number.is_f64(),
        JsonValue::Array(values) => values.iter().all(is_exact),
        JsonValue::Object(object) => object.names().filter_map(|name| object.get(name)).all(is_exact),
        JsonValue::Null | JsonValue::Bool(_) | JsonValue::String(_) => true,
    }
}
