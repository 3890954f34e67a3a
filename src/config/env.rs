use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::key::{Key, Kind};
use super::table::KEYS;
use super::values::Values;
use super::{Error, Origin, legacy};
use crate::model::nearest;

const PREFIX: &str = "CEDARGATE_";

/// Variables of single commands, which are no settings.
const OF_COMMANDS: &[&str] = &["CEDARGATE_IMPORT_FROM"];

/// Named variables of one place, found in any case.
pub(super) struct Variables {
    origin: fn(String) -> Origin,
    by_name: BTreeMap<String, (String, String)>,
}

impl Variables {
    /// Those of the process.
    pub(super) fn of_process(pairs: &[(String, String)]) -> Self {
        Self::new(Origin::Environment, pairs.iter().cloned())
    }

    /// Those of a `.env` file; none if there is no such file.
    pub(super) fn of_file(path: &Path) -> Result<Self, Error> {
        let unreadable = |reason| Error::Unreadable { path: path.to_owned(), reason };
        let items = match dotenvy::from_path_iter(path) {
            Ok(items) => items,
            Err(error) if error.not_found() => return Ok(Self::new(Origin::DotEnv, std::iter::empty())),
            Err(dotenvy::Error::Io(reason)) => return Err(unreadable(reason)),
            Err(error) => return Err(unreadable(std::io::Error::other(error))),
        };
        let mut pairs = Vec::new();
        for item in items {
            pairs.push(item.map_err(|error| match error {
                dotenvy::Error::LineParse(line, _) => malformed(path, &line),
                dotenvy::Error::Io(reason) => unreadable(reason),
                other => unreadable(std::io::Error::other(other)),
            })?);
        }
        Ok(Self::new(Origin::DotEnv, pairs.into_iter()))
    }

    fn new(origin: fn(String) -> Origin, pairs: impl Iterator<Item = (String, String)>) -> Self {
        let mut by_name: BTreeMap<String, (String, String)> = BTreeMap::new();
        for (name, value) in pairs {
            let upper = name.to_ascii_uppercase();
            let exact_is_there = by_name.get(&upper).is_some_and(|(there, _)| *there == upper);
            if name == upper || !exact_is_there {
                by_name.insert(upper, (name, value));
            }
        }
        Self { origin, by_name }
    }

    /// Lays the variables over `values`.
    pub(super) fn apply(&self, values: &mut Values) -> Result<(), Error> {
        self.refuse_unknown()?;
        self.check_algorithm()?;
        for key in KEYS {
            if key.path == "gateway.listen" {
                self.apply_port(values)?;
            }
            self.apply_key(key, values)?;
        }
        Ok(())
    }

    fn apply_key(&self, key: &'static Key, values: &mut Values) -> Result<(), Error> {
        let own = key.variable();
        if let Some((text, origin)) = self.find(key, &own, key.empty_is_unset())? {
            return values.read(key, &text, origin);
        }
        for alias in legacy::of(key.path) {
            let empty_is_unset = !matches!(key.kind, Kind::List);
            if let Some((text, origin)) = self.find(key, alias.name, empty_is_unset)? {
                return values.read(key, &(alias.reading)(&text), origin);
            }
        }
        Ok(())
    }

    /// The value of a variable, or the content of the file that `<name>_FILE` names.
    fn find(&self, key: &Key, name: &str, empty_is_unset: bool) -> Result<Option<(String, Origin)>, Error> {
        let direct = self.get(name, empty_is_unset);
        let file = if key.has_file() { self.get(&format!("{name}_FILE"), true) } else { None };
        match (direct, file) {
            (Some((_, direct)), Some((_, file))) => Err(Error::Both { direct, file }),
            (None, Some((path, origin))) => {
                let path = PathBuf::from(path);
                let text = std::fs::read_to_string(&path).map_err(|error| Error::Refused {
                    origin: origin.clone(),
                    key: key.path,
                    reason: format!("cannot be read from {}: {error}", path.display()),
                })?;
                let text =
                    text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
                Ok(Some((text.to_owned(), origin)))
            }
            (direct, None) => Ok(direct.map(|(text, origin)| (text.to_owned(), origin))),
        }
    }

