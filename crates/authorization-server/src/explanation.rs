//! What an operator reads about a refusal: every rule of the decision in its order, where it ended, and what to do.
//!
//! Derived from the reason afterwards; nothing is decided here. The lists follow the order in which endpoints check.

use keybound_protocol::authorization_request::AuthorizationRequestError;
use keybound_protocol::backchannel_authentication::BackchannelRequestError;
use keybound_protocol::client_authentication::{ExplanationContext, rules as authentication_rules};
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::form::FormError;
use keybound_protocol::refusal::Refusal;
use keybound_protocol::rule::{Outcome, RuleOutcome};
use keybound_protocol::token_exchange::TokenExchangeError;
use keybound_protocol::token_request::TokenRequestError;
use keybound_tls::LayerRefusal;

use crate::access_tokens::IssueError;
use crate::approvals::ApprovalRefusal;
use crate::authorization_requests::RequestRefusal;
use crate::client_authentication::AuthenticationFailure;
use crate::endpoints::authorization::AuthorizationRefusal;
use crate::endpoints::registration::RegistrationRefusal;
use crate::endpoints::userinfo::UserinfoRefusal;
use crate::error::Reason;
use crate::grants::authorization_code::CodeRefusal;
use crate::grants::client_credentials::GrantRefusal;
use crate::grants::refresh_token::RefreshRefusal;
use crate::grants::share::ShareRefusal;
use crate::pages::refusal::PageRefusal;
use crate::refusals::Circumstances;
use crate::router::Route;
use crate::trusted_issuers::NotTraded;

const CURSOR: &str = "a cursor of this server";
const HELD: &str = "room for one more follower";
const PATH: &str = "path of an endpoint";
const METHOD: &str = "HTTP method of the endpoint";
const MEDIA_TYPE: &str = "media type application/x-www-form-urlencoded";
const FORM: &str = "well-formed form without repeated parameters";
const AUTHENTICATION: &str = "client authenticated";
const RATE: &str = "failed authentications within their limit";
const GRANT_KNOWN: &str = "grant type supported";
const GRANT_REGISTERED: &str = "grant type registered";
const BINDING: &str = "certificate presented to bind the access token to";
const PROOF: &str = "DPoP proof, where there is or has to be one, made for this request";
const PROOF_KEY: &str = "dpop_jkt and DPoP proof of one key";
const REQUEST: &str = "authorization request acceptable";
const REQUEST_OBJECT: &str = "request object made by the client for this server, now";
const PUSHED_ROOM: &str = "room for one more pushed request";
const ASKED_SELDOM: &str = "requests of this client, or its address prefix, within their limit";
const POLLED_SELDOM: &str = "questions of this client, or its address prefix, within their limit";
const DELIVERY: &str = "way of delivery registered and served";
const BACKCHANNEL_REQUEST: &str = "backchannel authentication request acceptable";
const USER_FOUND: &str = "user known by the hint";
const USER_CODE: &str = "user's code right";
const REQUEST_ONCE: &str = "signed request not used before";
const APPROVAL_ROOM: &str = "room for one more request of a user";
const DECISION: &str = "user said yes";
const GRANT_PARAMETERS: &str = "every parameter of the grant sent, and well-formed";
const CODE: &str = "authorization code of this client, in time and unused";
const REDIRECT_URI: &str = "redirect_uri of the authorization request";
const VERIFIER: &str = "code_verifier of the code_challenge";
const KEY: &str = "key that the code is bound to";
const STILL_PERMITTED: &str = "client may still ask as it did";
const REFRESH_TOKEN: &str = "refresh token of this client, in time";
const HOLDER: &str = "certificate or key that the refresh token is bound to";
const REUSE: &str = "refresh token not replaced before";
const GRANTED: &str = "within what the user allowed";
const TRADED: &str = "tokens to trade good, of a trusted issuer, and presented by their holder";
const TRADE: &str = "within what the tokens traded permit";
const SCOPE: &str = "scope registered";
const RESOURCE: &str = "one configured resource asked for";
const TOGETHER: &str = "scope and resource belong together";
const TOKEN: &str = "parameter token sent";
const OWN_TOKEN: &str = "token issued to this client";
const CLIENT_KNOWN: &str = "client known";
const REQUEST_URI: &str = "request_uri pushed by this client, in time, and not used up";
const SILENT: &str = "with prompt=none: user signed in, and asked before";
const STORE: &str = "store answers";
const ISSUED: &str = "access token made";
const RESPONSE_SIGNED: &str = "introspection response signed";

