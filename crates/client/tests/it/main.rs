//! The client against servers on real sockets.

#![expect(clippy::unwrap_used, reason = "a failing test panics")]

mod approvals;
mod authorization_code;
mod authorization_responses;
mod discovery;
mod dpop;
mod errors;
mod held_grants;
mod id_tokens;
mod identities;
mod pki;
mod private_key_jwt;
mod protected_resource;
mod registrations;
mod requests;
mod script;
mod site;
mod support;
mod token_issuer;
mod tokens;
