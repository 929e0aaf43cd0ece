//! What is linked is what `deny.toml` allows.
#![expect(clippy::expect_used, reason = "a failed expectation is a failed test")]

use xtask::dependency_policy::{Policy, tree};

fn policy() -> Policy {
    Policy::load().expect("deny.toml can be read")
}

#[test]
fn every_dependency_is_allowed() {
    let violations = policy().violations(&tree().expect("cargo tree answers"));
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

#[test]
fn notices_a_banned_crate() {
    let violations = policy().violations("ring v0.17.14|Apache-2.0 AND ISC\n");
    assert!(
        violations.len() == 1 && violations[0].starts_with("ring v0.17.14 is banned: "),
        "{violations:?}"
    );
}

#[test]
fn notices_a_foreign_licence() {
    let violations = policy().violations("x v1.0.0|MIT\ny v1.0.0|GPL-3.0-only\n");
    assert_eq!(
        violations,
        ["y v1.0.0: the licence `GPL-3.0-only` is not among the allowed ones"]
    );
}
