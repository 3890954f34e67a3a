use sqlx::{error::ErrorKind, migrate::MigrateError, postgres::PgDatabaseError, sqlite::SqliteError};

/// What can go wrong below the store's functions.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A row that must exist does not.
    #[error("no such row")]
    NotFound,
    /// A value that must be unique is taken.
    #[error("a unique value is taken{}", .column.as_deref().map(|column| format!(": {column}")).unwrap_or_default())]
    Conflict {
        /// The column, where the database says which: `username`, `email`, `name`, `issuer`.
        column: Option<String>,
    },
    /// A row that is referred to does not exist, or one that is still referred to was removed.
    #[error("a referenced row does not exist")]
    Reference,
    /// The database cannot be used at present; the same call may succeed later.
    #[error("the database is unavailable")]
    Unavailable(#[source] sqlx::Error),
    /// Anything else the database refused.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
    /// The schema could not be changed.
    #[error("migration failed: {0}")]
    Migrate(#[source] MigrateError),
    /// The schema is newer than this program.
    #[error("the database has migration {version}, which this program does not know: a newer release was here")]
    Newer {
        /// The newest version in the database.
        version: i64,
    },
    /// The SQLite file or its directory could not be made.
    #[error("cannot create the database file {path}")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

/// What the store's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::RowNotFound => Self::NotFound,
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
            sqlx::Error::Database(inner) => match inner.kind() {
                ErrorKind::UniqueViolation => Self::Conflict { column: taken_column(inner.as_ref()) },
                ErrorKind::ForeignKeyViolation => Self::Reference,
                _ if passing(inner.as_ref()) => Self::Unavailable(error),
                _ => Self::Database(error),
            },
            _ => Self::Database(error),
        }
    }
}

impl From<MigrateError> for Error {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(inner) => match Self::from(inner) {
                Self::Database(inner) => Self::Migrate(MigrateError::Execute(inner)),
                other => other,
            },
            other => Self::Migrate(other),
        }
    }
}

/// SQLite names the column in its message only, PostgreSQL the index, which is `<table>_<column>_live`.
fn taken_column(error: &dyn sqlx::error::DatabaseError) -> Option<String> {
    let column = if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
        let index = error.constraint()?.strip_prefix(error.table()?)?;
        index.strip_prefix('_')?.strip_suffix("_live")?
    } else {
        let columns = error.message().split_once("failed: ")?.1;
        if columns.contains(',') {
            return None;
        }
        columns.split_once('.')?.1
    };
    match column.strip_suffix("_lower").or(column.strip_suffix("_key")).unwrap_or(column) {
        name @ ("username" | "email" | "name" | "issuer") => Some(name.to_owned()),
        _ => None,
    }
}

/// Whether the failure is about the database's present state and not about the statement.
fn passing(error: &dyn sqlx::error::DatabaseError) -> bool {
    if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
        let code = error.code();
        // Lost connections, no resources, shutdown, not yet started, lost races for locks.
        return ["08", "53"].iter().any(|class| code.starts_with(class))
            || ["57P01", "57P02", "57P03", "40001", "40P01", "55P03"].contains(&code);
    }
    let Some(error) = error.try_downcast_ref::<SqliteError>() else { return false };
    let code = sqlx::error::DatabaseError::code(error).and_then(|code| code.parse::<u32>().ok());
    // The primary code is the low byte: BUSY, LOCKED, IOERR, FULL, CANTOPEN.
    code.is_some_and(|code| [5, 6, 10, 13, 14].contains(&(code & 0xff)))
}
