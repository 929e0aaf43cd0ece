//! What goes wrong below OAuth, and what the caller is told to do about it.

use std::sync::Arc;

use http::{Request, StatusCode};
use keybound_client::{
    AuthorizationServer, Client, ClientAuthentication, ClientError, ClientSettings, HttpClientSettings, Identity,
    OutgoingBody, RequestError, Roots, TokenRequest,
};
use keybound_protocol::endpoint::Endpoint;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::server_metadata::ServerMetadata;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use url::Url;

use crate::pki::{self, Party};
use crate::site::{Site, json as json_response, json_with};
use crate::support::{NOW, client, metadata};

/// A client of a server whose token endpoint is `url`.
fn client_of(url: &str, identity: Identity) -> Client {
    let issuer = Issuer::parse("https://as.example").unwrap();
    let metadata = ServerMetadata::new(issuer).with_endpoint(Endpoint::Token, Url::parse(url).unwrap(), None);
    Client::new(ClientSettings {
        server: AuthorizationServer::given(metadata),
        client_id: "demo".parse().unwrap(),
        authentication: ClientAuthentication::Certificate,
        identity,
    })
}

/// A server that decides about certificates in the handshake, as many do, and knows only clients of [`pki::CA`]; and the versions of
/// TLS that its connections come to.
async fn strict_server(
    versions: &'static [&'static rustls::SupportedProtocolVersion],
) -> (String, mpsc::UnboundedReceiver<Option<rustls::ProtocolVersion>>) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(pki::CA.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &*pki::CA).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/token", listener.local_addr().unwrap().port());
    let (negotiated, versions) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            // A refusal is an error here and an alert at the client.
            if let Ok(stream) = acceptor.accept(stream).await {
                let _ = negotiated.send(stream.get_ref().1.protocol_version());
            }
        }
    });
    (url, versions)
}

static TLS13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];
static TLS12: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];

// covers TRAP-21
#[tokio::test]
async fn a_late_alert_about_the_certificate_is_told_as_such_and_nothing_is_tried_again() {
    for versions in [TLS13, TLS12] {
        let (url, _) = strict_server(versions).await;
        let stranger = Party::self_signed("stranger");
        let error = client_of(&url, stranger.identity())
            .token(&TokenRequest::new(), NOW)
            .await
            .unwrap_err();
        assert!(
            matches!(
                &error,
                ClientError::Request {
                    source: RequestError::ClientCertificateRefused { .. },
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(error.is_refusal() && !error.is_transient());
        assert!(error.fix().is_some());
    }
}

// covers TRAP-21
#[tokio::test]
async fn a_server_that_demands_a_certificate_says_so_to_who_has_none() {
    let (url, _) = strict_server(TLS13).await;
    let request = Request::get(&url).body(OutgoingBody::Empty).unwrap();
    let error = pki::anonymous().send(request).await.unwrap_err();
    assert!(
        matches!(&error, RequestError::ClientCertificateRefused { alert, .. } if *alert == "certificate_required"),
        "{error:?}"
    );
}

// covers MTLS-8-1
#[tokio::test]
async fn tls_13_is_preferred() {
    let (url, mut versions) = strict_server(rustls::ALL_VERSIONS).await;
    let error = client_of(&url, Party::new("demo").identity())
        .token(&TokenRequest::new(), NOW)
        .await
        .unwrap_err();
    // The server hangs up once the handshake is done.
    assert!(
        matches!(
            &error,
            ClientError::Request {
                source: RequestError::Http { .. },
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(versions.recv().await, Some(Some(rustls::ProtocolVersion::TLSv1_3)));
}

// covers MTLS-8-1
#[tokio::test]
async fn tls_13_can_be_demanded() {
    let (url, _) = strict_server(TLS12).await;
    let mut settings = HttpClientSettings::new(pki::roots());
    settings.identity = Some(Party::new("demo").certificate_and_key());
    settings.tls13_only = true;
    let error = client_of(&url, Identity::new(settings))
        .token(&TokenRequest::new(), NOW)
        .await
        .unwrap_err();
    assert!(
        matches!(
            &error,
            ClientError::Request {
                source: RequestError::Tls { .. },
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_server_that_is_not_trusted_gets_no_request() {
    let site = Site::asking(|_| crate::support::fresh_token());
    let other = Roots::from_pem(pki::authority("Other CA").pem().as_bytes()).unwrap();
    let mut settings = HttpClientSettings::new(other);
    settings.identity = Some(Party::new("demo").certificate_and_key());
    let client = client_of(site.url("/token").as_str(), Identity::new(settings));
    let error = client.token(&TokenRequest::new(), NOW).await.unwrap_err();
    assert!(
        matches!(
            &error,
            ClientError::Request {
                source: RequestError::ServerNotTrusted { .. },
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.fix().unwrap().contains("CA certificate"));
    assert!(site.seen().is_empty());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_worth_another_try() {
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let client = client_of(
        &format!("https://localhost:{free}/token"),
        Party::new("demo").identity(),
    );
    let error = client.token(&TokenRequest::new(), NOW).await.unwrap_err();
    assert!(
        matches!(
            &error,
            ClientError::Request {
                source: RequestError::Connect { .. },
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.is_transient() && !error.is_refusal());
}

#[tokio::test]
async fn invalid_client_from_a_host_that_is_no_alias_points_to_the_host() {
    // No aliases are published, and the host never asks for a certificate: the server cannot but refuse.
    let site = Site::plain(|seen| {
        let issuer = format!("https://{}", seen.headers["host"].to_str().unwrap());
        match (seen.path.as_str(), seen.thumbprint()) {
            ("/token", None) => json_with(StatusCode::BAD_REQUEST, &json!({"error": "invalid_client"})),
            _ => json_response(&metadata(&issuer, &issuer, None)),
        }
    });
    let error = client(&site, Party::new("demo").identity())
        .token(&TokenRequest::new(), NOW)
        .await
        .unwrap_err();
    let ClientError::Refused(refusal) = &error else {
        panic!("{error:?}")
    };
    assert!(refusal.meant_certificate && !refusal.is_alias);
    assert!(
        error.fix().unwrap().contains("mtls_endpoint_aliases"),
        "{:?}",
        error.fix()
    );
}

#[tokio::test]
async fn an_endpoint_that_the_server_has_not_is_named() {
    let client = client_of("https://localhost/token", Party::new("demo").identity());
    let error = client.introspect("t", NOW).await.unwrap_err();
    assert!(
        matches!(
            &error,
            ClientError::NoEndpoint {
                endpoint: Endpoint::Introspection,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(error.to_string(), "https://as.example has no introspection_endpoint");
}
