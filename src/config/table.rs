use super::key::{Key, Kind};
use crate::model::nearest_by;
use Kind::{Address, Choice, Issuers, List, Number, OptionalAddress, Secret, Switch, Text, UpstreamCertificates, Url};

const DAY_S: u64 = 86_400;
const YEAR_S: u64 = 365 * DAY_S;
const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 3_600_000;

const fn key(path: &'static str, kind: Kind, default: &'static str) -> Key {
    Key { path, kind, default, dev: None }
}

impl Key {
    const fn dev(self, default: &'static str) -> Self {
        Self { dev: Some(default), ..self }
    }
}

/// Every setting there is.
pub(super) static KEYS: &[Key] = &[
    key("gateway.listen", Address, "0.0.0.0:8000").dev("127.0.0.1:8000"),
    key("gateway.workers", Number(0, 1_024), "0"),
    key("gateway.mount", Switch, "true"),
    key("gateway.max_body_bytes", Number(1, 1 << 40), "10485760"),
    key("gateway.max_connections", Number(0, 10_000_000), "65536"),
    key("gateway.max_connections_per_address", Number(0, 10_000_000), "16384"),
    key("gateway.max_requests", Number(0, 10_000_000), "65536"),
    key("gateway.max_memory_bytes", Number(0, 1 << 50), "0"),
    key("gateway.max_header_bytes", Number(1_024, 1 << 20), "65536"),
    key("gateway.max_header_fields", Number(8, 256), "128"),
    key("gateway.max_target_bytes", Number(64, 8_192), "8192"),
    key("gateway.handshake_timeout_ms", Number(100, 10 * MINUTE_MS), "10000"),
    key("gateway.header_timeout_ms", Number(100, 10 * MINUTE_MS), "10000"),
    key("gateway.body_read_timeout_ms", Number(100, HOUR_MS), "30000"),
    key("gateway.body_timeout_ms", Number(100, 24 * HOUR_MS), "60000"),
    key("gateway.body_min_bytes_per_second", Number(0, 1 << 30), "1024"),
    key("gateway.write_timeout_ms", Number(100, HOUR_MS), "30000"),
    key("gateway.keepalive_timeout_ms", Number(100, HOUR_MS), "60000"),
    key("gateway.shutdown_timeout_ms", Number(0, HOUR_MS), "30000"),
    key("gateway.upgrade_timeout_ms", Number(1_000, HOUR_MS), "60000"),
    key("gateway.tls_certificate", Text, ""),
    key("gateway.tls_key", Text, ""),
    key("gateway.tls_more_certificates", List, ""),
    key("gateway.tls_more_keys", List, ""),
    key("gateway.tls_min_version", Choice(&["1.2", "1.3"]), "1.2"),
    key("gateway.tls_client_auth", Choice(&["off", "optional", "required"]), "off"),
    key("gateway.tls_client_ca", Text, ""),
    key("gateway.redirect_listen", OptionalAddress, ""),
    key("gateway.redirect_port", Number(0, 65_535), "0"),
    key("gateway.http2_max_streams", Number(1, 10_000), "100"),
    key("gateway.http2_max_resets", Number(1, 1_000_000), "200"),
    key("gateway.http2_max_empty_frames", Number(10, 1_000_000), "1000"),
    key("gateway.trusted_proxies", List, ""),
    key("gateway.forwarded_header", Choice(&["x-forwarded-for", "forwarded"]), "x-forwarded-for"),
    key("gateway.proxy_protocol", Switch, "false"),
    key("gateway.token_cache_entries", Number(1, 10_000_000), "100000"),
    key("gateway.upstream_pool_size", Number(1, 65_536), "256"),
    key("gateway.dns_servers", List, ""),
    key("gateway.upstream_certificates", UpstreamCertificates, ""),
    key("admin.listen", Address, "127.0.0.1:8001"),
    key("admin.api_prefix", Text, "/api/v1"),
    key("admin.max_body_bytes", Number(1_024, 1 << 30), "1048576"),
    key("admin.missing_credentials_status", Choice(&["401", "403"]), "401"),
    key("admin.request_timeout_ms", Number(100, 10 * MINUTE_MS), "30000"),
    key("docs.enabled", Switch, "true"),
    key("metrics.enabled", Switch, "true"),
    key("metrics.listen", OptionalAddress, ""),
    key("database.url", Url, ""),
    key("database.pool_size", Number(1, 1_000), "5"),
    key("database.max_overflow", Number(0, 1_000), "10"),
    key("database.pool_timeout_ms", Number(100, 10 * MINUTE_MS), "30000"),
    key("auth.secret_key", Secret, ""),
    key("auth.signing_algorithm", Choice(&["HS256", "EdDSA", "ES256", "RS256"]), "HS256"),
    key("auth.signing_key_file", Text, ""),
    key("auth.verifying_key_files", List, ""),
    key("auth.key_encryption_key", Secret, ""),
    key("auth.issuer", Text, "cedargate"),
    key("auth.audience", Text, "cedargate"),
    key("auth.access_token_minutes", Number(1, 525_600), "30"),
    key("auth.refresh_token_days", Number(1, 3_650), "7"),
    key("auth.bootstrap_password", Secret, ""),
    key("auth.leeway_seconds", Number(0, 60), "5"),
    key("auth.hash_threads", Number(0, 256), "0"),
    key("auth.hash_queue", Number(1, 65_536), "64"),
    key("auth.argon2_memory_kib", Number(1_024, 1 << 22), "19456"),
    key("auth.argon2_iterations", Number(1, 100), "2"),
    key("auth.argon2_parallelism", Number(1, 64), "1"),
    key("auth.user_registration", Switch, "true"),
    key("auth.email_verification", Choice(&["off", "on", "required"]), "off"),
    key("auth.login_failures", Number(1, 1_000_000), "5"),
    key("auth.login_window_seconds", Number(1, 30 * DAY_S), "900"),
    key("auth.issuers", Issuers, ""),
    key("auth.issuer_refresh_seconds", Number(1, DAY_S), "300"),
    key("auth.issuer_refetch_seconds", Number(1, 3_600), "10"),
    key("auth.issuer_outage_seconds", Number(1, 30 * DAY_S), "86400"),
    key("lockout.account_failures", Number(0, 1_000_000), "100"),
    key("lockout.address_failures", Number(0, 1_000_000), "100"),
    key("lockout.longest_seconds", Number(1, 30 * DAY_S), "86400"),
    key("sessions.max_per_user", Number(1, 1_000), "20"),
    key("sessions.idle_minutes", Number(0, 5_256_000), "0"),
    key("sessions.longest_days", Number(1, 3_650), "30"),
    key("sessions.refresh_grace_seconds", Number(0, 10), "10"),
    key("password_policy.preset", Choice(&["", "lenient"]), ""),
    key("password_policy.min_length", Number(1, 128), "8"),
    key("password_policy.require_uppercase", Switch, "true"),
    key("password_policy.require_lowercase", Switch, "true"),
    key("password_policy.require_numbers", Switch, "true"),
    key("password_policy.require_special", Switch, "true"),
    key("password_policy.min_strength", Number(0, 4), "0"),
    key("smtp.host", Text, ""),
    key("smtp.port", Number(0, 65_535), "0"),
    key("smtp.security", Choice(&["starttls", "tls", "none"]), "starttls"),
    key("smtp.username", Text, ""),
    key("smtp.password", Secret, ""),
    key("smtp.ca_file", Text, ""),
    key("smtp.timeout_ms", Number(1_000, 5 * MINUTE_MS), "30000"),
    key("mail.from", Text, ""),
    key("mail.verify_path", Text, "/verify-email"),
    key("mail.reset_path", Text, "/reset-password"),
    key("mail.verification_hours", Number(1, 720), "24"),
    key("mail.reset_minutes", Number(1, 1_440), "30"),
    key("mail.per_hour", Number(1, 1_000), "5"),
    key("mail.max_waiting", Number(1, 1_000_000), "10000"),
    key("policy.dir", Text, ""),
    key("explain.recent_requests", Number(0, 100_000), "10000"),
    key("audit.retention_days", Number(0, 36_500), "365"),
    key("log.level", Choice(&["error", "warn", "info", "debug", "trace"]), "info"),
    key("log.format", Choice(&["json", "text"]), "json").dev("text"),
    key("log.file", Text, "logs/security.log"),
    key("log.max_bytes", Number(1_024, 1 << 40), "10485760"),
    key("log.rotation", Choice(&["daily", "size"]), "daily"),
    key("log.backups", Number(1, 1_000), "10"),
    key("access_log.enabled", Switch, "true"),
    key("cors.allowed_origins", List, "*"),
    key("cors.allow_credentials", Switch, "true"),
    key("cors.allowed_methods", List, "*"),
    key("cors.allowed_headers", List, "*"),
    key("cors.max_age_seconds", Number(0, DAY_S), "600"),
    key("security_headers.enabled", Switch, "true"),
    key("security_headers.hsts_max_age_seconds", Number(0, 10 * YEAR_S), "31536000"),
    key("rate_limit.enabled", Switch, "true"),
    key("rate_limit.anonymous_requests", Number(1, 1_000_000), "100"),
    key("rate_limit.anonymous_window_seconds", Number(1, 30 * DAY_S), "60"),
    key("rate_limit.authenticated_requests", Number(1, 1_000_000), "1000"),
    key("rate_limit.authenticated_window_seconds", Number(1, 30 * DAY_S), "60"),
    key("rate_limit.register_requests", Number(1, 1_000_000), "3"),
    key("rate_limit.register_window_seconds", Number(1, 30 * DAY_S), "3600"),
    key("rate_limit.mail_requests", Number(1, 1_000_000), "10"),
    key("rate_limit.mail_window_seconds", Number(1, 30 * DAY_S), "3600"),
    key("rate_limit.gateway_anonymous_requests", Number(0, 1_000_000), "0"),
    key("rate_limit.gateway_anonymous_window_seconds", Number(1, 30 * DAY_S), "60"),
    key("rate_limit.gateway_authenticated_requests", Number(0, 1_000_000), "0"),
    key("rate_limit.gateway_authenticated_window_seconds", Number(1, 30 * DAY_S), "60"),
    key("activity.retention_days", Number(0, 3_650), "90"),
    key("app.name", Text, "Cedargate"),
    key("app.description", Text, ""),
    key("app.version", Text, ""),
    key("app.public_url", Text, "").dev("http://127.0.0.1:8000"),
    key("app.environment", Choice(&["production", "development"]), "production").dev("development"),
    key("app.debug", Switch, "false"),
];

/// What `password_policy.preset = "lenient"` changes: any password of 6 characters, as the predecessor took them.
pub(super) const LENIENT: &[(&str, &str)] = &[
    ("password_policy.min_length", "6"),
    ("password_policy.require_uppercase", "false"),
    ("password_policy.require_lowercase", "false"),
    ("password_policy.require_numbers", "false"),
    ("password_policy.require_special", "false"),
];

/// The setting of that name.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The key that was probably meant by `path`, its last part counting on its own too.
pub(super) fn nearest_key(path: &str) -> Option<String> {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let score = |key: &str| {
        let whole = strsim::normalized_damerau_levenshtein(path, key);
        whole.max(0.9 * strsim::normalized_damerau_levenshtein(&last(path), &last(key)))
    };
    nearest_by(KEYS.iter().map(|key| key.path.to_owned()), score)
}
