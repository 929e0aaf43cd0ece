//! A refusal: a recorded "no" with its reason. What the operator reads with `keybound explain`, and the peer never sees.
//!
//! Whoever is refused chooses much of the record, so whoever keeps one keeps what [`Refusal::bounded`] leaves of it.

mod bounds;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::confirmation::CertificateThumbprint;
use crate::error_code::ErrorCode;
use crate::peer_certificate::EndEntityCertificate;
use crate::rule::{Outcome, RuleOutcome};
use crate::serde_as_text::serde_as_text;
use crate::time::Timestamp;

pub use bounds::REFUSAL_JSON_BYTES_MAX;

/// Crockford's base 32: without I, L, O and U, so that it survives being read aloud.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// How many random octets a refusal id is made of.
pub const REFUSAL_ID_RANDOM_BYTES: usize = 9;
/// How many characters of something presented a record keeps.
pub const REFUSAL_TEXT_CHARS_MAX: usize = 256;

/// Who refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalSource {
    /// The authorization server: ids begin with `A-`.
    AuthorizationServer,
    /// A gateway: ids begin with `G-`.
    Gateway,
}

/// The id that a peer is given with a refusal: 16 characters, `A-` or `G-` and 14 of Crockford's base 32.
///
/// Always of the same length, so that answers that must look alike do. 70 random bits: nobody finds another's refusal by trying.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RefusalId([u8; 16]);

/// The text is not a refusal id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a refusal id is A- or G- and 14 letters and digits")]
pub struct RefusalIdError;

impl RefusalId {
    /// Makes an id of random octets; the last two bits are not used.
    pub fn from_random(source: RefusalSource, random: [u8; REFUSAL_ID_RANDOM_BYTES]) -> Self {
        let mut text = *b"A-00000000000000";
        if source == RefusalSource::Gateway {
            text[0] = b'G';
        }
        let mut bits = 0u32;
        let mut available = 0u32;
        let mut octets = random.into_iter();
        for character in text.iter_mut().skip(2) {
            if available < 5 {
                bits = (bits << 8) | u32::from(octets.next().unwrap_or_default());
                available += 8;
            }
            available -= 5;
            *character = ALPHABET[(bits >> available) as usize & 31];
        }
        Self(text)
    }

    /// Reads an id, also as a person types it: any case, `O` for 0, `I` and `L` for 1.
    ///
    /// # Errors
    /// [`RefusalIdError`] for anything else.
    pub fn parse(text: &str) -> Result<Self, RefusalIdError> {
        let mut id: [u8; 16] = text.as_bytes().try_into().map_err(|_| RefusalIdError)?;
        id.make_ascii_uppercase();
        let [b'A' | b'G', b'-', rest @ ..] = &mut id else {
            return Err(RefusalIdError);
        };
        for character in rest {
            *character = match *character {
                b'O' => b'0',
                b'I' | b'L' => b'1',
                other => other,
            };
            if !ALPHABET.contains(character) {
                return Err(RefusalIdError);
            }
        }
        Ok(Self(id))
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        // Only ASCII gets in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Who gave it.
    pub fn source(&self) -> RefusalSource {
        match self.0[0] {
            b'G' => RefusalSource::Gateway,
            _ => RefusalSource::AuthorizationServer,
        }
    }
}

impl fmt::Display for RefusalId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for RefusalId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for RefusalId {
    type Err = RefusalIdError;

    fn from_str(text: &str) -> Result<Self, RefusalIdError> {
        Self::parse(text)
    }
}

serde_as_text!(RefusalId, |value| value.as_str());

/// What a refusal record says of the certificate that was presented: names and dates, never the certificate itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateSummary {
    /// `x5t#S256`
    #[serde(rename = "x5t#S256")]
    pub thumbprint: CertificateThumbprint,
    /// The subject (RFC 4514), absent if the certificate cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The issuer (RFC 4514).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The serial number, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial_number: Option<String>,
    /// Its subject alternative names, each with its kind: the first ones, and then `and 7 more`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subject_alternative_names: Vec<String>,
    /// Start of its validity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// End of its validity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// Why it cannot be read, if it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

/// How many alternative names a summary lists.
const ALTERNATIVE_NAMES_MAX: usize = 20;

/// What stands for the names that are left out, if there are any.
fn and_more(left_out: usize) -> Option<String> {
    (left_out > 0).then(|| format!("and {left_out} more"))
}

impl CertificateSummary {
    /// Summarises a certificate that was presented, as far as it can be read.
    pub fn of(end_entity: &EndEntityCertificate) -> Self {
        let certificate = end_entity.certificate();
        let readable = certificate.as_ref().ok();
        let names = readable.map_or(&[][..], |certificate| certificate.subject_alternative_names());
        Self {
            thumbprint: *end_entity.thumbprint(),
            subject: readable.map(|certificate| Refusal::presented_text(&certificate.subject().to_string())),
            issuer: readable.map(|certificate| Refusal::presented_text(&certificate.issuer().to_string())),
            serial_number: readable.map(|certificate| Refusal::presented_text(certificate.serial_number())),
            subject_alternative_names: names
                .iter()
                .take(ALTERNATIVE_NAMES_MAX)
                .map(|name| Refusal::presented_text(&name.to_string()))
                .chain(and_more(names.len().saturating_sub(ALTERNATIVE_NAMES_MAX)))
                .collect(),
            not_before: readable.map(|certificate| certificate.not_before()),
            not_after: readable.map(|certificate| certificate.not_after()),
            unreadable: certificate.err().map(|error| Refusal::reason_of(error)),
        }
    }
}

/// One refusal with everything that explains it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The id that the peer was given.
    pub id: RefusalId,
    /// When.
    pub at: Timestamp,
    /// Where: the path at the server, or the route at a gateway.
    pub endpoint: String,
    /// The HTTP status that the peer was answered.
    pub status: u16,
    /// The code that the peer was answered; absent where HTTP has no OAuth code for it, such as 421.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<ErrorCode>,
    /// The client that the request named, registered or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Where the connection came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_address: Option<IpAddr>,
    /// The certificate that was presented.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateSummary>,
    /// The reason in one sentence, causes included.
    pub reason: String,
    /// Every rule of the decision in its order.
    #[serde(default)]
    pub rules: Vec<RuleOutcome>,
    /// What to do about it, in the operator's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Refusal {
    /// The first rule that failed: the true cause.
    pub fn failed_rule(&self) -> Option<&RuleOutcome> {
        self.rules.iter().find(|rule| rule.outcome == Outcome::Failed)
    }

