//! A client that is registered with several authorization servers, and finds out from a resource whose token it wants (RFC 9728 §5).
//!
//! A resource's word decides only among servers that the client is registered with. Each of those sees a certificate of its own: a
//! token that one of them got hold of, and passes off as its own at another's client, is then bound to the wrong certificate
//! (FAPI 2.0 Security Profile §6.3).

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, Request, Response, StatusCode};
use keybound_protocol::challenge::PresentedChallenge;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::protected_resource_metadata::ProtectedResourceMetadata;
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::scope::Scope;
use keybound_protocol::time::Timestamp;
use keybound_tls::{IncomingBody, OutgoingBody};
use url::Url;

use crate::client::{Client, TokenRequest};
use crate::discovery::Discovery;
use crate::error::ClientError;
use crate::identity::Identity;

/// Why clients were not put together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationsError {
    /// Two clients of one server: which is meant is anybody's guess.
    #[error("there are two clients of {issuer}")]
    IssuerTwice {
        /// Which server.
        issuer: String,
    },
    /// Two servers see the same certificate.
    #[error("{first} and {second} would see the same certificate; each needs one of its own")]
    SharedCertificate {
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// The identity that asks without a token presents a certificate: every resource would learn it.
    #[error("the identity that asks without a token must not present a certificate")]
    NotAnonymous,
}

/// Why a call through [`Registrations`] brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationsCallError {
    /// The request does not go to the resource that is meant.
    #[error("{url} does not lie at the resource {resource}")]
    OtherResource {
        /// Where it goes.
        url: String,
        /// What is meant.
        resource: String,
    },
    /// The resource takes tokens of servers that the client is not registered with. None of them was asked.
    #[error("{resource} takes tokens of {}, and this client is registered with none of them", issuers.join(", "))]
    NotRegistered {
        /// The resource.
        resource: String,
        /// The servers.
        issuers: Vec<String>,
    },
    /// The token, or the call.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// The clients that one program is: one per authorization server.
#[derive(Debug)]
pub struct Registrations {
    clients: Vec<Arc<Client>>,
    discovery: Discovery,
    anonymous: Identity,
}

impl Registrations {
    /// Puts clients of different servers together. `anonymous` presents no certificate: it asks resources that are not known yet.
    ///
    /// # Errors
    /// See [`RegistrationsError`].
    pub fn new(
        clients: Vec<Arc<Client>>,
        discovery: Discovery,
        anonymous: Identity,
    ) -> Result<Registrations, RegistrationsError> {
        if anonymous.thumbprint().is_some() {
            return Err(RegistrationsError::NotAnonymous);
        }
        for (position, client) in clients.iter().enumerate() {
            let issuer = client.server().issuer();
            for other in clients.iter().skip(position + 1) {
                let other_issuer = other.server().issuer();
                if issuer == other_issuer {
                    return Err(RegistrationsError::IssuerTwice {
                        issuer: issuer.to_string(),
                    });
                }
                let identity = client.identity();
                if identity.thumbprint().is_some() && identity.presents_the_same_as(&other.identity()) {
                    return Err(RegistrationsError::SharedCertificate {
                        first: issuer.to_string(),
                        second: other_issuer.to_string(),
                    });
                }
            }
        }
        Ok(Registrations {
            clients,
            discovery,
            anonymous,
        })
    }

    /// The client of a server.
    pub fn client_of(&self, issuer: &Issuer) -> Option<&Arc<Client>> {
        self.clients.iter().find(|client| client.server().issuer() == issuer)
    }

    /// Calls a protected resource: first without a token, and, if it answers 401 and where its metadata lies, with one of the first
    /// server it names that the client is registered with.
    ///
    /// `resource` is its identifier: the URL of the request, or what that lies below. The metadata has to name exactly this one, and the
    /// token is asked for it.
    ///
    /// # Errors
    /// See [`RegistrationsCallError`]. Without such a challenge the first answer is the answer.
    pub async fn call(
        &self,
        request: Request<Bytes>,
        resource: &ResourceUri,
        scope: &Scope,
        now: Timestamp,
    ) -> Result<Response<IncomingBody>, RegistrationsCallError> {
        let url = request.uri().to_string();
        if !lies_at(&url, resource) {
            return Err(RegistrationsCallError::OtherResource {
                url,
                resource: resource.to_string(),
            });
        }
        let response = self
            .without_token(&request)
            .await
            .map_err(|source| ClientError::Request { url, source })?;
        let Some(metadata_url) = metadata_url(response.status(), response.headers()) else {
            return Ok(response);
        };
        let metadata = self
            .discovery
            .resource_metadata_at(&metadata_url, resource)
            .await
            .map_err(ClientError::from)?;
        let client = self.choose(&metadata)?;
        let wanted = TokenRequest::new().with_scope(scope).with_resource(resource.clone());
        Ok(client.call(request, &wanted, now).await?)
    }

    fn choose(&self, metadata: &ProtectedResourceMetadata) -> Result<&Arc<Client>, RegistrationsCallError> {
        let issuers = metadata.authorization_servers();
        issuers
            .iter()
            .find_map(|issuer| self.client_of(issuer))
            .ok_or_else(|| RegistrationsCallError::NotRegistered {
                resource: metadata.resource().to_string(),
                issuers: issuers.iter().map(Issuer::to_string).collect(),
            })
    }

    /// The request as it is, but without its body and without a credential: it is to be refused.
    async fn without_token(
        &self,
        request: &Request<Bytes>,
    ) -> Result<Response<IncomingBody>, keybound_tls::RequestError> {
        let mut sent = Request::new(OutgoingBody::Full(request.body().clone()));
        *sent.method_mut() = request.method().clone();
        *sent.uri_mut() = request.uri().clone();
        *sent.headers_mut() = request.headers().clone();
        sent.headers_mut().remove(AUTHORIZATION);
        self.anonymous.send(sent).await
    }
}

/// Where a 401 says that the resource's metadata lies.
fn metadata_url(status: StatusCode, headers: &HeaderMap) -> Option<String> {
    if status != StatusCode::UNAUTHORIZED {
        return None;
    }
    let mut fields = headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    fields.find_map(|field| PresentedChallenge::parse(field).ok()?.resource_metadata)
}

/// Whether `url` is the resource's, or lies below it by whole segments.
fn lies_at(url: &str, resource: &ResourceUri) -> bool {
    let (Ok(url), Ok(resource)) = (Url::parse(url), Url::parse(resource.as_str())) else {
        return false;
    };
    let base = resource.path().trim_end_matches('/');
    let below = url.path().strip_prefix(base);
    url.scheme() == "https"
        && url.origin() == resource.origin()
        && below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
}
