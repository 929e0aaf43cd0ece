//! Whoever changes the audit log behind the store's back is found out (threat T40).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use keybound_store::{ChainReport, IssuedToken, SqliteSettings, SqliteStore};
use rusqlite::Connection;
use rusqlite::types::Value;

use crate::{Directory, NOW, block_on, client, entry, new_client};

const TAMPERINGS: u64 = 1_000;

/// SplitMix64: the same tamperings in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}

/// A database with 60 changes, 12 batches of issued tokens and a removal.
fn fill(directory: &Directory) {
    let store = directory.open();
    let token = |number: u32| IssuedToken {
        token_id: format!("jti-{number}"),
        client_id: client("demo"),
        thumbprint: None,
        key_id: "key-1".into(),
        issued_at: NOW,
        expires_at: NOW,
    };
    block_on(async {
        let tokens = &store.issued_tokens;
        let early = keybound_store::AuditEntry {
            at: keybound_protocol::time::Timestamp::from_unix_secs(5),
            ..entry()
        };
        tokens.append_issued_tokens(&[token(0)], 0, early).await.unwrap();
        for number in 0..60 {
            store
                .clients
                .create_client(new_client(&format!("client-{number}")), entry())
                .await
                .unwrap();
            if number % 5 == 0 {
                tokens
                    .append_issued_tokens(&[token(number), token(number + 1)], 0, entry())
                    .await
                    .unwrap();
            }
        }
        assert_eq!(store.upkeep.remove_expired(NOW).await.unwrap().rows, 1);
    });
}

fn verify(directory: &Path) -> ChainReport {
    let settings = SqliteSettings::new(directory.join("keybound.db"), directory.join("keys.kek"));
    let store = SqliteStore::open(&settings, NOW).unwrap();
    block_on(store.audit.verify_chain()).unwrap()
}

/// The tables that the chain covers, with a row's key and every column.
const COVERED: [(&str, &[&str]); 3] = [
    (
        "audit_records",
        &[
            "position",
            "node",
            "lane",
            "sequence",
            "action",
            "subject",
            "body",
            "previous_hash",
            "hash",
        ],
    ),
    ("audit_heads", &["node", "lane", "sequence", "hash"]),
    (
        "issued_token_batches",
        &["node", "sequence", "at", "tokens", "not_recorded"],
    ),
];

/// Rows of a table, each with all its columns.
fn rows(connection: &Connection, table: &str, columns: &[&str]) -> Vec<Vec<Value>> {
    let sql = format!("SELECT {} FROM {table} ORDER BY 1, 2", columns.join(", "));
    let mut statement = connection.prepare(&sql).unwrap();
    let mut rows = statement.query([]).unwrap();
    let mut all = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        all.push((0..columns.len()).map(|column| row.get(column).unwrap()).collect());
    }
    all
}

/// Writes a table anew.
fn set_rows(connection: &Connection, table: &str, columns: &[&str], rows: &[Vec<Value>]) -> rusqlite::Result<()> {
    connection.execute(&format!("DELETE FROM {table}"), [])?;
    let marks = vec!["?"; columns.len()].join(", ");
    let mut statement = connection.prepare(&format!(
        "INSERT INTO {table} ({}) VALUES ({marks})",
        columns.join(", ")
    ))?;
    for row in rows {
        statement.execute(rusqlite::params_from_iter(row))?;
    }
    Ok(())
}

/// A value that differs from `value` a little.
fn altered(value: &Value, random: &mut Random) -> Value {
    match value {
        Value::Integer(number) => Value::Integer(number ^ (1 << random.below(8))),
        Value::Text(text) if text.is_empty() => Value::Text("x".into()),
        Value::Text(text) => {
            let mut characters: Vec<char> = text.chars().collect();
            let at = random.below(characters.len());
            match random.below(3) {
                0 => characters[at] = if characters[at] == 'x' { 'y' } else { 'x' },
                1 => characters.insert(at, ' '),
                _ => drop(characters.remove(at)),
            }
            Value::Text(characters.into_iter().collect())
        }
        Value::Blob(bytes) => {
            let mut bytes = bytes.clone();
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
            Value::Blob(bytes)
        }
        other => other.clone(),
    }
}

