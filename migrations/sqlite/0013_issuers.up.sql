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
    created_at TEXT NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT;
CREATE INDEX user_identities_user ON user_identities (user_id);
