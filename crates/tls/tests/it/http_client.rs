//! Outgoing requests.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use http::{Request, StatusCode, Uri};
use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_tls::{
    ClientCertificatePolicy, HostPolicies, HostPolicy, HttpClient, HttpClientSettings, Limits, OutgoingBody,
    RequestError, Roots,
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::{
    pki::{self, Client, KeyKind},
    support::{Server, public_policy, quick},
};

fn client(identity: Option<&Client>) -> HttpClient {
    let mut settings = HttpClientSettings::new(pki::roots());
    settings.identity = identity.map(Client::identity);
    HttpClient::new(settings)
}

fn get(server: &Server, path: &str) -> Request<OutgoingBody> {
    Request::get(format!("https://localhost:{}{path}", server.address().port()))
        .body(OutgoingBody::Empty)
        .unwrap()
}

async fn text(client: &HttpClient, request: Request<OutgoingBody>) -> Result<String, RequestError> {
    let response = client.send(request).await?;
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.into_body().collect_at_most(10_000).await?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn requests_follow_each_other_on_one_connection() {
    let server = Server::mutual();
    let client = client(None);
    for number in 0..5 {
        let post = Request::post(format!("https://LOCALHOST:{}/{number}?a", server.address().port()));
        let body = text(&client, post.body("hello".into()).unwrap()).await.unwrap();
        assert!(
            body.starts_with(&format!("POST /{number}?a ")) && body.ends_with("body=5"),
            "{body}"
        );
    }
    assert_eq!(server.handle.counters().snapshot().handshakes_completed, 1);
    // At the same time needs more connections; they are kept, too.
    for _ in 0..2 {
        let (one, other) = tokio::join!(text(&client, get(&server, "/")), text(&client, get(&server, "/")));
        assert!(one.is_ok() && other.is_ok());
    }
    assert_eq!(server.handle.counters().snapshot().handshakes_completed, 2);
    drop(client);
    server.wait_until_empty().await;
}

// covers TRAP-34
#[tokio::test]
async fn an_identity_has_connections_of_its_own() {
    let server = Server::mutual();
    let identities = [Client::self_signed(KeyKind::P256), Client::self_signed(KeyKind::P256)];
    let clients = identities.each_ref().map(|identity| client(Some(identity)));
    let nobody = client(None);
    for _ in 0..20 {
        for (identity, client) in identities.iter().zip(&clients) {
            let body = text(client, get(&server, "/")).await.unwrap();
            let thumbprint = CertificateThumbprint::of_certificate(identity.leaf());
            assert!(body.contains(&format!("presented=peer {thumbprint} ")), "{body}");
        }
        assert!(
            text(&nobody, get(&server, "/"))
                .await
                .unwrap()
                .contains("presented=none ")
        );
    }
    assert_eq!(server.handle.counters().snapshot().handshakes_completed, 3);
}

// covers X509-3, R-FAPI-10
#[tokio::test]
async fn the_servers_name_is_an_alternative_name_of_its_certificate() {
    let common_name = {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
        let certificate = params.signed_by(&key, &*pki::CA).unwrap().pem();
        keybound_tls::Identity::from_pem(certificate.as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    };
    for (identity, accepted) in [
        (pki::server(&["localhost"]), true),
        (pki::server(&["other", "LOCALHOST"]), true),
        (pki::server(&["other"]), false),
        (pki::server(&["*"]), false),
        (pki::server(&["*.localhost"]), false),
        (pki::server(&["127.0.0.1"]), false),
        (common_name, false),
    ] {
        let policy = HostPolicy::new("public", ClientCertificatePolicy::Never, identity);
        let mut policies = HostPolicies::one(policy.clone());
        if !accepted {
            // The name is served; only the certificate does not say so.
            let hosts = vec![keybound_tls::Host {
                names: vec!["localhost".to_owned()],
                identity: policy.hosts[0].identity.clone(),
            }];
            policies = HostPolicies::one(HostPolicy { hosts, ..policy });
        }
        let server = Server::tls(policies);
        let result = text(&client(None), get(&server, "/")).await;
        match accepted {
            true => assert!(result.is_ok(), "{result:?}"),
            false => assert!(
                matches!(result, Err(RequestError::ServerNotTrusted { .. })),
                "{result:?}"
            ),
        }
    }
    // An address counts as iPAddress alone.
    let server = Server::tls(HostPolicies::one(HostPolicy::new(
        "public",
        ClientCertificatePolicy::Never,
        pki::server(&["127.0.0.1"]),
    )));
    let request = Request::get(format!("https://127.0.0.1:{}/", server.address().port()))
        .body(OutgoingBody::Empty)
        .unwrap();
    assert!(text(&client(None), request).await.is_ok());
}

// covers X509-3, R-FAPI-10
#[tokio::test]
async fn an_unknown_authority_is_not_trusted() {
    let server = Server::tls(public_policy());
    // Neither another name nor the same name with another key.
    for name in ["Other CA", "Test CA"] {
        let roots = Roots::from_pem(pki::authority(name).pem().as_bytes()).unwrap();
        let result = text(&HttpClient::new(HttpClientSettings::new(roots)), get(&server, "/")).await;
        let error = result.unwrap_err();
        assert!(error.is_tls() && !error.is_transient(), "{error:?}");
        assert!(
            error
                .to_string()
                .contains("its issuer is not among the configured roots"),
            "{error}"
        );
    }
    server.wait_for(|counters| counters.count("peer_alert") == 2).await;
}

/// A server that demands a client certificate, and says why not by an alert.
async fn demanding_server(version: &'static rustls::SupportedProtocolVersion) -> u16 {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from(pki::authority("Nobody's CA").der().to_vec()))
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .unwrap();
    let (certificate, key) = pki::server_pem(&["localhost"]);
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("localhost:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    port
}

// covers TRAP-21, TLS-1
#[tokio::test]
async fn an_alert_about_our_certificate_is_a_clear_error_early_and_late() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let port = demanding_server(version).await;
        for (identity, alerts) in [
            (
                None,
                &["certificate_required", "no_certificate", "handshake_failure"][..],
            ),
            (Some(Client::self_signed(KeyKind::P256)), &["unknown_ca"]),
            (
                Some(Client::expired(KeyKind::P256)),
                &["unknown_ca", "certificate_expired"],
            ),
        ] {
            for body in [OutgoingBody::Empty, "hello".into()] {
                let request = Request::post(format!("https://localhost:{port}/")).body(body).unwrap();
                let error = client(identity.as_ref()).send(request).await.unwrap_err();
                let alert = match &error {
                    RequestError::ClientCertificateRefused { alert, .. } => *alert,
                    // TLS 1.2 has no alert of its own for a missing certificate.
                    RequestError::Tls { cause, .. } if cause.contains("HandshakeFailure") => "handshake_failure",
                    _ => panic!("{version:?} {identity:?}: {error:?}"),
                };
                assert!(alerts.contains(&alert), "{version:?}: {error}");
                assert!(error.is_tls() && !error.is_transient());
            }
        }
    }
}

#[tokio::test]
async fn plain_http_is_spoken_only_where_it_is_allowed() {
    let server = Server::plain(quick());
    let request = || {
        let uri = format!("http://127.0.0.1:{}/", server.address().port());
        Request::get(uri).body(OutgoingBody::Empty).unwrap()
    };
    let result = text(&client(None), request()).await;
    assert!(
        matches!(result, Err(RequestError::SchemeNotAllowed { .. })),
        "{result:?}"
    );
    assert_eq!(server.handle.counters().snapshot().connections_accepted, 0);
    let mut settings = HttpClientSettings::new(pki::roots());
    settings.plain_http = true;
    assert!(text(&HttpClient::new(settings), request()).await.is_ok());
    for uri in ["ftp://localhost/", "/path", "https:///"] {
        let Ok(uri) = uri.parse::<Uri>() else { continue };
        let request = Request::get(uri).body(OutgoingBody::Empty).unwrap();
        assert!(client(None).send(request).await.is_err());
    }
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_replaced() {
    let server = Server::mutual_with(Limits {
        idle_timeout: Duration::from_millis(200),
        ..quick()
    });
    let client = client(None);
    for handshakes in 1..=3 {
        assert!(text(&client, get(&server, "/")).await.is_ok());
        assert_eq!(server.handle.counters().snapshot().handshakes_completed, handshakes);
        server.wait_until_empty().await;
    }
}

/// A server that answers one request per connection, and closes at the second one without a word.
async fn forgetful_server() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let mut chunk = [0; 4096];
                let _ = stream.read(&mut chunk).await;
                counter.fetch_add(1, SeqCst);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                if let Ok(1..) = stream.read(&mut chunk).await {
                    counter.fetch_add(1, SeqCst);
                }
            });
        }
    });
    (port, requests)
}

