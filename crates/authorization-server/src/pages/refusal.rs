//! Why a page says no.

use keybound_protocol::error_code::ErrorCode;

use crate::rate_limit::TooMany;
use crate::upstream::UpstreamError;
use crate::users::SignInRefusal;

/// Why a page, or what its form asked for, was refused. For operators; what people read is in [`error_page`](super::error_page).
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageRefusal {
    #[error(
        "the form was sent by another site (Sec-Fetch-Site {}, Origin {})",
        keybound_protocol::words::one_or_none(site),
        keybound_protocol::words::one_or_none(origin)
    )]
    CrossSite {
        site: Option<String>,
        origin: Option<String>,
    },
    #[error("the form has no token of this browser")]
    FormToken,
    #[error("the form does not say what to do")]
    NoDecision,
    #[error("there is no such interaction")]
    UnknownInteraction,
    #[error("the interaction was begun by another browser")]
    ForeignBrowser,
    #[error("the interaction is older than its lifetime")]
    InteractionExpired,
    #[error("the interaction is finished")]
    InteractionFinished,
    #[error("the request_uri was used by another interaction that is finished")]
    RequestUriSpent,
    #[error("the client that asked is gone")]
    ClientGone,
    #[error("as many interactions as there may be are open")]
    TooManyInteractions,
    #[error("one interaction too many from this address prefix within a minute")]
    TooOften(TooMany),
    #[error("the request_uri was opened as often as it may be")]
    RequestUriUsedUp,
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error(transparent)]
    UpstreamUser(#[from] SignInRefusal),
    #[error("the user is gone or disabled")]
    UserBarred,
    #[error("the random number generator failed, or the same number came twice")]
    Random,
    #[error("the page could not be made")]
    Template(#[source] askama::Error),
}

/// The names of what is checked at a page, beside what is checked of every form.
pub(crate) mod rule {
    pub(crate) const OWN_PAGE: &str = "the form was sent by a page of ours";
    pub(crate) const OWN_BROWSER: &str = "the interaction was begun by this browser";
    pub(crate) const UNFINISHED: &str = "neither the interaction nor its request_uri was finished before";
    pub(crate) const IN_TIME: &str = "the interaction is younger than its lifetime";
    pub(crate) const CLIENT: &str = "the client that asked exists";
    pub(crate) const FORM_TOKEN: &str = "the form has the token of this browser";
    pub(crate) const DECISION: &str = "the form says what to do";
    pub(crate) const UPSTREAM: &str = "the other provider signs a user in who may come in here";
    pub(crate) const USER: &str = "the user may act";
    pub(crate) const SELDOM: &str = "the address prefix begins interactions within its limit";
    pub(crate) const OPENED_SELDOM: &str = "the request_uri was opened fewer times than it may be";
    pub(crate) const ROOM: &str = "fewer interactions are open than there may be";
    pub(crate) const WORKS: &str = "the server can make the page";
}

impl PageRefusal {
    /// The rule that was not held.
    pub(crate) fn rule(&self) -> &'static str {
        match self {
            PageRefusal::CrossSite { .. } => rule::OWN_PAGE,
            PageRefusal::UnknownInteraction | PageRefusal::ForeignBrowser => rule::OWN_BROWSER,
            PageRefusal::InteractionFinished | PageRefusal::RequestUriSpent => rule::UNFINISHED,
            PageRefusal::InteractionExpired => rule::IN_TIME,
            PageRefusal::ClientGone => rule::CLIENT,
            PageRefusal::FormToken => rule::FORM_TOKEN,
            PageRefusal::NoDecision => rule::DECISION,
            PageRefusal::Upstream(_) | PageRefusal::UpstreamUser(_) => rule::UPSTREAM,
            PageRefusal::UserBarred => rule::USER,
            PageRefusal::TooOften(_) => rule::SELDOM,
            PageRefusal::RequestUriUsedUp => rule::OPENED_SELDOM,
            PageRefusal::TooManyInteractions => rule::ROOM,
            PageRefusal::Random | PageRefusal::Template(_) => rule::WORKS,
        }
    }

    /// What to do about it.
    pub(crate) fn fix(&self) -> &'static str {
        match self {
            PageRefusal::CrossSite { .. } => {
                "send forms from the server's own pages; if a proxy is in between, let it keep Origin and Sec-Fetch-Site"
            }
            PageRefusal::FormToken => "load the page again and send its form with the cookies that came with it",
            PageRefusal::NoDecision => "send the form as the page has it",
            PageRefusal::UnknownInteraction | PageRefusal::ForeignBrowser => {
                "let the client send the browser to /authorize again, with cookies enabled"
            }
            PageRefusal::InteractionFinished | PageRefusal::RequestUriSpent | PageRefusal::RequestUriUsedUp => {
                "let the client begin a new request for each attempt"
            }
            PageRefusal::InteractionExpired => "let the client begin a new request",
            PageRefusal::Upstream(UpstreamError::NotFresh(_)) => {
                "the provider has to follow prompt=login and max_age and to put auth_time into the ID token (OpenID Connect Core §3.1.2.1); let the client ask for neither, or the user sign in here"
            }
            PageRefusal::Upstream(_) => {
                "compare [[upstream_providers]] with what the provider has on file for this server: client_id, credential, redirect URI"
            }
            PageRefusal::UpstreamUser(refusal) => refusal.fix(),
            PageRefusal::UserBarred => "see `keybound user show` whether the user is disabled here",
            PageRefusal::ClientGone => {
                "register the client again, or find out who deleted it (keybound audit --action client.deleted)"
            }
            PageRefusal::TooOften(_) => {
                "find out who opens so many sign-ins there; limits.interactions_per_minute bounds it"
            }
            PageRefusal::TooManyInteractions => "find out who opens so many sign-ins, or raise the store's limit",
            PageRefusal::Random | PageRefusal::Template(_) => "see the server's log",
        }
    }

    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            PageRefusal::CrossSite { .. }
            | PageRefusal::FormToken
            | PageRefusal::NoDecision
            | PageRefusal::UnknownInteraction
            | PageRefusal::ForeignBrowser
            | PageRefusal::InteractionExpired
            | PageRefusal::InteractionFinished
            | PageRefusal::ClientGone => ErrorCode::InvalidRequest,
            PageRefusal::Upstream(UpstreamError::UnknownProvider(_) | UpstreamError::State) => {
                ErrorCode::InvalidRequest
            }
            PageRefusal::Upstream(_) | PageRefusal::UpstreamUser(_) | PageRefusal::UserBarred => {
                ErrorCode::AccessDenied
            }
            PageRefusal::RequestUriSpent | PageRefusal::RequestUriUsedUp => ErrorCode::InvalidRequestUri,
            PageRefusal::TooManyInteractions | PageRefusal::TooOften(_) => ErrorCode::TemporarilyUnavailable,
            PageRefusal::Random | PageRefusal::Template(_) => ErrorCode::ServerError,
        }
    }

    /// The sentence that is sent as `error_description`.
    pub(crate) fn description(&self) -> &'static str {
        match self {
            PageRefusal::CrossSite { .. } | PageRefusal::FormToken => {
                "the form was not sent by this browser from our page"
            }
            PageRefusal::NoDecision => "the form does not say what to do",
            PageRefusal::UnknownInteraction
            | PageRefusal::ForeignBrowser
            | PageRefusal::Upstream(UpstreamError::UnknownProvider(_) | UpstreamError::State) => {
                "this browser began no such request"
            }
            PageRefusal::Upstream(UpstreamError::NotFresh(_)) => {
                "the provider did not show a sign-in as recent as the application wants"
            }
            PageRefusal::Upstream(_) | PageRefusal::UpstreamUser(_) => {
                "nobody was signed in there who can come in here"
            }
            PageRefusal::UserBarred => "the account cannot be used at the moment",
            PageRefusal::InteractionExpired => "the request is older than ten minutes",
            PageRefusal::InteractionFinished => "the request is finished",
            PageRefusal::RequestUriSpent => "the request_uri was used before",
            PageRefusal::RequestUriUsedUp => "the request_uri was opened too often",
            PageRefusal::ClientGone => "the client does not exist any more",
            PageRefusal::TooManyInteractions
            | PageRefusal::TooOften(_)
            | PageRefusal::Random
            | PageRefusal::Template(_) => self.code().description(),
        }
    }

    /// Whether it is our fault.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self, PageRefusal::Random | PageRefusal::Template(_))
    }
}
