//! From a request to its endpoint, and from a verdict to an answer. The hot path: no boxes, no middleware.

use std::sync::Arc;
use std::time::Instant;

use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, Uri};
use keybound_protocol::form::Form;
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_protocol::refusal::{Refusal, RefusalId};
use keybound_resource_server::interaction_id;
use keybound_tls::{BodyError, Connection, LayerRefusal, RequestBody, ResponseBody, Service};

use crate::admin;
use crate::client_authentication::Attempt;
use crate::clients::PreparedClient;
use crate::configuration::Configuration;
use crate::cors;
use crate::endpoints::registration::{self, RegistrationRefusal, RegistrationRequest};
use crate::endpoints::userinfo::{self, UserinfoRequest};
use crate::endpoints::{
    ClientRequest, Refused, backchannel_authentication, device_authorization, introspection, pushed_authorization,
    revocation, token,
};
use crate::error::Reason;
use crate::pages::theme::Theme;
use crate::pages::{self, PageRequest, error_page, page_response};
use crate::protected_resource::Caller;
use crate::refusals::Circumstances;
use crate::request_log::RequestRecord;
use crate::response::{self, Response};
use crate::router::{self, Route, Routed, Side};
use crate::server::Server;

/// The name of the [`HostPolicy`](keybound_tls::HostPolicy) of the public listener.
pub const PUBLIC: &str = "public";
/// The name of the [`HostPolicy`](keybound_tls::HostPolicy) of the mutual-TLS listener: it alone has the admin API.
pub const MUTUAL_TLS: &str = "mutual_tls";

/// Answers the public and the mutual-TLS listener.
#[derive(Clone)]
pub struct AuthorizationService {
    pub(crate) server: Arc<Server>,
}

/// What the log says about a request beside its answer.
#[derive(Default)]
struct Noted {
    client: Option<Arc<PreparedClient>>,
    refusal: Option<RefusalId>,
    /// The client that a refused request named, as the refusal's record has it.
    claimed_client_id: Option<String>,
    /// When the request was complete, if its answer is one of those that must look alike.
    alike_since: Option<Instant>,
}

/// One request, on its way.
struct Request<'a> {
    server: &'a Arc<Server>,
    configuration: &'a Configuration,
    connection: &'a Arc<Connection>,
    presented: &'a PresentedCertificate,
    parts: &'a Parts,
}

impl Service for AuthorizationService {
    async fn call(
        &self,
        connection: &Arc<Connection>,
        request: http::Request<RequestBody>,
    ) -> http::Response<ResponseBody> {
        let began = Instant::now();
        let server = &self.server;
        let (parts, body) = request.into_parts();
        let configuration = server.configuration.load_full();
        let request = Request {
            server,
            configuration: &configuration,
            connection,
            presented: connection.presented_for(&parts.extensions),
            parts: &parts,
        };
        let routed = router::route(
            side(connection),
            &configuration.issuer_path,
            &parts.method,
            parts.uri.path(),
        );
        // What is switched off is not there, by whatever method it is called.
        let routed = match routed {
            Routed::To(route) | Routed::Options(route, _) | Routed::MethodNotAllowed(route, _)
                if !configuration.serves(route) =>
            {
                Routed::NotFound
            }
            routed => routed,
        };
        let mut noted = Noted::default();
        let (route, mut response) = match routed {
            Routed::To(route) => (Some(route), request.answer(route, body, &mut noted).await),
            Routed::Options(route, allow) => (Some(route), response::options(allow)),
            Routed::MethodNotAllowed(route, allow) => {
                let reason = Reason::MethodNotAllowed {
                    presented: parts.method.to_string(),
                    allow,
                };
                (Some(route), request.refuse(Some(route), &reason, None, &mut noted))
            }
            Routed::NotFound => {
                let reason = Reason::PathUnknown {
                    path: parts.uri.path().to_owned(),
                };
                (None, request.refuse(None, &reason, None, &mut noted))
            }
        };
        // Also what is switched off is a page's path: a browser may ask for it.
        if router::find(side(connection), &configuration.issuer_path, parts.uri.path()).is_some_and(Route::is_page) {
            page_response::complete(&mut response);
        }
        let took = began.elapsed();
        if let Some(route) = route {
            cors::permit(side(connection), route, &parts, &mut response);
            server.metrics.answered(route, response.status(), took);
        }
        let Noted {
            client,
            refusal,
            claimed_client_id,
            alike_since,
        } = noted;
        server.log.record(RequestRecord {
            route,
            status: response.status(),
            client,
            claimed_client_id,
            refusal,
            took,
        });
        // Last, when everything is counted and written down: a peer that goes away meanwhile takes nothing of that along. What is
        // written down is the work and not the wait.
        if let Some(complete_at) = alike_since {
            let interval = configuration.alike_answer_interval;
            server.answer_timer.wait(complete_at, interval).await;
        } else {
            // The answers of one turn of the runtime leave together, after everybody's work: a peer on the same machine is woken once for
            // them all, which costs half a signature each time.
            tokio::task::yield_now().await;
        }
        response
    }

