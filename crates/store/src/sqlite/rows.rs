//! Rows into values and back: the few conversions that every noun needs.

use std::str::FromStr;

use keybound_protocol::client::ClientId;
use keybound_protocol::confirmation::CertificateThumbprint;
use keybound_protocol::secret::SecretHash;
use keybound_protocol::time::Timestamp;
use keybound_protocol::user::UserSubject;
use rusqlite::{Connection, Params, Row};

use super::fault::Fault;
use crate::PAGE_MAX;

/// The first row of a query that is prepared once per connection, or `None`.
pub(super) fn one<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(read).transpose()
}

/// All rows of a query that is prepared once per connection.
pub(super) fn all<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut values = Vec::new();
    while let Some(row) = rows.next()? {
        values.push(read(row)?);
    }
    Ok(values)
}

/// Runs a statement that is prepared once per connection; returns how many rows it changed.
pub(super) fn change(connection: &Connection, sql: &str, params: impl Params) -> Result<usize, Fault> {
    Ok(connection.prepare_cached(sql)?.execute(params)?)
}

/// The current value of a counter.
pub(super) fn counter(connection: &Connection, name: &'static str) -> Result<u64, Fault> {
    one(
        connection,
        "SELECT value FROM counters WHERE name = ?1",
        [name],
        |row| unsigned(row, 0, "counter"),
    )?
    .ok_or_else(|| Fault::corrupt("counter", format_args!("{name} is missing")))
}

/// Raises a counter by one; returns its new value.
pub(super) fn next(connection: &Connection, name: &'static str) -> Result<u64, Fault> {
    one(
        connection,
        "UPDATE counters SET value = value + 1 WHERE name = ?1 RETURNING value",
        [name],
        |row| unsigned(row, 0, "counter"),
    )?
    .ok_or_else(|| Fault::corrupt("counter", format_args!("{name} is missing")))
}

/// A column that was written from a `u64`.
pub(super) fn unsigned(row: &Row<'_>, column: usize, what: &'static str) -> Result<u64, Fault> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|error| Fault::corrupt(what, error))
}

/// A column of Unix seconds.
pub(super) fn timestamp(row: &Row<'_>, column: usize) -> Result<Timestamp, Fault> {
    Ok(Timestamp::from_unix_secs(row.get(column)?))
}

/// A column of Unix seconds, or NULL.
pub(super) fn optional_timestamp(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>, Fault> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_unix_secs))
}

/// A column with a SHA-256.
pub(super) fn hash(row: &Row<'_>, column: usize) -> Result<[u8; 32], Fault> {
    Ok(row.get(column)?)
}

/// A column with a SHA-256, or NULL.
pub(super) fn optional_hash(row: &Row<'_>, column: usize) -> Result<Option<[u8; 32]>, Fault> {
    Ok(row.get(column)?)
}

/// A column of text that has a type of its own.
pub(super) fn text<T: FromStr<Err: std::fmt::Display>>(
    row: &Row<'_>,
    column: usize,
    what: &'static str,
) -> Result<T, Fault> {
    row.get_ref(column)?
        .as_str()
        .map_err(|error| Fault::corrupt(what, error))?
        .parse()
        .map_err(|error| Fault::corrupt(what, error))
}

/// A column of text that has a type of its own, or NULL.
pub(super) fn optional_text<T: FromStr<Err: std::fmt::Display>>(
    row: &Row<'_>,
    column: usize,
    what: &'static str,
) -> Result<Option<T>, Fault> {
    match row.get_ref(column)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => text(row, column, what).map(Some),
    }
}

/// A column with a client identifier.
pub(super) fn client_id(row: &Row<'_>, column: usize, what: &'static str) -> Result<ClientId, Fault> {
    text(row, column, what)
}

/// A column with the subject of a user.
pub(super) fn subject(row: &Row<'_>, column: usize, what: &'static str) -> Result<UserSubject, Fault> {
    optional_subject(row, column, what)?.ok_or_else(|| Fault::corrupt(what, "it has no subject"))
}

/// A column with the subject of a user, or NULL.
pub(super) fn optional_subject(row: &Row<'_>, column: usize, what: &'static str) -> Result<Option<UserSubject>, Fault> {
    let text: Option<String> = row.get(column)?;
    let parsed = text.as_deref().map(UserSubject::parse).transpose();
    parsed.map_err(|error| Fault::corrupt(what, error))
}

/// A column with a certificate thumbprint, or NULL.
pub(super) fn thumbprint(
    row: &Row<'_>,
    column: usize,
    what: &'static str,
) -> Result<Option<CertificateThumbprint>, Fault> {
    optional_text(row, column, what)
}

/// A column with the hash of a secret, or NULL.
pub(super) fn secret_hash(row: &Row<'_>, column: usize, what: &'static str) -> Result<Option<SecretHash>, Fault> {
    let Some(bytes) = row.get::<_, Option<Vec<u8>>>(column)? else {
        return Ok(None);
    };
    let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| Fault::corrupt(what, "a hash of another length"))?;
    Ok(Some(SecretHash::from_bytes(bytes)))
}

/// A `u64` as SQLite keeps it. Counters start at zero and grow by one; none reaches the end.
pub(super) fn stored(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// How many rows a listing asks for: one more than the caller may have, to see whether there is a next page.
pub(super) fn page(limit: u16) -> usize {
    usize::from(limit.clamp(1, PAGE_MAX))
}
