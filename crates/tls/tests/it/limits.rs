//! Each limit: just under it passes, just over it gets the stated answer, and nothing is left behind.

use std::{net::SocketAddr, time::Duration};

use keybound_tls::{LayerRefusal, Limits};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::{Instant, sleep},
};

use crate::{
    pki::{Client, KeyKind},
    support::{BOTH_VERSIONS, RawClient, Server, assert_json_error, exchange, quick, read_to_end, read_until, status},
};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Whether a connection is served: it answers a request and stays open.
async fn is_served(stream: &mut TcpStream) -> bool {
    if stream.write_all(REQUEST).await.is_err() {
        return false;
    }
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.is_ok() && answer == *b"HTTP/1.1 200"
}

pub(crate) async fn connect_from(server: &Server, source: [u8; 4]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((source, 0))).unwrap();
    socket.connect(server.address()).await.unwrap()
}

// covers T25
#[tokio::test]
async fn connections_in_all() {
    let limits = Limits {
        connections_max: 3,
        ..quick()
    };
    let server = Server::plain(limits.clone());
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut stream = server.connect().await;
        assert!(is_served(&mut stream).await);
        open.push(stream);
    }
    let answer = read_to_end(&mut server.connect().await).await.unwrap();
    assert_json_error(&answer, "503");
    assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
    assert_eq!(server.count("too_many_connections"), 1);
    // Those that were there are served on, and a place that became free is given away.
    drop(open.pop());
    server.wait_for(|counters| counters.connections_open == 2).await;
    assert!(is_served(&mut server.connect().await).await);
    drop(open);
    server.wait_until_empty().await;

    // With TLS it is closed before anything is computed.
    let server = Server::mutual_with(Limits {
        connections_max: 1,
        ..limits
    });
    let client = RawClient::any_version(None);
    let first = client.connect(&server, "localhost").await.unwrap();
    assert!(client.connect(&server, "localhost").await.is_err());
    assert_eq!(
        (
            server.count("too_many_connections"),
            server.handle.counters().snapshot().handshakes_completed
        ),
        (1, 1)
    );
    drop(first);
    server.wait_until_empty().await;
}

// covers T25
#[tokio::test]
async fn connections_from_one_address_prefix() {
    let server = Server::plain(Limits {
        connections_per_prefix_max: 2,
        ..quick()
    });
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = connect_from(&server, [127, 0, 0, 2]).await;
        assert!(is_served(&mut stream).await);
        open.push(stream);
    }
    let answer = read_to_end(&mut connect_from(&server, [127, 0, 0, 2]).await)
        .await
        .unwrap();
    assert_json_error(&answer, "503");
    assert_eq!(server.count("too_many_connections_of_prefix"), 1);
    // Other neighbours are not affected.
    assert!(is_served(&mut connect_from(&server, [127, 0, 0, 3]).await).await);
    drop(open);
    server.wait_until_empty().await;
    assert!(is_served(&mut connect_from(&server, [127, 0, 0, 2]).await).await);
}

// covers T26
#[tokio::test]
async fn handshakes_in_progress() {
    let server = Server::mutual_with(Limits {
        handshakes_max: 3,
        ..quick()
    });
    // An established connection from before.
    let mut established = RawClient::any_version(None)
        .connect(&server, "localhost")
        .await
        .unwrap();
    let silent: Vec<TcpStream> = vec![server.connect().await, server.connect().await];
    server.wait_for(|counters| counters.handshakes_in_progress == 2).await;
    let answer = RawClient::any_version(None).get(&server, "localhost").await.unwrap();
    assert_eq!(status(&answer), "200", "one below the limit");
    let third = server.connect().await;
    server.wait_for(|counters| counters.handshakes_in_progress == 3).await;
    // Just over it, the one that was silent longest gives way.
    let answer = RawClient::any_version(None).get(&server, "localhost").await.unwrap();
    assert_eq!(status(&answer), "200", "in place of a silent one");
    assert_eq!((server.count("displaced"), server.count("too_many_handshakes")), (1, 0));
    established.write_all(REQUEST).await.unwrap();
    assert_eq!(status(&read_until(&mut established, "body=").await), "200");
    drop((silent, third, established));
    server.wait_until_empty().await;
    assert_eq!(server.handle.counters().snapshot().handshakes_in_progress, 0);
}

