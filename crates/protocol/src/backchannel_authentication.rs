//! The backchannel authentication request (CIBA Core §7.1): what a client asks a user for who is elsewhere.
//!
//! What is asked for is judged as in an [authorization request](crate::authorization_request). Whom a hint names is not known here.

use std::time::Duration;

use crate::authorization_request::{
    AuthorizationParameters, AuthorizationPolicy, AuthorizationRequestError, RequestForm, WantedAuthorization,
};
use crate::client::Client;
use crate::client_metadata::DeliveryMode;
use crate::error_code::ErrorCode;
use crate::form::Form;
use crate::profile::Profile;
use crate::request_object::RequestObjectError;

/// The longest `binding_message` in characters: it is shown on a small screen, beside the same one on another.
pub const BINDING_MESSAGE_CHARACTERS_MAX: usize = 64;
/// What stands beside amounts, which is what such messages are about.
const CURRENCIES: &str = "€£¥₹₽₩¢₺₪₫₴₦";
/// The longest `client_notification_token` in octets (CIBA Core §7.1).
pub const NOTIFICATION_TOKEN_BYTES_MAX: usize = 1024;
/// The shortest: 128 bits in base64url.
const NOTIFICATION_TOKEN_BYTES_MIN: usize = 22;
/// The longest hint in octets.
const HINT_BYTES_MAX: usize = 16 * 1024;
/// The word without which there is no such request.
const OPENID: &str = "openid";

/// The parameters that a signed request has inside and never beside itself (CIBA Core §7.1.1).
const PARAMETERS: [&str; 10] = [
    "scope",
    "client_notification_token",
    "acr_values",
    "login_hint_token",
    "id_token_hint",
    "login_hint",
    "binding_message",
    "user_code",
    "requested_expiry",
    "authorization_details",
];

/// Why a backchannel authentication request was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum BackchannelRequestError {
    /// What is asked for is not acceptable.
    #[error(transparent)]
    Wanted(#[from] AuthorizationRequestError),
    /// The signed request is not acceptable.
    #[error(transparent)]
    RequestObject(#[from] RequestObjectError),
    /// A parameter beside a signed request.
    #[error("parameter `{0}` stands beside the signed request")]
    BesideRequest(&'static str),
    /// The client registered that it signs its requests, or its profile demands it.
    #[error("the request is not signed")]
    NotSigned,
    /// `scope` is without `openid`.
    #[error("`openid` is not in the scope")]
    NotOpenid,
    /// None of the three hints, or several.
    #[error("{0} of login_hint, login_hint_token and id_token_hint were sent; one is needed")]
    Hints(usize),
    /// A hint longer than any.
    #[error("the hint is too long")]
    HintTooLong,
    /// `client_notification_token` is missing although the client is notified.
    #[error("`client_notification_token` is missing")]
    NotificationTokenMissing,
    /// `client_notification_token` is not a bearer token of 22 to 1024 octets.
    #[error(
        "`client_notification_token` is not a bearer token of {NOTIFICATION_TOKEN_BYTES_MIN} to {NOTIFICATION_TOKEN_BYTES_MAX} octets"
    )]
    NotificationToken,
    /// `requested_expiry` is not a positive number of seconds.
    #[error("`requested_expiry` is not a positive number of seconds")]
    RequestedExpiry,
    /// `binding_message` is too long, or not text for one line.
    #[error(
        "`binding_message` is longer than {BINDING_MESSAGE_CHARACTERS_MAX} characters, or has others than letters, digits, spaces, punctuation and currency signs"
    )]
    BindingMessage,
}

impl BackchannelRequestError {
    /// The code that is sent (CIBA Core §13: it knows no `invalid_request_object`).
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Wanted(error) => error.code(),
            // The request is another client's than the one that authenticated.
            Self::RequestObject(RequestObjectError::Issuer { .. } | RequestObjectError::ClientId { .. }) => {
                ErrorCode::InvalidClient
            }
            Self::BindingMessage => ErrorCode::InvalidBindingMessage,
            Self::RequestObject(_)
            | Self::BesideRequest(_)
            | Self::NotSigned
            | Self::NotOpenid
            | Self::Hints(_)
            | Self::HintTooLong
            | Self::NotificationTokenMissing
            | Self::NotificationToken
            | Self::RequestedExpiry => ErrorCode::InvalidRequest,
        }
    }
}

/// Whom the client wants to be authenticated, in its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserHint {
    /// `login_hint`: what the user signs in with, or the `sub` that the client knows.
    Login(String),
    /// `login_hint_token`
    LoginToken(String),
    /// `id_token_hint`: an ID token that this server issued to the client.
    IdToken(String),
}

/// A backchannel authentication request that its client may make.
#[derive(Clone, PartialEq)]
pub struct BackchannelRequest {
    /// What is asked for.
    pub wanted: WantedAuthorization,
    /// Of whom.
    pub hint: UserHint,
    /// `binding_message`: shown to the user on both devices.
    pub binding_message: Option<String>,
    /// `client_notification_token`, in ping and push mode.
    pub notification_token: Option<String>,
    /// `requested_expiry`
    pub requested_expiry: Option<Duration>,
    /// `user_code`
    pub user_code: Option<String>,
    /// `acr_values`, the preferred first.
    pub acr_values: Vec<String>,
    /// How it came, and what it was judged by.
    pub form: RequestForm,
}

