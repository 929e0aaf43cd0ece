//! The certificate of a client whose TLS ended at a proxy (RFC 8705 §6.5, RFC 9440).
//!
//! `Client-Cert` and `Client-Cert-Chain` are removed from every request of every listener before a service sees it. They count
//! only on a listener that is configured for a proxy, and only from that proxy: by source address, by its own client certificate,
//! or both. From anybody else they are ignored; the connection's own certificate is what was presented.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use http::{HeaderMap, HeaderName, Request};
use ipnet::IpNet;
use keybound_protocol::{
    certificate_chain,
    client_cert_header::{parse_client_cert, parse_client_cert_chain},
    peer_certificate::{ForwardedCertificate, ForwardingError, PresentedCertificate},
    subject_alternative_name::SubjectAlternativeName,
    time::Timestamp,
    trust_anchor::{TrustAnchor, TrustAnchors},
};

use crate::{Clock, Connection};

/// Whose `Client-Cert` counts. At least one of the two is configured; if both are, both must hold.
#[derive(Clone, Debug)]
pub struct ForwardedCertificateSettings {
    /// The proxy's source addresses; empty: any address.
    pub from: Vec<IpNet>,
    /// The proxy's own client certificate.
    pub proxy: Option<ProxyCertificate>,
}

/// The proxy's own client certificate, and who vouches for it.
#[derive(Clone)]
pub struct ProxyCertificate {
    san_dns: String,
    trust_anchors: Arc<dyn Fn() -> Arc<TrustAnchors> + Send + Sync>,
    clock: Clock,
}

impl ProxyCertificate {
    /// `san_dns` is one of its dNSNames, exactly (`proxy_san_dns`). `trust_anchors` is asked again at every request, so that a
    /// reload counts at once.
    pub fn new(
        san_dns: &str,
        trust_anchors: impl Fn() -> Arc<TrustAnchors> + Send + Sync + 'static,
        clock: Clock,
    ) -> ProxyCertificate {
        ProxyCertificate {
            san_dns: san_dns.to_ascii_lowercase(),
            trust_anchors: Arc::new(trust_anchors),
            clock,
        }
    }

    /// Judges what the peer presented, by the path and then the name.
    fn verify(&self, presented: &PresentedCertificate, trust_anchors: &TrustAnchors) -> Option<ProxyVerdict> {
        let PresentedCertificate::Peer(peer) = presented else {
            return None;
        };
        let anchors: Vec<&TrustAnchor> = trust_anchors.iter().collect();
        let chain = certificate_chain::verify(peer.end_entity(), &anchors, self.clock.now()).ok()?;
        let names = peer.certificate().ok()?.subject_alternative_names();
        let is_named = names
            .iter()
            .any(|name| matches!(name, SubjectAlternativeName::Dns(name) if name.eq_ignore_ascii_case(&self.san_dns)));
        is_named.then(|| ProxyVerdict {
            trust_epoch: trust_anchors.epoch(),
            valid_until: chain.valid_until(),
        })
    }
}

impl std::fmt::Debug for ProxyCertificate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ProxyCertificate")
            .field("san_dns", &self.san_dns)
            .finish_non_exhaustive()
    }
}

static CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
static CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");

/// What the peer of a connection may forward.
#[derive(Debug, Default)]
pub(crate) struct Forwarding {
    /// `None`: nothing counts; what it sends is ignored.
    settings: Option<Arc<ForwardedCertificateSettings>>,
    /// The last yes to the proxy's certificate.
    verdict: Mutex<Option<ProxyVerdict>>,
}

/// Why the proxy's certificate was accepted, and how long that holds.
#[derive(Clone, Copy, Debug)]
struct ProxyVerdict {
    trust_epoch: u64,
    valid_until: Timestamp,
}

impl Forwarding {
    /// What a peer with this address may forward, by the settings of its listener.
    pub(crate) fn of(settings: Option<&Arc<ForwardedCertificateSettings>>, address: IpAddr) -> Forwarding {
        let address = address.to_canonical();
        let settings = settings
            .filter(|settings| settings.from.is_empty() || settings.from.iter().any(|range| range.contains(&address)));
        Forwarding {
            settings: settings.cloned(),
            verdict: Mutex::default(),
        }
    }

    /// Whether the peer is the proxy: `Ok` with its name for operators.
    fn judge(
        &self,
        settings: &ForwardedCertificateSettings,
        connection: &Connection,
    ) -> Result<String, ForwardingError> {
        let Some(proxy) = &settings.proxy else {
            return Ok(connection.remote_addr().ip().to_string());
        };
        let trust_anchors = (proxy.trust_anchors)();
        let mut verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        let still_holds = verdict.is_some_and(|verdict| {
            verdict.trust_epoch == trust_anchors.epoch() && proxy.clock.now() <= verdict.valid_until
        });
        if !still_holds {
            *verdict = proxy.verify(connection.presented(), &trust_anchors);
        }
        match *verdict {
            Some(_) => Ok(format!("{} ({})", proxy.san_dns, connection.remote_addr().ip())),
            None => Err(ForwardingError::ProxyNotAuthenticated {
                expected: proxy.san_dns.clone(),
            }),
        }
    }
}

/// Takes the fields out of a request, and puts what they say beside it where it counts.
pub(crate) fn take<B>(connection: &Connection, request: &mut Request<B>) {
    let presented = match &connection.facts.forwarding.settings {
        Some(settings) => read(settings, connection, request.headers()),
        None => None,
    };
    let headers = request.headers_mut();
    headers.remove(&CLIENT_CERT);
    headers.remove(&CLIENT_CERT_CHAIN);
    if let Some(presented) = presented {
        request.extensions_mut().insert(presented);
    }
}

/// What was presented behind the proxy; `None` leaves it at the connection's own certificate.
fn read(
    settings: &ForwardedCertificateSettings,
    connection: &Connection,
    headers: &HeaderMap,
) -> Option<PresentedCertificate> {
    let values = |name| {
        headers
            .get_all(name)
            .iter()
            .map(|value| value.as_bytes())
            .collect::<Vec<_>>()
    };
    let (leaf, chain) = (values(&CLIENT_CERT), values(&CLIENT_CERT_CHAIN));
    let is_forwarding = !leaf.is_empty() || !chain.is_empty();
    match connection.facts.forwarding.judge(settings, connection) {
        Ok(via) => Some(match parse(&leaf, &chain) {
            Ok(Some((leaf, chain))) => {
                PresentedCertificate::from_proxy(ForwardedCertificate::assert_from_configured_proxy(leaf, chain, via))
            }
            // The proxy's own certificate is never its client's.
            Ok(None) => PresentedCertificate::None,
            Err(error) => PresentedCertificate::ForwardingRefused(error),
        }),
        // At the proxy's address, without its certificate: a proxy that is set up wrongly, and then the reason is worth telling.
        // Where any address will do, it is just anybody.
        Err(error) if is_forwarding && !settings.from.is_empty() => {
            Some(PresentedCertificate::ForwardingRefused(error))
        }
        Err(_) => None,
    }
}

type LeafAndChain = (Vec<u8>, Vec<Vec<u8>>);

fn parse(leaf: &[&[u8]], chain: &[&[u8]]) -> Result<Option<LeafAndChain>, ForwardingError> {
    let leaf = parse_client_cert(leaf)?;
    let chain = parse_client_cert_chain(chain, leaf.as_deref())?;
    Ok(leaf.map(|leaf| (leaf, chain)))
}
