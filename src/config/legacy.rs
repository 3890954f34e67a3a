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
    same("DOCS_ENABLED", "docs.enabled"),
    same("METRICS_ENABLED", "metrics.enabled"),
    same("DATABASE_URL", "database.url"),
    same("DATABASE_POOL_SIZE", "database.pool_size"),
    same("DATABASE_MAX_OVERFLOW", "database.max_overflow"),
    read("DATABASE_POOL_TIMEOUT", "database.pool_timeout_ms", milliseconds),
    same("SECRET_KEY", "auth.secret_key"),
    same("ACCESS_TOKEN_EXPIRE_MINUTES", "auth.access_token_minutes"),
    same("REFRESH_TOKEN_EXPIRE_DAYS", "auth.refresh_token_days"),
    same("USER_REGISTRATION_ENABLED", "auth.user_registration"),
    read("ACCOUNT_ACTIVATION_REQUIRED", "auth.email_verification", verification),
    same("PASSWORD_MIN_LENGTH", "password_policy.min_length"),
    same("PASSWORD_REQUIRE_UPPERCASE", "password_policy.require_uppercase"),
    same("PASSWORD_REQUIRE_LOWERCASE", "password_policy.require_lowercase"),
    same("PASSWORD_REQUIRE_NUMBERS", "password_policy.require_numbers"),
    same("PASSWORD_REQUIRE_SPECIAL", "password_policy.require_special"),
    same("PASSWORD_REQUIRE_SPECIAL_CHARS", "password_policy.require_special"),
    same("SMTP_HOST", "smtp.host"),
    same("SMTP_PORT", "smtp.port"),
    read("SMTP_USE_TLS", "smtp.security", security),
    same("SMTP_USERNAME", "smtp.username"),
    same("SMTP_PASSWORD", "smtp.password"),
    same("EMAIL_FROM", "mail.from"),
    read("LOG_LEVEL", "log.level", level),
    same("LOG_FILE", "log.file"),
    same("LOG_FILE_PATH", "log.file"),
    read("LOG_MAX_SIZE", "log.max_bytes", bytes),
    read("LOG_MAX_FILE_SIZE", "log.max_bytes", bytes),
    read("LOG_ROTATION", "log.rotation", rotation),
    same("LOG_BACKUP_COUNT", "log.backups"),
    same("ALLOWED_ORIGINS", "cors.allowed_origins"),
    same("CORS_ORIGINS", "cors.allowed_origins"),
    same("CORS_ALLOW_ORIGINS", "cors.allowed_origins"),
    same("ALLOW_CREDENTIALS", "cors.allow_credentials"),
    same("CORS_ALLOW_CREDENTIALS", "cors.allow_credentials"),
    same("ALLOWED_METHODS", "cors.allowed_methods"),
    same("CORS_ALLOW_METHODS", "cors.allowed_methods"),
    same("ALLOWED_HEADERS", "cors.allowed_headers"),
    same("CORS_ALLOW_HEADERS", "cors.allowed_headers"),
    same("SECURITY_HEADERS_ENABLED", "security_headers.enabled"),
    same("RATE_LIMIT_ENABLED", "rate_limit.enabled"),
    same("RATE_LIMIT_LOGIN_MAX", "auth.login_failures"),
    same("RATE_LIMIT_LOGIN_WINDOW", "auth.login_window_seconds"),
    same("MAX_CONCURRENT_SESSIONS", "sessions.max_per_user"),
    same("SESSION_TIMEOUT_MINUTES", "sessions.idle_minutes"),
    same("RATE_LIMIT_API_ANONYMOUS_MAX", "rate_limit.anonymous_requests"),
    same("RATE_LIMIT_API_ANONYMOUS_WINDOW", "rate_limit.anonymous_window_seconds"),
    same("RATE_LIMIT_REQUESTS", "rate_limit.anonymous_requests"),
    same("RATE_LIMIT_WINDOW", "rate_limit.anonymous_window_seconds"),
    same("RATE_LIMIT_API_AUTHENTICATED_MAX", "rate_limit.authenticated_requests"),
    same("RATE_LIMIT_API_AUTHENTICATED_WINDOW", "rate_limit.authenticated_window_seconds"),
    same("RATE_LIMIT_REGISTER_MAX", "rate_limit.register_requests"),
    same("RATE_LIMIT_REGISTER_WINDOW", "rate_limit.register_window_seconds"),
    same("APP_NAME", "app.name"),
    same("APP_DESCRIPTION", "app.description"),
    same("APP_VERSION", "app.version"),
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

/// Whether an account is usable only once its address is verified.
fn verification(switch: &str) -> String {
    match switch.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => "required".to_owned(),
        "false" | "0" | "no" | "off" => "off".to_owned(),
        other => other.to_owned(),
    }
}

/// What libraries of Python call TLS begins in clear, at port 587.
fn security(switch: &str) -> String {
    match switch.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => "starttls".to_owned(),
        "false" | "0" | "no" | "off" => "none".to_owned(),
        other => other.to_owned(),
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

/// `10 MB`, `10MB` or plain bytes.
fn bytes(size: &str) -> String {
    let size = size.trim().to_ascii_lowercase();
    let (number, unit) = size.split_at(size.find(|c: char| !c.is_ascii_digit()).unwrap_or(size.len()));
    let factor: u64 = match unit.trim() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return size,
    };
    number.parse::<u64>().map_or(size.clone(), |number| number.saturating_mul(factor).to_string())
}

/// Any stretch of time is the day we know; a size is covered by the size's own name.
fn rotation(text: &str) -> String {
    let text = text.trim().to_ascii_lowercase();
    let by_time = ["day", "daily", "midnight", "hour", "week", "month"].iter().any(|word| text.contains(word));
    let by_size = text.chars().next().is_some_and(|c| c.is_ascii_digit()) && text.ends_with('b');
    match (by_time, by_size) {
        (true, _) => "daily".to_owned(),
        (false, true) => "size".to_owned(),
        (false, false) => text,
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
