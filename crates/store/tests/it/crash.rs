//! Processes that are killed or run out of disk under load: what was acknowledged is there, nothing one-time happened
//! twice.
//!
//! The victim is this test binary, executed again; it says on its standard output what was acknowledged, after it was.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use keybound_store::{
    AccessTokenHash, AccessTokenState, ConsumeClientAssertion, CreateClient, OneTimeAssertion, OpaqueAccessToken,
    RecordAccessToken, SqliteSettings, SqliteStore, Store,
};

use crate::{Directory, NOW, block_on, client, entry, new_client};

const KILLS: u32 = 20;
/// Concurrent callers in the victim.
const CALLERS: u32 = 16;
/// Small, so that later rounds try again what earlier rounds have used.
const ASSERTIONS: u32 = 4_000;

fn assertion(number: u32) -> OneTimeAssertion {
    OneTimeAssertion {
        client_id: client("demo"),
        token_id: format!("jti-{number}"),
        issued_at: Some(NOW),
        until: NOW.plus(Duration::from_secs(300)),
    }
}

fn token(name: &str) -> (AccessTokenHash, OpaqueAccessToken) {
    let token = OpaqueAccessToken {
        token_id: name.to_owned(),
        client_id: client("demo"),
        subject: "demo".into(),
        scope: String::new(),
        audience: Vec::new(),
        authorization_details: None,
        auth_time: None,
        acr: None,
        thumbprint: None,
        key: None,
        issued_at: NOW,
        expires_at: NOW.plus(Duration::from_secs(300)),
    };
    (AccessTokenHash::of_token(name), token)
}

/// What the victim does, and says it did. Not a test of its own.
#[test]
fn victim() {
    let Some(directory) = std::env::var_os("KEYBOUND_STORE_VICTIM") else {
        return;
    };
    let round: u32 = std::env::var("KEYBOUND_STORE_ROUND").unwrap().parse().unwrap();
    let directory = std::path::Path::new(&directory);
    let settings = SqliteSettings::new(directory.join("keybound.db"), directory.join("keys.kek"));
    let store = match SqliteStore::open(&settings, NOW) {
        Ok(store) => store,
        Err(error) => return say(&format!("closed {error:?}")),
    };
    block_on(async {
        let mut callers = tokio::task::JoinSet::new();
        for caller in 0..CALLERS {
            callers.spawn(call(store.clone(), round, caller));
        }
        callers.join_all().await;
    });
}

/// One caller: a client, an assertion, a token, again and again; ends after ten failures in a row.
async fn call(store: Store, round: u32, caller: u32) {
    let mut failures = 0;
    for number in (caller..).step_by(CALLERS as usize) {
        let name = format!("{round}-{number}");
        let created = store
            .clients
            .create_client(new_client(&format!("client-{name}")), entry())
            .await;
        let jti = (number + round * 997) % ASSERTIONS;
        let consumed = store
            .client_assertions
            .consume_client_assertion(assertion(jti), entry())
            .await;
        let (hash, token) = token(&format!("token-{name}"));
        let recorded = store
            .access_tokens
            .record_opaque_access_token(hash, token, entry())
            .await;
        let mut lines = String::new();
        if matches!(created, Ok(CreateClient::Created { .. })) {
            lines.push_str(&format!("client client-{name}\n"));
        }
        if matches!(consumed, Ok(ConsumeClientAssertion::Consumed)) {
            lines.push_str(&format!("consumed {jti}\n"));
        }
        if matches!(recorded, Ok(RecordAccessToken::Recorded)) {
            lines.push_str(&format!("token token-{name}\n"));
        }
        failures = if created.is_err() || consumed.is_err() || recorded.is_err() {
            failures + 1
        } else {
            0
        };
        if failures > 0 {
            lines.push_str("refused\n");
        }
        say(lines.trim_end());
        if failures == 10 {
            return;
        }
    }
}

