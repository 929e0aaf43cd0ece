//! Records issued JWT access tokens in batches.

use std::sync::Arc;

use keybound_protocol::time::Timestamp;

use crate::recorder::{Recorder, RecorderLimits};
use crate::{Actor, Answer, AuditEntry, IssuedToken, IssuedTokens, StoreError};

/// Where a server puts the JWT access tokens it issues. Recording never waits for the database.
///
/// Between [`start`](IssuedTokenRecorder::start) and [`close`](IssuedTokenRecorder::close) a crash may lose the last
/// batch; the next start notices the missing close and says so in the audit log.
pub struct IssuedTokenRecorder {
    recorder: Recorder<IssuedToken>,
    issued_tokens: Arc<dyn IssuedTokens>,
}

impl IssuedTokenRecorder {
    /// Starts recording, and marks the start of this run in the audit log.
    ///
    /// # Errors
    /// If the database does not answer or no thread can be started.
    pub async fn start(
        issued_tokens: Arc<dyn IssuedTokens>,
        limits: RecorderLimits,
        now: Timestamp,
    ) -> Result<IssuedTokenRecorder, StoreError> {
        let is_interrupted = issued_tokens
            .open_issued_tokens(AuditEntry::new(now, Actor::Server))
            .await?;
        if is_interrupted {
            tracing::warn!(
                "the last run ended without a clean stop: its last second of issued tokens may not be on record"
            );
        }
        let into = Arc::clone(&issued_tokens);
        let write = move |tokens: &[IssuedToken], not_recorded: u64| -> Answer<()> {
            // The batch is as old as its newest token; one that is nothing but a count has no time of its own.
            let at = tokens.last().map_or(now, |token| token.issued_at);
            into.append_issued_tokens(tokens, not_recorded, AuditEntry::new(at, Actor::Server))
        };
        let recorder =
            Recorder::start("store-issued", limits, Box::new(write)).map_err(|error| StoreError::Unavailable {
                reason: format!("no thread could be started: {error}"),
            })?;
        Ok(IssuedTokenRecorder {
            recorder,
            issued_tokens,
        })
    }

    /// Records a token. False if the buffer is full, because the database is slow or away: then it is only counted.
    pub fn record(&self, token: IssuedToken) -> bool {
        self.recorder.push(token)
    }

    /// Returns once everything recorded before this call is durable.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.recorder.flush().await
    }

    /// Writes what is left and marks the end of this run: the last thing a server does with it.
    ///
    /// # Errors
    /// If something could not be written; then the next start will say that there may be a gap.
    pub async fn close(&self, now: Timestamp) -> Result<(), StoreError> {
        self.recorder.flush().await?;
        self.issued_tokens
            .close_issued_tokens(AuditEntry::new(now, Actor::Server))
            .await
    }
}

impl std::fmt::Debug for IssuedTokenRecorder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("IssuedTokenRecorder")
    }
}
