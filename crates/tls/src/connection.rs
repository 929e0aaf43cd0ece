//! What is known about one connection.

use std::{
    any::Any,
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use http::Extensions;
use keybound_protocol::peer_certificate::PresentedCertificate;

use crate::{
    Counters, InterimResponses, LayerRefusal, Limits, authority::ServedHosts, deadline::Deadline,
    forwarded_certificate::Forwarding, interim_responses::InterimQueue,
};

/// The version of TLS of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// One accepted connection: who is at the other end and what its handshake proved. Shared by all its requests.
pub struct Connection {
    pub(crate) facts: ConnectionFacts,
    pub(crate) deadline: Deadline,
    pub(crate) interims: InterimQueue,
    /// Set once by the screen below hyper; nothing is read from the peer afterwards.
    refusal: OnceLock<LayerRefusal>,
    slot: OnceLock<Box<Slot>>,
}

/// What is fixed once the handshake is done.
pub(crate) struct ConnectionFacts {
    pub(crate) listener: Arc<str>,
    pub(crate) policy: Arc<str>,
    pub(crate) remote_addr: SocketAddr,
    pub(crate) local_addr: SocketAddr,
    pub(crate) server_name: Option<Box<str>>,
    pub(crate) tls_version: Option<TlsVersion>,
    pub(crate) http2: bool,
    pub(crate) presented: PresentedCertificate,
    pub(crate) limits: Arc<Limits>,
    pub(crate) counters: Arc<Counters>,
    /// The number of its runtime.
    pub(crate) runtime: usize,
    /// `None` on a plain listener, which answers for any host.
    pub(crate) served_hosts: Option<ServedHosts>,
    pub(crate) forwarding: Forwarding,
}

struct Slot {
    value: Box<dyn Any + Send + Sync>,
    next: OnceLock<Box<Slot>>,
}

impl Connection {
    pub(crate) fn new(facts: ConnectionFacts, deadline: Deadline) -> Connection {
        Connection {
            facts,
            deadline,
            interims: InterimQueue::default(),
            refusal: OnceLock::new(),
            slot: OnceLock::new(),
        }
    }

    /// A connection that no socket backs, for tests that call a service directly.
    pub fn unconnected(presented: PresentedCertificate) -> Connection {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let facts = ConnectionFacts {
            listener: "unconnected".into(),
            policy: "unconnected".into(),
            remote_addr: nowhere,
            local_addr: nowhere,
            server_name: None,
            tls_version: None,
            http2: false,
            presented,
            limits: Arc::new(Limits::default()),
            counters: Arc::new(Counters::new(1)),
            runtime: 0,
            served_hosts: None,
            forwarding: Forwarding::default(),
        };
        Connection::new(facts, Deadline::default())
    }

    /// The peer's address, which may be a proxy's.
    pub fn remote_addr(&self) -> SocketAddr {
        self.facts.remote_addr
    }

    /// Our address on this connection.
    pub fn local_addr(&self) -> SocketAddr {
        self.facts.local_addr
    }

    /// The name of the listener that accepted it, as in its settings.
    pub fn listener(&self) -> &str {
        &self.facts.listener
    }

    /// The name of the [`HostPolicy`](crate::HostPolicy) that the server name chose; on a plain listener, its name.
    pub fn policy(&self) -> &str {
        &self.facts.policy
    }

    /// The server name (SNI) the client asked for, lower case, if any.
    pub fn server_name(&self) -> Option<&str> {
        self.facts.server_name.as_deref()
    }

    /// The TLS version; `None` on a plain listener.
    pub fn tls_version(&self) -> Option<TlsVersion> {
        self.facts.tls_version
    }

    /// Whether HTTP/2 is spoken.
    pub fn is_http2(&self) -> bool {
        self.facts.http2
    }

    /// What the *peer of this connection* presented. Behind a configured proxy that is the proxy:
    /// services use [`presented_for`](Self::presented_for).
    pub fn presented(&self) -> &PresentedCertificate {
        &self.facts.presented
    }

    /// What was presented for one request: the forwarded certificate if the peer is a configured proxy, else the
    /// connection's own. `extensions` are those of the request.
    pub fn presented_for<'a>(&'a self, extensions: &'a Extensions) -> &'a PresentedCertificate {
        // Extensions hold this type only where a proxy is configured, and only this crate puts it there; for every other
        // request the map is empty and the look-up free.
        extensions
            .get::<PresentedCertificate>()
            .unwrap_or(&self.facts.presented)
    }

    /// A value of the caller's own, made at first use and kept with the connection: for caches of what was last decided
    /// here. One per type.
    pub fn state<T: Default + Send + Sync + 'static>(&self) -> &T {
        let mut place = &self.slot;
        loop {
            let slot = place.get_or_init(|| {
                Box::new(Slot {
                    value: Box::new(T::default()),
                    next: OnceLock::new(),
                })
            });
            match slot.value.downcast_ref::<T>() {
                Some(value) => return value,
                None => place = &slot.next,
            }
        }
    }

    /// What sends interim responses for the request in progress. `None` if its peer speaks HTTP/2, which hyper does not let us
    /// interrupt, or HTTP/1.0, which has none; and between requests.
    pub fn interim_responses(self: &Arc<Self>) -> Option<InterimResponses> {
        InterimResponses::of(self)
    }

    /// Cuts the connection at once, whatever is under way: a token that bound it has expired or been revoked.
    pub fn close(&self) {
        self.deadline.cut();
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.facts.limits
    }

    /// Counts and logs a request that the transport refuses.
    pub(crate) fn note_refused(&self, refusal: &LayerRefusal) {
        self.facts.counters.request_refused(refusal);
        tracing::info!(
            listener = self.listener(),
            remote = %self.remote_addr(),
            reason = %refusal,
            "request refused"
        );
    }

    /// What the screen refused, if anything.
    pub(crate) fn refusal(&self) -> Option<&LayerRefusal> {
        self.refusal.get()
    }

    pub(crate) fn record_refusal(&self, refusal: LayerRefusal) {
        // The first refusal is the reason; whatever follows is its consequence.
        let _ = self.refusal.set(refusal);
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Connection")
            .field("listener", &self.facts.listener)
            .field("policy", &self.facts.policy)
            .field("remote_addr", &self.facts.remote_addr)
            .field("server_name", &self.facts.server_name)
            .finish_non_exhaustive()
    }
}