const AT_TOKEN: [&str; 28] = [
    METHOD,
    MEDIA_TYPE,
    FORM,
    AUTHENTICATION,
    GRANT_KNOWN,
    GRANT_REGISTERED,
    PROOF,
    BINDING,
    GRANT_PARAMETERS,
    CODE,
    REDIRECT_URI,
    VERIFIER,
    KEY,
    REFRESH_TOKEN,
    HOLDER,
    REUSE,
    DELIVERY,
    POLLED_SELDOM,
    DECISION,
    STILL_PERMITTED,
    GRANTED,
    TRADED,
    TRADE,
    SCOPE,
    RESOURCE,
    TOGETHER,
    STORE,
    ISSUED,
];
const AT_INTROSPECTION: [&str; 7] = [METHOD, MEDIA_TYPE, FORM, AUTHENTICATION, TOKEN, STORE, RESPONSE_SIGNED];
const AT_REVOCATION: [&str; 7] = [METHOD, MEDIA_TYPE, FORM, AUTHENTICATION, TOKEN, OWN_TOKEN, STORE];
/// After those of the protected resource, which have records of their own.
const AT_REVOCATIONS: [&str; 5] = [METHOD, FORM, CURSOR, HELD, STORE];
const AT_PUSHED_AUTHORIZATION: [&str; 13] = [
    METHOD,
    MEDIA_TYPE,
    FORM,
    AUTHENTICATION,
    GRANT_REGISTERED,
    ASKED_SELDOM,
    PROOF,
    REQUEST_OBJECT,
    REQUEST,
    PROOF_KEY,
    BINDING,
    PUSHED_ROOM,
    STORE,
];
const AT_DEVICE_AUTHORIZATION: [&str; 9] = [
    METHOD,
    MEDIA_TYPE,
    FORM,
    AUTHENTICATION,
    GRANT_REGISTERED,
    ASKED_SELDOM,
    REQUEST,
    APPROVAL_ROOM,
    STORE,
];
const AT_BACKCHANNEL_AUTHENTICATION: [&str; 16] = [
    METHOD,
    MEDIA_TYPE,
    FORM,
    AUTHENTICATION,
    GRANT_REGISTERED,
    DELIVERY,
    BINDING,
    ASKED_SELDOM,
    REQUEST_OBJECT,
    BACKCHANNEL_REQUEST,
    GRANTED,
    USER_FOUND,
    USER_CODE,
    REQUEST_ONCE,
    APPROVAL_ROOM,
    STORE,
];
const ELSEWHERE: [&str; 3] = [PATH, METHOD, STORE];
const AT_AUTHORIZATION: [&str; 14] = [
    METHOD,
    MEDIA_TYPE,
    FORM,
    CLIENT_KNOWN,
    REQUEST_URI,
    REQUEST_OBJECT,
    REQUEST,
    SILENT,
    PageRefusal::RULES[8],
    PageRefusal::RULES[9],
    PageRefusal::RULES[10],
    STORE,
    RESPONSE_SIGNED,
    PageRefusal::RULES[11],
];
const AT_PAGES: [&str; 15] = [
    PATH,
    METHOD,
    MEDIA_TYPE,
    FORM,
    PageRefusal::RULES[0],
    PageRefusal::RULES[1],
    PageRefusal::RULES[2],
    PageRefusal::RULES[3],
    PageRefusal::RULES[4],
    REQUEST,
    PageRefusal::RULES[5],
    PageRefusal::RULES[6],
    PageRefusal::RULES[7],
    PageRefusal::RULES[11],
    STORE,
];

