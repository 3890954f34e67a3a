use std::{
    fs::{DirBuilder, OpenOptions},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, Encode, Executor, FromRow, PgPool, Postgres, Sqlite, SqlitePool, Transaction, Type,
    postgres::{PgArguments, PgConnectOptions, PgConnection, PgListener, PgPoolOptions, PgRow},
    sqlite::{
        SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteRow,
        SqliteSynchronous,
    },
};

use super::error::{Error, Result};

/// The channel on which a committed revision is announced.
const CHANNEL: &str = "cedargate";

/// How long SQLite waits for another writer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A value that can be bound to a placeholder on either database.
pub trait Value<'q>: Send + Encode<'q, Sqlite> + Type<Sqlite> + Encode<'q, Postgres> + Type<Postgres> {}

impl<'q, T> Value<'q> for T where T: Send + Encode<'q, Sqlite> + Type<Sqlite> + Encode<'q, Postgres> + Type<Postgres> {}

/// A type that can be read from a row of either database.
pub trait Record: Send + Unpin + for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> {}

impl<T> Record for T where T: Send + Unpin + for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> {}

/// Which database is behind a [`Db`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One file, one node.
    Sqlite,
    /// A server for many nodes.
    Postgres,
}

impl Kind {
    /// The name, for logs and health answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// How many connections are kept and how long a caller waits for one.
#[derive(Clone, Copy, Debug)]
pub struct PoolSettings {
    /// The most connections open at once.
    pub max_connections: u32,
    /// How long to wait for a free one.
    pub acquire_timeout: Duration,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self { max_connections: 10, acquire_timeout: Duration::from_secs(5) }
    }
}

/// What the pool holds at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolState {
    /// Open connections.
    pub size: u32,
    /// Open connections that nobody uses.
    pub idle: u32,
    /// The most that may be open.
    pub max: u32,
}

/// A pool of connections to the configured database.
#[derive(Clone, Debug)]
pub struct Db(pub(super) Pool);

