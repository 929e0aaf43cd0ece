//! What a client asks for, in words for people.

use std::collections::HashMap;

use keybound_protocol::authorization_details::{AuthorizationDetails, AuthorizationDetailsTypes};
use keybound_protocol::claims_request::ClaimsRequest;
use keybound_protocol::client::Client;
use keybound_protocol::json::{JsonObject, JsonValue};
use keybound_protocol::profile::Profile;
use keybound_protocol::resource::ResourceUri;
use keybound_protocol::userinfo::ABOUT_SIGN_IN;
use url::Url;

use super::untrusted_text;
use crate::settings::Settings;

/// Rows that are shown of one authorization detail; the rest is counted.
const DETAIL_ROWS_MAX: usize = 40;
/// Characters of one value.
const VALUE_CHARS_MAX: usize = 300;
/// Levels of objects that are opened.
const DEPTH_MAX: usize = 4;

/// One thing that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) icon: &'static str,
    pub(crate) title: String,
    pub(crate) text: Option<String>,
    /// Names and values, as the client sent them.
    pub(crate) details: Vec<(String, String)>,
}

/// What is asked for, as it is in a request, a grant, or the request of a device.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) scope: &'a str,
    pub(crate) claims: Option<&'a ClaimsRequest>,
    pub(crate) resources: &'a [ResourceUri],
    pub(crate) authorization_details: Option<&'a AuthorizationDetails>,
}

/// The words that an operator configured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words {
    /// Descriptions of scopes.
    scopes: HashMap<String, String>,
    /// The types of authorization details.
    types: AuthorizationDetailsTypes,
}

/// The client, as people are told about it. Everything but the identifier is its own word.
#[derive(Clone, Debug)]
pub(crate) struct ShownClient {
    /// `client_name`, or the identifier.
    pub(crate) name: String,
    pub(crate) is_named: bool,
    pub(crate) id: String,
    pub(crate) initials: String,
    /// The host of `client_uri`.
    pub(crate) site: Option<String>,
}

/// What a token that comes of a consent is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binding {
    Certificate,
    Key,
    None,
}

impl Binding {
    pub(crate) fn of(client: &Client, server: Profile, dpop_jkt: Option<&str>) -> Binding {
        let metadata = client.metadata();
        if metadata.certificate_bound_access_tokens() {
            Binding::Certificate
        } else if dpop_jkt.is_some() || metadata.authorization().dpop_bound_access_tokens {
            Binding::Key
        } else if metadata.requires_bound_access_tokens(server) {
            Binding::Certificate
        } else {
            Binding::None
        }
    }

    /// What it is tied to, as a sentence; `None` if to nothing.
    pub(crate) fn explanation(self) -> Option<&'static str> {
        match self {
            Binding::Certificate => Some("It is tied to their certificate."),
            Binding::Key => Some("It is tied to a key that only they have."),
            Binding::None => None,
        }
    }
}

impl ShownClient {
    pub(crate) fn of(client: &Client) -> ShownClient {
        let description = client.metadata().description();
        let id = client.client_id().as_str().to_owned();
        let named = description.client_name().and_then(untrusted_text::name);
        let site = description
            .texts()
            .find(|(member, _)| *member == "client_uri")
            .and_then(|(_, uri)| Url::parse(uri).ok())
            .and_then(|uri| uri.host_str().map(str::to_owned));
        let name = named
            .clone()
            .unwrap_or_else(|| untrusted_text::name(&id).unwrap_or_default());
        ShownClient {
            initials: untrusted_text::initials(&name),
            is_named: named.is_some_and(|named| named != id),
            id: untrusted_text::line(&id, 200).unwrap_or_default(),
            name,
            site,
        }
    }
}

impl Words {
    pub(crate) fn of(settings: &Settings) -> Words {
        let described = settings.scopes.iter();
        let described = described.filter_map(|scope| Some((scope.name.clone(), scope.description.clone()?)));
        Words {
            scopes: described.collect(),
            types: settings.authorization.details_types.clone(),
        }
    }

    /// A line for each thing; never none.
    pub(crate) fn asks(&self, asked: Asked<'_>) -> Vec<Ask> {
        let mut asks: Vec<Ask> = asked
            .scope
            .split(' ')
            .filter(|word| !word.is_empty())
            .map(|word| self.scope(word))
            .collect();
        asks.extend(asked.claims.and_then(claims));
        if let Some(details) = asked.authorization_details {
            asks.extend(details.iter().map(|detail| authorization_detail(detail, &self.types)));
        }
        if !asked.resources.is_empty() {
            asks.push(resources(asked.resources));
        }
        if asks.is_empty() {
            asks.push(ask("i-users", "Know that you have an account here"));
        }
        asks
    }

