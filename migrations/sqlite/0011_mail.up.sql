ALTER TABLE users ADD COLUMN must_change_password INTEGER NOT NULL DEFAULT FALSE;

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Part of the mail's Message-ID, the same in every attempt.
    message_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    -- In lower case.
    recipient TEXT NOT NULL,
    -- What the mail says; taken away when it is done with. Links are made when it is sent.
    letter TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    -- Who sends it moves this ahead, so that nobody else does meanwhile.
    next_attempt_at TEXT NOT NULL,
    created_at TEXT NOT NULL,
    done_at TEXT,
    -- sent, failed or dropped.
    result TEXT,
    last_error TEXT
) STRICT;
CREATE INDEX outbox_waiting ON outbox (next_attempt_at, id) WHERE done_at IS NULL;
CREATE INDEX outbox_done ON outbox (done_at, id) WHERE done_at IS NOT NULL;
CREATE INDEX outbox_recipient ON outbox (recipient, kind, created_at);

CREATE TABLE mail_tokens (
    -- SHA-256, in hexadecimal: the token itself is in the mail alone.
    hash TEXT NOT NULL PRIMARY KEY,
    purpose TEXT NOT NULL,
    user_id INTEGER NOT NULL REFERENCES users (id),
    -- The address it was sent to, in lower case: it is good for no other.
    email TEXT NOT NULL,
    -- The mail it is in. No reference: that row goes earlier.
    outbox_id INTEGER NOT NULL,
    expires_at TEXT NOT NULL
) STRICT;
CREATE INDEX mail_tokens_user ON mail_tokens (user_id, purpose);
CREATE INDEX mail_tokens_expiry ON mail_tokens (expires_at);
