//! `docs/conformance.md` says what the tests say.
#![expect(clippy::expect_used, reason = "a failed expectation is a failed test")]

use xtask::conformance::Table;

#[test]
fn every_row_is_answered_for_and_every_mark_names_a_row() {
    let faults = Table::load().expect("rows and marks can be read").faults();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_committed_table_is_up_to_date() {
    let table = Table::load().expect("rows and marks can be read");
    assert!(
        table.is_up_to_date().expect("docs/conformance.md exists"),
        "run `cargo xtask conformance`"
    );
}
