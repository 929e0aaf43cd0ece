//! The end that all grants of users have in common: an access token, perhaps a refresh token, and the answer with them.
//!
//! In three steps, because what is used once is spent between the first and the last: [`Issue::draw`] makes everything random, the
//! grant's own verb records it with what it spends, and [`Issue::answer`] signs and answers. Whoever loses the race has cost no
//! signature, and what was spent stays spent, whatever fails afterwards.

use std::time::Duration;

use keybound_protocol::access_token::{AccessTokenFormat, OnBehalfOf, TokenId};
use keybound_protocol::client_authentication::IdentifiedClient;
use keybound_protocol::confirmation::Confirmation;
use keybound_protocol::grant_type::GrantType;
use keybound_protocol::id_token::PushedWith;
use keybound_protocol::time::Timestamp;
use keybound_store::{
    AccessTokenHash, Grant, NewRefreshToken, OpaqueAccessToken, RefreshTokenHash, RefreshTokenHolder,
};
use zeroize::Zeroizing;

use super::share::Share;
use crate::access_tokens::{IssueError, NewAccessToken, UnrecordedToken};
use crate::clients::PreparedClient;
use crate::configuration::Configuration;
use crate::id_tokens::{self, NewIdToken};
use crate::response::Response;
use crate::server::Server;
use crate::token_response::TokenResponse;

/// A refresh token ends that nobody has used for so long (RFC 9700 §4.14.2).
pub(crate) const REFRESH_TOKEN_IDLE: Duration = Duration::from_secs(30 * 86_400);
/// The use of a refresh token that stays is written down once in so long, so that an ordinary refresh writes nothing. Its end is
/// later by as much: a token is never taken for idle that was used in time.
pub(crate) const REFRESH_USE_RECORDED: Duration = Duration::from_secs(86_400);

/// What is handed out to whom, for which grant.
#[derive(Clone, Copy)]
pub(crate) struct Issue<'a> {
    pub(crate) server: &'a Server,
    pub(crate) client: &'a PreparedClient,
    /// There is no way to hand anything out to a client that was not identified in this request.
    pub(crate) recipient: &'a IdentifiedClient,
    pub(crate) grant: &'a Grant,
    pub(crate) share: &'a Share,
    /// What the access token is bound to: what the client proved to hold in this request (RFC 8705 §3), whatever an earlier token of
    /// the grant was bound to (§6.3).
    pub(crate) confirmation: Option<&'a Confirmation>,
    pub(crate) now: Timestamp,
    /// How long access tokens live; never longer than their grant.
    pub(crate) lifetime: Duration,
}

/// Everything random about an answer: drawn, and worth nothing before it is recorded.
pub(crate) struct Drawn {
    pub(crate) token_id: TokenId,
    opaque: Option<UnrecordedToken>,
}

/// A refresh token that nobody has yet.
pub(crate) struct DrawnRefreshToken {
    pub(crate) text: Zeroizing<String>,
    pub(crate) record: NewRefreshToken,
}

/// What the answer takes over from that which was spent for it.
#[derive(Clone, Copy)]
pub(crate) struct Spent<'a> {
    /// The refresh token that the client has from now on.
    pub(crate) refresh_token: Option<&'a str>,
    /// `nonce` of the authorization request, for the first ID token alone (OpenID Connect Core §12.2).
    pub(crate) nonce: Option<&'a str>,
}

/// What goes with the access token.
#[derive(Clone, Copy, Default)]
pub(crate) struct Accompanying<'a> {
    pub(crate) refresh_token: Option<&'a str>,
    pub(crate) id_token: Option<&'a str>,
}

impl Drawn {
    /// The record of the access token, if it is opaque, for the verb that spends what it is given for.
    pub(crate) fn record(&self) -> Option<(AccessTokenHash, OpaqueAccessToken)> {
        self.opaque.as_ref().map(|opaque| opaque.record.clone())
    }
}

