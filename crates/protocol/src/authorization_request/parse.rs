//! The checks of an authorization request, in their order: where the answer may go, whether the client may ask at all, what it asks for.

use super::error::{AuthorizationRefusal, AuthorizationRequestError};
use super::terms::{RequestForm, challenge_required_of};
use super::{
    AuthorizationParameters, AuthorizationPolicy, AuthorizationRequest, Prompt, STATE_BYTES_MAX, TEXT_BYTES_MAX,
    WantedAuthorization,
};
use crate::authorization_details::AuthorizationDetails;
use crate::authorization_response::{ResponseMode, ResponseTarget};
use crate::base64url;
use crate::claims_request::ClaimsRequest;
use crate::client::Client;
use crate::grant_type::GrantType;
use crate::pkce::CodeChallenge;
use crate::profile::Profile;
use crate::redirect_uri::RedirectUri;
use crate::resource::ResourceUri;
use crate::scope::Scope;
use crate::token_request::RESOURCES_MAX;
use crate::userinfo::OPENID_SCOPE;

/// The scope word by which a client of OpenID Connect asks for a refresh token (OpenID Connect Core §11).
const OFFLINE_ACCESS_SCOPE: &str = "offline_access";

type Result<T> = std::result::Result<T, AuthorizationRequestError>;

/// What a request asks for, however the user is asked.
pub(super) fn wanted(
    client: &Client,
    parameters: &AuthorizationParameters,
    policy: &AuthorizationPolicy<'_>,
) -> Result<WantedAuthorization> {
    let question = Question {
        client,
        parameters,
        policy,
        profile: client.metadata().effective_profile(policy.profile),
    };
    Ok(WantedAuthorization {
        scope: question.scope()?,
        resources: question.resources()?,
        authorization_details: question.authorization_details()?,
    })
}

pub(super) fn parse(
    client: &Client,
    parameters: &AuthorizationParameters,
    policy: &AuthorizationPolicy<'_>,
) -> std::result::Result<AuthorizationRequest, AuthorizationRefusal> {
    let question = Question {
        client,
        parameters,
        policy,
        profile: client.metadata().effective_profile(policy.profile),
    };
    // Before there is a redirect URI that belongs to the client, nobody is redirected.
    let mut target = question
        .target()
        .map_err(|reason| AuthorizationRefusal { reason, target: None })?;
    question
        .complete(&mut target)
        .and_then(|()| question.request(target.clone()))
        .map_err(|reason| AuthorizationRefusal {
            reason,
            target: Some(Box::new(target)),
        })
}

/// Where a client may be told about a request that was not read, because its rest lies elsewhere: only where it says itself.
pub(super) fn named_target(
    client: &Client,
    parameters: &AuthorizationParameters,
    policy: &AuthorizationPolicy<'_>,
) -> Option<ResponseTarget> {
    parameters.get("redirect_uri")?;
    let question = Question {
        client,
        parameters,
        policy,
        profile: client.metadata().effective_profile(policy.profile),
    };
    let mut target = question.target().ok()?;
    question.complete(&mut target).ok()?;
    Some(target)
}

/// Words that the client registered, none of them reserved.
pub(super) fn require_scope(client: &Client, presented: &Scope) -> Result<()> {
    if presented.has_reserved() {
        return Err(AuthorizationRequestError::ScopeReserved(presented.clone()));
    }
    let registered = client.metadata().scope();
    if !presented.is_subset_of(registered) {
        return Err(AuthorizationRequestError::ScopeNotRegistered {
            presented: presented.clone(),
            registered: registered.clone(),
        });
    }
    Ok(())
}

/// A resource that is configured.
pub(super) fn require_resource(policy: &AuthorizationPolicy<'_>, presented: &ResourceUri) -> Result<()> {
    match policy.resources.contains(presented) {
        true => Ok(()),
        false => Err(AuthorizationRequestError::ResourceUnknown(presented.clone())),
    }
}

