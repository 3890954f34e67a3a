//! A statement in the making, of fixed texts and bound values.

use std::fmt::Write;

use super::{
    db::{Kind, Query, Tx},
    error::Result,
    list::Sort,
    sql::Page,
};
use crate::model::Timestamp;

/// A value of a condition.
#[derive(Clone, Debug)]
pub(super) enum Arg {
    Number(i64),
    Flag(bool),
    Text(String),
    Time(Timestamp),
}

/// A statement in the making.
#[derive(Clone, Debug, Default)]
pub(super) struct Statement {
    pub(super) sql: String,
    args: Vec<Arg>,
}

impl Statement {
    pub(super) fn push(&mut self, text: &str) {
        self.sql.push_str(text);
    }

    pub(super) fn push_number(&mut self, text: &str, number: i64) {
        self.args.push(Arg::Number(number));
        _ = write!(self.sql, "{text}${}", self.args.len());
    }

    /// By `column`, and where that is equal by `id`.
    pub(super) fn order(&mut self, sort: Sort, column: &str, id: &str) {
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

    pub(super) fn page(&mut self, page: Page) {
        self.push_number(" LIMIT ", page.limit());
        self.push_number(" OFFSET ", page.offset());
    }

    /// Adds `test` with its values; `plain` is what `~` becomes.
    pub(super) fn test(&mut self, test: &str, args: &[Arg], plain: &str) {
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

    pub(super) fn query(self, tx: &mut Tx) -> Query<'_> {
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

    pub(super) async fn explain(mut self, tx: &mut Tx) -> Result<Vec<String>> {
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
