//! RFC 8705 §6.5 and RFC 9440: clients behind a proxy.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use keybound_tls::ForwardedCertificateSettings;

use crate::pki::{Authority, Leaf, dns, self_signed};
use crate::world::{Plan, Side, World, claims, credentials, self_signed_client, tls_client};

fn value(leaf: &Leaf) -> String {
    format!(":{}:", STANDARD.encode(&leaf.der))
}

async fn behind_a_proxy(from: &str) -> (World, Authority, Leaf) {
    let authority = Authority::root("corp");
    let registered = self_signed(dns("self"));
    let mut plan = Plan::new()
        .trusts("corp", &authority)
        .client("demo", tls_client("demo.example"))
        .client("self", self_signed_client(&[&registered]));
    plan.forwarded = Some(ForwardedCertificateSettings {
        from: vec![from.parse().unwrap()],
        proxy: None,
    });
    (plan.start().await, authority, registered)
}

// covers MTLS-6.5-1, R9440-1, T5, TRAP-30
#[tokio::test]
async fn a_configured_proxy_forwards_certificates_that_authenticate_and_bind() {
    let (world, authority, registered) = behind_a_proxy("127.0.0.0/8").await;
    let proxy = authority.issue(dns("proxy.example"));
    let demo = authority.issue(dns("demo.example"));
    for own in [None, Some(&proxy)] {
        let peer = world.peer(Side::MutualTls, own);
        for (client_id, leaf) in [("demo", &demo), ("self", &registered), ("demo", &demo)] {
            let reply = peer
                .post_with("/token", &credentials(client_id), &[("client-cert", &value(leaf))])
                .await;
            assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
            let claims = claims(reply.json()["access_token"].as_str().unwrap());
            assert_eq!(claims["cnf"]["x5t#S256"], leaf.thumbprint());
        }
        // The certificate is judged here: that the proxy let it pass says nothing about who it is.
        let stranger = authority.issue(dns("stranger.example"));
        let reply = peer
            .post_with("/token", &credentials("demo"), &[("client-cert", &value(&stranger))])
            .await;
        world
            .assert_refused(&reply, 400, "invalid_client", "tls_client_auth_san_dns")
            .await;
    }
}

// covers R9440-2, R9440-3, T11
#[tokio::test]
async fn what_the_proxy_sends_wrongly_is_refused_with_its_reason() {
    let (world, authority, _) = behind_a_proxy("127.0.0.0/8").await;
    let leaf = authority.issue(dns("demo.example"));
    let good = value(&leaf);
    let unpadded = good.replace('=', "");
    let cases: Vec<Vec<(&str, String)>> = vec![
        vec![("client-cert", good.clone()), ("client-cert", good.clone())],
        vec![("client-cert", format!("{good}, {good}"))],
        vec![("client-cert", format!("{good};a=1"))],
        vec![("client-cert", STANDARD.encode(&leaf.der))],
        vec![("client-cert", "::".to_owned())],
        vec![("client-cert-chain", good.clone())],
    ];
    let peer = world.peer(Side::MutualTls, None);
    for headers in &cases {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let reply = peer.post_with("/token", &credentials("demo"), &headers).await;
        world
            .assert_refused(&reply, 400, "invalid_client", "client certificate presented")
            .await;
    }
    if unpadded != good {
        let reply = peer
            .post_with("/token", &credentials("demo"), &[("client-cert", &unpadded)])
            .await;
        world
            .assert_refused(&reply, 400, "invalid_client", "client certificate presented")
            .await;
    }
}

// covers R9440-5, T5, T11
#[tokio::test]
async fn from_anybody_else_the_header_does_not_exist() {
    let (world, authority, registered) = behind_a_proxy("192.0.2.0/24").await;
    let demo = authority.issue(dns("demo.example"));
    let reply = world
        .peer(Side::MutualTls, None)
        .post_with("/token", &credentials("demo"), &[("client-cert", &value(&demo))])
        .await;
    world
        .assert_refused(&reply, 400, "invalid_client", "client certificate presented")
        .await;
    let peer = world.peer(Side::MutualTls, Some(&registered));
    let reply = peer
        .post_with("/token", &credentials("self"), &[("client-cert", &value(&demo))])
        .await;
    assert_eq!(
        claims(reply.json()["access_token"].as_str().unwrap())["cnf"]["x5t#S256"],
        registered.thumbprint()
    );
}
