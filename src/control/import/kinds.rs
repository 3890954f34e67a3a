use serde::Serialize;
use serde_json::Value;

use super::report::shown;
use crate::model::takeover::{Module, Permission, Role, Route, User};

/// What the five kinds of rows have in common. Serialised, a row is what must be the same in two installations.
pub(super) trait Kind: Serialize {
    /// As the audit trail calls it.
    const NAME: &'static str;

    fn id(&self) -> i64;

    /// What people call it.
    fn name(&self) -> String;

    /// Fields that no two rows may share, with their values.
    fn keys(&self) -> Vec<(&'static str, String)>;

    /// What differs from the row that is known, and must not be printed.
    fn differs_secretly(&self, _known: &Self) -> Option<&'static str> {
        None
    }
}

/// Which row it is, for people.
pub(super) fn title<T: Kind>(row: &T) -> String {
    format!("{} {} {}", T::NAME, row.id(), shown(&row.name()))
}

/// The fields, for comparing and for the record.
pub(super) fn fields<T: Kind>(row: &T) -> serde_json::Map<String, Value> {
    match serde_json::to_value(row) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    }
}

macro_rules! named {
    ($($kind:ty: $name:literal;)*) => {$(
        impl Kind for $kind {
            const NAME: &'static str = $name;

            fn id(&self) -> i64 {
                self.id.0
            }

            fn name(&self) -> String {
                self.name.to_string()
            }

            fn keys(&self) -> Vec<(&'static str, String)> {
                vec![("name", self.name.to_string())]
            }
        }
    )*};
}

named! {
    Permission: "permission";
    Role: "role";
    Module: "module";
}

impl Kind for User {
    const NAME: &'static str = "user";

    fn id(&self) -> i64 {
        self.id.0
    }

    fn name(&self) -> String {
        self.username.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        vec![("username", self.username.to_string()), ("email", self.email.as_str().to_lowercase())]
    }

    /// A hash of our own is newer: it was made when the user signed in here, or chose another password here.
    fn differs_secretly(&self, known: &Self) -> Option<&'static str> {
        let known = known.password_hash.expose();
        let differs = known != self.password_hash.expose() && !known.starts_with("$argon2");
        differs.then_some("password")
    }
}

impl Kind for Route {
    const NAME: &'static str = "route";

    fn id(&self) -> i64 {
        self.id.0
    }

    fn name(&self) -> String {
        self.route.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        let host = self.host.as_ref().map(ToString::to_string).unwrap_or_default();
        vec![("path", format!("{host}{} in module {}", self.route, self.module_id))]
    }
}
