//! Settings: built-in defaults < file < `.env` < environment < flags, resolved once, before anything listens.
//!
//! [`Settings::load`] returns typed, checked values; only `server` and `cli` read them, and hand the other modules
//! what those need.
//!
//! ## Why not a configuration library
//! Each refusal names the key and the line or variable that set it. Libraries that merge layers first have
//! forgotten the line by the time a type is wrong. So every key stands in one table (`table.rs`), each layer is read
//! against it, and a value keeps its origin until the end.

mod check;
mod env;
mod error;
mod file;
mod gateway;
mod issuers;
mod key;
mod legacy;
mod mail;
mod origin;
mod reload;
mod resolve;
mod secret_key;
mod settings;
mod show;
mod table;
mod tables;
mod upstream_certificates;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use error::Error;
pub use gateway::{ClientAuth, Gateway, Head, Http2, Redirect, Tls, TlsFiles};
pub use origin::Origin;
pub use reload::RELOADED;
pub use settings::{
    AccessLog, Activity, Admin, Allowance, App, Argon2, Audit, Auth, Cors, Database, EmailVerification, Environment,
    IssuerKeys, Log, LogFormat, Mail, Metrics, PasswordPolicy, Policy, RateLimit, SecurityHeaders, SecurityLog,
    Settings, Smtp, SmtpSecurity,
};
pub use show::Entry;
use show::redact;
pub use upstream_certificates::UpstreamCertificate;
use values::Values;

/// Read from the working directory when no file is named; it need not exist.
pub const DEFAULT_FILE: &str = "config/cedargate.toml";

/// What the settings are for: it decides some defaults and how strict the checks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `cedargate serve`: a secret of one's own is demanded.
    Serve,
    /// `cedargate dev`: loopback only; the secret may be generated and is then kept in the data directory.
    Dev,
    /// Commands that sign nothing and listen nowhere: no secret is needed, no file but the settings' own is opened.
    Offline,
}

/// Where settings are read from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// `--config`; it must exist. Without it, [`DEFAULT_FILE`] is read if it exists.
    pub config_file: Option<PathBuf>,
    /// `--data-dir`.
    pub data_dir: PathBuf,
    /// What for.
    pub mode: Mode,
    /// Variables of the process.
    pub environment: Vec<(String, String)>,
    /// A `.env` file; it need not exist.
    pub dotenv: Option<PathBuf>,
    /// Keys (`gateway.listen`) and values given on the command line.
    pub flags: Vec<(String, String)>,
}

impl Settings {
    /// Reads all sources and checks the result. `dev` may create the data directory with a `secret_key` in it.
    ///
    /// # Errors
    /// When a source cannot be read, names an unknown key, or holds a value the program must not start with.
    pub fn load(sources: &Sources) -> Result<Self, Error> {
        let mut values = Values::defaults(sources.mode)?;
        if let Some(path) = file_of(sources) {
            file::apply(path, &mut values)?;
        }
        if let Some(path) = &sources.dotenv {
            env::Variables::of_file(path)?.apply(&mut values)?;
        }
        env::Variables::of_process(&sources.environment).apply(&mut values)?;
        apply_flags(&sources.flags, &mut values)?;
        apply_preset(&mut values)?;
        match sources.mode {
            Mode::Dev => secret_key::keep(&sources.data_dir, &mut values)?,
            Mode::Offline => secret_key::find(&sources.data_dir, &mut values)?,
            Mode::Serve => {}
        }
        resolve::database_url(&sources.data_dir, &mut values)?;
        let settings = resolve::settings(sources, &values)?;
        check::all(&settings, &values)?;
        Ok(settings)
    }

    /// Every setting as it took effect, and where it came from; secrets are `***`.
    pub fn effective(&self) -> &[Entry] {
        &self.entries
    }
}

impl Settings {
    /// The settings that took effect by section and name, in the types of the file; secrets are left out.
    pub fn shown(&self) -> BTreeMap<String, serde_json::Map<String, serde_json::Value>> {
        let mut sections: BTreeMap<_, serde_json::Map<_, _>> = BTreeMap::new();
        for Entry { key, json, .. } in &self.entries {
            if let (Some((section, name)), Some(json)) = (key.split_once('.'), json) {
                sections.entry(section.to_owned()).or_default().insert(name.to_owned(), json.clone());
            }
        }
        sections
    }
}

fn file_of(sources: &Sources) -> Option<&Path> {
    let default = Path::new(DEFAULT_FILE);
    sources.config_file.as_deref().or_else(|| default.exists().then_some(default))
}

fn apply_flags(flags: &[(String, String)], values: &mut Values) -> Result<(), Error> {
    for (path, text) in flags {
        let key = table::find(path).ok_or_else(|| Error::UnknownKey {
            origin: Origin::Flag,
            key: path.clone(),
            nearest: table::nearest_key(path),
        })?;
        values.read(key, text, Origin::Flag)?;
    }
    Ok(())
}

/// A preset is a set of other defaults: whatever was said explicitly stands.
fn apply_preset(values: &mut Values) -> Result<(), Error> {
    if values.text("password_policy.preset") == "lenient" {
        for (path, text) in table::LENIENT {
            if *values.origin(path) == Origin::Default {
                values.read_path(path, text, Origin::Preset("lenient"))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
