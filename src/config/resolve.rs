//! From merged values to typed settings.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::settings::{
    AccessLog, Activity, Admin, Allowance, App, Argon2, Audit, Auth, Cors, Database, Docs, Environment, Explain,
    Gateway, IssuerKeys, Lockout, Log, LogFormat, Metrics, PasswordPolicy, Policy, RateLimit, SecurityHeaders,
    SecurityLog, Sessions, Settings, TlsFiles,
};
use super::values::Values;
use super::{Error, Sources, mail};
use crate::model::{ForwardedHeader, Network, NetworkError, Secret};

/// What ends the path of a `sqlite:` address, and the escape itself.
const IN_PATH: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#');

/// Of what tokens call us, in bytes.
const LONGEST_NAME: usize = 256;

/// Each request of a proxy is compared with all of them.
const MOST_NETWORKS: usize = 256;

/// Fills in the database of the data directory, and takes off a driver as `SQLAlchemy` writes it
/// (`postgresql+psycopg2://`).
pub(super) fn database_url(data_dir: &Path, values: &mut Values) -> Result<(), Error> {
    let url = values.text("database.url");
    let origin = values.origin("database.url").clone();
    if url.is_empty() {
        let path = data_dir.join("cedargate.db");
        let path = path.to_str().ok_or_else(|| values.refused("database.url", "needs a data directory in UTF-8"))?;
        let url = format!("sqlite:{}", utf8_percent_encode(path, IN_PATH));
        return values.read_path("database.url", &url, origin);
    }
    let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
    let bare = scheme.split_once('+').map_or(scheme, |(bare, _driver)| bare);
    let known = match bare {
        "sqlite" => !rest.is_empty(),
        "postgres" | "postgresql" => rest.starts_with("//"),
        _ => false,
    };
    if !known {
        return Err(values.invalid("database.url", "sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME", url));
    }
    let url = format!("{bare}:{rest}");
    values.read_path("database.url", &url, origin)
}

pub(super) fn settings(sources: &Sources, values: &Values) -> Result<Settings, Error> {
    Ok(Settings {
        mode: sources.mode,
        data_dir: sources.data_dir.clone(),
        gateway: gateway(values)?,
        admin: admin(values)?,
        docs: Docs { enabled: values.switch("docs.enabled") },
        metrics: Metrics { enabled: values.switch("metrics.enabled"), listen: values.address("metrics.listen")? },
        database: Database {
            url: values.secret("database.url"),
            max_connections: values.number::<u32>("database.pool_size")?
                + values.number::<u32>("database.max_overflow")?,
            acquire_timeout: milliseconds(values, "database.pool_timeout_ms")?,
        },
        auth: auth(values)?,
        lockout: Lockout {
            account_failures: values.number("lockout.account_failures")?,
            address_failures: values.number("lockout.address_failures")?,
            longest: seconds(values, "lockout.longest_seconds")?,
        },
        sessions: sessions(values)?,
        password_policy: PasswordPolicy {
            min_length: values.number("password_policy.min_length")?,
            require_uppercase: values.switch("password_policy.require_uppercase"),
            require_lowercase: values.switch("password_policy.require_lowercase"),
            require_numbers: values.switch("password_policy.require_numbers"),
            require_special: values.switch("password_policy.require_special"),
            min_strength: values.number("password_policy.min_strength")?,
        },
        smtp: mail::smtp(values)?,
        mail: mail::mail(values)?,
        policy: Policy { dir: path(values, "policy.dir") },
        explain: Explain { recent_requests: values.number("explain.recent_requests")? },
        audit: Audit {
            retention: match values.number::<u64>("audit.retention_days")? {
                0 => None,
                days => Some(Duration::from_secs(days * 86_400)),
            },
        },
        log: Log {
            level: values
                .text("log.level")
                .parse()
                .map_err(|_| values.invalid("log.level", "a level", values.text("log.level")))?,
            security: security_log(sources, values)?,
            format: if values.text("log.format") == "text" { LogFormat::Text } else { LogFormat::Json },
        },
        access_log: AccessLog { enabled: values.switch("access_log.enabled") },
        cors: cors(values)?,
        security_headers: SecurityHeaders {
            enabled: values.switch("security_headers.enabled"),
            hsts_max_age: seconds(values, "security_headers.hsts_max_age_seconds")?,
        },
        rate_limit: RateLimit {
            enabled: values.switch("rate_limit.enabled"),
            anonymous: allowance(values, "rate_limit.anonymous_requests", "rate_limit.anonymous_window_seconds")?,
            authenticated: allowance(
                values,
                "rate_limit.authenticated_requests",
                "rate_limit.authenticated_window_seconds",
            )?,
            register: allowance(values, "rate_limit.register_requests", "rate_limit.register_window_seconds")?,
            mail: allowance(values, "rate_limit.mail_requests", "rate_limit.mail_window_seconds")?,
            gateway_anonymous: allowance_if_any(
                values,
                "rate_limit.gateway_anonymous_requests",
                "rate_limit.gateway_anonymous_window_seconds",
            )?,
            gateway_authenticated: allowance_if_any(
                values,
                "rate_limit.gateway_authenticated_requests",
                "rate_limit.gateway_authenticated_window_seconds",
            )?,
        },
        activity: Activity {
            retention: Duration::from_secs(values.number::<u64>("activity.retention_days")? * 86_400),
        },
        app: App {
            name: values.text("app.name").to_owned(),
            description: values.text("app.description").to_owned(),
            version: match values.text("app.version") {
                "" => env!("CARGO_PKG_VERSION").to_owned(),
                version => version.to_owned(),
            },
            public_url: mail::public_url(values)?,
            environment: match values.text("app.environment") {
                "development" => Environment::Development,
                _ => Environment::Production,
            },
            debug: values.switch("app.debug"),
        },
        entries: values.entries(),
    })
}

