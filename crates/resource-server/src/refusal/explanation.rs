//! What `explain` shows of a refusal at a protected resource: every rule in the order of the check, and what to do.

use keybound_client::{ClientError, ResponseError};
use keybound_protocol::access_token::AccessTokenError;
use keybound_protocol::bearer::BearerError;
use keybound_protocol::confirmation::BindingError;
use keybound_protocol::introspection::IntrospectionResponseError;
use keybound_protocol::jws::JwsError;
use keybound_protocol::refusal::Refusal;
use keybound_protocol::rule::{Outcome, RuleOutcome};

use super::{AccessTokenRefusal, Refused};
use crate::route_policy::Binding;

const TOKEN: &str = "one access token in the Authorization header";
const ISSUER: &str = "issued by an authorization server that this route trusts";
const KNOWN: &str = "the issuer vouches for the token";
const KIND: &str = "it is an access token, and its claims are well-formed";
const AUDIENCE: &str = "issued for this resource (aud)";
const DATES: &str = "inside its validity period (exp, nbf)";
const NOT_DENIED: &str = "not revoked";
const BOUND: &str = "bound to a certificate (cnf.x5t#S256)";
const BINDING: &str = "the certificate of this connection is the one it is bound to";
const SCOPE: &str = "its scope covers this route";

/// The rules in the order in which they are decided.
const RULES: [&str; 10] = [
    TOKEN, ISSUER, KNOWN, KIND, AUDIENCE, DATES, NOT_DENIED, BOUND, BINDING, SCOPE,
];

impl AccessTokenRefusal {
    /// The rule that failed, one of [`RULES`].
    fn failed_rule(&self) -> &'static str {
        match self {
            AccessTokenRefusal::Bearer(_) => TOKEN,
            AccessTokenRefusal::UnknownIssuer { .. } | AccessTokenRefusal::IssuerNotAdmitted { .. } => ISSUER,
            AccessTokenRefusal::Opaque(_)
            | AccessTokenRefusal::Inactive
            | AccessTokenRefusal::IssuerUnavailable { .. } => KNOWN,
            AccessTokenRefusal::Introspection { source, .. } => match **source {
                ClientError::Response {
                    source: ResponseError::Introspection(ref error),
                    ..
                } => match error {
                    IntrospectionResponseError::Confirmation(_) => BOUND,
                    IntrospectionResponseError::OutsideItsDates => DATES,
                    IntrospectionResponseError::Scope(_) | IntrospectionResponseError::Type(_) => KIND,
                    _ => KNOWN,
                },
                _ => KNOWN,
            },
            AccessTokenRefusal::Token(error) => match error {
                AccessTokenError::Signature(JwsError::Type { .. }) => KIND,
                AccessTokenError::Signature(_) => KNOWN,
                AccessTokenError::Issuer { .. } => ISSUER,
                AccessTokenError::Claims(_)
                | AccessTokenError::ClaimType(_)
                | AccessTokenError::ClaimMissing(_)
                | AccessTokenError::Scope(_)
                | AccessTokenError::OtherKindOfToken { .. } => KIND,
                AccessTokenError::Audience { .. } => AUDIENCE,
                AccessTokenError::Expired { .. }
                | AccessTokenError::NotYetValid { .. }
                | AccessTokenError::IssuedInTheFuture { .. } => DATES,
                AccessTokenError::Confirmation(_) => BOUND,
            },
            AccessTokenRefusal::Denied { .. } => NOT_DENIED,
            AccessTokenRefusal::Unbound => BOUND,
            AccessTokenRefusal::Binding(_) => BINDING,
            AccessTokenRefusal::InsufficientScope { .. } => SCOPE,
        }
    }

    /// What arrived and what was expected, for the rule that failed.
    fn comparison(&self) -> (Option<String>, Option<String>) {
        match self {
            AccessTokenRefusal::UnknownIssuer { presented } => (presented.clone(), None),
            AccessTokenRefusal::IssuerNotAdmitted { issuer } => (Some(issuer.clone()), None),
            AccessTokenRefusal::Token(error) => match error {
                AccessTokenError::Signature(JwsError::Type { presented }) => (presented.clone(), None),
                AccessTokenError::Signature(JwsError::AlgorithmNotAllowed { presented }) => {
                    (Some(presented.clone()), None)
                }
                AccessTokenError::Signature(JwsError::UnknownKey { key_id }) => (key_id.clone(), None),
                AccessTokenError::Issuer { presented, expected } => (Some(presented.clone()), Some(expected.clone())),
                AccessTokenError::Audience { presented, expected } => {
                    (Some(presented.join(" ")), Some(expected.join(" ")))
                }
                AccessTokenError::Expired { expired_at, now } => {
                    (Some(expired_at.to_string()), Some(format!("after {now}")))
                }
                _ => (None, None),
            },
            AccessTokenRefusal::Binding(BindingError::Mismatch { presented, expected }) => {
                (Some(presented.to_string()), Some(expected.to_string()))
            }
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
        let asked: Vec<&'static str> = RULES
            .into_iter()
            .filter(|rule| *rule == failed || self.is_asked(rule))
            .collect();
        let mut rules = RuleOutcome::list(&asked, failed);
        let (presented, registered) = self.reason.comparison();
        for rule in rules.iter_mut().filter(|rule| rule.outcome == Outcome::Failed) {
            rule.presented = presented.as_deref().map(Refusal::presented_text);
            rule.registered = registered.as_deref().map(Refusal::presented_text);
            rule.detail = Some(Refusal::reason_of(&self.reason));
        }
        if let Some(confirmation) = self.claims().and_then(|claims| claims.confirmation.as_ref()) {
            // Said also where it passed: which certificate a token is bound to is what most questions are about.
            for rule in rules
                .iter_mut()
                .filter(|rule| rule.rule == BOUND && rule.outcome == Outcome::Passed)
            {
                rule.presented = Some(confirmation.thumbprint().to_string());
            }
        }
        rules
    }

    /// What to do about it, in the operator's words.
    pub fn fix(&self) -> Option<String> {
        let fix = match &self.reason {
            AccessTokenRefusal::Bearer(error) => match error {
                BearerError::Missing | BearerError::OtherScheme => {
                    "the caller sends no access token: it belongs into the header Authorization: Bearer …".to_owned()
                }
                BearerError::Repeated => "the caller, or a proxy before us, sends two Authorization headers: send one".to_owned(),
                BearerError::Empty | BearerError::Syntax | BearerError::TooLong => {
                    "the caller's Authorization header is damaged: compare it with the token it obtained".to_owned()
                }
            },
            AccessTokenRefusal::UnknownIssuer { presented } => format!(
                "if tokens of {} are to be accepted, add it to [[issuers]], in exactly this spelling",
                presented.as_deref().map_or_else(|| "this issuer".to_owned(), Refusal::presented_text)
            ),
            AccessTokenRefusal::IssuerNotAdmitted { issuer } => {
                format!("if tokens of {issuer} are to be accepted here, add it to `issuers` of this route")
            }
            AccessTokenRefusal::Opaque(_) => {
                "if the issuer gives opaque tokens, set validation = \"introspection\" for it".to_owned()
            }
            AccessTokenRefusal::Token(error) => return token_fix(error),
            AccessTokenRefusal::Inactive => {
                "the token is expired, revoked or not for this resource: the caller asks for a new one; if all are refused, check \
                 that our client may introspect tokens for this resource (keybound_introspects)"
                    .to_owned()
            }
            AccessTokenRefusal::Introspection { .. } => "the issuer's introspection endpoint answers wrongly: ask its operator".to_owned(),
            AccessTokenRefusal::Denied { .. } => "revoked on purpose: keybound audit says by whom and why".to_owned(),
            AccessTokenRefusal::Unbound => {
                "register the client with tls_client_certificate_bound_access_tokens = true and let it ask for its token over \
                 mutual TLS"
                    .to_owned()
            }
            AccessTokenRefusal::Binding(error) => return Some(binding_fix(error).to_owned()),
            AccessTokenRefusal::InsufficientScope { required, .. } => {
                format!("the client asks for scope \"{required}\", and has to be registered for it")
            }
            AccessTokenRefusal::IssuerUnavailable { issuer, source, .. } => {
                let fix = source.as_ref().and_then(|error| error.fix());
                return Some(fix.unwrap_or_else(|| format!("check that {issuer} runs and can be reached from here")));
            }
        };
        Some(fix)
    }

    fn is_asked(&self, rule: &str) -> bool {
        match rule {
            SCOPE => !self.policy.scopes().is_empty(),
            BOUND => self.policy.binding() == Binding::Required,
            BINDING => self.policy.binding() != Binding::None,
            _ => true,
        }
    }
}

