//! One transaction of the writer, as a verb sees it: the connection, and the audit chains that it extends.

use rusqlite::Connection;

use super::chain::{self, Body, Content, Head};
use super::fault::Fault;
use super::rows::{change, counter, one, stored};
use crate::key_file::KeyFile;
use crate::{AuditEntry, Lane, RevocationCursor};

/// One transaction of the writer.
pub(super) struct Batch<'a> {
    /// For the verb's own statements.
    pub(super) connection: &'a Connection,
    node: &'a str,
    mark: Mark,
}

/// How far a batch has come: what a savepoint does not roll back for us.
#[derive(Clone, Copy, Default)]
pub(super) struct Mark {
    /// The last position in the audit log, once it has been read.
    position: Option<i64>,
    changes: Option<Head>,
    issued_tokens: Option<Head>,
    revocation: Option<u64>,
}

/// What a verb did, in words: `noun.verb`, to whom, and what else there is to say.
pub(super) struct Deed<'a> {
    pub(super) lane: Lane,
    pub(super) action: &'static str,
    pub(super) subject: &'a str,
    pub(super) details: Option<serde_json::Value>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(connection: &'a Connection, node: &'a str) -> Batch<'a> {
        Batch {
            connection,
            node,
            mark: Mark::default(),
        }
    }

    /// The node whose chains are written.
    pub(super) fn node(&self) -> &'a str {
        self.node
    }

    /// Where we are, to come back to.
    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// Back to where we were; the savepoint has undone the rows.
    pub(super) fn reset(&mut self, mark: Mark) {
        self.mark = mark;
    }

    /// Remembers that followers of deny entries must be woken once this is durable.
    pub(super) fn revoked(&mut self, position: u64) {
        self.mark.revocation = Some(position);
    }

    /// Appends the record of a change to the chain of changes.
    pub(super) fn record(
        &mut self,
        entry: &AuditEntry,
        action: &'static str,
        subject: &str,
        details: Option<serde_json::Value>,
    ) -> Result<(), Fault> {
        self.append(
            entry,
            Deed {
                lane: Lane::Changes,
                action,
                subject,
                details,
            },
        )?;
        Ok(())
    }

    /// Appends a record to the chain of its lane; returns its sequence number there.
    pub(super) fn append(&mut self, entry: &AuditEntry, deed: Deed<'_>) -> Result<u64, Fault> {
        let previous = self.head(deed.lane)?;
        let position = self.last_position()?.saturating_add(1);
        let sequence = previous.sequence.saturating_add(1);
        let body = serde_json::to_string(&Body {
            entry: entry.clone(),
            details: deed.details,
        })
        .map_err(|error| Fault::unwritable("audit record", error))?;
        let content = Content {
            position,
            node: self.node,
            lane: chain::lane_number(deed.lane),
            sequence: stored(sequence),
            action: deed.action,
            subject: deed.subject,
            body: &body,
            previous_hash: &previous.hash,
        };
        let hash = content.hash();
        let sql =
            "INSERT INTO audit_records (position, node, lane, sequence, action, subject, body, previous_hash, hash)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let Content {
            position,
            node,
            lane,
            sequence: number,
            action,
            subject,
            ..
        } = content;
        change(
            self.connection,
            sql,
            (
                position,
                node,
                lane,
                number,
                action,
                subject,
                &body,
                previous.hash,
                hash,
            ),
        )?;
        self.mark.position = Some(position);
        *self.slot(deed.lane) = Some(Head { sequence, hash });
        Ok(sequence)
    }

    /// Writes the heads and their seal: the last thing before the commit. Returns the newest deny entry, if there is
    /// one.
    pub(super) fn finish(self, key_file: &KeyFile) -> Result<Option<RevocationCursor>, Fault> {
        let Mark {
            position,
            changes,
            issued_tokens,
            revocation,
        } = self.mark;
        for (lane, head) in [(Lane::Changes, changes), (Lane::IssuedTokens, issued_tokens)] {
            if let Some(head) = head {
                chain::set_head(self.connection, self.node, lane, &head)?;
            }
        }
        if position.is_some() {
            chain::seal_heads(self.connection, key_file)?;
        }
        match revocation {
            Some(position) => Ok(Some(RevocationCursor {
                epoch: counter(self.connection, "epoch")?,
                position,
            })),
            None => Ok(None),
        }
    }

    /// The head of a lane, read once per transaction: another process may have written since the last one.
    fn head(&mut self, lane: Lane) -> Result<Head, Fault> {
        if let Some(head) = *self.slot(lane) {
            return Ok(head);
        }
        chain::head(self.connection, self.node, lane)
    }

    fn last_position(&self) -> Result<i64, Fault> {
        if let Some(position) = self.mark.position {
            return Ok(position);
        }
        let sql = "SELECT coalesce(max(position), 0) FROM audit_records";
        Ok(one(self.connection, sql, [], |row| Ok(row.get(0)?))?.unwrap_or(0))
    }

    fn slot(&mut self, lane: Lane) -> &mut Option<Head> {
        match lane {
            Lane::Changes => &mut self.mark.changes,
            Lane::IssuedTokens => &mut self.mark.issued_tokens,
        }
    }
}