/// Tampers once; returns what was done, or `None` if the database itself refused it.
fn tamper(connection: &Connection, random: &mut Random) -> Option<String> {
    let (table, columns) = *random.one_of(&COVERED);
    let before = rows(connection, table, columns);
    let mut after = before.clone();
    let (at, other) = (random.below(after.len()), random.below(after.len()));
    let column = random.below(columns.len());
    let done = match random.below(8) {
        0..3 => {
            after[at][column] = altered(&after[at][column], random);
            format!("edited {table}.{} of row {at}", columns[column])
        }
        3 => {
            after.remove(at);
            format!("deleted row {at} of {table}")
        }
        4 => {
            after.truncate(after.len() - 1 - random.below(after.len().min(5)));
            format!("cut {table} off after {} rows", after.len())
        }
        5 => {
            let (left, right) = (after[at][column].clone(), after[other][column].clone());
            (after[at][column], after[other][column]) = (right, left);
            format!("exchanged {table}.{} of rows {at} and {other}", columns[column])
        }
        6 => {
            // Two rows change places, keys and all: everything but the first column.
            let (left, right) = (after[at].clone(), after[other].clone());
            after[at][1..].clone_from_slice(&right[1..]);
            after[other][1..].clone_from_slice(&left[1..]);
            format!("exchanged rows {at} and {other} of {table}")
        }
        _ => {
            // The end of the log goes, and its head with it, as after a copied-back old database; but the seal is the
            // new one.
            let sql = "DELETE FROM audit_records WHERE lane = 0 AND sequence > ?1";
            let last: i64 = connection
                .query_row("SELECT max(sequence) FROM audit_records WHERE lane = 0", [], |row| {
                    row.get(0)
                })
                .unwrap();
            let kept = 1 + i64::try_from(random.below(usize::try_from(last).unwrap() - 1)).unwrap();
            connection.execute(sql, [kept]).unwrap();
            let sql = "UPDATE audit_heads SET (sequence, hash) = (SELECT sequence, hash FROM audit_records
                           WHERE lane = 0 ORDER BY sequence DESC LIMIT 1) WHERE lane = 0";
            connection.execute(sql, []).unwrap();
            return Some(format!("cut the log and its head back to {kept}"));
        }
    };
    // A table is a set: the same rows in another order are the same table.
    let as_set = |rows: &[Vec<Value>]| rows.iter().map(|row| format!("{row:?}")).collect::<BTreeSet<_>>();
    if as_set(&after) == as_set(&before) {
        return None;
    }
    set_rows(connection, table, columns, &after).ok().map(|()| done)
}

// covers T40
#[test]
fn every_edit_deletion_and_reordering_is_detected() {
    let directory = Directory::new();
    fill(&directory);
    let control = verify(directory.path());
    assert!(control.is_intact(), "{control:?}");
    assert_eq!((control.chains, control.records), (2, 1 + 60 + 1 + 1 + 12));

    let copy = Directory::new();
    fs::copy(directory.key_file(), copy.key_file()).unwrap();
    let mut random = Random(8705);
    let (mut detected, mut kinds) = (0, BTreeSet::new());
    while detected < TAMPERINGS {
        for name in ["keybound.db-wal", "keybound.db-shm"] {
            let _ = fs::remove_file(copy.path().join(name));
        }
        fs::copy(directory.database(), copy.database()).unwrap();
        let connection = copy.connect();
        connection.execute_batch("PRAGMA synchronous = OFF; BEGIN").unwrap();
        let Some(done) = tamper(&connection, &mut random) else {
            continue;
        };
        connection.execute_batch("COMMIT").unwrap();
        drop(connection);
        let report = verify(copy.path());
        assert!(!report.is_intact(), "not detected: {done}");
        kinds.insert(report.breaks[0].fault);
        detected += 1;
    }
    assert!(kinds.len() >= 6, "too few kinds of break were tried: {kinds:?}");
}

#[test]
fn a_log_rewritten_with_all_its_hashes_needs_the_key_file() {
    let (ours, theirs) = (Directory::new(), Directory::new());
    fill(&ours);
    fill(&theirs);
    // A whole log, intact by itself, sealed with another installation's key.
    let from = theirs.connect();
    let to = ours.connect();
    for (table, columns) in COVERED {
        set_rows(&to, table, columns, &rows(&from, table, columns)).unwrap();
    }
    let seal: Vec<u8> = from
        .query_row("SELECT value FROM meta WHERE name = 'audit_seal'", [], |row| row.get(0))
        .unwrap();
    to.execute("UPDATE meta SET value = ?1 WHERE name = 'audit_seal'", [seal])
        .unwrap();
    drop((from, to));
    assert!(verify(theirs.path()).is_intact());
    assert!(!verify(ours.path()).is_intact());
}

#[test]
fn a_log_emptied_altogether_is_noticed() {
    let directory = Directory::new();
    fill(&directory);
    let empty = "DELETE FROM audit_records; DELETE FROM audit_heads; DELETE FROM issued_token_batches;
                 DELETE FROM meta WHERE name = 'audit_seal'";
    directory.connect().execute_batch(empty).unwrap();
    assert!(!verify(directory.path()).is_intact());
}

#[test]
fn a_tampered_log_still_takes_new_records_and_stays_broken() {
    let directory = Directory::new();
    fill(&directory);
    directory
        .connect()
        .execute(
            "UPDATE audit_records SET subject = 'x' WHERE lane = 0 AND sequence = 9",
            [],
        )
        .unwrap();
    let store = directory.open();
    block_on(store.clients.create_client(new_client("later"), entry())).unwrap();
    drop(store);
    let report = verify(directory.path());
    assert_eq!(report.breaks.len(), 1);
    assert_eq!((report.breaks[0].lane, report.breaks[0].sequence), (0, 9));
}
