CREATE TABLE login_attempts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- What was typed, in lower case: an attempt counts whether or not the account exists.
    login TEXT NOT NULL,
    ip TEXT,
    success INTEGER NOT NULL,
    at TEXT NOT NULL
) STRICT;
CREATE INDEX login_attempts_login ON login_attempts (login, at);
CREATE INDEX login_attempts_at ON login_attempts (at);

ALTER TABLE users DROP COLUMN unlocked_at;
ALTER TABLE users DROP COLUMN locked_until;
DROP INDEX users_username_unfolded;
DROP INDEX users_username_key_live;
ALTER TABLE users DROP COLUMN username_key;

DROP INDEX sessions_revoked;
DROP INDEX sessions_user;
CREATE INDEX sessions_user ON sessions (user_id);
ALTER TABLE sessions DROP COLUMN ends_at;
ALTER TABLE sessions DROP COLUMN rotated_at;
ALTER TABLE sessions DROP COLUMN previous_jti;
