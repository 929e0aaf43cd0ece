//! How large the record of a refusal may be, and what is left out of one that would be larger.

use std::borrow::Cow;
use std::io::{self, Write};

use super::{CertificateSummary, Refusal, and_more};
use crate::rule::{Outcome, RuleOutcome};

/// The largest record in octets of JSON: what a stranger with a long certificate, path or claim can make us keep.
pub const REFUSAL_JSON_BYTES_MAX: usize = 4096;

/// How much is left of a record, in octets of JSON for each text.
struct Bounds {
    /// The explanation of each rule that did not fail.
    detail: usize,
    /// What the rules compared that did not fail; without it, they are not explained either.
    passed: usize,
    /// How many alternative names, and of each how much.
    names: (usize, usize),
    /// Every other text.
    text: usize,
    /// What the failed rule compared: the cause, which is worth the most.
    failed: usize,
    /// The explanation of the failed rule.
    failed_detail: usize,
}

/// One after the other until the record fits; details go first.
const STEPS: [Bounds; 4] = [
    Bounds {
        detail: 256,
        passed: 512,
        names: (8, 128),
        text: 512,
        failed: 2048,
        failed_detail: 256,
    },
    Bounds {
        detail: 128,
        passed: 128,
        names: (4, 64),
        text: 256,
        failed: 640,
        failed_detail: 256,
    },
    Bounds {
        detail: 96,
        passed: 48,
        names: (2, 64),
        text: 128,
        failed: 384,
        failed_detail: 256,
    },
    Bounds {
        detail: 96,
        passed: 0,
        names: (1, 48),
        text: 80,
        failed: 256,
        failed_detail: 192,
    },
];

impl Refusal {
    /// Cut to [`REFUSAL_JSON_BYTES_MAX`]: explanations first, then lists of names and what was compared by rules that held, and
    /// last what the failed rule compared. A text that was cut ends with `…`.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        for bounds in &STEPS {
            if self.json_bytes() <= REFUSAL_JSON_BYTES_MAX {
                return self;
            }
            self.cut(bounds);
        }
        // What is left are the rules themselves. Those that were not reached say the least, then those that held first.
        while self.json_bytes() > REFUSAL_JSON_BYTES_MAX {
            let not_reached = self.rules.iter().rposition(|rule| rule.outcome == Outcome::NotReached);
            let passed = || self.rules.iter().position(|rule| rule.outcome == Outcome::Passed);
            match not_reached.or_else(passed) {
                Some(index) => drop(self.rules.remove(index)),
                // A decision ends with the first rule that fails; what has several is not one.
                None if self.rules.len() > 1 => self.rules.truncate(1),
                None => break,
            }
        }
        self.rules.shrink_to_fit();
        self
    }

    fn json_bytes(&self) -> usize {
        let mut count = Count(0);
        // Counting does not fail, and neither does a record of texts and numbers.
        match serde_json::to_writer(&mut count, self) {
            Ok(()) => count.0,
            Err(_) => usize::MAX,
        }
    }

    fn cut(&mut self, bounds: &Bounds) {
        cut(&mut self.endpoint, bounds.text);
        cut_if_some(&mut self.client_id, bounds.text);
        cut(&mut self.reason, bounds.text);
        cut_if_some(&mut self.fix, bounds.text);
        if let Some(certificate) = &mut self.certificate {
            certificate.cut(bounds);
        }
        for rule in &mut self.rules {
            rule.cut(bounds);
        }
    }
}

impl CertificateSummary {
    fn cut(&mut self, bounds: &Bounds) {
        for text in [
            &mut self.subject,
            &mut self.issuer,
            &mut self.serial_number,
            &mut self.unreadable,
        ] {
            cut_if_some(text, bounds.text);
        }
        let (names_max, name_bytes_max) = bounds.names;
        let names = &mut self.subject_alternative_names;
        let mut missing = 0;
        if let Some(before) = names.last().and_then(|last| left_out(last)) {
            names.pop();
            missing = before;
        }
        missing += names.len().saturating_sub(names_max);
        names.truncate(names_max);
        for name in names.iter_mut() {
            cut(name, name_bytes_max);
        }
        names.extend(and_more(missing));
        names.shrink_to_fit();
    }
}

