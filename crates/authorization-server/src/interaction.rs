//! One authorization request on its way through the pages of one browser: begun by `/authorize`, ended by a redirect to the client.
//!
//! The URL has the identifier and a cookie has the secret; neither is worth anything without the other, and both rest as hashes. It
//! lives ten minutes. Finishing it is one compare-and-set in the store, which also spends the pushed request: of two interactions
//! with one `request_uri` the second ends on the error page.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use http::header::SET_COOKIE;
use keybound_protocol::authorization_request::AuthorizationRequest;
use keybound_protocol::authorization_response::{self, AuthorizationResponse, ResponseTarget};
use keybound_protocol::base64url;
use keybound_protocol::claims_request::ClaimsRequest;
use keybound_protocol::client::Client;
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::grant_id::{GRANT_ID_RANDOM_BYTES, GrantId};
use keybound_protocol::grant_type::GrantType;
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::time::Timestamp;
use keybound_store::{
    Actor, AuditEntry, AuthorizationCode, AuthorizationCodeHash, BeginInteraction, BrowserSecretHash,
    CompleteInteraction, Grant, GrantState, InteractionHash, InteractionOutcome, NewInteraction, RequestUriHash,
    SignedIn, StoredInteraction,
};

use crate::authorization_requests::{self, RequestRefusal};
use crate::authorization_responses;
use crate::clients::PreparedClient;
use crate::configuration::Configuration;
use crate::error::Reason;
use crate::pages::refusal::PageRefusal;
use crate::pages::session::Session;
use crate::pages::terms::ShownClient;
use crate::pages::{PageRequest, cookies, page_response, session};
use crate::response::Response;

/// How long a user may take.
const INTERACTION_LIFETIME: Duration = Duration::from_secs(10 * 60);
/// How long the client may take to redeem its code.
const CODE_LIFETIME: Duration = Duration::from_secs(60);
/// How long a grant lasts that a refresh token may come of.
const REFRESHABLE_GRANT_LIFETIME: Duration = Duration::from_secs(365 * 86_400);
/// Cookies of interactions that one browser keeps. A page that opens more has the oldest forgotten: it must not fill up the header.
const INTERACTIONS_PER_BROWSER: usize = 12;
const ID_BYTES: usize = 16;
const CODE_BYTES: usize = 32;

/// An interaction that this browser began and that is not over.
pub(crate) struct OpenInteraction {
    /// As it is in the URL.
    pub(crate) id: String,
    pub(crate) hash: InteractionHash,
    /// The value of its cookie.
    pub(crate) secret: String,
    pub(crate) request: AuthorizationRequest,
    /// When the request came.
    pub(crate) begun_at: Timestamp,
    pub(crate) signed_in: Option<SignedIn>,
    pub(crate) client: Arc<PreparedClient>,
}

impl OpenInteraction {
    /// What the client is called.
    pub(crate) fn client_name(&self) -> String {
        ShownClient::of(&self.client.client).name
    }
}

/// Why the user who is signed in is not the one that a client wants, or has to sign in again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnwantedSignIn {
    #[error("the client wants the user to sign in again")]
    Again,
    #[error("the user signed in {age} s ago, and max_age is {max_age} s")]
    TooLongAgo { age: u64, max_age: u64 },
    #[error("another user is signed in than the one that id_token_hint or claims name")]
    AnotherUser,
}

/// Begins an interaction for a request that its client may make, and whose user may be asked.
///
/// `pushed` is the request's own if it was pushed; that it has not expired was judged by the caller.
///
/// # Errors
/// What only the user can be told.
pub(crate) async fn begin(
    page: &PageRequest<'_>,
    request: &AuthorizationRequest,
    pushed: Option<RequestUriHash>,
) -> Result<Response, Reason> {
    let opened = page.server.interactions.take_prefix(page.connection.remote_addr().ip());
    opened.map_err(PageRefusal::TooOften)?;
    let signed_in = session::current(page)
        .await?
        .map(|session| session.signed_in)
        .filter(|signed_in| require_wanted(signed_in, request, page.now).is_ok());
    let next = if signed_in.is_some() { "consent" } else { "login" };
    let (id, secret) = (random::<ID_BYTES>()?, session::new_secret()?);
    let interaction = NewInteraction {
        hash: InteractionHash::of(&id),
        browser: BrowserSecretHash::of(&secret),
        client_id: request.client_id().clone(),
        request: request.to_json(),
        pushed,
        signed_in,
        expires_at: page.now.plus(INTERACTION_LIFETIME),
    };
    match page.server.store.interactions.begin_interaction(interaction).await? {
        BeginInteraction::Begun => {}
        BeginInteraction::AlreadyBegun => return Err(PageRefusal::Random.into()),
        BeginInteraction::RequestUriUsedUp => return Err(PageRefusal::RequestUriUsedUp.into()),
        BeginInteraction::TooMany => return Err(PageRefusal::TooManyInteractions.into()),
    }
    let mut response = page_response::see_other(&url(page.configuration, &id, next));
    let known: Vec<&str> = cookies::names_with(&page.parts.headers, cookies::INTERACTION_PREFIX).collect();
    let too_many = (known.len() + 1).saturating_sub(INTERACTIONS_PER_BROWSER);
    let forgotten = known.into_iter().take(too_many).filter_map(cookies::remove);
    let set = cookies::set(&cookie_name(&id), &secret, INTERACTION_LIFETIME);
    response
        .headers_mut()
        .extend(forgotten.chain(set).map(|cookie| (SET_COOKIE, cookie)));
    Ok(response)
}

