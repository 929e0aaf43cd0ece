//! [`ApprovalRequests`] on SQLite.

use std::sync::Arc;
use std::time::Duration;

use keybound_protocol::client::ClientId;
use keybound_protocol::digest::hex;
use keybound_protocol::grant_id::GrantId;
use keybound_protocol::time::Timestamp;
use keybound_protocol::user::UserSubject;
use rusqlite::{Connection, Row};
use serde_json::json;

use super::Database;
use super::batch::Batch;
use super::fault::Fault;
use super::rows::{
    all, change, client_id, counter, hash, next, one, optional_hash, optional_text, optional_timestamp, page, stored,
    timestamp, unsigned,
};
use super::{access_tokens, grants, refresh_tokens, users};
use crate::approval_requests::{INTERVAL_MAX, SLOW_DOWN, is_too_early};
use crate::key_file::KeyFile;
use crate::{
    Answer, ApprovalChannel, ApprovalDecision, ApprovalRedemption, ApprovalRequestHash, ApprovalRequests,
    ApprovalState, AuditEntry, CreateApprovalRequest, DecideApprovalRequest, NewApprovalRequest, NotificationSecret,
    PollApprovalRequest, RedeemApprovalRequest, StoreError, StoredApprovalRequest, UserCodeHash,
};

const WHAT: &str = "approval request";

/// The columns of a request of this epoch, for every statement that reads one: [`found`] reads them.
macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT hash, client_id, user_code_hash, subject, sealed_token, request, state, grant_id, interval_secs,
                    last_polled_at, created_at, expires_at
             FROM approval_requests WHERE epoch = (SELECT value FROM counters WHERE name = 'epoch') AND ",
            $condition
        )
    };
}

/// A row: the request, and what the caller is not shown of it.
struct Found {
    stored: StoredApprovalRequest,
    grant_id: Option<GrantId>,
    last_polled_at: Option<Timestamp>,
}

impl ApprovalRequests for Database {
    fn create_approval_request(
        &self,
        request: NewApprovalRequest,
        of_user_max: u32,
        entry: AuditEntry,
    ) -> Answer<CreateApprovalRequest> {
        let (key_file, rows_max) = (Arc::clone(&self.key_file), self.limits.approval_requests_max);
        self.writer.submit(move |batch| {
            if counter(batch.connection, "approval_requests")? >= rows_max {
                return Ok(CreateApprovalRequest::TooMany);
            }
            if let ApprovalChannel::Backchannel { subject, .. } = &request.channel
                && waiting_of(batch.connection, subject, entry.at)? >= u64::from(of_user_max)
            {
                return Ok(CreateApprovalRequest::TooManyOfUser);
            }
            create(batch, &request, &key_file, &entry)
        })
    }

    fn find_approval_request(&self, hash: &ApprovalRequestHash) -> Result<Option<StoredApprovalRequest>, StoreError> {
        self.readers.read(|connection| {
            let found = find(connection, &self.key_file, hash)?;
            Ok(found.map(|found| found.stored))
        })
    }

    fn find_approval_request_by_user_code(
        &self,
        user_code: &UserCodeHash,
    ) -> Result<Option<StoredApprovalRequest>, StoreError> {
        self.readers.read(|connection| {
            let sql = select!("user_code_hash = ?1");
            let read = |row: &Row<'_>| found(row, &self.key_file);
            let found = one(connection, sql, [user_code.as_bytes()], read)?;
            Ok(found.map(|found| found.stored))
        })
    }

    fn approval_requests_of(
        &self,
        subject: UserSubject,
        now: Timestamp,
        limit: u16,
    ) -> Answer<Vec<StoredApprovalRequest>> {
        let key_file = Arc::clone(&self.key_file);
        self.scanner.submit(move |connection| {
            let sql = select!("subject = ?1 AND state = 'pending' AND expires_at > ?2 ORDER BY created_at LIMIT ?3");
            let params = (subject.as_str(), now.unix_secs(), stored(page(limit) as u64));
            all(connection, sql, params, |row| Ok(found(row, &key_file)?.stored))
        })
    }

