//! One request through the gateway, in reading order: method, host, path, metadata, route, token; then `forward`.

use std::sync::Arc;
use std::time::Instant;

use http::header::HOST;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response};
use hyper::upgrade::OnUpgrade;
use keybound_protocol::time::Timestamp;
use keybound_resource_server::{AcceptedAccessToken, Caller, DPOP_NONCE};
use keybound_tls::{Connection, LayerRefusal, RequestBody, ResponseBody, Service};

use crate::canonical_path::CanonicalPath;
use crate::forward::Forward;
use crate::gateway::{Loaded, Shared};
use crate::reason::Reason;
use crate::refused::{Circumstances, Refused};
use crate::request_log::Record;
use crate::resource_metadata;
use crate::route::{Matched, Route};

/// Answers the requests of the resource listener.
pub struct ResourceService {
    shared: Arc<Shared>,
}

/// One request, and what has been found out about it so far.
struct Visit<'a> {
    shared: &'a Arc<Shared>,
    connection: &'a Arc<Connection>,
    parts: &'a Parts,
    now: Timestamp,
    started: Instant,
    target: Option<PathAndQuery>,
    route: Option<Arc<Route>>,
    token: Option<AcceptedAccessToken>,
}

impl ResourceService {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl Service for ResourceService {
    async fn call(&self, connection: &Arc<Connection>, request: Request<RequestBody>) -> Response<ResponseBody> {
        let (mut parts, body) = request.into_parts();
        let upgrade = parts.extensions.remove::<OnUpgrade>();
        let mut visit = Visit::begin(&self.shared, connection, &parts);
        let outcome = visit.answer(body, upgrade).await;
        visit.end(outcome)
    }

    fn refuse(&self, connection: &Arc<Connection>, refusal: LayerRefusal) -> Response<ResponseBody> {
        // What was refused below HTTP never became a request that could be shown.
        let (parts, ()) = Request::new(()).into_parts();
        Visit::begin(&self.shared, connection, &parts).end(Err(Refused::Layer(refusal)))
    }
}

impl<'a> Visit<'a> {
    fn begin(shared: &'a Arc<Shared>, connection: &'a Arc<Connection>, parts: &'a Parts) -> Self {
        let now = shared.environment.clock.now();
        Self {
            shared,
            connection,
            parts,
            now,
            started: Instant::now(),
            target: None,
            route: None,
            token: None,
        }
    }

    async fn answer(
        &mut self,
        body: RequestBody,
        upgrade: Option<OnUpgrade>,
    ) -> Result<Response<ResponseBody>, Refused> {
        check_method(&self.parts.method)?;
        let host = host(self.parts)?;
        let loaded = self.shared.loaded.load_full();
        let path = self.canonical_path()?;
        let target = self.target_of(&path)?;
        self.target = Some(target.clone());
        // Before any route, so that none can take the place of the metadata or has it forwarded.
        if let Some(document) = loaded.metadata.find(&path, self.parts, &host) {
            return Ok(resource_metadata::answer(document, &path, self.parts)?);
        }
        let route = self.find_route(&loaded, &path)?;
        let token = self.check_token(&loaded, &route).await?;
        let forward = Forward {
            shared: self.shared,
            resource_server: &loaded.resource_server,
            connection: self.connection,
            parts: self.parts,
            now: self.now,
            started: self.started,
            route: &route,
            token: &token,
            target,
            host,
        };
        let mut response = forward.run(body, upgrade).await?;
        if let Some(nonce) = token.next_nonce() {
            response.headers_mut().insert(DPOP_NONCE, nonce);
        }
        Ok(response)
    }

    /// One canonical path: what the route is found by is what the upstream will be asked for.
    fn canonical_path(&self) -> Result<CanonicalPath<'a>, Reason> {
        let path = self.parts.uri.path();
        CanonicalPath::parse(path).map_err(|source| Reason::Path {
            path: path.to_owned(),
            source,
        })
    }

    /// The path with the query, as the upstream will be asked for it.
    fn target_of(&self, path: &CanonicalPath<'_>) -> Result<PathAndQuery, Reason> {
        let uri = &self.parts.uri;
        match uri.path_and_query() {
            Some(target) if path.is_verbatim() => Ok(target.clone()),
            _ => {
                let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
                PathAndQuery::try_from(format!("{}{query}", path.forwarded())).map_err(|_| Reason::Authority)
            }
        }
    }

