//! `self_signed_tls_client_auth` (RFC 8705 §2.2).

use std::sync::Arc;

use keybound_protocol::authentication_method::AuthenticationMethod;
use keybound_protocol::client::Client;
use keybound_protocol::client_authentication::{AuthenticatedClient, ClientAuthenticationError};
use keybound_protocol::client_metadata::{ClientMetadata, ClientMetadataError};
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::jwk::Jwk;
use keybound_protocol::jwk_set::JwkSet;
use keybound_protocol::self_signed_tls_client_auth::{self, NotRegistered};
use keybound_protocol::time::Timestamp;
use keybound_protocol::tls_client_auth;
use keybound_protocol::trust_anchor::TrustAnchors;
use serde_json::{Value, json};

use crate::pki::{Authority, Key, NOW, Template, anchors, client, days_from_now, presented};

fn jwks(certificates: &[&[u8]]) -> JwkSet {
    let keys = certificates
        .iter()
        .map(|der| Jwk::for_certificate(der).unwrap())
        .collect();
    JwkSet::new(keys).unwrap()
}

fn metadata(keys: &JwkSet) -> Value {
    json!({
        "token_endpoint_auth_method": "self_signed_tls_client_auth", "grant_types": ["client_credentials"],
        "jwks": keys.to_json(),
    })
}

fn authenticate_at(
    client: &Arc<Client>,
    certificate: &[u8],
    keys: &JwkSet,
    now: Timestamp,
) -> Result<AuthenticatedClient, ClientAuthenticationError> {
    let outcome = self_signed_tls_client_auth::authenticate(client, &presented(certificate, &[]), keys, 7, now);
    if let Err(error) = &outcome {
        assert_eq!(error.code(), ErrorCode::InvalidClient);
    }
    outcome.map(|(client, accepted)| {
        assert_eq!(accepted.trust_epoch(), 7);
        assert_eq!(accepted.anchor(), None);
        client
    })
}

fn authenticate(certificate: &[u8], registered: &[&[u8]]) -> Result<AuthenticatedClient, ClientAuthenticationError> {
    let keys = jwks(registered);
    authenticate_at(&client(&metadata(&keys)), certificate, &keys, NOW)
}

fn not_registered(certificate: &[u8], registered: &[&[u8]]) -> NotRegistered {
    match authenticate(certificate, registered) {
        Err(ClientAuthenticationError::NotRegistered(error)) => error,
        other => panic!("{other:?}"),
    }
}

// covers MTLS-2.2-3, MTLS-2.2-5, MTLS-2.2.1-1, MTLS-2.2.2-2
#[test]
fn a_registered_certificate_of_any_issuer_authenticates() {
    let own = Template::client("demo").self_sign(&Key::generate());
    let by_stranger = Authority::root("Nobody knows").issue(&Template::client("demo"));
    let mut version_1 = Template::new(crate::der::common_name("demo"));
    version_1.version = 0;
    let version_1 = version_1.self_sign(&Key::generate());
    // Also a certificate that no path validation would take: for a server, of an authority.
    let authority = Template::authority("demo").self_sign(&Key::generate());
    for certificate in [own, by_stranger, version_1, authority] {
        let client = authenticate(&certificate, &[&certificate]).unwrap();
        assert_eq!(client.method(), AuthenticationMethod::SelfSignedTlsClientAuth);
        assert_eq!(client.method().name(), "self_signed_tls_client_auth");
    }
}

// covers MTLS-2.2-4, MTLS-2-7, TRAP-40
#[test]
fn the_same_key_in_another_certificate_is_refused() {
    let key = Key::generate();
    let registered = Template::client("demo").self_sign(&key);
    let reissued = Template::client("demo").serial(&[0x43]).self_sign(&key);
    assert!(matches!(
        not_registered(&reissued, &[&registered]),
        NotRegistered::SameKey { .. }
    ));
    // Octet for octet: even the same fields signed again are another certificate.
    let signed_again = Template::client("demo").self_sign(&key);
    assert_ne!(signed_again, registered);
    assert!(matches!(
        not_registered(&signed_again, &[&registered]),
        NotRegistered::SameKey { .. }
    ));
}

// covers MTLS-2.2-4, TRAP-40
#[test]
fn the_same_subject_issuer_and_serial_with_another_key_are_refused() {
    let registered = Template::client("demo").self_sign(&Key::generate());
    let imitation = Template::client("demo").self_sign(&Key::generate());
    assert!(matches!(
        not_registered(&imitation, &[&registered]),
        NotRegistered::SameSubject { .. }
    ));
    let stranger = Template::client("stranger").self_sign(&Key::generate());
    assert!(matches!(
        not_registered(&stranger, &[&registered]),
        NotRegistered::Unknown { registered: 1, .. }
    ));
}

#[test]
fn any_octet_more_or_less_makes_another_certificate() {
    let registered = Template::client("demo").self_sign(&Key::generate());
    let longer = [registered.as_slice(), &[0]].concat();
    let shorter = &registered[..registered.len() - 1];
    assert!(authenticate(&longer, &[&registered]).is_err());
    assert!(authenticate(shorter, &[&registered]).is_err());
    assert!(authenticate(&registered, &[&registered]).is_ok());
}

