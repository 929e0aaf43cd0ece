//! What `GET /revocations` says: which tokens no longer count although their signature is good and their time is not over.
//!
//! No RFC knows such a document; this is ours, and both sides read it here. A follower asks for what is new after a cursor:
//! `{"cursor": "0-7", "entries": [{"x5t#S256": "…", "until": 1767229200}]}`. An entry names what it denies by exactly one member:
//! `jti` (one token), `jti_prefix` (all tokens of a grant), `client_id`, `x5t#S256` (all tokens bound to a certificate) or `kid`
//! (all tokens that a key signed). `more` is true if the next answer has further entries at once.

use serde_json::{Map, Value, json};

use crate::client::{ClientId, ClientIdError};
use crate::confirmation::CertificateThumbprint;
use crate::json::{JsonError, JsonObject, JsonTypeError, JsonValue};
use crate::thumbprint::ThumbprintError;
use crate::time::Timestamp;

/// The largest answer that is read, in octets.
pub const REVOCATION_FEED_BYTES_MAX: usize = 1024 * 1024;
/// The longest cursor, in octets.
pub const CURSOR_BYTES_MAX: usize = 256;

/// What is denied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RevokedSubject {
    /// `jti`: one token.
    Token(String),
    /// `jti_prefix`: all tokens of one grant. The value is the grant's identifier; a token of it has a `jti` that begins with the
    /// identifier and a dot.
    Grant(String),
    /// `client_id`: all tokens of one client.
    Client(ClientId),
    /// `x5t#S256`: all tokens bound to one certificate.
    Certificate(CertificateThumbprint),
    /// `kid`: all tokens signed with one key.
    SigningKey(String),
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationEntry {
    /// What is denied.
    pub subject: RevokedSubject,
    /// Only tokens issued before this moment are denied; `None` denies all of them.
    pub issued_before: Option<Timestamp>,
    /// When the entry may be forgotten.
    pub until: Timestamp,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationFeed {
    /// Where this answer ends: what to ask after the next time. Opaque to who follows.
    pub cursor: String,
    /// The entries, the oldest first.
    pub entries: Vec<RevocationEntry>,
    /// Whether there are further ones.
    pub more: bool,
    /// Entries that name nothing known here. A later version of the issuer may revoke by other names.
    pub unknown_entries: usize,
}

/// Why an answer cannot be gone by. Nothing of it is.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevocationFeedError {
    /// Longer than [`REVOCATION_FEED_BYTES_MAX`].
    #[error("{0} octets are too many for a page of revocations")]
    TooLarge(usize),
    /// Not a JSON object without duplicate members.
    #[error("not a JSON object")]
    Json(#[from] JsonError),
    /// A member has the wrong JSON type.
    #[error(transparent)]
    Type(#[from] JsonTypeError),
    /// A member that has to be there.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A cursor that is empty or longer than [`CURSOR_BYTES_MAX`].
    #[error("the cursor is empty or too long")]
    Cursor,
    /// An entry is no object.
    #[error("an entry is not a JSON object")]
    Entry,
    /// An entry names several things: it is not clear what it denies.
    #[error("an entry has both `{0}` and `{1}`")]
    Ambiguous(&'static str, &'static str),
    /// A `jti_prefix` that is not an identifier and one dot.
    #[error("`jti_prefix` is not an identifier and one dot")]
    Prefix,
    /// A `client_id` that nobody can have.
    #[error("`client_id` is malformed")]
    ClientId(#[from] ClientIdError),
    /// An `x5t#S256` that no certificate has.
    #[error("`x5t#S256` is malformed")]
    Thumbprint(#[from] ThumbprintError),
}

impl RevocationFeed {
    /// The answer as it is sent.
    pub fn to_json(&self) -> Vec<u8> {
        let entries: Vec<Value> = self.entries.iter().map(RevocationEntry::to_json).collect();
        let mut object = json!({ "cursor": self.cursor, "entries": entries });
        if self.more {
            object["more"] = true.into();
        }
        object.to_string().into_bytes()
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// [`RevocationFeedError`]. An entry that is understood in part is not skipped: that would be a revocation lost.
    pub fn parse(json: &[u8]) -> Result<RevocationFeed, RevocationFeedError> {
        if json.len() > REVOCATION_FEED_BYTES_MAX {
            return Err(RevocationFeedError::TooLarge(json.len()));
        }
        let object = JsonObject::parse(json)?;
        let cursor = object.string("cursor")?.ok_or(RevocationFeedError::Missing("cursor"))?;
        if cursor.is_empty() || cursor.len() > CURSOR_BYTES_MAX {
            return Err(RevocationFeedError::Cursor);
        }
        let listed = match object.get("entries") {
            Some(JsonValue::Array(listed)) => listed,
            Some(_) => {
                return Err(RevocationFeedError::Type(JsonTypeError {
                    member: "entries",
                    expected: "an array",
                }));
            }
            None => return Err(RevocationFeedError::Missing("entries")),
        };
        let mut entries = Vec::with_capacity(listed.len());
        for entry in listed {
            let JsonValue::Object(entry) = entry else {
                return Err(RevocationFeedError::Entry);
            };
            entries.extend(RevocationEntry::parse(entry)?);
        }
        Ok(RevocationFeed {
            cursor: cursor.to_owned(),
            unknown_entries: listed.len() - entries.len(),
            entries,
            more: object.boolean("more")?.unwrap_or(false),
        })
    }
}

impl RevocationEntry {
    fn to_json(&self) -> Value {
        let (member, name) = match &self.subject {
            RevokedSubject::Token(id) => ("jti", id.clone()),
            RevokedSubject::Grant(id) => ("jti_prefix", format!("{id}.")),
            RevokedSubject::Client(id) => ("client_id", id.as_str().to_owned()),
            RevokedSubject::Certificate(thumbprint) => ("x5t#S256", thumbprint.to_string()),
            RevokedSubject::SigningKey(id) => ("kid", id.clone()),
        };
        let mut entry = Map::new();
        entry.insert(member.to_owned(), name.into());
        if let Some(issued_before) = self.issued_before {
            entry.insert("issued_before".to_owned(), issued_before.unix_secs().into());
        }
        entry.insert("until".to_owned(), self.until.unix_secs().into());
        entry.into()
    }

    /// `None` for an entry that names nothing known here.
    fn parse(entry: &JsonObject) -> Result<Option<RevocationEntry>, RevocationFeedError> {
        let mut named: Option<(&'static str, &str)> = None;
        for member in ["jti", "jti_prefix", "client_id", "x5t#S256", "kid"] {
            let Some(name) = entry.string(member)? else { continue };
            if let Some((other, _)) = named {
                return Err(RevocationFeedError::Ambiguous(other, member));
            }
            named = Some((member, name));
        }
        let Some((member, name)) = named else { return Ok(None) };
        let subject = match member {
            "jti" => RevokedSubject::Token(name.to_owned()),
            "jti_prefix" => RevokedSubject::Grant(grant_of_prefix(name)?.to_owned()),
            "client_id" => RevokedSubject::Client(ClientId::parse(name)?),
            "x5t#S256" => RevokedSubject::Certificate(name.parse()?),
            _ => RevokedSubject::SigningKey(name.to_owned()),
        };
        let date = |member| Ok::<_, JsonTypeError>(entry.numeric_date(member)?.map(Timestamp::from_unix_secs));
        Ok(Some(RevocationEntry {
            subject,
            issued_before: date("issued_before")?,
            until: date("until")?.ok_or(RevocationFeedError::Missing("until"))?,
        }))
    }
}

fn grant_of_prefix(prefix: &str) -> Result<&str, RevocationFeedError> {
    let grant = prefix.strip_suffix('.').ok_or(RevocationFeedError::Prefix)?;
    // Anything else would deny nothing by the look-up of the deny-list, which takes what stands before the first dot.
    if grant.is_empty() || grant.contains('.') {
        return Err(RevocationFeedError::Prefix);
    }
    Ok(grant)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing test panics")]

    use super::*;

    fn entry(subject: RevokedSubject, issued_before: Option<i64>) -> RevocationEntry {
        RevocationEntry {
            subject,
            issued_before: issued_before.map(Timestamp::from_unix_secs),
            until: Timestamp::from_unix_secs(1_800_000_000),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let thumbprint = CertificateThumbprint::from_bytes([7; 32]);
        let feed = RevocationFeed {
            cursor: "3-17".to_owned(),
            entries: vec![
                entry(RevokedSubject::Token("a\"b".to_owned()), None),
                entry(RevokedSubject::Grant("grant".to_owned()), None),
                entry(RevokedSubject::Client(ClientId::parse("demo").unwrap()), Some(5)),
                entry(RevokedSubject::Certificate(thumbprint), None),
                entry(RevokedSubject::SigningKey("key".to_owned()), Some(6)),
            ],
            more: true,
            unknown_entries: 0,
        };
        let text = String::from_utf8(feed.to_json()).unwrap();
        for member in [
            r#""jti":"a\"b""#,
            r#""jti_prefix":"grant.""#,
            r#""client_id":"demo""#,
            r#""x5t#S256":"BwcH"#,
            r#""kid":"key""#,
            r#""issued_before":5"#,
            r#""until":1800000000"#,
            r#""more":true"#,
        ] {
            assert!(text.contains(member), "{member} in {text}");
        }
        assert_eq!(RevocationFeed::parse(text.as_bytes()), Ok(feed));
    }

    #[test]
    fn an_answer_that_is_not_understood_whole_is_not_gone_by() {
        let check = |entry: &str, expected: RevocationFeedError| {
            let text = format!(r#"{{"cursor":"0-1","entries":[{{"jti":"good","until":5}},{entry}]}}"#);
            assert_eq!(RevocationFeed::parse(text.as_bytes()), Err(expected), "{entry}");
        };
        check(r#""x""#, RevocationFeedError::Entry);
        check(r#"{"jti":"x"}"#, RevocationFeedError::Missing("until"));
        check(
            r#"{"jti":"x","kid":"y","until":5}"#,
            RevocationFeedError::Ambiguous("jti", "kid"),
        );
        for prefix in ["", ".", "grant", "grant.x", "a.b."] {
            check(
                &format!(r#"{{"jti_prefix":"{prefix}","until":5}}"#),
                RevocationFeedError::Prefix,
            );
        }
        let wrong = |member, expected| RevocationFeedError::Type(JsonTypeError { member, expected });
        check(r#"{"jti":7,"until":5}"#, wrong("jti", "a string"));
        assert!(matches!(
            RevocationFeed::parse(br#"{"cursor":"0-1","entries":[{"x5t#S256":"short","until":5}]}"#),
            Err(RevocationFeedError::Thumbprint(_))
        ));
        for (text, expected) in [
            (r#"{"entries":[]}"#, RevocationFeedError::Missing("cursor")),
            (r#"{"cursor":"","entries":[]}"#, RevocationFeedError::Cursor),
            (r#"{"cursor":"0-1"}"#, RevocationFeedError::Missing("entries")),
            (r#"{"cursor":"0-1","entries":{}}"#, wrong("entries", "an array")),
            (
                r#"{"cursor":"0-1","cursor":"0-2","entries":[]}"#,
                RevocationFeedError::Json(JsonError::DuplicateMember("cursor".to_owned())),
            ),
        ] {
            assert_eq!(RevocationFeed::parse(text.as_bytes()), Err(expected), "{text}");
        }
        let long = vec![b' '; REVOCATION_FEED_BYTES_MAX + 1];
        assert_eq!(
            RevocationFeed::parse(&long),
            Err(RevocationFeedError::TooLarge(long.len()))
        );
    }

    #[test]
    fn an_entry_that_names_nothing_known_is_counted() {
        let text = br#"{"cursor":"0-1","entries":[{"galaxy":"x","until":5},{"jti":"y","until":5}],"else":1}"#;
        let feed = RevocationFeed::parse(text).unwrap();
        assert_eq!((feed.entries.len(), feed.unknown_entries, feed.more), (1, 1, false));
    }
}
