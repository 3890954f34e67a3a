//! Rows that bring their ids with them: what is there already, and storing them.

use super::{
    bindings::{MODULES, ROUTES},
    db::{Kind, Tx},
    error::Result,
};
use crate::model::{
    Email, ModuleId, RoleId, RouteId, Secret, Timestamp, UserId, Username,
    takeover::{Links, Module, Permission, Role, Route, User},
};

/// A row that is there already.
#[derive(Clone, Debug)]
pub struct Known<T> {
    /// What it is.
    pub row: T,
    /// A deleted row keeps its id, but not its name.
    pub is_deleted: bool,
}

/// Everything that is there already.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "tables, by their names")]
pub struct Present {
    pub permissions: Vec<Known<Permission>>,
    pub roles: Vec<Known<Role>>,
    pub users: Vec<Known<User>>,
    pub modules: Vec<Known<Module>>,
    pub routes: Vec<Known<Route>>,
    pub links: Links,
}

#[derive(sqlx::FromRow)]
struct UserRow {
    id: UserId,
    username: Username,
    email: Email,
    is_active: bool,
    password_hash: String,
    created_at: Timestamp,
    deleted_at: Option<Timestamp>,
}

impl From<UserRow> for Known<User> {
    fn from(row: UserRow) -> Self {
        let UserRow { id, username, email, is_active, password_hash, created_at, deleted_at } = row;
        let password_hash = Secret::new(password_hash);
        let row = User { id, username, email, is_active, password_hash, created_at: Some(created_at) };
        Self { row, is_deleted: deleted_at.is_some() }
    }
}

macro_rules! known {
    ($($found:ident: $row:ty;)*) => {$(
        #[derive(sqlx::FromRow)]
        struct $found {
            #[sqlx(flatten)]
            row: $row,
            deleted_at: Option<Timestamp>,
        }

        impl From<$found> for Known<$row> {
            fn from(found: $found) -> Self {
                Self { row: found.row, is_deleted: found.deleted_at.is_some() }
            }
        }
    )*};
}

known! {
    PermissionRow: Permission;
    RoleRow: Role;
    ModuleRow: Module;
    RouteRow: Route;
}

fn known<R, T>(rows: Vec<R>) -> Vec<Known<T>>
where
    Known<T>: From<R>,
{
    rows.into_iter().map(Known::from).collect()
}

/// Reads all rows, deleted ones too, in a fixed number of statements.
///
/// # Errors
/// What the database refuses.
pub async fn present(tx: &mut Tx) -> Result<Present> {
    let permissions = tx.query("SELECT id, name, description, category, deleted_at FROM permissions");
    let permissions = known(permissions.fetch_all::<PermissionRow>().await?);
    let roles = tx.query("SELECT id, name, description, is_system_role, deleted_at FROM roles");
    let roles = known(roles.fetch_all::<RoleRow>().await?);
    let users = tx.query("SELECT id, username, email, is_active, password_hash, created_at, deleted_at FROM users");
    let users = known(users.fetch_all::<UserRow>().await?);
    let modules = tx.query(
        "SELECT id, name, label, icon, route, priority, is_active, created_at, updated_at, deleted_at FROM modules",
    );
    let modules = known(modules.fetch_all::<ModuleRow>().await?);
    let routes = tx.query(
        "SELECT id, route, label, icon, is_active, is_sidebar, module_id, parent_id, priority, host, created_at,
             updated_at, deleted_at
         FROM routes",
    );
    let routes = known(routes.fetch_all::<RouteRow>().await?);
    Ok(Present { permissions, roles, users, modules, routes, links: links(tx).await? })
}

async fn links(tx: &mut Tx) -> Result<Links> {
    let grants = tx.query("SELECT role_id, permission_id FROM role_permissions").fetch_all().await?;
    let assignments = tx.query("SELECT user_id, role_id FROM user_roles").fetch_all().await?;
    let of_modules = tx.query("SELECT module_id, role_id FROM module_roles").fetch_all().await?;
    let of_routes = tx.query("SELECT route_id, role_id FROM route_roles").fetch_all().await?;
    Ok(Links {
        grants: grants.into_iter().collect(),
        assignments: assignments.into_iter().collect(),
        of_modules: of_modules.into_iter().collect(),
        of_routes: of_routes.into_iter().collect(),
    })
}

