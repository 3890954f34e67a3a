//! What every test may use.

pub(crate) mod app;
pub(crate) mod certificates;
pub(crate) mod cut;
pub(crate) mod exposition;
pub(crate) mod follower;
pub(crate) mod issuer;
pub(crate) mod mailbox;
pub(crate) mod postgres;
pub(crate) mod programs;
pub(crate) mod raw;

use std::time::Duration;

use cedargate::store::{Db, PoolSettings, migrate};
use tempfile::TempDir;

/// The database a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
}

/// Keeps a database's files until it is dropped.
pub(crate) struct Guard {
    _directory: Option<TempDir>,
}

/// Makes one async body two tests, `NAME::sqlite` and `NAME::postgres`:
/// `on_both!(grants_take_effect, |backend| async move { … });`
macro_rules! on_both {
    ($name:ident, |$backend:ident| $body:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "a body may need nothing from its module")]
            use super::*;

            async fn body($backend: crate::support::Backend) {
                $body.await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                body(crate::support::Backend::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                body(crate::support::Backend::Postgres).await;
            }
        }
    };
}

/// The address of an empty database, without tables.
pub(crate) async fn fresh_database(backend: Backend) -> (String, Guard) {
    match backend {
        Backend::Sqlite => {
            let directory = TempDir::with_prefix("cedargate-test-").unwrap();
            let url = format!("sqlite://{}", directory.path().join("data/cedargate.db").display());
            (url, Guard { _directory: Some(directory) })
        }
        Backend::Postgres => (postgres::database().await, Guard { _directory: None }),
    }
}

/// A pool small enough that many tests fit into one server.
pub(crate) const POOL: PoolSettings = PoolSettings { max_connections: 4, acquire_timeout: Duration::from_secs(10) };

/// An open database with all tables.
pub(crate) async fn migrated(backend: Backend) -> (Db, Guard) {
    let (url, guard) = fresh_database(backend).await;
    let db = Db::open(&url, &POOL).await.unwrap();
    migrate::up(&db).await.unwrap();
    (db, guard)
}
