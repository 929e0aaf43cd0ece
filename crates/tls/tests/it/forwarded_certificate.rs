//! Certificates that a proxy forwards (RFC 9440), and everybody else's claims to one.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use keybound_protocol::{
    confirmation::CertificateThumbprint,
    time::Timestamp,
    trust_anchor::{TrustAnchor, TrustAnchorSettings},
};
use keybound_tls::{Clock, ForwardedCertificateSettings, HostPoliciesError, ProxyCertificate, Transport};

use crate::{
    pki::{self, Client, KeyKind},
    support::{RawClient, Server, exchange, mutual_policy, quick, settings, status},
};

/// Not before and not after are 1975 and 4096 in rcgen's certificates.
fn now() -> Timestamp {
    Timestamp::from_unix_secs(1_800_000_000)
}

fn server(from: &[&str], proxy: Option<ProxyCertificate>) -> Server {
    let mut settings = settings(Transport::Tls(mutual_policy()), quick());
    settings.forwarded_certificate = Some(Arc::new(believed(from, proxy)));
    Server::start(settings)
}

fn believed(from: &[&str], proxy: Option<ProxyCertificate>) -> ForwardedCertificateSettings {
    let from = from.iter().map(|range| range.parse().unwrap()).collect();
    ForwardedCertificateSettings { from, proxy }
}

fn anchors(certificate: &[u8]) -> Vec<TrustAnchor> {
    let settings = TrustAnchorSettings {
        name: "proxies".parse().unwrap(),
        certificates: vec![certificate.to_vec()],
        crls: Vec::new(),
        crl_missing: None,
        require_client_auth_eku: false,
        strict: false,
    };
    TrustAnchor::load(&settings).unwrap()
}

fn byte_sequence(der: &[u8]) -> String {
    format!(":{}:", STANDARD.encode(der))
}

/// What a service sees of a request with these fields on a connection of `client`.
async fn presented(server: &Server, client: Option<&Client>, fields: &[(&str, &str)]) -> String {
    let mut stream = RawClient::any_version(client)
        .connect(server, "localhost")
        .await
        .unwrap();
    let fields: String = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let head = format!("GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{fields}\r\n");
    let answer = exchange(&mut stream, head.as_bytes()).await.unwrap();
    assert_eq!(status(&answer), "200", "{answer}");
    assert!(
        answer.contains(" fields=0 "),
        "the fields must not reach a service: {answer}"
    );
    let (_, rest) = answer.split_once("presented=").unwrap();
    rest.split_once(" fields=").unwrap().0.to_owned()
}

fn peer(client: &Client) -> String {
    format!("peer {}", CertificateThumbprint::of_certificate(client.leaf()))
}

// covers R9440-4, R9440-5, R9440-6, TRAP-29, MTLS-3-10, MTLS-4-5, T11
#[tokio::test]
async fn without_configuration_the_fields_are_removed_and_mean_nothing() {
    let server = Server::mutual();
    let (own, victim) = (Client::self_signed(KeyKind::P256), Client::self_signed(KeyKind::P256));
    let value = byte_sequence(victim.leaf());
    for name in ["Client-Cert", "client-cert", "CLIENT-CERT"] {
        let fields = [(name, value.as_str()), ("Client-Cert-Chain", value.as_str())];
        assert_eq!(presented(&server, Some(&own), &fields).await, peer(&own));
        assert_eq!(presented(&server, None, &fields).await, "none");
        let twice = [(name, value.as_str()), (name, value.as_str())];
        assert_eq!(presented(&server, None, &twice).await, "none");
    }
}

