//! What `explain` shows of a refusal at a protected resource: every rule in the order of the check, and what to do.

use keybound_client::{ClientError, ResponseError};
use keybound_protocol::access_token::AccessTokenError;
use keybound_protocol::bearer::{BearerError, TokenScheme};
use keybound_protocol::confirmation::BindingError;
use keybound_protocol::introspection::IntrospectionResponseError;
use keybound_protocol::refusal::Refusal;
use keybound_protocol::rule::{Outcome, RuleOutcome};

use super::{AccessTokenRefusal, Refused, Vouching};
use crate::route_policy::{Binding, Dpop};

const TOKEN: &str = "one access token in the Authorization header";
const PRESENTATION: &str = "sent as a bearer token or with a DPoP proof, as the route takes it";
const PROOF: &str = "a DPoP proof for this request (RFC 9449 \u{a7}4.3)";
const ISSUER: &str = "an issuer that this route trusts";
const KEYS: &str = "the issuer's keys are known";
const ANSWER: &str = "the issuer can be asked";
const ACTIVE: &str = "active, says the issuer";
const NOT_DENIED: &str = "not revoked";
const BOUND: &str = "bound to a certificate (cnf.x5t#S256) or a key (cnf.jkt)";
const BINDING: &str = "the certificate of this request is the one it is bound to";
const KEY_BINDING: &str = "the key of this request's DPoP proof is the one it is bound to";
const SCOPE: &str = "its scope covers this route";

// Rules of a token that are the same whoever vouches for it, under the names that they have in `AccessTokenError::RULES`.
const COMPLETE: &str = "claims complete";
const AUDIENCE: &str = "audience";
const VALIDITY: &str = "inside its validity";
const CONFIRMATION: &str = "confirmation can be verified";

/// The rules about an introspected token, in the order in which they are decided.
const INTROSPECTION_RULES: [&str; 6] = [ANSWER, ACTIVE, COMPLETE, AUDIENCE, VALIDITY, CONFIRMATION];

impl AccessTokenRefusal {
    /// The rule that failed.
    fn failed_rule(&self) -> &'static str {
        match self {
            AccessTokenRefusal::Bearer(_) => TOKEN,
            AccessTokenRefusal::UnknownIssuer { .. } | AccessTokenRefusal::IssuerNotAdmitted { .. } => ISSUER,
            AccessTokenRefusal::KeysUnavailable { .. } => KEYS,
            AccessTokenRefusal::IssuerUnavailable { .. } => ANSWER,
            AccessTokenRefusal::Inactive | AccessTokenRefusal::QuestionRefused { .. } => ACTIVE,
            AccessTokenRefusal::Introspection { source, .. } => match **source {
                ClientError::Response {
                    source: ResponseError::Introspection(ref error),
                    ..
                } => match error {
                    IntrospectionResponseError::Confirmation(_) => CONFIRMATION,
                    IntrospectionResponseError::OutsideItsDates => VALIDITY,
                    IntrospectionResponseError::Scope(_) | IntrospectionResponseError::Type(_) => COMPLETE,
                    IntrospectionResponseError::TooLarge(_)
                    | IntrospectionResponseError::Json(_)
                    | IntrospectionResponseError::ActiveMissing => ACTIVE,
                },
                _ => ACTIVE,
            },
            AccessTokenRefusal::Token(AccessTokenError::Issuer { .. }) => ISSUER,
            AccessTokenRefusal::Token(error) | AccessTokenRefusal::Opaque(error) => error.rule(),
            AccessTokenRefusal::Denied { .. } | AccessTokenRefusal::RevocationsUnknown { .. } => NOT_DENIED,
            AccessTokenRefusal::ExpiredWhileRunning { .. } => VALIDITY,
            AccessTokenRefusal::Unbound => BOUND,
            AccessTokenRefusal::Binding(
                BindingError::NoProof | BindingError::KeyMismatch { .. } | BindingError::NotBoundToKey,
            ) => KEY_BINDING,
            AccessTokenRefusal::CertificateRequired(_) | AccessTokenRefusal::Binding(_) => BINDING,
            AccessTokenRefusal::Proof(_) => PROOF,
            AccessTokenRefusal::ProofBesideBearer | AccessTokenRefusal::ProofRequired => PRESENTATION,
            AccessTokenRefusal::InsufficientScope { .. } => SCOPE,
        }
    }

    /// What arrived and what was expected, for the rule that failed.
    fn comparison(&self) -> (Option<String>, Option<String>) {
        match self {
            AccessTokenRefusal::UnknownIssuer { presented } => (presented.clone(), None),
            AccessTokenRefusal::IssuerNotAdmitted { issuer } => (Some(issuer.clone()), None),
            AccessTokenRefusal::Token(error) => {
                // The protocol's own list says it for its rules.
                let failed = error.rules().into_iter().find(|rule| rule.outcome == Outcome::Failed);
                failed.map_or((None, None), |rule| (rule.presented, rule.registered))
            }
            AccessTokenRefusal::Binding(BindingError::Mismatch { presented, expected }) => {
                (Some(presented.to_string()), Some(expected.to_string()))
            }
            AccessTokenRefusal::Binding(BindingError::KeyMismatch { presented, expected }) => {
                (Some(presented.to_string()), Some(expected.to_string()))
            }
            AccessTokenRefusal::Proof(error) => error.comparison(),
            AccessTokenRefusal::ExpiredWhileRunning { expired_at } => (Some(format!("exp {expired_at}")), None),
            AccessTokenRefusal::InsufficientScope { presented, required } => {
                (Some(presented.to_string()), Some(required.to_string()))
            }
            _ => (None, None),
        }
    }
}

