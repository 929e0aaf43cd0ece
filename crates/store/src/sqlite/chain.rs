//! The audit chain as it is written: hashes, heads and the seal over all heads.

use aws_lc_rs::digest::{Context, SHA256};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::fault::Fault;
use super::rows::{all, change, one, stored, unsigned};
use crate::key_file::KeyFile;
use crate::{AuditEntry, Lane};

/// The hash of a record, and of "nothing before it" as zeros.
pub(super) type Hash = [u8; 32];

/// The end of one chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) sequence: u64,
    pub(super) hash: Hash,
}

impl Head {
    /// Before the first record.
    pub(super) const EMPTY: Head = Head {
        sequence: 0,
        hash: [0; 32],
    };
}

/// The text column of a record: who, when, from where, and what else there is to say.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Body {
    pub(super) entry: AuditEntry,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) details: Option<serde_json::Value>,
}

/// Everything of a record that its hash covers.
#[derive(Debug)]
pub(super) struct Content<'a> {
    pub(super) position: i64,
    pub(super) node: &'a str,
    pub(super) lane: i64,
    pub(super) sequence: i64,
    pub(super) action: &'a str,
    pub(super) subject: &'a str,
    pub(super) body: &'a str,
    pub(super) previous_hash: &'a [u8],
}

impl Content<'_> {
    /// SHA-256 over all members, each variable one preceded by its length, so that nothing can move from one to the
    /// next.
    pub(super) fn hash(&self) -> Hash {
        let mut context = Context::new(&SHA256);
        context.update(b"keybound audit record 1\n");
        for number in [self.position, self.lane, self.sequence] {
            context.update(&number.to_be_bytes());
        }
        let texts = [
            self.node.as_bytes(),
            self.action.as_bytes(),
            self.subject.as_bytes(),
            self.body.as_bytes(),
        ];
        for bytes in texts.into_iter().chain([self.previous_hash]) {
            context.update(&(bytes.len() as u64).to_be_bytes());
            context.update(bytes);
        }
        finish(context)
    }
}

/// SHA-256 of a batch of issued tokens, as its audit record carries it.
pub(super) fn batch_hash(tokens: &str, not_recorded: i64, at: i64) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(b"keybound issued tokens 1\n");
    context.update(&not_recorded.to_be_bytes());
    context.update(&at.to_be_bytes());
    context.update(tokens.as_bytes());
    finish(context)
}

fn finish(context: Context) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// The number under which a lane is stored.
pub(super) const fn lane_number(lane: Lane) -> i64 {
    match lane {
        Lane::Changes => 0,
        Lane::IssuedTokens => 1,
    }
}

/// The lane stored under a number.
pub(super) const fn lane_of(number: i64) -> Option<Lane> {
    match number {
        0 => Some(Lane::Changes),
        1 => Some(Lane::IssuedTokens),
        _ => None,
    }
}

/// The recorded end of a chain.
pub(super) fn head(connection: &Connection, node: &str, lane: Lane) -> Result<Head, Fault> {
    let sql = "SELECT sequence, hash FROM audit_heads WHERE node = ?1 AND lane = ?2";
    let head = one(connection, sql, (node, lane_number(lane)), |row| {
        Ok(Head {
            sequence: unsigned(row, 0, "audit head")?,
            hash: row.get(1)?,
        })
    })?;
    Ok(head.unwrap_or(Head::EMPTY))
}

/// Records where a chain now ends.
pub(super) fn set_head(connection: &Connection, node: &str, lane: Lane, head: &Head) -> Result<(), Fault> {
    let sql = "INSERT INTO audit_heads (node, lane, sequence, hash) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (node, lane) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash";
    change(
        connection,
        sql,
        (node, lane_number(lane), stored(head.sequence), head.hash),
    )?;
    Ok(())
}

/// Seals all heads as they are now.
pub(super) fn seal_heads(connection: &Connection, key_file: &KeyFile) -> Result<(), Fault> {
    let seal = key_file.audit_seal(&sealed_text(connection)?);
    let sql = "INSERT INTO meta (name, value) VALUES ('audit_seal', ?1)
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    change(connection, sql, [seal.as_ref()])?;
    Ok(())
}

/// True if the heads are the ones that were sealed.
pub(super) fn heads_are_sealed(connection: &Connection, key_file: &KeyFile) -> Result<bool, Fault> {
    let sql = "SELECT value FROM meta WHERE name = 'audit_seal'";
    let seal = one(connection, sql, [], |row| Ok(row.get::<_, Vec<u8>>(0)?))?;
    let text = sealed_text(connection)?;
    Ok(seal.is_some_and(|seal| key_file.is_audit_seal(&text, &seal)))
}

/// All heads in one text, in their order, unambiguous.
fn sealed_text(connection: &Connection) -> Result<Vec<u8>, Fault> {
    let sql = "SELECT node, lane, sequence, hash FROM audit_heads ORDER BY node, lane";
    let heads = all(connection, sql, [], |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, i64>(1)?,
            row.get::<_, i64>(2)?,
            row.get::<_, Vec<u8>>(3)?,
        ))
    })?;
    serde_json::to_vec(&heads).map_err(|error| Fault::unwritable("audit heads", error))
}
