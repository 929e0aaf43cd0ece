//! Requirement tests of keybound-protocol, one binary. Each names with `// covers` the requirements that it shows.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod appendix_a;
mod chains;
mod der;
mod names;
mod pki;
mod rfc8705_2_1;
mod rfc8705_2_2;
mod subject_alternative_names;
mod x509;
