/// Where a request goes: a path with its query, on a host if one is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Host and port, as written.
    pub(super) host: Option<String>,
    /// Path and query, as written.
    pub(super) target: String,
}

impl TryFrom<&str> for Url {
    /// Why it is none.
    type Error = &'static str;

    /// Takes a path that begins with `/`, or an address that begins with `http://` or `https://`.
    fn try_from(text: &str) -> Result<Self, Self::Error> {
        if text.starts_with('/') {
            return Ok(Self { host: None, target: text.to_owned() });
        }
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let rest =
            rest.ok_or("neither a path that begins with / nor an address that begins with http:// or https://")?;
        let (host, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        // A client sends an empty path as `/`.
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Self { host: Some(host.to_owned()), target: format!("{slash}{target}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_addresses() {
        for (text, host, target) in [
            ("/a/b?next=http://x", None, "/a/b?next=http://x"),
            ("//a", None, "//a"),
            ("https://Shop.example:8443/a?b", Some("Shop.example:8443"), "/a?b"),
            ("http://shop.example", Some("shop.example"), "/"),
            ("http://shop.example?b", Some("shop.example"), "/?b"),
            ("http:///a", Some(""), "/a"),
        ] {
            let url = Url::try_from(text).unwrap();
            assert_eq!((url.host.as_deref(), url.target.as_str()), (host, target), "{text}");
        }
        for bad in ["", "a", "a/b", "ftp://a/b", "shop.example/a"] {
            assert!(Url::try_from(bad).is_err(), "{bad}");
        }
    }
}
