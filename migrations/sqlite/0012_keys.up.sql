-- What tokens are signed with, beside the secret and the key files of the settings. The private part is encrypted with a
-- key of the settings, and taken away when the key is retired.
CREATE TABLE signing_keys (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kid TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    jwk TEXT NOT NULL,
    sealed TEXT,
    created_at TEXT NOT NULL,
    activated_at TEXT NOT NULL,
    retired_at TEXT
) STRICT;
CREATE UNIQUE INDEX signing_keys_kid ON signing_keys (kid);
