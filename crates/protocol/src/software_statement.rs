//! Software statements (RFC 7591 §2.3): what somebody whom we trust says about a client that registers itself.
//!
//! A JWS whose claims are client metadata. They win over what the client says of itself (§3.1.1), and only the keys that are on file
//! for the `iss` sign them. Deliberately absent: fetching such keys, and statements by value of a registrar's API.

use crate::access_token::CLOCK_LEEWAY;
use crate::error_code::ErrorCode;
use crate::json::{JsonError, JsonObject, JsonTypeError};
use crate::jwk_set::JwkSet;
use crate::jws::{JwsError, JwsPolicy, UnverifiedJws};
use crate::signature_algorithm::SignatureAlgorithm;
use crate::time::Timestamp;

/// Somebody whose statements count.
#[derive(Debug, Clone)]
pub struct SoftwareStatementIssuer {
    /// `iss`, compared octet for octet.
    pub issuer: String,
    /// The keys that sign for it.
    pub keys: JwkSet,
    /// The algorithms that it signs with.
    pub algorithms: Vec<SignatureAlgorithm>,
}

/// A statement that its issuer signed, for us and for now. Only [`verify`](Self::verify) makes one.
#[derive(Debug, Clone)]
pub struct SoftwareStatement {
    text: String,
    issuer: String,
    claims: JsonObject,
}

/// Why a software statement does not count.
#[derive(Debug, thiserror::Error)]
pub enum SoftwareStatementError {
    /// Malformed, or not signed by a key of its issuer.
    #[error("the software statement's signature does not count")]
    Signature(#[from] JwsError),
    /// Its payload is not a JSON object without duplicate members.
    #[error("the software statement's claims")]
    Claims(#[source] JsonError),
    /// A claim has the wrong JSON type.
    #[error(transparent)]
    ClaimType(#[from] JsonTypeError),
    /// Nobody says to have made it (RFC 7591 §2.3).
    #[error("the software statement has no `iss`")]
    IssuerMissing,
    /// Somebody made it whose statements do not count here.
    #[error("{0:?} issues no software statements for this server")]
    IssuerUnknown(String),
    /// It is for others (RFC 7519 §4.1.3).
    #[error("the software statement is for {}", crate::words::all_or_none(presented))]
    Audience {
        /// What `aud` says.
        presented: Vec<String>,
    },
    /// It has ended.
    #[error("the software statement expired at {0}")]
    Expired(Timestamp),
    /// It has not begun, or was made in the future.
    #[error("`{claim}` of the software statement is {presented}")]
    InTheFuture {
        /// `nbf` or `iat`.
        claim: &'static str,
        /// What it says.
        presented: Timestamp,
    },
}

/// The types of a statement, if it says one.
const TYPES: [&str; 1] = ["JWT"];
/// What a statement says about itself, and what is no metadata.
const NOT_METADATA: [&str; 8] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "software_statement"];

impl SoftwareStatement {
    /// Decides whether one of `issuers` made this statement, and whether it is good at `now`.
    ///
    /// `audience` are the names of this server: if the statement has `aud`, one of them is in it.
    ///
    /// # Errors
    /// See [`SoftwareStatementError`].
    pub fn verify(
        text: &str,
        issuers: &[SoftwareStatementIssuer],
        audience: &[&str],
        now: Timestamp,
    ) -> Result<Self, SoftwareStatementError> {
        let jws = UnverifiedJws::parse(text)?;
        let claims = JsonObject::parse(jws.unverified_payload()).map_err(SoftwareStatementError::Claims)?;
        let presented = claims.string("iss")?.ok_or(SoftwareStatementError::IssuerMissing)?;
        let issuer = issuers
            .iter()
            .find(|issuer| issuer.issuer == presented)
            .ok_or_else(|| SoftwareStatementError::IssuerUnknown(presented.to_owned()))?;
        let policy = JwsPolicy {
            algorithms: &issuer.algorithms,
            types: &TYPES,
            type_may_be_missing: true,
        };
        jws.verify(&policy, &issuer.keys)?;
        if let Some(presented) = claims.string_or_strings("aud")?
            && !presented.iter().any(|name| audience.contains(name))
        {
            let presented = presented.into_iter().map(str::to_owned).collect();
            return Err(SoftwareStatementError::Audience { presented });
        }
        let date = |claim: &'static str| {
            let date = claims.numeric_date(claim);
            date.map(|date| date.map(Timestamp::from_unix_secs))
        };
        if let Some(expires_at) = date("exp")?.filter(|expires_at| expires_at.plus(CLOCK_LEEWAY) <= now) {
            return Err(SoftwareStatementError::Expired(expires_at));
        }
        for claim in ["nbf", "iat"] {
            if let Some(presented) = date(claim)?.filter(|presented| now.plus(CLOCK_LEEWAY) < *presented) {
                return Err(SoftwareStatementError::InTheFuture { claim, presented });
            }
        }
        Ok(Self {
            text: text.to_owned(),
            issuer: issuer.issuer.clone(),
            claims: claims.without(&NOT_METADATA),
        })
    }

    /// What the client registers: what it says of itself, and in place of that whatever this statement says (RFC 7591 §3.1.1).
    ///
    /// Members that exclude each other, one from either side, stay both and make the metadata contradictory: it is refused, rather
    /// than guessed at.
    pub fn over(&self, self_asserted: JsonObject) -> JsonObject {
        self_asserted.overlaid_with(self.claims.clone())
    }

    /// Who made it.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The statement as it was presented: it is answered unmodified (RFC 7591 §3.2.1).
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl SoftwareStatementError {
    /// What the registering client is told (RFC 7591 §3.2.2).
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::IssuerUnknown(_) => ErrorCode::UnapprovedSoftwareStatement,
            Self::Signature(_)
            | Self::Claims(_)
            | Self::ClaimType(_)
            | Self::IssuerMissing
            | Self::Audience { .. }
            | Self::Expired(_)
            | Self::InTheFuture { .. } => ErrorCode::InvalidSoftwareStatement,
        }
    }
}
