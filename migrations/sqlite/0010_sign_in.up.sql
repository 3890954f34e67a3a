-- The refresh token before the current one: a client that sent it twice at once is told from a thief.
ALTER TABLE sessions ADD COLUMN previous_jti TEXT;
ALTER TABLE sessions ADD COLUMN rotated_at TEXT;
-- When it ends at the latest, however often it is renewed.
ALTER TABLE sessions ADD COLUMN ends_at TEXT;
UPDATE sessions SET ends_at = expires_at;
DROP INDEX sessions_user;
CREATE INDEX sessions_user ON sessions (user_id, last_seen_at, id) WHERE revoked_at IS NULL;
CREATE INDEX sessions_revoked ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;

-- The name after Unicode normalisation and case folding, by which it is looked up; the program fills in those that no
-- database can fold.
ALTER TABLE users ADD COLUMN username_key TEXT;
UPDATE users SET username_key = username WHERE username NOT GLOB '*[^a-z0-9]*';
CREATE UNIQUE INDEX users_username_key_live ON users (username_key) WHERE deleted_at IS NULL;
CREATE INDEX users_username_unfolded ON users (id) WHERE username_key IS NULL;
-- Signing in is refused until then, but from where the user has signed in before.
ALTER TABLE users ADD COLUMN locked_until TEXT;
-- Failures before this moment are forgotten.
ALTER TABLE users ADD COLUMN unlocked_at TEXT;

-- Failed sign-ins are counted in memory.
DROP TABLE login_attempts;
