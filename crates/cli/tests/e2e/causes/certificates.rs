//! What is wrong with the certificate of a client, or with its path.

use std::process::{Command, Stdio};

use crate::causes::{Causes, INVALID_CLIENT, PATH, PRESENTED, REVOCATION, VALIDITY, tls_client_auth};
use crate::installation::curl;
use crate::openssl::{P256, Wanted};
use crate::scene::{Scene, access_token, token};

const SUBJECT: &str = "/C=BR/O=Example/CN=a";
const RSA_1024: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"];

/// Authorities, and certificates that have one thing wrong each.
fn public_key_infrastructure(scene: &Scene) {
    let openssl = &scene.openssl;
    for (name, subject) in [
        ("corp", "/O=Corp/CN=Corp CA"),
        ("namesake", "/O=Corp/CN=Corp CA"),
        ("stranger", "/O=Elsewhere/CN=Stranger CA"),
        ("revoking", "/O=Corp/CN=Revoking CA"),
        ("stale", "/O=Corp/CN=Stale CA"),
        ("unlisted", "/O=Corp/CN=Unlisted CA"),
    ] {
        openssl.authority(name, subject);
    }
    // What this command makes unless asked: basic constraints that are not critical.
    openssl.key("careless", P256);
    let careless = [
        ["-key", "careless.key"],
        ["-out", "careless.pem"],
        ["-subj", "/O=Corp/CN=Careless CA"],
        ["-addext", "basicConstraints=CA:TRUE"],
    ];
    openssl.run(&[&["req", "-x509", "-new"], careless.as_flattened()].concat());
    openssl.intermediate("between", "/O=Corp/CN=Between", "corp");
    let names = Some("DNS:a.example.com");
    let wanted = |name: &'static str| Wanted {
        alternative_names: names,
        ..Wanted::new(name, SUBJECT)
    };
    let make = |wanted: Wanted<'_>, authority| openssl.certificate(wanted, Some(authority));
    make(wanted("right"), "corp");
    make(
        Wanted {
            expired: true,
            ..wanted("expired")
        },
        "corp",
    );
    let dates = Some(("20480101000000Z", "20491231235959Z"));
    make(
        Wanted {
            dates,
            ..wanted("early")
        },
        "corp",
    );
    make(wanted("of-stranger"), "stranger");
    make(wanted("of-namesake"), "namesake");
    make(wanted("below"), "between");
    openssl.bundle("below-complete", &["below", "between"]);
    make(
        Wanted {
            extended_key_usage: "serverAuth",
            ..wanted("for-servers")
        },
        "corp",
    );
    make(
        Wanted {
            key_usage: "keyAgreement",
            ..wanted("for-agreement")
        },
        "corp",
    );
    make(
        Wanted {
            alternative_names: names,
            ..Wanted::new("other-subject", "/C=BR/O=Exemple/CN=a")
        },
        "corp",
    );
    make(
        Wanted {
            alternative_names: Some("DNS:10.0.0.1"),
            ..wanted("address-as-name")
        },
        "corp",
    );
    make(
        Wanted {
            alternative_names: Some("DNS:b.example.com"),
            ..wanted("other-name")
        },
        "corp",
    );
    make(
        Wanted {
            alternative_names: None,
            ..wanted("without-names")
        },
        "corp",
    );
    make(
        Wanted {
            key: RSA_1024,
            ..wanted("weak")
        },
        "corp",
    );
    make(wanted("revoked"), "revoking");
    make(wanted("of-revoking"), "revoking");
    make(wanted("of-stale"), "stale");
    make(wanted("of-unlisted"), "unlisted");
    make(wanted("of-careless"), "careless");
    openssl.revocation_list("revoking", Some("revoked"), &[]);
    let dates = [
        "-crl_lastupdate",
        "20200101000000Z",
        "-crl_nextupdate",
        "20200201000000Z",
    ];
    openssl.revocation_list("stale", None, &dates);
    scene.trusts("corp", "");
    scene.trusts("revoking", "crl = [\"openssl/revoking.crl\"]");
    scene.trusts("stale", "crl = [\"openssl/stale.crl\"]");
    scene.trusts("unlisted", "crl_missing = \"refuse\"");
    scene.trusts("careless", "strict = true");
    scene.client(
        "dn",
        &tls_client_auth("corp", "tls_client_auth_subject_dn", "CN=a,O=Example,C=BR"),
    );
    scene.client(
        "reversed",
        &tls_client_auth("corp", "tls_client_auth_subject_dn", "C=BR,O=Example,CN=a"),
    );
    scene.client(
        "san",
        &tls_client_auth("corp", "tls_client_auth_san_dns", "a.example.com"),
    );
    scene.client(
        "address",
        &tls_client_auth("corp", "tls_client_auth_san_ip", "10.0.0.1"),
    );
    for authority in ["revoking", "stale", "unlisted", "careless"] {
        scene.client(
            authority,
            &tls_client_auth(authority, "tls_client_auth_san_dns", "a.example.com"),
        );
    }
}

