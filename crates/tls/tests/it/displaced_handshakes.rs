//! Who gives way when there is no room for another handshake, and who does not.
//!
//! Each test fills the listener and sees that it is full before a genuine client comes: without displacement that client would be refused.

use std::time::Duration;

use keybound_tls::{Limits, Listener, Runtimes, Transport};
use rustls::{ClientConnection, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    limits::connect_from,
    support::{Mirror, RawClient, Server, exchange, mutual_policy, quick, read_until, settings, status},
};

const GENUINE: [u8; 4] = [127, 0, 0, 1];
const ATTACKERS: [[u8; 4]; 2] = [[127, 0, 0, 2], [127, 0, 0, 3]];
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// The first record of a ClientHello, without its end.
const HALF_HELLO: &[u8] = &[22, 3, 1, 2, 0, 1];

/// A whole ClientHello of a client that then says no more.
fn hello() -> Vec<u8> {
    let config = RawClient::any_version(None).config;
    let name = ServerName::try_from("localhost").unwrap();
    let mut octets = Vec::new();
    let mut client = ClientConnection::new(config.into(), name).unwrap();
    client.write_tls(&mut octets).unwrap();
    octets
}

/// Room for `connections` of each prefix, and for the handshakes of two.
fn room_for(connections: usize) -> Limits {
    Limits {
        connections_per_prefix_max: connections,
        handshakes_max: 2 * connections,
        // However slow this machine is, nobody leaves for the time it took.
        handshake_timeout: Duration::from_secs(120),
        ..quick()
    }
}

/// Handshakes that are begun and not finished.
struct Attack {
    source: [u8; 4],
    octets: Vec<u8>,
    /// Also those that the server closed.
    open: Vec<TcpStream>,
}

impl Attack {
    /// `connections` from `source`, each with `octets` sent.
    async fn begin(server: &Server, source: [u8; 4], connections: usize, octets: &[u8]) -> Attack {
        let mut attack = Attack {
            source,
            octets: octets.to_vec(),
            open: Vec::new(),
        };
        attack.renew(server, connections).await;
        attack
    }

    /// Begins as many more.
    async fn renew(&mut self, server: &Server, connections: usize) {
        for _ in 0..connections {
            let mut stream = connect_from(server, self.source).await;
            // Where we are refused the connection may be gone before we write; that we notice by the counters.
            let _ = stream.write_all(&self.octets).await;
            self.open.push(stream);
        }
    }
}

async fn wait_for_handshakes(server: &Server, handshakes: usize) {
    server
        .wait_for(|counters| counters.handshakes_in_progress == handshakes as u64)
        .await;
}

async fn assert_served(server: &Server) {
    let answer = RawClient::any_version(None).get(server, "localhost").await.unwrap();
    assert_eq!(status(&answer), "200");
}

async fn assert_closed(stream: &mut TcpStream) {
    let mut octet = [0];
    assert!(matches!(stream.read(&mut octet).await, Ok(0) | Err(_)));
}

async fn assert_nothing_left(server: &Server) {
    server
        .wait_for(|counters| counters.connections_open == 0 && counters.handshakes_in_progress == 0)
        .await;
}

// covers T25
#[tokio::test]
async fn an_established_connection_does_not_give_way() {
    let server = Server::mutual_with(room_for(2));
    let client = RawClient::any_version(None);
    let mut established = Vec::new();
    for _ in 0..2 {
        established.push(client.connect(&server, "localhost").await.unwrap());
    }
    server.wait_for(|counters| counters.handshakes_completed == 2).await;
    assert!(client.connect(&server, "localhost").await.is_err());
    assert_eq!(
        (
            server.count("too_many_connections_of_prefix"),
            server.count("displaced")
        ),
        (1, 0)
    );
    // A flood of others that displace each other is no concern of theirs.
    let mut attack = Attack::begin(&server, ATTACKERS[0], 2, b"").await;
    attack.renew(&server, 50).await;
    server.wait_for(|counters| counters.count("displaced") == 50).await;
    for stream in &mut established {
        stream.write_all(REQUEST).await.unwrap();
        assert_eq!(status(&read_until(stream, "body=").await), "200");
    }
    drop((established, attack));
    assert_nothing_left(&server).await;
}

// covers T26
#[tokio::test]
async fn work_begun_does_not_give_way_to_a_newcomer_of_the_same_prefix() {
    let server = Server::mutual_with(room_for(1));
    // Displaced, if the answer was late: then once more.
    for _ in 0..100 {
        let mut answered = Attack::begin(&server, GENUINE, 1, &hello()).await;
        let mut flight = [0; 1];
        answered.open[0].read_exact(&mut flight).await.unwrap();
        let seen = |server: &Server| {
            (
                server.count("too_many_connections_of_prefix"),
                server.count("displaced"),
            )
        };
        let (refused, displaced) = seen(&server);
        let newcomer = server.connect().await;
        server
            .wait_for(|_| seen(&server).0 > refused || seen(&server).1 > displaced)
            .await;
        drop((newcomer, answered));
        assert_nothing_left(&server).await;
        if seen(&server).0 > refused {
            return;
        }
    }
    panic!("a handshake just answered should not have given way to an equal");
}

