//! Requirement tests of the gateway, on real sockets: a listener with TLS before it, an upstream behind it.
#![expect(clippy::unwrap_used, reason = "a failing test panics")]

mod admission;
mod ambiguity;
mod answers;
mod dpop;
mod expiry;
mod fapi2_resource;
mod forgery;
mod harness;
mod http2;
mod interim;
mod operations;
mod paths;
#[path = "../../../client/tests/it/prover.rs"]
mod prover;
mod resource_metadata;
mod running;
mod streaming;
mod upgrade;
mod upstream_failures;
