//! An accepted request on its way to the upstream, and the answer on its way back.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use http::header::{CONNECTION, EXPECT, UPGRADE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use keybound_protocol::time::Timestamp;
use keybound_resource_server::{AcceptedAccessToken, Refused as TokenRefused, ResourceServer, RunningToken};
use keybound_tls::{BodyError, Connection, InterimResponses, RequestBody, ResponseBody};

use crate::gateway::Shared;
use crate::identity_fields::CallerFields;
use crate::refused::Refused;
use crate::request_body::{ForwardedRequestBody, UpstreamBody};
use crate::request_head::{self, Content, RequestHead};
use crate::response_body::{self, Forwarding};
use crate::route::{Route, Target};
use crate::running::Watch;
use crate::settings::{ClientCert, LongRunning};
use crate::tunnel::Tunnel;
use crate::upstream::{Answer, Exchange, NoAnswer, Upstream, UpstreamError};
use crate::{demo, response_head, trailers};

/// A request whose token was accepted.
pub(crate) struct Forward<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) resource_server: &'a ResourceServer,
    pub(crate) connection: &'a Arc<Connection>,
    pub(crate) parts: &'a Parts,
    pub(crate) now: Timestamp,
    pub(crate) started: Instant,
    pub(crate) route: &'a Route,
    pub(crate) token: &'a AcceptedAccessToken,
    /// The canonical path with the query.
    pub(crate) target: PathAndQuery,
    pub(crate) host: HeaderValue,
}

impl Forward<'_> {
    /// The answer for the caller, its body still streaming.
    pub(crate) async fn run(
        self,
        body: RequestBody,
        upgrade: Option<OnUpgrade>,
    ) -> Result<Response<ResponseBody>, Refused> {
        match &self.route.target {
            Target::Demo => {
                let (content, _) = self.content(&body);
                Ok(demo::answer(
                    self.parts.method.as_str(),
                    self.target.path(),
                    &self.head(content, None).headers(),
                ))
            }
            Target::Upstream(upstream) => self.exchange(upstream, body, upgrade).await,
        }
    }

    async fn exchange(
        &self,
        upstream: &Arc<Upstream>,
        body: RequestBody,
        upgrade: Option<OnUpgrade>,
    ) -> Result<Response<ResponseBody>, Refused> {
        let (content, announced) = self.content(&body);
        let forwarded = match &content {
            Content::Nothing => None,
            Content::Body { expects_continue, .. } => {
                let patience = expects_continue.then_some(upstream.limits().continue_timeout);
                Some(ForwardedRequestBody::new(body, announced, patience))
            }
        };
        // A switch of protocols is only asked for where there is a connection of our own to switch.
        let protocol = upgrade
            .as_ref()
            .filter(|_| forwarded.is_none())
            .and_then(|_| request_head::requested_protocol(self.parts));
        let head = self.head(content, protocol);
        let interims = self.connection.interim_responses();
        let running = OnceLock::new();
        let token_end = || self.token_end(&running);
        let exchange = Exchange {
            upstream,
            head: &|| make_request(&head, forwarded.as_ref(), interims.as_ref()),
            body: forwarded.as_ref(),
            idempotent: is_idempotent(&self.parts.method),
            started: self.started,
            token_end: &token_end,
        };
        let mut outcome = exchange.run().await;
        // The head may have come since the exchange last looked at the token, and the whole answer with it.
        if outcome.is_ok()
            && self.is_past_expiry()
            && let Some(refused) = token_end()
        {
            outcome = Err(NoAnswer::TokenEnded(refused));
        }
        match outcome {
            Ok(answer) if answer.response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                match (upgrade, &head.upgrade) {
                    (Some(caller), Some(protocol)) => self.switch(upstream, answer, caller, protocol, running),
                    _ => Err(unexpected_upgrade(upstream)),
                }
            }
            Ok(answer) => Ok(self.respond(answer, forwarded, running)),
            Err(NoAnswer::TokenEnded(refused)) => {
                // Whatever the caller is still sending has no reader any more.
                if let Some(body) = forwarded {
                    body.abandon();
                }
                Err(Refused::Token(refused))
            }
            Err(NoAnswer::Upstream(error)) => match forwarded.and_then(|body| body.take_broken()) {
                // Not the upstream's fault: the caller's own body broke off.
                Some(BodyError::Refused(refusal)) => Err(Refused::Layer(refusal)),
                // The caller went away in the middle of it: nobody is left to answer, and nothing was refused.
                Some(BodyError::Broken(_)) => Ok(respond_with(
                    StatusCode::BAD_REQUEST,
                    http::HeaderMap::new(),
                    ResponseBody::Empty,
                )),
                None => Err(error.into()),
            },
        }
    }

    fn head(&self, content: Content, upgrade: Option<HeaderValue>) -> RequestHead<'_> {
        let presented = self.connection.presented_for(&self.parts.extensions);
        let client_cert = match self.route.client_cert {
            ClientCert::Forward => presented.end_entity().map(|leaf| leaf.client_cert_value().clone()),
            ClientCert::Omit => None,
        };
        RequestHead {
            parts: self.parts,
            target: self.target.clone(),
            host: self.host.clone(),
            caller: CallerFields::new(self.connection, self.token.claims(), &self.host, client_cert),
            authorization: self.route.authorization,
            restricts_methods: self.route.restricts_methods(),
            content,
            upgrade,
        }
    }

    /// What follows the head, and which trailers it may end with.
    fn content(&self, body: &RequestBody) -> (Content, Vec<http::HeaderName>) {
        if body.is_end_stream() {
            return (Content::Nothing, Vec::new());
        }
        let length = body.size_hint().exact();
        let announced = match length {
            // Trailers only come with a body of unknown length.
            Some(_) => Vec::new(),
            None => trailers::announced(&self.parts.headers),
        };
        // hyper asks an HTTP/1.1 caller for its body by itself, when the body is first read.
        let expects_continue = self.parts.version == Version::HTTP_11 && self.parts.headers.contains_key(EXPECT);
        (
            Content::Body {
                length,
                trailer: trailers::announcement(&announced),
                expects_continue,
            },
            announced,
        )
    }

    fn respond(
        &self,
        answer: Answer,
        request: Option<Arc<ForwardedRequestBody>>,
        running: OnceLock<RunningToken>,
    ) -> Response<ResponseBody> {
        let Answer { response, lease } = answer;
        let (mut head, body) = response.into_parts();
        let announced = response_head::prepare(&mut head.headers, head.status);
        let body = response_body::forward(
            body,
            Forwarding {
                lease,
                request,
                announced_trailers: (!self.connection.is_http2()).then_some(announced),
                watch: || self.watch(running),
                now: self.started,
            },
        );
        respond_with(head.status, head.headers, body)
    }

    /// Passes the switch on, and starts the tunnel.
    fn switch(
        &self,
        upstream: &Upstream,
        answer: Answer,
        caller: OnUpgrade,
        protocol: &HeaderValue,
        running: OnceLock<RunningToken>,
    ) -> Result<Response<ResponseBody>, Refused> {
        let mut response: Response<Incoming> = answer.response;
        let switched_to = response.headers().get(UPGRADE).cloned();
        if !switched_to
            .as_ref()
            .is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(protocol.as_bytes()))
        {
            return Err(unexpected_upgrade(upstream));
        }
        let tunnel = Tunnel {
            caller,
            upstream: hyper::upgrade::on(&mut response),
            running: self.watch(running).map(|watch| watch.start(None)),
            open: self.shared.metrics.tunnels.clone(),
            permit: answer.lease.into_permit(),
        };
        tokio::spawn(tunnel.run());
        let (mut head, _) = response.into_parts();
        response_head::prepare(&mut head.headers, head.status);
        head.headers.insert(UPGRADE, protocol.clone());
        head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        Ok(respond_with(head.status, head.headers, ResponseBody::Empty))
    }

    fn watch(&self, running: OnceLock<RunningToken>) -> Option<Watch> {
        match self.route.long_running {
            LongRunning::UntilClose => None,
            LongRunning::UntilExpiry => Some(Watch {
                registry: Arc::clone(&self.shared.running),
                token: running.into_inner().unwrap_or_else(|| self.follow()),
                clock: self.shared.environment.clock.clone(),
                connection: Arc::clone(self.connection),
            }),
        }
    }

    /// Why the token is no longer good, if it is not and that matters here. It is followed from the first time on: most answers
    /// come before anybody asks.
    fn token_end(&self, running: &OnceLock<RunningToken>) -> Option<Box<TokenRefused>> {
        match self.route.long_running {
            LongRunning::UntilClose => None,
            LongRunning::UntilExpiry => running
                .get_or_init(|| self.follow())
                .refusal(self.shared.environment.clock.now()),
        }
    }

    fn follow(&self) -> RunningToken {
        let presented = self.connection.presented_for(&self.parts.extensions);
        self.resource_server
            .follow(self.token, &self.parts.headers, presented, &self.route.policy, self.now)
    }

    /// Whether the token's `exp` has passed by now, be it within the leeway.
    fn is_past_expiry(&self) -> bool {
        self.token.claims().expires_at <= self.shared.environment.clock.now()
    }
}

