//! `[registration]` and `[[software_statement_issuers]]`: who may register clients, and what those may be.

use std::collections::BTreeSet;
use std::path::PathBuf;

use keybound_authorization_server::{ClientPolicy, InitialAccessToken, REGISTRATION_METHODS, RegistrationSettings};
use keybound_protocol::authentication_method::AuthenticationMethod;
use keybound_protocol::bearer::BearerToken;
use keybound_protocol::grant_type::GrantType;
use keybound_protocol::jwk_set::JwkSet;
use keybound_protocol::profile::Profile;
use keybound_protocol::refusal::Refusal;
use keybound_protocol::secret::SecretHash;
use keybound_protocol::signature_algorithm::SignatureAlgorithm;
use keybound_protocol::software_statement::SoftwareStatementIssuer;
use keybound_protocol::trust_anchor::TrustAnchorName;
use keybound_tls::operator_file::{self, OPERATOR_FILE_BYTES_MAX};

use super::Base;
use super::diagnostic::{Diagnostic, Located, Location};
use super::document::{Document, Section};
use super::value::{existing_file, word};

/// The shortest initial access token in characters: 128 bits in base64url.
const TOKEN_CHARS_MIN: usize = 22;
/// The name of a token that stands alone in its line.
const DEFAULT_NAME: &str = "default";
/// The most clients of a quota that is not configured.
const CLIENTS_MAX: u64 = 10_000;
/// The most registrations of one address in an hour, unless configured.
const PER_ADDRESS_AND_HOUR_MAX: u64 = 100;

/// `[registration]`, and what belongs to it.
#[derive(Debug, Clone)]
pub(crate) struct RegistrationEntry {
    location: Location,
    token_file: Option<Located<PathBuf>>,
    /// The policy of every token that has none of its own.
    policy: ClientPolicy,
    /// `[[registration.policies]]`, by the names of tokens.
    policies: Vec<(Located<String>, ClientPolicy)>,
    issuers: Vec<IssuerEntry>,
    clients_max: u64,
    per_address_and_hour_max: u64,
}

/// `[[software_statement_issuers]]`.
#[derive(Debug, Clone)]
struct IssuerEntry {
    issuer: String,
    jwks: Located<PathBuf>,
    algorithms: Vec<SignatureAlgorithm>,
}

/// Takes registration out of the document; `None` if it is not enabled.
pub(super) fn entry(
    document: &Document,
    root: &Section<'_>,
    base: &Base,
    trust_anchors: &[TrustAnchorName],
) -> Option<RegistrationEntry> {
    let issuers: Vec<IssuerEntry> = root
        .sections("software_statement_issuers")
        .into_iter()
        .filter_map(|section| issuer(section, base))
        .collect();
    let section = root.section("registration");
    let enabled = section.boolean("enabled", false);
    let token_file = section.contains("initial_access_token_file");
    let token_file = match token_file {
        true => existing_file(&section, base, "initial_access_token_file"),
        false => {
            let _ = section.string("initial_access_token_file");
            None
        }
    };
    let clients_max = count(&section, "clients_max", CLIENTS_MAX);
    let per_address_and_hour_max = count(&section, "per_address_and_hour_max", PER_ADDRESS_AND_HOUR_MAX);
    let policy = policy(&section, trust_anchors, clients_max);
    let mut policies: Vec<(Located<String>, ClientPolicy)> = Vec::new();
    for section in section.sections("policies") {
        let name = section.required("name");
        let clients_max = count(&section, "clients_max", clients_max);
        let policy = self::policy(&section, trust_anchors, clients_max);
        section.finish();
        let Some(name) = name else { continue };
        if policies.iter().any(|(other, _)| other.value == name.value) {
            let message = format!("a second policy is called `{}`", name.value);
            document.report(Diagnostic::error("C050", &name.location, message));
        } else {
            policies.push((name, policy));
        }
    }
    section.finish();
    if enabled.value && token_file.is_none() {
        let message = "nobody can register: `registration.initial_access_token_file` is missing";
        document.report(Diagnostic::warning("C051", &enabled.location, message));
    }
    enabled.value.then_some(RegistrationEntry {
        location: enabled.location,
        token_file,
        policy,
        policies,
        issuers,
        clients_max,
        per_address_and_hour_max,
    })
}

fn count(section: &Section<'_>, key: &'static str, default: u64) -> u64 {
    let count = section.integer(key, 0..=1_000_000_000);
    count.map_or(default, |count| count.value.unsigned_abs())
}

fn policy(section: &Section<'_>, trust_anchors: &[TrustAnchorName], clients_max: u64) -> ClientPolicy {
    let methods: BTreeSet<AuthenticationMethod> = section
        .parsed_strings("methods", |name| {
            AuthenticationMethod::from_name(name).ok_or_else(|| format!("\"{name}\" is no authentication method"))
        })
        .into_iter()
        .map(|located| located.value)
        .collect();
    let grant_types: BTreeSet<GrantType> = section
        .parsed_strings("grant_types", |name| {
            GrantType::from_name(name).ok_or_else(|| format!("\"{name}\" is no grant type"))
        })
        .into_iter()
        .map(|located| located.value)
        .collect();
    let scopes: BTreeSet<String> = section
        .strings("scopes")
        .into_iter()
        .map(|located| located.value)
        .collect();
    let anchors = section.parsed_strings("trust_anchors", str::parse::<TrustAnchorName>);
    for anchor in anchors.iter().filter(|anchor| !trust_anchors.contains(&anchor.value)) {
        let message = format!("no `[[trust_anchors]]` is called `{}`", anchor.value.as_str());
        let finding = Diagnostic::warning("C052", &anchor.location, message);
        section.report(finding.with_help("one that administrators added, or will add, is meant by its name too"));
    }
    let statement = section.parsed("software_statement", word(&[("optional", false), ("required", true)]));
    let profile = section.parsed("profile", str::parse::<Profile>);
    let given = |key: &str| section.contains(key);
    ClientPolicy {
        methods: match given("methods") {
            true => methods,
            false => REGISTRATION_METHODS.into(),
        },
        grant_types: given("grant_types").then_some(grant_types),
        scopes: given("scopes").then_some(scopes),
        trust_anchors: given("trust_anchors").then(|| anchors.into_iter().map(|located| located.value).collect()),
        profile: profile.map_or(Profile::Default, |located| located.value),
        software_statement_required: statement.is_some_and(|located| located.value),
        clients_max,
    }
}

