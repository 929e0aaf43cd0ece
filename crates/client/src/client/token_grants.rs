//! Grants that are one token request: refreshing (RFC 6749 §6) and token exchange (RFC 8693).

use keybound_protocol::grant_type::GrantType;
use keybound_protocol::time::Timestamp;

use crate::client::authorization_code::ExpectedIdToken;
use crate::client::{Client, TokenRequest};
use crate::error::{ClientError, ResponseError};
use crate::id_token::ExpectedNonce;
use crate::token_exchange::TokenExchange;
use crate::token_response::{RefreshToken, TokenResponse};

impl Client {
    /// A new access token for a refresh token, bound to the certificate that is presented now (RFC 8705 §3, §6.3).
    ///
    /// `wanted` may narrow scope and resources. If the response has a refresh token, that is the successor and the one that was sent is
    /// spent; else the same stays good. [`HeldGrant`](crate::HeldGrant) sees to that.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses: `invalid_grant` where the grant is over, or, for a public client, where the certificate
    /// is another than the one the refresh token is bound to (RFC 8705 §4).
    pub async fn refresh(
        &self,
        refresh_token: &RefreshToken,
        wanted: &TokenRequest,
        now: Timestamp,
    ) -> Result<TokenResponse, ClientError> {
        let mut form = vec![
            ("grant_type", GrantType::RefreshToken.name().to_owned()),
            ("refresh_token", refresh_token.expose_text().to_owned()),
        ];
        form.extend(wanted.parameters());
        let response = self.token_response(form, self.identity(), now).await?;
        let expected = ExpectedIdToken {
            nonce: ExpectedNonce::Unknown,
            max_age_secs: None,
            is_required: false,
            keys: None,
        };
        self.with_verified_id_token(response, expected, now).await
    }

    /// Trades a token (RFC 8693). What comes is bound to this client's certificate.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses; the response does not say what it issued.
    pub async fn exchange(&self, exchange: &TokenExchange, now: Timestamp) -> Result<TokenResponse, ClientError> {
        let mut form = vec![("grant_type", GrantType::TokenExchange.name().to_owned())];
        form.extend(exchange.parameters());
        let identity = self.identity();
        let endpoint = keybound_protocol::endpoint::Endpoint::Token;
        let (url, answer) = self.post(endpoint, form, &identity, now).await?;
        let failed = |source| ClientError::Response {
            url,
            status: answer.status,
            source,
        };
        match TokenResponse::parse(&answer.body, self.holder(identity), now) {
            Ok(response) if response.issued_token_type().is_some() => Ok(response),
            Ok(_) => Err(failed(ResponseError::Missing("issued_token_type"))),
            Err(source) => Err(failed(source)),
        }
    }
}
