//! What `explain` shows of one decision: its rules in their order, with the first that failed.
//!
//! A verdict function returns its reason alone. The list is derived from that reason afterwards, only when there was a refusal:
//! every method has one static ordered list of rules, those before the failed one passed, those after it were not reached.

use std::borrow::Cow;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// How many characters of a value or an explanation one rule keeps: a certificate can carry names of many kilobytes.
pub const RULE_TEXT_CHARS_MAX: usize = 1024;

/// How one rule of a decision came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The rule was evaluated and held.
    Passed,
    /// The rule was evaluated and did not hold: the reason of the refusal.
    Failed,
    /// An earlier rule had failed, so this one was never evaluated.
    NotReached,
}

/// One rule of a decision and how it came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleOutcome {
    /// The rule in the operator's words, static text such as `inside its validity period` or a registered parameter name.
    pub rule: Cow<'static, str>,
    /// How it came out.
    pub outcome: Outcome,
    /// What arrived, where the rule compares something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presented: Option<String>,
    /// What is on file, where the rule compares with something registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered: Option<String>,
    /// Which part differs, or why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The part of `presented` that differs, in characters: where to put a caret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presented_mark: Option<Range<usize>>,
    /// The part of `registered` that differs, in characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered_mark: Option<Range<usize>>,
}

impl RuleOutcome {
    /// A rule that came out as `outcome`, with nothing presented or registered.
    pub fn new(rule: impl Into<Cow<'static, str>>, outcome: Outcome) -> RuleOutcome {
        RuleOutcome {
            rule: rule.into(),
            outcome,
            presented: None,
            registered: None,
            detail: None,
            presented_mark: None,
            registered_mark: None,
        }
    }

    /// With what arrived.
    #[must_use]
    pub fn presented(mut self, presented: impl Into<String>) -> RuleOutcome {
        self.presented = Some(presented.into());
        self
    }

    /// With what is on file.
    #[must_use]
    pub fn registered(mut self, registered: impl Into<String>) -> RuleOutcome {
        self.registered = Some(registered.into());
        self
    }

    /// With an explanation of the difference.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> RuleOutcome {
        self.detail = Some(detail.into());
        self
    }

    /// Cut to what a record keeps: [`RULE_TEXT_CHARS_MAX`] characters of each text, and marks only where they still point at something.
    #[must_use]
    pub fn bounded(mut self) -> RuleOutcome {
        let cut = |text: String| match text.char_indices().nth(RULE_TEXT_CHARS_MAX) {
            Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
            None => text,
        };
        self.presented = self.presented.map(cut);
        self.registered = self.registered.map(cut);
        self.detail = self.detail.map(cut);
        let visible = |mark: &Range<usize>| mark.end <= RULE_TEXT_CHARS_MAX;
        self.presented_mark = self.presented_mark.filter(visible);
        self.registered_mark = self.registered_mark.filter(visible);
        self
    }

    /// A list in which every rule of `rules` before `failed` passed, `failed` failed, and the rest were not reached.
    ///
    /// If `failed` is not in the list every rule passed.
    pub fn list(rules: &[&'static str], failed: &str) -> Vec<RuleOutcome> {
        let mut outcome = Outcome::Passed;
        let mut outcomes = Vec::with_capacity(rules.len());
        for rule in rules {
            if *rule == failed {
                outcomes.push(RuleOutcome::new(*rule, Outcome::Failed));
                outcome = Outcome::NotReached;
            } else {
                outcomes.push(RuleOutcome::new(*rule, outcome));
            }
        }
        outcomes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_rule_fails_and_what_follows_is_not_reached() {
        let list = RuleOutcome::list(&["a", "b", "c"], "b");
        let outcomes: Vec<Outcome> = list.iter().map(|rule| rule.outcome).collect();
        assert_eq!(outcomes, [Outcome::Passed, Outcome::Failed, Outcome::NotReached]);
    }

    #[test]
    fn a_record_keeps_so_much_of_a_text_and_no_more() {
        let of = |chars: usize| {
            let mut rule = RuleOutcome::new("a", Outcome::Failed).presented("ä".repeat(chars));
            rule.presented_mark = Some(chars - 1..chars);
            rule.bounded()
        };
        assert_eq!(of(1024).presented.map(|text| text.chars().count()), Some(1024));
        assert!(of(1024).presented_mark.is_some());
        assert_eq!(
            of(1025).presented.map(|text| text.chars().count()),
            Some(1025),
            "one of them says that it was cut"
        );
        assert_eq!(of(70_000).presented.map(|text| text.chars().count()), Some(1025));
        assert_eq!(of(70_000).presented_mark, None);
    }
}
