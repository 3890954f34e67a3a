//! Lists: one statement of fixed fragments, with the filters that were asked for, in an order that is allowed.
//!
//! ## Why
//!
//! A statement for every filter at once (`$1 IS NULL OR …`) serves small tables. Among a million rows each filter
//! needs its own index and each order another, and the planner can choose one only for a statement that says what was
//! asked. So a list is composed: every piece of text stands in this program, what a client sent is bound, and a sort key
//! is looked up among those of its table.
//!
//! There are two ways to a page: to find what the filters leave and sort it, or to read rows in the order of the list
//! until the page is full. The first is better where filters leave little, the second where they leave much. PostgreSQL
//! chooses by its statistics, and plans such statements anew each time: a role that everybody has and one that nobody
//! has want different plans. It takes matches to be spread evenly, which the newest users are not; so where it is known
//! how few there are, it is told to find them first. SQLite has no statistics: there the indexes that could lead are
//! asked how many rows they would give, up to a bound.

use std::fmt::Write;

use super::{
    db::{Kind, Query, Record, Tx},
    error::Result,
    sql::{Page, Search},
};
use crate::model::Timestamp;

/// Totals are exact up to this number.
pub const MOST_COUNTED: i64 = 20_000;

/// So many rows are better found and sorted than met on the way through a million, in order, to the end of the page:
/// where the number found equals the number met.
fn narrow(page: Page) -> i64 {
    const OF: i64 = 1_000_000;
    page.offset().saturating_add(page.limit()).saturating_mul(OF).isqrt().min(100_000)
}

/// How SQLite is told which index to use, rather than read all rows in an order that saves it from sorting a few.
const INDEXED_BY: &str = " INDEXED BY ";

/// A key that a list may be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortKey {
    /// As clients name it.
    pub name: &'static str,
    column: &'static str,
    nullable: bool,
}

impl SortKey {
    /// Sorts by a column that is never NULL.
    pub(super) const fn new(name: &'static str, column: &'static str) -> Self {
        Self { name, column, nullable: false }
    }

    /// Sorts by a column in which NULL comes first.
    pub(super) const fn nullable(name: &'static str, column: &'static str) -> Self {
        Self { name, column, nullable: true }
    }
}

/// The order that a client wants; rows that are equal in it come by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// By what.
    pub key: SortKey,
    /// The greatest first.
    pub descending: bool,
}

/// When an entity was made; an absent bound does not filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
}

/// How many rows a list has without a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    /// The number of rows, or [`MOST_COUNTED`].
    pub count: i64,
    /// Whether there are more than that.
    pub is_capped: bool,
}

impl Total {
    pub(super) fn exactly(count: i64) -> Self {
        Self { count, is_capped: false }
    }

    /// Of rows that were counted as far as one beyond the bound.
    pub(super) fn up_to_bound(count: i64) -> Self {
        Self { count: count.min(MOST_COUNTED), is_capped: count > MOST_COUNTED }
    }
}

/// How the database answers, in its own words: a line for each step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Finds the rows of a page.
    pub rows: Vec<String>,
    /// Counts all rows, up to [`MOST_COUNTED`].
    pub total: Vec<String>,
}

/// A value of a condition.
#[derive(Clone, Debug)]
pub(super) enum Arg {
    Number(i64),
    Flag(bool),
    Text(String),
    Time(Timestamp),
}

/// How SQLite finds the rows of a condition without looking at all.
#[derive(Clone, Debug)]
pub(super) enum Lead {
    /// By an index of the listed table.
    Index {
        /// Its name.
        name: &'static str,
        /// The sort key in whose order it has the rows.
        order: &'static str,
    },
    /// By another table, whose rows come in the order of the listed table's ids.
    Table {
        /// Its name.
        name: &'static str,
        /// Its column with those ids.
        id: &'static str,
        /// Which of its rows are meant.
        test: &'static str,
        /// The values in `test`.
        args: Vec<Arg>,
        /// Whether no row is found that the condition would leave out.
        is_exact: bool,
    },
}

/// What listed rows fulfil.
///
/// In a text `$1` is the first of its own values, and `~` stands before a column whose index must not be used unless this
/// condition leads: to SQLite it becomes a plus sign, which has that meaning, to PostgreSQL nothing.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    test: String,
    args: Vec<Arg>,
    lead: Option<Lead>,
}

