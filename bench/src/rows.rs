//! Rows in SQLite: those that a run of the load generator needs in our server's database, and those that the ceiling writes.
#![expect(
    clippy::disallowed_methods,
    reason = "the least a server can do: it reads clock and generator where it stands"
)]

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::{Connection, params};
use tokio::sync::oneshot;

/// The characters of every code and refresh token that is made here.
pub const SECRET_CHARS: usize = 24;
/// Rows in one transaction, so that the server's own writer gets its turn.
const ROWS_AT_ONCE: usize = 5_000;
/// Transactions that the ceiling's writer makes one of, as our server's does.
const BATCH_MAX: usize = 256;

/// Consents in our server's database: what a user allowed, each with a code or a refresh token of a client that authenticates.
pub struct Consents {
    tag: String,
}

impl Consents {
    /// Opens the database of a running server, whose client is `client-1`.
    pub fn of_this_run() -> anyhow::Result<Self> {
        let mut octets = [0; 6];
        rand::fill(&mut octets)
            .ok()
            .context("the system has no random numbers")?;
        let tag = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        Ok(Self { tag })
    }

    /// The secret of this number: the code, or the refresh token.
    pub fn secret(&self, number: usize) -> String {
        format!("{}{number:012}", self.tag)
    }

    /// Puts codes of the first `count` numbers into the database.
    pub fn add_codes(&self, database: &Path, count: usize) -> anyhow::Result<()> {
        self.add(database, count, |connection, secret, grant_id, now| {
            let sql = "INSERT INTO authorization_codes (hash, grant_id, expires_at) VALUES (?1, ?2, ?3)";
            let hash = digest(&SHA256, secret.as_bytes());
            connection
                .prepare_cached(sql)?
                .execute(params![hash.as_ref(), grant_id, now + 3_600])
        })
    }

    /// Puts the refresh token of number 0 into the database.
    pub fn add_refresh_token(&self, database: &Path) -> anyhow::Result<()> {
        self.add(database, 1, |connection, secret, grant_id, now| {
            let sql = "INSERT INTO refresh_tokens (hash, grant_id, generation, holder, issued_at, used_at, idle_until)
                       VALUES (?1, ?2, 1, 'client', ?3, ?3, ?4)";
            let hash = digest(&SHA256, secret.as_bytes());
            connection
                .prepare_cached(sql)?
                .execute(params![hash.as_ref(), grant_id, now, now + 86_400])
        })
    }

    fn add(
        &self,
        database: &Path,
        count: usize,
        row: impl Fn(&Connection, &str, &str, i64) -> rusqlite::Result<usize>,
    ) -> anyhow::Result<()> {
        let mut connection = Connection::open(database).with_context(|| database.display().to_string())?;
        connection.busy_timeout(std::time::Duration::from_secs(20))?;
        // What an earlier run made and did not use goes first: the ceiling's tables hold what was exchanged, and nothing else.
        connection.execute_batch(
            "BEGIN IMMEDIATE;
             DELETE FROM grants WHERE grant_id IN (SELECT grant_id FROM authorization_codes WHERE spent_at IS NULL);
             DELETE FROM authorization_codes WHERE spent_at IS NULL;
             COMMIT;",
        )?;
        let now = now();
        let sql = "INSERT INTO grants (grant_id, client_id, subject, scope, resources, created_at, expires_at, epoch)
                   VALUES (?1, 'client-1', 'u.AQEBAQEBAQEBAQEBAQEBAQ', 'read', '[]', ?2, ?3,
                           (SELECT value FROM counters WHERE name = 'epoch'))";
        for first in (0..count).step_by(ROWS_AT_ONCE) {
            let transaction = connection.transaction()?;
            for number in first..count.min(first + ROWS_AT_ONCE) {
                let mut octets = [0; 16];
                rand::fill(&mut octets)
                    .ok()
                    .context("the system has no random numbers")?;
                let grant_id = URL_SAFE_NO_PAD.encode(octets);
                transaction
                    .prepare_cached(sql)?
                    .execute(params![grant_id, now, now + 86_400])?;
                row(&transaction, &self.secret(number), &grant_id, now)?;
            }
            transaction.commit()?;
        }
        Ok(())
    }
}

