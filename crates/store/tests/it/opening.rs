//! A database that is locked, read-only, newer, damaged or not one: each has its own sentence and its own fix.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use keybound_store::{OpenError, SqliteLimits, SqliteSettings, SqliteStore};

use crate::{Directory, NOW, block_on, client, entry, new_client};

/// Opening fails with the expected variant, names the file, proposes a fix, and changes nothing.
fn check(settings: &SqliteSettings, expected: fn(&OpenError) -> bool, named: &Path) -> OpenError {
    let read = || fs::read(&settings.database).ok();
    let before = read();
    let error = SqliteStore::open(settings, NOW).unwrap_err();
    assert!(expected(&error), "{error:?}");
    let sentence = error.to_string();
    assert!(sentence.contains(named.to_str().unwrap()), "{sentence}");
    assert!(!sentence.contains('\n') && sentence.len() < 400, "{sentence}");
    assert!(error.fix().len() > 10, "{}", error.fix());
    assert_eq!(read(), before, "the file was changed");
    error
}

/// A database with one client, closed.
fn made() -> Directory {
    let directory = Directory::new();
    block_on(directory.open().clients.create_client(new_client("demo"), entry())).unwrap();
    directory
}

fn impatient(directory: &Directory) -> SqliteSettings {
    let limits = SqliteLimits {
        lock_wait: Duration::from_millis(50),
        ..SqliteLimits::default()
    };
    SqliteSettings {
        limits,
        ..directory.settings()
    }
}

#[test]
fn a_database_is_made_and_found_again() {
    let directory = made();
    let store = directory.open();
    assert!(store.clients.find_client(&client("demo")).unwrap().is_some());
    let report = block_on(store.audit.verify_chain()).unwrap();
    assert_eq!(
        report.records, 2,
        "the schema and the client; opening again changes nothing"
    );
}

#[test]
fn a_missing_directory_is_named() {
    let directory = Directory::new();
    let missing = directory.path().join("no").join("such");
    let settings = SqliteSettings {
        database: missing.join("keybound.db"),
        ..directory.settings()
    };
    let error = check(
        &settings,
        |error| matches!(error, OpenError::DirectoryMissing { .. }),
        &missing,
    );
    assert!(error.fix().contains("mkdir"), "{}", error.fix());
    assert!(!error.is_temporary());
}

#[test]
fn the_directory_of_the_key_file_is_missing() {
    let directory = Directory::new();
    let key_file = directory.path().join("secrets").join("keys.kek");
    let settings = SqliteSettings {
        key_file: key_file.clone(),
        ..directory.settings()
    };
    let error = SqliteStore::open(&settings, NOW).unwrap_err();
    assert!(matches!(error, OpenError::KeyFileUnusable { .. }), "{error}");
    assert!(error.to_string().contains(key_file.to_str().unwrap()), "{error}");
    // Nothing half made is left in the way.
    fs::create_dir(directory.path().join("secrets")).unwrap();
    SqliteStore::open(&settings, NOW).unwrap();
}

#[test]
fn a_locked_database_is_locked_until_it_is_not() {
    let directory = made();
    for lock in [
        "BEGIN IMMEDIATE",
        "BEGIN EXCLUSIVE",
        "PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE",
    ] {
        let other = directory.connect();
        other.execute_batch(lock).unwrap();
        let error = check(
            &impatient(&directory),
            |error| matches!(error, OpenError::Locked { .. }),
            &directory.database(),
        );
        assert!(error.is_temporary());
        drop(other);
        SqliteStore::open(&impatient(&directory), NOW).unwrap();
    }
}

#[test]
fn an_open_store_does_not_lock_out_a_second_process() {
    let directory = made();
    let server = directory.open();
    let command_line = directory.open();
    block_on(async {
        command_line
            .clients
            .create_client(new_client("second"), entry())
            .await
            .unwrap();
        server
            .clients
            .create_client(new_client("third"), entry())
            .await
            .unwrap();
        assert!(server.clients.find_client(&client("second")).unwrap().is_some());
        let report = server.audit.verify_chain().await.unwrap();
        assert!(report.is_intact(), "{report:?}");
        assert_eq!(report.records, 4);
    });
}

#[test]
fn a_newer_schema_is_refused() {
    let directory = made();
    let newer = "INSERT INTO schema_migrations VALUES (1000, 'from the future', 'x', 0)";
    directory.connect().execute_batch(newer).unwrap();
    let error = check(
        &directory.settings(),
        |error| {
            matches!(
                error,
                OpenError::SchemaNewer {
                    found: 1000,
                    known: 2..,
                    ..
                }
            )
        },
        &directory.database(),
    );
    assert!(error.fix().contains("newer version"), "{}", error.fix());
    directory
        .connect()
        .execute_batch("DELETE FROM schema_migrations WHERE version = 1000")
        .unwrap();
    assert!(
        directory.open().clients.find_client(&client("demo")).unwrap().is_some(),
        "something was lost"
    );
}

#[test]
fn a_schema_step_of_another_build_is_refused() {
    let directory = made();
    directory
        .connect()
        .execute_batch("UPDATE schema_migrations SET checksum = 'x'")
        .unwrap();
    let expected = |error: &OpenError| matches!(error, OpenError::SchemaDiffers { version: 1, .. });
    check(&directory.settings(), expected, &directory.database());
}

