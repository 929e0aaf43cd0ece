//! A refusal for people: the certificate presented, every rule in order, the first that failed, the fix.

use std::ops::Range;

use keybound_protocol::refusal::{CertificateSummary, Refusal};
use keybound_protocol::rule::{Outcome, RuleOutcome};
use keybound_protocol::time::Timestamp;

use crate::terminal::{BAD, DIM, GOOD, STRONG, styled, without_control_characters};

const SECS_PER_DAY: u64 = 86_400;

/// The lines that `keybound explain` prints for `refusal`, as seen at `now`.
pub(crate) fn lines(refusal: &Refusal, now: Timestamp) -> Vec<String> {
    let mut lines = vec![headline(refusal)];
    match &refusal.certificate {
        Some(certificate) => lines.push(certificate_line(certificate, now)),
        None => lines.push(format!("Certificate presented   {}", styled(DIM, "none"))),
    }
    lines.push(String::new());
    for (index, rule) in refusal.rules.iter().enumerate() {
        lines.extend(rule_lines(index + 1, rule));
    }
    if !refusal.rules.is_empty() {
        lines.push(String::new());
    }
    lines.push(format!("Reason: {}", clean(&refusal.reason)));
    if let Some(fix) = &refusal.fix {
        lines.push(format!("Fix:    {}", clean(fix)));
    }
    lines.push(styled(DIM, caller_saw(refusal)));
    lines
}

fn headline(refusal: &Refusal) -> String {
    let mut line = format!(
        "{} {} at {}, {}",
        styled(STRONG, "Refused:"),
        refusal.id,
        clean(&refusal.endpoint),
        refusal.at
    );
    if let Some(client_id) = &refusal.client_id {
        line.push_str(&format!(", client_id={}", clean(client_id)));
    }
    if let Some(address) = refusal.remote_address {
        line.push_str(&format!(", from {address}"));
    }
    line
}

fn certificate_line(certificate: &CertificateSummary, now: Timestamp) -> String {
    let subject = match (&certificate.subject, &certificate.unreadable) {
        (Some(subject), _) if subject.is_empty() => "(empty subject)".to_owned(),
        (Some(subject), _) => clean(subject),
        (None, Some(why)) => format!("unreadable: {}", clean(why)),
        (None, None) => "(no subject)".to_owned(),
    };
    let validity = certificate
        .not_after
        .map(|end| format!("   {}", validity(end, now)))
        .unwrap_or_default();
    format!(
        "Certificate presented   {subject}   x5t#S256 {}{validity}",
        certificate.thumbprint
    )
}

/// `expires in 212 days`, `expired 3 days ago`.
pub(crate) fn validity(not_after: Timestamp, now: Timestamp) -> String {
    let span = |seconds: u64| match seconds {
        0..3_600 => format!("{} minutes", seconds / 60),
        3_600..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / SECS_PER_DAY),
    };
    if now <= not_after {
        format!("expires in {}", span(not_after.duration_since(now).as_secs()))
    } else {
        format!("expired {} ago", span(now.duration_since(not_after).as_secs()))
    }
}

fn rule_lines(number: usize, rule: &RuleOutcome) -> Vec<String> {
    let name = clean(&rule.rule);
    let (mark, name) = match rule.outcome {
        Outcome::Passed => (styled(GOOD, "✔"), name),
        Outcome::Failed => (styled(BAD, "✘"), styled(STRONG, name)),
        Outcome::NotReached => (styled(DIM, "·"), styled(DIM, format!("{name} (not reached)"))),
    };
    let mut lines = vec![format!("{number:>2} {mark} {name}")];
    lines.extend(value_lines(
        "registered",
        rule.registered.as_deref(),
        rule.registered_mark.as_ref(),
    ));
    lines.extend(value_lines(
        "presented",
        rule.presented.as_deref(),
        rule.presented_mark.as_ref(),
    ));
    lines.extend(value_lines("", rule.detail.as_deref(), None));
    lines
}

/// A value under its label, and carets under the part of it that differs.
fn value_lines(label: &str, value: Option<&str>, mark: Option<&Range<usize>>) -> Vec<String> {
    let Some(value) = value else { return Vec::new() };
    let mut lines = vec![format!("     {label:<11} {}", clean(value).replace('\n', " "))];
    if let Some(mark) = mark {
        let carets = "^".repeat(mark.len().max(1));
        lines.push(format!(
            "     {:<11} {}{}",
            "",
            " ".repeat(mark.start),
            styled(BAD, carets)
        ));
    }
    lines
}

fn caller_saw(refusal: &Refusal) -> String {
    match refusal.error_code {
        Some(code) => format!("The caller saw: HTTP {} {}", refusal.status, code.as_str()),
        None => format!("The caller saw: HTTP {}", refusal.status),
    }
}

fn clean(text: &str) -> String {
    without_control_characters(text)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn refusal() -> Refusal {
        serde_json::from_value(serde_json::json!({
            "id": "A-7F3K22QD9M4TB2", "at": 1_700_000_000, "endpoint": "/token", "status": 400, "error_code": "invalid_client",
            "client_id": "psp\u{1b}[2J", "reason": "the subject differs",
            "certificate": { "x5t#S256": "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0", "subject": "CN=a", "not_after": 1_700_086_400 },
            "rules": [
                { "rule": "inside its validity period", "outcome": "passed" },
                { "rule": "tls_client_auth_subject_dn", "outcome": "failed", "presented": "CN=a", "registered": "CN=b",
                  "presented_mark": { "start": 3, "end": 4 } },
                { "rule": "last", "outcome": "not_reached" },
            ],
            "fix": "register CN=a",
        }))
        .unwrap()
    }

    fn plain() -> String {
        let text = lines(&refusal(), Timestamp::from_unix_secs(1_700_000_000)).join("\n");
        anstream::adapter::strip_str(&text).to_string()
    }

    #[test]
    fn what_a_peer_sent_cannot_move_the_cursor() {
        assert!(!plain().contains('\u{1b}'), "{}", plain());
    }

    #[test]
    fn shows_every_rule_in_order_with_what_was_compared() {
        let text = plain();
        for line in [
            " 1 ✔ inside its validity period",
            " 2 ✘ tls_client_auth_subject_dn",
            "     registered  CN=b",
            "     presented   CN=a",
            "                    ^",
            " 3 · last (not reached)",
            "Fix:    register CN=a",
            "The caller saw: HTTP 400 invalid_client",
        ] {
            assert!(text.lines().any(|it| it == line), "{line:?} is not in:\n{text}");
        }
        assert!(text.contains("expires in 24 hours"), "{text}");
    }
}
