//! Servers whose answers a test decides, and which remember what they were asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, Request, Response, StatusCode};
use keybound_client::{Discovery, GuardedFetch, GuardedFetchSettings};
use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_protocol::peer_certificate::PresentedCertificate;
use keybound_tls::{
    ClientCertificatePolicy, Connection, HostPolicies, HostPolicy, Listener, ListenerSettings, RequestBody,
    ResponseBody, Runtimes, Service, Transport,
};
use serde_json::Value;
use url::Url;

use crate::pki;

/// One request as a site saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) query: HashMap<String, String>,
    pub(crate) headers: HeaderMap,
    pub(crate) form: HashMap<String, String>,
    pub(crate) presented: PresentedCertificate,
}

impl Seen {
    pub(crate) fn form(&self, name: &str) -> Option<&str> {
        self.form.get(name).map(String::as_str)
    }

    pub(crate) fn thumbprint(&self) -> Option<CertificateThumbprint> {
        self.presented.end_entity().map(|end_entity| *end_entity.thumbprint())
    }
}

type Answer = dyn Fn(&Seen) -> Response<ResponseBody> + Send + Sync;

/// A server on a port of its own.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) origin: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Site {
    /// A server at `https://localhost:…` that asks for a client certificate.
    pub(crate) fn asking(answer: impl Fn(&Seen) -> Response<ResponseBody> + Send + Sync + 'static) -> Site {
        Site::start(ClientCertificatePolicy::Optional, Arc::new(answer))
    }

    /// A server at `https://localhost:…` that asks for none.
    pub(crate) fn plain(answer: impl Fn(&Seen) -> Response<ResponseBody> + Send + Sync + 'static) -> Site {
        Site::start(ClientCertificatePolicy::Never, Arc::new(answer))
    }

    fn start(policy: ClientCertificatePolicy, answer: Arc<Answer>) -> Site {
        let policies = HostPolicies::one(HostPolicy::new("site", policy, pki::server()));
        let settings = ListenerSettings::new("site", ([127, 0, 0, 1], 0).into(), Transport::Tls(policies));
        let listener = Listener::bind(settings, &Runtimes::current()).unwrap();
        let origin = Url::parse(&format!("https://localhost:{}", listener.local_addr().port())).unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        listener.serve(Answering {
            answer,
            seen: Arc::clone(&seen),
        });
        Site { origin, seen }
    }

    /// `https://localhost:PORT` without a slash at its end, as issuers are written.
    pub(crate) fn issuer(&self) -> String {
        self.origin.as_str().trim_end_matches('/').to_owned()
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        self.origin.join(path).unwrap()
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The requests to this path so far.
    pub(crate) fn seen_at(&self, path: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.path == path).collect()
    }
}

struct Answering {
    answer: Arc<Answer>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Service for Answering {
    async fn call(&self, connection: &Arc<Connection>, request: Request<RequestBody>) -> Response<ResponseBody> {
        let presented = connection.presented_for(request.extensions()).clone();
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap_or_default();
        let seen = Seen {
            path: parts.uri.path().to_owned(),
            query: url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
                .into_owned()
                .collect(),
            headers: parts.headers,
            form: url::form_urlencoded::parse(&body).into_owned().collect(),
            presented,
        };
        self.seen.lock().unwrap().push(seen.clone());
        (self.answer)(&seen)
    }
}

/// A discovery that may visit this machine.
pub(crate) fn discovery() -> Discovery {
    let mut settings = GuardedFetchSettings::new(pki::roots());
    settings.allow_addresses = vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    Discovery::new(GuardedFetch::new(settings))
}

pub(crate) fn json(value: &Value) -> Response<ResponseBody> {
    json_with(StatusCode::OK, value)
}

pub(crate) fn json_with(status: StatusCode, value: &Value) -> Response<ResponseBody> {
    let mut response = Response::new(value.to_string().into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert("content-type", "application/json".parse().unwrap());
    response
}

pub(crate) fn status(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Empty);
    *response.status_mut() = status;
    response
}
