//! [`PushedRequests`] on SQLite.

use keybound_protocol::time::Timestamp;

use super::Database;
use super::batch::Batch;
use super::fault::Fault;
use super::rows::{change, client_id, counter, next, one, stored, timestamp};
use crate::interactions::INTERACTIONS_OF_REQUEST_MAX;
use crate::{Answer, PushRequest, PushedRequest, PushedRequests, RequestUriHash, StoreError, StoredPushedRequest};

const WHAT: &str = "pushed request";

impl PushedRequests for Database {
    fn push_request(&self, pushed: PushedRequest) -> Answer<PushRequest> {
        let requests_max = self.limits.pushed_requests_max;
        self.writer.submit(move |batch| push(batch, &pushed, requests_max))
    }

    fn spend_pushed_request(&self, hash: RequestUriHash, now: Timestamp) -> Answer<bool> {
        self.writer.submit(move |batch| spend(batch, &hash, now))
    }

    fn find_pushed_request(&self, hash: &RequestUriHash) -> Result<Option<StoredPushedRequest>, StoreError> {
        let sql = "SELECT client_id, request, expires_at, spent_at IS NOT NULL FROM pushed_requests
                   WHERE hash = ?1 AND epoch = (SELECT value FROM counters WHERE name = 'epoch')";
        self.readers.read(|connection| {
            one(connection, sql, [hash.as_bytes()], |row| {
                Ok(StoredPushedRequest {
                    pushed: PushedRequest {
                        hash: *hash,
                        client_id: client_id(row, 0, WHAT)?,
                        request: row.get(1)?,
                        expires_at: timestamp(row, 2)?,
                    },
                    is_spent: row.get(3)?,
                })
            })
        })
    }
}

fn push(batch: &mut Batch<'_>, pushed: &PushedRequest, requests_max: u64) -> Result<PushRequest, Fault> {
    if counter(batch.connection, "pushed_requests")? >= requests_max {
        return Ok(PushRequest::TooMany);
    }
    let sql = "INSERT INTO pushed_requests (hash, client_id, request, expires_at, epoch) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT DO NOTHING";
    let params = (
        pushed.hash.as_bytes(),
        pushed.client_id.as_str(),
        &pushed.request,
        pushed.expires_at.unix_secs(),
        stored(counter(batch.connection, "epoch")?),
    );
    if change(batch.connection, sql, params)? == 0 {
        return Ok(PushRequest::AlreadyPushed);
    }
    next(batch.connection, "pushed_requests")?;
    Ok(PushRequest::Pushed)
}

/// Whether one more interaction may begin by it.
pub(super) fn may_open(batch: &Batch<'_>, hash: &RequestUriHash) -> Result<bool, Fault> {
    let sql = "SELECT 1 FROM pushed_requests WHERE hash = ?1 AND interactions < ?2";
    let params = (hash.as_bytes(), stored(INTERACTIONS_OF_REQUEST_MAX));
    Ok(one(batch.connection, sql, params, |_| Ok(()))?.is_some())
}

/// Counts an interaction that began by it.
pub(super) fn count_opened(batch: &Batch<'_>, hash: &RequestUriHash) -> Result<(), Fault> {
    let sql = "UPDATE pushed_requests SET interactions = interactions + 1 WHERE hash = ?1";
    change(batch.connection, sql, [hash.as_bytes()])?;
    Ok(())
}

/// Spends a pushed request, also as the end of an interaction: false if somebody did before, or it is gone.
pub(super) fn spend(batch: &Batch<'_>, hash: &RequestUriHash, at: Timestamp) -> Result<bool, Fault> {
    let sql = "UPDATE pushed_requests SET spent_at = ?2 WHERE hash = ?1 AND spent_at IS NULL";
    Ok(change(batch.connection, sql, (hash.as_bytes(), at.unix_secs()))? == 1)
}
