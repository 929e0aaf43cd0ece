-- Attempts to know a user's code of CIBA, counted as those at the password are and apart from them.

ALTER TABLE users ADD COLUMN user_code_failures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN user_code_failed_at INTEGER;
ALTER TABLE users ADD COLUMN user_code_locked_until INTEGER;
