//! [`Interactions`] on SQLite.

use keybound_protocol::user::UserSubject;
use rusqlite::{Connection, Row};
use serde_json::json;

use super::Database;
use super::batch::Batch;
use super::fault::Fault;
use super::rows::{
    change, client_id, counter, hash, next, one, optional_hash, optional_subject, optional_timestamp, stored, timestamp,
};
use super::{authorization_codes, grants, pushed_requests, user_sessions, users};
use crate::{
    Answer, AuditEntry, BeginInteraction, BrowserSecretHash, CompleteInteraction, InteractionHash, InteractionOutcome,
    Interactions, NewInteraction, RequestUriHash, SignInToInteraction, SignedIn, StoreError, StoredInteraction,
    UserSessionStart,
};

const WHAT: &str = "interaction";

const FIND: &str = "
    SELECT browser, client_id, request, pushed, subject, auth_time, acr, expires_at, completed_at IS NOT NULL
    FROM interactions WHERE hash = ?1 AND epoch = (SELECT value FROM counters WHERE name = 'epoch')";

impl Interactions for Database {
    fn begin_interaction(&self, interaction: NewInteraction) -> Answer<BeginInteraction> {
        let interactions_max = self.limits.interactions_max;
        self.writer
            .submit(move |batch| begin(batch, &interaction, interactions_max))
    }

    fn find_interaction(&self, hash: &InteractionHash) -> Result<Option<StoredInteraction>, StoreError> {
        self.readers.read(|connection| find(connection, hash))
    }

    fn sign_in_to_interaction(
        &self,
        hash: InteractionHash,
        signed_in: SignedIn,
        session: Option<UserSessionStart>,
        entry: AuditEntry,
    ) -> Answer<SignInToInteraction> {
        self.writer
            .submit(move |batch| sign_in(batch, &hash, &signed_in, session.as_ref(), &entry))
    }

    fn complete_interaction(
        &self,
        hash: InteractionHash,
        outcome: InteractionOutcome,
        entry: AuditEntry,
    ) -> Answer<CompleteInteraction> {
        self.writer
            .submit(move |batch| complete(batch, &hash, &outcome, &entry))
    }
}

fn begin(
    batch: &mut Batch<'_>,
    interaction: &NewInteraction,
    interactions_max: u64,
) -> Result<BeginInteraction, Fault> {
    if counter(batch.connection, "interactions")? >= interactions_max {
        return Ok(BeginInteraction::TooMany);
    }
    if let Some(pushed) = &interaction.pushed
        && !pushed_requests::may_open(batch, pushed)?
    {
        return Ok(BeginInteraction::RequestUriUsedUp);
    }
    let sql = "INSERT INTO interactions
                   (hash, browser, client_id, request, pushed, subject, auth_time, acr, expires_at, epoch)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING";
    let signed_in = interaction.signed_in.as_ref();
    let params = (
        interaction.hash.as_bytes(),
        interaction.browser.as_bytes(),
        interaction.client_id.as_str(),
        &interaction.request,
        interaction.pushed.as_ref().map(RequestUriHash::as_bytes),
        signed_in.map(|signed_in| signed_in.subject.as_str()),
        signed_in.map(|signed_in| signed_in.auth_time.unix_secs()),
        signed_in.and_then(|signed_in| signed_in.acr.as_deref()),
        interaction.expires_at.unix_secs(),
        stored(counter(batch.connection, "epoch")?),
    );
    if change(batch.connection, sql, params)? == 0 {
        return Ok(BeginInteraction::AlreadyBegun);
    }
    if let Some(pushed) = &interaction.pushed {
        pushed_requests::count_opened(batch, pushed)?;
    }
    next(batch.connection, "interactions")?;
    Ok(BeginInteraction::Begun)
}

fn find(connection: &Connection, hash: &InteractionHash) -> Result<Option<StoredInteraction>, Fault> {
    one(connection, FIND, [hash.as_bytes()], |row| {
        stored_interaction(row, *hash)
    })
}

