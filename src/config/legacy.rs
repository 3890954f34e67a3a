//! The predecessor's names for our settings, so that its `.env` keeps working.
//!
//! Own names (`CEDARGATE_…`) beat these at the same place. Names of the predecessor that mean nothing here are
//! ignored, and so is every other variable: the environment is shared with the rest of the system.

/// A name and how its value reads in our units and spellings.
pub(super) struct Alias {
    pub(super) name: &'static str,
    pub(super) key: &'static str,
    pub(super) reading: fn(&str) -> String,
}

const fn same(name: &'static str, key: &'static str) -> Alias {
    Alias { name, key, reading: str::to_owned }
}

const fn read(name: &'static str, key: &'static str, reading: fn(&str) -> String) -> Alias {
    Alias { name, key, reading }
}

/// In order of precedence for one key.
pub(super) static ALIASES: &[Alias] = &[
    same("CEDARGATE_BOOTSTRAP_PASSWORD", "auth.bootstrap_password"),
    same("API_PREFIX", "admin.api_prefix"),
    same("METRICS_ENABLED", "metrics.enabled"),
    same("DATABASE_URL", "database.url"),
    same("DATABASE_POOL_SIZE", "database.pool_size"),
    same("DATABASE_MAX_OVERFLOW", "database.max_overflow"),
    read("DATABASE_POOL_TIMEOUT", "database.pool_timeout_ms", milliseconds),
    same("SECRET_KEY", "auth.secret_key"),
    same("ACCESS_TOKEN_EXPIRE_MINUTES", "auth.access_token_minutes"),
    same("REFRESH_TOKEN_EXPIRE_DAYS", "auth.refresh_token_days"),
    same("PASSWORD_MIN_LENGTH", "password_policy.min_length"),
    same("PASSWORD_REQUIRE_UPPERCASE", "password_policy.require_uppercase"),
    same("PASSWORD_REQUIRE_LOWERCASE", "password_policy.require_lowercase"),
    same("PASSWORD_REQUIRE_NUMBERS", "password_policy.require_numbers"),
    same("PASSWORD_REQUIRE_SPECIAL", "password_policy.require_special"),
    same("PASSWORD_REQUIRE_SPECIAL_CHARS", "password_policy.require_special"),
    read("LOG_LEVEL", "log.level", level),
    same("ALLOWED_ORIGINS", "cors.allowed_origins"),
    same("CORS_ORIGINS", "cors.allowed_origins"),
    same("CORS_ALLOW_ORIGINS", "cors.allowed_origins"),
    same("ALLOW_CREDENTIALS", "cors.allow_credentials"),
    same("CORS_ALLOW_CREDENTIALS", "cors.allow_credentials"),
    same("ALLOWED_METHODS", "cors.allowed_methods"),
    same("CORS_ALLOW_METHODS", "cors.allowed_methods"),
    same("ALLOWED_HEADERS", "cors.allowed_headers"),
    same("CORS_ALLOW_HEADERS", "cors.allowed_headers"),
    same("APP_NAME", "app.name"),
    read("ENVIRONMENT", "app.environment", environment),
    same("DEBUG", "app.debug"),
];

/// The predecessor's names for one key.
pub(super) fn of(key: &str) -> impl Iterator<Item = &'static Alias> {
    ALIASES.iter().filter(move |alias| alias.key == key)
}

/// The predecessor counted in seconds here.
fn milliseconds(seconds: &str) -> String {
    match seconds.trim().parse::<u64>() {
        Ok(seconds) => seconds.saturating_mul(1_000).to_string(),
        Err(_) => seconds.to_owned(),
    }
}

/// Python's names of log levels.
fn level(name: &str) -> String {
    let name = name.trim().to_ascii_lowercase();
    match name.as_str() {
        "warning" => "warn".to_owned(),
        "critical" | "fatal" => "error".to_owned(),
        _ => name,
    }
}

/// Whatever is not plainly a developer's machine is production.
fn environment(name: &str) -> String {
    let name = name.trim().to_ascii_lowercase();
    match name.as_str() {
        "prod" | "staging" => "production".to_owned(),
        "dev" | "local" | "test" | "testing" => "development".to_owned(),
        _ => name,
    }
}
