//! The one thing that must be in the certificate of a `tls_client_auth` client (RFC 8705 §2.1.2).

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::certificate::Certificate;
use crate::distinguished_name::{DistinguishedName, DistinguishedNameError, NameDifference};
use crate::subject_alternative_name::{
    DnsName, DnsNameError, EmailAddress, EmailAddressError, SubjectAlternativeName, UriName, UriNameError, ip_address,
};

/// The five client metadata parameters of which a `tls_client_auth` client has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SubjectParameter {
    /// The whole subject, as an RFC 4514 string.
    #[serde(rename = "tls_client_auth_subject_dn")]
    SubjectDn,
    /// A `dNSName`.
    #[serde(rename = "tls_client_auth_san_dns")]
    SanDns,
    /// A `uniformResourceIdentifier`.
    #[serde(rename = "tls_client_auth_san_uri")]
    SanUri,
    /// An `iPAddress`, as text.
    #[serde(rename = "tls_client_auth_san_ip")]
    SanIp,
    /// An `rfc822Name`.
    #[serde(rename = "tls_client_auth_san_email")]
    SanEmail,
}

impl SubjectParameter {
    /// All five, in the order of RFC 8705 §2.1.2.
    pub const ALL: [SubjectParameter; 5] = [
        SubjectParameter::SubjectDn,
        SubjectParameter::SanDns,
        SubjectParameter::SanUri,
        SubjectParameter::SanIp,
        SubjectParameter::SanEmail,
    ];

    /// The registered name.
    pub const fn name(self) -> &'static str {
        match self {
            SubjectParameter::SubjectDn => "tls_client_auth_subject_dn",
            SubjectParameter::SanDns => "tls_client_auth_san_dns",
            SubjectParameter::SanUri => "tls_client_auth_san_uri",
            SubjectParameter::SanIp => "tls_client_auth_san_ip",
            SubjectParameter::SanEmail => "tls_client_auth_san_email",
        }
    }

    /// The parameter with this registered name.
    pub fn from_name(name: &str) -> Option<SubjectParameter> {
        SubjectParameter::ALL
            .into_iter()
            .find(|parameter| parameter.name() == name)
    }
}

impl fmt::Display for SubjectParameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One registered subject parameter with its value, checked. There is no rule that matches everything, and none with two values.
#[derive(Clone, Debug)]
pub struct SubjectRule {
    as_given: String,
    expected: Expected,
}

#[derive(Clone, Debug)]
enum Expected {
    SubjectDn(DistinguishedName),
    SanDns(DnsName),
    SanUri(UriName),
    SanIp(IpAddr),
    SanEmail(EmailAddress),
}

impl SubjectRule {
    /// Checks the value of one parameter.
    ///
    /// # Errors
    /// The value is not of its kind, or nothing could ever match it (an empty name, a wildcard, a control character).
    pub fn parse(parameter: SubjectParameter, value: &str) -> Result<SubjectRule, SubjectRuleError> {
        let expected = match parameter {
            SubjectParameter::SubjectDn => Expected::SubjectDn(value.parse()?),
            SubjectParameter::SanDns => Expected::SanDns(value.parse()?),
            SubjectParameter::SanUri => Expected::SanUri(value.parse()?),
            SubjectParameter::SanIp => Expected::SanIp(value.parse().map_err(|_| SubjectRuleError::Ip)?),
            SubjectParameter::SanEmail => Expected::SanEmail(value.parse()?),
        };
        Ok(SubjectRule {
            as_given: value.to_owned(),
            expected,
        })
    }

    /// Takes the one rule out of the subject parameters that a client registered, as (parameter, value).
    ///
    /// # Errors
    /// [`None`](SubjectRuleError::None) and [`Several`](SubjectRuleError::Several) unless there is exactly one (RFC 8705 §2.1.2); else
    /// what [`parse`](SubjectRule::parse) says.
    pub fn exactly_one<'a>(
        parameters: impl IntoIterator<Item = (SubjectParameter, &'a str)>,
    ) -> Result<SubjectRule, SubjectRuleError> {
        let mut parameters = parameters.into_iter();
        let (parameter, value) = parameters.next().ok_or(SubjectRuleError::None)?;
        match parameters.next() {
            None => SubjectRule::parse(parameter, value),
            Some((second, _)) => Err(SubjectRuleError::Several {
                first: parameter,
                second,
            }),
        }
    }

    /// Which parameter it is.
    pub fn parameter(&self) -> SubjectParameter {
        match &self.expected {
            Expected::SubjectDn(_) => SubjectParameter::SubjectDn,
            Expected::SanDns(_) => SubjectParameter::SanDns,
            Expected::SanUri(_) => SubjectParameter::SanUri,
            Expected::SanIp(_) => SubjectParameter::SanIp,
            Expected::SanEmail(_) => SubjectParameter::SanEmail,
        }
    }

    /// The value exactly as it was registered.
    pub fn as_given(&self) -> &str {
        &self.as_given
    }

    /// The value as it is shown and compared.
    pub fn canonical(&self) -> String {
        match &self.expected {
            Expected::SubjectDn(name) => name.to_string(),
            Expected::SanDns(name) => name.to_string(),
            Expected::SanUri(uri) => uri.to_string(),
            Expected::SanIp(address) => address.to_string(),
            Expected::SanEmail(address) => address.to_string(),
        }
    }

    /// The name, if the rule is about the whole subject.
    pub fn subject_dn(&self) -> Option<&DistinguishedName> {
        match &self.expected {
            Expected::SubjectDn(name) => Some(name),
            _ => None,
        }
    }

