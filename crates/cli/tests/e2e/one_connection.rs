//! One connection, many clients: each answer is its own client's, whatever was decided before it (RFC 8705 §2, §7.4).

use std::process::Command;

use serde_json::{Value, json};

use crate::causes::{Causes, INVALID_CLIENT, INVALID_REQUEST, tls_client_auth};
use crate::installation::{Installation, run_in};
use crate::openssl::{OpenSsl, Wanted};
use crate::scene::{Scene, access_token, ask, claims, token, with_assertion};

/// What curl got for each of `forms`, sent one after the other: status, connections made for it, body.
fn one_after_the_other(
    installation: &Installation,
    openssl: &OpenSsl,
    certificate: &str,
    forms: &[String],
) -> Vec<(u16, u32, Value)> {
    let (ca, (certificate, key)) = (installation.path("pki/ca.pem"), openssl.identity(certificate));
    let url = installation.mutual_tls("/token");
    let section = |form: &String| {
        format!(
            "url = {url:?}\ndata = {form:?}\ncacert = {ca:?}\ncert = {certificate:?}\nkey = {key:?}\nhttp1.1\n\
             write-out = \"\\n%{{http_code}} %{{num_connects}}\\n\"\n"
        )
    };
    let sections: Vec<String> = forms.iter().map(section).collect();
    let configuration = installation.path("curl.conf");
    std::fs::write(&configuration, sections.join("next\n")).unwrap();
    let output = Command::new("curl")
        .arg("--silent")
        .arg("--config")
        .arg(configuration)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), forms.len() * 2, "{text}");
    let answer = |lines: &[&str]| {
        let (status, connects) = lines[1].split_once(' ').unwrap();
        let body = serde_json::from_str(lines[0]).unwrap();
        (status.parse().unwrap(), connects.parse().unwrap(), body)
    };
    lines.chunks(2).map(answer).collect()
}

/// The name of an authority's key, as `keybound_trust_anchors` takes it.
fn key_name(scene: &Scene, authority: &str) -> String {
    let file = format!("openssl/{authority}.pem");
    let inspected = run_in(&scene.path(""), &["--output", "json", "certificate", "inspect", &file]);
    let inspected = inspected.expect_code(0).json();
    inspected["trust_anchor"].as_str().unwrap().to_owned()
}