/// A list of the rows of one table.
#[derive(Clone, Debug)]
pub(super) struct List {
    /// The table, with the alias that fragments use.
    table: &'static str,
    /// The column of its ids.
    id: &'static str,
    /// The order, where none is asked for.
    order: &'static str,
    conditions: Vec<Condition>,
}

impl List {
    pub(super) fn of(table: &'static str, id: &'static str, order: &'static str) -> Self {
        Self { table, id, order, conditions: Vec::new() }
    }

    /// Leaves out what does not fulfil `test`.
    pub(super) fn only(&mut self, test: &'static str) {
        self.conditions.push(Condition { test: test.to_owned(), args: Vec::new(), lead: None });
    }

    /// Leaves out what does not fulfil `test`, in which `$1` is the value; without a value nothing.
    pub(super) fn when(&mut self, test: &'static str, value: Option<Arg>) {
        self.led(test, value.into_iter().collect(), None);
    }

    /// As [`List::when`], for any number of values, none of them being none at all, and a way to find the rows.
    pub(super) fn led(&mut self, test: &'static str, args: Vec<Arg>, lead: Option<Lead>) {
        if !args.is_empty() {
            self.conditions.push(Condition { test: test.to_owned(), args, lead });
        }
    }

    /// Leaves out what was made outside `period`; `lead` is the index on the column, if it has one.
    pub(super) fn within(&mut self, period: Period, column: &'static str, lead: Option<Lead>) {
        let bounds = [(period.from, ">="), (period.to, "<")];
        let (mut test, mut args) = (String::new(), Vec::new());
        for (moment, comparison) in bounds {
            if let Some(moment) = moment {
                args.push(Arg::Time(moment));
                let and = if test.is_empty() { "" } else { " AND " };
                _ = write!(test, "{and}~{column} {comparison} ${}", args.len());
            }
        }
        if !args.is_empty() {
            self.conditions.push(Condition { test, args, lead });
        }
    }

