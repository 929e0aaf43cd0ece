//! URLs that clients register, and whom the server connects to because of them: nobody who is not meant.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use http::StatusCode;
use keybound_tls::{GuardedFetch, GuardedFetchSettings, Roots};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::pki::{Authority, Leaf, dns, self_signed};
use crate::registration::{plan, policy, register, registration};
use crate::world::{World, tls_client, with};

/// A listener that counts connections, and should count none.
pub(crate) struct Canary {
    pub(crate) port: u16,
    connections: Arc<AtomicUsize>,
}

impl Canary {
    pub(crate) async fn start(address: &str) -> Canary {
        let listener = TcpListener::bind(address).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counter.fetch_add(1, SeqCst);
            }
        });
        Canary { port, connections }
    }

    pub(crate) fn count(&self) -> usize {
        self.connections.load(SeqCst)
    }

    /// Asserts that nobody came, and that somebody who comes is counted.
    pub(crate) async fn assert_silent(&self, address: &str) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(self.count(), 0);
        let _guest = TcpStream::connect((address, self.port)).await.unwrap();
        while self.count() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Hosts that are inside, or look as if they were not.
pub(crate) const SPELLINGS: [&str; 34] = [
    "127.0.0.1",
    "127.1",
    "0x7f000001",
    "0x7f.0x0.0x0.0x1",
    "0177.0.0.1",
    "017700000001",
    "2130706433",
    "127.0.0.1.",
    "127.000.000.001",
    "0",
    "0.0.0.0",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "localhost.localdomain",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[fe80::1]",
    "169.254.169.254",
    "%31%32%37.0.0.1",
    "１２７.0.0.1",
    "127。0。0。1",
    "①②⑦.0.0.1",
    "user@127.0.0.1",
    "public.example@127.0.0.1",
    "127.0.0.1#@public.example",
    "127.0.0.1\\@public.example",
    "127.0.0.1\t",
];

/// A server that lets clients register and fetches from these addresses.
async fn world(allowed: &[&str]) -> World {
    let mut plan = plan(registration(policy())).trusts("corp", &Authority::root("corp"));
    let roots = Roots::from_pem(plan.server_authority.pem().as_bytes()).unwrap();
    let mut fetch = GuardedFetchSettings::new(roots);
    fetch.allow_addresses = allowed.iter().map(|range| range.parse().unwrap()).collect();
    fetch.timeout = Duration::from_millis(500);
    plan.settings.fetch = GuardedFetch::new(fetch);
    plan.settings.limits.key_set_fetches_per_second = 100_000;
    plan.settings.limits.alike_answer_interval = Duration::ZERO;
    plan.start().await
}

fn published_at(uri: &str) -> Value {
    json!({
        "token_endpoint_auth_method": "self_signed_tls_client_auth",
        "jwks_uri": uri,
        "grant_types": ["client_credentials"],
    })
}

/// Registers such a client and has it authenticate: the moment at which its keys are fetched. Whether it was registered.
async fn tried(world: &World, leaf: &Leaf, uri: &str) -> bool {
    let reply = register(world, &published_at(uri)).await;
    match reply.status {
        StatusCode::CREATED => {
            let answer = reply.json();
            let reply = world.token(Some(leaf), answer["client_id"].as_str().unwrap()).await;
            assert_eq!(reply.json()["error"], "invalid_client", "{uri} {reply:?}");
            true
        }
        _ => {
            world
                .assert_refused(&reply, 400, "invalid_client_metadata", "client metadata permitted")
                .await;
            false
        }
    }
}

// covers T22, TRAP-42, R7591-6
#[tokio::test]
async fn no_spelling_of_an_inside_address_makes_the_server_connect_to_it() {
    let canaries = [Canary::start("0.0.0.0:0").await, Canary::start("[::1]:0").await];
    let world = world(&[]).await;
    let leaf = self_signed(dns("x"));
    let (mut registered, mut refused) = (0, 0);
    for port in canaries.iter().map(|canary| canary.port) {
        for host in SPELLINGS {
            match tried(&world, &leaf, &format!("https://{host}:{port}/jwks")).await {
                true => registered += 1,
                false => refused += 1,
            }
        }
        for scheme in [
            "http", "ftp", "file", "gopher", "ws", "wss", "ldap", "data", "unix", "HTTP",
        ] {
            assert!(
                !tried(&world, &leaf, &format!("{scheme}://127.0.0.1:{port}/jwks")).await,
                "{scheme}"
            );
            refused += 1;
        }
    }
    let [four, six] = &canaries;
    four.assert_silent("127.0.0.1").await;
    six.assert_silent("::1").await;
    assert!(
        registered >= 40 && refused >= 20,
        "{registered} registered, {refused} refused"
    );
}

// covers T22, TRAP-42
#[tokio::test]
async fn registering_fetches_nothing_and_authenticating_fetches_from_where_it_is_allowed() {
    let canary = Canary::start("127.0.0.1:0").await;
    let world = world(&["127.0.0.0/8"]).await;
    let url = format!("https://127.0.0.1:{}/x", canary.port);
    let reply = register(&world, &published_at(&url)).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    // Nothing that is for people, or for what is not done here, is ever looked at.
    for member in [
        "logo_uri",
        "client_uri",
        "tos_uri",
        "policy_uri",
        "initiate_login_uri",
        "backchannel_client_notification_endpoint",
        "frontchannel_logout_uri",
    ] {
        let reply = register(&world, &with(tls_client("x.example"), json!({member: url}))).await;
        assert!(matches!(reply.status.as_u16(), 201 | 400), "{member} {reply:?}");
    }
    for member in ["redirect_uris", "request_uris", "post_logout_redirect_uris"] {
        let reply = register(&world, &with(tls_client("x.example"), json!({member: [url]}))).await;
        assert!(matches!(reply.status.as_u16(), 201 | 400), "{member} {reply:?}");
    }
    let sector = with(tls_client("x.example"), json!({"sector_identifier_uri": url}));
    let refused = register(&world, &sector).await;
    world
        .assert_refused(&refused, 400, "invalid_client_metadata", "client metadata permitted")
        .await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(canary.count(), 0, "at registration");
    // Nobody makes the server fetch by naming a client, either: without a certificate there is nothing to compare.
    let client_id = reply.json()["client_id"].as_str().unwrap().to_owned();
    assert_eq!(world.token(None, &client_id).await.json()["error"], "invalid_client");
    assert_eq!(canary.count(), 0, "without a certificate");
    // The canary does sing.
    let reply = world.token(Some(&self_signed(dns("x"))), &client_id).await;
    assert_eq!(reply.json()["error"], "invalid_client", "{reply:?}");
    assert_eq!(canary.count(), 1, "with one");
}
