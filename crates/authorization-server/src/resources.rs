//! The protected resources that tokens can be asked for.

use std::collections::{BTreeSet, HashMap};

use keybound_protocol::access_token::AccessTokenFormat;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::resource::{ResourceUri, ResourceUriError};
use keybound_protocol::scope::{ADMIN_SCOPE, REVOCATIONS_SCOPE, Scope};

use crate::settings::Settings;

/// The known resources: the configured ones, the default one, and those of this server itself.
#[derive(Clone, Debug)]
pub(crate) struct Resources {
    formats: HashMap<ResourceUri, Option<AccessTokenFormat>>,
    default: Option<ResourceUri>,
    inside: [InsideResource; 2],
    for_users: BTreeSet<ResourceUri>,
}

/// A protected resource of this server itself. It takes tokens with one scope word of ours, and that word is for it alone.
#[derive(Clone, Debug)]
pub(crate) struct InsideResource {
    /// What its tokens have as `aud`.
    pub(crate) uri: ResourceUri,
    /// The one scope that its tokens have.
    pub(crate) scope: Scope,
    /// The same, as a word.
    pub(crate) word: &'static str,
}

impl Resources {
    pub(crate) fn new(settings: &Settings) -> Result<Resources, ResourceUriError> {
        let mut formats: HashMap<_, _> = settings
            .resources
            .iter()
            .map(|resource| (resource.uri.clone(), resource.access_token_format))
            .collect();
        let default = settings.tokens.default_resource.clone();
        if let Some(default) = &default {
            formats.entry(default.clone()).or_default();
        }
        let inside = [
            InsideResource::new(admin_resource(&settings.issuer)?, ADMIN_SCOPE),
            InsideResource::new(revocations_resource(&settings.issuer)?, REVOCATIONS_SCOPE),
        ];
        let for_users = formats.keys().cloned().collect();
        formats.extend(
            inside
                .iter()
                .map(|resource| (resource.uri.clone(), Some(AccessTokenFormat::Jwt))),
        );
        Ok(Resources {
            formats,
            default,
            inside,
            for_users,
        })
    }

    pub(crate) fn contains(&self, resource: &ResourceUri) -> bool {
        self.formats.contains_key(resource)
    }

    /// The format that tokens for it have unless the client says otherwise.
    pub(crate) fn format(&self, resource: &ResourceUri) -> Option<AccessTokenFormat> {
        self.formats.get(resource).copied().flatten()
    }

    pub(crate) fn default_resource(&self) -> Option<&ResourceUri> {
        self.default.as_ref()
    }

    /// Those that users can give access to: all but those of this server itself.
    pub(crate) fn for_users(&self) -> &BTreeSet<ResourceUri> {
        &self.for_users
    }

    /// The admin API, `{issuer}/admin`.
    pub(crate) fn admin(&self) -> &InsideResource {
        let [admin, _] = &self.inside;
        admin
    }

    /// The feed of revocations, `{issuer}/revocations`.
    pub(crate) fn revocations(&self) -> &InsideResource {
        let [_, revocations] = &self.inside;
        revocations
    }

    /// The protected resource of this server itself that `uri` names, if it does.
    pub(crate) fn inside(&self, uri: &ResourceUri) -> Option<&InsideResource> {
        self.inside.iter().find(|resource| resource.uri == *uri)
    }

    /// The first protected resource of this server itself that a word of `scope` is for.
    pub(crate) fn inside_of_scope(&self, scope: &Scope) -> Option<&InsideResource> {
        self.inside.iter().find(|resource| scope.contains(resource.word))
    }
}

impl InsideResource {
    fn new(uri: ResourceUri, word: &'static str) -> InsideResource {
        InsideResource {
            uri,
            scope: Scope::parse(word).expect("both words are one scope word each"),
            word,
        }
    }
}

/// `{issuer}/admin`: the audience of tokens for the admin API.
///
/// # Errors
/// If the issuer is so long that this is no resource indicator any more.
pub fn admin_resource(issuer: &Issuer) -> Result<ResourceUri, ResourceUriError> {
    below(issuer, "admin")
}

/// `{issuer}/revocations`: the audience of tokens for the feed of revocations, which lies on the mutual-TLS side under that path.
///
/// # Errors
/// As [`admin_resource`].
pub fn revocations_resource(issuer: &Issuer) -> Result<ResourceUri, ResourceUriError> {
    below(issuer, "revocations")
}

fn below(issuer: &Issuer, name: &str) -> Result<ResourceUri, ResourceUriError> {
    ResourceUri::parse(&format!("{}/{name}", issuer.as_str().trim_end_matches('/')))
}
