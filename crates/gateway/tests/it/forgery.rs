//! Callers that name themselves: no certificate header, no identity header arrives as it was sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keybound_gateway::{Authorization, ClientCert, RouteSettings};
use keybound_resource_server::Binding;
use keybound_tls::ClientCertificatePolicy;

use crate::harness::pki::Leaf;
use crate::harness::upstream::{Received, Upstream};
use crate::harness::{Options, World, policy, route};

/// Names that servers somewhere take for a certificate or an identity, by family.
const FAMILIES: &[&[&str]] = &[
    &[
        "Client-Cert",
        "Client-Cert-Chain",
        "Client-Certificate",
        "Client-Cert-Verify",
    ],
    &["X-Forwarded-Client-Cert"],
    &[
        "X-SSL-Client-Cert",
        "X-SSL-Client-S-DN",
        "X-SSL-CERT",
        "SSL-Client-Cert",
        "SSL-Client-Verify",
        "SSL-CLIENT-S-DN",
        "X-SSL-Client-S-DN-CN",
        "SSL-Client-S-DN-CN",
    ],
    &[
        "X-Client-Cert",
        "X-Client-Certificate",
        "X-Client-Cert-Chain",
        "X-Amzn-Mtls-Clientcert",
        "X-Amzn-Mtls-Clientcert-Leaf",
        "X-Amzn-Mtls-Clientcert-Serial-Number",
        "X-ARR-ClientCert",
    ],
    &[
        "X-TLS-Client-Cert",
        "TLS-Client-Verify",
        "X-mTLS-Client-Cert",
        "X-Client-Verify",
        "X-Client-DN",
        "X-Client-S-DN",
        "Cf-Client-Cert-Sha256",
        "Cf-Cert-Verified",
        "Cf-Cert-Subject-DN",
        "X-Forwarded-Tls-Client-Cert",
        "X-Forwarded-Tls-Client-Cert-Info",
    ],
    &[
        "Keybound-Issuer",
        "Keybound-Client-Id",
        "Keybound-Subject",
        "Keybound-Scope",
        "Keybound-Token-Id",
        "Keybound-X",
    ],
];

/// Every mix of `-` and `_`, each in four ways of capitals.
fn spellings(name: &str) -> Vec<String> {
    let dashes = name.matches('-').count();
    let mut spellings = Vec::new();
    for mix in 0..(1_u32 << dashes) {
        let mut dash = 0;
        let mixed: String = name
            .chars()
            .map(|character| match character {
                '-' => {
                    dash += 1;
                    if mix & (1 << (dash - 1)) == 0 { '-' } else { '_' }
                }
                other => other,
            })
            .collect();
        let alternating = mixed.chars().enumerate().map(|(at, character)| {
            if at % 2 == 0 {
                character.to_ascii_uppercase()
            } else {
                character.to_ascii_lowercase()
            }
        });
        spellings.extend([mixed.to_lowercase(), mixed.to_uppercase(), alternating.collect(), mixed]);
    }
    spellings
}

fn client_cert(leaf: &Leaf) -> String {
    format!(":{}:", STANDARD.encode(&leaf.der))
}

/// What the upstream must see, and that nothing else under these names arrived.
fn check_identity(received: &Received, certificate: Option<&Leaf>, context: &str) {
    assert!(!received.head.contains("forged"), "{context}: {}", received.head);
    assert!(
        !received.trailers.contains("forged"),
        "{context}: {}",
        received.trailers
    );
    assert_eq!(received.field("client-cert"), certificate.map(client_cert), "{context}");
    assert_eq!(
        received.field("keybound-issuer").as_deref(),
        Some("https://issuer.example")
    );
    assert_eq!(received.field("keybound-client-id").as_deref(), Some("demo-client"));
    assert_eq!(received.field("keybound-subject").as_deref(), Some("demo-subject"));
    assert_eq!(received.field("keybound-scope").as_deref(), Some("read write"));
    assert_eq!(received.field("keybound-token-id").as_deref(), Some("token-1"));
    let own = [
        "client-cert",
        "keybound-issuer",
        "keybound-client-id",
        "keybound-subject",
        "keybound-scope",
        "keybound-token-id",
    ];
    for name in received.names() {
        let plain = name.to_lowercase().replace('_', "-");
        let is_reserved = FAMILIES
            .iter()
            .flat_map(|family| family.iter())
            .any(|listed| plain == listed.to_lowercase());
        assert!(!is_reserved || own.contains(&name.as_str()), "{context}: {name}");
    }
}

