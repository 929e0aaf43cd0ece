//! Certificates, chains, keys and revocation lists that the OpenSSL command line made: input that nobody here had a hand in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use keybound_protocol::certificate::{Certificate, PublicKeyKind};
use keybound_protocol::certificate_file;
use keybound_protocol::client_authentication::{AuthenticatedClient, ClientAuthenticationError};
use keybound_protocol::distinguished_name::DistinguishedName;
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_protocol::tls_client_auth;
use keybound_protocol::trust_anchor::{CrlMissing, TrustAnchorSettings, TrustAnchors};

use crate::oracles::say;
use crate::pki::{anchors, presented, tls_client};

/// A directory in which the `openssl` program works.
struct Workshop {
    directory: tempfile::TempDir,
}

const CLIENT_EXTENSIONS: &str = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n\
    extendedKeyUsage=clientAuth\nsubjectAltName=DNS:client.example,URI:spiffe://example/client,IP:192.0.2.1,IP:2001:db8::1,\
    email:client@example.com\n";
const AUTHORITY_EXTENSIONS: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n\
    subjectKeyIdentifier=hash\n";

impl Workshop {
    /// `None`, said on stderr, where there is no OpenSSL.
    fn open() -> Option<Workshop> {
        let mut version = Command::new("openssl");
        version.arg("version").stdout(Stdio::null()).stderr(Stdio::null());
        if !version.status().is_ok_and(|status| status.success()) {
            say("not run: there is no openssl to make certificates with");
            return None;
        }
        Some(Workshop {
            directory: tempfile::tempdir().unwrap(),
        })
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    fn openssl(&self, arguments: &str, more: &[&str]) {
        let mut command = Command::new("openssl");
        command
            .args(arguments.split_whitespace())
            .args(more)
            .current_dir(self.directory.path());
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(
            output.status.success(),
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn key(&self, name: &str, kind: &str) {
        match kind.split_once(' ') {
            Some((algorithm, option)) => {
                let arguments = format!("genpkey -algorithm {algorithm} -pkeyopt {option} -out {name}.key");
                self.openssl(&arguments, &[]);
            }
            None => self.openssl(&format!("genpkey -algorithm {kind} -out {name}.key"), &[]),
        }
    }

    /// A self-signed authority.
    fn root(&self, name: &str, kind: &str, subject: &str) {
        self.key(name, kind);
        fs::write(
            self.path("root.cnf"),
            format!("[req]\ndistinguished_name=dn\n[dn]\n[ext]\n{AUTHORITY_EXTENSIONS}"),
        )
        .unwrap();
        let arguments = format!(
            "req -x509 -new -utf8 -config root.cnf -extensions ext -key {name}.key -days 30 -out {name}.pem -subj"
        );
        self.openssl(&arguments, &[subject]);
    }

    /// A certificate issued by `issuer`.
    fn issue(&self, name: &str, kind: &str, subject: &str, issuer: &str, extensions: &str, more: &[&str]) {
        self.key(name, kind);
        fs::write(self.path("request.cnf"), "[req]\ndistinguished_name=dn\n[dn]\n").unwrap();
        fs::write(self.path("ext.cnf"), extensions).unwrap();
        self.openssl(
            &format!("req -new -utf8 -config request.cnf -key {name}.key -out {name}.csr -subj"),
            &[subject],
        );
        let extensions = if extensions.is_empty() { "" } else { "-extfile ext.cnf" };
        let arguments = format!(
            "x509 -req -in {name}.csr -CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial -days 30 -out {name}.pem {extensions}"
        );
        self.openssl(&arguments, more);
    }

    fn der(&self, name: &str) -> Vec<u8> {
        read(&self.path(&format!("{name}.pem")))
    }

    fn trust(&self, name: &str) -> TrustAnchors {
        anchors(&[self.settings(name)])
    }

    fn settings(&self, name: &str) -> TrustAnchorSettings {
        TrustAnchorSettings {
            name: "openssl".parse().unwrap(),
            certificates: vec![self.der(name)],
            crls: Vec::new(),
            crl_missing: None,
            require_client_auth_eku: true,
            strict: false,
        }
    }
}

fn read(path: &Path) -> Vec<u8> {
    certificate_file::certificates(&fs::read(path).unwrap())
        .unwrap()
        .remove(0)
}

/// In the middle of what OpenSSL made valid from now on: it reads the clock, we are told.
fn authenticate(
    parameter: (&str, &str),
    presented: &PresentedCertificate,
    trust: &TrustAnchors,
) -> Result<AuthenticatedClient, ClientAuthenticationError> {
    let certificate = presented.end_entity().unwrap().certificate().unwrap();
    let now = certificate.not_before().plus(std::time::Duration::from_secs(3600));
    let client = tls_client(parameter.0, parameter.1);
    tls_client_auth::authenticate(&Arc::clone(&client), presented, trust, now).map(|(client, _)| client)
}

const RSA: &str = "RSA rsa_keygen_bits:2048";
const P256: &str = "EC ec_paramgen_curve:P-256";
const P384: &str = "EC ec_paramgen_curve:P-384";
const ED25519: &str = "ED25519";

// covers MTLS-2.1-1, MTLS-2.1-4, X509-2
#[test]
fn chains_of_every_kind_of_key_are_verified() {
    let Some(workshop) = Workshop::open() else { return };
    let kinds = [
        (RSA, PublicKeyKind::Rsa { bits: 2048 }),
        (P256, PublicKeyKind::P256),
        (P384, PublicKeyKind::P384),
        (ED25519, PublicKeyKind::Ed25519),
    ];
    for (index, (kind, expected)) in kinds.iter().enumerate() {
        let below = kinds[(index + 1) % kinds.len()].0;
        workshop.root("root", kind, "/O=Corp/CN=Root");
        workshop.issue("sub", below, "/O=Corp/CN=Issuing", "root", AUTHORITY_EXTENSIONS, &[]);
        workshop.issue("leaf", kind, "/O=Corp/CN=demo", "sub", CLIENT_EXTENSIONS, &[]);
        let leaf = workshop.der("leaf");
        assert_eq!(Certificate::parse(&leaf).unwrap().public_key_kind(), expected);
        let chain = presented(&leaf, &[&workshop.der("sub")]);
        let trust = workshop.trust("root");
        for parameter in [
            ("tls_client_auth_subject_dn", "CN=demo,O=Corp"),
            ("tls_client_auth_san_dns", "client.example"),
            ("tls_client_auth_san_uri", "spiffe://example/client"),
            ("tls_client_auth_san_ip", "192.0.2.1"),
            ("tls_client_auth_san_ip", "2001:db8::1"),
            ("tls_client_auth_san_email", "client@example.com"),
        ] {
            let outcome = authenticate(parameter, &chain, &trust);
            assert!(outcome.is_ok(), "{kind} {parameter:?}: {outcome:?}");
        }
        let error = authenticate(("tls_client_auth_subject_dn", "CN=demo"), &chain, &trust)
            .map(|_| ())
            .unwrap_err();
        assert!(matches!(error, ClientAuthenticationError::Subject { .. }));
    }
}

// covers DN-1, DN-2, DN-3, DN-4, DN-5, MTLS-2.1.2-2
#[test]
fn names_of_every_shape_are_read() {
    let Some(workshop) = Workshop::open() else { return };
    workshop.root("root", P256, "/CN=Root");
    // As given to `openssl req -subj`, and as a person would register it.
    let names = [
        (
            "/C=BR/O=Exemplo S\\/A, Ltda/CN=psp-17",
            "CN=psp-17,O=Exemplo S/A\\, Ltda,C=BR",
        ),
        (
            "/O=\"Quoted\" <and> \\+ more;/CN=#hash = x",
            "CN=\\#hash = x,O=\\\"Quoted\\\" \\<and\\> \\+ more\\;",
        ),
        ("/O=Back\\\\slash/CN=a", "cn=a, o=Back\\\\slash"),
        ("/C=DE/O=Müller & Söhne/CN=Größe", "CN=GRÖSSE,O=müller & söhne,C=DE"),
        ("/O=株式会社/CN=京都", "CN=京都,O=株式会社"),
        ("/O=Corp/CN=demo+UID=42", "UID=42+CN=demo,O=Corp"),
        ("/O=Corp/OU=one/OU=two/CN=demo", "CN=demo,OU=two,OU=one,O=Corp"),
        (
            "/O=Corp/CN=demo/emailAddress=Info@Example.com",
            "E=info@example.com,CN=demo,O=Corp",
        ),
        (
            "/O=Corp/organizationIdentifier=PSDGB-FCA-123456/CN=demo",
            "CN=demo,2.5.4.97=PSDGB-FCA-123456,O=Corp",
        ),
        (
            "/businessCategory=Private Organization/jurisdictionC=BR/serialNumber=12345678000199/CN=demo",
            "CN=demo,serialNumber=12345678000199,jurisdictionCountryName=BR,businessCategory=private organization",
        ),
        (
            "/DC=com/DC=example/UID=x/street=Main St. 1/postalCode=10115/L=Berlin/ST=Berlin",
            "ST=Berlin,L=Berlin,postalCode=10115,street=Main St. 1,UID=x,DC=example,DC=com",
        ),
        (
            "/GN=Ada/SN=Lovelace/initials=A/title=Countess/pseudonym=aal/CN=Ada",
            "CN=Ada,pseudonym=aal,title=Countess,initials=A,surname=Lovelace,givenName=Ada",
        ),
    ];
    let trust = workshop.trust("root");
    for (given, registered) in names {
        workshop.issue("leaf", P256, given, "root", CLIENT_EXTENSIONS, &[]);
        let leaf = workshop.der("leaf");
        let outcome = authenticate(
            ("tls_client_auth_subject_dn", registered),
            &presented(&leaf, &[]),
            &trust,
        );
        let subject = Certificate::parse(&leaf).unwrap().subject().clone();
        assert!(
            outcome.is_ok(),
            "{given} is {subject}, registered {registered}: {outcome:?}"
        );
        let canonical: DistinguishedName = subject.to_string().parse().unwrap();
        assert!(subject.matches(&canonical), "{subject}");
    }
}

// covers X509-2, MTLS-7.5-3
#[test]
fn weak_keys_weak_hashes_and_old_versions_are_refused() {
    let Some(workshop) = Workshop::open() else { return };
    workshop.root("root", RSA, "/CN=Root");
    let trust = workshop.trust("root");
    let check = |kind: &str, extensions: &str, more: &[&str], reason: &str| {
        workshop.issue("leaf", kind, "/CN=demo", "root", extensions, more);
        let chain = presented(&workshop.der("leaf"), &[]);
        let error = authenticate(("tls_client_auth_subject_dn", "CN=demo"), &chain, &trust)
            .map(|_| ())
            .unwrap_err();
        let ClientAuthenticationError::Chain(chain) = error else {
            panic!("{error:?}")
        };
        assert!(format!("{chain:?}").starts_with(reason), "{chain:?}, not {reason}");
    };
    check("RSA rsa_keygen_bits:1024", CLIENT_EXTENSIONS, &[], "WeakKey");
    check("EC ec_paramgen_curve:secp256k1", CLIENT_EXTENSIONS, &[], "WeakKey");
    check(P256, CLIENT_EXTENSIONS, &["-sha1"], "UnsupportedSignatureAlgorithm");
    // OpenSSL before 3.2 makes version 1 where no extensions are asked for; later ones make version 3 without extended key usage.
    workshop.issue("leaf", P256, "/CN=demo", "root", "", &[]);
    let chain = presented(&workshop.der("leaf"), &[]);
    assert!(authenticate(("tls_client_auth_subject_dn", "CN=demo"), &chain, &trust).is_err());
    // A weak authority between.
    workshop.issue(
        "sub",
        "RSA rsa_keygen_bits:1024",
        "/CN=Sub",
        "root",
        AUTHORITY_EXTENSIONS,
        &[],
    );
    workshop.issue("leaf", P256, "/CN=demo", "sub", CLIENT_EXTENSIONS, &[]);
    let chain = presented(&workshop.der("leaf"), &[&workshop.der("sub")]);
    let error = authenticate(("tls_client_auth_subject_dn", "CN=demo"), &chain, &trust)
        .map(|_| ())
        .unwrap_err();
    assert!(format!("{error:?}").contains("WeakKey"), "{error:?}");
}

// covers MTLS-2.1-6, MTLS-7.5-6
#[test]
fn revocation_lists_of_openssl_ca_are_used() {
    let Some(workshop) = Workshop::open() else { return };
    workshop.root("root", P256, "/CN=Root");
    workshop.issue("good", P256, "/CN=demo", "root", CLIENT_EXTENSIONS, &[]);
    workshop.issue("bad", P256, "/CN=demo", "root", CLIENT_EXTENSIONS, &[]);
    let configuration = "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ncrlnumber=crlnumber\ndefault_md=sha256\ndefault_crl_days=7\n\
        certificate=root.pem\nprivate_key=root.key\ncrl_extensions=x\n[x]\nauthorityKeyIdentifier=keyid\n";
    fs::write(workshop.path("ca.cnf"), configuration).unwrap();
    fs::write(workshop.path("index.txt"), "").unwrap();
    fs::write(workshop.path("crlnumber"), "01\n").unwrap();
    workshop.openssl("ca -config ca.cnf -revoke bad.pem -crl_reason keyCompromise", &[]);
    workshop.openssl("ca -config ca.cnf -gencrl -out list.pem", &[]);

    let mut settings = workshop.settings("root");
    settings.crls = certificate_file::revocation_lists(&fs::read(workshop.path("list.pem")).unwrap()).unwrap();
    settings.crl_missing = Some(CrlMissing::Refuse);
    let trust = anchors(&[settings]);
    let demo = ("tls_client_auth_subject_dn", "CN=demo");
    let outcome = authenticate(demo, &presented(&workshop.der("good"), &[]), &trust);
    assert!(outcome.is_ok(), "{outcome:?}");
    let error = authenticate(demo, &presented(&workshop.der("bad"), &[]), &trust)
        .map(|_| ())
        .unwrap_err();
    assert!(format!("{error:?}").contains("Revoked"), "{error:?}");
}
