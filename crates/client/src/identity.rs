//! Who we are on the wire: a certificate with its key, and the connections made with it.

use std::sync::Arc;

use http::{Request, Response};
use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_tls::{HttpClient, HttpClientSettings, IncomingBody, OutgoingBody, RequestError};

/// A client certificate together with every connection that presents it. Cloning is cheap and shares the connections.
///
/// One identity has one connection pool, and no two identities share any: a connection made with one certificate is never used
/// for another, nor for a token that is bound to another (RFC 8705 §3). A renewed certificate is another identity.
#[derive(Clone, Debug)]
pub struct Identity {
    http: HttpClient,
    thumbprint: Option<Arc<CertificateThumbprint>>,
}

impl Identity {
    /// An identity that connects as `settings` say, presenting their certificate where a server asks for one.
    ///
    /// Settings without a certificate make an identity that has none: for clients that authenticate in another way and want no
    /// bound tokens. TLS 1.3 is preferred, because before it the certificate travels in clear (RFC 8705 §8);
    /// [`tls13_only`](HttpClientSettings::tls13_only) demands it.
    pub fn new(settings: HttpClientSettings) -> Identity {
        let thumbprint = settings
            .identity
            .as_ref()
            .map(|it| Arc::new(CertificateThumbprint::of_certificate(it.leaf())));
        Identity {
            http: HttpClient::new(settings),
            thumbprint,
        }
    }

    /// The `x5t#S256` of the certificate that servers will see; `None` without a certificate.
    pub fn thumbprint(&self) -> Option<&CertificateThumbprint> {
        self.thumbprint.as_deref()
    }

    /// Whether both are the same certificate or both are none.
    pub fn presents_the_same_as(&self, other: &Identity) -> bool {
        self.thumbprint == other.thumbprint
    }

    /// Sends a request as it is over this identity's connections; tokens are the caller's business.
    ///
    /// For what has no token of ours in it. A token belongs on [`AccessToken::send`](crate::AccessToken::send), which cannot
    /// take the wrong connection.
    ///
    /// # Errors
    /// The connection's.
    pub async fn send(&self, request: Request<OutgoingBody>) -> Result<Response<IncomingBody>, RequestError> {
        self.http.send(request).await
    }
}
