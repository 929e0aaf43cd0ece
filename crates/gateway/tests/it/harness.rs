//! A certificate authority, an issuer, a gateway, callers and upstreams.

pub(crate) mod caller;
pub(crate) mod introspection;
pub(crate) mod issuer;
pub(crate) mod pki;
pub(crate) mod upstream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::Method;
use ipnet::IpNet;
use keybound_gateway::{Environment, Gateway, GatewaySettings, Limits, RouteSettings, UpstreamSettings};
use keybound_protocol::refusal::{Refusal, RefusalId};
use keybound_protocol::resource::ResourceUri;
use keybound_resource_server::RoutePolicy;
use keybound_tls::{
    ClientCertificatePolicy, Clock, ForwardedCertificateSettings, HostPolicies, HostPolicy, Identity, Listener,
    ListenerHandle, ListenerSettings, Runtimes, Transport,
};

use caller::Response;
use issuer::Issuer;
use pki::Pki;

/// The resource that every test token is for.
pub(crate) const RESOURCE: &str = "https://api.example";

/// A gateway that serves, and everybody around it.
pub(crate) struct World {
    pub(crate) gateway: Gateway,
    pub(crate) listener: ListenerHandle,
    pub(crate) pki: Pki,
    pub(crate) issuer: Issuer,
    pub(crate) address: SocketAddr,
}

/// How a world differs from the usual one.
pub(crate) struct Options {
    pub(crate) limits: Limits,
    pub(crate) client_certificates: ClientCertificatePolicy,
    pub(crate) listener_limits: keybound_tls::Limits,
    /// Addresses of proxies whose `Client-Cert` counts.
    pub(crate) proxies: Vec<IpNet>,
}

impl Default for Options {
    fn default() -> Self {
        let listener_limits = keybound_tls::Limits {
            body_bytes_max: None,
            ..keybound_tls::Limits::default()
        };
        Self {
            limits: Limits::default(),
            client_certificates: ClientCertificatePolicy::Optional,
            listener_limits,
            proxies: Vec::new(),
        }
    }
}

impl World {
    pub(crate) fn start(routes: Vec<RouteSettings>) -> Self {
        Self::start_with(routes, Options::default())
    }

    /// Serves on the current runtime.
    pub(crate) fn start_with(routes: Vec<RouteSettings>, options: Options) -> Self {
        let pki = Pki::new();
        let issuer = Issuer::new();
        let settings = GatewaySettings {
            routes,
            limits: options.limits,
        };
        let gateway = Gateway::new(&settings, issuer.resource_server(), environment()).unwrap();
        let identity = Identity::from_pem(pki.server.chain_pem.as_bytes(), pki.server.key_pem.as_bytes()).unwrap();
        let policy = HostPolicy::new("gateway", options.client_certificates, identity);
        let mut listener = ListenerSettings::new(
            "gateway",
            SocketAddr::from(([127, 0, 0, 1], 0)),
            Transport::Tls(HostPolicies::one(policy)),
        );
        listener.limits = options.listener_limits;
        if !options.proxies.is_empty() {
            let proxies = ForwardedCertificateSettings {
                from: options.proxies,
                proxy: None,
            };
            listener.forwarded_certificate = Some(Arc::new(proxies));
        }
        let listener = Listener::bind(listener, &Runtimes::current()).unwrap();
        let listener = listener.serve(gateway.resource_service());
        let address = listener.local_addr();
        Self {
            gateway,
            listener,
            pki,
            issuer,
            address,
        }
    }

    /// A token bound to the first client's certificate.
    pub(crate) fn token(&self) -> String {
        self.issuer.token_for(&self.pki.client)
    }

    /// The record behind the id that an answer carried.
    pub(crate) fn refusal(&self, response: &Response) -> Arc<Refusal> {
        let id = response.header("keybound-refusal").expect("a refusal has an id");
        assert_eq!(id.len(), 16);
        assert!(id.starts_with("G-"), "{id}");
        self.gateway
            .refusals()
            .find(&RefusalId::parse(&id).unwrap())
            .expect("a refusal is remembered")
    }
}

/// The system's clock; ids counted up.
pub(crate) fn environment() -> Environment {
    let counter = AtomicU64::new(1);
    Environment {
        clock: Clock::system(),
        random: Arc::new(move |octets| {
            let count = counter.fetch_add(1, Ordering::Relaxed).to_be_bytes();
            for (octet, count) in octets.iter_mut().zip(count.iter().cycle()) {
                *octet = *count;
            }
        }),
    }
}

/// A route for everything, to `upstream`.
pub(crate) fn route(path: &str, upstream: SocketAddr) -> RouteSettings {
    RouteSettings::new(path, format!("http://{upstream}").parse().unwrap(), policy())
}

/// A route that the gateway answers by itself.
pub(crate) fn demo(path: &str) -> RouteSettings {
    RouteSettings::new(path, UpstreamSettings::Demo, policy())
}

pub(crate) fn policy() -> RoutePolicy {
    RoutePolicy::new(ResourceUri::parse(RESOURCE).unwrap())
}

pub(crate) fn only(methods: &[Method], route: RouteSettings) -> RouteSettings {
    RouteSettings {
        methods: methods.to_vec(),
        ..route
    }
}