/// Authorization details of types that are configured, and that the client may ask for.
pub(super) fn require_details(
    client: &Client,
    policy: &AuthorizationPolicy<'_>,
    presented: &AuthorizationDetails,
) -> Result<()> {
    let registered = &client.metadata().authorization().authorization_details_types;
    Ok(policy.authorization_details_types.require(presented, registered)?)
}

struct Question<'a> {
    client: &'a Client,
    parameters: &'a AuthorizationParameters,
    policy: &'a AuthorizationPolicy<'a>,
    /// The stricter of the client's and the server's.
    profile: Profile,
}

impl Question<'_> {
    fn redirect_uri(&self) -> Result<RedirectUri> {
        let may_be_missing = !self.profile.requires_redirect_uri();
        let registered = self.client.metadata().redirect_uris();
        let presented = self.parameters.get("redirect_uri");
        Ok(RedirectUri::choose(registered, presented, may_be_missing)?)
    }

    /// Where the answer goes, by redirect URI alone.
    fn target(&self) -> Result<ResponseTarget> {
        Ok(ResponseTarget {
            client_id: self.client.client_id().clone(),
            redirect_uri: self.redirect_uri()?,
            state: None,
            response_mode: ResponseMode::default(),
        })
    }

    /// Adds what the answer needs, so that every later refusal has it.
    fn complete(&self, target: &mut ResponseTarget) -> Result<()> {
        target.state = self.text("state", STATE_BYTES_MAX)?;
        if let Some(name) = self.parameters.get("response_mode") {
            target.response_mode = ResponseMode::from_name(name)
                .ok_or_else(|| AuthorizationRequestError::ResponseMode(shortened(name)))?;
        }
        Ok(())
    }

    fn request(&self, target: ResponseTarget) -> Result<AuthorizationRequest> {
        let metadata = self.client.metadata();
        if !metadata.permits_grant_type(GrantType::AuthorizationCode) {
            return Err(AuthorizationRequestError::GrantNotRegistered);
        }
        match self.parameters.get("response_type") {
            None => return Err(AuthorizationRequestError::ResponseTypeMissing),
            Some("code") => {}
            Some(other) => return Err(AuthorizationRequestError::ResponseTypeUnsupported(shortened(other))),
        }
        if self.parameters.get("registration").is_some() {
            return Err(AuthorizationRequestError::RegistrationParameter);
        }
        let form = self.form();
        form.require(self.client, self.policy)?;
        let request = AuthorizationRequest {
            code_challenge: self.code_challenge()?,
            scope: self.scope()?,
            resources: self.resources()?,
            authorization_details: self.authorization_details()?,
            redirect_uri_was_sent: self.parameters.get("redirect_uri").is_some(),
            nonce: self.text("nonce", TEXT_BYTES_MAX)?,
            prompt: self
                .parameters
                .get("prompt")
                .map_or(Ok(Prompt::default()), Prompt::parse)?,
            max_age: self.max_age()?,
            login_hint: self.text("login_hint", TEXT_BYTES_MAX)?,
            ui_locales: self.words("ui_locales")?,
            acr_values: self.words("acr_values")?,
            claims: self.claims()?,
            dpop_jkt: self.dpop_jkt()?,
            hinted_user: None,
            form,
            target,
        };
        // Last: everything else about the request is good.
        if request.dpop_jkt.is_some() && metadata.requires_bound_access_tokens(self.policy.profile) {
            return Err(AuthorizationRequestError::TwoBindings);
        }
        Ok(request)
    }

    fn form(&self) -> RequestForm {
        RequestForm {
            profile: self.profile,
            is_pushed: self.policy.is_pushed,
            is_signed: self.parameters.is_signed(),
        }
    }

    fn code_challenge(&self) -> Result<Option<CodeChallenge>> {
        let challenge = CodeChallenge::from_parameters(
            self.parameters.get("code_challenge"),
            self.parameters.get("code_challenge_method"),
        )?;
        match (challenge, challenge_required_of(self.client, self.policy)) {
            (None, Some(required_of)) => Err(AuthorizationRequestError::ChallengeMissing(required_of)),
            (challenge, _) => Ok(challenge),
        }
    }

    fn scope(&self) -> Result<Scope> {
        let registered = self.client.metadata().scope();
        let Some(text) = self.parameters.get("scope") else {
            return Ok(registered.without_reserved());
        };
        let presented = self.without_offline_access(Scope::parse(text)?);
        require_scope(self.client, &presented)?;
        Ok(presented)
    }

    /// OpenID Connect Core §11: who may not have `offline_access` is answered as if it had not asked. That a client gets refresh tokens
    /// is in its registration, so the word changes nothing here; clients that work with many providers send it all the same.
    fn without_offline_access(&self, presented: Scope) -> Scope {
        let is_openid = presented.contains(OPENID_SCOPE);
        if !is_openid || self.client.metadata().scope().contains(OFFLINE_ACCESS_SCOPE) {
            return presented;
        }
        let words: Vec<&str> = presented.words().filter(|word| *word != OFFLINE_ACCESS_SCOPE).collect();
        Scope::parse(&words.join(" ")).unwrap_or(presented)
    }

    fn resources(&self) -> Result<Vec<ResourceUri>> {
        let mut resources = Vec::new();
        for presented in self.parameters.resources() {
            let resource = ResourceUri::parse(presented).map_err(|source| AuthorizationRequestError::Resource {
                presented: shortened(presented),
                source,
            })?;
            require_resource(self.policy, &resource)?;
            if resources.contains(&resource) {
                continue;
            }
            if resources.len() == RESOURCES_MAX {
                return Err(AuthorizationRequestError::TooManyResources);
            }
            resources.push(resource);
        }
        Ok(resources)
    }

    fn authorization_details(&self) -> Result<AuthorizationDetails> {
        let Some(text) = self.parameters.get("authorization_details") else {
            return Ok(AuthorizationDetails::default());
        };
        let details = AuthorizationDetails::parse(text)?;
        require_details(self.client, self.policy, &details)?;
        Ok(details)
    }

    /// What `max_age` and `acr_values` ask for is asked for by them alone, so that whoever makes the ID token looks at one place.
    fn claims(&self) -> Result<ClaimsRequest> {
        let mut claims = match self.parameters.get("claims") {
            None => ClaimsRequest::default(),
            Some(text) => ClaimsRequest::parse(text)?,
        };
        if self.max_age()?.is_some() {
            claims = claims.with_id_token_claim("auth_time");
        }
        if self.parameters.get("acr_values").is_some() {
            claims = claims.with_id_token_claim("acr");
        }
        Ok(claims)
    }

    fn max_age(&self) -> Result<Option<u64>> {
        match self.parameters.get("max_age") {
            None => Ok(self.client.metadata().authorization().default_max_age),
            Some(digits) if digits.len() <= 10 && digits.bytes().all(|octet| octet.is_ascii_digit()) => {
                digits.parse().map(Some).map_err(|_| AuthorizationRequestError::MaxAge)
            }
            Some(_) => Err(AuthorizationRequestError::MaxAge),
        }
    }

    fn dpop_jkt(&self) -> Result<Option<String>> {
        match self.parameters.get("dpop_jkt") {
            None => Ok(None),
            Some(text) if base64url::decode(text).is_ok_and(|octets| octets.len() == 32) => Ok(Some(text.to_owned())),
            Some(_) => Err(AuthorizationRequestError::DpopThumbprint),
        }
    }

    fn text(&self, name: &'static str, bytes_max: usize) -> Result<Option<String>> {
        match self.parameters.get(name) {
            Some(text) if text.len() > bytes_max => Err(AuthorizationRequestError::TooLong(name)),
            text => Ok(text.map(str::to_owned)),
        }
    }

    fn words(&self, name: &'static str) -> Result<Vec<String>> {
        let text = self.text(name, TEXT_BYTES_MAX)?.unwrap_or_default();
        let words = text.split(' ').filter(|word| !word.is_empty());
        Ok(words.map(str::to_owned).collect())
    }
}

/// For operators: as much of what was sent as tells them what it was.
fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}
