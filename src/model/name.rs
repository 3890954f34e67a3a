use icu_casemap::CaseMapper;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

/// Why a text is not a valid name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Fewer characters than allowed.
    #[error("String should have at least {min} character{}", if *min == 1 { "" } else { "s" })]
    TooShort {
        /// The least number of characters.
        min: usize,
    },
    /// More characters than allowed.
    #[error("String should have at most {max} characters")]
    TooLong {
        /// The greatest number of characters.
        max: usize,
    },
    /// The right length, but not of the right form; the text says what is expected.
    #[error("{0}")]
    Form(String),
    /// The contract calls this one an assertion, not a value error.
    #[error("{0}")]
    Assertion(&'static str),
}

/// Checks the number of characters, and refuses NUL, which PostgreSQL cannot store.
pub(super) fn bounded(text: &str, min: usize, max: usize) -> Result<(), NameError> {
    let count = text.chars().take(max + 1).count();
    if count < min {
        return Err(NameError::TooShort { min });
    }
    if count > max {
        return Err(NameError::TooLong { max });
    }
    if text.contains('\0') {
        return Err(NameError::Form("Null bytes are not allowed".to_owned()));
    }
    Ok(())
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident($min:literal, $max:literal, $example:literal, $parse:expr);)*) => {$(
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, sqlx::Type)]
        $(#[$doc])*
        #[schemars(inline, example = $example, extend("minLength" = $min, "maxLength" = $max))]
        #[serde(try_from = "String", into = "String")]
        #[sqlx(transparent)]
        pub struct $name(String);

        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                let parse: fn(String) -> Result<String, NameError> = $parse;
                bounded(&text, $min, $max)?;
                parse(text).map(Self)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = NameError;
            fn try_from(text: &str) -> Result<Self, NameError> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

names! {
    /// A sign-in name: 3 to 50 letters or digits in the Unicode sense, kept in lower case.
    Username(3, 50, "alice", |text| {
        if !text.chars().all(char::is_alphanumeric) {
            return Err(NameError::Assertion("Username must be alphanumeric"));
        }
        Ok(text.to_lowercase())
    });
    /// A role's name: 1 to 50 characters.
    RoleName(1, 50, "editor", Ok);
    /// A permission's name: 1 to 100 characters, by convention `resource:verb` or `resource:verb:own`.
    PermissionName(1, 100, "article:read", Ok);
    /// A permission's category: at most 50 characters.
    Category(0, 50, "articles", Ok);
    /// A module's name: 1 to 100 of `[A-Za-z0-9_-]`, kept in lower case.
    ModuleName(1, 100, "reports", |text| {
        if !text.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-') {
            return Err(NameError::Form(
                "Module name must contain only letters, numbers, hyphens, and underscores".to_owned(),
            ));
        }
        Ok(text.to_lowercase())
    });
    /// A label shown to people: 1 to 100 characters, outer blanks removed.
    Label(1, 100, "Reports", |text| {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(NameError::Form("Label cannot be empty".to_owned()));
        }
        Ok(trimmed.to_owned())
    });
    /// An icon's name: at most 50 characters, outer blanks removed.
    Icon(0, 50, "Layers", |text| Ok(text.trim().to_owned()));
    /// A person's first or last name: at most 100 characters in one line, outer blanks removed; empty is none.
    PersonName(0, 100, "Ann", |text| {
        if text.chars().any(char::is_control) {
            return Err(NameError::Form("A name must be one line".to_owned()));
        }
        Ok(text.trim().to_owned())
    });
    /// Where a picture is found: `https://…`, `http://…` or a path, at most 2,048 characters; empty is none.
    Avatar(0, 2_048, "https://img.example.com/ann.png", |text| {
        let text = text.trim();
        let plain = text.bytes().all(|b| b.is_ascii_graphic() && !b"\"'<>\\`".contains(&b));
        let path = text.starts_with('/') && !text.starts_with("//");
        let url =
            ["https://", "http://"].iter().any(|scheme| text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
        // Front ends put it into pages: no scripts, and nothing that leads elsewhere than it says.
        if !text.is_empty() && !(plain && (path || url)) {
            return Err(NameError::Form("Avatar must be an http or https address, or a path".to_owned()));
        }
        Ok(text.to_owned())
    });
    /// An upstream's name: `[a-z0-9][a-z0-9_-]{0,62}`.
    UpstreamName(1, 63, "articles", |text| {
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let rest = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        if !first || !rest {
            return Err(NameError::Form("Upstream name must match [a-z0-9][a-z0-9_-]{0,62}".to_owned()));
        }
        Ok(text)
    });
    /// A hand-written policy's name: `[a-z0-9][a-z0-9_-]{0,99}`.
    PolicyName(1, 100, "office-hours", |text| {
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let rest = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        if !first || !rest {
            return Err(NameError::Form("Policy name must match [a-z0-9][a-z0-9_-]{0,99}".to_owned()));
        }
        Ok(text)
    });
    /// The host a route is bound to: a lower-case DNS name or an address, without port and without final dot.
    Host(1, 253, "api.example.com", |text| {
        let host = text.to_ascii_lowercase();
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        let dns = host.split('.').all(|label| !label.is_empty() && label.len() <= 63 && label.bytes().all(plain));
        let v6 = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
        if !dns && !v6 {
            return Err(NameError::Form("Host must be a DNS name or an address without port".to_owned()));
        }
        Ok(host)
    });
}

