//! A proxy that ends TLS and forwards the certificate it saw (RFC 8705 §6.5, RFC 9440): believed where it is configured, from
//! whom it is configured, and nowhere else.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::causes::tls_client_auth;
use crate::configured_limits::hang_up;
use crate::installation::{Answer, Installation, curl, run_in};
use crate::openssl::{OpenSsl, Wanted};
use crate::scene::{Daemon, Scene, access_token, ask, claims, free_port};

const NGINX: &str = "/usr/sbin/nginx";

/// An authority, a proxy that is also a client, and two end clients.
fn scene() -> Scene {
    let scene = Scene::new();
    scene.openssl.authority("corp", "/O=Corp/CN=Corp CA");
    scene.trusts("corp", "");
    for name in ["a", "b", "proxy"] {
        let names = format!("DNS:{name}.example.com");
        let wanted = Wanted {
            alternative_names: Some(&names),
            ..Wanted::new(name, "/CN=x")
        };
        scene.openssl.certificate(wanted, Some("corp"));
        let registered = format!("{name}.example.com");
        scene.client(name, &tls_client_auth("corp", "tls_client_auth_san_dns", &registered));
    }
    scene
}

fn forwarded_from(listener: &str, address: &str, more: &str) -> String {
    format!(
        "[[forwarded_certificate]]\nlistener = \"{listener}\"\nformat = \"client-cert\"\nfrom = [\"{address}\"]\n{more}"
    )
}

/// A token request from `address`.
fn send(
    (installation, openssl): (&Installation, &OpenSsl),
    (address, certificate): (&str, Option<&str>),
    client_id: &str,
    headers: &[String],
) -> Answer {
    let (form, url) = (form(client_id), installation.mutual_tls("/token"));
    let mut arguments = vec!["--interface", address, "-d", &form];
    headers.iter().for_each(|header| arguments.extend(["-H", header]));
    arguments.push(&url);
    ask(installation, openssl, certificate, &arguments)
}

fn form(client_id: &str) -> String {
    format!("grant_type=client_credentials&client_id={client_id}")
}

fn refused(answer: &Answer) {
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (400, "invalid_client"),
        "{answer:?}"
    );
}

fn bound_to(answer: &Answer, thumbprint: &str) -> String {
    let token = access_token(answer);
    assert_eq!(claims(&token)["cnf"], json!({ "x5t#S256": thumbprint }));
    token
}

// covers MTLS-6.5-1, R9440-1, R9440-2, R9440-5, R9440-7, T5, T11, T12, TRAP-29, TRAP-30
#[test]
fn the_listed_proxy_is_believed_and_nobody_else() {
    let scene = scene();
    scene.append("keybound.toml", &forwarded_from("mutual_tls", "127.0.0.2/32", ""));
    let (installation, openssl) = scene.start();
    let to = (&installation, &openssl);
    let header = |name: &str| format!("Client-Cert: {}", openssl.client_cert(name));
    let (a, b) = (openssl.thumbprint("a"), openssl.thumbprint("b"));

    // The binding is the end client's certificate, with and without one of the proxy's own; both clients over one proxy.
    for own in [None, Some("proxy")] {
        let answer = send(to, ("127.0.0.2", own), "a", &[header("a")]);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let token = bound_to(&answer, &a);
        bound_to(&send(to, ("127.0.0.2", own), "b", &[header("b")]), &b);
        refused(&send(to, ("127.0.0.2", own), "b", &[header("a")]));
        let authorization = format!("Authorization: Bearer {token}");
        let url = installation.gateway("/hello");
        let call = |certificate| {
            ask(
                &installation,
                &openssl,
                Some(certificate),
                &["-H", &authorization, &url],
            )
            .status
        };
        assert_eq!((call("a"), call("proxy"), call("b")), (200, 401, 401));
    }
    // The proxy's own certificate is never its client's, although there is such a client.
    refused(&send(to, ("127.0.0.2", Some("proxy")), "proxy", &[]));
    refused(&send(to, ("127.0.0.2", Some("proxy")), "proxy", &[header("a")]));
    bound_to(
        &send(to, ("127.0.0.1", Some("proxy")), "proxy", &[]),
        &openssl.thumbprint("proxy"),
    );

    // From anybody else the field means nothing, beside a certificate or without one.
    for address in ["127.0.0.1", "127.0.0.3"] {
        refused(&send(to, (address, None), "a", &[header("a")]));
        refused(&send(to, (address, Some("b")), "a", &[header("a")]));
        bound_to(&send(to, (address, Some("b")), "b", &[header("a")]), &b);
        // Not even broken does it harm: it is removed unread.
        bound_to(&send(to, (address, Some("b")), "b", &["Client-Cert: ?".to_owned()]), &b);
    }
    // Not at the other listener either.
    let public = installation.public("/token");
    let arguments = [
        "--interface",
        "127.0.0.2",
        "-H",
        &header("a"),
        "-d",
        &form("a"),
        &public,
    ];
    refused(&ask(&installation, &openssl, None, &arguments));
}

