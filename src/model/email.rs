use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A mail address: local part as written, domain in lower case and Unicode.
///
/// Syntax only; no name is looked up. The rules are those of the contract, section 2.1.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, sqlx::Type)]
#[schemars(inline, example = "alice@example.com", extend("format" = "email"))]
#[serde(try_from = "String", into = "String")]
#[sqlx(transparent)]
pub struct Email(String);

/// Names that are never delivered to (RFC 2606, RFC 6761, RFC 7686).
const SPECIAL_USE: &[&str] = &["arpa", "invalid", "local", "localhost", "onion", "test"];

impl Email {
    /// The address itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the same address, perhaps in another case.
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.to_lowercase() == other.0.to_lowercase()
    }
}

impl TryFrom<String> for Email {
    /// The reason, as clients show it.
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.len() > 2_048 {
            return Err("Length must not exceed 2048 characters".to_owned());
        }
        let address = bare(text.trim());
        let Some((local, domain)) = address.rsplit_once('@') else {
            return Err("An email address must have an @-sign.".to_owned());
        };
        check_local(local)?;
        let domain = normal_domain(domain)?;
        let normal = format!("{local}@{domain}");
        if normal.len() > 254 {
            return Err("The email address is too long.".to_owned());
        }
        Ok(Self(normal))
    }
}

/// `Name <a@x.com>` is reduced to the address.
fn bare(text: &str) -> &str {
    match (text.rfind('<'), text.strip_suffix('>')) {
        (Some(open), Some(inner)) => inner[open + 1..].trim(),
        _ => text,
    }
}

fn check_local(local: &str) -> Result<(), String> {
    let reason = if local.is_empty() {
        "There must be something before the @-sign."
    } else if local.len() > 64 {
        "The email address is too long before the @-sign."
    } else if local.starts_with('"') {
        "Quoting the part before the @-sign is not allowed here."
    } else if local.starts_with('.') {
        "An email address cannot start with a period."
    } else if local.ends_with('.') {
        "An email address cannot have a period immediately before the @-sign."
    } else if local.contains("..") {
        "An email address cannot have two periods in a row."
    } else if !local.chars().all(atom) {
        "The email address contains invalid characters before the @-sign."
    } else {
        return Ok(());
    };
    Err(reason.to_owned())
}

/// RFC 5322 `atext` and the dot, and letters beyond ASCII (RFC 6531).
fn atom(c: char) -> bool {
    c.is_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(c)
}

fn normal_domain(domain: &str) -> Result<String, String> {
    let invalid = || "The part after the @-sign contains invalid characters.".to_owned();
    if domain.is_empty() {
        return Err("There must be something after the @-sign.".to_owned());
    }
    if domain.starts_with('[') {
        return Err("A bracketed IP address after the @-sign is not allowed here.".to_owned());
    }
    if domain.starts_with('.') || domain.ends_with('.') || domain.contains("..") {
        return Err("An email address cannot have misplaced periods after the @-sign.".to_owned());
    }
    let ascii = idna::domain_to_ascii_strict(domain).map_err(|_| invalid())?;
    if !ascii.contains('.') {
        return Err("The part after the @-sign is not valid. It should have a period.".to_owned());
    }
    let top = ascii.rsplit('.').next().unwrap_or_default();
    if SPECIAL_USE.contains(&top) {
        return Err(
            "The part after the @-sign is a special-use or reserved name that cannot be used with email.".to_owned()
        );
    }
    if top.bytes().all(|b| b.is_ascii_digit()) {
        return Err("The part after the @-sign is not valid. It is not within a valid top-level domain.".to_owned());
    }
    let (unicode, outcome) = idna::domain_to_unicode(&ascii);
    outcome.map_err(|_| invalid())?;
    Ok(unicode)
}

impl TryFrom<&str> for Email {
    type Error = String;
    fn try_from(text: &str) -> Result<Self, String> {
        Self::try_from(text.to_owned())
    }
}

impl From<Email> for String {
    fn from(email: Email) -> String {
        email.0
    }
}

impl std::fmt::Display for Email {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_normalised() {
        for (given, kept) in [
            ("Ann@Example.COM", "Ann@example.com"),
            (" Ann <ann@example.com> ", "ann@example.com"),
            ("a@xn--bcher-kva.example", "a@bücher.example"),
        ] {
            assert_eq!(Email::try_from(given).unwrap().as_str(), kept);
        }
    }

    #[test]
    fn refused() {
        let long = format!("{}@example.com", "a".repeat(65));
        for bad in [
            "a",
            "@example.com",
            "a@",
            "a@localhost",
            "a@b.test",
            "a@b.local",
            "a..b@example.com",
            ".a@example.com",
            "a.@example.com",
            "\"a\"@example.com",
            "a@[127.0.0.1]",
            "a@127.0.0.1",
            "a b@example.com",
            "a@exa mple.com",
            "a\0@example.com",
            long.as_str(),
        ] {
            assert!(Email::try_from(bad).is_err(), "{bad}");
        }
    }
}