#[derive(Clone, Debug)]
pub(super) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Db {
    /// Connects to `url`; a missing SQLite file is created with its directory.
    ///
    /// Python's spellings such as `postgresql+psycopg2://` are understood. The schema is left as it is.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when nobody answers there, [`Error::Database`] when the address is malformed,
    /// [`Error::File`] when the file cannot be made.
    pub async fn open(url: &str, settings: &PoolSettings) -> Result<Self> {
        let url = plain_scheme(url);
        if url.starts_with("sqlite:") {
            let options = url.parse::<SqliteConnectOptions>()?;
            create(options.get_filename())?;
            let options = options
                .create_if_missing(true)
                .foreign_keys(true)
                .busy_timeout(BUSY_TIMEOUT)
                .journal_mode(SqliteJournalMode::Wal)
                // NORMAL would lose acknowledged writes when the power fails.
                .synchronous(SqliteSynchronous::Full);
            let pool = SqlitePoolOptions::new()
                .max_connections(settings.max_connections)
                .acquire_timeout(settings.acquire_timeout)
                .connect_with(options)
                .await?;
            Ok(Self(Pool::Sqlite(pool)))
        } else if url.starts_with("postgresql:") || url.starts_with("postgres:") {
            let options = url.parse::<PgConnectOptions>()?.application_name("cedargate");
            let pool = PgPoolOptions::new()
                .max_connections(settings.max_connections)
                .acquire_timeout(settings.acquire_timeout)
                .after_connect(|connection, _| {
                    // What this program asks for is mostly in memory or on a disk without arms. By the default, which
                    // supposes neither, looking up some thousand rows seems dearer than reading a million. And no
                    // statement here takes as long as compiling it would: 25 ms, for a menu that takes 3.
                    Box::pin(
                        async move { connection.execute("SET random_page_cost = 1.1; SET jit = off").await.map(drop) },
                    )
                })
                .connect_with(options)
                .await?;
            Ok(Self(Pool::Postgres(pool)))
        } else {
            // Without the address itself: it may hold a password.
            let reason = "a database address begins with sqlite: or postgresql:";
            Err(Error::Database(sqlx::Error::Configuration(reason.into())))
        }
    }

    /// Starts a transaction that sees one state of the data and writes nothing.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when there is no connection.
    pub async fn read(&self) -> Result<Tx> {
        self.begin("BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
    }

    /// Starts a transaction that may write.
    ///
    /// SQLite takes its write lock here: a lock taken later could not be waited for.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when there is no connection, or another writer holds SQLite's lock for too long.
    pub async fn write(&self) -> Result<Tx> {
        self.begin("BEGIN IMMEDIATE", "BEGIN").await
    }

    async fn begin(&self, sqlite: &'static str, postgres: &'static str) -> Result<Tx> {
        let begun = match &self.0 {
            Pool::Sqlite(pool) => pool.begin_with(sqlite).await.map(Inner::Sqlite),
            Pool::Postgres(pool) => pool.begin_with(postgres).await.map(Inner::Postgres),
        };
        // Whatever keeps a transaction from beginning, such as a server that lets nobody in, is no fault of a statement.
        begun.map(Tx).map_err(Error::Unavailable)
    }

    /// Makes one round trip.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database does not answer.
    pub async fn ping(&self) -> Result<()> {
        self.read().await?.query("SELECT CAST(1 AS BIGINT)").fetch_value::<i64>().await.map(drop)
    }

    /// What the pool holds at present.
    pub fn pool(&self) -> PoolState {
        let (size, idle, max) = match &self.0 {
            Pool::Sqlite(pool) => (pool.size(), pool.num_idle(), pool.options().get_max_connections()),
            Pool::Postgres(pool) => (pool.size(), pool.num_idle(), pool.options().get_max_connections()),
        };
        PoolState { size, idle: u32::try_from(idle).unwrap_or(u32::MAX), max }
    }

    /// Which database this is.
    pub fn kind(&self) -> Kind {
        match &self.0 {
            Pool::Sqlite(_) => Kind::Sqlite,
            Pool::Postgres(_) => Kind::Postgres,
        }
    }

    /// Waits until every connection is back, and closes them.
    pub async fn close(&self) {
        match &self.0 {
            Pool::Sqlite(pool) => pool.close().await,
            Pool::Postgres(pool) => pool.close().await,
        }
    }

    /// A bell that rings when a node commits a revision; `None` where the database has none.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when there is no connection.
    pub async fn bell(&self) -> Result<Option<Bell>> {
        let Pool::Postgres(pool) = &self.0 else { return Ok(None) };
        // A pool of its own: a listener would keep one of the shared connections for ever.
        let own = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .acquire_timeout(pool.options().get_acquire_timeout())
            .connect_with(pool.connect_options().as_ref().clone())
            .await?;
        let mut listener = PgListener::connect_with(&own).await?;
        listener.listen(CHANNEL).await?;
        Ok(Some(Bell(listener)))
    }
}

/// `postgresql+psycopg2://` is how Python names a driver; the part behind the plus is not ours.
fn plain_scheme(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => format!("{}://{rest}", scheme.split('+').next().unwrap_or(scheme)),
        None => url.to_owned(),
    }
}

/// Makes a missing file, and its directory, readable by nobody else: it will hold password hashes.
///
/// SQLite gives its journal the permissions of the file.
fn create(file: &Path) -> Result<()> {
    // How the driver names a database in memory.
    if file.as_os_str().as_encoded_bytes().starts_with(b"file:") {
        return Ok(());
    }
    let made = || {
        if let Some(parent) = file.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        if !file.exists() {
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(file)?;
        }
        Ok(())
    };
    made().map_err(|source| Error::File { path: file.display().to_string(), source })
}

/// Hears the revisions that other nodes commit.
#[derive(Debug)]
pub struct Bell(PgListener);

impl Bell {
    /// Waits until a revision may have been committed since the last call.
    ///
    /// Also returns when the connection was lost and made again: what was announced meanwhile was not heard.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the connection is lost and cannot be made again.
    pub async fn wait(&mut self) -> Result<()> {
        self.0.try_recv().await?;
        while self.0.next_buffered().is_some() {}
        Ok(())
    }
}

/// An open transaction; dropping it rolls back.
#[derive(Debug)]
pub struct Tx(Inner);

#[derive(Debug)]
enum Inner {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Tx {
    /// Which database this is.
    pub fn kind(&self) -> Kind {
        match &self.0 {
            Inner::Sqlite(_) => Kind::Sqlite,
            Inner::Postgres(_) => Kind::Postgres,
        }
    }

