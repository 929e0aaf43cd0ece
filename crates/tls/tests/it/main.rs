//! Requirement tests of the transport, on real sockets.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and the backtrace says where"
)]

mod connections;
mod displaced_handshakes;
mod forwarded_certificate;
mod framing;
mod framing_cases;
mod guarded_fetch;
mod guarded_fetch_peers;
mod handshake;
mod http2;
mod http_client;
mod interim_responses;
mod limits;
mod misdirected;
mod operation;
mod peers;
mod pki;
mod server_name;
mod support;
