CREATE TABLE revisions (
    -- One row: its lock puts the writers of all nodes in one order.
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    revision INTEGER NOT NULL,
    policy_revision INTEGER NOT NULL
) STRICT;
INSERT INTO revisions (id, revision, policy_revision) VALUES (1, 0, 0);

CREATE TABLE changes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    revision INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('rules', 'user', 'revocation')),
    entity_id INTEGER,
    key TEXT,
    at TEXT NOT NULL
) STRICT;
CREATE INDEX changes_revision ON changes (revision);
