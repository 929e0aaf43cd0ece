//! Redirect URIs of authorization requests: which of the registered ones is meant (RFC 6749 §3.1.2, RFC 9700 §2.1), and what may be
//! said about it afterwards.
//!
//! Compared octet for octet. The one exception is the port of a native application on this machine (RFC 8252 §7.3), which the
//! operating system assigns when the application already runs.

use url::Url;

/// The longest redirect URI in octets.
pub const REDIRECT_URI_BYTES_MAX: usize = 2048;

/// The hosts of a native application's own listener, as they are spelt in a URI.
const LOOPBACK_HOSTS: [&str; 3] = ["127.0.0.1", "[::1]", "localhost"];

/// Why a redirect URI was not accepted. Nobody is ever redirected then (RFC 6749 §4.1.2.1): the answer is a page of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedirectUriError {
    /// None was sent, and the client has not registered exactly one, or its profile demands it.
    #[error("`redirect_uri` is missing, and the client has registered {registered}")]
    Missing {
        /// How many the client has registered.
        registered: usize,
    },
    /// What was sent is none of those that are registered.
    #[error("`redirect_uri` {presented:?} is not registered")]
    NotRegistered {
        /// What was sent, cut to [`REDIRECT_URI_BYTES_MAX`].
        presented: String,
    },
}

/// A redirect URI that its client registered.
///
/// Kept as it was sent: the token request has to repeat it octet for octet (RFC 6749 §4.1.3).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct RedirectUri(Box<str>);

impl RedirectUri {
    /// Finds which of the `registered` URIs a request means.
    ///
    /// `presented` may be absent if there is only one (RFC 6749 §3.1.2.3) and `may_be_missing` says so.
    ///
    /// # Errors
    /// See [`RedirectUriError`].
    pub fn choose(
        registered: &[String],
        presented: Option<&str>,
        may_be_missing: bool,
    ) -> Result<Self, RedirectUriError> {
        match (presented, registered) {
            (None, [only]) if may_be_missing => Ok(Self(only.as_str().into())),
            (None, registered) => Err(RedirectUriError::Missing {
                registered: registered.len(),
            }),
            (Some(presented), registered) => {
                let is_registered = presented.len() <= REDIRECT_URI_BYTES_MAX
                    && registered.iter().any(|registered| are_equal(registered, presented));
                match is_registered {
                    true => Ok(Self(presented.into())),
                    false => Err(RedirectUriError::NotRegistered {
                        presented: presented.chars().take(REDIRECT_URI_BYTES_MAX).collect(),
                    }),
                }
            }
        }
    }

    /// The URI as it was sent, or as it is registered if none was.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a page with a form that ends at this URI has to allow in `form-action`: its origin, or its scheme where it has none, as
    /// those of native applications (Content Security Policy Level 3 §2.3.1).
    pub fn csp_source(&self) -> Option<String> {
        let url = Url::parse(&self.0).ok()?;
        match url.scheme() {
            "https" | "http" => Some(url.origin().ascii_serialization()),
            scheme => Some(format!("{scheme}:")),
        }
    }

    /// The URI with more parameters in its query. A query that is registered stays (RFC 6749 §3.1.2).
    pub fn with_parameters<'a>(&self, parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
        let mut text = self.0.to_string();
        for (name, value) in parameters {
            let has_query = text.contains('?');
            if !has_query {
                text.push('?');
            } else if !text.ends_with(['?', '&']) {
                text.push('&');
            }
            text.extend(form_urlencoded::byte_serialize(name.as_bytes()));
            text.push('=');
            text.extend(form_urlencoded::byte_serialize(value.as_bytes()));
        }
        text
    }
}

impl std::fmt::Display for RedirectUri {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// RFC 9700 §2.1: the same text, but for the port of a loopback URI.
fn are_equal(registered: &str, presented: &str) -> bool {
    if registered == presented {
        return true;
    }
    match (loopback_parts(registered), loopback_parts(presented)) {
        (Some(registered), Some(presented)) => registered == presented,
        _ => false,
    }
}

/// Host and what follows the port of an `http` URI whose host is this machine; `None` for every other URI.
fn loopback_parts(uri: &str) -> Option<(&str, &str)> {
    let rest = uri.strip_prefix("http://")?;
    let host = LOOPBACK_HOSTS.into_iter().find(|host| rest.starts_with(host))?;
    let after_host = rest.strip_prefix(host)?;
    let after_port = match after_host.strip_prefix(':') {
        None => after_host,
        Some(port_and_rest) => {
            let digits = port_and_rest.bytes().take_while(u8::is_ascii_digit).count();
            let (port, after_port) = port_and_rest.split_at(digits);
            port.parse::<u16>().ok().filter(|port| *port != 0)?;
            after_port
        }
    };
    (after_port.is_empty() || after_port.starts_with(['/', '?'])).then_some((host, after_port))
}