    fn refuse(&self, connection: &Arc<Connection>, refusal: LayerRefusal) -> http::Response<ResponseBody> {
        self.refuse_at(connection, "", refusal)
    }

    fn refuse_request(
        &self,
        connection: &Arc<Connection>,
        target: &Uri,
        refusal: LayerRefusal,
    ) -> http::Response<ResponseBody> {
        self.refuse_at(connection, target.path(), refusal)
    }
}

impl AuthorizationService {
    /// Refuses what never became a request of an endpoint. The path is empty if it is not known.
    fn refuse_at(&self, connection: &Arc<Connection>, path: &str, refusal: LayerRefusal) -> Response {
        let configuration = self.server.configuration.load();
        let route = router::find(side(connection), &configuration.issuer_path, path);
        let reason = Reason::Transport(refusal);
        let circumstances = Circumstances {
            issuer: &configuration.issuer,
            route,
            path,
            claimed_client_id: None,
            client: None,
            remote_address: connection.remote_addr().ip(),
            presented: connection.presented(),
            authorization: None,
            now: self.server.clock.now(),
        };
        let (response, id) = self.server.refusals.refuse(&reason, &circumstances);
        match (route, &reason) {
            (Some(Route::Admin), Reason::Transport(refusal)) => admin::refused(response, refusal),
            (Some(page), _) if page.is_page() => {
                let refused = error_page::Refused {
                    configuration: &configuration,
                    reason: &reason,
                    id: &id,
                    // What was refused below HTTP has no cookies that anybody read.
                    theme: Theme::System,
                    now: circumstances.now,
                };
                error_page::of(&refused, response)
            }
            _ => response,
        }
    }
}

/// Which of our listeners this is.
fn side(connection: &Connection) -> Side {
    if connection.policy() == MUTUAL_TLS {
        Side::MutualTls
    } else {
        Side::Public
    }
}