// covers MTLS-2-4, MTLS-2-5, MTLS-7.4-1, T6, T13, TRAP-18
#[test]
fn two_clients_with_different_trust_anchors_share_one_connection_and_nothing_else() {
    let scene = Scene::new();
    for authority in ["one", "two"] {
        scene.openssl.authority(authority, "/O=Corp/CN=Same name");
        let leaf = format!("of-{authority}");
        let wanted = Wanted {
            alternative_names: Some("DNS:a.example.com,DNS:b.example.com"),
            ..Wanted::new(&leaf, "/CN=a")
        };
        scene.openssl.certificate(wanted, Some(authority));
        scene.trusts(authority, "");
    }
    let key = key_name(&scene, "two");
    scene.client("a", &tls_client_auth("one", "tls_client_auth_san_dns", "a.example.com"));
    // An anchor by its name and one by its key; who has the certificate of one has both names in it.
    scene.client("b", &tls_client_auth(&key, "tls_client_auth_san_dns", "b.example.com"));
    // The same as `a`, but for the name of the client: nobody gets the token of somebody else.
    scene.client(
        "also-a",
        &tls_client_auth("one", "tls_client_auth_san_dns", "a.example.com"),
    );
    let (installation, openssl) = scene.start();
    for (certificate, accepted, refused) in [("of-one", ["a", "also-a"], "b"), ("of-two", ["b", "b"], "a")] {
        let thumbprint = openssl.thumbprint(certificate);
        let order = [accepted[0], refused, accepted[1], refused].repeat(50);
        let form = |client_id: &&str| format!("grant_type=client_credentials&client_id={client_id}");
        let forms: Vec<String> = order.iter().map(form).collect();
        let answers = one_after_the_other(&installation, &openssl, certificate, &forms);
        let connections: u32 = answers.iter().map(|(_, connects, _)| connects).sum();
        assert_eq!((answers.len(), connections), (200, 1));
        let mut plainly_refused = 0;
        for (client_id, (status, _, body)) in order.iter().zip(&answers) {
            if *client_id == refused {
                // More failures than 20 in a second are answered 429: failures still.
                let error = body["error"].as_str().unwrap_or_default();
                let plainly = (*status, error) == INVALID_CLIENT;
                assert!(plainly || *status == 429, "{client_id}: {status} {body}");
                assert!(body.get("access_token").is_none(), "{client_id}: {body}");
                plainly_refused += u32::from(plainly);
            } else {
                assert_eq!(*status, 200, "{client_id}: {body}");
                let claims = claims(body["access_token"].as_str().unwrap());
                assert_eq!(
                    (&claims["client_id"], &claims["sub"]),
                    (&json!(client_id), &json!(client_id))
                );
                assert_eq!(claims["cnf"], json!({ "x5t#S256": thumbprint }));
            }
        }
        assert!(plainly_refused >= 1, "{certificate}: only 429 was seen");
    }
    // The way of an administrator: the same name of the same key.
    let added = json!({ "client_id": "added", "token_endpoint_auth_method": "tls_client_auth", "grant_types": ["client_credentials"],
        "tls_client_auth_san_dns": "a.example.com", "keybound_trust_anchors": [key] });
    std::fs::write(installation.path("added.json"), added.to_string()).unwrap();
    installation
        .run(&["client", "create", "--file", "added.json"])
        .expect_code(0);
    access_token(&token(&installation, &openssl, Some("of-two"), "added", ""));
    let refused = token(&installation, &openssl, Some("of-one"), "added", "");
    let mut causes = Causes::new(&installation);
    let rule = "path to a trust anchor of this client";
    causes.refused("another anchor's", &refused, INVALID_CLIENT, rule, &key);
}

// covers MTLS-3.4-2, MTLS-3-4, TRAP-47, R7523-2, R7523-4
#[test]
fn a_client_of_bound_tokens_without_a_certificate_spends_nothing() {
    let scene = Scene::new();
    let key = scene.openssl.signing_key("signer");
    let jwt = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [key] } });
    scene.client("jwt", &jwt);
    // Any certificate will do to bind to: this method asks nobody who signed it.
    scene.openssl.certificate(Wanted::new("own", "/CN=own"), None);
    let issuer = scene.issuer();
    let (installation, openssl) = scene.start();
    let assertion = with_assertion(&openssl.assertion("signer", "jwt", &issuer));
    let mut causes = Causes::new(&installation);
    let rule = "certificate presented to bind the access token to";
    let without = token(&installation, &openssl, None, "jwt", &assertion);
    causes.refused("without", &without, INVALID_REQUEST, rule, "none was presented");
    let form = format!("grant_type=client_credentials&client_id=jwt{assertion}");
    let public = ask(
        &installation,
        &openssl,
        Some("own"),
        &["-d", &form, &installation.public("/token")],
    );
    causes.refused(
        "where nobody asks",
        &public,
        INVALID_REQUEST,
        rule,
        "does not ask for one",
    );
    let excess = token(
        &installation,
        &openssl,
        Some("own"),
        "jwt",
        &format!("&scope=more{assertion}"),
    );
    causes.refused(
        "for too much",
        &excess,
        (400, "invalid_scope"),
        "scope registered",
        "more",
    );

    let bound = access_token(&token(&installation, &openssl, Some("own"), "jwt", &assertion));
    assert_eq!(claims(&bound)["cnf"], json!({ "x5t#S256": openssl.thumbprint("own") }));
    let again = token(&installation, &openssl, Some("own"), "jwt", &assertion);
    causes.refused(
        "spent",
        &again,
        INVALID_CLIENT,
        "client assertion used once",
        "used before",
    );
}
