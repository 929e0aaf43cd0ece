//! The `WWW-Authenticate` challenge of a protected resource (RFC 6750 §3), written by servers and read by clients.

use std::fmt;

use crate::bearer::TokenScheme;
use crate::error_code::ErrorCode;
use crate::protected_resource_metadata::ResourceMetadataUrl;
use crate::scope::Scope;
use crate::signature_algorithm::SignatureAlgorithm;

/// A `Bearer` challenge.
///
/// It always has at least one parameter, `realm`, and none twice (RFC 6750 §3). A certificate-bound token keeps this scheme:
/// there is none of its own (RFC 8705 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BearerChallenge {
    realm: String,
    error: Option<ErrorCode>,
    scope: Option<Scope>,
    resource_metadata: Option<ResourceMetadataUrl>,
}

impl BearerChallenge {
    /// The challenge for a request without authentication information: it names no error (RFC 6750 §3.1).
    ///
    /// Characters of `realm` that cannot stand in a header become `?`.
    pub fn bare(realm: &str) -> Self {
        let realm = realm
            .chars()
            .map(|character| if matches!(character, ' '..='~') { character } else { '?' })
            .collect();
        Self {
            realm,
            error: None,
            scope: None,
            resource_metadata: None,
        }
    }

    /// The challenge that says what was wrong.
    #[must_use]
    pub fn with_error(mut self, error: ErrorCode) -> Self {
        self.error = Some(error);
        self
    }

    /// The challenge that says which scope the request needs; an empty one is left out.
    #[must_use]
    pub fn with_scope(mut self, scope: Scope) -> Self {
        self.scope = Some(scope).filter(|scope| !scope.is_empty());
        self
    }

    /// The challenge that says where the resource's metadata lies (RFC 9728 §5.1), as its last parameter.
    #[must_use]
    pub fn with_resource_metadata(mut self, url: ResourceMetadataUrl) -> Self {
        self.resource_metadata = Some(url);
        self
    }
}

/// A `DPoP` challenge (RFC 9449 §7.1): the parameters of a bearer challenge, and the algorithms that a proof may be signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DpopChallenge {
    parameters: BearerChallenge,
    algorithms: &'static [SignatureAlgorithm],
}

impl BearerChallenge {
    /// The same for the scheme `DPoP`, with `algs`.
    #[must_use]
    pub fn for_dpop(self, algorithms: &'static [SignatureAlgorithm]) -> DpopChallenge {
        DpopChallenge {
            parameters: self,
            algorithms,
        }
    }
}

impl fmt::Display for DpopChallenge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DPoP ")?;
        self.parameters.write_parameters(formatter)?;
        formatter.write_str(", algs=\"")?;
        for (position, algorithm) in self.algorithms.iter().enumerate() {
            let separator = if position == 0 { "" } else { " " };
            write!(formatter, "{separator}{algorithm}")?;
        }
        formatter.write_str("\"")
    }
}

impl fmt::Display for BearerChallenge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Bearer ")?;
        self.write_parameters(formatter)
    }
}

impl BearerChallenge {
    fn write_parameters(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("realm=\"")?;
        for character in self.realm.chars() {
            if matches!(character, '"' | '\\') {
                formatter.write_str("\\")?;
            }
            write!(formatter, "{character}")?;
        }
        formatter.write_str("\"")?;
        // Descriptions, scopes and URLs have no character that a quoted string escapes: see `ErrorCode::description`,
        // `Scope` and `ResourceMetadataUrl`.
        if let Some(error) = self.error {
            write!(
                formatter,
                ", error=\"{error}\", error_description=\"{}\"",
                error.description()
            )?;
        }
        if let Some(scope) = &self.scope {
            write!(formatter, ", scope=\"{scope}\"")?;
        }
        if let Some(url) = &self.resource_metadata {
            write!(formatter, ", resource_metadata=\"{url}\"")?;
        }
        Ok(())
    }
}

/// What a client reads out of the `WWW-Authenticate` field of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PresentedChallenge {
    /// `realm`
    pub realm: Option<String>,
    /// `error`, which may be a code that this product never sends.
    pub error: Option<String>,
    /// `error_description`
    pub error_description: Option<String>,
    /// `scope`
    pub scope: Option<String>,
    /// `resource_metadata`: a stranger's URL, to be fetched, if at all, with the guards of any other.
    pub resource_metadata: Option<String>,
}

