//! The authorization server of RFC 6749 and RFC 8705: endpoints, client authentication, grants, admin API.
//!
//! [`AuthorizationServer`] is made of [`Settings`] and an [`Environment`]; its [`service`](AuthorizationServer::service) answers the
//! public and the mutual-TLS listener, its [`operations_service`](AuthorizationServer::operations_service) the
//! operations listener. The listeners are
//! opened by the caller, through `keybound-tls`.
//!
//! Deliberately not here: the rules themselves (each verdict is a function of `keybound-protocol`), SQL, sockets and TLS, and any
//! file: settings are values.
//!
//! Read one token request in this order: [`service`] → `router` → `endpoints/token.rs` → `client_authentication.rs` →
//! `grants/client_credentials.rs` → `access_tokens.rs`; what goes wrong passes through `error.rs` and `refusals.rs`. Then
//! `server.rs`, which puts the parts together, and `admin.rs`, the protected resource inside.
//!
//! A user's way begins in `endpoints/authorization.rs` and goes through `interaction.rs` and `pages.rs`; what comes of it is redeemed in
//! `grants/authorization_code.rs`, and every user's grant ends in `grants/issue.rs`.

mod access_tokens;
mod admin;
mod answer_time;
pub mod approvals;
mod authorization_requests;
mod authorization_responses;
mod client_authentication;
mod client_deletion;
mod client_secrets;
mod clients;
mod configuration;
mod consent_codes;
mod cors;
mod dpop;
mod endpoints;
mod error;
mod explanation;
mod grants;
mod health;
mod id_tokens;
mod interaction;
mod key_sets;
pub mod limits;
mod metrics;
pub mod operations;
mod pages;
mod passwords;
mod protected_resource;
mod rate_limit;
mod refusals;
mod registration;
mod request_log;
pub mod resources;
mod response;
mod router;
pub mod server;
pub mod service;
pub mod settings;
mod signing_keys;
mod silent_authorization;
mod token_response;
mod trust;
mod trusted_issuers;
mod upstream;
pub mod users;

pub use limits::Limits;
pub use operations::OperationsService;
pub use passwords::{PASSWORD_BYTES_MAX, PASSWORD_CHARACTERS_MIN, Password, PasswordHashingError};
pub use rate_limit::TooMany;
pub use resources::admin_resource;
pub use router::client_endpoints;
pub use server::{AuthorizationServer, StartError};
pub use service::{AuthorizationService, MUTUAL_TLS, PUBLIC};
pub use settings::{
    ACCESS_TOKEN_LIFETIME_MAX, AuthorizationSettings, ClientPolicy, Environment, InitialAccessToken,
    REGISTRATION_METHODS, RegistrationSettings, ResourceSettings, ScopeSettings, Settings, TokenExchangeSettings,
    TokenSettings, TrustedKeys,
};
pub use signing_keys::{PUBLISHED_BEFORE_SIGNING, SigningKeysError};
pub use upstream::UpstreamProvider;
pub use users::UserDirectory;
