//! Which role may do what.

use std::sync::Arc;

use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::endpoints::Access::Needs;
use super::endpoints::Endpoints;
use super::error::Error;
use super::gate::Call;
use super::input::{Flaw, Input, Issue, Valid};
use super::page::{Limits, Page, optional_page};
use super::reply::Counted;
use super::who_can::Search;
use crate::model::RouteId;
use crate::policy::{Cell, MatrixBy, MatrixFilter, matrix};
use crate::store::Total;

/// Cells of one answer, and as many are counted.
const MOST_CELLS: i64 = 100_000;
const LONGEST_NAME: usize = 200;

pub(super) fn endpoints() -> Endpoints<Search> {
    Endpoints::new("Policies").get("/matrix", Needs("policy:read"), "Show which role may do what", show).reads(wanted)
}

/// The roles and what they may; what is not there is denied.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AccessMatrix")]
pub(super) struct Shown {
    policy_revision: i64,
    cells: Vec<Cell>,
}

fn wanted(input: &mut Input) -> Valid<(MatrixBy, MatrixFilter, Option<Page>)> {
    let literal = |word: &String| by(word).map(drop).ok_or_else(|| Flaw::literal("'permission' or 'operation'"));
    let word = input.query::<String>("by").one_of(&["permission", "operation"]).check(literal).unless_absent();
    let role = input.query::<String>("role").max_length(LONGEST_NAME).unless_absent();
    let route_id = input.query::<RouteId>("route_id").unless_absent();
    let permission = input.query::<String>("permission").max_length(LONGEST_NAME).unless_absent();
    let page = optional_page(input, Limits::Strict(MOST_CELLS));
    let by = word?.map_or(Some(MatrixBy::default()), |word| by(&word))?;
    Some((by, MatrixFilter { role: role?, route_id: route_id?, permission: permission? }, page?))
}

fn by(word: &str) -> Option<MatrixBy> {
    match word {
        "permission" => Some(MatrixBy::Permission),
        "operation" => Some(MatrixBy::Operation),
        _ => None,
    }
}

async fn show(State(state): State<Search>, call: Call) -> Result<Counted<Shown>, Error> {
    let (_, input) = call.permit("policy:read")?;
    let (by, filter, page) = input.read(wanted)?;
    let is_paged = page.is_some();
    let page = page.unwrap_or(Page { skip: 0, limit: MOST_CELLS });
    let [skip, limit, most] = [page.skip, page.limit, MOST_CELLS].map(|number| usize::try_from(number).unwrap_or(0));
    let snapshot = state.gate.snapshots.load();
    let held = Arc::clone(&snapshot);
    let found = state.turns.work(move || matrix(held.compiled(), by, &filter, (skip, limit, most))).await?;
    if found.is_capped && !is_paged {
        let flaw = Flaw::value(format_args!(
            "there are more than {MOST_CELLS} cells: ask for some with skip and limit, or of one role, route_id or permission"
        ));
        return Err(Error::Validation(vec![Issue::new(vec!["query".into(), "limit".into()], flaw, &().into())]));
    }
    let total = Total { count: i64::try_from(found.total).unwrap_or(i64::MAX), is_capped: found.is_capped };
    Ok(Counted { value: Shown { policy_revision: snapshot.policy_revision(), cells: found.cells }, total })
}
