//! Authorization server metadata (RFC 8414) and the alias rules of RFC 8705 §5.

use keybound_protocol::authentication_method::AuthenticationMethod;
use keybound_protocol::endpoint::Endpoint;
use keybound_protocol::grant_type::GrantType;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::server_metadata::{
    MetadataFlag, MetadataList, SERVER_METADATA_BYTES_MAX, ServerMetadata, ServerMetadataError,
};
use keybound_protocol::signer::SignatureAlgorithm;
use serde_json::{Value, json};
use url::Url;

use crate::jwt::with;

const ISSUER: &str = "https://as.example";
const METHODS: [AuthenticationMethod; 3] = [
    AuthenticationMethod::TlsClientAuth,
    AuthenticationMethod::SelfSignedTlsClientAuth,
    AuthenticationMethod::PrivateKeyJwt,
];

fn issuer() -> Issuer {
    Issuer::parse(ISSUER).unwrap()
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

/// A server with two listeners.
fn built() -> ServerMetadata {
    let alias = |path: &str| Some(url(&format!("https://mtls.as.example{path}")));
    ServerMetadata::new(issuer())
        .with_endpoint(
            Endpoint::Authorization,
            url("https://as.example/authorize"),
            alias("/authorize"),
        )
        .with_endpoint(Endpoint::Token, url("https://as.example/token"), alias("/token"))
        .with_endpoint(
            Endpoint::Introspection,
            url("https://as.example/introspect"),
            alias("/introspect"),
        )
        .with_endpoint(Endpoint::Revocation, url("https://as.example/revoke"), None)
        .with_jwks_uri(url("https://as.example/jwks"))
        .with_certificate_bound_access_tokens()
        .with_scopes(["read".to_owned()])
        .with_grant_types(&[GrantType::ClientCredentials])
        .with_response_types(&[])
        .with_authentication_methods(&METHODS, &SignatureAlgorithm::FAPI)
        .with_introspection_signing_algorithms(&[SignatureAlgorithm::Es256])
}

fn document() -> Value {
    built().to_json()
}

fn parse(document: &Value) -> Result<ServerMetadata, ServerMetadataError> {
    ServerMetadata::parse(document.to_string().as_bytes(), &issuer())
}

// covers MTLS-3.3-1, MTLS-5-2, MTLS-5-3, MTLS-9.2-1, MTLS-9.3-1, R8414-2, R8414-4, R8414-5
#[test]
fn the_document_says_what_the_server_does() {
    let methods = json!(["tls_client_auth", "self_signed_tls_client_auth", "private_key_jwt"]);
    let algorithms = json!(["PS256", "ES256", "EdDSA"]);
    assert_eq!(
        document(),
        json!({
            "issuer": "https://as.example",
            "authorization_endpoint": "https://as.example/authorize",
            "token_endpoint": "https://as.example/token",
            "introspection_endpoint": "https://as.example/introspect",
            "revocation_endpoint": "https://as.example/revoke",
            "jwks_uri": "https://as.example/jwks",
            "scopes_supported": ["read"],
            "grant_types_supported": ["client_credentials"],
            "request_uri_parameter_supported": false,
        "response_types_supported": [],
            "token_endpoint_auth_methods_supported": methods,
            "token_endpoint_auth_signing_alg_values_supported": algorithms,
            "introspection_endpoint_auth_methods_supported": methods,
            "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
            "introspection_signing_alg_values_supported": ["ES256"],
            "revocation_endpoint_auth_methods_supported": methods,
            "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
            "tls_client_certificate_bound_access_tokens": true,
            "mtls_endpoint_aliases": {
                "token_endpoint": "https://mtls.as.example/token",
                "introspection_endpoint": "https://mtls.as.example/introspect",
            },
        })
    );
}

// covers MTLS-3.3-1, MTLS-5-3, R8414-2
#[test]
fn nothing_is_said_that_is_empty_or_off() {
    let document = ServerMetadata::new(issuer())
        .with_endpoint(
            Endpoint::Token,
            url("https://as.example/token"),
            Some(url("https://as.example/token")),
        )
        .with_scopes([])
        .with_grant_types(&[])
        .with_authentication_methods(&[], &[])
        .with_introspection_signing_algorithms(&[])
        .to_json();
    assert_eq!(
        document,
        json!({"issuer": ISSUER, "token_endpoint": "https://as.example/token"})
    );
}

// covers R8414-5, R7662-1
#[test]
fn public_clients_are_not_listed_at_introspection() {
    let document = ServerMetadata::new(issuer())
        .with_endpoint(Endpoint::Token, url("https://as.example/token"), None)
        .with_endpoint(Endpoint::Introspection, url("https://as.example/introspect"), None)
        .with_authentication_methods(&[AuthenticationMethod::TlsClientAuth, AuthenticationMethod::None], &[])
        .to_json();
    assert_eq!(
        document["token_endpoint_auth_methods_supported"],
        json!(["tls_client_auth", "none"])
    );
    assert_eq!(
        document["introspection_endpoint_auth_methods_supported"],
        json!(["tls_client_auth"])
    );
    assert_eq!(document.get("revocation_endpoint_auth_methods_supported"), None);
    assert_eq!(document.get("token_endpoint_auth_signing_alg_values_supported"), None);
}

#[test]
fn a_client_reads_what_a_server_wrote() {
    let parsed = parse(&document()).unwrap();
    assert_eq!(parsed, built());
    assert_eq!(parsed.jwks_uri().unwrap().as_str(), "https://as.example/jwks");
    assert!(parsed.certificate_bound_access_tokens());
    assert_eq!(parsed.grant_types().unwrap(), ["client_credentials"]);
    assert_eq!(parsed.scopes().unwrap(), ["read"]);
    assert_eq!(parsed.mtls_endpoint_aliases().count(), 2);
    let silent = parse(&json!({"issuer": ISSUER})).unwrap();
    assert!(!silent.certificate_bound_access_tokens());
    assert_eq!(silent.endpoint(Endpoint::Token), None);
    assert_eq!(
        silent.authentication_methods(Endpoint::Token),
        Some(vec!["client_secret_basic"])
    );
    assert_eq!(
        silent.authentication_methods(Endpoint::Revocation),
        Some(vec!["client_secret_basic"])
    );
    assert_eq!(silent.authentication_methods(Endpoint::Introspection), None);
}

// covers R8414-2, R9126-7, R9207-1
#[test]
fn switches_and_lists_are_written_under_their_registered_names_and_read_again() {
    for flag in MetadataFlag::ALL {
        let silent = ServerMetadata::new(issuer());
        assert!(!silent.has(flag) && silent.to_json().get(flag.name()).is_none());
        let metadata = silent.with_flag(flag);
        assert_eq!(metadata.to_json()[flag.name()], json!(true));
        assert!(parse(&metadata.to_json()).unwrap().has(flag));
        assert!(!parse(&json!({"issuer": ISSUER, flag.name(): false})).unwrap().has(flag));
        // `"true"` is no boolean: what is meant is anybody's guess.
        assert!(parse(&json!({"issuer": ISSUER, flag.name(): "true"})).is_err());
    }
    for list in MetadataList::ALL {
        let silent = ServerMetadata::new(issuer()).with_names(list, []);
        assert_eq!(silent.names(list), None);
        assert!(silent.to_json().get(list.name()).is_none(), "RFC 8414 §3.2");
        let metadata = silent.with_names(list, ["S256".to_owned()]);
        assert_eq!(metadata.to_json()[list.name()], json!(["S256"]));
        assert_eq!(parse(&metadata.to_json()).unwrap().names(list).unwrap(), ["S256"]);
        assert!(parse(&json!({"issuer": ISSUER, list.name(): "S256"})).is_err());
    }
}

// covers MTLS-5-4, MTLS-5-5, TRAP-38
#[test]
fn an_alias_replaces_the_endpoint_of_its_name_and_no_other() {
    let metadata = parse(&document()).unwrap();
    for (endpoint, plain, mutual_tls) in [
        (
            Endpoint::Token,
            "https://as.example/token",
            "https://mtls.as.example/token",
        ),
        (
            Endpoint::Introspection,
            "https://as.example/introspect",
            "https://mtls.as.example/introspect",
        ),
        (
            Endpoint::Revocation,
            "https://as.example/revoke",
            "https://as.example/revoke",
        ),
    ] {
        assert_eq!(metadata.endpoint(endpoint).unwrap().as_str(), plain);
        assert_eq!(metadata.alias_or(endpoint).unwrap().as_str(), mutual_tls);
    }
    assert_eq!(metadata.alias_or(Endpoint::PushedAuthorizationRequest), None);
    // Without any aliases every endpoint is where it is.
    let plain = parse(&with(document(), "mtls_endpoint_aliases", Value::Null)).unwrap();
    assert_eq!(plain.alias_or(Endpoint::Token), plain.endpoint(Endpoint::Token));
    let empty = parse(&with(document(), "mtls_endpoint_aliases", json!({}))).unwrap();
    assert_eq!(empty.alias_or(Endpoint::Token), empty.endpoint(Endpoint::Token));
    // An alias of something that is nowhere else is an endpoint all the same.
    let aliases = json!({"userinfo_endpoint": "https://mtls.as.example/userinfo"});
    let only_alias = parse(&with(document(), "mtls_endpoint_aliases", aliases)).unwrap();
    assert_eq!(
        only_alias.alias_or(Endpoint::Userinfo).unwrap().as_str(),
        "https://mtls.as.example/userinfo"
    );
}

// covers MTLS-5-7, TRAP-38, TRAP-39
#[test]
fn aliases_of_what_a_client_does_not_call_mean_nothing() {
    let aliases = json!({
        "authorization_endpoint": "https://evil.example/authorize",
        "issuer": "https://mtls.as.example",
        "jwks_uri": "https://evil.example/jwks",
        "token_endpoint_auth_methods_supported": ["none"],
        "end_session_endpoint": 1,
        "token_endpoint": "https://mtls.as.example/token",
    });
    let metadata = parse(&with(document(), "mtls_endpoint_aliases", aliases)).unwrap();
    assert_eq!(
        metadata.alias_or(Endpoint::Authorization).unwrap().as_str(),
        "https://as.example/authorize"
    );
    assert_eq!(metadata.issuer().as_str(), ISSUER);
    assert_eq!(metadata.jwks_uri().unwrap().as_str(), "https://as.example/jwks");
    assert_eq!(
        metadata
            .mtls_endpoint_aliases()
            .map(|(endpoint, _)| endpoint)
            .collect::<Vec<_>>(),
        [Endpoint::Token]
    );
}

// covers R8414-3, TRAP-39
#[test]
fn metadata_of_another_issuer_is_discarded() {
    for presented in [
        "https://mtls.as.example",
        "https://as.example/",
        "https://AS.example",
        "https://as.example:443",
        "",
    ] {
        let error = parse(&with(document(), "issuer", json!(presented))).unwrap_err();
        assert!(matches!(error, ServerMetadataError::IssuerMismatch { presented: own, .. } if own == presented));
    }
    assert!(matches!(
        parse(&with(document(), "issuer", Value::Null)),
        Err(ServerMetadataError::IssuerMissing)
    ));
}

// covers R8414-4
#[test]
fn urls_are_https() {
    for member in [
        "token_endpoint",
        "introspection_endpoint",
        "jwks_uri",
        "registration_endpoint",
    ] {
        for wrong in [
            "http://as.example/x",
            "as.example/x",
            "/x",
            "file:///x",
            "https://as.example/x#y",
            "",
        ] {
            let error = parse(&with(document(), member, json!(wrong))).unwrap_err();
            assert!(
                matches!(error, ServerMetadataError::Url { member: own } if own == member),
                "{wrong}"
            );
        }
        assert!(matches!(
            parse(&with(document(), member, json!(1))),
            Err(ServerMetadataError::Type(_))
        ));
    }
    let aliases = json!({"token_endpoint": "http://mtls.as.example/token"});
    let error = parse(&with(document(), "mtls_endpoint_aliases", aliases)).unwrap_err();
    assert!(matches!(error, ServerMetadataError::Url { member } if member == "mtls_endpoint_aliases.token_endpoint"));
    for aliases in [
        json!([]),
        json!("https://mtls.as.example"),
        json!({"token_endpoint": {}}),
    ] {
        let error = parse(&with(document(), "mtls_endpoint_aliases", aliases)).unwrap_err();
        assert!(matches!(error, ServerMetadataError::Type(_)));
    }
}

// covers R8414-1
#[test]
fn metadata_lies_between_host_and_path() {
    for (issuer, expected, openid) in [
        (
            "https://as.example",
            "https://as.example/.well-known/oauth-authorization-server",
            "https://as.example/.well-known/openid-configuration",
        ),
        (
            "https://as.example/",
            "https://as.example/.well-known/oauth-authorization-server",
            "https://as.example/.well-known/openid-configuration",
        ),
        (
            "https://as.example:8443/tenant/a",
            "https://as.example:8443/.well-known/oauth-authorization-server/tenant/a",
            "https://as.example:8443/tenant/a/.well-known/openid-configuration",
        ),
        (
            "https://as.example/tenant/",
            "https://as.example/.well-known/oauth-authorization-server/tenant",
            "https://as.example/tenant/.well-known/openid-configuration",
        ),
    ] {
        let issuer = Issuer::parse(issuer).unwrap();
        assert_eq!(issuer.metadata_url().as_str(), expected);
        assert_eq!(issuer.openid_configuration_url().as_str(), openid);
    }
}

#[test]
fn a_document_is_bounded_and_has_no_duplicate_members() {
    let mut text = document().to_string();
    text.push_str(&" ".repeat(SERVER_METADATA_BYTES_MAX - text.len()));
    assert!(ServerMetadata::parse(text.as_bytes(), &issuer()).is_ok());
    text.push(' ');
    assert!(matches!(
        ServerMetadata::parse(text.as_bytes(), &issuer()),
        Err(ServerMetadataError::TooLarge(_))
    ));
    let twice = document()
        .to_string()
        .replacen('{', r#"{"token_endpoint":"https://evil.example","#, 1);
    assert!(matches!(
        ServerMetadata::parse(twice.as_bytes(), &issuer()),
        Err(ServerMetadataError::Json(_))
    ));
    assert!(matches!(
        ServerMetadata::parse(b"[]", &issuer()),
        Err(ServerMetadataError::Json(_))
    ));
}

// covers MTLS-5-3
#[test]
fn every_endpoint_has_its_registered_name_and_only_the_browser_s_has_no_alias() {
    for endpoint in Endpoint::ALL {
        assert!(endpoint.metadata_name().ends_with("_endpoint"));
        assert_eq!(endpoint.is_called_by_clients(), endpoint != Endpoint::Authorization);
    }
}