/// The rules of the decision that ended with `reason`.
pub(crate) fn rules(reason: &Reason, circumstances: &Circumstances<'_>) -> Vec<RuleOutcome> {
    let names: &[&str] = match circumstances.route {
        _ if matches!(reason, Reason::Transport(_)) => &LayerRefusal::RULES,
        Some(Route::Token) => &AT_TOKEN,
        Some(Route::Introspection) => &AT_INTROSPECTION,
        Some(Route::Revocation) => &AT_REVOCATION,
        Some(Route::Revocations) => &AT_REVOCATIONS,
        Some(Route::Userinfo) => &UserinfoRefusal::RULES,
        Some(Route::Registration | Route::ClientConfiguration) => &RegistrationRefusal::RULES,
        Some(Route::PushedAuthorization) => &AT_PUSHED_AUTHORIZATION,
        Some(Route::DeviceAuthorization) => &AT_DEVICE_AUTHORIZATION,
        Some(Route::BackchannelAuthentication) => &AT_BACKCHANNEL_AUTHENTICATION,
        Some(Route::Authorization) => &AT_AUTHORIZATION,
        Some(route) if route.is_page() => &AT_PAGES,
        Some(_) | None => &ELSEWHERE,
    };
    let mut outcomes = Vec::with_capacity(names.len() + 12);
    for outcome in RuleOutcome::list(names, failed_rule(reason)) {
        match (&*outcome.rule, outcome.outcome) {
            (AUTHENTICATION, Outcome::Failed) => outcomes.extend(of_authentication(reason, circumstances)),
            (AUTHENTICATION, Outcome::Passed) => outcomes.push(authenticated(outcome, circumstances)),
            (_, Outcome::Failed) => outcomes.push(failed(outcome, reason)),
            _ => outcomes.push(outcome),
        }
    }
    outcomes
}

