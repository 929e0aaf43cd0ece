//! Clients and certificates that no one here made: curl, and the OpenSSL command line.

use std::path::Path;

use keybound_protocol::confirmation::CertificateThumbprint;
use tokio::process::Command;

use crate::{
    pki,
    support::{EARLY, Server},
};

async fn run(program: &str, arguments: &[&str], directory: &Path) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output()
        .await
        .unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What curl prints when it asks this server, whose authority is `ca.pem`.
async fn curl(server: &Server, arguments: &[&str], directory: &Path) -> String {
    let resolve = format!("localhost:{}:127.0.0.1", server.address().port());
    let common = [
        "--silent",
        "--show-error",
        "--noproxy",
        "*",
        "--cacert",
        "ca.pem",
        "--resolve",
        &resolve,
    ];
    run("curl", &[&common, arguments].concat(), directory).await
}

/// `NAME.key` and `NAME.pem`: a self-signed certificate by OpenSSL.
async fn make_certificate(name: &str, key: &[&str], directory: &Path) {
    let (key_file, certificate) = (format!("{name}.key"), format!("{name}.pem"));
    run(
        "openssl",
        &[&["genpkey", "-out", &key_file][..], key].concat(),
        directory,
    )
    .await;
    let subject = ["-subj", "/C=DE/O=Bank/CN=client"];
    if name.ends_with("v1") {
        // A request has no extensions, and signed without any it becomes version 1.
        run(
            "openssl",
            &[&["req", "-new", "-key", &key_file, "-out", "request"][..], &subject].concat(),
            directory,
        )
        .await;
        let sign = [
            "x509",
            "-req",
            "-in",
            "request",
            "-signkey",
            &key_file,
            "-days",
            "2",
            "-out",
            &certificate,
        ];
        run("openssl", &sign, directory).await;
        let text = run("openssl", &["x509", "-in", &certificate, "-noout", "-text"], directory).await;
        assert!(text.contains("Version: 1"), "{text}");
    } else {
        let make = [
            "req",
            "-x509",
            "-new",
            "-key",
            &key_file,
            "-days",
            "2",
            "-out",
            &certificate,
        ];
        run("openssl", &[&make[..], &subject].concat(), directory).await;
    }
}

// covers MTLS-1.2-1, MTLS-2-2, MTLS-7.3-1
#[tokio::test]
async fn curl_presents_certificates_of_openssl_in_every_version() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    std::fs::write(directory.join("ca.pem"), pki::CA.pem()).unwrap();
    let server = Server::mutual();
    let uri = format!("https://localhost:{}/", server.address().port());
    let p256 = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    for (name, key) in [
        ("rsa", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"][..]),
        ("p256", &p256),
        ("p384", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
        ("ed25519", &["-algorithm", "ED25519"]),
        ("p256-v1", &p256),
        ("rsa-v1", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"]),
    ] {
        make_certificate(name, key, directory).await;
        let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
        let leaf = keybound_tls::load_certificates(directory.join(&certificate))
            .unwrap()
            .remove(0);
        let thumbprint = CertificateThumbprint::of_certificate(&leaf);
        for version in ["1.2", "1.3"] {
            for http in ["--http1.1", "--http2"] {
                let tls = format!("--tlsv{version}");
                let arguments = [
                    "--fail",
                    "--cert",
                    &certificate,
                    "--key",
                    &key,
                    &tls,
                    "--tls-max",
                    version,
                    http,
                    &uri,
                ];
                let answer = curl(&server, &arguments, directory).await;
                assert!(
                    answer.contains(&format!("presented=peer {thumbprint} ")),
                    "{name} {version} {http}: {answer}"
                );
            }
        }
    }
    server.wait_until_empty().await;
}

/// curl before 8.0 throws an answer away whose stream is reset after it.
#[tokio::test]
async fn curl_reads_answers_that_come_before_its_body_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    std::fs::write(directory.join("ca.pem"), pki::CA.pem()).unwrap();
    std::fs::write(directory.join("small"), "a").unwrap();
    std::fs::write(directory.join("large"), vec![b'a'; 70_000]).unwrap();
    let server = Server::mutual();
    let origin = format!("https://localhost:{}", server.address().port());
    for (path, body, status) in [(EARLY, "small", "200"), (EARLY, "large", "413"), ("/", "small", "200")] {
        for http in ["--http1.1", "--http2"] {
            for round in 0..10 {
                let (uri, body) = (format!("{origin}{path}"), format!("@{body}"));
                let arguments = [
                    "--output",
                    "answer",
                    "--write-out",
                    "%{http_code}",
                    "--data-binary",
                    &body,
                    http,
                    &uri,
                ];
                let answered = curl(&server, &arguments, directory).await;
                assert_eq!(answered, status, "{path} {body} {http} {round}");
            }
        }
    }
    server.wait_until_empty().await;
}
