//! The rules of RFC 8705 and its neighbours: values in, verdict out.

pub mod certificate;
pub mod client_cert_header;
pub mod confirmation;
pub mod peer_certificate;
pub mod rule;
pub mod time;
