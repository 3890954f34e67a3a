//! What the program refuses to start with, although each value on its own is well-formed.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;

use super::values::Values;
use super::{Error, Mode, Settings, gateway, mail};

const MIN_SECRET_BYTES: usize = 32;

/// Parts of secrets that stand in manuals and examples, the predecessor's among them; compared in lower case,
/// with `_` and spaces as `-`.
const PUBLISHED: &[&str] = &[
    "change-me",
    "changeme",
    "change-this",
    "change-it",
    "change-in-production",
    "replace-me",
    "replace-this",
    "your-secret",
    "your-super-secret",
    "your-256-bit-secret",
    "super-secret-key",
    "secret-key-here",
    "default-secret",
    "insecure",
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
];

/// Passwords of the predecessor's seed.
const PUBLISHED_PASSWORDS: &[&str] = &["superadmin123", "admin123", "user123", "testuser123"];

pub(super) fn all(settings: &Settings, values: &Values) -> Result<(), Error> {
    listeners(settings, values)?;
    proxies(settings, values)?;
    argon2(settings, values)?;
    issuers(settings, values)?;
    if settings.mode != Mode::Offline {
        secret(settings, values)?;
        bootstrap(settings, values)?;
        mail::check(settings, values)?;
        signing(settings, values)?;
        files(settings, values)?;
    }
    Ok(())
}

fn listeners(settings: &Settings, values: &Values) -> Result<(), Error> {
    let mut listeners = vec![("gateway.listen", settings.gateway.listen), ("admin.listen", settings.admin.listen)];
    listeners.extend(settings.gateway.redirect.map(|redirect| ("gateway.redirect_listen", redirect.listen)));
    if settings.metrics.enabled {
        listeners.extend(settings.metrics.listen.map(|address| ("metrics.listen", address)));
    }
    for (index, (path, address)) in listeners.iter().enumerate() {
        if settings.mode == Mode::Dev && !address.ip().is_loopback() {
            let reason = format!("is {address}, but `dev` has known passwords and serves loopback addresses only");
            return Err(values.refused(path, reason));
        }
        if let Some((other, there)) = listeners[..index].iter().find(|(_, there)| overlap(*there, *address)) {
            return Err(values.refused(path, format!("is {address}, which {other} ({there}) occupies")));
        }
    }
    Ok(())
}

/// Whether the second of two sockets could not be bound. Port 0 is a different port each time.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let covers =
        |wide: SocketAddr, narrow: SocketAddr| wide.ip().is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4());
    one.port() == other.port()
        && one.port() != 0
        && (one.ip() == other.ip() || covers(one, other) || covers(other, one))
}

fn proxies(settings: &Settings, values: &Values) -> Result<(), Error> {
    let gateway = &settings.gateway;
    if gateway.proxy_protocol && gateway.trusted_proxies.is_empty() {
        return Err(
            values.refused("gateway.proxy_protocol", "is on, but gateway.trusted_proxies names nobody to speak it")
        );
    }
    Ok(())
}

fn argon2(settings: &Settings, values: &Values) -> Result<(), Error> {
    let cost = settings.auth.argon2;
    if cost.memory_kib < 8 * cost.parallelism {
        return Err(values.refused("auth.argon2_memory_kib", "is less than 8 KiB for each of auth.argon2_parallelism"));
    }
    Ok(())
}

/// Our own tokens are not for anybody else to sign.
fn issuers(settings: &Settings, values: &Values) -> Result<(), Error> {
    let ours = &settings.auth.issuer;
    match settings.auth.issuers.iter().position(|issuer| issuer.spec().issuer == *ours) {
        Some(index) => Err(values.refused("auth.issuers", format!("[{index}]: issuer '{ours}' is this server itself"))),
        None => Ok(()),
    }
}

fn secret(settings: &Settings, values: &Values) -> Result<(), Error> {
    let secret = settings.auth.secret_key.expose();
    let refuse = |reason: &str| Err(values.refused("auth.secret_key", reason));
    if secret.is_empty() {
        return refuse(
            "is not set: give SECRET_KEY or SECRET_KEY_FILE, at least 32 random bytes (openssl rand -base64 48)",
        );
    }
    if secret.len() < MIN_SECRET_BYTES {
        return refuse(&format!("has {} bytes; at least {MIN_SECRET_BYTES} are needed", secret.len()));
    }
    if settings.mode == Mode::Serve && is_published(secret) {
        return refuse("is a published or made-up example; make one with: openssl rand -base64 48");
    }
    Ok(())
}

