//! The rules of RFC 8705 and its neighbours: values in, verdict out.

pub mod base64url;
pub mod bearer;
pub mod certificate;
pub mod client_cert_header;
pub mod confirmation;
pub mod distinguished_name;
pub mod endpoint;
pub mod error_code;
pub mod issuer;
pub mod json;
pub mod jwk;
pub mod jwk_set;
pub mod jws;
pub mod peer_certificate;
pub mod public_key;
pub mod resource;
pub mod rule;
pub mod scope;
pub mod signature_algorithm;
pub mod signer;
pub mod subject_alternative_name;
pub mod subject_rule;
pub mod time;