// covers R9440-1, R9440-2, R9440-3, T11, TRAP-30
#[test]
fn what_the_proxy_repeats_or_garbles_is_refused() {
    let scene = scene();
    scene.append("keybound.toml", &forwarded_from("mutual_tls", "127.0.0.2/32", ""));
    let (installation, openssl) = scene.start();
    let to = (&installation, &openssl);
    let value = openssl.client_cert("a");
    let by_proxy = |headers: &[String]| send(to, ("127.0.0.2", Some("a")), "a", headers);
    let one = |value: &str| by_proxy(&[format!("Client-Cert: {value}")]);
    bound_to(&one(&value), &openssl.thumbprint("a"));
    let unpadded = value.replace('=', "");
    let inner = value.trim_matches(':');
    for malformed in [
        inner.to_owned(),
        format!("{value}, {value}"),
        format!("{value};q=1"),
        format!("\"{inner}\""),
        format!(":{}:", &inner[..inner.len() / 2]),
        format!(":{}:", inner.replace('A', "-")),
        "::".to_owned(),
        "?1".to_owned(),
        "-----BEGIN%20CERTIFICATE-----".to_owned(),
    ] {
        refused(&one(&malformed));
    }
    if unpadded != value {
        refused(&one(&unpadded));
    }
    let field = format!("Client-Cert: {value}");
    refused(&by_proxy(&[field.clone(), field.clone()]));
    refused(&by_proxy(&[
        field.clone(),
        format!("Client-Cert: {}", openssl.client_cert("b")),
    ]));
    refused(&by_proxy(&[format!(
        "Client-Cert-Chain: {}",
        openssl.client_cert("corp")
    )]));
    // Beside its certificate the chain is path material.
    let chain = format!("Client-Cert-Chain: {}", openssl.client_cert("corp"));
    bound_to(&by_proxy(&[field, chain]), &openssl.thumbprint("a"));
}

// covers R9440-4, R9440-6, T11, TRAP-29
#[test]
fn by_default_nobody_is_believed() {
    let (installation, openssl) = scene().start();
    let to = (&installation, &openssl);
    let header = format!("Client-Cert: {}", openssl.client_cert("a"));
    for address in ["127.0.0.1", "127.0.0.2"] {
        refused(&send(to, (address, None), "a", std::slice::from_ref(&header)));
        let answer = send(to, (address, Some("b")), "b", std::slice::from_ref(&header));
        let token = bound_to(&answer, &openssl.thumbprint("b"));
        let authorization = format!("Authorization: Bearer {token}");
        // And not at the gateway: the upstream sees the certificate of the connection, once.
        let url = installation.gateway("/hello");
        let arguments = ["--interface", address, "-H", &authorization, "-H", &header, &url];
        assert_eq!(ask(&installation, &openssl, Some("a"), &arguments).status, 401);
        let seen = ask(&installation, &openssl, Some("b"), &arguments);
        assert_eq!(seen.status, 200, "{seen:?}");
        assert_eq!(seen.body.matches(&openssl.client_cert("b")).count(), 1, "{seen:?}");
        assert!(!seen.body.contains(&openssl.client_cert("a")), "{seen:?}");
    }
}

// covers R9440-5, R9440-6, T11, TRAP-29
#[test]
fn a_proxy_that_a_reload_removes_is_not_believed_any_more() {
    let scene = scene();
    let file = scene.path("keybound.toml");
    let without = std::fs::read_to_string(&file).unwrap();
    scene.append("keybound.toml", &forwarded_from("mutual_tls", "127.0.0.2/32", ""));
    let (installation, openssl) = scene.start();
    let to = (&installation, &openssl);
    let header = [format!("Client-Cert: {}", openssl.client_cert("a"))];
    let (a, b) = (openssl.thumbprint("a"), openssl.thumbprint("b"));
    bound_to(&send(to, ("127.0.0.2", None), "a", &header), &a);

    // A file with a mistake changes nothing.
    std::fs::write(
        &file,
        format!("{without}\n[[forwarded_certificate]]\nlistener = \"mutual_tls\"\n"),
    )
    .unwrap();
    hang_up(&installation);
    std::thread::sleep(Duration::from_millis(300));
    bound_to(&send(to, ("127.0.0.2", None), "a", &header), &a);

    std::fs::write(&file, &without).unwrap();
    hang_up(&installation);
    eventually(|| send(to, ("127.0.0.2", None), "a", &header).status == 400);
    refused(&send(to, ("127.0.0.2", None), "a", &header));
    bound_to(&send(to, ("127.0.0.2", Some("b")), "b", &header), &b);

    // Another one instead.
    let other = forwarded_from("mutual_tls", "127.0.0.3/32", "");
    std::fs::write(&file, format!("{without}\n{other}")).unwrap();
    hang_up(&installation);
    eventually(|| send(to, ("127.0.0.3", None), "a", &header).status == 200);
    refused(&send(to, ("127.0.0.2", None), "a", &header));
    bound_to(&send(to, ("127.0.0.3", None), "a", &header), &a);
}