/// What signs must be there, and what encrypts it must be a secret of its own.
fn signing(settings: &Settings, values: &Values) -> Result<(), Error> {
    let auth = &settings.auth;
    let secret = auth.key_encryption_key.expose();
    let refuse = |reason: &str| Err(values.refused("auth.key_encryption_key", reason));
    if auth.signing_algorithm.is_none() && auth.signing_key_file.is_some() {
        return Err(values.refused("auth.signing_key_file", "is set, but auth.signing_algorithm is HS256"));
    }
    if secret.is_empty() {
        return match auth.signing_algorithm {
            Some(_) if auth.signing_key_file.is_none() => refuse(
                "is not set, but auth.signing_algorithm wants a key of the database: give 32 random bytes or more \
                 (openssl rand -base64 48), or auth.signing_key_file",
            ),
            _ => Ok(()),
        };
    }
    if secret.len() < MIN_SECRET_BYTES {
        return refuse(&format!("has {} bytes; at least {MIN_SECRET_BYTES} are needed", secret.len()));
    }
    if secret == auth.secret_key.expose() {
        return refuse("is auth.secret_key: each needs a secret of its own");
    }
    if settings.mode == Mode::Serve && is_published(secret) {
        return refuse("is a published or made-up example; make one with: openssl rand -base64 48");
    }
    Ok(())
}

fn is_published(secret: &str) -> bool {
    let plain = secret.to_ascii_lowercase().replace(['_', ' '], "-");
    let mut distinct = secret.as_bytes().to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    // 32 random bytes, even as hex, have more different characters than this.
    distinct.len() < 8 || PUBLISHED.iter().any(|part| plain.contains(part))
}

fn bootstrap(settings: &Settings, values: &Values) -> Result<(), Error> {
    let Some(password) = &settings.auth.bootstrap_password else { return Ok(()) };
    let password = password.expose().as_str();
    if settings.mode == Mode::Serve && PUBLISHED_PASSWORDS.contains(&password) {
        return Err(values.refused("auth.bootstrap_password", "is a published password"));
    }
    if password.chars().count() < 8 {
        return Err(values.refused("auth.bootstrap_password", "is shorter than 8 characters"));
    }
    Ok(())
}

/// Opened now, so that a misspelt name is told before anything listens.
fn files(settings: &Settings, values: &Values) -> Result<(), Error> {
    let readable = |key: &str, path: &Path| match File::open(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(values.refused(key, format!("{}: cannot be read: {error}", path.display()))),
    };
    for (key, file) in gateway::files(&settings.gateway) {
        readable(key, file)?;
    }
    if let Some((key, file)) = mail::file(settings) {
        readable(key, file)?;
    }
    if let Some(path) = &settings.auth.signing_key_file {
        readable("auth.signing_key_file", path)?;
    }
    for path in &settings.auth.verifying_key_files {
        readable("auth.verifying_key_files", path)?;
    }
    if let Some(dir) = &settings.policy.dir
        && let Err(error) = std::fs::read_dir(dir)
    {
        return Err(values.refused("policy.dir", format!("{}: cannot be listed: {error}", dir.display())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_overlap_as_the_kernel_sees_it() {
        for (one, other, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "[::]:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
        ] {
            assert_eq!(overlap(one.parse().unwrap(), other.parse().unwrap()), expected, "{one} {other}");
        }
    }

    #[test]
    fn examples_are_told_from_random_secrets() {
        for published in [
            "your-super-secret-jwt-key-change-in-production",
            "CHANGE_ME_CHANGE_ME_CHANGE_ME_CHANGE_ME",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert!(is_published(published), "{published}");
        }
        assert!(!is_published("8f0d5c1be2a94c6793fd0b4b7f5a21c4e6d8a9b0c1d2e3f4a5b6c7d8e9f0a1b2"));
    }
}
