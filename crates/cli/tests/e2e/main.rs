//! The whole system on real sockets: the binary as a user runs it, peers that are not ours.
//!
//! Every test has its own directory and its own ports, so any order and any number at once will do.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod bad_input;
mod browser_pages;
mod causes;
mod command_line;
mod configuration_errors;
mod configured_limits;
mod daemons;
mod dpop;
mod forwarded;
mod initialised;
mod installation;
mod node_process;
mod one_connection;
mod opaque;
mod openssl;
mod operator_files;
mod output;
mod page_visitor;
mod peers;
#[path = "../../../client/tests/it/prover.rs"]
mod prover;
mod quickstart;
mod registration;
mod replayed_codes;
mod revocations;
mod scene;
mod scripted_server;
mod tls_versions;
mod token_exchange;
mod token_grants;
mod upstream_sign_in;
mod user_grants;
mod version_1_certificates;
mod waiting_command;
