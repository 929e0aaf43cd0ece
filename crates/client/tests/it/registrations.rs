//! Finding out whose token a resource wants (RFC 9728), and going to nobody else for it.

use std::net::TcpListener;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use keybound_client::{
    Client, ClientError, Discovery, DiscoveryError, GuardedFetch, GuardedFetchSettings, Registrations,
    RegistrationsCallError, RegistrationsError,
};
use keybound_protocol::protected_resource_metadata::ProtectedResourceMetadataError;
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::scope::Scope;
use keybound_tls::{FetchError, ResponseBody};
use serde_json::{Value, json};

use crate::pki::{self, Party, anonymous};
use crate::site::{Seen, Site, discovery, json as json_response, status};
use crate::support::{NOW, TwoHosts, client};

/// A resource at `/api` whose challenge names `metadata_url` (`ORIGIN` is its own) and whose metadata is what `document` makes.
fn resource(metadata_url: &'static str, document: impl Fn(&str) -> Value + Send + Sync + 'static) -> Site {
    Site::asking(move |seen: &Seen| {
        let origin = format!("https://{}", seen.headers["host"].to_str().unwrap());
        match seen.path.as_str() {
            "/.well-known/oauth-protected-resource/api" => json_response(&document(&origin)),
            _ if seen.headers.contains_key("authorization") => status(StatusCode::OK),
            _ => challenge(&metadata_url.replace("ORIGIN", &origin)),
        }
    })
}

fn challenge(metadata_url: &str) -> Response<ResponseBody> {
    let mut response = status(StatusCode::UNAUTHORIZED);
    let value = format!("Bearer realm=\"api\", resource_metadata=\"{metadata_url}\"");
    response
        .headers_mut()
        .insert("www-authenticate", value.parse().unwrap());
    response
}

const OWN: &str = "ORIGIN/.well-known/oauth-protected-resource/api";

/// Two servers, the client's registrations with both, and their certificates.
struct World {
    servers: [TwoHosts; 2],
    parties: [Party; 2],
    registrations: Registrations,
}

fn world() -> World {
    let servers = [TwoHosts::new(), TwoHosts::new()];
    let parties = [Party::new("demo"), Party::new("demo")];
    let clients = servers.iter().zip(&parties);
    let clients: Vec<Arc<Client>> = clients
        .map(|(server, party)| Arc::new(client(&server.conventional, party.identity())))
        .collect();
    World {
        registrations: Registrations::new(clients, discovery(), anonymous()).unwrap(),
        servers,
        parties,
    }
}

async fn call(world: &World, site: &Site) -> Result<StatusCode, RegistrationsCallError> {
    let request = Request::get(site.url("/api/accounts").as_str())
        .body(Bytes::new())
        .unwrap();
    let resource = ResourceUri::parse(site.url("/api").as_str()).unwrap();
    let scope = Scope::parse("read").unwrap();
    let response = world.registrations.call(request, &resource, &scope, NOW).await?;
    Ok(response.status())
}

fn tokens_asked(world: &World) -> [usize; 2] {
    [0, 1].map(|index| world.servers[index].mutual_tls.seen_at("/token").len())
}

// covers R9728-3, R9728-1, R-FAPI-12
#[tokio::test]
async fn the_resource_says_whose_token_it_wants_and_sees_the_certificate_of_that_one_alone() {
    for wanted in [0, 1] {
        let world = world();
        let issuer = world.servers[wanted].conventional.issuer();
        let site = resource(
            OWN,
            move |origin| json!({"resource": format!("{origin}/api"), "authorization_servers": ["https://unknown.example", issuer]}),
        );
        assert_eq!(call(&world, &site).await.unwrap(), StatusCode::OK);
        let mut expected = [0, 0];
        expected[wanted] = 1;
        assert_eq!(tokens_asked(&world), expected);
        let token = &world.servers[wanted].mutual_tls.seen_at("/token")[0];
        assert_eq!(token.thumbprint(), Some(world.parties[wanted].thumbprint()));
        assert_eq!(token.form("resource"), Some(site.url("/api").as_str()));
        let seen = site.seen_at("/api/accounts");
        let presented: Vec<_> = seen.iter().map(Seen::thumbprint).collect();
        assert_eq!(presented, [None, Some(world.parties[wanted].thumbprint())]);
    }
}

// covers R9728-3, R9728-1
#[tokio::test]
async fn metadata_of_another_resource_is_discarded_and_nobody_is_asked_for_a_token() {
    for presented in [
        "ORIGIN",
        "ORIGIN/api/",
        "ORIGIN/api/accounts",
        "https://attacker.example/api",
    ] {
        let world = world();
        let issuer = world.servers[0].conventional.issuer();
        let site = resource(
            OWN,
            move |origin| json!({"resource": presented.replace("ORIGIN", origin), "authorization_servers": [issuer]}),
        );
        let error = call(&world, &site).await.unwrap_err();
        let RegistrationsCallError::Client(ClientError::Discovery(error)) = error else {
            panic!("{presented}: {error:?}");
        };
        assert!(
            matches!(
                &*error,
                DiscoveryError::ResourceMetadata {
                    source: ProtectedResourceMetadataError::ResourceMismatch { .. },
                    ..
                }
            ),
            "{presented}: {error:?}"
        );
        assert_eq!(tokens_asked(&world), [0, 0]);
    }
}