/// Whole lines only: a line that was cut off by a kill was not acknowledged.
fn say(lines: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{lines}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// What the victims acknowledged, over all rounds.
#[derive(Default)]
struct History {
    clients: Vec<String>,
    tokens: Vec<String>,
    consumed: BTreeMap<u32, u32>,
    refused: u32,
}

impl History {
    fn read(&mut self, output: &[u8]) {
        let text = String::from_utf8_lossy(output);
        let Some((whole, _cut_off)) = text.rsplit_once('\n') else {
            return;
        };
        for line in whole.lines() {
            match line.split_once(' ') {
                Some(("client", name)) => self.clients.push(name.to_owned()),
                Some(("token", name)) => self.tokens.push(name.to_owned()),
                Some(("consumed", number)) => *self.consumed.entry(number.parse().unwrap()).or_default() += 1,
                _ => self.refused += u32::from(line == "refused"),
            }
        }
    }

    /// Compares with the database: what was acknowledged is there, what was used is used, the log has an entry for
    /// each.
    fn check(&self, store: &Store) {
        for name in &self.clients {
            assert!(
                store.clients.find_client(&client(name)).unwrap().is_some(),
                "{name} was acknowledged and lost"
            );
        }
        for name in &self.tokens {
            let found = store.access_tokens.find_access_token(&token(name).0, NOW).unwrap();
            assert_eq!(
                found.map(|found| found.state),
                Some(AccessTokenState::Live),
                "{name} was acknowledged and lost"
            );
        }
        let twice: Vec<_> = self.consumed.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "consumed twice: {twice:?}");
        block_on(async {
            let answers: Vec<_> = self
                .consumed
                .keys()
                .map(|number| {
                    store
                        .client_assertions
                        .consume_client_assertion(assertion(*number), entry())
                })
                .collect();
            for answer in answers {
                assert_eq!(answer.await.unwrap(), ConsumeClientAssertion::AlreadyUsed);
            }
            let report = store.audit.verify_chain().await.unwrap();
            assert!(report.is_intact(), "{report:?}");
            let acknowledged = self.clients.len() + self.tokens.len() + self.consumed.len();
            assert!(
                report.records > acknowledged as u64,
                "an acknowledged change has no audit record"
            );
        });
    }
}

fn victim_command(directory: &Directory, round: u32) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "crash::victim", "--nocapture"]);
    command
        .env("KEYBOUND_STORE_VICTIM", directory.path())
        .env("KEYBOUND_STORE_ROUND", round.to_string());
    command
}

fn integrity(directory: &Directory) -> String {
    directory
        .connect()
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap()
}

// 0 of 20 kills lost something: less than 15 % of kills do, at 95 %.
// covers I1, I4, I6, I7, R1
#[test]
fn what_was_acknowledged_survives_a_kill_and_nothing_is_used_twice() {
    let directory = Directory::new();
    let mut history = History::default();
    for round in 0..KILLS {
        let mut victim = victim_command(&directory, round)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut reader = BufReader::new(victim.stdout.take().unwrap());
        let mut output = Vec::new();
        // Killed after another number of acknowledgements each time, in the middle of whatever it does then.
        for _ in 0..20 + round * 13 % 150 {
            assert!(
                reader.read_until(b'\n', &mut output).unwrap() > 0,
                "{}",
                String::from_utf8_lossy(&output)
            );
        }
        victim.kill().unwrap();
        reader.read_to_end(&mut output).unwrap();
        victim.wait().unwrap();
        history.read(&output);
        history.check(&directory.open());
        assert_eq!(integrity(&directory), "ok");
    }
    let (clients, consumed) = (history.clients.len(), history.consumed.len());
    assert!(
        clients > 300 && consumed > 100,
        "{clients} clients, {consumed} assertions: the victims hardly lived"
    );
}

/// Every write beyond `blocks` × 512 bytes of any file fails, as on a disk that is full or broken.
fn limited_victim(directory: &Directory, blocks: u32) -> Command {
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\""));
    command
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "crash::victim", "--nocapture"]);
    command
        .env("KEYBOUND_STORE_VICTIM", directory.path())
        .env("KEYBOUND_STORE_ROUND", blocks.to_string());
    command
}

// 60 points at which writing begins to fail, from the first page of an empty database on.
// covers R3
#[test]
fn failing_writes_are_never_acknowledged_and_need_no_repair() {
    let (mut acknowledged, mut refused) = (0, 0);
    for point in 0..60 {
        let directory = Directory::new();
        let mut history = History::default();
        let output = limited_victim(&directory, 64 + point * 37).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        history.read(&output.stdout);
        // There is room again: opening it is all the repair there is.
        let store = directory.open();
        history.check(&store);
        block_on(store.clients.create_client(new_client("after"), entry())).unwrap();
        drop(store);
        assert_eq!(integrity(&directory), "ok");
        acknowledged += history.clients.len();
        refused += history.refused;
    }
    assert!(
        acknowledged > 1_000 && refused > 500,
        "{acknowledged} acknowledged, {refused} refused"
    );
}