    /// A reason with its causes, separated by colons, cut to [`REFUSAL_TEXT_CHARS_MAX`] characters.
    ///
    /// Control characters, which a peer can put into what it presents, become spaces.
    pub fn reason_of(error: &dyn std::error::Error) -> String {
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            let cause = error.to_string();
            // A transparent error says what its source says.
            if !reason.ends_with(&cause) {
                reason.push_str(": ");
                reason.push_str(&cause);
            }
            source = error.source();
        }
        Self::presented_text(&reason)
    }

    /// Something that a peer presented, made fit for a record: bounded and without control characters.
    pub fn presented_text(text: &str) -> String {
        text.chars()
            .take(REFUSAL_TEXT_CHARS_MAX)
            .map(|character| if character.is_control() { ' ' } else { character })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing test panics")]

    use super::*;
    use crate::peer_certificate::PeerCertificate;

    #[test]
    fn ids_have_one_form_and_one_length() {
        let id = RefusalId::from_random(RefusalSource::AuthorizationServer, [0; 9]);
        assert_eq!(id.as_str(), "A-00000000000000");
        let id = RefusalId::from_random(RefusalSource::Gateway, [0xff; 9]);
        assert_eq!(id.as_str(), "G-ZZZZZZZZZZZZZZ");
        assert_eq!(id.source(), RefusalSource::Gateway);
        let id = RefusalId::from_random(
            RefusalSource::AuthorizationServer,
            [0x08, 0x42, 0x10, 0x84, 0x21, 0, 0, 0, 0],
        );
        assert_eq!(id.as_str(), "A-11111111000000");
        assert_eq!(id.source(), RefusalSource::AuthorizationServer);
    }

    #[test]
    fn every_random_bit_but_the_last_two_counts() {
        let ids: std::collections::BTreeSet<RefusalId> = (0..72)
            .map(|bit| {
                let mut random = [0; 9];
                random[bit / 8] = 0x80 >> (bit % 8);
                RefusalId::from_random(RefusalSource::Gateway, random)
            })
            .collect();
        assert_eq!(ids.len(), 71, "70 bits, and one id for both bits that are not used");
    }

    #[test]
    fn reads_what_a_person_types_and_nothing_else() {
        assert_eq!(
            RefusalId::parse("a-7f3k22qd9m4tb2").unwrap().as_str(),
            "A-7F3K22QD9M4TB2"
        );
        assert_eq!(
            RefusalId::parse("g-oil00000000000").unwrap().as_str(),
            "G-01100000000000"
        );
        for text in [
            "",
            "A-",
            "A-0000000000000",
            "A-000000000000000",
            "B-00000000000000",
            "A_00000000000000",
            "A-0000000000000U",
            "A-000000000000\u{e9}",
        ] {
            assert_eq!(RefusalId::parse(text), Err(RefusalIdError), "{text:?}");
        }
    }

    #[test]
    fn a_record_survives_json() {
        let peer = PeerCertificate::assert_possession_proven(b"not a certificate".to_vec(), Vec::new());
        let refusal = Refusal {
            id: RefusalId::from_random(RefusalSource::AuthorizationServer, [7; 9]),
            at: Timestamp::from_unix_secs(1_800_000_000),
            endpoint: "/token".into(),
            status: 400,
            error_code: Some(ErrorCode::InvalidClient),
            client_id: Some("demo".into()),
            remote_address: Some(IpAddr::from([127, 0, 0, 1])),
            certificate: Some(CertificateSummary::of(peer.end_entity())),
            reason: "no path".into(),
            rules: RuleOutcome::list(&["a", "b"], "b"),
            fix: None,
        };
        let json = serde_json::to_string(&refusal).unwrap();
        assert_eq!(serde_json::from_str::<Refusal>(&json).unwrap(), refusal);
        assert_eq!(refusal.failed_rule().unwrap().rule, "b");
        assert!(refusal.certificate.unwrap().unreadable.is_some());
    }

    #[test]
    fn presented_text_is_bounded_and_harmless() {
        assert_eq!(Refusal::presented_text("a\u{1b}[31m\nb"), "a [31m b");
        assert_eq!(
            Refusal::presented_text(&"\u{e4}".repeat(1000)).chars().count(),
            REFUSAL_TEXT_CHARS_MAX
        );
        let error = crate::client_metadata::ClientMetadataError::Json(crate::json::JsonError::NotAnObject);
        assert_eq!(Refusal::reason_of(&error), "client metadata: not a JSON object");
    }
}