// covers T25, T26
#[tokio::test]
async fn time_for_a_handshake() {
    let server = Server::mutual_with(Limits {
        handshake_timeout: Duration::from_millis(400),
        ..quick()
    });
    let begun = Instant::now();
    let mut silent = server.connect().await;
    let mut half = server.connect().await;
    half.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    let mut octet = [0];
    assert!(matches!(silent.read(&mut octet).await, Ok(0) | Err(_)));
    assert!(matches!(half.read(&mut octet).await, Ok(0) | Err(_)));
    let took = begun.elapsed();
    assert!(
        (Duration::from_millis(400)..Duration::from_secs(5)).contains(&took),
        "{took:?}"
    );
    server.wait_for(|counters| counters.count("timeout") == 2).await;
    // Just in time is in time.
    let mut client = server.connect().await;
    sleep(Duration::from_millis(200)).await;
    let config = RawClient::any_version(None).config;
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let mut stream = connector
        .connect("localhost".try_into().unwrap(), &mut client)
        .await
        .unwrap();
    stream.write_all(REQUEST).await.unwrap();
    assert_eq!(status(&read_until(&mut stream, "body=").await), "200");
    drop(client);
    server.wait_until_empty().await;
}

// covers R9440-8
#[tokio::test]
async fn octets_of_a_certificate_message() {
    // Path material is not looked at before somebody asks for a path: one certificate of nothing pads a chain to any size.
    let padded = |bytes: usize| {
        let mut client = Client::self_signed(KeyKind::P256);
        client.chain.push(vec![0x30; bytes - client.leaf().len()]);
        client
    };
    let server = Server::mutual_with(Limits {
        certificate_message_bytes_max: 20_000,
        ..quick()
    });
    for version in BOTH_VERSIONS {
        let answer = RawClient::new(&[version], Some(&padded(20_000)))
            .get(&server, "localhost")
            .await
            .unwrap();
        assert_eq!(status(&answer), "200", "{answer}");
        let before = server.count("certificate_message_too_long");
        assert!(
            RawClient::new(&[version], Some(&padded(20_001)))
                .get(&server, "localhost")
                .await
                .is_err()
        );
        server
            .wait_for(|counters| counters.count("certificate_message_too_long") == before + 1)
            .await;
    }
    server.wait_until_empty().await;

    // The limit of TLS itself.
    let server = Server::mutual();
    for version in BOTH_VERSIONS {
        let answer = RawClient::new(&[version], Some(&padded(60_000)))
            .get(&server, "localhost")
            .await
            .unwrap();
        assert_eq!(status(&answer), "200", "{answer}");
        assert!(
            RawClient::new(&[version], Some(&padded(66_000)))
                .get(&server, "localhost")
                .await
                .is_err()
        );
    }
    server.wait_until_empty().await;
}

fn head_of(bytes: usize) -> Vec<u8> {
    let start = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nA: ";
    format!("{start}{}\r\n\r\n", "a".repeat(bytes - start.len() - 4)).into_bytes()
}

// covers R9440-8
#[tokio::test]
async fn octets_of_a_head() {
    let server = Server::plain(quick());
    let limit = 32 * 1024;
    let answer = exchange(&mut server.connect().await, &head_of(limit)).await.unwrap();
    assert_eq!(status(&answer), "200", "{answer}");
    let answer = exchange(&mut server.connect().await, &head_of(limit + 1))
        .await
        .unwrap();
    assert_json_error(&answer, "431");
    // Without an end in sight, too.
    let endless = [b"GET / HTTP/1.1\r\nHost: localhost\r\nA: ", &vec![b'a'; limit][..]].concat();
    let answer = exchange(&mut server.connect().await, &endless).await.unwrap();
    assert_json_error(&answer, "431");
    assert_eq!((server.mirror.calls(), server.count("head_too_long")), (1, 2));
    assert_eq!(
        server.mirror.refusals(),
        [LayerRefusal::HeadTooLong, LayerRefusal::HeadTooLong]
    );
    server.wait_until_empty().await;
}

// covers T25
#[tokio::test]
async fn fields_of_a_head() {
    let server = Server::plain(quick());
    let head = |fields: usize| {
        let fields: String = (2..fields).map(|number| format!("A{number}: x\r\n")).collect();
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n")
    };
    let answer = exchange(&mut server.connect().await, head(100).as_bytes())
        .await
        .unwrap();
    assert_eq!(status(&answer), "200", "{answer}");
    let answer = exchange(&mut server.connect().await, head(101).as_bytes())
        .await
        .unwrap();
    assert_json_error(&answer, "431");
    assert_eq!(server.mirror.calls(), 1);
    server.wait_until_empty().await;
}

