//! X.509 version 1, as RFC 8705's own example is: no extensions, so no names and no usages. Certificates of OpenSSL's, curl on the other
//! side of the handshake.

use serde_json::json;

use crate::openssl::{OpenSsl, P256, RSA};
use crate::scene::{Scene, access_token, ask, claims, token};

/// A self-signed certificate: `{name}.pem`, `{name}.key`.
fn version_1(openssl: &OpenSsl, name: &str, kind: &[&str]) {
    let file = |extension: &str| format!("{name}.{extension}");
    let (key, request, certificate) = (file("key"), file("csr"), file("pem"));
    openssl.key(name, kind);
    openssl.run(&["req", "-new", "-key", &key, "-subj", "/CN=old", "-out", &request]);
    openssl.run(&[
        "x509",
        "-req",
        "-in",
        &request,
        "-signkey",
        &key,
        "-days",
        "30",
        "-out",
        &certificate,
    ]);
}

// covers FAPI-23, MTLS-A-4, TRAP-44
#[test]
fn they_authenticate_and_bind_in_tls_1_2_and_1_3() {
    let scene = Scene::new();
    for (name, kind) in [("ec", P256), ("rsa", RSA)] {
        version_1(&scene.openssl, name, kind);
        version_1(&scene.openssl, &format!("{name}-stranger"), kind);
        let jwk = scene.openssl.certificate_jwk(name);
        let metadata = json!({"token_endpoint_auth_method": "self_signed_tls_client_auth", "jwks": {"keys": [jwk]}});
        scene.client(name, &metadata);
    }
    let (installation, openssl) = scene.start();
    let form = |client_id: &str| format!("grant_type=client_credentials&client_id={client_id}");
    let (token_endpoint, resource) = (installation.mutual_tls("/token"), installation.gateway("/"));
    for version in [["--tlsv1.2", "--tls-max", "1.2"], ["--tlsv1.3", "--tls-max", "1.3"]] {
        let ask = |certificate: &str, arguments: &[&str]| {
            ask(
                &installation,
                &openssl,
                Some(certificate),
                &[&version[..], arguments].concat(),
            )
        };
        for client_id in ["ec", "rsa"] {
            let stranger = format!("{client_id}-stranger");
            // The same names and another key: neither the client, nor the holder of its token.
            let refused = ask(&stranger, &["-d", &form(client_id), &token_endpoint]);
            assert_eq!(
                (refused.status, refused.error().as_str()),
                (400, "invalid_client"),
                "{version:?}"
            );
            let rules = installation.explain(&refused.refusal());
            assert!(rules.to_string().contains("octet for octet"), "{rules}");

            let token = access_token(&ask(client_id, &["-d", &form(client_id), &token_endpoint]));
            assert_eq!(
                claims(&token)["cnf"],
                json!({"x5t#S256": openssl.thumbprint(client_id)})
            );
            let authorization = format!("Authorization: Bearer {token}");
            let stolen = ask(&stranger, &["-H", &authorization, &resource]);
            assert_eq!(stolen.status, 401, "{stolen:?}");
            assert!(
                stolen.header("www-authenticate").unwrap().contains("invalid_token"),
                "{stolen:?}"
            );
            assert_eq!(
                ask(client_id, &["-H", &authorization, &resource]).status,
                200,
                "{version:?} {client_id}"
            );
        }
    }
    // Without any extension there is no name that the PKI method could find.
    let none = token(&installation, &openssl, Some("ec"), "demo", "");
    assert_eq!(none.error(), "invalid_client");
}
