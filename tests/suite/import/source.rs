//! A database of the predecessor: its tables, and rows as its own start makes them.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::support::{Backend, Guard, fresh_database};

/// What every version has.
const CORE: &str = "
CREATE TABLE users (
    id SERIAL PRIMARY KEY, username VARCHAR(50) UNIQUE, email VARCHAR(255) UNIQUE, hashed_password VARCHAR(255),
    is_active BOOLEAN, created_at TIMESTAMPTZ DEFAULT now());
CREATE TABLE roles (
    id SERIAL PRIMARY KEY, name VARCHAR(50) UNIQUE, description TEXT, is_system_role BOOLEAN);
CREATE TABLE permissions (
    id SERIAL PRIMARY KEY, name VARCHAR(100) UNIQUE, description TEXT, category VARCHAR(50));
CREATE TABLE user_roles (
    user_id INTEGER REFERENCES users, role_id INTEGER REFERENCES roles, PRIMARY KEY (user_id, role_id));
CREATE TABLE role_permissions (
    role_id INTEGER REFERENCES roles, permission_id INTEGER REFERENCES permissions,
    PRIMARY KEY (role_id, permission_id));";

/// The navigation of the first release.
const FIRST: &str = "
CREATE TABLE modules (
    id SERIAL PRIMARY KEY, name VARCHAR(100) UNIQUE, label VARCHAR(100), icon VARCHAR(50), is_active BOOLEAN,
    created_at TIMESTAMPTZ DEFAULT now(), updated_at TIMESTAMPTZ);
CREATE TABLE routes (
    id SERIAL PRIMARY KEY, route VARCHAR(255), label VARCHAR(100), icon VARCHAR(50), is_active BOOLEAN,
    is_sidebar BOOLEAN, module_id INTEGER REFERENCES modules ON DELETE CASCADE,
    parent_id INTEGER REFERENCES routes ON DELETE CASCADE, created_at TIMESTAMPTZ DEFAULT now(),
    updated_at TIMESTAMPTZ);";

/// What the newest has beyond that.
const NEWEST: &str = "
ALTER TABLE modules ADD priority INTEGER, ADD route VARCHAR(255);
ALTER TABLE routes ADD priority INTEGER;
CREATE TABLE module_roles (
    module_id INTEGER REFERENCES modules, role_id INTEGER REFERENCES roles, PRIMARY KEY (module_id, role_id));
CREATE TABLE route_roles (
    route_id INTEGER REFERENCES routes, role_id INTEGER REFERENCES roles, PRIMARY KEY (route_id, role_id));";

/// Permissions, roles and what they are granted, as every version makes them at its start.
const SEED: &str = "
INSERT INTO permissions (name, description, category)
    SELECT r || ':' || a, initcap(a) || ' ' || r || ' resources', r
    FROM unnest(ARRAY['user', 'role', 'permission', 'module', 'route']) WITH ORDINALITY AS r (r, i),
         unnest(ARRAY['read', 'create', 'update', 'delete']) WITH ORDINALITY AS a (a, j) ORDER BY i, j;
INSERT INTO roles (name, description, is_system_role) VALUES
    ('superadmin', 'Super Administrator with all permissions', TRUE),
    ('admin', 'Administrator with all user permissions', TRUE),
    ('user', 'Basic user with read-only access', TRUE);
INSERT INTO role_permissions SELECT 1, id FROM permissions;
INSERT INTO role_permissions SELECT 2, id FROM permissions WHERE category = 'user';
INSERT INTO role_permissions VALUES (3, 1);";

/// What its users have made since, with gaps between ids.
const USED: &str = "
INSERT INTO permissions (id, name, category) VALUES (31, 'invoice:read', NULL), (32, 'reports', 'general');
INSERT INTO roles (id, name, description, is_system_role) VALUES (7, 'editor', NULL, FALSE), (8, 'idle', '', NULL);
INSERT INTO role_permissions VALUES (7, 31), (7, 32);
INSERT INTO user_roles VALUES (1, 1), (2, 2), (5, 3), (5, 7), (9, 7);
INSERT INTO modules (id, name, label, icon, is_active) VALUES
    (1, 'dashboard', 'Dashboard', 'LayoutDashboard', TRUE), (4, 'Books', ' Books ', '  ', NULL);
INSERT INTO routes (id, route, label, icon, is_active, is_sidebar, module_id, parent_id) VALUES
    (11, '/books/shelf', 'Shelf', NULL, TRUE, TRUE, 4, NULL), (3, '/books//shelf/one', 'One', '', TRUE, NULL, 4, 11),
    (12, '/home', 'Home', 'House', TRUE, TRUE, 1, NULL);";

/// Roles that see modules and routes, and their order.
const BOUND: &str = "
UPDATE modules SET route = '/infinity/' || lower(name), priority = id;
UPDATE routes SET priority = id;
INSERT INTO module_roles VALUES (1, 1), (1, 3), (4, 7);
INSERT INTO route_roles VALUES (11, 7), (3, 7), (12, 3);";

/// Which of the predecessor's versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    First,
    Newest,
}

/// An installation of the predecessor.
pub(super) struct Source {
    pub(super) url: String,
    _guard: Guard,
}

impl Source {
    /// One without any row.
    pub(super) async fn bare(version: Version) -> Self {
        let (url, guard) = fresh_database(Backend::Postgres).await;
        let source = Self { url, _guard: guard };
        source.run(CORE).await;
        source.run(FIRST).await;
        if version == Version::Newest {
            source.run(NEWEST).await;
        }
        source
    }

    /// One that was in use: passwords are the name and `123`.
    pub(super) async fn used(version: Version) -> Self {
        let source = Self::bare(version).await;
        source.run(SEED).await;
        for (id, name, active) in
            [(1, "superadmin", "TRUE"), (2, "admin", "TRUE"), (5, "Bob", "TRUE"), (9, "carol", "FALSE")]
        {
            source.user(id, name, active).await;
        }
        source.run(USED).await;
        if version == Version::Newest {
            source.run(BOUND).await;
        }
        source
    }

    /// Adds a user.
    pub(super) async fn user(&self, id: i64, name: &str, active: &str) {
        // The least cost there is: what is tested does not depend on it.
        let hash = bcrypt::hash(format!("{name}123"), 4).unwrap();
        self.run(&format!(
            "INSERT INTO users VALUES ({id}, '{name}', '{name}@Example.com', '{hash}', {active}, '2025-06-01 12:00:00+02')"
        ))
        .await;
    }

    /// Runs statements.
    pub(super) async fn run(&self, sql: &str) {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// All that is in it, as text.
    pub(super) async fn dump(&self) -> String {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        let sql = "SELECT CAST(database_to_xml(FALSE, FALSE, '') AS TEXT)";
        let dump = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        dump
    }
}