// covers R9728-3
#[tokio::test]
async fn a_server_that_the_client_is_not_registered_with_is_not_gone_to() {
    let world = world();
    let stranger = TwoHosts::new();
    let issuer = stranger.conventional.issuer();
    let site = resource(
        OWN,
        move |origin| json!({"resource": format!("{origin}/api"), "authorization_servers": [issuer]}),
    );
    let error = call(&world, &site).await.unwrap_err();
    assert!(
        matches!(error, RegistrationsCallError::NotRegistered { .. }),
        "{error:?}"
    );
    assert!(stranger.conventional.seen().is_empty() && stranger.mutual_tls.seen().is_empty());
    assert_eq!(tokens_asked(&world), [0, 0]);
}

// covers R9728-3
#[tokio::test]
async fn a_challenge_that_points_inside_connects_to_nothing() {
    let canary = TcpListener::bind("127.0.0.1:0").unwrap();
    canary.set_nonblocking(true).unwrap();
    let port = canary.local_addr().unwrap().port();
    // As a client out in the world: no special-use address is allowed.
    let strict = Discovery::new(GuardedFetch::new(GuardedFetchSettings::new(pki::roots())));
    let resource = ResourceUri::parse("https://api.example").unwrap();
    for url in [
        format!("https://127.0.0.1:{port}/x"),
        format!("https://localhost:{port}/x"),
        format!("https://[::1]:{port}/x"),
        format!("https://[::ffff:127.0.0.1]:{port}/x"),
        format!("https://2130706433:{port}/x"),
        format!("https://0x7f.1:{port}/x"),
        format!("https://0.0.0.0:{port}/x"),
    ] {
        let error = strict.resource_metadata_at(&url, &resource).await.unwrap_err();
        assert!(
            matches!(
                &error,
                DiscoveryError::FetchResourceMetadata {
                    source: FetchError::AddressNotAllowed { .. },
                    ..
                }
            ),
            "{url}: {error:?}"
        );
    }
    for url in [
        format!("http://127.0.0.1:{port}/x"),
        format!("https://user@127.0.0.1:{port}/x"),
        "file:///etc/passwd".to_owned(),
        "/x".to_owned(),
    ] {
        let error = strict.resource_metadata_at(&url, &resource).await.unwrap_err();
        assert!(
            matches!(&error, DiscoveryError::FetchResourceMetadata { .. }),
            "{url}: {error:?}"
        );
    }
    assert!(canary.accept().is_err(), "somebody connected");
}

#[tokio::test]
async fn a_request_for_another_resource_is_not_sent() {
    let world = world();
    let site = resource(OWN, |_| json!({}));
    let resource = ResourceUri::parse(site.url("/api").as_str()).unwrap();
    for url in [
        site.url("/apis").to_string(),
        site.url("/").to_string(),
        site.url("/api").as_str().replace("https:", "http:"),
        "https://attacker.example/api".to_owned(),
    ] {
        let request = Request::get(&url).body(Bytes::new()).unwrap();
        let outcome = world.registrations.call(request, &resource, &Scope::empty(), NOW).await;
        assert!(
            matches!(outcome, Err(RegistrationsCallError::OtherResource { .. })),
            "{url}"
        );
    }
    assert!(site.seen().is_empty());
}

// covers R-FAPI-12
#[tokio::test]
async fn two_servers_never_see_the_same_certificate() {
    let hosts = [TwoHosts::new(), TwoHosts::new()];
    let party = Party::new("demo");
    let of = |host: &TwoHosts, party: &Party| Arc::new(client(&host.conventional, party.identity()));
    let shared = vec![of(&hosts[0], &party), of(&hosts[1], &party)];
    let error = Registrations::new(shared, discovery(), anonymous()).unwrap_err();
    assert!(
        matches!(error, RegistrationsError::SharedCertificate { .. }),
        "{error:?}"
    );
    let twice = vec![of(&hosts[0], &party), of(&hosts[0], &Party::new("demo"))];
    let error = Registrations::new(twice, discovery(), anonymous()).unwrap_err();
    assert!(matches!(error, RegistrationsError::IssuerTwice { .. }), "{error:?}");
    let error = Registrations::new(Vec::new(), discovery(), party.identity()).unwrap_err();
    assert_eq!(error, RegistrationsError::NotAnonymous);
}
