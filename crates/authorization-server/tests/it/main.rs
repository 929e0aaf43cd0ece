//! The authorization server as its peers see it: real sockets, real handshakes, answers, headers, and the recorded reasons.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod admin;
mod admin_anchors;
mod admin_nouns;
mod admin_places;
mod admin_users;
mod answer_time;
mod client_secrets;
mod forwarded;
mod late_bodies;
mod metadata;
mod method_matrix;
mod operations;
mod operations_paths;
mod path_work;
mod pki;
mod refusal_records;
mod registration;
mod registration_management;
mod registration_policies;
mod revocations;
mod rfc6749;
mod rfc7523;
mod rfc7662;
mod rfc8705_2;
mod rfc8705_2_1;
mod rfc8705_2_2;
mod rfc8705_3;
mod rfc9126;
mod rfc9701;
mod signing_algorithms;
mod store_away;
mod store_between;
mod users;
mod world;
