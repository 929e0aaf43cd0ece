//! Properties of the parsers that peers can reach: what is printed reads back, and no input panics.

use keybound_protocol::base64url;
use keybound_protocol::bearer::BearerToken;
use keybound_protocol::challenge::{BearerChallenge, PresentedChallenge};
use keybound_protocol::client_assertion::UnverifiedClientAssertion;
use keybound_protocol::client_metadata::ClientMetadata;
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::form::Form;
use keybound_protocol::introspection::IntrospectionResponse;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::json::JsonValue;
use keybound_protocol::jwk::Jwk;
use keybound_protocol::jwk_set::JwkSet;
use keybound_protocol::jws::UnverifiedJws;
use keybound_protocol::refusal::{RefusalId, RefusalSource};
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::scope::Scope;
use keybound_protocol::server_metadata::ServerMetadata;
use keybound_protocol::token_request::TokenRequest;
use proptest::prelude::*;
use serde_json::Value;

use crate::jwk_sets::APPENDIX_A_JWK;
use crate::jwt::{ISSUER, NOW, claims, header, sign, signer};

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,6}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Octets, or a document that is almost right.
fn almost(document: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let damaged = (any::<prop::sample::Index>(), any::<u8>(), any::<prop::sample::Index>()).prop_map(
        move |(position, octet, end)| {
            let mut octets = document.as_bytes().to_vec();
            let position = position.index(octets.len());
            octets[position] = octet;
            let end = end.index(octets.len() * 4);
            octets.truncate(end.max(position));
            octets
        },
    );
    prop_oneof![prop::collection::vec(any::<u8>(), 0..200), damaged]
}

fn no_panic(octets: &[u8]) {
    let _ = JsonValue::parse(octets);
    let _ = Jwk::parse(octets);
    let _ = JwkSet::parse(octets);
    let _ = ClientMetadata::parse_stored(octets);
    let _ = ServerMetadata::parse(octets, &Issuer::parse(ISSUER).unwrap());
    let _ = IntrospectionResponse::parse(octets, NOW, std::time::Duration::ZERO);
    let _ = BearerToken::from_authorization([octets]);
    if let Ok(form) = Form::parse(octets) {
        let _ = TokenRequest::parse(&form);
        let _ = UnverifiedClientAssertion::from_form(&form);
    }
    if let Ok(text) = std::str::from_utf8(octets) {
        let _ = UnverifiedJws::parse(text);
        let _ = PresentedChallenge::parse(text);
        let _ = ResourceUri::parse(text);
        let _ = Issuer::parse(text);
        let _ = RefusalId::parse(text);
    }
}

proptest! {
    #[test]
    fn json_prints_as_it_was_read(document in any_json()) {
        let read = JsonValue::parse(document.to_string().as_bytes()).unwrap();
        prop_assert_eq!(serde_json::to_value(&read).unwrap(), document);
    }

    #[test]
    fn base64url_has_one_spelling(text in "[A-Za-z0-9_-]{0,12}") {
        if let Ok(octets) = base64url::decode(&text) {
            prop_assert_eq!(base64url::encode(&octets), text);
        }
    }

    #[test]
    fn refusal_ids_read_back(random in any::<[u8; 9]>(), gateway in any::<bool>()) {
        let source = if gateway { RefusalSource::Gateway } else { RefusalSource::AuthorizationServer };
        let id = RefusalId::from_random(source, random);
        prop_assert_eq!(RefusalId::parse(id.as_str()), Ok(id));
        prop_assert_eq!(RefusalId::parse(&id.as_str().to_lowercase()), Ok(id));
        prop_assert_eq!(id.as_str().len(), 16);
        prop_assert_eq!(id.source(), source);
    }

    #[test]
    fn scopes_read_back(text in "[!#-\\[\\]-~]{1,5}( [!#-\\[\\]-~]{1,5}){0,6}") {
        let scope = Scope::parse(&text).unwrap();
        prop_assert_eq!(Scope::parse(scope.as_str()).unwrap(), scope.clone());
        prop_assert!(text.split(' ').all(|word| scope.contains(word)));
        prop_assert_eq!(serde_json::to_string(&scope).unwrap(), format!("\"{scope}\""));
    }

    #[test]
    fn resources_need_no_escape(text in "[a-z]{1,5}:[ -~]{0,20}") {
        if let Ok(resource) = ResourceUri::parse(&text) {
            prop_assert_eq!(serde_json::to_string(&resource).unwrap(), format!("\"{text}\""));
        }
    }

    #[test]
    fn challenges_read_back(realm in "[ -~]{0,20}") {
        let challenge = BearerChallenge::bare(&realm).with_error(ErrorCode::InvalidToken).to_string();
        let read = PresentedChallenge::parse(&challenge).unwrap();
        prop_assert_eq!(read.realm, Some(realm));
        prop_assert_eq!(read.error.as_deref(), Some("invalid_token"));
    }

    #[test]
    fn forms_read_what_was_encoded(value in "\\PC{1,20}") {
        let body = form_urlencoded::Serializer::new(String::new()).append_pair("scope", &value).finish();
        match Form::parse(body.as_bytes()) {
            Ok(form) => prop_assert_eq!(form.get("scope"), Some(value.as_str())),
            Err(_) => prop_assert!(value.contains(char::REPLACEMENT_CHARACTER)),
        }
    }

    #[test]
    fn nothing_that_a_peer_sends_panics(
        octets in prop_oneof![
            almost(APPENDIX_A_JWK),
            almost(r#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","x5c":["MIIB"],"key_ops":["verify"]}]}"#),
            almost(r#"{"token_endpoint_auth_method":"tls_client_auth","tls_client_auth_subject_dn":"CN=a\\,b,O=c"}"#),
            almost(r#"{"issuer":"https://as.example/tenant","mtls_endpoint_aliases":{"token_endpoint":"https://a"}}"#),
            almost(r#"{"active":true,"exp":1e9,"cnf":{"x5t#S256":"A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"}}"#),
            almost("grant_type=client_credentials&resource=https%3A%2F%2Fa&client_assertion=a.b.c&scope=%61+b"),
            almost(r#"Bearer realm="a\"b", error=invalid_token, Basic dG9rZW4="#),
            almost("eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UifQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6"),
        ],
    ) {
        no_panic(&octets);
    }
}

#[test]
fn every_beginning_of_a_token_is_read_without_panic() {
    let signer = signer(keybound_protocol::signer::SignatureAlgorithm::Es256).as_ref();
    let token = sign(signer, &header(signer).to_string(), &claims().to_string());
    for end in 0..token.len() {
        no_panic(&token.as_bytes()[..end]);
    }
}
