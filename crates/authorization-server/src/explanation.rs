//! What an operator reads about a refusal: every rule of the decision in its order, where it ended, and what to do.
//!
//! Derived from the reason afterwards; nothing is decided here. The lists follow the order in which endpoints check.

mod fix;
mod order;

use keybound_protocol::client_authentication::{ExplanationContext, rules as authentication_rules};
use keybound_protocol::form::FormError;
use keybound_protocol::refusal::Refusal;
use keybound_protocol::rule::{Outcome, RuleOutcome};
use keybound_protocol::token_request::TokenRequestError;
use keybound_tls::LayerRefusal;

pub(crate) use self::fix::fix;
use self::order::{AUTHENTICATION, RATE, failed_rule, rules_at, rules_of_sign_in};
use crate::client_authentication::AuthenticationFailure;
use crate::error::Reason;
use crate::grants::client_credentials::GrantRefusal;
use crate::grants::refresh_token::RefreshRefusal;
use crate::grants::share::ShareRefusal;
use crate::refusals::Circumstances;
use crate::users::SignInRefusal;

/// The rules of the decision that ended with `reason`.
pub(crate) fn rules(reason: &Reason, circumstances: &Circumstances<'_>) -> Vec<RuleOutcome> {
    let names = rules_at(circumstances.route, reason);
    let mut outcomes = Vec::with_capacity(names.len() + 12);
    for outcome in RuleOutcome::list(&names, failed_rule(reason)) {
        match (&*outcome.rule, outcome.outcome) {
            (AUTHENTICATION, Outcome::Failed) => outcomes.extend(of_authentication(reason, circumstances)),
            (AUTHENTICATION, Outcome::Passed) => outcomes.push(authenticated(outcome, circumstances)),
            (_, Outcome::Failed) => outcomes.push(failed(outcome, reason)),
            _ => outcomes.push(outcome),
        }
    }
    outcomes
}

/// The rules of a sign-in by name and password that ended with `refusal`. No side of a comparison is on record: one is a secret.
pub(crate) fn sign_in_rules(refusal: &SignInRefusal) -> Vec<RuleOutcome> {
    let outcomes = RuleOutcome::list(&rules_of_sign_in(), refusal.rule());
    let explained = |outcome: RuleOutcome| match outcome.outcome {
        Outcome::Failed => outcome.detail(Refusal::reason_of(refusal)),
        Outcome::Passed | Outcome::NotReached => outcome,
    };
    outcomes.into_iter().map(explained).collect()
}

/// The rule that failed, with both sides of the comparison where there are two.
fn failed(outcome: RuleOutcome, reason: &Reason) -> RuleOutcome {
    let text = Refusal::presented_text;
    match reason {
        Reason::PathUnknown { path } => outcome.presented(text(path)),
        Reason::Transport(LayerRefusal::Misdirected { authority, .. }) => {
            outcome.presented(text(authority)).detail(Refusal::reason_of(reason))
        }
        Reason::MethodNotAllowed { presented, allow } => outcome.presented(text(presented)).registered(*allow),
        Reason::MediaType { presented } => {
            outcome.presented(presented.as_deref().map_or_else(|| "none".to_owned(), text))
        }
        Reason::Form(FormError::Repeated(name)) => outcome.presented(text(name)).detail("this parameter came twice"),
        Reason::GrantNotRegistered { presented, registered } => {
            let registered: Vec<&str> = registered.iter().map(|grant_type| grant_type.name()).collect();
            outcome.presented(presented.name()).registered(registered.join(", "))
        }
        Reason::TokenRequest(TokenRequestError::GrantTypeUnsupported(presented)) => outcome.presented(text(presented)),
        Reason::TokenRequest(TokenRequestError::Resource { presented, .. }) => {
            outcome.presented(text(presented)).detail(Refusal::reason_of(reason))
        }
        Reason::Grant(GrantRefusal::ScopeNotRegistered { presented, registered }) => {
            let excess: Vec<&str> = presented.words().filter(|word| !registered.contains(word)).collect();
            let detail = format!("not registered: {}", excess.join(" "));
            outcome
                .presented(text(presented.as_str()))
                .registered(text(registered.as_str()))
                .detail(text(&detail))
        }
        Reason::Grant(GrantRefusal::ResourceUnknown { presented })
        | Reason::Share(ShareRefusal::ResourceUnknown { presented } | ShareRefusal::ResourceNotGranted { presented }) => {
            outcome.presented(text(presented.as_str()))
        }
        Reason::Share(ShareRefusal::ScopeNotGranted { presented, granted }) => outcome
            .presented(text(presented.as_str()))
            .registered(text(granted.as_str())),
        Reason::RefreshToken(RefreshRefusal::HolderDiffers { expected, presented }) => {
            outcome.presented(text(presented)).registered(text(expected))
        }
        other => outcome.detail(Refusal::reason_of(other)),
    }
}

fn authenticated(outcome: RuleOutcome, circumstances: &Circumstances<'_>) -> RuleOutcome {
    match circumstances.client {
        Some(client) => {
            let method = client.metadata().authentication_method();
            outcome
                .presented(client.client_id().as_str())
                .detail(format!("by {method}"))
        }
        None => outcome,
    }
}

/// Every rule of the registered method instead of one line.
fn of_authentication(reason: &Reason, circumstances: &Circumstances<'_>) -> Vec<RuleOutcome> {
    let explained = |failure: &AuthenticationFailure| {
        let context = ExplanationContext {
            client: failure.client.as_deref(),
            keys: failure.keys.as_deref(),
            presented: circumstances.presented,
            now: circumstances.now,
        };
        authentication_rules(&failure.error, &context)
    };
    match reason {
        Reason::Unauthenticated(failure) => explained(failure),
        Reason::TooManyFailures { failure, .. } => {
            let mut rules = explained(failure);
            rules.push(
                RuleOutcome::new(RATE, Outcome::Failed)
                    .detail("the answer was 429 instead of the code for the rule above"),
            );
            rules
        }
        other => vec![failed(RuleOutcome::new(AUTHENTICATION, Outcome::Failed), other)],
    }
}
