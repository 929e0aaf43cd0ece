//! The matrix of RFC 8705 §2: {five subject parameters} × {right, other CA, expired, wrong subject, none} and the self-signed
//! method by value and by URI × {right, same key re-issued, not registered, expired, none}; asked by curl and by npm's
//! openid-client with certificates of OpenSSL.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::installation::{Installation, curl, free_port_offset, run_in};
use crate::node_process::NodeProcess;
use crate::openssl::{ED25519, OpenSsl, P256, P384, RSA, Wanted};

const SUBJECT: &str = "/C=BR/O=Example\\, Inc.+OU=Prod/CN=João \\+ Söhne/emailAddress=ops@example.com";
const SUBJECT_DN: &str = "emailAddress=ops@example.com,CN=João \\+ Söhne,OU=Prod+O=Example\\, Inc.,C=BR";

/// The parameters, with a certificate's names that have the registered value and one that does not.
const PARAMETERS: [(&str, &str, Option<&str>, Option<&str>); 5] = [
    ("tls_client_auth_subject_dn", SUBJECT_DN, None, None),
    (
        "tls_client_auth_san_dns",
        "a.example.com",
        Some("DNS:x.example,DNS:A.example.com"),
        Some("DNS:b.example.com"),
    ),
    (
        "tls_client_auth_san_uri",
        "https://a.example.com/x",
        Some("URI:https://A.example.com/x"),
        Some("URI:https://a.example.com/X"),
    ),
    (
        "tls_client_auth_san_ip",
        "2001:db8::1",
        Some("IP:2001:0DB8:0:0:0:0:0:1"),
        Some("IP:2001:db8::2"),
    ),
    (
        "tls_client_auth_san_email",
        "a@Example.com",
        Some("email:a@example.com"),
        Some("email:A@example.com"),
    ),
];

/// One request: as which client, with which certificate, and what must come of it.
struct Case {
    client_id: String,
    certificate: Option<String>,
    /// `None`: a bound token. Else the rule that must be the first to fail.
    refused_by: Option<&'static str>,
}

struct Matrix {
    installation: Installation,
    openssl: OpenSsl,
    cases: Vec<Case>,
    _key_server: KeyServer,
}

/// `openssl s_server` with a key set, until it is dropped.
struct KeyServer(Child);

impl Drop for KeyServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn matrix() -> Matrix {
    let directory = tempfile::tempdir().unwrap();
    let offset = free_port_offset();
    run_in(
        directory.path(),
        &["quickstart", "--exit", "--port-offset", &offset.to_string()],
    )
    .expect_code(0);
    let openssl = OpenSsl::new(&directory.path().join("openssl"));
    openssl.authority("corp", "/O=Corp/CN=Corp CA");
    openssl.authority("other", "/O=Corp/CN=Corp CA");
    let configuration = directory.path().join("keybound.toml");
    let text = std::fs::read_to_string(&configuration).unwrap();
    let anchor = "\n[[trust_anchors]]\nname = \"corp\"\nfile = \"openssl/corp.pem\"\n";
    std::fs::write(&configuration, text + anchor).unwrap();
    let mut cases = Vec::new();
    for (index, parameter) in PARAMETERS.iter().enumerate() {
        pki_cases(directory.path(), &openssl, index, parameter, &mut cases);
    }
    let published = self_signed_cases(directory.path(), &openssl, &mut cases);
    let installation = Installation::start_in(directory, offset);
    let key_server = KeyServer::publish(&installation, &published);
    Matrix {
        installation,
        openssl,
        cases,
        _key_server: key_server,
    }
}

fn register(directory: &Path, client_id: &str, mut metadata: Value) {
    metadata["client_id"] = client_id.into();
    metadata["grant_types"] = json!(["client_credentials"]);
    metadata["tls_client_certificate_bound_access_tokens"] = true.into();
    std::fs::write(
        directory.join(format!("clients.d/{client_id}.json")),
        metadata.to_string(),
    )
    .unwrap();
}

