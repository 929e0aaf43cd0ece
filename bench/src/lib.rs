//! What Keybound is measured with and against. `cargo xtask bench` builds these programs, starts them and reads them:
//!
//! - `load`: makes requests over mutual TLS, with full handshakes, and counts right answers.
//! - `ceiling`: the least a token endpoint can do, one signature and a JSON answer; on demand also the rows of a code exchange.
//! - `verifying-proxy`: the least a proxy for bound tokens can do, one verification and a comparison per request.
//! - `upstream`: the API behind every proxy, as small as it can be.
//!
//! Each server runs on one thread, because it is measured on one core. Deliberately not here: anything the product
//! links. These programs cut every corner that the product must not.

pub mod arguments;
pub mod bound_token;
pub mod http1;
pub mod rows;
pub mod tls;
