use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::key::Kind;
use super::table::{KEYS, find, nearest_key};
use super::values::Values;
use super::{Error, Origin};
use crate::model::nearest;

/// Lays the file over `values`.
pub(super) fn apply(path: &Path, values: &mut Values) -> Result<(), Error> {
    let text = std::fs::read_to_string(path).map_err(|reason| Error::Unreadable { path: path.to_owned(), reason })?;
    apply_text(path, &text, values)
}

pub(super) fn apply_text(path: &Path, text: &str, values: &mut Values) -> Result<(), Error> {
    let line = |start: usize| 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
    let origin = |start: usize| Origin::File(path.to_owned(), line(start));
    let root = DeTable::parse(text).map_err(|error| Error::Syntax {
        place: format!("{}:{}", path.display(), line(error.span().map_or(0, |span| span.start))),
        reason: error.message().lines().collect::<Vec<_>>().join(", "),
    })?;
    for (section, value) in in_order(root.get_ref()) {
        let place = origin(section.span().start);
        let name: &str = section.get_ref();
        if !KEYS.iter().any(|key| key.path.split('.').next() == Some(name)) {
            return Err(unknown_section(place, name, value.get_ref()));
        }
        let DeValue::Table(keys) = value.get_ref() else {
            return Err(Error::Syntax {
                place: place.prefix().trim_end_matches(": ").to_owned(),
                reason: format!("{name} must be a section: [{name}]"),
            });
        };
        for (key, value) in in_order(keys) {
            let place = origin(key.span().start);
            let full = format!("{name}.{}", key.get_ref());
            let Some(key) = find(&full) else {
                return Err(Error::UnknownKey { origin: place, nearest: nearest_key(&full), key: full });
            };
            let unset = matches!(key.kind, Kind::Secret | Kind::Url) && value.get_ref().as_str() == Some("");
            if !unset {
                values.set(key, key.read_toml(value.get_ref(), &place)?, place);
            }
        }
    }
    Ok(())
}

/// As written, so that the first error told is the first in the file.
fn in_order<'a, 'i>(table: &'a DeTable<'i>) -> Vec<(&'a Spanned<std::borrow::Cow<'i, str>>, &'a Spanned<DeValue<'i>>)> {
    let mut items: Vec<_> = table.iter().collect();
    items.sort_by_key(|(key, _)| key.span().start);
    items
}

fn unknown_section(origin: Origin, name: &str, value: &DeValue<'_>) -> Error {
    let near = if value.is_table() {
        let sections = KEYS.iter().filter_map(|key| key.path.split('.').next()).map(str::to_owned);
        nearest(name, sections)
    } else {
        nearest_key(name)
    };
    Error::UnknownKey { origin, key: name.to_owned(), nearest: near }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mode;

    fn error(text: &str) -> String {
        let mut values = Values::defaults(Mode::Serve).unwrap();
        apply_text(Path::new("config/cedargate.toml"), text, &mut values).unwrap_err().to_string()
    }

    #[test]
    fn unknown_keys_name_line_and_nearest() {
        for (text, told) in [
            (
                "# one\n\n[gateway]\nworkers = 2\nlissten = \"a\"\n",
                "config/cedargate.toml:5: unknown key gateway.lissten, did you mean gateway.listen?",
            ),
            ("[gatway]\nworkers = 2\n", "config/cedargate.toml:1: unknown key gatway, did you mean gateway?"),
            ("secret_key = 'x'", "config/cedargate.toml:1: unknown key secret_key, did you mean auth.secret_key?"),
            ("[log]\nzzzzzzzz = 1", "config/cedargate.toml:2: unknown key log.zzzzzzzz"),
        ] {
            assert_eq!(error(text), told);
        }
    }

    #[test]
    fn wrong_values_name_line_key_and_type() {
        for (text, told) in [
            ("[gateway]\nworkers = \"2\"", "gateway.workers must be a number from 0 to 1024, not \"2\""),
            ("[gateway]\nworkers = -1", "gateway.workers must be a number from 0 to 1024, not \"-1\""),
            ("[gateway]\nmount = \"yes\"", "gateway.mount must be true or false, not \"yes\""),
            ("[cors]\nallowed_origins = [1]", "cors.allowed_origins must be a list of texts"),
            (
                "[log]\nlevel = \"loud\"",
                r#"log.level must be "error" or "warn" or "info" or "debug" or "trace", not "loud""#,
            ),
            ("[auth]\nsecret_key = 123456", "auth.secret_key must be text"),
        ] {
            assert_eq!(error(text), format!("config/cedargate.toml:2: {told}"));
        }
        assert_eq!(error("\ngateway = 3"), "config/cedargate.toml:2: gateway must be a section: [gateway]");
    }

    #[test]
    fn syntax_errors_name_the_line() {
        assert!(error("[gateway]\nworkers = \n").starts_with("config/cedargate.toml:2: "));
    }
}
