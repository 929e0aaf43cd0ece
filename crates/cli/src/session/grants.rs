//! Every grant but the client's own, with this program's clock and errors.

use std::time::Duration;

use keybound_client::{
    AuthorizationRequest, AuthorizationSecrets, BackchannelRequest, ClientError, DeviceAuthorization, PendingApproval,
    PendingAuthorization, RefreshToken, TokenExchange, TokenResponse,
};
use keybound_protocol::time::Timestamp;

use super::{Session, Wanted, failed};
use crate::exit_code::{CommandError, ExitCode};

impl Session {
    /// Begins to ask a user by way of a browser.
    ///
    /// # Errors
    /// Refusals are exit 5, everything on the way there is 6.
    pub(crate) async fn begin_authorization(
        &self,
        request: &AuthorizationRequest,
        secrets: AuthorizationSecrets,
    ) -> Result<PendingAuthorization, CommandError> {
        let now = self.clock.now();
        ended(self.client.begin_authorization(request, secrets, now).await)
    }

    /// The seconds that are left until then.
    pub(crate) fn secs_until(&self, moment: Option<Timestamp>) -> Option<u64> {
        moment.map(|moment| moment.duration_since(self.clock.now()).as_secs())
    }

    /// Judges what the browser brought, and redeems the code in it.
    ///
    /// # Errors
    /// As above; an answer that is not believed is a refusal, and nothing was sent.
    pub(crate) async fn finish_authorization(
        &self,
        pending: PendingAuthorization,
        query: &str,
    ) -> Result<TokenResponse, CommandError> {
        ended(self.client.finish_authorization(pending, query, self.clock.now()).await)
    }

    /// Begins the device authorization grant.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn begin_device_authorization(
        &self,
        wanted: &Wanted,
    ) -> Result<DeviceAuthorization, CommandError> {
        let wanted = wanted.request()?;
        ended(self.client.begin_device_authorization(&wanted, self.clock.now()).await)
    }

    /// Has the server ask a user.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn begin_backchannel_authentication(
        &self,
        request: &BackchannelRequest,
    ) -> Result<PendingApproval, CommandError> {
        let now = self.clock.now();
        ended(self.client.begin_backchannel_authentication(request, now).await)
    }

    /// Waits for a user who decides elsewhere, at the server's pace.
    ///
    /// # Errors
    /// As above; timed out after `limit`, or when the server's own time is over. A request under way is waited for even then.
    pub(crate) async fn wait_for_approval(
        &self,
        pending: PendingApproval,
        limit: Duration,
    ) -> Result<TokenResponse, CommandError> {
        let outcome = self.client.wait_for_approval_within(pending, limit, &self.clock).await;
        ended(outcome)?.ok_or_else(|| {
            let sentence = format!("nobody decided within {} s", limit.as_secs());
            CommandError::message(ExitCode::TimedOut, sentence).with_fix("--wait SECONDS waits longer")
        })
    }

    /// A new access token for a refresh token.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn refresh(
        &self,
        refresh_token: &RefreshToken,
        wanted: &Wanted,
    ) -> Result<TokenResponse, CommandError> {
        let wanted = wanted.request()?;
        ended(self.client.refresh(refresh_token, &wanted, self.clock.now()).await)
    }

    /// A token for another token.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn exchange(&self, exchange: &TokenExchange) -> Result<TokenResponse, CommandError> {
        ended(self.client.exchange(exchange, self.clock.now()).await)
    }

    /// Revokes a token; one that the server does not know is no error.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn revoke(&self, token: &str) -> Result<(), CommandError> {
        ended(self.client.revoke(token, self.clock.now()).await)
    }
}

fn ended<T>(outcome: Result<T, ClientError>) -> Result<T, CommandError> {
    outcome.map_err(|error| failed(&error))
}
