//! What a device shows its user (RFC 8628 §3.2, §3.3).

use keybound_protocol::json::JsonObject;
use url::Url;

use crate::error::ResponseError;
use crate::polling::{Announced, PendingApproval};

/// A device authorization under way: what the user has to be told, and what is waited for.
#[derive(Debug)]
pub struct DeviceAuthorization {
    /// What the user types. It comes from the server: neutralise it before showing it on a terminal.
    pub user_code: String,
    /// Where he types it.
    pub verification_uri: Url,
    /// Where he need not type it.
    pub verification_uri_complete: Option<Url>,
    /// His decision.
    pub pending: PendingApproval,
}

/// The answer of the device authorization endpoint.
pub(crate) struct DeviceAuthorizationResponse {
    pub(crate) device_code: String,
    pub(crate) user_code: String,
    pub(crate) verification_uri: Url,
    pub(crate) verification_uri_complete: Option<Url>,
    pub(crate) announced: Announced,
}

impl DeviceAuthorizationResponse {
    pub(crate) fn parse(body: &[u8]) -> Result<DeviceAuthorizationResponse, ResponseError> {
        let object = JsonObject::parse(body)?;
        let text = |name| {
            object
                .string(name)?
                .filter(|it| !it.is_empty())
                .ok_or(ResponseError::Missing(name))
        };
        // A user who is sent to a page in clear gives his password to whoever listens.
        let page = |name: &'static str, text: &str| match Url::parse(text) {
            Ok(url) if url.scheme() == "https" => Ok(url),
            _ => Err(ResponseError::Url(name)),
        };
        let complete = "verification_uri_complete";
        Ok(DeviceAuthorizationResponse {
            device_code: text("device_code")?.to_owned(),
            user_code: text("user_code")?.to_owned(),
            verification_uri: page("verification_uri", text("verification_uri")?)?,
            verification_uri_complete: object.string(complete)?.map(|text| page(complete, text)).transpose()?,
            announced: Announced {
                expires_in: object
                    .numeric_date("expires_in")?
                    .ok_or(ResponseError::Missing("expires_in"))?,
                interval: object.numeric_date("interval")?,
            },
        })
    }
}