fn token_fix(error: &AccessTokenError) -> Option<String> {
    let fix = match error {
        AccessTokenError::Signature(JwsError::UnknownKey { .. }) => {
            "the issuer does not publish the key that signed this token: if it has just begun to use it, the key is found within 30 s"
        }
        AccessTokenError::Signature(JwsError::Type { .. }) => {
            "if the issuer gives its access tokens this type (Keycloak: \"JWT\"), add it to `token_types` of the issuer"
        }
        AccessTokenError::Signature(JwsError::AlgorithmNotAllowed { .. }) => {
            "if the issuer is to sign with this algorithm, add it to `algorithms` of the issuer"
        }
        AccessTokenError::Signature(_) => "the token was altered on its way, or is no access token of this issuer",
        AccessTokenError::Audience { .. } => {
            "the client asks for a token for this resource (parameter resource), or the issuer's `audience` here names what it sends"
        }
        AccessTokenError::Expired { .. } => "the caller asks for a new token; if it is new, compare the clocks",
        AccessTokenError::NotYetValid { .. } | AccessTokenError::IssuedInTheFuture { .. } => {
            "compare the clocks of the issuer and this machine"
        }
        AccessTokenError::OtherKindOfToken { .. } => {
            "the caller sends another token of the same issuer: it has to send the access token"
        }
        AccessTokenError::Confirmation(_) => {
            "the token is bound in a way that is not mutual TLS: the client asks for a token over mutual TLS"
        }
        AccessTokenError::Claims(_)
        | AccessTokenError::ClaimType(_)
        | AccessTokenError::ClaimMissing(_)
        | AccessTokenError::Scope(_)
        | AccessTokenError::Issuer { .. } => return None,
    };
    Some(fix.to_owned())
}

fn binding_fix(error: &BindingError) -> &'static str {
    match error {
        BindingError::NotRequested => "the caller uses the listener that asks for a client certificate",
        BindingError::NoCertificate => "the caller connects with the certificate that it obtained the token with",
        BindingError::Mismatch { .. } => {
            "the token was obtained with another certificate: after a renewal the caller asks for a new token; otherwise somebody \
             else uses it"
        }
        BindingError::ChainTooLong { .. } => {
            "the caller sends its certificate with the intermediates alone, without roots and leftovers"
        }
        BindingError::Forwarding(_) => "check the proxy's forwarding of the client certificate (Client-Cert)",
    }
}
