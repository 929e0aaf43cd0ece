//! What of a request is judged again, when the client may have become another since: registered less, or raised its profile.
//!
//! Between the request and the tokens lie a page that a user reads, a code, a question asked every five seconds. What was permitted to
//! the client of yesterday is not therefore permitted to the one of today.

use serde::{Deserialize, Serialize};

use super::error::{AuthorizationRequestError, ChallengeRequiredOf};
use super::{AuthorizationPolicy, AuthorizationRequest};
use crate::authentication_method::AuthenticationMethod;
use crate::client::Client;
use crate::grant_type::GrantType;
use crate::profile::Profile;
use crate::redirect_uri::{RedirectUri, RedirectUriError};

/// How a request came, and what it was judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RequestForm {
    /// The profile that was in force for its client.
    pub profile: Profile,
    /// Whether its authenticated client pushed it.
    pub is_pushed: bool,
    /// Whether it was a signed request object.
    pub is_signed: bool,
}

/// Where the answer to a request goes, and the form it came in: what a code keeps of it.
///
/// As JSON it is what is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestTerms {
    /// Where the code was sent.
    pub redirect_uri: String,
    /// Whether the request named it.
    pub redirect_uri_was_sent: bool,
    /// Whether there is a code challenge.
    pub has_challenge: bool,
    /// How the request came.
    pub form: RequestForm,
}

impl RequestForm {
    /// Refuses a request that was judged under a laxer profile than the one in force for its client: nobody knows any more whether it
    /// holds what that demands, down to the algorithm of its signature.
    ///
    /// # Errors
    /// [`AuthorizationRequestError::ProfileRaised`]
    pub fn require_profile(self, client: &Client, server: Profile) -> Result<(), AuthorizationRequestError> {
        let now = client.metadata().effective_profile(server);
        if self.profile < now {
            return Err(AuthorizationRequestError::ProfileRaised {
                judged: self.profile,
                now,
            });
        }
        Ok(())
    }

    /// Whether the request came in the way that it has to: pushed, signed.
    pub(super) fn require(
        self,
        client: &Client,
        policy: &AuthorizationPolicy<'_>,
    ) -> Result<(), AuthorizationRequestError> {
        let authorization = client.metadata().authorization();
        let profile = client.metadata().effective_profile(policy.profile);
        let pushed_required = policy.requires_pushed
            || authorization.require_pushed_authorization_requests
            || profile.requires_pushed_authorization_requests();
        if pushed_required && !self.is_pushed {
            return Err(AuthorizationRequestError::PushedRequired);
        }
        let signed_required = authorization.require_signed_request_object || profile.requires_signed_request_objects();
        if signed_required && !self.is_signed {
            return Err(AuthorizationRequestError::SignedRequired);
        }
        Ok(())
    }
}

impl RequestTerms {
    /// The terms as they are stored.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads terms that were stored.
    ///
    /// # Errors
    /// The stored text is of another version of this type.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Judges the terms by what is registered for `client` now. `policy.is_pushed` does not count: the terms say how the request came.
    ///
    /// # Errors
    /// Those of redirect URI, grant type, profile, form and code challenge among [`AuthorizationRequestError`].
    pub fn require_still_permitted(
        &self,
        client: &Client,
        policy: &AuthorizationPolicy<'_>,
    ) -> Result<(), AuthorizationRequestError> {
        self.require_redirect_uri(client, policy)?;
        if !client.metadata().permits_grant_type(GrantType::AuthorizationCode) {
            return Err(AuthorizationRequestError::GrantNotRegistered);
        }
        self.form.require_profile(client, policy.profile)?;
        self.form.require(client, policy)?;
        match challenge_required_of(client, policy) {
            Some(required_of) if !self.has_challenge => Err(AuthorizationRequestError::ChallengeMissing(required_of)),
            _ => Ok(()),
        }
    }

    fn require_redirect_uri(&self, client: &Client, policy: &AuthorizationPolicy<'_>) -> Result<(), RedirectUriError> {
        let profile = client.metadata().effective_profile(policy.profile);
        let sent = self.redirect_uri_was_sent.then_some(self.redirect_uri.as_str());
        let registered = client.metadata().redirect_uris();
        let meant = RedirectUri::choose(registered, sent, !profile.requires_redirect_uri())?;
        // The one that was meant, where none was named, may be another by now.
        if meant.as_str() != self.redirect_uri {
            return Err(RedirectUriError::NotRegistered {
                presented: self.redirect_uri.clone(),
            });
        }
        Ok(())
    }
}

impl AuthorizationRequest {
    /// What a code for this request keeps of it.
    pub fn terms(&self) -> RequestTerms {
        RequestTerms {
            redirect_uri: self.redirect_uri().as_str().to_owned(),
            redirect_uri_was_sent: self.sent_redirect_uri().is_some(),
            has_challenge: self.code_challenge().is_some(),
            form: self.form,
        }
    }
}

/// Who demands that `client` use PKCE, if anybody does.
pub(super) fn challenge_required_of(client: &Client, policy: &AuthorizationPolicy<'_>) -> Option<ChallengeRequiredOf> {
    let profile = client.metadata().effective_profile(policy.profile);
    if profile.requires_code_challenge() {
        Some(ChallengeRequiredOf::Profile(profile))
    } else if client.metadata().authentication_method() == AuthenticationMethod::None {
        Some(ChallengeRequiredOf::PublicClients)
    } else {
        None
    }
}
