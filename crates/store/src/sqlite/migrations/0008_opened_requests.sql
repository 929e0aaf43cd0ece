-- How often a pushed request was opened: bounded, and one that nobody has opened is forgotten as soon as it has expired.

ALTER TABLE pushed_requests ADD COLUMN interactions INTEGER NOT NULL DEFAULT 0;
CREATE INDEX pushed_requests_unopened ON pushed_requests (expires_at) WHERE interactions = 0;
