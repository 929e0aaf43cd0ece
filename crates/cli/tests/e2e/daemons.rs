//! `serve` and `gateway` as a service manager runs them: what they log of their configuration, how they reload, how they end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::installation::{Answer, curl, keybound, run_in};
use crate::scene::Scene;

const PATIENCE: Duration = Duration::from_secs(20);

/// A daemon in the directory of a scene, with its log.
struct Logged {
    process: Child,
    lines: Receiver<String>,
}

impl Logged {
    /// Runs `keybound COMMAND --config FILE` until it says that it listens.
    fn start(scene: &Scene, command: &str, file: &str) -> Self {
        let mut process = keybound()
            .current_dir(scene.path(""))
            .args([command, "--config", file])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        // Said when it answers, and to signals, too.
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert!(line.contains("listening on"), "{line:?}");
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        Self { process, lines }
    }

    fn signal(&self, name: &str) {
        let process = self.process.id().to_string();
        assert!(Command::new("kill").args([name, &process]).status().unwrap().success());
    }

    /// Waits for a line with `text`.
    fn says(&self, text: &str) -> String {
        let begun = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(begun.elapsed());
            let line = self
                .lines
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("{text:?} is not said"));
            if line.contains(text) {
                return line;
            }
        }
    }

    fn exit_code(mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn get(scene: &Scene, port: u16, path: &str, more: &[&str]) -> Answer {
    let url = format!("https://localhost:{port}{path}");
    let arguments = [more, &[url.as_str()]].concat();
    curl(&scene.path("pki/ca.pem"), None, &arguments)
}

fn operations(scene: &Scene, port: u16, path: &str) -> Answer {
    let url = format!("http://127.0.0.1:{port}{path}");
    curl(&scene.path("pki/ca.pem"), None, &[&url])
}

fn checked(scene: &Scene, file: &str, code: i32) -> Value {
    let arguments = ["--output", "json", "config", "check", "--config", file];
    run_in(&scene.path(""), &arguments).expect_code(code).json()
}

/// Comments the line that begins with `start` out.
fn without_line(file: &Path, start: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find(|line| line.starts_with(start)).unwrap();
    std::fs::write(file, text.replacen(line, &format!("# {line}"), 1)).unwrap();
}

// covers MTLS-5-3
#[test]
fn without_an_origin_the_aliases_are_at_the_host_of_the_issuer() {
    let scene = Scene::new();
    let port = 8443 + scene.offset;
    let issuer = format!("issuer = \"{}\"", scene.issuer());
    scene.replace("keybound.toml", &issuer, "issuer = \"https://auth.example.com/tenant\"");
    without_line(&scene.path("keybound.toml"), "mutual_tls_origin = ");
    checked(&scene, "keybound.toml", 0);
    let _daemon = Logged::start(&scene, "serve", "keybound.toml");
    let metadata = get(&scene, port, "/.well-known/oauth-authorization-server/tenant", &[]).json();
    assert_eq!(metadata["issuer"], "https://auth.example.com/tenant", "{metadata}");
    assert_eq!(metadata["token_endpoint"], "https://auth.example.com/tenant/token");
    let expected = format!("https://auth.example.com:{}/tenant/token", 8444 + scene.offset);
    assert_eq!(
        metadata["mtls_endpoint_aliases"]["token_endpoint"], expected,
        "{metadata}"
    );
}

#[test]
fn a_shared_port_needs_an_origin_of_its_own() {
    let scene = Scene::new();
    let file = scene.path("keybound.toml");
    without_line(&file, "mutual_tls_origin = ");
    let (public, mutual_tls) = (8443 + scene.offset, 8444 + scene.offset);
    let line = |port: u16| format!("mutual_tls = \"127.0.0.1:{port}\"");
    scene.replace("keybound.toml", &line(mutual_tls), &line(public));
    let said = checked(&scene, "keybound.toml", 65);
    assert_eq!(said["findings"][0]["code"], "C024", "{said}");
}

fn routes(first: &str, second: &str) -> String {
    let route = |path: &str, binding: &str| {
        format!("[[routes]]\npath = \"{path}\"\nupstream = \"demo:\"\nbinding = \"{binding}\"\n")
    };
    format!("{}\n{}", route("/", first), route("/open", second))
}

/// Replaces every route.
fn set_routes(scene: &Scene, text: &str) {
    let file = scene.path("gateway.toml");
    let before = std::fs::read_to_string(&file).unwrap();
    let end = before.find("[[routes]]").unwrap();
    std::fs::write(file, format!("{}{text}", &before[..end])).unwrap();
}

#[test]
fn one_route_without_binding_beside_others_is_served_and_warned_of() {
    let scene = Scene::new();
    set_routes(&scene, &routes("none", "none"));
    assert_eq!(checked(&scene, "gateway.toml", 0)["findings"], serde_json::json!([]));
    set_routes(&scene, &routes("required", "none"));
    let said = checked(&scene, "gateway.toml", 0);
    assert_eq!(said["valid"], true, "{said}");
    let finding = &said["findings"][0];
    assert_eq!(
        (&finding["code"], &finding["severity"]),
        (&"C018".into(), &"warning".into())
    );
    assert!(finding["help"].as_str().unwrap().contains("\"optional\""), "{said}");

    let port = 9443 + scene.offset;
    let daemon = Logged::start(&scene, "gateway", "gateway.toml");
    let line = daemon.says("C018");
    assert!(line.contains("WARN"), "{line}");
    for (path, status) in [("/", 401), ("/open", 401), ("/open/x", 401)] {
        let answer = get(&scene, port, path, &[]);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        let challenge = answer.header("www-authenticate");
        assert!(challenge.is_some_and(|it| it.starts_with("Bearer")), "{answer:?}");
    }
    // At each reload as well.
    daemon.signal("-HUP");
    daemon.says("C018");
    daemon.says("configuration reloaded");
    // With a mistake it is told, and the old one stays.
    set_routes(&scene, &routes("required", "nobody"));
    assert!(daemon.says("C006").contains("ERROR"));
    daemon.says("not reloaded");
    assert_eq!(get(&scene, port, "/open", &[]).status, 401);
}

#[test]
fn the_server_logs_the_warnings_of_its_file_at_the_start_and_at_each_reload() {
    let scene = Scene::new();
    let forwarded = "[[forwarded_certificate]]\nlistener = \"public\"\nformat = \"client-cert\"\nfrom = [\"10.0.0.1\"]\n\
                     trust_anchors = [\"quickstart\"]";
    scene.append("keybound.toml", forwarded);
    let daemon = Logged::start(&scene, "serve", "keybound.toml");
    assert!(daemon.says("C015").contains("WARN"));
    daemon.signal("-HUP");
    daemon.says("C015");
    daemon.says("configuration reloaded");
}

#[test]
fn a_changed_file_counts_within_a_second() {
    let scene = Scene::new();
    let port = 8443 + scene.offset;
    let _daemon = Logged::start(&scene, "serve", "keybound.toml");
    let scopes = || {
        let metadata = get(&scene, port, "/.well-known/oauth-authorization-server", &[]).json();
        metadata["scopes_supported"].to_string()
    };
    let mut times = Vec::new();
    for name in ["one", "two", "three"] {
        assert!(!scopes().contains(name));
        scene.append("keybound.toml", &format!("[[scopes]]\nname = \"{name}\""));
        let begun = Instant::now();
        while !scopes().contains(name) {
            assert!(begun.elapsed() < PATIENCE, "{name} is not noticed");
        }
        times.push(begun.elapsed());
    }
    // The machine may be busy for one of them.
    times.sort();
    assert!(times[0] < Duration::from_secs(1), "{times:?}");
}

/// While a request is in progress after SIGTERM: not ready, metrics, and the listeners are counted. `finish` lets it end.
fn drains(scene: &Scene, daemon: Logged, operations_port: u16, finish: impl FnOnce()) {
    assert_eq!(operations(scene, operations_port, "/health/ready").status, 200);
    daemon.signal("-TERM");
    let begun = Instant::now();
    while operations(scene, operations_port, "/health/ready").status != 503 {
        assert!(begun.elapsed() < PATIENCE, "still ready");
    }
    for _ in 0..3 {
        let ready = operations(scene, operations_port, "/health/ready");
        assert_eq!(ready.status, 503, "{:?} {ready:?}", begun.elapsed());
        assert_eq!(operations(scene, operations_port, "/health/live").status, 200);
        let metrics = operations(scene, operations_port, "/metrics");
        assert_eq!(metrics.status, 200);
        let open: Vec<&str> = metrics
            .body
            .lines()
            .filter(|line| line.starts_with("keybound_connections_open{") && line.ends_with(" 1"))
            .collect();
        // The request's, and this one.
        assert_eq!(open.len(), 2, "{}", metrics.body);
    }
    finish();
    assert_eq!(daemon.exit_code(), Some(0));
    assert!(TcpStream::connect(("127.0.0.1", operations_port)).is_err());
}

#[test]
fn the_server_says_that_it_is_not_ready_until_its_last_request_has_ended() {
    let scene = Scene::new();
    let (port, operations_port) = (8444 + scene.offset, 8445 + scene.offset);
    let daemon = Logged::start(&scene, "serve", "keybound.toml");
    // A form whose end is not sent yet.
    let mut request = Upload::start(&scene.path("pki/ca.pem"), port);
    drains(&scene, daemon, operations_port, || request.finish());
    assert!(request.answer().contains("HTTP/1.1 400"), "it was answered");
}

const FORM: &[u8] = b"grant_type=client_credentials&client_id=nobody";

/// A request whose body is not sent yet.
struct Upload(Child);

impl Upload {
    fn start(ca: &Path, port: u16) -> Self {
        // Not curl, which waits for its input before it shows what it got.
        let mut process = Command::new("openssl")
            .args([
                "s_client",
                "-quiet",
                "-connect",
                &format!("localhost:{port}"),
                "-CAfile",
            ])
            .arg(ca)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let head = format!(
            "POST /token HTTP/1.1\r\nHost: localhost:{port}\r\nExpect: 100-continue\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
            FORM.len()
        );
        process.stdin.as_mut().unwrap().write_all(head.as_bytes()).unwrap();
        // Said when the body is waited for.
        let mut line = [0; 12];
        process.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        assert_eq!(&line, b"HTTP/1.1 100");
        Self(process)
    }

    fn finish(&mut self) {
        self.0.stdin.as_mut().unwrap().write_all(FORM).unwrap();
    }

    fn answer(mut self) -> String {
        let mut answer = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut answer).unwrap();
        self.0.wait().unwrap();
        answer
    }
}

