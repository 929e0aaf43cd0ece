//! Finding the endpoints: RFC 8414, and the aliases of RFC 8705 §5.

use http::StatusCode;
use keybound_client::{ClientError, DiscoveryError, TokenRequest};
use keybound_protocol::endpoint::Endpoint;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::server_metadata::ServerMetadataError;
use serde_json::json;

use crate::pki::{self, Party};
use crate::site::{Site, discovery, json as json_response, status};
use crate::support::{NOW, TwoHosts, client, client_with, metadata};

fn issuer(text: &str) -> Issuer {
    Issuer::parse(text).unwrap()
}

// covers R8414-3, TRAP-39
#[tokio::test]
async fn metadata_of_another_issuer_is_discarded() {
    for presented in ["https://attacker.example", "ISSUER/", "ISSUER/tenant"] {
        let site = Site::plain(move |seen| {
            let host = seen.headers["host"].to_str().unwrap();
            let presented = presented.replace("ISSUER", &format!("https://{host}"));
            json_response(&metadata(&presented, &presented, None))
        });
        let error = discovery().server_metadata(&issuer(&site.issuer())).await.unwrap_err();
        let expected = site.issuer();
        assert!(
            matches!(
                &error,
                DiscoveryError::Metadata { source: ServerMetadataError::IssuerMismatch { expected: own, .. }, .. } if *own == expected
            ),
            "{error:?}"
        );
        assert!(error.fix().unwrap().contains("exactly this spelling"));
        // And nothing is asked of it.
        let client = client(&site, Party::new("demo").identity());
        assert!(matches!(
            client.token(&TokenRequest::new(), NOW).await,
            Err(ClientError::Discovery(_))
        ));
        assert!(site.seen_at("/token").is_empty());
    }
}

// covers R8414-3
#[tokio::test]
async fn an_unusable_document_is_not_passed_over_in_favour_of_the_other() {
    let site = Site::plain(|seen| {
        let issuer = format!("https://{}", seen.headers["host"].to_str().unwrap());
        match seen.path.as_str() {
            "/.well-known/oauth-authorization-server" => json_response(&json!({"issuer": "https://attacker.example"})),
            _ => json_response(&metadata(&issuer, &issuer, None)),
        }
    });
    assert!(discovery().server_metadata(&issuer(&site.issuer())).await.is_err());
    assert!(site.seen_at("/.well-known/openid-configuration").is_empty());
}

// covers R8414-1, R8414-3
#[tokio::test]
async fn the_well_known_path_is_inserted_before_the_issuers_own_and_openid_is_the_second_choice() {
    let site = Site::plain(|seen| {
        let issuer = format!("https://{}/tenant", seen.headers["host"].to_str().unwrap());
        match seen.path.as_str() {
            "/tenant/.well-known/openid-configuration" => json_response(&metadata(&issuer, &issuer, None)),
            _ => status(StatusCode::NOT_FOUND),
        }
    });
    let issuer = issuer(&format!("{}/tenant", site.issuer()));
    let metadata = discovery().server_metadata(&issuer).await.unwrap();
    assert_eq!(metadata.issuer(), &issuer);
    let paths: Vec<String> = site.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(
        paths,
        [
            "/.well-known/oauth-authorization-server/tenant",
            "/tenant/.well-known/openid-configuration"
        ]
    );
}

// covers R8414-3
#[tokio::test]
async fn a_failure_of_the_first_document_is_no_reason_to_believe_the_second() {
    for failure in [
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::FORBIDDEN,
        StatusCode::FOUND,
    ] {
        let site = Site::plain(move |seen| {
            let issuer = format!("https://{}", seen.headers["host"].to_str().unwrap());
            match seen.path.as_str() {
                "/.well-known/oauth-authorization-server" => status(failure),
                _ => json_response(&metadata(&issuer, &issuer, None)),
            }
        });
        let error = discovery().server_metadata(&issuer(&site.issuer())).await.unwrap_err();
        assert_eq!(error.is_transient(), failure.is_server_error(), "{error:?}");
        assert!(site.seen_at("/.well-known/openid-configuration").is_empty());
    }
}

#[tokio::test]
async fn where_there_is_no_metadata_the_error_says_where_it_was_looked_for() {
    let site = Site::plain(|_| status(StatusCode::NOT_FOUND));
    let error = discovery().server_metadata(&issuer(&site.issuer())).await.unwrap_err();
    assert!(matches!(error, DiscoveryError::Fetch { .. }));
    assert!(error.fix().unwrap().contains("well-known"), "{:?}", error.fix());
    assert!(!error.is_transient());
}

// covers MTLS-5-4, TRAP-38
#[tokio::test]
async fn requests_meant_for_mutual_tls_go_to_the_aliases_and_nowhere_else() {
    let hosts = TwoHosts::new();
    let party = Party::new("demo");
    let client = client(&hosts.conventional, party.identity());
    client.token(&TokenRequest::new(), NOW).await.unwrap();
    client.introspect("some-token", NOW).await.unwrap();
    client.revoke("some-token", NOW).await.unwrap();
    for path in ["/token", "/introspect", "/revoke"] {
        let seen = hosts.mutual_tls.seen_at(path);
        assert_eq!(seen.len(), 1, "{path}");
        assert_eq!(seen[0].thumbprint(), Some(party.thumbprint()), "{path}");
        assert!(hosts.conventional.seen_at(path).is_empty(), "{path}");
    }
}