fn pki_cases(
    directory: &Path,
    openssl: &OpenSsl,
    index: usize,
    (parameter, value, right, wrong): &(&'static str, &str, Option<&str>, Option<&str>),
    cases: &mut Vec<Case>,
) {
    let client_id = format!("pki-{index}");
    let metadata = json!({ "token_endpoint_auth_method": "tls_client_auth", *parameter: value, "keybound_trust_anchors": ["corp"] });
    register(directory, &client_id, metadata);
    let subject = if right.is_none() { SUBJECT } else { "/CN=whatever" };
    let wrong_subject = if right.is_none() {
        "/C=BR/O=Example\\, Inc.+OU=Prod/CN=Joao \\+ Söhne/emailAddress=ops@example.com"
    } else {
        subject
    };
    let name = |kind: &str| format!("{client_id}-{kind}");
    let make = |kind: &str, subject: &str, names: &Option<&str>, authority: &str, expired: bool, key| {
        let name = name(kind);
        let wanted = Wanted {
            alternative_names: *names,
            key,
            expired,
            ..Wanted::new(&name, subject)
        };
        openssl.certificate(wanted, Some(authority));
    };
    let key = [P256, RSA, P384, ED25519, P256][index];
    make("right", subject, right, "corp", false, key);
    make("other-ca", subject, right, "other", false, P256);
    make("expired", subject, right, "corp", true, P256);
    make("wrong-subject", wrong_subject, wrong, "corp", false, P256);
    for (kind, refused_by) in [
        ("right", None),
        ("other-ca", Some("path to a trust anchor of this client")),
        ("expired", Some("inside its validity period")),
        ("wrong-subject", Some(*parameter)),
    ] {
        cases.push(Case {
            client_id: client_id.clone(),
            certificate: Some(name(kind)),
            refused_by,
        });
    }
    cases.push(Case {
        client_id,
        certificate: None,
        refused_by: Some("client certificate presented"),
    });
}

/// Registers the two self-signed clients; returns the key set that has to be served for the second.
fn self_signed_cases(directory: &Path, openssl: &OpenSsl, cases: &mut Vec<Case>) -> Value {
    let make = |name: &str, expired| {
        openssl.certificate(
            Wanted {
                expired,
                ..Wanted::new(name, "/CN=self")
            },
            None,
        )
    };
    make("self-right", false);
    make("self-expired", true);
    make("self-stranger", false);
    // The same key and subject, another certificate.
    std::fs::copy(openssl.path("self-right.key"), openssl.path("self-reissued.key")).unwrap();
    make("self-reissued", false);
    let keys = [jwk(openssl, "self-right"), jwk(openssl, "self-expired")];
    let set = json!({ "keys": keys });
    register(
        directory,
        "self-value",
        json!({ "token_endpoint_auth_method": "self_signed_tls_client_auth", "jwks": set }),
    );
    for client_id in ["self-value", "self-uri"] {
        for (certificate, refused_by) in [
            (Some("self-right"), None),
            (
                Some("self-reissued"),
                Some("one of the registered certificates, octet for octet"),
            ),
            (
                Some("self-stranger"),
                Some("one of the registered certificates, octet for octet"),
            ),
            (Some("self-expired"), Some("inside its validity period")),
            (None, Some("client certificate presented")),
        ] {
            cases.push(Case {
                client_id: client_id.to_owned(),
                certificate: certificate.map(str::to_owned),
                refused_by,
            });
        }
    }
    set
}

fn jwk(openssl: &OpenSsl, name: &str) -> Value {
    let certificate = openssl.path(&format!("{name}.pem"));
    let said = run_in(
        certificate.parent().unwrap(),
        &[
            "--output",
            "json",
            "certificate",
            "inspect",
            certificate.to_str().unwrap(),
        ],
    );
    let registrations = said.expect_code(0).json()["registrations"].clone();
    let registrations = registrations.as_array().unwrap();
    registrations
        .iter()
        .find_map(|it| it.pointer("/jwks/keys/0"))
        .unwrap()
        .clone()
}

impl KeyServer {
    /// Serves the key set with `openssl s_server`, and registers the client that names it.
    fn publish(installation: &Installation, set: &Value) -> Self {
        let directory = installation.path("jwks");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("keys.json"), set.to_string()).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let server = Command::new("openssl")
            .current_dir(&directory)
            .args([
                "s_server",
                "-quiet",
                "-WWW",
                "-cert",
                "../pki/server.pem",
                "-key",
                "../pki/server.key",
                "-accept",
            ])
            .arg(format!("127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let uri = format!("https://localhost:{port}/keys.json");
        let metadata = json!({
            "client_id": "self-uri", "token_endpoint_auth_method": "self_signed_tls_client_auth", "jwks_uri": uri,
            "grant_types": ["client_credentials"], "tls_client_certificate_bound_access_tokens": true,
        });
        std::fs::write(installation.path("self-uri.json"), metadata.to_string()).unwrap();
        installation
            .run(&["client", "create", "--file", "self-uri.json"])
            .expect_code(0);
        Self(server)
    }
}

fn files(matrix: &Matrix, case: &Case) -> Option<(PathBuf, PathBuf)> {
    let name = case.certificate.as_ref()?;
    Some((
        matrix.openssl.path(&format!("{name}.pem")),
        matrix.openssl.path(&format!("{name}.key")),
    ))
}

// covers MTLS-2.1-1, MTLS-2.1-4, MTLS-2.1-5, MTLS-2.1.2-2, MTLS-2.1.2-3, MTLS-2.1.2-4, MTLS-2.1.2-5, MTLS-2.1.2-7
// covers MTLS-2.2-1, MTLS-2.2-3, MTLS-2.2-4, MTLS-2-6, MTLS-2-7, MTLS-7.4-1, UX-2, MTLS-5-4
// covers MTLS-2.1.1-1, MTLS-2.2.1-1, MTLS-A-1, X509-1
#[test]
fn each_client_is_answered_as_registered_by_whoever_asks() {
    let matrix = matrix();
    assert_eq!(matrix.cases.len(), 35);
    curl_with_openssl_certificates_is_answered_as_registered(&matrix);
    openid_client_is_answered_as_registered(&matrix);
    thumbprints_and_names_of_openssl_certificates_are_read_as_openssl_reads_them(&matrix);
}

fn curl_with_openssl_certificates_is_answered_as_registered(matrix: &Matrix) {
    let ca = matrix.installation.path("pki/ca.pem");
    let token_endpoint = matrix.installation.mutual_tls("/token");
    for case in &matrix.cases {
        let identity = files(matrix, case);
        let form = format!("grant_type=client_credentials&client_id={}", case.client_id);
        let identity = identity.as_ref().map(|(certificate, key)| (&**certificate, &**key));
        let answer = curl(&ca, identity, &["-d", &form, &token_endpoint]);
        let what = format!("{} with {:?}: {answer:?}", case.client_id, case.certificate);
        match case.refused_by {
            None => {
                assert!(
                    answer.status == 200,
                    "{what}: {:#}",
                    matrix.installation.explain(&answer.refusal())
                );
                let token = format!(
                    "Authorization: Bearer {}",
                    answer.json()["access_token"].as_str().unwrap()
                );
                let resource = matrix.installation.gateway("/hello");
                assert_eq!(curl(&ca, identity, &["-H", &token, &resource]).status, 200, "{what}");
                assert_eq!(curl(&ca, None, &["-H", &token, &resource]).status, 401, "{what}");
            }
            Some(rule) => {
                assert_eq!(
                    (answer.status, answer.error().as_str()),
                    (400, "invalid_client"),
                    "{what}"
                );
                let refusal = matrix.installation.explain(&answer.refusal());
                let rules = refusal["rules"].as_array().unwrap();
                let failed = rules.iter().find(|rule| rule["outcome"] == "failed").unwrap();
                assert_eq!(failed["rule"], rule, "{what}: {refusal}");
            }
        }
    }
}

fn openid_client_is_answered_as_registered(matrix: &Matrix) {
    let mut openid_client = NodeProcess::start("openid_client.mjs");
    for case in &matrix.cases {
        let identity = files(matrix, case);
        let question = json!({
            "issuer": matrix.installation.public(""), "client_id": case.client_id,
            "method": if case.client_id.starts_with("self") { "self_signed_tls_client_auth" } else { "tls_client_auth" },
            "ca": matrix.installation.path("pki/ca.pem"),
            "cert": identity.as_ref().map(|(certificate, _)| certificate), "key": identity.as_ref().map(|(_, key)| key),
            "resource": matrix.installation.gateway("/hello"),
        });
        let answer: Value = loop {
            let answer = openid_client.ask(&question);
            // Failures come faster than the 20 a second that one address may cause: it is told to wait, and does.
            if answer["status"] != 429 {
                break answer;
            }
            std::thread::sleep(std::time::Duration::from_secs(1));
        };
        let what = format!("{} with {:?}: {answer}", case.client_id, case.certificate);
        match case.refused_by {
            None => {
                assert_eq!(
                    (answer["status"].as_u64(), answer["resource_status"].as_u64()),
                    (Some(200), Some(200)),
                    "{what}"
                );
                assert!(answer["bound"].is_string(), "{what}");
            }
            Some(_) => assert_eq!(
                (answer["status"].as_u64(), answer["error"].as_str()),
                (Some(400), Some("invalid_client")),
                "{what}"
            ),
        }
    }
}

fn thumbprints_and_names_of_openssl_certificates_are_read_as_openssl_reads_them(matrix: &Matrix) {
    for case in &matrix.cases {
        let Some((certificate, _)) = files(matrix, case) else {
            continue;
        };
        let openssl = |arguments: &[&str]| {
            let output = Command::new("openssl")
                .arg("x509")
                .arg("-noout")
                .arg("-in")
                .arg(&certificate)
                .args(arguments)
                .output()
                .unwrap();
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        let said = run_in(
            Path::new("/"),
            &[
                "--output",
                "json",
                "certificate",
                "inspect",
                certificate.to_str().unwrap(),
            ],
        )
        .expect_code(0)
        .json();
        let fingerprint = openssl(&["-fingerprint", "-sha256"]);
        let fingerprint = fingerprint.split('=').nth(1).unwrap().replace(':', "").to_lowercase();
        assert_eq!(said["sha256"], fingerprint, "{}", certificate.display());
        let serial = openssl(&["-serial"]);
        let serial = serial.split('=').nth(1).unwrap().to_lowercase();
        assert_eq!(
            said["serial_number"].as_str().unwrap().trim_start_matches('0'),
            serial.trim_start_matches('0')
        );
    }
    assert_eq!(matrix.openssl.der("self-right").first(), Some(&0x30));
}
