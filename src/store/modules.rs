//! Modules of the navigation tree.

use super::{
    bindings::MODULES,
    db::Tx,
    error::Result,
    list::{Arg, List, Period, Sort, SortKey, Total},
    sql::{Ids, Page, Search, text},
};
use crate::model::{Module, ModuleId, ModuleName, ModulePatch, NewModule, RoleInfo, Timestamp};

/// Which modules to list; an absent field does not filter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Part of the name, the label or the front-end route, ASCII case ignored.
    pub search: Option<String>,
    /// Whether it is shown.
    pub is_active: Option<bool>,
    /// When it was made.
    pub created: Period,
    /// Deleted ones too.
    pub include_deleted: bool,
    /// In another order than by priority.
    pub sort: Option<Sort>,
}

/// What modules can be sorted by.
pub const SORT_KEYS: &[SortKey] = &[
    SortKey::new("id", "modules.id"),
    SortKey::new("name", "modules.name"),
    SortKey::new("label", "modules.label"),
    SortKey::new("route", "modules.route"),
    SortKey::new("priority", "modules.priority"),
    SortKey::new("is_active", "modules.is_active"),
    SortKey::new("created_at", "modules.created_at"),
];

const COLUMNS: &str = "modules.id, modules.name, modules.label, modules.icon, modules.route, modules.priority,
                       modules.is_active, modules.created_at, modules.updated_at, modules.deleted_at";

impl Filter {
    fn list(&self) -> List {
        let mut list = List::of("modules", "modules.id", "modules.priority, modules.id");
        if !self.include_deleted {
            list.only("modules.deleted_at IS NULL");
        }
        list.matching(
            Search::ascii(self.search.as_deref()),
            r"lower(modules.name) LIKE $1 ESCAPE '\' OR lower(modules.label) LIKE $1 ESCAPE '\'
              OR lower(modules.route) LIKE $1 ESCAPE '\'",
            ["_modules_search", "_modules_search.rowid", "_modules_search MATCH $1"],
        );
        list.when("modules.is_active = $1", self.is_active.map(Arg::Flag));
        list.within(self.created, "modules.created_at", None);
        list
    }
}

/// A module as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleRow {
    /// The module.
    pub module: Module,
    /// When it was deleted, if it was.
    pub deleted_at: Option<Timestamp>,
    /// How many undeleted routes it has; 0 when that was not asked for.
    pub route_count: i64,
    /// Undeleted roles that see it, by id.
    pub roles: Vec<RoleInfo>,
}

#[derive(sqlx::FromRow)]
struct Row {
    #[sqlx(flatten)]
    module: Module,
    deleted_at: Option<Timestamp>,
    route_count: i64,
}

/// Stores a module; ids of no role are ignored.
///
/// # Errors
/// [`Error::Conflict`](super::Error::Conflict) when the name is taken.
pub async fn insert(tx: &mut Tx, new: &NewModule, now: Timestamp) -> Result<ModuleId> {
    let id: ModuleId = tx
        .query(
            "INSERT INTO modules (name, label, icon, route, priority, is_active, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
        )
        .bind(new.name.clone())
        .bind(new.label.clone())
        .bind(new.icon.clone())
        .bind(new.route.clone())
        .bind(new.priority)
        .bind(new.is_active)
        .bind(now)
        .fetch_value()
        .await?;
    MODULES.add(tx, id.0, &new.role_ids).await?;
    Ok(id)
}

/// Returns an undeleted module.
///
/// # Errors
/// What the database refuses.
pub async fn get(tx: &mut Tx, id: ModuleId) -> Result<Option<Module>> {
    tx.query(
        "SELECT id, name, label, icon, route, priority, is_active, created_at, updated_at FROM modules
         WHERE id = $1 AND deleted_at IS NULL",
    )
    .bind(id)
    .fetch_optional()
    .await
}