// covers T25
#[tokio::test]
async fn time_for_a_head() {
    let limits = Limits {
        head_timeout: Duration::from_millis(400),
        ..quick()
    };
    let server = Server::plain(limits);
    let begun = Instant::now();
    let mut late = server.connect().await;
    late.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    // One octet now and then does not help.
    let dribble = async {
        loop {
            sleep(Duration::from_millis(50)).await;
            let _ = late.write_all(b"x").await;
            if begun.elapsed() > Duration::from_millis(350) {
                break;
            }
        }
        read_to_end(&mut late).await
    };
    assert_json_error(&dribble.await.unwrap(), "408");
    let took = begun.elapsed();
    assert!(
        (Duration::from_millis(400)..Duration::from_secs(5)).contains(&took),
        "{took:?}"
    );
    assert_eq!((server.mirror.calls(), server.count("head_timeout")), (0, 1));
    // The clock starts with the first octet of each head, not with the connection.
    let mut patient = server.connect().await;
    sleep(Duration::from_millis(600)).await;
    for _ in 0..2 {
        patient.write_all(&REQUEST[..10]).await.unwrap();
        sleep(Duration::from_millis(250)).await;
        patient.write_all(&REQUEST[10..]).await.unwrap();
        assert_eq!(status(&read_until(&mut patient, "body=").await), "200");
    }
    drop(patient);
    server.wait_until_empty().await;
}

// covers T25
#[tokio::test]
async fn hundreds_of_slow_clients_are_each_closed_in_time_and_others_are_served() {
    let limits = Limits {
        head_timeout: Duration::from_millis(800),
        idle_timeout: Duration::from_millis(800),
        connections_per_prefix_max: 1000,
        ..quick()
    };
    let server = Server::plain(limits);
    let begun = Instant::now();
    let mut slow = Vec::new();
    for number in 0..300 {
        let mut stream = server.connect().await;
        // A third each: silent, in the middle of a head, in the middle of a body.
        let octets = [
            &b""[..],
            &REQUEST[..20],
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhel",
        ];
        stream.write_all(octets[number % 3]).await.unwrap();
        slow.push((number, stream));
    }
    let mut genuine = server.connect().await;
    let mut served = 0;
    while begun.elapsed() < Duration::from_millis(1500) {
        assert!(is_served(&mut genuine).await);
        read_until(&mut genuine, "body=0").await;
        served += 1;
        sleep(Duration::from_millis(5)).await;
    }
    assert!(served >= 50, "{served}");
    for (number, mut stream) in slow {
        match number % 3 {
            0 => assert_eq!(read_to_end(&mut stream).await.unwrap(), ""),
            1 => assert_json_error(&read_to_end(&mut stream).await.unwrap(), "408"),
            // A body has 30 s.
            _ => drop(stream),
        }
    }
    assert_eq!(server.count("head_timeout"), 100);
    drop(genuine);
    server.wait_until_empty().await;
}

fn post(bytes: usize) -> Vec<u8> {
    let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {bytes}\r\n\r\n");
    [head.into_bytes(), vec![b'a'; bytes]].concat()
}

fn post_chunked(bytes: usize) -> Vec<u8> {
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let body = vec![b'a'; bytes];
    let mut octets = head.as_bytes().to_vec();
    for chunk in body.chunks(1000) {
        octets.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
        octets.extend(chunk);
        octets.extend(b"\r\n");
    }
    octets.extend(b"0\r\n\r\n");
    octets
}

#[tokio::test]
async fn octets_of_a_body() {
    let server = Server::plain(quick());
    let limit = 64 * 1024;
    for octets in [post(limit), post_chunked(limit)] {
        let answer = exchange(&mut server.connect().await, &octets).await.unwrap();
        assert!(answer.ends_with("body=65536"), "{answer}");
    }
    assert_eq!(server.mirror.calls(), 2);
    let answer = exchange(&mut server.connect().await, &post(limit + 1)).await.unwrap();
    assert_json_error(&answer, "413");
    assert_eq!(
        server.mirror.calls(),
        2,
        "what is announced too long never reaches the service"
    );
    let answer = exchange(&mut server.connect().await, &post_chunked(limit + 1))
        .await
        .unwrap();
    assert_json_error(&answer, "413");
    assert_eq!(server.mirror.completed(), 2);
    let too_long = LayerRefusal::BodyTooLong { bytes_max: 65536 };
    assert_eq!(server.mirror.refusals(), [too_long.clone(), too_long]);
    assert_eq!(server.count("body_too_long"), 2);
    // Much more of it, sent without waiting: the answer still arrives.
    let answer = exchange(&mut server.connect().await, &post(700_000)).await.unwrap();
    assert_json_error(&answer, "413");
    server.wait_until_empty().await;
}

#[tokio::test]
async fn a_body_announced_too_long_is_refused_before_it_is_sent() {
    let server = Server::plain(quick());
    let mut stream = server.connect().await;
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 65537\r\n\r\n";
    let answer = exchange(&mut stream, head.as_bytes()).await.unwrap();
    assert_json_error(&answer, "413");
    assert!(!answer.contains("100 Continue"), "{answer}");
    // And one that fits is asked for.
    let mut stream = server.connect().await;
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(
        read_until(&mut stream, "100 Continue\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 100")
    );
    stream.write_all(b"hello").await.unwrap();
    assert!(read_until(&mut stream, "body=").await.ends_with("body=5"));
    drop(stream);
    server.wait_until_empty().await;
}