fn issuer(section: Section<'_>, base: &Base) -> Option<IssuerEntry> {
    let issuer = section.required("issuer");
    let jwks = existing_file(&section, base, "jwks");
    let algorithms: Vec<SignatureAlgorithm> = section
        .parsed_strings("algorithms", str::parse::<SignatureAlgorithm>)
        .into_iter()
        .map(|located| located.value)
        .collect();
    section.finish();
    Some(IssuerEntry {
        issuer: issuer?.value,
        jwks: jwks?,
        algorithms: match algorithms.is_empty() {
            true => SignatureAlgorithm::FAPI.into(),
            false => algorithms,
        },
    })
}

impl RegistrationEntry {
    /// Reads the files: the tokens, and the keys of issuers.
    pub(crate) fn load(&self) -> (RegistrationSettings, Vec<Diagnostic>) {
        let mut findings = Vec::new();
        let initial_access_tokens = match &self.token_file {
            Some(file) => self.tokens(file, &mut findings),
            None => Vec::new(),
        };
        let is_named = |name: &str| initial_access_tokens.iter().any(|token| token.name == name);
        for (name, _) in self.policies.iter().filter(|(name, _)| !is_named(&name.value)) {
            let message = format!("no initial access token is called `{}`", name.value);
            findings.push(Diagnostic::warning("C053", &name.location, message));
        }
        let issuers = self.issuers.iter().filter_map(|issuer| match issuer.load() {
            Ok(issuer) => Some(issuer),
            Err(finding) => {
                findings.push(*finding);
                None
            }
        });
        let software_statement_issuers = issuers.collect();
        let settings = RegistrationSettings {
            initial_access_tokens,
            software_statement_issuers,
            clients_max: self.clients_max,
            per_address_and_hour_max: self.per_address_and_hour_max,
        };
        (settings, findings)
    }

    /// One token in each line, with a name before it or without. What is wrong is told by the line's number, never by its text.
    fn tokens(&self, file: &Located<PathBuf>, findings: &mut Vec<Diagnostic>) -> Vec<InitialAccessToken> {
        let text = match operator_file::read_text(&file.value, OPERATOR_FILE_BYTES_MAX) {
            Ok(text) => text,
            Err(error) => {
                findings.push(Diagnostic::error("C054", &file.location, error.to_string()));
                return Vec::new();
            }
        };
        let mut tokens: Vec<InitialAccessToken> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let (name, token) = match words.as_slice() {
                [] => continue,
                [comment, ..] if comment.starts_with('#') => continue,
                [token] => (DEFAULT_NAME, *token),
                [name, token] => (*name, *token),
                _ => {
                    findings.push(self.line(file, number, "is not NAME TOKEN"));
                    continue;
                }
            };
            let is_token = BearerToken::parse(token.as_bytes()).is_ok() && token.len() >= TOKEN_CHARS_MIN;
            if !is_token {
                let message = format!("has no token of {TOKEN_CHARS_MIN} or more letters and digits of base64url");
                findings.push(self.line(file, number, &message));
            } else if tokens.iter().any(|other| other.name == name) {
                let message = format!("has a second token called `{}`", Refusal::presented_text(name));
                findings.push(self.line(file, number, &message));
            } else {
                tokens.push(InitialAccessToken {
                    name: name.to_owned(),
                    token: SecretHash::of(token),
                    policy: self.policy_of(name),
                });
            }
        }
        if tokens.is_empty() && findings.is_empty() {
            let message = format!("{} has no token: nobody can register", file.value.display());
            findings.push(Diagnostic::warning("C051", &self.location, message));
        }
        tokens
    }

    fn line(&self, file: &Located<PathBuf>, number: usize, message: &str) -> Diagnostic {
        let message = format!("{}, line {number}: {message}", file.value.display());
        Diagnostic::error("C054", &file.location, message)
    }

    fn policy_of(&self, name: &str) -> ClientPolicy {
        let own = self.policies.iter().find(|(policy, _)| policy.value == name);
        own.map_or(&self.policy, |(_, policy)| policy).clone()
    }
}

impl IssuerEntry {
    fn load(&self) -> Result<SoftwareStatementIssuer, Box<Diagnostic>> {
        let wrong = |error: String| Box::new(Diagnostic::error("C055", &self.jwks.location, error));
        let text = operator_file::read_text(&self.jwks.value, OPERATOR_FILE_BYTES_MAX);
        let text = text.map_err(|error| wrong(error.to_string()))?;
        let keys = JwkSet::parse(text.as_bytes()).map_err(|error| wrong(Refusal::reason_of(&error)))?;
        if !keys.can_verify(&self.algorithms) {
            return Err(wrong(
                "no key of the set can sign by an algorithm that is permitted".to_owned(),
            ));
        }
        Ok(SoftwareStatementIssuer {
            issuer: self.issuer.clone(),
            keys,
            algorithms: self.algorithms.clone(),
        })
    }
}
