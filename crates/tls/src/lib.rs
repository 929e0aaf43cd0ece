//! Sockets and TLS: accept with an optional client certificate, dial out, reload.
//!
//! This is the only crate that touches rustls and hyper's connections; no type of either library's TLS side appears in a
//! public signature. What is here:
//!
//! * [`Listener`]: one for all daemons. A handshake that proves possession of the client's key and decides nothing else,
//!   a screen that rejects ambiguous HTTP instead of repairing it, every limit of [`Limits`], the 421 rule, reload, drain.
//! * [`HttpClient`]: outgoing HTTPS, one connection pool per identity.
//! * [`operator_file`]: files that an operator names, bounded.
//! * [`GuardedFetch`]: the only way to fetch a URL that somebody else chose.
//!
//! What is deliberately not here: any opinion about *who* a client is. A [`PresentedCertificate`] says that a key was
//! proven (or that a named proxy said so); authorization server and resource server judge it.
//!
//! Read in this order: [`service`], [`connection`], `listener`, `listener/accept.rs`, `client_certificate_verifier`,
//! `request_framing`, `screened_stream`, [`interim_responses`], `authority`, [`forwarded_certificate`], then the outgoing half, `http_client`
//! and `guarded_fetch`.
//!
//! [`PresentedCertificate`]: keybound_protocol::peer_certificate::PresentedCertificate

mod authority;
pub mod body;
mod client_certificate_verifier;
pub mod clock;
pub mod connection;
pub mod counters;
mod deadline;
pub mod forwarded_certificate;
pub mod guarded_fetch;
mod http2_frames;
pub mod http_client;
pub mod identity;
pub mod interim_responses;
pub mod limits;
mod lingering_body;
pub mod listener;
pub mod listener_settings;
pub mod operator_file;
pub mod refusal;
mod request_framing;
pub mod runtimes;
mod screened_stream;
pub mod service;

pub use authority::names_this_machine;
pub use body::{BodyError, BoxError, OutgoingBody, RequestBody, ResponseBody};
pub use clock::Clock;
pub use connection::{Connection, TlsVersion};
pub use counters::{CounterSnapshot, Counters, HandshakeFailure};
pub use forwarded_certificate::{ForwardedCertificateSettings, ProxyCertificate};
pub use guarded_fetch::{FetchError, Fetched, GuardedFetch, GuardedFetchSettings, Resolver, Resolving};
pub use http_client::{HttpClient, HttpClientSettings, IncomingBody, RequestError};
pub use identity::{Identity, PemError, Roots, load_certificates};
pub use interim_responses::{InterimResponseError, InterimResponses};
pub use limits::Limits;
pub use listener::{BindError, Listener, ListenerHandle, PreparedReload};
pub use listener_settings::{
    ClientCertificatePolicy, Host, HostPolicies, HostPoliciesError, HostPolicy, ListenerSettings, Transport,
};
pub use operator_file::{OPERATOR_FILE_BYTES_MAX, OperatorFileError, REVOCATION_LISTS_BYTES_MAX};
pub use refusal::{FramingViolation, LayerRefusal};
pub use runtimes::Runtimes;
pub use service::Service;
