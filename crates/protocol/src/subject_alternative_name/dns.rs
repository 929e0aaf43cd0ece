//! Registered DNS names.

use std::fmt;
use std::str::FromStr;

use url::Host;

/// A DNS name to be found in a certificate: letters, digits, hyphens and underscores, in lower case, A-labels for anything else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DnsName(String);

/// Why a text is not a DNS name that a certificate can be expected to carry.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum DnsNameError {
    /// Nothing there.
    #[error("the DNS name is empty")]
    Empty,
    /// RFC 1034 limits names to 253 characters and labels to 63.
    #[error("the DNS name or one of its labels is too long")]
    TooLong,
    /// RFC 5280 gives wildcards no meaning, and a client has one name.
    #[error("a wildcard means nothing here: register the exact name")]
    Wildcard,
    /// The last label is empty.
    #[error("the DNS name ends with a dot, which a certificate does not have")]
    TrailingDot,
    /// A label that is empty, begins or ends with a hyphen, or has a character that no DNS name has.
    #[error("the DNS name has a label that is not letters, digits and hyphens")]
    BadLabel,
    /// Non-ASCII text that has no A-label form.
    #[error("the DNS name is not ASCII and has no A-label form")]
    NotAscii,
    /// An IP address is another kind of name.
    #[error("this is an IP address: register it as tls_client_auth_san_ip")]
    IpAddress,
}

impl DnsName {
    /// Whether `presented`, a `dNSName` of a certificate, is this name: the whole name, case aside (RFC 5280 §7.2).
    pub fn matches(&self, presented: &str) -> bool {
        self.0.eq_ignore_ascii_case(presented)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DnsName {
    type Err = DnsNameError;

    /// Checks a name. Internationalised names are stored in A-label form, as certificates carry them.
    fn from_str(text: &str) -> Result<DnsName, DnsNameError> {
        let name = if text.is_ascii() {
            text.to_ascii_lowercase()
        } else {
            match Host::parse(text) {
                Ok(Host::Domain(name)) => name,
                _ => return Err(DnsNameError::NotAscii),
            }
        };
        check(&name)?;
        Ok(DnsName(name))
    }
}

fn check(name: &str) -> Result<(), DnsNameError> {
    if name.is_empty() {
        return Err(DnsNameError::Empty);
    }
    if name.len() > 253 {
        return Err(DnsNameError::TooLong);
    }
    if name.contains('*') {
        return Err(DnsNameError::Wildcard);
    }
    if name.ends_with('.') {
        return Err(DnsNameError::TrailingDot);
    }
    if name.parse::<std::net::IpAddr>().is_ok() {
        return Err(DnsNameError::IpAddress);
    }
    for label in name.split('.') {
        if label.len() > 63 {
            return Err(DnsNameError::TooLong);
        }
        let allowed = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
        if label.is_empty() || label.starts_with('-') || label.ends_with('-') || !label.bytes().all(allowed) {
            return Err(DnsNameError::BadLabel);
        }
    }
    Ok(())
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_parse(text: &str, expected: Result<&str, DnsNameError>) {
        assert_eq!(
            text.parse::<DnsName>().as_ref().map(DnsName::as_str),
            expected.as_ref().copied(),
            "{text}"
        );
    }

    #[test]
    fn accepts_names_and_refuses_patterns() {
        check_parse("Client.Example.COM", Ok("client.example.com"));
        check_parse("_spiffe.example", Ok("_spiffe.example"));
        check_parse("bücher.example", Ok("xn--bcher-kva.example"));
        check_parse("xn--bcher-kva.example", Ok("xn--bcher-kva.example"));
        check_parse("", Err(DnsNameError::Empty));
        check_parse("*.example.com", Err(DnsNameError::Wildcard));
        check_parse("a*.example.com", Err(DnsNameError::Wildcard));
        check_parse("example.com.", Err(DnsNameError::TrailingDot));
        check_parse(".example.com", Err(DnsNameError::BadLabel));
        check_parse("a..b", Err(DnsNameError::BadLabel));
        check_parse("-a.example", Err(DnsNameError::BadLabel));
        check_parse("a b.example", Err(DnsNameError::BadLabel));
        check_parse("a\0.example", Err(DnsNameError::BadLabel));
        check_parse("192.0.2.1", Err(DnsNameError::IpAddress));
        check_parse(&"a".repeat(64), Err(DnsNameError::TooLong));
        check_parse(&vec!["a".repeat(63); 4].join("."), Err(DnsNameError::TooLong));
    }
}
