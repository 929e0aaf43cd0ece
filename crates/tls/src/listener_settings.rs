//! What a listener is told: address, hosts with their certificates and client-certificate policy, limits.

use std::{net::SocketAddr, sync::Arc};

use crate::{ForwardedCertificateSettings, Identity, Limits};

/// How one [`Listener`](crate::Listener) listens.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Its name in logs and counters: `public`, `mutual_tls`, `gateway`, `operations`.
    pub name: Arc<str>,
    /// Where it listens. Port 0 lets the system choose; see [`Listener::local_addr`](crate::Listener::local_addr).
    pub address: SocketAddr,
    /// TLS or, for the operations listener, plain HTTP.
    pub transport: Transport,
    /// Every limit.
    pub limits: Limits,
    /// Whether HTTP/2 is offered beside HTTP/1.1 (TLS only).
    pub http2: bool,
    /// The one proxy, if any, whose `Client-Cert` counts (RFC 9440). `None`, the default: nobody's does.
    pub forwarded_certificate: Option<Arc<ForwardedCertificateSettings>>,
}

impl ListenerSettings {
    /// Settings with default limits, HTTP/2 on, no forwarded certificates.
    pub fn new(name: &str, address: SocketAddr, transport: Transport) -> ListenerSettings {
        ListenerSettings {
            name: name.into(),
            address,
            transport,
            limits: Limits::default(),
            http2: true,
            forwarded_certificate: None,
        }
    }
}

/// What is spoken below HTTP.
#[derive(Clone, Debug)]
pub enum Transport {
    /// TLS 1.2 or 1.3.
    Tls(HostPolicies),
    /// Nothing: HTTP/1.1 in clear, for the operations listener.
    Plain,
}

/// Whether a handshake asks the client for a certificate. There is no "required": a missing certificate is answered in
/// HTTP, where the reason can be told (RFC 8705 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientCertificatePolicy {
    /// No CertificateRequest is sent.
    Never,
    /// One is sent, without CA names; the client may decline.
    Optional,
}

/// The policies of one listener. The first is the listener's own: it serves clients without SNI and with unknown names.
#[derive(Clone, Debug)]
pub struct HostPolicies {
    pub(crate) policies: Vec<HostPolicy>,
}

impl HostPolicies {
    /// One policy: the ordinary listener.
    pub fn one(policy: HostPolicy) -> HostPolicies {
        HostPolicies { policies: vec![policy] }
    }

    /// Several policies on one port, told apart by SNI. `own` also serves clients without SNI and with unknown names.
    pub fn several(own: HostPolicy, others: Vec<HostPolicy>) -> HostPolicies {
        let mut policies = vec![own];
        policies.extend(others);
        HostPolicies { policies }
    }
}

/// Hosts that share a client-certificate policy. Requests for one of them may arrive on a connection made for another
/// (RFC 9110 §15.5.20); requests across policies get 421.
#[derive(Clone, Debug)]
pub struct HostPolicy {
    /// Seen by services as [`Connection::policy`](crate::Connection::policy): `public`, `mutual_tls`, ….
    pub name: Arc<str>,
    /// Whether a certificate is asked for.
    pub client_certificate: ClientCertificatePolicy,
    /// The hosts; at least one. The first one's certificate serves unknown names.
    pub hosts: Vec<Host>,
}

/// Names and the certificate shown for them.
#[derive(Clone, Debug)]
pub struct Host {
    /// Names served beside the certificate's own dNSNames; those are always included, wildcards too.
    pub names: Vec<String>,
    /// What is presented.
    pub identity: Identity,
}

impl HostPolicy {
    /// A policy with one certificate, serving the certificate's own names.
    pub fn new(name: &str, client_certificate: ClientCertificatePolicy, identity: Identity) -> HostPolicy {
        HostPolicy {
            name: name.into(),
            client_certificate,
            hosts: vec![Host {
                names: Vec::new(),
                identity,
            }],
        }
    }
}

/// Why host policies cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostPoliciesError {
    /// A policy without a host.
    #[error("the policy {policy} has no host")]
    NoHost {
        /// Which.
        policy: String,
    },
    /// Two policies of one name.
    #[error("there are two policies named {policy}")]
    PolicyTwice {
        /// Which.
        policy: String,
    },
    /// A server name that two policies claim: which of them a client would get is anybody's guess.
    #[error("the server name {name} is configured under two policies")]
    NameTwice {
        /// Which.
        name: String,
    },
    /// A proxy is to authenticate with a certificate that is never asked for.
    #[error("forwarded_certificate.proxy_san_dns needs a listener that asks for client certificates")]
    ProxyNeverAsked,
    /// Forwarding is on, but everybody would count as the proxy.
    #[error("forwarded_certificate needs `from` or `proxy_san_dns`")]
    AnyProxy,
    /// Host policies for a listener without TLS.
    #[error("the listener speaks plain HTTP")]
    Plain,
}
