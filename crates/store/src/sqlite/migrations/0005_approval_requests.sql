-- What clients asked of users who are elsewhere (RFC 8628, CIBA Core). state: pending, approved, denied, spent.
-- user_code_hash is there for a device, subject for backchannel authentication; sealed_token is encrypted under the key file.

CREATE TABLE approval_requests (
    hash           BLOB PRIMARY KEY,
    client_id      TEXT NOT NULL,
    user_code_hash BLOB UNIQUE,
    subject        TEXT,
    sealed_token   BLOB,
    request        TEXT NOT NULL,
    state          TEXT NOT NULL,
    grant_id       TEXT,
    interval_secs  INTEGER NOT NULL,
    last_polled_at INTEGER,
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    first_token_id TEXT,
    epoch          INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX approval_requests_by_subject ON approval_requests (subject, created_at) WHERE subject IS NOT NULL;
CREATE INDEX approval_requests_by_expiry ON approval_requests (expires_at);

INSERT INTO counters (name, value) VALUES ('approval_requests', 0);