/// Why a field value has no challenge of a scheme that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// No challenge of this scheme.
    #[error("there is no challenge of the scheme that is looked for")]
    OtherScheme,
    /// Not a list of challenges (RFC 9110 §11.6.1).
    #[error("not a list of challenges")]
    Syntax,
    /// A parameter twice.
    #[error("a parameter occurs twice")]
    Repeated,
}

impl PresentedChallenge {
    /// Finds the first `Bearer` challenge in one field value, which may hold challenges of other schemes.
    ///
    /// # Errors
    /// See [`ChallengeError`].
    pub fn parse(value: &str) -> Result<Self, ChallengeError> {
        Self::of_scheme(value, TokenScheme::Bearer)
    }

    /// The same for the first challenge of this scheme.
    ///
    /// # Errors
    /// See [`ChallengeError`].
    pub fn of_scheme(value: &str, scheme: TokenScheme) -> Result<Self, ChallengeError> {
        let mut scanner = Scanner { rest: value };
        let mut found: Option<Self> = None;
        let mut in_scheme = false;
        loop {
            scanner.skip(&[' ', '\t', ',']);
            if scanner.rest.is_empty() {
                return found.ok_or(ChallengeError::OtherScheme);
            }
            let name = scanner.token()?;
            let after_name = scanner.rest;
            scanner.skip(&[' ', '\t']);
            let is_parameter = scanner.take('=') && !scanner.rest.starts_with('=');
            if !is_parameter {
                // A scheme. What follows it is parameters, or one token68 of a scheme that is not ours.
                if in_scheme {
                    return found.ok_or(ChallengeError::Syntax);
                }
                scanner.rest = after_name;
                in_scheme = name.eq_ignore_ascii_case(scheme.as_str());
                if in_scheme {
                    found = Some(Self::default());
                } else {
                    scanner.skip_token68();
                }
                continue;
            }
            scanner.skip(&[' ', '\t']);
            let parameter = scanner.parameter_value()?;
            if let Some(challenge) = found.as_mut().filter(|_| in_scheme) {
                challenge.set(name, parameter)?;
            }
        }
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), ChallengeError> {
        let slot = match name.to_ascii_lowercase().as_str() {
            "realm" => &mut self.realm,
            "error" => &mut self.error,
            "error_description" => &mut self.error_description,
            "scope" => &mut self.scope,
            "resource_metadata" => &mut self.resource_metadata,
            _ => return Ok(()),
        };
        match slot.replace(value) {
            None => Ok(()),
            Some(_) => Err(ChallengeError::Repeated),
        }
    }
}

/// Reads the grammar of RFC 9110 §11.2 from left to right.
struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    fn skip(&mut self, characters: &[char]) {
        self.rest = self.rest.trim_start_matches(characters);
    }

    fn take(&mut self, character: char) -> bool {
        match self.rest.strip_prefix(character) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn token(&mut self) -> Result<&'a str, ChallengeError> {
        let is_token = |character: char| character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character);
        let end = self
            .rest
            .find(|character| !is_token(character))
            .unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        if token.is_empty() {
            return Err(ChallengeError::Syntax);
        }
        self.rest = rest;
        Ok(token)
    }

    /// Passes over `SP token68`, if that and no parameter follows a scheme.
    fn skip_token68(&mut self) {
        let word = self.rest.trim_start_matches(' ');
        let end = word.find([' ', '\t', ',']).unwrap_or(word.len());
        let (word, rest) = word.split_at(end);
        let is_token68 = word
            .trim_end_matches('=')
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || b"-._~+/".contains(&octet));
        let next = rest.trim_start_matches([' ', '\t']);
        if is_token68 && (next.is_empty() || next.starts_with(',')) {
            self.rest = rest;
        }
    }

    fn parameter_value(&mut self) -> Result<String, ChallengeError> {
        if !self.take('"') {
            return self.token().map(str::to_owned);
        }
        let mut value = String::new();
        let mut characters = self.rest.chars();
        loop {
            match characters.next().ok_or(ChallengeError::Syntax)? {
                '"' => break,
                '\\' => value.push(characters.next().ok_or(ChallengeError::Syntax)?),
                character => value.push(character),
            }
        }
        self.rest = characters.as_str();
        Ok(value)
    }
}