/// What to do about it.
pub(crate) fn fix(reason: &Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::PathUnknown { .. } => {
            "take the endpoints from the server's metadata; the admin API is on the mutual-TLS listener"
        }
        Reason::MethodNotAllowed { .. } => "use one of the methods in the Allow header",
        Reason::MediaType { .. } => "send the parameters as application/x-www-form-urlencoded in the body",
        Reason::Form(_) => "send each parameter once, percent-encoded UTF-8",
        Reason::Unauthenticated(failure) => failure.error.fix(),
        Reason::TooManyFailures { failure, .. } => failure.error.fix(),
        Reason::TokenRequest(TokenRequestError::GrantTypeMissing) => "send grant_type",
        Reason::TokenRequest(TokenRequestError::GrantTypeUnsupported(_)) => {
            "use a grant type of the metadata's grant_types_supported"
        }
        Reason::TokenRequest(TokenRequestError::Scope(_)) => "send scope as words with single spaces between them",
        Reason::TokenRequest(TokenRequestError::ParameterMissing(_) | TokenRequestError::ActorIncomplete) => {
            "send the parameters that the grant type needs"
        }
        Reason::TokenRequest(TokenRequestError::AuthorizationDetails(_)) => {
            "send authorization_details as a JSON array of objects of a configured type"
        }
        Reason::TokenRequest(_) => "send resource as an absolute URI without fragment",
        Reason::GrantNotRegistered { .. } => {
            "register the grant type (keybound client update), or use a registered one"
        }
        Reason::PublicClient { .. } | Reason::PublicCaller => "register an authentication method for the client",
        Reason::DpopProof { error, .. } => error.fix(),
        Reason::TwoBindings => {
            "let the client come with a certificate or with a DPoP proof; if it cannot do mutual TLS, register dpop_bound_access_tokens = true and tls_client_certificate_bound_access_tokens = false"
        }
        Reason::DpopKeyDiffers { .. } => "let the client send dpop_jkt or a DPoP proof, or both by one key",
        Reason::NothingToBindTo(_) => {
            "use the endpoint of mtls_endpoint_aliases and present a certificate, or register tls_client_certificate_bound_access_tokens = false"
        }
        Reason::Exchange(refusal) => exchange_fix(refusal),
        Reason::Grant(refusal) => match refusal {
            GrantRefusal::ScopeNotRegistered { .. } => "ask for less, or register the scope (keybound client update)",
            GrantRefusal::ScopeReserved { .. } => {
                "let an administrator make a client for administration (keybound admin create)"
            }
            GrantRefusal::ScopeOfAnotherResource { .. } => {
                "ask for keybound:admin alone, with resource {issuer}/admin or none; keybound:revocations likewise"
            }
            GrantRefusal::NothingInside { .. } => {
                "register scope keybound:admin (for {issuer}/admin) or keybound:revocations (for {issuer}/revocations) for the client"
            }
            GrantRefusal::ResourceUnknown { .. } => {
                "configure the resource ([[resources]]), or ask for a configured one"
            }
            GrantRefusal::SeveralResources { .. } => "ask for one token for each resource",
            GrantRefusal::NoDefaultResource => "configure tokens.default_resource, or send resource",
        },
        Reason::AuthorizationCode(refusal) => match refusal {
            CodeRefusal::Unknown | CodeRefusal::Expired | CodeRefusal::GrantEnded => {
                "begin again with an authorization request: a code is good once and for a minute"
            }
            CodeRefusal::OfAnotherClient { .. } => "let the client redeem the code that asked for it",
            CodeRefusal::AlreadyRedeemed => {
                "find out who else had the code; the client has to begin again with an authorization request"
            }
            CodeRefusal::RedirectUri { .. } => "send the redirect_uri of the authorization request, octet for octet",
            CodeRefusal::Verifier(_) => {
                "send the code_verifier that the code_challenge was made of, and none without one"
            }
            CodeRefusal::PublicWithoutChallenge => "send code_challenge (S256) in the authorization request",
            CodeRefusal::NotPermittedAnyMore(error) => asked_fix(error),
            CodeRefusal::KeyDiffers => "send a DPoP proof by the key that the authorization request named",
        },
        Reason::RefreshToken(refusal) => match refusal {
            RefreshRefusal::Unknown | RefreshRefusal::Idle | RefreshRefusal::GrantEnded => {
                "begin again with an authorization request"
            }
            RefreshRefusal::OfAnotherClient { .. } => "let the client use the refresh token that it was given to",
            RefreshRefusal::NotAuthenticated => "authenticate as the client was registered when the token was given",
            RefreshRefusal::HolderDiffers { .. } => {
                "use the certificate or key that the refresh token was given over; after a new one, begin again"
            }
            RefreshRefusal::Reused => {
                "find out who else had the refresh token; the client has to begin again with an authorization request"
            }
        },
        Reason::Share(refusal) => match refusal {
            ShareRefusal::ScopeNotGranted { .. } => "ask for less, or ask the user for more",
            ShareRefusal::ScopeNotRegistered { .. } | ShareRefusal::NothingLeft { .. } => {
                "register the scope for the client again (keybound client update), or ask for less"
            }
            ShareRefusal::ResourceNotGranted { .. } => "ask for a resource that the user allowed, or ask the user",
            ShareRefusal::ResourceUnknown { .. } => "configure the resource ([[resources]]), or ask for another",
            ShareRefusal::SeveralResources { .. } => "send one resource: one token for each",
            ShareRefusal::NoDefaultResource => "configure tokens.default_resource, or send resource",
            ShareRefusal::AuthorizationDetails(_) => "ask for the details that were granted, or for a part of them",
        },
        Reason::IntrospectionRequest(_) | Reason::RevocationRequest(_) => "send token",
        Reason::AuthorizationRequest(refusal) => request_fix(refusal),
        Reason::Approval(refusal) => approval_fix(refusal),
        Reason::PasswordHashing(_) => "see the server's log; limits.passwords_waiting_max bounds what waits",
        Reason::PushedTooOften(_) => {
            "push less often; limits.pushed_requests_per_minute bounds it, and limits.public_requests_per_minute"
        }
        Reason::TooManyPushedRequests => "wait until the pushed requests that are waiting have expired",
        Reason::ForeignToken => "let the client revoke it that it was issued to",
        Reason::RevocationCursor(_) => "ask without `after` for everything, then with the cursor of the last answer",
        Reason::Userinfo(refused) => refused.refusal.fix(),
        Reason::Registration(refusal) => refusal.fix(),
        Reason::TooManyFollowers => {
            "raise limits.revocation_followers_max, or find out who asks more than once at a time"
        }
        Reason::Authorization(refusal) => refusal.fix(),
        Reason::Silent(refusal) => refusal.fix(),
        Reason::Page(refusal) => refusal.fix(),
        Reason::Store(_) | Reason::Issue(_) => {
            "see the server's log, and whether the database's disk is full or another process holds it"
        }
        Reason::ResponseAlgorithm { .. } => {
            "register the algorithm that tokens.signing_algorithm names (introspection_signed_response_alg), or none"
        }
        Reason::ResponseSigning(_) => "see the server's log, and rotate the signing key",
        Reason::Transport(refusal) => refusal.fix(),
    })
}

