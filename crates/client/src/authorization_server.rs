//! The authorization server a client talks to: where its endpoints are.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keybound_protocol::endpoint::Endpoint;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::jwk_set::JwkSet;
use keybound_protocol::server_metadata::ServerMetadata;
use keybound_protocol::time::Timestamp;
use url::Url;

use crate::discovery::Discovery;
use crate::error::{ClientError, DiscoveryError};

/// Discovered metadata is discovered again after this time.
pub const METADATA_REFRESH_AFTER: Duration = Duration::from_secs(3600);
/// While that fails, the old metadata is used, and this is how often it is tried.
pub const METADATA_RETRY_AFTER: Duration = Duration::from_secs(30);

/// An authorization server: its issuer identifier, and what it says about itself. Cloning is cheap and shares what was
/// discovered.
#[derive(Clone, Debug)]
pub struct AuthorizationServer {
    issuer: Issuer,
    metadata: Metadata,
}

#[derive(Clone, Debug)]
enum Metadata {
    Given(Arc<ServerMetadata>),
    Discovered {
        discovery: Discovery,
        known: Arc<Mutex<Option<Known>>>,
    },
}

#[derive(Clone, Debug)]
struct Known {
    metadata: Arc<ServerMetadata>,
    refresh_at: Timestamp,
}

impl AuthorizationServer {
    /// A server whose metadata is discovered at first use (RFC 8414).
    pub fn discovered(issuer: Issuer, discovery: Discovery) -> AuthorizationServer {
        AuthorizationServer {
            issuer,
            metadata: Metadata::Discovered {
                discovery,
                known: Arc::default(),
            },
        }
    }

    /// A server that publishes no metadata: it is as `metadata` says.
    pub fn given(metadata: ServerMetadata) -> AuthorizationServer {
        AuthorizationServer {
            issuer: metadata.issuer().clone(),
            metadata: Metadata::Given(Arc::new(metadata)),
        }
    }

    /// Its identifier. It never changes with the host that a request goes to: an assertion for an alias has it as `aud`, too.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// What it says about itself.
    ///
    /// # Errors
    /// It was never discovered, and could not be now.
    pub async fn metadata(&self, now: Timestamp) -> Result<Arc<ServerMetadata>, DiscoveryError> {
        let (discovery, known) = match &self.metadata {
            Metadata::Given(metadata) => return Ok(Arc::clone(metadata)),
            Metadata::Discovered { discovery, known } => (discovery, known),
        };
        let earlier = known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(earlier) = earlier.as_ref().filter(|earlier| now < earlier.refresh_at) {
            return Ok(Arc::clone(&earlier.metadata));
        }
        // Several tasks may get here at once; the guarded fetch makes one request of theirs.
        let (metadata, refresh_after) = match (discovery.server_metadata(&self.issuer).await, earlier) {
            (Ok(metadata), _) => (Arc::new(metadata), METADATA_REFRESH_AFTER),
            (Err(error), Some(earlier)) => {
                tracing::warn!(issuer = %self.issuer, error = &error as &dyn std::error::Error, "metadata not refreshed");
                (earlier.metadata, METADATA_RETRY_AFTER)
            }
            (Err(error), None) => return Err(error),
        };
        let refreshed = Known {
            metadata: Arc::clone(&metadata),
            refresh_at: now.plus(refresh_after),
        };
        *known.lock().unwrap_or_else(PoisonError::into_inner) = Some(refreshed);
        Ok(metadata)
    }

    /// The keys that it signs ID tokens and answers with, fetched anew.
    ///
    /// # Errors
    /// They cannot be fetched, or there are none: a server whose metadata was given has no discovery to fetch them with.
    pub(crate) async fn keys(&self, now: Timestamp) -> Result<JwkSet, DiscoveryError> {
        let none = || DiscoveryError::NoJwksUri {
            issuer: self.issuer.to_string(),
        };
        let metadata = self.metadata(now).await?;
        match &self.metadata {
            Metadata::Given(_) => Err(none()),
            Metadata::Discovered { discovery, .. } => discovery.jwk_set(metadata.jwks_uri().ok_or_else(none)?).await,
        }
    }

    /// Where requests to `endpoint` go, and whether that is an alias.
    ///
    /// A client that means to use mutual TLS, be it to authenticate, to obtain bound tokens or to use them, takes the alias where
    /// there is one (`prefers_aliases`); what has none lies at its usual place (RFC 8705 §5).
    pub(crate) async fn locate(
        &self,
        endpoint: Endpoint,
        prefers_aliases: bool,
        now: Timestamp,
    ) -> Result<Location, ClientError> {
        let metadata = self.metadata(now).await?;
        let conventional = metadata.endpoint(endpoint);
        let url = match prefers_aliases {
            true => metadata.alias_or(endpoint),
            false => conventional,
        };
        let url = url.cloned().ok_or_else(|| ClientError::NoEndpoint {
            issuer: self.issuer.to_string(),
            endpoint,
        })?;
        Ok(Location {
            is_alias: Some(&url) != conventional,
            url,
            endpoint,
        })
    }
}

/// Where an endpoint is, for one client.
#[derive(Debug)]
pub(crate) struct Location {
    pub(crate) endpoint: Endpoint,
    pub(crate) url: Url,
    pub(crate) is_alias: bool,
}
