//! Running the server: health, metrics, limits, reload, restart, several keys.

use std::io::Write;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, StatusCode};
use keybound_protocol::base64url;
use keybound_protocol::client::{ClientId, ClientOrigin};
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::signer::{LocalSigner, Signer};
use keybound_protocol::time::Timestamp;
use keybound_store::{
    Actor, AuditEntry, NewClient, NewSigningKey, NewTrustAnchor, PrivateKeyDer, SqliteSettings, SqliteStore,
};
use serde_json::json;

use crate::pki::{Authority, Leaf, dns, self_signed};
use crate::world::{
    API, NOW, OPAQUE_API, Plan, Side, World, claims, credentials, jose_header, self_signed_client, tls_client, with,
};

// covers R23
#[tokio::test]
async fn health_says_what_is_missing() {
    let world = Plan::new().start().await;
    let operator = world.operator();
    assert_eq!(operator.get("/health/live").await.status, StatusCode::OK);
    let reply = operator.get("/health/ready").await;
    assert_eq!(
        (reply.status, reply.json()),
        (StatusCode::OK, json!({"status": "ready"}))
    );
    world.server.set_ready(false);
    let reply = operator.get("/health/ready").await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.json()["reasons"], json!(["listeners are not open"]));
    assert_eq!(operator.get("/health/live").await.status, StatusCode::OK);
    assert_eq!(operator.get("/token").await.status, StatusCode::NOT_FOUND);
    let reply = operator.send(Method::POST, "/metrics", &[], None).await;
    assert_eq!(
        (reply.status, reply.header("allow")),
        (StatusCode::METHOD_NOT_ALLOWED, Some("GET, HEAD, OPTIONS"))
    );
}

// covers TRAP-53
#[tokio::test]
async fn metrics_count_and_name_nobody() {
    let authority = Authority::root("corp");
    let world = Plan::new()
        .trusts("corp", &authority)
        .client("very-private-name", tls_client("demo.example"))
        .start()
        .await;
    let leaf = authority.issue(dns("demo.example"));
    let peer = world.peer(Side::MutualTls, Some(&leaf));
    for _ in 0..3 {
        peer.post("/token", &credentials("very-private-name")).await;
    }
    peer.post("/token", &credentials("nobody")).await;
    let text = String::from_utf8(world.operator().get("/metrics").await.body).unwrap();
    for line in [
        "keybound_access_tokens_issued_total{format=\"jwt\"} 3",
        "keybound_responses_total{endpoint=\"token\",status=\"2xx\"} 3",
        "keybound_responses_total{endpoint=\"token\",status=\"4xx\"} 1",
        "keybound_client_authentications_total{outcome=\"accepted\"} 3",
        "keybound_client_authentications_total{outcome=\"failed\"} 1",
        "keybound_certificate_verdicts_total{from=\"path\"} 1",
        "keybound_certificate_verdicts_total{from=\"cache\"} 2",
        "keybound_refusals_total{error=\"invalid_client\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    assert!(!text.contains("very-private-name") && !text.contains("nobody"));
}

/// Everything that this process logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

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
const LOGS_ALONE: &str = "KEYBOUND_AUTHORIZATION_SERVER_TEST_LOGS";

// covers TRAP-53, T37
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
        let authority = Authority::root("corp");
        let alone = self_signed(dns("alone.example"));
        let introspects = json!({"keybound_introspects": [API, OPAQUE_API]});
        let world = Plan::new()
            .trusts("corp", &authority)
            .client("demo", with(tls_client("demo.example"), introspects))
            .client("alone", self_signed_client(&[&alone]))
            .start()
            .await;
        let (demo, wrong) = (
            authority.issue(dns("demo.example")),
            authority.issue(dns("wrong.example")),
        );
        let jwt = world.access_token(&demo, "demo", &[]).await;
        let opaque = world.access_token(&demo, "demo", &[("resource", OPAQUE_API)]).await;
        world.access_token(&alone, "alone", &[]).await;
        let peer = world.peer(Side::MutualTls, Some(&demo));
        for path in ["/introspect", "/revoke"] {
            for token in [&jwt, &opaque] {
                let reply = peer.post(path, &[("client_id", "demo"), ("token", token)]).await;
                assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
            }
        }
        let basic = format!("Basic {}", base64url::encode_standard(b"demo:canary-password"));
        let bearer = format!("Bearer {jwt}");
        let forged = format!(":{}:", base64url::encode_standard(&alone.der));
        let fields = [
            ("authorization", basic.as_str()),
            ("authorization", &bearer),
            ("client-cert", &forged),
            ("cookie", "canary-cookie"),
        ];
        let secrets = [
            ("client_secret", "canary-secret"),
            ("client_assertion", "canary-header.canary-claims.canary-signature"),
            ("unknown", "canary-parameter"),
        ];
        for leaf in [&demo, &wrong, &alone] {
            let peer = world.peer(Side::MutualTls, Some(leaf));
            for field in fields {
                peer.post_with("/token?secret=canary-query", &credentials("demo"), &[field])
                    .await;
            }
            for secret in secrets {
                let form = [&credentials("demo")[..], &[secret]].concat();
                peer.post("/token", &form).await;
            }
        }
        let refused = world.token(Some(&wrong), "demo").await;
        let refusal = refused.header("keybound-refusal").unwrap();

        // The requests are written down a little later, the last one last.
        let of_requests = |text: &str| {
            text.lines()
                .any(|line| line.contains("keybound::requests") && line.contains(refusal))
        };
        let written = async {
            while !of_requests(&log.text()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), written).await.unwrap();
        let text = log.text();
        assert!(text.contains("\"client_id\":\"demo\"") && text.contains("\"claimed_client_id\":\"demo\""));
        let octets = |der: &[u8]| format!("{:?}", &der[..64]).trim_matches(['[', ']']).to_owned();
        let shown_as = |leaf: &Leaf| {
            [
                base64url::encode_standard(&leaf.der)[..64].to_owned(),
                base64url::encode(&leaf.der)[..64].to_owned(),
                octets(&leaf.der),
            ]
        };
        let signature = jwt.rsplit('.').next().unwrap();
        let held = [&demo, &wrong, &alone].into_iter().flat_map(shown_as);
        for secret in held.chain(["canary", signature, &opaque, &basic[6..]].map(str::to_owned)) {
            let told = text.lines().find(|line| line.contains(&secret));
            assert_eq!(told, None, "{secret}");
        }
        assert!(
            !text
                .chars()
                .any(|character| character.is_control() && character != '\n')
        );
    });
}

