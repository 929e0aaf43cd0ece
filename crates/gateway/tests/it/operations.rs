//! The operations listener, and what is written down about requests.

use std::io::Write;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keybound_protocol::refusal::REFUSAL_JSON_BYTES_MAX;
use keybound_tls::{Listener, ListenerSettings, Runtimes, Transport};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::upstream::Upstream;
use crate::harness::{World, demo, route};

async fn get(address: SocketAddr, method: &str, path: &str) -> (u16, String, serde_json::Value) {
    get_by(address, "localhost", method, path).await
}

async fn get_by(address: SocketAddr, host: &str, method: &str, path: &str) -> (u16, String, serde_json::Value) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned(), serde_json::from_str(body).unwrap_or_default())
}

fn operations(world: &World) -> SocketAddr {
    let settings = ListenerSettings::new("operations", SocketAddr::from(([127, 0, 0, 1], 0)), Transport::Plain);
    let listener = Listener::bind(settings, &Runtimes::current()).unwrap();
    let service = world
        .gateway
        .operations_service()
        .with_metrics(|text| text.push_str("more_total 7\n"));
    listener.serve(service).local_addr()
}

#[tokio::test]
async fn health_follows_readiness() {
    let world = World::start(vec![demo("/")]);
    let address = operations(&world);
    assert_eq!(get(address, "GET", "/health/live").await.0, 200);
    let (status, _, ready) = get(address, "GET", "/health/ready").await;
    assert_eq!((status, ready["status"].as_str()), (200, Some("ready")));
    assert_eq!(ready["issuers_without_keys"], serde_json::json!([]));
    world.gateway.set_ready(false);
    let (status, _, ready) = get(address, "GET", "/health/ready").await;
    assert_eq!((status, ready["status"].as_str()), (503, Some("unready")));
    assert_eq!(get(address, "GET", "/health/live").await.0, 200);
}

/// The same as at an authorization server, whose tests have the same answers.
#[tokio::test]
async fn what_is_not_there_is_404_whatever_the_method_and_what_is_there_names_its_methods() {
    let world = World::start(vec![demo("/")]);
    let address = operations(&world);
    let (not_found, not_allowed) = (
        r#"{"error":"invalid_request","error_description":"there is no endpoint at this path"}"#,
        r#"{"error":"invalid_request","error_description":"this endpoint does not have this method"}"#,
    );
    for path in ["/", "/health", "/health/live/", "/metricsx", "/refusals", "/token"] {
        for method in ["GET", "POST", "OPTIONS"] {
            let (status, body, _) = get(address, method, path).await;
            assert_eq!((status, &*body), (404, not_found), "{method} {path}");
        }
    }
    for path in [
        "/health/live",
        "/health/ready",
        "/metrics",
        "/refusals/G-00000000000000",
    ] {
        for (method, status, body) in [("POST", 405, not_allowed), ("OPTIONS", 204, "")] {
            let answer = get(address, method, path).await;
            assert_eq!((answer.0, &*answer.1), (status, body), "{method} {path}");
        }
    }
}

/// The same as at an authorization server, whose tests have the same cases.
#[tokio::test]
async fn a_web_page_of_another_name_reads_nothing_by_having_its_name_point_here() {
    let world = World::start(vec![demo("/")]);
    let address = operations(&world);
    let refusal =
        r#"{"error":"invalid_request","error_description":"ask by an address, localhost or a configured host name"}"#;
    for host in [
        "evil.example",
        "evil.example:9445",
        "localhost.evil.example",
        "127.0.0.1.evil.example:9445",
        "notlocalhost",
    ] {
        for path in ["/health/live", "/metrics", "/refusals/G-00000000000000", "/nowhere"] {
            let (status, body, _) = get_by(address, host, "GET", path).await;
            assert_eq!((status, &*body), (421, refusal), "{host} {path}");
        }
    }
    let resource = crate::harness::RESOURCE.trim_start_matches("https://");
    for host in ["127.0.0.1", "10.1.2.3:9445", "[::1]:9445", "LOCALHOST:9445", resource] {
        assert_eq!(get_by(address, host, "GET", "/health/live").await.0, 200, "{host}");
    }
}