/// Refuses parameters beside a signed request.
///
/// # Errors
/// [`BackchannelRequestError::BesideRequest`]
pub fn require_nothing_beside_request(form: &Form<'_>) -> Result<(), BackchannelRequestError> {
    let beside = PARAMETERS.into_iter().find(|name| form.get(name).is_some());
    let resource = form.resources().next().map(|_| "resource");
    match beside.or(resource) {
        Some(name) => Err(BackchannelRequestError::BesideRequest(name)),
        None => Ok(()),
    }
}

impl BackchannelRequest {
    /// Judges what was sent.
    ///
    /// # Errors
    /// [`BackchannelRequestError`]
    pub fn parse(
        client: &Client,
        parameters: &AuthorizationParameters,
        policy: &AuthorizationPolicy<'_>,
    ) -> Result<Self, BackchannelRequestError> {
        let registered = &client.metadata().authorization().backchannel;
        if has_to_sign(client, policy.profile) && !parameters.is_signed() {
            return Err(BackchannelRequestError::NotSigned);
        }
        // Asked before the words are compared with the registered ones: its absence is an error of its own.
        let asks_openid = parameters
            .get("scope")
            .is_some_and(|scope| scope.split(' ').any(|word| word == OPENID));
        if !asks_openid {
            return Err(BackchannelRequestError::NotOpenid);
        }
        Ok(Self {
            wanted: WantedAuthorization::read(client, parameters, policy)?,
            hint: hint(parameters)?,
            notification_token: match registered.token_delivery_mode {
                Some(DeliveryMode::Ping | DeliveryMode::Push) => Some(notification_token(parameters)?),
                Some(DeliveryMode::Poll) | None => None,
            },
            binding_message: binding_message(parameters)?,
            requested_expiry: requested_expiry(parameters)?,
            user_code: parameters.get("user_code").map(str::to_owned),
            acr_values: words(parameters.get("acr_values").unwrap_or_default()),
            form: RequestForm {
                profile: client.metadata().effective_profile(policy.profile),
                is_pushed: false,
                is_signed: parameters.is_signed(),
            },
        })
    }
}

/// Whether `client` has to sign its requests, at a server of profile `server`: if it registered so, or its profile demands it.
pub fn has_to_sign(client: &Client, server: Profile) -> bool {
    let metadata = client.metadata();
    let registered = metadata.authorization().backchannel.authentication_request_signing_alg;
    registered.is_some() || metadata.effective_profile(server).requires_signed_request_objects()
}

fn hint(parameters: &AuthorizationParameters) -> Result<UserHint, BackchannelRequestError> {
    let text = |name| parameters.get(name).map(str::to_owned);
    let mut hints = [
        text("login_hint").map(UserHint::Login),
        text("login_hint_token").map(UserHint::LoginToken),
        text("id_token_hint").map(UserHint::IdToken),
    ]
    .into_iter()
    .flatten();
    let (Some(hint), rest) = (hints.next(), hints.count()) else {
        return Err(BackchannelRequestError::Hints(0));
    };
    if rest > 0 {
        return Err(BackchannelRequestError::Hints(rest + 1));
    }
    let (UserHint::Login(presented) | UserHint::LoginToken(presented) | UserHint::IdToken(presented)) = &hint;
    if presented.len() > HINT_BYTES_MAX {
        return Err(BackchannelRequestError::HintTooLong);
    }
    Ok(hint)
}

/// RFC 6750 §2.1: it is sent back as a bearer token.
fn notification_token(parameters: &AuthorizationParameters) -> Result<String, BackchannelRequestError> {
    let token = parameters
        .get("client_notification_token")
        .ok_or(BackchannelRequestError::NotificationTokenMissing)?;
    let is_character = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~+/".contains(&octet);
    let is_token = !token.is_empty() && token.trim_end_matches('=').bytes().all(is_character);
    let has_length = (NOTIFICATION_TOKEN_BYTES_MIN..=NOTIFICATION_TOKEN_BYTES_MAX).contains(&token.len());
    if is_token && has_length {
        Ok(token.to_owned())
    } else {
        Err(BackchannelRequestError::NotificationToken)
    }
}

fn binding_message(parameters: &AuthorizationParameters) -> Result<Option<String>, BackchannelRequestError> {
    let Some(message) = parameters.get("binding_message") else {
        return Ok(None);
    };
    let is_plain = |character: char| {
        character.is_alphanumeric()
            || character == ' '
            || character.is_ascii_punctuation()
            || CURRENCIES.contains(character)
    };
    if message.chars().count() > BINDING_MESSAGE_CHARACTERS_MAX || !message.chars().all(is_plain) {
        return Err(BackchannelRequestError::BindingMessage);
    }
    Ok(Some(message.to_owned()))
}

fn requested_expiry(parameters: &AuthorizationParameters) -> Result<Option<Duration>, BackchannelRequestError> {
    let Some(text) = parameters.get("requested_expiry") else {
        return Ok(None);
    };
    let is_number = text.len() <= 9 && text.bytes().all(|octet| octet.is_ascii_digit());
    match text.parse() {
        Ok(seconds) if is_number && seconds > 0 => Ok(Some(Duration::from_secs(seconds))),
        _ => Err(BackchannelRequestError::RequestedExpiry),
    }
}

fn words(text: &str) -> Vec<String> {
    let words = text.split(' ').filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

impl std::fmt::Debug for BackchannelRequest {
    /// Without what is secret, or somebody's name.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("BackchannelRequest")
            .field("wanted", &self.wanted)
            .field("requested_expiry", &self.requested_expiry)
            .finish_non_exhaustive()
    }
}
