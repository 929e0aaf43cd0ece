//! Finding out about an issuer: its metadata (RFC 8414) and its keys; and about a resource: whose tokens it takes (RFC 9728).
//!
//! Every URL here was chosen by somebody else, so all of it goes through the guarded fetch: https alone, no redirects, no
//! addresses inside unless allowed, bounded in size and time. Nothing is kept; callers decide how old an answer may be.

use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode};
use keybound_protocol::issuer::Issuer;
use keybound_protocol::jwk_set::JwkSet;
use keybound_protocol::protected_resource_metadata::{ProtectedResourceMetadata, ResourceMetadataUrl};
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::server_metadata::ServerMetadata;
use keybound_tls::{FetchError, GuardedFetch};
use url::Url;

use crate::error::DiscoveryError;
use crate::trace::{Trace, TracedRequest, TracedResponse, redacted_body};

/// Fetches what issuers publish. Cloning is cheap.
#[derive(Clone)]
pub struct Discovery {
    fetch: GuardedFetch,
    trace: Option<Arc<dyn Trace>>,
}

impl Discovery {
    /// Fetches with `fetch`.
    pub fn new(fetch: GuardedFetch) -> Discovery {
        Discovery { fetch, trace: None }
    }

    /// The same, showing what it fetches to `trace`.
    #[must_use]
    pub fn with_trace(mut self, trace: Arc<dyn Trace>) -> Discovery {
        self.trace = Some(trace);
        self
    }

    /// The metadata of `issuer`: the document of RFC 8414, or that of OpenID Connect Discovery where there is no such one.
    ///
    /// # Errors
    /// Neither could be fetched, or what was is not the metadata of exactly this issuer. An unusable document is not passed over
    /// in favour of the other: two that disagree are a fault or an attack.
    pub async fn server_metadata(&self, issuer: &Issuer) -> Result<ServerMetadata, DiscoveryError> {
        let body = match self.get(&issuer.metadata_url()).await {
            Err(FetchError::Status { status: 404 }) => {
                // The error of the first is the better one to show: it is where metadata of OAuth servers belongs.
                self.get(&issuer.openid_configuration_url())
                    .await
                    .map_err(|_| FetchError::Status { status: 404 })
            }
            fetched => fetched,
        }
        .map_err(|source| DiscoveryError::Fetch {
            issuer: issuer.to_string(),
            source,
        })?;
        ServerMetadata::parse(&body, issuer).map_err(|source| DiscoveryError::Metadata {
            issuer: issuer.to_string(),
            source,
        })
    }

    /// The key set that lies at `url`.
    ///
    /// # Errors
    /// It could not be fetched, or is no key set.
    pub async fn jwk_set(&self, url: &Url) -> Result<JwkSet, DiscoveryError> {
        let body = self.get(url).await.map_err(|source| DiscoveryError::FetchKeys {
            url: url.to_string(),
            source,
        })?;
        JwkSet::parse(&body).map_err(|source| DiscoveryError::Keys {
            url: url.to_string(),
            source,
        })
    }

    /// The key set of `issuer`, from where its metadata says that it lies.
    ///
    /// # Errors
    /// Those of [`server_metadata`](Self::server_metadata) and [`jwk_set`](Self::jwk_set); the metadata may name none.
    pub async fn jwk_set_of(&self, issuer: &Issuer) -> Result<JwkSet, DiscoveryError> {
        let metadata = self.server_metadata(issuer).await?;
        let url = metadata.jwks_uri().ok_or_else(|| DiscoveryError::NoJwksUri {
            issuer: issuer.to_string(),
        })?;
        self.jwk_set(url).await
    }

    /// The metadata of a resource, from where it lies by the resource's own name (RFC 9728 §3).
    ///
    /// # Errors
    /// It could not be fetched, or is not the metadata of exactly this resource.
    pub async fn resource_metadata(&self, resource: &ResourceUri) -> Result<ProtectedResourceMetadata, DiscoveryError> {
        let url = ResourceMetadataUrl::of(resource).ok_or_else(|| DiscoveryError::NoResourceMetadataUrl {
            resource: resource.to_string(),
        })?;
        self.resource_metadata_at(url.as_str(), resource).await
    }

    /// The metadata of a resource, from where its challenge said (RFC 9728 §5.1): a stranger's URL, fetched with the guards of any other.
    ///
    /// # Errors
    /// As [`resource_metadata`](Self::resource_metadata). Nothing is connected to for a URL that is not https, or leads to an address
    /// inside that is not allowed.
    pub async fn resource_metadata_at(
        &self,
        url: &str,
        resource: &ResourceUri,
    ) -> Result<ProtectedResourceMetadata, DiscoveryError> {
        let failed = |source| DiscoveryError::FetchResourceMetadata {
            url: url.to_owned(),
            source,
        };
        let parsed = Url::parse(url).map_err(|_| failed(FetchError::Url))?;
        let body = self.get(&parsed).await.map_err(failed)?;
        ProtectedResourceMetadata::parse(&body, resource).map_err(|source| DiscoveryError::ResourceMetadata {
            url: url.to_owned(),
            source,
        })
    }

    async fn get(&self, url: &Url) -> Result<bytes::Bytes, FetchError> {
        if let Some(trace) = &self.trace {
            let (headers, body) = (Vec::new(), String::new());
            trace.request(&TracedRequest {
                method: &Method::GET,
                url,
                certificate: None,
                headers,
                body,
            });
        }
        let fetched = self.fetch.get(url.as_str()).await;
        if let Some(trace) = &self.trace {
            let (status, body) = match &fetched {
                Ok(fetched) => (StatusCode::OK, redacted_body(&HeaderMap::new(), &fetched.body)),
                Err(FetchError::Status { status }) => {
                    (StatusCode::from_u16(*status).unwrap_or_default(), String::new())
                }
                // There was no response; the error is reported by whoever asked.
                Err(_) => return fetched.map(|fetched| fetched.body),
            };
            trace.response(&TracedResponse {
                url,
                status,
                headers: Vec::new(),
                body,
            });
        }
        fetched.map(|fetched| fetched.body)
    }
}

impl std::fmt::Debug for Discovery {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Discovery")
            .field("fetch", &self.fetch)
            .finish_non_exhaustive()
    }
}