    fn decide_approval_request(
        &self,
        hash: ApprovalRequestHash,
        decision: ApprovalDecision,
        entry: AuditEntry,
    ) -> Answer<DecideApprovalRequest> {
        let key_file = Arc::clone(&self.key_file);
        self.writer
            .submit(move |batch| decide(batch, &key_file, &hash, &decision, &entry))
    }

    fn poll_approval_request(
        &self,
        hash: ApprovalRequestHash,
        client_id: ClientId,
        now: Timestamp,
    ) -> Answer<PollApprovalRequest> {
        let key_file = Arc::clone(&self.key_file);
        self.writer
            .submit(move |batch| poll(batch, &key_file, &hash, &client_id, now))
    }

    fn redeem_approval_request(
        &self,
        redemption: ApprovalRedemption,
        entry: AuditEntry,
    ) -> Answer<RedeemApprovalRequest> {
        let key_file = Arc::clone(&self.key_file);
        self.writer
            .submit(move |batch| redeem(batch, &key_file, &redemption, &entry))
    }
}

/// How many requests wait for this user's decision. Bounded by what this is compared with.
fn waiting_of(connection: &Connection, subject: &UserSubject, now: Timestamp) -> Result<u64, Fault> {
    let sql = "SELECT count(*) FROM approval_requests
               WHERE subject = ?1 AND state = 'pending' AND expires_at > ?2
                 AND epoch = (SELECT value FROM counters WHERE name = 'epoch')";
    let count = one(connection, sql, (subject.as_str(), now.unix_secs()), |row| {
        unsigned(row, 0, WHAT)
    })?;
    Ok(count.unwrap_or_default())
}

fn create(
    batch: &mut Batch<'_>,
    request: &NewApprovalRequest,
    key_file: &KeyFile,
    entry: &AuditEntry,
) -> Result<CreateApprovalRequest, Fault> {
    let (user_code, subject, token) = match &request.channel {
        ApprovalChannel::Device { user_code } => (Some(user_code.as_bytes()), None, None),
        ApprovalChannel::Backchannel { subject, notification } => (None, Some(subject.as_str()), notification.as_ref()),
    };
    let sealed = token
        .map(|token| key_file.seal(token.expose().as_bytes(), &label(&request.hash)))
        .transpose()
        .map_err(|error| Fault::unwritable(WHAT, error))?;
    let sql = "INSERT INTO approval_requests
                   (hash, client_id, user_code_hash, subject, sealed_token, request, state, interval_secs, created_at,
                    expires_at, epoch)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'pending', ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING";
    let params = (
        request.hash.as_bytes(),
        request.client_id.as_str(),
        user_code,
        subject,
        sealed,
        &request.request,
        stored(request.interval.as_secs()),
        entry.at.unix_secs(),
        request.expires_at.unix_secs(),
        stored(counter(batch.connection, "epoch")?),
    );
    if change(batch.connection, sql, params)? == 0 {
        return Ok(CreateApprovalRequest::AlreadyExists);
    }
    next(batch.connection, "approval_requests")?;
    let details = json!({ "sub": subject, "exp": request.expires_at });
    batch.record(
        entry,
        "approval_request.created",
        request.client_id.as_str(),
        Some(details),
    )?;
    Ok(CreateApprovalRequest::Created)
}