/// The number in what [`and_more`] says. No name looks like that: each begins with its kind.
fn left_out(name: &str) -> Option<usize> {
    name.strip_prefix("and ")?.strip_suffix(" more")?.parse().ok()
}

impl RuleOutcome {
    fn cut(&mut self, bounds: &Bounds) {
        let (values, detail) = match self.outcome {
            Outcome::Failed => (bounds.failed, bounds.failed_detail),
            Outcome::Passed | Outcome::NotReached if bounds.passed == 0 => (0, 0),
            Outcome::Passed | Outcome::NotReached => (bounds.passed, bounds.detail),
        };
        for (text, mark) in [
            (&mut self.presented, &mut self.presented_mark),
            (&mut self.registered, &mut self.registered_mark),
        ] {
            cut_if_some(text, values);
            // A mark points at something that is still there.
            let chars = text.as_deref().map_or(0, |text| text.chars().count());
            *mark = mark.take().filter(|mark| mark.end <= chars);
        }
        cut_if_some(&mut self.detail, detail);
        if let Cow::Owned(rule) = &mut self.rule {
            cut(rule, bounds.text);
        }
    }
}

/// Nothing is left where nothing may be.
fn cut_if_some(text: &mut Option<String>, bytes_max: usize) {
    match text {
        Some(_) if bytes_max == 0 => *text = None,
        Some(text) => cut(text, bytes_max),
        None => {}
    }
}

/// Cuts a text to so many octets of JSON, the sign that it was cut included.
fn cut(text: &mut String, bytes_max: usize) {
    const CUT: char = '…';
    let (mut bytes, mut end) = (0, 0);
    for (at, character) in text.char_indices() {
        if bytes + CUT.len_utf8() <= bytes_max {
            end = at;
        }
        bytes += json_bytes(character);
        if bytes > bytes_max {
            // A new text: truncating would keep the octets of the old one.
            let mut kept = String::with_capacity(end + CUT.len_utf8());
            kept.push_str(text.get(..end).unwrap_or_default());
            kept.push(CUT);
            *text = kept;
            return;
        }
    }
}

/// How many octets a character has inside a JSON text.
fn json_bytes(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        other => other.len_utf8(),
    }
}

/// Counts octets and keeps none.
struct Count(usize);

impl Write for Count {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0 += octets.len();
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing test panics")]

    use std::cmp::Ordering;
    use std::net::IpAddr;

    use super::*;
    use crate::confirmation::CertificateThumbprint;
    use crate::error_code::ErrorCode;
    use crate::refusal::{REFUSAL_TEXT_CHARS_MAX, RefusalId, RefusalSource};
    use crate::rule::RULE_TEXT_CHARS_MAX;
    use crate::time::Timestamp;

    /// More rules than any decision has, with names as long as the longest.
    const RULES: usize = 32;
    const RULE: &str = "chain not longer than 6 certificates besides the client's";

    /// A record in which every text is as long as it can be and made of `character`.
    fn longest(character: char, failed: usize) -> Refusal {
        let text = |chars: usize| character.to_string().repeat(chars);
        let short = || Some(text(REFUSAL_TEXT_CHARS_MAX));
        let value = || Some(text(RULE_TEXT_CHARS_MAX));
        let rule = |index: usize| {
            let outcome = match index.cmp(&failed) {
                Ordering::Less => Outcome::Passed,
                Ordering::Equal => Outcome::Failed,
                Ordering::Greater => Outcome::NotReached,
            };
            let mut rule = RuleOutcome::new(RULE, outcome);
            (rule.presented, rule.registered, rule.detail) = (value(), value(), value());
            (rule.presented_mark, rule.registered_mark) = (Some(0..4), Some(1000..1024));
            rule
        };
        let mut names = vec![text(REFUSAL_TEXT_CHARS_MAX); 20];
        names.push("and 580 more".to_owned());
        Refusal {
            id: RefusalId::from_random(RefusalSource::Gateway, [7; 9]),
            at: Timestamp::from_unix_secs(1_800_000_000),
            endpoint: text(REFUSAL_TEXT_CHARS_MAX),
            status: 400,
            error_code: Some(ErrorCode::InvalidClient),
            client_id: short(),
            remote_address: Some(IpAddr::from([0xffff; 8])),
            certificate: Some(CertificateSummary {
                thumbprint: CertificateThumbprint::from_bytes([7; 32]),
                subject: short(),
                issuer: short(),
                serial_number: short(),
                subject_alternative_names: names,
                not_before: Some(Timestamp::from_unix_secs(1_800_000_000)),
                not_after: Some(Timestamp::from_unix_secs(1_900_000_000)),
                unreadable: short(),
            }),
            reason: text(REFUSAL_TEXT_CHARS_MAX),
            rules: (0..RULES).map(rule).collect(),
            fix: short(),
        }
    }