fn make_request(
    head: &RequestHead<'_>,
    body: Option<&Arc<ForwardedRequestBody>>,
    interims: Option<&InterimResponses>,
) -> Request<UpstreamBody> {
    let mut request = head.to_request();
    if let Some(body) = body {
        *request.body_mut() = UpstreamBody::Forwarded(Arc::clone(body));
    }
    // The body that waits for `100 Continue`: once it may be read, the caller's connection says so by itself.
    let awaited = match head.content {
        Content::Body {
            expects_continue: true, ..
        } => body.cloned(),
        Content::Body { .. } | Content::Nothing => None,
    };
    if let Some(interims) = interims.cloned() {
        hyper::ext::on_informational(&mut request, move |interim| match &awaited {
            Some(body) if interim.status() == StatusCode::CONTINUE => body.open_gate(),
            _ => pass_on(&interims, interim.status(), interim.headers()),
        });
    }
    request
}

/// RFC 9110 §15.2: a proxy passes interim answers on. One that cannot be is only ever a hint less.
fn pass_on(interims: &InterimResponses, status: StatusCode, headers: &http::HeaderMap) {
    let mut headers = headers.clone();
    response_head::prepare(&mut headers, status);
    if let Err(error) = interims.send(status, &headers) {
        tracing::debug!(%status, %error, "an interim answer was dropped");
    }
}

fn respond_with(status: StatusCode, headers: http::HeaderMap, body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn unexpected_upgrade(upstream: &Upstream) -> Refused {
    UpstreamError::UnexpectedUpgrade {
        upstream: upstream.origin().to_string(),
    }
    .into()
}

/// RFC 9110 §9.2.2.
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
    )
}