// covers T25
#[tokio::test]
async fn a_listener_without_a_body_limit_takes_any_body() {
    let server = Server::plain(Limits {
        body_bytes_max: None,
        ..quick()
    });
    for octets in [post(3_000_000), post_chunked(3_000_000)] {
        let answer = exchange(&mut server.connect().await, &octets).await.unwrap();
        assert!(answer.ends_with("body=3000000"), "{answer}");
    }
    server.wait_until_empty().await;
}

// covers T25
#[tokio::test]
async fn time_for_a_body() {
    let limits = Limits {
        body_timeout: Duration::from_millis(500),
        body_bytes_per_second_min: 0,
        ..quick()
    };
    let server = Server::plain(limits);
    let octets = post(20);
    let begun = Instant::now();
    let mut late = server.connect().await;
    late.write_all(&octets[..octets.len() - 1]).await.unwrap();
    assert_json_error(&read_to_end(&mut late).await.unwrap(), "408");
    let took = begun.elapsed();
    assert!(
        (Duration::from_millis(500)..Duration::from_secs(5)).contains(&took),
        "{took:?}"
    );
    assert_eq!(server.mirror.refusals(), [LayerRefusal::BodyTimeout]);
    assert_eq!(server.count("body_timeout"), 1);
    let mut in_time = server.connect().await;
    for piece in octets.chunks(octets.len() / 3) {
        in_time.write_all(piece).await.unwrap();
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(status(&read_to_end(&mut in_time).await.unwrap()), "200");
    server.wait_until_empty().await;
}

// covers T25
#[tokio::test]
async fn rate_of_a_body() {
    // 100 octets in 50 ms are 2,000 per second.
    let limits = Limits {
        body_bytes_per_second_min: 1000,
        body_rate_grace: Duration::from_millis(300),
        ..quick()
    };
    let server = Server::plain(limits);
    for (bytes, expected) in [(100, "200"), (20, "408")] {
        let mut stream = server.connect().await;
        let head = "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut sent = 0;
        while sent < 2000 {
            if stream.write_all(&vec![b'a'; bytes]).await.is_err() {
                break;
            }
            sent += bytes;
            sleep(Duration::from_millis(50)).await;
        }
        let answer = read_to_end(&mut stream).await.unwrap();
        assert_eq!(status(&answer), expected, "{bytes} octets at a time: {answer}");
        assert_eq!(expected == "408", sent < 2000);
    }
    server.wait_until_empty().await;
}

// covers T25
#[tokio::test]
async fn silence_between_requests() {
    let limits = Limits {
        idle_timeout: Duration::from_millis(400),
        ..quick()
    };
    let plain = Server::plain(limits.clone());
    let begun = Instant::now();
    // One that never asked anything, and one that did.
    let mut silent = plain.connect().await;
    let mut asked = plain.connect().await;
    assert!(is_served(&mut asked).await);
    assert_eq!(read_to_end(&mut silent).await.unwrap(), "");
    assert!(read_to_end(&mut asked).await.unwrap().ends_with("body=0"));
    let took = begun.elapsed();
    assert!(
        (Duration::from_millis(400)..Duration::from_secs(5)).contains(&took),
        "{took:?}"
    );
    plain.wait_until_empty().await;
    // Each request starts the time anew.
    let mut busy = plain.connect().await;
    for _ in 0..4 {
        busy.write_all(REQUEST).await.unwrap();
        assert_eq!(status(&read_until(&mut busy, "body=").await), "200");
        sleep(Duration::from_millis(200)).await;
    }
    drop(busy);
    plain.wait_until_empty().await;

    // With TLS it ends with a close_notify.
    let server = Server::mutual_with(limits);
    let mut silent = RawClient::any_version(None)
        .connect(&server, "localhost")
        .await
        .unwrap();
    assert_eq!(read_to_end(&mut silent).await.unwrap(), "");
    server.wait_until_empty().await;
}

// covers T25
#[tokio::test]
async fn silence_inside_an_unlimited_body() {
    let limits = Limits {
        body_bytes_max: None,
        idle_timeout: Duration::from_millis(400),
        ..quick()
    };
    let server = Server::plain(limits);
    let octets = post(40);
    let mut slow = server.connect().await;
    for piece in octets.chunks(octets.len() / 4) {
        slow.write_all(piece).await.unwrap();
        sleep(Duration::from_millis(250)).await;
    }
    assert_eq!(status(&read_to_end(&mut slow).await.unwrap()), "200");
    let mut stalled = server.connect().await;
    stalled.write_all(&octets[..octets.len() - 1]).await.unwrap();
    assert_json_error(&read_to_end(&mut stalled).await.unwrap(), "408");
    server.wait_until_empty().await;
}