impl Refused {
    /// Every rule in the order of the check: those before the failed one held, those after it were not reached.
    ///
    /// What a route does not ask for is left out.
    pub fn rules(&self) -> Vec<RuleOutcome> {
        let failed = self.reason.failed_rule();
        let mut asked = vec![TOKEN, PRESENTATION, PROOF];
        match self.vouching {
            Vouching::Introspection => {
                asked.push(ISSUER);
                asked.extend(INTROSPECTION_RULES);
            }
            Vouching::NotIntrospected => {
                asked.extend([ISSUER, BINDING]);
                asked.extend(INTROSPECTION_RULES);
            }
            Vouching::Local => {
                // The issuer is asked about as soon as it can be read, because its keys are found by it.
                let (form, others) = AccessTokenError::RULES.split_at(1);
                asked.extend(form);
                asked.extend([ISSUER, KEYS]);
                asked.extend(others.iter().filter(|rule| **rule != "issuer"));
            }
        }
        asked.extend([NOT_DENIED, BOUND, KEY_BINDING]);
        asked.extend((self.vouching != Vouching::NotIntrospected).then_some(BINDING));
        asked.push(SCOPE);
        asked.retain(|rule| *rule == failed || self.is_asked(rule));
        let mut rules = RuleOutcome::list(&asked, failed);
        for rule in &mut rules {
            self.describe(rule);
        }
        rules
    }

    fn describe(&self, rule: &mut RuleOutcome) {
        if rule.outcome == Outcome::Failed {
            let (presented, registered) = self.reason.comparison();
            rule.presented = presented.as_deref().map(Refusal::presented_text);
            rule.registered = registered.as_deref().map(Refusal::presented_text);
            rule.detail = Some(Refusal::reason_of(&self.reason));
        } else if rule.rule == BOUND && rule.outcome == Outcome::Passed {
            // Said also where it passed: what a token is bound to is what most questions are about.
            let confirmation = self.claims.as_ref().and_then(|claims| claims.confirmation.as_ref());
            rule.presented = confirmation.map(|confirmation| {
                let certificate = confirmation.certificate().map(ToString::to_string);
                let key = confirmation.key().map(ToString::to_string);
                [certificate, key].into_iter().flatten().collect::<Vec<_>>().join(" ")
            });
        }
    }

