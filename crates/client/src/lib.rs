//! The client of RFC 8705: gets certificate-bound access tokens and uses them, introspects, discovers.
//!
//! [`Client`] is a client of one authorization server. It finds the endpoints that are meant for mutual TLS, sends `client_id` with
//! every form, holds one token per certificate, and asks for a new one when its certificate changes. An [`AccessToken`] is sent
//! over the connections of the [`Identity`] that obtained it and over no others: there is no function that takes both.
//!
//! For users it asks by way of a browser ([`authorization_request`], [`authorization_response`]), of another device or of the server
//! ([`polling`]), and holds what they granted ([`held_grant`]). After an answer that is not to be believed it sends nothing more.
//!
//! Deliberately not here: browsers and listeners for their answers, server logic, any decision about certificates.
//!
//! Where there is no mutual TLS a [`DpopKey`] takes the certificate's place (RFC 9449).
//!
//! Read in this order: [`identity`], [`access_token`], [`dpop_key`], [`discovery`], [`authorization_server`], [`client_authentication`],
//! `exchange.rs`, [`token_response`], `token_cache.rs`, [`client`] with `client/protected_resource.rs`; then `client/authorization_code.rs`
//! with [`request_object`], [`id_token`]; `client/approval.rs`, `client/token_grants.rs`, [`held_grant`]; [`registrations`]; [`error`], [`trace`].

pub mod access_token;
pub mod authorization_request;
pub mod authorization_response;
pub mod authorization_server;
pub mod backchannel_authentication;
pub mod client;
pub mod client_authentication;
pub mod device_authorization;
pub mod discovery;
pub mod dpop_key;
pub mod error;
mod exchange;
pub mod held_grant;
pub mod id_token;
pub mod identity;
pub mod polling;
pub mod registrations;
pub mod request_object;
mod token_cache;
pub mod token_exchange;
pub mod token_response;
pub mod trace;

pub use access_token::AccessToken;
pub use authorization_request::{AuthorizationRequest, AuthorizationSecrets, PendingAuthorization};
pub use authorization_response::{AuthorizationRefusal, AuthorizationResponseError};
pub use authorization_server::{AuthorizationServer, METADATA_REFRESH_AFTER, METADATA_RETRY_AFTER};
pub use backchannel_authentication::{BackchannelRequest, UserHint};
pub use client::{Client, ClientSettings, TokenRequest};
pub use client_authentication::{AssertionKey, ClientAuthentication, ClientSecret};
pub use device_authorization::DeviceAuthorization;
pub use discovery::Discovery;
pub use dpop_key::DpopKey;
pub use error::{ClientError, DiscoveryError, EndpointRefusal, ResponseError};
pub use exchange::RESPONSE_BYTES_MAX;
pub use held_grant::HeldGrant;
pub use id_token::{ExpectedNonce, IdToken, IdTokenError, IdTokenPolicy};
pub use identity::Identity;
pub use polling::{PendingApproval, Poll};
pub use registrations::{Registrations, RegistrationsCallError, RegistrationsError};
pub use request_object::RequestObjectKey;
pub use token_cache::{RENEW_BEFORE, TOKENS_MAX};
pub use token_exchange::TokenExchange;
pub use token_response::{RefreshToken, TokenResponse};
pub use trace::{Trace, TracedRequest, TracedResponse};

/// What identities, discovery and clocks are made of.
pub use keybound_tls::{
    Clock, GuardedFetch, GuardedFetchSettings, HttpClientSettings, Identity as CertificateAndKey, IncomingBody,
    OutgoingBody, PemError, RequestError, Roots,
};
