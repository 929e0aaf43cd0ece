//! The metadata of the protected resources that the gateway guards (RFC 9728): made from routes and issuers, served by itself.
//!
//! No route is asked: the paths are the gateway's own, whatever a route claims, and nothing beside them is open.

use http::request::Parts;
use http::{HeaderValue, Response};
use keybound_protocol::protected_resource_metadata::{ProtectedResourceMetadata, ResourceMetadataUrl};
use keybound_protocol::resource::ResourceUri;
use keybound_resource_server::{Binding, DPOP_ALGORITHMS, Dpop, MetadataDocument, ResourceServer, RoutePolicy};
use keybound_tls::ResponseBody;

use crate::canonical_path::CanonicalPath;
use crate::reason::Reason;

/// The documents of all resources.
#[derive(Debug, Default)]
pub(crate) struct ResourceMetadata(Vec<Served>);

#[derive(Debug)]
struct Served {
    /// As requests are matched.
    path: String,
    document: MetadataDocument,
}

impl ResourceMetadata {
    /// One document for each audience that a route has, in the order of the settings.
    pub(crate) fn new(policies: &[&RoutePolicy], resource_server: &ResourceServer) -> Self {
        let mut resources: Vec<&ResourceUri> = Vec::new();
        for policy in policies {
            if !resources.contains(&policy.audience()) {
                resources.push(policy.audience());
            }
        }
        let served = |resource: &ResourceUri| {
            let path = matched_path(&ResourceMetadataUrl::of(resource)?)?;
            let document = MetadataDocument::new(&metadata(resource, policies, resource_server)).ok()?;
            Some(Served { path, document })
        };
        Self(resources.into_iter().filter_map(served).collect())
    }

    /// The document that a request asks for, whatever its method.
    ///
    /// Resources may differ in host or query alone. Who asks for neither of them gets the first: the gateway may be known by another
    /// name here, and a client discards what is not about the resource that it asked for (§3.3).
    pub(crate) fn find(
        &self,
        path: &CanonicalPath<'_>,
        parts: &Parts,
        host: &HeaderValue,
    ) -> Option<&MetadataDocument> {
        let here = || self.0.iter().filter(|served| served.path == path.matched());
        let fits = |served: &&Served| {
            let url = served.document.url();
            url.query() == parts.uri.query() && url.authority().as_bytes().eq_ignore_ascii_case(host.as_bytes())
        };
        let served = here().find(fits).or_else(|| here().next())?;
        Some(&served.document)
    }
}

/// The same policy, its challenges saying where the metadata lies: for a resource that has metadata here.
pub(crate) fn announced(policy: &RoutePolicy) -> RoutePolicy {
    let url = ResourceMetadataUrl::of(policy.audience()).filter(|url| matched_path(url).is_some());
    match url {
        Some(url) => policy.clone().with_resource_metadata(url),
        None => policy.clone(),
    }
}

/// The answer with a document.
pub(crate) fn answer(
    document: &MetadataDocument,
    path: &CanonicalPath<'_>,
    parts: &Parts,
) -> Result<Response<ResponseBody>, Reason> {
    let answer = document.answer(parts).ok_or_else(|| Reason::MethodNotAllowed {
        path: path.forwarded().to_owned(),
        method: parts.method.to_string(),
        allow: MetadataDocument::ALLOW,
    })?;
    Ok(answer.map(ResponseBody::from))
}

/// `None` for a path that no request could have.
fn matched_path(url: &ResourceMetadataUrl) -> Option<String> {
    Some(CanonicalPath::parse(url.path()).ok()?.matched().to_owned())
}

fn metadata(
    resource: &ResourceUri,
    policies: &[&RoutePolicy],
    resource_server: &ResourceServer,
) -> ProtectedResourceMetadata {
    let own = || policies.iter().filter(|policy| policy.audience() == resource);
    let metadata = ProtectedResourceMetadata::new(resource.clone()).with_certificate_bound_access_tokens(
        own().all(|policy| policy.binding() == Binding::Required && policy.dpop() != Dpop::Required),
    );
    let metadata = match own().any(|policy| policy.dpop() != Dpop::Refused) {
        true => metadata.with_dpop(DPOP_ALGORITHMS, own().all(|policy| policy.dpop() == Dpop::Required)),
        false => metadata,
    };
    let metadata = resource_server
        .issuers()
        .filter(|issuer| own().any(|policy| policy.admits_issuer(issuer)))
        .fold(metadata, |metadata, issuer| {
            metadata.with_authorization_server(issuer.clone())
        });
    own().fold(metadata, |metadata, policy| metadata.with_scopes(policy.scopes()))
}
