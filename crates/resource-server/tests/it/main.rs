//! The resource server: each rule against the nearest request that must be refused, on values and on real sockets.

#![expect(clippy::unwrap_used, reason = "a failing test panics")]

mod bearer;
mod binding;
mod deny_list;
mod dpop;
mod interleavings;
mod introspection;
mod introspection_failures;
mod introspection_shares;
mod issuer_keys;
mod layer;
mod local_validation;
mod metadata;
mod party;
#[path = "../../../client/tests/it/pki.rs"]
mod pki;
#[path = "../../../client/tests/it/prover.rs"]
mod prover;
mod revocations;
mod running_token;
#[path = "../../../client/tests/it/site.rs"]
mod site;
mod stolen_token;
mod support;
#[path = "../../../client/tests/it/token_issuer.rs"]
mod token_issuer;