    /// Leaves out what does not contain the text of `search`, as `test` says with the pattern in `$1`. `index` is the
    /// table of trigrams that SQLite has for it, with its columns for ids and for matches.
    pub(super) fn matching(&mut self, search: Option<Search>, test: &'static str, index: [&'static str; 3]) {
        let Some(search) = search else { return };
        let [name, id, matches] = index;
        let lead = search.trigrams.map(|query| Lead::Table {
            name,
            id,
            test: matches,
            args: vec![Arg::Text(query)],
            is_exact: false,
        });
        self.led(test, vec![Arg::Text(search.pattern)], lead);
    }

    /// A page of the list. `columns` and `joins` are those of the answer; joins leave out no row and add none.
    pub(super) async fn rows<T: Record>(
        &self,
        tx: &mut Tx,
        (columns, joins): (&str, &str),
        sort: Option<Sort>,
        page: Page,
        known: Option<Total>,
    ) -> Result<Vec<T>> {
        self.page(tx, (columns, joins), sort, page, known).await?.query(tx).fetch_all().await
    }

    /// How many rows there are.
    pub(super) async fn count(&self, tx: &mut Tx) -> Result<i64> {
        let lead = self.lead(tx, None).await?;
        let mut statement = Statement::default();
        statement.push("SELECT COUNT(*)");
        self.source(&mut statement, tx.kind(), "", lead);
        statement.query(tx).fetch_value().await
    }

    /// How many rows there are, up to a bound.
    pub(super) async fn total(&self, tx: &mut Tx) -> Result<Total> {
        let lead = self.lead(tx, None).await?;
        let count: i64 = self.bounded_count(tx.kind(), lead).query(tx).fetch_value().await?;
        Ok(Total::up_to_bound(count))
    }

    /// How the database would find a page, and count up to the bound.
    pub(super) async fn plan(
        &self,
        tx: &mut Tx,
        (columns, joins): (&str, &str),
        sort: Option<Sort>,
        page: Page,
        known: Option<Total>,
    ) -> Result<Plan> {
        let rows = self.page(tx, (columns, joins), sort, page, known).await?.explain(tx).await?;
        let lead = self.lead(tx, None).await?;
        let total = self.bounded_count(tx.kind(), lead).explain(tx).await?;
        Ok(Plan { rows, total })
    }

    async fn page(
        &self,
        tx: &mut Tx,
        answer: (&str, &str),
        sort: Option<Sort>,
        page: Page,
        known: Option<Total>,
    ) -> Result<Statement> {
        let sorted = sort.or(if self.order == self.id { Some(self.by_id()) } else { None });
        if tx.kind() == Kind::Postgres
            && let Some(sort) = sorted
            && known.is_some_and(|total| !total.is_capped && total.count < narrow(page))
            && self.must_sort(sort)
        {
            return Ok(self.found_first(answer, sort, page));
        }
        let lead = self.lead(tx, Some((sort, page))).await?;
        Ok(self.in_order(tx.kind(), answer, sort, lead, page))
    }

    /// Whether there are indexes for what is asked for, and none of PostgreSQL's has it in this order.
    fn must_sort(&self, sort: Sort) -> bool {
        let by_id = sort.key.column == self.id;
        let mut leads = self.conditions.iter().filter_map(|condition| condition.lead.as_ref()).peekable();
        let is_in_order = |lead: &Lead| match lead {
            Lead::Index { order: "id", .. } => by_id,
            Lead::Index { order, .. } => sort.key.name == *order,
            Lead::Table { is_exact, .. } => by_id && *is_exact,
        };
        leads.peek().is_some() && !leads.any(is_in_order)
    }

    fn by_id(&self) -> Sort {
        Sort { key: SortKey::new("id", self.id), descending: false }
    }

    /// The condition by which SQLite is to find rows, to count them or for a page; none where it reads them in order.
    async fn lead(&self, tx: &mut Tx, wanted: Option<(Option<Sort>, Page)>) -> Result<Option<usize>> {
        if tx.kind() == Kind::Postgres {
            return Ok(None);
        }
        let is_in_order = |lead: &Lead| {
            // Any order will do to count.
            let Some((sort, _)) = wanted else { return true };
            let by_id = sort.map_or(self.order == self.id, |sort| sort.key.column == self.id);
            match lead {
                Lead::Index { order: "id", .. } | Lead::Table { .. } => by_id,
                Lead::Index { order, .. } => sort.is_some_and(|sort| sort.key.name == *order),
            }
        };
        let mut leads: Vec<(usize, &Condition, &Lead)> = Vec::new();
        for (index, condition) in self.conditions.iter().enumerate() {
            leads.extend(condition.lead.as_ref().map(|lead| (index, condition, lead)));
        }
        if let [(index, _, lead)] = leads[..]
            && is_in_order(lead)
        {
            return Ok(Some(index));
        }
        let bound = wanted.map_or(MOST_COUNTED, |(_, page)| narrow(page));
        let mut counted = Vec::with_capacity(leads.len());
        for (index, condition, lead) in leads {
            let count: i64 = self.found_by(condition, lead, bound).query(tx).fetch_value().await?;
            counted.push((count, index, is_in_order(lead)));
        }
        counted.sort_unstable();
        Ok(counted.into_iter().find(|(count, _, in_order)| *count < bound || *in_order).map(|(_, index, _)| index))
    }

    /// Counts, up to a bound, what a lead would give.
    fn found_by(&self, condition: &Condition, lead: &Lead, bound: i64) -> Statement {
        let (table, index, test, args) = match lead {
            Lead::Index { name, .. } => (self.table, Some(name), condition.test.as_str(), &condition.args),
            Lead::Table { name, test, args, .. } => (*name, None, *test, args),
        };
        let mut statement = Statement::default();
        statement.push("SELECT COUNT(*) FROM (SELECT 1 FROM ");
        statement.push(table);
        if let Some(index) = index {
            statement.push(INDEXED_BY);
            statement.push(index);
        }
        statement.push(" WHERE ");
        statement.test(test, args, "");
        statement.push_number(" LIMIT ", bound);
        statement.push(") AS bounded");
        statement
    }

    fn bounded_count(&self, kind: Kind, lead: Option<usize>) -> Statement {
        let mut statement = Statement::default();
        statement.push("SELECT COUNT(*) FROM (SELECT 1");
        self.source(&mut statement, kind, "", lead);
        statement.push_number(" LIMIT ", MOST_COUNTED + 1);
        statement.push(") AS bounded");
        statement
    }

    /// What the filters leave, found without a thought of the page, and then sorted.
    fn found_first(&self, (columns, joins): (&str, &str), sort: Sort, page: Page) -> Statement {
        let mut statement = Statement::default();
        for text in ["SELECT * FROM (SELECT ", columns, ", ", sort.key.column, " AS sort_key"] {
            statement.push(text);
        }
        self.source(&mut statement, Kind::Postgres, joins, None);
        // Behind this PostgreSQL does not look for the order and the limit.
        statement.push(" OFFSET 0) AS found");
        statement.order(sort, "found.sort_key", "found.id");
        statement.page(page);
        statement
    }

    fn in_order(
        &self,
        kind: Kind,
        (columns, joins): (&str, &str),
        sort: Option<Sort>,
        lead: Option<usize>,
        page: Page,
    ) -> Statement {
        let mut statement = Statement::default();
        statement.push("SELECT ");
        statement.push(columns);
        self.source(&mut statement, kind, joins, lead);
        // SQLite sees the order of ids only in the table that leads.
        let id = match lead.and_then(|lead| self.conditions[lead].lead.as_ref()) {
            Some(Lead::Table { id, .. }) => id,
            _ => self.id,
        };
        match sort {
            None if self.order == self.id => statement.order(self.by_id(), id, id),
            None => {
                statement.push(" ORDER BY ");
                statement.push(self.order);
            }
            Some(sort) if sort.key.column == self.id => statement.order(sort, id, id),
            Some(sort) => statement.order(sort, sort.key.column, id),
        }
        statement.page(page);
        statement
    }

    /// `FROM … WHERE …`
    fn source(&self, statement: &mut Statement, kind: Kind, joins: &str, lead: Option<usize>) {
        statement.push(" FROM ");
        let leader = lead.and_then(|lead| self.conditions[lead].lead.as_ref());
        let mut and = " WHERE ";
        if let Some(Lead::Table { name, .. }) = leader {
            statement.push(name);
            // The word by which SQLite keeps the order of tables.
            statement.push(" CROSS JOIN ");
        }
        statement.push(self.table);
        if let Some(Lead::Index { name, .. }) = leader {
            statement.push(INDEXED_BY);
            statement.push(name);
        }
        statement.push(joins);
        if let Some(Lead::Table { id, test, args, .. }) = leader {
            for text in [and, *id, " = ", self.id, " AND "] {
                statement.push(text);
            }
            statement.test(test, args, "");
            and = " AND ";
        }
        for (index, condition) in self.conditions.iter().enumerate() {
            let leads = lead == Some(index);
            if leads && matches!(leader, Some(Lead::Table { is_exact: true, .. })) {
                continue;
            }
            statement.push(and);
            statement.push("(");
            statement.test(&condition.test, &condition.args, if leads || kind == Kind::Postgres { "" } else { "+" });
            statement.push(")");
            and = " AND ";
        }
    }
}