// covers MTLS-5-5, TRAP-38
#[tokio::test]
async fn an_endpoint_without_an_alias_lies_at_its_usual_place() {
    let hosts = TwoHosts::with_metadata(|issuer, aliases| {
        let mut metadata = metadata(issuer, issuer, None);
        metadata["mtls_endpoint_aliases"] = json!({"token_endpoint": format!("{aliases}/token")});
        metadata
    });
    let client = client(&hosts.conventional, Party::new("demo").identity());
    client.token(&TokenRequest::new(), NOW).await.unwrap();
    client.introspect("some-token", NOW).await.unwrap();
    assert_eq!(hosts.mutual_tls.seen_at("/token").len(), 1);
    assert_eq!(hosts.mutual_tls.seen_at("/introspect").len(), 0);
    assert_eq!(hosts.conventional.seen_at("/introspect").len(), 1);
}

// covers MTLS-5-6
#[tokio::test]
async fn a_client_that_wants_bound_tokens_uses_the_aliases_however_it_authenticates() {
    let hosts = TwoHosts::new();
    let party = Party::new("demo");
    let client = client_with(
        &hosts.conventional,
        party.identity(),
        keybound_client::ClientAuthentication::None,
    );
    client.token(&TokenRequest::new(), NOW).await.unwrap();
    assert_eq!(hosts.mutual_tls.seen_at("/token").len(), 1);
    // A resource that the server itself has an alias for is found there, too.
    let metadata = client.server().metadata(NOW).await.unwrap();
    assert!(
        metadata
            .alias_or(Endpoint::Token)
            .unwrap()
            .as_str()
            .starts_with(&hosts.mutual_tls.issuer())
    );
}

// covers MTLS-5-6, MTLS-5-4
#[tokio::test]
async fn a_client_without_a_certificate_stays_away_from_the_aliases() {
    let hosts = TwoHosts::new();
    let client = client_with(
        &hosts.conventional,
        pki::anonymous(),
        keybound_client::ClientAuthentication::None,
    );
    client.token(&TokenRequest::new(), NOW).await.unwrap();
    assert_eq!(hosts.conventional.seen_at("/token").len(), 1);
    assert!(hosts.mutual_tls.seen().is_empty());
}

// covers R-FAPI-7
#[tokio::test]
async fn use_mtls_endpoint_aliases_sends_a_client_without_a_certificate_to_the_aliases() {
    for (uses_aliases, host) in [(true, 1), (false, 0)] {
        let hosts = TwoHosts::new();
        let client = client_with(
            &hosts.conventional,
            pki::anonymous(),
            keybound_client::ClientAuthentication::None,
        )
        .with_mtls_endpoint_aliases(uses_aliases);
        client.token(&TokenRequest::new(), NOW).await.unwrap();
        client.revoke("t", NOW).await.unwrap();
        assert_eq!(hosts.mutual_tls.seen_at("/token").len(), host);
        assert_eq!(hosts.mutual_tls.seen_at("/revoke").len(), host);
        assert_eq!(hosts.conventional.seen_at("/token").len(), 1 - host);
    }
}

// covers MTLS-5-7, TRAP-38
#[tokio::test]
async fn an_authorization_endpoint_and_an_issuer_among_the_aliases_have_no_effect() {
    let hosts = TwoHosts::with_metadata(|issuer, aliases| {
        let mut metadata = metadata(issuer, issuer, Some(aliases));
        metadata["mtls_endpoint_aliases"]["authorization_endpoint"] = json!("https://attacker.example/authorize");
        metadata["mtls_endpoint_aliases"]["issuer"] = json!("https://attacker.example");
        metadata
    });
    let client = client(&hosts.conventional, Party::new("demo").identity());
    client.token(&TokenRequest::new(), NOW).await.unwrap();
    let metadata = client.server().metadata(NOW).await.unwrap();
    let authorization = metadata.alias_or(Endpoint::Authorization).unwrap();
    assert!(
        authorization.as_str().starts_with(&hosts.conventional.issuer()),
        "{authorization}"
    );
    assert_eq!(metadata.issuer().as_str(), hosts.conventional.issuer());
    assert_eq!(client.server().issuer().as_str(), hosts.conventional.issuer());
}

// covers MTLS-5-4
#[tokio::test]
async fn an_alias_that_is_not_https_is_an_error_and_not_ignored() {
    let hosts = TwoHosts::with_metadata(|issuer, _| {
        let mut metadata = metadata(issuer, issuer, None);
        metadata["mtls_endpoint_aliases"] = json!({"token_endpoint": "http://localhost/token"});
        metadata
    });
    let client = client(&hosts.conventional, Party::new("demo").identity());
    let error = client.token(&TokenRequest::new(), NOW).await.unwrap_err();
    assert!(matches!(error, ClientError::Discovery(_)), "{error:?}");
    assert!(hosts.conventional.seen_at("/token").is_empty());
}

#[tokio::test]
async fn metadata_is_discovered_once_and_survives_a_failure_of_its_host() {
    use std::sync::atomic::{AtomicBool, Ordering};
    static DOWN: AtomicBool = AtomicBool::new(false);
    let site = Site::plain(|seen| {
        let issuer = format!("https://{}", seen.headers["host"].to_str().unwrap());
        match DOWN.load(Ordering::SeqCst) {
            true => status(StatusCode::SERVICE_UNAVAILABLE),
            false => json_response(&metadata(&issuer, &issuer, None)),
        }
    });
    let client = client(&site, Party::new("demo").identity());
    let path = "/.well-known/oauth-authorization-server";
    for _ in 0..3 {
        client.server().metadata(NOW).await.unwrap();
    }
    assert_eq!(site.seen_at(path).len(), 1);
    DOWN.store(true, Ordering::SeqCst);
    let later = NOW.plus(keybound_client::METADATA_REFRESH_AFTER);
    for _ in 0..3 {
        client.server().metadata(later).await.unwrap();
    }
    // Asked once more, and left alone for a while after that.
    assert_eq!(site.seen_at(path).len(), 2);
}