    /// Decides whether a certificate is the registered one's successor or itself: it has the registered value where the parameter says.
    ///
    /// RFC 8705 §2.1.2. Everything else in the certificate is ignored; of several alternative names of the kind any one suffices. The
    /// common name never stands in for an alternative name, nor one kind for another.
    ///
    /// # Errors
    /// [`SubjectMismatch`], with what was presented instead.
    pub fn verify(&self, certificate: &Certificate) -> Result<(), Box<SubjectMismatch>> {
        let matches = match &self.expected {
            Expected::SubjectDn(registered) => certificate.subject().matches(registered),
            _ => certificate
                .subject_alternative_names()
                .iter()
                .any(|name| self.matches_alternative(name)),
        };
        if matches {
            Ok(())
        } else {
            Err(Box::new(self.mismatch(certificate)))
        }
    }

    fn matches_alternative(&self, presented: &SubjectAlternativeName) -> bool {
        match (&self.expected, presented) {
            (Expected::SanDns(registered), SubjectAlternativeName::Dns(name)) => registered.matches(name),
            (Expected::SanUri(registered), SubjectAlternativeName::Uri(uri)) => registered.matches(uri),
            (Expected::SanIp(registered), SubjectAlternativeName::Ip(octets)) => {
                ip_address(octets) == Some(*registered)
            }
            (Expected::SanEmail(registered), SubjectAlternativeName::Email(address)) => registered.matches(address),
            _ => false,
        }
    }

    fn mismatch(&self, certificate: &Certificate) -> SubjectMismatch {
        let (presented, difference) = match &self.expected {
            Expected::SubjectDn(registered) => {
                let subject = certificate.subject();
                (vec![subject.to_string()], subject.difference(registered))
            }
            _ => {
                let names = certificate.subject_alternative_names().iter();
                (
                    names
                        .filter(|name| self.is_same_kind(name))
                        .map(presented_text)
                        .collect(),
                    None,
                )
            }
        };
        let other_kinds = match &self.expected {
            Expected::SubjectDn(_) => Vec::new(),
            _ => {
                let names = certificate.subject_alternative_names().iter();
                names
                    .filter(|name| !self.is_same_kind(name))
                    .map(SubjectAlternativeName::to_string)
                    .collect()
            }
        };
        SubjectMismatch {
            parameter: self.parameter(),
            presented,
            registered: self.canonical(),
            difference,
            other_kinds,
        }
    }

    fn is_same_kind(&self, presented: &SubjectAlternativeName) -> bool {
        matches!(
            (&self.expected, presented),
            (Expected::SanDns(_), SubjectAlternativeName::Dns(_))
                | (Expected::SanUri(_), SubjectAlternativeName::Uri(_))
                | (Expected::SanIp(_), SubjectAlternativeName::Ip(_))
                | (Expected::SanEmail(_), SubjectAlternativeName::Email(_))
        )
    }
}

/// Without the kind before it, as the value of the parameter is written.
fn presented_text(name: &SubjectAlternativeName) -> String {
    let text = name.to_string();
    match text.split_once(':') {
        Some((_, value)) => value.to_owned(),
        None => text,
    }
}

/// The certificate does not have the registered value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectMismatch {
    /// The parameter that was compared.
    pub parameter: SubjectParameter,
    /// What the certificate has of this kind: the subject, or every alternative name of the kind.
    pub presented: Vec<String>,
    /// What is registered, in its canonical form.
    pub registered: String,
    /// Which RDN differs, for a subject.
    pub difference: Option<NameDifference>,
    /// The alternative names of other kinds, which were not compared.
    pub other_kinds: Vec<String>,
}

impl SubjectMismatch {
    /// One sentence on what differs.
    pub fn detail(&self) -> String {
        if let Some(difference) = &self.difference {
            return difference.to_string();
        }
        let same_text = |name: &&String| name.split_once(':').is_some_and(|(_, value)| value == self.registered);
        match (self.presented.is_empty(), self.other_kinds.iter().find(same_text)) {
            (_, Some(other)) => {
                format!("the certificate has it as another kind of name, {other}, which does not count")
            }
            (true, None) if self.other_kinds.is_empty() => {
                "the certificate has no subject alternative names".to_owned()
            }
            (true, None) => format!(
                "the certificate has no name of this kind, only {}",
                self.other_kinds.join(", ")
            ),
            (false, None) => "no name of this kind in the certificate is the registered one".to_owned(),
        }
    }
}

/// Why a client cannot be registered with these subject parameters. For whoever registers: `invalid_client_metadata`.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SubjectRuleError {
    /// A `tls_client_auth` client without a subject parameter would be anybody.
    #[error("one of the five tls_client_auth_* subject parameters is required")]
    None,
    /// Kinds are never combined.
    #[error("exactly one subject parameter is allowed, not {first} and {second}")]
    Several {
        /// One of them.
        first: SubjectParameter,
        /// Another.
        second: SubjectParameter,
    },
    /// `tls_client_auth_subject_dn` is malformed.
    #[error("tls_client_auth_subject_dn: {0}")]
    SubjectDn(#[from] DistinguishedNameError),
    /// `tls_client_auth_san_dns` is malformed.
    #[error("tls_client_auth_san_dns: {0}")]
    Dns(#[from] DnsNameError),
    /// `tls_client_auth_san_uri` is malformed.
    #[error("tls_client_auth_san_uri: {0}")]
    Uri(#[from] UriNameError),
    /// `tls_client_auth_san_ip` is malformed.
    #[error("tls_client_auth_san_ip: not an IPv4 address in dotted decimal nor an IPv6 address")]
    Ip,
    /// `tls_client_auth_san_email` is malformed.
    #[error("tls_client_auth_san_email: {0}")]
    Email(#[from] EmailAddressError),
}