// covers R6749-3
#[tokio::test]
async fn the_twenty_first_failure_within_a_second_is_429_and_whoever_succeeds_is_never_limited() {
    let authority = Authority::root("corp");
    let mut plan = Plan::new()
        .trusts("corp", &authority)
        .client("demo", tls_client("demo.example"));
    plan.settings.limits.failed_authentications_per_second = 20;
    let world = plan.start().await;
    let (good, bad) = (
        authority.issue(dns("demo.example")),
        authority.issue(dns("bad.example")),
    );
    let (good, bad) = (
        world.peer(Side::MutualTls, Some(&good)),
        world.peer(Side::MutualTls, Some(&bad)),
    );
    let began = std::time::Instant::now();
    let mut limited = 0;
    let rounds = 60;
    for n in 0..rounds {
        let reply = bad.post("/token", &credentials("demo")).await;
        match reply.status.as_u16() {
            400 => assert_eq!(reply.json()["error"], "invalid_client"),
            429 => {
                limited += 1;
                assert_eq!(reply.header("retry-after"), Some("1"));
                assert_eq!(reply.json()["error"], "temporarily_unavailable");
                assert_eq!(reply.header("cache-control"), Some("no-store"));
                let refusal = world.refusal(&reply).await;
                assert!(
                    refusal
                        .rules
                        .iter()
                        .any(|rule| rule.rule == "failed authentications within their limit")
                );
            }
            other => panic!("{other} at {n}"),
        }
        if n % 6 == 0 {
            assert_eq!(good.post("/token", &credentials("demo")).await.status, StatusCode::OK);
        }
    }
    let allowed = 20 + (began.elapsed().as_secs_f64() * 20.0).ceil() as usize;
    assert!(limited >= rounds - allowed.min(rounds), "{limited}");
    if began.elapsed().as_secs_f64() < 1.0 {
        assert!(limited > 0);
    }
}

fn plan(authority: &Authority, name: &str) -> Plan {
    Plan::new().trusts("corp", authority).client("demo", tls_client(name))
}

// covers R17
#[tokio::test]
async fn a_reload_is_seen_whole_and_loses_no_request_in_flight() {
    let authority = Authority::root("corp");
    let world = plan(&authority, "old.example").start().await;
    let (old, new) = (authority.issue(dns("old.example")), authority.issue(dns("new.example")));
    let (old, new) = (
        world.peer(Side::MutualTls, Some(&old)),
        world.peer(Side::MutualTls, Some(&new)),
    );
    for round in 0..10 {
        let (name, right, wrong) = if round % 2 == 0 {
            ("new.example", &new, &old)
        } else {
            ("old.example", &old, &new)
        };
        let asking: Vec<_> = (0..8)
            .map(|_| {
                let peer = right.clone();
                tokio::spawn(async move { peer.post("/token", &credentials("demo")).await.status.as_u16() })
            })
            .collect();
        world.server.reload(plan(&authority, name).settings).await.unwrap();
        assert_eq!(right.post("/token", &credentials("demo")).await.status, StatusCode::OK);
        assert_eq!(
            wrong.post("/token", &credentials("demo")).await.status,
            StatusCode::BAD_REQUEST
        );
        for task in asking {
            assert!([200, 400].contains(&task.await.unwrap()));
        }
    }
}

