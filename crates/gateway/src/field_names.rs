//! Which header fields the gateway never passes on as they came.
//!
//! Upstreams read headers in their own ways: CGI, WSGI, PHP and others cannot tell `Client_Cert` from `Client-Cert`, some (the
//! CGI of lighttpd) not even `Client.Cert` or `Client+Cert`, and some merge trailers into headers. So a name is compared with
//! whatever is neither letter nor digit read as `-`, and the same question is asked of headers, trailers and the names listed in
//! `Trailer`. RFC 9440 §4, RFC 9700 §4.13.

use http::HeaderName;

/// Why a field is not passed on, or that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldKind {
    /// The caller's and the upstream's business.
    EndToEnd,
    /// Speaks of this connection only (RFC 9110 §7.6.1), or of the framing, which each leg has of its own.
    Connection,
    /// Says who the caller is, or where the request came from: only the gateway may say so.
    Reserved,
}

/// Prefixes and whole names, written with `-`, under which widely used proxies say what client certificate they saw, and the
/// gateway's own. A list can only be of names that are known: an upstream that believes yet another one must itself refuse to.
///
/// Names that say who the caller is in other ways (`Remote-User`, `X-Auth-Request-User`) are no matter of certificates, and
/// some are an application's own; they are not listed.
const IDENTITY_PREFIXES: &[&str] = &[
    // RFC 9440; some servers' Client-Certificate.
    "client-cert",
    // Apache, nginx, HAProxy and ingress controllers.
    "x-ssl-",
    "ssl-",
    "x-tls-client-",
    "tls-client-",
    "x-mtls-",
    // Google's load balancers, F5, and what many an nginx is made to say.
    "x-client-cert",
    "x-client-verify",
    // AWS.
    "x-amzn-mtls-",
    // Cloudflare.
    "cf-cert-",
    "cf-client-cert",
    "cf-tls-client-",
    // Traefik.
    "x-forwarded-tls-client-cert",
    // Envoy.
    "x-forwarded-client-cert",
    "keybound-",
];
const IDENTITY_NAMES: &[&str] = &[
    // RFC 9449: a proof is for the request to the gateway, which was its judge.
    "dpop",
    // IIS and Azure.
    "x-arr-clientcert",
    "x-client-dn",
    "x-client-s-dn",
    "x-client-i-dn",
    "x-client-subject-dn",
    "x-client-issuer-dn",
];

/// The gateway states these itself; what a caller states about its own address, or about another path than the one that
/// was checked, is no information. `Proxy` becomes `HTTP_PROXY` in CGI.
const ROUTING_PREFIXES: &[&str] = &["x-forwarded-"];
const ROUTING_NAMES: &[&str] = &["forwarded", "x-real-ip", "x-original-url", "x-rewrite-url", "proxy"];

/// Fields that make some frameworks treat a request as one of another method.
const METHOD_OVERRIDES: &[&str] = &["x-http-method-override", "x-http-method", "x-method-override"];

const CONNECTION_NAMES: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Fields that no variant with another separator may imitate: an upstream that reads it as `-` would take it for the real one.
const NOT_IMITATED: &[&str] = &["content-length", "content-type", "content-encoding", "www-authenticate"];

/// What no trailer may say: framing, routing, authentication, and how to read the content (RFC 9110 §6.5.1).
const NEVER_TRAILERS: &[&str] = &[
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "host",
    "max-forwards",
    "pragma",
    "range",
    "set-cookie",
    "via",
    "www-authenticate",
];

/// Sorts `name`, which `http` has already put in lower case.
pub(crate) fn kind(name: &HeaderName) -> FieldKind {
    let name = name.as_str();
    // Nearly every field of nearly every request ends here.
    if !matches!(
        name.as_bytes().first(),
        Some(b'c' | b'd' | b'f' | b'h' | b'k' | b'p' | b's' | b't' | b'u' | b'w' | b'x')
    ) {
        return FieldKind::EndToEnd;
    }
    if one_of(name, CONNECTION_NAMES) || has_other_separator(name) && one_of(name, NOT_IMITATED) {
        FieldKind::Connection
    } else if is_identity(name) || one_of(name, ROUTING_NAMES) || begins_with_one(name, ROUTING_PREFIXES) {
        FieldKind::Reserved
    } else {
        FieldKind::EndToEnd
    }
}

/// Whether a field names the caller: the part of [`FieldKind::Reserved`] that must not appear in responses either.
pub(crate) fn is_identity(name: &str) -> bool {
    one_of(name, IDENTITY_NAMES) || begins_with_one(name, IDENTITY_PREFIXES)
}

/// Whether a field asks for another method than the one that the route's policy judged.
pub(crate) fn overrides_method(name: &HeaderName) -> bool {
    one_of(name.as_str(), METHOD_OVERRIDES)
}

/// Whether a trailer field may be passed on.
pub(crate) fn may_be_trailer(name: &HeaderName) -> bool {
    kind(name) == FieldKind::EndToEnd && !one_of(name.as_str(), NEVER_TRAILERS) && !overrides_method(name)
}

fn one_of(name: &str, list: &[&str]) -> bool {
    list.iter()
        .any(|listed| listed.len() == name.len() && begins_with(name, listed))
}

fn begins_with_one(name: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| begins_with(name, prefix))
}

fn begins_with(name: &str, prefix: &str) -> bool {
    name.len() >= prefix.len()
        && name.bytes().zip(prefix.bytes()).all(|(presented, listed)| {
            presented.to_ascii_lowercase() == listed || listed == b'-' && is_separator(presented)
        })
}