impl Request<'_> {
    async fn answer(&self, route: Route, body: RequestBody, noted: &mut Noted) -> Response {
        match route {
            Route::Token
            | Route::Introspection
            | Route::Revocation
            | Route::PushedAuthorization
            | Route::DeviceAuthorization
            | Route::BackchannelAuthentication => match self.form_endpoint(route, body, noted).await {
                Ok(response) => response,
                Err(reason) => self.refuse(Some(route), &reason, None, noted),
            },
            Route::Jwks => self
                .server
                .keys
                .ring()
                .document
                .response(self.parts.headers.get(IF_NONE_MATCH)),
            Route::Metadata | Route::OpenIdConfiguration => self
                .configuration
                .metadata
                .while_signing_by(self.server.keys.ring().signer.signer().algorithm())
                .response(self.parts.headers.get(IF_NONE_MATCH)),
            Route::Userinfo => {
                let request = UserinfoRequest {
                    server: self.server,
                    configuration: self.configuration,
                    parts: self.parts,
                    presented: self.presented,
                    now: self.server.clock.now(),
                };
                let mut response = match userinfo::answer(&request) {
                    Ok(response) => response,
                    Err(reason) => self.refuse(Some(route), &reason, None, noted),
                };
                interaction_id::echo(&self.parts.headers, response.headers_mut());
                response
            }
            Route::Revocations => {
                let caller = Caller {
                    server: self.server,
                    connection: self.connection,
                    presented: self.presented,
                    parts: self.parts,
                    now: self.server.clock.now(),
                };
                match self.server.revocations.answer(caller).await {
                    Ok(response) => response,
                    Err(reason) => self.refuse(Some(route), &reason, None, noted),
                }
            }
            Route::Registration | Route::ClientConfiguration => match self.registration(route, body, noted).await {
                Ok(response) => response,
                Err(reason) => self.refuse(Some(route), &reason, None, noted),
            },
            Route::Authorization
            | Route::Login
            | Route::Consent
            | Route::UpstreamSignIn
            | Route::UpstreamAnswer
            | Route::SignIn
            | Route::SignOut
            | Route::Grants
            | Route::Device
            | Route::Theme
            | Route::Asset => match self.page(route, body).await {
                Ok(response) => response,
                Err(reason) => self.refuse(Some(route), &reason, None, noted),
            },
            Route::Admin => {
                let admin = &self.server.admin;
                admin
                    .answer(self.server, self.connection, self.presented, self.parts, body)
                    .await
            }
        }
    }

    /// A page, or what its form asks for.
    async fn page(&self, route: Route, body: RequestBody) -> Result<Response, Reason> {
        let body = if self.parts.method == Method::POST {
            require_form(&self.parts.headers)?;
            match body.collect_at_most(self.configuration.body_bytes_max).await {
                Ok(body) => Some(body),
                Err(BodyError::Refused(refusal)) => return Err(Reason::Transport(refusal)),
                // Nobody is left to read this.
                Err(BodyError::Broken(_)) => return Ok(response::json(StatusCode::BAD_REQUEST, "")),
            }
        } else {
            None
        };
        let form = body.as_ref().map(|body| Form::parse(body)).transpose()?;
        let request = PageRequest {
            server: self.server,
            configuration: self.configuration,
            connection: self.connection,
            parts: self.parts,
            now: self.server.clock.now(),
        };
        pages::answer(&request, route, form.as_ref()).await
    }

    /// An endpoint that takes a form from a client. What is wrong before there is a form is an error here.
    async fn form_endpoint(&self, route: Route, body: RequestBody, noted: &mut Noted) -> Result<Response, Reason> {
        require_form(&self.parts.headers)?;
        let body = match body.collect_at_most(self.configuration.body_bytes_max).await {
            Ok(body) => body,
            Err(BodyError::Refused(refusal)) => return Err(Reason::Transport(refusal)),
            // Nobody is left to read this.
            Err(BodyError::Broken(_)) => return Ok(response::json(StatusCode::BAD_REQUEST, "")),
        };
        // Neither of them before: else whoever sends the body late would use the wait up, and be judged by a time that is over. A
        // spent client assertion would count again once it is forgotten.
        let (complete_at, now) = (Instant::now(), self.server.clock.now());
        let form = Form::parse(&body)?;
        let request = ClientRequest {
            attempt: Attempt {
                form: &form,
                headers: &self.parts.headers,
                query: self.parts.uri.query(),
                presented: self.presented,
                connection: self.connection,
                failures: &self.server.failures,
                issuer: &self.configuration.issuer,
                endpoint_urls: self.configuration.endpoint_urls.accepted_at(route),
                profile: self.configuration.profile,
                client_secrets_enabled: self.configuration.registration_policy.client_secrets_enabled,
                now,
            },
            headers: &self.parts.headers,
            configuration: self.configuration,
        };
        let answer = match route {
            Route::Introspection => introspection::post(self.server, &request).await,
            Route::Revocation => revocation::post(self.server, &request).await,
            Route::PushedAuthorization => pushed_authorization::post(self.server, &request).await,
            Route::DeviceAuthorization => device_authorization::post(self.server, &request).await,
            Route::BackchannelAuthentication => backchannel_authentication::post(self.server, &request).await,
            _ => token::post(self.server, &request).await,
        };
        Ok(match answer {
            Ok(answer) => {
                let (response, client, is_alike) = answer.into_parts();
                noted.client = Some(client);
                noted.alike_since = is_alike.then_some(complete_at);
                response
            }
            Err(Refused { reason, client }) => {
                let reason = self.limited(reason);
                let claimed = form.get("client_id").or(reason.claimed_client_id());
                noted.client = client;
                noted.alike_since = reason.is_alike().then_some(complete_at);
                self.refuse(Some(route), &reason, claimed, noted)
            }
        })
    }

    /// The registration endpoint, or a client's own registration.
    async fn registration(&self, route: Route, body: RequestBody, noted: &mut Noted) -> Result<Response, Reason> {
        let path = self.parts.uri.path();
        let Some(registration) = &self.configuration.registration else {
            return Err(Reason::PathUnknown { path: path.to_owned() });
        };
        let body = match body.collect_at_most(self.configuration.body_bytes_max).await {
            Ok(body) => body,
            Err(BodyError::Refused(refusal)) => return Err(Reason::Transport(refusal)),
            // Nobody is left to read this.
            Err(BodyError::Broken(_)) => return Ok(response::json(StatusCode::BAD_REQUEST, "")),
        };
        let (complete_at, now) = (Instant::now(), self.server.clock.now());
        let request = RegistrationRequest {
            server: self.server,
            registration,
            side: side(self.connection),
            connection: self.connection,
            presented: self.presented,
            headers: &self.parts.headers,
            body: &body,
            now,
        };
        let client_id = registration::client_id_of(&self.configuration.issuer_path, path);
        let answer = match (route, &client_id) {
            (Route::ClientConfiguration, Some(client_id)) => request.manage(&self.parts.method, client_id).await,
            _ => request.register().await,
        };
        answer.map_err(|reason| {
            noted.alike_since = reason.is_alike().then_some(complete_at);
            self.limited_registration(reason, client_id.as_deref())
        })
    }

    /// Counts a token that was not the right one; one too many is answered 429.
    fn limited_registration(&self, reason: Reason, claimed: Option<&str>) -> Reason {
        let refusal = match reason {
            Reason::Registration(refusal) if refusal.is_of_token() => refusal,
            reason => return reason,
        };
        match self.server.failures.record(claimed, self.connection.remote_addr().ip()) {
            Ok(()) => refusal.into(),
            Err(too_many) => Reason::Registration(RegistrationRefusal::TooManyFailures {
                refusal: Box::new(refusal),
                retry_after: too_many.retry_after,
            }),
        }
    }

    /// Counts a failed authentication; one too many is answered 429.
    fn limited(&self, reason: Reason) -> Reason {
        let Reason::Unauthenticated(failure) = reason else {
            return reason;
        };
        let claimed = failure.claimed_client_id.as_deref();
        let record = || self.server.failures.record(claimed, self.connection.remote_addr().ip());
        match failure.counted.unwrap_or_else(record) {
            Ok(()) => Reason::Unauthenticated(failure),
            Err(too_many) => Reason::TooManyFailures {
                failure,
                retry_after: too_many.retry_after,
            },
        }
    }

    fn refuse(&self, route: Option<Route>, reason: &Reason, claimed: Option<&str>, noted: &mut Noted) -> Response {
        let authenticated = noted.client.as_ref().map(|client| &*client.client);
        let claimed = claimed.or(authenticated.map(|client| client.client_id().as_str()));
        let circumstances = Circumstances {
            issuer: &self.configuration.issuer,
            route,
            path: self.parts.uri.path(),
            claimed_client_id: claimed,
            client: authenticated,
            remote_address: self.connection.remote_addr().ip(),
            presented: self.presented,
            authorization: self.parts.headers.get(AUTHORIZATION),
            now: self.server.clock.now(),
        };
        let (mut response, id) = self.server.refusals.refuse(reason, &circumstances);
        if route.is_some_and(Route::is_page) {
            let refused = error_page::Refused {
                configuration: self.configuration,
                reason,
                id: &id,
                theme: Theme::of(&self.parts.headers),
                now: circumstances.now,
            };
            response = error_page::of(&refused, response);
        }
        let claimed = claimed.map(Refusal::presented_text);
        (noted.refusal, noted.claimed_client_id) = (Some(id), claimed);
        response
    }
}

/// RFC 6749 Appendix B: the parameters are a form in the body, in UTF-8, and nothing else.
fn require_form(headers: &HeaderMap) -> Result<(), Reason> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let presented = values
        .next()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let is_form = presented.as_deref().is_some_and(is_form_media_type);
    if is_form && values.next().is_none() && !headers.contains_key(CONTENT_ENCODING) {
        return Ok(());
    }
    Err(Reason::MediaType { presented })
}

fn is_form_media_type(value: &str) -> bool {
    let mut parts = value.split(';').map(str::trim);
    let is_form = parts
        .next()
        .is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded"));
    is_form
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
                value.trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_forms_in_utf_8_are_forms() {
        for value in [
            "application/x-www-form-urlencoded",
            "Application/X-WWW-Form-URLEncoded; charset=\"UTF-8\"",
            "application/x-www-form-urlencoded;",
        ] {
            assert!(is_form_media_type(value), "{value}");
        }
        for value in [
            "",
            "application/json",
            "application/x-www-form-urlencodedx",
            "multipart/form-data",
            "application/x-www-form-urlencoded; charset=utf-16",
        ] {
            assert!(!is_form_media_type(value), "{value}");
        }
    }
}