fn sign_in(
    batch: &mut Batch<'_>,
    hash: &InteractionHash,
    signed_in: &SignedIn,
    session: Option<&UserSessionStart>,
    entry: &AuditEntry,
) -> Result<SignInToInteraction, Fault> {
    let Some(found) = find(batch.connection, hash)? else {
        return Ok(SignInToInteraction::Unknown);
    };
    if found.is_completed {
        return Ok(SignInToInteraction::AlreadyCompleted);
    }
    if entry.at >= found.interaction.expires_at {
        return Ok(SignInToInteraction::Expired);
    }
    if !users::may_act(batch.connection, &signed_in.subject)? {
        return Ok(SignInToInteraction::UserBarred);
    }
    let sql = "UPDATE interactions SET subject = ?2, auth_time = ?3, acr = ?4 WHERE hash = ?1";
    let params = (
        hash.as_bytes(),
        signed_in.subject.as_str(),
        signed_in.auth_time.unix_secs(),
        signed_in.acr.as_deref(),
    );
    change(batch.connection, sql, params)?;
    if let Some(start) = session {
        user_sessions::end_replaced(batch, start, entry)?;
        if !user_sessions::insert(batch, &start.session)? {
            return Err(Fault::unwritable(WHAT, "the cookie of its session came twice"));
        }
    }
    let details = json!({ "client_id": found.interaction.client_id, "session": session.is_some() });
    batch.record(
        entry,
        "interaction.signed_in",
        signed_in.subject.as_str(),
        Some(details),
    )?;
    Ok(SignInToInteraction::SignedIn)
}

fn complete(
    batch: &mut Batch<'_>,
    hash: &InteractionHash,
    outcome: &InteractionOutcome,
    entry: &AuditEntry,
) -> Result<CompleteInteraction, Fault> {
    let Some(StoredInteraction {
        interaction,
        is_completed,
    }) = find(batch.connection, hash)?
    else {
        return Ok(CompleteInteraction::Unknown);
    };
    if is_completed {
        return Ok(CompleteInteraction::AlreadyCompleted);
    }
    if entry.at >= interaction.expires_at {
        return Ok(CompleteInteraction::Expired);
    }
    let subject = interaction.signed_in.as_ref().map(|signed_in| &signed_in.subject);
    // Before the sign-in is looked at, which being disabled has ended.
    if let InteractionOutcome::Granted { grant, .. } = outcome
        && !users::may_act(batch.connection, &grant.subject)?
    {
        return Ok(CompleteInteraction::UserBarred);
    }
    if let InteractionOutcome::Granted { grant, .. } = outcome
        && (subject != Some(&grant.subject) || grant.client_id != interaction.client_id)
    {
        return Ok(CompleteInteraction::NotSignedIn);
    }
    if let Some(pushed) = &interaction.pushed
        && !pushed_requests::spend(batch, pushed, entry.at)?
    {
        return Ok(CompleteInteraction::RequestUriSpent);
    }
    let sql = "UPDATE interactions SET completed_at = ?2 WHERE hash = ?1";
    change(batch.connection, sql, (hash.as_bytes(), entry.at.unix_secs()))?;
    match outcome {
        InteractionOutcome::Granted { grant, code } => {
            grants::insert(batch, grant, entry)?;
            authorization_codes::insert(batch, grant.grant_id.as_str(), code)?;
        }
        InteractionOutcome::Denied => {
            let details = json!({ "sub": subject.map(UserSubject::as_str) });
            batch.record(
                entry,
                "interaction.denied",
                interaction.client_id.as_str(),
                Some(details),
            )?;
        }
    }
    Ok(CompleteInteraction::Completed)
}

fn stored_interaction(row: &Row<'_>, own: InteractionHash) -> Result<StoredInteraction, Fault> {
    let subject: Option<UserSubject> = optional_subject(row, 4, WHAT)?;
    let signed_in = match (subject, optional_timestamp(row, 5)?) {
        (Some(subject), Some(auth_time)) => Some(SignedIn {
            subject,
            auth_time,
            acr: row.get(6)?,
        }),
        _ => None,
    };
    Ok(StoredInteraction {
        interaction: NewInteraction {
            hash: own,
            browser: BrowserSecretHash::from_bytes(hash(row, 0)?),
            client_id: client_id(row, 1, WHAT)?,
            request: row.get(2)?,
            pushed: optional_hash(row, 3)?.map(RequestUriHash::from_bytes),
            signed_in,
            expires_at: timestamp(row, 7)?,
        },
        is_completed: row.get(8)?,
    })
}
