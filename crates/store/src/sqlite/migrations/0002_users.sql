-- Users of the local directory. failures counts attempts since the last success, the one under way included.

CREATE TABLE users (
    name           TEXT PRIMARY KEY,
    subject        TEXT NOT NULL UNIQUE,
    password_hash  TEXT NOT NULL,
    user_code_hash TEXT,
    claims         TEXT NOT NULL,
    is_disabled    INTEGER NOT NULL,
    failures       INTEGER NOT NULL DEFAULT 0,
    failed_at      INTEGER,
    locked_until   INTEGER,
    version        INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO counters (name, value) VALUES ('user_version', 0);