    /// What to do about it, in the operator's words.
    pub fn fix(&self) -> String {
        match &self.reason {
            AccessTokenRefusal::Bearer(BearerError::Missing | BearerError::OtherScheme) if self.policy.dpop() == Dpop::Refused => {
                "let the caller send its access token in the header Authorization: Bearer …".to_owned()
            }
            AccessTokenRefusal::Bearer(error) => bearer_fix(*error).to_owned(),
            AccessTokenRefusal::Binding(
                BindingError::NoProof | BindingError::KeyMismatch { .. },
            ) if self.policy.dpop() == Dpop::Refused => {
                "this resource takes no tokens that are bound to a key: let the caller obtain one over mutual TLS, with a client that is \
                 registered with tls_client_certificate_bound_access_tokens = true"
                    .to_owned()
            }
            AccessTokenRefusal::UnknownIssuer { presented: Some(presented) } => format!(
                "if tokens of {} are to be accepted, add it to [[issuers]] in exactly this spelling",
                Refusal::presented_text(presented)
            ),
            AccessTokenRefusal::UnknownIssuer { presented: None } => {
                "let the issuer put `iss` into its tokens, or set validation = \"introspection\" for it".to_owned()
            }
            AccessTokenRefusal::IssuerNotAdmitted { issuer } => {
                format!("if tokens of {issuer} are to be accepted here, add it to `issuers` of this route")
            }
            AccessTokenRefusal::Opaque(_) => {
                "if the issuer gives opaque tokens, set validation = \"introspection\" for it".to_owned()
            }
            AccessTokenRefusal::Token(error) => error.fix(),
            AccessTokenRefusal::Inactive => {
                "let the caller ask for a new token; if all are refused, check that our own client may introspect tokens for this \
                 resource (keybound_introspects)"
                    .to_owned()
            }
            AccessTokenRefusal::Introspection { issuer, .. } => {
                format!("the introspection endpoint of {issuer} answers what it may not: ask its operator")
            }
            AccessTokenRefusal::QuestionRefused { issuer, .. } => format!(
                "let the caller send the token exactly as the token endpoint returned it; if it does, the introspection endpoint of \
                 {issuer}, or a proxy before it, refuses what it should take: ask its operator"
            ),
            AccessTokenRefusal::Denied { .. } => "revoked on purpose: the audit log of the authorization server says by whom".to_owned(),
            AccessTokenRefusal::ExpiredWhileRunning { .. } => {
                "let the caller ask for a new token in time, or set long_running = \"until-close\" for this route if what its \
                 requests start may outlive their tokens"
                    .to_owned()
            }
            AccessTokenRefusal::Unbound => {
                "register the client with tls_client_certificate_bound_access_tokens = true and let it ask for its token over \
                 mutual TLS"
                    .to_owned()
            }
            AccessTokenRefusal::CertificateRequired(error) | AccessTokenRefusal::Binding(error) => error.fix().to_owned(),
            AccessTokenRefusal::Proof(error) => error.fix().to_owned(),
            AccessTokenRefusal::ProofBesideBearer => {
                "let the caller send a token that is bound to a key as Authorization: DPoP …, and any other without a DPoP header"
                    .to_owned()
            }
            AccessTokenRefusal::ProofRequired => {
                "let the caller obtain a token with a DPoP proof and send it as Authorization: DPoP …, or set dpop = \"accepted\" for \
                 this route"
                    .to_owned()
            }
            AccessTokenRefusal::InsufficientScope { required, .. } => {
                format!("let the client ask for scope \"{required}\", and register it for that")
            }
            AccessTokenRefusal::KeysUnavailable { issuer, source, .. } => source
                .as_ref()
                .and_then(|error| error.fix())
                .unwrap_or_else(|| format!("check that {issuer} runs and can be reached from here")),
            AccessTokenRefusal::RevocationsUnknown { issuer, .. } => format!(
                "check that {issuer} runs and that this gateway's client may follow its revocations (scope keybound:revocations); \
                 on_stale = \"continue\" accepts tokens meanwhile"
            ),
            AccessTokenRefusal::IssuerUnavailable { issuer, source, .. } => source
                .as_ref()
                .and_then(|error| error.fix())
                .unwrap_or_else(|| format!("check that {issuer} runs and can be reached from here")),
        }
    }

    fn is_asked(&self, rule: &str) -> bool {
        match rule {
            SCOPE => !self.policy.scopes().is_empty(),
            BOUND => self.policy.binding() == Binding::Required,
            BINDING => self.policy.binding() != Binding::None,
            PRESENTATION => false,
            PROOF => self.scheme == TokenScheme::Dpop,
            KEY_BINDING => self.claims.as_ref().is_some_and(|claims| {
                claims
                    .confirmation
                    .is_some_and(|confirmation| confirmation.key().is_some())
            }),
            _ => true,
        }
    }
}

fn bearer_fix(error: BearerError) -> &'static str {
    match error {
        BearerError::Missing | BearerError::OtherScheme => {
            "let the caller send its access token in the header Authorization: Bearer …, or DPoP … if it is bound to a key"
        }
        BearerError::Repeated => "let the caller, or the proxy before us, send one Authorization header",
        BearerError::Empty | BearerError::Syntax | BearerError::TooLong => {
            "let the caller send the token exactly as the token endpoint returned it"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_rules_have_the_names_and_places_of_the_protocol() {
        assert_eq!(AccessTokenError::RULES.first(), Some(&"a signed JWT"));
        for rule in [COMPLETE, AUDIENCE, VALIDITY, CONFIRMATION, "issuer"] {
            assert!(AccessTokenError::RULES.contains(&rule), "{rule}");
        }
    }
}
