//! `skip`, `limit` and `search` of lists.

use super::input::{Input, Valid};
use crate::store;

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// How many entries to leave out at the front.
    pub(crate) skip: i64,
    /// How many entries to answer at most.
    pub(crate) limit: i64,
}

impl From<Page> for store::Page {
    fn from(page: Page) -> Self {
        Self { skip: page.skip, limit: page.limit }
    }
}

/// What a list says to limits outside its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limits {
    /// Refuses 0 and more than this: modules and routes.
    Strict(i64),
    /// Answers nothing to 0, and takes more than [`MOST`] for that: all others, where any number was accepted so far.
    Lenient,
}

/// The limit of modules, and of every lenient list.
pub(crate) const MOST: i64 = 1_000;
/// The limit of routes: a front end asks for all of them at once.
pub(crate) const MOST_ROUTES: i64 = 100_000;

const DEFAULT: i64 = 100;
const LONGEST_SEARCH: usize = 200;

/// Reads `skip` and `limit`.
pub(crate) fn page(input: &mut Input, limits: Limits) -> Valid<Page> {
    optional_page(input, limits).map(|page| page.unwrap_or(Page { skip: 0, limit: DEFAULT }))
}

/// Reads `skip` and `limit`; `None` when the query has neither, where that means the whole list.
pub(crate) fn optional_page(input: &mut Input, limits: Limits) -> Valid<Option<Page>> {
    let skip = input.query::<i64>("skip").at_least(0).unless_absent();
    let limit = input.query::<i64>("limit");
    let limit = match limits {
        Limits::Strict(most) => limit.at_least(1).at_most(most).unless_absent(),
        Limits::Lenient => limit.at_least(0).unless_absent().map(|limit| limit.map(|limit| limit.min(MOST))),
    };
    let (skip, limit) = (skip?, limit?);
    let any = skip.is_some() || limit.is_some();
    Some(any.then(|| Page { skip: skip.unwrap_or(0), limit: limit.unwrap_or(DEFAULT) }))
}

/// Reads `search`; an empty one is none.
pub(crate) fn search(input: &mut Input) -> Valid<Option<String>> {
    let search = input.query::<String>("search").max_length(LONGEST_SEARCH).optional()?;
    Some(search.filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::error::Error;
    use crate::admin::input::Body;

    fn read(query: &str, limits: Limits) -> Result<(i64, i64), String> {
        let mut input = Input::new(Vec::new(), query, Body::Empty);
        let page = page(&mut input, limits);
        match input.finish(|| page) {
            Ok(page) => Ok((page.skip, page.limit)),
            Err(Error::Validation(issues)) => Err(serde_json::to_string(&issues).unwrap()),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn pages() {
        for (query, limits, expected) in [
            ("", Limits::Lenient, (0, 100)),
            ("skip=5", Limits::Strict(MOST), (5, 100)),
            ("limit=1&limit=2", Limits::Strict(MOST), (0, 2)),
            ("limit=0", Limits::Lenient, (0, 0)),
            ("limit=999999", Limits::Lenient, (0, 1_000)),
            ("limit=100000", Limits::Strict(MOST_ROUTES), (0, 100_000)),
        ] {
            assert_eq!(read(query, limits), Ok(expected), "{query}");
        }
    }

    #[test]
    fn bounds() {
        for (query, limits, refused) in [
            ("skip=-1", Limits::Lenient, "greater_than_equal"),
            ("limit=-1", Limits::Lenient, "greater_than_equal"),
            ("limit=0", Limits::Strict(MOST), "greater_than_equal"),
            ("limit=1001", Limits::Strict(MOST), "less_than_equal"),
            ("limit=", Limits::Lenient, "int_parsing"),
            ("skip=9223372036854775808", Limits::Lenient, "int_parsing_size"),
        ] {
            let answer = read(query, limits).unwrap_err();
            assert!(answer.contains(&format!("\"{refused}\"")), "{query}: {answer}");
        }
        insta::assert_snapshot!(read("skip=x&limit=1001", Limits::Strict(MOST)).unwrap_err(), @r#"[{"type":"int_parsing","loc":["query","skip"],"msg":"Input should be a valid integer, unable to parse string as an integer","input":"x"},{"type":"less_than_equal","loc":["query","limit"],"msg":"Input should be less than or equal to 1000","input":"1001","ctx":{"le":1000}}]"#);
    }

    #[test]
    fn searches() {
        let read = |query: &str| {
            let mut input = Input::new(Vec::new(), query, Body::Empty);
            let text = search(&mut input);
            input.finish(|| text).ok()
        };
        assert_eq!(read(""), Some(None));
        assert_eq!(read("search="), Some(None));
        assert_eq!(read("search=a+b%25"), Some(Some("a b%".to_owned())));
        assert_eq!(read(&format!("search={}", "é".repeat(200))).flatten().map(|text| text.len()), Some(400));
        assert_eq!(read(&format!("search={}", "a".repeat(201))), None);
    }
}
