-- What is kept of clients' secrets (SHA-256), and of clients that registered themselves (RFC 7591).
ALTER TABLE clients ADD COLUMN secret_hash BLOB;

-- token_hash is SHA-256 of the registration access token; policy is the name of the initial access token it was made with.
CREATE TABLE registrations (
    client_id          TEXT PRIMARY KEY,
    token_hash         BLOB NOT NULL,
    policy             TEXT NOT NULL,
    software_statement TEXT
) STRICT, WITHOUT ROWID;

-- How many registered clients there are: 'all', and 'policy:' with a name. Quotas read one row each.
CREATE TABLE registration_counts (
    name  TEXT PRIMARY KEY,
    count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How many registrations an address made in an hour (Unix seconds / 3600).
CREATE TABLE registration_hours (
    address TEXT NOT NULL,
    hour    INTEGER NOT NULL,
    count   INTEGER NOT NULL,
    PRIMARY KEY (address, hour)
) STRICT, WITHOUT ROWID;
CREATE INDEX registration_hours_by_hour ON registration_hours (hour);