// covers R9440-1, R9440-3, R9440-8, MTLS-6.5-1, MTLS-6.5-2
#[tokio::test]
async fn a_proxy_on_the_list_forwards_its_clients_certificate() {
    let server = server(&["10.0.0.0/8", "127.0.0.1/32"], None);
    let victim = Client::self_signed(KeyKind::P256);
    let thumbprint = CertificateThumbprint::of_certificate(victim.leaf());
    let value = byte_sequence(victim.leaf());
    let forwarded = format!("forwarded {thumbprint} via 127.0.0.1");
    assert_eq!(presented(&server, None, &[("Client-Cert", &value)]).await, forwarded);
    let chain = byte_sequence(pki::CA.der());
    let fields = [
        ("Client-Cert", value.as_str()),
        ("Client-Cert-Chain", &chain),
        ("Client-Cert-Chain", &chain),
    ];
    assert_eq!(presented(&server, None, &fields).await, forwarded);
    let chain = [chain.as_str(); 7].join(", ");
    let fields = [("Client-Cert", value.as_str()), ("Client-Cert-Chain", &chain)];
    assert_eq!(presented(&server, None, &fields).await, "too long 7");
    // What is longer than a certificate usually is passes, too (RFC 9440 §4).
    let long = vec![0x30; 8 * 1024];
    let thumbprint = CertificateThumbprint::of_certificate(&long);
    let said = presented(&server, None, &[("Client-Cert", &byte_sequence(&long))]).await;
    assert_eq!(said, format!("forwarded {thumbprint} via 127.0.0.1"));
    // Without the field the client had no certificate, and the proxy's own is not the client's.
    assert_eq!(presented(&server, None, &[]).await, "none");
    assert_eq!(presented(&server, Some(&victim), &[]).await, "none");
}

// covers R9440-2, R9440-3, TRAP-29
#[tokio::test]
async fn a_proxy_that_says_it_badly_is_refused() {
    let server = server(&["127.0.0.1/32"], None);
    let one = byte_sequence(Client::self_signed(KeyKind::P256).leaf());
    let other = byte_sequence(pki::CA.der());
    let unpadded = one.replace('=', "");
    for fields in [
        vec![("Client-Cert", one.as_str()), ("Client-Cert", &other)],
        vec![("Client-Cert", &one), ("Client-Cert", &one)],
        vec![("Client-Cert", &format!("{one}, {other}"))],
        vec![("Client-Cert", &format!("{one};a=b"))],
        vec![("Client-Cert", one.trim_matches(':'))],
        vec![("Client-Cert", ":!!!!:")],
        vec![("Client-Cert", "::")],
        vec![("Client-Cert", "")],
        vec![("Client-Cert", &one.replacen('M', "-", 1))],
        vec![("Client-Cert-Chain", &other)],
        vec![("Client-Cert", &one), ("Client-Cert-Chain", "nonsense")],
        vec![("Client-Cert", &one), ("Client-Cert-Chain", &format!("({other})"))],
    ] {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, *value)).collect();
        let said = presented(&server, None, &fields).await;
        assert!(said.starts_with("refused "), "{fields:?}: {said}");
    }
    if unpadded != one {
        assert!(
            presented(&server, None, &[("Client-Cert", &unpadded)])
                .await
                .starts_with("refused ")
        );
    }
}

// covers R9440-5, T11
#[tokio::test]
async fn an_address_off_the_list_forwards_nothing() {
    let server = server(&["10.0.0.0/8", "::1/128"], None);
    let own = Client::self_signed(KeyKind::P256);
    let value = byte_sequence(pki::CA.der());
    assert_eq!(
        presented(&server, Some(&own), &[("Client-Cert", &value)]).await,
        peer(&own)
    );
    assert_eq!(presented(&server, None, &[("Client-Cert", &value)]).await, "none");
}