impl Username {
    /// By what user names are told apart.
    pub fn key(&self) -> String {
        folded(&self.0)
    }
}

/// `text` after Unicode normalisation and case folding (`NFKC_Casefold`, Unicode 3.13): equal for all that people take
/// for the same name.
pub fn folded(text: &str) -> String {
    let normal: String = text.nfkc().collect();
    CaseMapper::new().fold_string(&normal).nfkc().collect()
}

impl PermissionName {
    /// The verb and the resource, and whether the grant is limited to what the caller owns.
    ///
    /// The resource ends at the first colon; a trailing `:own` is taken off. `None` for a name without a
    /// colon, or with an empty verb or resource: such a permission is stored but has no action.
    pub fn parts(&self) -> Option<PermissionParts<'_>> {
        let (resource, rest) = self.0.split_once(':')?;
        let (verb, own) = rest.strip_suffix(":own").map_or((rest, false), |verb| (verb, true));
        (!resource.is_empty() && !verb.is_empty()).then_some(PermissionParts { resource, verb, own })
    }
}

/// What a permission's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PermissionParts<'a> {
    /// The resource, as `article`.
    pub resource: &'a str,
    /// The verb, as `read`.
    pub verb: &'a str,
    /// Whether the grant is limited to what the caller owns.
    pub own: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn username_is_checked_and_lowered() {
        assert_eq!(Username::try_from("Bob1").unwrap().as_str(), "bob1");
        assert_eq!(Username::try_from("ab"), Err(NameError::TooShort { min: 3 }));
        assert!(matches!(Username::try_from("a b c"), Err(NameError::Assertion(_))));
        assert!(matches!(RoleName::try_from("a\0b"), Err(NameError::Form(_))));
    }

    #[test]
    fn names_are_told_apart_by_what_people_see() {
        let key = |text: &str| Username::try_from(text).unwrap().key();
        for (one, other) in [
            ("Admin", "admin"),
            ("\u{ff41}dmin", "admin"),
            ("ΟΔΟΣ", "οδος"),
            ("οδοσ", "οδος"),
            ("Straße", "STRASSE"),
            ("\u{17f}uper", "super"),
            ("ﬁona", "Fiona"),
            ("Zo\u{e9}", "ZO\u{c9}"),
        ] {
            assert_eq!(key(one), key(other), "{one} {other}");
        }
        assert_ne!(key("admin"), key("adm1n"));
        assert_eq!(folded("Zoe\u{301}"), folded("ZO\u{c9}"));
    }

    #[test]
    fn pictures_are_addresses() {
        for good in ["https://a.example/x.png?s=1", "http://a/b", "/media/1.png", ""] {
            assert_eq!(Avatar::try_from(good).unwrap().as_str(), good);
        }
        for bad in
            ["javascript:alert(1)", "data:image/png;base64,AA", "//evil", "x.png", "https://", "/a\\b", "/a b", "/\""]
        {
            assert!(Avatar::try_from(bad).is_err(), "{bad}");
        }
        assert_eq!(PersonName::try_from(" Åsa ").unwrap().as_str(), "Åsa");
        assert!(PersonName::try_from("a\nb").is_err());
    }

    #[test]
    fn permission_parts() {
        let parts = |text: &str| {
            let name = PermissionName::try_from(text).unwrap();
            name.parts().map(|p| (p.resource.to_owned(), p.verb.to_owned(), p.own))
        };
        assert_eq!(parts("article:read"), Some(("article".into(), "read".into(), false)));
        assert_eq!(parts("order:read:own"), Some(("order".into(), "read".into(), true)));
        assert_eq!(parts("a:b:c"), Some(("a".into(), "b:c".into(), false)));
        assert_eq!(parts("reports"), None);
        assert_eq!(parts("x:"), None);
    }

    #[test]
    fn hosts() {
        assert_eq!(Host::try_from("API.Example.com").unwrap().as_str(), "api.example.com");
        assert!(Host::try_from("[::1]").is_ok());
        for bad in ["a..b", "a:80", "a/b", "a.", ""] {
            assert!(Host::try_from(bad).is_err(), "{bad}");
        }
    }
}