/// A statement in the making.
#[derive(Clone, Debug, Default)]
struct Statement {
    sql: String,
    args: Vec<Arg>,
}

impl Statement {
    fn push(&mut self, text: &str) {
        self.sql.push_str(text);
    }

    fn push_number(&mut self, text: &str, number: i64) {
        self.args.push(Arg::Number(number));
        _ = write!(self.sql, "{text}${}", self.args.len());
    }

    /// By `column`, and where that is equal by `id`.
    fn order(&mut self, sort: Sort, column: &str, id: &str) {
        let direction = if sort.descending { " DESC" } else { "" };
        self.push(" ORDER BY ");
        if column != id {
            self.push(column);
            self.push(direction);
            self.push(match (sort.key.nullable, sort.descending) {
                (false, _) => "",
                (true, false) => " NULLS FIRST",
                (true, true) => " NULLS LAST",
            });
            self.push(", ");
        }
        self.push(id);
        self.push(direction);
    }

    fn page(&mut self, page: Page) {
        self.push_number(" LIMIT ", page.limit());
        self.push_number(" OFFSET ", page.offset());
    }

    /// Adds `test` with its values; `plain` is what `~` becomes.
    fn test(&mut self, test: &str, args: &[Arg], plain: &str) {
        let before = self.args.len();
        self.args.extend(args.iter().cloned());
        let mut rest = test;
        while let Some(at) = rest.find(['$', '~']) {
            self.push(&rest[..at]);
            if rest[at..].starts_with('~') {
                self.push(plain);
                rest = &rest[at + 1..];
                continue;
            }
            let digits = rest[at + 1..].chars().take_while(char::is_ascii_digit).count();
            let number: usize = rest[at + 1..=at + digits].parse().unwrap_or_default();
            _ = write!(self.sql, "${}", before + number);
            rest = &rest[at + 1 + digits..];
        }
        self.push(rest);
    }