/// The bare writer: one thread that commits what is waiting, each time the rows that a code exchange leaves in our server's
/// database, and nothing more.
pub struct BareWriter {
    queue: Sender<oneshot::Sender<()>>,
}

impl BareWriter {
    /// Starts it on a new database.
    pub fn start(database: &Path) -> anyhow::Result<Self> {
        let connection = Connection::open(database).with_context(|| database.display().to_string())?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(
            "CREATE TABLE codes (hash BLOB PRIMARY KEY, grant_id TEXT, spent_at INTEGER, token_id TEXT) WITHOUT ROWID;
             CREATE TABLE refresh_tokens (hash BLOB PRIMARY KEY, grant_id TEXT, generation INTEGER, holder TEXT, at INTEGER,
                                          idle_until INTEGER, UNIQUE (grant_id, generation)) WITHOUT ROWID;
             CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (idle_until);
             CREATE TABLE records (position INTEGER PRIMARY KEY, action TEXT, subject TEXT, body TEXT, previous BLOB, hash BLOB);
             CREATE INDEX records_by_subject ON records (subject, position);
             CREATE INDEX records_by_action ON records (action, position);",
        )?;
        let (queue, waiting) = channel();
        std::thread::spawn(move || {
            if let Err(error) = write(&connection, &waiting) {
                eprintln!("the bare writer ended: {error}");
            }
        });
        Ok(Self { queue })
    }

    /// Comes when the rows of one exchange are durable.
    pub async fn exchange(&self) {
        let (reply, answer) = oneshot::channel();
        let _ = self.queue.send(reply);
        let _ = answer.await;
    }
}

fn write(connection: &Connection, waiting: &Receiver<oneshot::Sender<()>>) -> anyhow::Result<()> {
    let mut previous = vec![0; 32];
    while let Ok(first) = waiting.recv() {
        let mut replies = vec![first];
        replies.extend(waiting.try_iter().take(BATCH_MAX - 1));
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for _ in &replies {
            previous = exchange(connection, &previous)?;
        }
        connection.execute_batch("COMMIT")?;
        for reply in replies {
            let _ = reply.send(());
        }
    }
    Ok(())
}

/// A code that is spent, a refresh token, and the record of both in a chain.
fn exchange(connection: &Connection, previous: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut octets = [0; 32];
    rand::fill(&mut octets)
        .ok()
        .context("the system has no random numbers")?;
    let (name, now) = (URL_SAFE_NO_PAD.encode(octets), now());
    let (grant_id, _) = name.split_at(22);
    let (code, refresh_token) = (digest(&SHA256, &octets), digest(&SHA256, name.as_bytes()));
    connection
        .prepare_cached("INSERT INTO codes VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![code.as_ref(), grant_id, now, name])?;
    connection
        .prepare_cached("INSERT INTO refresh_tokens VALUES (?1, ?2, 1, 'client', ?3, ?4)")?
        .execute(params![refresh_token.as_ref(), grant_id, now, now + 86_400])?;
    let body = format!(
        r#"{{"entry":{{"at":{now},"actor":{{"client":"client-1"}},"remote_address":"127.0.0.1"}},"details":{{"client_id":"client-1","jti":"{name}","refresh_token":true}}}}"#
    );
    let hash = digest(&SHA256, &[previous, body.as_bytes()].concat()).as_ref().to_vec();
    connection
        .prepare_cached("INSERT INTO records (action, subject, body, previous, hash) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params!["authorization_code.redeemed", grant_id, body, previous, hash])?;
    Ok(hash)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