fn approval_fix(refusal: &ApprovalRefusal) -> &'static str {
    match refusal {
        ApprovalRefusal::Pending => "ask again after the interval",
        ApprovalRefusal::TooEarly => "ask again after the interval, and five seconds more each time this is answered",
        ApprovalRefusal::Denied => "nothing: the user said no",
        ApprovalRefusal::Expired | ApprovalRefusal::Spent | ApprovalRefusal::Unknown => "begin anew",
        ApprovalRefusal::TooManyWaiting => "wait until requests that nobody answers have expired",
        ApprovalRefusal::TooOften(_) => {
            "ask less often; limits.approval_requests_per_minute bounds it, and limits.public_requests_per_minute"
        }
        ApprovalRefusal::PolledTooOften(_) => {
            "keep to the interval; limits.approval_polls_per_minute bounds all questions"
        }
        ApprovalRefusal::CodesTaken => "try again; if it stays so, the system's random numbers repeat",
        ApprovalRefusal::Request(error) => backchannel_fix(error),
        ApprovalRefusal::NotPermittedAnyMore(error) => backchannel_fix(error),
        ApprovalRefusal::RequestReplayed | ApprovalRefusal::RequestWithoutId => {
            "sign a new request for each attempt, with a jti that was not used before"
        }
        ApprovalRefusal::KeysUnavailable(_) => "let the client's jwks_uri answer",
        ApprovalRefusal::NoDelivery => {
            "register backchannel_token_delivery_mode poll or ping; push needs backchannel.push_enabled, OpenID Connect, and no FAPI profile"
        }
        ApprovalRefusal::Pushed => {
            "take the tokens that are posted to the notification endpoint, or register backchannel_token_delivery_mode poll or ping"
        }
        ApprovalRefusal::UnknownUser => "send the name or the sub of a user who can sign in as login_hint",
        ApprovalRefusal::UserCodeMissing => {
            "send user_code, or register the client without backchannel_user_code_parameter"
        }
        ApprovalRefusal::UserCodeWrong => "send the code that the user has (keybound user update --user-code-file)",
    }
}

fn backchannel_fix(error: &BackchannelRequestError) -> &'static str {
    match error {
        BackchannelRequestError::Wanted(error) => asked_fix(error),
        BackchannelRequestError::RequestObject(_) => {
            "sign the request with a registered key, made out to the issuer, with iss, iat, jti, and exp and nbf within an hour"
        }
        BackchannelRequestError::BesideRequest(_) => "send inside the signed request alone what is asked for",
        BackchannelRequestError::NotSigned => "send what is asked for as a signed request (parameter request)",
        BackchannelRequestError::NotOpenid => "send openid in the scope",
        BackchannelRequestError::Hints(_) | BackchannelRequestError::HintTooLong => {
            "send exactly one of login_hint, login_hint_token and id_token_hint"
        }
        BackchannelRequestError::NotificationTokenMissing | BackchannelRequestError::NotificationToken => {
            "send client_notification_token: 22 to 1024 characters of a bearer token, new for each request"
        }
        BackchannelRequestError::RequestedExpiry => {
            "send requested_expiry as a positive number of seconds, or not at all"
        }
        BackchannelRequestError::BindingMessage => {
            "send binding_message as one line of at most 64 letters, digits, spaces and punctuation"
        }
    }
}

fn approval_rule(refusal: &ApprovalRefusal) -> &'static str {
    match refusal {
        ApprovalRefusal::Pending
        | ApprovalRefusal::TooEarly
        | ApprovalRefusal::Denied
        | ApprovalRefusal::Expired
        | ApprovalRefusal::Spent
        | ApprovalRefusal::Unknown => DECISION,
        ApprovalRefusal::PolledTooOften(_) => POLLED_SELDOM,
        ApprovalRefusal::TooManyWaiting | ApprovalRefusal::CodesTaken => APPROVAL_ROOM,
        ApprovalRefusal::TooOften(_) => ASKED_SELDOM,
        ApprovalRefusal::Request(BackchannelRequestError::RequestObject(_)) | ApprovalRefusal::KeysUnavailable(_) => {
            REQUEST_OBJECT
        }
        ApprovalRefusal::RequestWithoutId => REQUEST_OBJECT,
        ApprovalRefusal::RequestReplayed => REQUEST_ONCE,
        ApprovalRefusal::Request(_) => BACKCHANNEL_REQUEST,
        ApprovalRefusal::NoDelivery | ApprovalRefusal::Pushed => DELIVERY,
        ApprovalRefusal::NotPermittedAnyMore(_) => STILL_PERMITTED,
        ApprovalRefusal::UnknownUser => USER_FOUND,
        ApprovalRefusal::UserCodeMissing | ApprovalRefusal::UserCodeWrong => USER_CODE,
    }
}

