//! What a client gets: one file per `grant_type`. Each decides and changes nothing.

pub(crate) mod client_credentials;
