//! The certificate of a client whose TLS ended at a proxy (RFC 8705 §6.5, RFC 9440).
//!
//! `Client-Cert` and `Client-Cert-Chain` are removed from every request of every listener before a service sees it. They count
//! only on a listener that is configured for a proxy, and only from that proxy: by source address, by its own client certificate,
//! or both. From anybody else they are ignored; the connection's own certificate is what was presented. Who the proxy is, is looked up
//! at each request: one that a reload removes is not believed any more, on the connections that it keeps open either.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use http::{HeaderMap, HeaderName, Request};
use ipnet::IpNet;
use keybound_protocol::{
    certificate_chain,
    client_cert_header::{parse_client_cert, parse_client_cert_chain},
    peer_certificate::{ForwardedCertificate, ForwardingError, PresentedCertificate},
    subject_alternative_name::SubjectAlternativeName,
    time::Timestamp,
    trust_anchor::TrustAnchor,
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
    trust_anchors: Vec<TrustAnchor>,
    clock: Clock,
}

impl ProxyCertificate {
    /// `san_dns` is one of its dNSNames, exactly (`proxy_san_dns`). Each of the `trust_anchors` can name anybody the proxy, and the
    /// proxy can name anybody a client: they are to be as few as can be.
    pub fn new(san_dns: &str, trust_anchors: Vec<TrustAnchor>, clock: Clock) -> ProxyCertificate {
        ProxyCertificate {
            san_dns: san_dns.to_ascii_lowercase(),
            trust_anchors,
            clock,
        }
    }

    /// Judges what the peer presented, by the path and then the name. A yes holds until the time that this returns.
    fn verify(&self, presented: &PresentedCertificate) -> Option<Timestamp> {
        let PresentedCertificate::Peer(peer) = presented else {
            return None;
        };
        let anchors: Vec<&TrustAnchor> = self.trust_anchors.iter().collect();
        let chain = certificate_chain::verify(peer.end_entity(), &anchors, self.clock.now()).ok()?;
        let names = peer.certificate().ok()?.subject_alternative_names();
        let is_named = names
            .iter()
            .any(|name| matches!(name, SubjectAlternativeName::Dns(name) if name.eq_ignore_ascii_case(&self.san_dns)));
        is_named.then(|| chain.valid_until())
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

/// Whom a listener believes at present; empty: nobody. Its connections share it.
pub(crate) type BelievedProxy = ArcSwapOption<ForwardedCertificateSettings>;

/// What the peer of a connection may forward.
#[derive(Debug, Default)]
pub(crate) struct Forwarding {
    believed: Arc<BelievedProxy>,
    /// The last yes to the proxy's certificate.
    verdict: Mutex<Option<ProxyVerdict>>,
}

/// Why the proxy's certificate was accepted, and how long that holds.
#[derive(Debug)]
struct ProxyVerdict {
    settings: Arc<ForwardedCertificateSettings>,
    valid_until: Timestamp,
}

impl Forwarding {
    /// What a peer of the listener that `believed` is of may forward.
    pub(crate) fn of(believed: &Arc<BelievedProxy>) -> Forwarding {
        Forwarding {
            believed: Arc::clone(believed),
            verdict: Mutex::default(),
        }
    }

    /// Whether the peer is the proxy: `Ok` with its name for operators.
    fn judge(
        &self,
        settings: &Arc<ForwardedCertificateSettings>,
        connection: &Connection,
    ) -> Result<String, ForwardingError> {
        let Some(proxy) = &settings.proxy else {
            return Ok(connection.remote_addr().ip().to_string());
        };
        let mut verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        let still_holds = verdict.as_ref().is_some_and(|verdict| {
            Arc::ptr_eq(&verdict.settings, settings) && proxy.clock.now() <= verdict.valid_until
        });
        if !still_holds {
            *verdict = proxy.verify(connection.presented()).map(|valid_until| ProxyVerdict {
                settings: Arc::clone(settings),
                valid_until,
            });
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
    let believed = connection.facts.forwarding.believed.load();
    let presented = match &*believed {
        Some(settings) if may_be(settings, connection) => read(settings, connection, request.headers()),
        _ => None,
    };
    let headers = request.headers_mut();
    headers.remove(&CLIENT_CERT);
    headers.remove(&CLIENT_CERT_CHAIN);
    if let Some(presented) = presented {
        request.extensions_mut().insert(presented);
    }
}

/// Whether the peer's address is one of the proxy's.
fn may_be(settings: &ForwardedCertificateSettings, connection: &Connection) -> bool {
    let address = connection.remote_addr().ip().to_canonical();
    settings.from.is_empty() || settings.from.iter().any(|range| range.contains(&address))
}

/// What was presented behind the proxy; `None` leaves it at the connection's own certificate.
fn read(
    settings: &Arc<ForwardedCertificateSettings>,
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
