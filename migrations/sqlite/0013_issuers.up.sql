-- Identity providers whose tokens are believed.
CREATE TABLE issuers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    issuer TEXT NOT NULL,
    spec TEXT NOT NULL,
    is_active INTEGER NOT NULL DEFAULT TRUE,
    created_at TEXT NOT NULL,
    updated_at TEXT,
    deleted_at TEXT
) STRICT;
CREATE UNIQUE INDEX issuers_name_live ON issuers (name) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX issuers_issuer_live ON issuers (issuer) WHERE deleted_at IS NULL;

-- Whom an issuer calls by that subject; it stays when the user is deleted, so that nobody is made anew for it.
CREATE TABLE user_identities (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    user_id INTEGER NOT NULL REFERENCES users (id),
    -- Whether the account was made for it: then nobody else is found to have it.
    is_made INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT;
-- An issuer has one name for each: another subject is somebody else.
CREATE UNIQUE INDEX user_identities_user ON user_identities (user_id, issuer);

-- Tokens of other issuers that were made no later than that are void.
ALTER TABLE users ADD COLUMN tokens_valid_from TEXT;