/// Returns those of these modules that are not deleted, by id.
///
/// # Errors
/// What the database refuses.
pub async fn get_many(tx: &mut Tx, ids: &[ModuleId]) -> Result<Vec<Module>> {
    tx.query(
        "SELECT id, name, label, icon, route, priority, is_active, created_at, updated_at FROM modules
         WHERE id IN (SELECT CAST(key AS BIGINT) FROM json_each($1)) AND deleted_at IS NULL ORDER BY id",
    )
    .bind(set(ids))
    .fetch_all()
    .await
}

fn set(ids: &[ModuleId]) -> Ids {
    Ids::new(ids.iter().map(|id| id.0))
}

/// Returns the undeleted roles that see a module, by id.
///
/// # Errors
/// What the database refuses.
pub async fn roles(tx: &mut Tx, id: ModuleId) -> Result<Vec<RoleInfo>> {
    Ok(MODULES.of(tx, [id.0]).await?.remove(&id.0).unwrap_or_default())
}

/// Lists modules, by priority unless sorted otherwise; their routes are counted only where `counted`.
///
/// # Errors
/// What the database refuses.
pub async fn list(tx: &mut Tx, filter: &Filter, page: Page, counted: bool) -> Result<Vec<ModuleRow>> {
    let route_count = if counted {
        ", (SELECT COUNT(*) FROM routes
            WHERE routes.module_id = modules.id AND routes.deleted_at IS NULL) AS route_count"
    } else {
        ", CAST(0 AS BIGINT) AS route_count"
    };
    let columns = format!("{COLUMNS}{route_count}");
    let rows = filter.list().rows::<Row>(tx, (&columns, ""), filter.sort, page, None).await?;
    let mut of_module = MODULES.of(tx, rows.iter().map(|row| row.module.id.0)).await?;
    let row = |Row { module, deleted_at, route_count }| {
        let roles = of_module.remove(&module.id.0).unwrap_or_default();
        ModuleRow { module, deleted_at, route_count, roles }
    };
    Ok(rows.into_iter().map(row).collect())
}

/// Counts what [`list`] would return without a page.
///
/// # Errors
/// What the database refuses.
pub async fn count(tx: &mut Tx, filter: &Filter) -> Result<i64> {
    filter.list().count(tx).await
}

/// As [`count`], but not beyond [`MOST_COUNTED`](super::MOST_COUNTED).
///
/// # Errors
/// What the database refuses.
pub async fn total(tx: &mut Tx, filter: &Filter) -> Result<Total> {
    filter.list().total(tx).await
}

/// Returns the id of the undeleted module of that name.
///
/// # Errors
/// What the database refuses.
pub async fn find(tx: &mut Tx, name: &str) -> Result<Option<ModuleId>> {
    let query = tx.query("SELECT id FROM modules WHERE name = $1 AND deleted_at IS NULL").bind(text(name));
    Ok(query.fetch_optional::<(ModuleId,)>().await?.map(|(id,)| id))
}

/// Counts the undeleted routes of a module.
///
/// # Errors
/// What the database refuses.
pub async fn route_count(tx: &mut Tx, id: ModuleId) -> Result<i64> {
    tx.query("SELECT COUNT(*) FROM routes WHERE module_id = $1 AND deleted_at IS NULL").bind(id).fetch_value().await
}

/// Returns those of these modules that have undeleted routes, by id.
///
/// # Errors
/// What the database refuses.
pub async fn occupied(tx: &mut Tx, ids: &[ModuleId]) -> Result<Vec<ModuleId>> {
    tx.query(
        "SELECT DISTINCT module_id FROM routes
         WHERE module_id IN (SELECT CAST(key AS BIGINT) FROM json_each($1)) AND deleted_at IS NULL
         ORDER BY module_id",
    )
    .bind(set(ids))
    .fetch_values()
    .await
}