/// A file named without a place is kept with the other data.
fn security_log(sources: &Sources, values: &Values) -> Result<Option<SecurityLog>, Error> {
    let file = values.text("log.file");
    if file.is_empty() {
        return Ok(None);
    }
    Ok(Some(SecurityLog {
        file: sources.data_dir.join(file),
        max_bytes: values.number("log.max_bytes")?,
        daily: values.text("log.rotation") == "daily",
        backups: values.number("log.backups")?,
    }))
}

fn gateway(values: &Values) -> Result<Gateway, Error> {
    Ok(Gateway {
        listen: listen(values, "gateway.listen")?,
        workers: match values.number("gateway.workers")? {
            0 => cores(),
            workers => workers,
        },
        mount: values.switch("gateway.mount"),
        max_body_bytes: values.number("gateway.max_body_bytes")?,
        max_connections: values.number("gateway.max_connections")?,
        max_connections_per_address: values.number("gateway.max_connections_per_address")?,
        header_timeout: milliseconds(values, "gateway.header_timeout_ms")?,
        body_read_timeout: milliseconds(values, "gateway.body_read_timeout_ms")?,
        keepalive_timeout: milliseconds(values, "gateway.keepalive_timeout_ms")?,
        shutdown_timeout: milliseconds(values, "gateway.shutdown_timeout_ms")?,
        tls: match (path(values, "gateway.tls_certificate"), path(values, "gateway.tls_key")) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
            (None, None) => None,
            (Some(_), None) => {
                return Err(values.refused("gateway.tls_certificate", "is set without gateway.tls_key"));
            }
            (None, Some(_)) => {
                return Err(values.refused("gateway.tls_key", "is set without gateway.tls_certificate"));
            }
        },
        trusted_proxies: networks(values, "gateway.trusted_proxies")?,
        forwarded_header: match values.text("gateway.forwarded_header") {
            "forwarded" => ForwardedHeader::Forwarded,
            _ => ForwardedHeader::XForwardedFor,
        },
        proxy_protocol: values.switch("gateway.proxy_protocol"),
        token_cache_entries: values.number("gateway.token_cache_entries")?,
        upstream_pool_size: values.number("gateway.upstream_pool_size")?,
    })
}

fn admin(values: &Values) -> Result<Admin, Error> {
    let prefix = values.text("admin.api_prefix");
    if !is_plain_prefix(prefix) {
        let expected = "a path such as /api/v1: it begins with / and does not end with it; letters, digits, . _ ~ -";
        return Err(values.invalid("admin.api_prefix", expected, prefix));
    }
    Ok(Admin {
        listen: listen(values, "admin.listen")?,
        api_prefix: prefix.to_owned(),
        max_body_bytes: values.number("admin.max_body_bytes")?,
        missing_credentials_status: match values.text("admin.missing_credentials_status") {
            "403" => ::http::StatusCode::FORBIDDEN,
            _ => ::http::StatusCode::UNAUTHORIZED,
        },
        request_timeout: milliseconds(values, "admin.request_timeout_ms")?,
    })
}

fn auth(values: &Values) -> Result<Auth, Error> {
    let minutes: u64 = values.number("auth.access_token_minutes")?;
    let bootstrap = values.text("auth.bootstrap_password");
    Ok(Auth {
        secret_key: values.secret("auth.secret_key"),
        // HS256 is none of them.
        signing_algorithm: values.text("auth.signing_algorithm").parse().ok(),
        signing_key_file: path(values, "auth.signing_key_file"),
        verifying_key_files: values.list("auth.verifying_key_files").into_iter().map(PathBuf::from).collect(),
        key_encryption_key: values.secret("auth.key_encryption_key"),
        issuer: own_name(values, "auth.issuer")?,
        audience: own_name(values, "auth.audience")?,
        access_token: Duration::from_secs(minutes * 60),
        bootstrap_password: (!bootstrap.is_empty()).then(|| Secret::new(bootstrap.to_owned())),
        leeway: seconds(values, "auth.leeway_seconds")?,
        hash_threads: match values.number("auth.hash_threads")? {
            0 => (cores() / 2).max(1),
            threads => threads,
        },
        hash_queue: values.number("auth.hash_queue")?,
        argon2: Argon2 {
            memory_kib: values.number("auth.argon2_memory_kib")?,
            iterations: values.number("auth.argon2_iterations")?,
            parallelism: values.number("auth.argon2_parallelism")?,
        },
        user_registration: values.switch("auth.user_registration"),
        email_verification: mail::verification(values),
        login_failures: values.number("auth.login_failures")?,
        login_window: seconds(values, "auth.login_window_seconds")?,
        issuers: values.issuers("auth.issuers"),
        issuer_keys: IssuerKeys {
            refresh: seconds(values, "auth.issuer_refresh_seconds")?,
            refetch: seconds(values, "auth.issuer_refetch_seconds")?,
            outage: seconds(values, "auth.issuer_outage_seconds")?,
        },
    })
}

