//! Schema versions: applied, undone and listed; the files are part of the binary.

use std::collections::BTreeMap;

use sqlx::migrate::Migrator;

use super::{
    db::{Db, Pool},
    error::{Error, Result},
};
use crate::model::Timestamp;

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

const TABLE: &str = "_sqlx_migrations";

/// One version of the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its number.
    pub version: i64,
    /// What it adds.
    pub name: String,
    /// When it was applied here; `None` while it is pending.
    pub applied_at: Option<Timestamp>,
}

/// Applies what is pending and returns the versions applied.
///
/// Two processes may call this at once: one waits for the other.
///
/// # Errors
/// [`Error::Newer`] when the schema is newer than this program, [`Error::Migrate`] when a statement fails or an
/// applied file differs from ours.
pub async fn up(db: &Db) -> Result<Vec<i64>> {
    run(db, None).await
}

/// Undoes the last `steps` versions and returns those undone, newest first.
///
/// # Errors
/// As [`up`].
pub async fn down(db: &Db, steps: u32) -> Result<Vec<i64>> {
    let mut undone = run(db, Some(steps)).await?;
    undone.reverse();
    Ok(undone)
}

/// Every known version with the time it was applied.
///
/// # Errors
/// [`Error::Newer`] when the schema is newer than this program.
pub async fn status(db: &Db) -> Result<Vec<Step>> {
    let applied = applied(db).await?;
    refuse_newer(applied.keys().copied(), migrator(db))?;
    Ok(migrator(db)
        .iter()
        .filter(|migration| !migration.migration_type.is_down_migration())
        .map(|migration| Step {
            version: migration.version,
            name: migration.description.to_string(),
            applied_at: applied.get(&migration.version).copied(),
        })
        .collect())
}

fn migrator(db: &Db) -> &'static Migrator {
    match &db.0 {
        Pool::Sqlite(_) => &SQLITE,
        Pool::Postgres(_) => &POSTGRES,
    }
}

async fn run(db: &Db, down: Option<u32>) -> Result<Vec<i64>> {
    match &db.0 {
        Pool::Sqlite(pool) => {
            // The migrator has no lock for SQLite; inside our transaction its own are savepoints.
            let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
            let changed = step(&SQLITE, &mut *tx, down).await?;
            tx.commit().await?;
            Ok(changed)
        }
        Pool::Postgres(pool) => {
            let mut connection = pool.acquire().await?;
            // Closed at the end, and with it the migrator's advisory lock, which a failure would leave held.
            connection.close_on_drop();
            step(&POSTGRES, &mut *connection, down).await
        }
    }
}

/// Returns the versions by which the list of applied ones changed.
async fn step<C>(known: &Migrator, connection: &mut C, down: Option<u32>) -> Result<Vec<i64>>
where
    C: sqlx::migrate::Migrate + Send,
    for<'c> &'c mut C: sqlx::Acquire<'c, Connection = &'c mut C>,
{
    // Locked here and not by the migrator, so that what is read before still holds when it runs.
    let mut migrator = Migrator::with_migrations(known.iter().cloned().collect());
    migrator.set_locking(false);
    connection.lock().await?;
    connection.ensure_migrations_table(TABLE).await?;
    let before: Vec<i64> = connection.list_applied_migrations(TABLE).await?.iter().map(|m| m.version).collect();
    refuse_newer(before.iter().copied(), known)?;
    let changed = if let Some(steps) = down {
        let kept = before.len().saturating_sub(usize::try_from(steps).unwrap_or(usize::MAX));
        let target = kept.checked_sub(1).map_or(0, |last| before[last]);
        migrator.undo(&mut *connection, target).await?;
        before[kept..].to_vec()
    } else {
        migrator.run_direct(None, &mut *connection, false).await?;
        let after = connection.list_applied_migrations(TABLE).await?;
        after.iter().map(|m| m.version).filter(|version| !before.contains(version)).collect()
    };
    connection.unlock().await?;
    Ok(changed)
}

fn refuse_newer(mut applied: impl DoubleEndedIterator<Item = i64>, migrator: &Migrator) -> Result<()> {
    match applied.rfind(|version| !migrator.version_exists(*version)) {
        Some(version) => Err(Error::Newer { version }),
        None => Ok(()),
    }
}

/// Asks first whether the table exists: a look must not create it.
async fn applied(db: &Db) -> Result<BTreeMap<i64, Timestamp>> {
    let mut tx = db.read().await?;
    let exists = match &db.0 {
        Pool::Sqlite(_) => "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'",
        Pool::Postgres(_) => "SELECT COUNT(to_regclass('_sqlx_migrations'))",
    };
    if tx.query(exists).fetch_value::<i64>().await? == 0 {
        return Ok(BTreeMap::new());
    }
    let rows = tx.query("SELECT version, installed_on FROM _sqlx_migrations ORDER BY version");
    Ok(rows.fetch_all::<(i64, Timestamp)>().await?.into_iter().collect())
}