#[tokio::test]
async fn a_request_whose_connection_breaks_is_repeated_only_where_that_changes_nothing() {
    let (port, requests) = forgetful_server().await;
    let mut settings = HttpClientSettings::new(pki::roots());
    settings.plain_http = true;
    let client = HttpClient::new(settings);
    let request = |method: &str, body: OutgoingBody| {
        Request::builder()
            .method(method)
            .uri(format!("http://127.0.0.1:{port}/"))
            .body(body)
            .unwrap()
    };
    assert!(client.send(request("GET", OutgoingBody::Empty)).await.is_ok());
    assert!(
        client.send(request("GET", OutgoingBody::Empty)).await.is_ok(),
        "repeated on a new connection"
    );
    assert_eq!(requests.load(SeqCst), 3);
    for (method, body) in [
        ("POST", OutgoingBody::Empty),
        ("POST", "hello".into()),
        ("PUT", "hello".into()),
    ] {
        let before = requests.load(SeqCst);
        let error = client.send(request(method, body)).await.unwrap_err();
        assert!(matches!(error, RequestError::Http { .. }), "{error:?}");
        assert_eq!(requests.load(SeqCst), before + 1, "{method} was sent once");
        assert!(client.send(request("GET", OutgoingBody::Empty)).await.is_ok());
    }
}