#[test]
fn what_is_not_our_database_is_refused() {
    let expected = |error: &OpenError| matches!(error, OpenError::NotADatabase { .. });
    let directory = Directory::new();
    for content in [
        &b"hello"[..],
        &[0; 4096],
        &[b'x'; 8192],
        b"SQLite format 3\0",
        &[0xff; 100],
    ] {
        fs::write(directory.database(), content).unwrap();
        check(&directory.settings(), expected, &directory.database());
    }
    // Another program's database, also an empty one that says whose it is.
    for sql in [
        "CREATE TABLE clients (client_id TEXT)",
        "PRAGMA application_id = 77; PRAGMA user_version = 1",
    ] {
        fs::remove_file(directory.database()).unwrap();
        directory.connect().execute_batch(sql).unwrap();
        let error = SqliteStore::open(&directory.settings(), NOW).unwrap_err();
        assert!(expected(&error), "{error:?}");
        assert!(error.to_string().contains("another program"), "{error}");
    }
    let settings = SqliteSettings {
        database: directory.path().into(),
        ..directory.settings()
    };
    let error = SqliteStore::open(&settings, NOW).unwrap_err();
    assert!(expected(&error) && error.to_string().contains("directory"), "{error}");
}

#[test]
fn a_truncated_database_is_refused() {
    let directory = made();
    let whole = fs::read(directory.database()).unwrap();
    let expected = |error: &OpenError| matches!(error, OpenError::NotADatabase { .. });
    for bytes in [
        1,
        99,
        512,
        4095,
        4096,
        8192,
        whole.len() / 2,
        whole.len() - 4096,
        whole.len() - 1,
    ] {
        fs::write(directory.database(), &whole[..bytes]).unwrap();
        let error = SqliteStore::open(&directory.settings(), NOW).unwrap_err();
        assert!(expected(&error), "cut off after {bytes}: {error:?}");
    }
    fs::write(directory.database(), &whole).unwrap();
    assert!(directory.open().clients.find_client(&client("demo")).unwrap().is_some());
}

/// Runs this binary's `unprivileged_child` as somebody who may not override permissions, which root may.
fn open_unprivileged(directory: &Directory) -> String {
    let executable = std::env::current_exe().unwrap();
    let is_root = fs::metadata("/proc/self").is_ok_and(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0);
    let mut command = if is_root {
        // The binary itself lies where only root may look. Copied by another process: if this one had it open for
        // writing while another test forks, nobody could execute it ("text file busy").
        let copy = directory.path().join("it");
        assert!(
            Command::new("cp")
                .arg(executable)
                .arg(&copy)
                .status()
                .unwrap()
                .success()
        );
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(copy);
        command
    } else {
        Command::new(executable)
    };
    command
        .args(["--exact", "opening::unprivileged_child", "--nocapture"])
        .env("KEYBOUND_STORE_OPEN", directory.path());
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    text.lines()
        .find_map(|line| line.split("opened: ").nth(1))
        .unwrap_or_else(|| panic!("{text}"))
        .to_owned()
}

/// Not a test of its own: see [`open_unprivileged`].
#[test]
fn unprivileged_child() {
    let Some(path) = std::env::var_os("KEYBOUND_STORE_OPEN") else {
        return;
    };
    let path = Path::new(&path);
    let outcome = match SqliteStore::open(
        &SqliteSettings::new(path.join("keybound.db"), path.join("keys.kek")),
        NOW,
    ) {
        Ok(_) => "yes".to_owned(),
        Err(error) => format!("{error:?} {error}"),
    };
    std::io::Write::write_all(&mut std::io::stdout(), format!("opened: {outcome}\n").as_bytes()).unwrap();
}

#[test]
fn read_only_files_and_directories_are_read_only() {
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let directory = made();
    // The control: with every permission it opens.
    mode(directory.path(), 0o777);
    mode(&directory.database(), 0o666);
    // Only its owner may use the key file, and the child may be somebody else.
    let opened = open_unprivileged(&directory);
    assert!(opened == "yes" || opened.starts_with("KeyFile"), "{opened}");

    mode(&directory.database(), 0o444);
    let opened = open_unprivileged(&directory);
    assert!(
        opened.starts_with("ReadOnly") && opened.contains("keybound.db"),
        "{opened}"
    );
    // The file may be written, but the log beside it can't be made.
    mode(&directory.database(), 0o666);
    mode(directory.path(), 0o555);
    let opened = open_unprivileged(&directory);
    assert!(opened.starts_with("ReadOnly"), "{opened}");
    // There is none yet, and none can be made.
    mode(directory.path(), 0o777);
    fs::remove_file(directory.database()).unwrap();
    mode(directory.path(), 0o555);
    let opened = open_unprivileged(&directory);
    assert!(
        opened.starts_with("ReadOnly") && opened.contains(directory.path().to_str().unwrap()),
        "{opened}"
    );
    mode(directory.path(), 0o777);
}

// Root too can't write a read-only file system.
#[test]
fn a_read_only_file_system_is_read_only() {
    let directory = Directory::new();
    let settings = SqliteSettings {
        database: "/proc/self/keybound.db".into(),
        ..directory.settings()
    };
    let error = SqliteStore::open(&settings, NOW).unwrap_err();
    assert!(!error.fix().is_empty());
    assert!(
        matches!(error, OpenError::ReadOnly { .. } | OpenError::DirectoryMissing { .. }),
        "{error:?}"
    );
}
