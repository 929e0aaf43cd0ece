-- The first schema. Never edited once released: its checksum is on record in every database.
-- Times are Unix seconds; thumbprints are the text of x5t#S256.

-- Who this database is (database_id), what tells its key file from another (key_check), and audit_seal: all heads of the
-- audit chains, sealed with a key derived from the key file.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Numbers that only grow: epoch, client_version, trust_epoch, revocation_position, refusal_position.
CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO counters (name, value) VALUES
    ('epoch', 0), ('epoch_raised_at', 0), ('client_version', 0), ('trust_epoch', 0),
    ('revocation_position', 0), ('refusal_position', 0);

CREATE TABLE clients (
    client_id  TEXT PRIMARY KEY,
    metadata   TEXT NOT NULL,
    origin     TEXT NOT NULL,
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE access_tokens (
    hash       BLOB PRIMARY KEY,
    token_id   TEXT NOT NULL UNIQUE,
    client_id  TEXT NOT NULL,
    subject    TEXT NOT NULL,
    scope      TEXT NOT NULL,
    audience   TEXT NOT NULL,
    thumbprint TEXT,
    issued_at  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX access_tokens_by_expiry ON access_tokens (expires_at);

-- kind is the member of /revocations that names the subject: jti, client_id, x5t#S256, kid.
CREATE TABLE revocations (
    position      INTEGER PRIMARY KEY,
    kind          TEXT NOT NULL,
    name          TEXT NOT NULL,
    issued_before INTEGER,
    until         INTEGER NOT NULL
) STRICT;
CREATE INDEX revocations_by_subject ON revocations (kind, name);
CREATE INDEX revocations_by_until ON revocations (until);

CREATE TABLE client_assertions (
    client_id TEXT NOT NULL,
    token_id  TEXT NOT NULL,
    until     INTEGER NOT NULL,
    PRIMARY KEY (client_id, token_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX client_assertions_by_until ON client_assertions (until);

CREATE TABLE refusals (
    position   INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    at         INTEGER NOT NULL,
    client_id  TEXT,
    thumbprint TEXT,
    record     TEXT NOT NULL
) STRICT;
CREATE INDEX refusals_by_client ON refusals (client_id, position) WHERE client_id IS NOT NULL;
CREATE INDEX refusals_by_certificate ON refusals (thumbprint, position) WHERE thumbprint IS NOT NULL;
CREATE INDEX refusals_by_time ON refusals (at);

-- How many refusals a limit kept from being stored, per hour (Unix seconds / 3600).
CREATE TABLE refusals_not_stored (
    hour  INTEGER PRIMARY KEY,
    count INTEGER NOT NULL
) STRICT;

CREATE TABLE trust_anchors (
    name       TEXT PRIMARY KEY,
    definition TEXT NOT NULL,
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- sealed is the private key, encrypted under the key file; NULL once revoked.
CREATE TABLE signing_keys (
    position   INTEGER PRIMARY KEY,
    key_id     TEXT NOT NULL UNIQUE,
    algorithm  TEXT NOT NULL,
    state      TEXT NOT NULL,
    sealed     BLOB,
    public_jwk TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;

-- One row per batch; its audit record (same node, lane issued_tokens, same sequence) carries the hash of tokens.
CREATE TABLE issued_token_batches (
    node         TEXT NOT NULL,
    sequence     INTEGER NOT NULL,
    at           INTEGER NOT NULL,
    tokens       TEXT NOT NULL,
    not_recorded INTEGER NOT NULL,
    PRIMARY KEY (node, sequence)
) STRICT;
CREATE INDEX issued_token_batches_by_time ON issued_token_batches (at);

-- hash covers every other column; previous_hash is the hash of the record before it in its chain.
CREATE TABLE audit_records (
    position      INTEGER PRIMARY KEY,
    node          TEXT NOT NULL,
    lane          INTEGER NOT NULL,
    sequence      INTEGER NOT NULL,
    action        TEXT NOT NULL,
    subject       TEXT NOT NULL,
    body          TEXT NOT NULL,
    previous_hash BLOB NOT NULL,
    hash          BLOB NOT NULL,
    UNIQUE (node, lane, sequence)
) STRICT;
CREATE INDEX audit_records_by_subject ON audit_records (subject, position);
CREATE INDEX audit_records_by_action ON audit_records (action, position);

CREATE TABLE audit_heads (
    node     TEXT NOT NULL,
    lane     INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    hash     BLOB NOT NULL,
    PRIMARY KEY (node, lane)
) STRICT, WITHOUT ROWID;