fn decide(
    batch: &mut Batch<'_>,
    key_file: &KeyFile,
    hash: &ApprovalRequestHash,
    decision: &ApprovalDecision,
    entry: &AuditEntry,
) -> Result<DecideApprovalRequest, Fault> {
    let Some(Found { stored: found, .. }) = find(batch.connection, key_file, hash)? else {
        return Ok(DecideApprovalRequest::Unknown);
    };
    if found.state != ApprovalState::Pending {
        return Ok(DecideApprovalRequest::AlreadyDecided);
    }
    if entry.at >= found.request.expires_at {
        return Ok(DecideApprovalRequest::Expired);
    }
    let (state, grant_id) = match decision {
        ApprovalDecision::Approved(grant) => {
            let is_theirs = match &found.request.channel {
                ApprovalChannel::Device { .. } => true,
                ApprovalChannel::Backchannel { subject, .. } => *subject == grant.subject,
            };
            if !is_theirs || grant.client_id != found.request.client_id {
                return Ok(DecideApprovalRequest::OfAnother);
            }
            if !users::may_act(batch.connection, &grant.subject)? {
                return Ok(DecideApprovalRequest::UserBarred);
            }
            grants::insert(batch, grant, entry)?;
            ("approved", Some(grant.grant_id.as_str()))
        }
        ApprovalDecision::Denied => ("denied", None),
    };
    let sql = "UPDATE approval_requests SET state = ?2, grant_id = ?3 WHERE hash = ?1";
    change(batch.connection, sql, (hash.as_bytes(), state, grant_id))?;
    let details = json!({ "state": state, "grant_id": grant_id });
    let client_id = found.request.client_id.as_str();
    batch.record(entry, "approval_request.decided", client_id, Some(details))?;
    Ok(DecideApprovalRequest::Decided)
}

fn poll(
    batch: &mut Batch<'_>,
    key_file: &KeyFile,
    hash: &ApprovalRequestHash,
    client_id: &ClientId,
    now: Timestamp,
) -> Result<PollApprovalRequest, Fault> {
    let found = find(batch.connection, key_file, hash)?;
    let Some(Found {
        stored: request,
        grant_id,
        last_polled_at,
    }) = found.filter(|found| found.stored.request.client_id == *client_id)
    else {
        return Ok(PollApprovalRequest::Unknown);
    };
    match request.state {
        ApprovalState::Spent => return Ok(PollApprovalRequest::Spent),
        ApprovalState::Denied => return Ok(PollApprovalRequest::Denied),
        _ if now >= request.request.expires_at => return Ok(PollApprovalRequest::Expired),
        ApprovalState::Approved => {
            let grant = grant_id
                .map(|grant_id| grants::find(batch.connection, &grant_id))
                .transpose()?;
            return Ok(match grant.flatten() {
                Some(grant) if grants::is_live(&grant, now) => PollApprovalRequest::Approved(Box::new(grant)),
                // Withdrawn before it was used.
                _ => PollApprovalRequest::Denied,
            });
        }
        ApprovalState::Pending => {}
    }
    let interval = request.request.interval;
    let is_early = last_polled_at.is_some_and(|before| is_too_early(before, now, interval));
    if is_early && interval >= INTERVAL_MAX {
        return Ok(PollApprovalRequest::SlowDown);
    }
    let interval = if is_early {
        INTERVAL_MAX.min(interval + SLOW_DOWN)
    } else {
        interval
    };
    let sql = "UPDATE approval_requests SET last_polled_at = ?2, interval_secs = ?3 WHERE hash = ?1";
    let params = (hash.as_bytes(), now.unix_secs(), stored(interval.as_secs()));
    change(batch.connection, sql, params)?;
    Ok(if is_early {
        PollApprovalRequest::SlowDown
    } else {
        PollApprovalRequest::Pending
    })
}

