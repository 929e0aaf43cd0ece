//! What is revoked at the server is refused at its gateways, and what becomes of them when the server is gone.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::causes::tls_client_auth;
use crate::installation::{Answer, Installation, curl};
use crate::openssl::{OpenSsl, Wanted};
use crate::scene::{Daemon, Scene, access_token, ask, free_port, token};

/// How many certificates are cut off, one after the other.
const TIMES: usize = 20;
/// What DESIGN promises.
const REACHES_WITHIN: Duration = Duration::from_secs(1);

fn call(installation: &Installation, openssl: &OpenSsl, name: &str, token: &str, url: &str) -> Answer {
    let header = format!("Authorization: Bearer {token}");
    ask(installation, openssl, Some(name), &["-H", &header, url])
}

// covers R7009-5, T18
#[test]
fn a_certificate_that_is_cut_off_is_refused_at_the_gateway_within_a_second() {
    let scene = Scene::new();
    scene.openssl.authority("corp", "/O=Corp/CN=Corp CA");
    scene.trusts("corp", "");
    scene.client("a", &tls_client_auth("corp", "tls_client_auth_subject_dn", "CN=a"));
    let mut metadata = tls_client_auth("corp", "tls_client_auth_subject_dn", "CN=rs");
    metadata["keybound_introspects"] = json!([scene.resource()]);
    scene.client("rs", &metadata);
    let name = |number: usize| format!("a-{number}");
    for number in 0..TIMES {
        scene
            .openssl
            .certificate(Wanted::new(&name(number), "/CN=a"), Some("corp"));
    }
    scene.openssl.certificate(Wanted::new("rs", "/CN=rs"), Some("corp"));
    let (installation, openssl) = scene.start();
    let url = installation.gateway("/hello");
    let mut took = Vec::new();
    for number in 0..TIMES {
        let name = name(number);
        let bound = access_token(&token(&installation, &openssl, Some(&name), "a", ""));
        assert_eq!(call(&installation, &openssl, &name, &bound, &url).status, 200);
        let (certificate, _) = openssl.identity(&name);
        let said = installation.run(&["revoke", "--certificate", certificate.to_str().unwrap()]);
        let begun = Instant::now();
        said.expect_code(0);
        // Introspection says so at once: it is asked before the gateway is, and answers by then.
        let form = format!("client_id=rs&token={bound}");
        let introspect = installation.mutual_tls("/introspect");
        let shown = ask(&installation, &openssl, Some("rs"), &["-d", &form, &introspect]);
        assert_eq!(shown.body, r#"{"active":false}"#, "{shown:?}");
        let refused = loop {
            let answer = call(&installation, &openssl, &name, &bound, &url);
            if answer.status != 200 || begun.elapsed() > REACHES_WITHIN {
                break answer;
            }
        };
        took.push(begun.elapsed());
        assert_eq!(
            (refused.status, refused.error().as_str()),
            (401, "invalid_token"),
            "{refused:?}"
        );
        let explained = installation.explain(&refused.refusal());
        assert!(
            explained["reason"].as_str().unwrap().contains("was revoked"),
            "{explained}"
        );
        // Nothing new either.
        let refused = token(&installation, &openssl, Some(&name), "a", "");
        assert_eq!(
            (refused.status, refused.error().as_str()),
            (400, "invalid_client"),
            "{refused:?}"
        );
    }
    took.sort();
    let slowest = took.last().unwrap();
    let median = took[TIMES / 2];
    assert!(*slowest < REACHES_WITHIN && median < REACHES_WITHIN / 2, "{took:?}");
}

/// A gateway of its own that follows as the quickstart's does.
fn follower(installation: &Installation, on_stale: &str) -> (Daemon, String, String) {
    let (port, operations) = (free_port(), free_port());
    let text = format!(
        "listen = \"127.0.0.1:{port}\"\noperations = \"127.0.0.1:{operations}\"\nresource = \"{}\"\n\
         tls.certificate = \"pki/server.pem\"\ntls.key = \"pki/server.key\"\noutgoing.ca = [\"pki/ca.pem\"]\n\
         limits.revocations_silence_max = \"30s\"\n\
         [[issuers]]\nissuer = \"{}\"\nrevocations = \"{}\"\non_stale = \"{on_stale}\"\nclient_id = \"gateway\"\n\
         certificate = \"clients/gateway/cert.pem\"\nkey = \"clients/gateway/key.pem\"\n\
         [[routes]]\npath = \"/\"\nupstream = \"demo:\"\n",
        installation.gateway(""),
        installation.public(""),
        installation.mutual_tls("/revocations"),
    );
    let file = installation.path(&format!("{on_stale}.toml"));
    std::fs::write(&file, text).unwrap();
    let url = format!("https://localhost:{port}/hello");
    (
        Daemon::gateway(&file, port),
        url,
        format!("http://127.0.0.1:{operations}"),
    )
}

/// What a gateway says of its readiness.
fn readiness(directory: &Path, operations: &str) -> (u16, Value) {
    let answer = curl(
        &directory.join("pki/ca.pem"),
        None,
        &[&format!("{operations}/health/ready")],
    );
    (answer.status, answer.json())
}

fn until(what: &str, limit: Duration, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < limit, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_gateway_whose_server_is_gone_says_so_and_goes_on_or_refuses() {
    let scene = Scene::new();
    let offset = scene.offset;
    let (installation, _) = scene.start();
    let directory = installation.path("");
    let (_goes_on, goes_on_url, goes_on) = follower(&installation, "continue");
    let (_refuses, refuses_url, refuses) = follower(&installation, "refuse");
    for operations in [&goes_on, &refuses] {
        until("not ready", Duration::from_secs(20), || {
            readiness(&directory, operations).0 == 200
        });
        let (_, said) = readiness(&directory, operations);
        assert_eq!(said["revocations"][0]["state"], "current", "{said}");
        let metrics = curl(&directory.join("pki/ca.pem"), None, &[&format!("{operations}/metrics")]).body;
        assert!(
            metrics.contains("keybound_gateway_revocations_silent_seconds{"),
            "{metrics}"
        );
    }
    let token = installation.token();
    let header = format!("Authorization: Bearer {token}");
    let status = |directory: &Path, url: &str| {
        let demo = directory.join("clients/demo");
        let identity = (demo.join("cert.pem"), demo.join("key.pem"));
        curl(
            &directory.join("pki/ca.pem"),
            Some((&identity.0, &identity.1)),
            &["-H", &header, url],
        )
        .status
    };
    assert_eq!(
        (status(&directory, &goes_on_url), status(&directory, &refuses_url)),
        (200, 200)
    );

    let files = installation.stop();
    let gone = Instant::now();
    until("still ready", Duration::from_secs(45), || {
        readiness(&directory, &goes_on).0 == 503
    });
    assert!(
        gone.elapsed() > Duration::from_secs(2),
        "unready too soon: {:?}",
        gone.elapsed()
    );
    let (_, said) = readiness(&directory, &goes_on);
    assert_eq!(
        (&said["status"], &said["revocations"][0]["state"]),
        (&json!("unready"), &json!("silent")),
        "{said}"
    );
    assert!(said["revocations"][0]["error"].is_string(), "{said}");
    assert_eq!(
        (status(&directory, &goes_on_url), status(&directory, &refuses_url)),
        (200, 503)
    );
    assert_eq!(readiness(&directory, &refuses).0, 503);

    // It comes back: followed again within the longest pause.
    let _installation = Installation::start_in(files, offset);
    for operations in [&goes_on, &refuses] {
        until("not ready again", Duration::from_secs(20), || {
            readiness(&directory, operations).0 == 200
        });
    }
    assert_eq!(
        (status(&directory, &goes_on_url), status(&directory, &refuses_url)),
        (200, 200)
    );
}
