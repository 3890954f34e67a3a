//! What a running server takes of settings that were read again.
//!
//! ## Why
//! What is not named here stays as it was until an upgrade: a setting that nobody thought of is then told as waiting,
//! and not shown as if it were in force.

use super::settings::Sessions;
use super::{Admin, App, Auth, EmailVerification, Entry, Gateway, Log, Settings};

const REGISTRATION: &str = "auth.user_registration";
/// Where the security log is, and for how long: without one, they say nothing.
const SECURITY_LOG: [&str; 4] = ["log.file", "log.max_bytes", "log.rotation", "log.backups"];

/// Keys that a reload puts into force, where what they depend on is in force too.
pub const RELOADED: &[&str] = &[
    "gateway.max_body_bytes",
    "gateway.max_connections",
    "gateway.max_connections_per_address",
    "gateway.max_requests",
    "gateway.max_memory_bytes",
    "gateway.max_header_bytes",
    "gateway.max_header_fields",
    "gateway.max_target_bytes",
    "gateway.handshake_timeout_ms",
    "gateway.header_timeout_ms",
    "gateway.body_read_timeout_ms",
    "gateway.body_timeout_ms",
    "gateway.body_min_bytes_per_second",
    "gateway.write_timeout_ms",
    "gateway.keepalive_timeout_ms",
    "gateway.shutdown_timeout_ms",
    "gateway.upgrade_timeout_ms",
    "gateway.tls_certificate",
    "gateway.tls_key",
    "gateway.tls_more_certificates",
    "gateway.tls_more_keys",
    "gateway.tls_min_version",
    "gateway.tls_client_auth",
    "gateway.tls_client_ca",
    "gateway.http2_max_streams",
    "gateway.http2_max_resets",
    "gateway.http2_max_empty_frames",
    "gateway.trusted_proxies",
    "gateway.forwarded_header",
    "gateway.proxy_protocol",
    "admin.max_body_bytes",
    "admin.missing_credentials_status",
    "admin.request_timeout_ms",
    REGISTRATION,
    "auth.login_failures",
    "auth.login_window_seconds",
    "lockout.account_failures",
    "lockout.address_failures",
    "lockout.longest_seconds",
    "sessions.max_per_user",
    "sessions.refresh_grace_seconds",
    "password_policy.preset",
    "password_policy.min_length",
    "password_policy.require_uppercase",
    "password_policy.require_lowercase",
    "password_policy.require_numbers",
    "password_policy.require_special",
    "password_policy.min_strength",
    "log.level",
    "log.file",
    "log.max_bytes",
    "log.rotation",
    "log.backups",
    "cors.allowed_origins",
    "cors.allow_credentials",
    "cors.allowed_methods",
    "cors.allowed_headers",
    "cors.max_age_seconds",
    "security_headers.enabled",
    "security_headers.hsts_max_age_seconds",
    "rate_limit.enabled",
    "rate_limit.anonymous_requests",
    "rate_limit.anonymous_window_seconds",
    "rate_limit.authenticated_requests",
    "rate_limit.authenticated_window_seconds",
    "rate_limit.register_requests",
    "rate_limit.register_window_seconds",
    "rate_limit.mail_requests",
    "rate_limit.mail_window_seconds",
    "rate_limit.gateway_anonymous_requests",
    "rate_limit.gateway_anonymous_window_seconds",
    "rate_limit.gateway_authenticated_requests",
    "rate_limit.gateway_authenticated_window_seconds",
    "app.version",
    "app.environment",
    "app.debug",
];