// covers UX-2, MTLS-2-1, MTLS-2-6, MTLS-2-7, MTLS-2-8, MTLS-2.1-3, MTLS-2.1-4, MTLS-2.1-6, MTLS-7.4-1, T13, T16, T18, TRAP-4, TRAP-13, TRAP-20
#[test]
fn the_first_failed_rule_is_what_is_wrong_with_a_certificate() {
    let scene = Scene::new();
    public_key_infrastructure(&scene);
    let metrics = format!("http://127.0.0.1:{}/metrics", 8445 + scene.offset);
    let (installation, openssl) = scene.start();
    let ask = |client_id, certificate| token(&installation, &openssl, certificate, client_id, "");
    for (client_id, certificate) in [("dn", "right"), ("san", "right"), ("revoking", "of-revoking")] {
        access_token(&ask(client_id, Some(certificate)));
    }
    let mut causes = Causes::new(&installation);
    for (cause, client_id, certificate, rule, says) in [
        (
            "no certificate",
            "dn",
            None,
            PRESENTED,
            "no client certificate was presented",
        ),
        ("expired", "dn", Some("expired"), VALIDITY, "expired at"),
        ("not yet valid", "dn", Some("early"), VALIDITY, "valid only from"),
        (
            "wrong authority",
            "dn",
            Some("of-stranger"),
            PATH,
            "CN=Stranger CA,O=Elsewhere is not a trust anchor",
        ),
        (
            "authority of the same name",
            "dn",
            Some("of-namesake"),
            PATH,
            "whose key is not that of the configured one",
        ),
        (
            "authority that does not do its duty",
            "careless",
            Some("of-careless"),
            PATH,
            "trust anchor careless is strict",
        ),
        ("missing intermediate", "san", Some("below"), PATH, "was not presented"),
        (
            "wrong extended key usage",
            "dn",
            Some("for-servers"),
            "extended key usage clientAuth",
            "serverAuth",
        ),
        (
            "wrong key usage",
            "dn",
            Some("for-agreement"),
            "key usage digitalSignature",
            "keyAgreement",
        ),
        (
            "attribute differs",
            "dn",
            Some("other-subject"),
            "tls_client_auth_subject_dn",
            "Exemple",
        ),
        (
            "order reversed",
            "reversed",
            Some("right"),
            "tls_client_auth_subject_dn",
            "order",
        ),
        (
            "name of another type",
            "address",
            Some("address-as-name"),
            "tls_client_auth_san_ip",
            "another kind of name",
        ),
        (
            "other name",
            "san",
            Some("other-name"),
            "tls_client_auth_san_dns",
            "b.example.com",
        ),
        (
            "no name",
            "san",
            Some("without-names"),
            "tls_client_auth_san_dns",
            "no subject alternative names",
        ),
        ("revoked", "revoking", Some("revoked"), REVOCATION, "was revoked at"),
        (
            "stale list",
            "stale",
            Some("of-stale"),
            REVOCATION,
            "stale since 2020-02-01",
        ),
        (
            "missing list",
            "unlisted",
            Some("of-unlisted"),
            REVOCATION,
            "there is no revocation list",
        ),
    ] {
        causes.refused(cause, &ask(client_id, certificate), INVALID_CLIENT, rule, says);
    }
    // A yes is remembered for the leaf, so the right one comes after the wrong one here.
    access_token(&ask("san", Some("below-complete")));
    assert_eq!(causes.shown.len(), 17);

    // A key that nobody could verify with ends the handshake: nothing to explain, so it is counted with its reason.
    let failures = || curl(&installation.path("pki/ca.pem"), None, &[&metrics]).body;
    let counted = |count: u32| {
        let line = format!("reason=\"key_unsupported\"}} {count}");
        move |text: &str| {
            text.lines()
                .any(|it| it.contains("handshake") && it.contains("mutual_tls") && it.ends_with(&line))
        }
    };
    assert!(counted(0)(&failures()), "{}", failures());
    let weak = Command::new("openssl")
        .args([
            "s_client",
            "-quiet",
            "-cipher",
            "DEFAULT@SECLEVEL=0",
            "-servername",
            "localhost",
            "-connect",
        ])
        .arg(format!("localhost:{}", 8444 + installation.offset))
        .arg("-cert")
        .arg(openssl.path("weak.pem"))
        .arg("-key")
        .arg(openssl.path("weak.key"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&weak.stderr).into_owned();
    assert!(said.contains("alert"), "{said}");
    assert!(counted(1)(&failures()), "{}", failures());
}