fn eventually(holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "the new configuration does not hold"
        );
    }
}

// covers MTLS-6.5-2, R9440-5, T11, T12, TRAP-29
#[test]
fn only_the_named_authority_vouches_for_the_proxy() {
    let scene = scene();
    scene.openssl.authority("partner", "/O=Partner/CN=Partner CA");
    scene.trusts("partner", "");
    let wanted = Wanted {
        alternative_names: Some("DNS:proxy.example.com"),
        ..Wanted::new("imposter", "/CN=x")
    };
    scene.openssl.certificate(wanted, Some("partner"));
    let file = scene.path("keybound.toml");
    let before = std::fs::read_to_string(&file).unwrap();
    let entry = |more: &str| {
        format!(
            "{before}\n[[forwarded_certificate]]\nlistener = \"mutual_tls\"\nformat = \"client-cert\"\n\
             proxy_san_dns = \"proxy.example.com\"\n{more}\n"
        )
    };
    let directory = file.parent().unwrap().to_path_buf();
    let check = || run_in(&directory, &["config", "check", "--config", "keybound.toml"]);
    // Which of the three is meant has to be said.
    for more in ["", "trust_anchors = []"] {
        std::fs::write(&file, entry(more)).unwrap();
        let said = check().expect_code(65);
        assert!(
            said.stdout
                .contains("error[C027]: `proxy_san_dns` needs `trust_anchors`"),
            "{said:#?}"
        );
        assert!(said.stdout.contains("add trust_anchors = "), "{said:#?}");
        assert!(
            said.stdout.contains("\"quickstart\" or \"corp\" or \"partner\""),
            "{said:#?}"
        );
        let said = run_in(&directory, &["serve", "--config", "keybound.toml"]).expect_code(65);
        assert!(said.stderr.contains("C027"), "{said:#?}");
    }
    std::fs::write(&file, entry("trust_anchors = [\"crop\"]")).unwrap();
    let said = check().expect_code(65);
    assert!(
        said.stdout.contains("`crop` is not among `[[trust_anchors]]`"),
        "{said:#?}"
    );

    std::fs::write(&file, entry("trust_anchors = [\"corp\"]")).unwrap();
    let (installation, openssl) = scene.start();
    let to = (&installation, &openssl);
    let header = [format!("Client-Cert: {}", openssl.client_cert("a"))];
    refused(&send(to, ("127.0.0.1", Some("imposter")), "a", &header));
    bound_to(
        &send(to, ("127.0.0.1", Some("proxy")), "a", &header),
        &openssl.thumbprint("a"),
    );
}

#[test]
fn a_proxy_needs_an_authority_and_an_authority_needs_a_proxy() {
    let scene = Scene::new();
    let file = scene.path("keybound.toml");
    let directory = file.parent().unwrap().to_path_buf();
    let before = std::fs::read_to_string(&file).unwrap();
    let check = || run_in(&directory, &["config", "check", "--config", "keybound.toml"]);
    // With a single one it is that one.
    let entry = "\n[[forwarded_certificate]]\nlistener = \"mutual_tls\"\nformat = \"client-cert\"\n";
    let named = format!("{entry}proxy_san_dns = \"lb.internal\"\n");
    std::fs::write(&file, format!("{before}{named}")).unwrap();
    check().expect_code(0);
    let without = before.replacen(
        "[[trust_anchors]]\nname = \"quickstart\"\nfile = \"pki/ca.pem\"\n",
        "",
        1,
    );
    assert_ne!(without, before);
    std::fs::write(&file, format!("{without}{named}")).unwrap();
    let said = check().expect_code(65);
    assert!(
        said.stdout.contains("to vouch for the proxy, and there is none"),
        "{said:#?}"
    );
    // By address alone nobody has to.
    let by_address = format!("{before}{entry}from = [\"10.0.0.1\"]\ntrust_anchors = [\"quickstart\"]\n");
    std::fs::write(&file, by_address).unwrap();
    let said = check().expect_code(0);
    assert!(
        said.stdout
            .contains("warning[C015]: `forwarded_certificate.trust_anchors` is used only with proxy_san_dns"),
        "{said:#?}"
    );
}

