-- What users allowed, and everything that is used once on the way to a token.
-- Times are Unix seconds; hashes are SHA-256 of secrets that are stored nowhere.

CREATE TABLE grants (
    grant_id              TEXT PRIMARY KEY,
    client_id             TEXT NOT NULL,
    subject               TEXT NOT NULL,
    scope                 TEXT NOT NULL,
    resources             TEXT NOT NULL,
    authorization_details TEXT,
    claims                TEXT,
    auth_time             INTEGER,
    acr                   TEXT,
    created_at            INTEGER NOT NULL,
    expires_at            INTEGER NOT NULL,
    epoch                 INTEGER NOT NULL,
    revoked_at            INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX grants_by_subject ON grants (subject, grant_id);
CREATE INDEX grants_by_client ON grants (client_id, grant_id);
CREATE INDEX grants_by_expiry ON grants (expires_at);
CREATE INDEX grants_by_revocation ON grants (revoked_at) WHERE revoked_at IS NOT NULL;

-- Clients that were deleted: every grant to one that was given by then has ended, however many there are.
CREATE TABLE ended_clients (
    client_id TEXT PRIMARY KEY,
    ended_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX ended_clients_by_time ON ended_clients (ended_at);

CREATE TABLE authorization_codes (
    hash           BLOB PRIMARY KEY,
    grant_id       TEXT NOT NULL,
    redirect_uri   TEXT,
    code_challenge TEXT,
    nonce          TEXT,
    dpop_jkt       TEXT,
    expires_at     INTEGER NOT NULL,
    spent_at       INTEGER,
    first_token_id TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX authorization_codes_by_expiry ON authorization_codes (expires_at);

-- One row for each generation. holder: client, certificate, key, bearer.
CREATE TABLE refresh_tokens (
    hash          BLOB PRIMARY KEY,
    grant_id      TEXT NOT NULL,
    generation    INTEGER NOT NULL,
    holder        TEXT NOT NULL,
    thumbprint    TEXT,
    jkt           TEXT,
    issued_at     INTEGER NOT NULL,
    used_at       INTEGER NOT NULL,
    superseded_at INTEGER,
    idle_until    INTEGER NOT NULL,
    UNIQUE (grant_id, generation)
) STRICT, WITHOUT ROWID;
CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (idle_until);
CREATE INDEX refresh_tokens_by_certificate ON refresh_tokens (thumbprint, grant_id) WHERE thumbprint IS NOT NULL;

CREATE TABLE pushed_requests (
    hash       BLOB PRIMARY KEY,
    client_id  TEXT NOT NULL,
    request    TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    spent_at   INTEGER,
    epoch      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX pushed_requests_by_expiry ON pushed_requests (expires_at);

CREATE TABLE interactions (
    hash         BLOB PRIMARY KEY,
    browser      BLOB NOT NULL,
    client_id    TEXT NOT NULL,
    request      TEXT NOT NULL,
    pushed       BLOB,
    subject      TEXT,
    auth_time    INTEGER,
    acr          TEXT,
    expires_at   INTEGER NOT NULL,
    completed_at INTEGER,
    epoch        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX interactions_by_expiry ON interactions (expires_at);

CREATE TABLE user_sessions (
    hash       BLOB PRIMARY KEY,
    subject    TEXT NOT NULL,
    auth_time  INTEGER NOT NULL,
    acr        TEXT,
    expires_at INTEGER NOT NULL,
    idle_until INTEGER NOT NULL,
    epoch      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX user_sessions_by_subject ON user_sessions (subject);
CREATE INDEX user_sessions_by_end ON user_sessions (idle_until);

-- How many rows pushed_requests and interactions have: anybody can make them, so they are bounded, and nobody counts rows.
INSERT INTO counters (name, value) VALUES ('pushed_requests', 0), ('interactions', 0);

-- Revocations also name grants now: kind 'grant'. What users' access tokens say besides:
ALTER TABLE access_tokens ADD COLUMN authorization_details TEXT;
ALTER TABLE access_tokens ADD COLUMN auth_time INTEGER;
ALTER TABLE access_tokens ADD COLUMN acr TEXT;
