-- No foreign keys: a record outlives what it is about.
CREATE TABLE audit_records (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    actor_id INTEGER,
    actor TEXT,
    action TEXT NOT NULL,
    resource TEXT NOT NULL,
    resource_id TEXT,
    success INTEGER NOT NULL,
    before TEXT NOT NULL DEFAULT 'null',
    after TEXT NOT NULL DEFAULT 'null',
    ip TEXT,
    user_agent TEXT,
    request_id TEXT,
    revision INTEGER,
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX audit_records_time ON audit_records (created_at);
CREATE INDEX audit_records_actor ON audit_records (actor_id, created_at);
CREATE INDEX audit_records_resource ON audit_records (resource, resource_id, created_at);
