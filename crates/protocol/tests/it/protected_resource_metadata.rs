//! RFC 9728: where the metadata of a resource lies, what is in it, and the challenge that points to it.

use keybound_protocol::challenge::{BearerChallenge, ChallengeError, PresentedChallenge};
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::protected_resource_metadata::{
    ProtectedResourceMetadata, ProtectedResourceMetadataError, ResourceMetadataUrl,
};
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::scope::Scope;
use serde_json::json;

fn resource(text: &str) -> ResourceUri {
    text.parse().unwrap()
}

fn url_of(text: &str) -> Option<String> {
    ResourceMetadataUrl::of(&resource(text)).map(|url| url.to_string())
}

// covers R9728-1
#[test]
fn a_resource_that_is_no_https_url_has_no_metadata_url() {
    for text in [
        "urn:example:api",
        "http://api.example/",
        "https:api.example",
        "https:/api.example",
        "https:///api.example",
        "https://api.example@evil.example/",
        "httpsx://api.example/",
    ] {
        assert_eq!(url_of(text), None, "{text}");
    }
}

// covers R9728-1
#[test]
fn the_well_known_string_stands_between_host_and_path() {
    for (text, expected) in [
        (
            "https://resource.example.com",
            "https://resource.example.com/.well-known/oauth-protected-resource",
        ),
        // The slash that ends the host goes, one that ends a path is part of it.
        (
            "https://resource.example.com/",
            "https://resource.example.com/.well-known/oauth-protected-resource",
        ),
        (
            "https://resource.example.com/resource1",
            "https://resource.example.com/.well-known/oauth-protected-resource/resource1",
        ),
        (
            "https://resource.example.com/a/b/",
            "https://resource.example.com/.well-known/oauth-protected-resource/a/b/",
        ),
        (
            "https://resource.example.com?k=v",
            "https://resource.example.com/.well-known/oauth-protected-resource?k=v",
        ),
        (
            "https://resource.example.com/?k=/v",
            "https://resource.example.com/.well-known/oauth-protected-resource?k=/v",
        ),
        (
            "HTTPS://API.example:9443//a?b",
            "HTTPS://API.example:9443/.well-known/oauth-protected-resource//a?b",
        ),
    ] {
        assert_eq!(url_of(text).as_deref(), Some(expected), "{text}");
    }
    let url = ResourceMetadataUrl::of(&resource("https://[::1]:9443/a%20b?c?d")).unwrap();
    assert_eq!(url.authority(), "[::1]:9443");
    assert_eq!(url.path(), "/.well-known/oauth-protected-resource/a%20b");
    assert_eq!(url.query(), Some("c?d"));
}

// covers R9728-2
#[test]
fn what_is_empty_or_false_is_left_out() {
    let metadata = ProtectedResourceMetadata::new(resource("https://api.example"))
        .with_scopes(&Scope::empty())
        .with_certificate_bound_access_tokens(false);
    assert_eq!(
        metadata.to_json(),
        json!({ "resource": "https://api.example", "bearer_methods_supported": ["header"] })
    );
}

// covers R9728-2
#[test]
fn each_value_is_listed_once() {
    let issuer = |text| Issuer::parse(text).unwrap();
    let metadata = ProtectedResourceMetadata::new(resource("https://api.example/v1"))
        .with_authorization_server(issuer("https://as.example"))
        .with_authorization_server(issuer("https://other.example/a"))
        .with_authorization_server(issuer("https://as.example"))
        .with_scopes(&Scope::parse("read write").unwrap())
        .with_scopes(&Scope::parse("admin read").unwrap())
        .with_certificate_bound_access_tokens(true);
    assert_eq!(
        metadata.to_json(),
        json!({
            "resource": "https://api.example/v1",
            "authorization_servers": ["https://as.example", "https://other.example/a"],
            "bearer_methods_supported": ["header"],
            "scopes_supported": ["read", "write", "admin"],
            "tls_client_certificate_bound_access_tokens": true,
        })
    );
}

// covers R9728-3, R6750-3
#[test]
fn the_challenge_names_the_url_last_and_once() {
    let twice = r#"Bearer resource_metadata="https://a.example/x", resource_metadata="https://b.example/x""#;
    assert_eq!(PresentedChallenge::parse(twice), Err(ChallengeError::Repeated));
    let url = |text| ResourceMetadataUrl::of(&resource(text)).unwrap();
    let challenge = BearerChallenge::bare("https://api.example/v1")
        .with_resource_metadata(url("https://elsewhere.example"))
        .with_resource_metadata(url("https://api.example/v1"));
    assert_eq!(
        challenge.to_string(),
        r#"Bearer realm="https://api.example/v1", resource_metadata="https://api.example/.well-known/oauth-protected-resource/v1""#
    );
    let scoped = challenge
        .with_error(ErrorCode::InsufficientScope)
        .with_scope(Scope::parse("read").unwrap())
        .to_string();
    assert!(
        scoped.ends_with(
            r#", scope="read", resource_metadata="https://api.example/.well-known/oauth-protected-resource/v1""#
        ),
        "{scoped}"
    );
    let read = PresentedChallenge::parse(&scoped).unwrap();
    assert_eq!(read.error.as_deref(), Some("insufficient_scope"));
    assert_eq!(
        read.resource_metadata.as_deref(),
        Some("https://api.example/.well-known/oauth-protected-resource/v1")
    );
}

// covers R9728-1, R9728-3
#[test]
fn a_document_is_read_only_by_who_asked_for_this_very_resource() {
    let resource = resource("https://api.example/accounts");
    for presented in [
        "https://api.example/accounts/",
        "https://api.example",
        "https://API.example/accounts",
        "https://api.example:443/accounts",
        "https://attacker.example/accounts",
        "",
    ] {
        let document = json!({"resource": presented, "authorization_servers": ["https://as.example"]}).to_string();
        let error = ProtectedResourceMetadata::parse(document.as_bytes(), &resource).unwrap_err();
        assert!(
            matches!(error, ProtectedResourceMetadataError::ResourceMismatch { .. }),
            "{presented}: {error:?}"
        );
    }
    for (document, what) in [
        ("{}".to_owned(), "no resource"),
        ("[]".to_owned(), "no object"),
        (
            json!({"resource": resource, "authorization_servers": ["http://as.example"]}).to_string(),
            "no issuer",
        ),
        (
            json!({"resource": resource, "authorization_servers": "https://as.example"}).to_string(),
            "no list",
        ),
        (
            r#"{"resource":"https://api.example/accounts","resource":"https://api.example/accounts"}"#.to_owned(),
            "twice",
        ),
        (" ".repeat(300_000), "too large"),
    ] {
        assert!(
            ProtectedResourceMetadata::parse(document.as_bytes(), &resource).is_err(),
            "{what}"
        );
    }
    let written = ProtectedResourceMetadata::new(resource.clone())
        .with_authorization_server(Issuer::parse("https://as.example").unwrap())
        .with_scopes(&Scope::parse("read write").unwrap())
        .with_certificate_bound_access_tokens(true);
    let read = ProtectedResourceMetadata::parse(written.to_json().to_string().as_bytes(), &resource).unwrap();
    assert_eq!(read, written);
    assert_eq!(read.authorization_servers()[0].as_str(), "https://as.example");
    assert_eq!(read.scopes_supported(), ["read", "write"]);
    assert!(read.certificate_bound_access_tokens());
}