    fn query(self, tx: &mut Tx) -> Query<'_> {
        let mut query = tx.composed(self.sql);
        for arg in self.args {
            query = match arg {
                Arg::Number(number) => query.bind(number),
                Arg::Flag(flag) => query.bind(flag),
                Arg::Text(text) => query.bind(text),
                Arg::Time(time) => query.bind(time),
            };
        }
        query
    }

    async fn explain(mut self, tx: &mut Tx) -> Result<Vec<String>> {
        let kind = tx.kind();
        let command = match kind {
            Kind::Sqlite => "EXPLAIN QUERY PLAN ",
            Kind::Postgres => "EXPLAIN ",
        };
        self.sql.insert_str(0, command);
        let query = self.query(tx);
        Ok(match kind {
            Kind::Sqlite => {
                let steps = query.fetch_all::<(i64, i64, i64, String)>().await?;
                steps.into_iter().map(|(.., step)| step).collect()
            }
            Kind::Postgres => query.fetch_values().await?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> List {
        let mut list = List::of("things", "things.id", "things.id");
        list.only("gone IS NULL");
        list.led(
            "~a = $1 OR b = $2 OR c = $1",
            vec![Arg::Number(7), Arg::Flag(true)],
            Some(Lead::Index { name: "things_a", order: "id" }),
        );
        list.within(Period { from: Some(Timestamp::now()), to: Some(Timestamp::now()) }, "made", None);
        let lead = Lead::Table {
            name: "marks",
            id: "marks.thing",
            test: "mark = $1",
            args: vec![Arg::Number(1)],
            is_exact: true,
        };
        list.led("EXISTS (SELECT $1)", vec![Arg::Number(1)], Some(lead));
        list
    }

    fn sql(kind: Kind, lead: Option<usize>, sort: Option<Sort>) -> String {
        list().in_order(kind, ("*", " LEFT JOIN x ON TRUE"), sort, lead, Page::ALL).sql
    }

    #[test]
    fn values_keep_their_numbers() {
        insta::assert_snapshot!(sql(Kind::Postgres, None, None), @"SELECT * FROM things LEFT JOIN x ON TRUE WHERE (gone IS NULL) AND (a = $1 OR b = $2 OR c = $1) AND (made >= $3 AND made < $4) AND (EXISTS (SELECT $5)) ORDER BY things.id LIMIT $6 OFFSET $7");
    }

    #[test]
    fn one_index_of_sqlite_leads() {
        let sort = Some(Sort { key: SortKey::nullable("a", "a"), descending: true });
        insta::assert_snapshot!(sql(Kind::Sqlite, Some(1), sort), @"SELECT * FROM things INDEXED BY things_a LEFT JOIN x ON TRUE WHERE (gone IS NULL) AND (a = $1 OR b = $2 OR c = $1) AND (+made >= $3 AND +made < $4) AND (EXISTS (SELECT $5)) ORDER BY a DESC NULLS LAST, things.id DESC LIMIT $6 OFFSET $7");
    }

    #[test]
    fn few_rows_are_found_first() {
        let sort = Sort { key: SortKey::nullable("a", "a"), descending: false };
        let mut list = List::of("things", "things.id", "things.id");
        list.only("gone IS NULL");
        insta::assert_snapshot!(list.found_first(("things.id", ""), sort, Page::ALL).sql, @"SELECT * FROM (SELECT things.id, a AS sort_key FROM things WHERE (gone IS NULL) OFFSET 0) AS found ORDER BY found.sort_key NULLS FIRST, found.id LIMIT $1 OFFSET $2");
        for (skip, limit, bound) in [(0, 0, 0), (0, 100, 10_000), (10_000, 0, 100_000), (10_000, 1_000, 100_000)] {
            assert_eq!(narrow(Page { skip, limit }), bound);
        }
        assert_eq!(narrow(Page::ALL), 100_000);
    }

    #[test]
    fn another_table_leads() {
        insta::assert_snapshot!(sql(Kind::Sqlite, Some(3), None), @"SELECT * FROM marks CROSS JOIN things LEFT JOIN x ON TRUE WHERE marks.thing = things.id AND mark = $1 AND (gone IS NULL) AND (+a = $2 OR b = $3 OR c = $2) AND (+made >= $4 AND +made < $5) ORDER BY marks.thing LIMIT $6 OFFSET $7");
    }
}