/// Two addresses hold all handshakes there may be and renew them, while `genuine` clients come from a third; on two runtimes.
fn flood_from_two_addresses(octets: &[u8], connections: usize, genuine: usize) {
    let runtimes = Runtimes::start(2).unwrap();
    let (mirror, limits) = (Mirror::default(), room_for(connections));
    let listener = Listener::bind(settings(Transport::Tls(mutual_policy()), limits), &runtimes).unwrap();
    let server = Server {
        handle: listener.serve(mirror.clone()),
        mirror,
    };
    runtimes.block_on(async {
        let mut established = RawClient::any_version(None)
            .connect(&server, "localhost")
            .await
            .unwrap();
        let mut attacks = Vec::new();
        for source in ATTACKERS {
            attacks.push(Attack::begin(&server, source, connections, octets).await);
        }
        for served in 0..genuine {
            wait_for_handshakes(&server, 2 * connections).await;
            let displaced = server.count("displaced");
            assert_served(&server).await;
            assert!(
                server.count("displaced") > displaced,
                "it was full, so someone made room"
            );
            for attack in &mut attacks {
                attack.renew(&server, 4).await;
            }
            assert_eq!(server.mirror.calls(), served + 1);
        }
        assert_eq!(server.count("too_many_handshakes"), 0);
        established.write_all(REQUEST).await.unwrap();
        assert_eq!(status(&read_until(&mut established, "body=").await), "200");
        drop((attacks, established));
        assert_nothing_left(&server).await;
    });
}

/// As many connections as the defaults let a prefix have, or fewer where this process may not open so many files.
fn connections_of_a_prefix() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = files.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    match soft {
        Some(soft) if soft >= 8192 => Limits::default().connections_per_prefix_max,
        _ => 32,
    }
}

// covers T25, T26
#[test]
fn silent_connections_from_two_addresses_keep_nobody_out() {
    flood_from_two_addresses(b"", connections_of_a_prefix(), 50);
}

// covers T26
#[test]
fn half_client_hellos_from_two_addresses_keep_nobody_out() {
    flood_from_two_addresses(HALF_HELLO, 16, 50);
}

// covers T26
#[tokio::test]
async fn whole_client_hellos_from_two_addresses_keep_nobody_out() {
    let server = Server::mutual_with(room_for(16));
    let mut attacks = Vec::new();
    for source in ATTACKERS {
        let mut attack = Attack::begin(&server, source, 16, &hello()).await;
        // Our flight is there, and is not answered.
        for stream in &mut attack.open {
            stream.read_exact(&mut [0; 1]).await.unwrap();
        }
        attacks.push(attack);
    }
    for round in 0..10 {
        wait_for_handshakes(&server, 32).await;
        assert_served(&server).await;
        assert_eq!(
            server.count("displaced"),
            u64::from(round) + 1,
            "it was full, so someone made room"
        );
        attacks.push(Attack::begin(&server, [127, 0, 1, round], 1, &hello()).await);
    }
    assert_eq!(server.count("too_many_handshakes"), 0);
    drop(attacks);
    assert_nothing_left(&server).await;
}

// covers T25, T26
#[tokio::test]
async fn silent_connections_from_the_address_of_a_genuine_client_do_not_keep_it_out() {
    let connections = 32;
    let server = Server::mutual_with(room_for(connections));
    let mut established = RawClient::any_version(None)
        .connect(&server, "localhost")
        .await
        .unwrap();
    for octets in [b"", HALF_HELLO] {
        let mut attack = Attack::begin(&server, GENUINE, connections, octets).await;
        for _ in 0..50 {
            wait_for_handshakes(&server, connections - 1).await;
            let displaced = server.count("displaced");
            assert_served(&server).await;
            assert!(
                server.count("displaced") > displaced,
                "it was full, so someone made room"
            );
            attack.renew(&server, 4).await;
        }
        assert_eq!(server.count("too_many_connections_of_prefix"), 0);
    }
    established.write_all(REQUEST).await.unwrap();
    assert_eq!(status(&read_until(&mut established, "body=").await), "200");
    drop(established);
    assert_nothing_left(&server).await;
}

// covers T26
#[tokio::test]
async fn whoever_gives_way_is_closed_and_the_oldest_goes_first() {
    let server = Server::mutual_with(room_for(2));
    let mut first = connect_from(&server, ATTACKERS[0]).await;
    wait_for_handshakes(&server, 1).await;
    let mut second = connect_from(&server, ATTACKERS[0]).await;
    wait_for_handshakes(&server, 2).await;
    let third = connect_from(&server, ATTACKERS[0]).await;
    assert_closed(&mut first).await;
    assert_eq!((server.count("displaced"), server.count("timeout")), (1, 0));
    let fourth = connect_from(&server, ATTACKERS[0]).await;
    assert_closed(&mut second).await;
    // Those that came last are in progress yet, and can finish.
    assert_eq!(server.handle.counters().snapshot().handshakes_in_progress, 2);
    drop(third);
    wait_for_handshakes(&server, 1).await;
    let name = ServerName::try_from("localhost").unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(RawClient::any_version(None).config));
    let mut fourth = connector.connect(name, fourth).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&exchange(&mut fourth, request).await.unwrap()), "200");
    drop(fourth);
    assert_nothing_left(&server).await;
}