// covers MTLS-2.2-6, MTLS-2.2.2-1, MTLS-2.2.2-2
#[test]
fn any_of_several_registered_certificates_authenticates() {
    let certificates: Vec<Vec<u8>> = (0..3)
        .map(|_| Template::client("demo").self_sign(&Key::generate()))
        .collect();
    let registered: Vec<&[u8]> = certificates.iter().map(Vec::as_slice).collect();
    for certificate in &certificates {
        assert!(authenticate(certificate, &registered).is_ok());
    }
    // With `jwks_uri` the set is passed in as fetched: a new one counts without any change of the client.
    let by_reference = client(&json!({
        "token_endpoint_auth_method": "self_signed_tls_client_auth", "grant_types": ["client_credentials"],
        "jwks_uri": "https://client.example/jwks",
    }));
    let old = jwks(&registered[..1]);
    assert!(authenticate_at(&by_reference, &certificates[1], &old, NOW).is_err());
    assert!(authenticate_at(&by_reference, &certificates[1], &jwks(&registered), NOW).is_ok());
}

// covers MTLS-2.2.2-2
#[test]
fn a_key_without_x5c_never_matches() {
    let certificate = Template::client("demo").self_sign(&Key::generate());
    let mut set = jwks(&[&certificate]).to_json();
    set["keys"][0].as_object_mut().unwrap().remove("x5c");
    let keys = JwkSet::parse(set.to_string().as_bytes()).unwrap();
    let registered = client(&metadata(&jwks(&[&certificate])));
    let error = authenticate_at(&registered, &certificate, &keys, NOW).map(|_| ());
    assert!(matches!(
        error,
        Err(ClientAuthenticationError::NotRegistered(NotRegistered::NoneRegistered))
    ));
}

// covers MTLS-2.2-1, MTLS-2.2.2-2
#[test]
fn a_client_without_registered_certificates_is_not_registered() {
    let without =
        json!({"token_endpoint_auth_method": "self_signed_tls_client_auth", "grant_types": ["client_credentials"]});
    let outcome: Result<ClientMetadata, ClientMetadataError> =
        ClientMetadata::parse_stored(without.to_string().as_bytes());
    assert!(outcome.is_err());
}

// covers TRAP-43
#[test]
fn an_expired_certificate_is_refused_unless_the_client_says_otherwise() {
    let key = Key::generate();
    let ended = Template::client("demo")
        .valid(days_from_now(-9), days_from_now(-1))
        .self_sign(&key);
    let not_begun = Template::client("demo")
        .valid(days_from_now(1), days_from_now(9))
        .self_sign(&key);
    let keys = jwks(&[&ended, &not_begun]);

    let strict = client(&metadata(&keys));
    let error = authenticate_at(&strict, &ended, &keys, NOW).map(|_| ());
    assert!(
        matches!(error, Err(ClientAuthenticationError::RegisteredExpired { .. })),
        "{error:?}"
    );
    let error = authenticate_at(&strict, &not_begun, &keys, NOW).map(|_| ());
    assert!(
        matches!(error, Err(ClientAuthenticationError::RegisteredNotYetValid { .. })),
        "{error:?}"
    );
    // Both ends are inside (RFC 5280 §4.1.2.5).
    assert!(authenticate_at(&strict, &ended, &keys, days_from_now(-1)).is_ok());
    let just_over = Timestamp::from_unix_secs(days_from_now(-1).unix_secs() + 1);
    assert!(authenticate_at(&strict, &ended, &keys, just_over).is_err());

    let mut lenient = metadata(&keys);
    lenient["keybound_expired_self_signed"] = "accept".into();
    let lenient = client(&lenient);
    assert!(authenticate_at(&lenient, &ended, &keys, NOW).is_ok());
    // It is about the end, and about registered certificates only.
    let stranger = Template::client("demo")
        .valid(days_from_now(-9), days_from_now(-1))
        .self_sign(&Key::generate());
    assert!(authenticate_at(&lenient, &stranger, &keys, NOW).is_err());
}

// covers MTLS-2-1, MTLS-2-5, TRAP-19
#[test]
fn the_method_is_the_registered_one_not_the_certificate_s_shape() {
    let corp = Authority::root("Corp");
    let trust = anchors(&[corp.settings("corp")]);
    let certificate = corp.issue(&Template::client("demo"));
    // Issued by a trusted authority, with a subject that other clients register: still only octets count here.
    let other = Template::client("demo").self_sign(&Key::generate());
    let keys = jwks(&[&other]);
    let self_signed = client(&metadata(&keys));
    assert!(authenticate_at(&self_signed, &certificate, &keys, NOW).is_err());
    let error = tls_client_auth::authenticate(&self_signed, &presented(&certificate, &[]), &trust, NOW).map(|_| ());
    assert!(matches!(error, Err(ClientAuthenticationError::MethodNotUsed { .. })));
    // And a registered certificate authenticates nobody of the other method.
    let pki = crate::pki::tls_client("tls_client_auth_subject_dn", "CN=demo");
    let error = self_signed_tls_client_auth::authenticate(&pki, &presented(&other, &[]), &keys, 7, NOW).map(|_| ());
    assert!(matches!(error, Err(ClientAuthenticationError::MethodNotUsed { .. })));
    let error = tls_client_auth::authenticate(&pki, &presented(&other, &[]), &TrustAnchors::none(), NOW).map(|_| ());
    assert!(matches!(error, Err(ClientAuthenticationError::Chain(_))));
}
