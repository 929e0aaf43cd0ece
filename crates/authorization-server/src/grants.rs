//! What a client gets: one file per `grant_type`.
//!
//! Each decides by reading, then spends what is used once, then hands out. [`share`] says how much of what a user allowed one token
//! gets, and [`issue`] is the end that all grants of users have in common.

pub(crate) mod approval;
pub(crate) mod authorization_code;
pub(crate) mod client_credentials;
pub(crate) mod issue;
pub(crate) mod refresh_token;
pub(crate) mod share;
pub(crate) mod token_exchange;
