//! Verifying the audit chains: every record, every batch that a record seals, every head, and the seal over all heads.

use std::collections::{BTreeMap, BTreeSet};

use keybound_protocol::digest::hex;
use rusqlite::{Connection, Row};

use super::chain::{Body, Content, batch_hash, heads_are_sealed};
use super::fault::Fault;
use super::issued_tokens::{RECORDED, REMOVED};
use super::rows::all;
use crate::key_file::KeyFile;
use crate::{ChainBreak, ChainFault, ChainReport};

/// A node and a lane, as stored: a tampered row may hold any number.
type ChainName = (String, i64);

/// Recomputes everything, in one read transaction: what is written meanwhile is not seen.
pub(super) fn verify(connection: &Connection, key_file: &KeyFile) -> Result<ChainReport, Fault> {
    connection.execute_batch("BEGIN")?;
    let mut chains = Chains::default();
    chains.walk_records(connection)?;
    chains.compare_heads(connection, key_file)?;
    chains.compare_batches(connection)?;
    connection.execute_batch("COMMIT")?;
    Ok(ChainReport {
        records: chains.records,
        chains: chains.ends.len() as u64,
        breaks: chains.breaks,
    })
}

#[derive(Default)]
struct Chains {
    records: u64,
    /// Where each chain ends: its last sequence number and hash.
    ends: BTreeMap<ChainName, (i64, Vec<u8>)>,
    broken: BTreeSet<ChainName>,
    breaks: Vec<ChainBreak>,
    /// Per node: the hash of each sealed batch, and the last batch that was removed in its time.
    sealed_batches: BTreeMap<String, BTreeMap<i64, String>>,
    removed_through: BTreeMap<String, i64>,
}

/// One row of the audit log, every type still doubted.
struct StoredRecord {
    position: i64,
    node: String,
    lane: i64,
    sequence: i64,
    action: String,
    subject: String,
    body: String,
    previous_hash: Vec<u8>,
    hash: Vec<u8>,
}

impl Chains {
    fn walk_records(&mut self, connection: &Connection) -> Result<(), Fault> {
        let sql = "SELECT position, node, lane, sequence, action, subject, body, previous_hash, hash FROM audit_records
                   ORDER BY node, lane, sequence";
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let record = stored_record(row)?;
            self.records += 1;
            self.check(&record);
            self.ends
                .insert((record.node, record.lane), (record.sequence, record.hash));
        }
        Ok(())
    }

    fn check(&mut self, record: &StoredRecord) {
        let name = (record.node.clone(), record.lane);
        let (sequence, hash) = match self.ends.get(&name) {
            Some((sequence, hash)) => (*sequence, hash.as_slice()),
            None => (0, [0; 32].as_slice()),
        };
        let content = Content {
            position: record.position,
            node: &record.node,
            lane: record.lane,
            sequence: record.sequence,
            action: &record.action,
            subject: &record.subject,
            body: &record.body,
            previous_hash: &record.previous_hash,
        };
        if record.sequence != sequence.saturating_add(1) {
            self.broken(name, sequence.saturating_add(1), ChainFault::Missing);
        } else if record.previous_hash != hash {
            self.broken(name, record.sequence, ChainFault::PredecessorDiffers);
        } else if record.hash != content.hash() {
            self.broken(name, record.sequence, ChainFault::ContentDiffers);
        } else {
            self.note_batches(record);
        }
    }

    /// Remembers what an intact record says about batches of issued tokens.
    fn note_batches(&mut self, record: &StoredRecord) {
        let is_about_batches = record.action == RECORDED || record.action == REMOVED;
        let Some(details) = is_about_batches
            .then(|| serde_json::from_str::<Body>(&record.body).ok()?.details)
            .flatten()
        else {
            return;
        };
        if record.action == RECORDED {
            let sha256 = details["sha256"].as_str().unwrap_or_default().to_owned();
            self.sealed_batches
                .entry(record.node.clone())
                .or_default()
                .insert(record.sequence, sha256);
        } else if let (Some(node), Some(through)) = (details["node"].as_str(), details["through"].as_i64()) {
            let removed = self.removed_through.entry(node.to_owned()).or_insert(0);
            *removed = through.max(*removed);
        }
    }

    /// Every chain ends at its head, every head has its chain, and the heads are the ones we sealed.
    fn compare_heads(&mut self, connection: &Connection, key_file: &KeyFile) -> Result<(), Fault> {
        let mut ends = self.ends.clone();
        let heads = all(
            connection,
            "SELECT node, lane, sequence, hash FROM audit_heads",
            [],
            |row| {
                let name: ChainName = (row.get(0)?, row.get(1)?);
                Ok((name, row.get::<_, i64>(2)?, row.get::<_, Vec<u8>>(3)?))
            },
        )?;
        for (name, sequence, hash) in heads {
            if ends.remove(&name) != Some((sequence, hash)) {
                self.broken(name, sequence, ChainFault::HeadDiffers);
            }
        }
        for (name, (sequence, _)) in ends {
            self.broken(name, sequence, ChainFault::HeadDiffers);
        }
        if !heads_are_sealed(connection, key_file)? {
            let sequence = self.ends.values().map(|(sequence, _)| *sequence).max().unwrap_or(0);
            self.broken((String::new(), 0), sequence, ChainFault::SealDiffers);
        }
        Ok(())
    }

    /// Every sealed batch is there, unless it was removed in its time, and says what it said; and there is no other.
    fn compare_batches(&mut self, connection: &Connection) -> Result<(), Fault> {
        let lane = super::chain::lane_number(crate::Lane::IssuedTokens);
        let mut sealed = std::mem::take(&mut self.sealed_batches);
        let mut statement =
            connection.prepare("SELECT node, sequence, tokens, not_recorded, at FROM issued_token_batches")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (node, sequence): (String, i64) = (row.get(0)?, row.get(1)?);
            let tokens = row
                .get_ref(2)?
                .as_str()
                .map_err(|error| Fault::corrupt("batch of issued tokens", error))?;
            let hash = hex(&batch_hash(tokens, row.get(3)?, row.get(4)?));
            if sealed.get_mut(&node).and_then(|batches| batches.remove(&sequence)) != Some(hash) {
                self.broken((node, lane), sequence, ChainFault::BatchDiffers);
            }
        }
        for (node, batches) in sealed {
            let removed = self.removed_through.get(&node).copied().unwrap_or(0);
            if let Some(sequence) = batches.keys().find(|sequence| **sequence > removed) {
                self.broken((node, lane), *sequence, ChainFault::BatchDiffers);
            }
        }
        Ok(())
    }

    /// Notes the first break of each chain: what follows a break is broken too, and says nothing more.
    fn broken(&mut self, name: ChainName, sequence: i64, fault: ChainFault) {
        if self.broken.insert(name.clone()) {
            let (node, lane) = name;
            self.breaks.push(ChainBreak {
                node,
                lane,
                sequence,
                fault,
            });
        }
    }
}

fn stored_record(row: &Row<'_>) -> Result<StoredRecord, Fault> {
    Ok(StoredRecord {
        position: row.get(0)?,
        node: row.get(1)?,
        lane: row.get(2)?,
        sequence: row.get(3)?,
        action: row.get(4)?,
        subject: row.get(5)?,
        body: row.get(6)?,
        previous_hash: row.get(7)?,
        hash: row.get(8)?,
    })
}
