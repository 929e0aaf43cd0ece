//! The protected resources that tokens can be asked for.

use std::collections::HashMap;

use keybound_protocol::access_token::AccessTokenFormat;
use keybound_protocol::issuer::Issuer;
use keybound_protocol::resource::{ResourceUri, ResourceUriError};
use keybound_protocol::scope::{ADMIN_SCOPE, Scope};

use crate::settings::Settings;

/// The known resources: the configured ones, the default one, and the admin API.
#[derive(Clone, Debug)]
pub(crate) struct Resources {
    formats: HashMap<ResourceUri, Option<AccessTokenFormat>>,
    default: Option<ResourceUri>,
    admin: ResourceUri,
    admin_scope: Scope,
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
        let admin = admin_resource(&settings.issuer)?;
        formats.insert(admin.clone(), Some(AccessTokenFormat::Jwt));
        Ok(Resources {
            formats,
            default,
            admin,
            admin_scope: admin_scope(),
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

    /// `{issuer}/admin`
    pub(crate) fn admin(&self) -> &ResourceUri {
        &self.admin
    }

    /// `keybound:admin`
    pub(crate) fn admin_scope(&self) -> &Scope {
        &self.admin_scope
    }
}

/// `{issuer}/admin`: the audience of tokens for the admin API.
///
/// # Errors
/// If the issuer is so long that this is no resource indicator any more.
pub fn admin_resource(issuer: &Issuer) -> Result<ResourceUri, ResourceUriError> {
    ResourceUri::parse(&format!("{}/admin", issuer.as_str().trim_end_matches('/')))
}

fn admin_scope() -> Scope {
    Scope::parse(ADMIN_SCOPE).expect("ADMIN_SCOPE is one scope word")
}