impl Settings {
    /// What a server that runs on these settings does once it has read `new` ones, and the keys whose change needs an
    /// upgrade.
    pub fn taking(&self, new: &Self) -> (Self, Vec<&'static str>) {
        let has_tls = self.gateway.tls.is_some() == new.gateway.tls.is_some();
        let has_log = self.log.security.is_some() == new.log.security.is_some();
        let takes_registration = !new.auth.user_registration || verifies_alike(self, new);
        let is_taken = |key: &str| {
            RELOADED.contains(&key)
                && (has_tls || !key.starts_with("gateway.tls_"))
                && (has_log || !SECURITY_LOG.contains(&key))
                && (takes_registration || key != REGISTRATION)
        };
        let mut waiting: Vec<&str> = secrets(self, new);
        let entries = self.entries.iter().zip(&new.entries).map(|(old, new): (&Entry, &Entry)| {
            if is_taken(old.key) {
                return new.clone();
            }
            if old.value != new.value && !waiting.contains(&old.key) {
                waiting.push(old.key);
            }
            old.clone()
        });
        let entries = entries.collect();
        let taken = Self {
            gateway: gateway(&self.gateway, &new.gateway),
            admin: Admin {
                max_body_bytes: new.admin.max_body_bytes,
                missing_credentials_status: new.admin.missing_credentials_status,
                request_timeout: new.admin.request_timeout,
                ..self.admin.clone()
            },
            auth: Auth {
                user_registration: if takes_registration {
                    new.auth.user_registration
                } else {
                    self.auth.user_registration
                },
                login_failures: new.auth.login_failures,
                login_window: new.auth.login_window,
                ..self.auth.clone()
            },
            lockout: new.lockout,
            sessions: Sessions {
                max_per_user: new.sessions.max_per_user,
                refresh_grace: new.sessions.refresh_grace,
                ..self.sessions
            },
            password_policy: new.password_policy,
            log: Log {
                level: new.log.level,
                security: if has_log { new.log.security.clone() } else { self.log.security.clone() },
                ..self.log.clone()
            },
            cors: new.cors.clone(),
            security_headers: new.security_headers,
            rate_limit: new.rate_limit,
            app: App {
                version: new.app.version.clone(),
                environment: new.app.environment,
                debug: new.app.debug,
                ..self.app.clone()
            },
            entries,
            ..self.clone()
        };
        (taken, waiting)
    }
}

/// Secrets are shown alike whatever they are.
fn secrets(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let password = |settings: &Settings| {
        let credentials = settings.smtp.as_ref().and_then(|smtp| smtp.credentials.as_ref());
        credentials.map(|(_, password)| password.expose().clone())
    };
    [
        ("database.url", old.database.url.expose() == new.database.url.expose()),
        ("auth.secret_key", old.auth.secret_key.expose() == new.auth.secret_key.expose()),
        ("auth.key_encryption_key", old.auth.key_encryption_key.expose() == new.auth.key_encryption_key.expose()),
        ("smtp.password", password(old) == password(new)),
    ]
    .into_iter()
    .filter_map(|(key, is_same)| (!is_same).then_some(key))
    .collect()
}

/// Whether those who register are verified alike: what opens registration must not come before what guards it.
fn verifies_alike(old: &Settings, new: &Settings) -> bool {
    let has_same_mail = old.smtp == new.smtp && old.mail == new.mail && old.app.public_url == new.app.public_url;
    old.auth.email_verification == new.auth.email_verification
        && (has_same_mail || new.auth.email_verification == EmailVerification::Off)
}