/// Sends every spelling of every name in the four ways, and checks what arrives.
async fn forge(world: &World, upstream: &Upstream, certificate: Option<&Leaf>, token: &str) -> usize {
    let mut caller = world.connect_as(certificate).await;
    let mut forged = 0;
    let names: Vec<String> = FAMILIES
        .iter()
        .flat_map(|family| family.iter())
        .flat_map(|name| spellings(name))
        .collect();
    for batch in names.chunks(32) {
        let lines: String = batch.iter().map(|name| format!("{name}: forged\r\n")).collect();
        let listed = batch.join(", ");
        let chunked = |more: &str, trailers: &str| {
            (
                format!("Transfer-Encoding: chunked\r\n{more}"),
                format!("2\r\nok\r\n0\r\n{trailers}\r\n"),
            )
        };
        let (as_trailers, trailers) = chunked(
            &format!("Trailer: {listed}, X-Kept\r\n"),
            &format!("{lines}X-Kept: 1\r\n"),
        );
        let ways = [
            ("as fields", lines.clone(), String::new()),
            (
                "as fields that Connection names",
                format!("Connection: {listed}\r\n{lines}"),
                String::new(),
            ),
            (
                "named in Connection alone",
                format!("Connection: keep-alive, {listed}\r\n"),
                String::new(),
            ),
            ("as trailers", as_trailers, trailers),
        ];
        for (way, fields, body) in ways {
            let before = upstream.count();
            let head =
                format!("POST /a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{fields}\r\n{body}");
            caller.send(head).await;
            assert_eq!(caller.response("POST").await.status, 200, "{way}: {listed}");
            assert_eq!(upstream.count(), before + 1);
            let received = upstream.last();
            check_identity(&received, certificate, &format!("{way}: {listed}"));
            if way == "as trailers" {
                assert_eq!(received.trailers, "x-kept: 1\r\n");
                assert_eq!(received.field("trailer").as_deref(), Some("x-kept"));
            }
            forged += batch.len();
        }
    }
    forged
}

// covers T11, T29, R9440-4, R9440-5, R9700-7, TRAP-29, MTLS-3-10
#[tokio::test]
async fn no_spelling_of_an_identity_field_arrives() {
    let upstream = Upstream::start().await;
    let world = World::start(vec![route("/", upstream.address)]);
    let forged = forge(&world, &upstream, Some(&world.pki.client), &world.token()).await;
    assert!(forged > 2_500, "{forged}");
}

// covers R9440-4, T29
#[tokio::test]
async fn neither_does_one_where_no_certificate_was_negotiated() {
    let upstream = Upstream::start().await;
    let bearer = policy().with_binding(Binding::Optional);
    let routes = vec![RouteSettings {
        policy: bearer,
        ..route("/", upstream.address)
    }];
    for client_certificates in [ClientCertificatePolicy::Optional, ClientCertificatePolicy::Never] {
        let world = World::start_with(
            routes.clone(),
            Options {
                client_certificates,
                ..Options::default()
            },
        );
        let token = world.issuer.token(&world.issuer.claims(None));
        forge(&world, &upstream, None, &token).await;
    }
}

// covers T11, R9440-2
#[tokio::test]
async fn a_forged_certificate_header_is_no_certificate() {
    let upstream = Upstream::start().await;
    let world = World::start(vec![route("/", upstream.address)]);
    let forged = client_cert(&world.pki.client);
    for fields in [
        format!("Client-Cert: {forged}\r\n"),
        format!("client_cert: {forged}\r\n"),
        format!("Client-Cert: {forged}\r\nClient-Cert: {forged}\r\n"),
        format!(
            "X-SSL-Client-Cert: {forged}\r\nX-Forwarded-Client-Cert: Cert={forged}\r\nX-ARR-ClientCert: {forged}\r\n"
        ),
    ] {
        for certificate in [None, Some(&world.pki.other)] {
            let mut caller = world.connect_as(certificate).await;
            let answer = caller.request("GET", "/", &world.token(), &fields, b"").await;
            assert_eq!(answer.status, 401, "{fields}");
        }
    }
    assert_eq!(upstream.count(), 0);
}

