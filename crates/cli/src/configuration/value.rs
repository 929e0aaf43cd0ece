//! Readers for the values that both files have: addresses, URLs, file pairs, durations.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use keybound_tls::operator_file;
use keybound_tls::{Identity, PemError, Roots};
use url::Url;

use super::Base;
use super::diagnostic::{Diagnostic, Located, Location};
use super::document::Section;

/// Reads `certificate` and `key` of a section: PEM files that exist and belong together.
pub(crate) fn identity(section: &Section<'_>, base: &Base) -> Option<Identity> {
    let certificate = existing_file(section, base, "certificate");
    let key = existing_file(section, base, "key");
    let (certificate, key) = (certificate?, key?);
    match Identity::from_pem_files(&certificate.value, &key.value) {
        Ok(identity) => Some(identity),
        Err(error) => {
            section.report(Diagnostic::error(
                "C021",
                place_of(&error, &certificate, &key),
                error.to_string(),
            ));
            None
        }
    }
}

/// Which of the two values an error is about: the one whose file it names.
fn place_of<'l>(error: &PemError, certificate: &'l Located<PathBuf>, key: &'l Located<PathBuf>) -> &'l Location {
    let about_the_key = matches!(error, PemError::KeyMismatch { .. })
        || error.to_string().starts_with(&key.value.display().to_string());
    if about_the_key {
        &key.location
    } else {
        &certificate.location
    }
}

/// A required path to a file that exists.
pub(crate) fn existing_file(section: &Section<'_>, base: &Base, key: &'static str) -> Option<Located<PathBuf>> {
    let text = section.required(key)?;
    checked_file(section, base, &text)
}

/// Certificates of authorities from an array of paths; `None` if there are no paths, or none that can be used.
pub(crate) fn roots(section: &Section<'_>, base: &Base, key: &'static str) -> Option<Roots> {
    let files = existing_located_files(section, base, key);
    // One by one, so that each is blamed for its own content.
    for file in &files {
        if let Err(error) = Roots::from_pem_files(std::slice::from_ref(&file.value)) {
            section.report(Diagnostic::error("C021", &file.location, error.to_string()));
        }
    }
    let files: Vec<PathBuf> = files.into_iter().map(|file| file.value).collect();
    (!files.is_empty())
        .then(|| Roots::from_pem_files(&files).ok())
        .flatten()
}

/// An array of paths to files that exist.
pub(crate) fn existing_located_files(section: &Section<'_>, base: &Base, key: &'static str) -> Vec<Located<PathBuf>> {
    section
        .strings(key)
        .iter()
        .filter_map(|text| checked_file(section, base, text))
        .collect()
}

fn checked_file(section: &Section<'_>, base: &Base, text: &Located<String>) -> Option<Located<PathBuf>> {
    let path = base.resolve(&text.value);
    section.names_file(&path);
    match operator_file::open(&path) {
        Ok(_) => Some(Located {
            value: path,
            location: text.location.clone(),
        }),
        Err(error) => {
            let message = error.to_string();
            let finding = Diagnostic::error("C020", &text.location, format!("cannot be opened: {message}"));
            section.report(match error.fix() {
                Some(fix) => finding.with_help(fix),
                None => finding,
            });
            None
        }
    }
}

/// `127.0.0.1:8443` or `[::1]:8443`.
pub(crate) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    SocketAddr::from_str(text)
        .map_err(|_| "an address is an IP address and a port, as in \"127.0.0.1:8443\"".to_owned())
}

/// `10.0.0.0/8`, or one address.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    IpNet::from_str(text)
        .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
        .map_err(|_| "a network is written as in \"10.0.0.0/8\"".to_owned())
}

/// An `https` URL without query or fragment, as issuers and origins are (RFC 8414 §2).
pub(crate) fn https_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    match () {
        () if url.scheme() != "https" => Err("must be an https URL".to_owned()),
        () if url.query().is_some() || url.fragment().is_some() => Err("must have no query and no fragment".to_owned()),
        () if !url.username().is_empty() || url.password().is_some() => {
            Err("must carry no user name or password".to_owned())
        }
        () => Ok(url),
    }
}

/// An `https` URL that is only scheme, host and port.
pub(crate) fn https_origin(text: &str) -> Result<Url, String> {
    let url = https_url(text)?;
    if url.path() == "/" {
        Ok(url)
    } else {
        Err("must be an origin: scheme, host and port, no path".to_owned())
    }
}

/// One of a closed set of words.
pub(crate) fn word<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&str) -> Result<T, String> {
    move |text| {
        words
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, value)| *value)
            .ok_or_else(|| {
                let all: Vec<_> = words.iter().map(|(name, _)| format!("\"{name}\"")).collect();
                format!("must be one of {}", all.join(", "))
            })
    }
}

/// A duration that must lie within bounds, or `default`.
pub(crate) fn bounded_duration(
    section: &Section<'_>,
    key: &'static str,
    default: Duration,
    bounds: std::ops::RangeInclusive<Duration>,
) -> Duration {
    let Some(duration) = section.duration(key) else {
        return default;
    };
    if bounds.contains(&duration.value) {
        return duration.value;
    }
    let message = format!("`{key}` must lie between {:?} and {:?}", bounds.start(), bounds.end());
    section.report(Diagnostic::error("C006", &duration.location, message));
    default
}
