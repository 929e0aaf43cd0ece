//! An authorization server that is asked about tokens (RFC 7662), and the resource server that asks it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use keybound_protocol::endpoint::Endpoint;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::server_metadata::ServerMetadata;
use keybound_resource_server::client::{
    AuthorizationServer, Client, ClientAuthentication, ClientSettings, HttpClientSettings, Identity, Roots,
};
use keybound_resource_server::{IssuerSettings, Limits, ResourceServer, Validation};
use keybound_tls::{
    ClientCertificatePolicy, Connection, HostPolicies, HostPolicy, Listener, ListenerSettings, RequestBody,
    ResponseBody, Runtimes, Service, Transport,
};
use serde_json::{Value, json};

use super::pki::Pki;

/// Says one thing about every token, until it is told to say another.
#[derive(Clone)]
pub(crate) struct Introspection {
    answer: Arc<Mutex<Value>>,
    questions: Arc<AtomicUsize>,
}

impl Introspection {
    /// Serves on the current runtime. The resource server believes an active token for `active_max`.
    pub(crate) fn start(pki: &Pki, claims: &Value, active_max: Duration) -> (Introspection, ResourceServer) {
        let own = || {
            keybound_tls::Identity::from_pem(pki.server.chain_pem.as_bytes(), pki.server.key_pem.as_bytes()).unwrap()
        };
        let policy = HostPolicy::new("introspection", ClientCertificatePolicy::Optional, own());
        let settings = ListenerSettings::new(
            "introspection",
            ([127, 0, 0, 1], 0).into(),
            Transport::Tls(HostPolicies::one(policy)),
        );
        let listener = Listener::bind(settings, &Runtimes::current()).unwrap();
        let issuer = format!("https://localhost:{}", listener.local_addr().port());
        let mut answer = claims.clone();
        answer["active"] = true.into();
        answer["iss"] = issuer.as_str().into();
        let introspection = Introspection {
            answer: Arc::new(Mutex::new(answer)),
            questions: Arc::default(),
        };
        listener.serve(introspection.clone());

        let url = format!("{issuer}/introspect").parse().unwrap();
        let issuer = Issuer::parse(&issuer).unwrap();
        let metadata = ServerMetadata::new(issuer.clone()).with_endpoint(Endpoint::Introspection, url, None);
        let mut outgoing = HttpClientSettings::new(Roots::from_pem(pki.ca_pem.as_bytes()).unwrap());
        outgoing.identity = Some(own());
        let client = Client::new(ClientSettings {
            server: AuthorizationServer::given(metadata),
            client_id: "resource".parse().unwrap(),
            authentication: ClientAuthentication::Certificate,
            identity: Identity::new(outgoing),
        });
        let settings = IssuerSettings::new(issuer, Validation::Introspection(Arc::new(client)));
        let limits = Limits {
            introspection_active_max: active_max,
            ..Limits::default()
        };
        (
            introspection,
            ResourceServer::with_limits(vec![settings], limits).unwrap(),
        )
    }

    /// From now on no token is active.
    pub(crate) fn revoke(&self) {
        *self.answer.lock().unwrap() = json!({"active": false});
    }

    /// How often it was asked.
    pub(crate) fn questions(&self) -> usize {
        self.questions.load(Ordering::SeqCst)
    }
}

impl Service for Introspection {
    async fn call(&self, _: &Arc<Connection>, request: Request<RequestBody>) -> Response<ResponseBody> {
        request.into_body().collect().await.unwrap();
        self.questions.fetch_add(1, Ordering::SeqCst);
        let answer = self.answer.lock().unwrap().to_string();
        let mut response = Response::new(answer.into());
        response
            .headers_mut()
            .insert("content-type", HeaderValue::from_static("application/json"));
        response
    }
}