fn redeem(
    batch: &mut Batch<'_>,
    key_file: &KeyFile,
    redemption: &ApprovalRedemption,
    entry: &AuditEntry,
) -> Result<RedeemApprovalRequest, Fault> {
    let Some(found) = find(batch.connection, key_file, &redemption.hash)? else {
        return Ok(RedeemApprovalRequest::Unknown);
    };
    let grant_id = match (found.stored.state, found.grant_id) {
        (ApprovalState::Spent, _) => return Ok(RedeemApprovalRequest::AlreadySpent),
        (ApprovalState::Pending | ApprovalState::Approved, _) if entry.at >= found.stored.request.expires_at => {
            return Ok(RedeemApprovalRequest::Expired);
        }
        (ApprovalState::Approved, Some(grant_id)) => grant_id,
        _ => return Ok(RedeemApprovalRequest::NotApproved),
    };
    let grant = grants::find(batch.connection, &grant_id)?;
    if !grant.is_some_and(|grant| grants::is_live(&grant, entry.at)) {
        return Ok(RedeemApprovalRequest::NotApproved);
    }
    let sql = "UPDATE approval_requests SET state = 'spent', first_token_id = ?2, sealed_token = NULL WHERE hash = ?1";
    change(
        batch.connection,
        sql,
        (redemption.hash.as_bytes(), &redemption.first_token_id),
    )?;
    if let Some(refresh) = &redemption.refresh {
        refresh_tokens::insert(batch, &grant_id, refresh, entry)?;
    }
    access_tokens::record_with(batch, redemption.opaque.as_ref(), entry)?;
    let details = json!({
        "client_id": found.stored.request.client_id,
        "jti": redemption.first_token_id,
        "refresh_token": redemption.refresh.is_some(),
    });
    batch.record(entry, "approval_request.redeemed", grant_id.as_str(), Some(details))?;
    Ok(RedeemApprovalRequest::Redeemed)
}

fn find(connection: &Connection, key_file: &KeyFile, hash: &ApprovalRequestHash) -> Result<Option<Found>, Fault> {
    one(connection, select!("hash = ?1"), [hash.as_bytes()], |row| {
        found(row, key_file)
    })
}

fn found(row: &Row<'_>, key_file: &KeyFile) -> Result<Found, Fault> {
    let own = ApprovalRequestHash::from_bytes(hash(row, 0)?);
    let channel = match (optional_hash(row, 2)?, optional_text(row, 3, WHAT)?) {
        (Some(user_code), None) => ApprovalChannel::Device {
            user_code: UserCodeHash::from_bytes(user_code),
        },
        (None, Some(subject)) => ApprovalChannel::Backchannel {
            subject,
            notification: notification(row, key_file, &own)?,
        },
        _ => return Err(Fault::corrupt(WHAT, "it is neither of a device nor for a user")),
    };
    let state: String = row.get(6)?;
    let state = match state.as_str() {
        "pending" => ApprovalState::Pending,
        "approved" => ApprovalState::Approved,
        "denied" => ApprovalState::Denied,
        "spent" => ApprovalState::Spent,
        other => return Err(Fault::corrupt(WHAT, format_args!("its state is {other:?}"))),
    };
    let stored = StoredApprovalRequest {
        request: NewApprovalRequest {
            hash: own,
            client_id: client_id(row, 1, WHAT)?,
            channel,
            request: row.get(5)?,
            interval: Duration::from_secs(unsigned(row, 8, WHAT)?),
            expires_at: timestamp(row, 11)?,
        },
        state,
        created_at: timestamp(row, 10)?,
    };
    Ok(Found {
        stored,
        grant_id: optional_text(row, 7, WHAT)?,
        last_polled_at: optional_timestamp(row, 9)?,
    })
}

fn notification(
    row: &Row<'_>,
    key_file: &KeyFile,
    hash: &ApprovalRequestHash,
) -> Result<Option<NotificationSecret>, Fault> {
    let sealed: Option<Vec<u8>> = row.get(4)?;
    let Some(sealed) = sealed else { return Ok(None) };
    let token = key_file
        .unseal(&sealed, &label(hash))
        .map_err(|error| Fault::corrupt(WHAT, error))?;
    let token = std::str::from_utf8(&token).map_err(|error| Fault::corrupt(WHAT, error))?;
    Ok(Some(NotificationSecret::new(token)))
}

/// A sealed token opens only as that of its request: rows can't be exchanged.
fn label(hash: &ApprovalRequestHash) -> Vec<u8> {
    format!("client_notification {}", hex(hash.as_bytes())).into_bytes()
}
