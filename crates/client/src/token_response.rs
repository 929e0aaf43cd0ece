//! What the token endpoint answers (RFC 6749 §5.1).

use std::time::Duration;

use keybound_protocol::bearer::TokenScheme;
use keybound_protocol::json::JsonObject;
use keybound_protocol::scope::Scope;
use keybound_protocol::time::Timestamp;
use serde_json::Value;

use crate::access_token::{AccessToken, Holder};
use crate::error::ResponseError;
use crate::id_token::IdToken;

/// The longest refresh token that is kept, in octets.
pub const REFRESH_TOKEN_BYTES_MAX: usize = 4 * 1024;

/// A refresh token. It belongs to its client and, if that is a public one, to the certificate it was obtained with (RFC 8705 §4, §7.1).
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken(String);

impl RefreshToken {
    /// Reads a refresh token that was kept somewhere.
    ///
    /// # Errors
    /// [`ResponseError::RefreshToken`] for what no server sends: nothing, or characters outside of RFC 6749 Appendix A.17.
    pub fn parse(text: &str) -> Result<RefreshToken, ResponseError> {
        let fits = !text.is_empty() && text.len() <= REFRESH_TOKEN_BYTES_MAX;
        if fits && text.bytes().all(|octet| matches!(octet, b' '..=b'~')) {
            Ok(RefreshToken(text.to_owned()))
        } else {
            Err(ResponseError::RefreshToken)
        }
    }

    /// The text, for whoever keeps it. It must not be logged.
    pub fn expose_text(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for RefreshToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("RefreshToken")
    }
}

/// An answer of the token endpoint.
#[derive(Clone)]
pub struct TokenResponse {
    access_token: AccessToken,
    refresh_token: Option<RefreshToken>,
    unverified_id_token: Option<String>,
    id_token: Option<IdToken>,
    issued_token_type: Option<String>,
    members: Value,
}

impl TokenResponse {
    /// Reads a token response. An ID token in it is as yet unverified, and nobody outside of this crate sees it.
    pub(crate) fn parse(body: &[u8], holder: Holder, now: Timestamp) -> Result<TokenResponse, ResponseError> {
        let object = JsonObject::parse(body)?;
        let token_type = object
            .string("token_type")?
            .ok_or(ResponseError::Missing("token_type"))?;
        // Tokens that are bound to a certificate have no type of their own (RFC 8705 §3); those bound to a key do. Who asked by proof takes
        // nothing that a thief could use without the key (RFC 9449 §5).
        let expected = match holder.dpop {
            Some(_) => TokenScheme::Dpop.as_str(),
            None => TokenScheme::Bearer.as_str(),
        };
        if !token_type.eq_ignore_ascii_case(expected) {
            return Err(ResponseError::TokenType {
                presented: token_type.to_owned(),
                expected,
            });
        }
        let token = object
            .string("access_token")?
            .ok_or(ResponseError::Missing("access_token"))?;
        let lifetime = object.numeric_date("expires_in")?;
        let expires_at = lifetime.map(|secs| now.plus(Duration::from_secs(secs.max(0).unsigned_abs())));
        let scope = object.string("scope")?.map(Scope::parse).transpose()?;
        let text = |member| object.string(member).map(|text| text.map(str::to_owned));
        Ok(TokenResponse {
            access_token: AccessToken::new(token.to_owned(), expires_at, scope, holder)
                .map_err(ResponseError::Token)?,
            refresh_token: object.string("refresh_token")?.map(RefreshToken::parse).transpose()?,
            unverified_id_token: text("id_token")?,
            id_token: None,
            issued_token_type: text("issued_token_type")?,
            // It parses: the strict reader above has read it.
            members: serde_json::from_slice(body).unwrap_or_default(),
        })
    }

    pub(crate) fn take_unverified_id_token(&mut self) -> Option<String> {
        self.unverified_id_token.take()
    }

    pub(crate) fn set_id_token(&mut self, id_token: IdToken) {
        self.id_token = Some(id_token);
    }

    /// The access token.
    pub fn access_token(&self) -> &AccessToken {
        &self.access_token
    }

    /// The refresh token, if there is one. In the answer to a refresh it is the successor of the one that was sent; without one, that
    /// stays good (RFC 6749 §6).
    pub fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_token.as_ref()
    }

    /// What the verified ID token says, if there was one.
    pub fn id_token(&self) -> Option<&IdToken> {
        self.id_token.as_ref()
    }

    /// `issued_token_type` (RFC 8693 §2.2.1)
    pub fn issued_token_type(&self) -> Option<&str> {
        self.issued_token_type.as_deref()
    }

    /// Every member, tokens included, as the server wrote it. It must not be logged.
    pub fn expose_members(&self) -> &Value {
        &self.members
    }
}

impl std::fmt::Debug for TokenResponse {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TokenResponse")
            .field("access_token", &self.access_token)
            .field("refresh_token", &self.refresh_token)
            .field("id_token", &self.id_token)
            .finish_non_exhaustive()
    }
}
