//! The metadata of a protected resource as it is served (RFC 9728 §3.2): bytes that are made once.
//!
//! Served to everybody, token or not: it is how a client that has no token learns where to get one.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use keybound_protocol::digest::{hex, sha256};
use keybound_protocol::protected_resource_metadata::{ProtectedResourceMetadata, ResourceMetadataUrl};
use keybound_protocol::resource::ResourceUri;

/// Caches may keep the document for a minute, as that of an authorization server: settings change it.
const CACHEABLE: HeaderValue = HeaderValue::from_static("public, max-age=60");

/// A resource whose metadata nobody could ask for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the resource {0} is not an https URL with a host alone before its path, so its metadata has no address")]
pub struct NoMetadataUrl(pub ResourceUri);

/// The metadata of a protected resource, ready to be served. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct MetadataDocument {
    document: Arc<Document>,
}

#[derive(Debug)]
struct Document {
    url: ResourceMetadataUrl,
    body: Bytes,
    entity_tag: HeaderValue,
}

impl MetadataDocument {
    /// What is served, as the value of `Allow`.
    pub const ALLOW: HeaderValue = HeaderValue::from_static("GET, HEAD");

    /// Prepares the document.
    ///
    /// # Errors
    /// [`NoMetadataUrl`]: clients find the document by the resource's URL.
    pub fn new(metadata: &ProtectedResourceMetadata) -> Result<MetadataDocument, NoMetadataUrl> {
        let resource = metadata.resource();
        let url = metadata.url().ok_or_else(|| NoMetadataUrl(resource.clone()))?;
        let body = Bytes::from(metadata.to_json().to_string());
        let digest = sha256(&body);
        // Quotes and hexadecimal digits are always a header value.
        let entity_tag =
            HeaderValue::try_from(format!("\"{}\"", hex(&digest))).unwrap_or(HeaderValue::from_static("\"\""));
        let document = Document { url, body, entity_tag };
        Ok(MetadataDocument {
            document: Arc::new(document),
        })
    }

    /// Where it lies.
    pub fn url(&self) -> &ResourceMetadataUrl {
        &self.document.url
    }

    /// The path of [`url`](Self::url), for a router.
    pub fn path(&self) -> &str {
        self.document.url.path()
    }

    /// The answer to a request for it: the document, its head alone, or 304 for whoever has it already. `None` for other methods
    /// than those of [`ALLOW`](Self::ALLOW).
    pub fn answer(&self, parts: &Parts) -> Option<Response<Bytes>> {
        let document = &self.document;
        let body = match parts.method {
            Method::GET => document.body.clone(),
            Method::HEAD => Bytes::new(),
            _ => return None,
        };
        let is_known = parts
            .headers
            .get_all(IF_NONE_MATCH)
            .iter()
            .any(|tags| self.is_among(tags));
        let mut response = Response::new(if is_known { Bytes::new() } else { body });
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, CACHEABLE);
        headers.insert(ETAG, document.entity_tag.clone());
        if !is_known {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            // Said outright, because a body left out for HEAD would count as one of no length.
            headers.insert(CONTENT_LENGTH, HeaderValue::from(document.body.len()));
        }
        Some(response)
    }

    /// Whether the list of an `If-None-Match` names this document, by the weak comparison (RFC 9110 §13.1.2).
    fn is_among(&self, tags: &HeaderValue) -> bool {
        tags.to_str().is_ok_and(|tags| {
            tags.split(',').map(str::trim).any(|tag| {
                let opaque = tag.strip_prefix("W/").unwrap_or(tag);
                tag == "*" || opaque == self.document.entity_tag
            })
        })
    }
}
