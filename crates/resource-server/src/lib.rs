//! Checks bound access tokens at a protected resource (RFC 8705 §3, RFC 9449 §7, RFC 6750, RFC 9068, RFC 7662).
//!
//! [`ResourceServer::check`] decides about one request: synchronously where the token is known or its issuer's keys are here,
//! else with a future. [`AccessTokenLayer`] is the same as a tower layer. Tokens of any number of issuers are taken, ours or
//! others', validated locally or by introspection; audience, scopes and the treatment of the binding are set per route.
//!
//! Deliberately not here: any judgement of the client certificate (RFC 8705 §6.2: the token's binding is what counts), any way to
//! read a certificate from a header (whoever terminates TLS hands in a
//! [`PresentedCertificate`](keybound_protocol::peer_certificate::PresentedCertificate)), sockets, and any cache of "this request
//! was fine".
//!
//! Read in this order: [`route_policy`], [`caller`], [`settings`], [`limits`], `resource_server.rs` (the check) with
//! [`presentation`], [`seen_proofs`] and what lies below it,
//! `issuer_state.rs`, `issuer_keys.rs` with `fetch_schedule.rs`, `introspector.rs`, `cached_token.rs`, [`deny_list`] with
//! [`revocation_follower`], [`refusal`],
//! [`metadata_document`], [`layer`]. `examples/axum.rs` is a whole protected resource.

pub mod accepted_token;
mod cached_token;
pub mod caller;
pub mod deny_list;
mod fetch_schedule;
pub mod interaction_id;
mod introspector;
mod issuer_keys;
mod issuer_state;
pub mod layer;
pub mod limits;
pub mod metadata_document;
mod moment;
pub mod presentation;
pub mod refusal;
mod resource_server;
pub mod revocation_follower;
pub mod route_policy;
pub mod seen_proofs;
pub mod settings;

/// What settings are made of; a gateway needs no other way to it.
pub use keybound_client as client;

pub use accepted_token::{AcceptedAccessToken, BearerAccessToken, BoundAccessToken};
pub use cached_token::LastToken;
pub use caller::Caller;
pub use deny_list::{DENIALS_MAX, Denial, DenialKeys, DeniedSubject, DenyList, DenyListFull};
pub use layer::{AccessTokenLayer, AccessTokenService, response_to};
pub use limits::{Limits, REVOCATIONS_PAUSE_MAX, REVOCATIONS_REQUEST_MAX};
pub use metadata_document::{MetadataDocument, NoMetadataUrl};
pub use presentation::{DPOP, DPOP_NONCE};
pub use refusal::{AccessTokenRefusal, Refused};
pub use resource_server::{Check, PendingCheck, ResourceServer, RunningToken, Verdict};
pub use revocation_follower::{RevocationFollower, RevocationReadError, RevocationStanding};
pub use route_policy::{Binding, DPOP_ALGORITHMS, Dpop, RoutePolicy};
pub use seen_proofs::SeenProofs;
pub use settings::{IssuerSettings, KeySource, OnStale, RevocationSettings, SettingsError, Validation};