    /// Prepares one statement.
    pub fn query(&mut self, sql: &'static str) -> Query<'_> {
        Query(match &mut self.0 {
            Inner::Sqlite(tx) => Statement::Sqlite(tx, sqlx::query(sql)),
            Inner::Postgres(tx) => Statement::Postgres(tx, sqlx::query(sql)),
        })
    }

    /// Prepares a statement that was composed of this program's own fragments, for one use.
    pub(super) fn composed(&mut self, sql: String) -> Query<'_> {
        // Not kept: PostgreSQL would soon plan a kept one for any values, and these decide which index serves.
        Query(match &mut self.0 {
            Inner::Sqlite(tx) => Statement::Sqlite(tx, sqlx::query(AssertSqlSafe(sql)).persistent(false)),
            Inner::Postgres(tx) => Statement::Postgres(tx, sqlx::query(AssertSqlSafe(sql)).persistent(false)),
        })
    }

    /// Makes the writes last.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the connection was lost: whether the writes lasted is then unknown.
    pub async fn commit(self) -> Result<()> {
        match self.0 {
            Inner::Sqlite(tx) => tx.commit().await?,
            Inner::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }

    /// Undoes the writes at once; one that is dropped undoes them a little later.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the connection was lost, which undoes them too.
    pub async fn rollback(self) -> Result<()> {
        match self.0 {
            Inner::Sqlite(tx) => tx.rollback().await?,
            Inner::Postgres(tx) => tx.rollback().await?,
        }
        Ok(())
    }

    /// Announces `revision` to every [`Bell`] at the moment of the commit; SQLite has no bell.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the connection was lost.
    pub async fn ring(&mut self, revision: i64) -> Result<()> {
        if let Inner::Postgres(tx) = &mut self.0 {
            let call = sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(revision.to_string());
            call.execute(&mut **tx).await?;
        }
        Ok(())
    }
}

/// A statement with its bound values, ready to run on its transaction.
#[must_use = "a statement does nothing until it is run"]
pub struct Query<'t>(Statement<'t>);

enum Statement<'t> {
    Sqlite(&'t mut SqliteConnection, sqlx::query::Query<'t, Sqlite, SqliteArguments>),
    Postgres(&'t mut PgConnection, sqlx::query::Query<'t, Postgres, PgArguments>),
}

impl<'t> Query<'t> {
    /// Binds the next placeholder.
    pub fn bind(self, value: impl Value<'t>) -> Self {
        Self(match self.0 {
            Statement::Sqlite(conn, query) => Statement::Sqlite(conn, query.bind(value)),
            Statement::Postgres(conn, query) => Statement::Postgres(conn, query.bind(value)),
        })
    }

    /// Fetches every row.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn fetch_all<T: Record>(self) -> Result<Vec<T>> {
        Ok(match self.0 {
            Statement::Sqlite(conn, query) => query.try_map(|row| T::from_row(&row)).fetch_all(conn).await?,
            Statement::Postgres(conn, query) => query.try_map(|row| T::from_row(&row)).fetch_all(conn).await?,
        })
    }

    /// Fetches the row, if there is one.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn fetch_optional<T: Record>(self) -> Result<Option<T>> {
        Ok(match self.0 {
            Statement::Sqlite(conn, query) => query.try_map(|row| T::from_row(&row)).fetch_optional(conn).await?,
            Statement::Postgres(conn, query) => query.try_map(|row| T::from_row(&row)).fetch_optional(conn).await?,
        })
    }

    /// Fetches the row that must exist.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it does not.
    pub async fn fetch_one<T: Record>(self) -> Result<T> {
        self.fetch_optional().await?.ok_or(Error::NotFound)
    }

    /// Fetches the only column of the row that must exist.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it does not.
    pub async fn fetch_value<T>(self) -> Result<T>
    where
        (T,): Record,
    {
        Ok(self.fetch_one::<(T,)>().await?.0)
    }

    /// Fetches the only column of every row.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn fetch_values<T>(self) -> Result<Vec<T>>
    where
        (T,): Record,
    {
        Ok(self.fetch_all::<(T,)>().await?.into_iter().map(|(value,)| value).collect())
    }

    /// Runs the statement and returns how many rows it changed.
    ///
    /// # Errors
    /// What the database refuses.
    pub async fn execute(self) -> Result<u64> {
        Ok(match self.0 {
            Statement::Sqlite(conn, query) => query.execute(conn).await?.rows_affected(),
            Statement::Postgres(conn, query) => query.execute(conn).await?.rows_affected(),
        })
    }
}
