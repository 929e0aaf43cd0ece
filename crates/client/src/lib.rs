//! The client of RFC 8705: gets certificate-bound access tokens and uses them, introspects, discovers.
//!
//! [`Client`] is a client of one authorization server. It finds the endpoints that are meant for mutual TLS, sends `client_id` with
//! every form, holds one token per certificate, and asks for a new one when its certificate changes. An [`AccessToken`] is sent
//! over the connections of the [`Identity`] that obtained it and over no others: there is no function that takes both.
//!
//! Deliberately not here: grants that need a browser, server logic, any decision about certificates.
//!
//! Read in this order: [`identity`], [`access_token`], [`discovery`], [`authorization_server`], [`client_authentication`],
//! `exchange.rs`, `token_cache.rs`, [`client`] with `client/protected_resource.rs`, [`error`], [`trace`].

pub mod access_token;
pub mod authorization_server;
pub mod client;
pub mod client_authentication;
pub mod discovery;
pub mod error;
mod exchange;
pub mod identity;
mod token_cache;
pub mod trace;

pub use access_token::AccessToken;
pub use authorization_server::{AuthorizationServer, METADATA_REFRESH_AFTER, METADATA_RETRY_AFTER};
pub use client::{Client, ClientSettings, TokenRequest};
pub use client_authentication::{AssertionKey, ClientAuthentication};
pub use discovery::Discovery;
pub use error::{ClientError, DiscoveryError, EndpointRefusal, ResponseError};
pub use exchange::RESPONSE_BYTES_MAX;
pub use identity::Identity;
pub use token_cache::{RENEW_BEFORE, TOKENS_MAX};
pub use trace::{Trace, TracedRequest, TracedResponse};

/// What identities, discovery and clocks are made of.
pub use keybound_tls::{
    Clock, GuardedFetch, GuardedFetchSettings, HttpClientSettings, Identity as CertificateAndKey, IncomingBody,
    OutgoingBody, PemError, RequestError, Roots,
};