#[tokio::test]
async fn waiting_has_an_end_and_responses_have_a_size() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    });
    let mut settings = HttpClientSettings::new(pki::roots());
    settings.plain_http = true;
    settings.connect_timeout = Duration::from_millis(200);
    settings.response_timeout = Some(Duration::from_millis(200));
    let client = HttpClient::new(settings);
    for scheme in ["http", "https"] {
        let request = Request::get(format!("{scheme}://127.0.0.1:{port}/"))
            .body(OutgoingBody::Empty)
            .unwrap();
        let error = client.send(request).await.unwrap_err();
        assert!(
            matches!(error, RequestError::Timeout { .. }) && error.is_transient(),
            "{error:?}"
        );
    }
    let server = Server::mutual();
    let response = self::client(None).send(get(&server, "/")).await.unwrap();
    let result = response.into_body().collect_at_most(10).await;
    assert!(
        matches!(result, Err(RequestError::ResponseTooLong { bytes_max: 10 })),
        "{result:?}"
    );
}

// covers MTLS-8-1
#[tokio::test]
async fn tls_1_3_can_be_demanded() {
    let port = demanding_server(&rustls::version::TLS12).await;
    let mut settings = HttpClientSettings::new(pki::roots());
    settings.tls13_only = true;
    let request = Request::get(format!("https://localhost:{port}/"))
        .body(OutgoingBody::Empty)
        .unwrap();
    let error = HttpClient::new(settings).send(request).await.unwrap_err();
    assert!(matches!(error, RequestError::Tls { .. }), "{error:?}");
}