// covers TRAP-53
#[tokio::test]
async fn a_refusal_is_explained_here_and_its_caller_learns_only_the_id() {
    let world = World::start(vec![demo("/")]);
    let address = operations(&world);
    let mut thief = world.connect_as(Some(&world.pki.other)).await;
    let answer = thief.request("GET", "/a", &world.token(), "", b"").await;
    let id = answer.header("keybound-refusal").unwrap();
    let (status, text, refusal) = get(address, "GET", &format!("/refusals/{id}")).await;
    assert_eq!(status, 200);
    assert_eq!(
        (refusal["id"].as_str(), refusal["status"].as_u64()),
        (Some(id.as_str()), Some(401))
    );
    assert_eq!(refusal["error_code"], "invalid_token");
    assert_eq!(refusal["client_id"], "demo-client");
    assert_eq!(refusal["endpoint"], "GET /a (route /)");
    assert_eq!(refusal["remote_address"], "127.0.0.1");
    let outcomes: Vec<&str> = refusal["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["outcome"].as_str().unwrap())
        .collect();
    let failed = outcomes.iter().position(|outcome| *outcome == "failed").unwrap();
    assert!(
        outcomes[..failed].iter().all(|outcome| *outcome == "passed"),
        "{outcomes:?}"
    );
    assert!(
        outcomes[failed + 1..].iter().all(|outcome| *outcome == "not_reached"),
        "{outcomes:?}"
    );
    assert!(outcomes.len() > 10 && outcomes.len() > failed + 1, "{outcomes:?}");
    // Neither the token nor the certificate itself is kept.
    assert!(!text.contains(&world.token()) && !text.contains(&STANDARD.encode(&world.pki.other.der)));
    assert_eq!(
        get(address, "GET", &format!("/refusals/{}", id.to_lowercase())).await.0,
        200
    );
    for unknown in ["G-ZZZZZZZZZZZZZZ", "A-00000000000000", "x", ""] {
        assert_eq!(
            get(address, "GET", &format!("/refusals/{unknown}")).await.0,
            404,
            "{unknown}"
        );
    }
}

#[tokio::test]
async fn a_record_is_small_whatever_a_stranger_presents() {
    let world = World::start(vec![demo("/")]);
    let mut stranger = world.connect_as(Some(&world.pki.large)).await;
    let long = "\u{10348}\"\\".repeat(1000);
    let path = format!("/{}", "p".repeat(8000));
    for claim in ["iss", "aud", "client_id", "sub", "scope"] {
        let mut claims = world.issuer.claims(Some(&world.pki.client));
        claims[claim] = long.as_str().into();
        let token = world.issuer.token(&claims);
        let answer = stranger.request("GET", &path, &token, "", b"").await;
        let refusal = world.refusal(&answer);
        let json = serde_json::to_vec(&*refusal).unwrap();
        assert!(
            json.len() <= REFUSAL_JSON_BYTES_MAX,
            "{claim} {} {refusal:#?}",
            json.len()
        );
        let failed = refusal.failed_rule().unwrap();
        if claim == "iss" || claim == "aud" {
            assert!(failed.presented.as_deref().unwrap().contains("\u{10348}"), "{failed:?}");
        }
        assert!(refusal.certificate.is_some());
    }
}

#[tokio::test]
async fn requests_are_counted_by_route_and_refusals_by_reason() {
    let upstream = Upstream::start().await;
    let world = World::start(vec![route("/a", upstream.address), demo("/b")]);
    let address = operations(&world);
    for path in ["/a", "/a/x", "/b", "/nowhere", "/a/../b"] {
        world.get(path).await;
    }
    let (status, text, _) = get(address, "GET", "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "keybound_gateway_requests_total{route=\"0\",status=\"2xx\"} 2",
        "keybound_gateway_requests_total{route=\"1\",status=\"2xx\"} 1",
        "keybound_gateway_requests_total{route=\"none\",status=\"4xx\"} 2",
        "keybound_gateway_refusals_total{reason=\"no_route\"} 1",
        "keybound_gateway_refusals_total{reason=\"ambiguous_path\"} 1",
        "keybound_gateway_response_head_seconds_count 5",
        "keybound_gateway_upstream_idle_connections 1",
        "keybound_gateway_tunnels 0",
        "more_total 7",
    ] {
        assert!(text.lines().any(|known| known == line), "{line} in {text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

/// Everything that this process logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Says that this process is the one below.
const LOGS_ALONE: &str = "KEYBOUND_GATEWAY_TEST_LOGS";

// covers TRAP-53, T36, T37
#[test]
fn the_log_names_clients_and_never_shows_what_they_hold() {
    // A process of its own: what is logged belongs to all threads of one.
    if std::env::var_os(LOGS_ALONE).is_none() {
        let alone = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "operations::the_log_names_clients_and_never_shows_what_they_hold",
                "--nocapture",
            ])
            .env(LOGS_ALONE, "1")
            .output()
            .unwrap();
        assert!(alone.status.success(), "{}", String::from_utf8_lossy(&alone.stderr));
        return;
    }
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .init();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let upstream = Upstream::start().await;
        let world = World::start(vec![route("/", upstream.address)]);
        let token = world.token();
        let mut caller = world.connect().await;
        let fields = "Cookie: a=canary-cookie\r\n";
        caller
            .request("POST", "/a?secret=canary-query", &token, fields, b"canary-body")
            .await;
        let mut thief = world.connect_as(Some(&world.pki.other)).await;
        thief.request("GET", "/b", &token, "", b"").await;
        world.gateway.flush_log();
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let line = |target: &str| text.lines().find(|line| line.contains(target)).unwrap().to_owned();
        let (request, refusal) = (line("keybound::request"), line("keybound::refusal"));
        assert!(
            request.contains("\"path\":\"/a\"") && request.contains("demo-client"),
            "{request}"
        );
        assert!(
            refusal.contains("\"path\":\"/b\"") && refusal.contains("\"refusal\":\"G-"),
            "{refusal}"
        );
        let signature = token.rsplit('.').next().unwrap();
        for secret in ["canary-", signature, &STANDARD.encode(&world.pki.client.der)] {
            let told = text.lines().find(|line| line.contains(secret));
            assert_eq!(told, None, "{secret}");
        }
        assert!(
            !text
                .chars()
                .any(|character| character.is_control() && character != '\n')
        );
    });
}

// covers R9440-7
#[tokio::test]
async fn the_demo_upstream_shows_what_an_upstream_would_see() {
    let world = World::start(vec![demo("/")]);
    let answer = world
        .get_with("/a/b?c=d", "X-A: 1\r\nX-A: 2\r\nClient-Cert: forged\r\n")
        .await;
    assert_eq!(
        (answer.status, answer.header("content-type").as_deref()),
        (200, Some("application/json"))
    );
    assert_eq!(answer.header("cache-control").as_deref(), Some("no-store"));
    let echo = answer.json();
    assert_eq!(
        (echo["method"].as_str(), echo["path"].as_str()),
        (Some("GET"), Some("/a/b"))
    );
    assert_eq!(echo["headers"]["x-a"], "1, 2");
    assert_eq!(echo["headers"]["keybound-client-id"], "demo-client");
    assert_eq!(
        echo["headers"]["client-cert"],
        format!(":{}:", STANDARD.encode(&world.pki.client.der))
    );
    let mut caller = world.connect().await;
    let answer = caller.request("POST", "/x", &world.token(), "", &[b'x'; 100_000]).await;
    assert_eq!((answer.status, answer.json()["method"].as_str()), (200, Some("POST")));
}