fn has_other_separator(name: &str) -> bool {
    name.bytes().any(|octet| octet != b'-' && is_separator(octet))
}

/// What some upstreams turn into the `_` of an environment variable.
fn is_separator(octet: u8) -> bool {
    !octet.is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spelling_of_a_method_override_passes() {
        for name in [
            "x-http-method-override",
            "x_http_method_override",
            "x-http_method",
            "x_method-override",
        ] {
            let name = HeaderName::try_from(name).expect("a header name");
            assert!(overrides_method(&name), "{name}");
            assert!(!may_be_trailer(&name), "{name}");
        }
        assert!(!overrides_method(&HeaderName::from_static("x-method")));
    }

    #[test]
    fn no_separator_hides_a_reserved_field() {
        for separator in "-_.!#$%&'*+^`|~".chars() {
            for name in [
                "client-cert",
                "client-cert-chain",
                "x-ssl-client-cert",
                "x-arr-clientcert",
                "keybound-subject",
                "x-forwarded-for",
                "x-real-ip",
            ] {
                check(&name.replace('-', &separator.to_string()), FieldKind::Reserved);
            }
            let expected = match separator {
                '-' => FieldKind::EndToEnd,
                _ => FieldKind::Connection,
            };
            check(&format!("content{separator}type"), expected);
        }
        check("clientxcert", FieldKind::EndToEnd);
        check("client", FieldKind::EndToEnd);
    }

    fn check(name: &str, expected: FieldKind) {
        let parsed = HeaderName::from_bytes(name.as_bytes());
        assert_eq!(parsed.map(|name| kind(&name)).ok(), Some(expected), "{name}");
    }

    #[test]
    fn every_spelling_of_an_identity_field_is_reserved() {
        for name in [
            "Client-Cert",
            "client_cert",
            "CLIENT-CERT-CHAIN",
            "Client-Certificate",
            "client_Cert-chain",
            "X-Forwarded-Client-Cert",
            "X_Forwarded_Client_Cert",
            "x-forwarded_client-cert",
            "X-SSL-Client-Cert",
            "x_ssl_client_dn",
            "SSL-Client-Cert",
            "ssl_client_verify",
            "X-Client-Cert",
            "X-Client-Certificate",
            "x_client_cert_chain",
            "X-Amzn-Mtls-Clientcert",
            "x_amzn_mtls_clientcert_leaf",
            "X-ARR-ClientCert",
            "x_arr_clientcert",
            "X-TLS-Client-Cert",
            "x_tls_client_subject",
            "TLS-Client-Verify",
            "X-mTLS-Client-Cert",
            "x_mtls_subject",
            "X-Client-Verify",
            "x_client_verify_reason",
            "X-Client-DN",
            "x_client_dn",
            "X-Client-S-DN",
            "X-Client-I-DN",
            "x_client-subject_dn",
            "X-Client-Issuer-DN",
            "X-Client-Certificate-Chain",
            "X-Client-Cert-Hash",
            "Cf-Client-Cert-Der-Base64",
            "cf_client_cert_sha256",
            "Cf-Cert-Verified",
            "cf_cert_subject_dn",
            "Cf-Tls-Client-Cert-Serial",
            "X-Forwarded-Tls-Client-Cert",
            "x_forwarded_tls_client_cert_info",
            "X-Forwarded-Client-Cert-Chain",
            "Keybound-Client-Id",
            "keybound_subject",
            "Keybound-Anything",
        ] {
            check(name, FieldKind::Reserved);
            assert!(is_identity(name), "{name}");
        }
    }

    #[test]
    fn what_the_gateway_states_itself_is_reserved() {
        for name in [
            "Forwarded",
            "X-Forwarded-For",
            "x_forwarded_host",
            "X-Real-IP",
            "X-Original-URL",
            "Proxy",
        ] {
            check(name, FieldKind::Reserved);
        }
    }

    #[test]
    fn connection_fields_and_their_imitations_stay_on_their_leg() {
        for name in [
            "Connection",
            "Keep-Alive",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "transfer_encoding",
            "Upgrade",
            "Proxy-Authorization",
            "proxy_connection",
            "content_length",
            "HTTP2-Settings",
        ] {
            check(name, FieldKind::Connection);
        }
    }

    #[test]
    fn neighbours_are_passed_on() {
        for name in [
            "Accept",
            "Content-Length",
            "Content-Type",
            "Cookie",
            "Client",
            "X-Client",
            "X-Client-Id",
            "X-SSL",
            "SSL",
            "X-Amzn-Trace-Id",
            "X-ARR-ClientCertificate",
            "Keybound",
            "X-Request-Id",
            "TE-Mode",
            "My-Client-Cert",
            "X-Client-DNS",
            "X-Client-Version",
            "X-TLS-Version",
            "TLS-Version",
            "CF-Connecting-IP",
            "CF-Ray",
            "X-Goog-Api-Key",
            "Remote-User",
            "X-Remote-User",
        ] {
            check(name, FieldKind::EndToEnd);
        }
    }

    #[test]
    fn trailers_never_speak_of_identity_or_framing() {
        for (name, may) in [
            ("x-checksum", true),
            ("server-timing", true),
            ("client-cert", false),
            ("keybound_subject", false),
            ("content-length", false),
            ("transfer-encoding", false),
            ("authorization", false),
            ("host", false),
            ("cookie", false),
            ("forwarded", false),
        ] {
            assert_eq!(may_be_trailer(&HeaderName::from_static(name)), may, "{name}");
        }
    }
}
