//! In which order endpoints check their rules, and which one a reason says was not held.

use std::borrow::Cow;

use keybound_protocol::authorization_request::AuthorizationRequestError;
use keybound_protocol::backchannel_authentication::BackchannelRequestError;
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::token_request::TokenRequestError;
use keybound_tls::LayerRefusal;

use crate::access_tokens::IssueError;
use crate::approvals::ApprovalRefusal;
use crate::authorization_requests::RequestRefusal;
use crate::endpoints::authorization::AuthorizationRefusal;
use crate::endpoints::registration::RegistrationRefusal;
use crate::endpoints::userinfo::UserinfoRefusal;
use crate::error::Reason;
use crate::grants::authorization_code::CodeRefusal;
use crate::grants::client_credentials::GrantRefusal;
use crate::grants::refresh_token::RefreshRefusal;
use crate::pages::refusal::rule as page;
use crate::router::Route;
use crate::trusted_issuers::NotTraded;
use crate::users::SignInRefusal;

const CURSOR: &str = "a cursor of this server";
const HELD: &str = "room for one more follower";
const PATH: &str = "path of an endpoint";
const METHOD: &str = "HTTP method of the endpoint";
const MEDIA_TYPE: &str = "media type application/x-www-form-urlencoded";
const FORM: &str = "well-formed form without repeated parameters";
pub(super) const AUTHENTICATION: &str = "client authenticated";
pub(super) const RATE: &str = "failed authentications within their limit";
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

/// At the token endpoint, whatever the grant type; then come those of the grant type that was refused, if it was that far.
const OF_EVERY_GRANT: [&str; 9] = [
    METHOD,
    MEDIA_TYPE,
    FORM,
    AUTHENTICATION,
    GRANT_KNOWN,
    GRANT_REGISTERED,
    PROOF,
    BINDING,
    GRANT_PARAMETERS,
];
const OF_A_CODE: [&str; 6] = [CODE, REDIRECT_URI, VERIFIER, KEY, STILL_PERMITTED, GRANTED];
const OF_A_REFRESH_TOKEN: [&str; 4] = [REFRESH_TOKEN, HOLDER, REUSE, GRANTED];
const OF_AN_APPROVAL: [&str; 5] = [DELIVERY, POLLED_SELDOM, DECISION, STILL_PERMITTED, GRANTED];
const OF_AN_EXCHANGE: [&str; 2] = [TRADED, TRADE];
const OF_THE_CLIENT_ITSELF: [&str; 3] = [SCOPE, RESOURCE, TOGETHER];
const OF_EVERY_ISSUE: [&str; 2] = [STORE, ISSUED];
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
const AT_AUTHORIZATION: [&str; 15] = [
    METHOD,
    MEDIA_TYPE,
    FORM,
    CLIENT_KNOWN,
    REQUEST_URI,
    REQUEST_OBJECT,
    REQUEST,
    BINDING,
    SILENT,
    page::SELDOM,
    page::OPENED_SELDOM,
    page::ROOM,
    STORE,
    RESPONSE_SIGNED,
    page::WORKS,
];
const AT_PAGES: [&str; 16] = [
    PATH,
    METHOD,
    MEDIA_TYPE,
    FORM,
    page::OWN_PAGE,
    page::OWN_BROWSER,
    page::UNFINISHED,
    page::IN_TIME,
    page::CLIENT,
    REQUEST,
    page::FORM_TOKEN,
    page::DECISION,
    page::UPSTREAM,
    page::USER,
    page::WORKS,
    STORE,
];

/// The names of the rules of a request to `route` that ended with `reason`, in the order in which they are asked. The one that failed is
/// always among them: it comes last where the list does not have it, because what a server cannot do can happen anywhere.
pub(super) fn rules_at(route: Option<Route>, reason: &Reason) -> Cow<'static, [&'static str]> {
    let mut names = listed_at(route, reason);
    let failed = failed_rule(reason);
    if !names.contains(&failed) {
        names.to_mut().push(failed);
    }
    names
}

fn listed_at(route: Option<Route>, reason: &Reason) -> Cow<'static, [&'static str]> {
    Cow::Borrowed(match route {
        _ if matches!(reason, Reason::Transport(_)) => &LayerRefusal::RULES,
        Some(Route::Token) => return Cow::Owned(at_token(reason)),
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
    })
}

/// The names of the rules of a form with name and password, in the order in which they are asked.
pub(super) fn rules_of_sign_in() -> Vec<&'static str> {
    let of_the_form = [METHOD, MEDIA_TYPE, FORM, page::OWN_PAGE, page::FORM_TOKEN];
    [&of_the_form[..], &SignInRefusal::RULES].concat()
}

/// Rules of other grant types than the request's are left out: nobody asked them.
fn at_token(reason: &Reason) -> Vec<&'static str> {
    let of_the_grant: &[&str] = match reason {
        Reason::AuthorizationCode(_) => &OF_A_CODE,
        Reason::RefreshToken(_) => &OF_A_REFRESH_TOKEN,
        Reason::Approval(_) => &OF_AN_APPROVAL,
        Reason::Exchange(_) => &OF_AN_EXCHANGE,
        Reason::Grant(_) => &OF_THE_CLIENT_ITSELF,
        Reason::Share(_) => &[GRANTED],
        other => match failed_rule(other) {
            SCOPE => &[SCOPE],
            RESOURCE => &[RESOURCE],
            _ => &[],
        },
    };
    [&OF_EVERY_GRANT[..], of_the_grant, &OF_EVERY_ISSUE].concat()
}

/// The rule that `reason` says was not held.
pub(super) fn failed_rule(reason: &Reason) -> &'static str {
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
        Reason::AuthorizationRequest(RequestRefusal::RequestUriReference) => REQUEST_URI,
        Reason::AuthorizationRequest(RequestRefusal::Request(AuthorizationRequestError::TwoBindings)) => BINDING,
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

fn approval_rule(refusal: &ApprovalRefusal) -> &'static str {
    match refusal {
        ApprovalRefusal::Pending
        | ApprovalRefusal::TooEarly
        | ApprovalRefusal::Denied
        | ApprovalRefusal::Expired
        | ApprovalRefusal::Spent
        | ApprovalRefusal::Unknown => DECISION,
        ApprovalRefusal::PolledTooOften(_) => POLLED_SELDOM,
        ApprovalRefusal::TooManyWaiting | ApprovalRefusal::TooManyOfUser | ApprovalRefusal::CodesTaken => APPROVAL_ROOM,
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
        ApprovalRefusal::UserCodeMissing
        | ApprovalRefusal::UserCodeWrong
        | ApprovalRefusal::UserCodeLockedOut { .. } => USER_CODE,
    }
}

#[cfg(test)]
mod tests {
    use keybound_store::StoreError;

    use super::*;

    #[test]
    fn the_rule_that_failed_is_in_the_list_of_every_endpoint() {
        let reasons = [
            Reason::Store(StoreError::Closed),
            Reason::Issue(IssueError::NoRandomness),
            Reason::TwoBindings,
            Reason::PublicCaller,
            Reason::TooManyFollowers,
            Reason::ForeignToken,
            Reason::MediaType { presented: None },
        ];
        for route in Route::ALL.into_iter().map(Some).chain([None]) {
            for reason in &reasons {
                let rules = rules_at(route, reason);
                let failed = rules.iter().filter(|rule| **rule == failed_rule(reason)).count();
                assert_eq!(failed, 1, "{route:?}: {reason}");
            }
        }
    }
}
