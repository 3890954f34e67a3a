//! Mail: how it is sent, and where its links lead.

use std::net::IpAddr;
use std::path::PathBuf;

use super::resolve::{milliseconds, path};
use super::settings::{EmailVerification, Mail, Smtp, SmtpSecurity};
use super::values::Values;
use super::{Error, Mode, Settings};

pub(super) fn smtp(values: &Values) -> Result<Option<Smtp>, Error> {
    let host = values.text("smtp.host");
    if host.is_empty() {
        return Ok(None);
    }
    if !host.chars().all(|c| c.is_alphanumeric() || ".-:".contains(c)) {
        return Err(values.invalid("smtp.host", "a name or an address, without a port", host));
    }
    let (security, usual) = match values.text("smtp.security") {
        "tls" => (SmtpSecurity::Tls, 465),
        "none" => (SmtpSecurity::None, 25),
        _ => (SmtpSecurity::StartTls, 587),
    };
    let is_local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if security == SmtpSecurity::None && !is_local {
        let reason = format!("is none, but {host} is another machine: passwords and links would go there in clear");
        return Err(values.refused("smtp.security", reason));
    }
    let username = values.text("smtp.username");
    let password = values.secret("smtp.password");
    if username.is_empty() != password.expose().is_empty() {
        let (set, other) = if username.is_empty() { ("password", "username") } else { ("username", "password") };
        return Err(values.refused(&format!("smtp.{set}"), format!("is set without smtp.{other}")));
    }
    Ok(Some(Smtp {
        host: host.to_owned(),
        port: match values.number("smtp.port")? {
            0 => usual,
            port => port,
        },
        security,
        credentials: (!username.is_empty()).then(|| (username.to_owned(), password)),
        ca_file: path(values, "smtp.ca_file"),
        timeout: milliseconds(values, "smtp.timeout_ms")?,
    }))
}

pub(super) fn mail(values: &Values) -> Result<Mail, Error> {
    Ok(Mail {
        from: values.text("mail.from").to_owned(),
        verify_path: page(values, "mail.verify_path")?,
        reset_path: page(values, "mail.reset_path")?,
        verification_life: std::time::Duration::from_hours(values.number("mail.verification_hours")?),
        reset_life: std::time::Duration::from_mins(values.number("mail.reset_minutes")?),
        per_hour: values.number("mail.per_hour")?,
        waiting: values.number("mail.max_waiting")?,
    })
}

pub(super) fn verification(values: &Values) -> EmailVerification {
    match values.text("auth.email_verification") {
        "on" => EmailVerification::On,
        "required" => EmailVerification::Required,
        _ => EmailVerification::Off,
    }
}

/// Where front ends are, without a slash at the end.
pub(super) fn public_url(values: &Values) -> Result<String, Error> {
    let url = values.text("app.public_url").trim_end_matches('/');
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let is_plain = |rest: &str| {
        !rest.starts_with(['/', ':'])
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~-:/[]%".contains(&byte))
    };
    match rest {
        Some(rest) if is_plain(rest) && !rest.is_empty() => Ok(url.to_owned()),
        None if url.is_empty() => Ok(String::new()),
        _ => {
            let expected = "an address such as https://app.example.com, without a query";
            Err(values.invalid("app.public_url", expected, url))
        }
    }
}

fn page(values: &Values, key: &str) -> Result<String, Error> {
    let path = values.text(key);
    let is_plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~-/#!%".contains(&byte));
    if path.starts_with('/') && is_plain {
        return Ok(path.to_owned());
    }
    Err(values.invalid(key, "a path such as /reset-password, without a query", path))
}

/// What mail needs, and what needs mail.
pub(super) fn check(settings: &Settings, values: &Values) -> Result<(), Error> {
    if settings.smtp.is_some() {
        let is_address = |text: &str| text.contains('@') && !text.contains(char::is_control);
        if !is_address(&settings.mail.from) {
            return Err(values.refused("mail.from", "must be an address to send from, since smtp.host is set"));
        }
        if settings.app.public_url.is_empty() {
            return Err(
                values.refused("app.public_url", "must be set, since smtp.host is: links in mails begin with it")
            );
        }
    } else if settings.mode == Mode::Serve && settings.auth.email_verification != EmailVerification::Off {
        return Err(
            values.refused("auth.email_verification", "needs mail: set smtp.host, mail.from and app.public_url")
        );
    }
    Ok(())
}

/// What is read once, at the start.
pub(super) fn file(settings: &Settings) -> Option<(&'static str, &PathBuf)> {
    settings.smtp.as_ref().and_then(|smtp| smtp.ca_file.as_ref()).map(|file| ("smtp.ca_file", file))
}
