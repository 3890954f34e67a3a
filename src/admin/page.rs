//! What every list takes: `skip`, `limit`, `search`, `sort` and periods.

use super::input::{Flaw, Input, Valid};
use crate::store::{self, Period, Sort, SortKey};

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
/// Rows that are left out are looked at nonetheless; who wants those beyond is better served by a filter or another order.
const MOST_SKIPPED: i64 = 10_000;
const LONGEST_SEARCH: usize = 200;

/// Reads `skip` and `limit`.
pub(crate) fn page(input: &mut Input, limits: Limits) -> Valid<Page> {
    optional_page(input, limits).map(|page| page.unwrap_or(Page { skip: 0, limit: DEFAULT }))
}

/// Reads `skip` and `limit`; `None` when the query has neither, where that means the whole list.
pub(crate) fn optional_page(input: &mut Input, limits: Limits) -> Valid<Option<Page>> {
    let skip = input.query::<i64>("skip").at_least(0).at_most(MOST_SKIPPED).unless_absent();
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

/// Reads `sort`: one of `keys`, with a minus sign before it for the greatest first; an empty one is none.
pub(crate) fn sort(input: &mut Input, keys: &'static [SortKey]) -> Valid<Option<Sort>> {
    let words: Vec<String> = keys.iter().flat_map(|key| [key.name.to_owned(), format!("-{}", key.name)]).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let known = |text: &String| {
        if text.is_empty() || words.contains(&text.as_str()) {
            return Ok(());
        }
        let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let (last, others) = quoted.split_last().map_or(("", &[][..]), |(last, others)| (last.as_str(), others));
        Err(Flaw::literal(&format!("{} or {last}", others.join(", "))))
    };
    let text = input.query::<String>("sort").one_of(&words).check(known).optional()?;
    let parse = |text: &str| {
        let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
        keys.iter().find(|key| key.name == name).map(|key| Sort { key: *key, descending })
    };
    Some(text.as_deref().and_then(parse))
}

/// Reads `created_from` and `created_to`.
pub(crate) fn created(input: &mut Input) -> Valid<Period> {
    period(input, "created_from", "created_to")
}

/// Reads the first moment of a period, and the first after it.
pub(crate) fn period(input: &mut Input, from: &'static str, to: &'static str) -> Valid<Period> {
    let from = input.query(from).optional();
    let to = input.query(to).optional();
    Some(Period { from: from?, to: to? })
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
            ("skip=10000", Limits::Lenient, (10_000, 100)),
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
            ("skip=10001", Limits::Lenient, "less_than_equal"),
        ] {
            let answer = read(query, limits).unwrap_err();
            assert!(answer.contains(&format!("\"{refused}\"")), "{query}: {answer}");
        }
        insta::assert_snapshot!(read("skip=x&limit=1001", Limits::Strict(MOST)).unwrap_err(), @r#"[{"type":"int_parsing","loc":["query","skip"],"msg":"Input should be a valid integer, unable to parse string as an integer","input":"x"},{"type":"less_than_equal","loc":["query","limit"],"msg":"Input should be less than or equal to 1000","input":"1001","ctx":{"le":1000}}]"#);
    }

    #[test]
    fn sorts() {
        let read = |query: &str| {
            let mut input = Input::new(Vec::new(), query, Body::Empty);
            let sort = sort(&mut input, store::upstreams::SORT_KEYS);
            input.finish(|| sort).map(|sort| sort.map(|sort| (sort.key.name, sort.descending)))
        };
        assert_eq!(read("").unwrap(), None);
        assert_eq!(read("sort=").unwrap(), None);
        assert_eq!(read("sort=-x&sort=name").unwrap(), Some(("name", false)));
        assert_eq!(read("sort=-name").unwrap(), Some(("name", true)));
        for unknown in ["-", "--name", "Name", "targets", "name;", "name,id", "+name", "name desc", "deleted_at"] {
            assert!(read(&format!("sort={unknown}")).is_err(), "{unknown}");
        }
        let Err(Error::Validation(issues)) = read("sort=rank") else { panic!("it is no key") };
        insta::assert_snapshot!(serde_json::to_string(&issues).unwrap(), @r#"[{"type":"literal_error","loc":["query","sort"],"msg":"Input should be 'id', '-id', 'name', '-name', 'is_active', '-is_active', 'created_at' or '-created_at'","input":"rank","ctx":{"expected":"'id', '-id', 'name', '-name', 'is_active', '-is_active', 'created_at' or '-created_at'"}}]"#);
    }

    #[test]
    fn periods() {
        let read = |query: &str| {
            let mut input = Input::new(Vec::new(), query, Body::Empty);
            let period = created(&mut input);
            input.finish(|| period).map(|period| [period.from, period.to].map(|time| time.map(|time| time.to_string())))
        };
        assert_eq!(read("").unwrap(), [None, None]);
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            read("created_from=2026-01-01T00:00:00%2B02:00&created_to=2026-02-01T00:00:00Z").unwrap(),
            [text("2025-12-31T22:00:00.000000Z"), text("2026-02-01T00:00:00.000000Z")]
        );
        for bad in ["2026-01-01", "yesterday", "0", "-1", "99999-01-01T00:00:00Z", "2026-13-01T00:00:00Z", ""] {
            assert!(read(&format!("created_from={bad}")).is_err(), "{bad}");
            assert!(read(&format!("created_to={bad}")).is_err(), "{bad}");
        }
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