    #[test]
    fn the_longest_record_fits_and_still_says_what_failed() {
        for character in ['a', '"', '\\', 'ä', '\u{10348}', '\u{1}', '\u{7f}'] {
            for failed in [0, 1, RULES / 2, RULES - 1] {
                let refusal = longest(character, failed);
                assert!(refusal.json_bytes() > 10 * REFUSAL_JSON_BYTES_MAX);
                let bounded = refusal.bounded();
                let json = serde_json::to_vec(&bounded).unwrap();
                assert!(
                    json.len() <= REFUSAL_JSON_BYTES_MAX,
                    "{character:?} {failed} {}",
                    json.len()
                );
                assert_eq!(bounded.json_bytes(), json.len());
                assert_eq!(serde_json::from_slice::<Refusal>(&json).unwrap(), bounded);
                let rule = bounded.failed_rule().unwrap();
                assert_eq!(rule.rule, RULE);
                for text in [&rule.presented, &rule.registered] {
                    let text = text.as_deref().unwrap();
                    assert!(text.chars().count() > 40 && text.ends_with('…'), "{text}");
                    assert!(text.starts_with(character), "{text}");
                }
                let detail = rule.detail.as_deref().unwrap();
                assert!(detail.ends_with('…') && detail.chars().count() > 30, "{detail}");
                assert_eq!((&rule.presented_mark, &rule.registered_mark), (&Some(0..4), &None));
                let names = bounded.certificate.as_ref().unwrap().subject_alternative_names.clone();
                assert_eq!(names.last().unwrap(), &format!("and {} more", 601 - names.len()));
                assert_eq!(bounded.clone().bounded(), bounded, "once is enough");
            }
        }
    }

    #[test]
    fn what_fits_is_left_alone() {
        let mut refusal = longest('a', 1);
        refusal.certificate = None;
        refusal.rules.truncate(2);
        for rule in &mut refusal.rules {
            (rule.registered, rule.registered_mark, rule.detail) = (None, None, None);
        }
        refusal.rules[0].presented_mark = None;
        refusal.rules[0].presented = Some("short".to_owned());
        assert!(
            refusal.json_bytes() <= REFUSAL_JSON_BYTES_MAX,
            "{}",
            refusal.json_bytes()
        );
        assert_eq!(refusal.clone().bounded(), refusal);
    }

    #[test]
    fn explanations_are_cut_before_what_was_compared() {
        let mut refusal = longest('a', 0);
        refusal.certificate = None;
        refusal.rules.truncate(1);
        let bounded = refusal.clone().bounded();
        assert_eq!(bounded.rules[0].presented, refusal.rules[0].presented);
        assert_eq!(bounded.rules[0].registered, refusal.rules[0].registered);
        assert_eq!(bounded.rules[0].detail.as_deref().map(str::len), Some(256));
    }

    #[test]
    fn a_text_is_cut_to_octets_of_json_and_between_characters() {
        for (text, bytes_max, expected) in [
            ("abcdef", 6, "abcdef"),
            ("abcdef", 5, "ab…"),
            ("äöü", 6, "äöü"),
            ("äöü", 5, "ä…"),
            ("\"\"\"", 6, "\"\"\""),
            ("\"\"\"", 5, "\"…"),
            ("abc", 0, "…"),
        ] {
            let mut shortened = text.to_owned();
            cut(&mut shortened, bytes_max);
            assert_eq!(shortened, expected, "{text:?} {bytes_max}");
        }
    }
}