/// Stores a permission under its own id.
///
/// # Errors
/// [`Error::Conflict`](super::Error::Conflict) when the id or the name is taken; so it is with the others below.
pub async fn permission(tx: &mut Tx, new: &Permission, now: Timestamp) -> Result<()> {
    tx.query("INSERT INTO permissions (id, name, description, category, created_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(new.id)
        .bind(new.name.clone())
        .bind(new.description.clone())
        .bind(new.category.clone())
        .bind(now)
        .execute()
        .await
        .map(drop)
}

/// Stores a role under its own id.
///
/// # Errors
/// As above.
pub async fn role(tx: &mut Tx, new: &Role, now: Timestamp) -> Result<()> {
    tx.query("INSERT INTO roles (id, name, description, is_system_role, created_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(new.id)
        .bind(new.name.clone())
        .bind(new.description.clone())
        .bind(new.is_system_role)
        .bind(now)
        .execute()
        .await
        .map(drop)
}

/// Stores a user under its own id. Tokens that were issued before are honoured, unless a namesake was deleted here.
///
/// # Errors
/// As above.
pub async fn user(tx: &mut Tx, new: &User, now: Timestamp) -> Result<()> {
    tx.query(
        "INSERT INTO users (id, username, email, email_lower, password_hash, is_active, created_at, token_epoch, username_key)
         VALUES ($1, $2, $3, $4, $5, $6, $7,
             (SELECT COALESCE(MAX(token_epoch), 0) FROM users WHERE username = $2),
             CASE WHEN EXISTS (SELECT 1 FROM users WHERE username_key = $8 AND deleted_at IS NULL)
                  THEN NULL ELSE $8 END)",
    )
    .bind(new.id)
    .bind(new.username.clone())
    .bind(new.email.clone())
    .bind(new.email.as_str().to_lowercase())
    .bind(new.password_hash.expose().clone())
    .bind(new.is_active)
    .bind(new.created_at.unwrap_or(now))
    .bind(new.username.key())
    .execute()
    .await
    .map(drop)
}

/// Stores a module under its own id.
///
/// # Errors
/// As above.
pub async fn module(tx: &mut Tx, new: &Module, now: Timestamp) -> Result<()> {
    tx.query(
        "INSERT INTO modules (id, name, label, icon, route, priority, is_active, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(new.id)
    .bind(new.name.clone())
    .bind(new.label.clone())
    .bind(new.icon.clone())
    .bind(new.route.clone())
    .bind(new.priority)
    .bind(new.is_active)
    .bind(new.created_at.unwrap_or(now))
    .bind(new.updated_at)
    .execute()
    .await
    .map(drop)
}

/// Stores a route under its own id; its module and the route it lies below are there.
///
/// # Errors
/// As above.
pub async fn route(tx: &mut Tx, new: &Route, now: Timestamp) -> Result<()> {
    tx.query(
        "INSERT INTO routes (id, route, label, icon, is_active, is_sidebar, module_id, parent_id, priority, created_at,
             updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(new.id)
    .bind(new.route.clone())
    .bind(new.label.clone())
    .bind(new.icon.clone())
    .bind(new.is_active)
    .bind(new.is_sidebar)
    .bind(new.module_id)
    .bind(new.parent_id)
    .bind(new.priority)
    .bind(new.created_at.unwrap_or(now))
    .bind(new.updated_at)
    .execute()
    .await
    .map(drop)
}

/// Binds roles to a module.
///
/// # Errors
/// What the database refuses.
pub async fn bind_to_module(tx: &mut Tx, id: ModuleId, roles: &[RoleId]) -> Result<()> {
    MODULES.add(tx, id.0, roles).await.map(drop)
}

/// Binds roles to a route.
///
/// # Errors
/// What the database refuses.
pub async fn bind_to_route(tx: &mut Tx, id: RouteId, roles: &[RoleId]) -> Result<()> {
    ROUTES.add(tx, id.0, roles).await.map(drop)
}

/// Lets new rows be counted from beyond the greatest ids.
///
/// SQLite does so by itself.
///
/// # Errors
/// What the database refuses.
pub async fn count_onwards(tx: &mut Tx) -> Result<()> {
    if tx.kind() == Kind::Sqlite {
        return Ok(());
    }
    macro_rules! sequences {
        ($($table:literal)*) => {[$(concat!(
            "SELECT setval(pg_get_serial_sequence('", $table, "', 'id'), MAX(id)) FROM ", $table,
            " HAVING MAX(id) > COALESCE(pg_sequence_last_value(CAST(pg_get_serial_sequence('", $table, "', 'id') AS regclass)), 0)"
        )),*]};
    }
    for sql in sequences!["permissions" "roles" "users" "modules" "routes"] {
        tx.query(sql).execute().await?;
    }
    Ok(())
}
