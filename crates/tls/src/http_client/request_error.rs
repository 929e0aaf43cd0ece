//! Why an outgoing request failed.

use std::{error::Error, io, sync::Arc};

use rustls::{AlertDescription, CertificateError};

/// Why an outgoing request failed. Cheap to clone, so that callers who waited for the same answer get the same reason.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RequestError {
    /// The scheme is not https, nor http where that is allowed.
    #[error("scheme {scheme:?} is not allowed")]
    SchemeNotAllowed {
        /// What the URI has.
        scheme: String,
    },
    /// The URI names no usable host.
    #[error("the URI has no usable host")]
    UriWithoutHost,
    /// The host's name has no address.
    #[error("cannot resolve {host}")]
    Resolve {
        /// The host.
        host: String,
        /// The cause.
        #[source]
        source: Arc<io::Error>,
    },
    /// No TCP connection.
    #[error("cannot connect to {host}")]
    Connect {
        /// The host.
        host: String,
        /// The cause.
        #[source]
        source: Arc<io::Error>,
    },
    /// The server's certificate is not trusted, or not for this host (RFC 9525).
    #[error("the certificate of {host} is not accepted: {cause}")]
    ServerNotTrusted {
        /// The host.
        host: String,
        /// The cause.
        cause: String,
    },
    /// The server refused our certificate, or that we sent none. In TLS 1.3 this arrives after our side of the handshake was
    /// done, in place of the response (RFC 8446 §4.4.2.4).
    #[error("{host} refused the client certificate (TLS alert {alert})")]
    ClientCertificateRefused {
        /// The host.
        host: String,
        /// The alert's name in the TLS registry.
        alert: &'static str,
    },
    /// Any other failure of TLS.
    #[error("TLS with {host} failed: {cause}")]
    Tls {
        /// The host.
        host: String,
        /// The cause.
        cause: String,
    },
    /// Too late.
    #[error("timed out waiting for {waiting_for}")]
    Timeout {
        /// For what.
        waiting_for: &'static str,
    },
    /// The response is longer than the caller allowed.
    #[error("the response is longer than {bytes_max} bytes")]
    ResponseTooLong {
        /// The limit.
        bytes_max: u64,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("the exchange with {host} failed")]
    Http {
        /// The host.
        host: String,
        /// The cause.
        #[source]
        source: Arc<hyper::Error>,
    },
}

impl RequestError {
    /// Whether the same request might succeed later, everything else being equal: the server was not there, or too slow.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            RequestError::Resolve { .. }
                | RequestError::Connect { .. }
                | RequestError::Timeout { .. }
                | RequestError::Http { .. }
        )
    }

    /// Whether the cause lies in TLS: a certificate of either side, or the handshake.
    pub fn is_tls(&self) -> bool {
        matches!(
            self,
            RequestError::ServerNotTrusted { .. }
                | RequestError::ClientCertificateRefused { .. }
                | RequestError::Tls { .. }
        )
    }

    pub(super) fn from_handshake(error: io::Error, host: &str) -> RequestError {
        match tls_error(&error) {
            Some(tls) => RequestError::from_tls(tls, host),
            None => RequestError::Connect {
                host: host.to_owned(),
                source: Arc::new(error),
            },
        }
    }

    pub(super) fn from_hyper(error: hyper::Error, host: &str) -> RequestError {
        match tls_error(&error) {
            Some(tls) => RequestError::from_tls(tls, host),
            None => RequestError::Http {
                host: host.to_owned(),
                source: Arc::new(error),
            },
        }
    }

    fn from_tls(error: &rustls::Error, host: &str) -> RequestError {
        let host = host.to_owned();
        match error {
            rustls::Error::InvalidCertificate(cause) => RequestError::ServerNotTrusted {
                host,
                cause: certificate_cause(cause),
            },
            rustls::Error::AlertReceived(alert) => match certificate_alert(*alert) {
                Some(alert) => RequestError::ClientCertificateRefused { host, alert },
                None => RequestError::Tls {
                    host,
                    cause: format!("the server sent the alert {alert:?}"),
                },
            },
            other => RequestError::Tls {
                host,
                cause: other.to_string(),
            },
        }
    }
}

/// The alerts that speak of the certificate we sent, or did not (RFC 8446 §6.2).
fn certificate_alert(alert: AlertDescription) -> Option<&'static str> {
    match alert {
        AlertDescription::CertificateRequired => Some("certificate_required"),
        AlertDescription::BadCertificate => Some("bad_certificate"),
        AlertDescription::UnsupportedCertificate => Some("unsupported_certificate"),
        AlertDescription::CertificateRevoked => Some("certificate_revoked"),
        AlertDescription::CertificateExpired => Some("certificate_expired"),
        AlertDescription::CertificateUnknown => Some("certificate_unknown"),
        AlertDescription::UnknownCA => Some("unknown_ca"),
        AlertDescription::AccessDenied => Some("access_denied"),
        AlertDescription::DecryptError => Some("decrypt_error"),
        // What servers that predate the others send for a missing or unwanted certificate.
        AlertDescription::NoCertificate => Some("no_certificate"),
        _ => None,
    }
}

fn certificate_cause(error: &CertificateError) -> String {
    match error {
        // The second: a root has the issuer's name and another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its issuer is not among the configured roots".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("it is for another name ({error})")
        }
        other => other.to_string(),
    }
}

/// The TLS error beneath an error of HTTP or I/O, however deep.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        // An io::Error's source skips the error it wraps.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}
