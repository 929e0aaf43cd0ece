//! The rules of RFC 8705 and its neighbours: values in, verdict out.
//!
//! Every judgement that Keybound makes is a function here: octets, a policy and `now` in; a value that proves something, or one
//! variant per reason, out. Deliberately absent: sockets, files, clocks, ambient randomness, async, and TLS, which proves
//! possession elsewhere and hands over a [`PeerCertificate`](peer_certificate::PeerCertificate).
//!
//! In the order of a token request: [`peer_certificate`] (what was presented), [`client`] and [`client_metadata`] (what is
//! registered), [`client_authentication`] with a module per method ([`tls_client_auth`], [`self_signed_tls_client_auth`],
//! [`client_assertion`], [`client_secret`] with [`secret`]), [`form`] and [`token_request`] (what is asked), [`confirmation`] (the
//! binding), [`access_token`] and [`introspection`], [`introspection_jwt`] (the answer). Who cannot do mutual TLS proves a key by
//! [`dpop_proof`] with [`http_uri`] and [`dpop_nonce`]. A protected resource reads [`bearer`], [`access_token`],
//! [`confirmation`], [`challenge`], follows [`revocation_feed`], and says what it is in [`protected_resource_metadata`]. JOSE lies below in [`jws`],
//! [`jwk_set`], [`signer`], [`json`]; names and paths in [`distinguished_name`], [`subject_alternative_name`],
//! [`certificate_chain`]; who signs in in [`user`]. Whatever is refused ends as an [`error_code`] for the peer and a [`refusal`] for the operator.

pub mod access_token;
pub mod authentication_method;
pub mod authorization_details;
pub mod authorization_request;
pub mod authorization_response;
pub mod backchannel_authentication;
pub mod base64url;
pub mod bearer;
pub mod certificate;
pub mod certificate_chain;
pub mod certificate_file;
pub mod certificate_revocation_list;
pub mod challenge;
pub mod claims_request;
pub mod client;
pub mod client_assertion;
pub mod client_authentication;
pub mod client_cert_header;
pub mod client_metadata;
pub mod client_secret;
pub mod confirmation;
pub mod device_authorization;
pub mod digest;
pub mod distinguished_name;
pub mod dpop_nonce;
pub mod dpop_proof;
pub mod endpoint;
pub mod error_code;
pub mod form;
pub mod grant_id;
pub mod grant_type;
pub mod http_uri;
pub mod id_token;
pub mod introspection;
pub mod introspection_jwt;
pub mod issuer;
pub mod json;
pub mod jwk;
pub mod jwk_set;
pub mod jws;
pub mod key_thumbprint;
pub mod peer_certificate;
pub mod pkce;
pub mod profile;
pub mod protected_resource_metadata;
pub mod public_key;
pub mod redirect_uri;
pub mod refusal;
pub mod request_object;
pub mod resource;
pub mod revocation_feed;
pub mod rule;
pub mod scope;
pub mod secret;
pub mod self_signed_tls_client_auth;
mod serde_as_text;
pub mod server_metadata;
pub mod signature_algorithm;
pub mod signer;
pub mod software_statement;
pub mod subject_alternative_name;
pub mod subject_rule;
pub mod thumbprint;
pub mod time;
pub mod tls_client_auth;
pub mod token_exchange;
pub mod token_request;
pub mod token_revocation;
pub mod trust_anchor;
pub mod unsigned_jwt;
pub mod user;
pub mod userinfo;
pub mod words;