#[test]
fn the_gateway_says_that_it_is_not_ready_until_its_last_request_has_ended() {
    let scene = Scene::new();
    let upstream = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", upstream.local_addr().unwrap());
    set_routes(
        &scene,
        &format!("[[routes]]\npath = \"/\"\nupstream = \"{url}\"\nbinding = \"required\"\n"),
    );
    let (port, operations_port) = (9443 + scene.offset, 9445 + scene.offset);
    let _server = Logged::start(&scene, "serve", "keybound.toml");
    let daemon = Logged::start(&scene, "gateway", "gateway.toml");
    let directory = scene.path("");
    let token = run_in(&directory, &["token", "get", "--client", "clients/demo"])
        .expect_code(0)
        .stdout;
    let client: PathBuf = scene.path("clients/demo");
    let ca = scene.path("pki/ca.pem");
    let caller = std::thread::spawn(move || {
        let (certificate, key) = (client.join("cert.pem"), client.join("key.pem"));
        let authorization = format!("Authorization: Bearer {}", token.trim());
        let url = format!("https://localhost:{port}/slow");
        curl(&ca, Some((&certificate, &key)), &["-H", &authorization, &url])
    });
    let (mut stream, _) = upstream.accept().unwrap();
    drains(&scene, daemon, operations_port, || {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
            .unwrap();
    });
    let answer = caller.join().unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
}
