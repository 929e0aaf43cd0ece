//! The client against servers on real sockets.

#![expect(clippy::unwrap_used, reason = "a failing test panics")]

mod discovery;
mod errors;
mod identities;
mod pki;
mod private_key_jwt;
mod protected_resource;
mod requests;
mod site;
mod support;
mod token_issuer;
mod tokens;