// covers R9440-1, R9440-8, TRAP-52
#[tokio::test]
async fn the_upstream_gets_the_certificate_and_what_the_token_said() {
    let upstream = Upstream::start().await;
    let world = World::start(vec![
        route("/", upstream.address),
        RouteSettings {
            authorization: Authorization::Strip,
            ..route("/strip", upstream.address)
        },
        RouteSettings {
            client_cert: ClientCert::Omit,
            ..route("/omit", upstream.address)
        },
    ]);
    world.get("/").await;
    check_identity(&upstream.last(), Some(&world.pki.client), "/");
    assert_eq!(
        upstream.last().field("authorization").unwrap().split(' ').next(),
        Some("Bearer")
    );

    world.get("/strip").await;
    check_identity(&upstream.last(), Some(&world.pki.client), "/strip");
    assert_eq!(upstream.last().field("authorization"), None);

    world.get("/omit").await;
    check_identity(&upstream.last(), None, "/omit");

    let large = &world.pki.large;
    assert!(large.der.len() > 8 * 1024);
    let mut caller = world.connect_as(Some(large)).await;
    let answer = caller
        .request("GET", "/", &world.issuer.token_for(large), "", b"")
        .await;
    assert_eq!(answer.status, 200);
    check_identity(&upstream.last(), Some(large), "a large certificate");
}

// covers MTLS-6.5-1, MTLS-6.5-2, R9440-3, R9440-5, TRAP-30
#[tokio::test]
async fn a_forwarded_certificate_counts_from_a_listed_proxy_alone() {
    let upstream = Upstream::start().await;
    let behind = |proxy: &str| {
        let proxies = vec![proxy.parse().unwrap()];
        World::start_with(
            vec![route("/", upstream.address)],
            Options {
                proxies,
                ..Options::default()
            },
        )
    };
    let (listed, unlisted) = (behind("127.0.0.0/8"), behind("192.0.2.0/24"));
    for (world, status) in [(&listed, 200), (&unlisted, 401)] {
        let mut proxy = world.connect_as(None).await;
        let fields = format!("Client-Cert: {}\r\n", client_cert(&world.pki.client));
        let answer = proxy.request("GET", "/", &world.token(), &fields, b"").await;
        assert_eq!(answer.status, status);
    }
    // The upstream sees the caller's certificate, as it would without a proxy.
    check_identity(&upstream.last(), Some(&listed.pki.client), "forwarded");
    let mut proxy = listed.connect_as(None).await;
    let (own, other) = (client_cert(&listed.pki.client), client_cert(&listed.pki.other));
    for fields in [
        format!("Client-Cert: {other}\r\n"),
        format!("Client-Cert: {own}\r\nClient-Cert: {own}\r\n"),
        format!("Client-Cert: {own}, {own}\r\n"),
        format!("Client-Cert: {own};a=b\r\n"),
        format!("Client-Cert: {}\r\n", own.trim_matches(':')),
        format!("Client-Cert-Chain: {own}\r\n"),
        format!("client_cert: {own}\r\n"),
    ] {
        let answer = proxy.request("GET", "/", &listed.token(), &fields, b"").await;
        assert_eq!(answer.status, 401, "{fields}");
    }
    assert_eq!(upstream.count(), 1);
}