    fn get(&self, name: &str, empty_is_unset: bool) -> Option<(&str, Origin)> {
        let (written, value) = self.by_name.get(name)?;
        (!(empty_is_unset && value.is_empty())).then(|| (value.as_str(), (self.origin)(written.clone())))
    }

    /// Platforms hand out a port and leave the address to us; `CEDARGATE_GATEWAY__LISTEN` at the same place beats it.
    fn apply_port(&self, values: &mut Values) -> Result<(), Error> {
        let Some((text, origin)) = self.get("PORT", true) else { return Ok(()) };
        let port: u16 = text.trim().parse().map_err(|_| Error::Invalid {
            origin: origin.clone(),
            key: "PORT",
            expected: "a number from 0 to 65535".to_owned(),
            found: Some(text.to_owned()),
        })?;
        let Some(mut address) = values.address("gateway.listen")? else { return Ok(()) };
        address.set_port(port);
        values.read_path("gateway.listen", &address.to_string(), origin)
    }

    fn check_algorithm(&self) -> Result<(), Error> {
        match self.get("ALGORITHM", true) {
            Some((text, origin)) if !text.trim().eq_ignore_ascii_case("HS256") => Err(Error::Invalid {
                origin,
                key: "ALGORITHM",
                expected: "HS256".to_owned(),
                found: Some(text.to_owned()),
            }),
            _ => Ok(()),
        }
    }

    fn refuse_unknown(&self) -> Result<(), Error> {
        let known: Vec<String> = own_names();
        for (upper, (written, value)) in &self.by_name {
            if upper.starts_with(PREFIX) && !known.contains(upper) && !from_kubernetes(upper, value) {
                let near = nearest(upper, known.iter().cloned());
                return Err(Error::UnknownVariable { origin: (self.origin)(written.clone()), nearest: near });
            }
        }
        Ok(())
    }
}

/// Every variable that begins with our prefix and means something.
fn own_names() -> Vec<String> {
    let of_keys = KEYS.iter().map(|key| (key.variable(), key.has_file()));
    let aliases = legacy::ALIASES.iter().filter(|alias| alias.name.starts_with(PREFIX));
    of_keys
        .chain(aliases.map(|alias| (alias.name.to_owned(), true)))
        .flat_map(|(name, has_file)| {
            let file = has_file.then(|| format!("{name}_FILE"));
            std::iter::once(name).chain(file)
        })
        .chain(OF_COMMANDS.iter().map(|name| (*name).to_owned()))
        .collect()
}

/// Kubernetes describes every service of the namespace to every pod, ours too: `CEDARGATE_SERVICE_HOST`,
/// `CEDARGATE_PORT=tcp://…`, `CEDARGATE_ADMIN_PORT_8001_TCP_ADDR`.
fn from_kubernetes(name: &str, value: &str) -> bool {
    if name.contains("__") {
        return false;
    }
    let protocol = ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| name.contains(protocol));
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || (name.contains("_PORT_") && protocol)
        || (name.ends_with("_PORT") && value.contains("://"))
}

