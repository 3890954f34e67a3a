CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    username TEXT NOT NULL,
    email TEXT NOT NULL,
    -- Lower case beyond ASCII, which lower() does not do alike on both databases.
    email_lower TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    is_active INTEGER NOT NULL DEFAULT TRUE,
    email_verified INTEGER NOT NULL DEFAULT FALSE,
    token_epoch INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL,
    updated_at TEXT,
    deleted_at TEXT
) STRICT;
CREATE UNIQUE INDEX users_username_live ON users (username) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX users_email_lower_live ON users (email_lower) WHERE deleted_at IS NULL;

CREATE TABLE roles (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    description TEXT,
    is_system_role INTEGER NOT NULL DEFAULT FALSE,
    is_active INTEGER NOT NULL DEFAULT TRUE,
    created_at TEXT NOT NULL,
    updated_at TEXT,
    deleted_at TEXT
) STRICT;
CREATE UNIQUE INDEX roles_name_live ON roles (name) WHERE deleted_at IS NULL;

CREATE TABLE role_parents (
    role_id INTEGER NOT NULL REFERENCES roles (id),
    parent_id INTEGER NOT NULL REFERENCES roles (id),
    PRIMARY KEY (role_id, parent_id),
    CHECK (role_id <> parent_id)
) STRICT;
CREATE INDEX role_parents_parent ON role_parents (parent_id);

CREATE TABLE permissions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    description TEXT,
    category TEXT,
    is_active INTEGER NOT NULL DEFAULT TRUE,
    created_at TEXT NOT NULL,
    updated_at TEXT,
    deleted_at TEXT
) STRICT;
CREATE UNIQUE INDEX permissions_name_live ON permissions (name) WHERE deleted_at IS NULL;

CREATE TABLE role_permissions (
    role_id INTEGER NOT NULL REFERENCES roles (id),
    permission_id INTEGER NOT NULL REFERENCES permissions (id),
    granted_at TEXT NOT NULL,
    PRIMARY KEY (role_id, permission_id)
) STRICT;
CREATE INDEX role_permissions_permission ON role_permissions (permission_id);

CREATE TABLE user_roles (
    user_id INTEGER NOT NULL REFERENCES users (id),
    role_id INTEGER NOT NULL REFERENCES roles (id),
    granted_by INTEGER REFERENCES users (id),
    granted_at TEXT NOT NULL,
    expires_at TEXT,
    PRIMARY KEY (user_id, role_id)
) STRICT;
CREATE INDEX user_roles_role ON user_roles (role_id);