/// Turns the PEM of nginx into a Byte Sequence: nginx cannot encode, but it can leave line ends out.
///
/// One process, so that killing it leaves no worker behind.
fn nginx_configuration(port: u16, upstream: u16, pki: &Path, openssl: &OpenSsl) -> String {
    const LINES: usize = 40;
    let captured: String = (1..LINES)
        .map(|line| format!("(?:(?<l{line}>[A-Za-z0-9+/=]+)\\n)?"))
        .collect();
    let joined: String = (1..LINES).map(|line| format!("$l{line}")).collect();
    let (pki, certificates) = (pki.display(), openssl.path("").display().to_string());
    format!(
        "daemon off; master_process off; pid nginx.pid; error_log stderr; events {{}}\n\
         http {{ access_log off; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;\n\
         map $ssl_client_raw_cert $client_cert {{ default \"\"; \"~^-----BEGIN CERTIFICATE-----\\n{captured}-----END\" \":{joined}:\"; }}\n\
         server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {pki}/server.pem; ssl_certificate_key {pki}/server.key;\n\
         ssl_verify_client optional_no_ca;\n\
         location / {{ proxy_pass https://localhost:{upstream}; proxy_ssl_server_name on; proxy_ssl_name localhost;\n\
         proxy_set_header Host localhost; proxy_set_header Client-Cert $client_cert; proxy_set_header Client-Cert-Chain \"\";\n\
         proxy_ssl_certificate {certificates}/proxy.pem; proxy_ssl_certificate_key {certificates}/proxy.key; }} }} }}\n"
    )
}

// covers MTLS-6.5-1, MTLS-6.5-2, R9440-5, T5, T11
#[test]
fn nginx_with_its_own_certificate_forwards_those_of_its_clients() {
    if !Path::new(NGINX).exists() {
        // The other tests of this file show the same with the fields made by hand.
        return;
    }
    let scene = scene();
    let own = "proxy_san_dns = \"proxy.example.com\"\ntrust_anchors = [\"corp\"]";
    let proxy = forwarded_from("mutual_tls", "127.0.0.1/32", own);
    scene.append("keybound.toml", &proxy);
    let (installation, openssl) = scene.start();
    let (port, upstream) = (free_port(), 8444 + installation.offset);
    let directory = installation.path("nginx");
    std::fs::create_dir_all(&directory).unwrap();
    let text = nginx_configuration(port, upstream, &installation.path("pki"), &openssl);
    std::fs::write(directory.join("nginx.conf"), text).unwrap();
    let mut nginx = Command::new(NGINX);
    nginx.arg("-p").arg(&directory).args(["-c", "nginx.conf"]);
    let _nginx = Daemon::listening(&mut nginx, port);

    let url = format!("https://localhost:{port}/token");
    let through = |certificate: Option<&str>, client_id: &str, headers: &[&str]| {
        let form = form(client_id);
        let identity = certificate.map(|name| openssl.identity(name));
        let identity = identity.as_ref().map(|(certificate, key)| (&**certificate, &**key));
        let arguments = [headers, &["-d", &form, &url]].concat();
        curl(&installation.path("pki/ca.pem"), identity, &arguments)
    };
    // Many clients over the connections that nginx keeps: each its own.
    for client_id in ["a", "b", "a", "proxy", "b"] {
        bound_to(
            &through(Some(client_id), client_id, &[]),
            &openssl.thumbprint(client_id),
        );
    }
    refused(&through(Some("a"), "b", &[]));
    refused(&through(None, "a", &[]));
    refused(&through(None, "proxy", &[]));
    let forged = format!("Client-Cert: {}", openssl.client_cert("a"));
    refused(&through(None, "a", &["-H", &forged]));
    refused(&through(Some("b"), "a", &["-H", &forged]));
    // The same address without the proxy's certificate: no proxy.
    let direct = |certificate, client_id, headers: &[String]| {
        send(
            (&installation, &openssl),
            ("127.0.0.1", certificate),
            client_id,
            headers,
        )
    };
    refused(&direct(None, "a", std::slice::from_ref(&forged)));
    refused(&direct(Some("b"), "a", std::slice::from_ref(&forged)));
    bound_to(&direct(Some("b"), "b", &[]), &openssl.thumbprint("b"));
}
