//! A reverse proxy that checks certificate-bound access tokens in front of any upstream.
//!
//! What is here: routes, the one canonical path that policy and forwarding share, what is removed from a request and what
//! is added to it, the streaming leg to HTTP/1.1 upstreams, refusals with ids, and the operations pages.
//!
//! What is deliberately not here: judging tokens (`keybound_resource_server`), sockets, TLS and the refusal of ambiguous
//! framing (`keybound_tls`), reading `gateway.toml` (`keybound_cli`).
//!
//! Read in this order: [`settings`], [`gateway`], [`resource_service`] (one request, step by step), `forward`,
//! [`canonical_path`], `request_head` with `field_names`, `identity_fields` and `response_head`, then `upstream` with
//! `request_body` and `response_body`, and last `refused`, `resource_metadata`, `running`, `tunnel`.
//!
//! What an upstream may rely on:
//! - `Client-Cert`, `Keybound-…`, `Forwarded` and `X-Forwarded-For`, `-Host`, `-Proto` are the gateway's word; what a caller
//!   sends under such a name, in any spelling, never arrives, whether or not the gateway has a word of its own to say.
//!   `Forwarded` and `X-Forwarded-For` name the peer of the gateway alone; a proxy before the gateway is that peer.
//! - `Host` is the host the caller asked for. Claims in `Keybound-…` are percent-encoded where they are not visible ASCII.
//! - The path is the one that was checked. It arrives normalised, and ambiguous paths don't arrive.
//! - Trailers arrive if `Trailer` announced them.
//! - Interim answers (1xx) are passed on to HTTP/1.1 callers. For HTTP/2, hyper has no way to send them.

pub mod canonical_path;
mod cookies;
mod demo;
mod field_names;
mod forward;
pub mod gateway;
mod identity_fields;
mod lane;
pub mod limits;
mod metrics;
pub mod operations;
pub mod reason;
pub mod refusals;
mod refused;
mod request_body;
mod request_head;
mod request_log;
mod resource_metadata;
pub mod resource_service;
mod response_body;
mod response_head;
mod route;
mod running;
pub mod settings;
mod trailers;
mod tunnel;
pub mod upstream;

pub use canonical_path::PathError;
pub use gateway::{Environment, FillRandom, Gateway};
pub use limits::Limits;
pub use operations::OperationsService;
pub use reason::Reason;
pub use refusals::Refusals;
pub use refused::KEYBOUND_REFUSAL;
pub use resource_service::ResourceService;
pub use settings::{
    Authorization, ClientCert, GatewaySettings, LongRunning, RouteSettings, SettingsError, UpstreamOrigin,
    UpstreamOriginError, UpstreamSettings,
};
pub use upstream::UpstreamError;
