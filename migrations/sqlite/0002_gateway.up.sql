CREATE TABLE modules (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    label TEXT NOT NULL,
    icon TEXT,
    route TEXT NOT NULL,
    priority INTEGER NOT NULL DEFAULT 0,
    is_active INTEGER NOT NULL DEFAULT TRUE,
    created_at TEXT NOT NULL,
    updated_at TEXT,
    deleted_at TEXT
) STRICT;
CREATE UNIQUE INDEX modules_name_live ON modules (name) WHERE deleted_at IS NULL;

CREATE TABLE module_roles (
    module_id INTEGER NOT NULL REFERENCES modules (id),
    role_id INTEGER NOT NULL REFERENCES roles (id),
    PRIMARY KEY (module_id, role_id)
) STRICT;
CREATE INDEX module_roles_role ON module_roles (role_id);

CREATE TABLE upstreams (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    is_active INTEGER NOT NULL DEFAULT TRUE,
    protocol TEXT NOT NULL,
    targets TEXT NOT NULL,
    balance TEXT NOT NULL,
    tls TEXT NOT NULL DEFAULT 'null',
    host_header TEXT,
    timeouts TEXT NOT NULL,
    retries INTEGER NOT NULL DEFAULT 0,
    health_check TEXT NOT NULL DEFAULT 'null',
    max_body_bytes INTEGER,
    created_at TEXT NOT NULL,
    updated_at TEXT,
    deleted_at TEXT
) STRICT;
CREATE UNIQUE INDEX upstreams_name_live ON upstreams (name) WHERE deleted_at IS NULL;

CREATE TABLE routes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    route TEXT NOT NULL,
    label TEXT NOT NULL,
    icon TEXT,
    is_active INTEGER NOT NULL DEFAULT TRUE,
    is_sidebar INTEGER NOT NULL DEFAULT TRUE,
    module_id INTEGER NOT NULL REFERENCES modules (id),
    parent_id INTEGER REFERENCES routes (id),
    priority INTEGER NOT NULL DEFAULT 0,
    host TEXT,
    -- By name, not by id: a name outlives the row that bears it.
    upstream TEXT,
    strip_prefix TEXT,
    forward_authorization INTEGER NOT NULL DEFAULT TRUE,
    operations TEXT NOT NULL DEFAULT '[]',
    created_at TEXT NOT NULL,
    updated_at TEXT,
    deleted_at TEXT
) STRICT;
-- Two NULL hosts would not be equal.
CREATE UNIQUE INDEX routes_path_live ON routes (module_id, route, COALESCE(host, '')) WHERE deleted_at IS NULL;
CREATE INDEX routes_parent ON routes (parent_id);
CREATE INDEX routes_upstream ON routes (upstream);

CREATE TABLE route_roles (
    route_id INTEGER NOT NULL REFERENCES routes (id),
    role_id INTEGER NOT NULL REFERENCES roles (id),
    PRIMARY KEY (route_id, role_id)
) STRICT;
CREATE INDEX route_roles_role ON route_roles (role_id);

CREATE TABLE policies (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    description TEXT,
    source TEXT NOT NULL,
    is_active INTEGER NOT NULL DEFAULT TRUE,
    created_at TEXT NOT NULL,
    updated_at TEXT,
    deleted_at TEXT
) STRICT;
CREATE UNIQUE INDEX policies_name_live ON policies (name) WHERE deleted_at IS NULL;