/// Judges whether the client takes this sign-in, or wants another one.
///
/// # Errors
/// [`UnwantedSignIn`]
pub(crate) fn require_wanted(
    signed_in: &SignedIn,
    request: &AuthorizationRequest,
    now: Timestamp,
) -> Result<(), UnwantedSignIn> {
    let prompt = request.prompt();
    if prompt.login || prompt.select_account {
        return Err(UnwantedSignIn::Again);
    }
    let age = now.duration_since(signed_in.auth_time).as_secs();
    match request.max_age() {
        // `max_age=0` is `prompt=login` (OpenID Connect Core §3.1.2.1), also within one second.
        Some(max_age) if max_age == 0 || age > max_age => {
            return Err(UnwantedSignIn::TooLongAgo { age, max_age });
        }
        _ => {}
    }
    if !request.is_about(signed_in.subject.as_str()) {
        return Err(UnwantedSignIn::AnotherUser);
    }
    Ok(())
}

/// The interaction of the URL, if it is this browser's and can go on.
///
/// # Errors
/// [`PageRefusal`], [`Reason::Store`]
pub(crate) fn open(page: &PageRequest<'_>) -> Result<OpenInteraction, Reason> {
    let id = id_of(page.path()).ok_or(PageRefusal::UnknownInteraction)?;
    open_by_id(page, id)
}

/// The interaction with this identifier, if it is this browser's and can go on.
///
/// # Errors
/// [`PageRefusal`], [`Reason::Store`]
pub(crate) fn open_by_id(page: &PageRequest<'_>, id: &str) -> Result<OpenInteraction, Reason> {
    read(page, id, |found| require_unfinished(page, found))
}

/// The interaction of the URL, which this browser finished before.
///
/// # Errors
/// [`PageRefusal`], [`Reason::Store`]
pub(crate) fn finished(page: &PageRequest<'_>) -> Result<OpenInteraction, Reason> {
    let id = id_of(page.path()).ok_or(PageRefusal::UnknownInteraction)?;
    read(page, id, |found| match found.is_completed {
        true => Ok(()),
        false => Err(PageRefusal::UnknownInteraction.into()),
    })
}

/// The interaction with this identifier, if it is this browser's and `judged` well.
fn read(
    page: &PageRequest<'_>,
    id: &str,
    judged: impl FnOnce(&StoredInteraction) -> Result<(), Reason>,
) -> Result<OpenInteraction, Reason> {
    let secret = cookies::find(&page.parts.headers, &cookie_name(id)).ok_or(PageRefusal::ForeignBrowser)?;
    let hash = InteractionHash::of(id);
    let store = &page.server.store;
    let found = store
        .interactions
        .find_interaction(&hash)?
        .ok_or(PageRefusal::UnknownInteraction)?;
    // Hashes of random secrets: how long the comparison takes tells nothing about them.
    if found.interaction.browser != BrowserSecretHash::of(secret) {
        return Err(PageRefusal::ForeignBrowser.into());
    }
    judged(&found)?;
    let interaction = found.interaction;
    let client = page
        .server
        .clients
        .find(&interaction.client_id)?
        .ok_or(PageRefusal::ClientGone)?;
    // Written by another version of this server: the client has to ask anew.
    let request = AuthorizationRequest::from_json(&interaction.request).map_err(|_| PageRefusal::UnknownInteraction)?;
    // At every page of it, and when it is answered: the client may have become another since.
    let policy = authorization_requests::policy(page.configuration, request.form().is_pushed);
    let permitted = request.require_still_permitted(&client.client, &policy);
    permitted.map_err(|refused| RequestRefusal::from(refused.reason))?;
    Ok(OpenInteraction {
        id: id.to_owned(),
        hash,
        secret: secret.to_owned(),
        request,
        begun_at: interaction.expires_at.minus(INTERACTION_LIFETIME),
        signed_in: interaction.signed_in,
        client,
    })
}