// covers MTLS-6.5-2, TRAP-30, T11
#[tokio::test]
async fn a_proxy_with_a_certificate_of_its_own_must_show_it() {
    let authority = pki::authority("Proxy CA");
    let certificate = |anchors| ProxyCertificate::new("lb.internal", anchors, Clock::fixed(now()));
    let trusted = certificate(anchors(authority.der()));
    let server = server(&["127.0.0.1/32"], Some(trusted.clone()));
    let victim = Client::self_signed(KeyKind::P256);
    let value = byte_sequence(victim.leaf());
    let fields = [("Client-Cert", value.as_str())];
    let forwarded = format!(
        "forwarded {} via lb.internal (127.0.0.1)",
        CertificateThumbprint::of_certificate(victim.leaf())
    );
    let proxy = Client::issued(&authority, "lb.internal");
    assert_eq!(presented(&server, Some(&proxy), &fields).await, forwarded);
    let refused =
        "refused a certificate was forwarded by a peer that did not authenticate as the configured proxy lb.internal";
    for impostor in [
        None,
        Some(Client::issued(&authority, "other.internal")),
        Some(Client::issued(&authority, "lb.internal.evil")),
        Some(Client::issued(&pki::authority("Proxy CA"), "lb.internal")),
        Some(Client::self_signed(KeyKind::P256)),
        Some(Client::v1(KeyKind::P256)),
    ] {
        assert_eq!(presented(&server, impostor.as_ref(), &fields).await, refused);
        // Without the field it is a client like any other.
        let own = impostor.as_ref().map_or("none".to_owned(), peer);
        assert_eq!(presented(&server, impostor.as_ref(), &[]).await, own);
    }
    // Where any address will do, who is not the proxy is just anybody.
    let anywhere = self::server(&[], Some(trusted.clone()));
    assert_eq!(presented(&anywhere, Some(&proxy), &fields).await, forwarded);
    assert_eq!(
        presented(
            &anywhere,
            Some(&victim),
            &[("Client-Cert", &byte_sequence(proxy.leaf()))]
        )
        .await,
        peer(&victim)
    );

    // Trust that is withdrawn is withdrawn from open connections, too.
    let own = peer(&proxy);
    let there = |proxy| Some(believed(&["127.0.0.1/32"], Some(proxy)));
    let mut open = Open::new(&server, Some(&proxy)).await;
    for (now, expected) in [
        (there(trusted.clone()), &*forwarded),
        (there(certificate(Vec::new())), refused),
        (there(trusted.clone()), &*forwarded),
        (None, &*own),
        (there(trusted), &*forwarded),
    ] {
        server.handle.reload(&mutual_policy(), now).unwrap();
        assert_eq!(open.presented(&value).await, expected);
    }
}

/// A connection that stays open.
struct Open(tokio_rustls::client::TlsStream<tokio::net::TcpStream>);

impl Open {
    async fn new(server: &Server, client: Option<&Client>) -> Open {
        let stream = RawClient::any_version(client).connect(server, "localhost").await;
        Open(stream.unwrap())
    }

    /// What a service sees of a request with this `Client-Cert`.
    async fn presented(&mut self, value: &str) -> String {
        let head = format!("GET / HTTP/1.1\r\nhost: localhost\r\nclient-cert: {value}\r\n\r\n");
        tokio::io::AsyncWriteExt::write_all(&mut self.0, head.as_bytes())
            .await
            .unwrap();
        let answer = crate::support::read_until(&mut self.0, "body=").await;
        let (_, after) = answer.split_once("presented=").unwrap();
        after.split_once(" fields=").unwrap().0.to_owned()
    }
}

// covers R9440-5, R9440-6, T11, TRAP-29
#[tokio::test]
async fn a_proxy_that_a_reload_removes_is_not_believed_any_more_on_open_connections_either() {
    let server = server(&["127.0.0.1/32"], None);
    let (own, victim) = (Client::self_signed(KeyKind::P256), Client::self_signed(KeyKind::P256));
    let value = byte_sequence(victim.leaf());
    let forwarded = format!(
        "forwarded {} via 127.0.0.1",
        CertificateThumbprint::of_certificate(victim.leaf())
    );
    let mut open = Open::new(&server, Some(&own)).await;
    assert_eq!(open.presented(&value).await, forwarded);

    // What cannot be believed changes nothing, and neither does what is only prepared.
    let anybody = server.handle.reload(&mutual_policy(), Some(believed(&[], None)));
    assert_eq!(anybody, Err(HostPoliciesError::AnyProxy));
    let prepared = server.handle.prepare_reload(&mutual_policy(), None).unwrap();
    assert_eq!(open.presented(&value).await, forwarded);

    prepared.take_effect();
    assert_eq!(open.presented(&value).await, peer(&own));
    assert_eq!(
        presented(&server, Some(&own), &[("Client-Cert", &value)]).await,
        peer(&own)
    );
    // Another one, elsewhere; then here.
    let moved = |from| Some(believed(&[from], None));
    server.handle.reload(&mutual_policy(), moved("127.0.0.2/32")).unwrap();
    assert_eq!(open.presented(&value).await, peer(&own));
    server.handle.reload(&mutual_policy(), moved("127.0.0.0/8")).unwrap();
    assert_eq!(open.presented(&value).await, forwarded);
}
