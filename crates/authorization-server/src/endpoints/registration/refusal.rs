//! Why a registration was refused (RFC 7591 §3.2.2, RFC 7592 §2).

use std::time::Duration;

use http::StatusCode;
use keybound_protocol::bearer::BearerError;
use keybound_protocol::client_metadata::ClientMetadataError;
use keybound_protocol::error_code::ErrorCode;
use keybound_protocol::json::{JsonError, JsonTypeError};
use keybound_protocol::software_statement::SoftwareStatementError;
use keybound_store::RegistrationQuota;

/// Why a client was not registered, or its registration not shown, changed or ended. For operators; never sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistrationRefusal {
    #[error("the request has no usable token: {0}")]
    Bearer(BearerError),
    #[error("the token is no initial access token of this server")]
    InitialAccessToken,
    #[error("there is no client {client_id:?} that registered itself")]
    UnknownClient { client_id: String },
    #[error("the token is not the registration access token of this client")]
    RegistrationAccessToken,
    #[error("one failure too many within a second: {refusal}")]
    TooManyFailures {
        refusal: Box<RegistrationRefusal>,
        retry_after: Duration,
    },
    #[error("the initial access token {name:?} that the client was registered with is not configured any more")]
    PolicyGone { name: String },
    #[error(
        "media type {} is not application/json",
        keybound_protocol::words::one_or_none(presented)
    )]
    MediaType { presented: Option<String> },
    #[error(
        "client_id {} is not the one of the client",
        keybound_protocol::words::one_or_none(presented)
    )]
    ClientIdDiffers { presented: Option<String> },
    #[error("`{0}` is the server's to set")]
    ServerMember(&'static str),
    #[error("client_secret is not the client's: it cannot be chosen")]
    SecretChosen,
    #[error(transparent)]
    Metadata(#[from] ClientMetadataError),
    #[error(transparent)]
    SoftwareStatement(#[from] SoftwareStatementError),
    #[error("clients of the initial access token {name:?} need a software statement")]
    SoftwareStatementMissing { name: String },
    #[error("{}", quota_text(*.0))]
    Quota(RegistrationQuota),
    #[error("the client was changed by somebody else at the same time")]
    Changed,
    #[error("no identifier or secret could be made")]
    Random,
}

const TOKEN: &str = "token of this endpoint";
const POLICY: &str = "initial access token configured";
const MEDIA_TYPE: &str = "media type application/json";
const OWN_MEMBERS: &str = "members that are the client's to set";
const STATEMENT: &str = "software statement";
const METADATA: &str = "client metadata permitted";
const QUOTA: &str = "quota of registrations";
const UNCHANGED: &str = "not changed by somebody else meanwhile";
const RANDOM: &str = "identifier and secrets made";

impl RegistrationRefusal {
    /// Every rule of these endpoints, in the order in which they are checked.
    pub(crate) const RULES: [&'static str; 11] = [
        "HTTP method of the endpoint",
        TOKEN,
        POLICY,
        MEDIA_TYPE,
        OWN_MEMBERS,
        STATEMENT,
        METADATA,
        QUOTA,
        UNCHANGED,
        RANDOM,
        "store answers",
    ];

    /// The code that is sent.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::Bearer(error) => error.code().unwrap_or(ErrorCode::InvalidToken),
            Self::InitialAccessToken | Self::UnknownClient { .. } | Self::RegistrationAccessToken => {
                ErrorCode::InvalidToken
            }
            Self::TooManyFailures { .. } => ErrorCode::TemporarilyUnavailable,
            Self::PolicyGone { .. } | Self::Quota(_) => ErrorCode::AccessDenied,
            Self::MediaType { .. } | Self::Changed => ErrorCode::InvalidRequest,
            Self::ClientIdDiffers { .. } | Self::ServerMember(_) | Self::SecretChosen => {
                ErrorCode::InvalidClientMetadata
            }
            Self::Metadata(error) => error.code(),
            Self::SoftwareStatement(error) => error.code(),
            Self::SoftwareStatementMissing { .. } => ErrorCode::InvalidSoftwareStatement,
            Self::Random => ErrorCode::ServerError,
        }
    }

    /// The status, where it is another than the code's own.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::TooManyFailures { .. } | Self::Quota(RegistrationQuota::PerAddressAndHour) => {
                Some(StatusCode::TOO_MANY_REQUESTS)
            }
            Self::PolicyGone { .. } | Self::Quota(_) => Some(StatusCode::FORBIDDEN),
            Self::MediaType { .. } => Some(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Self::Changed => Some(StatusCode::CONFLICT),
            _ => None,
        }
    }

    /// Whether somebody did not show the right token.
    pub(crate) fn is_of_token(&self) -> bool {
        matches!(
            self,
            Self::Bearer(_) | Self::InitialAccessToken | Self::UnknownClient { .. } | Self::RegistrationAccessToken
        )
    }

    /// Whether there was no token at all: such a request is told the scheme and no error (RFC 6750 §3.1).
    pub(crate) fn is_without_token(&self) -> bool {
        matches!(self, Self::Bearer(error) if error.code().is_none())
    }

    /// What a peer is asked to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyFailures { retry_after, .. } => Some(*retry_after),
            // The next hour may have begun by then; an hour is certain.
            Self::Quota(RegistrationQuota::PerAddressAndHour) => Some(Duration::from_secs(3600)),
            _ => None,
        }
    }

    /// Whether it is our fault.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self, Self::Random)
    }

    /// The rule that failed.
    pub(crate) fn rule(&self) -> &'static str {
        match self {
            Self::Bearer(_)
            | Self::InitialAccessToken
            | Self::UnknownClient { .. }
            | Self::RegistrationAccessToken
            | Self::TooManyFailures { .. } => TOKEN,
            Self::PolicyGone { .. } => POLICY,
            Self::MediaType { .. } => MEDIA_TYPE,
            Self::ClientIdDiffers { .. } | Self::ServerMember(_) | Self::SecretChosen => OWN_MEMBERS,
            Self::SoftwareStatement(_) | Self::SoftwareStatementMissing { .. } => STATEMENT,
            Self::Metadata(_) => METADATA,
            Self::Quota(_) => QUOTA,
            Self::Changed => UNCHANGED,
            Self::Random => RANDOM,
        }
    }

    /// What to do about it.
    pub(crate) fn fix(&self) -> &'static str {
        match self {
            Self::Bearer(_) => {
                "send one header Authorization: Bearer, to register with an initial access token, and at a client's own address with its registration access token"
            }
            Self::InitialAccessToken => {
                "send an initial access token of registration.initial_access_token_file as Authorization: Bearer"
            }
            Self::UnknownClient { .. } | Self::RegistrationAccessToken => {
                "send the registration_access_token that came with this client's registration"
            }
            Self::TooManyFailures { refusal, .. } => refusal.fix(),
            Self::PolicyGone { .. } => {
                "configure that initial access token again, or change the client with keybound client"
            }
            Self::MediaType { .. } => "send client metadata as application/json",
            Self::ClientIdDiffers { .. } => "send the client_id of the registration",
            Self::ServerMember(_) => "leave out what the server sets (RFC 7592 section 2.2)",
            Self::SecretChosen => "leave client_secret out, or send the current one",
            Self::Metadata(_) => "correct the metadata, or let the policy of the initial access token permit it",
            Self::SoftwareStatement(SoftwareStatementError::IssuerUnknown(_)) => {
                "configure the issuer in [[software_statement_issuers]], or get a statement of one that is"
            }
            Self::SoftwareStatement(_) => "get a new software statement, for this server, signed by a configured key",
            Self::SoftwareStatementMissing { .. } => "send a software_statement, or let the policy do without",
            Self::Quota(_) => "delete clients that are not used, or raise the quota in [registration]",
            Self::Changed => "read the registration again, and send the change anew",
            Self::Random => "see the server's log",
        }
    }
}

fn quota_text(quota: RegistrationQuota) -> &'static str {
    match quota {
        RegistrationQuota::Clients => "there are as many registered clients as there may be",
        RegistrationQuota::ClientsOfPolicy => "there are as many clients of this initial access token as there may be",
        RegistrationQuota::PerAddressAndHour => "this address has registered as many clients in this hour as it may",
    }
}

impl From<JsonError> for RegistrationRefusal {
    fn from(error: JsonError) -> Self {
        Self::Metadata(error.into())
    }
}

impl From<JsonTypeError> for RegistrationRefusal {
    fn from(error: JsonTypeError) -> Self {
        Self::Metadata(error.into())
    }
}
