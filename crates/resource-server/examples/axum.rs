//! A whole protected resource in one file: axum behind mutual TLS, open to holders of certificate-bound tokens alone.
//!
//! It runs beside `keybound quickstart`, whose server issues the tokens. In one terminal, in an empty directory:
//!
//! ```text
//! keybound quickstart
//! ```
//!
//! In another, from the root of this repository, with the directory that quickstart filled:
//!
//! ```text
//! cargo run --package keybound-resource-server --example axum -- \
//!     DIR/pki/ca.pem DIR/pki/server.pem DIR/pki/server.key
//! ```
//!
//! And in a third:
//!
//! ```text
//! keybound call https://localhost:9500/whoami --client DIR/clients/demo
//! TOKEN=$(keybound token get --client DIR/clients/demo)
//! keybound call https://localhost:9500/whoami --client DIR/clients/stranger --token "$TOKEN"     # a thief: 401
//! curl --cacert DIR/pki/ca.pem https://localhost:9500/.well-known/oauth-protected-resource         # for everybody
//! curl --cacert DIR/pki/ca.pem -H "Authorization: Bearer $TOKEN" https://localhost:9500/whoami    # no certificate: 401
//! ```
//!
//! What to look at: the listener asks for a client certificate and judges none of it; [`Terminated`] hands what was proven in the
//! handshake to the router; the layer compares it with the token. The handler cannot be reached without an accepted token,
//! and says so in its signature.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Extension;
use axum::routing::{any, get};
use http::{Request, Response};
use keybound_protocol::issuer::Issuer;
use keybound_protocol::protected_resource_metadata::ProtectedResourceMetadata;
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::scope::Scope;
use keybound_resource_server::client::{Clock, Discovery, GuardedFetch, GuardedFetchSettings, Roots};
use keybound_resource_server::{
    AcceptedAccessToken, AccessTokenLayer, IssuerSettings, KeySource, MetadataDocument, ResourceServer, RoutePolicy,
    Validation,
};
use keybound_tls::{
    ClientCertificatePolicy, Connection, HostPolicies, HostPolicy, Identity, Listener, ListenerSettings, RequestBody,
    ResponseBody, Runtimes, Service, Transport,
};
use tower::ServiceExt as _;

/// Whose tokens are taken, unless a fourth argument says otherwise.
const ISSUER: &str = "https://localhost:8443";
/// Who we are: what `aud` must name, unless a fifth argument says otherwise. Quickstart's server puts it into tokens that are asked
/// for without a `resource`.
const RESOURCE: &str = "https://localhost:9443";
/// Where we listen.
const ADDRESS: &str = "127.0.0.1:9500";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [ca, certificate, key, others @ ..] = arguments.as_slice() else {
        return Err("usage: axum CA.PEM CERTIFICATE.PEM KEY.PEM [ISSUER [RESOURCE]]".into());
    };
    let issuer = Issuer::parse(others.first().map_or(ISSUER, String::as_str))?;
    let resource: ResourceUri = others.get(1).map_or(RESOURCE, String::as_str).parse()?;
    // One single-threaded runtime per core; a connection stays where it was accepted.
    let runtimes = Runtimes::start(0)?;
    let settings = ListenerSettings::new("resource", ADDRESS.parse()?, transport(certificate, key)?);
    let listener = Listener::bind(settings, &runtimes)?;
    report(format_args!(
        "https://{ADDRESS} takes tokens of {issuer} for {resource}"
    ));
    listener.serve(Terminated(router(trust(issuer, ca)?, resource)?));
    runtimes.block_on(std::future::pending())
}

/// The routes, each behind a layer with its own policy.
fn router(issuer: IssuerSettings, resource: ResourceUri) -> Result<Router, Box<dyn Error>> {
    let write = Scope::parse("write")?;
    // What a client learns that has no token yet (RFC 9728): every challenge says where this lies.
    let metadata = ProtectedResourceMetadata::new(resource.clone())
        .with_authorization_server(issuer.issuer.clone())
        .with_scopes(&write)
        .with_certificate_bound_access_tokens(true);
    let metadata = MetadataDocument::new(&metadata)?;
    let resource_server = ResourceServer::new(vec![issuer])?;
    let layer = |policy| {
        AccessTokenLayer::new(resource_server.clone(), policy, Clock::system()).with_metadata(metadata.clone())
    };
    // Bound tokens alone, which is what a policy demands unless told otherwise.
    let policy = RoutePolicy::new(resource);
    let writers = policy.clone().with_scopes(write);
    Ok(Router::new()
        // Here the layer answers itself, and the handler is never asked.
        .route(metadata.path(), any(whoami).layer(layer(policy.clone())))
        .route("/whoami", get(whoami).layer(layer(policy)))
        // Quickstart's clients have no such scope: 403, and the challenge says which one would do.
        .route("/notes", get(whoami).layer(layer(writers))))
}

/// The issuer, whose keys are found through its metadata: fetched with the first token, then seldom.
fn trust(issuer: Issuer, ca: &str) -> Result<IssuerSettings, Box<dyn Error>> {
    let mut fetch = GuardedFetchSettings::new(Roots::from_pem_files(&[ca.into()])?);
    // The fetch refuses addresses of this machine unless they are allowed, because a URL that it follows is somebody else's choice.
    fetch.allow_addresses = vec!["127.0.0.0/8".parse()?, "::1/128".parse()?];
    let keys = KeySource::Discovered(Discovery::new(GuardedFetch::new(fetch)));
    Ok(IssuerSettings::new(issuer, Validation::Local(keys)))
}

/// TLS that asks for a client certificate, names no authority it would have to come from, and goes on without one.
fn transport(certificate: &str, key: &str) -> Result<Transport, Box<dyn Error>> {
    let identity = Identity::from_pem_files(Path::new(certificate), Path::new(key))?;
    let policy = HostPolicy::new("resource", ClientCertificatePolicy::Optional, identity);
    Ok(Transport::Tls(HostPolicies::one(policy)))
}

/// The router behind our own TLS. Behind another terminator only this changes: it is the one place that says which certificate
/// a request came with, and it must not be a header that anybody can send.
struct Terminated(Router);

impl Service for Terminated {
    async fn call(&self, connection: &Arc<Connection>, mut request: Request<RequestBody>) -> Response<ResponseBody> {
        let presented = connection.presented_for(request.extensions()).clone();
        request.extensions_mut().insert(presented);
        let Ok(response) = self.0.clone().oneshot(request.map(Body::new)).await;
        response.map(ResponseBody::stream)
    }
}

/// A handler that only requests with an accepted token reach.
async fn whoami(Extension(token): Extension<AcceptedAccessToken>) -> String {
    let claims = token.claims();
    let binding = match token.as_bound() {
        Some(bound) => match (bound.certificate(), bound.key()) {
            (Some(certificate), _) => format!("bound to certificate {certificate}"),
            (None, key) => format!("bound to key {}", key.map(ToString::to_string).unwrap_or_default()),
        },
        None => "not bound".to_owned(),
    };
    format!(
        "client {}, scope \"{}\", {binding}\n",
        claims.client_id.as_deref().unwrap_or("?"),
        claims.scope
    )
}

fn report(line: std::fmt::Arguments<'_>) {
    use std::io::Write as _;
    // Nobody may be listening; that is no reason to stop serving.
    let _ = writeln!(std::io::stdout(), "{line}");
}