/// Changes an undeleted module; false when there is none.
///
/// # Errors
/// [`Error::Conflict`](super::Error::Conflict) when the new name is taken.
pub async fn update(tx: &mut Tx, id: ModuleId, patch: &ModulePatch, now: Timestamp) -> Result<bool> {
    let changed = tx
        .query(
            "UPDATE modules
             SET name = COALESCE($2, name), label = COALESCE($3, label),
                 icon = CASE WHEN $4 THEN $5 ELSE icon END, route = COALESCE($6, route),
                 priority = COALESCE($7, priority), is_active = COALESCE($8, is_active), updated_at = $9
             WHERE id = $1 AND deleted_at IS NULL",
        )
        .bind(id)
        .bind(patch.name.clone())
        .bind(patch.label.clone())
        .bind(patch.icon.is_some())
        .bind(patch.icon.clone().flatten())
        .bind(patch.route.clone())
        .bind(patch.priority)
        .bind(patch.is_active)
        .bind(now)
        .execute()
        .await?;
    if let Some(roles) = patch.role_ids.as_deref().filter(|_| changed > 0) {
        MODULES.replace(tx, id.0, roles).await?;
    }
    Ok(changed > 0)
}

/// Switches undeleted modules on or off; returns how many that changed.
///
/// # Errors
/// What the database refuses.
pub async fn set_active(tx: &mut Tx, ids: &[ModuleId], is_active: bool, now: Timestamp) -> Result<u64> {
    tx.query(
        "UPDATE modules SET is_active = $2, updated_at = $3
         WHERE id IN (SELECT CAST(key AS BIGINT) FROM json_each($1)) AND is_active <> $2 AND deleted_at IS NULL",
    )
    .bind(set(ids))
    .bind(is_active)
    .bind(now)
    .execute()
    .await
}

/// Gives undeleted modules their places; returns how many there are.
///
/// # Errors
/// What the database refuses.
pub async fn reorder(tx: &mut Tx, places: &[(ModuleId, i64)], now: Timestamp) -> Result<u64> {
    tx.query(
        "UPDATE modules SET priority = place.priority, updated_at = $2
         FROM (SELECT CAST(key AS BIGINT) AS id, CAST(CAST(value AS TEXT) AS BIGINT) AS priority
               FROM json_each($1)) AS place
         WHERE modules.id = place.id AND modules.deleted_at IS NULL",
    )
    .bind(Ids::with_numbers(places.iter().map(|(id, priority)| (id.0, *priority))))
    .bind(now)
    .execute()
    .await
}

/// Marks a module as deleted, which frees its name; false when there is none.
///
/// # Errors
/// What the database refuses.
pub async fn delete(tx: &mut Tx, id: ModuleId, now: Timestamp) -> Result<bool> {
    Ok(delete_many(tx, &[id], now).await? > 0)
}

/// Marks modules as deleted, which frees their names; returns how many there were.
///
/// # Errors
/// What the database refuses.
pub async fn delete_many(tx: &mut Tx, ids: &[ModuleId], now: Timestamp) -> Result<u64> {
    tx.query(
        "UPDATE modules SET deleted_at = $2
         WHERE id IN (SELECT CAST(key AS BIGINT) FROM json_each($1)) AND deleted_at IS NULL",
    )
    .bind(set(ids))
    .bind(now)
    .execute()
    .await
}

/// Returns the name of a deleted module.
///
/// # Errors
/// What the database refuses.
pub async fn deleted_name(tx: &mut Tx, id: ModuleId) -> Result<Option<ModuleName>> {
    let query = tx.query("SELECT name FROM modules WHERE id = $1 AND deleted_at IS NOT NULL").bind(id);
    Ok(query.fetch_optional::<(ModuleName,)>().await?.map(|(name,)| name))
}

/// Takes a deletion back; false when there is no deleted module of that id.
///
/// # Errors
/// [`Error::Conflict`](super::Error::Conflict) when the name was given to another meanwhile.
pub async fn restore(tx: &mut Tx, id: ModuleId, now: Timestamp) -> Result<bool> {
    let query =
        tx.query("UPDATE modules SET deleted_at = NULL, updated_at = $2 WHERE id = $1 AND deleted_at IS NOT NULL");
    Ok(query.bind(id).bind(now).execute().await? > 0)
}
