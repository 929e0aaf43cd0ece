//! Which authorities a connection may be asked for.

use keybound_tls::{ClientCertificatePolicy, Host, HostPolicies, HostPolicy};

use crate::{
    pki,
    support::{RawClient, Server, exchange, status},
};

fn host(names: &[&str], certificate: &[&str]) -> Host {
    Host {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        identity: pki::server(certificate),
    }
}

/// Public hosts (the listener's own) and hosts for mutual TLS on one port.
fn shared_port() -> HostPolicies {
    let public = HostPolicy {
        name: "public".into(),
        client_certificate: ClientCertificatePolicy::Never,
        hosts: vec![
            host(&["configured.example"], &["auth.example", "*.wild.example"]),
            host(&[], &["console.example"]),
        ],
    };
    let mutual_tls = HostPolicy {
        name: "mutual_tls".into(),
        client_certificate: ClientCertificatePolicy::Optional,
        hosts: vec![host(&[], &["mtls.example"])],
    };
    HostPolicies::several(public, vec![mutual_tls])
}

/// A request on a connection made for `server_name` (`None`: without SNI).
async fn request(server: &Server, server_name: Option<&str>, head: &str) -> String {
    let mut client = RawClient::any_version(None);
    client.config.enable_sni = server_name.is_some();
    // Names that the certificate does not have are the point of some cases.
    client
        .config
        .dangerous()
        .set_certificate_verifier(std::sync::Arc::new(AnyCertificate));
    let mut stream = client
        .connect(server, server_name.unwrap_or("auth.example"))
        .await
        .unwrap();
    exchange(&mut stream, head.as_bytes()).await.unwrap()
}

/// The answer to a request with this Host.
async fn check(server: &Server, server_name: Option<&str>, host: &str, expected: &str) {
    let head = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    let (calls, misdirected) = (server.mirror.calls(), server.count("misdirected"));
    let answer = request(server, server_name, &head).await;
    assert_eq!(
        status(&answer),
        expected,
        "SNI {server_name:?}, Host {host:?}: {answer}"
    );
    let refused = expected == "421";
    assert_eq!(
        server.mirror.calls() - calls,
        usize::from(!refused),
        "SNI {server_name:?}, Host {host:?}"
    );
    assert_eq!(server.count("misdirected") - misdirected, u64::from(refused));
    if refused {
        crate::support::assert_json_error(&answer, "421");
    }
}

// covers TLS-7, TRAP-35, MTLS-5-8
#[tokio::test]
async fn with_a_server_name_the_authority_is_that_name_or_one_under_the_same_policy() {
    let server = Server::tls(shared_port());
    for (server_name, host, expected) in [
        ("auth.example", "auth.example", "200"),
        ("auth.example", "AUTH.Example:8443", "200"),
        ("auth.example", "auth.example.", "200"),
        ("auth.example", "console.example", "200"),
        ("auth.example", "configured.example", "200"),
        ("auth.example", "a.wild.example", "200"),
        ("configured.example", "auth.example", "200"),
        ("a.wild.example", "b.wild.example", "200"),
        ("auth.example", "mtls.example", "421"),
        ("auth.example", "other.example", "421"),
        ("auth.example", "wild.example", "421"),
        ("auth.example", "a.b.wild.example", "421"),
        ("auth.example", ".wild.example", "421"),
        ("auth.example", "auth.example.evil", "421"),
        ("auth.example", "xauth.example", "421"),
        ("auth.example", "127.0.0.1", "421"),
        ("auth.example", "[::1]", "421"),
        ("mtls.example", "mtls.example", "200"),
        ("mtls.example", "auth.example", "421"),
        ("mtls.example", "a.wild.example", "421"),
    ] {
        check(&server, Some(server_name), host, expected).await;
    }
}

// covers TLS-6
#[tokio::test]
async fn an_unknown_server_name_gets_the_listeners_own_certificate_and_a_readable_421() {
    let server = Server::tls(shared_port());
    check(&server, Some("unknown.example"), "unknown.example", "421").await;
    check(&server, Some("unknown.example"), "mtls.example", "421").await;
    check(&server, Some("unknown.example"), "auth.example", "200").await;
    check(&server, Some("a.b.wild.example"), "a.b.wild.example", "421").await;
}

// covers TLS-7
#[tokio::test]
async fn without_a_server_name_the_authority_is_an_address_or_a_name_of_the_certificate() {
    let server = Server::tls(shared_port());
    for (host, expected) in [
        ("127.0.0.1", "200"),
        ("192.0.2.7:8443", "200"),
        ("[::1]:8443", "200"),
        ("auth.example", "200"),
        ("a.wild.example", "200"),
        ("mtls.example", "421"),
        ("other.example", "421"),
        ("1.2.3", "421"),
        ("0x7f000001", "421"),
    ] {
        check(&server, None, host, expected).await;
    }
}

// covers TLS-7
#[tokio::test]
async fn the_target_counts_where_it_names_an_authority() {
    let server = Server::tls(shared_port());
    for (target, host, expected) in [
        ("https://auth.example/", "auth.example", "200"),
        ("https://auth.example:443/", "auth.example", "200"),
        ("https://other.example/", "other.example", "421"),
        ("https://other.example/", "auth.example", "400"),
        ("https://mtls.example/", "mtls.example", "421"),
        // What was asked for over http is not answered from here (RFC 9110 §7.4).
        ("http://auth.example/", "auth.example", "421"),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let answer = request(&server, Some("auth.example"), &head).await;
        assert_eq!(status(&answer), expected, "{target} {host}: {answer}");
    }
}

// covers TLS-7
#[tokio::test]
async fn http_1_0_without_host_needs_a_listener_with_one_policy() {
    let head = "GET / HTTP/1.0\r\n\r\n";
    let answer = request(&Server::tls(shared_port()), Some("auth.example"), head).await;
    assert_eq!(status(&answer), "421", "{answer}");
    let answer = request(&Server::mutual(), Some("localhost"), head).await;
    assert_eq!(status(&answer), "200", "{answer}");
    let head = "GET / HTTP/1.0\r\nhost: other\r\n\r\n";
    let answer = request(&Server::mutual(), Some("localhost"), head).await;
    assert_eq!(status(&answer), "421", "{answer}");
}

// covers TLS-7
#[tokio::test]
async fn after_a_421_the_connection_goes_on() {
    let server = Server::mutual();
    let head = "GET / HTTP/1.1\r\nhost: other\r\n\r\nGET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let answers = request(&server, Some("localhost"), head).await;
    assert_eq!(status(&answers), "421");
    assert!(answers.contains("HTTP/1.1 200"), "{answers}");
    server.wait_until_empty().await;
}

/// Accepts any server certificate: what is presented is not what these tests look at.
#[derive(Debug)]
struct AnyCertificate;

impl rustls::client::danger::ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