fn request_fix(refusal: &RequestRefusal) -> &'static str {
    let error = match refusal {
        RequestRefusal::RequestUriNotAllowed => {
            return "push the request itself, and send request_uri to /authorize alone";
        }
        RequestRefusal::RequestObject(_) => {
            return "sign the request object with a registered key, made out to the issuer, with exp and nbf within an hour";
        }
        RequestRefusal::KeysUnavailable(_) => return "let the client's jwks_uri answer",
        RequestRefusal::Request(error) => error,
    };
    asked_fix(error)
}

fn asked_fix(error: &AuthorizationRequestError) -> &'static str {
    match error {
        AuthorizationRequestError::RedirectUri(_) => {
            "send redirect_uri exactly as it is registered, or register it (keybound client update)"
        }
        AuthorizationRequestError::GrantNotRegistered => "register grant type authorization_code for the client",
        AuthorizationRequestError::ResponseTypeMissing | AuthorizationRequestError::ResponseTypeUnsupported(_) => {
            "send response_type=code"
        }
        AuthorizationRequestError::ResponseMode(_) => "use response_mode query, jwt or query.jwt, or none",
        AuthorizationRequestError::PushedRequired => "push the request to /par, and send its request_uri",
        AuthorizationRequestError::ProfileRaised { .. } => "let the client ask anew, as its profile demands now",
        AuthorizationRequestError::SignedRequired => "send the request as a signed request object",
        AuthorizationRequestError::ChallengeMissing(_) | AuthorizationRequestError::Challenge(_) => {
            "send code_challenge with code_challenge_method=S256"
        }
        AuthorizationRequestError::Scope(_) | AuthorizationRequestError::ScopeNotRegistered { .. } => {
            "ask for less, or register the scope (keybound client update)"
        }
        AuthorizationRequestError::ScopeReserved(_) => "ask for no word that begins with keybound: no user grants one",
        AuthorizationRequestError::Resource { .. }
        | AuthorizationRequestError::ResourceUnknown(_)
        | AuthorizationRequestError::TooManyResources => {
            "configure the resource ([[resources]]), or ask for a configured one"
        }
        AuthorizationRequestError::AuthorizationDetails(_) => {
            "send authorization_details of a configured type ([[authorization_details_types]]) with its fields"
        }
        AuthorizationRequestError::TooLong(_)
        | AuthorizationRequestError::Claims(_)
        | AuthorizationRequestError::Prompt(_)
        | AuthorizationRequestError::MaxAge
        | AuthorizationRequestError::DpopThumbprint => "correct the parameter",
    }
}

fn exchange_fix(refusal: &NotTraded) -> &'static str {
    match refusal {
        NotTraded::UntrustedIssuer { .. } => {
            "name the issuer in [[token_exchange]], or trade a token of one that is named there"
        }
        NotTraded::ClientNotPermitted { .. } => "name the client in `clients` of the issuer's [[token_exchange]]",
        NotTraded::Token(_) | NotTraded::NotLive => "get a new token from its issuer, and trade that",
        NotTraded::Audience { .. } => {
            "name its audience in `audience` of [[token_exchange]], or get a token for one that is named there"
        }
        NotTraded::Binding(_) => {
            "let the holder of the token's certificate trade it, over a connection with that certificate"
        }
        NotTraded::NoSubject | NotTraded::Actor => "let the issuer say in the token for whom it is",
        NotTraded::SubjectTaken { .. } => "choose another subject_prefix for the issuer in [[token_exchange]]",
        NotTraded::Exchange(TokenExchangeError::Ended { .. }) => "get a new token from its issuer, and trade that",
        NotTraded::Exchange(TokenExchangeError::Subject) => {
            "let the issuer name everybody in the token by a sub that is not empty and, with subject_prefix of [[token_exchange]], at most 255 octets long"
        }
        NotTraded::Exchange(TokenExchangeError::ActorNotPermitted) => "let whom may_act of the token names trade it",
        NotTraded::Exchange(_) => {
            "ask for access tokens, for no more scope than the one traded has, and for one resource of [[token_exchange]]"
        }
        NotTraded::Store(_) => {
            "see the server's log, and whether the database's disk is full or another process holds it"
        }
    }
}

