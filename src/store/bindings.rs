//! The roles bound to modules and to routes: the same statements for two tables.

use std::collections::BTreeMap;

use super::{db::Tx, error::Result, sql::Ids};
use crate::model::{RoleId, RoleInfo};

/// The statements about one table.
pub(super) struct Bindings {
    add: &'static str,
    remove: &'static str,
    clear: &'static str,
    of: &'static str,
}

macro_rules! bindings {
    ($table:literal, $owner:literal) => {
        Bindings {
            add: concat!(
                "INSERT INTO ",
                $table,
                " (",
                $owner,
                ", role_id)
                 SELECT $1, id FROM roles
                 WHERE deleted_at IS NULL AND id IN (SELECT CAST(key AS BIGINT) FROM json_each($2))
                 ON CONFLICT DO NOTHING"
            ),
            remove: concat!("DELETE FROM ", $table, " WHERE ", $owner, " = $1 AND role_id = $2"),
            clear: concat!("DELETE FROM ", $table, " WHERE ", $owner, " = $1"),
            of: concat!(
                "SELECT b.",
                $owner,
                " AS owner, roles.id, roles.name, roles.description
                 FROM ",
                $table,
                " b JOIN roles ON roles.id = b.role_id
                 WHERE roles.deleted_at IS NULL AND b.",
                $owner,
                " IN (SELECT CAST(key AS BIGINT) FROM json_each($1)) ORDER BY roles.id"
            ),
        }
    };
}

pub(super) const MODULES: Bindings = bindings!("module_roles", "module_id");
pub(super) const ROUTES: Bindings = bindings!("route_roles", "route_id");

#[derive(sqlx::FromRow)]
struct Bound {
    owner: i64,
    #[sqlx(flatten)]
    role: RoleInfo,
}

impl Bindings {
    /// Binds undeleted roles; returns how many were not bound before. Ids of no role are ignored.
    pub(super) async fn add(&self, tx: &mut Tx, owner: i64, roles: &[RoleId]) -> Result<u64> {
        tx.query(self.add).bind(owner).bind(Ids::new(roles.iter().map(|id| id.0))).execute().await
    }

    /// Takes a role off; false when it was not bound.
    pub(super) async fn remove(&self, tx: &mut Tx, owner: i64, role: RoleId) -> Result<bool> {
        Ok(tx.query(self.remove).bind(owner).bind(role).execute().await? > 0)
    }

    /// Binds these roles and no others.
    pub(super) async fn replace(&self, tx: &mut Tx, owner: i64, roles: &[RoleId]) -> Result<()> {
        tx.query(self.clear).bind(owner).execute().await?;
        self.add(tx, owner, roles).await.map(drop)
    }

    /// The undeleted roles of each owner that has any, by id.
    pub(super) async fn of(
        &self,
        tx: &mut Tx,
        owners: impl IntoIterator<Item = i64>,
    ) -> Result<BTreeMap<i64, Vec<RoleInfo>>> {
        let rows = tx.query(self.of).bind(Ids::new(owners)).fetch_all::<Bound>().await?;
        let mut of_owner: BTreeMap<i64, Vec<RoleInfo>> = BTreeMap::new();
        for Bound { owner, role } in rows {
            of_owner.entry(owner).or_default().push(role);
        }
        Ok(of_owner)
    }
}
