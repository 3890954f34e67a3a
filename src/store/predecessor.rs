//! The database of the predecessor, a Python template on PostgreSQL, as it is found.
//!
//! ## Why
//! Its versions differ in columns, and some installations have added their own. So each row is read as one JSON object:
//! what a version lacks is absent, what it has more is not looked at, and nothing is asked for that may not be there.
//! The only statements that are for PostgreSQL alone: the predecessor runs on nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use super::db::{Db, Kind, Tx};
use crate::model::Secret;

/// Why an installation could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database refused, or is away.
    #[error(transparent)]
    Store(#[from] super::Error),
    /// Another database system.
    #[error("the template runs on PostgreSQL, and this is another database")]
    OtherDatabase,
    /// A table or a column is not there, or may not be read.
    #[error("this is no database of the template: {0}")]
    Missing(String),
    /// A row is not of the template's form.
    #[error("row {row} of table {table} is not of the template's form: {source}")]
    Row {
        /// The table.
        table: &'static str,
        /// Which row, in the order of ids.
        row: usize,
        /// Why.
        source: serde_json::Error,
    },
}

/// A user. The predecessor's columns allow NULL nearly everywhere.
#[derive(Deserialize)]
#[expect(missing_docs, reason = "columns of the predecessor, by their names there")]
pub struct User {
    pub id: i64,
    pub username: Option<String>,
    pub email: Option<String>,
    #[serde(deserialize_with = "secret")]
    pub hashed_password: Option<Secret<String>>,
    pub is_active: Option<bool>,
    pub created_at: Option<String>,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret<String>>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Secret::new))
}

/// A role.
#[derive(Deserialize)]
#[expect(missing_docs, reason = "columns of the predecessor, by their names there")]
pub struct Role {
    pub id: i64,
    pub name: Option<String>,
    pub description: Option<String>,
    pub is_system_role: Option<bool>,
}

/// A permission.
#[derive(Deserialize)]
#[expect(missing_docs, reason = "columns of the predecessor, by their names there")]
pub struct Permission {
    pub id: i64,
    pub name: Option<String>,
    pub description: Option<String>,
    pub category: Option<String>,
}

/// A module.
#[derive(Deserialize)]
#[expect(missing_docs, reason = "columns of the predecessor, by their names there")]
pub struct Module {
    pub id: i64,
    pub name: Option<String>,
    pub label: Option<String>,
    pub icon: Option<String>,
    pub route: Option<String>,
    pub priority: Option<i64>,
    pub is_active: Option<bool>,
    pub created_at: Option<String>,
    pub updated_at: Option<String>,
}

/// A route.
#[derive(Deserialize)]
#[expect(missing_docs, reason = "columns of the predecessor, by their names there")]
pub struct Route {
    pub id: i64,
    pub route: Option<String>,
    pub label: Option<String>,
    pub icon: Option<String>,
    pub is_active: Option<bool>,
    pub is_sidebar: Option<bool>,
    pub module_id: Option<i64>,
    pub parent_id: Option<i64>,
    pub priority: Option<i64>,
    pub created_at: Option<String>,
    pub updated_at: Option<String>,
}

/// Everything that is taken over; the whole of it is kept in memory.
#[derive(Default)]
#[expect(missing_docs, reason = "tables of the predecessor, by their names there")]
pub struct Installation {
    pub users: Vec<User>,
    pub roles: Vec<Role>,
    pub permissions: Vec<Permission>,
    pub modules: Vec<Module>,
    pub routes: Vec<Route>,
    pub user_roles: Vec<(i64, i64)>,
    pub role_permissions: Vec<(i64, i64)>,
    pub module_roles: Vec<(i64, i64)>,
    pub route_roles: Vec<(i64, i64)>,
    /// Whether the version binds roles to modules and routes at all.
    pub binds_roles: bool,
}

/// Tables that every version has, and those that some have, with the columns that tell them.
const ALWAYS: [(&str, &[&str]); 5] = [
    ("users", &["id", "username", "email", "hashed_password"]),
    ("roles", &["id", "name"]),
    ("permissions", &["id", "name"]),
    ("user_roles", &["user_id", "role_id"]),
    ("role_permissions", &["role_id", "permission_id"]),
];
const SOMETIMES: [(&str, &[&str]); 4] = [
    ("modules", &["id", "name", "label"]),
    ("routes", &["id", "route", "label", "module_id"]),
    ("module_roles", &["module_id", "role_id"]),
    ("route_roles", &["route_id", "role_id"]),
];

