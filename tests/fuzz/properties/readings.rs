//! How other parsers read a target: WHATWG's (`url`), RFC 3986's (`fluent-uri`), and the one in use here (`http`).

use cedargate::http::Target;

/// What RFC 3986 has no place for in a query, and what WHATWG's parser leaves as it is.
const BEYOND_RFC_3986: &[char] = &['\\', '^', '`', '{', '|', '}', '[', ']'];

/// Every parser that accepts the target finds the same path and query in it, to the byte.
pub(crate) fn agree(target: &Target) {
    let (raw, path, query) = (target.raw(), target.raw_path(), target.query());
    let absolute = format!("http://gw.example{raw}");

    let url = url::Url::parse(&absolute).unwrap_or_else(|error| panic!("{raw:?}: {error}"));
    assert_eq!((url.host_str(), url.path(), url.fragment()), (Some("gw.example"), path, None), "{raw:?}");
    // The one character of a query that it escapes and RFC 3986 does not ask for: the value stays the same.
    assert_eq!(url.query(), query.map(|query| query.replace('\'', "%27")).as_deref(), "{raw:?}");
    let relative = url::Url::parse("http://gw.example/a/b?c#d").unwrap().join(raw).unwrap();
    assert_eq!(relative, url, "{raw:?}");

    let uri: http::Uri = raw.parse().unwrap_or_else(|error| panic!("{raw:?}: {error}"));
    assert_eq!((uri.host(), uri.path(), uri.query()), (None, path, query), "{raw:?}");

    match fluent_uri::Uri::parse(absolute.as_str()) {
        Ok(uri) => {
            assert_eq!(
                (uri.path().as_str(), uri.query().map(fluent_uri::pct_enc::EStr::as_str)),
                (path, query),
                "{raw:?}"
            );
            assert_eq!(uri.normalize().path().as_str().to_ascii_lowercase(), path.to_ascii_lowercase(), "{raw:?}");
        }
        Err(error) => assert!(query.is_some_and(|query| query.contains(BEYOND_RFC_3986)), "{raw:?}: {error}"),
    }
}