    fn scope(&self, word: &str) -> Ask {
        let configured = self.scopes.get(word).map(String::as_str);
        let (icon, title) = match word {
            "openid" => ("i-users", "Recognise you when you come back"),
            "profile" => ("i-users", "Your name and profile"),
            "email" => ("i-users", "Your e-mail address"),
            "phone" => ("i-users", "Your telephone number"),
            "address" => ("i-users", "Your postal address"),
            "offline_access" => ("i-clock", "Go on while you are away"),
            other => ("i-key", other),
        };
        ask(icon, configured.unwrap_or(title))
    }
}

fn ask(icon: &'static str, title: &str) -> Ask {
    Ask {
        icon,
        title: title.to_owned(),
        text: None,
        details: Vec::new(),
    }
}

fn claims(claims: &ClaimsRequest) -> Option<Ask> {
    let mut names: Vec<String> = claims
        .userinfo()
        .chain(claims.id_token())
        .filter_map(|(name, _)| untrusted_text::line(name, VALUE_CHARS_MAX))
        .filter(|name| !ABOUT_SIGN_IN.contains(&name.as_str()))
        .collect();
    names.sort();
    names.dedup();
    (!names.is_empty()).then(|| Ask {
        text: Some(names.join(", ").replace('_', " ")),
        ..ask("i-users", "Details about you")
    })
}

fn resources(resources: &[ResourceUri]) -> Ask {
    let places: Vec<&str> = resources.iter().map(ResourceUri::as_str).collect();
    Ask {
        text: Some(places.join(", ")),
        ..ask("i-server", "Use this access at")
    }
}

fn authorization_detail(detail: &JsonObject, types: &AuthorizationDetailsTypes) -> Ask {
    let name = match detail.get("type") {
        Some(JsonValue::String(name)) => name.as_str(),
        _ => "",
    };
    let described = types.get(name).and_then(|known| known.description.as_deref());
    let mut details = Vec::new();
    rows(&mut details, "", detail, 0);
    let more = details.len().saturating_sub(DETAIL_ROWS_MAX);
    details.truncate(DETAIL_ROWS_MAX);
    if more > 0 {
        details.push(("and".to_owned(), format!("{more} more")));
    }
    Ask {
        details,
        ..ask("i-card", described.unwrap_or(name))
    }
}

fn rows(into: &mut Vec<(String, String)>, prefix: &str, object: &JsonObject, depth: usize) {
    for name in object.names() {
        let is_type = depth == 0 && name == "type";
        let Some(value) = object.get(name).filter(|_| !is_type) else {
            continue;
        };
        let label = untrusted_text::line(&name.replace('_', " "), 40).unwrap_or_else(|| "?".to_owned());
        let label = if prefix.is_empty() {
            label
        } else {
            format!("{prefix}, {label}")
        };
        match value {
            JsonValue::Object(inner) if depth < DEPTH_MAX => rows(into, &label, inner, depth + 1),
            JsonValue::Array(values) if depth < DEPTH_MAX && values.iter().any(is_nested) => {
                for (index, value) in values.iter().enumerate() {
                    let label = format!("{label} {}", index + 1);
                    match value {
                        JsonValue::Object(inner) => rows(into, &label, inner, depth + 1),
                        other => into.push((label, shown(other))),
                    }
                }
            }
            other => into.push((label, shown(other))),
        }
    }
}

fn is_nested(value: &JsonValue) -> bool {
    matches!(value, JsonValue::Object(_) | JsonValue::Array(_))
}

fn shown(value: &JsonValue) -> String {
    let text = match value {
        JsonValue::Null => "nothing".to_owned(),
        JsonValue::Bool(true) => "yes".to_owned(),
        JsonValue::Bool(false) => "no".to_owned(),
        JsonValue::Number(number) => number.to_string(),
        JsonValue::String(text) => text.clone(),
        JsonValue::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(", "),
        JsonValue::Object(_) => "more, nested too deeply to show".to_owned(),
    };
    untrusted_text::line(&text, VALUE_CHARS_MAX).unwrap_or_else(|| "nothing".to_owned())
}
