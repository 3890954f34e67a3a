use serde::Serialize;
use serde_json::Value;

/// One setting as it took effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// `section.name`.
    pub key: &'static str,
    /// `***` for a secret that is set; passwords in addresses are hidden too.
    pub value: String,
    /// `default`, `file …:12`, `environment NAME`, `.env NAME`, `flag`, `preset …` or `generated …`.
    pub source: String,
    /// The value in the type of the file; none of a secret.
    #[serde(skip)]
    pub(super) json: Option<Value>,
}

/// A database address without its password; what cannot be told apart is hidden whole.
pub(super) fn redact(url: &str) -> String {
    if url.starts_with("sqlite:") {
        return url.to_owned();
    }
    let Some((scheme, rest)) = url.split_once("://") else { return hidden(url) };
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    // The last @, wherever it stands: a password may hold an unescaped / or @.
    let place = match place.rsplit_once('@') {
        Some((user, host)) => {
            let user = user.split_once(':').map_or_else(|| user.to_owned(), |(name, _)| format!("{name}:***"));
            format!("{user}@{host}")
        }
        None => place.to_owned(),
    };
    let query = query.map(|query| {
        let pairs: Vec<String> = query.split('&').map(redact_pair).collect();
        format!("?{}", pairs.join("&"))
    });
    format!("{scheme}://{place}{}", query.unwrap_or_default())
}

fn redact_pair(pair: &str) -> String {
    match pair.split_once('=') {
        Some((name, _)) if name.to_ascii_lowercase().contains("pass") => format!("{name}=***"),
        // An unescaped ? in a password puts the rest of it, up to its @, here.
        _ if pair.contains('@') => "***".to_owned(),
        _ => pair.to_owned(),
    }
}

fn hidden(text: &str) -> String {
    if text.is_empty() { String::new() } else { "***".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_addresses_are_hidden() {
        for (url, shown) in [
            ("postgres://ann:hunter2@db:5432/auth?sslmode=require", "postgres://ann:***@db:5432/auth?sslmode=require"),
            ("postgres://ann:hun/ter@2@db/auth", "postgres://ann:***@db/auth"),
            ("postgres://ann@db/auth?password=hunter2", "postgres://ann@db/auth?password=***"),
            ("postgres://db/auth", "postgres://db/auth"),
            ("sqlite:data/a.db", "sqlite:data/a.db"),
            ("hunter2", "***"),
            ("", ""),
        ] {
            assert_eq!(redact(url), shown);
        }
        assert!(!redact("postgres://ann:hun?ter2@db/auth").contains("ter2"));
    }
}
