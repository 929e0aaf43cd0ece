//! Requirement tests of keybound-protocol, one binary. Each names with `// covers` the requirements that it shows.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access_tokens;
mod appendix_a;
mod bearer;
mod chains;
mod client_assertions;
mod client_cert_header;
mod client_metadata;
mod der;
mod dpop_proofs;
mod error_codes;
mod explanations;
mod forms;
mod fuzz_corpora;
mod introspection;
mod jose;
mod jwk_sets;
mod jwt;
mod jwt_mutations;
mod names;
mod oauth_properties;
mod openssl_certificates;
mod oracles;
mod oracles_names;
mod oracles_paths;
mod pki;
mod protected_resource_metadata;
mod revocation;
mod rfc8705_2_1;
mod rfc8705_2_2;
mod rfc8705_3_1;
mod server_metadata;
mod subject_alternative_names;
mod x509;
