//! Registered mail addresses.

use std::fmt;
use std::str::FromStr;

use super::dns::{DnsName, DnsNameError};

/// A mail address to be found in a certificate as `rfc822Name`: its local part exactly, its host in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EmailAddress {
    local_part: String,
    host: DnsName,
}

/// Why a text is not a mail address that a certificate can be expected to carry.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum EmailAddressError {
    /// No `@`.
    #[error("the mail address has no @")]
    NoHost,
    /// Nothing before the `@`, or blanks, controls, brackets or non-ASCII text in it.
    #[error("the part before the @ is empty or has characters that an rfc822Name cannot have")]
    BadLocalPart,
    /// What follows the `@` is no DNS name.
    #[error("the host of the mail address is not a DNS name")]
    BadHost(#[source] DnsNameError),
}

impl EmailAddress {
    /// Whether `presented`, an `rfc822Name` of a certificate, is this address: the local part octet for octet, the host case aside
    /// (RFC 5280 §7.5).
    pub fn matches(&self, presented: &str) -> bool {
        // The last `@`: a local part may have one in quotes, a host may not.
        presented
            .rsplit_once('@')
            .is_some_and(|(local_part, host)| local_part == self.local_part && self.host.matches(host))
    }
}

impl FromStr for EmailAddress {
    type Err = EmailAddressError;

    fn from_str(text: &str) -> Result<EmailAddress, EmailAddressError> {
        let (local_part, host) = text.rsplit_once('@').ok_or(EmailAddressError::NoHost)?;
        let allowed = |octet: u8| octet.is_ascii_graphic() && !matches!(octet, b'<' | b'>');
        if local_part.is_empty() || !local_part.bytes().all(allowed) {
            return Err(EmailAddressError::BadLocalPart);
        }
        Ok(EmailAddress {
            local_part: local_part.to_owned(),
            host: host.parse().map_err(EmailAddressError::BadHost)?,
        })
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local_part, self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_no_certificate_carries() {
        assert_eq!("a".parse::<EmailAddress>(), Err(EmailAddressError::NoHost));
        assert_eq!("".parse::<EmailAddress>(), Err(EmailAddressError::NoHost));
        assert_eq!(
            "@example.com".parse::<EmailAddress>(),
            Err(EmailAddressError::BadLocalPart)
        );
        assert_eq!(
            "A <a@example.com".parse::<EmailAddress>(),
            Err(EmailAddressError::BadLocalPart)
        );
        assert_eq!(
            "ü@example.com".parse::<EmailAddress>(),
            Err(EmailAddressError::BadLocalPart)
        );
        assert_eq!(
            "a\0@example.com".parse::<EmailAddress>(),
            Err(EmailAddressError::BadLocalPart)
        );
        assert_eq!(
            "a@".parse::<EmailAddress>(),
            Err(EmailAddressError::BadHost(DnsNameError::Empty))
        );
        assert_eq!(
            "a@*.example".parse::<EmailAddress>(),
            Err(EmailAddressError::BadHost(DnsNameError::Wildcard))
        );
    }
}
