//! What a handshake proves, and what it leaves alone.

use std::sync::atomic::Ordering::SeqCst;

use keybound_protocol::confirmation::CertificateThumbprint;
use rustls::{HandshakeKind, NamedGroup, ProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    pki::{self, Client, KeyKind},
    support::{BOTH_VERSIONS, RawClient, Server, Version, public_policy, read_to_end, status},
};

const KINDS: [KeyKind; 5] = [
    KeyKind::Rsa2048,
    KeyKind::P256,
    KeyKind::P384,
    KeyKind::P521,
    KeyKind::Ed25519,
];

/// The certificate arrives with the request, in `version`, as the peer's, octet for octet.
async fn check_accepted(server: &Server, version: Version, client: &Client, what: &str) {
    let answer = RawClient::new(&[version], Some(client)).get(server, "localhost").await;
    let answer = answer.unwrap_or_else(|error| panic!("{what} {version:?}: {error}"));
    let thumbprint = CertificateThumbprint::of_certificate(client.leaf());
    assert!(
        answer.contains(&format!("presented=peer {thumbprint} ")),
        "{what} {version:?}: {answer}"
    );
}

/// The handshake fails, for this reason.
async fn check_refused(server: &Server, version: Version, client: &Client, reason: &str, what: &str) {
    let before = (server.count(reason), server.mirror.calls());
    let answer = RawClient::new(&[version], Some(client)).get(server, "localhost").await;
    assert!(answer.is_err(), "{what} {version:?}: {answer:?}");
    server.wait_for(|counters| counters.count(reason) == before.0 + 1).await;
    assert_eq!(server.mirror.calls(), before.1, "{what} {version:?}");
    server.wait_until_empty().await;
}

// covers FAPI-23, MTLS-1.2-1, MTLS-2-2, MTLS-4-2, MTLS-6.1-3, MTLS-6.2-3, MTLS-7.3-1, TRAP-20
#[tokio::test]
async fn every_certificate_whose_key_can_sign_is_accepted_in_tls_1_2_and_1_3() {
    let server = Server::mutual();
    for version in BOTH_VERSIONS {
        for kind in KINDS {
            check_accepted(
                &server,
                version,
                &Client::self_signed(kind),
                &format!("{kind:?} self-signed"),
            )
            .await;
            check_accepted(&server, version, &Client::expired(kind), &format!("{kind:?} expired")).await;
            check_accepted(&server, version, &Client::v1(kind), &format!("{kind:?} v1")).await;
            let malformed = Client::malformed_extensions(kind);
            check_accepted(&server, version, &malformed, &format!("{kind:?} malformed extensions")).await;
        }
        check_accepted(
            &server,
            version,
            &Client::issued(&pki::authority("Nobody's CA"), "a"),
            "unknown issuer",
        )
        .await;
    }
}

// covers MTLS-1.2-1, MTLS-2.2-2, MTLS-6.1-4, TRAP-9
#[tokio::test]
async fn a_certificate_without_its_private_key_ends_the_handshake() {
    let server = Server::mutual();
    for version in BOTH_VERSIONS {
        for kind in [KeyKind::P256, KeyKind::P384, KeyKind::Ed25519] {
            for (client, what) in [
                (Client::self_signed(kind), "self-signed"),
                (Client::v1(kind), "v1"),
                (Client::malformed_extensions(kind), "malformed extensions"),
            ] {
                let thief = client.with_wrong_key(kind);
                check_refused(
                    &server,
                    version,
                    &thief,
                    "possession_not_proven",
                    &format!("{kind:?} {what}"),
                )
                .await;
            }
        }
    }
}

// covers TRAP-9
#[tokio::test]
async fn a_signature_by_a_key_of_another_kind_ends_the_handshake() {
    let server = Server::mutual();
    for version in BOTH_VERSIONS {
        // The scheme of the signature does not fit the certificate's key.
        let thief = Client::self_signed(KeyKind::P256).with_wrong_key(KeyKind::Rsa2048);
        let answer = RawClient::new(&[version], Some(&thief)).get(&server, "localhost").await;
        assert!(answer.is_err(), "{answer:?}");
        server.wait_until_empty().await;
        assert_eq!(server.mirror.calls(), 0);
    }
}

// covers TLS-1
#[tokio::test]
async fn keys_that_cannot_be_verified_are_refused_and_counted_with_their_reason() {
    let server = Server::mutual();
    for version in BOTH_VERSIONS {
        let weak = Client::with_key(&pki::spki_rsa_1024(), KeyKind::Rsa2048);
        check_refused(&server, version, &weak, "key_unsupported", "RSA 1024").await;
        let foreign = Client::with_key(&pki::spki_secp256k1(), KeyKind::P256);
        check_refused(&server, version, &foreign, "key_unsupported", "secp256k1").await;
        let mut nonsense = Client::self_signed(KeyKind::P256);
        nonsense.chain = vec![b"not a certificate".to_vec()];
        check_refused(&server, version, &nonsense, "certificate_unreadable", "no certificate").await;
    }
}