/// Said before the user types a password for nothing; what counts is the compare-and-set in the end.
fn require_unfinished(page: &PageRequest<'_>, found: &StoredInteraction) -> Result<(), Reason> {
    // Before the pushed request is looked at, which this interaction may have spent itself.
    if found.is_completed {
        return Err(PageRefusal::InteractionFinished.into());
    }
    let pushed_requests = &page.server.store.pushed_requests;
    let pushed = found.interaction.pushed.as_ref();
    let pushed = pushed
        .map(|hash| pushed_requests.find_pushed_request(hash))
        .transpose()?;
    if pushed.flatten().is_some_and(|pushed| pushed.is_spent) {
        return Err(PageRefusal::RequestUriSpent.into());
    }
    if found.interaction.expires_at <= page.now {
        return Err(PageRefusal::InteractionExpired.into());
    }
    Ok(())
}

/// The user consented: stores the grant and its code, and takes the code to the client.
///
/// # Errors
/// [`PageRefusal`] if the interaction, or another of its `request_uri`, was finished meanwhile, or the user was disabled.
pub(crate) async fn grant(
    page: &PageRequest<'_>,
    open: OpenInteraction,
    session: &Session,
) -> Result<Response, Reason> {
    let expires_at = page.now.plus(grant_lifetime(page.configuration, &open.client.client));
    let signed_in = &session.signed_in;
    let drawn = draw_grant(&open.request, signed_in, page.now, expires_at)?;
    let drawn = drawn.with_code(page.server.consent_codes.code(&open.secret, &session.secret));
    let outcome = InteractionOutcome::Granted {
        grant: Box::new(drawn.grant),
        code: Box::new(drawn.code),
    };
    complete(page, &open, outcome, page.entry_of(&signed_in.subject)).await?;
    leave(page, &open, authorization_response::granted(&drawn.code_text)).await
}

/// Takes the code to the client that this session's consent to a finished interaction ended with; `None` if it ended otherwise, or if
/// the code or its grant is over. A client that has redeemed the code is not brought to do so again, which would end the grant.
///
/// # Errors
/// [`Reason::Store`], [`Reason::ResponseSigning`]
pub(crate) async fn grant_again(
    page: &PageRequest<'_>,
    finished: &OpenInteraction,
    session: &Session,
) -> Result<Option<Response>, Reason> {
    let code = page.server.consent_codes.code(&finished.secret, &session.secret);
    let codes = &page.server.store.authorization_codes;
    let found = codes.find_authorization_code(&AuthorizationCodeHash::of(&code))?;
    let counts = found.is_some_and(|found| {
        !found.is_spent && page.now < found.code.expires_at && found.grant.state == GrantState::Live
    });
    if !counts {
        return Ok(None);
    }
    leave(page, finished, authorization_response::granted(&code))
        .await
        .map(Some)
}

/// A grant with its code, drawn and not recorded.
pub(crate) struct DrawnGrant {
    pub(crate) grant: Grant,
    pub(crate) code: AuthorizationCode,
    pub(crate) code_text: String,
}

impl DrawnGrant {
    fn with_code(mut self, code_text: String) -> DrawnGrant {
        self.code.hash = AuthorizationCodeHash::of(&code_text);
        DrawnGrant { code_text, ..self }
    }
}