    fn find_route(&mut self, loaded: &Loaded, path: &CanonicalPath<'_>) -> Result<Arc<Route>, Reason> {
        match loaded.routes.find(path.matched(), &self.parts.method) {
            Matched::Route(route) => {
                self.route = Some(Arc::clone(route));
                Ok(Arc::clone(route))
            }
            Matched::MethodNotAllowed(allow) => Err(Reason::MethodNotAllowed {
                path: path.forwarded().to_owned(),
                method: self.parts.method.to_string(),
                allow,
            }),
            Matched::NotFound => Err(Reason::NoRoute {
                path: path.forwarded().to_owned(),
            }),
        }
    }

    /// The token of this request against this route and the certificate of this request: every time, whatever is cached.
    async fn check_token(&mut self, loaded: &Loaded, route: &Route) -> Result<AcceptedAccessToken, Refused> {
        let presented = self.connection.presented_for(&self.parts.extensions);
        let caller = Caller {
            presented,
            remote_address: Some(self.connection.remote_addr()),
            last: Some(self.connection.state()),
        };
        let check = loaded
            .resource_server
            .check_for(self.parts, &caller, &route.policy, self.now);
        let accepted = check.finish().await?;
        self.token = Some(accepted.clone());
        Ok(accepted)
    }

    /// Records how it went, and makes the answer of a refusal.
    fn end(self, outcome: Result<Response<ResponseBody>, Refused>) -> Response<ResponseBody> {
        let presented = self.connection.presented_for(&self.parts.extensions);
        let (mut response, refusal) = match outcome {
            Ok(response) => (response, None),
            Err(refused) => {
                let (response, refusal) = refused.answer(&Circumstances {
                    environment: &self.shared.environment,
                    now: self.now,
                    method: &self.parts.method,
                    target: self.target.as_ref(),
                    route: self.route.as_deref(),
                    client_id: self
                        .token
                        .as_ref()
                        .and_then(|token| token.claims().client_id.as_deref()),
                    presented,
                    remote_address: self.connection.remote_addr().ip().to_canonical(),
                });
                self.shared.refusals.record(Arc::clone(&refusal));
                (response, Some((refused.name(), refusal)))
            }
        };
        keybound_resource_server::interaction_id::echo(&self.parts.headers, response.headers_mut());
        self.shared.log.push(Record {
            at: self.now,
            remote_address: self.connection.remote_addr().ip(),
            method: self.parts.method.clone(),
            target: self.target,
            route: self.route.map(|route| route.index),
            status: response.status(),
            duration: self.started.elapsed(),
            claims: self.token.map(|token| Arc::clone(token.claims())),
            thumbprint: presented.end_entity().map(|leaf| *leaf.thumbprint()),
            refusal,
        });
        response
    }
}

/// TRACE would hand the caller the fields meant for the upstream, CONNECT would make the gateway a proxy.
fn check_method(method: &Method) -> Result<(), Reason> {
    match *method {
        Method::TRACE | Method::CONNECT => Err(Reason::Method {
            method: method.to_string(),
        }),
        _ => Ok(()),
    }
}

/// The authority the caller asked for, to be forwarded as `Host`; empty if an HTTP/1.0 caller named none.
///
/// The listener has already refused requests that name two, or one that this connection does not serve.
fn host(parts: &Parts) -> Result<HeaderValue, Reason> {
    let named = parts.uri.authority().map(|authority| authority.as_str());
    let host = match (parts.headers.get(HOST), named) {
        (Some(host), None) => host.clone(),
        (Some(host), Some(named)) if host.as_bytes().eq_ignore_ascii_case(named.as_bytes()) => host.clone(),
        (None, Some(named)) => HeaderValue::from_str(named).map_err(|_| Reason::Authority)?,
        (None, None) => HeaderValue::from_static(""),
        (Some(_), Some(_)) => return Err(Reason::Authority),
    };
    // User information in an authority is a way to make one host look like another.
    if host.as_bytes().contains(&b'@') {
        Err(Reason::Authority)
    } else {
        Ok(host)
    }
}
