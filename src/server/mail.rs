//! Mail, as the settings describe it.

use std::sync::Arc;

use anyhow::Context;

use crate::config::{Mode, Settings, SmtpSecurity};
use crate::mail::{self, Links, Outbox, Security, Smtp, SmtpSettings};
use crate::telemetry::Metrics;

/// Where letters are queued: closed where nobody would send them.
pub(super) fn outbox(settings: &Settings, metrics: &Arc<Metrics>) -> Outbox {
    if settings.smtp.is_none() && settings.mode != Mode::Dev {
        return Outbox::closed();
    }
    let own = &settings.mail;
    let about = mail::Settings {
        name: settings.app.name.clone(),
        links: Links {
            base: settings.app.public_url.clone(),
            verify: own.verify_path.clone(),
            reset: own.reset_path.clone(),
        },
        secret: settings.auth.secret_key.clone(),
        verification_life: own.verification_life,
        reset_life: own.reset_life,
        per_hour: own.per_hour,
        waiting: own.waiting,
    };
    Outbox::new(about, Arc::clone(metrics))
}

/// The mail server, if there is one.
pub(super) fn smtp(settings: &Settings) -> anyhow::Result<Option<Smtp>> {
    let Some(smtp) = &settings.smtp else { return Ok(None) };
    let authorities = match &smtp.ca_file {
        Some(file) => Some(std::fs::read(file).with_context(|| format!("smtp.ca_file: {}", file.display()))?),
        None => None,
    };
    let security = match smtp.security {
        SmtpSecurity::StartTls => Security::StartTls,
        SmtpSecurity::Tls => Security::Tls,
        SmtpSecurity::None => Security::None,
    };
    Ok(Some(Smtp::new(&SmtpSettings {
        host: smtp.host.clone(),
        port: smtp.port,
        security,
        credentials: smtp.credentials.clone(),
        authorities,
        timeout: smtp.timeout,
        from: settings.mail.from.clone(),
    })?))
}