fn gateway(old: &Gateway, new: &Gateway) -> Gateway {
    Gateway {
        max_body_bytes: new.max_body_bytes,
        max_connections: new.max_connections,
        max_connections_per_address: new.max_connections_per_address,
        max_requests: new.max_requests,
        max_memory_bytes: new.max_memory_bytes,
        head: new.head,
        handshake_timeout: new.handshake_timeout,
        header_timeout: new.header_timeout,
        body_read_timeout: new.body_read_timeout,
        body_timeout: new.body_timeout,
        body_min_bytes_per_second: new.body_min_bytes_per_second,
        write_timeout: new.write_timeout,
        keepalive_timeout: new.keepalive_timeout,
        shutdown_timeout: new.shutdown_timeout,
        upgrade_timeout: new.upgrade_timeout,
        tls: if old.tls.is_some() && new.tls.is_some() { new.tls.clone() } else { old.tls.clone() },
        http2: new.http2,
        trusted_proxies: new.trusted_proxies.clone(),
        forwarded_header: new.forwarded_header,
        proxy_protocol: new.proxy_protocol,
        ..old.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::table::KEYS;
    use crate::config::{Error, Mode, Sources};

    fn settings(flags: &[(&str, &str)]) -> Settings {
        load(flags).unwrap()
    }

    fn load(flags: &[(&str, &str)]) -> Result<Settings, Error> {
        Settings::load(&Sources {
            config_file: None,
            data_dir: "/nowhere".into(),
            mode: Mode::Offline,
            environment: Vec::new(),
            dotenv: None,
            flags: flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        })
    }

    #[test]
    fn keys_are_settings() {
        for key in RELOADED {
            assert!(KEYS.iter().any(|one| one.path == *key), "{key}");
        }
    }

    #[test]
    fn what_cannot_be_taken_waits_and_is_not_shown_as_taken() {
        let old = settings(&[]);
        let new = settings(&[
            ("gateway.max_body_bytes", "77"),
            ("gateway.listen", "127.0.0.1:9"),
            ("auth.secret_key", "something else altogether, of some length"),
            ("auth.leeway_seconds", "7"),
        ]);
        let (taken, waiting) = old.taking(&new);
        assert_eq!(waiting, ["auth.secret_key", "gateway.listen", "auth.leeway_seconds"]);
        assert_eq!(taken.gateway.max_body_bytes, 77);
        assert_eq!((taken.gateway.listen, taken.auth.leeway), (old.gateway.listen, old.auth.leeway));
        let shown = taken.shown();
        assert_eq!((&shown["gateway"]["max_body_bytes"], &shown["auth"]["leeway_seconds"]), (&77.into(), &5.into()));
        assert!(old.taking(&old).1.is_empty() && old.taking(&old).0 == old);
    }

    #[test]
    fn registration_is_not_opened_before_what_guards_it() {
        let mail = [("smtp.host", "localhost"), ("mail.from", "a@b.example"), ("app.public_url", "https://b.example")];
        let with = |more: &[(&str, &str)]| settings(&[&mail[..], more].concat());
        let closed = ("auth.user_registration", "false");
        let old = with(&[closed]);
        let (taken, waiting) = old.taking(&with(&[("auth.email_verification", "required")]));
        assert_eq!(waiting, ["auth.user_registration", "auth.email_verification"]);
        assert!(!taken.auth.user_registration);
        // Without verification, mail is no guard.
        let (taken, waiting) = old.taking(&with(&[("mail.per_hour", "7")]));
        assert!(taken.auth.user_registration && waiting == ["mail.per_hour"], "{waiting:?}");
        let required = ("auth.email_verification", "required");
        let (taken, waiting) = with(&[closed, required]).taking(&with(&[required, ("mail.per_hour", "7")]));
        assert!(!taken.auth.user_registration && waiting.contains(&"auth.user_registration"), "{waiting:?}");
        assert!(with(&[closed, required]).taking(&with(&[required])).0.auth.user_registration);
        // What closes it waits for nothing.
        assert!(!with(&[]).taking(&with(&[closed, required])).0.auth.user_registration);
    }

    #[test]
    fn a_log_that_stays_is_kept_as_it_was() {
        let old = settings(&[("log.file", "security.log")]);
        let (taken, waiting) = old.taking(&settings(&[("log.file", ""), ("log.backups", "9")]));
        assert_eq!(waiting, ["log.file", "log.backups"]);
        assert!(taken.log == old.log);
    }

    /// Each of these keys, changed alone, is taken as a whole; of others, nothing is.
    #[test]
    fn what_is_listed_is_what_is_taken() {
        let old = settings(&[]);
        for key in KEYS {
            let other = match key.kind {
                crate::config::key::Kind::Switch if key.default == "true" => "false".to_owned(),
                crate::config::key::Kind::Switch => "true".to_owned(),
                crate::config::key::Kind::Number(..) => match key.default.parse::<u64>().unwrap() {
                    0 => "1".to_owned(),
                    number => (number + 1).to_string(),
                },
                _ => continue,
            };
            // Some values are at their greatest already.
            let Ok(new) = load(&[(key.path, &other)]) else { continue };
            let (taken, waiting) = old.taking(&new);
            assert_eq!(waiting.is_empty(), RELOADED.contains(&key.path), "{}", key.path);
            // Whatever the key has changed is taken, or nothing of it.
            let expected = if RELOADED.contains(&key.path) { &new } else { &old };
            let typed = Settings { entries: expected.entries.clone(), ..taken };
            assert!(typed == *expected, "{}", key.path);
        }
    }
}
