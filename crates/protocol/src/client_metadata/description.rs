//! What a client says about itself (RFC 7591 §2). Shown to people, believed in nothing.

use url::Url;

use crate::client_metadata::error::ClientMetadataError;
use crate::json::JsonObject;

/// The longest text in characters.
pub const DESCRIPTION_CHARS_MAX: usize = 512;
/// The most entries of `contacts`.
pub const CONTACTS_MAX: usize = 20;

/// The descriptive members of client metadata.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientDescription {
    texts: Vec<(&'static str, String)>,
    contacts: Vec<String>,
}

/// Free texts.
const TEXTS: [&str; 3] = ["client_name", "software_id", "software_version"];
/// Pages and images, which must be https: a console may link to them.
const URLS: [&str; 4] = ["client_uri", "logo_uri", "tos_uri", "policy_uri"];

impl ClientDescription {
    pub(super) fn from_object(object: &JsonObject) -> Result<Self, ClientMetadataError> {
        let mut texts = Vec::new();
        for member in TEXTS {
            if let Some(text) = object.string(member)? {
                texts.push((member, displayable(member, text)?));
            }
        }
        for member in URLS {
            if let Some(text) = object.string(member)? {
                let is_https = Url::parse(text).is_ok_and(|url| url.scheme() == "https");
                if !is_https || text.contains(char::is_whitespace) {
                    return Err(ClientMetadataError::Description { member });
                }
                texts.push((member, displayable(member, text)?));
            }
        }
        let contacts = object.strings("contacts")?.unwrap_or_default();
        if contacts.len() > CONTACTS_MAX {
            return Err(ClientMetadataError::Description { member: "contacts" });
        }
        let contacts = contacts
            .into_iter()
            .map(|text| displayable("contacts", text))
            .collect::<Result<_, _>>()?;
        Ok(Self { texts, contacts })
    }

    /// `client_name`
    pub fn client_name(&self) -> Option<&str> {
        self.texts
            .iter()
            .find(|(member, _)| *member == "client_name")
            .map(|(_, text)| text.as_str())
    }

    /// Members that are texts, with their names.
    pub fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.texts.iter().map(|(member, text)| (*member, text.as_str()))
    }

    /// `contacts`
    pub fn contacts(&self) -> &[String] {
        &self.contacts
    }
}

/// Control characters, which move a terminal's cursor, and those that turn the direction of what stands around them.
fn misleads(character: char) -> bool {
    character.is_control() || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Control characters, those that turn the direction of text, and those that nobody sees (Unicode's Cc, Cf, Co and what fonts show
/// as nothing).
pub fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{600}'..='\u{605}'
                | '\u{61c}'
                | '\u{6dd}'
                | '\u{70f}'
                | '\u{115f}'
                | '\u{1160}'
                | '\u{17b4}'
                | '\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{2800}'
                | '\u{3164}'
                | '\u{e000}'..='\u{f8ff}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{ffff}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{10ffff}'
        )
}

fn displayable(member: &'static str, text: &str) -> Result<String, ClientMetadataError> {
    // Whom users are asked about has a name that they see.
    let is_unseen = |character: char| character.is_whitespace() || is_invisible(character);
    let is_hidden = member == "client_name" && text.chars().all(is_unseen);
    if is_hidden || text.chars().count() > DESCRIPTION_CHARS_MAX || text.chars().any(misleads) {
        return Err(ClientMetadataError::Description { member });
    }
    Ok(text.to_owned())
}
