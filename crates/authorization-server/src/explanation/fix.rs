//! What an operator can do about a refusal.

use keybound_protocol::authorization_details::AuthorizationDetailsError;
use keybound_protocol::authorization_request::AuthorizationRequestError;
use keybound_protocol::backchannel_authentication::BackchannelRequestError;
use keybound_protocol::token_exchange::TokenExchangeError;
use keybound_protocol::token_request::TokenRequestError;

use crate::approvals::ApprovalRefusal;
use crate::authorization_requests::RequestRefusal;
use crate::error::Reason;
use crate::grants::authorization_code::CodeRefusal;
use crate::grants::client_credentials::GrantRefusal;
use crate::grants::refresh_token::RefreshRefusal;
use crate::grants::share::ShareRefusal;
use crate::trusted_issuers::NotTraded;

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
            ShareRefusal::AuthorizationDetails(
                AuthorizationDetailsError::TypeUnknown(_) | AuthorizationDetailsError::TypeNotRegistered(_),
            ) => {
                "register the type for the client again (authorization_details_types), and configure it ([[authorization_details_types]]), or ask for others"
            }
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
            "register an algorithm that tokens.signing_algorithm or tokens.other_signing_algorithms names (introspection_signed_response_alg), or none"
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
        ApprovalRefusal::TooManyOfUser => {
            "wait until the user has answered, or what waits has expired; limits.approvals_waiting_per_user_max bounds it"
        }
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
        ApprovalRefusal::UserCodeLockedOut { .. } => {
            "wait, or give the user another code (keybound user update --user-code-file); find out which client guesses (keybound audit --action user.)"
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

fn request_fix(refusal: &RequestRefusal) -> &'static str {
    let error = match refusal {
        RequestRefusal::RequestUriNotAllowed => {
            return "push the request itself, and send request_uri to /authorize alone";
        }
        RequestRefusal::RequestUriReference => {
            return "push the request to /par and send the request_uri it is given, or send it as request";
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
        AuthorizationRequestError::TwoBindings => {
            "leave dpop_jkt out; or register dpop_bound_access_tokens = true and tls_client_certificate_bound_access_tokens = false"
        }
        AuthorizationRequestError::AuthenticationContext { .. } => {
            "ask for acr without values, or not as essential: sign-ins have no authentication context here"
        }
        AuthorizationRequestError::RegistrationParameter => "register the client beforehand, and send client_id alone",
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
