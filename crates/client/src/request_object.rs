//! Signed request objects (RFC 9101) and signed backchannel requests (CIBA Core §7.1.1): the same parameters, as claims.

use std::sync::Arc;
use std::time::Duration;

use keybound_protocol::client::ClientId;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::signer::{Signer, SigningError};
use keybound_protocol::time::Timestamp;
use keybound_protocol::unsigned_jwt::UnsignedJwt;
use serde_json::{Map, Value, json};

/// How long a request object is good: it is sent at once.
pub const REQUEST_OBJECT_LIFETIME: Duration = Duration::from_secs(300);

/// The `typ` of request objects (RFC 9101 §10.8).
const REQUEST_OBJECT_TYPE: &str = "oauth-authz-req+jwt";

/// Parameters whose value is JSON and not text.
const JSON_PARAMETERS: [&str; 2] = ["authorization_details", "claims"];
/// Parameters whose value is a number.
const NUMBER_PARAMETERS: [&str; 2] = ["max_age", "requested_expiry"];

/// The key that signs a client's requests, and where their identifiers come from.
#[derive(Clone)]
pub struct RequestObjectKey {
    signer: Arc<dyn Signer>,
    new_object_id: Arc<dyn Fn() -> String + Send + Sync>,
}

impl RequestObjectKey {
    /// Signs with `signer`. Every call of `new_object_id` returns a `jti` that was never used: 128 random bits will do.
    pub fn new(
        signer: Arc<dyn Signer>,
        new_object_id: impl Fn() -> String + Send + Sync + 'static,
    ) -> RequestObjectKey {
        RequestObjectKey {
            signer,
            new_object_id: Arc::new(new_object_id),
        }
    }

    /// The request object of `parameters`, made out to `issuer`.
    ///
    /// `request` and `request_uri` are never among the parameters (RFC 9101 §4). A parameter that occurs more than once becomes a list.
    pub(crate) fn sign(
        &self,
        parameters: &[(&'static str, String)],
        client_id: &ClientId,
        issuer: &Issuer,
        now: Timestamp,
    ) -> Result<String, SigningError> {
        let mut claims = Map::new();
        for (name, value) in parameters {
            let value = match *name {
                name if JSON_PARAMETERS.contains(&name) => serde_json::from_str(value).unwrap_or_else(|_| json!(value)),
                name if NUMBER_PARAMETERS.contains(&name) => {
                    value.parse().map_or_else(|_| json!(value), |it: u64| json!(it))
                }
                _ => json!(value),
            };
            match claims.get_mut(*name) {
                None => {
                    claims.insert((*name).to_owned(), value);
                }
                Some(Value::Array(values)) => values.push(value),
                Some(first) => *first = json!([first.take(), value]),
            }
        }
        claims.insert("client_id".to_owned(), json!(client_id));
        claims.insert("iss".to_owned(), json!(client_id));
        claims.insert("aud".to_owned(), json!(issuer));
        claims.insert("jti".to_owned(), json!((self.new_object_id)()));
        claims.insert("iat".to_owned(), json!(now));
        claims.insert("nbf".to_owned(), json!(now));
        claims.insert("exp".to_owned(), json!(now.plus(REQUEST_OBJECT_LIFETIME)));

        UnsignedJwt::new(&*self.signer, REQUEST_OBJECT_TYPE, &Value::Object(claims)).sign(&*self.signer)
    }
}

impl std::fmt::Debug for RequestObjectKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RequestObjectKey")
            .field("signer", &self.signer)
            .finish_non_exhaustive()
    }
}
