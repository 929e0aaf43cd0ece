//! What the gateway tells the upstream about the caller, and where the request came from.
//!
//! Added after everything of the same name was removed, so that an upstream may take these fields for the gateway's word
//! and their absence for "not authenticated" (RFC 8705 §6.5, RFC 9440 §2.4).

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, HeaderName, HeaderValue};
use keybound_protocol::access_token::AccessTokenClaims;
use keybound_tls::Connection;

const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
const ISSUER: HeaderName = HeaderName::from_static("keybound-issuer");
const CLIENT_ID: HeaderName = HeaderName::from_static("keybound-client-id");
const SUBJECT: HeaderName = HeaderName::from_static("keybound-subject");
const SCOPE: HeaderName = HeaderName::from_static("keybound-scope");
const TOKEN_ID: HeaderName = HeaderName::from_static("keybound-token-id");
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// How many fields [`add_to`](CallerFields::add_to) may add.
pub(crate) const FIELDS_MAX: usize = 10;

/// The fields of one request.
#[derive(Debug)]
pub(crate) struct CallerFields {
    token: Arc<TokenFields>,
    origin: Arc<OriginFields>,
    client_cert: Option<HeaderValue>,
}

/// What the token said.
#[derive(Debug)]
struct TokenFields {
    issuer: HeaderValue,
    client_id: Option<HeaderValue>,
    subject: Option<HeaderValue>,
    scope: Option<HeaderValue>,
    token_id: Option<HeaderValue>,
}

/// Where the request came from and what for.
#[derive(Debug)]
struct OriginFields {
    host: HeaderValue,
    forwarded: HeaderValue,
    address: HeaderValue,
    scheme: HeaderValue,
}

/// What the last request on a connection needed: the next one nearly always needs the same.
#[derive(Debug, Default)]
struct Prepared {
    token: Mutex<Option<(Arc<AccessTokenClaims>, Arc<TokenFields>)>>,
    origin: Mutex<Option<Arc<OriginFields>>>,
}

impl CallerFields {
    /// The fields for a request that was accepted with `claims`, sent to `host`; with `client_cert`, the certificate too.
    pub(crate) fn new(
        connection: &Connection,
        claims: &Arc<AccessTokenClaims>,
        host: &HeaderValue,
        client_cert: Option<HeaderValue>,
    ) -> Self {
        let prepared = connection.state::<Prepared>();
        Self {
            token: prepared.token_fields(claims),
            origin: prepared.origin_fields(connection, host),
            client_cert,
        }
    }

    /// Adds them to a head from which every such field has been removed.
    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        headers.insert(FORWARDED, self.origin.forwarded.clone());
        headers.insert(X_FORWARDED_FOR, self.origin.address.clone());
        headers.insert(X_FORWARDED_HOST, self.origin.host.clone());
        headers.insert(X_FORWARDED_PROTO, self.origin.scheme.clone());
        headers.insert(ISSUER, self.token.issuer.clone());
        let optional = [
            (CLIENT_ID, &self.token.client_id),
            (SUBJECT, &self.token.subject),
            (SCOPE, &self.token.scope),
            (TOKEN_ID, &self.token.token_id),
            (CLIENT_CERT, &self.client_cert),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
    }
}

impl Prepared {
    fn token_fields(&self, claims: &Arc<AccessTokenClaims>) -> Arc<TokenFields> {
        let mut last = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            // The same allocation: the same verified claims, not merely equal ones.
            Some((known, fields)) if Arc::ptr_eq(known, claims) => Arc::clone(fields),
            _ => {
                let fields = Arc::new(TokenFields::new(claims));
                *last = Some((Arc::clone(claims), Arc::clone(&fields)));
                fields
            }
        }
    }

    fn origin_fields(&self, connection: &Connection, host: &HeaderValue) -> Arc<OriginFields> {
        let mut last = self.origin.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some(fields) if fields.host == host => Arc::clone(fields),
            _ => {
                let is_secure = connection.tls_version().is_some();
                let fields = Arc::new(OriginFields::new(connection.remote_addr(), is_secure, host));
                *last = Some(Arc::clone(&fields));
                fields
            }
        }
    }
}

impl TokenFields {
    fn new(claims: &AccessTokenClaims) -> Self {
        let optional = |text: &Option<String>| text.as_deref().map(|text| field_value(text, false));
        Self {
            issuer: field_value(&claims.issuer, false),
            client_id: optional(&claims.client_id),
            subject: optional(&claims.subject),
            // A scope's words are separated by blanks and contain none.
            scope: (!claims.scope.is_empty()).then(|| field_value(claims.scope.as_str(), true)),
            token_id: optional(&claims.token_id),
        }
    }
}

impl OriginFields {
    fn new(remote: SocketAddr, is_secure: bool, host: &HeaderValue) -> Self {
        let scheme = if is_secure { "https" } else { "http" };
        let address = remote.ip().to_canonical();
        let node = match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("\"[{address}]\""),
        };
        // The listener has checked that the host is a host; quoted, its port's colon is allowed (RFC 7239 §4).
        let forwarded = match host.to_str() {
            Ok(host) if !host.contains(['"', '\\']) => format!("for={node};host=\"{host}\";proto={scheme}"),
            _ => format!("for={node};proto={scheme}"),
        };
        Self {
            host: host.clone(),
            forwarded: field_value(&forwarded, true),
            address: field_value(&address.to_string(), false),
            scheme: HeaderValue::from_static(scheme),
        }
    }
}

/// `text` as a field value that cannot be anything but one value.
///
/// Claims are whatever an issuer put there. Visible ASCII stands for itself but for `%`; everything else, blanks included
/// unless `keep_blanks`, is percent-encoded as UTF-8, so that decoding gives the claim back.
fn field_value(text: &str, keep_blanks: bool) -> HeaderValue {
    let stands_for_itself = |byte: u8| byte.is_ascii_graphic() && byte != b'%' || keep_blanks && byte == b' ';
    let mut value = String::with_capacity(text.len());
    for byte in text.bytes() {
        if stands_for_itself(byte) {
            value.push(char::from(byte));
        } else {
            value.push_str(&format!("%{byte:02X}"));
        }
    }
    // Visible ASCII and blanks are always a valid value.
    HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_cannot_inject_a_field() {
        for (claim, value) in [
            ("demo", "demo"),
            ("a\r\nKeybound-Subject: root", "a%0D%0AKeybound-Subject:%20root"),
            ("a\0b\u{7f}", "a%00b%7F"),
            ("Jörg", "J%C3%B6rg"),
            (" a ", "%20a%20"),
            ("100%", "100%25"),
            ("https://client.example/x?y=z", "https://client.example/x?y=z"),
            ("", ""),
        ] {
            assert_eq!(field_value(claim, false), value, "{claim:?}");
        }
    }

    #[test]
    fn says_where_the_request_came_from() {
        let host = HeaderValue::from_static("api.example:9443");
        let of = |remote: &str| {
            remote
                .parse()
                .map(|remote| OriginFields::new(remote, true, &host).forwarded)
                .ok()
        };
        let expected = |text: &'static str| Some(HeaderValue::from_static(text));
        assert_eq!(
            of("192.0.2.1:5"),
            expected("for=192.0.2.1;host=\"api.example:9443\";proto=https")
        );
        assert_eq!(
            of("[2001:db8::1]:5"),
            expected("for=\"[2001:db8::1]\";host=\"api.example:9443\";proto=https")
        );
        assert_eq!(
            of("[::ffff:192.0.2.1]:5"),
            expected("for=192.0.2.1;host=\"api.example:9443\";proto=https")
        );
    }
}