/// Names the line by number only: it may hold a secret. The parser hands over the part it stumbled on.
fn malformed(path: &Path, part: &str) -> Error {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let number = text.lines().position(|line| line.trim_end().ends_with(part.trim_end()));
    let number = number.map(|index| format!(":{}", index + 1));
    Error::Syntax {
        place: format!("{}{}", path.display(), number.unwrap_or_default()),
        reason: "not of the form NAME=value; values with spaces, # or $ want single quotes".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mode;

    fn apply(pairs: &[(&str, &str)]) -> Result<Values, String> {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut values = Values::defaults(Mode::Serve).unwrap();
        Variables::of_process(&pairs).apply(&mut values).map_err(|error| error.to_string())?;
        Ok(values)
    }

    #[test]
    fn own_names_beat_those_of_the_predecessor() {
        let values = apply(&[("SECRET_KEY", "old"), ("CEDARGATE_AUTH__SECRET_KEY", "new")]).unwrap();
        assert_eq!(values.text("auth.secret_key"), "new");
        let values = apply(&[("PORT", "9"), ("CEDARGATE_GATEWAY__LISTEN", "127.0.0.1:7")]).unwrap();
        assert_eq!(values.text("gateway.listen"), "127.0.0.1:7");
    }

    #[test]
    fn names_are_found_in_any_case_and_the_exact_one_first() {
        let values = apply(&[("app_name", "small"), ("log_level", "CRITICAL")]).unwrap();
        assert_eq!((values.text("app.name"), values.text("log.level")), ("small", "error"));
        let values = apply(&[("APP_NAME", "exact"), ("app_name", "small")]).unwrap();
        assert_eq!(values.text("app.name"), "exact");
    }

    #[test]
    fn units_and_spellings_of_the_predecessor() {
        let values = apply(&[
            ("DATABASE_POOL_TIMEOUT", "30"),
            ("LOG_LEVEL", "WARNING"),
            ("ENVIRONMENT", "staging"),
            ("PORT", "8080"),
            ("ALLOWED_ORIGINS", r#"["https://a.example"]"#),
            ("DATABASE_POOL_RECYCLE", "anything"),
        ])
        .unwrap();
        assert_eq!(values.number::<u64>("database.pool_timeout_ms").unwrap(), 30_000);
        assert_eq!(values.text("log.level"), "warn");
        assert_eq!(values.text("app.environment"), "production");
        assert_eq!(values.text("gateway.listen"), "0.0.0.0:8080");
        assert_eq!(values.list("cors.allowed_origins"), ["https://a.example"]);
        assert!(apply(&[("ALGORITHM", "RS256")]).is_err());
        assert!(apply(&[("ALGORITHM", "HS256")]).is_ok());
    }

    #[test]
    fn empty_is_unset_where_empty_means_nothing() {
        let values = apply(&[("CEDARGATE_GATEWAY__WORKERS", ""), ("API_PREFIX", ""), ("SECRET_KEY", "")]).unwrap();
        assert_eq!(*values.origin("gateway.workers"), Origin::Default);
        assert_eq!(values.text("admin.api_prefix"), "/api/v1");
        let values = apply(&[("CEDARGATE_CORS__ALLOWED_ORIGINS", "")]).unwrap();
        assert!(values.list("cors.allowed_origins").is_empty());
    }

    #[test]
    fn unknown_variables_name_the_nearest() {
        assert_eq!(
            apply(&[("CEDARGATE_GATEWAY__LISTN", "x")]).err().unwrap(),
            "environment CEDARGATE_GATEWAY__LISTN: unknown variable, did you mean CEDARGATE_GATEWAY__LISTEN?"
        );
        assert!(apply(&[("CEDARGATE_PORT", "8000")]).is_err());
        assert!(apply(&[("SOMETHING_ELSE", "x")]).is_ok());
        assert!(apply(&[("CEDARGATE_IMPORT_FROM", "postgresql://x")]).is_ok());
    }

    #[test]
    fn service_variables_of_kubernetes_are_not_ours() {
        let given = [
            ("CEDARGATE_SERVICE_HOST", "10.0.0.1"),
            ("CEDARGATE_SERVICE_PORT_HTTP", "80"),
            ("CEDARGATE_PORT", "tcp://10.0.0.1:80"),
            ("CEDARGATE_ADMIN_PORT_8001_TCP_ADDR", "10.0.0.1"),
        ];
        assert!(apply(&given).is_ok());
    }

    #[test]
    fn secrets_come_from_files_without_their_newline() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        std::fs::write(&file, " kept\n\n").unwrap();
        let path = file.to_str().unwrap();
        let values = apply(&[("SECRET_KEY_FILE", path)]).unwrap();
        assert_eq!(values.text("auth.secret_key"), " kept\n");
        assert_eq!(
            apply(&[("SECRET_KEY_FILE", path), ("SECRET_KEY", "x")]).err().unwrap(),
            "environment SECRET_KEY and environment SECRET_KEY_FILE are both set; give one of them"
        );
        assert!(apply(&[("SECRET_KEY_FILE", "/does/not/exist")]).err().unwrap().contains("/does/not/exist"));
    }

    #[test]
    fn a_malformed_line_is_named_but_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(".env");
        std::fs::write(&file, "APP_NAME=x\nSECRET_KEY=hunter2 hunter3\n").unwrap();
        let told = Variables::of_file(&file).err().unwrap().to_string();
        assert!(told.contains(".env:2: ") && !told.contains("hunter"), "{told}");
    }
}