fn failed_rule(reason: &Reason) -> &'static str {
    match reason {
        Reason::Transport(refusal) => refusal.rule(),
        Reason::PathUnknown { .. } => PATH,
        Reason::MethodNotAllowed { .. } => METHOD,
        Reason::MediaType { .. } => MEDIA_TYPE,
        Reason::Form(_) => FORM,
        Reason::Unauthenticated(_) | Reason::TooManyFailures { .. } | Reason::PublicCaller => AUTHENTICATION,
        Reason::TokenRequest(TokenRequestError::GrantTypeMissing | TokenRequestError::GrantTypeUnsupported(_)) => {
            GRANT_KNOWN
        }
        Reason::GrantNotRegistered { .. } | Reason::PublicClient { .. } => GRANT_REGISTERED,
        Reason::NothingToBindTo(_) | Reason::TwoBindings => BINDING,
        Reason::DpopProof { .. } => PROOF,
        Reason::DpopKeyDiffers { .. } => PROOF_KEY,
        Reason::TokenRequest(
            TokenRequestError::ParameterMissing(_)
            | TokenRequestError::ActorIncomplete
            | TokenRequestError::AuthorizationDetails(_),
        ) => GRANT_PARAMETERS,
        Reason::TokenRequest(TokenRequestError::Scope(_))
        | Reason::Grant(GrantRefusal::ScopeNotRegistered { .. } | GrantRefusal::ScopeReserved { .. }) => SCOPE,
        Reason::TokenRequest(TokenRequestError::Resource { .. } | TokenRequestError::TooManyResources)
        | Reason::Grant(
            GrantRefusal::ResourceUnknown { .. }
            | GrantRefusal::SeveralResources { .. }
            | GrantRefusal::NoDefaultResource,
        ) => RESOURCE,
        Reason::Exchange(refusal) => match **refusal {
            NotTraded::Exchange(ref error) if error.code() != ErrorCode::InvalidRequest => TRADE,
            _ => TRADED,
        },
        Reason::Grant(GrantRefusal::ScopeOfAnotherResource { .. } | GrantRefusal::NothingInside { .. }) => TOGETHER,
        Reason::AuthorizationCode(refusal) => match refusal {
            CodeRefusal::Unknown
            | CodeRefusal::OfAnotherClient { .. }
            | CodeRefusal::Expired
            | CodeRefusal::AlreadyRedeemed
            | CodeRefusal::GrantEnded => CODE,
            CodeRefusal::RedirectUri { .. } => REDIRECT_URI,
            CodeRefusal::Verifier(_) | CodeRefusal::PublicWithoutChallenge => VERIFIER,
            CodeRefusal::NotPermittedAnyMore(_) => STILL_PERMITTED,
            CodeRefusal::KeyDiffers => KEY,
        },
        Reason::RefreshToken(refusal) => match refusal {
            RefreshRefusal::Unknown
            | RefreshRefusal::OfAnotherClient { .. }
            | RefreshRefusal::Idle
            | RefreshRefusal::GrantEnded => REFRESH_TOKEN,
            RefreshRefusal::NotAuthenticated | RefreshRefusal::HolderDiffers { .. } => HOLDER,
            RefreshRefusal::Reused => REUSE,
        },
        Reason::Share(_) => GRANTED,
        Reason::IntrospectionRequest(_) | Reason::RevocationRequest(_) => TOKEN,
        Reason::AuthorizationRequest(RequestRefusal::RequestObject(_) | RequestRefusal::KeysUnavailable(_)) => {
            REQUEST_OBJECT
        }
        Reason::AuthorizationRequest(_) => REQUEST,
        Reason::PushedTooOften(_) => ASKED_SELDOM,
        Reason::TooManyPushedRequests => PUSHED_ROOM,
        Reason::Approval(refusal) => approval_rule(refusal),
        Reason::PasswordHashing(_) => USER_CODE,
        Reason::ForeignToken => OWN_TOKEN,
        Reason::RevocationCursor(_) => CURSOR,
        Reason::Userinfo(refused) => refused.refusal.rule(),
        Reason::Registration(refusal) => refusal.rule(),
        Reason::Authorization(AuthorizationRefusal::ClientMissing | AuthorizationRefusal::ClientUnknown { .. }) => {
            CLIENT_KNOWN
        }
        Reason::Authorization(_) => REQUEST_URI,
        Reason::Silent(_) => SILENT,
        Reason::Page(refusal) => refusal.rule(),
        Reason::TooManyFollowers => HELD,
        Reason::Store(_) | Reason::Issue(IssueError::Store(_)) => STORE,
        Reason::Issue(_) => ISSUED,
        Reason::ResponseSigning(_) | Reason::ResponseAlgorithm { .. } => RESPONSE_SIGNED,
    }
}

