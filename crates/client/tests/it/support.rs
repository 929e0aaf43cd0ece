//! What most tests need: a server's metadata, a client of it, a moment.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::Response;
use keybound_client::{AuthorizationServer, Client, ClientAuthentication, ClientSettings, Identity};
use keybound_protocol::issuer::Issuer;
use keybound_protocol::time::Timestamp;
use keybound_tls::ResponseBody;
use serde_json::{Value, json};

use crate::site::{Site, discovery, json as json_response};

/// When everything happens, unless a test says otherwise.
pub(crate) const NOW: Timestamp = Timestamp::from_unix_secs(1_800_000_000);

/// A client of the server at `site`, which authenticates by certificate.
pub(crate) fn client(site: &Site, identity: Identity) -> Client {
    client_with(site, identity, ClientAuthentication::Certificate)
}

pub(crate) fn client_with(site: &Site, identity: Identity, authentication: ClientAuthentication) -> Client {
    Client::new(ClientSettings {
        server: AuthorizationServer::discovered(Issuer::parse(&site.issuer()).unwrap(), discovery()),
        client_id: "demo".parse().unwrap(),
        authentication,
        identity,
    })
}

/// Metadata whose conventional endpoints lie at `conventional` and whose aliases at `aliases`, if there are any.
pub(crate) fn metadata(issuer: &str, conventional: &str, aliases: Option<&str>) -> Value {
    let mut metadata = json!({
        "issuer": issuer,
        "token_endpoint": format!("{conventional}/token"),
        "introspection_endpoint": format!("{conventional}/introspect"),
        "revocation_endpoint": format!("{conventional}/revoke"),
        "authorization_endpoint": format!("{conventional}/authorize"),
        "response_types_supported": [],
    });
    if let Some(aliases) = aliases {
        metadata["mtls_endpoint_aliases"] = json!({
            "token_endpoint": format!("{aliases}/token"),
            "introspection_endpoint": format!("{aliases}/introspect"),
            "revocation_endpoint": format!("{aliases}/revoke"),
        });
    }
    metadata
}

/// A token response with a token that nobody had before.
pub(crate) fn fresh_token() -> Response<ResponseBody> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let token = format!("token-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    json_response(&json!({"access_token": token, "token_type": "Bearer", "expires_in": 300}))
}

/// An authorization server with a conventional host, which publishes the metadata, and one for mutual TLS. Both answer every
/// request to their endpoints.
pub(crate) struct TwoHosts {
    pub(crate) conventional: Site,
    pub(crate) mutual_tls: Site,
}

impl TwoHosts {
    pub(crate) fn new() -> TwoHosts {
        TwoHosts::with_metadata(|issuer, aliases| metadata(issuer, issuer, Some(aliases)))
    }

    /// `document` makes the metadata of the issuer and the origin of the other host.
    pub(crate) fn with_metadata(document: impl Fn(&str, &str) -> Value + Send + Sync + 'static) -> TwoHosts {
        let mutual_tls = Site::asking(|seen| endpoint_answer(&seen.path));
        let aliases = mutual_tls.issuer();
        let conventional = Site::plain(move |seen| {
            let host = seen
                .headers
                .get("host")
                .and_then(|host| host.to_str().ok())
                .unwrap_or_default();
            match seen.path.as_str() {
                "/.well-known/oauth-authorization-server" => {
                    json_response(&document(&format!("https://{host}"), &aliases))
                }
                path => endpoint_answer(path),
            }
        });
        TwoHosts {
            conventional,
            mutual_tls,
        }
    }
}

fn endpoint_answer(path: &str) -> Response<ResponseBody> {
    match path {
        "/token" => fresh_token(),
        "/introspect" => json_response(&json!({"active": true, "client_id": "other"})),
        "/revoke" => Response::new(ResponseBody::Empty),
        _ => crate::site::status(http::StatusCode::NOT_FOUND),
    }
}
