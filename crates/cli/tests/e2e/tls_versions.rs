//! Which versions of TLS the command line speaks.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::installation::run_in;
use crate::openssl::{OpenSsl, Wanted};
use crate::scene::free_port;

// covers MTLS-8-1
#[test]
fn a_server_that_has_tls_12_alone_is_left_where_tls_13_is_demanded() {
    let directory = tempfile::tempdir().unwrap();
    let openssl = OpenSsl::new(directory.path());
    openssl.authority("ca", "/CN=Test CA");
    let server = Wanted {
        alternative_names: Some("DNS:localhost"),
        extended_key_usage: "serverAuth",
        ..Wanted::new("server", "/CN=localhost")
    };
    openssl.certificate(server, Some("ca"));
    openssl.certificate(Wanted::new("client", "/CN=client"), Some("ca"));
    let port = free_port();
    let file = |name: &str| openssl.path(name).to_str().unwrap().to_owned();
    let mut old = Command::new("openssl")
        .args(["s_server", "-tls1_2", "-www", "-quiet", "-naccept", "3"])
        .args([
            "-accept",
            &format!("127.0.0.1:{port}"),
            "-cert",
            &file("server.pem"),
            "-key",
            &file("server.key"),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let toml = format!(
        "issuer = \"https://localhost:{port}\"\nclient_id = \"demo\"\ncertificate = \"{}\"\nkey = \"{}\"\nca = \"{}\"\n",
        file("client.pem"),
        file("client.key"),
        file("ca.pem")
    );
    std::fs::create_dir(directory.path().join("client")).unwrap();
    std::fs::write(directory.path().join("client/client.toml"), toml).unwrap();
    let get = ["token", "get", "--client", "client"];
    let demanded = run_in(directory.path(), &[&get[..], &["--tls13-only"]].concat()).expect_code(6);
    assert!(demanded.stderr.contains("ProtocolVersion"), "{demanded:?}");
    // The control: it is spoken to otherwise, and has no metadata.
    let said = run_in(directory.path(), &get).expect_code(6);
    assert!(said.stderr.contains("not JSON"), "{said:?}");
    old.kill().unwrap();
    old.wait().unwrap();
}