fn sessions(values: &Values) -> Result<Sessions, Error> {
    let days = |path| values.number::<u64>(path).map(|days| Duration::from_secs(days * 86_400));
    let refresh = days("auth.refresh_token_days")?;
    let idle = match values.number::<u64>("sessions.idle_minutes")? {
        0 => refresh,
        minutes => refresh.min(Duration::from_secs(minutes * 60)),
    };
    let longest = days("sessions.longest_days")?;
    Ok(Sessions {
        max_per_user: values.number("sessions.max_per_user")?,
        idle: idle.min(longest),
        longest,
        refresh_grace: seconds(values, "sessions.refresh_grace_seconds")?,
    })
}

/// What tokens call us: a claim that is compared byte by byte.
fn own_name(values: &Values, key: &str) -> Result<String, Error> {
    let text = values.text(key);
    let is_fine = !text.is_empty() && text.len() <= LONGEST_NAME && text.chars().all(|c| !c.is_control() && c != ' ');
    let expected = "a name or an address, without spaces, of at most 256 bytes";
    is_fine.then(|| text.to_owned()).ok_or_else(|| values.invalid(key, expected, text))
}

fn cors(values: &Values) -> Result<Cors, Error> {
    let each = |path: &str, expected: &str, valid: fn(&str) -> bool| {
        let items = values.list(path);
        match items.iter().find(|item| *item != "*" && !valid(item)) {
            Some(bad) => Err(values.invalid(path, expected, bad)),
            None => Ok(items),
        }
    };
    let origin = "a list of * or origins such as https://app.example.com";
    let origins = each("cors.allowed_origins", origin, |text| is_origin(text.trim_end_matches('/')))?;
    Ok(Cors {
        allowed_origins: origins.iter().map(|text| text.trim_end_matches('/').to_owned()).collect(),
        allow_credentials: values.switch("cors.allow_credentials"),
        allowed_methods: each("cors.allowed_methods", "a list of * or methods", |text| {
            text.parse::<::http::Method>().is_ok()
        })?,
        allowed_headers: each("cors.allowed_headers", "a list of * or header names", |text| {
            text.parse::<::http::HeaderName>().is_ok()
        })?,
        max_age: seconds(values, "cors.max_age_seconds")?,
    })
}

fn allowance(values: &Values, requests: &str, window: &str) -> Result<Allowance, Error> {
    let count = NonZeroU32::new(values.number(requests)?);
    let count = count.ok_or_else(|| values.invalid(requests, "a number from 1", "0"))?;
    Ok(Allowance { requests: count, window: seconds(values, window)? })
}

/// The same where 0 is no limit.
fn allowance_if_any(values: &Values, requests: &str, window: &str) -> Result<Option<Allowance>, Error> {
    match values.number(requests)? {
        0_u32 => Ok(None),
        _ => allowance(values, requests, window).map(Some),
    }
}

fn networks(values: &Values, key: &str) -> Result<Vec<Network>, Error> {
    let items = values.list(key);
    if items.len() > MOST_NETWORKS {
        return Err(values.refused(key, format!("has {} networks; {MOST_NETWORKS} are the most", items.len())));
    }
    let read =
        |item: &String| item.parse().map_err(|error: NetworkError| values.refused(key, format!("{item:?} {error}")));
    items.iter().map(read).collect()
}

fn listen(values: &Values, path: &str) -> Result<std::net::SocketAddr, Error> {
    values.address(path)?.ok_or_else(|| values.invalid(path, "an address and port", ""))
}

pub(super) fn path(values: &Values, key: &str) -> Option<PathBuf> {
    Some(values.text(key)).filter(|text| !text.is_empty()).map(PathBuf::from)
}

pub(super) fn milliseconds(values: &Values, path: &str) -> Result<Duration, Error> {
    values.number(path).map(Duration::from_millis)
}

fn seconds(values: &Values, path: &str) -> Result<Duration, Error> {
    values.number(path).map(Duration::from_secs)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Segments of unreserved characters (RFC 3986 2.3), none of them `.` or `..`.
fn is_plain_prefix(prefix: &str) -> bool {
    prefix.strip_prefix('/').is_some_and(|rest| {
        rest.split('/').all(|segment| {
            !matches!(segment, "" | "." | "..")
                && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte))
        })
    })
}

/// Scheme, host and port as browsers send them; apps and extensions have schemes of their own.
fn is_origin(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, rest)| {
        !scheme.is_empty() && !rest.is_empty() && !rest.contains(['/', '?', '#', '@', ' ', '*'])
    })
}