/// Whether `tx` is on a database of the predecessor, which must not become one of ours.
///
/// # Errors
/// What the database refuses.
pub async fn is_at(tx: &mut Tx) -> super::Result<bool> {
    Ok(tx.kind() == Kind::Postgres && missing(&columns(tx).await?, &ALWAYS[0]).is_none())
}

/// Reads an installation as it is at one moment, in a transaction that cannot write.
///
/// # Errors
/// It is none, a row is not of its form, or the database refuses.
pub async fn read(db: &Db) -> Result<Installation, Error> {
    if db.kind() != Kind::Postgres {
        return Err(Error::OtherDatabase);
    }
    let mut tx = db.read().await?;
    let columns = columns(&mut tx).await?;
    let has = |table: &str| columns.contains_key(table);
    let present = SOMETIMES.iter().filter(|(table, _)| has(table));
    if let Some(missing) = ALWAYS.iter().chain(present).find_map(|wanted| missing(&columns, wanted)) {
        return Err(Error::Missing(missing));
    }
    let mut found = Installation {
        users: rows(&mut tx, "users", "SELECT CAST(to_jsonb(t) AS TEXT) FROM users t ORDER BY id").await?,
        roles: rows(&mut tx, "roles", "SELECT CAST(to_jsonb(t) AS TEXT) FROM roles t ORDER BY id").await?,
        permissions: rows(&mut tx, "permissions", "SELECT CAST(to_jsonb(t) AS TEXT) FROM permissions t ORDER BY id")
            .await?,
        user_roles: pairs(&mut tx, "SELECT CAST(user_id AS BIGINT), CAST(role_id AS BIGINT) FROM user_roles").await?,
        role_permissions: pairs(
            &mut tx,
            "SELECT CAST(role_id AS BIGINT), CAST(permission_id AS BIGINT) FROM role_permissions",
        )
        .await?,
        binds_roles: has("module_roles") || has("route_roles"),
        ..Installation::default()
    };
    if has("modules") {
        let sql = "SELECT CAST(to_jsonb(t) AS TEXT) FROM modules t ORDER BY id";
        found.modules = rows(&mut tx, "modules", sql).await?;
    }
    if has("routes") {
        found.routes = rows(&mut tx, "routes", "SELECT CAST(to_jsonb(t) AS TEXT) FROM routes t ORDER BY id").await?;
    }
    if has("module_roles") {
        let sql = "SELECT CAST(module_id AS BIGINT), CAST(role_id AS BIGINT) FROM module_roles";
        found.module_roles = pairs(&mut tx, sql).await?;
    }
    if has("route_roles") {
        let sql = "SELECT CAST(route_id AS BIGINT), CAST(role_id AS BIGINT) FROM route_roles";
        found.route_roles = pairs(&mut tx, sql).await?;
    }
    Ok(found)
}

type Columns = BTreeMap<String, BTreeSet<String>>;

/// The tables that may be read, with their columns.
async fn columns(tx: &mut Tx) -> super::Result<Columns> {
    let all = tx
        .query(
            "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT) FROM information_schema.columns
             WHERE table_schema = ANY (current_schemas(false))",
        )
        .fetch_all::<(String, String)>()
        .await?;
    let mut of_table = Columns::new();
    for (table, column) in all {
        of_table.entry(table).or_default().insert(column);
    }
    Ok(of_table)
}

/// What a database lacks of a table.
fn missing(found: &Columns, (table, wanted): &(&str, &[&str])) -> Option<String> {
    let Some(columns) = found.get(*table) else {
        return Some(format!("there is no table {table} that may be read"));
    };
    let column = wanted.iter().find(|column| !columns.contains(**column))?;
    Some(format!("the table {table} has no column {column}"))
}

async fn rows<T: DeserializeOwned>(tx: &mut Tx, table: &'static str, sql: &'static str) -> Result<Vec<T>, Error> {
    let texts = tx.query(sql).fetch_values::<String>().await?;
    let read = |(index, text): (usize, String)| {
        serde_json::from_str(&text).map_err(|source| Error::Row { table, row: index + 1, source })
    };
    texts.into_iter().enumerate().map(read).collect()
}

async fn pairs(tx: &mut Tx, sql: &'static str) -> Result<Vec<(i64, i64)>, Error> {
    Ok(tx.query(sql).fetch_all().await?)
}