impl Issue<'_> {
    /// Draws an access token.
    pub(crate) fn draw(&self) -> Result<Drawn, IssueError> {
        let token_id = self.server.tokens.token_id(Some(&self.grant.grant_id))?;
        let details = self.authorization_details();
        let opaque = match self.share.format {
            AccessTokenFormat::Jwt => None,
            AccessTokenFormat::Opaque => {
                let token = self.token(details.as_deref());
                Some(self.server.tokens.draw_opaque(&token_id, token)?)
            }
        };
        Ok(Drawn { token_id, opaque })
    }

    /// Draws the first refresh token of the grant, if the client has registered that grant type and the user was asked: what lasts while
    /// the user is away is never given in silence (OpenID Connect Core §11).
    pub(crate) fn draw_refresh_token(&self) -> Result<Option<DrawnRefreshToken>, IssueError> {
        if !self
            .client
            .client
            .metadata()
            .permits_grant_type(GrantType::RefreshToken)
            || self.grant.based_on.is_some()
        {
            return Ok(None);
        }
        let text = self.server.tokens.draw_secret()?;
        let record = NewRefreshToken {
            hash: RefreshTokenHash::of(&text),
            holder: holder(self.recipient, self.confirmation),
            idle_until: idle_until(self.now),
        };
        Ok(Some(DrawnRefreshToken { text, record }))
    }

    /// Makes the access token, whose record is durable if it has one.
    pub(crate) async fn complete(&self, drawn: &Drawn) -> Result<Zeroizing<String>, IssueError> {
        if let Some(opaque) = &drawn.opaque {
            self.server.metrics.tokens_opaque.inc();
            return Ok(opaque.text.clone());
        }
        self.server.metrics.tokens_jwt.inc();
        let details = self.authorization_details();
        let token = self.token(details.as_deref());
        let jwt = self.server.tokens.sign_jwt(&drawn.token_id, token).await?;
        Ok(Zeroizing::new(jwt))
    }

    /// Makes the ID token that goes with the access token, if there is to be one.
    pub(crate) async fn id_token(
        &self,
        configuration: &Configuration,
        nonce: Option<&str>,
        access_token: &str,
    ) -> Result<Option<String>, IssueError> {
        let token = NewIdToken {
            client: &self.client.client,
            grant: self.grant,
            scope: &self.share.scope,
            nonce,
            access_token,
            pushed: None,
            now: self.now,
        };
        id_tokens::issue(self.server, configuration, token).await
    }

    /// Makes the ID token that is pushed with the access token, if there is to be one.
    pub(crate) async fn pushed_id_token(
        &self,
        configuration: &Configuration,
        pushed: PushedWith<'_>,
        access_token: &str,
    ) -> Result<Option<String>, IssueError> {
        let token = NewIdToken {
            client: &self.client.client,
            grant: self.grant,
            scope: &self.share.scope,
            nonce: None,
            access_token,
            pushed: Some(pushed),
            now: self.now,
        };
        id_tokens::issue(self.server, configuration, token).await
    }

    /// Signs and answers, now that what was spent for it is durable: with the access token, an ID token if there is to be one, and
    /// the refresh token that the grant's verb recorded.
    ///
    /// # Errors
    /// [`IssueError`]; what was spent stays spent.
    pub(crate) async fn answer(
        &self,
        configuration: &Configuration,
        drawn: &Drawn,
        spent: Spent<'_>,
    ) -> Result<Response, IssueError> {
        let access_token = self.complete(drawn).await?;
        let id_token = self.id_token(configuration, spent.nonce, &access_token).await?;
        let accompanying = Accompanying {
            refresh_token: spent.refresh_token,
            id_token: id_token.as_deref(),
        };
        Ok(self.token_response(&access_token, accompanying).to_response())
    }

    /// What the answer says.
    pub(crate) fn token_response<'b>(
        &'b self,
        access_token: &'b str,
        accompanying: Accompanying<'b>,
    ) -> TokenResponse<'b> {
        let token_type = token_type(self.confirmation);
        TokenResponse {
            refresh_token: accompanying.refresh_token,
            id_token: accompanying.id_token,
            authorization_details: Some(&self.share.authorization_details),
            ..TokenResponse::new(
                access_token,
                token_type,
                self.token_lifetime().as_secs(),
                &self.share.scope,
            )
        }
    }

    fn token<'b>(&'b self, authorization_details: Option<&'b str>) -> NewAccessToken<'b> {
        NewAccessToken {
            recipient: self.recipient,
            encoder: &self.client.encoder,
            scope: &self.share.scope,
            audience: &self.share.audience,
            confirmation: self.confirmation,
            on_behalf_of: Some(OnBehalfOf {
                subject: self.grant.subject.as_str(),
                auth_time: self.grant.auth_time,
                acr: self.grant.acr.as_deref(),
                authorization_details,
                actor: None,
            }),
            issued_at: self.now,
            lifetime: self.token_lifetime(),
        }
    }

    fn authorization_details(&self) -> Option<String> {
        let details = &self.share.authorization_details;
        (!details.is_empty()).then(|| details.to_json().to_string())
    }

    /// A token never outlives its grant.
    fn token_lifetime(&self) -> Duration {
        let left = self.grant.expires_at.unix_secs().saturating_sub(self.now.unix_secs());
        self.lifetime.min(Duration::from_secs(left.max(0).unsigned_abs()))
    }
}

/// `Bearer` also for a token that is bound to a certificate (RFC 8705 §3); `DPoP` for one that is bound to a key (RFC 9449 §5).
pub(crate) fn token_type(confirmation: Option<&Confirmation>) -> &'static str {
    match confirmation.and_then(Confirmation::key) {
        Some(_) => "DPoP",
        None => "Bearer",
    }
}

/// Who may use a refresh token that is given to `recipient`, whose access tokens are bound to `confirmation`.
///
/// That of a client that authenticates is bound to the client: whoever uses it must authenticate, by whatever certificate the client
/// has by then (RFC 8705 §7.1). That of a public client is bound to what the client proved to hold (§4).
pub(crate) fn holder(recipient: &IdentifiedClient, confirmation: Option<&Confirmation>) -> RefreshTokenHolder {
    if recipient.authenticated().is_some() {
        return RefreshTokenHolder::AuthenticatedClient;
    }
    possessor(confirmation)
}

/// Who a presenter is that did not authenticate.
pub(crate) fn possessor(confirmation: Option<&Confirmation>) -> RefreshTokenHolder {
    let certificate = confirmation.and_then(Confirmation::certificate);
    let key = confirmation.and_then(Confirmation::key);
    match (certificate, key) {
        (Some(certificate), _) => RefreshTokenHolder::Certificate(*certificate),
        (None, Some(key)) => RefreshTokenHolder::Key(key.to_string()),
        (None, None) => RefreshTokenHolder::Bearer,
    }
}

/// When a refresh token ends that is used at `now` and not again.
pub(crate) fn idle_until(now: Timestamp) -> Timestamp {
    now.plus(REFRESH_TOKEN_IDLE).plus(REFRESH_USE_RECORDED)
}