async fn restarted(world: World, plan: Plan) -> World {
    world.server.stop().await.unwrap();
    let directory = Arc::clone(&world.directory);
    drop(world);
    Plan {
        directory: Some(directory),
        ..plan
    }
    .start()
    .await
}

// covers I4
#[tokio::test]
async fn keys_refusals_and_issued_tokens_survive_a_restart() {
    let authority = Authority::root("corp");
    let world = plan(&authority, "demo.example").start().await;
    let leaf = authority.issue(dns("demo.example"));
    let token = world.access_token(&leaf, "demo", &[]).await;
    let refused = world.token(None, "demo").await;
    let world = restarted(world, plan(&authority, "demo.example")).await;
    assert_eq!(world.refusal(&refused).await.client_id.as_deref(), Some("demo"));
    let again = world.access_token(&leaf, "demo", &[]).await;
    assert_eq!(jose_header(&token)["kid"], jose_header(&again)["kid"]);
    let batches = world.store.issued_tokens.issued_token_batches(0, 10).await.unwrap();
    let recorded: Vec<String> = batches
        .iter()
        .flat_map(|batch| &batch.tokens)
        .map(|token| token.token_id.to_string())
        .collect();
    assert!(
        recorded.contains(&claims(&token)["jti"].as_str().unwrap().to_owned()),
        "{recorded:?}"
    );
}

// covers R15, R9068-1
#[tokio::test]
async fn a_new_key_is_published_before_it_signs_and_the_old_one_as_long_as_its_tokens_live() {
    let authority = Authority::root("corp");
    let world = plan(&authority, "demo.example").start().await;
    let leaf = authority.issue(dns("demo.example"));
    let old = jose_header(&world.access_token(&leaf, "demo", &[]).await)["kid"].clone();
    world.clock.advance(3600);
    let signer = LocalSigner::generate(SignatureAlgorithm::Es256, &aws_lc_rs::rand::SystemRandom::new()).unwrap();
    let new = NewSigningKey {
        key_id: signer.key_id().to_owned(),
        algorithm: "ES256".to_owned(),
        private_key: PrivateKeyDer::from_pkcs8(signer.to_pkcs8().unwrap().to_vec()),
        public_jwk: signer.public_jwk().to_json().to_string(),
    };
    let entry = AuditEntry::new(Timestamp::from_unix_secs(world.clock.now()), Actor::Operator);
    world.store.signing_keys.rotate_signing_key(new, entry).await.unwrap();
    world
        .server
        .reload(plan(&authority, "demo.example").settings)
        .await
        .unwrap();
    let published = || async {
        let keys = world.peer(Side::Public, None).get("/jwks").await.json();
        keys["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["kid"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(published().await.len(), 2);
    assert_eq!(jose_header(&world.access_token(&leaf, "demo", &[]).await)["kid"], old);
    world.clock.advance(60);
    world
        .server
        .reload(plan(&authority, "demo.example").settings)
        .await
        .unwrap();
    assert_eq!(
        jose_header(&world.access_token(&leaf, "demo", &[]).await)["kid"],
        signer.key_id()
    );
    assert!(published().await.contains(&old));
}

// covers I4
#[tokio::test]
async fn what_another_process_changes_in_the_database_is_seen_within_two_seconds() {
    let authority = Authority::root("corp");
    let world = Plan::new().start().await;
    let leaf = authority.issue(dns("demo.example"));
    let peer = world.peer(Side::MutualTls, Some(&leaf));
    // Remembered: nobody of that name, and nobody to trust.
    assert_eq!(
        peer.post("/token", &credentials("demo")).await.status,
        StatusCode::BAD_REQUEST
    );
    let files = |name: &str| world.directory.path().join(name);
    let now = Timestamp::from_unix_secs(NOW);
    let other = SqliteStore::open(&SqliteSettings::new(files("keybound.db"), files("keys.kek")), now).unwrap();
    let entry = || AuditEntry::new(now, Actor::Operator);
    let client = NewClient {
        client_id: ClientId::parse("demo").unwrap(),
        metadata: tls_client("demo.example").to_string(),
        origin: ClientOrigin::Administrator,
        secret: None,
    };
    other.clients.create_client(client, entry()).await.unwrap();
    let definition = json!({"name": "corp", "certificates": authority.pem()}).to_string();
    let anchor = NewTrustAnchor {
        name: "corp".to_owned(),
        definition,
    };
    other.trust_anchors.create_trust_anchor(anchor, entry()).await.unwrap();
    let began = std::time::Instant::now();
    while peer.post("/token", &credentials("demo")).await.status != StatusCode::OK {
        assert!(
            began.elapsed() < std::time::Duration::from_secs(10),
            "not seen after {:?}",
            began.elapsed()
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