/// Draws a grant of all that was asked for, and its code.
///
/// # Errors
/// [`PageRefusal::Random`]
pub(crate) fn draw_grant(
    request: &AuthorizationRequest,
    signed_in: &SignedIn,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<DrawnGrant, PageRefusal> {
    let mut octets = [0; GRANT_ID_RANDOM_BYTES];
    SystemRandom::new().fill(&mut octets).map_err(|_| PageRefusal::Random)?;
    let details = request.authorization_details();
    let claims = request.claims();
    let grant = Grant {
        grant_id: GrantId::from_random(octets),
        client_id: request.client_id().clone(),
        subject: signed_in.subject.clone(),
        scope: request.scope().as_str().to_owned(),
        resources: request
            .resources()
            .iter()
            .map(ResourceUri::as_str)
            .map(str::to_owned)
            .collect(),
        authorization_details: (!details.is_empty()).then(|| details.to_json().to_string()),
        claims: claims_json(claims),
        auth_time: Some(signed_in.auth_time),
        acr: signed_in.acr.clone(),
        created_at: now,
        expires_at,
        based_on: None,
    };
    let code_text = random::<CODE_BYTES>()?;
    let code = AuthorizationCode {
        hash: AuthorizationCodeHash::of(&code_text),
        redirect_uri: request.sent_redirect_uri().map(|uri| uri.as_str().to_owned()),
        code_challenge: request.code_challenge().map(|challenge| challenge.to_text()),
        nonce: request.nonce().map(str::to_owned),
        dpop_jkt: request.dpop_jkt().map(str::to_owned),
        terms: Some(request.terms().to_json()),
        expires_at: now.plus(CODE_LIFETIME),
    };
    Ok(DrawnGrant { grant, code, code_text })
}

/// The user refused or left, or cannot be the one the client wants: takes `code` to the client.
///
/// # Errors
/// [`PageRefusal`] if the interaction, or another of its `request_uri`, was finished meanwhile.
pub(crate) async fn deny(page: &PageRequest<'_>, open: OpenInteraction, code: ErrorCode) -> Result<Response, Reason> {
    let entry = match &open.signed_in {
        Some(signed_in) => page.entry_of(&signed_in.subject),
        None => page.audit_entry(Actor::Server),
    };
    complete(page, &open, InteractionOutcome::Denied, entry).await?;
    leave(page, &open, AuthorizationResponse::Error(code)).await
}

async fn complete(
    page: &PageRequest<'_>,
    open: &OpenInteraction,
    outcome: InteractionOutcome,
    entry: AuditEntry,
) -> Result<(), Reason> {
    let stored = &page.server.store.interactions;
    let completed = stored.complete_interaction(open.hash, outcome, entry);
    let refusal = match completed.await? {
        CompleteInteraction::Completed => return Ok(()),
        CompleteInteraction::AlreadyCompleted => PageRefusal::InteractionFinished,
        CompleteInteraction::RequestUriSpent => PageRefusal::RequestUriSpent,
        CompleteInteraction::UserBarred => PageRefusal::UserBarred,
        CompleteInteraction::Expired => PageRefusal::InteractionExpired,
        CompleteInteraction::NotSignedIn | CompleteInteraction::Unknown => PageRefusal::UnknownInteraction,
    };
    Err(refusal.into())
}

async fn leave(
    page: &PageRequest<'_>,
    open: &OpenInteraction,
    outcome: AuthorizationResponse<'_>,
) -> Result<Response, Reason> {
    // The cookie stays until its time is over: whoever sends the form again, or goes back to the page, is told that they answered, and
    // not that they are somebody else. A finished interaction does nothing any more.
    to_client(page, open.request.target(), outcome).await
}

/// Takes an outcome to the client.
///
/// # Errors
/// [`Reason::ResponseSigning`] if it is to be signed and cannot be.
pub(crate) async fn to_client(
    page: &PageRequest<'_>,
    target: &ResponseTarget,
    outcome: AuthorizationResponse<'_>,
) -> Result<Response, Reason> {
    let issuer = &page.configuration.issuer;
    let client = page.server.clients.find(&target.client_id)?;
    let registered = client.and_then(|client| {
        let authorization = client.client.metadata().authorization();
        authorization.authorization_signed_response_alg
    });
    let signer = page.server.keys.ring().signer_for_or_usual(registered);
    Ok(authorization_responses::redirect(signer, issuer, target, outcome, page.now).await?)
}

/// How long what a user allows this client lasts: a year if it may refresh, else no longer than the one token that comes of it.
pub(crate) fn grant_lifetime(configuration: &Configuration, client: &Client) -> Duration {
    if client.metadata().permits_grant_type(GrantType::RefreshToken) {
        REFRESHABLE_GRANT_LIFETIME
    } else {
        one_token_lifetime(configuration)
    }
}

/// How long a grant lasts that one code and the token for it come of.
pub(crate) fn one_token_lifetime(configuration: &Configuration) -> Duration {
    CODE_LIFETIME + configuration.access_token_lifetime
}

/// The path of one of its pages.
pub(crate) fn url(configuration: &Configuration, id: &str, page: &str) -> String {
    format!("{}/interaction/{id}/{page}", configuration.issuer_path)
}

/// `claims` as it is stored; `None` if nothing was asked for.
fn claims_json(claims: &ClaimsRequest) -> Option<String> {
    if *claims == ClaimsRequest::default() {
        return None;
    }
    serde_json::to_string(claims).ok()
}

fn id_of(path: &str) -> Option<&str> {
    let (id, _) = path.strip_prefix("/interaction/")?.split_once('/')?;
    Some(id)
}

fn cookie_name(id: &str) -> String {
    format!("{}{id}", cookies::INTERACTION_PREFIX)
}

fn random<const BYTES: usize>() -> Result<String, PageRefusal> {
    let mut octets = [0; BYTES];
    SystemRandom::new().fill(&mut octets).map_err(|_| PageRefusal::Random)?;
    Ok(base64url::encode(&octets))
}