// covers MTLS-3-5, MTLS-6.1-2, TLS-1, TRAP-10, TRAP-20, TRAP-36
#[tokio::test]
async fn a_certificate_is_asked_for_in_the_first_handshake_without_ca_names_and_may_be_withheld() {
    let server = Server::mutual();
    for version in BOTH_VERSIONS {
        let client = RawClient::new(&[version], None);
        let answer = client.get(&server, "localhost").await.unwrap();
        assert!(answer.contains("presented=none "), "{answer}");
        assert_eq!(
            (client.resolver.asked.load(SeqCst), client.resolver.hints.load(SeqCst)),
            (1, 0),
            "{version:?}"
        );
    }
}

// covers MTLS-5-1, MTLS-6.1-5, TRAP-37
#[tokio::test]
async fn a_listener_for_browsers_never_asks_for_a_certificate() {
    let server = Server::tls(public_policy());
    for version in BOTH_VERSIONS {
        let client = RawClient::new(&[version], Some(&Client::self_signed(KeyKind::P256)));
        let answer = client.get(&server, "localhost").await.unwrap();
        assert!(answer.contains("presented=not requested "), "{answer}");
        assert_eq!(client.resolver.asked.load(SeqCst), 0, "{version:?}");
    }
}

// covers TLS-2, TLS-3, TLS-4, TLS-9, TRAP-31, TRAP-32, TRAP-33, TRAP-51
#[tokio::test]
async fn nothing_is_resumed_and_no_early_data_is_taken() {
    for server in [Server::mutual(), Server::tls(public_policy())] {
        for version in BOTH_VERSIONS {
            let mut client = RawClient::new(&[version], Some(&Client::self_signed(KeyKind::P256)));
            client.config.enable_early_data = true;
            for _ in 0..3 {
                let mut stream = client.connect(&server, "localhost").await.unwrap();
                let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
                stream.write_all(request).await.unwrap();
                let answer = read_to_end(&mut stream).await.unwrap();
                assert_eq!(status(&answer), "200", "{answer}");
                let (_, session) = stream.get_ref();
                assert_ne!(session.handshake_kind(), Some(HandshakeKind::Resumed), "{version:?}");
                assert_eq!(session.tls13_tickets_received(), 0, "{version:?}");
                assert!(!session.is_early_data_accepted(), "{version:?}");
            }
        }
    }
}

// covers TLS-4, FAPI-3
#[tokio::test]
async fn tls_1_3_and_the_hybrid_key_exchange_are_preferred() {
    let server = Server::mutual();
    let mut client = RawClient::any_version(None);
    client.config.alpn_protocols.clear();
    let stream = client.connect(&server, "localhost").await.unwrap();
    let (_, session) = stream.get_ref();
    assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(
        session.negotiated_key_exchange_group().map(|group| group.name()),
        Some(NamedGroup::X25519MLKEM768)
    );
}

/// A ClientHello of old: no supported_versions, cipher suites that TLS 1.0 had as well.
fn client_hello(minor: u8) -> Vec<u8> {
    // ECDHE-RSA-AES128-SHA, RSA-AES128-SHA; P-256, uncompressed points.
    client_hello_with(minor, &[0xC013, 0x002F], &[0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0])
}

/// A ClientHello of TLS 1.2 with one cipher suite, and with everything else that is needed.
fn client_hello_of_tls_1_2(suite: u16) -> Vec<u8> {
    let extensions = [
        &[0, 10, 0, 6, 0, 4, 0, 29, 0, 23][..], // X25519, P-256
        &[0, 11, 0, 2, 1, 0],                   // uncompressed points
        &[0, 13, 0, 6, 0, 4, 4, 3, 8, 4],       // ecdsa_secp256r1_sha256, rsa_pss_rsae_sha256
        &[0, 23, 0, 0],                         // extended_master_secret
        &[0, 0, 0, 14, 0, 12, 0, 0, 9],         // server_name
        b"localhost",
    ];
    client_hello_with(3, &[suite], &extensions.concat())
}

fn client_hello_with(minor: u8, suites: &[u16], extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, minor];
    body.extend([0x5B; 32]); // random
    body.push(0); // session id
    body.extend([0, 2 * suites.len() as u8]);
    body.extend(suites.iter().flat_map(|suite| suite.to_be_bytes()));
    body.extend([1, 0]); // no compression
    body.extend([0, extensions.len() as u8]);
    body.extend(extensions);
    let mut message = vec![1, 0];
    message.extend((body.len() as u16).to_be_bytes());
    message.extend(body);
    let mut record = vec![22, 3, 1];
    record.extend((message.len() as u16).to_be_bytes());
    record.extend(message);
    record
}