/// The rule that failed, with both sides of the comparison where there are two.
fn failed(outcome: RuleOutcome, reason: &Reason) -> RuleOutcome {
    let text = Refusal::presented_text;
    match reason {
        Reason::PathUnknown { path } => outcome.presented(text(path)),
        Reason::Transport(LayerRefusal::Misdirected { authority, .. }) => {
            outcome.presented(text(authority)).detail(Refusal::reason_of(reason))
        }
        Reason::MethodNotAllowed { presented, allow } => outcome.presented(text(presented)).registered(*allow),
        Reason::MediaType { presented } => {
            outcome.presented(presented.as_deref().map_or_else(|| "none".to_owned(), text))
        }
        Reason::Form(FormError::Repeated(name)) => outcome.presented(text(name)).detail("this parameter came twice"),
        Reason::GrantNotRegistered { presented, registered } => {
            let registered: Vec<&str> = registered.iter().map(|grant_type| grant_type.name()).collect();
            outcome.presented(presented.name()).registered(registered.join(", "))
        }
        Reason::TokenRequest(TokenRequestError::GrantTypeUnsupported(presented)) => outcome.presented(text(presented)),
        Reason::TokenRequest(TokenRequestError::Resource { presented, .. }) => {
            outcome.presented(text(presented)).detail(Refusal::reason_of(reason))
        }
        Reason::Grant(GrantRefusal::ScopeNotRegistered { presented, registered }) => {
            let excess: Vec<&str> = presented.words().filter(|word| !registered.contains(word)).collect();
            let detail = format!("not registered: {}", excess.join(" "));
            outcome
                .presented(text(presented.as_str()))
                .registered(text(registered.as_str()))
                .detail(text(&detail))
        }
        Reason::Grant(GrantRefusal::ResourceUnknown { presented })
        | Reason::Share(ShareRefusal::ResourceUnknown { presented } | ShareRefusal::ResourceNotGranted { presented }) => {
            outcome.presented(text(presented.as_str()))
        }
        Reason::Share(ShareRefusal::ScopeNotGranted { presented, granted }) => outcome
            .presented(text(presented.as_str()))
            .registered(text(granted.as_str())),
        Reason::RefreshToken(RefreshRefusal::HolderDiffers { expected, presented }) => {
            outcome.presented(text(presented)).registered(text(expected))
        }
        other => outcome.detail(Refusal::reason_of(other)),
    }
}

fn authenticated(outcome: RuleOutcome, circumstances: &Circumstances<'_>) -> RuleOutcome {
    match circumstances.client {
        Some(client) => {
            let method = client.metadata().authentication_method();
            outcome
                .presented(client.client_id().as_str())
                .detail(format!("by {method}"))
        }
        None => outcome,
    }
}

/// Every rule of the registered method instead of one line.
fn of_authentication(reason: &Reason, circumstances: &Circumstances<'_>) -> Vec<RuleOutcome> {
    let explained = |failure: &AuthenticationFailure| {
        let context = ExplanationContext {
            client: failure.client.as_deref(),
            keys: failure.keys.as_deref(),
            presented: circumstances.presented,
            now: circumstances.now,
        };
        authentication_rules(&failure.error, &context)
    };
    match reason {
        Reason::Unauthenticated(failure) => explained(failure),
        Reason::TooManyFailures { failure, .. } => {
            let mut rules = explained(failure);
            rules.push(
                RuleOutcome::new(RATE, Outcome::Failed)
                    .detail("the answer was 429 instead of the code for the rule above"),
            );
            rules
        }
        other => vec![failed(RuleOutcome::new(AUTHENTICATION, Outcome::Failed), other)],
    }
}