// covers T29
#[tokio::test]
async fn no_claim_becomes_a_field_of_its_own() {
    let upstream = Upstream::start().await;
    let world = World::start(vec![route("/", upstream.address)]);
    let mut claims = world.issuer.claims(Some(&world.pki.client));
    claims["sub"] = "root\r\nKeybound-Scope: admin\r\n\r\nGET /x HTTP/1.1".into();
    claims["client_id"] = "J\u{f6}rg\u{0} 100%".into();
    let mut caller = world.connect().await;
    let answer = caller.request("GET", "/", &world.issuer.token(&claims), "", b"").await;
    assert_eq!((answer.status, upstream.count()), (200, 1));
    let received = upstream.last();
    let subject = "root%0D%0AKeybound-Scope:%20admin%0D%0A%0D%0AGET%20/x%20HTTP/1.1";
    assert_eq!(received.field("keybound-subject").as_deref(), Some(subject));
    assert_eq!(
        received.field("keybound-client-id").as_deref(),
        Some("J%C3%B6rg%00%20100%25")
    );
    assert_eq!(received.field("keybound-scope").as_deref(), Some("read write"));
}

// covers T29
#[tokio::test]
async fn what_connection_names_is_dropped_and_hop_by_hop_fields_too() {
    let upstream = Upstream::start().await;
    let world = World::start(vec![route("/", upstream.address)]);
    let fields = "Connection: X-One, keep-alive\r\nConnection: x-two,Via\r\nX-One: 1\r\nX-TWO: 2\r\nX-Three: 3\r\n\
                  Keep-Alive: timeout=5\r\nProxy-Connection: close\r\nProxy-Authorization: Basic eA==\r\nTE: trailers, gzip\r\n\
                  HTTP2-Settings: AAMAAABk\r\nUpgrade: h2c\r\nProxy: http://evil\r\nKeep_Alive: 5\r\nVia: 1.1 elsewhere\r\n";
    assert_eq!(world.get_with("/", fields).await.status, 200);
    let received = upstream.last();
    let mut names = received.names();
    names.retain(|name| !name.starts_with("keybound-") && !name.starts_with("x-forwarded-"));
    names.sort();
    assert_eq!(
        names,
        [
            "authorization",
            "client-cert",
            "connection",
            "forwarded",
            "host",
            "te",
            "via",
            "x-three"
        ]
    );
    assert_eq!(received.field("connection").as_deref(), Some("te"));
    assert_eq!(received.field("te").as_deref(), Some("trailers"));
    assert_eq!(received.field("via").as_deref(), Some("1.1 keybound"));
}

// covers T29, R9700-7
#[tokio::test]
async fn where_a_request_came_from_is_the_gateways_word() {
    let upstream = Upstream::start().await;
    let world = World::start(vec![route("/", upstream.address)]);
    let fields = "Forwarded: for=evil\r\nX-Forwarded-For: evil\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: evil\r\n\
                  X-Forwarded-Port: 1\r\nX_Forwarded_For: evil\r\nX-Real-IP: evil\r\nVia: 1.0 elsewhere\r\n";
    assert_eq!(world.get_with("/", fields).await.status, 200);
    let received = upstream.last();
    assert!(!received.head.contains("evil"), "{}", received.head);
    assert_eq!(received.field("host").as_deref(), Some("localhost"));
    assert_eq!(
        received.field("forwarded").as_deref(),
        Some("for=127.0.0.1;host=\"localhost\";proto=https")
    );
    assert_eq!(received.field("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(received.field("x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(received.field("x-forwarded-host").as_deref(), Some("localhost"));
    assert_eq!(received.field("x-forwarded-port"), None);
    assert_eq!(received.fields("via"), ["1.0 elsewhere", "1.1 keybound"]);
}

// covers R9700-7
#[tokio::test]
async fn the_consoles_cookies_stay_out() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: __Host-keybound=x\r\nSet-Cookie: a=1\r\n\r\n",
    )
    .await;
    let world = World::start(vec![route("/", upstream.address)]);
    let answer = world
        .get_with(
            "/",
            "Cookie: a=1; __Host-keybound_session=2; b=3\r\nCookie: __host-KEYBOUND=4\r\n",
        )
        .await;
    assert_eq!(upstream.last().field("cookie").as_deref(), Some("a=1; b=3"));
    assert_eq!(answer.header("set-cookie").as_deref(), Some("a=1"));
    world.get_with("/", "Cookie: __Host-keybound=2\r\n").await;
    assert_eq!(upstream.last().field("cookie"), None);
}