// covers MTLS-7.3-1, TLS-4, FAPI-3, R-FAPI-10
#[tokio::test]
async fn ssl_3_tls_1_0_and_1_1_are_refused_with_an_alert() {
    let server = Server::mutual();
    for minor in [0, 1, 2] {
        let mut stream = server.connect().await;
        stream.write_all(&client_hello(minor)).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        // An alert record: fatal.
        assert_eq!(
            (answer.first(), answer.get(5)),
            (Some(&21), Some(&2)),
            "3.{minor}: {answer:?}"
        );
        // protocol_version, or handshake_failure where nothing else is in common either.
        assert!(matches!(answer.get(6), Some(70 | 40)), "3.{minor}: {answer:?}");
    }
    server
        .wait_for(|counters| counters.count("nothing_in_common") + counters.count("malformed") == 3)
        .await;
    server.wait_until_empty().await;
}

// covers FAPI-3, R-FAPI-10, TLS-4
#[tokio::test]
async fn of_tls_1_2_only_the_suites_with_forward_secrecy_and_authenticated_encryption_are_spoken() {
    let server = Server::mutual();
    for (suite, name) in [
        (0xC009, "ECDHE-ECDSA-AES128-SHA"),
        (0xC00A, "ECDHE-ECDSA-AES256-SHA"),
        (0xC023, "ECDHE-ECDSA-AES128-SHA256"),
        (0xC024, "ECDHE-ECDSA-AES256-SHA384"),
        (0xC0AC, "ECDHE-ECDSA-AES128-CCM"),
        (0xC008, "ECDHE-ECDSA-DES-CBC3-SHA"),
        (0xC007, "ECDHE-ECDSA-RC4-SHA"),
        (0xC006, "ECDHE-ECDSA-NULL-SHA"),
        (0xC013, "ECDHE-RSA-AES128-SHA"),
        (0x009C, "AES128-GCM-SHA256"),
        (0x009D, "AES256-GCM-SHA384"),
        (0x003C, "AES128-SHA256"),
        (0x002F, "AES128-SHA"),
        (0x000A, "DES-CBC3-SHA"),
        (0x0005, "RC4-SHA"),
        (0x009E, "DHE-RSA-AES128-GCM-SHA256"),
        (0x00A6, "ADH-AES128-GCM-SHA256"),
    ] {
        let mut stream = server.connect().await;
        stream.write_all(&client_hello_of_tls_1_2(suite)).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        // A fatal alert, handshake_failure.
        let alert = (answer.first(), answer.get(5), answer.get(6));
        assert_eq!(alert, (Some(&21), Some(&2), Some(&40)), "{name}: {answer:?}");
    }
    server
        .wait_for(|counters| counters.count("nothing_in_common") == 17)
        .await;
    // The same ClientHello with one of the others is answered by a ServerHello that takes it up.
    for (suite, name) in [
        (0xC02B, "ECDHE-ECDSA-AES128-GCM-SHA256"),
        (0xC02C, "ECDHE-ECDSA-AES256-GCM-SHA384"),
        (0xCCA9, "ECDHE-ECDSA-CHACHA20-POLY1305"),
    ] {
        let mut stream = server.connect().await;
        stream.write_all(&client_hello_of_tls_1_2(suite)).await.unwrap();
        let mut answer = [0; 5 + 4 + 2 + 32 + 1];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!((answer[0], answer[5]), (22, 2), "{name}: {answer:?}");
        let mut rest = vec![0; usize::from(answer[43]) + 2];
        stream.read_exact(&mut rest).await.unwrap();
        assert_eq!(rest[rest.len() - 2..], u16::to_be_bytes(suite), "{name}");
    }
    server.wait_until_empty().await;
}

// covers MTLS-3-6, TLS-5, TRAP-36
#[tokio::test]
async fn a_client_that_renegotiates_is_refused() {
    let server = Server::mutual();
    let address = server.address().to_string();
    let mut openssl = tokio::process::Command::new("openssl")
        .args([
            "s_client",
            "-connect",
            &address,
            "-servername",
            "localhost",
            "-tls1_2",
            "-quiet",
            "-no_ign_eof",
        ])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = openssl.stdin.take().unwrap();
    server.wait_for(|counters| counters.handshakes_completed == 1).await;
    // A line "R" makes s_client ask for a new handshake.
    stdin.write_all(b"R\n").await.unwrap();
    let output = tokio::time::timeout(crate::support::PATIENCE, openssl.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
    assert!(said.contains("no renegotiation"), "{said}");
    assert_eq!(server.mirror.calls(), 0);
    server.wait_until_empty().await;
}

// covers MTLS-3-5, MTLS-2-2
#[tokio::test]
async fn a_chain_of_six_beside_the_leaf_passes_and_a_longer_one_is_presented_as_too_long() {
    let server = Server::mutual();
    for version in BOTH_VERSIONS {
        let client = Client::self_signed(KeyKind::P256);
        check_accepted(&server, version, &client.clone().with_intermediates(6), "six").await;
        let answer = RawClient::new(&[version], Some(&client.with_intermediates(7)))
            .get(&server, "localhost")
            .await;
        let answer = answer.unwrap();
        assert!(answer.contains("presented=too long 7 "), "{answer}");
    }
}
